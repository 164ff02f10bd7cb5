"""How a figure leaves: JSON, CSV and pictures, each whole or not at all, with the same bytes for the same results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.files import write_whole
from neurofault.study.csv_table import Rows, rounded, table


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure as data.

    Attributes:
        name: as its files begin: ``fig1`` to ``fig4``, ``curves``, on chips with ``chip_`` before it.
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


def save(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return path
