"""What arrives at a damaged layer in each step: weights and delays with time windows, lost messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
        new = {int(d) for e in edits if isinstance(e, SetDelays) for d in e.delays}
        self.delays = sorted({*self.matrices, *new, *map(int, self.healthy_delays)})
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
            if len(self.sources):
                self.lost[core] = targets, lost

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
        self.matrices: dict[int, NDArray[np.floating] | sparse.csr_matrix] = {}
        match synapses:
            case Dense(weight=weight, delay=delay):
                self.healthy = weight[self.targets, self.sources].astype(np.int64)
                weights = _exact(dense_weights(synapses, matrix))
                if delay is None:
                    self.matrices[0] = weights
                else:
                    self.healthy_delays = delay[self.targets, self.sources].astype(np.int64)
                    self.matrices = {int(d): np.where(delay == d, weights, weights.dtype.type(0)) for d in np.unique(delay)}
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
        samples, steps, n_in = self.arriving.shape
        total = np.zeros((samples, self.size), np.int64)
        if delay in self.sums:
            total += self.sums[delay].reshape(samples, steps, self.size)[:, sent]
        if not len(self.sources):
            return total
        active = np.stack([grid[:, sent] for *_, grid in self.edits], axis=1)
        for pattern, rows in _alike(active):
            weights, delays = self.healthy.copy(), self.healthy_delays.copy()
            for (edit, where, values, _), acts in zip(self.edits, pattern, strict=True):
                if acts:
                    (weights if isinstance(edit, SetSynapses) else delays)[where] = values
            weights[delays != delay] = 0
            matrix = sparse.csr_matrix((weights, (self.targets, self.sources)), shape=(self.size, n_in))
            total[rows] += _product(matrix, self.arriving[rows, sent])
            for targets, lost in self.lost.values():
                total[np.ix_(rows, targets)] -= _product(matrix[targets], lost[rows, sent])
        return total


def _alike(active: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield each row that occurs, and where."""
    patterns, which = np.unique(active, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        yield pattern, np.flatnonzero(which.reshape(-1) == number)


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
