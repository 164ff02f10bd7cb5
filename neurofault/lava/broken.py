"""What is broken in one Lava process, and what it does in each of its steps: plain arrays, nothing of Lava needed.

Times are Lava's steps from 1. Where the graph starts in step 1, a population of phase p starts sample 0 in step p + 1; what a connection
into it takes in in step p is what it sees first. Without a ``period`` one sample lasts for ever.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop, Edit, LostReset, SetDelays, StuckCounter
from neurofault.damage.edits import not_applied
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold, NeuronsNow
from neurofault.deploy.deployment import Deployment
from neurofault.engines.wiring import Edits, listed
from neurofault.errors import UnsupportedError
from neurofault.graph.chip import unusual_law

KEY = "neurofault"
"""Parameter of a Lava process that holds what is broken in it."""

_NONE = Edits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
_FIRST_TABLE = 64

_APPLIED = frozenset({
    "silent", "rate", "du", "dv", "vth", "bias_mantissa", "own_bias", "flips_u", "flips_v", "noise", "weights", "delays",
    "messages",
})  # fmt: skip
"""What edits may do to a step here (``does`` of their classes)."""


@dataclass(frozen=True)
class Clock:
    """When a process is in which step of which sample.

    Attributes:
        phase: of the population that edits are timed by.
        first: Lava's step in which sample 0 starts.
        period: steps of a sample, after which the next one starts; None: sample 0 lasts for ever.
    """

    phase: int
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
        edits: of one population or connection.
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
            edit.lost(self.clock.phase, sample, 1, self.steps)[0]
            if isinstance(edit, Drop)
            else edit.when.grid(self.clock.phase, sample, 1, self.steps)[0]
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
        clock: of the population.
        fold: its edits.
        order: int64 [n], where each neuron is in Lava's array, flattened.
        start: v at each sample's first step, where samples restart, of all or int32 [n].
    """

    clock: Clock
    fold: NeuronFold
    order: NDArray[np.int64]
    start: int | NDArray[np.int32] = 0

    def let_out(self, neurons: NeuronsNow, step: int, spikes: NDArray[np.generic]) -> None:
        """Change the spikes [n] (Lava's order) that leave: what is forced, and nothing from the silent."""
        left = neurons.let_out(np.zeros(self.order.size, bool), step)
        changed = neurons.silent | (neurons.rate >= 0)
        spikes[self.order[changed]] = left[changed]


@dataclass(frozen=True, eq=False)
class BrokenSynapses:
    """A connection in which something is broken.

    Attributes:
        clock: of the target; its sample starts when what the target sees first comes in.
        waits: steps that spikes are held back: the connection's delay − 1.
        lag: in so many first steps of a sample the target sees nothing.
        fold: of the synapses that edits concern.
        drops: of messages.
        healthy: delay → sparse int64 [n_out, n_in], stored weights.
        exponent: shift of each delay's sum.
        order_in, order_out: int64, where each neuron is in Lava's arrays, flattened.
    """

    clock: Clock
    waits: int
    lag: int
    fold: SynapseFold
    drops: tuple[Drop, ...]
    healthy: dict[int, sparse.csr_matrix]
    exponent: int
    order_in: NDArray[np.int64]
    order_out: NDArray[np.int64]


def refuse_other_laws(deployment: Deployment) -> None:
    """Refuse what Lava's ``LIF`` does not do.

    Raises:
        UnsupportedError: a population's law is another, or its counters or resets are broken; the text names it.
    """
    law = unusual_law(deployment.populations)
    if law is not None:
        raise UnsupportedError(f"{law}: Lava's LIF resets to zero at once; run it on an engine, exact or lava")
    if (joining := deployment.damage.joining) is not None:
        raise UnsupportedError(f"{joining}: Lava's LIF is cleared in all its neurons at once; run it on engine exact")
    for edit in deployment.damage.edits:
        if isinstance(edit, StuckCounter | LostReset):
            what = "refractory counter" if isinstance(edit, StuckCounter) else "lost reset"
            raise UnsupportedError(
                f"layer {edit.population!r}: Lava's LIF has no {what} to break; run it on an engine, exact or lava"
            )
    if (reason := not_applied(deployment.damage.edits, _APPLIED)) is not None:
        raise UnsupportedError(f"{reason}: by Lava processes of a graph of one's own; run it on engine exact")


def neurons_of(deployment: Deployment, name: str, clock: Clock, order: NDArray[np.int64]) -> BrokenNeurons:
    """Return a population's neurons with what is broken in them."""
    population = deployment.population(name)
    return BrokenNeurons(clock, NeuronFold(population, deployment.damage.edits), order, population.v_init)


def synapses_of(
    deployment: Deployment, name: str, clock: Clock, order_in: NDArray[np.int64], order_out: NDArray[np.int64]
) -> BrokenSynapses:
    """Return the synapses of a connection with what is broken in them."""
    own = deployment.connection(name)
    drops = tuple(edit for edit in deployment.damage.of_connection(name) if isinstance(edit, Drop))
    every, shape = listed(own.synapses, _NONE), (own.synapses.n_out, own.synapses.n_in)
    healthy: dict[int, sparse.csr_matrix] = {}
    for delay in np.unique(every.delays) if every.delays.size else (0,):
        mine = every.delays == delay
        places = (every.targets[mine], every.sources[mine])
        healthy[int(delay)] = sparse.csr_matrix((every.weights[mine].astype(np.int64), places), shape=shape)
    fold, lag = SynapseFold(own, deployment.damage.edits), deployment.schedule.lag[name]
    return BrokenSynapses(clock, own.delay - 1, lag, fold, drops, healthy, own.weight_exponent, order_in, order_out)


@dataclass(eq=False)
class BrokenTraffic:
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
        self.waiting = deque([np.zeros(n_in, bool)] * own.waits)
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
        self.waiting.append(spikes.reshape(-1)[own.order_in].astype(bool))
        sent = self.waiting.popleft()
        if now is not None and now[1] < own.lag:
            sent = np.zeros_like(sent)
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
