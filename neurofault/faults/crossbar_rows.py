"""The axons of a core, which are the rows of its crossbar: which there are, and how some of them are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, listed_array
from neurofault.faults.places import Block, axon_sources, called, connections_into, synapse_blocks, synapses_at
from neurofault.faults.spent import Earlier, held_bits, silent_neurons
from neurofault.numerals import plural


@dataclass(frozen=True, eq=False)
class CoreAxons:
    """The axons of one connection on one core, which are rows of its crossbar.

    Attributes:
        block: the synapses that the connection stores there, all.
        first: number of its first axon on the core.
        senders: int64 [s], sorted, source neurons that have axons there.
        bits: axons of each sender: one a bit of its weights.
        sources, targets: int64 [m], both ends of each stored synapse.
    """

    block: Block
    first: int
    senders: NDArray[np.int64]
    bits: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many axons there are."""
        return len(self.senders) * self.bits

    @property
    def sender(self) -> NDArray[np.int64]:
        """Int64 [m]: which of the senders each synapse has."""
        return np.searchsorted(self.senders, self.sources)


def rows_of(deployment: Deployment, connections: Sequence[str]) -> list[CoreAxons]:
    """Return the axons of some connections on every core.

    Raises:
        FaultError: a connection has weights that no chip stores.
    """
    used: dict[int, int] = {}
    found = []
    for block in synapse_blocks(deployment, connections_into(deployment)):
        senders, bits = axon_sources(deployment, block), deployment.connection(block.connection).weight_bits
        if bits > 8:
            raise FaultError(
                f"{called(deployment, block.connection)} is a {bits}-bit reference that no chip stores: it has no axons"
            )
        first = used.get(block.core, 0)
        used[block.core] = first + len(senders) * bits
        if block.connection in connections:
            _, sources, targets = synapses_at(deployment, block, np.arange(block.size))
            found.append(CoreAxons(block, first, senders, bits, sources, targets))
    return found


ChosenRows = list[tuple[CoreAxons, NDArray[np.int64]]]
"""Axons of a core, and the numbers of those that are hit, or of their bits."""


def pick_rows(
    context: Context, fault: Fault, rows: Sequence[CoreAxons], types: int | None = None
) -> Iterator[tuple[When, ChosenRows]]:
    """Choose among axons, or among the bits of their types.

    Args:
        context: where.
        fault: the model; its list holds (core, axon), or (core, axon, bit of its type).
        rows: from :func:`rows_of`.
        types: bits of a type, which are the sites; None: whole axons are.

    Raises:
        FaultError: a listed one is not there.
    """
    per = 1 if types is None else types
    deployment = context.deployment
    by_place = {(each.block.connection, each.block.core): each for each in rows}
    if fault.sites is not None:
        listed = listed_array(fault.sites, 2 if types is None else 3)
        places = [_row_at(fault, rows, int(core), int(number)) for core, number, *_ in listed]
        sites = [(number - own.first) * per for own, (_, number, *_) in zip(places, listed, strict=True)]
        if types is not None:
            if listed.size and not 0 <= listed[:, 2].min() <= listed[:, 2].max() < per:
                raise FaultError(f"bit must lie in [0, {per - 1}]: a type of {deployment.profile.name!r} has {plural(per, 'bit')}")
            sites = [site + bit for site, bit in zip(sites, listed[:, 2], strict=True)]
        for when, order in context.in_time(fault, np.arange(len(listed))):
            yield when, [(places[at], np.array([sites[at]], np.int64)) for at in order]
        return

    def gone(earlier: Earlier, block: Block) -> NDArray[np.bool_]:
        own = by_place[block.connection, block.core]
        held = held_bits(deployment, earlier, "weights", own.block)
        count = np.zeros((own.bits, len(own.senders)), np.int64)
        for bit in range(own.bits):
            left = (~silent_neurons(deployment, earlier, block.population))[own.targets]
            if types is None:
                left &= (held >> bit & 1) == 0
            count[bit] = np.bincount(own.sender[left], minlength=len(own.senders))
        return np.repeat(count.T.reshape(-1) == 0, per)

    for when, picked in context.choose(fault, [replace(each.block, size=each.size * per) for each in rows], gone=gone):
        yield when, [(by_place[block.connection, block.core], sites) for block, sites in picked]


def _row_at(fault: Fault, rows: Sequence[CoreAxons], core: int, number: int) -> CoreAxons:
    here = [each for each in rows if each.block.core == core]
    for each in here:
        if each.first <= number < each.first + each.size:
            return each
    have = ", ".join(f"{each.first} to {each.first + each.size - 1}" for each in here if each.size) or "none"
    raise FaultError(f"no axon {number} of {fault.about} on core {core}; there: {have}")
