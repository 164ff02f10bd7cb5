"""Ways of healing compared on the same draws of damage, the same samples in the same order, and the same budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from neurofault.cores import usable_cores
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.faults import Fault, inject
from neurofault.metrics import ACCURACY, Metric
from neurofault.numerals import whole_number
from neurofault.progress import Progress
from neurofault.rescue import check_way, rescue
from neurofault.rescue.budget import Budget
from neurofault.rescue.detection import Tester
from neurofault.rescue.examples import Examples
from neurofault.rescue.learners.by_name import check_learner, learner_named
from neurofault.rescue.lesson import Learner, in_scores
from neurofault.rescue.outcome import Rescued, sham_warning
from neurofault.rescue.plans import Guard, Plan
from neurofault.rescue.strategies import strategy_named
from neurofault.study.clustered import recovered_interval
from neurofault.study.statistics import Interval, paired_difference, t_interval

DROPOUT = "dropout-trained"
"""Control: the network trained with dropout, damaged and not repaired."""

_USUAL_GUARD = Guard()

LAST_STEP = "batch (last-step budget)"
"""Batch repair with as many cycles as an iterative one has after its last strike."""


@dataclass(frozen=True)
class Treatment:
    """One row: a strategy, a learner, a budget.

    Attributes:
        label: for display, unique in a study.
        strategy: one of ``STRATEGIES``.
        learner: one of ``LEARNERS``; None: nothing learns.
        budget, plan: see :func:`neurofault.rescue.rescue`.
        options: of the learner.
        control: whether the row is there to compare with.
    """

    label: str
    strategy: str
    learner: str | None
    budget: Budget
    plan: Plan
    options: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False


@dataclass(frozen=True, eq=False)
class Healed:
    """One draw of one treatment.

    Attributes:
        draw: its number.
        healthy: accuracy before any damage, or mean squared error; likewise all that follows.
        damaged: accuracy with all damage and no repair, on what the chip held when it was deployed.
        rescued: what came of it.
        mean_served: see :meth:`Rescued.mean_served`, over the budget's cycles.
    """

    draw: int
    healthy: float
    damaged: float
    rescued: Rescued
    mean_served: float

    @property
    def final(self) -> float:
        """Accuracy in the end."""
        assert self.rescued.final is not None
        return self.rescued.final


@dataclass(frozen=True, eq=False)
class Row:
    """One treatment over all draws.

    Attributes:
        treatment: what was done.
        draws: in order.
        metric: what was measured.
    """

    treatment: Treatment
    draws: tuple[Healed, ...]
    metric: Metric = ACCURACY

    def interval(self, value: Callable[[Healed], float | None]) -> Interval:
        """Return mean and 95 % t interval over draws."""
        return t_interval([_known(value(draw)) for draw in self.draws], within=self.metric.within)

    @property
    def recovered(self) -> Interval | None:
        """Mean(final − damaged) / mean(healthy − damaged): see :func:`neurofault.study.clustered.recovered_interval`.

        None where the loss is under two standard errors, or a control that was not damaged.
        """
        if self.treatment.control and not any(draw.rescued.steps for draw in self.draws):
            return None
        seen = [[one.healthy for one in self.draws], [one.damaged for one in self.draws], [one.final for one in self.draws]]
        healthy, damaged, final = ([self.metric.merit(value) for value in values] for values in seen)
        return recovered_interval(healthy, damaged, final)


@dataclass(frozen=True, eq=False)
class RescueStudy:
    """Everything that `neurofault rescue` reports.

    Attributes:
        healthy: accuracy of the healthy chip.
        rows: in the order asked for; the batch rows that iterative ones are compared with stand beside them.
        samples: test images.
        cycle: samples of a cycle.
        held_back: samples that watch learning and are not learned from; 0 without a guard.
        seed: of everything random.
        learners: name → learner, as deployed.
        metric: what is called accuracy.
        scale: beside what a loss is small or large (:meth:`neurofault.metrics.Metric.scale`).
    """

    healthy: float
    rows: tuple[Row, ...]
    samples: int
    cycle: int
    held_back: int
    seed: int
    learners: Mapping[str, Learner]
    metric: Metric = ACCURACY
    scale: float = 1.0

    def warnings(self) -> list[str]:
        """Return what must be said before anything else: learning that costs a healthy chip something, repairs that end below the damage."""
        found: list[str] = []
        for row in self.rows:
            final, damaged = row.interval(lambda draw: draw.final).mean, row.interval(lambda draw: draw.damaged).mean
            if row.treatment.strategy == "sham":
                found += sham_warning(self.healthy, final, row.treatment.learner, metric=self.metric, scale=self.scale)
            elif not row.treatment.control and self.metric.merit(final) < self.metric.merit(damaged):
                side = f"above the damaged {self.metric.words}" if self.metric.lower else "below the damaged accuracy"
                found.append(f"{name_of(row)} ends {side}: {self.metric.shown(final)} from {self.metric.shown(damaged)}")
        return found

    def paired(self) -> list[tuple[Row, Row, Interval]]:
        """Return the paired difference of final accuracies, a − b, of every two rows that saw the damage."""
        seen = [row for row in self.rows if not row.treatment.control]
        return [
            (a, b, paired_difference([draw.final for draw in a.draws], [draw.final for draw in b.draws]))
            for a, b in combinations(seen, 2)
        ]


def treatments(
    strategies: Sequence[str],
    learners: Sequence[str],
    budget: Budget,
    plan: Plan,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Treatment]:
    """Return the rows that are meant: strategies that learn once for each learner, the others once.

    Beside ``iterative`` stand ``batch`` at the same total budget and at the budget of the last step.

    Args:
        strategies: names, controls among them.
        learners: names.
        budget: of every row.
        plan: its ``steps`` is for the strategies that repair between damage steps.
        options: of each learner by name.

    Raises:
        UsageError: an unknown name, a name twice, steps without a strategy that takes them.
    """
    for names, what in ((strategies, "strategy"), (learners, "learner")):
        for name in names:
            if list(names).count(name) > 1:
                raise UsageError(f"{what} {name!r} is given twice")
    for name in learners:
        check_learner(name)
    stepping = {"iterative", "remap+learn"}
    if plan.steps > 1 and not stepping & set(strategies):
        raise UsageError(f"steps go with strategy {' or '.join(sorted(stepping))}, not with {', '.join(strategies)}")
    if plan.spend == "even" and (plan.steps == 1 or budget.writes is budget.energy is budget.time is None):
        raise UsageError("spend even goes with more than one step and a limit of writes, energy or time")
    whole = replace(plan, steps=1, spend="greedy")
    rows: list[Treatment] = []

    def add(label: str, name: str, learner: str | None, its: Budget, how: Plan) -> None:
        if (label, learner) not in [(row.label, row.learner) for row in rows]:
            own = (options or {}).get(learner or "", {})
            rows.append(Treatment(label, name, learner, its, how, own, strategy_named(name).control))

    for name in strategies:
        strategy = strategy_named(name)
        how = plan if name in stepping else whole
        for learner in learners if strategy.learns else [None]:
            if name == "iterative" and plan.steps > 1:
                add("batch", "batch", learner, budget, whole)
                if budget.cycles is not None:
                    last = replace(budget, cycles=budget.cycles / plan.steps)
                    add(LAST_STEP, "batch", learner, last, whole)
            add(name, name, learner, budget, how)
    return rows


def rescue_study(
    chip: Deployment,
    faults: Sequence[Fault],
    adapt: Examples,
    test: Examples,
    rows: Sequence[Treatment],
    *,
    draws: int,
    seed: int,
    plastic: tuple[str, ...] | None = None,
    validation: Examples | None = None,
    fine: bool = True,
    guard: Guard | None = _USUAL_GUARD,
    tester: Tester | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RescueStudy:
    """Break a chip in ``draws`` draws and heal each draw in every way.

    Args:
        chip: the healthy chip.
        faults: one plan; several act together.
        adapt: samples that the chip learns from; one pass is a cycle.
        test: samples that are reported on.
        rows: from :func:`treatments`.
        draws: independent draws, at least 1.
        seed: of damage, orders and rounding; the same for every row.
        plastic: names of the connections (in a chain: of the layers) that may change; None: all that the learner can train.
        validation: for ``plan.tolerance``.
        fine: look at the chip inside the first cycle too.
        guard: what is held back of ``adapt``, the same for all rows of a draw; None: nothing.
        tester: for strategies that test the chip.
        workers: draws that run side by side; None: as many as there are cores to run on. Results do not depend on it.
        progress: called after each row of each draw.

    Raises:
        NeurofaultError: as :func:`neurofault.rescue.rescue`; what can be refused is refused before anything long runs.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    if draws < 1:
        raise UsageError(f"draws must be at least 1, is {draws}")
    for row in rows:
        check_way(chip, row.strategy, row.learner, plastic)
    hurt = [inject(chip, faults, seed=seed, draw=draw) for draw in range(draws)]
    metric = test.metric(chip)
    told = adapt.labels if adapt.unit is None else in_scores(chip, adapt.labels, adapt.unit)
    named = {
        (row.learner, tuple(sorted(row.options.items()))): learner_named(row.learner, chip, adapt.inputs, told, **row.options)
        for row in rows
        if row.learner is not None
    }
    healthy = test.accuracy(chip)
    done = [0]

    def heal(draw: int) -> list[Healed]:
        broken = hurt[draw]
        damaged = test.accuracy(broken)
        found = []
        for row in rows:
            learner = None if row.learner is None else named[row.learner, tuple(sorted(row.options.items()))]
            rescued = rescue(
                broken, adapt.inputs, adapt.labels, unit=adapt.unit, strategy=row.strategy, learner=learner, budget=row.budget, plan=row.plan,
                plastic=plastic, test=(test.inputs, test.labels), seed=seed + 1000 * draw, fine=fine, guard=guard, tester=tester,
                validation=None if validation is None else (validation.inputs, validation.labels),
            )  # fmt: skip
            horizon = max((each.budget.samples_allowed(len(adapt.labels)) for each in rows if each.learner), default=0)
            served = rescued.mean_served(horizon)
            assert served is not None
            found.append(Healed(draw, healthy, damaged, rescued, served))
            done[0] += 1
            if progress is not None:
                progress("healing", done[0], draws * len(rows), f"{row.label} {row.learner or ''} {metric.shown(found[-1].final)}")
        return found

    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        tasks = list(pool.map(heal, range(draws)))
    learned = [each.rescued for each in tasks[0] if each.rescued.provision is not None]
    return RescueStudy(
        healthy,
        tuple(Row(row, tuple(task[at] for task in tasks), metric) for at, row in enumerate(rows)),
        len(test.labels),
        max((each.cycle for each in learned), default=len(adapt.labels)),
        max((each.guarded.held_back for each in learned if each.guarded is not None), default=0),
        seed,
        {str(name): learner for (name, _), learner in named.items()},
        metric,
        metric.scale(test.labels),
    )


def name_of(row: Row) -> str:
    """Return how a row is called in a comparison."""
    return row.treatment.label if row.treatment.learner is None else f"{row.treatment.label} · {row.treatment.learner}"


def _known(value: float | None) -> float:
    assert value is not None
    return value
