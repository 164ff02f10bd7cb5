"""Figures 2 and 3 for more networks, trainings and damage: does batch repair bring them back, and does the ranking of batch and iterative repair hold?

The training is the unit of every interval. Each training of a network is damaged by draws of its own, so the means of trainings are independent of each
other and carry what draws differ in too: intervals are Student's t over the means of trainings, p values of a t test over them, corrected (Holm)
over all rows of the figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from neurofault.errors import UsageError
from neurofault.numerals import plural
from neurofault.papers.rescue2019.cases import Case, CaseHarm
from neurofault.papers.rescue2019.chip_repairs import FINE
from neurofault.papers.rescue2019.chip_setting import ChipSetting, ChipStudy
from neurofault.papers.rescue2019.chips import STOPPED
from neurofault.papers.rescue2019.compare import compared, judged
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.stopped import StoppedBench, correct
from neurofault.papers.rescue2019.subject import Row
from neurofault.rescue import strategies
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench
from neurofault.study.clustered import clustered_rate, recovered_interval
from neurofault.zoo import any_recipe

_SEMANTICS = 2  # raised by hand when the same damage and repair give other counts

TOTAL, LAST = "equal cycles in all", "equal cycles after the last step of damage"
"""What batch repair is given, compared with iterative repair: as many cycles as all of its steps took, or as its last one."""

_ACCOUNTINGS = {TOTAL: ("iterative", "batch"), LAST: ("iterative", "last"), STOPPED: ("iterative_stopped", "batch_stopped")}
"""Accounting → what is compared. Stopped: of each repair counts the chip at the look after the last damage that validation samples like best."""

BROKEN = {
    "cores": "dead cores", "neurons": "dead neurons", "flipped bits": "flipped bits", "stuck bits": "stuck bits",
    "recurrent synapses": "dead recurrent synapses", "links": "dead links", "raised thresholds": "raised thresholds", "drifted weights": "drifted weights",
    "feature maps": "dead feature maps",
}  # fmt: skip
"""Kind of damage → what is broken, in words."""

UNITS = {
    "cores": "cores", "neurons": "neurons", "flipped bits": "bits", "stuck bits": "bits", "recurrent synapses": "synapses", "links": "links",
    "raised thresholds": "neurons", "drifted weights": "weights", "feature maps": "feature maps",
}  # fmt: skip
"""Kind of damage → what is counted."""


@final
@dataclass(frozen=True)
class CaseTraining:
    """One training of a network of the figure.

    Attributes:
        case: the network.
        number: of the training, from 0, in the order of ``case.seeds``.
    """

    case: Case
    number: int

    @property
    def name(self) -> str:
        """As the zoo names it: ``mnist-mlp+seed=1``."""
        return self.case.training(self.case.seeds[self.number])

    @property
    def draws(self) -> range:
        """The draws that damage this training; no other training of the network has one of them."""
        return range(self.number * self.case.draws, (self.number + 1) * self.case.draws)

    def at_work(self, study: ChipStudy) -> ChipStudy:
        """Return the study of this network alone, at the grain of its recipe."""
        grain = any_recipe(self.case.network).neurons_per_core
        return ChipStudy(
            replace(
                study.setting,
                network=self.name,
                neurons_per_core=grain,
                place=self.case.place,
                data=self.case.data,
                samples=self.case.samples,
            ),
            study.units,
            study.progress,
            study.data_dir,
        )


def trainings(setting: ChipSetting, cases: Sequence[Case]) -> list[CaseTraining]:
    """Return all trainings of all networks of a figure.

    Args:
        setting: every choice.
        cases: of the setting.

    Raises:
        UsageError: it has none.
    """
    if not cases:
        raise UsageError(f"setting {setting.name!r} names no networks to compare")
    return [CaseTraining(case, number) for case in cases for number in range(len(case.seeds))]


def count_of(study: ChipStudy, harm: CaseHarm) -> int:
    """Return how many cores, neurons or bits break."""
    return max(1, round(harm.share * study.whole(harm.loss)))


def counts(study: ChipStudy, case: Case, harm: CaseHarm, draw: int) -> dict[str, Any]:
    """Return how many samples a chip answers right after a draw of damage and after both repairs of it.

    Args:
        study: of one training (:meth:`CaseTraining.at_work`).
        case: its network.
        harm: what breaks.
        draw: of the damage.

    Returns:
        Of test samples: ``damaged``; ``iterative``; ``batch`` after as many cycles in all; ``last``, batch after the cycles of one step; ``iterative_stopped``
        and ``batch_stopped``, each at its best look. ``looks``: [cycles after the damage, validation samples answered right] of batch repair.
    """
    setting, chip, count = study.setting, study.chip(), count_of(study, harm)
    learned_by, cycles = case.learner or setting.way_learner, harm.steps * setting.cycles
    marks = (*(FINE if case.fine else ()), *(round(setting.cycles * step, 6) for step in range(1, harm.steps + 1)))

    def bench(steps: int) -> StoppedBench:
        hurt = study.hurt(chip.deployment, harm.loss, count, draw)
        learner = study.learner(learned_by, study.bits, case.adapt, scaled=case.scaled)
        return StoppedBench(
            Workbench(
                hurt, study.adapt(case.adapt, study.bits), learner, Budget(cycles=cycles), Plan(steps=steps),
                seed=setting.seed + 1000 * draw, guard=None,
            ),
            chip.validation, marks,
        )  # fmt: skip

    def compute() -> dict[str, Any]:
        ways, whole = bench(harm.steps), bench(1)
        strategies.iterative(ways)
        strategies.batch(whole)
        seen = {
            "damaged": whole.looks[0].chip, "iterative": ways.bench.deployment, "batch": whole.bench.deployment,
            "last": whole.after(setting.cycles), "iterative_stopped": ways.best, "batch_stopped": whole.best,
        }  # fmt: skip
        right = {id(one): correct(one, chip.test) for one in {id(each): each for each in seen.values()}.values()}
        looks = [[round(look.samples / whole.bench.cycle, 6), look.right] for look in whole.looks]
        return {**{name: right[id(one)] for name, one in seen.items()}, "looks": looks}

    key = {
        "unit": "network", "semantics": _SEMANTICS, "chip": chip.digest, "seed": setting.seed, "loss": harm.loss, "count": count,
        "steps": harm.steps, "draw": draw, "adapt": case.adapt, "cycles": setting.cycles, "learner": learned_by, "marks": list(marks),
        **({"scaled": True} if case.scaled else {}),
    }  # fmt: skip
    found: dict[str, Any] = study.units.once(key, compute)
    return found


def healthy(study: ChipStudy) -> tuple[int, int]:
    """Return how many test and validation samples the healthy chip of a training answers right."""
    chip = study.chip()
    test, validation = study.units.once(
        {"unit": "network healthy", "semantics": _SEMANTICS, "chip": chip.digest},
        lambda: [correct(chip.deployment, examples) for examples in (chip.test, chip.validation)],
    )
    return test, validation


def networks(study: ChipStudy) -> Figure:
    """Compute the figure of dead cores and neurons and broken bits; see :func:`of_cases`."""
    return of_cases(study, "networks", study.setting.cases)


def of_cases(study: ChipStudy, name: str, cases: Sequence[Case]) -> Figure:
    """Compute a figure of several networks.

    Args:
        study: the setting at work.
        name: of the figure, without what stands before it on chips.
        cases: of the setting.

    JSON: ``rows`` {network, learner, loss, count, of, steps, accounting, damaged, healthy, iterative, batch (means over trainings), difference, low, high, p, p_holm
    (over all rows), better, trainings, draws, sd_trainings}; ``recovery`` {network, learner, loss, count, of, tolerance, cycles (of batch repair, median over all
    draws, ``">cap"`` beyond), recovered (share of draws that did), low, high, draws (in all), regained (share of what was lost, after all cycles), regained_low, regained_high};
    ``verdicts`` {network, loss, accounting, verdict, text}: of :data:`TOTAL` and :data:`STOPPED`; ``weights`` {network → training → digest}.
    Tables: ``rows``; ``recovery``; ``trainings``, the means of each; ``draws``.
    """
    setting, rows, means, draw_rows, recovery = study.setting, list[Row](), list[Row](), list[Row](), list[Row]()
    weights: dict[str, dict[str, str]] = {}
    listed = trainings(setting, cases)
    back: dict[tuple[str, str], list[list[dict[float, float | None]]]] = {}
    for done, training in enumerate(listed):
        case, seed = training.case, training.case.seeds[training.number]
        study.progress(name, done, len(listed), training.name)
        own, trained = training.at_work(study), "own" if seed is None else str(seed)
        samples, checked = len(own.chip().test.labels), len(own.chip().validation.labels)
        whole, goal = healthy(own)
        weights.setdefault(case.network, {})[trained] = own.chip().prepared.weights
        for harm in case.harms:
            place = {
                "network": case.network,
                "learner": case.learner or setting.way_learner,
                "loss": harm.loss,
                "training": trained,
            }
            size = {"count": count_of(own, harm), "of": own.whole(harm.loss), "steps": harm.steps}
            seen = [counts(own, case, harm, draw) for draw in training.draws]
            cycles = [
                {e: recovered_at(one["looks"], goal - e * checked, setting.sustained) for e in setting.tolerances} for one in seen
            ]
            back.setdefault((case.network, harm.loss), []).append(cycles)
            draw_rows += [
                {**place, "draw": draw, "healthy": whole / samples, **{key: each[key] / samples for key in _SEEN},
                 **{f"cycles_{tolerance:g}": at for tolerance, at in found.items()}}
                for draw, each, found in zip(training.draws, seen, cycles, strict=True)
            ]  # fmt: skip
            mean = {key: sum(each[key] for each in seen) / samples / len(seen) for key in _SEEN}
            means.append({**place, **size, "healthy": whole / samples, **mean, "draws": len(seen)})
    study.progress(name, len(listed), len(listed), "")
    for case in cases:
        for harm in case.harms:
            of_trainings = [row for row in means if (row["network"], row["loss"]) == (case.network, harm.loss)]
            rows += [_row(of_trainings, accounting, *keys) for accounting, keys in _ACCOUNTINGS.items()]
            cap = harm.steps * setting.cycles
            recovery += [_recovery(of_trainings, back[case.network, harm.loss], each, cap) for each in setting.tolerances]
    found = judged(rows)
    answer: dict[str, Any] = {
        "setting": setting.name, "weights": weights, "profile": setting.profile, "cycles_a_step": setting.cycles,
        "cycle_samples": {case.network: case.adapt for case in cases}, "sustained": setting.sustained, "unit": "training",
        "comparisons_made": len(found), "rows": found, "recovery": recovery, "verdicts": [_verdict(row) for row in found if row["accounting"] != LAST],
    }  # fmt: skip
    return Figure(f"chip_{name}", answer, {"rows": found, "recovery": recovery, "trainings": means, "draws": draw_rows})


def recovered_at(looks: Sequence[tuple[float, int]], goal: float, sustained: int) -> float | None:
    """Return the cycles after which a repair first reaches a goal and keeps it for some looks in a row; None: it never does.

    Args:
        looks: (cycles after the damage, samples answered right), in order.
        goal: samples to be answered right.
        sustained: looks in a row, at least 1.

    >>> recovered_at([(0.0, 80), (0.1, 95), (0.2, 94), (0.4, 96), (0.6, 97)], 95, 2)
    0.4
    """
    good = [right >= goal for _, right in looks]
    firsts = [
        at for number, (at, _) in enumerate(looks) if len(part := good[number : number + sustained]) == sustained and all(part)
    ]
    return firsts[0] if firsts else None


_SEEN = ("damaged", "iterative", "batch", "last", "iterative_stopped", "batch_stopped")


def _row(means: list[Row], accounting: str, one: str, other: str) -> Row:
    """Return a comparison over the means of trainings."""
    ways, whole = ([row[name] for row in means] for name in (one, other))
    found = compared(ways, whole)
    return {
        **_place(means), "steps": means[0]["steps"], "accounting": accounting,
        **{name: float(np.mean([row[name] for row in means])) for name in ("damaged", "healthy")},
        **{name: value for name, value in found.items() if name != "pairs"}, "trainings": found["pairs"], "draws": means[0]["draws"],
        "sd_trainings": float(np.std(np.subtract(ways, whole), ddof=1)),
    }  # fmt: skip


def _recovery(means: list[Row], back: list[list[dict[float, float | None]]], tolerance: float, cap: float) -> Row:
    """Return how soon and how far batch repair brings a network back: trainings are the clusters of the share, and the unit of what is regained."""
    cycles = [[draw[tolerance] for draw in training] for training in back]
    flat = np.array([np.inf if at is None else at for training in cycles for at in training])
    middle = float(np.quantile(flat, 0.5, method="inverted_cdf"))
    share = clustered_rate([sum(at is not None for at in each) for each in cycles], [len(each) for each in cycles])
    whole, broken, healed = ([row[name] for row in means] for name in ("healthy", "damaged", "batch"))
    regained = recovered_interval(whole, broken, healed)
    return {
        **_place(means), "tolerance": tolerance, "cycles": f">{cap:g}" if np.isinf(middle) else middle, "recovered": share.mean,
        "low": share.low, "high": share.high, "draws": len(flat), "regained": None if regained is None else regained.mean,
        "regained_low": None if regained is None else regained.low, "regained_high": None if regained is None else regained.high,
    }  # fmt: skip


def _place(means: list[Row]) -> Row:
    return {name: means[0][name] for name in ("network", "learner", "loss", "count", "of")}


def _verdict(row: Row) -> Row:
    """Return a comparison in words."""
    hurt = f"{row['count']:,} of {row['of']:,} {UNITS[row['loss']]}"
    span = f"{100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}] points"
    verdict = {"batch": "holds", "iterative": "turns round", "undecided": "undecided"}[row["better"]]
    said = {"batch": "batch repair ends better", "iterative": "iterative repair ends better", "undecided": "not decided"}[
        row["better"]
    ]
    text = (
        f"{row['network']}, {row['learner']}, {BROKEN[row['loss']]} ({hurt}), {row['accounting']}: {said}, iterative − batch {span.replace('-', '−')} over "
        f"{plural(row['trainings'], 'training')} of {plural(row['draws'], 'draw')} each"
    )
    return {**{name: row[name] for name in ("network", "loss", "accounting")}, "verdict": verdict, "text": text}


def verdicts(figure: Figure) -> Iterator[str]:
    """Yield the verdicts of the figure, one line each."""
    for one in figure.answer["verdicts"]:
        yield f"{figure.name} {one['text']}"
