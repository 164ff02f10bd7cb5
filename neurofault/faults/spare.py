"""Faults of spare cores: nothing sits there, so they are kept as physical places until a repair moves neurons there.

``layer: spare`` means the cores that the placement keeps free. What can break there: the core, its learning engine, bits and words of its
synapse memory. An upset cannot: the first write to the word mends it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BrokenCells, BrokenCore
from neurofault.damage.damage import Edit, LearningDefect, SetSynapses, Silence
from neurofault.damage.fold import with_values
from neurofault.damage.stored import from_field
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.places import (
    Block,
    connections_into,
    run_ranges,
    runs_of,
    stored_synapses,
    synapse_blocks,
    synapses_at,
    word_synapses,
    word_width,
)
from neurofault.faults.spent import spent_cells
from neurofault.numerals import plural

LATER = "nothing sits there yet: it shows once a repair moves neurons there"
"""Note of a hit on a core that holds nothing."""

_NONE = np.empty(0, np.int64)


def spare_blocks(context: Context) -> list[Block]:
    """Return one block of one site for each spare core.

    Raises:
        FaultError: there is none.
    """
    spares = context.deployment.placement.spare_cores
    if not spares:
        raise FaultError("layer 'spare': the placement keeps no spare cores; deploy with spare_cores")
    return [Block("", core, _NONE, 1) for core in spares]


def break_cells(context: Context, fault: Fault, level: int, *, bits: bool) -> FaultOutcome:
    """Choose bits or whole words in the synapse memory of spare cores that are stuck.

    Args:
        context: where.
        fault: the model; its list holds (core, word, bit) or (core, word).
        level: what the bits read, 0 or 1.
        bits: whether single bits are sites; else whole words.

    Raises:
        FaultError: no spare cores, no such core, word or bit, or the size of a core's memory is not known.
    """
    blocks, width, out = spare_blocks(context), word_width(context.deployment), FaultOutcome()
    memory = context.deployment.profile.core.synapse_bits.value
    words = None if memory is None else memory // width
    if fault.sites is not None:
        rows = listed_array(fault.sites, 3 if bits else 2)
        _check(rows, [block.core for block in blocks], words, width)
        for when, order in context.in_time(fault, np.arange(len(rows))):
            chosen = rows[np.sort(order)]
            for core in np.unique(chosen[:, 0]).tolist():
                own = chosen[chosen[:, 0] == core]
                _note(out, BrokenCells(core, _ints(own[:, 1]), _ints(own[:, 2]) if bits else None, level, when))
        return out
    if words is None:
        raise FaultError(
            f"layer 'spare': the profile does not say how much memory a core has (core.synapse_bits); list {fault.list_field}"
        )
    if fault.where not in ("random", "clustered"):
        raise FaultError("nothing is stored in a spare core: where must be random or clustered")
    per, place, parts = width if bits else 1, context.region(fault), []
    for block in blocks:
        for low, high in ((0, words),) if place is None else place.get(block.core, ()):
            if low < words:
                parts.append(Block("", block.core, _NONE, (min(high, words) - low) * per, low * per))
    for when, picked in context.choose(fault, parts, gone=lambda done, block: spent_cells(done, block, width if bits else None)):
        together: dict[int, list[NDArray[np.int64]]] = {}
        for block, sites in picked:
            together.setdefault(block.core, []).append(sites)
        for core, found in sorted(together.items()):
            word, bit = np.divmod(np.sort(np.concatenate(found)), per)
            _note(out, BrokenCells(core, _ints(word), _ints(bit) if bits else None, level, when))
    return out


def _ints(values: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(values.tolist())


def _check(rows: NDArray[np.int64], spares: Sequence[int], words: int | None, width: int) -> None:
    """Refuse listed words and bits that do not exist."""
    for core, word, *bit in rows.tolist():
        if core not in spares:
            raise FaultError(f"core {core} is not a spare core; spare: {', '.join(map(str, spares))}")
        if word < 0 or (words is not None and word >= words):
            raise FaultError(f"no memory word {word} in core {core}; words: 0 to {'…' if words is None else words - 1}")
        if bit and not 0 <= bit[0] < width:
            raise FaultError(f"bit must lie in [0, {width - 1}]: a memory word has {plural(width, 'bit')}, is {bit[0]}")


def _note(out: FaultOutcome, broken: BrokenCells) -> None:
    """Add stuck cells to the echo."""
    out.broken.append(broken)
    out.cores.add(broken.core)
    bits = [""] * len(broken.words) if broken.bits is None else [f" bit {bit}" for bit in broken.bits]
    out.name(f"core {broken.core}: word {word}{bit}" for word, bit in zip(broken.words, bits, strict=True))
    if LATER not in out.notes:
        out.notes.append(LATER)


def strike_core(deployment: Deployment, out: FaultOutcome, broken: BrokenCore) -> None:
    """Add to ``out`` what a broken core does to the neurons that sit on it now."""
    for population in deployment.populations:
        name = population.name
        neurons = np.flatnonzero(deployment.placement.core_of[name] == broken.core).astype(np.int64)
        if not neurons.size:
            continue
        if broken.part == "silent":
            out.edits.append(Silence(name, neurons, broken.when))
            out.count(out.neurons, name, len(neurons))
        for connection in deployment.into(name):
            if broken.part != "silent":
                out.edits.append(LearningDefect(connection.name, broken.part, neurons, broken.trace, broken.value, broken.when))
            out.count(out.synapses, connection.name, stored_synapses(deployment, connection.name, neurons))


def strike_cells(deployment: Deployment, out: FaultOutcome, broken: BrokenCells, earlier: Sequence[Edit]) -> None:
    """Add to ``out`` what stuck cells do to the synapses that are stored in their core now.

    Each connection's synapses fill the core's words from where those of the connection before it end (``places.py`` says in which order),
    row by row; a row begins with a word of its own (the numbers that ``at: word:`` and ``memory_word_dead`` use).

    Args:
        deployment: the chip, with neurons on the core.
        out: takes the edits, and counts of stored synapses.
        broken: the cells.
        earlier: edits that come before, of these synapses and others; of other faults only permanent ones count, as at injection.
    """
    words = np.array(broken.words, np.int64)
    if broken.bits is None:
        width = word_width(deployment)
        words, bits = np.repeat(words, width), np.tile(np.arange(width), len(words))
    else:
        bits = np.array(broken.bits, np.int64)
    lasting = [edit for edit in earlier if isinstance(edit, SetSynapses) and edit.when.always]
    base = 0
    for block in synapse_blocks(deployment, connections_into(deployment)):
        if block.core != broken.core:
            continue
        size, own = word_synapses(deployment, block.connection), deployment.connection(block.connection)
        held = runs_of(deployment, block, size).size
        here = (words >= base) & (words < base + held)
        first, end = run_ranges(deployment, block, size, words[here] - base)
        slot, bit = np.divmod(bits[here], own.weight_bits)
        hit = (slot < size) & (first + slot < end)
        sites, where = np.unique((first + slot)[hit], return_inverse=True)
        mask = np.zeros(len(sites), np.int64)
        np.bitwise_or.at(mask, where, 1 << bit[hit])
        edit, stored = _stuck(deployment, block, sites, mask, broken, [*lasting, *out.edits])
        if stored:
            out.edits.append(edit)
            out.count(out.synapses, own.name, stored)
        base += held


def _stuck(
    deployment: Deployment, block: Block, sites: NDArray[np.int64], mask: NDArray[np.int64], broken: BrokenCells, earlier: Sequence[Edit]
) -> tuple[SetSynapses, int]:  # fmt: skip
    """Return the edit of the synapses that read some stored ones, whose bits of ``mask`` are stuck, and how many stored ones are read."""
    chip = deployment.connection(block.connection)
    which, sources, targets = synapses_at(deployment, block, sites)
    order = np.lexsort((sources, targets))
    sources, targets, stuck = sources[order], targets[order], mask[which[order]]
    before = [edit for edit in earlier if isinstance(edit, SetSynapses) and edit.connection == block.connection]
    keep = (((1 << chip.weight_bits) - 1) & ~stuck).astype(np.int32)
    force = (stuck if broken.level else stuck * 0).astype(np.int32)
    reads = from_field(force, chip.weight_bits, chip.sign_mode)
    edit = SetSynapses(block.connection, sources, targets, reads, broken.when, keep, force)
    return with_values(deployment, before, edit), len(np.unique(which))
