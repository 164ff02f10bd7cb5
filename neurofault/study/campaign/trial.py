"""One trial: break a prepared chip, heal it if asked to, and say what happened as one flat row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from neurofault.activity import Activity
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import NeurofaultError, StalledError
from neurofault.faults import Fault, inject, struck
from neurofault.inputs import Inputs
from neurofault.metrics import ACCURACY, Expected, Metric, metric_named
from neurofault.rescue import rescue
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.lesson import Learner, in_scores
from neurofault.rescue.strategies import strategy_named
from neurofault.study.campaign.hit import changed_bits
from neurofault.study.campaign.rows import SEMANTICS, Row, columns_of
from neurofault.study.campaign.ways import Rescue
from neurofault.study.patterns.diagnose import FaultDictionary
from neurofault.study.patterns.usual import dictionary_for


@dataclass(frozen=True, eq=False)
class TrialChip:
    """A healthy chip with what its trials share; travels to workers whole.

    Attributes:
        deployment: the chip.
        inputs, expected: encoded samples that are reported on, and their labels, int64 [N], or [N, T] of steps, or targets, float64 [N, K] or [N, T, K].
        adapt, adapt_expected: those that a rescue adapts to, or that pass by until it notices the damage; None where nothing heals.
        metric: what is measured.
    """

    deployment: Deployment
    inputs: Inputs
    expected: Expected
    adapt: Inputs | None
    adapt_expected: Expected | None
    metric: Metric = ACCURACY


@dataclass(frozen=True, eq=False)
class Task:
    """What a worker is told.

    Attributes:
        trial: its identity.
        draw: which draw of the faults.
        chip: which chip.
        faults, rescue, seed, engine: what is done.
        metric: name of what is measured.
    """

    trial: str
    draw: int
    chip: str
    faults: tuple[Fault, ...]
    rescue: Rescue
    seed: int
    engine: str
    metric: str = "accuracy"


@dataclass(eq=False)
class WorkerBench:
    """A worker's bench: chips, healthy runs, learners and tests are made once and used by all trials that need them.

    Attributes:
        chips: key → chip.
        threads: of the engine.
    """

    chips: Mapping[str, TrialChip]
    threads: int | None = 1
    _engines: dict[str, IncrementalEngine] = field(default_factory=dict)
    _healthy: dict[tuple[str, str], tuple[int | float, int]] = field(default_factory=dict)
    _learners: dict[tuple[str, str], Learner] = field(default_factory=dict)
    _testers: dict[str, FaultDictionary] = field(default_factory=dict)

    def row(self, task: Task) -> Row:
        """Run a trial; a failure is a row too.

        Raises:
            MemoryError: it needs more memory than there is.
        """
        began = time.perf_counter()
        try:
            found: Row = {"status": "ok", "message": "", **self._measured(task)}
        except StalledError as error:
            found = {"status": "stalled", "message": str(error)}
        except NeurofaultError as error:
            found = {"status": "error", "message": str(error)}
        except MemoryError:
            raise
        except Exception as error:
            if "can't start new thread" in str(error):  # how Python says that there is no memory for a stack
                raise MemoryError from error
            found = {"status": "error", "message": f"{type(error).__name__}: {error}"}
        return {**blank(task), **found, "seconds": round(time.perf_counter() - began, 6)}

    def _measured(self, task: Task) -> Row:
        chip = self.chips[task.chip]
        metric, number = chip.metric, chip.metric.number(chip.expected)
        healthy, healthy_spikes = self._whole(task, chip)
        broken = inject(chip.deployment, task.faults, seed=task.seed, draw=task.draw)
        activity = self._activity(task, chip, broken)
        damaged = metric.total(activity, chip.expected)
        hit = struck(broken)
        row: Row = {
            metric.counts: number, f"healthy_{metric.stored}": healthy, "healthy_spikes": healthy_spikes, f"damaged_{metric.stored}": damaged,
            "damaged_spikes": activity.spikes, "energy_joule_per_inference": cost(broken, activity, len(chip.expected)).energy.value,
            "cores": list(hit.cores), "neurons": sum(hit.neurons.values()), "synapses": sum(hit.synapses.values()),
            "bits": changed_bits(broken),
        }  # fmt: skip
        if task.rescue.strategy == "none":
            return row | {metric.stored: damaged, **_NO_REPAIR, "worst": damaged / number}
        return row | self._healed(task, chip, broken)

    def _whole(self, task: Task, chip: TrialChip) -> tuple[int | float, int]:
        key = (task.chip, task.engine)
        if key not in self._healthy:
            activity = self._activity(task, chip, chip.deployment)
            self._healthy[key] = chip.metric.total(activity, chip.expected), activity.spikes
        return self._healthy[key]

    def _activity(self, task: Task, chip: TrialChip, deployment: Deployment) -> Activity:
        if task.engine != "exact" or chip.metric.of_steps:
            return run(deployment, chip.inputs, chip.expected, unit=chip.metric.unit, engine=get_engine(task.engine)).activity
        if task.chip not in self._engines:
            self._engines[task.chip] = IncrementalEngine(self.threads)
        return self._engines[task.chip].run(deployment, chip.inputs)

    def _healed(self, task: Task, chip: TrialChip, broken: Deployment) -> Row:
        how, learner, metric = task.rescue, None, chip.metric
        adapt, expected = chip.adapt, chip.adapt_expected
        assert adapt is not None
        assert expected is not None
        if how.learner is not None:
            key = (task.chip, how.learner)
            if key not in self._learners:
                self._learners[key] = learner_named(how.learner, chip.deployment, adapt, _told(chip))
            learner = self._learners[key]
        if strategy_named(how.strategy).tests and task.chip not in self._testers:
            self._testers[task.chip] = dictionary_for(chip.deployment, adapt, threads=self.threads)
        done = rescue(
            broken, adapt, expected, unit=metric.unit, strategy=how.strategy, learner=learner, budget=how.budget, plan=how.plan,
            plastic=None if how.plastic is None else tuple(how.plastic), test=(chip.inputs, chip.expected),
            seed=task.seed + 1000 * task.draw, fine=False, guard=how.watch, tester=self._testers.get(task.chip),
        )  # fmt: skip
        table = chip.deployment.profile.default_energy
        return {
            metric.stored: done.points[-1].total, "worst": done.worst,
            "served": done.mean_served(how.budget.samples_allowed(len(expected))), "cycles_total": done.cycles_total,
            "cycles_after_last_damage": done.cycles_after_last_damage, "samples_learned": done.samples_learned,
            "writes": done.spent.writes, "updates": done.spent.updates, "host_bytes": done.spent.host_bytes,
            "repair_energy_joule": None if table is None else done.spent.energy.get(table), "repair_time_second": None if table is None else done.spent.time.get(table),
        }  # fmt: skip


def _told(chip: TrialChip) -> Expected:
    """Return what learners are told: labels, or targets in the unit of scores."""
    assert chip.adapt_expected is not None
    if chip.metric.unit is None:
        return chip.adapt_expected
    return in_scores(chip.deployment, chip.adapt_expected, chip.metric.unit)


_NO_REPAIR: Row = {
    "served": None, "cycles_total": 0.0, "cycles_after_last_damage": 0.0, "samples_learned": 0, "writes": 0, "updates": 0,
    "host_bytes": 0, "repair_energy_joule": 0.0, "repair_time_second": 0.0,
}  # fmt: skip


def blank(task: Task) -> Row:
    """Return a row of a trial that has no result yet."""
    return {
        **dict.fromkeys(columns_of(metric_named(task.metric))), "trial": task.trial, "draw": task.draw, "status": "", "message": "", "engine": task.engine,
        "semantics": SEMANTICS, "cores": [], "host": "", "worker": "",
    }  # fmt: skip
