"""What arrives over a damaged connection in each step: weights and delays with time windows, lost messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.sample_layout import SampleLayout
from neurofault.engines.wiring import Edits, dense_weights, listed
from neurofault.graph.arithmetic import MOST_SPIKES
from neurofault.graph.chip import ChipConnection
from neurofault.graph.synapses import Conv, Dense, Sparse


class Currents:
    """The sums of weights that come over one connection, for a batch of samples, or a part of a stream of them.

    Synapses that are the same at all times are matrices, one for each delay, with 0 where no message ever comes; the others are walked one by one. Steps are those of the
    target; in each of them :meth:`receive` comes before :meth:`at`.

    Attributes:
        longest: the longest delay of a synapse.

    Args:
        deployment: the chip.
        connection: the connection.
        sent: bool [rows, steps, n_in], spikes of the source in its own steps, or uint8, how many; read when they arrive.
        rows: how samples lie in it.
    """

    def __init__(self, deployment: Deployment, connection: ChipConnection, sent: NDArray[Any], rows: SampleLayout) -> None:
        self.lag, self._exponent = deployment.schedule.lag[connection.name], connection.weight_exponent
        self._sent, self._rows = sent, rows
        self._arriving = np.zeros_like(sent) if self.lag else sent
        self._size = connection.synapses.n_out
        self._broken = SynapsesInTime(deployment, connection.name, rows.first_sample, rows.samples)
        self._which = rows.laid(self._broken.which)
        drops = [edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.connection == connection.name]
        gone = [drop for drop in drops if drop.when.always and drop.probability >= 1.0 and not len(self._broken.sources)]
        self._matrices = _matrices(connection, self._broken, 1 if sent.dtype == bool else MOST_SPIKES, gone)
        self._delays = sorted({*self._matrices, *self._broken.delays()})
        self.longest = max(self._delays, default=0)
        self._sums: dict[int, NDArray[np.int64]] = {}
        phase = deployment.schedule.phase[connection.target]
        drops = [drop for drop in drops if not any(drop is one for one in gone)]
        self._drops = [(drop, rows.laid(drop.when.grid(phase, rows.first_sample, rows.samples, rows.timesteps))) for drop in drops]
        self._lost = {drop.core: (drop.targets, np.zeros(sent.shape, sent.dtype)) for drop in drops if len(self._broken.sources)}

    def receive(self, first: int, stop: int) -> None:
        """Take the spikes in that arrive in steps ``first`` up to, not including, ``stop``."""
        if first == stop:
            return
        late = max(first, self.lag)
        if self.lag and late < stop:
            in_time = self._rows.reach(np.arange(late, stop)) >= self.lag
            self._arriving[:, late:stop] = np.where(in_time[:, None], self._sent[:, late - self.lag : stop - self.lag], False)
        samples, steps, n_in = self._arriving.shape
        arriving = self._arriving[:, first:stop]
        sums = {delay: _product(matrix, arriving.reshape(-1, n_in)) for delay, matrix in self._matrices.items()}
        for core in sorted({drop.core for drop, _ in self._drops}):
            lost = np.zeros(arriving.shape, arriving.dtype)
            for drop, active in self._drops:
                if drop.core == core:
                    lost[:, :, drop.sources] = np.maximum(lost[:, :, drop.sources], self._taken(drop, active, first, stop))
                    targets = drop.targets
            flat = lost.reshape(-1, n_in)
            rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
            for delay, matrix in self._matrices.items():
                sums[delay][np.ix_(rows, targets)] -= _product(matrix[targets][:, columns], flat[np.ix_(rows, columns)])
            if core in self._lost:
                self._lost[core][1][:, first:stop] = lost
        for delay, found in sums.items():
            own = found.reshape(samples, stop - first, self._size)
            if stop - first == steps:
                self._sums[delay] = own
            else:
                self._sums.setdefault(delay, np.zeros((samples, steps, self._size), np.int64))[:, first:stop] = own

    def _taken(self, drop: Drop, active: NDArray[np.bool_], first: int, stop: int) -> NDArray[Any]:
        """Return [N, steps, k], as ``sent``: which spikes a drop takes, all of a neuron's in a step together; chance is asked for those only."""
        lost = np.where(active[:, first:stop, None], self._arriving[:, first:stop, drop.sources], False)
        row, step, source = np.nonzero(lost)
        lost[row, step, source] *= drop.chance(*self._rows.place(row, step + first), drop.sources[source])
        return np.asarray(lost)

    def at(self, t: int) -> NDArray[np.int64]:
        """Return int64 [N, n]: what reaches each neuron in step t, shifted by the connection's exponent."""
        drive = np.zeros((len(self._arriving), self._size), np.int64)
        reach = self._rows.reach(t)
        for delay in self._delays:
            if delay <= reach:
                total = self._total(t - delay, delay)
                drive += total << self._exponent if self._exponent >= 0 else total >> -self._exponent
        return drive

    def _total(self, arrived: int, delay: int) -> NDArray[np.int64]:
        """Sum the weights of one delay over the spikes of one step."""
        samples, _, n_in = self._arriving.shape
        total = np.zeros((samples, self._size), np.int64)
        if delay in self._sums:
            total += self._sums[delay][:, arrived]
        broken = self._broken
        if not len(broken.sources):
            return total
        which = self._which[:, arrived]
        for number in np.unique(which):
            rows, held = np.flatnonzero(which == number), broken.held(int(number))
            weights = np.where(held.delays == delay, held.weights, 0)
            matrix = sparse.csr_matrix((weights, (broken.targets, broken.sources)), shape=(self._size, n_in))
            total[rows] += _product(matrix, self._arriving[rows, arrived])
            for targets, lost in self._lost.values():
                total[np.ix_(rows, targets)] -= _product(matrix[targets], lost[rows, arrived])
        return total


def _matrices(
    connection: ChipConnection, broken: SynapsesInTime, most: int, gone: Sequence[Drop]
) -> dict[int, NDArray[np.floating] | sparse.csr_matrix]:
    """Return the synapses of each delay, [n_out, n_in].

    Args:
        connection: whose they are.
        broken: of these those that are walked one by one are 0.
        most: spikes of a source in a step.
        gone: messages that never come; the synapses that they would reach are 0.
    """
    synapses = connection.synapses
    steady = Edits(
        np.concatenate([broken.steady_sources, broken.sources]),
        np.concatenate([broken.steady_targets, broken.targets]),
        np.concatenate([broken.steady_weights, np.zeros(len(broken.sources), np.int64)]),
    )
    match synapses:
        case Dense(delay=delay):
            read = dense_weights(synapses, steady)
            for drop in gone:
                read[np.ix_(drop.targets, drop.sources)] = 0
            weights = _exact(read, most)
            if delay is None:
                return {0: weights}
            return {int(d): np.where(delay == d, weights, weights.dtype.type(0)) for d in np.unique(delay)}
        case Conv() | Sparse():
            found = listed(synapses, steady)
            heard = np.ones(len(found.weights), bool)
            for drop in gone:
                heard &= ~(np.isin(found.targets, drop.targets) & np.isin(found.sources, drop.sources))
            matrices = {}
            for d in np.unique(found.delays):
                own = found.delays == d
                entries = np.where(heard[own], found.weights[own], 0), (found.targets[own], found.sources[own])
                matrices[int(d)] = sparse.coo_matrix(entries, shape=(synapses.n_out, synapses.n_in)).tocsr()
            return matrices


def _product(matrix: NDArray[np.floating] | sparse.csr_matrix, spikes: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64 [N, n_out]; a dense matrix is of a type that is exact for its sums."""
    if isinstance(matrix, np.ndarray):
        return np.asarray(spikes.astype(matrix.dtype) @ matrix.T, np.int64)
    return np.asarray((matrix.astype(np.int64) @ spikes.T.astype(np.int64)).T, np.int64)


def _exact(weights: NDArray[np.int32], most: int) -> NDArray[np.floating]:
    """Return weights in the narrowest floating type that is exact for every sum of them, each up to ``most`` times."""
    largest = most * int(np.abs(weights.astype(np.int64)).sum(axis=1).max(initial=0))
    return weights.astype(np.float32 if largest < 1 << 24 else np.float64)
