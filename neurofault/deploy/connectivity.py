"""Who reaches whom, by strided slices of whole populations: convolutions are counted without expanding their synapses.

A synapse exists where the layer's shape puts one, whatever its weight: the chip stores and visits zeros too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neurofault.network import Conv, Dense, Synapses


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


def conv_weights(conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: the healthy weight from each source to each target neuron, 0 where the kernel does not join them."""
    c_out, height, width = conv.out_shape
    channel, y, x = np.unravel_index(sources, conv.in_shape)
    to_channel, to_y, to_x = np.unravel_index(targets, (c_out, height, width))
    taps_y, rest_y = np.divmod(y + conv.padding[0] - to_y * conv.stride[0], conv.dilation[0])
    taps_x, rest_x = np.divmod(x + conv.padding[1] - to_x * conv.stride[1], conv.dilation[1])
    per_group, _, k_h, k_w = conv.weight.shape[1], *conv.weight.shape[1:]
    joined = (rest_y == 0) & (rest_x == 0) & (channel // per_group == to_channel // (c_out // conv.groups))
    joined &= (taps_y >= 0) & (taps_y < k_h) & (taps_x >= 0) & (taps_x < k_w)
    found = conv.weight[to_channel, channel % per_group, np.where(joined, taps_y, 0), np.where(joined, taps_x, 0)].astype(np.int64)
    return np.where(joined, found, 0)
