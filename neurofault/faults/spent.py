"""Sites at which nothing is left to break: an earlier fault holds them for good.

A fault that draws its sites passes over them (``again``), so that two dead cores and two more are four. What an upset changed can be
changed again; only what dies, sticks or is closed for good counts, whenever that begins.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import Broken, BrokenCells, BrokenCore
from neurofault.damage.damage import Drop, Edit, Hit, LearningDefect, NeuronEdit, Stall
from neurofault.damage.synapse_edits import SingleSynapses
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import Block, axon_sources, run_ranges, synapse_blocks, synapses_at


@dataclass(frozen=True, eq=False)
class Earlier:
    """What some faults have done.

    Attributes:
        edits: their edits that last, in order.
        broken: their places that last.
        dead_cores: ids of the cores that they kill.
    """

    edits: tuple[Edit, ...]
    broken: tuple[Broken, ...]
    dead_cores: frozenset[int]

    @classmethod
    def of(cls, deployment: Deployment, first: int, kind: str | None) -> Earlier:
        """Gather the faults from number ``first`` on, of one kind or of all (None)."""
        edits: list[Edit] = []
        hits: list[Hit] = []
        end = 0
        for number, hit in enumerate(deployment.damage.hits):
            own = deployment.damage.edits[end : end + hit.n_edits]
            end += hit.n_edits
            if number >= first and kind in (None, hit.kind):
                edits += own
                hits.append(hit)
        return cls(
            tuple(edit for edit in edits if lasting(edit.when)),
            tuple(place for hit in hits for place in hit.broken if lasting(place.when)),
            frozenset(core for hit in hits for core in hit.dead_cores),
        )

    def __bool__(self) -> bool:
        return bool(self.edits or self.broken or self.dead_cores)


def lasting(when: When) -> bool:
    """Whether a fault stays once it has come."""
    return when.stop is None and when.period in (None, when.on)


def spent(
    deployment: Deployment, earlier: Earlier, breaks: str, site: str, block: Block, bits: Sequence[int] | None, run: int | None
) -> NDArray[np.bool_]:
    """Return bool [sites of the block]: where nothing is left for a fault to break.

    Args:
        deployment: the chip.
        earlier: what counts.
        breaks: what of its sites the fault breaks (:attr:`neurofault.faults.base.Fault.breaks`), with
        site: what one of its sites is.
        block: the sites.
        bits: where bits are the sites: those of each stored weight that are.
        run: where runs of stored synapses are the sites: how many make one.
    """
    match site:
        case "used cores":
            return np.array([_core_spent(deployment, earlier, breaks, block.core)])
        case "neurons" | "sensors":
            return _held(deployment, earlier, block.population, {"silent", breaks})[block.neurons]
        case "axon entries":
            return _lost(deployment, earlier, block)
        case "memory words" | "headers":
            assert run is not None
            (whole,) = (each for each in synapse_blocks(deployment, [block.connection]) if each.core == block.core)
            stuck = held_bits(deployment, earlier, breaks, whole) == _whole(deployment, block)
            ranges = run_ranges(deployment, whole, run, block.first + np.arange(block.size))
            return np.array([bool(stuck[low:high].all()) for low, high in zip(*ranges, strict=True)], bool)
        case _:
            per = len(bits) if bits else 1
            stuck = held_bits(deployment, earlier, breaks, replace(block, size=block.size // per, first=block.first // per))
            if bits:
                return np.asarray((stuck[:, None] >> np.array(bits)) & 1, bool).reshape(-1)
            return np.asarray(stuck == _whole(deployment, block))


def _whole(deployment: Deployment, block: Block) -> int:
    """Return all bits of a stored field of a block."""
    return (1 << deployment.connection(block.connection).weight_bits) - 1


def spent_cells(earlier: Earlier, block: Block, width: int | None) -> NDArray[np.bool_]:
    """Return bool [sites]: which bits (``width`` in a word) or whole words (None) of a spare core's memory are stuck already."""
    gone = np.full(block.size, block.core in earlier.dead_cores)
    for place in earlier.broken:
        if isinstance(place, BrokenCells) and place.core == block.core:
            words = np.array(place.words, np.int64)
            if width is None:
                sites = words[:0] if place.bits is not None else words
            elif place.bits is None:
                sites = (words[:, None] * width + np.arange(width)).reshape(-1)
            else:
                sites = words * width + np.array(place.bits, np.int64)
            sites = sites - block.first
            gone[sites[(sites >= 0) & (sites < block.size)]] = True
    return gone


def _held(deployment: Deployment, earlier: Earlier, population: str, what: Collection[str]) -> NDArray[np.bool_]:
    """Return bool [n]: neurons of which something is held already."""
    mask = np.zeros(deployment.population(population).size, bool)
    for edit in earlier.edits:
        if isinstance(edit, NeuronEdit) and edit.population == population and not edit.holds.isdisjoint(what):
            mask[edit.neurons] = True
    return mask


def silent_neurons(deployment: Deployment, earlier: Earlier, population: str) -> NDArray[np.bool_]:
    """Return bool [n]: neurons of a population that are dead already."""
    return _held(deployment, earlier, population, {"silent"})


def _core_spent(deployment: Deployment, earlier: Earlier, part: str, core: int) -> bool:
    """Whether a core is dead, hangs, or has this part of its learning engine broken."""
    if core in earlier.dead_cores or any(isinstance(edit, Stall) and core in edit.cores for edit in earlier.edits):
        return True
    if any(isinstance(place, BrokenCore) and (place.core, place.part) == (core, part) for place in earlier.broken):
        return True
    held = [np.zeros(0, bool)]
    for population in deployment.populations:
        here, silent = deployment.placement.core_of[population.name] == core, silent_neurons(deployment, earlier, population.name)
        if part == "silent":
            held.append(silent[here])
            continue
        for connection in deployment.into(population.name):
            mask = silent.copy()
            for edit in earlier.edits:
                if isinstance(edit, LearningDefect) and (edit.connection, edit.part) == (connection.name, part):
                    mask[edit.neurons] = True
            held.append(mask[here])
    found = np.concatenate(held)
    return bool(found.size and found.all())


def _lost(deployment: Deployment, earlier: Earlier, block: Block) -> NDArray[np.bool_]:
    sources = axon_sources(deployment, block)
    gone = np.zeros(len(sources), bool)
    for edit in earlier.edits:
        if isinstance(edit, Drop) and (edit.connection, edit.core) == (block.connection, block.core) and edit.probability >= 1:
            gone |= np.isin(sources, edit.sources)
    return gone


def held_bits(deployment: Deployment, earlier: Earlier, breaks: str, block: Block) -> NDArray[np.int64]:
    """Return int64 [stored synapses of the block]: bits of each that no fault can change any more, for every synapse that reads it."""
    what = "delays" if breaks == "delays" else "weights"
    whole, dead = _whole(deployment, block), silent_neurons(deployment, earlier, block.population)
    which, sources, targets = synapses_at(deployment, block, block.first + np.arange(block.size))
    keys = targets * (1 << 32) + sources
    held = np.where(dead[targets], whole, 0)
    order = np.argsort(keys)
    for edit in earlier.edits:
        if not isinstance(edit, SingleSynapses) or edit.connection != block.connection or what not in edit.does:
            continue
        stuck = edit.held(whole)
        own = edit.targets * (1 << 32) + edit.sources
        at = np.minimum(np.searchsorted(keys, own, sorter=order), max(0, len(keys) - 1))
        found = keys[order[at]] == own if len(keys) else np.zeros(len(own), bool)
        held[order[at[found]]] |= stuck[found]
    out = np.full(block.size, whole, np.int64)
    np.bitwise_and.at(out, which, held)
    out[np.bincount(which, minlength=block.size) == 0] = 0
    return out
