"""A chip under repair: what a strategy can do with it, with everything charged and nothing beyond the budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import begun, next_upset
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.numerals import plural, whole_number
from neurofault.rescue.budget import Budget, Spent
from neurofault.rescue.charge import charge, cost_of_writes, nothing_spent
from neurofault.rescue.detection import Detection, Tester
from neurofault.rescue.examples import Examples
from neurofault.rescue.fresh import implant, renewed
from neurofault.rescue.guard import CHECKS, Keeper, changes, cost_of_writing, write_back
from neurofault.rescue.increments import increments, strike
from neurofault.rescue.lesson import UNKNOWN, Learner, Lesson, Plasticity, in_scores
from neurofault.rescue.outcome import Point, Rescued
from neurofault.rescue.plans import Guard, Plan
from neurofault.rescue.provision import Provision
from neurofault.rescue.remap.remap import Remapped, remap
from neurofault.streams import generator, permutation_prefix, stream_key

FINE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Where a chip is evaluated in the first cycle after a strike, in cycles: most of a recovery happens in its first minibatches."""


_NEVER = 1 << 62
_FEW = 16
"""Writes that are a smaller part of their budget than one in so many are not worth another check."""


@final
class Workbench:
    """What a strategy works with. It starts with the healthy chip; :meth:`strike` breaks it.

    Args:
        hurt: the chip with all damage that will have happened in the end.
        adapt: samples to learn from; a cycle shows each once, in an order that is common to all strategies.
        learner: None: nothing learns.
        budget: what may be used.
        plan: how to go about it.
        plastic: names of the connections that may change; None: all that the learner can train.
        test: for the accuracies that are reported; None: none are.
        validation: for ``plan.tolerance``.
        seed: of the order of damage and samples, of labels, rounding and fresh weights.
        fine: evaluate inside the first cycle after a strike too.
        guard: what is held back of ``adapt`` so that learning leaves the chip no worse; None: nothing, learners work unwatched.
        tester: for strategies that find out by themselves what is broken; None: there is none.
    """

    def __init__(
        self,
        hurt: Deployment,
        adapt: Examples,
        learner: Learner | None,
        budget: Budget,
        plan: Plan,
        *,
        plastic: tuple[str, ...] | None = None,
        test: Examples | None = None,
        validation: Examples | None = None,
        seed: int = 0,
        fine: bool = True,
        guard: Guard | None = None,
        tester: Tester | None = None,
        on_point: Callable[[Point], object] | None = None,
    ) -> None:
        if not len(adapt.labels):
            raise UsageError("no samples to adapt to: a repair needs at least one")
        targets = adapt.unit is not None
        if adapt.labels.shape != ((len(adapt.inputs), hurt.output.size) if targets else (len(adapt.inputs),)):
            if targets:
                raise UsageError(
                    f"targets have the shape {adapt.labels.shape}, but there are {plural(len(adapt.inputs), 'sample')} to adapt to and {plural(hurt.output.size, 'output neuron')}"
                )
            raise UsageError(
                f"labels have the shape {adapt.labels.shape}, but there are {plural(len(adapt.inputs), 'sample')} to adapt to"
            )
        if plan.tolerance is not None and validation is None:
            raise UsageError("tolerance is measured on validation examples; give some")
        if (budget.energy is not None or budget.time is not None) and hurt.profile.costs is None:
            raise UsageError(
                f"profile {hurt.profile.name!r} has no energy table, so no limit of energy or time can be kept; limit samples, cycles or writes"
            )
        self.hurt, self.adapt, self.learner, self.budget, self.plan = hurt, adapt, learner, budget, plan
        self._limits, self._on_point = budget, on_point
        self.test, self.validation, self.seed, self.fine = test, validation, whole_number(seed, "seed"), fine
        self.healthy = hurt.with_damage(Damage())
        self.deployment = self.healthy
        self.parts = increments(hurt, plan.steps, seed=seed)
        self.plasticity = Plasticity(plastic)
        self.strikes, self.shown, self.learned, self.since_strike = 0, 0, 0, 0
        self.spent, self.notes, self.points = nothing_spent(hurt.profile), list[str](), list[Point]()
        self.provision: Provision | None = None
        self.tester, self.struck_at = tester, 0
        self.detection: Detection | None = None
        self.memory: Any = None
        self._fresh = False
        samples = len(adapt.labels)
        known = permutation_prefix(stream_key(seed, "labels"), samples, round(budget.labels * samples))
        self._labels = np.full(samples, UNKNOWN, np.int64)
        self._labels[known] = 0 if targets else adapt.labels[known]
        self.metric = (test or adapt).metric(hurt)
        self._keeper = None if guard is None or learner is None else self._held_back(guard)
        self._goal = None if validation is None else validation.accuracy(self.healthy)
        self.look("healthy")

    def _held_back(self, guard: Guard) -> Keeper | None:
        """Take samples out of what is learned from; None, with a note, where none can be."""
        if self.budget.writes_per_synapse is not None and self.budget.writes_per_synapse < 2:
            self.notes.append("guard: off, for a synapse that stands fewer than 2 writes cannot be written back")
            return None
        index = guard.held_back(self._labels, self.seed)
        if not index.size:
            self.notes.append("guard: off, for there are too few labelled samples to hold one back")
            return None
        rest = np.setdiff1d(np.arange(len(self._labels)), index)
        held = self.adapt.take(index)
        keeper = Keeper(held.inputs, held.labels, held.metric(self.hurt))
        self.adapt, self._labels = self.adapt.take(rest), self._labels[rest]
        return keeper

    @property
    def cycle(self) -> int:
        """Samples of a cycle."""
        return len(self.adapt.labels)

    def look(self, what: str) -> None:
        """Evaluate the chip and note it down; costs nothing on the chip, for it is the experimenter who looks."""
        seen = None if self.test is None else self.test.seen(self.deployment)
        value, total = (None, None) if seen is None else (seen.value, seen.total)
        self.note(Point(self.shown, self.strikes, value, self.spent, what, total))

    def note(self, point: Point) -> None:
        """Keep a moment of the repair, and tell whoever listens."""
        self.points.append(point)
        if self._on_point is not None:
            self._on_point(point)

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""
        for part in self.parts[self.strikes : None if steps is None else self.strikes + steps]:
            self.deployment = strike(self.deployment, part)
            self.strikes += 1
        self.since_strike, self.struck_at, self._fresh = 0, self.shown, True
        self.look("strike")

    def wait(self, samples: int) -> None:
        """Serve samples without learning, as until a watchdog notices; no label is read."""
        for start in range(0, samples, self.cycle):
            shown = min(samples - start, self.cycle)
            activity = run(self.deployment, self.adapt.inputs[:shown]).activity
            self.spent += charge(self.deployment, activity, shown)
            self.shown += shown
            self.look("wait")

    def remap(self, cores: Collection[int] | None = None, avoid: Collection[int] = ()) -> Remapped:
        """Move orphans, or what sits on some cores, to spare cores; see :func:`neurofault.rescue.remap.remap.remap`."""
        plastic = () if self.learner is None or not self.learner.on_chip else self._plastic()
        done = remap(self.deployment, learning=plastic, cores=cores, avoid=avoid)
        self._moved(done, "remap")
        return done

    def _moved(self, done: Remapped, what: str) -> None:
        self.deployment = done.deployment
        energy, time = cost_of_writes(self.deployment.profile, done.writes)
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
        """Give every connection that can learn fresh weights, as for a network that starts anew (a control)."""
        self.deployment = renewed(self.deployment, self._plastic(), self.seed)
        self._fresh = True
        self.look("renew")

    def learn(self, cycles: float | None = None, share: float = 1.0) -> None:
        """Let the learner work; None: what is left of the budget. Ends early where a share of the budget's limits ends or the tolerance is met."""
        if self.learner is None:
            raise UsageError("this strategy learns: name a learner")
        self._limits = self.budget.part(share)
        self.provision = self.learner.provide(self.deployment, self.plasticity)
        allowed = max(0, self.budget.samples_allowed(self.cycle) - self.learned)
        end = self.learned + (allowed if cycles is None else min(allowed, round(cycles * self.cycle)))
        if self._keeper is None or end == self.learned:
            self._learn(end)
        elif self._begin(self._keeper):
            self._learn(end)
            self._keep(self._keeper)

    def _learn(self, end: int) -> None:
        """Learn until so many samples have been learned from in all."""
        while self.learned < end:
            look, check = self._next(FINE if self.fine else FINE[-1:]), self._next_check()
            stop = min(end, look, check)
            if not self._teach(self._lesson(self.learned, stop - self.learned)):
                if self._writes_freed():
                    continue
                self.notes.append(f"the budget ended after {plural(self.learned, 'sample')}")
                self.look("learn")
                break
            if stop in (end, look):
                self.look("learn")
                if self.plan.tolerance is not None and self._good():
                    break
            if stop == check and self._keeper is not None:
                self.spent += self._keeper.see(self._keeper.check(self.deployment, self.shown))
                if self._keeper.hopeless:
                    self.notes.append("guard: learning ended early, for the held-back samples got worse")
                    break

    def _begin(self, keeper: Keeper) -> bool:
        """Start a spell of learning under guard; return whether the budget allows it."""
        found = keeper.check(self.deployment, self.shown)
        if not self._within(self.spent + found.spent):
            self.notes.append("the budget ended before anything was learned: it does not even pay for the guard's first check")
            self.look("learn")
            return False
        self.spent += keeper.begin(found)
        return True

    def _keep(self, keeper: Keeper) -> None:
        """End a spell: let the best weights stay, writing them back where the chip holds others."""
        found = keeper.check(self.deployment, self.shown)
        if found is not keeper.judged:
            self.spent += keeper.see(found)
        best = keeper.best
        assert best is not None
        assert self.learner is not None
        differing = changes(self.deployment, best.deployment)
        writing = cost_of_writing(self.deployment, len(differing))
        match keeper.end(writing):
            case "last":
                return
            case "best":
                self.notes.append(
                    "guard: the best weights seen were written back, for later ones did worse on the held-back samples"
                )
            case "first":
                self.notes.append(
                    "guard: the weights from before learning were written back, for learning did not help the held-back samples"
                )
        self.deployment = write_back(self.deployment, best.deployment, differing)
        self.memory = self.learner.written_back(self.memory, differing)
        self.spent += writing
        self._fresh = True
        self.look("restore")

    def _good(self) -> bool:
        assert self.validation is not None
        assert self._goal is not None
        assert self.plan.tolerance is not None
        metric = self.validation.metric(self.deployment)
        enough = metric.merit(self._goal) - self.plan.tolerance * metric.scale(self.validation.labels)
        return metric.merit(self.validation.accuracy(self.deployment)) >= enough

    def _next_check(self) -> int:
        """Return the number of samples learned at which the held-back samples are shown next; a very large one without a guard."""
        return self._next(CHECKS) if self._keeper is not None else _NEVER

    def _next(self, shares: Sequence[float]) -> int:
        """Return the number of samples learned at the next of some marks: cycles since the last strike, later the end of each cycle."""
        marks = [round(share * self.cycle) for share in shares]
        later = [mark for mark in marks if mark > self.since_strike]
        ahead = later[0] if later else self.cycle * (self.since_strike // self.cycle + 1)
        return self.learned + ahead - self.since_strike

    def _lesson(self, first: int, samples: int) -> Lesson:
        """Return the next samples, in the order of their cycle."""
        wanted = np.arange(first, first + samples)
        orders = {c: generator(self.seed, "order", int(c)).permutation(self.cycle) for c in np.unique(wanted // self.cycle)}
        index = np.array([orders[c][i] for c, i in zip(wanted // self.cycle, wanted % self.cycle, strict=True)], np.int64)
        guarded = self._keeper is not None
        each = self.budget.writes_per_synapse
        return Lesson(
            self.adapt.inputs.take(index).counted_from(self.shown),
            self._labels[index],
            first,
            self.cycle,
            self.seed,
            self._writes_left(),
            each - 1 if each is not None and guarded else each,  # one is kept for writing back
            self.plasticity,
            self._fresh,
            None if self.adapt.unit is None else in_scores(self.deployment, self.adapt.labels[index], self.adapt.unit),
        )

    def _writes_left(self) -> int | None:
        """Return how many writes a lesson may make; under guard each may have to be written back."""
        if self._limits.writes is None:
            return None
        left = max(0, self._limits.writes - self.spent.writes)
        if self._keeper is None or self._keeper.best is None:
            return left
        return max(0, left - len(changes(self.deployment, self._keeper.best.deployment))) // 2

    def _writes_freed(self) -> bool:
        """Where writes kept for the way back ended a lesson: check, and return whether enough are left if what was learned is the best."""
        if self._limits.writes is None or self._keeper is None or self.spent.writes >= self._limits.writes:
            return False
        found = self._keeper.check(self.deployment, self.shown)
        if found is self._keeper.judged:
            return False
        self.spent += self._keeper.see(found)
        return self._keeper.best is found and (self._writes_left() or 0) > self._limits.writes // _FEW

    def _way_back(self, deployment: Deployment, samples: int) -> Spent:
        """Return what a guard would still take if learning ended with this chip: a check and writing the best weights back."""
        if self._keeper is None or self._keeper.best is None or (self._limits.energy is None and self._limits.time is None):
            return Spent()
        check = self._keeper.check(deployment, self.shown + samples)
        return check.spent + cost_of_writing(deployment, len(changes(deployment, self._keeper.best.deployment)))

    def _teach(self, lesson: Lesson) -> bool:
        """Show a lesson, or as much of it as energy and time allow; return whether it was shown whole."""
        assert self.learner is not None
        if lesson.writes == 0:
            return False
        struck = begun(self.deployment, self.shown)  # an upset on the chip's clock strikes as its sample begins
        if struck is not self.deployment:
            self.deployment, lesson = struck, replace(lesson, fresh=True)
        upset = next_upset(self.deployment, self.shown)
        if upset is not None and upset - self.shown < len(lesson.labels):
            rest = len(lesson.labels) - (upset - self.shown)
            return self._teach(lesson.part(slice(0, upset - self.shown))) and self._teach(self._lesson(self.learned, rest))
        taught = self.learner.teach(self.deployment, lesson, self.memory)
        if lesson.writes is not None and taught.spent.writes > lesson.writes:
            raise UsageError(
                f"learner {self.learner.name!r} wrote {plural(taught.spent.writes, 'stored value')} in a lesson that allows {lesson.writes:,}: a learner keeps to lesson.writes"
            )
        spent = self.spent + taught.spent
        if self._within(spent + self._way_back(taught.deployment, len(lesson.labels))):
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
        for limit, used in ((self._limits.energy, spent.joules(table)), (self._limits.time, spent.seconds(table))):
            if limit is not None:
                if used is None:
                    raise UsageError(
                        f"energy table {table!r} of {self.deployment.profile.name!r} gives no total, so no limit can be kept"
                    )
                if used > limit:
                    return False
        return True

    def _plastic(self) -> tuple[str, ...]:
        """Return the connections that learn."""
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
            None if self._keeper is None else self._keeper.done(),
            self.metric,
            1.0 if self.test is None else self.metric.scale(self.test.labels),
            self.detection,
        )
