"""Curved paths between repaired networks: the tables of docs/does_it_hold.md and what it says of them in sentences (beside ``paper_tables.py`` and ``paper_claims.py``).

The data are ``curves.json`` (`neurofault paper curves`, three bases) and ``digits_curves.csv`` (``paper_digits.py``, five trainings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from paper_digits import FLOATS
from paper_holm import read
from paper_words import apart, between, number, percent, table

from neurofault.papers.rescue2019.curves import OTHER_ORDER, OTHER_TRAINING, PATHS, SAME_DAMAGE, summaries

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


def totals(found: Iterable[dict[str, Any]], kind: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return over all numbers of dead of a kind of pair: ``inside`` with ``ends_inside``, and ``level`` with ``pairs``."""
    own = [row for row in found if row["pair_type"] == kind]
    inside = {name: sum(row["inside"][HEADLINE][name] for row in own) for name in ("ends_inside", *PATHS)}
    return inside, {
        "pairs": sum(row["pairs"] for row in own),
        **{name: sum(row["level"][HEADLINE][name] for row in own) for name in PATHS},
    }


def span(values: Iterable[float], digits: int = 2) -> str:
    """Return the least and the largest of accuracies' differences in points; once where they are written the same."""
    low, *_, high = [number(100 * value, digits) for value in sorted(values)] * 2
    return low if low == high else f"{low} to {high}"


def sentences() -> Iterator[str]:
    """What the page says of them in sentences."""
    full, small = read("curves")["rows"], digits()
    inside, level = totals(full, OTHER_ORDER)
    yield f"{inside['curve']} of {inside['ends_inside']} curves do"
    for found, words in ((full, "of one base"), (small, "of one training")):
        heights = {name: span(row[name]["mean"] for row in found if row["pair_type"] == OTHER_ORDER) for name in PATHS}
        yield f"between ways {words} the line falls {heights['line']} points under its ends in the mean, the curve {heights['curve']}"
        inside, level = totals(found, OTHER_ORDER)
        yield f"{inside['curve']} of the {inside['ends_inside']} curves whose ends are in U (ε = 0.5) stay inside, {inside['line'] or 'none'} of the lines"
        yield f"{level['curve']} of {level['pairs']} curves stay within half a point of their worse end, {level['line']} of the lines"
        (control,) = (row for row in found if row["pair_type"] == OTHER_TRAINING)
        yield f"the line falls {number(100 * control['line']['mean'])} points, the curve {number(100 * control['curve']['mean'])}"
    heights = {name: span(row[name]["mean"] for row in full if row["pair_type"] == SAME_DAMAGE) for name in PATHS}
    yield f"the straight line falls {heights['line']} points in the mean, the curve {heights['curve']}"
