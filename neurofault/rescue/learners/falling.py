"""`falling`: readout and hidden layers learn from errors as with `dfa`, in steps that begin large and fall over the first cycle of a repair.

Large steps find what the damage moved far away, small ones average over samples what large ones leave scattered (Robbins & Monro 1951, "A stochastic
approximation method"). Each quarter of a cycle has steps of its own: in hidden layers 8, 4, 2 and 1 times those of `dfa`, in the readout 1, 1, 1/2 and 1/4 times.
A step is set by the constants of rule, traces and feedback (:class:`neurofault.rescue.learners.errors.ErrorLearning`), which an embedded processor or a host
rewrites between two samples, :data:`CONFIGURATION` bytes for each core that learns; rule, traces and feedback synapses are those of `dfa`.

``experiments/paper/learners.py`` prints what else was tried, and what this is worth: "Does it hold?" has the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.learning.rule import LearningRule
from neurofault.learning.rule_check import check_rule
from neurofault.metrics import Expected
from neurofault.rescue.budget import Spent
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners import gain
from neurofault.rescue.learners.error_stages import Writes
from neurofault.rescue.learners.errors import ErrorLearning, dfa, halved_readout_steps, hidden_gain
from neurofault.rescue.learners.trainable import dense_end
from neurofault.rescue.lesson import Lesson, Plasticity, Taught
from neurofault.rescue.provision import Provision

HIDDEN, READOUT = (3, 2, 1, 0), (0, 0, 1, 2)
"""How often the steps of `dfa` are doubled in hidden layers in each quarter, and halved in the readout."""

OVERSHOOT = 1.0
"""Largest gain of the hidden layers' first steps: beyond it a sample's own error overshoots. On ``mnist-mlp`` on Loihi 2 8 times the steps of `dfa` have 0.99."""

CONFIGURATION = 4
"""Bytes that change the steps of one core (the width is ours; no profile gives it)."""

_IMPULSE = 2
"""Doublings of a hidden step by the impulse of its traces, which keeps the most bits; further ones are taken from the feedback's shift."""


@final
@dataclass(frozen=True)
class Falling:
    """Error learning in phases; made by :func:`falling`.

    Attributes:
        phases: what learns in each, one after the other, at least one; they differ in steps alone.
        cycles: over how many cycles of a rescue all phases pass, above 0, each as long as the others; the last one holds from then on.
    """

    phases: tuple[ErrorLearning, ...]
    cycles: float = 1.0

    def __post_init__(self) -> None:
        if not self.phases:
            raise UsageError("falling: no phases; at least one is needed")
        if not self.cycles > 0:
            raise UsageError(f"falling: cycles is {self.cycles:g}; allowed: above 0")

    @property
    def name(self) -> str:
        """``falling``."""
        return "falling"

    @property
    def on_chip(self) -> bool:
        """True."""
        return True

    def trainable(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the connections of a chain into the readout and into what dense ones drive from which only dense ones follow.

        Raises:
            UnsupportedError: the network is no chain.
        """
        return tuple(link.incoming.name for link in dense_end(deployment, self.name))

    def rule(self, deployment: Deployment, connection: str) -> LearningRule:
        """Return the rule of a connection in the first phase; in others its scale or the impulse of its trace differs."""
        return self.phases[0].rule(deployment, connection)

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """See :meth:`neurofault.rescue.lesson.Learner.provide`."""
        for name in plasticity.chosen(self.trainable(deployment)):
            for phase in self.phases:
                check_rule(phase.rule(deployment, name), deployment.profile)
        return self.phases[0].provide(deployment, plasticity)

    def teach(self, deployment: Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`; ``memory``: how often each synapse was written."""
        plastic = lesson.plasticity.chosen(self.trainable(deployment))
        if not plastic:
            raise UsageError(f"falling can train {', '.join(self.trainable(deployment))}, none of which is plastic")
        cores = {core for name in plastic for core in deployment.placement.cores_of(deployment.connection(name).target)}
        spent, left = Spent(), lesson.writes
        for phase, part, begins in self._parts(lesson):
            done = phase.teach(deployment, replace(part, writes=left), memory)
            deployment, memory = done.deployment, done.memory
            spent += done.spent + Spent(host_bytes=CONFIGURATION * len(cores) if begins else 0)
            left = None if left is None else left - done.spent.writes
        return Taught(deployment, spent, memory)

    def _parts(self, lesson: Lesson) -> Iterator[tuple[ErrorLearning, Lesson, bool]]:
        """Yield what learns, the samples that it is shown, and whether its steps take the place of others."""
        end, last = lesson.first + len(lesson.labels), len(self.phases) - 1
        starts = [round(number * self.cycles * lesson.cycle / len(self.phases)) for number in range(len(self.phases))]
        for number, (phase, start) in enumerate(zip(self.phases, starts, strict=True)):
            stop = end if number == last else min(end, starts[number + 1])
            own = max(start, lesson.first)
            if own < stop:
                yield phase, lesson.part(slice(own - lesson.first, stop - lesson.first)), number > 0 and own == start

    def written_back(self, memory: Writes | None, differing: Differences) -> Writes | None:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`."""
        return self.phases[0].written_back(memory, differing)


def falling(
    deployment: Deployment, inputs: Inputs, labels: Expected, *, cycles: float = 1.0, scaled: bool = True, **options: Any
) -> Falling:
    """Return `falling`: `dfa` whose steps begin large and fall.

    >>> import neurofault as nf
    >>> from neurofault.engines import as_inputs
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> [phase.readout_exponent for phase in falling(chip, as_inputs(chip, x), y, scaled=False).phases]
    [-6, -6, -7, -7]
    >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    >>> nf.rescue(hurt, x, y, learner="falling", guard=None).samples_learned
    2

    Args:
        deployment: the chip, with
        inputs: encoded samples and
        labels: as of :func:`neurofault.rescue.learners.errors.dfa`.
        cycles: over which the steps fall, above 0; after these they stay small.
        scaled: whether steps follow from the chip (:mod:`neurofault.rescue.learners.gain`): those of hidden layers begin at the largest of 8, 4, 2 and 1 times
            what `dfa` takes whose gain is at most :data:`OVERSHOOT`, and stay there until they would be that small anyway.
        options: of :func:`neurofault.rescue.learners.errors.dfa`.

    Raises:
        UnsupportedError: the network is no chain.
        UsageError: cycles that are not above 0.
    """
    base = dfa(deployment, inputs, labels, scaled=scaled, **options)
    most = HIDDEN[0]
    if scaled:
        seen = gain.seen(deployment, inputs, base.trainable(deployment))
        ladder = ((doublings, hidden_gain(_stepped(base, doublings, 0), seen)) for doublings in HIDDEN)
        most = gain.first_stable(ladder, OVERSHOOT)
    return Falling(
        tuple(_stepped(base, min(most, hidden), readout) for hidden, readout in zip(HIDDEN, READOUT, strict=True)), cycles
    )


def _stepped(base: ErrorLearning, hidden: int, readout: int) -> ErrorLearning:
    """Return a learner whose steps are doubled so often in hidden layers, and halved so often in the readout."""
    by_impulse = min(hidden, _IMPULSE)
    stepped = replace(
        base, hidden_impulse=base.hidden_impulse << by_impulse, feedback_shift=max(0, base.feedback_shift - (hidden - by_impulse))
    )
    for _ in range(readout):
        stepped = halved_readout_steps(stepped)
    return stepped
