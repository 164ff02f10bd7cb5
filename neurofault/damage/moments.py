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
        which: int64 [N, T], number of the set that is active in each step of each sample; read only.
        active: bool [P, E], the sets, each of which occurs: which of the edits act.
        alike: whether it is known that all samples are alike.
    """

    which: NDArray[np.int64]
    active: NDArray[np.bool_]
    alike: bool


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
    alike = all(edits[number].when.clock == "presentation" for number in timed)
    shown = 1 if alike else samples
    packed = np.zeros((shown * timesteps, -(-len(timed) // 8)), np.uint8)
    for place, number in enumerate(timed):
        active = edits[number].when.grid(phase, first_sample, shown, timesteps).reshape(-1)
        packed[:, place // 8] |= active.astype(np.uint8) << np.uint8(place % 8)
    if not packed.size:
        return Moments(np.broadcast_to(np.int64(0), (samples, timesteps)), np.ones((1, len(edits)), bool), alike=True)
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1)
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    sets = np.ones((len(first), len(edits)), bool)
    sets[:, timed] = np.unpackbits(packed[first], axis=1, bitorder="little")[:, : len(timed)].astype(bool)
    own = which.reshape(shown, timesteps).astype(np.int64)
    return Moments(np.broadcast_to(own, (samples, timesteps)), sets, alike)
