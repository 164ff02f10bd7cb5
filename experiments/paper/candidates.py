"""Learners that were tried against `dfa`, each within what the learning engine of a Loihi 2 can do (:mod:`neurofault.learning.rule_check` refuses the rest).

They are made of :class:`neurofault.rescue.learners.errors.ErrorLearning` with other constants, at other times, on other samples or with another rule:

* :class:`Phased`: one setting after the other, as an embedded processor rewrites the constants of rule and traces between samples;
* :class:`Refreshed`: the feedback is copied anew from the readout as it is now (what weight mirrors approach; Akrout et al. 2019, arXiv:1904.05391);
* :class:`Replayed`: a part of what is shown are stored samples that were wrong, or right by less than the margin;
* :class:`Ruled`: another product series: momentum in the tag, traces that forget (as those of e-prop; Bellec et al. 2020), weights that are bounded softly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

import neurofault as nf
from neurofault.deploy.cost_events import alive
from neurofault.deploy.memory import stored_weights
from neurofault.learning.rule import LearningRule, learning_rule
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import LessonCharge, charge
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners.error_stages import build, learned_deployment, show, spikes_of
from neurofault.rescue.learners.errors import ErrorLearning, dfa, epoch_of, halved_readout_steps, parts_of
from neurofault.rescue.learners.trainable import hidden_targets
from neurofault.rescue.lesson import Learner, Lesson, Plasticity, Taught
from neurofault.rescue.provision import Provision

HIDDEN, OUTPUT = "hidden1", "output"
"""Connections of the networks that are looked at."""


def steps(learner: ErrorLearning, hidden: int = 1, readout: float = 1) -> ErrorLearning:
    """Return a learner with larger or smaller steps: in the hidden layer times 1, 2, 4 or 8, in the readout times 1/4, 1/2, 1 or 2."""
    impulse, shift = {1: (1, 0), 2: (2, 0), 4: (4, 0), 8: (4, 1)}[hidden]
    learner = replace(
        learner, hidden_impulse=impulse * learner.hidden_impulse, feedback_shift=learner.feedback_shift - shift,
        readout_impulse=(2 if readout == 2 else 1) * learner.readout_impulse,
    )  # fmt: skip
    for _ in range({0.25: 2, 0.5: 1}.get(readout, 0)):
        learner = halved_readout_steps(learner)
    return learner


@dataclass(frozen=True, eq=False)
class _Made:
    """What the candidates have in common: they need what `dfa` needs."""

    base: ErrorLearning
    name: str = "candidate"
    on_chip: bool = True

    def provide(self, deployment: nf.Deployment, plasticity: Plasticity) -> Provision:
        """See :meth:`neurofault.rescue.lesson.Learner.provide`."""
        return self.base.provide(deployment, plasticity)

    def written_back(self, memory: Any, differing: Differences) -> Any:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`."""
        return self.base.written_back(memory, differing)


@dataclass(frozen=True)
class Phase:
    """A setting and how long it holds.

    Attributes:
        until: cycles of the rescue.
        learner: the setting.
        connections: that learn; None: all.
    """

    until: float
    learner: ErrorLearning
    connections: tuple[str, ...] | None = None


@final
@dataclass(frozen=True, eq=False)
class Phased(_Made):
    """One setting after the other; the last one holds to the end."""

    phases: tuple[Phase, ...] = ()

    def teach(self, deployment: nf.Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`."""
        spent, writes, end = Spent(), dict(memory or {}), lesson.first + len(lesson.labels)
        start = lesson.first
        for phase in self.phases:
            stop = end if phase is self.phases[-1] else min(end, round(phase.until * lesson.cycle))
            if stop > start:
                part = lesson.part(slice(start - lesson.first, stop - lesson.first))
                if phase.connections is not None:
                    part = replace(part, plasticity=Plasticity(phase.connections))
                done = phase.learner.teach(deployment, part, writes)
                deployment, spent, writes, start = done.deployment, spent + done.spent, writes | done.memory, stop
        return Taught(deployment, spent, writes)


@final
@dataclass(frozen=True, eq=False)
class Refreshed(_Made):
    """The feedback is read from the readout and written anew every so many samples; a byte a weight each way, and a write for each word that changes."""

    every: int = 1000

    def teach(self, deployment: nf.Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`."""
        spent, held = Spent(), dict(self.base.feedback_weights)[HIDDEN]
        for start in range(0, len(lesson.labels), self.every):
            now = np.asarray(stored_weights(deployment, OUTPUT), np.int32)
            spent += Spent(writes=int((now != held).sum()), host_bytes=2 * now.size)
            part = lesson.part(slice(start, min(start + self.every, len(lesson.labels))))
            done = replace(self.base, feedback_weights=((HIDDEN, now),)).teach(deployment, part, memory)
            deployment, spent, memory, held = done.deployment, spent + done.spent, done.memory, now
        return Taught(deployment, spent, memory)


@final
@dataclass(frozen=True, eq=False)
class Replayed(_Made):
    """A quarter of each block of samples is not shown; in its place stored ones are, of which the error neurons spoke when they were first shown.

    Attributes:
        stored: most samples that are kept, the youngest ones.
        block: samples of a block.
    """

    stored: int = 500
    block: int = 1000

    def teach(self, deployment: nf.Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`."""
        spent, kept, turn = Spent(), np.empty(0, np.int64), 0
        for start in range(0, len(lesson.labels), self.block):
            stop = min(start + self.block, len(lesson.labels))
            fresh = np.arange(start, start + (stop - start) * 3 // 4)
            wrong = fresh[self._taught_by(deployment, lesson, fresh)]
            kept = np.concatenate([kept, wrong])[-self.stored :]
            again = kept[(turn + np.arange(stop - start - len(fresh))) % len(kept)] if len(kept) else np.arange(fresh[-1] + 1, stop)
            turn += len(again)
            for at, index in ((start, fresh), (start + len(fresh), again)):
                part = replace(lesson, inputs=lesson.inputs.take(index), labels=lesson.labels[index], first=lesson.first + at)
                done = self.base.teach(deployment, part, memory)
                deployment, spent, memory = done.deployment, spent + done.spent, done.memory
        return Taught(deployment, spent, memory)

    def _taught_by(self, deployment: nf.Deployment, lesson: Lesson, index: np.ndarray) -> np.ndarray:
        """Return which samples make an error: the right class is ahead by less than the margin."""
        scores = nf.run(deployment, lesson.inputs.take(index)).activity.scores
        own, rows = lesson.labels[index], np.arange(len(index))
        right, rivals = scores[rows, own], scores.copy()
        rivals[rows, own] = np.iinfo(np.int64).min
        return np.asarray(rivals.max(axis=1) + self.base.margin > right)


@final
@dataclass(frozen=True, eq=False)
class Ruled(_Made):
    """Another rule.

    Attributes:
        texts: (whether it is the readout, gate) → arguments of :func:`neurofault.learning.rule.learning_rule`, without epoch and third factor.
    """

    texts: Callable[[bool, str], dict[str, Any]] = lambda readout, gate: {}

    @property
    def feedback_weights(self) -> Any:
        """As of the base."""
        return self.base.feedback_weights

    @property
    def feedback_shift(self) -> int:
        """As of the base."""
        return self.base.feedback_shift

    @property
    def error_populations(self) -> int:
        """As of the base."""
        return self.base.error_populations

    def rule(self, deployment: nf.Deployment, connection: str) -> LearningRule:
        """Return the rule of a connection."""
        epoch, gate = epoch_of(deployment.timesteps, deployment.profile)
        readout = deployment.connection(connection).target == deployment.output.name
        return learning_rule(**self.texts(readout, f"u{gate}"), t_epoch=epoch, third_factor=True)

    def teach(self, deployment: nf.Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`. Tags start at 0 in each lesson."""
        plastic = lesson.plasticity.chosen(self.base.trainable(deployment))
        stages = build(self, deployment, plastic, lesson, memory)
        tally, counts = stages.tally(), {}
        for part in parts_of(deployment, lesson, stages):
            for name, total in show(deployment, stages, part, self.base.margin, self.base.tie, tally).items():
                counts[name] = counts.get(name, 0) + total
        visits = {}
        for name in stages.plastic:
            live = int(alive(deployment, deployment.connection(name).target).sum())
            tagged = bool(
                self.rule(deployment, name).dt
            )  # where tags decay every synapse is visited, whether or not its source fired
            sources = (
                len(lesson.labels) * deployment.connection(name).synapses.n_in
                if tagged
                else int(tally.active[stages.of(name)].sum())
            )
            visits[name] = sources * live
        errors, outputs = int(tally.errors[0]), deployment.output.size
        hidden = sum(int(alive(deployment, name).sum()) for name in hidden_targets(deployment, stages.plastic))
        learned = LessonCharge(
            visits, stages.written(), operations=3 * outputs * lesson.known + errors * (1 + hidden), messages=(outputs + 2) * lesson.known + errors,
            neurons=outputs, host_bytes=lesson.bytes_told,
        )  # fmt: skip
        spent = charge(deployment, spikes_of(deployment, stages, counts, tally), len(lesson.labels), learned)
        return Taught(learned_deployment(deployment, stages), spent, stages.writes())


def _momentum(readout: bool, gate: str) -> dict[str, Any]:
    """The tag keeps 7/8 of what it held and takes what dfa would have added to the weight; the weight takes a part of the tag."""
    into, out = (-5, -4) if readout else (-4, -6)
    return {
        "dt": f"2^{into}*{gate}*x1*y1 - 2^{into}*{gate}*x1*y2 - 2^-3*{gate}*t", "dw": f"2^{out}*{gate}*t", "x1_impulse": 2 if readout else 1,
        "x1_tau": math.inf,
    }  # fmt: skip


def _forgetting(readout: bool, gate: str) -> dict[str, Any]:
    """Spikes count less the longer ago they are: time constant 8 steps; impulses are larger, so that steps are about as large."""
    exponent = -6 if readout else -7
    return {
        "dw": f"2^{exponent}*{gate}*x1*y1 - 2^{exponent}*{gate}*x1*y2", "x1_impulse": 8 if readout else 4, "x1_tau": 8.0
    }  # fmt: skip


def _bounded(readout: bool, gate: str) -> dict[str, Any]:
    """The nearer a weight is to its bound, the less it moves towards it; at 0 steps are as large as dfa's."""
    exponent = -5 if readout else -6
    return {
        "dw": f"-2^{exponent}*{gate}*x1*y1*(w-255) - 2^{exponent}*{gate}*x1*y2*(w+255)", "x1_impulse": 2 if readout else 1, "x1_tau": math.inf
    }  # fmt: skip


def falling(base: ErrorLearning, hidden: Sequence[int], readout: Sequence[float]) -> Phased:
    """Return a learner with phases of equal length over a cycle: steps of the hidden layer and of the readout in each."""
    settings = enumerate(zip(hidden, readout, strict=True), 1)
    return Phased(base, phases=tuple(Phase(number / len(hidden), steps(base, one, other)) for number, (one, other) in settings))


FALL = (8, 4, 2, 1), (1, 1, 0.5, 0.25)
"""Steps of the hidden layer and of the readout in the quarters of a cycle."""


@dataclass(frozen=True)
class Candidate:
    """A learner that is tried.

    Attributes:
        name: of the row.
        make: of `dfa` as the package makes it for a chip.
        cycles: of the budget.
    """

    name: str
    make: Callable[[ErrorLearning], Learner]
    cycles: float = 1.0


def usual(chip: nf.Deployment, inputs: nf.Inputs, labels: Any) -> ErrorLearning:
    """Return `dfa` with the constants that it has by default."""
    return dfa(chip, inputs, labels)


def candidates() -> Iterator[Candidate]:
    """Yield `dfa`, then all that is tried."""
    yield Candidate("dfa", lambda base: base)
    yield Candidate("dfa, 2 cycles", lambda base: base, 2.0)
    for by in (2, 4):
        yield Candidate(f"hidden steps × {by}", lambda base, by=by: steps(base, by))
    yield Candidate("all steps × 2", lambda base: steps(base, 2, 2))
    yield Candidate("margin × 2", lambda base: replace(base, margin=2 * base.margin))
    yield Candidate("two rates: hidden × 4, readout × ½", lambda base: steps(base, 4, 0.5))
    yield Candidate("falling: hidden × 8, 4, 2, 1", lambda base: falling(base, (8, 4, 2, 1), (1, 1, 1, 1)))
    yield Candidate("falling: hidden × 8, 4, 2, 1, readout × 1, 1, ½, ¼", lambda base: falling(base, *FALL))
    yield Candidate(
        "falling: hidden × 4, 4, 2, 1, readout × 2, 1, ½, ¼", lambda base: falling(base, (4, 4, 2, 1), (2, 1, 0.5, 0.25))
    )
    yield Candidate(
        "readout alone for 0.2 cycles, then both",
        lambda base: Phased(base, phases=(Phase(0.2, base, (OUTPUT,)), Phase(1.0, base))),
    )
    yield Candidate(
        "readout alone for 0.2 cycles, then hidden alone",
        lambda base: Phased(base, phases=(Phase(0.2, base, (OUTPUT,)), Phase(1.0, base, (HIDDEN,)))),
    )
    yield Candidate("replay: a quarter from 500 stored samples", lambda base: Replayed(base))
    yield Candidate("feedback copied anew every 0.1 cycles", lambda base: Refreshed(base))
    yield Candidate("momentum in the tag", lambda base: Ruled(base, texts=_momentum))
    yield Candidate("traces that forget (8 steps)", lambda base: Ruled(base, texts=_forgetting))
    yield Candidate("soft weight bounds", lambda base: Ruled(base, texts=_bounded))
