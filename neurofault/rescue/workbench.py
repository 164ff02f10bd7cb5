"""A chip under repair: what a strategy can do with it, with everything charged and nothing beyond the budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import begun, next_upset
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.network import Inputs
from neurofault.rescue.budget import Budget, Spent
from neurofault.rescue.charge import charge
from neurofault.rescue.embryos import implant, renewed
from neurofault.rescue.how import Plan
from neurofault.rescue.increments import increments, strike
from neurofault.rescue.lesson import UNKNOWN, Learner, Lesson, Plasticity
from neurofault.rescue.outcome import Point, Rescued
from neurofault.rescue.provision import Provision
from neurofault.rescue.remap import Remapped, remap
from neurofault.streams import generator, permutation_prefix, stream_key

FINE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Where a chip is evaluated in the first cycle after a strike, in cycles: most of a recovery happens in its first minibatches."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled samples.

    Attributes:
        inputs: N encoded samples.
        labels: int64 [N].
    """

    inputs: Inputs
    labels: NDArray[np.int64]

    def accuracy(self, deployment: Deployment) -> float:
        """Return the fraction that a chip classifies as labelled."""
        found = run(deployment, self.inputs, self.labels).accuracy
        assert found is not None
        return found


@final
class Workbench:
    """What a strategy works with. It starts with the healthy chip; :meth:`strike` breaks it.

    Args:
        hurt: the chip with all damage that will have happened in the end.
        adapt: samples to learn from; a cycle shows each once, in an order that is common to all strategies.
        learner: None: nothing learns.
        budget: what may be used.
        plan: how to go about it.
        plastic: layers that may change; None: all that the learner can train.
        test: for the accuracies that are reported; None: none are.
        validation: for ``plan.tolerance``.
        seed: of the order of damage and samples, of labels, rounding and fresh weights.
        fine: evaluate inside the first cycle after a strike too.
    """

    def __init__(
        self,
        hurt: Deployment,
        adapt: Examples,
        learner: Learner | None,
        budget: Budget,
        plan: Plan,
        *,
        plastic: tuple[int, ...] | None = None,
        test: Examples | None = None,
        validation: Examples | None = None,
        seed: int = 0,
        fine: bool = True,
    ) -> None:
        if not len(adapt.labels):
            raise UsageError("no samples to adapt to: a repair needs at least one")
        if adapt.labels.shape != (len(adapt.inputs),):
            raise UsageError(f"labels have the shape {adapt.labels.shape}, but there are {len(adapt.inputs)} samples to adapt to")
        if plan.tolerance is not None and validation is None:
            raise UsageError("tolerance is measured on validation examples; give some")
        self.hurt, self.adapt, self.learner, self.budget, self.plan = hurt, adapt, learner, budget, plan
        self.test, self.validation, self.seed, self.fine = test, validation, seed, fine
        self.healthy = hurt.with_damage(Damage())
        self.deployment = self.healthy
        self.parts = increments(hurt, plan.steps, seed=seed)
        self.plasticity = Plasticity(plastic)
        self.strikes, self.shown, self.learned, self.since_strike = 0, 0, 0, 0
        self.spent, self.notes, self.points = Spent(), list[str](), list[Point]()
        self.provision: Provision | None = None
        self.memory: Any = None
        self._fresh = False
        cycle = len(adapt.labels)
        known = permutation_prefix(stream_key(seed, "labels"), cycle, round(budget.labels * cycle))
        self._labels = np.full(cycle, UNKNOWN, np.int64)
        self._labels[known] = adapt.labels[known]
        self._goal = None if validation is None else validation.accuracy(self.healthy)
        self.look("healthy")

    @property
    def cycle(self) -> int:
        """Samples of a cycle."""
        return len(self.adapt.labels)

    def look(self, what: str) -> None:
        """Evaluate the chip and note it down; costs nothing on the chip, for it is the experimenter who looks."""
        accuracy = None if self.test is None else self.test.accuracy(self.deployment)
        self.points.append(Point(self.shown, self.strikes, accuracy, self.spent, what))

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""
        for part in self.parts[self.strikes : None if steps is None else self.strikes + steps]:
            self.deployment = strike(self.deployment, part)
            self.strikes += 1
        self.since_strike, self._fresh = 0, True
        self.look("strike")

    def wait(self, samples: int) -> None:
        """Serve samples without learning, as until a watchdog notices; no label is read."""
        for start in range(0, samples, self.cycle):
            shown = min(samples - start, self.cycle)
            activity = run(self.deployment, self.adapt.inputs[:shown]).activity
            self.spent += charge(self.deployment, activity, shown)
            self.shown += shown
            self.look("wait")

    def remap(self) -> Remapped:
        """Move orphans to spare cores; see :func:`neurofault.rescue.remap.remap`."""
        plastic = () if self.learner is None or not self.learner.on_chip else self._plastic()
        done = remap(self.deployment, learning=plastic)
        self._moved(done, "remap")
        return done

    def _moved(self, done: Remapped, what: str) -> None:
        self.deployment = done.deployment
        energy, time = {}, {}
        for table, costs in self.deployment.profile.energy_tables.items():
            energy[table] = done.writes * (costs.energy.synaptic_write.value or 0.0)
            time[table] = done.writes * (costs.time.synaptic_write.value or 0.0)
        self.spent += Spent(
            writes=done.writes, axon_updates=done.axon_updates, host_bytes=done.host_bytes, energy=energy, time=time
        )
        if done.left:
            left = ", ".join(f"{count} of {name}" for name, count in done.left_counts.items())
            self.notes.append(f"spare cores ran out: {left} could not be moved")
        self.notes += done.notes
        self._fresh = True
        self.look(what)

    def embryos(self) -> None:
        """Put fresh neurons onto spare cores in the place of dead ones; from now on they learn, others as ``plan.old_shift`` says."""
        before = self.deployment
        done = remap(before, learning=() if self.learner is None or not self.learner.on_chip else self._plastic())
        self.deployment, new = implant(done, self.plan.outgoing, self.seed)
        self.plasticity = replace(self.plasticity, new=new, old_shift=self.plan.old_shift)
        self._moved(replace(done, deployment=self.deployment), "embryos")

    def renew(self) -> None:
        """Give every layer that can learn fresh weights, as for a network that starts anew (a control)."""
        self.deployment = renewed(self.deployment, self._plastic(), self.seed)
        self._fresh = True
        self.look("renew")

    def learn(self, cycles: float | None = None) -> None:
        """Let the learner work; None: what is left of the budget. Ends early where the budget ends or the tolerance is met."""
        if self.learner is None:
            raise UsageError("this strategy learns: name a learner")
        self.provision = self.learner.provide(self.deployment, self.plasticity)
        allowed = max(0, self.budget.samples_allowed(self.cycle) - self.learned)
        end = self.learned + (allowed if cycles is None else min(allowed, round(cycles * self.cycle)))
        while self.learned < end:
            stop = min(end, self._next_look())
            if not self._teach(self._lesson(self.learned, stop - self.learned)):
                self.notes.append(f"the budget ended after {self.learned} samples")
                self.look("learn")
                break
            self.look("learn")
            if self.plan.tolerance is not None and self._good():
                break

    def _good(self) -> bool:
        assert self.validation is not None
        assert self._goal is not None
        assert self.plan.tolerance is not None
        return self.validation.accuracy(self.deployment) >= self._goal - self.plan.tolerance

    def _next_look(self) -> int:
        """Return the number of samples learned at which the chip is looked at next."""
        marks = [round(share * self.cycle) for share in (FINE if self.fine else FINE[-1:])]
        later = [mark for mark in marks if mark > self.since_strike]
        ahead = later[0] if later else self.cycle * (self.since_strike // self.cycle + 1)
        return self.learned + ahead - self.since_strike

    def _lesson(self, first: int, samples: int) -> Lesson:
        """Return the next samples, in the order of their cycle."""
        wanted = np.arange(first, first + samples)
        orders = {c: generator(self.seed, "order", int(c)).permutation(self.cycle) for c in np.unique(wanted // self.cycle)}
        index = np.array([orders[c][i] for c, i in zip(wanted // self.cycle, wanted % self.cycle, strict=True)], np.int64)
        inputs = self.adapt.inputs
        return Lesson(
            Inputs(
                None if inputs.bias is None else inputs.bias[index],
                None if inputs.events is None else inputs.events[index],
                self.shown,
            ),
            self._labels[index],
            first,
            self.cycle,
            self.seed,
            None if self.budget.writes is None else max(0, self.budget.writes - self.spent.writes),
            self.budget.writes_per_synapse,
            self.plasticity,
            self._fresh,
        )

    def _teach(self, lesson: Lesson) -> bool:
        """Show a lesson, or as much of it as energy and time allow; return whether it was shown whole."""
        assert self.learner is not None
        if self.budget.writes is not None and self.spent.writes >= self.budget.writes:
            return False
        struck = begun(self.deployment, self.shown)  # an upset on the chip's clock strikes as its sample begins
        if struck is not self.deployment:
            self.deployment, lesson = struck, replace(lesson, fresh=True)
        upset = next_upset(self.deployment, self.shown)
        if upset is not None and upset - self.shown < len(lesson.labels):
            rest = len(lesson.labels) - (upset - self.shown)
            return self._teach(lesson.part(slice(0, upset - self.shown))) and self._teach(self._lesson(self.learned, rest))
        taught = self.learner.teach(self.deployment, lesson, self.memory)
        spent = self.spent + taught.spent
        if self._within(spent):
            self.deployment, self.spent, self.memory = taught.deployment, spent, taught.memory
            self._fresh = False
            self.learned += len(lesson.labels)
            self.shown += len(lesson.labels)
            self.since_strike += len(lesson.labels)
            return True
        half = len(lesson.labels) // 2
        if half and self._teach(lesson.part(slice(0, half))):
            self._teach(replace(self._lesson(self.learned, len(lesson.labels) - half)))
        return False

    def _within(self, spent: Spent) -> bool:
        table = self.deployment.profile.default_energy
        for limit, used in ((self.budget.energy, spent.energy.get(table)), (self.budget.time, spent.time.get(table))):
            if limit is not None:
                if used is None:
                    raise UsageError(
                        f"energy table {table!r} of {self.deployment.profile.name!r} gives no total, so no limit can be kept"
                    )
                if used > limit:
                    return False
        return True

    def _plastic(self) -> tuple[int, ...]:
        """Return the layers that learn."""
        if self.learner is None:
            return ()
        return self.learner.provide(self.deployment, self.plasticity).plastic

    def result(self) -> Rescued:
        """Return what came of it."""
        return Rescued(
            self.deployment,
            tuple(self.points),
            self.spent,
            self.cycle,
            self.learned,
            self.since_strike,
            self.strikes,
            self.provision,
            tuple(dict.fromkeys(self.notes)),
        )
