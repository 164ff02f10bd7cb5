"""Which samples a test is chosen from: half of them those whose answer is decided most narrowly, half as they come.

Samples with a narrow lead of the winner expose faults that others hide (El-Sayed et al. 2023, "Compact functional testing for neuromorphic computing circuits",
IEEE Transactions on Computer-Aided Design 42(7)); where more than the class is seen, many different samples matter as much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE


def leads(scores: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far the highest score lies above the second one, float64 [N]; of one output its size.

    >>> leads(np.array([[3, 9, 5], [1, 1, 0]])).tolist()
    [4.0, 0.0]
    """
    known = np.where(scores == DEAD_SCORE, -np.inf, scores.astype(np.float64))
    if known.shape[1] == 1:
        return np.asarray(np.abs(known[:, 0]), np.float64)
    top = np.partition(known, known.shape[1] - 2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0], np.float64)


def candidates(scores: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Return which samples are candidates, int64, rising: half with the narrowest leads, the others the first that are left; all where there are no more.

    Args:
        scores: of the healthy chip, int64 [N, n_out].
        number: how many, at least 1.
    """
    if number >= len(scores):
        return np.arange(len(scores), dtype=np.int64)
    narrow = np.argsort(leads(scores), kind="stable")[: -(-number // 2)]
    rest = np.setdiff1d(np.arange(len(scores)), narrow)[: number - len(narrow)]
    return np.sort(np.concatenate([narrow, rest])).astype(np.int64)
