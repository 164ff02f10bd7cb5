"""Figure 4: do repaired networks return to one set, is it connected, and what does the way look like beside a random walk?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.papers.rescue2019.landscape import (
    aligned,
    arc,
    barrier,
    first_exit,
    principal_components,
    random_walk,
    return_rate,
    t_sne,
)
from neurofault.papers.rescue2019.network import FloatNetwork
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.repairs import Repair, history, iterative, snapshots
from neurofault.papers.rescue2019.setting import Pair, Study
from neurofault.streams import stream_key
from neurofault.study.clustered import jackknife_interval
from neurofault.study.statistics import SHARE, t_interval

PAIR_TYPES = ("same trajectory", "same base, other order", "other base", "other base, aligned")


@dataclass(frozen=True)
class End:
    """A repaired network on a way.

    Attributes:
        pair: base and order.
        dead: nodes that have died; 0: the base itself.
    """

    pair: Pair
    dead: int


def ends(study: Study) -> list[tuple[str, End, End]]:
    """Return the pairs between which is interpolated, with their type."""
    setting, found = study.setting, list[tuple[str, End, End]]()
    for pair in study.pairs:
        found += [(PAIR_TYPES[0], End(pair, a), End(pair, b)) for a, b in combinations((0, *setting.barrier_deaths), 2)]
    for dead in setting.barrier_deaths:
        for base in range(setting.bases):
            for a, b in combinations(range(setting.repair_orders), 2):
                found.append((PAIR_TYPES[1], End(Pair(base, a), dead), End(Pair(base, b), dead)))
    for kind in PAIR_TYPES[2:]:
        for a, b in combinations(range(setting.bases), 2):
            found.append((kind, End(Pair(a, 0), 0), End(Pair(b, 0), 0)))
            for dead in setting.barrier_deaths:
                for order in range(setting.repair_orders):
                    found.append((kind, End(Pair(a, order), dead), End(Pair(b, order), dead)))
    return found


def fig4(study: Study) -> Figure:
    """Compute figure 4.

    JSON: ``return_rate`` {epsilon → left, returned, rate, low, high (over trajectories), outside, came_back}; ``first_exit`` {epsilon → m, survival,
    exits, median}; ``barriers`` {pair_type → mean, low, high (over ways, of which lines share ends), max (points of accuracy under the straight line), end_points (mean accuracies
    of both ends), loss_mean, inside (share of lines that stay in U of the headline epsilon), pairs}; ``embedding`` {repair, walk → share of
    variance of the first two components, arc, each with its interval over trajectories}. CSV: ways, barriers, lines, embedding.
    """
    setting, pairs = study.setting, study.pairs
    repairs = {pair: iterative(setting, pair, max(setting.deaths)) for pair in pairs}
    histories = {pair: history(study, repair) for pair, repair in repairs.items()}
    deaths = np.arange(1, max(setting.deaths) // setting.step + 1) * setting.step
    healthy = np.array([histories[pair].healthy for pair in pairs])
    damaged, repaired = (np.zeros((len(pairs), len(deaths))) for _ in range(2))
    for row, pair in enumerate(pairs):
        for step in range(len(deaths)):
            seen = histories[pair].until(step + 1)
            damaged[row, step], repaired[row, step] = seen.test[seen.began] / seen.n_test, seen.final
    returns, exits = returns_and_exits(damaged, repaired, healthy, deaths, setting.tolerances)
    ways = [
        {"base": pair.base, "order": pair.order, "m": int(m), "healthy": healthy[row], "damaged": damaged[row, k],
         "repaired": repaired[row, k]}
        for row, pair in enumerate(pairs) for k, m in enumerate(deaths)
    ]  # fmt: skip
    summary, barrier_rows, lines = _barriers(study, repairs)
    embedding, embedded = _embedding(study, repairs)
    answer: dict[str, Any] = {
        "setting": setting.name, "network": study.name(setting.study), "nodes_a_step": setting.step, "cycles_a_step": setting.cycles,
        "trajectories": len(pairs), "headline": setting.headline, "return_rate": returns, "first_exit": exits, "barriers": summary,
        "embedding": embedding,
    }  # fmt: skip
    return Figure("fig4", answer, {"ways": ways, "barriers": barrier_rows, "lines": lines, "embedding": embedded})


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


def _barriers(study: Study, repairs: dict[Pair, Repair]) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    setting, listed = study.setting, ends(study)
    rows, lines = [], []
    for done, (kind, one, other) in enumerate(listed):
        study.progress("figure 4, barriers", done, len(listed), kind)

        def compute(kind: str = kind, one: End = one, other: End = other) -> dict[str, Any]:
            a, b = _network(study, repairs, one), _network(study, repairs, other)
            found = barrier(a, aligned(a, b) if kind == PAIR_TYPES[3] else b, study.roles.test, setting.alphas)
            return {
                "height": found.height, "loss": found.loss_height, "ends": list(found.ends), "lowest": found.lowest,
                "accuracies": found.accuracies.tolist(),
            }  # fmt: skip

        key = {
            "unit": "barrier", "kind": kind, "alphas": setting.alphas, "seed": setting.seed, "step": setting.step,
            "cycles": setting.cycles, "last": max(setting.deaths),
            "ends": [[study.base(setting.study, end.pair.base).digest, end.pair.base, end.pair.order, end.dead] for end in (one, other)],
        }  # fmt: skip
        found = study.journal.once(key, compute)
        goal = min(_accuracy(study, end) for end in (one, other)) - setting.headline - 1e-12
        place = {
            "pair_type": kind, "base_a": one.pair.base, "order_a": one.pair.order, "m_a": one.dead, "base_b": other.pair.base,
            "order_b": other.pair.order, "m_b": other.dead,
        }  # fmt: skip
        rows.append(
            {**place, "accuracy_a": found["ends"][0], "accuracy_b": found["ends"][1], "lowest": found["lowest"],
             "barrier": found["height"], "loss_barrier": found["loss"], "ends_inside": min(found["ends"]) >= goal,
             "inside": found["lowest"] >= goal}
        )  # fmt: skip
        lines += [
            {**place, "alpha": k / (setting.alphas - 1), "accuracy": accuracy} for k, accuracy in enumerate(found["accuracies"])
        ]
    study.progress("figure 4, barriers", len(listed), len(listed), "")
    return summaries(rows), rows, lines


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


def summaries(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``barriers`` of the figure's JSON from the rows of its table."""
    found = {}
    for kind in PAIR_TYPES:
        own = [row for row in rows if row["pair_type"] == kind]
        loss = float(np.mean([row["loss_barrier"] for row in own]))
        found[kind] = {**barrier_summary(own, ("base", "order")), "loss_mean": loss}
    return found


def _network(study: Study, repairs: dict[Pair, Repair], end: End) -> FloatNetwork:
    base = study.network(study.base(study.setting.study, end.pair.base))
    if not end.dead:
        return base
    return base.with_vector(snapshots(study, repairs[end.pair])[2 * (end.dead // study.setting.step)])


def _accuracy(study: Study, end: End) -> float:
    """Return the accuracy of the healthy network that an end comes from."""
    return history(study, iterative(study.setting, end.pair, max(study.setting.deaths))).healthy


def shape_of(shares: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of a share over ways, with its interval."""
    interval = t_interval(shares, within=SHARE)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _embedding(study: Study, repairs: dict[Pair, Repair]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how much of an arc the ways draw, and all their points in the plane with the loss as height."""
    setting = study.setting
    shapes: dict[str, list[tuple[float, float, float]]] = {"repair": [], "walk": []}
    ways: dict[str, list[NDArray[np.float32]]] = {"repair": [], "walk": []}
    own: dict[str, list[NDArray[np.float64]]] = {"repair": [], "walk": []}
    for done, (pair, repair) in enumerate(repairs.items()):
        study.progress("figure 4, embedding", done, len(repairs), "")
        way = snapshots(study, repair)
        walk = random_walk(way, stream_key(setting.seed, "walk", pair.base, pair.order))
        for kind, points in (("repair", way), ("walk", walk)):
            scores, share = principal_components(points, 2)
            shapes[kind].append((float(share[0]), float(share[1]), arc(scores)))
            ways[kind].append(points)
            own[kind].append(scores)
    answer = {
        kind: {
            name: shape_of(column)
            for name, column in zip(("first_component", "second_component", "arc"), zip(*each, strict=True), strict=True)
        }
        for kind, each in shapes.items()
    }
    rows = []
    for kind, each in ways.items():
        points = np.concatenate(each)
        plane, scores = t_sne(points, setting.perplexity, setting.seed), principal_components(points, 2)[0]
        shape = study.network(study.base(setting.study, 0))
        for row, vector in enumerate(points):
            way_number, at = divmod(row, len(each[0]))
            pair, network = list(repairs)[way_number], shape.with_vector(vector)
            rows.append(
                {"kind": kind, "base": pair.base, "order": pair.order, "m": (at + 1) // 2 * setting.step,
                 "what": "base" if not at else ("damaged" if at % 2 else "repaired") if kind == "repair" else "walk",
                 "tsne_x": float(plane[row, 0]), "tsne_y": float(plane[row, 1]), "pc1": float(scores[row, 0]),
                 "pc2": float(scores[row, 1]), "own_pc1": float(own[kind][way_number][at, 0]),
                 "own_pc2": float(own[kind][way_number][at, 1]), "loss": network.loss(study.roles.test),
                 "accuracy": network.correct(study.roles.test) / len(study.roles.test)}
            )  # fmt: skip
    return answer, rows
