"""Compiled learning from errors, sample after sample: forward through what learns, error, third factors, learning.

What drives the first connection that learns never changes, so its spikes are worked out beforehand; :class:`Stage` is a connection from
there on, with the neurons that it drives: in a chain one after the other, else all connections into the readout, side by side. The forward pass is that of :mod:`neurofault.engines.exact.kernels` (the same integers, without delays), the learning that of
:mod:`neurofault.learning.kernel`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.engines.exact.neuron_steps import _moved, _wrapped
from neurofault.learning.counter import jit
from neurofault.learning.kernel import run as run_learning
from neurofault.learning.records import Cells, Defects, LearningRoom, Memory, Noise, Program, StepRecord, TraceDynamics
from neurofault.rescue.learners.error_sizes import MOST, errors_of, silence_errors
from neurofault.rescue.learners.kept_records import record_at


class Room(NamedTuple):
    """Room of one stage to work in; stages of the same neurons share what is of these.

    Attributes:
        work: of its learning engine.
        before: bool [T, n_in], spikes of its sources in this sample, as they arrive; ``fired`` of the stage that drives it, if one does.
        more: int32 [T, n], what stages side by side with it add to u in each step; no rows: there are none.
        fired: bool [T, n], its neurons' spikes in this sample.
        u, v: int32 [n].
        total: int32 [n], sums of weights, 0 between steps.
        y: int32 [3, n], third factors.
        third: int32 [T, 3, n], third factors in each step, 0 but in the last.
        post: bool [T, n], no spikes: the rules have no trace of their targets.
        group: bool [T, n_in], spikes of some sources.
        scores: int64 [n].
        error: int32 [n].
        arriving: bool [N, T, n_in], spikes that reach it in each sample; no samples: another stage drives it.
        silence: bool [S, n_in], no spikes of its sources in a phase; no steps: there are no phases.
        driven: bool [S, n], its neurons' spikes in a phase.
    """

    work: LearningRoom
    before: NDArray[np.bool_]
    more: NDArray[np.int32]
    fired: NDArray[np.bool_]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    total: NDArray[np.int32]
    y: NDArray[np.int32]
    third: NDArray[np.int32]
    post: NDArray[np.bool_]
    group: NDArray[np.bool_]
    scores: NDArray[np.int64]
    error: NDArray[np.int32]
    arriving: NDArray[np.bool_]
    silence: NDArray[np.bool_]
    driven: NDArray[np.bool_]


class Stage(NamedTuple):
    """One connection from the first plastic one on, with the neurons that it drives.

    Attributes:
        plastic: whether its synapses learn.
        aside: whether it only adds to what the last stage brings its neurons, side by side with it.
        program, dynamics, cells, defects, noise, memory, record: see :mod:`neurofault.learning.records`; the weights of a
            connection that does not learn are in ``memory`` too.
        keep_u, keep_v: float64 [n], share of u and v that survives a step.
        threshold, start, bias: int32 [n], in the unit of v; silent neurons cannot fire.
        alive: bool [n].
        left, right: the sum of weights is shifted right (floor), then left, into u.
        feedback: int32 [n_out, n], from each error neuron; no rows for the readout.
        shift: what arrives through feedback is divided by 2**shift, towards zero.
        new_in, new_out: bool [n_in], [n], replacement neurons before and behind the connection.
        old_shift: halvings of the third factor for old synapses; −1: old synapses do not learn.
        room: to work in.
        mute: bool [2, n], of the readout: dead error neurons, for positive and for negative errors; no columns: none.
    """

    plastic: bool
    aside: bool
    program: Program
    dynamics: TraceDynamics
    cells: Cells
    defects: Defects
    noise: Noise
    memory: Memory
    record: StepRecord
    keep_u: NDArray[np.float64]
    keep_v: NDArray[np.float64]
    threshold: NDArray[np.int32]
    start: NDArray[np.int32]
    bias: NDArray[np.int32]
    alive: NDArray[np.bool_]
    left: int
    right: int
    feedback: NDArray[np.int32]
    shift: int
    new_in: NDArray[np.bool_]
    new_out: NDArray[np.bool_]
    old_shift: int
    room: Room
    mute: NDArray[np.bool_]


class StageTally(NamedTuple):
    """What happened while samples were shown, for each stage.

    Attributes:
        spikes: int64 [stages, widest], of each neuron.
        active: int64 [stages, 2], sources that fired, summed over samples: old ones, new ones.
        errors: int64 [1], error neurons that were not 0, summed over samples.
    """

    spikes: NDArray[np.int64]
    active: NDArray[np.int64]
    errors: NDArray[np.int64]


@part
def _bring(stage: Stage, more: NDArray[np.int32]) -> None:
    """Add what the sources of a stage aside bring in each step."""
    weight, factor = stage.memory.weight, np.int32(1 << stage.left)
    before, total = stage.room.before, stage.room.total
    for t in range(before.shape[0]):
        for i in range(before.shape[1]):
            if before[t, i]:
                row = weight[i]
                for j in range(total.shape[0]):
                    total[j] += row[j]
        for j in range(total.shape[0]):
            more[t, j] = np.int32(more[t, j] + np.int32(np.int32(total[j] >> stage.right) * factor))
            total[j] = 0


@part
def _forward_one(stage: Stage) -> None:
    """Run the neurons of one stage for one sample, into its room."""
    weight, factor = stage.memory.weight, np.int32(1 << stage.left)
    before, more, total = stage.room.before, stage.room.more, stage.room.total
    u, v, fired = stage.room.u, stage.room.v, stage.room.fired
    n = v.shape[0]
    for j in range(n):
        u[j], v[j] = 0, stage.start[j]
    for t in range(before.shape[0]):
        for i in range(before.shape[1]):
            if before[t, i]:
                row = weight[i]
                for j in range(n):
                    total[j] += row[j]
        for j in range(n):
            drive = np.int32(np.int32(total[j] >> stage.right) * factor + np.int32(u[j] * stage.keep_u[j]))
            if more.shape[0]:
                drive = np.int32(drive + more[t, j])
            total[j] = 0
            u[j] = _wrapped(drive)
            moved = _moved(np.int32(v[j] * stage.keep_v[j]), u[j], stage.bias[j])
            spike = stage.alive[j] and moved > stage.threshold[j]
            if not stage.alive[j]:
                u[j] = moved = np.int32(0)
            fired[t, j] = spike
            v[j] = np.int32(0) if spike else moved


@part
def forward(kind: Any, rows: NDArray[np.int64], sample: int, counted: bool) -> None:
    """Run what learns for one sample, into the stages' rooms; the readout's scores too.

    Args:
        kind: of the stages, and
        rows: of their table, see :func:`respond`.
        sample: which of the N that arrive.
        counted: whether spike counts are read, not potentials.
    """
    output = record_at(kind, rows, rows.shape[0] - 1).room
    for t in range(output.more.shape[0]):
        for j in range(output.more.shape[1]):
            output.more[t, j] = 0
    for s in range(rows.shape[0]):
        stage = record_at(kind, rows, s)
        given, before = stage.room.arriving, stage.room.before
        if given.shape[0]:
            for t in range(before.shape[0]):
                for i in range(before.shape[1]):
                    before[t, i] = given[sample, t, i]
        if stage.aside:
            _bring(stage, output.more)
        else:
            _forward_one(stage)
    for c in range(output.scores.shape[0]):
        output.scores[c] = output.v[c]
        if counted:
            output.scores[c] = 0
            for t in range(output.fired.shape[0]):
                output.scores[c] += output.fired[t, c]


@part
def _third_factors(stage: Stage, error: NDArray[np.int32]) -> bool:
    """Fill y1 (increase) and y2 (decrease) in the room; return whether any is not 0.

    The readout takes its error as it is; a hidden neuron that fired takes Σ feedback · error / 2**shift, one that did not takes 0
    (the derivative of its rate is taken as 1 where it fires, else 0).
    """
    fired, y, some = stage.room.fired, stage.room.y, False
    direct = stage.feedback.shape[0] == 0
    for j in range(y.shape[1]):
        y[0, j] = y[1, j] = y[2, j] = 0
        if not stage.alive[j]:
            continue
        value = np.int64(0)
        if direct:
            value = np.int64(error[j])
        else:
            active = False
            for t in range(fired.shape[0]):
                active |= fired[t, j]
            if active:
                for c in range(error.shape[0]):
                    value += np.int64(stage.feedback[c, j]) * error[c]
                value = value >> stage.shift if value >= 0 else -(-value >> stage.shift)
        if value:
            some = True
            y[0 if value > 0 else 1, j] = min(abs(value), np.int64(MOST))
    return some


@part
def _learn(stage: Stage, sample: int, fired: NDArray[np.bool_]) -> None:
    """Apply the rule at the end of a sample; the third factors are written in its last step."""
    steps, y, third = fired.shape[0], stage.room.y, stage.room.third
    for k in range(3):
        for j in range(y.shape[1]):
            third[steps - 1, k, j] = y[k, j]
    run_learning(
        stage.program, stage.dynamics, stage.cells, stage.defects, stage.noise, stage.memory, stage.record, stage.room.work,
        sample * steps, steps, fired, stage.room.post, third,
    )  # fmt: skip


@part
def _of_group(fired: NDArray[np.bool_], chosen: NDArray[np.bool_], value: bool, out: NDArray[np.bool_]) -> None:
    """Fill ``out`` with the spikes of the sources whose ``chosen`` has a value."""
    for t in range(fired.shape[0]):
        for i in range(fired.shape[1]):
            out[t, i] = fired[t, i] and chosen[i] == value


@part
def count(stage: Stage, spikes: NDArray[np.int64], active: NDArray[np.int64]) -> None:
    """Count the spikes of a stage's neurons, and its sources that fired."""
    before, fired = stage.room.before, stage.room.fired
    for i in range(before.shape[1]):
        for t in range(before.shape[0]):
            if before[t, i]:
                active[1 if stage.new_in[i] else 0] += 1
                break
    for t in range(fired.shape[0]):
        for j in range(fired.shape[1]):
            spikes[j] += fired[t, j]


@part
def _respond(
    kind: Any,
    rows: NDArray[np.int64],
    first: int,
    label: int,
    wanted: NDArray[np.float64],
    margin: int,
    tie: int,
    tally: StageTally,
) -> None:
    output = record_at(kind, rows, rows.shape[0] - 1)
    error = output.room.error
    tally.errors[0] += errors_of(output.room.scores, output.alive, label, wanted, margin, tie, error)
    for s in range(rows.shape[0]):
        count(record_at(kind, rows, s), tally.spikes[s], tally.active[s])
    tally.errors[0] -= silence_errors(output.mute, error)
    for s in range(rows.shape[0]):
        stage = record_at(kind, rows, s)
        if not stage.plastic or not _third_factors(stage, error):
            continue
        before = stage.room.before
        if not stage.old_shift:
            _learn(stage, first, before)
            continue
        group, y = stage.room.group, stage.room.y
        _of_group(before, stage.new_in, True, group)
        _learn(stage, first, group)
        for k in range(2):
            for j in range(y.shape[1]):
                if not stage.new_out[j]:
                    y[k, j] = 0 if stage.old_shift < 0 else y[k, j] >> stage.old_shift
        _of_group(before, stage.new_in, False, group)
        _learn(stage, first, group)


@jit
def respond(
    kind: Any,
    rows: NDArray[np.int64],
    first: int,
    label: int,
    wanted: NDArray[np.float64],
    margin: int,
    tie: int,
    tally: StageTally,
) -> None:
    """Learn from one sample that has been run: its spikes and scores are in the stages' rooms.

    Args:
        kind: of the stages, and
        rows: of their table (:func:`neurofault.rescue.learners.kept_records.kept`), :class:`Stage` by stage from the first plastic connection to those into
            the readout; the last of these is no stage aside.
        first: number of the sample in the rescue, from 0.
        label: its class; −1: not known.
        wanted: its targets; see :func:`~neurofault.rescue.learners.error_sizes.errors_of`.
        margin: see :func:`~neurofault.rescue.learners.error_sizes.margin_errors`.
        tie: likewise.
        tally: counted on.
    """
    _respond(kind, rows, first, label, wanted, margin, tie, tally)


@jit
def teach(
    kind: Any,
    rows: NDArray[np.int64],
    first: int,
    labels: NDArray[np.int64],
    wanted: NDArray[np.float64],
    counted: bool,
    margin: int,
    tie: int,
    tally: StageTally,
) -> None:
    """Show samples one after the other, each to the chip that the earlier ones left.

    Args:
        kind: of the stages, and
        rows: of their table, see :func:`respond`.
        first: number of the first sample in the rescue, from 0.
        labels: int64 [N]; −1: not known.
        wanted: float64 [N, n_out], targets; no columns: there are none.
        counted: whether spike counts are read, not potentials.
        margin: see :func:`~neurofault.rescue.learners.error_sizes.margin_errors`.
        tie: likewise.
        tally: counted on.
    """
    for k in range(labels.shape[0]):
        forward(kind, rows, k, counted)
        _respond(kind, rows, first + k, labels[k], wanted[k], margin, tie, tally)
