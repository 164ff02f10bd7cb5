"""How "Does it hold?" and the preprint read the published tables and write their numbers: one rule of rounding for both.

Halves are rounded away from zero: 0.575 is 58 %, as one rounds by hand. What Python prints of a float rounds halves to the even digit, or to where the nearest binary number lies.
"""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from paper_statistics import value_of

DATA = Path(__file__).parents[1] / "docs" / "data" / "paper"


class WrongTextError(Exception):
    """The data do not say what a text says."""


def table(name: str, **where: Any) -> list[dict[str, Any]]:
    """Return the rows of a published CSV file that have these values."""
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [{key: value_of(text) for key, text in row.items()} for row in csv.DictReader(file)]
    return rows_of(rows, **where)


def rows_of(rows: list[dict[str, Any]], **where: Any) -> list[dict[str, Any]]:
    """Return the rows that have these values."""
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def one(rows: list[dict[str, Any]], **where: Any) -> dict[str, Any]:
    """Return the only row that has these values."""
    found = rows_of(rows, **where)
    if len(found) != 1:
        raise WrongTextError(f"{len(found)} rows have {where}")
    return found[0]


def exact(value: float) -> Decimal:
    """Return the size of a number as it was meant, without the last digits of binary fractions."""
    return Decimal(str(round(abs(value), 9)))


def number(value: float, digits: int = 1, signed: bool = False) -> str:
    """Return a number with so many digits behind the point, halves rounded up, and a comma each thousand; − is the minus sign, and what rounds to zero has no sign."""
    size = exact(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{'' if not size else '−' if value < 0 else '+' if signed else ''}{size:,}"


def significant(value: float, digits: int = 2) -> str:
    """Return a number with so many digits that count: 0.33, 3, 12."""
    size = exact(value)
    if not size:
        return "0"
    size = size.quantize(Decimal(1).scaleb(size.adjusted() + 1 - digits), ROUND_HALF_UP)
    return f"{'−' if value < 0 else ''}{size.normalize():f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent; – where there is none."""
    return "–" if value is None or value != value else f"{number(100 * value, digits)} %"


def points(value: float, digits: int = 2) -> str:
    """Return a difference of accuracies in points, with its sign."""
    return number(100 * value, digits, signed=True)


def between(row: Any, low: str = "low", high: str = "high", scale: float = 100, digits: int = 2, signed: bool = True) -> str:
    """Return an interval, by default one of accuracies' differences in points."""
    return f"[{number(scale * row[low], digits, signed)}, {number(scale * row[high], digits, signed)}]"


def apart(row: Any, value: str = "difference", low: str = "low", high: str = "high", digits: int = 2) -> str:
    """Return a difference of accuracies in points with its interval."""
    return f"{points(row[value], digits)} {between(row, low, high, digits=digits)}"


def cycles(value: float | str, digits: int = 2) -> str:
    """Return cycles; ``>35`` stays what it is: never within the cap."""
    return f"> {value[1:]}" if isinstance(value, str) else significant(value, digits)


def marked(text: str, test: Any) -> str:
    """Return a text, bold where its test is decided over the whole page, in italics where it is over its own figure alone."""
    undecided = "undecided"
    return f"**{text}**" if test["on_page"] != undecided else f"*{text}*" if test["in_figure"] != undecided else text
