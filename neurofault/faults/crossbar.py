"""Faults of a core's crossbar (TrueNorth): the types of axons, the tables of neurons, whole lines.

A crossing is one bit, which ``synapse_bit_flip`` and ``synapse_bit_stuck`` break. It counts for what the target's table holds for the type of its
axon, so a flipped type changes all synapses of an axon on a core, and a flipped value all synapses of a neuron that use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.damage import SetTerms, SingleSynapses
from neurofault.damage.fold import with_values
from neurofault.damage.stored import MOST_TYPE
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.base import ConnectionFault, Fault, Part
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.crossbar_rows import ChosenRows, CoreAxons, pick_rows, rows_of
from neurofault.faults.memory_sites import Change, StoredSites, rewrite
from neurofault.faults.places import (
    Block,
    neuron_blocks,
    neurons_by_core,
)
from neurofault.faults.sites import NamedBits, Pairs, Triples, bits_named
from neurofault.faults.spent import Earlier, held_bits, silent_neurons
from neurofault.numerals import plural

_RANC = "RANC, simulator/src/neuronblock.cpp: a set crossing adds the neuron's weight for the axon's type"
_TRUENORTH = "Merolla et al. 2014, Science 345:668 (crossbar, four types of axons, a signed value a neuron for each)"
_ROW = "axons are counted on a core connection by connection, source by source, from that of the lowest bit of its weights"


def _into(context: Context, fault: Fault) -> list[str]:
    """Return the populations that a fault is about and that have synapses."""
    named = context.populations(fault) if fault.sites is None else (context.one_population(fault),)
    return [name for name in named if context.deployment.into(name)]


class _Terms:
    """Edits of a fault, with what was read after each."""

    def __init__(self, context: Context) -> None:
        self._context, self._own = context, dict[str, list[SingleSynapses]]()
        self._hit = dict[str, list[NDArray[np.int64]]]()
        self.out = FaultOutcome()

    def add(self, parts: Sequence[SetTerms]) -> None:
        """Add edits of one number of one connection on several cores as one."""
        first = parts[0]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in ("sources", "targets", "values", "flips")
        }
        edit = replace(first, **joined)
        deployment, own = self._context.deployment, self._own.setdefault(first.connection, [])
        edit = with_values(deployment, [*deployment.damage.synapse_edits(first.connection), *own], edit)
        own.append(edit)
        self.out.edits.append(edit)
        self._hit.setdefault(first.connection, []).append(edit.targets * (1 << 32) + edit.sources)

    def outcome(self) -> FaultOutcome:
        """Return all that was added, every synapse counted once."""
        for connection, keys in self._hit.items():
            self.out.count(self.out.synapses, connection, len(np.unique(np.concatenate(keys))))
        return self.out


def _terms(
    own: CoreAxons, chosen: NDArray[np.bool_], flips: NDArray[np.int64], when: When, axon: int | None, entry: int | None
) -> SetTerms:
    """Return the edit of some synapses of a core, bool [m]; ``flips`` [m]."""
    none = np.zeros(int(chosen.sum()), np.int32)
    parts = own.sources[chosen], own.targets[chosen], none, flips[chosen].astype(np.int32)
    return SetTerms(own.block.connection, *parts, axon, entry, when)


@final
class AxonTypeFlip(ConnectionFault):
    """A bit of an axon's type flips: all its synapses on the core count for another value of their neurons' tables. ``rate`` is for each bit."""

    kind: ClassVar[str] = "axon_type_flip"
    needs: ClassVar[Part | None] = "crossbar"
    site: ClassVar[str] = "bits of axon types"
    list_field: ClassVar[str] = "type_bits"
    equation: ClassVar[str] = "G_j ^= 2**bit; the chip reads Σ crossing · table_i[G_j] for every neuron i of the core"
    mechanism: ClassVar[str] = "single event upset in the memory of axon types"
    sources: ClassVar[tuple[str, ...]] = (_TRUENORTH, _RANC)
    stored: ClassVar[bool] = True
    single_bits: ClassVar[bool] = True

    type_bits: Triples | None = Field(
        default=None, description=f"[core, axon, bit of its type] into the one layer that layer names; {_ROW}"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        per = _type_bits(context.deployment)
        connections = context.connections(self) if self.sites is None else context.into_one(self)
        found = _Terms(context)
        for when, chosen in pick_rows(context, self, rows_of(context.deployment, connections), per):
            edits: dict[tuple[str, int], list[SetTerms]] = {}
            for own, flips in self._flips(chosen, per):
                core = own.block.core
                found.out.cores.add(core)
                for at, bit in np.argwhere(flips):
                    text = f"core {core}: axon {own.first + at * own.bits + bit}, type {bit} → {bit ^ flips[at, bit]}"
                    found.out.name([text])
                for bit in range(own.bits):
                    each = flips[own.sender, bit]
                    if each.any():
                        edits.setdefault((own.block.connection, bit), []).append(_terms(own, each != 0, each, when, bit, None))
            for parts in edits.values():
                found.add(parts)
        return found.outcome()

    @staticmethod
    def _flips(chosen: ChosenRows, per: int) -> Iterator[tuple[CoreAxons, NDArray[np.int64]]]:
        """Yield for each core int64 [senders, bits]: which bits of each axon's type flip."""
        masks: dict[int, tuple[CoreAxons, NDArray[np.int64]]] = {}
        for own, sites in chosen:
            _, mask = masks.setdefault(id(own), (own, np.zeros(own.size, np.int64)))
            np.bitwise_xor.at(mask, sites // per, np.left_shift(1, sites % per))
        for own, mask in masks.values():
            yield own, mask.reshape(len(own.senders), own.bits)


def _axon_types(deployment: Deployment) -> int:
    """Return how many types axons have; a chip with a crossbar says it."""
    types = deployment.profile.synapse.axon_types
    assert types is not None
    return types.known


def _type_bits(deployment: Deployment) -> int:
    """Return the bits of a type.

    Raises:
        FaultError: some patterns of them name no type, or there are more than are followed.
    """
    types = _axon_types(deployment)
    if types & (types - 1) or types > MOST_TYPE + 1:
        raise FaultError(
            f"chip {deployment.profile.name!r} has {types} axon types: what a flipped bit of one then names is said of powers of two up to "
            f"{MOST_TYPE + 1} alone"
        )
    return types.bit_length() - 1


@final
class TableFlip(Fault):
    """A bit of a value in a neuron's table flips: all its synapses from axons of that type count for another one. ``rate`` is for each bit."""

    kind: ClassVar[str] = "table_flip"
    needs: ClassVar[Part | None] = "crossbar"
    site: ClassVar[str] = "bits of neurons' tables"
    list_field: ClassVar[str] = "table_bits"
    equation: ClassVar[str] = "table_i[type] ^= 2**bit (two's complement); the chip reads Σ crossing · table_i[G_j]"
    mechanism: ClassVar[str] = "single event upset in the memory of neuron parameters"
    sources: ClassVar[tuple[str, ...]] = (_TRUENORTH, _RANC)
    stored: ClassVar[bool] = True
    single_bits: ClassVar[bool] = True

    table_bits: Triples | None = Field(
        default=None, description="[neuron, type, bit] of values in the one layer that layer names; 0 is the lowest bit"
    )
    bits: NamedBits = Field(
        default="any", description='which bits of a value are sites: any, msb (its sign), lsb, or numbers such as "0,3"'
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        deployment, types = context.deployment, _axon_types(context.deployment)
        found = _Terms(context)
        for when, masks in self._masks(context, types):
            for population, flips in masks.items():
                home = deployment.placement.core_of[population]
                hit = np.flatnonzero(flips.any(axis=1))
                found.out.count(found.out.neurons, population, len(hit))
                found.out.cores.update(map(int, home[hit]))
                found.out.name(f"core {home[at]}: {population}[{at}], value for type {kind}" for at, kind in np.argwhere(flips))
                for own in (one.name for one in deployment.into(population)):
                    rows = rows_of(deployment, [own])
                    for kind in range(types):
                        parts = [
                            _terms(each, flips[each.targets, kind] != 0, flips[each.targets, kind], when, None, kind)
                            for each in rows
                            if flips[each.targets, kind].any()
                        ]
                        if parts:
                            found.add(parts)
        return found.outcome()

    def _masks(self, context: Context, types: int) -> Iterator[tuple[When, dict[str, NDArray[np.int64]]]]:
        """Choose bits: population → int64 [n, types], which bits of each value flip."""
        deployment = context.deployment
        width = deployment.profile.synapse.table_bits
        if width is None or width.value is None:
            raise FaultError(
                f"chip {deployment.profile.name!r}: how wide the values of a neuron's table are is not known (synapse.table_bits)"
            )
        numbers, sizes = bits_named(self.bits, width.value), {one.name: one.size for one in deployment.populations}
        if not numbers:
            raise FaultError(f"bits must lie in [0, {width.value - 1}]: values of a table have {plural(width.value, 'bit')}")
        if self.sites is not None:
            name = context.one_population(self)
            listed = listed_array(self.sites, 3)
            for row, (label, end) in enumerate((("neuron", sizes[name]), ("type", types), ("bit", width.value))):
                if listed.size and not 0 <= listed[:, row].min() <= listed[:, row].max() < end:
                    raise FaultError(f"{label} must lie in [0, {end - 1}] in table_bits of {self.about}")
            groups = ((when, [(name, *listed[order].T)]) for when, order in context.in_time(self, np.arange(len(listed))))
        else:
            per = types * len(numbers)

            def gone(earlier: Earlier, block: Block) -> NDArray[np.bool_]:
                return np.repeat(silent_neurons(deployment, earlier, block.population)[block.neurons], per)

            blocks = [replace(block, size=block.size * per) for block in neuron_blocks(deployment, _into(context, self))]
            groups = (
                (
                    when,
                    [
                        (
                            block.population,
                            block.neurons[sites // per],
                            sites % per // len(numbers),
                            np.array(numbers)[sites % len(numbers)],
                        )
                        for block, sites in picked
                    ],
                )
                for when, picked in context.choose(self, blocks, gone=gone)
            )
        for when, parts in groups:
            masks: dict[str, NDArray[np.int64]] = {}
            for name, neurons, kinds, bits in parts:
                mask = masks.setdefault(name, np.zeros((sizes[name], types), np.int64))
                np.bitwise_xor.at(mask, (neurons, kinds), np.left_shift(1, bits))
            yield when, masks


@final
class CrossbarLineDead(Fault):
    """A line of a core's crossbar is dead: all its crossings read 0, those of one axon (row) or of one neuron (column)."""

    kind: ClassVar[str] = "crossbar_line_dead"
    needs: ClassVar[Part | None] = "crossbar"
    site: ClassVar[str] = "lines of crossbars"
    list_field: ClassVar[str] = "lines"
    equation: ClassVar[str] = "crossing = 0 along the row of an axon or the column of a neuron, whatever is written"
    mechanism: ClassVar[str] = "open word line or bit line of the crossbar's memory"
    sources: ClassVar[tuple[str, ...]] = (_TRUENORTH,)
    stored: ClassVar[bool] = True

    lines: Pairs | None = Field(
        default=None,
        description=f"[core, line] of the one layer that layer names; rows: {_ROW}; columns: neurons on the core, from 0",
    )
    line: Literal["row", "column"] = Field(default="row", description="row: of an axon; column: of a neuron")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        connections = [one.name for name in _into(context, self) for one in context.deployment.into(name)]
        rows, texts = rows_of(context.deployment, connections), list[str]()
        groups = list(self._dead_rows(context, rows, texts) if self.line == "row" else self._dead_columns(context, rows, texts))

        def change(group: StoredSites, _: object) -> Change:
            return Change(stuck=group.part, level=np.zeros(len(group.part), np.int64))

        out = rewrite(context, self, iter(groups), change)
        out.texts.clear()
        out.name(texts)
        return out

    def _dead_rows(self, context: Context, rows: Sequence[CoreAxons], texts: list[str]) -> Iterator[StoredSites]:
        for when, chosen in pick_rows(context, self, rows):
            parts = []
            for own, sites in chosen:
                texts += [f"core {own.block.core}: row {own.first + int(site)}" for site in sites]
                for site in sites:
                    at = np.flatnonzero(own.sender == site // own.bits)
                    parts.append((own, at, np.full(len(at), 1 << int(site % own.bits))))
            yield from _by_connection(when, parts)

    def _dead_columns(self, context: Context, rows: Sequence[CoreAxons], texts: list[str]) -> Iterator[StoredSites]:
        for when, chosen in self._columns(context, rows):
            parts = []
            for block, neurons in chosen:
                first = self._first_column(context.deployment, block)
                texts += [f"core {block.core}: column {first + int(np.searchsorted(block.neurons, neuron))}" for neuron in neurons]
                for own in rows:
                    if (own.block.population, own.block.core) == (block.population, block.core):
                        at = np.flatnonzero(np.isin(own.targets, neurons))
                        parts.append((own, at, np.full(len(at), (1 << own.bits) - 1)))
            yield from _by_connection(when, parts)

    def _columns(self, context: Context, rows: Sequence[CoreAxons]) -> Iterator[tuple[When, list[tuple[Block, NDArray[np.int64]]]]]:
        """Choose columns: the neurons of a core, with those whose columns they are."""
        deployment = context.deployment
        blocks = neuron_blocks(deployment, _into(context, self))
        if self.sites is not None:
            found = [self._column_at(deployment, blocks, core, number) for core, number in self.sites]
            for when, order in context.in_time(self, np.arange(len(found))):
                yield when, [found[at] for at in order]
            return

        def gone(earlier: Earlier, block: Block) -> NDArray[np.bool_]:
            left = np.zeros(deployment.population(block.population).size, bool)
            for own in rows:
                if (own.block.population, own.block.core) == (block.population, block.core):
                    held = held_bits(deployment, earlier, "weights", own.block)
                    left[own.targets[held != (1 << own.bits) - 1]] = True
            return ~left[block.neurons]

        for when, picked in context.choose(self, blocks, gone=gone):
            yield when, [(block, block.neurons[sites]) for block, sites in picked]

    def _column_at(
        self, deployment: Deployment, blocks: Sequence[Block], core: int, number: int
    ) -> tuple[Block, NDArray[np.int64]]:
        have = []
        for block in (each for each in blocks if each.core == core):
            first = self._first_column(deployment, block)
            if first <= number < first + len(block.neurons):
                return block, block.neurons[number - first : number - first + 1]
            have.append(f"{first} to {first + len(block.neurons) - 1}")
        raise FaultError(f"no column {number} of {self.about} on core {core}; there: {', '.join(have) or 'none'}")

    @staticmethod
    def _first_column(deployment: Deployment, block: Block) -> int:
        """Return the number of a population's first column on a core: neurons are counted there population by population."""
        names = [one.name for one in deployment.populations]
        before = names[: names.index(block.population)]
        return sum(len(neurons_by_core(deployment, name).get(block.core, ())) for name in before)


def _by_connection(when: When, parts: Sequence[tuple[CoreAxons, NDArray[np.int64], NDArray[np.int64]]]) -> Iterator[StoredSites]:
    """Put (axons of a core, synapses there, bits of each) together by connection; the bits are the ``part`` of a site."""
    for connection in dict.fromkeys(own.block.connection for own, _, _ in parts):
        mine = [part for part in parts if part[0].block.connection == connection]
        columns = [
            np.concatenate(column)
            for column in zip(
                *((np.full(len(at), own.block.core), at, bits, own.sources[at], own.targets[at]) for own, at, bits in mine),
                strict=True,
            )
        ]
        core, site, bits, sources, targets = columns
        yield StoredSites(when, connection, core, site, bits, np.arange(len(site)), sources, targets)
