"""Where a fault can sit: populations by name, sites in the order in which the chip stores them, and how some of them are chosen.

All sites of a kind form one index space, cut into blocks: one block is what a population, or a connection into it, keeps on one core. A
site's number is turned into a neuron or a synapse by arithmetic inside its block, so no list of all sites is ever made.

A core stores synapses population by population, in the order of the deployment; of a population connection by connection, in the order
of the graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError, nearest
from neurofault.faults.pooled import pool_of, window_shape, windows
from neurofault.faults.region import Region
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.connectivity import fan_in, fan_out, weights_and_delays
from neurofault.streams import stream_key


def populations_named(deployment: Deployment, name: str) -> tuple[str, ...]:
    """Return the populations that the key ``layer`` of a fault means, in the order of the deployment.

    Args:
        deployment: the chip.
        name: a population's own name; else ``any``, ``input`` (all inputs), ``output`` (the readout), ``hidden`` (all that are neither),
            ``hidden1``, ``hidden2`` … (one of these, counted).

    Raises:
        FaultError: no such population, or a network without hidden ones.
    """
    names, inputs, readout = [one.name for one in deployment.populations], deployment.inputs, deployment.readout.population
    hidden = [one for one in names if one not in inputs and one != readout]
    numbered = re.fullmatch(r"hidden([1-9][0-9]{0,5})", name)
    if name in names:
        return (name,)
    if numbered and int(numbered[1]) <= len(hidden):
        return (hidden[int(numbered[1]) - 1],)
    match name:
        case "any":
            return tuple(names)
        case "input" if inputs:
            return inputs
        case "output":
            return (readout,)
        case "hidden" if hidden:
            return tuple(hidden)
        case "hidden":
            raise FaultError(f"layer 'hidden': the network has no hidden layer; layers: {', '.join(names)}, any")
    roles = ["any", *(["input"] if inputs else []), "output", *(["hidden"] if hidden else [])]
    allowed = list(dict.fromkeys([*names, *roles, *(f"hidden{number}" for number in range(1, len(hidden) + 1))]))
    raise FaultError(f"no layer {name!r}{nearest(name, allowed)}; layers: {', '.join(allowed)}")


def connections_into(deployment: Deployment, populations: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return the connections into some populations (None: all) in the order in which a core stores their synapses."""
    names = [one.name for one in deployment.populations] if populations is None else populations
    return tuple(connection.name for name in names for connection in deployment.into(name))


def called(deployment: Deployment, connection: str) -> str:
    """Return what a connection is called in messages: ``layer 'hidden1'`` where it is all that drives the population of its name."""
    alone = [one.name for one in deployment.into(deployment.connection(connection).target)] == [connection]
    return f"{'layer' if alone and connection == deployment.connection(connection).target else 'connection'} {connection!r}"


def key_of(deployment: Deployment, key: int, connection: str) -> int:
    """Return the key of a connection's part of a stream whose numbers are counted by neurons and cores only.

    It is ``key`` itself for the first connection into a population (in a chain: the only one).
    """
    first = deployment.into(deployment.connection(connection).target)[0].name
    return key if connection == first else stream_key(key, connection)


@dataclass(frozen=True, eq=False)
class Block:
    """The sites that a population, or a connection into it, keeps on one core.

    Attributes:
        population: its name (of synapses and axon entries: of the target); empty where the site is no part of the network.
        core: id of the core.
        neurons: int64, the population's neurons on this core, sorted.
        size: number of sites.
        first: number of the first of them in the core, where only some of its memory is meant.
        connection: whose synapses or axon entries the sites are; empty: they are no such thing.
    """

    population: str
    core: int
    neurons: NDArray[np.int64]
    size: int
    first: int = 0
    connection: str = ""


def neurons_by_core(deployment: Deployment, population: str) -> dict[int, NDArray[np.int64]]:
    """Return core id → sorted neurons of a population, in the order of the ids."""
    core_of = deployment.placement.core_of[population]
    order = np.argsort(core_of, kind="stable").astype(np.int64)
    cores, starts = np.unique(core_of[order], return_index=True)
    return dict(zip(map(int, cores), np.split(order, starts[1:]), strict=True))


def neuron_blocks(deployment: Deployment, populations: Sequence[str]) -> list[Block]:
    """Return the blocks of all neurons of some populations."""
    return [
        Block(name, core, neurons, len(neurons))
        for name in populations
        for core, neurons in neurons_by_core(deployment, name).items()
    ]


def core_blocks(deployment: Deployment, populations: Sequence[str]) -> list[Block]:
    """Return one block of one site for each core that holds neurons of some populations (the first of them is named)."""
    first: dict[int, Block] = {}
    for block in neuron_blocks(deployment, populations):
        first.setdefault(block.core, replace(block, size=1))
    return [first[core] for core in sorted(first)]


def target_blocks(deployment: Deployment, connections: Sequence[str]) -> list[Block]:
    """Return for each connection and each core the target neurons there; the sites are these neurons."""
    return [
        replace(block, connection=name)
        for name in connections
        for block in neuron_blocks(deployment, [deployment.connection(name).target])
    ]


def synapse_blocks(deployment: Deployment, connections: Sequence[str]) -> list[Block]:
    """Return the blocks of all stored synapses of some connections.

    A dense connection stores n_in synapses for each target. A convolution stores one kernel for each output channel on the core
    where the profile says that a core shares kernels, else every synapse that it expands to (none reads the padding). Where the chip pools
    windows of its source, it stores one for a window (:mod:`neurofault.faults.pooled`).
    """
    blocks = []
    for block in target_blocks(deployment, connections):
        synapses = deployment.connection(block.connection).synapses
        match synapses:
            case Conv() if shares_kernels(deployment):
                size = len(_channels(synapses, block.neurons)) * _kernel_words(synapses)
            case Conv():
                size = int(_taps_of(synapses, block.neurons)[0].sum())
            case Dense():
                size = len(block.neurons) * synapses.n_in
            case Sparse():
                size = int(np.diff(synapses.starts)[block.neurons].sum())
        blocks.append(replace(block, size=size // pool_of(deployment, block.connection) ** 2))
    return blocks


def row_starts(deployment: Deployment, block: Block) -> NDArray[np.int64]:
    """Return int64 [rows + 1]: where the rows of a whole block of stored synapses begin, and where the last ends.

    A row is an axon's synapses on this core (dense, sparse), a channel's kernel (shared), or all of the block (another convolution).
    """
    synapses, window = deployment.connection(block.connection).synapses, pool_of(deployment, block.connection) ** 2
    match synapses:
        case Dense():
            return np.arange(synapses.n_in // window + 1, dtype=np.int64) * len(block.neurons)
        case Sparse():
            counts = np.bincount(_axon_by_axon(synapses, block.neurons)[0], minlength=synapses.n_in)
            return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        case Conv() if shares_kernels(deployment):
            words = _kernel_words(synapses) // window
            return np.arange(block.size // words + 1, dtype=np.int64) * words
        case Conv():
            return np.array([0, block.size], np.int64)


def runs_of(deployment: Deployment, block: Block, size: int) -> Block:
    """Return the block whose sites are runs of up to ``size`` consecutive synapses of one row (memory words, headers)."""
    return replace(block, size=int((-(-np.diff(row_starts(deployment, block)) // size)).sum()))


def run_ranges(
    deployment: Deployment, block: Block, size: int, runs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stored synapses (first, end), int64 [k] each, of some runs; ``block`` is the whole one of :func:`synapse_blocks`."""
    starts = row_starts(deployment, block)
    before = np.concatenate([[0], np.cumsum(-(-np.diff(starts) // size))])
    row = np.searchsorted(before, runs, "right") - 1
    first = starts[row] + (runs - before[row]) * size
    return first, np.minimum(first + size, starts[row + 1])


def first_runs(deployment: Deployment, size: Callable[[str], int]) -> dict[tuple[str, int], int]:
    """Return (connection, core) → number of its first run in that core, where all that it stores is counted in one row.

    Args:
        deployment: the chip.
        size: connection → synapses of a run.
    """
    used: dict[int, int] = {}
    first: dict[tuple[str, int], int] = {}
    for block in synapse_blocks(deployment, connections_into(deployment)):
        first[block.connection, block.core] = used.get(block.core, 0)
        used[block.core] = used.get(block.core, 0) + runs_of(deployment, block, size(block.connection)).size
    return first


def word_width(deployment: Deployment) -> int:
    """Return the bits of a memory word; refuse a chip of which they are not known."""
    width, chip = deployment.profile.synapse.word_bits.value, deployment.profile.name
    if width is None:
        raise FaultError(
            f"chip {chip!r}: how wide a memory word is is not known (synapse.word_bits); break single bits or synapses"
        )
    return width


def word_synapses(deployment: Deployment, connection: str) -> int:
    """Return how many stored weights of a connection a memory word holds; refuse a chip whose words are not known."""
    return max(1, word_width(deployment) // deployment.connection(connection).weight_bits)


def in_words(deployment: Deployment, blocks: Sequence[Block], place: Region | None) -> list[Block]:
    """Return the parts of synapse blocks that lie in some memory words of some cores."""
    if place is None:
        return list(blocks)
    before, parts = first_runs(deployment, lambda connection: word_synapses(deployment, connection)), []
    for block in blocks:
        size = word_synapses(deployment, block.connection)
        own, words = before[block.connection, block.core], runs_of(deployment, block, size).size
        for low, high in place.get(block.core, ()):
            low, high = max(low - own, 0), min(high - own, words)
            if low < high:
                first, end = run_ranges(deployment, block, size, np.array([low, high - 1]))
                parts.append(replace(block, first=int(first[0]), size=int(end[1] - first[0])))
    return parts


def axon_blocks(deployment: Deployment, connections: Sequence[str]) -> list[Block]:
    """Return the axon table entries (source neuron → core) of some connections; sites are places in :func:`axon_sources`."""
    return [replace(block, size=len(axon_sources(deployment, block))) for block in target_blocks(deployment, connections)]


def axon_sources(deployment: Deployment, block: Block) -> NDArray[np.int64]:
    """Return the neurons that a connection lets send to a core's neurons of its target, sorted."""
    synapses = deployment.connection(block.connection).synapses
    targets = np.zeros(synapses.n_out, bool)
    targets[block.neurons] = True
    return np.flatnonzero(fan_out(synapses, targets)).astype(np.int64)


def weights_at(
    deployment: Deployment, connection: str, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64 [k]: healthy stored weights, 0 where there is no synapse."""
    return weights_and_delays(deployment.connection(connection).synapses, sources, targets)[0]


def kernel_word(conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return whether each (source, target) pair has a synapse, and its word in the flattened kernel (0 if not)."""
    inside = (sources >= 0) & (sources < conv.n_in) & (targets >= 0) & (targets < conv.n_out)
    channel, row, column = np.unravel_index(np.where(inside, sources, 0), conv.in_shape)
    channel_out, y, x = np.unravel_index(np.where(inside, targets, 0), conv.out_shape)
    inside &= channel // conv.weight.shape[1] == channel_out // (conv.weight.shape[0] // conv.groups)
    found = []
    for axis, (position, out) in enumerate(((row, y), (column, x))):
        tap, rest = np.divmod(position - out * conv.stride[axis] + conv.padding[axis], conv.dilation[axis])
        inside &= (rest == 0) & (tap >= 0) & (tap < conv.weight.shape[2 + axis])
        found.append(tap)
    index = (channel_out, channel % conv.weight.shape[1], *found)
    return inside, np.ravel_multi_index(tuple(np.where(inside, part, 0) for part in index), conv.weight.shape).astype(np.int64)


def shares_kernels(deployment: Deployment) -> bool:
    """Return whether the positions of a convolution in one core read the same stored kernel (unknown: no)."""
    return bool(deployment.profile.synapse.shared_kernels.value)


def _kernel_words(conv: Conv) -> int:
    return int(np.prod(conv.weight.shape[1:]))


def _channels(conv: Conv, neurons: NDArray[np.int64]) -> NDArray[np.int64]:
    """Output channels of which at least one position is among ``neurons``, sorted."""
    _, height, width = conv.out_shape
    return np.unique(neurons // (height * width))


def _axis_taps(conv: Conv, axis: int, position: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First valid kernel row (column) of output positions, and how many are valid."""
    size, kernel = conv.in_shape[1 + axis], conv.weight.shape[2 + axis]
    stride, padding, dilation = conv.stride[axis], conv.padding[axis], conv.dilation[axis]
    start = position * stride - padding
    first = np.maximum(0, -(start // dilation))
    stop = np.minimum(kernel, (size - 1 - start) // dilation + 1)
    return first, np.maximum(0, stop - first)


def _taps_of(conv: Conv, neurons: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """For each output neuron: number of synapses, first kernel row, rows, first kernel column, columns."""
    _, height, width = conv.out_shape
    row, rows = _axis_taps(conv, 0, neurons // width % height)
    column, columns = _axis_taps(conv, 1, neurons % width)
    return conv.weight.shape[1] * rows * columns, row, rows, column, columns


def _sources(
    conv: Conv, neurons: NDArray[np.int64], word: tuple[NDArray[np.int64], ...]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Source neuron that each output neuron reads through a kernel word (channel, row, column), and whether it exists."""
    channel_in, row, column = word
    _, out_height, out_width = conv.out_shape
    _, height, width = conv.in_shape
    y = neurons // out_width % out_height * conv.stride[0] - conv.padding[0] + row * conv.dilation[0]
    x = neurons % out_width * conv.stride[1] - conv.padding[1] + column * conv.dilation[1]
    group = neurons // (out_height * out_width) // (conv.weight.shape[0] // conv.groups)
    channel = group * conv.weight.shape[1] + channel_in
    return (channel * height + y) * width + x, (y >= 0) & (y < height) & (x >= 0) & (x < width)


def _axon_by_axon(synapses: Sparse, neurons: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sources and targets of the synapses into some neurons, sorted by source, then target."""
    counts = np.diff(synapses.starts)[neurons]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    sources, targets = synapses.sources[np.repeat(synapses.starts[neurons], counts) + within], np.repeat(neurons, counts)
    order = np.argsort(sources, kind="stable")
    return sources[order], targets[order]


def synapses_at(
    deployment: Deployment, block: Block, sites: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the synapses that read the stored ones at ``sites`` of a block.

    Args:
        deployment: the chip.
        block: from :func:`synapse_blocks`.
        sites: int64 [k], numbers inside the block. Dense and sparse connections are stored axon by axon (all targets of the first source,
            then of the second …), shared kernels channel by channel, other convolutions neuron by neuron.

    Returns:
        (which, sources, targets), int64 [m]: synapse i reads stored synapse ``sites[which[i]]``; m = k unless kernels are shared, or sources pooled.
    """
    pool = pool_of(deployment, block.connection)
    if pool == 1:
        return _read_by(deployment, block, sites)
    each = windows(window_shape(deployment, block.connection), pool)
    row, place = (sites // len(each), sites % len(each))
    if isinstance(deployment.connection(block.connection).synapses, Dense):  # window by window, then neuron by neuron
        place, row = np.divmod(sites, len(block.neurons))
        full = each[place] * len(block.neurons) + row[:, None]
    else:
        full = row[:, None] * each.size + each[place]
    which, sources, targets = _read_by(deployment, block, full.reshape(-1))
    return which // (pool * pool), sources, targets


def _read_by(
    deployment: Deployment, block: Block, sites: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return what :func:`synapses_at` does, of sites as they would be without a pool."""
    synapses = deployment.connection(block.connection).synapses
    if isinstance(synapses, Dense):
        return np.arange(len(sites)), sites // len(block.neurons), block.neurons[sites % len(block.neurons)]
    if isinstance(synapses, Sparse):
        sources, targets = _axon_by_axon(synapses, block.neurons)
        return np.arange(len(sites)), sources[sites], targets[sites]
    shape = synapses.weight.shape[1:]
    if shares_kernels(deployment):
        channel, word = np.divmod(sites, _kernel_words(synapses))
        _, height, width = synapses.out_shape
        channel_of = block.neurons // (height * width)
        low = np.searchsorted(channel_of, _channels(synapses, block.neurons)[channel], "left")
        high = np.searchsorted(channel_of, _channels(synapses, block.neurons)[channel], "right")
        which = np.repeat(np.arange(len(sites)), high - low)
        within = np.arange(len(which)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
        targets = block.neurons[np.repeat(low, high - low) + within]
        sources, exists = _sources(synapses, targets, tuple(np.unravel_index(word[which], shape)))
        return which[exists], sources[exists], targets[exists]
    number, row, rows, column, columns = _taps_of(synapses, block.neurons)
    ends = np.cumsum(number)
    neuron = np.searchsorted(ends, sites, "right")
    rest = sites - (ends - number)[neuron]
    area = rows[neuron] * columns[neuron]
    inner = rest % area
    taps = (rest // area, row[neuron] + inner // columns[neuron], column[neuron] + inner % columns[neuron])
    targets = block.neurons[neuron]
    return np.arange(len(sites)), _sources(synapses, targets, taps)[0], targets


def stored_synapses(deployment: Deployment, connection: str, neurons: NDArray[np.int64]) -> int:
    """Return how many stored synapses serve no target outside ``neurons`` (all those on some cores)."""
    own = deployment.connection(connection)
    if isinstance(own.synapses, Conv) and shares_kernels(deployment):
        cores = np.unique(deployment.placement.core_of[own.target][neurons])
        return sum(block.size for block in synapse_blocks(deployment, [connection]) if block.core in cores)
    return int(fan_in(own.synapses)[neurons].sum()) // pool_of(deployment, connection) ** 2
