"""Who reaches whom, by strided slices of whole populations: convolutions are counted without expanding their synapses.

A synapse exists where the layer's shape puts one, whatever its weight: the chip stores and visits zeros too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.synapses import Conv, Dense, Sparse, Synapses


def taps(conv: Conv) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield each kernel position with the outputs that use it and the inputs that they read through it.

    Positions that fall wholly into the padding are left out.

    Yields:
        ``(ky, kx, (out_rows, out_columns), (in_rows, in_columns))``; the slices select equally many rows and columns.
    """
    _, out_height, out_width = conv.out_shape
    for ky in range(conv.weight.shape[2]):
        rows = _axis(conv, 0, ky, out_height)
        for kx in range(conv.weight.shape[3]):
            columns = _axis(conv, 1, kx, out_width)
            if rows is not None and columns is not None:
                yield ky, kx, (rows[0], columns[0]), (rows[1], columns[1])


def _axis(conv: Conv, axis: int, tap: int, out_size: int) -> tuple[slice, slice] | None:
    """Outputs and inputs along one axis that a kernel row or column joins: input = output·stride + offset."""
    stride, size = conv.stride[axis], conv.in_shape[1 + axis]
    offset = tap * conv.dilation[axis] - conv.padding[axis]
    first = max(0, -(offset // stride))
    stop = min(out_size, (size - 1 - offset) // stride + 1)
    if first >= stop:
        return None
    return slice(first, stop), slice(first * stride + offset, (stop - 1) * stride + offset + 1, stride)


def fan_out(synapses: Synapses, targets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count for each source neuron how many of the chosen targets it reaches.

    Args:
        synapses: of the target layer.
        targets: bool [n_out], the chosen targets, e.g. those on one core.

    Returns:
        int64 [n_in].
    """
    match synapses:
        case Dense():
            return np.full(synapses.n_in, np.count_nonzero(targets), np.int64)
        case Sparse():
            return np.bincount(synapses.sources[targets[synapses.targets]], minlength=synapses.n_in).astype(np.int64)
        case Conv(groups=groups, in_shape=(channels, height, width)):
            per_group = targets.reshape(groups, -1, *synapses.out_shape[1:]).sum(axis=1, dtype=np.int64)
            reached = np.zeros((groups, height, width), np.int64)
            for _, _, (out_rows, out_columns), (in_rows, in_columns) in taps(synapses):
                reached[:, in_rows, in_columns] += per_group[:, out_rows, out_columns]
            return np.repeat(reached, channels // groups, axis=0).reshape(-1)


def arrivals(synapses: Synapses, spikes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count for each target neuron the spikes that arrive at its synapses (with all ones: its fan-in).

    Args:
        synapses: of the target layer.
        spikes: [n_in], spikes of each source neuron, at least 0.

    Returns:
        int64 [n_out].
    """
    match synapses:
        case Dense():
            return np.full(synapses.n_out, spikes.sum(dtype=np.int64), np.int64)
        case Sparse():
            out = np.zeros(synapses.n_out, np.int64)
            np.add.at(out, synapses.targets, spikes[synapses.sources].astype(np.int64))
            return out
        case Conv(groups=groups, in_shape=in_shape):
            per_group = spikes.reshape(groups, -1, *in_shape[1:]).sum(axis=1, dtype=np.int64)
            channels, *size = synapses.out_shape
            arrived = np.zeros((groups, *size), np.int64)
            for _, _, (out_rows, out_columns), (in_rows, in_columns) in taps(synapses):
                arrived[:, out_rows, out_columns] += per_group[:, in_rows, in_columns]
            return np.repeat(arrived, channels // groups, axis=0).reshape(-1)


def fan_in(synapses: Synapses) -> NDArray[np.int64]:
    """Return int64 [n_out]: how many synapses end at each target neuron."""
    return arrivals(synapses, np.ones(synapses.n_in, np.int64))


def weights_and_delays(
    synapses: Synapses, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return int64 [k] each: healthy weight and extra delay from each source to each target neuron, 0 where no synapse joins them."""
    place = places(synapses, sources, targets)
    joined = place >= 0
    at = np.where(joined, place, 0)
    delay = np.zeros(place.shape, np.int64)
    if not synapses.weight.size:
        return delay, delay
    weights = np.where(joined, synapses.weight.reshape(-1)[at].astype(np.int64), 0)
    if synapses.delay is not None:
        delay = np.where(joined, synapses.delay.reshape(-1)[at].astype(np.int64), 0)
    return weights, delay


def places(synapses: Synapses, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: which of the stored weights (flattened) joins each pair of neurons; −1: none does."""
    match synapses:
        case Dense():
            return np.asarray(targets * synapses.n_in + sources, np.int64)
        case Sparse():
            keys = synapses.targets * synapses.n_in + synapses.sources
            wanted = targets * synapses.n_in + sources
            found = np.searchsorted(keys, wanted)
            there = found < keys.size
            there[there] = keys[found[there]] == wanted[there]
            return np.where(there, found, -1).astype(np.int64)
        case Conv() as conv:
            return _kernel_places(conv, sources, targets)


def _kernel_places(conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    c_out, height, width = conv.out_shape
    channel, y, x = np.unravel_index(sources, conv.in_shape)
    to_channel, to_y, to_x = np.unravel_index(targets, (c_out, height, width))
    taps_y, rest_y = np.divmod(y + conv.padding[0] - to_y * conv.stride[0], conv.dilation[0])
    taps_x, rest_x = np.divmod(x + conv.padding[1] - to_x * conv.stride[1], conv.dilation[1])
    per_group, k_h, k_w = conv.weight.shape[1:]
    joined = (rest_y == 0) & (rest_x == 0) & (channel // per_group == to_channel // (c_out // conv.groups))
    joined &= (taps_y >= 0) & (taps_y < k_h) & (taps_x >= 0) & (taps_x < k_w)
    word = ((to_channel * per_group + channel % per_group) * k_h + np.where(joined, taps_y, 0)) * k_w + np.where(joined, taps_x, 0)
    return np.where(joined, word, -1).astype(np.int64)


def conv_weights(conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: the healthy weight from each source to each target neuron, 0 where the kernel does not join them."""
    return weights_and_delays(conv, sources, targets)[0]
