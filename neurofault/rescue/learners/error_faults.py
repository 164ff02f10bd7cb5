"""What is broken of a learner's own neurons and synapses: error neurons on dead cores or dead themselves, dead feedback synapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BrokenCore
from neurofault.damage.damage import LearningDefect
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.support import support_cores
from neurofault.errors import CapacityError


@dataclass(frozen=True, eq=False)
class ErrorFaults:
    """Broken error neurons.

    Attributes:
        phase: of the readout, whose clock they share.
        timesteps: T.
        parts: active steps and bool [2, n]: which neurons are dead that tell of a score too low, too high.
    """

    phase: int
    timesteps: int
    parts: tuple[tuple[When, NDArray[np.bool_]], ...]

    @classmethod
    def of(cls, deployment: Deployment, populations: int) -> ErrorFaults:
        """Find them.

        Args:
            deployment: the chip.
            populations: 1: a neuron for each class; 2: one for errors of each sign.
        """
        size = deployment.output.size
        parts = [
            (edit.when, np.tile(np.isin(np.arange(size), edit.neurons), (2, 1)))
            for edit in deployment.damage.edits
            if isinstance(edit, LearningDefect) and edit.part == "error"
        ]
        silent = [
            place
            for hit in deployment.damage.hits
            for place in hit.broken
            if isinstance(place, BrokenCore) and place.part == "silent"
        ]
        try:
            homes = support_cores(deployment, populations * size) if silent else np.empty(0, np.int64)
        except CapacityError:  # the learner was placed nowhere, so nothing of it can break
            homes = np.empty(0, np.int64)
        for place in silent:
            dead = np.broadcast_to((homes == place.core).reshape(-1, size) if homes.size else np.zeros((1, size), bool), (2, size))
            if dead.any():
                parts.append((place.when, dead.copy()))
        return cls(deployment.schedule.phase[deployment.output.name], deployment.timesteps, tuple(parts))

    @property
    def steady(self) -> bool:
        """Whether nothing of it changes with time."""
        return all(when.always for when, _ in self.parts)

    def at(self, step: int) -> NDArray[np.bool_]:
        """Return bool [2, n]: who is dead in the last step of the sample that begins after ``step`` steps; no columns: nobody."""
        active = [mask for when, mask in self.parts if acts(when, self.phase, step, self.timesteps)]
        return np.logical_or.reduce(active) if active else np.zeros((2, 0), bool)


def acts(when: When, phase: int, step: int, timesteps: int) -> bool:
    """Whether a fault is active in the last step, of a population of a phase, of the sample that begins after ``step`` steps."""
    now = timesteps - 1 if when.clock == "presentation" else step + timesteps + phase
    return bool(when.active(np.array([now]))[0])


def feedback_at(deployment: Deployment, connection: str, weights: NDArray[np.int32], step: int) -> NDArray[np.int32]:
    """Return int32 [n_out, n]: what the feedback synapses into a connection's target read in such a step."""
    read, phase = weights, deployment.schedule.phase[deployment.connection(connection).target]
    defects = [edit for edit in deployment.damage.edits if isinstance(edit, LearningDefect)]
    for edit in defects:
        if (edit.connection, edit.part) == (connection, "feedback") and acts(edit.when, phase, step, deployment.timesteps):
            read = read.copy() if read is weights else read
            read[edit.value, edit.neurons] = 0
    return np.ascontiguousarray(read)
