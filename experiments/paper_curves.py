"""Curved paths between repaired networks: the tables of docs/does_it_hold.md and what it says of them in sentences (beside ``paper_tables.py`` and ``paper_claims.py``).

The data are ``curves.json`` (`neurofault paper curves`, three bases) and ``digits_curves.csv`` (``paper_digits.py``, five trainings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from paper_digits import FLOATS
from paper_holm import read
from paper_words import apart, between, number, percent, table

from neurofault.papers.rescue2019.curves import PATHS, summaries

HEADLINE = "0.005"


def digits() -> list[dict[str, Any]]:
    """Return what pairs have in common, over five trainings of digits."""
    return summaries(table("digits_curves"), FLOATS.tolerances)


def rows(found: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table."""
    yield (
        "pair", "dead", "ends", "barrier, straight line", "barrier, curve", "line − curve", "largest: line, curve",
        "stay in U (ε = 0.5), of those with both ends in it: lines, curves", "within half a point of the worse end: lines, curves", "pairs",
    )  # fmt: skip
    for row in found:
        inside, level = row["inside"][HEADLINE], row["level"][HEADLINE]
        yield (
            row["pair_type"], str(row["m"]), ", ".join(percent(end) for end in row["end_points"]),
            *(f"{number(100 * row[name]['mean'], 2)} {between(row[name], signed=False)}" for name in PATHS),
            apart({**row["difference"], "difference": row["difference"]["mean"]}),
            ", ".join(number(100 * row[name]["max"], 2) for name in PATHS),
            "–" if not inside["ends_inside"] else ", ".join(f"{inside[name]} of {inside['ends_inside']}" for name in PATHS),
            ", ".join(str(level[name]) for name in PATHS), str(row["pairs"]),
        )  # fmt: skip


def curves() -> Iterator[tuple[str, ...]]:
    """Lines and curves, networks of floats."""
    yield from rows(read("curves")["rows"])


def digits_curves() -> Iterator[tuple[str, ...]]:
    """Lines and curves, five trainings of digits."""
    yield from rows(digits())
