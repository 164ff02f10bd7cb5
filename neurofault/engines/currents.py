"""What arrives at a damaged layer in each step: weights and delays with time windows, lost messages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.damage import Drop, SetDelays, SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.engines.wiring import Edits, conv_weights, dense_weights, edits_of, sparse_weights
from neurofault.network import Conv, Dense


class Currents:
    """The sums of weights that reach one layer, for a batch of samples.

    Synapses that no edit with a time window touches are matrices, one for each delay; the others are walked one by one.

    Args:
        deployment: the chip.
        index: of the layer, at least 1.
        arriving: bool [N, T, n_in], spikes of the layer before.
        first_sample: index of the first sample in the whole data set.
    """

    def __init__(self, deployment: Deployment, index: int, arriving: NDArray[np.bool_], first_sample: int) -> None:
        self.arriving, self.exponent = arriving, deployment.layers[index].weight_exponent
        self.size = deployment.layers[index].size
        samples, steps, n_in = arriving.shape
        edits = [e for e in deployment.damage.edits if isinstance(e, SetSynapses | SetDelays) and e.layer == index]
        apart = [e.targets * n_in + e.sources for e in edits if isinstance(e, SetDelays) or not e.when.always]
        keys = np.unique(np.concatenate([np.empty(0, np.int64), *apart]))
        self.targets, self.sources = np.divmod(keys, n_in)
        self._build(deployment, index)
        self.edits = []
        for edit in edits:
            own = edit.targets * n_in + edit.sources
            among = np.isin(own, keys)
            values = edit.values if isinstance(edit, SetSynapses) else edit.delays
            where = np.searchsorted(keys, own[among])
            self.edits.append((edit, where, values[among], edit.when.grid(index, first_sample, samples, steps)))
        drops = [edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.layer == index]
        self.lost = [(drop, drop.lost(first_sample, samples, steps)) for drop in drops]
        self.reached = {drop.core: drop.targets for drop in drops}
        new = {int(d) for e in edits if isinstance(e, SetDelays) for d in e.delays}
        self.delays = sorted({*self.matrices, *new, *map(int, self.healthy_delays)})

    def _build(self, deployment: Deployment, index: int) -> None:
        """Fill the matrices, and the healthy values of the synapses that are walked one by one (0 in the matrices)."""
        synapses, fixed = deployment.layers[index].synapses, edits_of(deployment, index)
        n_in = self.arriving.shape[2]
        kept = ~np.isin(fixed.targets * n_in + fixed.sources, self.targets * n_in + self.sources)
        matrix = Edits(
            np.concatenate([fixed.sources[kept], self.sources]),
            np.concatenate([fixed.targets[kept], self.targets]),
            np.concatenate([fixed.values[kept], np.zeros(len(self.sources), np.int64)]),
        )
        self.healthy_delays = np.zeros(len(self.sources), np.int64)
        self.matrices: dict[int, NDArray[np.float64] | sparse.csr_matrix] = {}
        match synapses:
            case Dense(weight=weight, delay=delay):
                self.healthy = weight[self.targets, self.sources].astype(np.int64)
                weights = dense_weights(synapses, matrix).astype(np.float64)
                if delay is None:
                    self.matrices[0] = weights
                else:
                    self.healthy_delays = delay[self.targets, self.sources].astype(np.int64)
                    self.matrices = {int(d): np.where(delay == d, weights, 0.0) for d in np.unique(delay)}
            case Conv():
                self.healthy = conv_weights(synapses, self.sources, self.targets)
                self.matrices[0] = sparse_weights(synapses, matrix)

    def at(self, t: int) -> NDArray[np.int64]:
        """Return int64 [N, n]: what reaches each neuron in step t, shifted by the layer's exponent, wrapped to 32 bits."""
        drive = np.zeros((len(self.arriving), self.size), np.int64)
        for delay in self.delays:
            sent = t - delay
            if sent >= 0:
                total = self._sums(sent, delay)
                drive += total << self.exponent if self.exponent >= 0 else total >> -self.exponent
        return drive.astype(np.int32).astype(np.int64)

    def _sums(self, sent: int, delay: int) -> NDArray[np.int64]:
        """Sum the weights of one delay over the spikes of one step."""
        spikes = self.arriving[:, sent]
        left = {core: spikes.copy() for core in self.reached}
        for drop, lost in self.lost:
            left[drop.core][:, drop.sources] &= ~lost[:, sent]
        total = np.zeros((len(spikes), self.size), np.int64)
        if delay in self.matrices:
            matrix = self.matrices[delay]
            total[:] = _product(matrix, spikes)
            for core, targets in self.reached.items():
                total[:, targets] = _product(matrix[targets], left[core])
        if len(self.sources):
            weights, delays = (np.tile(part, (len(spikes), 1)) for part in (self.healthy, self.healthy_delays))
            for edit, where, values, grid in self.edits:
                field = weights if isinstance(edit, SetSynapses) else delays
                field[np.ix_(grid[:, sent], where)] = values
            here = spikes[:, self.sources]
            for core, targets in self.reached.items():
                among = np.isin(self.targets, targets)
                here[:, among] = left[core][:, self.sources[among]]
            np.add.at(total.T, self.targets, (weights * (here & (delays == delay))).T)
        return total


def _product(matrix: NDArray[np.float64] | sparse.csr_matrix, spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64 [N, n_out]; sums stay far below 2**53, so float64 is exact."""
    if isinstance(matrix, np.ndarray):
        return np.asarray(spikes.astype(np.float64) @ matrix.T, np.int64)
    return np.asarray((matrix.astype(np.int64) @ spikes.T.astype(np.int64)).T, np.int64)
