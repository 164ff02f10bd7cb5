"""Does the ranking of batch and iterative repair hold on other networks, for other trainings and for other damage? At equal cycles in all.

The training is the unit of every interval. Each training of a network is damaged by draws of its own, so the means of trainings are independent of each
other and carry what draws differ in too: intervals are Student's t over the means of trainings, p values of a t test over them, corrected (Holm)
over all rows of the figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.papers.rescue2019.chip_setting import Case, CaseHarm, ChipStudy
from neurofault.papers.rescue2019.compare import compared, judged
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Row
from neurofault.rescue import strategies
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench
from neurofault.zoo import any_recipe

_SEMANTICS = 1  # raised by hand when the same damage and repair give other counts

TOTAL, LAST = "equal cycles in all", "equal cycles after the last step of damage"
"""What batch repair is given, compared with iterative repair: as many cycles as all of its steps took, or as its last one."""

BROKEN = {"cores": "dead cores", "neurons": "dead neurons", "flipped bits": "flipped bits", "stuck bits": "stuck bits"}
"""Kind of damage → what is broken, in words."""


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
            replace(study.setting, network=self.name, neurons_per_core=grain), study.units, study.progress, study.data_dir
        )


def trainings(study: ChipStudy) -> list[CaseTraining]:
    """Return all trainings of all networks of a setting.

    Raises:
        UsageError: the setting has none.
    """
    if not study.setting.cases:
        raise UsageError(f"setting {study.setting.name!r} names no networks to compare")
    return [CaseTraining(case, number) for case in study.setting.cases for number in range(len(case.seeds))]


def count_of(study: ChipStudy, harm: CaseHarm) -> int:
    """Return how many cores, neurons or bits break."""
    return max(1, round(harm.share * study.whole(harm.loss)))


def counts(study: ChipStudy, case: Case, harm: CaseHarm, draw: int) -> dict[str, int]:
    """Return how many test samples a chip answers right after a draw of damage and after both repairs of it.

    Args:
        study: of one training (:meth:`CaseTraining.at_work`).
        case: its network.
        harm: what breaks.
        draw: of the damage.

    Returns:
        ``damaged``; ``iterative``; ``batch`` after as many cycles in all; ``last``, batch after the cycles of one step.
    """
    setting, chip, count = study.setting, study.chip(), count_of(study, harm)
    cycles = harm.steps * setting.cycles

    def bench(steps: int) -> Workbench:
        hurt = study.hurt(chip.deployment, harm.loss, count, draw)
        learner = study.learner(setting.way_learner, study.bits, case.adapt)
        return Workbench(
            hurt, study.adapt(case.adapt, study.bits), learner, Budget(cycles=cycles), Plan(steps=steps),
            seed=setting.seed + 1000 * draw, guard=None,
        )  # fmt: skip

    def compute() -> dict[str, int]:
        ways, whole = bench(harm.steps), bench(1)
        strategies.iterative(ways)
        found = {"iterative": _correct(study, ways.deployment)}
        whole.strike()
        found["damaged"] = _correct(study, whole.deployment)
        whole.learn(setting.cycles)
        found["last"] = _correct(study, whole.deployment)
        whole.learn()
        return {**found, "batch": _correct(study, whole.deployment)}

    key = {
        "unit": "network", "semantics": _SEMANTICS, "chip": chip.digest, "seed": setting.seed, "loss": harm.loss, "count": count,
        "steps": harm.steps, "draw": draw, "adapt": case.adapt, "cycles": setting.cycles, "learner": setting.way_learner,
    }  # fmt: skip
    found: dict[str, int] = study.units.once(key, compute)
    return found


def healthy(study: ChipStudy) -> int:
    """Return how many test samples the healthy chip of a training answers right."""
    found: int = study.units.once(
        {"unit": "network healthy", "chip": study.chip().digest}, lambda: _correct(study, study.chip().deployment)
    )
    return found


def networks(study: ChipStudy) -> Figure:
    """Compute the figure.

    JSON: ``rows`` {network, loss, count, of, steps, accounting, damaged, healthy, iterative, batch (means over trainings), difference, low, high, p, p_holm (over
    all rows), better, trainings, draws, sd_trainings}; ``verdicts`` {network, loss, verdict, text}: of :data:`TOTAL`; ``weights`` {network → training → digest}.
    Tables: ``rows``; ``trainings``, the means of each; ``draws``.
    """
    setting, rows, means, draw_rows = study.setting, list[Row](), list[Row](), list[Row]()
    weights: dict[str, dict[str, str]] = {}
    listed = trainings(study)
    for done, training in enumerate(listed):
        case, seed = training.case, training.case.seeds[training.number]
        study.progress("networks", done, len(listed), training.name)
        own, name = training.at_work(study), "own" if seed is None else str(seed)
        samples, whole = len(own.chip().test.labels), healthy(own)
        weights.setdefault(case.network, {})[name] = own.chip().prepared.weights
        for harm in case.harms:
            place = {"network": case.network, "loss": harm.loss, "training": name}
            size = {"count": count_of(own, harm), "of": own.whole(harm.loss), "steps": harm.steps}
            seen = [counts(own, case, harm, draw) for draw in training.draws]
            draw_rows += [
                {**place, "draw": draw, "healthy": whole / samples, **{key: each[key] / samples for key in _SEEN}}
                for draw, each in zip(training.draws, seen, strict=True)
            ]
            mean = {key: sum(each[key] for each in seen) / samples / len(seen) for key in _SEEN}
            means.append({**place, **size, "healthy": whole / samples, **mean, "draws": len(seen)})
    study.progress("networks", len(listed), len(listed), "")
    for case in setting.cases:
        for harm in case.harms:
            of_trainings = [row for row in means if (row["network"], row["loss"]) == (case.network, harm.loss)]
            rows += [_row(of_trainings, accounting, key) for accounting, key in ((TOTAL, "batch"), (LAST, "last"))]
    found = judged(rows)
    answer: dict[str, Any] = {
        "setting": setting.name, "weights": weights, "profile": setting.profile, "learner": setting.way_learner,
        "cycles_a_step": setting.cycles, "cycle_samples": {case.network: case.adapt for case in setting.cases}, "unit": "training",
        "comparisons_made": len(found), "rows": found, "verdicts": [_verdict(row) for row in found if row["accounting"] == TOTAL],
    }  # fmt: skip
    return Figure("chip_networks", answer, {"rows": found, "trainings": means, "draws": draw_rows})


_SEEN = ("damaged", "iterative", "batch", "last")


def _row(means: list[Row], accounting: str, key: str) -> Row:
    """Return a comparison over the means of trainings."""
    ways, whole = ([row[name] for row in means] for name in ("iterative", key))
    found = compared(ways, whole)
    first = {name: means[0][name] for name in ("network", "loss", "count", "of", "steps")}
    return {
        **first, "accounting": accounting, **{name: float(np.mean([row[name] for row in means])) for name in ("damaged", "healthy")},
        **{name: value for name, value in found.items() if name != "pairs"}, "trainings": found["pairs"], "draws": means[0]["draws"],
        "sd_trainings": float(np.std(np.subtract(ways, whole), ddof=1)),
    }  # fmt: skip


def _verdict(row: Row) -> Row:
    """Return a comparison in words."""
    hurt = f"{row['count']:,} of {row['of']:,} {row['loss'] if row['loss'] in ('cores', 'neurons') else 'bits'}"
    span = f"{100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}] points"
    verdict = {"batch": "holds", "iterative": "turns round", "undecided": "undecided"}[row["better"]]
    said = {"batch": "batch repair ends better", "iterative": "iterative repair ends better", "undecided": "not decided"}[
        row["better"]
    ]
    text = (
        f"{row['network']}, {BROKEN[row['loss']]} ({hurt}): {said}, iterative − batch {span.replace('-', '−')} over {row['trainings']} trainings "
        f"of {row['draws']} draws each"
    )
    return {"network": row["network"], "loss": row["loss"], "verdict": verdict, "text": text}


def verdicts(figure: Figure) -> Iterator[str]:
    """Yield the verdicts of the figure, one line each."""
    for one in figure.answer["verdicts"]:
        yield f"{figure.name} {one['text']}"


def _correct(study: ChipStudy, chip: Deployment) -> int:
    found = run(chip, study.chip().test.inputs, study.chip().test.labels).correct
    assert found is not None
    return found
