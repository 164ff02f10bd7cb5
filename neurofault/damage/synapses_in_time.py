"""What the synapses of a connection are in every step of some samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import OnChip
from neurofault.damage.fold import Held, SynapseFold
from neurofault.damage.moments import moments

_KEPT = 64


class SynapsesInTime:
    """The damaged synapses of a connection: those that are the same at all times, and those that may not be.

    Attributes:
        steady_sources, steady_targets, steady_weights: int64 [s], synapses that always read another weight, with the healthy delay.
        sources, targets: int64 [K], the others, sorted by target, then source: they change with time, or have another delay.
        which: int64 [N, T], number of the set of edits that acts in each step of each sample; sets: how many there are.
        alike: whether it is known that all samples are alike.

    Args:
        chip: with its damage.
        connection: its name.
        first_sample: index of the first of the samples in the whole data set.
        samples: N.
    """

    def __init__(self, chip: OnChip, connection: str, first_sample: int, samples: int) -> None:
        own = chip.connection(connection)
        whole = SynapseFold(own, chip.damage.edits)
        held = whole.at(whole.always)
        apart = whole.in_time() | (held.delays != whole.healthy.delays)
        n_in = own.synapses.n_in
        keys = whole.targets * n_in + whole.sources
        steady = whole.named & ~apart
        self.steady_sources, self.steady_targets = whole.sources[steady], whole.targets[steady]
        self.steady_weights = held.weights[steady]
        self._fold = whole.part(apart)
        self._own = np.isin(self._fold.targets * n_in + self._fold.sources, keys[apart])
        self.sources, self.targets = self._fold.sources[self._own], self._fold.targets[self._own]
        found = moments(self._fold.edits, chip.schedule.phase[own.target], first_sample, samples, chip.timesteps)
        self.which, self._active, self.alike, self.sets = found.which, found.active, found.alike, len(found.active)
        self._kept: dict[int, Held] = {}

    def held(self, number: int) -> Held:
        """Return the weights and delays [K] that the chip reads while a set of edits acts."""
        if number not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            whole = self._fold.at(self._active[number])
            self._kept[number] = Held(whole.weights[self._own], whole.delays[self._own])
        return self._kept[number]

    def delays(self) -> dict[int, NDArray[np.bool_]]:
        """Return for each delay that any of the sets gives bool [K]: which synapses have it then."""
        found: dict[int, NDArray[np.bool_]] = {}
        for number in range(len(self._active)):
            delays = self.held(number).delays
            for delay in np.unique(delays):
                found[int(delay)] = found.get(int(delay), np.zeros(self.sources.size, bool)) | (delays == delay)
        return found
