"""What is to be answered: classes of samples or of steps, or real numbers (targets), checked."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, as_labels, not_finite
from neurofault.errors import DataError

MOST_CLASSES: Final = 100_000
"""Largest label and 1."""


def answers_of(given: object, what: str) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return labels, and None; or of numbers with fractions labels of −1, unknown, and the numbers as targets.

    Raises:
        UsageError: no numbers.
        DataError: another shape, or numbers out of range.
    """
    array = as_array(given, what)
    if array.dtype.kind != "f" or not_finite(array) is not None or np.all(array == np.rint(array)):
        return labels_of(given, what), None
    targets = targets_of(given, what)
    return unknown_labels(targets), targets


def targets_of(given: object, what: str) -> NDArray[np.float64]:
    """Return targets [N] or [N, K] as float64 [N, K]; targets of every step, [N, T, K], as they are.

    Raises:
        UsageError: no numbers.
        DataError: another shape, or numbers that are not finite.
    """
    array = as_array(given, what)
    if array.ndim not in (1, 2, 3) or not array.size:
        raise DataError(
            f"{what}: shape {array.shape}; expected targets [N], or [N, K], K numbers a sample, or [N, T, K], K numbers a step"
        )
    if (problem := not_finite(array)) is not None:
        raise DataError(f"{what}: {problem}")
    return array.astype(np.float64).reshape(len(array), *(array.shape[1:] or (1,)))


def unknown_labels(targets: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a label of −1 for each sample."""
    return np.full(len(targets), -1, np.int64)


def labels_of(given: object, what: str) -> NDArray[np.int64]:
    """Return labels [N] or [N, T].

    Raises:
        UsageError: no whole numbers.
        DataError: another shape, or numbers out of range.
    """
    labels = as_labels(given, what)
    if labels.ndim not in (1, 2) or not labels.size:
        raise DataError(f"{what}: shape {labels.shape}; expected [N], or [N, T] for a label of every step")
    low, high = int(labels.min()), int(labels.max())
    least = 1 - labels.ndim
    if low < least or high >= MOST_CLASSES:
        none = ", or −1 for a step without a label" if least else ""
        raise DataError(
            f"{what} lie in {low} … {high}; expected 0 to the number of classes − 1 (at most {MOST_CLASSES:,} classes){none}"
        )
    if high < 0:
        raise DataError(f"{what}: no step has a label")
    return labels
