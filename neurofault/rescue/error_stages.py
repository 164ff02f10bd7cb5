"""From a chip's last layers to what the compiled error learning reads, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import counts_from
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write
from neurofault.engines import get_engine
from neurofault.engines.kernels import STATE_LIMIT
from neurofault.engines.packing import bias_of
from neurofault.errors import UnsupportedError
from neurofault.graph import Dense
from neurofault.rescue import error_kernel
from neurofault.rescue.error_faults import ErrorFaults, feedback_at
from neurofault.rescue.error_kernel import Room, Stage, Tally
from neurofault.rescue.guard import Changes
from neurofault.rescue.learning import DefectSchedule
from neurofault.rescue.learning_records import Memory, Record, room
from neurofault.rescue.learning_setup import strict_engine
from neurofault.rescue.lesson import Lesson
from neurofault.rescue.rule import LearningRule

Writes = Mapping[int, NDArray[np.int32]]
"""Layer index → how often each synapse was written, int32 [n_in, n_out]."""


class Teacher(Protocol):
    """What the stages need to know of a learner; see :class:`neurofault.rescue.error_learning.ErrorLearning`."""

    @property
    def name(self) -> str:
        """The learner's name."""
        ...

    @property
    def feedback_weights(self) -> tuple[tuple[int, NDArray[np.int32]], ...]:
        """Layer index → int32 [n_out, n]."""
        ...

    @property
    def feedback_shift(self) -> int:
        """What arrives through feedback is divided by 2**feedback_shift."""
        ...

    @property
    def error_populations(self) -> int:
        """1: an error neuron for each class; 2: one for errors of each sign."""
        ...

    def rule(self, deployment: Deployment, layer: int) -> LearningRule:
        """Return the rule of a layer."""
        ...


@dataclass(frozen=True, eq=False)
class Stages:
    """The layers from the first plastic one on.

    Attributes:
        first: index of the first of them.
        stages: as the kernel reads them; their memory changes as the chip learns.
        defects: of each stage's learning engine.
        before: how often each synapse had been written.
        steps: T.
        counted: whether spike counts are read, not potentials.
        steady: whether nothing that is broken changes with time, so that the compiled forward pass can be used.
        errors: broken error neurons.
        feedback: layer index → sound feedback synapses.
    """

    first: int
    stages: tuple[Stage, ...]
    defects: tuple[DefectSchedule, ...]
    before: Writes
    steps: int
    counted: bool
    steady: bool
    errors: ErrorFaults
    feedback: Writes

    def writes(self) -> Writes:
        """Return how often each synapse has been written by now."""
        return {layer: self.stages[layer - self.first].memory.writes for layer in self.before}

    def written(self) -> int:
        """Return how many writes there were in this lesson."""
        return sum(int((now - self.before[layer]).sum()) for layer, now in self.writes().items())


def build(learner: Teacher, deployment: Deployment, plastic: tuple[int, ...], lesson: Lesson, memory: Writes | None) -> Stages:
    """Return the stages of a lesson.

    Raises:
        UnsupportedError: a layer from the first plastic one on is not dense or has delays.
    """
    left = np.array([1 << 62 if lesson.writes is None else lesson.writes], np.int64)
    first, stages, schedules, before = plastic[0], [], [], {}
    for layer in range(first, len(deployment.layers)):
        stage, schedule = _stage(learner, deployment, layer, layer in plastic, lesson, left)
        if layer in plastic:
            if memory is not None and layer in memory:
                stage.memory.writes[:] = memory[layer]
            before[layer] = stage.memory.writes.copy()
        stages.append(stage)
        schedules.append(schedule)
    errors = ErrorFaults.of(deployment, learner.error_populations)
    stages[-1] = stages[-1]._replace(mute=errors.at(0))
    lasting = all(edit.when.always for schedule in schedules for edit in schedule.edits)
    steady = deployment.damage.plain and errors.steady and lasting
    return Stages(
        first, tuple(stages), tuple(schedules), before, deployment.timesteps, deployment.readout == "count", steady, errors,
        dict(learner.feedback_weights),
    )  # fmt: skip


def _stage(
    learner: Teacher, deployment: Deployment, layer: int, plastic: bool, lesson: Lesson, left: NDArray[np.int64]
) -> tuple[Stage, DefectSchedule]:
    chip = deployment.layers[layer]
    if not isinstance(chip.synapses, Dense) or chip.synapses.delay is not None:
        raise UnsupportedError(
            f"layer {chip.name!r}: {learner.name} trains dense layers without delays, and dense ones must follow"
        )
    engine = strict_engine(
        deployment, layer, learner.rule(deployment, layer), seed=lesson.seed, write_limit=lesson.writes_per_synapse
    )
    steps = deployment.timesteps
    defects = engine.defects.rows(0, steps, engine.rule.t_epoch)
    n_in, n = chip.synapses.n_in, chip.synapses.n_out
    alive = ~deployment.damage.silent(layer, n)
    copied = dict(learner.feedback_weights)
    new = lesson.plasticity.new
    shift = lesson.plasticity.old_shift if any(mask.any() for mask in new.values()) else 0
    threshold = np.clip(chip.vth.astype(np.int64) << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT)
    stage = Stage(
        plastic,
        engine.program,
        engine.dynamics,
        engine.cells,
        defects,
        engine.chance.numbers(0, steps, engine.rule.t_epoch),
        _own(engine.start.memory)._replace(left=left),
        Record(np.empty((0, 2, n_in), np.int32), np.empty((0, 3, n), np.int32), *(np.empty((0, 0, 0), np.int16) for _ in range(3))),
        (4095 - chip.du.astype(np.float64)) / 4096,
        (4096 - chip.dv.astype(np.float64)) / 4096,
        np.where(alive, threshold, 2 * STATE_LIMIT).astype(np.int32),
        np.where(alive, np.int32(chip.v_init), np.int32(0)).astype(np.int32),
        np.where(alive, bias_of(chip.bias_mantissa, chip.bias_exponent), 0).astype(np.int32),
        alive,
        max(chip.weight_exponent, 0) + 6,
        max(-chip.weight_exponent, 0),
        feedback_at(deployment, layer, copied[layer], 0) if layer in copied and plastic else np.empty((0, n), np.int32),
        learner.feedback_shift,
        new.get(layer - 1, np.zeros(n_in, bool)),
        new.get(layer, np.zeros(n, bool)),
        -1 if shift is None else shift,
        Room(
            room(engine.program, defects, n_in, n, strict=True),
            np.zeros((steps, n), np.bool_),
            np.zeros(n, np.int32),
            np.zeros(n, np.int32),
            np.zeros(n, np.int32),
            np.zeros((3, n), np.int32),
            np.zeros((steps, 3, n), np.int32),
            np.zeros((steps, n), np.bool_),
            np.zeros((steps, n_in), np.bool_),
            np.zeros(n, np.int64),
            np.zeros(n, np.int32),
        ),
        np.zeros((2, 0), bool),
    )
    return stage, engine.defects


def show(stages: Stages, lesson: Lesson, arriving: NDArray[np.bool_], margin: int, tie: int, tally: Tally) -> None:
    """Show samples to a chip whose damage is the same at all times; see :func:`neurofault.rescue.error_kernel.teach`."""
    error_kernel.teach(stages.stages, lesson.first, arriving, lesson.labels, stages.counted, margin, tie, tally)


def show_through_engine(
    deployment: Deployment, plastic: tuple[int, ...], stages: Stages, lesson: Lesson, margin: int, tie: int, tally: Tally
) -> dict[str, NDArray[np.int64]]:
    """Show samples to a chip whose damage comes and goes: each is run by the exact engine, which takes every kind of damage.

    Returns:
        Spike counts of the layers before the first stage.
    """
    counts = {layer.name: np.zeros(layer.size, np.int64) for layer in deployment.layers[: stages.first]}
    for k, label in enumerate(lesson.labels):
        now = learned_deployment(deployment, plastic, stages)
        activity = get_engine("exact").run(now, lesson.inputs[k : k + 1], record=("spikes",))
        spikes = [np.ascontiguousarray(activity.traces[layer.name].spikes[0]) for layer in now.layers]  # type: ignore[index]
        for name, total in counts.items():
            total += activity.spike_counts[name]
        step = (lesson.first + k) * stages.steps
        present = tuple(
            stage._replace(
                defects=schedule.rows(step, stages.steps, stage.program.epoch),
                feedback=feedback_at(deployment, layer, stages.feedback[layer], step)
                if stage.feedback.shape[0]
                else stage.feedback,
            )
            for layer, (stage, schedule) in enumerate(zip(stages.stages, stages.defects, strict=True), stages.first)
        )
        present = (*present[:-1], present[-1]._replace(mute=stages.errors.at(step)))
        for stage, fired in zip(present, spikes[stages.first :], strict=True):
            stage.room.fired[:] = fired
        present[-1].room.scores[:] = counts_from(activity.scores[0]) if stages.counted else activity.scores[0]
        error_kernel.respond(present, lesson.first + k, spikes[stages.first - 1], label, margin, tie, tally)
    return counts


def _own(memory: Memory) -> Memory:
    """Return a copy that may be written to."""
    return Memory(*(array.copy() for array in memory))


def counted_on(memory: Writes | None, differing: Changes) -> Writes | None:
    """Return how often each synapse was written after an earlier state was written back, too."""
    if memory is None:
        return None
    return {
        layer: writes + differing.weights[layer].T if layer in differing.weights else writes for layer, writes in memory.items()
    }


def learned_deployment(deployment: Deployment, plastic: tuple[int, ...], stages: Stages) -> Deployment:
    """Return the chip with what its plastic layers have learned; synapses that were not written keep every bit."""
    for layer in plastic:
        memory = stages.stages[layer - stages.first].memory
        weights = memory.weight.T
        deployment = write(deployment, layer, weights, weights != stored_weights(deployment, layer))
    return deployment
