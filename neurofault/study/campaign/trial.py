"""One trial: break a prepared chip, heal it if asked to, and say what happened as one flat row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, counted
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import NeurofaultError, StalledError
from neurofault.faults import Fault, inject, struck
from neurofault.inputs import Inputs
from neurofault.rescue import rescue
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.lesson import Learner
from neurofault.study.campaign.hit import changed_bits
from neurofault.study.campaign.records import Rescue
from neurofault.study.campaign.rows import COLUMNS, SEMANTICS, Row
from neurofault.study.metrics import ACCURACY, Metric


@dataclass(frozen=True, eq=False)
class TrialChip:
    """A healthy chip with what its trials share; travels to workers whole.

    Attributes:
        deployment: the chip.
        inputs, labels: encoded samples that are reported on and int64 [N], or [N, T] of steps.
        adapt, adapt_labels: those that a rescue adapts to, or that pass by until it notices the damage; None where nothing heals.
        metric: what is measured.
    """

    deployment: Deployment
    inputs: Inputs
    labels: NDArray[np.int64]
    adapt: Inputs | None
    adapt_labels: NDArray[np.int64] | None
    metric: Metric = ACCURACY


@dataclass(frozen=True, eq=False)
class Task:
    """What a worker is told.

    Attributes:
        trial: its identity.
        draw: which draw of the faults.
        chip: which chip.
        faults, rescue, seed, engine: what is done.
    """

    trial: str
    draw: int
    chip: str
    faults: tuple[Fault, ...]
    rescue: Rescue
    seed: int
    engine: str


@dataclass(eq=False)
class WorkerBench:
    """A worker's bench: chips, healthy runs and learners are made once and used by all trials that need them.

    Attributes:
        chips: key → chip.
        threads: of the engine.
    """

    chips: Mapping[str, TrialChip]
    threads: int | None = 1
    _engines: dict[str, IncrementalEngine] = field(default_factory=dict)
    _healthy: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _learners: dict[tuple[str, str], Learner] = field(default_factory=dict)

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
        samples = counted(chip.labels)
        healthy, healthy_spikes = self._whole(task, chip)
        broken = inject(chip.deployment, task.faults, seed=task.seed, draw=task.draw)
        activity = self._activity(task, chip, broken)
        damaged = chip.metric.correct(activity, chip.labels)
        hit = struck(broken)
        row: Row = {
            "samples": samples, "healthy_correct": healthy, "healthy_spikes": healthy_spikes, "damaged_correct": damaged,
            "damaged_spikes": activity.spikes, "energy_joule_per_inference": cost(broken, activity, len(chip.labels)).energy.value,
            "cores": list(hit.cores), "neurons": sum(hit.neurons.values()), "synapses": sum(hit.synapses.values()),
            "bits": changed_bits(broken),
        }  # fmt: skip
        if task.rescue.strategy == "none":
            return row | {"correct": damaged, **_NO_REPAIR, "worst": damaged / samples}
        return row | self._healed(task, chip, broken)

    def _whole(self, task: Task, chip: TrialChip) -> tuple[int, int]:
        key = (task.chip, task.engine)
        if key not in self._healthy:
            activity = self._activity(task, chip, chip.deployment)
            self._healthy[key] = chip.metric.correct(activity, chip.labels), activity.spikes
        return self._healthy[key]

    def _activity(self, task: Task, chip: TrialChip, deployment: Deployment) -> Activity:
        if task.engine != "exact" or chip.metric.of_steps:
            return run(deployment, chip.inputs, chip.labels, engine=get_engine(task.engine)).activity
        if task.chip not in self._engines:
            self._engines[task.chip] = IncrementalEngine(self.threads)
        return self._engines[task.chip].run(deployment, chip.inputs)

    def _healed(self, task: Task, chip: TrialChip, broken: Deployment) -> Row:
        how, learner = task.rescue, None
        adapt, labels = chip.adapt, chip.adapt_labels
        assert adapt is not None
        assert labels is not None
        if how.learner is not None:
            key = (task.chip, how.learner)
            if key not in self._learners:
                self._learners[key] = learner_named(how.learner, chip.deployment, adapt, labels)
            learner = self._learners[key]
        done = rescue(
            broken, adapt, labels, strategy=how.strategy, learner=learner, budget=how.budget, plan=how.plan,
            plastic=None if how.plastic is None else tuple(how.plastic), test=(chip.inputs, chip.labels),
            seed=task.seed + 1000 * task.draw, fine=False, guard=how.watch,
        )  # fmt: skip
        assert done.final is not None
        table = chip.deployment.profile.default_energy
        return {
            "correct": round(done.final * counted(chip.labels)), "worst": done.worst,
            "served": done.mean_served(how.budget.samples_allowed(len(labels))), "cycles_total": done.cycles_total,
            "cycles_after_last_damage": done.cycles_after_last_damage, "samples_learned": done.samples_learned,
            "writes": done.spent.writes, "updates": done.spent.updates, "host_bytes": done.spent.host_bytes,
            "repair_energy_joule": done.spent.energy.get(table), "repair_time_second": done.spent.time.get(table),
        }  # fmt: skip


_NO_REPAIR: Row = {
    "served": None, "cycles_total": 0.0, "cycles_after_last_damage": 0.0, "samples_learned": 0, "writes": 0, "updates": 0,
    "host_bytes": 0, "repair_energy_joule": 0.0, "repair_time_second": 0.0,
}  # fmt: skip


def blank(task: Task) -> Row:
    """Return a row of a trial that has no result yet."""
    return {
        **dict.fromkeys(COLUMNS), "trial": task.trial, "draw": task.draw, "status": "", "message": "", "engine": task.engine,
        "semantics": SEMANTICS, "cores": [], "host": "", "worker": "",
    }  # fmt: skip
