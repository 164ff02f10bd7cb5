"""Tables of plain text that never cut a number: side by side where the terminal is wide enough, else one value a line."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from neurofault.deploy.deployment import Deployment


def width() -> int | None:
    """Return the columns of the terminal; None: output goes elsewhere and may be as wide as it likes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def tabled(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str], columns: int | None) -> list[str]:
    """Return the lines of a table.

    Args:
        heads: names of the columns.
        rows: their texts.
        left: names of the columns that stand to the left; numbers stand to the right.
        columns: of the terminal; None: any number.
    """
    wide = [max(map(cell_len, texts)) for texts in zip(heads, *rows, strict=True)]
    if columns is not None and sum(wide) + 2 * (len(wide) - 1) > columns:
        return [line for row in rows for line in _stacked(heads, row, columns)]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text + " " * (space - cell_len(text)) if head in left else " " * (space - cell_len(text)) + text
            for head, text, space in zip(heads, texts, wide, strict=True)
        )
        return "  ".join(padded).rstrip()

    return [line(heads), *map(line, rows)]


def _stacked(heads: Sequence[str], row: Sequence[str], columns: int) -> list[str]:
    lines = wrapped(row[0] if heads[0] == "what" else f"{heads[0]}: {row[0]}", columns)
    for head, text in zip(heads[1:], row[1:], strict=True):
        lines += wrapped(f"  {head}: {text}", columns)
    return lines


def wrapped(text: str, columns: int | None) -> list[str]:
    """Return text in lines that fit, broken between words only."""
    if columns is None:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(),
        columns,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def tell(*texts: str) -> None:
    """Print texts as they are, each broken between words where the terminal is narrower."""
    columns = width()
    for text in texts:
        for line in text.split("\n"):
            print(line if columns is None or cell_len(line) <= columns else "\n".join(wrapped(line, columns)))


def draw_chip(deployment: Deployment) -> None:
    """Print the grid of cores, in colours on a terminal; a line that is wider than the terminal goes on in the next."""
    from rich.console import Console

    from neurofault.deploy.grid import draw_grid, grid_renderable

    if sys.stdout.isatty():
        Console(markup=False, emoji=False, highlight=False).print(grid_renderable(deployment), soft_wrap=True)
    else:
        print(draw_grid(deployment))
