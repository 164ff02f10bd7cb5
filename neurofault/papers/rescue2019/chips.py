"""Chips with dead cores and dead neurons as the subject of the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import UsageError
from neurofault.metrics import ACCURACY
from neurofault.papers.rescue2019.chip_repairs import (
    ONE_RATE,
    WAYS,
    ChipRepair,
    batch,
    history,
    iterative,
    perform,
    until_recovered,
    watched,
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
from neurofault.study.statistics import SHARE, t_interval

PAIR_TYPES = ("same trajectory", "other draw")
CYCLES, LAST, WRITES = "equal cycles in all", "equal cycles after the last death", "equal writes"
STOPPED = "equal cycles in all, each stopped at its best look"
ROOM = 3.0  # cycles that a batch repair of equal writes or energy may take, in those of the iterative one

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


def counts_of(study: ChipStudy, loss: Loss) -> NDArray[np.int64]:
    """Return the numbers of dead of a curve: 0 to all, as evenly as whole numbers allow; all of them where there are few."""
    whole = study.whole(loss.name)
    return np.unique(np.rint(np.linspace(0, whole, min(POINTS, whole + 1))).astype(np.int64))


def decline(study: ChipStudy, loss: Loss, bits: int, dropout: bool, draw: int, engine: IncrementalEngine) -> NDArray[np.float64]:
    """Return the test accuracy at each number of dead of a draw, [points]."""
    chip, counts = study.chip(bits, dropout), counts_of(study, loss)

    def compute() -> list[int]:
        broken = [study.hurt(chip.deployment, loss.name, int(count), draw) for count in counts]
        return [int(ACCURACY.total(one, chip.test.labels)) for one in engine.run_many(broken, chip.test.inputs)]

    key = {
        "unit": "chip decline", "chip": chip.digest, "seed": study.setting.seed, "loss": loss.name, "counts": counts.tolist(), "draw": draw
    }  # fmt: skip
    return np.asarray(study.units.once(key, compute)) / len(chip.test.labels)


def equal_energy(table: str) -> str:
    """Return how equal energy by a table is called."""
    return f"equal energy, {table}"


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
        jobs = [(loss, bits, dropout) for loss in setting.losses for bits in setting.decline_bits for dropout in (False, True)]
        jobs = [job for job in jobs if job[1] == study.bits or not job[2]]
        for done, (loss, bits, dropout) in enumerate(jobs):
            name = f"{loss.name}, {bits} bits" + (", dropout-trained" if dropout else "")
            study.progress("figure 1", done, len(jobs), name)
            engine, draws = IncrementalEngine(), range(setting.decline_draws)
            values = np.stack([decline(study, loss, bits, dropout, draw, engine) for draw in draws])
            dead = counts_of(study, loss)
            yield Decline(name, dead, dead / dead[-1], values, tuple({"draw": draw} for draw in draws))
        study.progress("figure 1", len(jobs), len(jobs), "")

    def of_declines(self, seen: Sequence[Decline]) -> Row:
        """Return nothing besides."""
        return {}

    def recoveries(self) -> Iterator[Recovery]:
        """Yield every strategy, loss, number of dead and learner."""
        study, setting = self.study, self.study.setting
        jobs = [
            (way, loss, m, learner)
            for way in WAYS
            for loss in (setting.losses if way.hurts else setting.losses[:1])
            for m in (loss.recovery[-1:] if way.control else loss.recovery if way.hurts else (0,))
            for learner in ((setting.way_learner,) if way.control else setting.learners if way.learns else (None,))
            if not way.spares or (loss.name == "cores" and m <= setting.spare_cores and learner not in ONE_RATE)
        ]
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
            "energy_joule": float(np.mean([_joules(one, table) for one in seen])),
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
        jobs = [(loss, m, name) for loss in setting.losses for m in loss.deaths for name in setting.learners]
        for done, (loss, m, name) in enumerate(jobs):
            study.progress("figure 3", done, len(jobs), f"{m} dead {loss.name}, {name}")
            place = {"loss": loss.name, "learner": name, "m": m}
            ways = [history(study, iterative(study, loss, name, m, draw)) for draw in study.draws]
            whole = [history(study, batch(study, loss, name, m, draw)) for draw in study.draws]
            finals: dict[str, list[float]] = {
                CYCLES: [one.final for one in whole],
                LAST: [one.at_cycle(setting.cycles) for one in whole],
                STOPPED: [history(study, watched(study, batch(study, loss, name, m, draw))).stopped for draw in study.draws],
            }
            equal = {WRITES: [_equal(study, loss, way, name, m, draw, None) for draw, way in enumerate(ways)]}
            equal |= {
                equal_energy(table): [_equal(study, loss, way, name, m, draw, table) for draw, way in enumerate(ways)]
                for table in self._tables
            }
            finals |= {accounting: [one.final for one in each] for accounting, each in equal.items()}
            own = [one.final for one in ways]
            early = [history(study, watched(study, iterative(study, loss, name, m, draw))).stopped for draw in study.draws]
            books = {"iterative": ways, "batch": whole, **{f"batch, {key}": each for key, each in equal.items()}}
            tables = {
                "comparisons": [
                    {**place, "accounting": key, **compared(early if key == STOPPED else own, each)} for key, each in finals.items()
                ],
                "accounting": [{**place, "strategy": key, **_book(each)} for key, each in books.items()],
                "draws": [
                    {**place, "draw": draw, "healthy": ways[draw].healthy, "iterative": own[draw], "iterative, stopped": early[draw],
                     **{key: each[draw] for key, each in finals.items()}}
                    for draw in study.draws
                ],
            }  # fmt: skip
            still = tuple(history(study, _waiting(study, loss, m, draw)) for draw in study.draws)
            yield Match(place, m // loss.step, self._units, tuple(ways), tuple(whole), still, {}, tables)
        study.progress("figure 3", len(jobs), len(jobs), "")

    def matched(self, tables: dict[str, list[Row]]) -> None:
        """Judge all comparisons together, and add the controls."""
        tables["comparisons"] = judged(tables["comparisons"])
        tables["controls"] = _controls(self.study)

    def ways(self) -> Iterator[Ways]:
        """Yield the iterative repairs of each loss."""
        for loss in self.study.setting.losses:
            deaths = np.arange(1, loss.way // loss.way_step + 1) * loss.way_step
            seen = tuple(history(self.study, whole_way(self.study, loss, draw)) for draw in self.study.draws)
            yield Ways({"loss": loss.name}, deaths, self._units, seen)

    def lines(self, ways: Ways) -> Iterator[Line]:
        """Yield the lines between the ends of ways."""
        study, setting, test = self.study, self.study.setting, self.study.chip().test
        loss = self._loss(ways)
        listed = [(PAIR_TYPES[0], (draw, a), (draw, b)) for draw in study.draws for a, b in combinations((0, *loss.ends), 2)]
        listed += [(PAIR_TYPES[1], (a, dead), (b, dead)) for dead in loss.ends for a, b in combinations(study.draws, 2)]
        for done, (kind, one, other) in enumerate(listed):
            study.progress("figure 4, barriers", done, len(listed), f"{kind}, dead {loss.name}")

            def compute(one: tuple[int, int] = one, other: tuple[int, int] = other) -> list[int]:
                start, end = (vector(self._way(loss, draw)[2 * (dead // loss.way_step)]) for draw, dead in (one, other))
                chip, found = study.chip().deployment, []
                for alpha in np.linspace(0, 1, setting.alphas):
                    between = with_vector(chip, (1 - alpha) * start + alpha * end)
                    correct = run(between, test.inputs, test.labels).correct
                    assert correct is not None
                    found.append(correct)
                return found

            key = {
                "unit": "chip barrier", **self._key(loss), "alphas": setting.alphas, "ends": [list(one), list(other)],
            }  # fmt: skip
            ends = (({"draw": one[0]}, one[1]), ({"draw": other[0]}, other[1]))
            yield Line(kind, ends, np.asarray(study.units.once(key, compute)) / len(test.labels), ways.seen[0].healthy)
        study.progress("figure 4, barriers", len(listed), len(listed), "")

    def shapes(self, ways: Ways) -> tuple[list[Row], list[Row]]:
        """Return the shapes of ways and walks."""
        study, setting, rows, loss = self.study, self.study.setting, list[Row](), self._loss(ways)
        for draw in study.draws:
            study.progress("figure 4, embedding", draw, setting.draws, f"dead {loss.name}")

            def compute(draw: int = draw) -> list[Row]:
                points = np.stack([vector(chip) for chip in self._way(loss, draw)])
                return shape_rows(points, random_walk(points, stream_key(setting.seed, "chip walk", loss.name, draw)))[0]

            known = study.units.once({"unit": "chip embedding", **self._key(loss), "draw": draw}, compute)
            rows += [
                {
                    "loss": loss.name,
                    "draw": draw,
                    **{name: each[name] for name in ("kind", "first_component", "second_component", "arc")},
                }
                for each in known
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


def _waiting(study: ChipStudy, loss: Loss, dead: int, draw: int) -> ChipRepair:
    """Return what lets damage happen at the pace of the iterative repair, and repairs nothing."""
    setting = study.setting
    pace = round(setting.cycles * setting.adapt)
    return ChipRepair(draw, "wait", None, loss.name, dead, setting.adapt, study.bits, steps=dead // loss.step, watchdog=pace)


def _equal(study: ChipStudy, loss: Loss, way: History, name: str, m: int, draw: int, table: str | None) -> History:
    """Return a batch repair that may use what an iterative one used: its writes, or its energy by a table."""
    usual = batch(study, loss, name, m, draw)
    roomy = replace(usual, cycles=ROOM * usual.cycles, looks=(usual.cycles,))
    if table is None:
        return history(study, replace(roomy, writes=way.spent.writes))
    return history(study, replace(roomy, energy=_joules(way, table), table=table))


def _joules(one: History, table: str | None) -> float:
    """Return the energy of a repair by a table of costs; refuse one that is not known."""
    if (energy := one.spent.joules(table)) is not None:
        return energy
    raise UsageError("figure 2 compares repairs of equal energy, which the profile does not know; take loihi1 or loihi2")


def _mean_seconds(each: list[History], table: str) -> float | None:
    known = [seconds for one in each if (seconds := one.spent.seconds(table)) is not None]
    return float(np.mean(known)) if len(known) == len(each) else None


def _book(each: list[History]) -> dict[str, Any]:
    """Return what a repair used, a mean over draws, and how many draws ran to the end of their cycles in place of their budget."""
    tables = each[0].spent.energy
    return {
        "final": float(np.mean([one.final for one in each])),
        "cycles": float(np.mean([one.steps[-1] / one.cycle for one in each])),
        "writes": float(np.mean([one.spent.writes for one in each])), "updates": float(np.mean([one.spent.updates for one in each])),
        **{f"energy_{table}": float(np.mean([_joules(one, table) for one in each])) for table in tables},
        **{f"time_{table}": _mean_seconds(each, table) for table in tables},
    }  # fmt: skip


def _controls(study: ChipStudy) -> list[dict[str, Any]]:
    """Return sham, fresh sub-network, remap, and the network trained with dropout, over draws."""
    setting, rows = study.setting, []

    def add(control: str, loss: str, m: int, learner: str | None, repairs: list[ChipRepair]) -> None:
        seen = [history(study, one) for one in repairs]
        found = t_interval([one.final for one in seen], within=SHARE)
        rows.append(
            {"control": control, "loss": loss, "m": m, "learner": learner, "accuracy": found.mean, "low": found.low, "high": found.high,
             "healthy": float(np.mean([one.healthy for one in seen])), "draws": found.n,
             "writes": float(np.mean([one.spent.writes for one in seen])), "notes": "; ".join(sorted({n for one in seen for n in one.notes}))}
        )  # fmt: skip

    def plain(act: str, loss: str, m: int, dropout: bool = False) -> list[ChipRepair]:
        return [ChipRepair(draw, act, None, loss, m, setting.adapt, study.bits, dropout=dropout) for draw in study.draws]

    longest = max(loss.middle // loss.step for loss in setting.losses)
    for name in setting.learners:
        add("sham", "none", 0, name, [
            ChipRepair(draw, "sham", name, "cores", 0, setting.adapt, study.bits, cycles=longest * setting.cycles)
            for draw in study.draws
        ])  # fmt: skip
        for loss in setting.losses:
            add("fresh-subnetwork", loss.name, loss.middle, name, [
                replace(batch(study, loss, name, loss.middle, draw), act="fresh-subnetwork", looks=()) for draw in study.draws
            ])  # fmt: skip
    for loss in setting.losses:
        for m in loss.deaths:
            add("none", loss.name, m, None, plain("none", loss.name, m))
            add("dropout-trained, no repair", loss.name, m, None, plain("none", loss.name, m, True))
            if loss.name == "cores":
                add("remap", loss.name, m, None, plain("remap", loss.name, m))
    return rows
