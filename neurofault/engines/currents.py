"""What arrives at a damaged layer in each step: weights and delays with time windows, lost messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop
from neurofault.deploy.deployment import Deployment
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.engines.wiring import Edits, dense_weights, sparse_weights
from neurofault.graph import Conv, Dense


class Currents:
    """The sums of weights that reach one layer, for a batch of samples.

    Synapses that are the same at all times are matrices, one for each delay; the others are walked one by one.

    Args:
        deployment: the chip.
        index: of the layer, at least 1.
        arriving: bool [N, T, n_in], spikes of the layer before.
        first_sample: index of the first sample in the whole data set.
    """

    def __init__(self, deployment: Deployment, index: int, arriving: NDArray[np.bool_], first_sample: int) -> None:
        self.arriving, self.exponent = arriving, deployment.layers[index].weight_exponent
        self.size = deployment.layers[index].size
        n_in = arriving.shape[2]
        self.broken = SynapsesInTime(deployment, index, first_sample, len(arriving))
        self._build(deployment, index)
        self.delays = sorted({*self.matrices, *self.broken.delays()})
        self.sums = {delay: _product(matrix, arriving.reshape(-1, n_in)) for delay, matrix in self.matrices.items()}
        self.lost: dict[int, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        self._lose([edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.layer == index], first_sample)

    def _lose(self, drops: Sequence[Drop], first_sample: int) -> None:
        """Take lost messages out of the sums, core by core; remember them for the synapses that are walked one by one."""
        n_in = self.arriving.shape[2]
        for core in sorted({drop.core for drop in drops}):
            lost = np.zeros(self.arriving.shape, bool)
            for drop in drops:
                if drop.core == core:
                    lost[:, :, drop.sources] |= _lost(drop, self.arriving, first_sample)
                    targets = drop.targets
            flat = lost.reshape(-1, n_in)
            rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
            for delay, matrix in self.matrices.items():
                self.sums[delay][np.ix_(rows, targets)] -= _product(matrix[targets][:, columns], flat[np.ix_(rows, columns)])
            if len(self.broken.sources):
                self.lost[core] = targets, lost

    def _build(self, deployment: Deployment, index: int) -> None:
        """Fill the matrices: the synapses that are walked one by one are 0 there."""
        synapses, broken = deployment.layers[index].synapses, self.broken
        matrix = Edits(
            np.concatenate([broken.steady_sources, broken.sources]),
            np.concatenate([broken.steady_targets, broken.targets]),
            np.concatenate([broken.steady_weights, np.zeros(len(broken.sources), np.int64)]),
        )
        self.matrices: dict[int, NDArray[np.floating] | sparse.csr_matrix] = {}
        match synapses:
            case Dense(delay=delay):
                weights = _exact(dense_weights(synapses, matrix))
                if delay is None:
                    self.matrices[0] = weights
                else:
                    self.matrices = {int(d): np.where(delay == d, weights, weights.dtype.type(0)) for d in np.unique(delay)}
            case Conv():
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
        samples, steps, n_in = self.arriving.shape
        total = np.zeros((samples, self.size), np.int64)
        if delay in self.sums:
            total += self.sums[delay].reshape(samples, steps, self.size)[:, sent]
        broken = self.broken
        if not len(broken.sources):
            return total
        which = broken.which[:, sent]
        for number in np.unique(which):
            rows, held = np.flatnonzero(which == number), broken.held(int(number))
            weights = np.where(held.delays == delay, held.weights, 0)
            matrix = sparse.csr_matrix((weights, (broken.targets, broken.sources)), shape=(self.size, n_in))
            total[rows] += _product(matrix, self.arriving[rows, sent])
            for targets, lost in self.lost.values():
                total[np.ix_(rows, targets)] -= _product(matrix[targets], lost[rows, sent])
        return total


def _lost(drop: Drop, arriving: NDArray[np.bool_], first_sample: int) -> NDArray[np.bool_]:
    """Return bool [N, T, k]: which spikes a drop takes; chance is asked for spikes that are there only."""
    samples, steps, _ = arriving.shape
    active = drop.when.grid(drop.layer, first_sample, samples, steps)[:, :, None]
    lost = arriving[:, :, drop.sources] & active
    sample, step, source = np.nonzero(lost)
    lost[sample, step, source] = drop.chance(sample + first_sample, step, drop.sources[source])
    return np.asarray(lost)


def _product(matrix: NDArray[np.floating] | sparse.csr_matrix, spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64 [N, n_out]; a dense matrix is of a type that is exact for its sums."""
    if isinstance(matrix, np.ndarray):
        return np.asarray(spikes.astype(matrix.dtype) @ matrix.T, np.int64)
    return np.asarray((matrix.astype(np.int64) @ spikes.T.astype(np.int64)).T, np.int64)


def _exact(weights: NDArray[np.int32]) -> NDArray[np.floating]:
    """Return weights in the narrowest floating type that is exact for every sum of them."""
    largest = int(np.abs(weights.astype(np.int64)).sum(axis=1).max(initial=0))
    return weights.astype(np.float32 if largest < 1 << 24 else np.float64)
