"""How large an error each error neuron sends: of classes by a margin, of targets by what is missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.counter import jit

TIE = 64
"""Usual error of a rival whose score equals that of the right class; at most :data:`MOST` (a 7-bit trace)."""

MOST = 127
"""Largest error."""


@part
def margin_errors(
    scores: NDArray[np.int64], alive: NDArray[np.bool_], label: int, margin: int, tie: int, error: NDArray[np.int32]
) -> int:
    """Fill ``error`` (int32 [n_out]) and return how many are not 0.

    A rival within ``margin`` of the right class sends −min(127, ⌊tie·(score − score of the right class + margin)/margin⌋); the right
    class sends the sum of them, at most 127. Dead output neurons take no part; without a label, or with a dead right class, there is
    no error (the multi-class hinge of Crammer & Singer 2001, JMLR 2, but with an error that grows with the violation).
    """
    for c in range(error.shape[0]):
        error[c] = 0
    if label < 0 or not alive[label]:
        return 0
    total, count = np.int64(0), 0
    for c in range(error.shape[0]):
        if c != label and alive[c]:
            excess = scores[c] - scores[label] + margin
            if excess > 0:
                size = min(excess * tie // margin, np.int64(MOST))
                if size > 0:
                    error[c] = -size
                    total += size
                    count += 1
    if total > 0:
        error[label] = min(total, np.int64(MOST))
        count += 1
    return count


@jit
def target_errors(
    scores: NDArray[np.int64],
    alive: NDArray[np.bool_],
    wanted: NDArray[np.float64],
    margin: int,
    tie: int,
    error: NDArray[np.int32],
) -> int:
    """Fill ``error`` (int32 [n_out]) with what is missing to targets and return how many are not 0.

    An output neuron sends tie·(wanted − score)/margin, rounded towards zero and at most 127 (the delta rule of Widrow & Hoff 1960). Dead ones take no part.
    """
    count = 0
    for c in range(error.shape[0]):
        error[c] = 0
        if alive[c]:
            missing = (wanted[c] - scores[c]) * tie / margin
            error[c] = np.int32(max(-float(MOST), min(float(MOST), missing)))
            count += error[c] != 0
    return count


@part
def errors_of(
    scores: NDArray[np.int64],
    alive: NDArray[np.bool_],
    label: int,
    wanted: NDArray[np.float64],
    margin: int,
    tie: int,
    error: NDArray[np.int32],
) -> int:
    """Fill ``error`` and return how many are not 0: :func:`margin_errors`, or where there are targets :func:`target_errors`.

    Args:
        scores: int64 [n_out].
        alive: bool [n_out].
        label: class of the sample, or with targets any number from 0; −1: not known, so that there is no error.
        wanted: float64 [n_out], targets in the unit of scores; empty: there are none.
        margin: of both.
        tie: likewise.
        error: int32 [n_out].
    """
    if wanted.shape[0] == 0 or label < 0:
        return margin_errors(scores, alive, label, margin, tie, error)
    return target_errors(scores, alive, wanted, margin, tie, error)


@part
def silence_errors(mute: NDArray[np.bool_], error: NDArray[np.int32]) -> int:
    """Set the errors of dead error neurons to 0; return how many were not."""
    count = 0
    for c in range(mute.shape[1]):
        if (error[c] > 0 and mute[0, c]) or (error[c] < 0 and mute[1, c]):
            error[c] = 0
            count += 1
    return count
