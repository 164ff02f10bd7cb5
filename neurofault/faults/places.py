"""Where a fault can sit: layers by name, sites in the order in which the chip stores them, and how some of them are chosen.

All sites of a kind form one index space, cut into blocks: one block is what a layer keeps on one core. A site's number is turned
into a neuron or a synapse by arithmetic inside its block, so no list of the population is ever made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import fan_in, fan_out
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import mesh
from neurofault.errors import FaultError, nearest
from neurofault.faults.region import Region
from neurofault.graph import Conv, Dense
from neurofault.streams import binomial_count, permutation_prefix


def layers_named(deployment: Deployment, name: str) -> tuple[int, ...]:
    """Return the indices of the layers that ``name`` stands for.

    Args:
        deployment: the chip.
        name: a layer's own name; else ``any``, ``input``, ``output``, ``hidden`` (all between), ``hidden1``, ``hidden2`` ….

    Raises:
        FaultError: no such layer, or a network without hidden layers.
    """
    names = [layer.name for layer in deployment.layers]
    last = len(names) - 1
    hidden = re.fullmatch(r"hidden([1-9][0-9]{0,5})", name)
    if name in names:
        return (names.index(name),)
    if hidden and int(hidden[1]) < last:
        return (int(hidden[1]),)
    match name:
        case "any":
            return tuple(range(last + 1))
        case "input":
            return (0,)
        case "output":
            return (last,)
        case "hidden" if last > 1:
            return tuple(range(1, last))
        case "hidden":
            raise FaultError(f"layer 'hidden': the network has no hidden layer; layers: {', '.join(names)}, any")
    roles = ["any", "input", "output", *(["hidden"] if last > 1 else []), *(f"hidden{index}" for index in range(1, last))]
    allowed = list(dict.fromkeys([*names, *roles]))
    raise FaultError(f"no layer {name!r}{nearest(name, allowed)}; layers: {', '.join(allowed)}")


@dataclass(frozen=True, eq=False)
class Block:
    """The sites that a layer keeps on one core.

    Attributes:
        layer: index of the layer (for synapses: of the target layer).
        core: id of the core.
        neurons: int64, the layer's neurons on this core, sorted.
        size: number of sites.
        first: number of the first of them in the core, where only some of its memory is meant.
    """

    layer: int
    core: int
    neurons: NDArray[np.int64]
    size: int
    first: int = 0


def neurons_by_core(deployment: Deployment, layer: int) -> dict[int, NDArray[np.int64]]:
    """Return core id → sorted neurons of a layer, in the order of the ids."""
    core_of = deployment.placement.core_of[layer]
    order = np.argsort(core_of, kind="stable").astype(np.int64)
    cores, starts = np.unique(core_of[order], return_index=True)
    return dict(zip(map(int, cores), np.split(order, starts[1:]), strict=True))


def neuron_blocks(deployment: Deployment, layers: Sequence[int]) -> list[Block]:
    """Return the blocks of all neurons of some layers."""
    return [
        Block(layer, core, neurons, len(neurons))
        for layer in layers
        for core, neurons in neurons_by_core(deployment, layer).items()
    ]


def core_blocks(deployment: Deployment, layers: Sequence[int]) -> list[Block]:
    """Return one block of one site for each core that holds neurons of some of the layers (the first of them is named)."""
    first: dict[int, Block] = {}
    for block in neuron_blocks(deployment, layers):
        first.setdefault(block.core, Block(block.layer, block.core, block.neurons, 1))
    return [first[core] for core in sorted(first)]


def synapse_blocks(deployment: Deployment, layers: Sequence[int]) -> list[Block]:
    """Return the blocks of all stored synapses into some layers; layer 0 has none.

    A dense layer stores n_in synapses for each neuron. A convolution stores one kernel for each output channel on the core
    where the profile says that a core shares kernels, else every synapse that it expands to (none reads the padding).
    """
    blocks = []
    for block in neuron_blocks(deployment, [layer for layer in layers if layer > 0]):
        synapses = deployment.layers[block.layer].synapses
        match synapses:
            case Conv() if shares_kernels(deployment):
                size = len(_channels(synapses, block.neurons)) * _kernel_words(synapses)
            case Conv():
                size = int(_taps_of(synapses, block.neurons)[0].sum())
            case Dense():
                size = len(block.neurons) * synapses.n_in
            case _:
                raise AssertionError(f"layer {block.layer} has no synapses")
        blocks.append(Block(block.layer, block.core, block.neurons, size))
    return blocks


def row_length(deployment: Deployment, block: Block) -> int:
    """Return how many stored synapses stand in one row: an axon's on this core (dense), a channel's kernel, or all of the block."""
    synapses = deployment.layers[block.layer].synapses
    if isinstance(synapses, Dense):
        return len(block.neurons)
    assert isinstance(synapses, Conv)
    return _kernel_words(synapses) if shares_kernels(deployment) else block.size


def groups_of(deployment: Deployment, block: Block, size: int) -> Block:
    """Return the block whose sites are runs of up to ``size`` consecutive synapses of one row (memory words, headers)."""
    row = row_length(deployment, block)
    return replace(block, size=block.size // row * -(-row // size))


def group_range(deployment: Deployment, block: Block, size: int, group: int) -> tuple[int, int]:
    """Return the stored synapses (first, end) of a run; ``block`` is the whole one of :func:`synapse_blocks`."""
    length = row_length(deployment, block)
    row, run = divmod(group, -(-length // size))
    return row * length + run * size, row * length + min((run + 1) * size, length)


def word_synapses(deployment: Deployment, layer: int) -> int:
    """Return how many stored weights of a layer a memory word holds (64-bit words where the profile leaves it open)."""
    return max(1, (deployment.profile.synapse.word_bits.value or 64) // deployment.layers[layer].weight_bits)


def in_words(deployment: Deployment, blocks: Sequence[Block], place: Region | None) -> list[Block]:
    """Return the parts of synapse blocks that lie in some memory words of some cores."""
    if place is None:
        return list(blocks)
    parts = []
    for block in blocks:
        size = word_synapses(deployment, block.layer)
        words = groups_of(deployment, block, size).size
        for low, high in place.get(block.core, ()):
            if low < words:
                first, _ = group_range(deployment, block, size, low)
                _, end = group_range(deployment, block, size, min(high, words) - 1)
                parts.append(replace(block, first=first, size=end - first))
    return parts


def axon_blocks(deployment: Deployment, layers: Sequence[int]) -> list[Block]:
    """Return the axon table entries (source neuron → core) into some layers; sites are places in :func:`axon_sources`."""
    return [
        replace(block, size=len(axon_sources(deployment, block)))
        for block in neuron_blocks(deployment, [layer for layer in layers if layer > 0])
    ]


def axon_sources(deployment: Deployment, block: Block) -> NDArray[np.int64]:
    """Return the neurons that send to a core's neurons of a layer, sorted."""
    synapses = deployment.layers[block.layer].synapses
    assert synapses is not None
    targets = np.zeros(synapses.n_out, bool)
    targets[block.neurons] = True
    return np.flatnonzero(fan_out(synapses, targets)).astype(np.int64)


def weights_at(deployment: Deployment, layer: int, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: healthy stored weights, 0 where there is no synapse."""
    synapses = deployment.layers[layer].synapses
    if isinstance(synapses, Dense):
        return np.asarray(synapses.weight[targets, sources], np.int64)
    assert isinstance(synapses, Conv)
    joined, word = kernel_word(synapses, sources, targets)
    return np.where(joined, synapses.weight.reshape(-1)[word].astype(np.int64), 0)


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


def synapses_at(
    deployment: Deployment, block: Block, sites: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the synapses that read the stored ones at ``sites`` of a block.

    Args:
        deployment: the chip.
        block: from :func:`synapse_blocks`.
        sites: int64 [k], numbers inside the block. Dense layers are stored axon by axon (all targets of the first source, then of
            the second …), shared kernels channel by channel, other convolutions neuron by neuron.

    Returns:
        (which, sources, targets), int64 [m]: synapse i reads stored synapse ``sites[which[i]]``; m = k unless kernels are shared.
    """
    synapses = deployment.layers[block.layer].synapses
    if isinstance(synapses, Dense):
        return np.arange(len(sites)), sites // len(block.neurons), block.neurons[sites % len(block.neurons)]
    assert isinstance(synapses, Conv)
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


def stored_synapses(deployment: Deployment, layer: int, neurons: NDArray[np.int64]) -> int:
    """Return how many stored synapses serve no neuron outside ``neurons`` (the whole population of some cores)."""
    synapses = deployment.layers[layer].synapses
    if synapses is None:
        return 0
    if isinstance(synapses, Conv) and shares_kernels(deployment):
        cores = np.unique(deployment.placement.core_of[layer][neurons])
        return sum(block.size for block in synapse_blocks(deployment, [layer]) if block.core in cores)
    return int(fan_in(synapses)[neurons].sum())


def clustered(deployment: Deployment, blocks: Sequence[Block], key: int) -> list[Block]:
    """Return the blocks in the order in which damage spreads: from a keyed core over the mesh, ties in keyed order."""
    cores = np.unique([block.core for block in blocks]).astype(np.int64)
    ranks = permutation_prefix(key, len(cores), len(cores))
    place = np.empty(len(cores), np.int64)
    place[ranks] = np.arange(len(cores))
    distance = mesh(deployment).hops(cores[ranks[:1]], cores).total
    order = {int(core): (int(d), int(p)) for core, d, p in zip(cores, distance, place, strict=True)}
    return sorted(blocks, key=lambda block: (order[block.core], block.layer))


def how_many(count: int | None, rate: float | None, population: int, key: int) -> int:
    """Return the number of sites that a count or a rate asks for."""
    return binomial_count(key, population, float(rate)) if rate is not None else int(count or 0)
