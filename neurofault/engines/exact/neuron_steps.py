"""Compiled steps of neurons whose law is not Lava's, in wrapping int32; Lava's own stands in :mod:`neurofault.engines.exact.lanes`.

:mod:`neurofault.graph.law` says the same with NumPy, and tests hold them to each other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.graph.arithmetic import STATE_LIMIT

FEATURES = frozenset({"reset subtract", "reset none", "delayed", "refractory", "floor"})
"""What laws these kernels know (:attr:`neurofault.graph.law.Law.features`)."""


class Rules(NamedTuple):
    """How a population differs from Lava's ``LIF`` at its threshold and below (:class:`neurofault.graph.law.Law`).

    Attributes:
        usual: it does not; the rest is then not read, and the arrays may be empty.
        reset: 0: to zero, 1: the threshold is taken off, 2: none.
        delayed: the reset acts in the next step.
        refractory: int32 [n_padded], steps.
        floor: int32 [n_padded], in the unit of v.
    """

    usual: bool
    reset: int
    delayed: bool
    refractory: NDArray[np.int32]
    floor: NDArray[np.int32]


class Neurons(NamedTuple):
    """Parameters of one population, padded with neurons that cannot fire; silent neurons have no bias and cannot fire either.

    Attributes:
        keep_u, keep_v: float64 [n_padded], the share of u and v that survives a step, a multiple of 1/4096.
        remembers, leaks: whether any neuron keeps some u; whether any loses some v.
        threshold: int32 [n_padded], in the unit of v.
        start: int32 [n_padded], v before the first step.
        silent: int64 [k], neurons that are held at u = v = 0.
        rules: the law.
    """

    keep_u: NDArray[np.float64]
    keep_v: NDArray[np.float64]
    remembers: bool
    leaks: bool
    threshold: NDArray[np.int32]
    start: NDArray[np.int32]
    silent: NDArray[np.int64]
    rules: Rules


_LIMIT, _TURN, _ZERO = np.int32(STATE_LIMIT), np.int32(2 * STATE_LIMIT), np.int32(0)
_LOWEST, _HIGHEST = np.int32(1 - STATE_LIMIT), np.int32(STATE_LIMIT - 1)


@part
def _wrapped(current: Any) -> Any:
    """Wrap u (int32) once: to −2**23 + 1 … 2**23, unless it is farther away than that."""
    wrapped = current
    if current > _LIMIT:
        wrapped = np.int32(current - _TURN)
    if current <= -_LIMIT:
        wrapped = np.int32(current + _TURN)
    return wrapped


@part
def _moved(v: Any, u: Any, bias: Any) -> Any:
    """Add u and the bias to v (all int32), which saturates."""
    moved = np.int32(v + u + bias)
    if moved < _LOWEST:
        moved = _LOWEST
    if moved > _HIGHEST:
        moved = _HIGHEST
    return moved


@part
def _step_ruled(
    neurons: Neurons,
    bias: NDArray[np.int32],
    drive: NDArray[np.int32],
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    waiting: NDArray[np.int32],
    fired: NDArray[np.uint8],
) -> None:
    """Advance every neuron of a population with rules of its own by one step; ``drive`` is read and set to zero, ``waiting`` holds the refractory counters."""
    threshold, rules = neurons.threshold, neurons.rules
    for j in range(drive.shape[0]):
        u[j] = _wrapped(np.int32(drive[j] + np.int32(u[j] * neurons.keep_u[j])))
        drive[j] = 0
        fired[j] = 0
        if waiting[j] > 0:
            waiting[j] -= 1
            continue
        before, loss = v[j], _ZERO
        if rules.delayed and before > threshold[j]:
            if rules.reset == 0:
                before = _ZERO
            elif rules.reset == 1:
                loss = threshold[j]
        moved = _moved(np.int32(np.int32(before * neurons.keep_v[j]) - loss), u[j], bias[j])
        if moved < rules.floor[j]:
            moved = rules.floor[j]
        if moved > threshold[j]:
            fired[j] = 1
            waiting[j] = rules.refractory[j]
            if not rules.delayed:
                if rules.reset == 0:
                    moved = _ZERO
                elif rules.reset == 1:
                    moved = np.int32(moved - threshold[j])
                    if moved > _HIGHEST:
                        moved = _HIGHEST
        v[j] = moved
