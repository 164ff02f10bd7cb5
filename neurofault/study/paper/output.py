"""How a figure leaves: JSON, CSV and pictures, each whole or not at all, with the same bytes for the same results."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure as data.

    Attributes:
        name: ``fig1`` to ``fig4``.
        answer: what its JSON holds.
        tables: name → rows with the same keys; each becomes ``<figure>_<name>.csv``.
    """

    name: str
    answer: dict[str, Any]
    tables: Mapping[str, Rows]


def write(figure: Figure, folder: Path) -> list[Path]:
    """Write the JSON and CSV files of a figure and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    written = [save(folder / f"{figure.name}.json", json.dumps(rounded(figure.answer), indent=1, ensure_ascii=False) + "\n")]
    for name, rows in figure.tables.items():
        written.append(save(folder / f"{figure.name}_{name}.csv", table(rows)))
    return written


def table(rows: Rows) -> str:
    """Return rows as CSV; numbers as :func:`rounded`, None as an empty field.

    >>> print(table([{"m": 1, "accuracy": 0.5}, {"m": 2, "accuracy": None}]), end="")
    m,accuracy
    1,0.5
    2,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(dict(row)) for row in rows])
    return text.getvalue()


def rounded(value: Any) -> Any:
    """Return JSON values with floats at seven significant digits and NaN as None, in all depths.

    >>> rounded({"a": [1 / 3, float("nan"), 2]})
    {'a': [0.3333333, None, 2]}
    """
    match value:
        case float():
            return None if math.isnan(value) else float(f"{value:.7g}")
        case Mapping():
            return {key: rounded(one) for key, one in value.items()}
        case list() | tuple():
            return [rounded(one) for one in value]
        case _:
            return value


def save(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return path
