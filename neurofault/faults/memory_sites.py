"""Stored synapses that a fault hits, and what their fields become: shared by every kind of fault of the synapse memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetSynapses
from neurofault.damage.fold import read_at, with_values
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.synapse_edits import SingleSynapses
from neurofault.damage.when import When
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.places import (
    Block,
    called,
    connections_into,
    first_runs,
    in_words,
    kernel_word,
    row_starts,
    run_ranges,
    runs_of,
    shares_kernels,
    synapse_blocks,
    synapses_at,
)
from neurofault.faults.pooled import pool_of, window_of, window_shape
from neurofault.graph import Conv
from neurofault.graph.chip import ChipConnection
from neurofault.graph.connectivity import places
from neurofault.numerals import plural


@dataclass(frozen=True, eq=False)
class StoredSites:
    """Stored synapses of one connection and the synapses that read them.

    Attributes:
        when: active steps.
        connection: its name.
        core, site: int64 [k], where each one is stored.
        part: int64 [k], which of its parts was chosen (its bit, where bits are the sites; else 0).
        which, sources, targets: int64 [m]: synapse i reads the stored one ``which[i]``.
    """

    when: When
    connection: str
    core: NDArray[np.int64]
    site: NDArray[np.int64]
    part: NDArray[np.int64]
    which: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]


def _blocks(context: Context, fault: Fault) -> list[Block]:
    blocks = synapse_blocks(context.deployment, context.connections(fault))
    return in_words(context.deployment, blocks, context.region(fault))


def _gathered(
    context: Context, when: When, parts: Sequence[tuple[Block, NDArray[np.int64], NDArray[np.int64]]]
) -> Iterator[StoredSites]:
    """Put (block, stored synapses, their parts) together by connection."""
    hit = {block.connection for block, _, _ in parts}
    for connection in (name for name in connections_into(context.deployment) if name in hit):
        own = [part for part in parts if part[0].connection == connection]
        offset, found = 0, []
        for block, sites, _ in own:
            which, sources, targets = synapses_at(context.deployment, block, sites)
            found.append((which + offset, sources, targets))
            offset += len(sites)
        yield StoredSites(
            when,
            connection,
            np.concatenate([np.full(len(sites), block.core) for block, sites, _ in own]),
            np.concatenate([sites for _, sites, _ in own]),
            np.concatenate([extra for _, _, extra in own]),
            *(np.concatenate(column) for column in zip(*found, strict=True)),
        )


def stored_sites(context: Context, fault: Fault, bits: Callable[[str], Sequence[int]] | None = None) -> Iterator[StoredSites]:
    """Choose stored synapses, or bits of them.

    Args:
        context: where.
        fault: the model; its list holds (source, target), or (source, target, bit) where bits are the sites.
        bits: connection → the bits that are sites; None: a synapse is one site.
    """
    _check_signs(context, fault)
    if fault.sites is not None:
        yield from _listed(context, fault, bits)
        return
    numbers = {name: tuple(bits(name)) if bits else (0,) for name in context.connections(fault)}
    blocks = [
        replace(block, size=block.size * len(numbers[block.connection]), first=block.first * len(numbers[block.connection]))
        for block in _blocks(context, fault)
    ]
    for when, picked in context.choose(fault, blocks, bits=numbers if bits else None):
        parts = []
        for block, sites in picked:
            synapse, index = np.divmod(sites, len(numbers[block.connection]))
            parts.append((block, synapse, np.array(numbers[block.connection])[index]))
        yield from _gathered(context, when, parts)


def _check_signs(context: Context, fault: Fault) -> None:
    """Refuse faults that change stored weights otherwise than to 0 where the sign of a weight is its source's, not stored with it."""
    profile = context.deployment.profile
    if (
        profile.synapse.source_signs is not None
        and profile.synapse.source_signs.value
        and fault.kind not in ("synapse_dead", "synapse_delay")
    ):
        raise FaultError(
            f"{fault.kind}: a weight of {profile.name!r} is stored without a sign, which is its source neuron's: faults that change a weight are not "
            "simulated on it; synapse_dead is"
        )


def _listed(context: Context, fault: Fault, bits: Callable[[str], Sequence[int]] | None) -> Iterator[StoredSites]:
    assert fault.sites is not None
    own = context.deployment.connection(context.one_connection(fault))
    name, rows = called(context.deployment, own.name), listed_array(fault.sites, 3 if bits else 2)
    exists = _exists(own, rows[:, 0], rows[:, 1])
    if not exists.all():
        source, target = rows[np.argmin(exists), :2]
        raise FaultError(f"no synapse {source} → {target} into {name}")
    if bits and rows.size and not (rows[:, 2].min() >= 0 and rows[:, 2].max() < own.weight_bits):
        raise FaultError(f"bit must lie in [0, {own.weight_bits - 1}]: {name} stores {plural(own.weight_bits, 'bit')} a weight")
    for when, order in context.in_time(fault, np.arange(len(rows))):
        sources, targets = rows[order, 0], rows[order, 1]
        part = rows[order, 2] if bits else np.zeros(len(order), np.int64)
        home = context.deployment.placement.core_of[own.target][targets].astype(np.int64)
        if pool_of(context.deployment, own.name) > 1 or (isinstance(own.synapses, Conv) and shares_kernels(context.deployment)):
            blocks = {block.core: block for block in synapse_blocks(context.deployment, [own.name])}
            parts = []
            for core in map(int, np.unique(home)):
                here = home == core
                parts.append((blocks[core], _shared_site(context, blocks[core], sources[here], targets[here]), part[here]))
            yield from _gathered(context, when, parts)
        else:
            yield StoredSites(when, own.name, home, sources, part, np.arange(len(order)), sources, targets)


def _shared_site(context: Context, block: Block, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    conv, pool = context.deployment.connection(block.connection).synapses, pool_of(context.deployment, block.connection)
    window = window_of(window_shape(context.deployment, block.connection), pool)
    if not isinstance(conv, Conv):
        return window[sources] * len(block.neurons) + np.searchsorted(block.neurons, targets)
    _, height, width = conv.out_shape
    channels = np.unique(block.neurons // (height * width))
    words = int(row_starts(context.deployment, block)[1])
    return (
        np.searchsorted(channels, targets // (height * width)) * words
        + window[kernel_word(conv, sources, targets)[1] % len(window)]
    )


def _exists(connection: ChipConnection, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    synapses = connection.synapses
    inside = (sources >= 0) & (sources < synapses.n_in) & (targets >= 0) & (targets < synapses.n_out)
    inside[inside] = places(synapses, sources[inside], targets[inside]) >= 0
    return np.asarray(inside)


def check_words(context: Context, fault: Fault) -> None:
    """Refuse a fault of memory words on a chip that has none.

    Raises:
        FaultError: its weights are bits of a crossbar.
    """
    profile = context.deployment.profile
    if profile.synapse.format == "crossbar":
        raise FaultError(
            f"the crossbar of {profile.name!r} has no {fault.site}: its bits stand at crossings of axons and neurons; synapse_bit_flip, "
            "synapse_bit_stuck and axon_lost break those"
        )


def stored_runs(context: Context, fault: Fault, size: Callable[[str], int]) -> Iterator[StoredSites]:
    """Choose runs of consecutive stored synapses: memory words, or blocks with one header; ``part`` is the number of the run.

    Args:
        context: where.
        fault: the model; its list holds (core, run), where all that a core stores is counted in one row.
        size: connection → synapses of a run.
    """
    deployment = context.deployment
    connections = context.connections(fault) if fault.sites is None else context.into_one(fault)
    whole = {(block.connection, block.core): block for block in synapse_blocks(deployment, connections)}
    runs = [runs_of(deployment, block, size(block.connection)) for block in whole.values()]
    if fault.sites is not None:
        found = _listed_runs(context, fault, runs, first_runs(deployment, size))
        groups = [(when, [found[at] for at in order]) for when, order in context.in_time(fault, np.arange(len(found)))]
    else:
        groups = list(context.choose(fault, runs, run=size))
    for when, picked in groups:
        parts = []
        for block, chosen in picked:
            full = whole[block.connection, block.core]
            for run, first, end in zip(chosen, *run_ranges(deployment, full, size(block.connection), chosen), strict=True):
                parts.append((full, np.arange(first, end), np.full(end - first, run)))
        yield from _gathered(context, when, parts)


def _listed_runs(
    context: Context, fault: Fault, runs: Sequence[Block], before: Mapping[tuple[str, int], int]
) -> list[tuple[Block, NDArray[np.int64]]]:
    """Return for each listed (core, run) the block that it lies in, and its number there."""
    found = []
    for core, run in fault.sites or ():
        here = {(first := before[block.connection, core], first + block.size): block for block in runs if block.core == core}
        block = next((block for (first, end), block in here.items() if first <= run < end), None)
        if block is None:
            have = ", ".join(f"{first} to {end - 1}" for first, end in here if first < end) or "none"
            raise FaultError(f"no {fault.site[:-1]} {run} of {fault.about} on core {core}; there: {have}")
        found.append((block, np.array([run - before[block.connection, core]], np.int64)))
    return found


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
) -> FaultOutcome:
    """Change stored synapses, whatever else is broken in them.

    Args:
        context: where.
        fault: the model.
        groups: from :func:`stored_sites` or :func:`stored_runs`.
        change: what happens to them; it may ask for the field that the cells of each synapse [m] read now, by what is broken for good and
            by what this fault has broken before.
    """
    out = FaultOutcome()
    own: dict[str, list[SetSynapses]] = {}
    seen: dict[str, set[int]] = {}
    for group in groups:
        chip, lasting = context.deployment.connection(group.connection), context.deployment.damage.synapse_edits(group.connection)
        keys, back = np.unique(group.targets * (1 << 32) + group.sources, return_inverse=True)
        targets, sources = np.divmod(keys, 1 << 32)
        met = seen.setdefault(group.connection, set())
        earlier = lasting if met.isdisjoint(keys.tolist()) else (*lasting, *own[group.connection])
        blank = SetSynapses(group.connection, sources, targets, np.zeros(len(keys), np.int32), group.when)

        def cells(
            chip: ChipConnection = chip,
            earlier: Sequence[SingleSynapses] = earlier,
            blank: SetSynapses = blank,
            back: NDArray[np.int64] = back,
        ) -> NDArray[np.int64]:
            return to_field(read_at(context.deployment, earlier, blank, cells=True), chip.weight_bits, chip.sign_mode)[back]

        edit = with_values(context.deployment, earlier, _edit(blank, group, back, change(group, cells), chip))
        out.edits.append(edit)
        own.setdefault(group.connection, []).append(edit)
        met.update(keys.tolist())
        note_stored(context, out, group)
    return out


def _edit(blank: SetSynapses, group: StoredSites, back: NDArray[np.int64], change: Change, chip: ChipConnection) -> SetSynapses:
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


def note_stored(context: Context, out: FaultOutcome, group: StoredSites) -> None:
    """Add stored synapses to the echo."""
    name = group.connection
    out.count(out.synapses, name, len(np.unique(np.stack([group.core, group.site]), axis=1).T))
    out.cores.update(map(int, np.unique(group.core)))
    shown = zip(group.core[group.which[:8]], group.sources[:8], group.targets[:8], strict=True)
    out.name(f"core {core}: {source} → {name}[{target}]" for core, source, target in shown)
