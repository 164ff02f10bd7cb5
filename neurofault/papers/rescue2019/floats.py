"""Networks of floats, as published, as the subject of the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from neurofault.papers.rescue2019.fig2 import recovered
from neurofault.papers.rescue2019.fig4 import shape_rows
from neurofault.papers.rescue2019.float_declines import conditions, curves, scaling
from neurofault.papers.rescue2019.float_repairs import (
    WAYS,
    FloatRepair,
    batch,
    history,
    iterative,
    snapshots,
    until_recovered,
    waiting,
)
from neurofault.papers.rescue2019.float_setting import FloatSetting, FloatStudy, Pair
from neurofault.papers.rescue2019.history import History
from neurofault.papers.rescue2019.landscape import aligned, barrier, principal_components, random_walk, t_sne
from neurofault.papers.rescue2019.network import FloatNetwork
from neurofault.papers.rescue2019.subject import Decline, Layout, Line, Match, Recovery, Row, Unit, Ways
from neurofault.streams import stream_key
from neurofault.study.changepoint import thresholds
from neurofault.study.statistics import t_interval

PAIR_TYPES = ("same trajectory", "same base, other order", "other base", "other base, aligned")

LAYOUT = Layout(
    prefix="", curve="network", units="orders",
    curves=("fraction", "mean", "sd", "low", "high", "orders", "least", "most"),
    recovery=("cycles", "best", "low", "high", "reached", "pairs", "gradient_steps", "updates", "test"),
    paired=(
        "iterative", "batch_total", "batch_last_step", "difference_total", "difference_last", "low", "high", "low_last", "high_last", "pairs",
        "healthy", "damaged", "sham", "fresh_subnetwork", "cycles_total", "cycles_last",
    ),
    served=("horizon_cycles", "iterative", "batch", "wait_then_batch", "no_repair", "difference", "low", "high", "pairs"),
    compared=("paired", "served", "recovery", "accounting", "pairs"), embedding="embedding",
)  # fmt: skip


@dataclass(frozen=True)
class End:
    """A repaired network on a way.

    Attributes:
        pair: base and order.
        dead: nodes that have died; 0: the base itself.
    """

    pair: Pair
    dead: int


def ends(study: FloatStudy) -> list[tuple[str, End, End]]:
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


@final
class Floats:
    """Networks of floats; a unit is a base and an order of deletion.

    Args:
        study: the setting at work.
    """

    def __init__(self, study: FloatStudy) -> None:
        self.study, self.layout = study, LAYOUT
        setting = study.setting
        self.tolerances, self.headline, self.sustained = setting.tolerances, setting.headline, setting.sustained
        self.cap, self.cycles = setting.cap, setting.cycles

    def heading(self, figure: str) -> Row:
        """Return what a figure's JSON begins with."""
        setting = self.study.setting
        if figure == "fig1":
            return {"setting": setting.name}
        begin = {"setting": setting.name, "network": self.study.name(setting.study), "weights": self.study.weights(setting.study)}
        pace = {"nodes_a_step": setting.step, "cycles_a_step": setting.cycles}
        match figure:
            case "fig2":
                return {
                    **begin, "cap": setting.cap, "headline": setting.headline, "sustained": setting.sustained,
                    "cycle_samples": len(self.study.roles.train), "strategies": {way.name: way.text for way in WAYS},
                }  # fmt: skip
            case "fig3":
                return {**begin, **pace, "cycle_samples": len(self.study.roles.train)}
            case _:
                return {**begin, **pace, "trajectories": len(self.study.pairs), "headline": setting.headline}

    def declines(self) -> Iterator[Decline]:
        """Yield every network at random, then by layer, by importance, and trained with dropout."""
        listed = list(conditions(self.study))
        for done, condition in enumerate(listed):
            self.study.progress("figure 1", done, len(listed), condition.name)
            found = curves(self.study, condition)
            values = np.stack(list(found.values()))
            units = tuple({"base": base, "order": order} for base, order in found)
            dead = np.arange(values.shape[1])
            yield Decline(condition.name, dead, np.linspace(0, 1, len(dead)), values, units)
        self.study.progress("figure 1", len(listed), len(listed), "")

    def of_declines(self, seen: Sequence[Decline]) -> Row:
        """Return the accuracies and weights of the bases, and how the marks change with the width."""
        plain = {self.study.name(hidden): hidden[0] for hidden in self.study.setting.networks if len(hidden) == 1}
        marks = [
            (plain[one.name], int(unit["base"]), thresholds(one.fraction, each))
            for one in seen
            if one.name in plain
            for unit, each in zip(one.units, one.values, strict=True)
        ]
        bases = {
            one.name: {
                str(unit["base"]): float(each[0]) for unit, each in zip(one.units, one.values, strict=True) if not unit["order"]
            }
            for one in seen
        }
        weights = {one.name: self.study.weights(one.hidden, one.dropout) for one in conditions(self.study) if one.whole}
        return {"bases": bases, "weights": weights, "width_scaling": scaling(marks)}

    def recoveries(self) -> Iterator[Recovery]:
        """Yield every strategy at every number of dead."""
        study, setting = self.study, self.study.setting
        jobs = [(way, m) for way in WAYS for m in (setting.deaths if way.hurts else (0,))]
        done, total = 0, sum(len(way.pairs(study)) for way, _ in jobs)
        for way, m in jobs:
            seen = []
            for pair in way.pairs(study):
                study.progress("figure 2", done, total, f"{way.name}, {m} dead")
                done += 1
                seen.append(history(study, until_recovered(setting, way, pair, m)))
            yield Recovery({"strategy": way.name, "m": m}, tuple(map(_unit, way.pairs(study))), tuple(seen))
        study.progress("figure 2", total, total, "")

    def recovery_costs(self, seen: Sequence[History], at: Sequence[int | None]) -> Row:
        """Return gradient steps, updates and the test accuracy, means over those that have recovered."""
        reached = [(one, i) for one, i in zip(seen, at, strict=True) if i is not None]
        return {
            "gradient_steps": _mean([one.steps[i] - one.steps[one.began] for one, i in reached]),
            "updates": _mean([one.updates[i] - one.updates[one.began] for one, i in reached]),
            "test": _mean([one.test[i] / one.n_test for one, i in reached]),
        }

    def recovery_pairs(self, one: Recovery) -> list[Row]:
        """Return a row for each tolerance and pair."""
        rows = []
        for tolerance in self.tolerances:
            for unit, seen in zip(one.units, one.seen, strict=True):
                at = recovered(seen, tolerance, self.sustained)
                rows.append(
                    {**one.place, "tolerance": tolerance, **unit, "healthy": seen.healthy, "damaged": seen.changed,
                     "cycles": None if at is None else seen.cycles_at(at), "test": None if at is None else seen.test[at] / seen.n_test,
                     "best": seen.best}
                )  # fmt: skip
        return rows

    def of_recoveries(self, seen: Sequence[Recovery]) -> Row:
        """Return the damaged, the healthy, the sham's gain, and tolerances that are too small to be told."""
        found = {(one.place["strategy"], one.place["m"]): one.seen for one in seen}
        deaths, shams = self.study.setting.deaths, found["sham", 0]
        gain = t_interval([one.final - one.healthy for one in shams])
        return {
            "damaged": {str(m): _mean([one.changed for one in found["batch", m]]) for m in deaths},
            "healthy": _mean([one.healthy for one in found["batch", deaths[0]]]),
            "controls": {"sham_gain": gain.mean, "low": gain.low, "high": gain.high, "cycles": self.cap, "bases": gain.n},
            "warnings": _warnings(self.study, shams),
        }

    def matches(self) -> Iterator[Match]:
        """Yield the comparisons at every number of dead."""
        study, setting = self.study, self.study.setting
        done, total = 0, len(study.pairs) * len(setting.deaths)
        for m in setting.deaths:
            steps, ways, whole, still, shams, recoveries = (
                m // setting.step,
                list[History](),
                list[History](),
                list[History](),
                list[float](),
                [],
            )
            for pair in study.pairs:
                study.progress("figure 3", done, total, f"{m} dead")
                done += 1
                ways.append(history(study, iterative(setting, pair, max(setting.deaths))).until(steps))
                whole.append(history(study, batch(setting, pair, m, "batch")))
                still.append(history(study, waiting(study, pair, m)))
                shams.append(history(study, batch(setting, pair, max(setting.deaths), "sham")).at_cycle(steps * setting.cycles))
                recoveries.append(_recovery(study, pair, m))
            later = [one.then(other) for one, other in zip(still, whole, strict=True)]
            more = {
                "sham": float(np.mean(shams)), "fresh_subnetwork": _fresh(study, m), "cycles_total": steps * setting.cycles,
                "cycles_last": setting.cycles,
            }  # fmt: skip
            horizon = 2 * steps * setting.cycles
            books = {
                name: [_book(one, count, one.mean_served(horizon)) for one in each]
                for name, each, count in (("iterative", ways, steps), ("batch", whole, 1), ("wait then batch", later, 1))
            }
            tables = {
                "recovery": [{"m": m, **_recovered(setting, recoveries)}],
                "accounting": [
                    {"m": m, "strategy": name, **{key: float(np.mean([one[key] for one in each])) for key in each[0]}}
                    for name, each in books.items()
                ],
                "pairs": [
                    {"m": m, **_unit(pair), "healthy": ways[k].healthy, "damaged": whole[k].changed, "iterative": ways[k].final,
                     "batch_total": whole[k].final, "batch_last_step": whole[k].at_cycle(setting.cycles), "sham": shams[k],
                     "served_iterative": ways[k].mean_served(horizon), "served_batch": whole[k].mean_served(horizon),
                     "served_wait_then_batch": later[k].mean_served(horizon), "served_no_repair": still[k].mean_served(horizon)}
                    for k, pair in enumerate(study.pairs)
                ],
            }  # fmt: skip
            units = tuple(map(_unit, study.pairs))
            yield Match({"m": m}, steps, units, tuple(ways), tuple(whole), tuple(still), more, tables)
        study.progress("figure 3", total, total, "")

    def matched(self, tables: dict[str, list[Row]]) -> None:
        """Leave the tables as they are."""

    def ways(self) -> Iterator[Ways]:
        """Yield the iterative repairs of all pairs."""
        setting = self.study.setting
        deaths = np.arange(1, max(setting.deaths) // setting.step + 1) * setting.step
        seen = tuple(history(self.study, repair) for repair in self._repairs().values())
        yield Ways({}, deaths, tuple(map(_unit, self.study.pairs)), seen)

    def lines(self, ways: Ways) -> Iterator[Line]:
        """Yield the lines between the ends of ways, and between bases."""
        study, repairs = self.study, self._repairs()
        listed = ends(study)
        for done, (kind, one, other) in enumerate(listed):
            study.progress("figure 4, barriers", done, len(listed), kind)

            found = self.line(kind, one, other)
            healthy = min(history(study, repairs[end.pair]).healthy for end in (one, other))
            both = ((_unit(one.pair), one.dead), (_unit(other.pair), other.dead))
            yield Line(kind, both, np.asarray(found["accuracies"]), healthy, {"loss_barrier": found["loss"]})
        study.progress("figure 4, barriers", len(listed), len(listed), "")

    def line(self, kind: str, one: End, other: End) -> Row:
        """Return what lies on a line: ``loss`` (the barrier's height), ``accuracies``."""
        study, setting, repairs = self.study, self.study.setting, self._repairs()

        def compute() -> Row:
            a, b = _network(study, repairs, one), _network(study, repairs, other)
            found = barrier(a, aligned(a, b) if kind == PAIR_TYPES[3] else b, study.roles.test, setting.alphas)
            return {"loss": found.loss_height, "accuracies": found.accuracies.tolist()}

        key = {
            "unit": "line", "kind": kind, "alphas": setting.alphas, "seed": setting.seed, "step": setting.step,
            "cycles": setting.cycles, "last": max(setting.deaths),
            "ends": [[study.base(setting.study, end.pair.base).digest, end.pair.base, end.pair.order, end.dead] for end in (one, other)],
        }  # fmt: skip
        found: Row = study.units.once(key, compute)
        return found

    def shapes(self, ways: Ways) -> tuple[list[Row], list[Row]]:
        """Return the shapes of ways and walks, and all their points in the plane with the loss as height."""
        study, setting, repairs = self.study, self.study.setting, self._repairs()
        shapes, rows, points, planes = list[Row](), list[Row](), [], []
        for done, (pair, repair) in enumerate(repairs.items()):
            study.progress("figure 4, embedding", done, len(repairs), "")
            way = snapshots(study, repair)
            walk = random_walk(way, stream_key(setting.seed, "walk", pair.base, pair.order))
            found, own = shape_rows(way, walk)
            shapes += found
            points.append((way, walk))
            planes.append(own)
        network = study.network(study.base(setting.study, 0))
        for which, kind in enumerate(("repair", "walk")):
            whole = np.concatenate([each[which] for each in points])
            plane, scores = t_sne(whole, setting.perplexity, setting.seed), principal_components(whole, 2)[0]
            for row, vector in enumerate(whole):
                way_number, at = divmod(row, len(points[0][which]))
                here, own_plane = network.with_vector(vector), planes[way_number][which]
                rows.append(
                    {"kind": kind, **_unit(list(repairs)[way_number]), "m": (at + 1) // 2 * setting.step,
                     "what": "base" if not at else ("damaged" if at % 2 else "repaired") if kind == "repair" else "walk",
                     "tsne_x": float(plane[row, 0]), "tsne_y": float(plane[row, 1]), "pc1": float(scores[row, 0]),
                     "pc2": float(scores[row, 1]), "own_pc1": float(own_plane[at, 0]), "own_pc2": float(own_plane[at, 1]),
                     "loss": here.loss(study.roles.test), "accuracy": here.correct(study.roles.test) / len(study.roles.test)}
                )  # fmt: skip
        return shapes, rows

    def _repairs(self) -> dict[Pair, FloatRepair]:
        setting = self.study.setting
        return {pair: iterative(setting, pair, max(setting.deaths)) for pair in self.study.pairs}


def _unit(pair: Pair) -> Unit:
    return asdict(pair)


def _mean(values: list[float] | list[int]) -> float | None:
    return float(np.mean(values)) if values else None


def _warnings(study: FloatStudy, seen: Sequence[History]) -> list[str]:
    """Return a line for each tolerance that lies under two standard errors of the validation accuracy."""
    n = len(study.roles.validation)
    share = float(np.mean([one.validation[0] / n for one in seen]))
    two = 2 * (share * (1 - share) / n) ** 0.5
    return [
        f"tolerance {100 * tolerance:g} points is under two standard errors ({100 * two:.2f} points) of {n} validation images"
        for tolerance in study.setting.tolerances
        if tolerance < two
    ]


def _fresh(study: FloatStudy, m: int) -> float:
    """Return the mean accuracy of fresh sub-networks with the same masks after the total budget (or where figure 2 stopped them)."""
    way = next(way for way in WAYS if way.name == "fresh-subnetwork")
    seen = [history(study, until_recovered(study.setting, way, pair, m)) for pair in way.pairs(study)]
    return float(np.mean([one.at_cycle(m // study.setting.step * study.setting.cycles) for one in seen]))


def _book(one: History, repairs: int, served: float) -> dict[str, float]:
    total = one.steps[-1]
    return {
        "cycles_per_step": total / one.cycle / repairs, "cycles_since_last_damage": one.cycles_at(-1), "cycles_total": total / one.cycle,
        "gradient_steps": total, "updates": one.updates[-1], "final": one.final, "worst": one.worst, "served": served,
    }  # fmt: skip


def _recovery(study: FloatStudy, pair: Pair, m: int) -> tuple[float, float, float]:
    """Return cycles until recovered: the iterative repair's last step, all its steps, batch repair; infinite where never."""
    setting = study.setting
    way = history(study, iterative(setting, pair, max(setting.deaths), until_recovered=True)).until(m // setting.step)
    at = way.recovered(setting.headline, setting.sustained)
    batch = history(study, until_recovered(setting, WAYS[0], pair, m))
    other = batch.recovered(setting.headline, setting.sustained)
    last = np.inf if at is None else way.cycles_at(at)
    spent = np.inf if at is None else way.steps[at] / way.cycle
    return last, spent, np.inf if other is None else batch.cycles_at(other)


def _recovered(setting: FloatSetting, each: list[tuple[float, float, float]]) -> dict[str, Any]:
    last, spent, batch = (np.array(column) for column in zip(*each, strict=True))

    def median(values: Any, cap: int) -> float | str:
        value = float(np.quantile(values, 0.5, method="inverted_cdf"))
        return f">{cap}" if np.isinf(value) else value

    return {
        "tolerance": setting.headline, "iterative_last_step": median(last, setting.step_cap),
        "iterative_total": "not recovered" if np.isinf(np.quantile(spent, 0.5, method="inverted_cdf")) else median(spent, 0),
        "batch": median(batch, setting.cap), "iterative_reached": int(np.isfinite(last).sum()),
        "batch_reached": int(np.isfinite(batch).sum()), "pairs": len(each),
    }  # fmt: skip


def _network(study: FloatStudy, repairs: dict[Pair, FloatRepair], end: End) -> FloatNetwork:
    base = study.network(study.base(study.setting.study, end.pair.base))
    if not end.dead:
        return base
    return base.with_vector(snapshots(study, repairs[end.pair])[2 * (end.dead // study.setting.step)])
