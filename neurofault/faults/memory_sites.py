"""Stored synapses that a fault hits, and what their fields become: shared by every kind of fault of the synapse memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetSynapses
from neurofault.deploy.deployment import ChipLayer
from neurofault.damage.fold import read_at, with_values
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.when import When
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, Outcome, listed_array
from neurofault.faults.places import (
    Block,
    group_range,
    groups_of,
    in_words,
    kernel_word,
    neuron_blocks,
    row_length,
    shares_kernels,
    synapse_blocks,
    synapses_at,
)
from neurofault.graph import Conv


@dataclass(frozen=True, eq=False)
class StoredSites:
    """Stored synapses of one layer and the synapses that read them.

    Attributes:
        when: active steps.
        layer: index of the target layer.
        core, site: int64 [k], where each one is stored.
        part: int64 [k], which of its parts was chosen (its bit, where bits are the sites; else 0).
        which, sources, targets: int64 [m]: synapse i reads the stored one ``which[i]``.
    """

    when: When
    layer: int
    core: NDArray[np.int64]
    site: NDArray[np.int64]
    part: NDArray[np.int64]
    which: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]


def _blocks(context: Context, fault: Fault) -> list[Block]:
    blocks = synapse_blocks(context.deployment, context.layers(fault))
    return in_words(context.deployment, blocks, context.region(fault))


def _gathered(
    context: Context, when: When, parts: Sequence[tuple[Block, NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[StoredSites]:
    """Put (block, stored synapses, their parts) together by layer."""
    for layer in sorted({block.layer for block, _, _ in parts}):
        own = [part for part in parts if part[0].layer == layer]
        offset, found = 0, []
        for block, sites, _ in own:
            which, sources, targets = synapses_at(context.deployment, block, sites)
            found.append((which + offset, sources, targets))
            offset += len(sites)
        yield StoredSites(
            when,
            layer,
            np.concatenate([np.full(len(sites), block.core) for block, sites, _ in own]),
            np.concatenate([sites for _, sites, _ in own]),
            np.concatenate([extra for _, _, extra in own]),
            *(np.concatenate(column) for column in zip(*found, strict=True)),
        )


def stored_sites(context: Context, fault: Fault, bits: Callable[[int], Sequence[int]] | None = None) -> Iterator[StoredSites]:
    """Choose stored synapses, or bits of them.

    Args:
        context: where.
        fault: the model; its list holds (source, target), or (source, target, bit) where bits are the sites.
        bits: layer → the bits that are sites; None: a synapse is one site.
    """
    if fault.sites is not None:
        yield from _listed(context, fault, bits)
        return
    numbers = {layer: tuple(bits(layer)) if bits else (0,) for layer in context.layers(fault) if layer}
    blocks = [
        replace(block, size=block.size * len(numbers[block.layer]), first=block.first * len(numbers[block.layer]))
        for block in _blocks(context, fault)
    ]
    for when, picked in context.choose(fault, blocks, bits=numbers if bits else None):
        parts = []
        for block, sites in picked:
            synapse, index = np.divmod(sites, len(numbers[block.layer]))
            parts.append((block, synapse, np.array(numbers[block.layer])[index]))
        yield from _gathered(context, when, parts)


def _listed(context: Context, fault: Fault, bits: Callable[[int], Sequence[int]] | None) -> Iterator[StoredSites]:
    assert fault.sites is not None
    layer = context.one_layer(fault, 1)
    chip = context.deployment.layers[layer]
    rows = listed_array(fault.sites, 3 if bits else 2)
    exists = _exists(context, layer, rows[:, 0], rows[:, 1])
    if not exists.all():
        source, target = rows[np.argmin(exists), :2]
        raise FaultError(f"no synapse {source} → {target} into layer {chip.name!r}")
    if bits and rows.size and not (rows[:, 2].min() >= 0 and rows[:, 2].max() < chip.weight_bits):
        raise FaultError(
            f"bit must lie in [0, {chip.weight_bits - 1}]: layer {chip.name!r} stores {chip.weight_bits} bits a weight"
        )
    for when, order in context.in_time(fault, np.arange(len(rows))):
        sources, targets = rows[order, 0], rows[order, 1]
        part = rows[order, 2] if bits else np.zeros(len(order), np.int64)
        home = context.deployment.placement.core_of[layer][targets].astype(np.int64)
        if isinstance(chip.synapses, Conv) and shares_kernels(context.deployment):
            blocks = {block.core: block for block in neuron_blocks(context.deployment, [layer])}
            parts = []
            for core in map(int, np.unique(home)):
                here = home == core
                parts.append((blocks[core], _shared_site(context, blocks[core], sources[here], targets[here]), part[here]))
            yield from _gathered(context, when, parts)
        else:
            yield StoredSites(when, layer, home, sources, part, np.arange(len(order)), sources, targets)


def _shared_site(context: Context, block: Block, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    conv = context.deployment.layers[block.layer].synapses
    assert isinstance(conv, Conv)
    _, height, width = conv.out_shape
    channels = np.unique(block.neurons // (height * width))
    words = row_length(context.deployment, block)
    return np.searchsorted(channels, targets // (height * width)) * words + kernel_word(conv, sources, targets)[1] % words


def _exists(context: Context, layer: int, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    synapses = context.deployment.layers[layer].synapses
    assert synapses is not None
    if isinstance(synapses, Conv):
        return kernel_word(synapses, sources, targets)[0]
    return np.asarray((sources >= 0) & (sources < synapses.n_in) & (targets >= 0) & (targets < synapses.n_out))


def stored_runs(context: Context, fault: Fault, size: Callable[[int], int]) -> Iterator[StoredSites]:
    """Choose runs of consecutive stored synapses: memory words, or blocks with one header; ``part`` is the number of the run.

    Args:
        context: where.
        fault: the model; its list holds (core, run).
        size: layer → synapses of a run.
    """
    whole = {(block.layer, block.core): block for block in synapse_blocks(context.deployment, context.layers(fault))}
    runs = [groups_of(context.deployment, block, size(block.layer)) for block in whole.values()]
    if fault.sites is not None:
        layer = context.one_layer(fault, 1)
        known = {block.core: block.size for block in runs}
        for core, run in fault.sites:
            if not 0 <= run < known.get(core, 0):
                have = f"0 to {known[core] - 1}" if core in known else "none"
                raise FaultError(f"no {fault.site[:-1]} {run} of layer {fault.layers!r} on core {core}; there: {have}")
        groups = [
            (when, [(replace(whole[layer, fault.sites[at][0]]), np.array([fault.sites[at][1]])) for at in order])
            for when, order in context.in_time(fault, np.arange(len(fault.sites)))
        ]
    else:
        groups = list(context.choose(fault, runs, run=size))
    for when, picked in groups:
        parts = []
        for block, chosen in picked:
            full = whole[block.layer, block.core]
            for run in map(int, chosen):
                first, end = group_range(context.deployment, full, size(block.layer), run)
                parts.append((full, np.arange(first, end), np.full(end - first, run)))
        yield from _gathered(context, when, parts)


@dataclass(frozen=True, eq=False)
class Change:
    """What a fault does to stored fields; one of these. Arrays are aligned with the synapses [m] of :class:`StoredSites`.

    Attributes:
        flips: bits that flip.
        factor, offset: what the weight is multiplied by, and what is added.
        stuck, level: bits that are stuck, and those of them that read 1.
        read: number of the synapse that is read instead; −1: none.
    """

    flips: NDArray[np.int64] | None = None
    factor: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    stuck: NDArray[np.int64] | None = None
    level: NDArray[np.int64] | None = None
    read: NDArray[np.int64] | None = None


def rewrite(
    context: Context,
    fault: Fault,
    groups: Iterator[StoredSites],
    change: Callable[[StoredSites, Callable[[], NDArray[np.int64]]], Change],
) -> Outcome:
    """Change stored synapses, whatever else is broken in them.

    Args:
        context: where.
        fault: the model.
        groups: from :func:`stored_sites` or :func:`stored_runs`.
        change: what happens to them; it may ask for the field that the cells of each synapse [m] read now, by what is broken for good and
            by what this fault has broken before.
    """
    out = Outcome()
    own: dict[int, list[SetSynapses]] = {}
    seen: dict[int, set[int]] = {}
    for group in groups:
        chip, lasting = context.deployment.layers[group.layer], context.deployment.damage.synapse_edits(group.layer)
        keys, back = np.unique(group.targets * (1 << 32) + group.sources, return_inverse=True)
        targets, sources = np.divmod(keys, 1 << 32)
        met = seen.setdefault(group.layer, set())
        earlier = lasting if met.isdisjoint(keys.tolist()) else (*lasting, *own[group.layer])
        blank = SetSynapses(group.layer, sources, targets, np.zeros(len(keys), np.int32), group.when)

        def cells(
            chip: ChipLayer = chip,
            earlier: Sequence[SetSynapses] = earlier,
            blank: SetSynapses = blank,
            back: NDArray[np.int64] = back,
        ) -> NDArray[np.int64]:
            return to_field(read_at(context.deployment, earlier, blank, cells=True), chip.weight_bits, chip.sign_mode)[back]

        edit = with_values(context.deployment, earlier, _edit(blank, group, back, change(group, cells), chip))
        out.edits.append(edit)
        own.setdefault(group.layer, []).append(edit)
        met.update(keys.tolist())
        note_stored(context, out, group)
    return out


def _edit(blank: SetSynapses, group: StoredSites, back: NDArray[np.int64], change: Change, chip: ChipLayer) -> SetSynapses:
    """Return a change as an edit. A synapse that is hit in several bits appears several times in a group: every bit counts."""
    size, first = len(blank.sources), np.empty(len(blank.sources), np.int64)
    if not size:  # a word that nothing reads
        return blank
    first[back[::-1]] = np.arange(len(back))[::-1]

    def united(bits: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.zeros(size, np.int64)
        np.bitwise_or.at(found, back, bits)
        return found

    match change:
        case Change(flips=flips) if flips is not None:
            mask = np.zeros(size, np.int64)
            np.bitwise_xor.at(mask, back, flips)
            return replace(blank, flips=mask.astype(np.int32))
        case Change(stuck=stuck, level=level) if stuck is not None and level is not None:
            mask, force = united(stuck), united(level)
            keep = ((1 << chip.weight_bits) - 1) & ~mask
            reads = from_field(force, chip.weight_bits, chip.sign_mode)
            return replace(blank, values=reads, keep=keep.astype(np.int32), force=force.astype(np.int32))
        case Change(read=read) if read is not None:
            own = read[first]
            sources, targets = (np.append(ids, -1)[own] for ids in (group.sources, group.targets))
            return replace(blank, of_sources=sources.astype(np.int64), of_targets=targets.astype(np.int64))
        case Change(factor=factor, offset=offset) if factor is not None and offset is not None:
            return replace(blank, factor=factor[first], offset=offset[first])
    raise AssertionError("a change is one of these")


def note_stored(context: Context, out: Outcome, group: StoredSites) -> None:
    """Add stored synapses to the echo."""
    name = context.deployment.layers[group.layer].name
    out.count(out.synapses, name, len(np.unique(np.stack([group.core, group.site]), axis=1).T))
    out.cores.update(map(int, np.unique(group.core)))
    shown = zip(group.core[group.which[:8]], group.sources[:8], group.targets[:8], strict=True)
    out.name(f"core {core}: {source} → {name}[{target}]" for core, source, target in shown)
