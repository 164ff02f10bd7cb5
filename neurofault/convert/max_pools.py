"""Max pooling of a network with ReLU: three ways, of which calibration keeps the best on its images.

- ``differences``: exact for activations, as max(a, b) = b + ReLU(a − b). Each of log2(k) rounds is a population of differences, and what they add up to is a
  population of its own where it cannot be negative. It costs those neurons, and the noise of their rates.
- ``any``: a neuron that fires in every step in which one of its window does: one population and one synapse a value. It is right where the window's
  neurons fire together or only one of them does, and too high where they take turns.
- ``average``: no neurons, but another function: the average of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from neurofault.convert.affine import Affine, added, joined, never_negative, through
from neurofault.convert.asked import Pooling
from neurofault.convert.driven import Driven, Populations, Rectified, Winner, is_population


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest of each window of a value, which has not been made of neurons yet: a ReLU that follows it may come first.

    Attributes:
        name: of the layer.
        value: what the windows are of.
        windows: int64 [n, k], flat places.
        shape: of a sample behind it, as in torch.
    """

    name: str
    value: Affine
    windows: NDArray[np.int64]
    shape: tuple[int, ...]


def is_settled(largest: Largest) -> bool:
    """Return whether no ReLU behind it would change it: what it is the largest of cannot be negative."""
    return never_negative(largest.name, largest.value)


def settled(largest: Largest, pooling: Pooling, populations: Populations, original: torch.Tensor | None) -> Affine:
    """Return a max pooling as a value, after adding its populations.

    Args:
        largest: the pooling.
        pooling: how.
        populations: added to.
        original: what the module gives there, [N, …], to compare with; None: nothing.
    """
    name, value, shape = largest.name, largest.value, largest.shape
    windows = largest.windows
    if windows.shape[1] == 1:
        return through(name, _chosen(windows[:, 0], value.size), None, shape, value)
    match pooling:
        case "average":
            return through(name, _averaged(windows, value.size), None, shape, value)
        case "any" if is_population(value):
            joins = _averaged(windows, value.size)
            joins.data[:] = 1.0
            drive = through(name, joins, None, shape, value)
            return populations.fire(Driven(name, drive, Winner(windows), original))
        case _:
            found = _by_differences(largest, populations)
            if not is_settled(largest):
                return found
            return populations.fire(Driven(name, found, Rectified(), original))


def _chosen(places: NDArray[np.int64], size: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(places)), (np.arange(len(places)), places)), shape=(len(places), size))


def _averaged(windows: NDArray[np.int64], size: int) -> sparse.csr_matrix:
    """Return the matrix that averages each window, places that come twice once."""
    joins = sum((_chosen(column, size) for column in windows.T[1:]), _chosen(windows[:, 0], size))
    joins = sparse.csr_matrix(joins)
    joins.data[:] = 1.0
    counts = np.diff(joins.indptr)
    joins.data /= np.repeat(counts, counts)
    return joins


def _by_differences(largest: Largest, populations: Populations) -> Affine:
    name, value, shape = largest.name, largest.value, largest.shape
    size = len(largest.windows)
    left = [through(name, _chosen(places, value.size), None, shape, value) for places in largest.windows.T]
    level = 0
    while len(left) > 1:
        level += 1
        pairs = list(zip(left[0::2], left[1::2], strict=False))
        differences = joined(name, [added(one, other, name, -1.0) for one, other in pairs], 0)
        fired = populations.fire(Driven(f"{name} (differences {level})", differences, Rectified()))
        rest = left[2 * len(pairs) :]
        left = [
            added(other, through(name, _chosen(np.arange(size) + size * place, fired.size), None, shape, fired), name)
            for place, (_, other) in enumerate(pairs)
        ]
        left += rest
    return left[0]
