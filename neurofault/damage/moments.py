"""Which edits act in which steps: the few different sets of active edits that occur, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit


@dataclass(frozen=True, eq=False)
class Moments:
    """The sets of active edits.

    Attributes:
        which: int64 [N, T], number of the set that is active in each step of each sample.
        active: bool [P, E], the sets: which of the edits act.
    """

    which: NDArray[np.int64]
    active: NDArray[np.bool_]


def moments(edits: Sequence[Edit], phase: int, first_sample: int, samples: int, timesteps: int) -> Moments:
    """Return when which edits act.

    Args:
        edits: E of them, of one population or of connections into one.
        phase: of the population.
        first_sample: index of the first of the samples in the whole data set.
        samples: N.
        timesteps: T.
    """
    timed = [number for number, edit in enumerate(edits) if not edit.when.always]
    packed = np.zeros((samples * timesteps, -(-len(timed) // 8)), np.uint8)
    for place, number in enumerate(timed):
        active = edits[number].when.grid(phase, first_sample, samples, timesteps).reshape(-1)
        packed[:, place // 8] |= active.astype(np.uint8) << np.uint8(place % 8)
    if not packed.size:
        return Moments(np.zeros((samples, timesteps), np.int64), np.ones((1, len(edits)), bool))
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1)
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    sets = np.ones((len(first), len(edits)), bool)
    sets[:, timed] = np.unpackbits(packed[first], axis=1, bitorder="little")[:, : len(timed)].astype(bool)
    return Moments(which.reshape(samples, timesteps).astype(np.int64), sets)
