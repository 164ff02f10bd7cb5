"""The learning engine, compiled: traces of one dense connection over a whole sequence, and its rule at the end of each epoch.

The algorithm is that of Lava 0.10 (``lava/magma/core/model/py/connection.py``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.counter import absorb, jit
from neurofault.learning.drawn_sums import count_writes, name_sources
from neurofault.learning.factors import any_set
from neurofault.learning.records import Cells, Defects, LearningRoom, Memory, Noise, Program, StepRecord, TraceDynamics
from neurofault.learning.update import learn

_COUNTED = 1 << 14
"""Epochs whose writes of a synapse fit 16 bits."""


@part
def _fill(out: NDArray[np.int32], value: int) -> None:
    for i in range(out.shape[0]):  # a slice assignment takes numba ten times as long to compile
        out[i] = value


@part
def _fill_rows(out: NDArray[np.int32], value: int) -> None:
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[k, i] = value


@part
def _copy_rows(values: NDArray[np.int32], out: NDArray[np.int32]) -> None:
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[k, i] = values[k, i]


@part
def _keep_rows(values: NDArray[np.int32], out: NDArray[np.int16]) -> None:
    """Copy into a record; values beyond 16 bits, which only the first epoch can hold, saturate."""
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[k, i] = np.int16(min(max(values[k, i], np.int32(-32768)), np.int32(32767)))


@part
def _rounds_up(noise: Noise, key: int, step: int, place: int, fraction: int, shared: int) -> int:
    """1 if an impulse's fraction is rounded up. Lava compares a fraction of 8 bits with a number of 7, shared by all."""
    if noise.strict:
        drawn = absorb(absorb(noise.keys[key], step), place) >> np.uint64(56)
        return 1 if drawn < np.uint64(fraction) else 0
    return 1 if shared < fraction else 0


@part
def _spikes(
    dynamics: TraceDynamics,
    noise: Noise,
    first: int,
    key: int,
    now: int,
    start: int,
    shared: int,
    fired: NDArray[np.bool_],
    trace: NDArray[np.int32],
    last: NDArray[np.int32],
    number: int,
) -> None:
    """A neuron that fires again in an epoch gets the impulse of its earlier spike at once; the last spike's comes at its end."""
    if now == 1:  # nobody has fired yet
        for i in range(fired.shape[0]):
            last[i] = np.int32(fired[i])
        return
    for i in range(fired.shape[0]):
        if fired[i]:
            if last[i] > 0:
                for k in range(trace.shape[0]):
                    whole, fraction = dynamics.whole[first + k], dynamics.fraction[first + k]
                    up = _rounds_up(noise, key, start + last[i], (number + i) * trace.shape[0] + k, fraction, shared)
                    trace[k, i] = min(max(trace[k, i] + whole + up, 0), dynamics.top)
            last[i] = now


@part
def _history(
    dynamics: TraceDynamics,
    noise: Noise,
    first: int,
    key: int,
    start: int,
    shared: float,
    shared_impulse: int,
    last: NDArray[np.int32],
    h: NDArray[np.int32],
    number: int,
) -> None:
    """Fill h[1 … T] from h[0]: each step decays, the step of the last spike adds the impulse."""
    kinds, n = h.shape[1], h.shape[2]
    for k in range(kinds):
        keep, whole, fraction = dynamics.keep[first + k], dynamics.whole[first + k], dynamics.fraction[first + k]
        idle = whole == 0 and fraction == 0 and not any_set(h[0, k])
        for t in range(1, h.shape[0]):
            before, after = h[t - 1, k], h[t, k]
            if idle:
                _fill(after, 0)
                continue
            if keep == 1.0:
                for i in range(n):
                    after[i] = before[i]
            elif noise.strict:
                state = absorb(noise.keys[key], start + t)
                for i in range(n):  # without a branch, so that it is done many at a time
                    part = keep * before[i]
                    floor = np.floor(part)
                    drawn = np.float64(absorb(state, (number + i) * kinds + k) >> np.uint64(11)) * 2.0**-53
                    after[i] = np.int32(np.int32(floor) + np.int32(drawn < part - floor))
            else:
                for i in range(n):
                    part = keep * before[i]
                    floor = np.floor(part)
                    after[i] = np.int32(floor) + np.int32(shared < part - floor)
            if not noise.strict or fraction == 0:
                up = not noise.strict and shared_impulse < fraction
                impulse, top = np.int32(whole + np.int64(up)), np.int32(dynamics.top)
                for i in range(n):  # without a branch, which random spikes would make unpredictable
                    raised = min(max(np.int32(after[i] + impulse), np.int32(0)), top)
                    after[i] = raised if last[i] == t else after[i]
                continue
            for i in range(n):
                if last[i] == t:
                    up = _rounds_up(noise, key + 1, start + t, (number + i) * kinds + k, fraction, shared_impulse)
                    after[i] = min(max(after[i] + whole + up, 0), dynamics.top)


@part
def _outside(values: NDArray[np.int32], low: int, high: int) -> bool:
    """Whether a value lies outside its range, which only the first epoch can meet."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if values[i, j] < low or values[i, j] > high:
                return True
    return False


@part
def _narrowed(values: NDArray[np.int32], cut: int, out: NDArray[np.int16]) -> None:
    """Copy weights that lie in their range, without the bits that are cut; nothing where there is no room."""
    for i in range(out.shape[0]):
        for j in range(values.shape[1]):
            out[i, j] = np.int16(values[i, j] >> np.int32(cut))


@part
def _widened(values: NDArray[np.int16], cut: int, out: NDArray[np.int32]) -> None:
    for i in range(values.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = np.int32(np.int32(values[i, j]) << np.int32(cut))


@jit
def run(
    program: Program,
    dynamics: TraceDynamics,
    cells: Cells,
    defects: Defects,
    noise: Noise,
    memory: Memory,
    record: StepRecord,
    work: LearningRoom,
    step0: int,
    clear: int,
    pre: NDArray[np.bool_],
    post: NDArray[np.bool_],
    third: NDArray[np.int32],
) -> None:
    """Run S steps; ``memory``, ``record`` and ``work`` are written to.

    The first eight arguments are described in :mod:`neurofault.learning.records`. ``step0``: steps that were run before.
    ``clear``: traces are cleared before each ``clear``-th step of this call; 0: never. ``pre``, ``post``: bool [S, n_in], [S, n_out].
    ``third``: int32 [S, 3, n_out], or no rows without a third factor.
    """
    epoch, n_out, hx, hy = program.epoch, post.shape[1], work.hx, work.hy
    whole = (
        _outside(memory.weight, cells.low[0], cells.high[0])
        or _outside(memory.delay, cells.low[1], cells.high[1])
        or _outside(memory.tag, cells.low[2], cells.high[2])
    )
    if not whole:
        _narrowed(memory.weight, cells.shift, work.narrow)
    name_sources(noise.first, work.sources)
    epochs = 0
    for s in range(pre.shape[0]):
        step = step0 + s + 1
        now = (step - 1) % epoch + 1
        start = step - now
        if clear and s % clear == 0:
            _fill_rows(memory.x, 0)
            _fill_rows(memory.y, 0)
            _fill(memory.tx, 0)
            _fill(memory.ty, 0)
        _spikes(dynamics, noise, 0, 1, now, start, 0, pre[s], memory.x, memory.tx, noise.first)
        _spikes(dynamics, noise, 2, 3, now, start, noise.impulse[s, 2], post[s], memory.y, memory.ty, 0)
        if dynamics.third:
            for k in range(3):
                for j in range(n_out):
                    value = third[s, k, j]
                    memory.y[k, j] = min(max(value, 0), dynamics.top) if noise.strict else value
        if now == epoch:
            row = min(epochs, defects.plastic.shape[0] - 1)
            _copy_rows(memory.x, hx[0])
            _copy_rows(memory.y, hy[0])
            _history(dynamics, noise, 0, 0, start, noise.decay[s, 0], noise.impulse[s, 0], memory.tx, hx, noise.first)
            _history(dynamics, noise, 2, 2, start, noise.decay[s, 1], noise.impulse[s, 1], memory.ty, hy, 0)
            for k in range(3):
                for j in range(n_out):
                    if defects.post[row, k, j] >= 0:
                        for t in range(epoch + 1):
                            hy[t, k, j] = defects.post[row, k, j]
            _copy_rows(hx[epoch], memory.x)
            if not dynamics.third:
                _copy_rows(hy[epoch], memory.y)
            learn(program, cells, defects, noise, memory, row, epochs, step // epoch, hx, hy, whole, work)
            if whole:
                _narrowed(memory.weight, cells.shift, work.narrow)
            whole = False
            epochs += 1
            if epochs % _COUNTED == 0:
                count_writes(work.written, memory.writes, memory.left)
            _fill(memory.tx, 0)
            _fill(memory.ty, 0)
        if record.x.shape[0]:
            _copy_rows(memory.x, record.x[s])
        if record.y.shape[0]:
            _copy_rows(memory.y, record.y[s])
        if record.weight.shape[0]:
            if not whole:
                _widened(work.narrow, cells.shift, memory.weight)
            _keep_rows(memory.weight, record.weight[s])
        if record.delay.shape[0]:
            _keep_rows(memory.delay, record.delay[s])
        if record.tag.shape[0]:
            _keep_rows(memory.tag, record.tag[s])
    if not whole:
        _widened(work.narrow, cells.shift, memory.weight)
    count_writes(work.written, memory.writes, memory.left)
