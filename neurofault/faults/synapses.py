"""Faults of stored synapses: their weight, single bits, whole memory words, delays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.damage import SetDelays
from neurofault.damage.fold import SynapseFold
from neurofault.damage.stored import from_field, nearest_field
from neurofault.errors import FaultError
from neurofault.faults.base import ConnectionFault
from neurofault.faults.context import Context, FaultOutcome
from neurofault.faults.memory_sites import Change, StoredSites, check_words, note_stored, rewrite, stored_runs, stored_sites
from neurofault.faults.places import called, key_of, word_synapses
from neurofault.faults.sites import NamedBits, Pairs, Triples, bits_named
from neurofault.faults.spare import break_cells
from neurofault.numerals import plural
from neurofault.streams import counter_hash, standard_normal

Cells = Callable[[], NDArray[np.int64]]
"""What the cells of some synapses read."""

_PAIRS = "[source, target] neuron indices of synapses into the one layer that layer names"
_SPIKEFI = "Spyrou et al. 2024, SpikeFI, arXiv 2412.06795"
_FAR = 1e9
"""Beyond every stored weight: a drift of that size saturates it."""
_SEU = "JEDEC JESD89B; the flip is in the stored field, before the shift"


def _stuck(context: Context, group: StoredSites, level: NDArray[np.int64]) -> Change:
    """Return fields of which no bit can change."""
    return Change(stuck=np.full(len(level), (1 << context.deployment.connection(group.connection).weight_bits) - 1), level=level)


def _none(group: StoredSites) -> NDArray[np.int64]:
    """Return fields that read 0."""
    return np.zeros(len(group.which), np.int64)


def _nearest(context: Context, group: StoredSites, weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the stored fields nearest to some weights."""
    own = context.deployment.connection(group.connection)
    return nearest_field(weights, own.weight_bits, own.sign_mode)


@final
class SynapseDead(ConnectionFault):
    """A stored synapse is dead: the chip reads weight 0. One kernel word that a core shares is one stored synapse."""

    kind: ClassVar[str] = "synapse_dead"
    site: ClassVar[str] = "stored synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "w = 0, whatever is written"
    mechanism: ClassVar[str] = "memory cell that reads 0 in all bits"
    sources: ClassVar[tuple[str, ...]] = (_SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI DeadSynapse"
    stored: ClassVar[bool] = True

    synapses: Pairs | None = Field(default=None, description=_PAIRS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return rewrite(context, self, stored_sites(context, self), lambda group, _: _stuck(context, group, _none(group)))


@final
class SynapseStuck(ConnectionFault):
    """A stored synapse always reads one weight."""

    kind: ClassVar[str] = "synapse_stuck"
    site: ClassVar[str] = "stored synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "w = value, rounded to the stored field, whatever is written"
    mechanism: ClassVar[str] = "memory cell whose bits are all stuck"
    sources: ClassVar[tuple[str, ...]] = (_SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI StuckSynapse, SCI-FI stuck-at"
    stored: ClassVar[bool] = True

    synapses: Pairs | None = Field(default=None, description=_PAIRS)
    value: int = Field(
        default=0, description="the weight that it reads", ge=-256, le=255, json_schema_extra={"unit": "weight as Lava reads it"}
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""

        def change(group: StoredSites, cells: Cells) -> Change:
            return _stuck(context, group, _nearest(context, group, np.full(len(group.which), float(self.value))))

        return rewrite(context, self, stored_sites(context, self), change)


@final
class SynapseSaturated(ConnectionFault):
    """A stored synapse reads an extreme weight, whatever is written."""

    kind: ClassVar[str] = "synapse_saturated"
    site: ClassVar[str] = "stored synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "w = largest or smallest weight of the stored field"
    mechanism: ClassVar[str] = "memory cell whose bits are all stuck"
    sources: ClassVar[tuple[str, ...]] = (_SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI SaturatedSynapse (there: the quartiles ± 3 inter-quartile ranges)"
    stored: ClassVar[bool] = True

    synapses: Pairs | None = Field(default=None, description=_PAIRS)
    to: Literal["sign", "highest", "lowest"] = Field(
        default="sign", description="which extreme: highest, lowest, or that of the weight's own sign"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""

        def change(group: StoredSites, cells: Cells) -> Change:
            own = context.deployment.connection(group.connection)
            weights = from_field(cells(), own.weight_bits, own.sign_mode)
            up = {"highest": np.ones(len(weights), bool), "lowest": np.zeros(len(weights), bool), "sign": weights >= 0}[self.to]
            return _stuck(context, group, _nearest(context, group, np.where(up, _FAR, -_FAR)))

        return rewrite(context, self, stored_sites(context, self), change)


@final
class SynapsePerturbed(ConnectionFault):
    """A stored weight has drifted by normal noise; a write mends it."""

    kind: ClassVar[str] = "synapse_perturbed"
    site: ClassVar[str] = "stored synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "w ← w·(1 + σ·g) (relative) or w + σ·g (absolute), rounded to the stored field; g ~ N(0, 1)"
    mechanism: ClassVar[str] = "drift and variability of analog or resistive synapses"
    sources: ClassVar[tuple[str, ...]] = (_SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI PerturbedSynapse"
    stored: ClassVar[bool] = True

    synapses: Pairs | None = Field(default=None, description=_PAIRS)
    sigma: float = Field(default=0.1, description="standard deviation: a fraction of the weight, or in weight units", ge=0)
    relative: bool = Field(default=True, description="whether sigma is a fraction of the weight")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        key = context.key(self, "noise")

        def change(group: StoredSites, cells: Cells) -> Change:
            bits = counter_hash(*_stream(context, key, group.connection), group.core, group.site)
            with np.errstate(over="ignore"):
                moved = np.clip(self.sigma * standard_normal(bits)[group.which], -_FAR, _FAR)
            if self.relative:
                return Change(factor=1 + moved, offset=np.zeros(len(moved)))
            return Change(factor=np.ones(len(moved)), offset=moved)

        return rewrite(context, self, stored_sites(context, self), change)


def _stream(context: Context, key: int, connection: str) -> tuple[int, int]:
    """Return the key of a connection's noise, and the first of its counters: the place of its target among the populations."""
    target = context.deployment.connection(connection).target
    place = [one.name for one in context.deployment.populations].index(target)  # in a chain the number that a layer used to have
    return key_of(context.deployment, key, connection), place


def _bits_of(context: Context, fault: SynapseBitFlip | SynapseBitStuck) -> dict[str, tuple[int, ...]]:
    """Return for each connection that a fault is about the bits of its stored weights that ``bits`` means."""
    found, text = {}, fault.bits
    for name in context.connections(fault):
        width = context.deployment.connection(name).weight_bits
        if width > 8:
            raise FaultError(
                f"{called(context.deployment, name)} is a {width}-bit reference that no chip stores: it has no stored bits"
            )
        bits = bits_named(text, width)
        if not bits:
            raise FaultError(
                f"bits must lie in [0, {width - 1}]: {called(context.deployment, name)} stores {plural(width, 'bit')} a weight"
            )
        found[name] = bits
    return found


_BITS = 'which bits are sites: any, msb (the sign of a mixed field), lsb, or numbers such as "0,3"'
_TRIPLES = "[source, target, bit] of bits in the one layer that layer names; 0 is the lowest bit"
_STUCK_TRIPLES = f"{_TRIPLES}; with layer spare [core, word, bit of the word]"


@final
class SynapseBitFlip(ConnectionFault):
    """A bit of a stored weight flips; the next write mends it. ``rate`` is for each bit."""

    kind: ClassVar[str] = "synapse_bit_flip"
    site: ClassVar[str] = "stored bits"
    list_field: ClassVar[str] = "synapse_bits"
    equation: ClassVar[str] = "field ^= 2**bit; w is read from the field"
    mechanism: ClassVar[str] = "single event upset in the synapse memory"
    sources: ClassVar[tuple[str, ...]] = (_SEU, "Nijsink et al. 2026, arXiv 2605.00030 (neutron beam on synaptic memory)")
    neighbours: ClassVar[str] = "SpikeFI BitflippedSynapse, SpikingJET, SCI-FI bit flip"
    stored: ClassVar[bool] = True
    single_bits: ClassVar[bool] = True

    synapse_bits: Triples | None = Field(default=None, description=_TRIPLES)
    bits: NamedBits = Field(default="any", description=_BITS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""

        def change(group: StoredSites, cells: Cells) -> Change:
            return Change(flips=np.left_shift(1, group.part[group.which]))

        return rewrite(context, self, stored_sites(context, self, _bits_of(context, self).__getitem__), change)


@final
class SynapseBitStuck(ConnectionFault):
    """A bit of a stored weight is stuck at 0 or 1, in inference and for every later write. ``rate`` is for each bit."""

    kind: ClassVar[str] = "synapse_bit_stuck"
    site: ClassVar[str] = "stored bits"
    list_field: ClassVar[str] = "synapse_bits"
    equation: ClassVar[str] = "field bit = level, also after a write"
    mechanism: ClassVar[str] = "defective memory cell"
    sources: ClassVar[tuple[str, ...]] = (_SEU,)
    neighbours: ClassVar[str] = "SCI-FI stuck-at"
    stored: ClassVar[bool] = True
    single_bits: ClassVar[bool] = True

    synapse_bits: Triples | None = Field(default=None, description=_STUCK_TRIPLES)
    bits: NamedBits = Field(default="any", description=_BITS)
    level: int = Field(default=0, description="what the bit reads", ge=0, le=1)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        if context.on_spares(self):
            check_words(context, self)
            if self.bits != "any":
                raise FaultError(f"bits of a spare core belong to no weight yet: bits must be any, is {self.bits!r}")
            return break_cells(context, self, self.level, bits=True)

        def change(group: StoredSites, cells: Cells) -> Change:
            mask = np.left_shift(1, group.part[group.which])
            return Change(stuck=mask, level=mask * self.level)

        return rewrite(context, self, stored_sites(context, self, _bits_of(context, self).__getitem__), change)


@final
class MemoryWordDead(ConnectionFault):
    """A whole memory word is dead: all weights stored in it read 0, whatever is written."""

    kind: ClassVar[str] = "memory_word_dead"
    site: ClassVar[str] = "memory words"
    list_field: ClassVar[str] = "words"
    equation: ClassVar[str] = "w = 0 for word_bits / weight_bits consecutive stored weights of a row"
    mechanism: ClassVar[str] = "word line or column defect; uncorrectable word that the controller drops"
    sources: ClassVar[tuple[str, ...]] = ("nengo-loihi SynapseConfig (64-bit words)", "profile synapse.word_bits")
    stored: ClassVar[bool] = True

    words: Pairs | None = Field(
        default=None, description="[core, word] of the one layer that layer names; with layer spare of spare cores"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        check_words(context, self)
        if context.on_spares(self):
            return break_cells(context, self, 0, bits=False)
        runs = stored_runs(context, self, lambda connection: word_synapses(context.deployment, connection))
        return rewrite(context, self, runs, lambda group, _: _stuck(context, group, _none(group)))


@final
class WordHeader(ConnectionFault):
    """The header of a block of synapses (up to 64 of one axon) is corrupt: they are lost, or reach the neighbour's target."""

    kind: ClassVar[str] = "word_header"
    site: ClassVar[str] = "headers"
    list_field: ClassVar[str] = "headers"
    equation: ClassVar[str] = (
        "lost: w = 0 for the block; shifted: synapse i of the block reads the weight of synapse i − 1 (cyclic)"
    )
    mechanism: ClassVar[str] = "upset in the 10-bit header (index mode, count) of a block of synapses"
    sources: ClassVar[tuple[str, ...]] = ("nengo-loihi SynapseConfig.bits_per_axon", "profile synapse.block_synapses")
    stored: ClassVar[bool] = True

    headers: Pairs | None = Field(default=None, description="[core, block] of the one layer that layer names")
    effect: Literal["lost", "shifted"] = Field(default="lost", description="what the corrupt header does")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        check_words(context, self)
        profile = context.deployment.profile
        size = profile.synapse.block_synapses.value
        if size is None:
            raise FaultError(
                f"chip {profile.name!r}: whether synapses are stored in blocks with headers is not known (synapse.block_synapses)"
            )

        def change(group: StoredSites, cells: Cells) -> Change:
            if self.effect == "lost":
                return Change(read=np.full(len(group.which), -1))
            reader = np.full(len(group.site), -1, np.int64)  # of a word that nothing reads there is none
            reader[group.which] = np.arange(len(group.which))
            _, start, length = np.unique(np.stack([group.core, group.part]), axis=1, return_index=True, return_counts=True)
            before = np.arange(len(reader)) - 1
            before[start] += length
            return Change(read=reader[before][group.which])

        return rewrite(context, self, stored_runs(context, self, lambda _: size), change)


@final
class SynapseDelay(ConnectionFault):
    """The delay field of a stored synapse is another one: its spikes arrive later or earlier."""

    kind: ClassVar[str] = "synapse_delay"
    breaks: ClassVar[str] = "delays"
    site: ClassVar[str] = "stored synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "d ← d ^ 2**bit, at most the profile's longest delay; a spike arrives d steps later"
    mechanism: ClassVar[str] = "upset in the delay field of a synapse"
    sources: ClassVar[tuple[str, ...]] = ("profile synapse.delay_bits, delay_max",)
    stored: ClassVar[bool] = True

    synapses: Pairs | None = Field(default=None, description=_PAIRS)
    bit: int = Field(default=0, description="this bit of the delay field flips; 0 is the lowest", ge=0, le=5)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        limits = context.deployment.profile.synapse
        bits, longest = limits.delay_bits.value, limits.delay_max.value or 0
        if not bits or not longest:
            raise FaultError("the profile's synapses have no delay field")
        if self.bit >= bits:
            raise FaultError(f"bit must lie in [0, {bits - 1}]: the delay field has {plural(bits, 'bit')}, is {self.bit}")
        out = FaultOutcome()
        for group in stored_sites(context, self):
            _, first = np.unique(group.targets * (1 << 32) + group.sources, return_index=True)  # a word may be named twice
            sources, targets = group.sources[np.sort(first)], group.targets[np.sort(first)]
            flips = np.full(len(sources), 1 << self.bit, np.int64)
            edit = SetDelays(group.connection, sources, targets, flips, group.when, flips, longest)
            earlier = [one for one in context.deployment.damage.edits if isinstance(one, SetDelays) and one.when.always]
            fold = SynapseFold(context.deployment.connection(group.connection), [*earlier, edit])
            held = fold.at(np.ones(len(fold.edits), bool)).delays[fold.place(-1)]
            out.edits.append(replace(edit, delays=held))
            note_stored(context, out, group)
        return out
