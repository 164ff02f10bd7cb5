"""Chips with dead cores and dead neurons as the subject of the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import final

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.metrics import ACCURACY
from neurofault.papers.rescue2019.chip_jobs import decline_jobs, match_jobs, recovery_jobs
from neurofault.papers.rescue2019.chip_match import book, controls, drawn, joules
from neurofault.papers.rescue2019.chip_repairs import (
    WAYS,
    history,
    perform,
    until_recovered,
    whole_way,
)
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.chip_vectors import vector, with_vector
from neurofault.papers.rescue2019.compare import compared, judged
from neurofault.papers.rescue2019.fig2 import recovered
from neurofault.papers.rescue2019.fig4 import shape_rows
from neurofault.papers.rescue2019.history import History
from neurofault.papers.rescue2019.landscape import random_walk
from neurofault.papers.rescue2019.subject import Decline, Layout, Line, Match, Recovery, Row, Ways
from neurofault.streams import stream_key
from neurofault.study.statistics import t_interval

PAIR_TYPES = ("same trajectory", "other draw")
CYCLES, LAST = "equal cycles in all", "equal cycles after the last death"
STOPPED = "equal cycles in all, each stopped at its best look"

LAYOUT = Layout(
    prefix="chip_", curve="curve", units="draws",
    curves=("fraction", "dead", "mean", "sd", "low", "high", "orders"),
    recovery=("cycles", "low", "high", "best", "reached", "pairs", "writes", "energy_joule"),
    paired=(
        "iterative", "batch_total", "batch_last_step", "difference_total", "difference_last", "low", "high", "low_last", "high_last", "pairs",
        "damaged", "healthy",
    ),
    served=(
        "horizon_cycles", "iterative", "batch", "wait_then_batch", "no_repair", "difference", "low", "high", "worst_iterative", "worst_batch",
    ),
    compared=("paired", "comparisons", "served", "controls", "accounting", "draws"), embedding="shapes",
)  # fmt: skip

POINTS = 25
"""Most points of a curve."""


def counts_of(study: ChipStudy, loss: str) -> NDArray[np.int64]:
    """Return the numbers of dead of a curve: 0 to all, as evenly as whole numbers allow; all of them where there are few."""
    whole = study.whole(loss)
    return np.unique(np.rint(np.linspace(0, whole, min(POINTS, whole + 1))).astype(np.int64))


def decline(study: ChipStudy, loss: str, bits: int, dropout: bool, draw: int, engine: IncrementalEngine) -> NDArray[np.float64]:
    """Return the test accuracy at each number of dead of a draw, [points]."""
    chip, counts = study.chip(bits, dropout), counts_of(study, loss)

    def compute() -> list[int]:
        broken = [study.hurt(chip.deployment, loss, int(count), draw) for count in counts]
        return [int(ACCURACY.total(one, chip.test.labels)) for one in engine.run_many(broken, chip.test.inputs)]

    key = {
        "unit": "chip decline", "chip": chip.digest, "seed": study.setting.seed, "loss": loss, "counts": counts.tolist(), "draw": draw
    }  # fmt: skip
    return np.asarray(study.units.once(key, compute)) / len(chip.test.labels)


@final
class Chips:
    """Chips of one healthy deployment; a unit is a draw of the damage.

    Args:
        study: the setting at work.
    """

    def __init__(self, study: ChipStudy) -> None:
        self.study, self.layout = study, LAYOUT
        setting = study.setting
        self.tolerances, self.headline, self.sustained = setting.tolerances, setting.headline, setting.sustained
        self.cap, self.cycles = setting.cap, setting.cycles
        self._chips: dict[tuple[str, int], list[Deployment]] = {}

    def heading(self, figure: str) -> Row:
        """Return what a figure's JSON begins with."""
        study, setting = self.study, self.study.setting
        begin = {
            "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile
        }  # fmt: skip
        images = {"test_images": len(study.chip().test.labels)}
        match figure:
            case "fig1":
                return {**begin, "neurons_per_core": setting.neurons_per_core, **images}
            case "fig2":
                return {
                    **begin, "cap": setting.cap, "headline": setting.headline, "sustained": setting.sustained,
                    "cycle_samples": setting.adapt, "looks": list(setting.looks), "strategies": {way.name: way.text for way in WAYS},
                }  # fmt: skip
            case "fig3":
                cells = sum(len(loss.deaths) for loss in setting.losses) * len(setting.learners)
                return {
                    **begin, "cycles_a_step": setting.cycles, "cycle_samples": setting.adapt, **images, "draws": setting.draws,
                    "steps": {loss.name: loss.step for loss in setting.losses}, "energy_tables": list(self._tables),
                    "comparisons_made": cells * (4 + len(self._tables)),
                }  # fmt: skip
            case _:
                return {
                    **begin, "learner": setting.way_learner, "cycles_a_step": setting.cycles, "trajectories": setting.draws,
                    "headline": setting.headline, "steps": {loss.name: loss.way_step for loss in setting.losses},
                }  # fmt: skip

    @property
    def _tables(self) -> tuple[str, ...]:
        return tuple(self.study.chip().deployment.profile.energy_tables)

    def declines(self) -> Iterator[Decline]:
        """Yield dead cores and dead neurons, by stored bits, and of the network trained with dropout."""
        study, setting = self.study, self.study.setting
        jobs = decline_jobs(setting)
        for done, (loss, bits, dropout) in enumerate(jobs):
            name = f"{loss.name}, {bits} bits" + (", dropout-trained" if dropout else "")
            study.progress("figure 1", done, len(jobs), name)
            engine, draws = IncrementalEngine(), range(setting.decline_draws)
            values = np.stack([decline(study, loss.name, bits, dropout, draw, engine) for draw in draws])
            dead = counts_of(study, loss.name)
            yield Decline(name, dead, dead / dead[-1], values, tuple({"draw": draw} for draw in draws))
        study.progress("figure 1", len(jobs), len(jobs), "")

    def of_declines(self, seen: Sequence[Decline]) -> Row:
        """Return nothing besides."""
        return {}

    def recoveries(self) -> Iterator[Recovery]:
        """Yield every strategy, loss, number of dead and learner."""
        study, setting = self.study, self.study.setting
        jobs = recovery_jobs(setting)
        for done, (way, loss, m, learner) in enumerate(jobs):
            study.progress("figure 2", done, len(jobs), f"{way.name}, {m} dead {loss.name}, {learner or 'no learner'}")
            seen = tuple(history(study, until_recovered(study, way, loss, learner, m, draw)) for draw in study.draws)
            place = {"strategy": way.name, "learner": learner, "loss": loss.name if m else "none", "m": m}
            yield Recovery(place, self._units, seen)
        study.progress("figure 2", len(jobs), len(jobs), "")

    @property
    def _units(self) -> tuple[dict[str, int], ...]:
        return tuple({"draw": draw} for draw in self.study.draws)

    def recovery_costs(self, seen: Sequence[History], at: Sequence[int | None]) -> Row:
        """Return writes and energy up to the end of the repair, means over draws."""
        table = self.study.chip().deployment.profile.default_energy
        return {
            "writes": float(np.mean([one.spent.writes for one in seen])),
            "energy_joule": float(np.mean([joules(one, table) for one in seen])),
        }

    def recovery_pairs(self, one: Recovery) -> list[Row]:
        """Return a row for each draw."""
        rows = []
        for unit, seen in zip(one.units, one.seen, strict=True):
            at = {tolerance: recovered(seen, tolerance, self.sustained) for tolerance in self.tolerances}
            cycles = {f"cycles_{tolerance:g}": None if i is None else seen.cycles_at(i) for tolerance, i in at.items()}
            rows.append(
                {**one.place, **unit, "healthy": seen.healthy, "damaged": seen.damaged, **cycles, "best": seen.best,
                 "writes": seen.spent.writes}
            )  # fmt: skip
        return rows

    def of_recoveries(self, seen: Sequence[Recovery]) -> Row:
        """Return the damaged by loss, the healthy, and the sham's gain by learner."""
        damaged: dict[str, Row] = {loss.name: {} for loss in self.study.setting.losses}
        controls: Row = {}
        for one in seen:
            if one.place["strategy"] == "batch":
                damaged[one.place["loss"]][str(one.place["m"])] = float(np.mean([each.damaged for each in one.seen]))
            if one.place["strategy"] == "sham":
                gain = t_interval([each.final - each.healthy for each in one.seen])
                controls[one.place["learner"]] = {
                    "sham_gain": gain.mean, "low": gain.low, "high": gain.high, "cycles": self.cap, "draws": gain.n
                }  # fmt: skip
        return {"damaged": damaged, "healthy": seen[0].seen[0].healthy, "controls": controls}

    def matches(self) -> Iterator[Match]:
        """Yield the comparisons by loss, number of dead and learner, at equal cycles, writes and energy."""
        study, setting = self.study, self.study.setting
        jobs = match_jobs(setting)
        for done, (loss, m, name) in enumerate(jobs):
            study.progress("figure 3", done, len(jobs), f"{m} dead {loss.name}, {name}")
            place = {"loss": loss.name, "learner": name, "m": m}
            seen = [drawn(study, loss, name, m, draw) for draw in study.draws]
            ways, whole = [one.iterative for one in seen], [one.batch for one in seen]
            finals: dict[str, list[float]] = {
                CYCLES: [one.final for one in whole],
                LAST: [one.at_cycle(setting.cycles) for one in whole],
                STOPPED: [one.batch_watched.stopped for one in seen],
            }
            equal = {accounting: [one.equal[accounting] for one in seen] for accounting in seen[0].equal}
            finals |= {accounting: [one.final for one in each] for accounting, each in equal.items()}
            own = [one.final for one in ways]
            early = [one.iterative_watched.stopped for one in seen]
            books = {"iterative": ways, "batch": whole, **{f"batch, {key}": each for key, each in equal.items()}}
            tables = {
                "comparisons": [
                    {**place, "accounting": key, **compared(early if key == STOPPED else own, each)} for key, each in finals.items()
                ],
                "accounting": [{**place, "strategy": key, **book(each)} for key, each in books.items()],
                "draws": [
                    {**place, "draw": draw, "healthy": ways[draw].healthy, "iterative": own[draw], "iterative, stopped": early[draw],
                     **{key: each[draw] for key, each in finals.items()}}
                    for draw in study.draws
                ],
            }  # fmt: skip
            still = tuple(one.waiting for one in seen)
            yield Match(place, m // loss.step, self._units, tuple(ways), tuple(whole), still, {}, tables)
        study.progress("figure 3", len(jobs), len(jobs), "")

    def matched(self, tables: dict[str, list[Row]]) -> None:
        """Judge all comparisons together, and add the controls."""
        tables["comparisons"] = judged(tables["comparisons"])
        tables["controls"] = controls(self.study)

    def ways(self) -> Iterator[Ways]:
        """Yield the iterative repairs of each loss."""
        for loss in self.study.setting.losses:
            deaths = np.arange(1, loss.way // loss.way_step + 1) * loss.way_step
            seen = tuple(history(self.study, whole_way(self.study, loss, draw)) for draw in self.study.draws)
            yield Ways({"loss": loss.name}, deaths, self._units, seen)

    def lines(self, ways: Ways) -> Iterator[Line]:
        """Yield the lines between the ends of ways."""
        study, test = self.study, self.study.chip().test
        loss = self._loss(ways)
        listed = self.ends(loss)
        for done, (kind, one, other) in enumerate(listed):
            study.progress("figure 4, barriers", done, len(listed), f"{kind}, dead {loss.name}")
            ends = (({"draw": one[0]}, one[1]), ({"draw": other[0]}, other[1]))
            yield Line(kind, ends, np.asarray(self.line(loss, one, other)) / len(test.labels), ways.seen[0].healthy)
        study.progress("figure 4, barriers", len(listed), len(listed), "")

    def ends(self, loss: Loss) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
        """Return the pairs of (draw, number of dead) between which is interpolated, with their type."""
        draws = self.study.draws
        listed = [(PAIR_TYPES[0], (draw, a), (draw, b)) for draw in draws for a, b in combinations((0, *loss.ends), 2)]
        return listed + [(PAIR_TYPES[1], (a, dead), (b, dead)) for dead in loss.ends for a, b in combinations(draws, 2)]

    def line(self, loss: Loss, one: tuple[int, int], other: tuple[int, int]) -> list[int]:
        """Return how many test images are answered right at each point of a line, both ends included."""
        study, alphas, test = self.study, self.study.setting.alphas, self.study.chip().test

        def compute() -> list[int]:
            start, end = (vector(self._way(loss, draw)[2 * (dead // loss.way_step)]) for draw, dead in (one, other))
            chip, found = study.chip().deployment, []
            for alpha in np.linspace(0, 1, alphas):
                between = with_vector(chip, (1 - alpha) * start + alpha * end)
                correct = run(between, test.inputs, test.labels).correct
                assert correct is not None
                found.append(correct)
            return found

        key = {"unit": "chip barrier", **self._key(loss), "alphas": alphas, "ends": [list(one), list(other)]}
        counts: list[int] = study.units.once(key, compute)
        return counts

    def shape(self, loss: Loss, draw: int) -> list[Row]:
        """Return the shape of a draw's way, and of a random walk beside it."""

        def compute() -> list[Row]:
            points = np.stack([vector(chip) for chip in self._way(loss, draw)])
            return shape_rows(points, random_walk(points, stream_key(self.study.setting.seed, "chip walk", loss.name, draw)))[0]

        rows: list[Row] = self.study.units.once({"unit": "chip embedding", **self._key(loss), "draw": draw}, compute)
        return rows

    def shapes(self, ways: Ways) -> tuple[list[Row], list[Row]]:
        """Return the shapes of ways and walks."""
        study, setting, rows, loss = self.study, self.study.setting, list[Row](), self._loss(ways)
        for draw in study.draws:
            study.progress("figure 4, embedding", draw, setting.draws, f"dead {loss.name}")
            rows += [
                {
                    "loss": loss.name,
                    "draw": draw,
                    **{name: each[name] for name in ("kind", "first_component", "second_component", "arc")},
                }
                for each in self.shape(loss, draw)
            ]
        study.progress("figure 4, embedding", setting.draws, setting.draws, "")
        return rows, rows

    def _loss(self, ways: Ways) -> Loss:
        return next(loss for loss in self.study.setting.losses if loss.name == ways.name)

    def _key(self, loss: Loss) -> Row:
        """Return what the ways of a loss depend on."""
        setting = self.study.setting
        return {
            "chip": self.study.chip().digest, "seed": setting.seed, "loss": loss.name, "step": loss.way_step, "last": loss.way,
            "adapt": setting.adapt, "cycles": setting.cycles, "learner": setting.way_learner,
        }  # fmt: skip

    def _way(self, loss: Loss, draw: int) -> list[Deployment]:
        """Return the chips of a way: the healthy one, then damaged and repaired at each step. They are made again, not kept in the journal."""
        key = (loss.name, draw)
        if key not in self._chips:
            self._chips[key] = list(perform(self.study, whole_way(self.study, loss, draw)).snapshots)
        return self._chips[key]
