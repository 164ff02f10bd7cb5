"""What is broken in one Lava process, and what it does in each of its steps: plain arrays, nothing of Lava needed.

Times are Lava's steps from 1. A layer at depth l (its source: 0) starts sample 0 in step l + 1; a connection into it sees the first spikes of
its source in step l. Without a ``period`` one sample lasts for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.damage import Drop, Edit, Force, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.deploy.deployment import Deployment
from neurofault.engines.wiring import Edits, sparse_weights
from neurofault.network import Conv, Dense

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
        self.forced: list[NDArray[np.bool_] | None] = []

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
        self.forced = [edit.spikes(self.steps) if isinstance(edit, Force) else None for edit in self.edits]

    def active(self, number: int, now: tuple[int, int]) -> bool:
        """Return whether an edit acts; for a :class:`Drop`, see :meth:`lost`."""
        self._look_up(*now)
        return bool(self.tables[number][now[1]].any())

    def lost(self, number: int, now: tuple[int, int]) -> NDArray[np.bool_]:
        """Return bool [k]: which of a :class:`Drop`'s messages are lost."""
        self._look_up(*now)
        return np.asarray(self.tables[number][now[1]])

    def spike(self, number: int, now: tuple[int, int]) -> bool:
        """Return what a :class:`Force` makes its neurons send."""
        self._look_up(*now)
        train = self.forced[number]
        return train is not None and bool(train[now[1]])


@dataclass(frozen=True, eq=False)
class BrokenNeurons:
    """A population, or a source of spikes, in which something is broken.

    Attributes:
        clock: of the layer.
        edits: `Silence`, `Force`, `SetField`, `Upset`, in order.
        order: int64 [n], where each neuron is in Lava's array, flattened.
        start: v at each sample's first step, where samples restart.
    """

    clock: Clock
    edits: tuple[Edit, ...]
    order: NDArray[np.int64]
    start: int = 0

    def let_out(self, windows: Windows, now: tuple[int, int], spikes: NDArray[np.generic]) -> None:
        """Change the spikes [n] (Lava's order) that leave: what is forced, and nothing from the silent."""
        for number, edit in enumerate(self.edits):
            if isinstance(edit, Force) and windows.active(number, now):
                spikes[self.order[edit.neurons]] = windows.spike(number, now)
        for number, edit in enumerate(self.edits):
            if isinstance(edit, Silence) and windows.active(number, now):
                spikes[self.order[edit.neurons]] = 0


@dataclass(frozen=True, eq=False)
class BrokenSynapses:
    """A connection in which something is broken.

    Attributes:
        clock: of the target layer; its sample starts when the source's does.
        edits: `SetSynapses`, `SetDelays`, `Drop`, in order.
        healthy: delay → sparse int64 [n_out, n_in], stored weights.
        delays: int64 [n_out, n_in]; None where there are none.
        exponent: shift of each delay's sum.
        order_in, order_out: int64, where each neuron is in Lava's arrays, flattened.
    """

    clock: Clock
    edits: tuple[Edit, ...]
    healthy: dict[int, sparse.csr_matrix]
    delays: NDArray[np.int64] | None
    exponent: int
    order_in: NDArray[np.int64]
    order_out: NDArray[np.int64]


def neurons_of(deployment: Deployment, index: int, clock: Clock, order: NDArray[np.int64]) -> BrokenNeurons:
    """Return a layer's neurons with what is broken in them."""
    kinds = Silence | Force | SetField | Upset
    edits = tuple(edit for edit in deployment.damage.edits if isinstance(edit, kinds) and edit.layer == index)
    return BrokenNeurons(clock, edits, order, deployment.layers[index].v_init)


def synapses_of(
    deployment: Deployment, index: int, clock: Clock, order_in: NDArray[np.int64], order_out: NDArray[np.int64]
) -> BrokenSynapses:
    """Return the synapses into a layer with what is broken in them."""
    layer = deployment.layers[index]
    kinds = SetSynapses | SetDelays | Drop
    edits = tuple(edit for edit in deployment.damage.edits if isinstance(edit, kinds) and edit.layer == index)
    delays: NDArray[np.int64] | None = None
    match layer.synapses:
        case Conv() as conv:
            healthy = {0: sparse_weights(conv, _NONE).astype(np.int64)}
        case Dense(weight=weight, delay=None):
            healthy = {0: sparse.csr_matrix(weight.astype(np.int64))}
        case Dense(weight=weight, delay=delay) if delay is not None:
            delays = delay.astype(np.int64)
            healthy = {int(d): sparse.csr_matrix(np.where(delays == d, weight.astype(np.int64), 0)) for d in np.unique(delays)}
        case _:
            raise ValueError(f"layer {layer.name!r} has no synapses")
    return BrokenSynapses(clock, edits, healthy, delays, layer.weight_exponent, order_in, order_out)


@dataclass(eq=False)
class Traffic:
    """Runs :class:`BrokenSynapses`: takes the spikes of a step, gives what arrives one step later.

    Attributes:
        own: the connection.
    """

    own: BrokenSynapses
    windows: Windows = field(init=False)
    pending: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        own = self.own
        self.windows = Windows(own.edits, own.clock)
        n_out, n_in = own.order_out.size, own.order_in.size
        changed = [edit for edit in own.edits if isinstance(edit, SetSynapses | SetDelays)]
        keys = np.unique(np.concatenate([np.empty(0, np.int64), *(edit.targets * n_in + edit.sources for edit in changed)]))
        self.targets, self.sources = np.divmod(keys, n_in)
        self.weights = np.zeros(keys.size, np.int64)
        self.delays = np.zeros(keys.size, np.int64) if own.delays is None else own.delays[self.targets, self.sources]
        self.base: dict[int, sparse.csr_matrix] = {}
        for delay, matrix in own.healthy.items():  # the synapses that edits name are walked one by one
            found = np.asarray(matrix[self.targets, self.sources]).reshape(-1) if keys.size else np.empty(0, np.int64)
            self.weights += found
            apart = sparse.csr_matrix((found, (self.targets, self.sources)), shape=(n_out, n_in))
            self.base[delay] = (matrix - apart).tocsr()
        longest = [*own.healthy, *(int(edit.delays.max(initial=0)) for edit in changed if isinstance(edit, SetDelays))]
        self.pending = np.zeros((n_out, max(longest) + 1), np.int64)
        self.where = {
            number: np.searchsorted(keys, edit.targets * n_in + edit.sources)
            for number, edit in enumerate(own.edits)
            if isinstance(edit, SetSynapses | SetDelays)
        }

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
        weights, delays = self.weights, self.delays
        lost: dict[int, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        if now is not None:
            weights, delays = weights.copy(), delays.copy()
            for number, edit in enumerate(own.edits):
                match edit:
                    case SetSynapses() if self.windows.active(number, now):
                        weights[self.where[number]] = edit.values
                    case SetDelays() if self.windows.active(number, now):
                        delays[self.where[number]] = edit.delays
                    case Drop():
                        _, gone = lost.setdefault(edit.core, (edit.targets, np.zeros(sent.size, bool)))
                        gone[edit.sources] |= self.windows.lost(number, now) & sent[edit.sources]
        walked = np.where(sent[self.sources], weights, 0)
        for targets, gone in lost.values():
            walked[np.isin(self.targets, targets) & gone[self.sources]] = 0
        for delay in sorted({*self.base, *map(int, delays)}):
            total = np.zeros(own.order_out.size, np.int64)
            if delay in self.base:
                total += self.base[delay] @ sent.astype(np.int64)
                for targets, gone in lost.values():
                    if gone.any():
                        total[targets] -= self.base[delay][targets] @ gone.astype(np.int64)
            mine = delays == delay
            np.add.at(total, self.targets[mine], walked[mine])
            self.pending[:, delay] += total << own.exponent if own.exponent >= 0 else total >> -own.exponent
