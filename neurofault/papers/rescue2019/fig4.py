"""Figure 4: do repaired networks or chips return to one set, is it connected, and what does the way look like beside a random walk?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.papers.rescue2019.landscape import arc, first_exit, principal_components, return_rate
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Line, Row, Subject, Ways
from neurofault.study.clustered import jackknife_interval
from neurofault.study.statistics import SHARE, t_interval

SHAPE = ("first_component", "second_component", "arc")


def fig4(subject: Subject) -> Figure:
    """Compute figure 4.

    JSON (on chips each by loss): ``return_rate`` {epsilon → left, returned, rate, low, high (over ways), outside, came_back}; ``first_exit``
    {epsilon → m, survival, exits, median}; ``barriers`` {pair_type → mean, low, high (over ways, of which lines share ends), max (points of
    accuracy under the straight line), end_points (mean accuracies of both ends), lowest, pairs, ends_inside, inside (lines that stay in U of
    the headline epsilon), and of networks of floats loss_mean}; ``embedding`` {repair, walk → share of variance of the first two components,
    arc, each with its interval over ways}. CSV: ways, barriers, lines, and the points or shapes of the embedding.
    """
    parts: dict[str, Any] = {"return_rate": {}, "first_exit": {}, "barriers": {}, "embedding": {}}
    tables: dict[str, list[Row]] = {"ways": [], "barriers": [], "lines": [], subject.layout.embedding: []}
    for ways in subject.ways():
        returns, exits, rows = _returns(subject, ways)
        tables["ways"] += rows
        barriers, lines = _barriers(subject, ways)
        tables["barriers"] += barriers
        tables["lines"] += lines
        each, embedded = subject.shapes(ways)
        tables[subject.layout.embedding] += embedded
        found = {"return_rate": returns, "first_exit": exits, "barriers": summaries(barriers), "embedding": shapes(each)}
        for key, value in found.items():
            if ways.name is None:
                parts[key] = value
            else:
                parts[key][ways.name] = value
    return Figure(f"{subject.layout.prefix}fig4", {**subject.heading("fig4"), **parts}, tables)


def _returns(subject: Subject, ways: Ways) -> tuple[Row, Row, list[Row]]:
    """Return return rates, first exits and the ways."""
    healthy = np.array([one.healthy for one in ways.seen])
    damaged, repaired = (np.zeros((len(ways.seen), len(ways.deaths))) for _ in range(2))
    for row, one in enumerate(ways.seen):
        for step in range(len(ways.deaths)):
            until = one.until(step + 1)
            damaged[row, step], repaired[row, step] = until.changed, until.final
    returns, exits = returns_and_exits(damaged, repaired, healthy, ways.deaths, subject.tolerances)
    rows = [
        {**ways.place, **unit, "m": int(m), "healthy": healthy[row], "damaged": damaged[row, k], "repaired": repaired[row, k]}
        for row, unit in enumerate(ways.units) for k, m in enumerate(ways.deaths)
    ]  # fmt: skip
    return returns, exits, rows


def returns_and_exits(
    damaged: NDArray[np.float64],
    repaired: NDArray[np.float64],
    healthy: NDArray[np.float64],
    deaths: NDArray[np.int64],
    tolerances: Sequence[float],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``return_rate`` and ``first_exit`` of figure 4, by tolerance.

    Args:
        damaged: [trajectories, steps], accuracy right after each damage step.
        repaired: [trajectories, steps], after the repair that follows it.
        healthy: [trajectories], before anything happened.
        deaths: int [steps], dead at each step.
        tolerances: epsilon of U, in accuracy.

    Raises:
        UsageError: shapes that do not fit, or a negative tolerance.
    """
    returns, exits = {}, {}
    for epsilon in tolerances:
        back, leaving = return_rate(damaged, repaired, healthy, epsilon), first_exit(repaired, healthy, deaths, epsilon)
        rate = back.rate
        returns[f"{epsilon:g}"] = {
            "left": back.left, "returned": back.returned, "rate": rate.mean if rate else None, "low": rate.low if rate else None,
            "high": rate.high if rate else None, "outside": back.outside, "came_back": back.came_back,
        }  # fmt: skip
        exits[f"{epsilon:g}"] = {
            "m": deaths.tolist(), "survival": leaving.survival.tolist(), "exits": list(leaving.exits), "median": leaving.median
        }  # fmt: skip
    return returns, exits


def _barriers(subject: Subject, ways: Ways) -> tuple[list[Row], list[Row]]:
    """Return a row for each line, and its points."""
    rows, points = list[Row](), list[Row]()
    for line in subject.lines(ways):
        accuracies, share = line.accuracies, np.linspace(0, 1, len(line.accuracies))
        first, last = float(accuracies[0]), float(accuracies[-1])
        height = float((accuracies[0] + share * (accuracies[-1] - accuracies[0]) - accuracies).max())
        goal = line.healthy - subject.headline - 1e-12
        place = {**ways.place, "pair_type": line.kind, **_ends(line)}
        rows.append(
            {**place, "accuracy_a": first, "accuracy_b": last, "lowest": float(accuracies.min()), "barrier": max(0.0, height), **line.more,
             "ends_inside": min(first, last) >= goal, "inside": bool(accuracies.min() >= goal)}
        )  # fmt: skip
        points += [
            {**place, "alpha": float(alpha), "accuracy": float(accuracy)} for alpha, accuracy in zip(share, accuracies, strict=True)
        ]
    return rows, points


def _ends(line: Line) -> Row:
    return {
        f"{name}_{end}": value
        for end, (unit, dead) in zip("ab", line.ends, strict=True)
        for name, value in {**unit, "m": dead}.items()
    }


def summaries(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``barriers`` of the figure's JSON from the rows of its table: for each type of pair what its lines have in common."""
    found = {}
    for kind in dict.fromkeys(row["pair_type"] for row in rows):
        own = [row for row in rows if row["pair_type"] == kind]
        found[kind] = barrier_summary(own, ("draw",) if "draw_a" in own[0] else ("base", "order"))
        if "loss_barrier" in own[0]:
            found[kind]["loss_mean"] = float(np.mean([row["loss_barrier"] for row in own]))
    return found


def barrier_summary(rows: Sequence[Mapping[str, Any]], way: Sequence[str]) -> dict[str, Any]:
    """Return what the lines of one type of pair have in common.

    Args:
        rows: one a line: ``barrier``, ``accuracy_a``, ``accuracy_b``, ``lowest`` as fractions; ``ends_inside`` and ``inside``, bool.
        way: columns, with ``_a`` and ``_b`` behind them, that name the way that an end lies on: lines that share one are not independent.
    """
    ways = [[tuple(row[f"{name}_{end}"] for name in way) for end in "ab"] for row in rows]
    heights = jackknife_interval([row["barrier"] for row in rows], ways)
    between = [row for row in rows if row["ends_inside"]]
    return {
        "mean": heights.mean, "low": heights.low, "high": heights.high, "max": max(row["barrier"] for row in rows),
        "end_points": [float(np.mean([row[name] for row in rows])) for name in ("accuracy_a", "accuracy_b")],
        "lowest": float(min(row["lowest"] for row in rows)), "pairs": len(rows), "ends_inside": len(between),
        "inside": sum(row["inside"] for row in between),
    }  # fmt: skip


def shape_of(shares: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of a share over ways, with its interval."""
    interval = t_interval(shares, within=SHARE)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def shape_rows(points: NDArray[np.float32], walk: NDArray[np.float32]) -> tuple[list[Row], list[NDArray[np.float64]]]:
    """Return how much of an arc a way and its random walk draw in the plane of their first two components, and their scores in it.

    Args:
        points: float32 [n, P], the way.
        walk: likewise.
    """
    rows, planes = list[Row](), list[NDArray[np.float64]]()
    for kind, each in (("repair", points), ("walk", walk)):
        scores, share = principal_components(each, 2)
        rows.append({"kind": kind, "first_component": float(share[0]), "second_component": float(share[1]), "arc": arc(scores)})
        planes.append(scores)
    return rows, planes


def shapes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``embedding`` of the figure's JSON from :func:`shape_rows` of all ways."""
    return {
        kind: {name: shape_of([row[name] for row in rows if row["kind"] == kind]) for name in SHAPE} for kind in ("repair", "walk")
    }
