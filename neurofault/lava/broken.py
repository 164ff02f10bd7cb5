"""What is broken in one Lava process, and what it does in each of its steps: plain arrays, nothing of Lava needed.

Times are Lava's steps from 1. A layer at depth l (its source: 0) starts sample 0 in step l + 1; a connection into it sees the first spikes of
its source in step l. Without a ``period`` one sample lasts for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop, Edit, SetDelays
from neurofault.deploy.deployment import Deployment
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold, Neurons
from neurofault.engines.wiring import Edits, sparse_weights
from neurofault.graph import Conv, Dense

KEY = "neurofault"
"""Parameter of a Lava process that holds what is broken in it."""

_NONE = Edits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
_FIRST_TABLE = 64


@dataclass(frozen=True)
class Clock:
    """When a process is in which step of which sample.

    Attributes:
        layer: depth of the layer that edits are timed by.
        first: Lava's step in which sample 0 starts.
        period: steps of a sample, after which the next one starts; None: sample 0 lasts for ever.
    """

    layer: int
    first: int
    period: int | None

    def now(self, time_step: int) -> tuple[int, int] | None:
        """Return (sample, step) in one of Lava's steps; None before sample 0."""
        ago = time_step - self.first
        if ago < 0:
            return None
        return (0, ago) if self.period is None else divmod(ago, self.period)


class Windows:
    """What each edit does in each step, worked out sample by sample as time goes on.

    Args:
        edits: of one layer.
        clock: of the process.
    """

    def __init__(self, edits: tuple[Edit, ...], clock: Clock) -> None:
        self.edits, self.clock = edits, clock
        self.sample = self.steps = -1
        self.tables: list[NDArray[np.bool_]] = []

    def _look_up(self, sample: int, step: int) -> None:
        if sample == self.sample and step < self.steps:
            return
        self.sample, self.steps = sample, self.clock.period or max(_FIRST_TABLE, 2 << step.bit_length())
        self.tables = [
            edit.lost(sample, 1, self.steps)[0]
            if isinstance(edit, Drop)
            else edit.when.grid(self.clock.layer, sample, 1, self.steps)[0]
            for edit in self.edits
        ]

    def active(self, now: tuple[int, int]) -> NDArray[np.bool_]:
        """Return bool [E]: which edits act; of a :class:`Drop`, see :meth:`lost`."""
        self._look_up(*now)
        return np.array([bool(table[now[1]].any()) for table in self.tables], bool)

    def lost(self, number: int, now: tuple[int, int]) -> NDArray[np.bool_]:
        """Return bool [k]: which of a :class:`Drop`'s messages are lost."""
        self._look_up(*now)
        return np.asarray(self.tables[number][now[1]])


@dataclass(frozen=True, eq=False)
class BrokenNeurons:
    """A population, or a source of spikes, in which something is broken.

    Attributes:
        clock: of the layer.
        fold: its edits.
        order: int64 [n], where each neuron is in Lava's array, flattened.
        start: v at each sample's first step, where samples restart.
    """

    clock: Clock
    fold: NeuronFold
    order: NDArray[np.int64]
    start: int = 0

    def let_out(self, neurons: Neurons, step: int, spikes: NDArray[np.generic]) -> None:
        """Change the spikes [n] (Lava's order) that leave: what is forced, and nothing from the silent."""
        left = neurons.let_out(np.zeros(self.order.size, bool), step)
        changed = neurons.silent | (neurons.rate >= 0)
        spikes[self.order[changed]] = left[changed]


@dataclass(frozen=True, eq=False)
class BrokenSynapses:
    """A connection in which something is broken.

    Attributes:
        clock: of the target layer; its sample starts when the source's does.
        fold: of the synapses that edits concern.
        drops: of messages.
        healthy: delay → sparse int64 [n_out, n_in], stored weights.
        exponent: shift of each delay's sum.
        order_in, order_out: int64, where each neuron is in Lava's arrays, flattened.
    """

    clock: Clock
    fold: SynapseFold
    drops: tuple[Drop, ...]
    healthy: dict[int, sparse.csr_matrix]
    exponent: int
    order_in: NDArray[np.int64]
    order_out: NDArray[np.int64]


def neurons_of(deployment: Deployment, index: int, clock: Clock, order: NDArray[np.int64]) -> BrokenNeurons:
    """Return a layer's neurons with what is broken in them."""
    chip = deployment.layers[index]
    return BrokenNeurons(clock, NeuronFold(chip, index, deployment.damage.edits), order, chip.v_init)


def synapses_of(
    deployment: Deployment, index: int, clock: Clock, order_in: NDArray[np.int64], order_out: NDArray[np.int64]
) -> BrokenSynapses:
    """Return the synapses into a layer with what is broken in them."""
    layer = deployment.layers[index]
    drops = tuple(edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.layer == index)
    match layer.synapses:
        case Conv() as conv:
            healthy = {0: sparse_weights(conv, _NONE).astype(np.int64)}
        case Dense(weight=weight, delay=None):
            healthy = {0: sparse.csr_matrix(weight.astype(np.int64))}
        case Dense(weight=weight, delay=delay) if delay is not None:
            healthy = {int(d): sparse.csr_matrix(np.where(delay == d, weight.astype(np.int64), 0)) for d in np.unique(delay)}
        case _:
            raise ValueError(f"layer {layer.name!r} has no synapses")
    return BrokenSynapses(clock, SynapseFold(deployment, index), drops, healthy, layer.weight_exponent, order_in, order_out)


@dataclass(eq=False)
class Traffic:
    """Runs :class:`BrokenSynapses`: takes the spikes of a step, gives what arrives one step later.

    Attributes:
        own: the connection.
    """

    own: BrokenSynapses
    windows: Windows = field(init=False)
    lost: Windows = field(init=False)
    pending: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        own, fold = self.own, self.own.fold
        self.windows, self.lost = Windows(fold.edits, own.clock), Windows(own.drops, own.clock)
        n_out, n_in = own.order_out.size, own.order_in.size
        self.base: dict[int, sparse.csr_matrix] = {}
        for delay, matrix in own.healthy.items():  # the synapses that edits concern are walked one by one
            mine = fold.healthy.delays == delay
            places = (fold.targets[mine], fold.sources[mine])
            self.base[delay] = (matrix - sparse.csr_matrix((fold.healthy.weights[mine], places), shape=(n_out, n_in))).tocsr()
        changed = [edit for edit in fold.edits if isinstance(edit, SetDelays)]
        longest = [edit.longest or int(edit.delays.max(initial=0)) for edit in changed]
        self.pending = np.zeros((n_out, max([*own.healthy, *longest]) + 1), np.int64)
        self.held = fold.healthy
        self.active = np.zeros(len(fold.edits), bool)

    def due(self, time_step: int) -> NDArray[np.int32]:
        """Return int32 [n_out], Lava's order: what arrives in this step; forget what is on its way if a sample starts."""
        now = self.own.clock.now(time_step)
        if now is not None and now[1] == 0 and self.own.clock.period is not None:
            self.pending[:, 1:] = 0
        arriving = np.zeros(self.own.order_out.size, np.int32)
        arriving[self.own.order_out] = self.pending[:, 0].astype(np.int32)
        self.pending[:, :-1], self.pending[:, -1] = self.pending[:, 1:].copy(), 0
        return arriving

    def take(self, time_step: int, spikes: NDArray[np.generic]) -> None:
        """Take the spikes [n_in] (Lava's order) of this step; call after :meth:`due`."""
        own, now = self.own, self.own.clock.now(time_step)
        sent = spikes.reshape(-1)[own.order_in].astype(bool)
        lost: dict[int, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        active = np.zeros(len(own.fold.edits), bool)
        if now is not None:
            active = self.windows.active(now)
            for number, edit in enumerate(own.drops):
                _, gone = lost.setdefault(edit.core, (edit.targets, np.zeros(sent.size, bool)))
                gone[edit.sources] |= self.lost.lost(number, now) & sent[edit.sources]
        if not np.array_equal(active, self.active):
            self.held, self.active = own.fold.at(active), active
        sources, targets, held = own.fold.sources, own.fold.targets, self.held
        walked = np.where(sent[sources], held.weights, 0)
        for reached, gone in lost.values():
            walked[np.isin(targets, reached) & gone[sources]] = 0
        for delay in sorted({*self.base, *map(int, held.delays)}):
            total = np.zeros(own.order_out.size, np.int64)
            if delay in self.base:
                total += self.base[delay] @ sent.astype(np.int64)
                for reached, gone in lost.values():
                    if gone.any():
                        total[reached] -= self.base[delay][reached] @ gone.astype(np.int64)
            mine = held.delays == delay
            np.add.at(total, targets[mine], walked[mine])
            self.pending[:, delay] += total << own.exponent if own.exponent >= 0 else total >> -own.exponent
