"""From a chip's connections to what the compiled error learning reads, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, counts_from
from neurofault.damage.fold_neurons import NeuronFold, NeuronsNow
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write
from neurofault.engines import get_engine
from neurofault.errors import UnsupportedError
from neurofault.graph import Dense
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection, unusual_law
from neurofault.graph.schedule import title
from neurofault.learning.engine import DefectSchedule
from neurofault.learning.records import Memory, StepRecord, room
from neurofault.learning.rule import LearningRule
from neurofault.learning.setup import strict_engine
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners import error_kernel
from neurofault.rescue.learners.error_faults import ErrorFaults, feedback_at
from neurofault.rescue.learners.error_kernel import Room, Stage, StageTally
from neurofault.rescue.learners.kept_records import kept
from neurofault.rescue.learners.unchanging import arriving_spikes
from neurofault.rescue.lesson import Lesson

Writes = Mapping[str, NDArray[np.int32]]
"""Connection → how often each synapse was written, int32 [n_in, n_out]."""

_SHUT = (1 << 31) - 1
"""Writes after which a synapse takes no more: of one whose messages are always lost, from the beginning."""


class Teacher(Protocol):
    """What the stages need to know of a learner; see :class:`neurofault.rescue.learners.errors.ErrorLearning`."""

    @property
    def name(self) -> str:
        """The learner's name."""
        ...

    @property
    def feedback_weights(self) -> tuple[tuple[str, NDArray[np.int32]], ...]:
        """Hidden population → int32 [n_out, n]."""
        ...

    @property
    def feedback_shift(self) -> int:
        """What arrives through feedback is divided by 2**feedback_shift."""
        ...

    @property
    def error_populations(self) -> int:
        """1: an error neuron for each class; 2: one for errors of each sign."""
        ...

    def rule(self, deployment: Deployment, connection: str) -> LearningRule:
        """Return the rule of a connection."""
        ...


@dataclass(frozen=True, eq=False)
class Stages:
    """The connections from the first plastic one on: all into the populations that what is learned reaches.

    Attributes:
        connections: in the order in which they are run; the last one drives the readout.
        stages: as the kernel reads them; their memory changes as the chip learns.
        defects: of each stage's learning engine.
        before: how often each synapse had been written, of the plastic ones.
        lost: bool [n_in, n_out], synapses that learn nothing because their messages are always lost, of the plastic ones.
        steps: T.
        counted: whether spike counts are read, not potentials.
        steady: whether what is broken is so in every step, is of the kinds that the stages know (:attr:`neurofault.damage.damage.Damage.steady`), and every connection into these
            populations is a stage, so that the compiled forward pass can be used.
        errors: broken error neurons.
        feedback: hidden population → sound feedback synapses.
        lags: steps that the spikes come late over each connection.
    """

    connections: tuple[ChipConnection, ...]
    stages: tuple[Stage, ...]
    defects: tuple[DefectSchedule, ...]
    before: Writes
    lost: Mapping[str, NDArray[np.bool_]]
    steps: int
    counted: bool
    steady: bool
    errors: ErrorFaults
    feedback: Mapping[str, NDArray[np.int32]]
    lags: tuple[int, ...]

    @property
    def plastic(self) -> tuple[str, ...]:
        """Names of the connections that learn."""
        return tuple(self.before)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the populations that what is learned reaches."""
        return tuple(dict.fromkeys(connection.target for connection in self.connections))

    def of(self, connection: str) -> int:
        """Return the number of a connection's stage."""
        return [one.name for one in self.connections].index(connection)

    def writes(self) -> Writes:
        """Return how often each synapse has been written by now."""
        now = {name: self.stages[self.of(name)].memory.writes for name in self.before}
        return {name: np.where(self.lost[name], self.before[name], writes) for name, writes in now.items()}

    def written(self) -> int:
        """Return how many writes there were in this lesson."""
        return sum(int((now - self.before[name]).sum()) for name, now in self.writes().items())

    def tally(self) -> StageTally:
        """Return an empty tally."""
        widest = max(stage.alive.size for stage in self.stages)
        return StageTally(
            np.zeros((len(self.stages), widest), np.int64), np.zeros((len(self.stages), 2), np.int64), np.zeros(1, np.int64)
        )


def build(learner: Teacher, deployment: Deployment, plastic: tuple[str, ...], lesson: Lesson, memory: Writes | None) -> Stages:
    """Return the stages of a lesson.

    Raises:
        UnsupportedError: a connection that must be a stage is not dense or has delays.
    """
    left = np.array([1 << 62 if lesson.writes is None else lesson.writes], np.int64)
    connections, whole = stages_of(learner.name, deployment, plastic)
    stages: list[Stage] = []
    schedules, before, lost = [], {}, {}
    for connection in connections:
        stage, schedule = _stage(learner, deployment, connection, connection.name in plastic, lesson, left)
        if connection.name in plastic:
            if memory is not None and connection.name in memory:
                stage.memory.writes[:] = memory[connection.name]
            before[connection.name] = stage.memory.writes.copy()
            lost[connection.name] = _lost(deployment, connection)
            stage.memory.writes[lost[connection.name]] = _SHUT
        stages.append(stage)
        schedules.append(schedule)
    errors = ErrorFaults.of(deployment, learner.error_populations)
    stages[-1] = stages[-1]._replace(mute=errors.at(0))
    lasting = all(edit.when.always for schedule in schedules for edit in schedule.edits)
    return Stages(
        connections, _joined(connections, stages), tuple(schedules), before, lost, deployment.timesteps, deployment.readout.how == "count",
        whole and deployment.damage.steady and errors.steady and lasting, errors, dict(learner.feedback_weights),
        tuple(deployment.schedule.lag[connection.name] for connection in connections),
    )  # fmt: skip


def stages_of(learner: str, deployment: Deployment, plastic: tuple[str, ...]) -> tuple[tuple[ChipConnection, ...], bool]:
    """Return the connections that must be stages, and whether these are all that drive the populations that learning reaches.

    Args:
        learner: its name, for messages.
        deployment: the chip.
        plastic: connections that learn.

    Raises:
        UnsupportedError: a population that learning reaches has another law than Lava's, or a connection that must be a stage is not dense or has delays.
    """
    reached = deployment.wiring.downstream({deployment.connection(name).target for name in plastic})
    driving = [
        one for population in deployment.populations if population.name in reached for one in deployment.into(population.name)
    ]
    law = unusual_law([one for one in deployment.populations if one.name in reached])
    if law is not None:
        raise UnsupportedError(f"{law}: {learner} trains neurons of Loihi's arithmetic that reset to zero at once")
    learning = {one.target for one in driving if one.name in plastic}
    chosen = []
    for one in driving:
        if isinstance(one.synapses, Dense) and one.synapses.delay is None:
            chosen.append(one)
        elif one.name in plastic or one.target not in learning:
            raise UnsupportedError(f"{title(one)}: {learner} trains dense layers without delays, and dense ones must follow")
    return tuple(chosen), len(chosen) == len(driving)


def _joined(connections: tuple[ChipConnection, ...], stages: list[Stage]) -> tuple[Stage, ...]:
    """Let a stage that another one drives read its spikes, and stages side by side share the neurons that they drive: the readout's."""
    owner = {connection.target: stage for connection, stage in zip(connections, stages, strict=True)}
    joined: list[Stage] = []
    for connection, stage in zip(connections, stages, strict=True):
        own, source = owner[connection.target], owner.get(connection.source)
        side_by_side = sum(other.target == connection.target for other in connections) > 1
        room = stage.room._replace(
            before=stage.room.before if source is None else source.room.fired,
            more=np.zeros(stage.room.fired.shape if side_by_side else (0, stage.alive.size), np.int32),
            **{name: getattr(own.room, name) for name in ("fired", "u", "v", "scores", "error")},
        )
        joined.append(stage._replace(aside=stage is not own, room=room))
    return tuple(joined)


def _stage(
    learner: Teacher, deployment: Deployment, connection: ChipConnection, plastic: bool, lesson: Lesson, left: NDArray[np.int64]
) -> tuple[Stage, DefectSchedule]:
    name, chip = connection.name, deployment.population(connection.target)
    now, lost = _fields(deployment, connection.target), _lost(deployment, connection)
    engine = strict_engine(
        deployment, name, learner.rule(deployment, name), seed=lesson.seed, write_limit=lesson.writes_per_synapse
    )
    steps = deployment.timesteps
    defects = engine.defects.rows(0, steps, engine.rule.t_epoch)
    n_in, n = connection.synapses.n_in, connection.synapses.n_out
    alive = ~deployment.damage.silent(chip.name, n)
    copied = dict(learner.feedback_weights)
    new = lesson.plasticity.new
    shift = lesson.plasticity.old_shift if any(mask.any() for mask in new.values()) else 0
    threshold = np.clip(now.vth << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT)
    cells, memory = engine.cells, _own(engine.start.memory)._replace(left=left)
    if lost.any():
        cells, memory.weight[lost] = cells._replace(limit=min(cells.limit, _SHUT)), 0
    stage = Stage(
        plastic,
        False,
        engine.program,
        engine.dynamics,
        cells,
        defects,
        engine.chance.numbers(0, steps, engine.rule.t_epoch),
        memory,
        StepRecord(
            np.empty((0, 2, n_in), np.int32), np.empty((0, 3, n), np.int32), *(np.empty((0, 0, 0), np.int16) for _ in range(3))
        ),
        (4095 - now.du.astype(np.float64)) / 4096,
        (4096 - now.dv.astype(np.float64)) / 4096,
        np.where(alive, threshold, 2 * STATE_LIMIT).astype(np.int32),
        np.where(alive, np.int32(chip.v_init), np.int32(0)).astype(np.int32),
        np.where(alive, bias_of(now.bias_mantissa, chip.bias_exponent), 0).astype(np.int32),
        alive,
        max(connection.weight_exponent, 0) + 6,
        max(-connection.weight_exponent, 0),
        feedback_at(deployment, name, copied[chip.name], 0) if chip.name in copied and plastic else np.empty((0, n), np.int32),
        learner.feedback_shift,
        new.get(connection.source, np.zeros(n_in, bool)),
        new.get(connection.target, np.zeros(n, bool)),
        -1 if shift is None else shift,
        Room(
            room(engine.program, defects, n_in, n, strict=True),
            np.zeros((steps, n_in), np.bool_),
            np.zeros((0, n), np.int32),
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
            np.zeros((0, 0, n_in), np.bool_),
            np.zeros((0, n_in), np.bool_),
            np.zeros((0, n), np.bool_),
        ),
        np.zeros((2, 0), bool),
    )
    return stage, engine.defects


def _fields(deployment: Deployment, population: str) -> NeuronsNow:
    """Return the stored parameters of a population as they are for good."""
    fold = NeuronFold(deployment.population(population), deployment.damage.edits)
    return fold.at(np.array([edit.when.always for edit in fold.edits], bool))


def _lost(deployment: Deployment, connection: ChipConnection) -> NDArray[np.bool_]:
    """Return bool [n_in, n_out]: synapses whose messages are always lost. The core never hears of these spikes, so no trace of them teaches it anything."""
    lost = deployment.damage.lost(connection.name, connection.synapses.n_out, connection.synapses.n_in)
    return np.ascontiguousarray(lost.T)


def arriving(deployment: Deployment, stages: Stages, lesson: Lesson) -> tuple[tuple[Stage, ...], dict[str, NDArray[np.int64]]]:
    """Return the stages with the spikes of a lesson that reach them, and spike counts of the populations before them."""
    spikes, counts = arriving_spikes(deployment, lesson.inputs, stages.trained)
    reached = [
        stage._replace(room=stage.room._replace(arriving=_late(spikes[connection.source], lag)))
        if connection.source in spikes
        else stage
        for connection, stage, lag in zip(stages.connections, stages.stages, stages.lags, strict=True)
    ]
    return tuple(reached), counts


def _late(spikes: NDArray[np.bool_], lag: int) -> NDArray[np.bool_]:
    """Return bool [N, T, n]: spikes that come some steps late, within their sample."""
    if not lag:
        return np.require(spikes, requirements=["C", "W"])
    late = np.zeros_like(spikes, order="C")
    late[:, lag:] = spikes[:, : max(0, spikes.shape[1] - lag)]
    return late


def show(
    deployment: Deployment, stages: Stages, lesson: Lesson, margin: int, tie: int, tally: StageTally
) -> dict[str, NDArray[np.int64]]:
    """Show samples to a chip; see :func:`neurofault.rescue.learners.error_kernel.teach`. Return spike counts of the populations before the stages."""
    if not stages.steady:
        return _show_through_engine(deployment, stages, lesson, margin, tie, tally)
    reached, counts = arriving(deployment, stages, lesson)
    own = kept(reached)
    error_kernel.teach(own.kind, own.rows, lesson.first, lesson.labels, lesson.wanted, stages.counted, margin, tie, tally)
    return counts


def _show_through_engine(
    deployment: Deployment, stages: Stages, lesson: Lesson, margin: int, tie: int, tally: StageTally
) -> dict[str, NDArray[np.int64]]:
    """Show samples to a chip whose damage comes and goes: each is run by the exact engine, which takes every kind of damage."""
    trained = stages.trained
    counts = {one.name: np.zeros(one.size, np.int64) for one in deployment.populations if one.name not in trained}
    wanted = lesson.wanted
    for k, label in enumerate(lesson.labels):
        now = learned_deployment(deployment, stages)
        activity = get_engine("exact").run(now, lesson.inputs[k : k + 1], record=("spikes",))
        for name, total in counts.items():
            total += activity.spike_counts[name]
        step = (lesson.first + k) * stages.steps
        present: list[Stage] = []
        for connection, stage, schedule, lag in zip(stages.connections, stages.stages, stages.defects, stages.lags, strict=True):
            if stage.feedback.shape[0]:
                stage = stage._replace(feedback=feedback_at(deployment, connection.name, stages.feedback[connection.target], step))
            present.append(stage._replace(defects=schedule.rows(step, stages.steps, stage.program.epoch)))
            stage.room.before[:] = _late(_spikes(activity, connection.source), lag)[0]
            stage.room.fired[:] = _spikes(activity, connection.target)[0]
        present[-1] = present[-1]._replace(mute=stages.errors.at(step))
        present[-1].room.scores[:] = counts_from(activity.scores[0]) if stages.counted else activity.scores[0]
        own = kept(present)
        error_kernel.respond(own.kind, own.rows, lesson.first + k, label, wanted[k], margin, tie, tally)
    return counts


def _spikes(activity: Activity, population: str) -> NDArray[np.bool_]:
    spikes = activity.traces[population].spikes
    assert spikes is not None
    return spikes


def spikes_of(deployment: Deployment, stages: Stages, before: Mapping[str, NDArray[np.int64]], tally: StageTally) -> Activity:
    """Return the spikes of a lesson, of every population, as if they were of one sample; without scores."""
    counts = {one.name: before.get(one.name, np.zeros(one.size, np.int64)) for one in deployment.populations}
    for connection, stage, spikes in zip(stages.connections, stages.stages, tally.spikes, strict=True):
        if not stage.aside:
            counts[connection.target] = counts[connection.target] + spikes[: stage.alive.size]
    total = sum(int(own.sum()) for own in counts.values())
    return Activity(np.zeros((1, deployment.output.size), np.int64), counts, np.array([total], np.int64))


def _own(memory: Memory) -> Memory:
    """Return a copy that may be written to."""
    return Memory(*(array.copy() for array in memory))


def counted_on(memory: Writes | None, differing: Differences) -> Writes | None:
    """Return how often each synapse was written after an earlier state was written back, too."""
    if memory is None:
        return None
    return {name: writes + differing.weights[name].T if name in differing.weights else writes for name, writes in memory.items()}


def learned_deployment(deployment: Deployment, stages: Stages) -> Deployment:
    """Return the chip with what its plastic connections have learned; synapses that were not written keep every bit."""
    for name in stages.plastic:
        weights = stages.stages[stages.of(name)].memory.weight.T
        learned = (weights != stored_weights(deployment, name)) & ~stages.lost[name].T
        deployment = write(deployment, name, weights, learned)
    return deployment
