"""The rows of a campaign as one table with typed columns: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.faults import Fault
from neurofault.study.campaign.files import shown
from neurofault.study.campaign.folder import save
from neurofault.study.campaign.labels import labels_of
from neurofault.study.campaign.rows import columns_of
from neurofault.study.campaign.spec import Cell
from neurofault.study.campaign.summary import Found, metric_in, points_of
from neurofault.study.campaign.ways import Rescue
from neurofault.study.csv_table import rounded

Columns = Mapping[str, type]
"""Name → type of the values: bool, int, float, str, or list (of whole numbers)."""

_OF_CELL: Columns = {
    "cell": int, "plan": int, "way": int, "curve": str, "faults": str, "strategy": str, "learner": str, "stop": str,
}  # fmt: skip


def table_of(found: Found) -> tuple[Columns, list[dict[str, Any]]]:
    """Return the columns and the rows, by cell and draw: what was done beside what came of it.

    ``plan`` and ``way`` count the items of ``faults`` and ``rescue`` from 0, ``curve`` is the label. ``axis.<place>`` is the value of an axis,
    ``fault.<n>.<parameter>`` every parameter of the n-th fault of the plan, ``rescue.<parameter>`` every one of the way of healing.
    A column holds numbers if all its values are numbers, else text; lists and mappings are JSON.
    """
    cells = list(found.campaign.cells())
    labels = labels_of(found.campaign, cells)
    done = {cell.index: _of_cell(cell, labels[cell.index]) for cell in cells}
    names = list(dict.fromkeys(name for values in done.values() for name in values if name not in _OF_CELL))
    kinds = {name: _kind(values.get(name) for values in done.values()) for name in names}
    columns = {**columns_of(found.metric), **_OF_CELL, **kinds}
    told = {
        index: {
            name: _as(values.get(name), kinds[name]) if name in kinds else values[name]
            for name in (*_OF_CELL, *kinds)
            if name != "stop"
        }
        for index, values in done.items()
    }
    return columns, [{name: {**row, **told[row["cell"]]}[name] for name in columns} for row in found.rows]


def _of_cell(cell: Cell, label: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cell": cell.index, "plan": cell.plan, "way": cell.way, "curve": label,
        "faults": " + ".join(fault.kind for fault in cell.faults), "strategy": cell.rescue.strategy, "learner": cell.rescue.learner,
    }  # fmt: skip
    found |= {f"axis.{name}": shown(value) for name, value in cell.axes.items()}
    for index, fault in enumerate(cell.faults):
        found |= {f"fault.{index}.{name}": value for name, value in _parameters(fault).items()}
    return found | {
        f"rescue.{name}": getattr(cell.rescue, name) for name in Rescue.model_fields if name not in ("strategy", "learner")
    }


def _parameters(fault: Fault) -> dict[str, Any]:
    """Return every parameter of a fault, defaults too; when it acts as ``when.<part>``."""
    found: dict[str, Any] = {"kind": fault.kind}
    for part in type(fault).model_fields:
        if part == "when":
            found |= {f"when.{name}": value for name, value in vars(fault.when).items()}
        else:
            found[part] = getattr(fault, part)
    return {name: value for name, value in found.items() if value is not None}


def _kind(values: Iterable[Any]) -> type:
    """Return the type that holds all of some values; text where they are mixed, or too large for a column of whole numbers."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if kinds == {bool}:
        return bool
    if kinds == {int} and all(-(1 << 63) <= value < 1 << 63 for value in known):
        return int
    return float if kinds and kinds <= {int, float} and float in kinds else str


def _as(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return kind(value)


_OF_POINT: Columns = {
    "label": str, "axis": str, "cell": int, "x": str, "low": float, "best": float, "high": float, "method": str, "narrow": bool,
    "lowest": float, "median": float, "highest": float, "draws": int, "failed": int, "stalled": int, "healthy": float,
    "damaged_low": float, "damaged_best": float, "damaged_high": float, "damaged_lowest": float,
    "recovered_low": float, "recovered_best": float, "recovered_high": float,
    "cycles": float, "writes": float, "energy_joule": float,
}  # fmt: skip


def summary_of(answer: Mapping[str, Any]) -> tuple[Columns, list[dict[str, Any]]]:
    """Return the columns and the rows of an answer, one a cell: what its figures show, each interval as ``low``, ``best``, ``high``.

    Args:
        answer: from :func:`neurofault.study.campaign.summary.answer_of`.
    """
    points = sorted(points_of(answer["curves"], metric_in(answer)), key=lambda point: int(point["cell"]))
    rows = [{name.replace("mean", "best"): value for name, value in point.items()} for point in points]
    kind = _kind(row["x"] for row in rows)
    worst = f"damaged_{metric_in(answer).worst_end}"
    columns = {worst if name == "damaged_lowest" else name: own for name, own in _OF_POINT.items()}
    return {**columns, "x": kind}, [{**row, "x": _as(row["x"], kind)} for row in rows]


def write_csv(found: Found, path: Path) -> None:
    """Write :func:`table_of` as CSV; lists as JSON, None as an empty field, numbers with seven digits.

    Raises:
        UsageError: the file cannot be written.
    """
    columns, rows = table_of(found)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(rounded({key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()}))
    save(path, text.getvalue())


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
    columns, rows = table_of(found)
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), list: pa.list_(pa.int64())}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    save(path, buffer.getvalue().to_pybytes())
