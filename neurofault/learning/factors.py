"""The factors of a rule's products at the end of an epoch, compiled: one number for each source and one for each target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.records import Defects, LearningRoom, Memory, Program


@part
def any_set(values: NDArray[np.int32]) -> bool:
    """Whether a value is not 0."""
    found = np.int32(0)
    for i in range(values.shape[0]):  # without an end before the last, so that it is done many at a time
        found |= values[i]
    return bool(found != 0)


@part
def _of_source(
    head: NDArray[np.int64],
    factors: NDArray[np.int64],
    h: NDArray[np.int32],
    tx: NDArray[np.int32],
    at: int,
    stuck: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Mantissa · Π factors of the source, traces read at step ``at`` (−1: at its last spike; then 0 for sources without one)."""
    mantissa = np.int32(head[2])
    for i in range(out.shape[0]):
        out[i] = mantissa if at >= 0 or tx[i] > 0 else np.int32(0)
    for f in range(head[5], head[6]):
        which, constant = factors[f, 0], np.int32(factors[f, 1])
        low, high = np.int32(factors[f, 2]), np.int32(factors[f, 3])
        if which == 2:
            for i in range(out.shape[0]):
                value = np.int32(np.int32(tx[i] > 0) + constant)
                out[i] = np.int32(out[i] * min(max(value, low), high))
        elif stuck[which] >= 0:
            value = min(max(np.int32(np.int32(stuck[which]) + constant), low), high)
            for i in range(out.shape[0]):
                out[i] = np.int32(out[i] * value)
        elif at >= 0:
            trace = h[at, which]
            for i in range(out.shape[0]):
                value = np.int32(trace[i] + constant)
                out[i] = np.int32(out[i] * min(max(value, low), high))
        else:
            for i in range(out.shape[0]):
                value = np.int32(h[tx[i], which, i] + constant)
                out[i] = np.int32(out[i] * min(max(value, low), high))


@part
def _of_target(
    head: NDArray[np.int64],
    factors: NDArray[np.int64],
    h: NDArray[np.int32],
    ty: NDArray[np.int32],
    at: int,
    out: NDArray[np.int32],
) -> None:
    """Π factors of the target, traces read at step ``at`` (−1: at its last spike; then 0 for targets without one)."""
    for j in range(out.shape[0]):
        out[j] = np.int32(1) if at >= 0 or ty[j] > 0 else np.int32(0)
    for f in range(head[6], head[7]):
        which, constant, low, high = factors[f, 0], factors[f, 1], factors[f, 2], factors[f, 3]
        if which == 3:
            for j in range(out.shape[0]):
                out[j] = np.int32(out[j] * np.int32(min(max(np.int64(ty[j] > 0) + constant, low), high)))
        elif at >= 0:
            trace = h[at, which]
            for j in range(out.shape[0]):
                out[j] = np.int32(out[j] * np.int32(min(max(np.int64(trace[j]) + constant, low), high)))
        else:
            for j in range(out.shape[0]):
                out[j] = np.int32(out[j] * np.int32(min(max(np.int64(h[ty[j], which, j]) + constant, low), high)))


@part
def _twin(program: Program, p: int, active: NDArray[np.bool_]) -> int:
    """Return an earlier active product with the gate, the mantissa, but for its sign, and the factors of the source of product ``p``; −1: none."""
    own, factors = program.head[p], program.factors
    for q in range(p):
        other = program.head[q]
        same = active[q] and own[1] == other[1] and abs(own[2]) == abs(other[2]) and own[6] - own[5] == other[6] - other[5]
        for f in range(own[6] - own[5]):
            for column in range(4):
                same = same and factors[own[5] + f, column] == factors[other[5] + f, column]
        if same:
            return q
    return -1


@part
def evaluate(
    program: Program,
    defects: Defects,
    memory: Memory,
    epoch: int,
    hx: NDArray[np.int32],
    hy: NDArray[np.int32],
    whole: bool,
    work: LearningRoom,
) -> bool:
    """Fill the factors of sources and targets; return whether an active product has an x0 gate."""
    last, n_in, n_out = program.epoch, work.live.shape[0], memory.ty.shape[0]
    gates = False
    for i in range(n_in):
        work.live[i] = 2 if whole else 0
    for t in range(last + 1):
        work.times[t] = False
    for j in range(n_out):
        work.times[memory.ty[j]] = True
    for p in range(program.head.shape[0]):
        gate = program.head[p, 1]
        work.active[p] = gate != 2 or epoch % program.every == 0
        if work.active[p] and gate == 0:
            gates = True
            for t in range(1, last + 1):
                _of_target(program.head[p], program.factors, hy, memory.ty, t, work.b[p, t])
        elif work.active[p]:
            _of_target(program.head[p], program.factors, hy, memory.ty, last if gate == 2 else -1, work.b[p, last])
            work.active[p] = any_set(work.b[p, last])
        if not work.active[p]:
            continue
        twin = _twin(program, p, work.active)
        for g in range(defects.pre.shape[0]):
            for t in range(1 if gate == 1 else last, last + 1):
                if gate != 1 or work.times[t]:
                    out = work.a[p, g, t if gate == 1 else 0]
                    if twin >= 0:  # what is 0 there is 0 here
                        known, sign = work.a[twin, g, t if gate == 1 else 0], np.int32(program.head[p, 2] // program.head[twin, 2])
                        for i in range(n_in):
                            out[i] = known[i] * sign
                        continue
                    _of_source(program.head[p], program.factors, hx, memory.tx, -1 if gate == 0 else t, defects.pre[g], out)
                    mark = np.uint8(1 if gate == 1 else 2)
                    for i in range(n_in):
                        work.live[i] |= mark if out[i] != 0 else np.uint8(0)
    return gates
