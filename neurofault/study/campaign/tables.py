"""The rows of a campaign as one table: CSV and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.study.campaign.folder import save
from neurofault.study.campaign.summary import Found
from neurofault.study.paper.output import table


def table_of(found: Found) -> list[dict[str, Any]]:
    """Return the rows, by cell and draw, with what was done beside what came of it and a column ``axis.<name>`` for each axis (JSON)."""
    cells = {cell.index: cell for cell in found.campaign.cells()}
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell.axes))
    return [
        {
            **row,
            "faults": " + ".join(fault.kind for fault in cells[row["cell"]].faults),
            "strategy": cells[row["cell"]].rescue.strategy,
            "learner": cells[row["cell"]].rescue.learner,
            **{f"axis.{name}": json.dumps(cells[row["cell"]].axes.get(name)) for name in names},
        }
        for row in found.rows
    ]


def write_csv(found: Found, path: Path) -> None:
    """Write :func:`table_of` as CSV; lists as JSON, None as an empty field.

    Raises:
        UsageError: the file cannot be written.
    """
    rows = [{key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()} for row in table_of(found)]
    save(path, table(rows))


def write_parquet(found: Found, path: Path) -> None:
    """Write :func:`table_of` as Parquet.

    Raises:
        UsageError: pyarrow is missing, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'neurofault[campaign]'") from None
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(table_of(found)), buffer)
    save(path, buffer.getvalue().to_pybytes())
