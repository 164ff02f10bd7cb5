"""What passes between a strategy and a learner: samples to learn from, what may change, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.numerals import plural
from neurofault.rescue.budget import Spent
from neurofault.rescue.guard import Differences
from neurofault.rescue.provision import Provision

UNKNOWN = -1
"""Label of a sample whose label is not available."""


@dataclass(frozen=True, eq=False)
class Plasticity:
    """Which synapses may change, and which learn more slowly.

    A synapse is *new* if its source or its target neuron is new. New synapses learn at full rate, old ones at ``2**-old_shift`` of
    it, or not at all.

    Attributes:
        connections: names of the connections whose synapses may change; None: all that the learner can train.
        new: population → bool [n], replacement neurons; empty: there are none, and every synapse learns at full rate.
        old_shift: how many halvings slower old synapses learn where there are new neurons; None: old synapses keep every bit.
    """

    connections: tuple[str, ...] | None = None
    new: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    old_shift: int | None = 0

    def chosen(self, trainable: tuple[str, ...]) -> tuple[str, ...]:
        """Return the connections that change: those that the learner can train, as far as they are allowed to."""
        return tuple(name for name in trainable if self.connections is None or name in self.connections)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Samples shown to a chip that learns, one after the other.

    Attributes:
        inputs: encoded samples, in the order shown.
        labels: int64 [N]; −1: not available. Where there are targets, any number from 0 says that those of the sample are available.
        first: samples that this rescue has shown before; it counts in random streams and schedules.
        cycle: samples of a cycle.
        seed: of random numbers; common to all strategies, so that comparisons are paired.
        writes: changes of stored weights that are still allowed; None: no limit.
        writes_per_synapse: changes that one stored weight stands in all; None: no limit.
        plasticity: which synapses may change.
        targets: float64 [N, n_out], what each output neuron is to score, in units of ``v`` or spikes; None: labels are to be answered.
        fresh: the chip was damaged or re-placed since the last lesson: what an optimiser remembers of dead neurons must be forgotten.
    """

    inputs: Inputs
    labels: NDArray[np.int64]
    first: int = 0
    cycle: int = 1
    seed: int = 0
    writes: int | None = None
    writes_per_synapse: int | None = None
    plasticity: Plasticity = Plasticity()
    fresh: bool = False
    targets: NDArray[np.float64] | None = None

    @property
    def known(self) -> int:
        """Samples whose label or targets are available."""
        return int(np.count_nonzero(self.labels >= 0))

    @property
    def bytes_told(self) -> int:
        """Bytes of the labels or targets that are available: 1 a label, 4 a target."""
        return self.known * bytes_of(self.targets)

    @property
    def wanted(self) -> NDArray[np.float64]:
        """The targets, or float64 [N, 0] where there are none: what compiled learning reads."""
        return np.empty((len(self.labels), 0)) if self.targets is None else self.targets

    def part(self, window: slice) -> Lesson:
        """Return the lesson that shows a window of the samples (step 1)."""
        start = range(len(self.labels))[window].start if len(self.labels) else 0
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        targets = None if self.targets is None else self.targets[window]
        taken = {"inputs": self.inputs[window], "labels": self.labels[window], "targets": targets, "first": self.first + start}
        return Lesson(**values | taken)


def bytes_of(targets: NDArray[np.float64] | None) -> int:
    """Return how many bytes say what one sample is to be answered with: a label 1, a target 4."""
    return 1 if targets is None else 4 * targets.shape[1]


@dataclass(frozen=True, eq=False)
class Taught:
    """What a lesson gave.

    Attributes:
        deployment: the chip with what it has learned.
        spent: by this lesson.
        memory: what the learner needs for its next lesson (how often each synapse was written, say); its own business.
    """

    deployment: Deployment
    spent: Spent
    memory: Any = None


class Learner(Protocol):
    """Something that changes a chip's stored values while samples are shown. Final classes, no base class with hooks."""

    @property
    def name(self) -> str:
        """Name on the command line and in results."""
        ...

    @property
    def on_chip(self) -> bool:
        """Whether the chip itself computes the changes."""
        ...

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """Return what the chip needs for this learner: learning connections, error neurons, feedback synapses, and where they sit.

        Raises:
            UnsupportedError: the chip cannot learn like this.
            CapacityError: a core lacks memory for it; the text says which and how much.
        """
        ...

    def teach(self, deployment: Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """Show the samples and let the chip learn.

        Args:
            deployment: the (damaged) chip.
            lesson: at least one sample.
            memory: what the last lesson of this rescue returned; None: this is the first.

        Raises:
            UnsupportedError: the chip cannot learn like this.
            UsageError: labels that do not fit.
        """
        ...

    def written_back(self, memory: Any, differing: Differences) -> Any:
        """Return the memory of a rescue in which a host wrote an earlier state of the chip back.

        Args:
            memory: what the last lesson returned.
            differing: what was written.
        """
        ...


def in_scores(deployment: Deployment, targets: Expected, unit: float) -> NDArray[np.float64]:
    """Return targets as what output neurons are to score: whole units of ``v``, or spikes in steps of 1/64.

    Args:
        deployment: the chip.
        targets: float64 [N, n_out].
        unit: what one of a score is in their unit.
    """
    grain = 1 if deployment.readout.potentials else 64
    return np.asarray(np.rint(np.asarray(targets, np.float64) * (grain / unit)) / grain, np.float64)


def check_labels(deployment: Deployment, lesson: Lesson) -> None:
    """Refuse labels or targets that do not fit.

    Raises:
        UsageError: not one label a sample, a class that the chip has not, or not a target for each output neuron.
    """
    if lesson.labels.shape != (len(lesson.inputs),):
        raise UsageError(f"labels have the shape {lesson.labels.shape}, but there are {plural(len(lesson.inputs), 'sample')}")
    outputs = deployment.output.size
    if lesson.targets is not None:
        if lesson.targets.shape != (len(lesson.inputs), outputs):
            raise UsageError(
                f"targets have the shape {lesson.targets.shape}, but there are {plural(len(lesson.inputs), 'sample')} and {plural(outputs, 'output neuron')}"
            )
        return
    if lesson.labels.size and not UNKNOWN <= int(lesson.labels.min()) <= int(lesson.labels.max()) < outputs:
        raise UsageError(
            f"labels lie in {lesson.labels.min()} … {lesson.labels.max()}; allowed: 0 to {outputs - 1}, −1 for unknown"
        )
