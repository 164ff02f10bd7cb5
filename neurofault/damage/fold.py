"""The fold of all edits of a connection: what its synapses really are while a set of edits acts, in the order of ``damage.py``.

This is the one place where edits are put together. Every engine, the write gate and the repairs ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.damage import (
    Drop,
    Edit,
    LearningDefect,
    OnChip,
    SetDelays,
    SetSynapses,
    SetTerms,
    SingleSynapses,
    SynapseEdit,
)
from neurofault.damage.stored import crossbar_sum, from_field, nearest_field, to_field
from neurofault.errors import UsageError, unforeseen
from neurofault.graph.chip import ChipConnection
from neurofault.graph.connectivity import weights_and_delays

_NONE = np.empty(0, np.int64)
_Weights = TypeVar("_Weights", SetSynapses, SetTerms)


@dataclass(frozen=True, eq=False)
class Held:
    """What the chip reads of some synapses.

    Attributes:
        weights, delays: int64 [K].
    """

    weights: NDArray[np.int64]
    delays: NDArray[np.int64]


class SynapseFold:
    """The synapses of a connection that its edits concern.

    Attributes:
        connection: whose synapses they are.
        edits: those of synapses and delays, in order.
        sources, targets: int64 [K], sorted by target, then source: every pair that an edit names, or that is read in its place.
        named: bool [K], pairs that an edit names.
        healthy: their healthy weights and delays.

    Raises:
        UsageError: an edit names a neuron that does not exist.
    """

    def __init__(self, connection: ChipConnection, edits: Sequence[Edit]) -> None:
        self.connection = connection
        mine = [edit for edit in edits if isinstance(edit, SynapseEdit) and edit.connection == connection.name]
        self.edits = tuple(edit for edit in mine if not isinstance(edit, Drop | LearningDefect))
        self.bits, self.sign_mode = connection.weight_bits, connection.sign_mode
        self._n_in, n_out = connection.synapses.n_in, connection.synapses.n_out
        for edit in self.edits:
            for label, ids, size in (("source", edit.sources, self._n_in), ("target", edit.targets, n_out)):
                if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                    raise UsageError(
                        f"connection {connection.name!r}: a synapse edit names {label} {ids.min()}…{ids.max()}, allowed are 0…{size - 1}"
                    )
        own = [self._keys(edit.sources, edit.targets) for edit in self.edits]
        others = [
            self._keys(edit.of_sources, edit.of_targets)[edit.of_sources >= 0]
            for edit in self.edits
            if isinstance(edit, SetSynapses) and edit.of_sources is not None and edit.of_targets is not None
        ]
        keys = np.unique(np.concatenate([_NONE, *own, *others]) if len(own) != 1 or others else own[0])
        self.targets, self.sources = np.divmod(keys, self._n_in)
        self._places = [np.searchsorted(keys, each) for each in own]
        self.named = np.full(keys.size, not others)
        for place in self._places if others else ():
            self.named[place] = True
        self._reads = [self._read_place(keys, edit) for edit in self.edits]
        self.healthy = Held(*weights_and_delays(connection.synapses, self.sources, self.targets))

    def _keys(self, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        return targets * self._n_in + sources

    def _read_place(self, keys: NDArray[np.int64], edit: SingleSynapses) -> NDArray[np.int64]:
        """Return where the pairs are that an edit's pairs read instead; K: none."""
        if not isinstance(edit, SetSynapses) or edit.of_sources is None or edit.of_targets is None:
            return _NONE
        found = np.searchsorted(keys, self._keys(edit.of_sources, edit.of_targets))
        return np.where(edit.of_sources >= 0, found, keys.size)

    def place(self, number: int) -> NDArray[np.int64]:
        """Return int64 [k]: which of the synapses are the pairs of an edit."""
        return self._places[number]

    @property
    def always(self) -> NDArray[np.bool_]:
        """Bool [E]: which edits are permanent."""
        return np.array([edit.when.always for edit in self.edits], bool)

    def at(self, active: NDArray[np.bool_], *, cells: bool = False) -> Held:
        """Return what the chip reads while the edits of bool [E] act; ``cells``: what the cells read, by whatever way one comes to them."""
        weights, delays = self.healthy.weights.copy(), self.healthy.delays.copy()
        now = [(edit, self._places[number], self._reads[number]) for number, edit in enumerate(self.edits) if active[number]]
        self._store(weights, delays, now)
        for edit, place, _ in now:
            if isinstance(edit, SetSynapses) and edit.keep is not None and edit.force is not None and edit.of_sources is None:
                stuck = from_field((self._field(weights[place]) & edit.keep) | edit.force, self.bits, self.sign_mode)
                weights[place] = np.where(edit.keep == 0, edit.values, stuck)
        if cells:
            return Held(weights, delays)
        self._count(weights, [(edit, place) for edit, place, _ in now if isinstance(edit, SetTerms)])
        for edit, place, read in now:
            if isinstance(edit, SetSynapses) and edit.of_sources is not None and edit.keep is None:
                weights[place], delays[place] = _read(weights, delays, place, read)
        below = weights.copy(), delays.copy()
        for edit, place, read in now:
            if isinstance(edit, SetSynapses) and edit.of_sources is not None and edit.keep is not None:
                weights[place], delays[place] = _read(*below, place, read)
        return Held(weights, delays)

    def _count(self, weights: NDArray[np.int64], now: Sequence[tuple[SetTerms, NDArray[np.int64]]]) -> None:
        """Let the bits of a crossbar count for what their axons' types and the targets' tables say, in place."""
        if not now:
            return
        types, tables = dict[int, NDArray[np.int64]](), dict[int, NDArray[np.int64]]()
        touched = np.zeros(weights.size, bool)
        for edit, place in now:
            own, number = (types, edit.axon) if edit.axon is not None else (tables, edit.entry)
            assert number is not None
            own.setdefault(number, np.zeros(weights.size, np.int64))[place] ^= edit.flips
            touched[place] = True
        chosen = [{number: flips[touched] for number, flips in each.items()} for each in (types, tables)]
        weights[touched] = crossbar_sum(self._field(weights[touched]), self.bits, *chosen)

    def _store(
        self,
        weights: NDArray[np.int64],
        delays: NDArray[np.int64],
        now: Sequence[tuple[SingleSynapses, NDArray[np.int64], NDArray[np.int64]]],
    ) -> None:
        """Change what is stored, in place."""
        for edit, place, _ in now:
            match edit:
                case SetSynapses(flips=flips) if flips is not None:
                    weights[place] = from_field(self._field(weights[place]) ^ flips, self.bits, self.sign_mode)
                case SetSynapses(factor=factor, offset=offset) if factor is not None and offset is not None:
                    moved = nearest_field(weights[place] * factor + offset, self.bits, self.sign_mode)
                    weights[place] = from_field(moved, self.bits, self.sign_mode)
                case SetSynapses(keep=None, of_sources=None, values=values):
                    weights[place] = values
                case SetDelays(flips=flips) if flips is not None:
                    delays[place] ^= flips
                case SetDelays(delays=values):
                    delays[place] = values
                case SetSynapses() | SetTerms():
                    pass  # stuck bits, terms of a crossbar, headers and axon entries change what is read
                case _:
                    unforeseen(edit)
        for edit, place, _ in now:
            if isinstance(edit, SetDelays) and edit.longest is not None:
                delays[place] = np.minimum(delays[place], edit.longest)

    def _field(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        return to_field(weights, self.bits, self.sign_mode)

    def stuck(self, active: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return int64 [K] each: bits of the stored fields that a write can change, and bits that stay 1, while edits act.

        Nothing can be written where an axon entry points elsewhere: such synapses stay as they are read.
        """
        whole = (1 << self.bits) - 1
        keep, force = np.full(self.sources.size, whole, np.int64), np.zeros(self.sources.size, np.int64)
        for edit, place, act in zip(self.edits, self._places, active, strict=True):
            if act and isinstance(edit, SetSynapses) and edit.keep is not None and edit.force is not None:
                if edit.of_sources is None:
                    keep[place] &= edit.keep
                    force[place] = np.where(edit.keep == 0, edit.force, (force[place] & edit.keep) | edit.force)
                else:
                    keep[place] = 0
        elsewhere = self.elsewhere(active)
        if elsewhere.any():
            force[elsewhere] = self._field(self.at(active).weights[elsewhere])
        return keep, force

    def elsewhere(self, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return bool [K]: synapses that are not read, for their source's axon entry points at another row."""
        found = np.zeros(self.sources.size, bool)
        for edit, place, act in zip(self.edits, self._places, active, strict=True):
            if act and isinstance(edit, SetSynapses) and edit.keep is not None and edit.of_sources is not None:
                found[place] = True
        return found

    def in_time(self) -> NDArray[np.bool_]:
        """Return bool [K]: synapses whose weight or delay may change with time."""
        found = np.zeros(self.sources.size + 1, bool)
        for edit, place in zip(self.edits, self._places, strict=True):
            found[place] |= not edit.when.always
        for axons in (False, True):  # headers first, in order: they read stored fields, or what an earlier one has left there
            for edit, place, read in zip(self.edits, self._places, self._reads, strict=True):
                if isinstance(edit, SetSynapses) and edit.of_sources is not None and (edit.keep is not None) == axons:
                    found[place] |= found[read]
        return found[:-1]

    def part(self, chosen: NDArray[np.bool_]) -> SynapseFold:
        """Return the fold of some synapses, bool [K], and of those that they may read; its edits are the same ones, in part."""
        needed = np.append(chosen, False)
        for axons in (True, False):
            for edit, place, read in reversed(list(zip(self.edits, self._places, self._reads, strict=True))):
                if isinstance(edit, SetSynapses) and edit.of_sources is not None and (edit.keep is not None) == axons:
                    needed[read[needed[place]]] = True
                    needed[-1] = False
        return SynapseFold(
            self.connection, [only(edit, needed[place]) for edit, place in zip(self.edits, self._places, strict=True)]
        )


def read_at(
    chip: OnChip, edits: Sequence[SingleSynapses], pairs: SetSynapses | SetTerms, *, cells: bool = False
) -> NDArray[np.int64]:
    """Return int64 [k]: the weights that the chip reads at the pairs of an edit while some edits of its connection act; see ``at``."""
    fold = SynapseFold(chip.connection(pairs.connection), [*edits, pairs])
    active = np.ones(len(fold.edits), bool)
    active[-1] = False
    return fold.at(active, cells=cells).weights[fold.place(-1)]


def with_values(chip: OnChip, earlier: Sequence[SingleSynapses], edit: _Weights) -> _Weights:
    """Return an edit with the weights that the chip reads once it acts on top of earlier ones of its connection."""
    values = read_at(chip, [*earlier, edit], edit).astype(np.int32)
    if isinstance(edit, SetSynapses) and edit.keep is not None and edit.of_sources is None:
        values = np.where(edit.keep == 0, edit.values, values)  # wholly stuck: that is what it says
    return replace(edit, values=values)


def _read(
    weights: NDArray[np.int64], delays: NDArray[np.int64], place: NDArray[np.int64], read: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the weights and delays at ``read``; where it is K, weight 0 and the delay at ``place``."""
    there = read < weights.size
    at = np.where(there, read, 0)
    return np.where(there, weights[at], 0), np.where(there, delays[at], delays[place])
