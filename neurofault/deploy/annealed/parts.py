"""Parts of populations that stay together while a placement is searched for, and which of them their neurons' messages reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.annealed.kernel import Puzzle
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import entries, row_bits, shares_kernels, synapse_bits
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import fan_out
from neurofault.graph.synapses import Conv
from neurofault.streams import generator

_MOST = 1024
"""Parts of a population that are few enough to be moved many times each; more only where a core holds so few neurons."""

_IN_A_CORE = 8
"""A core holds at least so many parts, where it holds so many neurons."""


@dataclass(frozen=True, eq=False)
class CutParts:
    """How all populations are cut.

    Attributes:
        of: population → int64 [n], the part that each neuron is in; parts count through the populations.
        size: int64 [A], neurons of each part.
        start: int64 [A], the seat of each before the search.
    """

    of: Mapping[str, NDArray[np.int64]]
    size: NDArray[np.int64]
    start: NDArray[np.int64]


def cut_parts(chip: Deployment, seats: NDArray[np.int64]) -> CutParts:
    """Cut each population into parts that fill the cores it has.

    A population of maps is cut into patches of as many maps as divide a core's neurons, so that neurons at one place of the image, which read the
    same sources, can share a core; patches begin in the order of a Z-shaped curve (Morton 1966), which keeps neighbours together. Other populations
    are cut into runs, of single neurons where these are few.

    Args:
        chip: placed, with consecutive neurons in each core.
        seats: int64 [S], its cores, sorted.
    """
    of: dict[str, NDArray[np.int64]] = {}
    sizes: list[NDArray[np.int64]] = []
    starts: list[NDArray[np.int64]] = []
    first = 0
    for one in chip.populations:
        cores = chip.placement.core_of[one.name]
        counts = np.bincount(np.searchsorted(seats, cores), minlength=len(seats))
        found = _patches(one, counts)
        if found is None:
            found = _runs(np.searchsorted(seats, cores), counts)
        part, start = found
        of[one.name] = first + part
        sizes.append(np.bincount(part))
        starts.append(start)
        first += len(start)
    return CutParts(of, np.concatenate(sizes), np.concatenate(starts))


def _patches(population: ChipPopulation, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the part of each neuron and the seat of each part; None where patches do not fill the seats."""
    if len(population.shape) != 3:
        return None
    channels, height, width = population.shape
    held = int(counts.max())
    maps = max(
        each
        for each in range(1, channels + 1)
        if channels % each == 0 and (held % each == 0) and each <= max(1, held // _IN_A_CORE)
    )
    rows, columns = 1, 1
    while population.size > _MOST * maps * rows * columns:
        taller = rows <= columns
        more = (rows * (2 if taller else 1), columns * (1 if taller else 2))
        if (
            height % more[0]
            or width % more[1]
            or held % (maps * more[0] * more[1])
            or maps * more[0] * more[1] > max(1, held // _IN_A_CORE)
        ):
            return None
        rows, columns = more
    c, y, x = np.unravel_index(np.arange(population.size), population.shape)
    along = _morton(y // rows, x // columns)
    part = np.unique(along * channels + c // maps, return_inverse=True)[1].reshape(-1).astype(np.int64)
    size, each = maps * rows * columns, np.flatnonzero(counts)
    room = counts[each] // size
    if (counts[each] % size).any() or int(room.sum()) * size != population.size:
        return None
    return part, np.repeat(each, room).astype(np.int64)


def _morton(y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each point along a Z-shaped curve: its bits are those of y and x in turn."""
    found = np.zeros(y.shape, np.int64)
    for bit in range(16):
        found |= ((y >> bit) & 1) << (2 * bit + 1) | ((x >> bit) & 1) << (2 * bit)
    return found


def _runs(seat: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the part of each neuron and the seat of each part, where each core's neurons are cut into runs of equal length but the last."""
    held = int(counts.max())
    length = max(1, min(-(-len(seat) // _MOST), held // _IN_A_CORE))
    new = np.flatnonzero(np.diff(seat, prepend=-1))
    inside = np.arange(len(seat)) - np.repeat(new, np.diff(np.append(new, len(seat))))
    begins = inside % length == 0
    return np.cumsum(begins) - 1, seat[begins]


def puzzle_of(
    chip: Deployment, parts: CutParts, spikes: Mapping[str, NDArray[np.int64]], limit: NDArray[np.int64], distance: NDArray[np.int64],
    features: NDArray[np.float64], linear: NDArray[np.float64], square: NDArray[np.float64],
) -> Puzzle:  # fmt: skip
    """Return what the search works on.

    Args:
        chip: the healthy chip.
        parts: how it is cut.
        spikes: population → int64 [n], spikes of each neuron over the samples that traffic is counted on.
        limit: int64 [4], of a core: neurons, synapse bits, in-axons, out-axons.
        distance: int64 [P, P], hops between sites.
        features: float64 [A, F]; see :class:`Puzzle`.
        linear: float64 [F].
        square: float64 [F].
    """
    groups: list[tuple[NDArray[np.int64], ...]] = []
    rows: list[tuple[NDArray[np.int64], ...]] = []
    known = 0
    for connection in chip.connections:
        made, ends = _groups(chip, connection, parts, spikes[connection.source], int(limit[0]), known)
        groups.append(made)
        rows.append(ends)
        known += len(made[0])
        if shares_kernels(connection, chip.profile):
            made, ends = _kernels(chip, connection, parts, known)
            groups.append(made)
            rows.append(ends)
            known += len(made[0])
    columns = [np.concatenate(each) for each in zip(*groups, strict=True)] or [np.empty(0, np.int64)] * 5
    order = np.argsort(columns[0], kind="stable")
    place = np.empty(known, np.int64)
    place[order] = np.arange(known)
    owner, sources, fired, axons, bits = (each[order] for each in columns)
    group, end, count = (np.concatenate(each) for each in zip(*rows, strict=True)) if rows else (np.empty(0, np.int64),) * 3
    by_end = np.argsort(end, kind="stable")
    total = len(parts.size)
    synapse = chip.profile.synapse
    return Puzzle(
        parts.size, np.searchsorted(owner, np.arange(total + 1)), np.searchsorted(end[by_end], np.arange(total + 1)), place[group[by_end]],
        count[by_end], owner, sources, fired, axons, bits, synapse.block_header_bits.value or 0, synapse.word_bits.value or 1,
        synapse.block_synapses.value or 0, limit, distance, features, linear, square,
    )  # fmt: skip


def _groups(
    chip: Deployment, connection: ChipConnection, parts: CutParts, spikes: NDArray[np.int64], neurons: int, known: int
) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    """Return (owner, sources, spikes, entries, bits) of a connection's groups, and (group, part, synapses) of what they reach."""
    synapses, own, ends = connection.synapses, parts.of[connection.source], parts.of[connection.target]
    rng = generator("groups of rows")
    keys = np.zeros((2, len(own)), np.uint64)
    reached: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []
    for end in np.unique(ends).tolist():
        counts = fan_out(synapses, ends == end)
        sources = np.flatnonzero(counts)
        counts = counts[sources]
        keys[:, sources] += counts.astype(np.uint64) * rng.integers(0, 1 << 63, (2, 1), np.uint64)
        reached.append((end, sources, counts))
    whose = np.stack([own.astype(np.uint64), *keys])  # sources of equal sums reach the same parts: 128 bits tell them apart
    _, first, group, sources_of = np.unique(whose, axis=1, return_index=True, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    fired = np.zeros(len(first), np.int64)
    np.add.at(fired, group, spikes)
    shown = np.full(len(own), -1, np.int64)
    shown[first] = np.arange(len(first))
    triples = [(shown[sources], np.full(len(sources), end), counts) for end, sources, counts in reached]
    pieces = [np.concatenate(each) for each in zip(*triples, strict=True)]
    kept = pieces[0] >= 0
    each = 0 if shares_kernels(connection, chip.profile) else synapse_bits(connection, chip.profile, False, min(neurons, len(ends)))
    made = (
        own[first], sources_of.astype(np.int64), fired, np.full(len(first), entries(connection, chip.profile, False)), np.full(len(first), each),
    )  # fmt: skip
    return made, (known + pieces[0][kept], pieces[1][kept], pieces[2][kept])


def _kernels(
    chip: Deployment, connection: ChipConnection, parts: CutParts, known: int
) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    """Return the same for the kernels that the neurons of a core share: one a channel, which a core stores if it holds any part of it."""
    assert isinstance(connection.synapses, Conv)
    channels, words = len(connection.synapses.weight), math.prod(connection.synapses.weight.shape[1:])
    row = int(row_bits(np.asarray(words), synapse_bits(connection, chip.profile), chip.profile))
    ends = parts.of[connection.target]
    pairs = np.unique(np.stack([np.arange(len(ends)) // (len(ends) // channels), ends]), axis=1)
    one, none = np.ones(channels, np.int64), np.zeros(channels, np.int64)
    return (-one, one, none, none, np.full(channels, -row)), (known + pairs[0], pairs[1], np.ones(pairs.shape[1], np.int64))
