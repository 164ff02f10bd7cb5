"""Linear maps from one population to a part of the next one's drive, in the form that costs the chip least.

A map takes the flat values of its source, [N, n_in] in C, H, W order, to [N, n_out]. :class:`Kernel` and :class:`Matrix` are what a chip stores as a convolution
and as a dense matrix; :class:`Same` and :class:`Pool` wait for a layer that they can be composed into exactly; :class:`OneByOne` is any other, one synapse at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from neurofault.errors import ConversionError
from neurofault.graph import Conv
from neurofault.graph.connectivity import taps

MOST_LISTED = 1 << 25
"""Synapses that a map may have when they are listed one by one."""

Image = tuple[int, int, int]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Same:
    """Each value as it is, or times a gain.

    Attributes:
        size: number of values.
        gain: float64 [size]; None: 1.
    """

    size: int
    gain: Tensor | None = None

    @property
    def n_in(self) -> int:
        """Number of values that it takes."""
        return self.size

    @property
    def n_out(self) -> int:
        """Number of values that it gives."""
        return self.size


@dataclass(frozen=True)
class Pool:
    """An average pooling without padding, times ``gain`` (of a sum pooling: the window's size); ``kernel`` and ``stride`` are (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    in_shape: Image
    gain: float = 1.0

    @property
    def out_shape(self) -> Image:
        """(channels, height, width) of what it gives."""
        high, wide = ((self.in_shape[1 + axis] - self.kernel[axis]) // self.stride[axis] + 1 for axis in (0, 1))
        return self.in_shape[0], high, wide

    @property
    def n_in(self) -> int:
        """Number of values that it takes."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of values that it gives."""
        return math.prod(self.out_shape)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution, fields as in :class:`neurofault.graph.Conv`; ``weight`` is float64 [c_out, c_in/groups, k_h, k_w]."""

    weight: Tensor
    in_shape: Image
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def out_shape(self) -> Image:
        """(channels, height, width) of what it gives."""
        return self.conv(1.0).out_shape

    @property
    def n_in(self) -> int:
        """Number of values that it takes."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of values that it gives."""
        return math.prod(self.out_shape)

    def conv(self, unit: float) -> Conv:
        """Return the synapses, weights times ``unit``."""
        return Conv((self.weight * unit).numpy(), self.in_shape, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A dense matrix: ``weight`` is float64 [n_out, n_in]."""

    weight: Tensor

    @property
    def n_in(self) -> int:
        """Number of values that it takes."""
        return int(self.weight.shape[1])

    @property
    def n_out(self) -> int:
        """Number of values that it gives."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class OneByOne:
    """Synapses one by one: ``rows`` is float64 CSR [n_out, n_in]."""

    rows: sparse.csr_matrix

    @property
    def n_in(self) -> int:
        """Number of values that it takes."""
        return int(self.rows.shape[1])

    @property
    def n_out(self) -> int:
        """Number of values that it gives."""
        return int(self.rows.shape[0])


Map = Same | Pool | Kernel | Matrix | OneByOne


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolutional layer without its bias, before it is known what it stands behind; a 1-D one has height 1."""

    weight: Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def behind(self, in_shape: Image) -> Kernel:
        """Return the map of values of a shape."""
        return Kernel(self.weight, in_shape, self.stride, self.padding, self.dilation, self.groups)


def applied(linear: Map, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what a map makes of values.

    Args:
        linear: the map.
        x: float64 [N, …], n_in values a sample.
        bias: [c_out] of a kernel, [n_out] of a matrix, added inside; None for none.

    Returns:
        float64 [N, n_out], or [N, c_out, height, width] of a kernel.
    """
    match linear:
        case Kernel():
            return functional.conv2d(
                x.reshape(-1, *linear.in_shape), linear.weight, bias, linear.stride, linear.padding, linear.dilation, linear.groups
            )
        case Matrix(weight=weight):
            return functional.linear(x.flatten(1), weight, bias)
        case Pool(kernel=kernel, stride=stride, gain=factor):
            y = factor * functional.avg_pool2d(x.reshape(-1, *linear.in_shape), kernel, stride).flatten(1)
        case Same(gain=gain):
            y = x.flatten(1) if gain is None else x.flatten(1) * gain
        case OneByOne(rows=rows):
            y = torch.from_numpy(np.ascontiguousarray((rows @ x.flatten(1).numpy().T).T))
    return y if bias is None else y + bias


def rows_of(name: str, linear: Map) -> sparse.csr_matrix:
    """Return a map's weights one by one, float64 CSR [n_out, n_in] without zeros.

    Args:
        name: of the layer, for the message.
        linear: the map.

    Raises:
        ConversionError: more than :data:`MOST_LISTED` synapses.
    """
    match linear:
        case OneByOne(rows=rows):
            return rows
        case Same(size=size, gain=gain):
            return sparse.csr_matrix(sparse.diags(np.ones(size) if gain is None else gain.numpy()))
        case Matrix(weight=weight):
            return sparse.csr_matrix(weight.numpy())
        case Pool(in_shape=in_shape):
            return rows_of(name, Kernel(window_of(linear, in_shape[0]), in_shape, linear.stride, groups=in_shape[0]))
        case Kernel():
            return _kernel_rows(name, linear)


def _kernel_rows(name: str, kernel: Kernel) -> sparse.csr_matrix:
    conv = kernel.conv(1.0)
    channels, height, width = conv.out_shape
    weight = np.asarray(conv.weight)
    check_listed(name, height * width * weight.size)
    out = np.arange(conv.n_out).reshape(channels, 1, height, width)
    into = np.arange(conv.n_in).reshape(conv.groups, weight.shape[1], *conv.in_shape[1:]).repeat(channels // conv.groups, axis=0)
    found = []
    for ky, kx, (to_rows, to_columns), (from_rows, from_columns) in taps(conv):
        targets, sources, weights = np.broadcast_arrays(
            out[:, :, to_rows, to_columns], into[:, :, from_rows, from_columns], weight[:, :, ky, kx, None, None]
        )
        found.append((targets.ravel(), sources.ravel(), weights.ravel()))
    targets, sources, weights = (np.concatenate(each) for each in zip(*found, strict=True))
    rows = sparse.csr_matrix((weights, (targets, sources)), shape=(conv.n_out, conv.n_in))
    rows.eliminate_zeros()
    return rows


def check_listed(name: str, synapses: int) -> None:
    """Refuse a layer whose synapses are too many to be listed one by one.

    Raises:
        ConversionError: more than :data:`MOST_LISTED`.
    """
    if synapses > MOST_LISTED:
        raise ConversionError(
            f"layer {name!r}: what lies between it and the neurons in front of it is no convolution or matrix, and as single synapses it would be "
            f"{synapses:,} of them (at most {MOST_LISTED:,}); put a ReLU in front of it, so that there are neurons between the two"
        )


def listed(name: str, before: sparse.csr_matrix, linear: Map) -> Map:
    """Return a map followed by a matrix [n, n_out]; dense if most of it is not zero.

    Args:
        name: of the layer, for the message.
        before: the matrix.
        linear: the map.
    """
    rows = before if isinstance(linear, Same) and linear.gain is None else sparse.csr_matrix(before @ rows_of(name, linear))
    rows.eliminate_zeros()
    check_listed(name, rows.nnz)
    if 2 * rows.nnz > rows.shape[0] * rows.shape[1]:
        return Matrix(torch.from_numpy(rows.toarray()))
    return OneByOne(rows)


def then_linear(name: str, weight: Tensor, linear: Map) -> Map:
    """Return a map followed by a dense matrix [n, n_out]."""
    match linear:
        case Same(gain=gain):
            return Matrix(weight if gain is None else weight * gain)
        case Matrix(weight=inner):
            return Matrix(weight @ inner)
        case Pool():
            channels = linear.in_shape[0]
            spread = functional.conv_transpose2d(
                weight.reshape(-1, *linear.out_shape), window_of(linear, channels), stride=linear.stride, groups=channels
            )
            rest = [linear.in_shape[1 + axis] - spread.shape[2 + axis] for axis in (0, 1)]
            return Matrix(functional.pad(spread, (0, rest[1], 0, rest[0])).flatten(1))
        case Kernel() | OneByOne():
            return Matrix(torch.from_numpy(np.ascontiguousarray((rows_of(name, linear).T @ weight.numpy().T).T)))


def then_convolution(name: str, layer: Convolution, in_shape: Image, linear: Map) -> Map:
    """Return a map followed by a convolution.

    Args:
        name: of the layer, for the message.
        layer: the convolution, of as many channels as the map gives.
        in_shape: of what the map gives, (channels, height, width).
        linear: the map.
    """
    kernel = layer.behind(in_shape)
    match linear:
        case Same(gain=None):
            return kernel
        case Same(gain=gain) if gain is not None and even(gain, in_shape[0]):
            of_channel = gain.reshape(layer.groups, 1, -1, gain.numel() // in_shape[0])[..., :1]
            outputs, inputs, height, width = layer.weight.shape
            scaled = layer.weight.reshape(layer.groups, outputs // layer.groups, inputs, height * width) * of_channel
            return replace(kernel, weight=scaled.reshape(layer.weight.shape))
        case Pool() if linear.out_shape == in_shape and _tiles(linear, layer):
            inputs = layer.weight.shape[1]
            weight = functional.conv_transpose2d(layer.weight, window_of(linear, inputs), stride=linear.stride, groups=inputs)
            stride, padding = ((pair[0] * linear.stride[0], pair[1] * linear.stride[1]) for pair in (layer.stride, layer.padding))
            return Kernel(weight, linear.in_shape, stride, padding, (1, 1), layer.groups)
        case _:
            return listed(name, rows_of(name, kernel), linear)


def then_pool(name: str, pool: Pool, linear: Map) -> Map:
    """Return a map followed by an average pooling."""
    match linear:
        case Same(gain=None):
            return pool
        case Kernel(dilation=(1, 1)) if linear.out_shape == pool.in_shape:
            box = window_of(pool, 1)
            flat = linear.weight.reshape(-1, 1, *linear.weight.shape[2:])
            weight = torch.cat([functional.conv_transpose2d(box, row[None], stride=linear.stride) for row in flat])
            return replace(
                linear,
                weight=weight.reshape(*linear.weight.shape[:2], *weight.shape[2:]),
                stride=(linear.stride[0] * pool.stride[0], linear.stride[1] * pool.stride[1]),
            )
        case _:
            return listed(name, rows_of(name, pool), linear)


def then_gain(name: str, gain: Tensor, channels: int, linear: Map) -> Map:
    """Return a map followed by a gain of each value.

    Args:
        name: of the layer, for the message.
        gain: float64 [n_out].
        channels: that the values have.
        linear: the map.
    """
    match linear:
        case Same(size=size, gain=inner):
            return Same(size, gain if inner is None else gain * inner)
        case Matrix(weight=weight):
            return Matrix(weight * gain.reshape(-1, 1))
        case Kernel(weight=weight) if linear.out_shape[0] == channels and even(gain, channels):
            return replace(linear, weight=weight * gain.reshape(channels, -1)[:, 0].reshape(-1, 1, 1, 1))
        case _:
            return listed(name, sparse.csr_matrix(sparse.diags(gain.numpy())), linear)


def together(one: Map, other: Map) -> Map | None:
    """Return the sum of two maps of one source into the same place; None where it would be no single map of their kind."""
    match one, other:
        case Same(size=size), Same():
            gains = [torch.ones(size, dtype=torch.float64) if each.gain is None else each.gain for each in (one, other)]
            return Same(size, gains[0] + gains[1])
        case Matrix(weight=left), Matrix(weight=right):
            return Matrix(left + right)
        case OneByOne(rows=rows), OneByOne(rows=more):
            return OneByOne(sparse.csr_matrix(rows + more))
        case Kernel(), Kernel() if _geometry(one) == _geometry(other):
            return replace(one, weight=one.weight + other.weight)
        case _:
            return None


def _geometry(kernel: Kernel) -> tuple[object, ...]:
    return kernel.weight.shape, kernel.in_shape, kernel.stride, kernel.padding, kernel.dilation, kernel.groups


def even(values: Tensor, channels: int) -> bool:
    """Return whether each channel has one value, up to rounding."""
    rows = values.reshape(channels, -1)
    return bool(torch.allclose(rows, rows[:, :1].expand_as(rows), rtol=1e-12, atol=0))


def _tiles(pool: Pool, layer: Convolution) -> bool:
    """Return whether a convolution behind an average pooling is one convolution: no dilation, and no padding unless the windows tile."""
    ragged = any((pool.in_shape[1 + a] - pool.kernel[a]) % pool.stride[a] or pool.kernel[a] != pool.stride[a] for a in (0, 1))
    return layer.dilation == (1, 1) and (layer.padding == (0, 0) or not ragged)


def window_of(pool: Pool, channels: int) -> Tensor:
    """Return the depthwise kernel of a pooling, float64 [channels, 1, k_h, k_w]."""
    return torch.full((channels, 1, *pool.kernel), pool.gain / (pool.kernel[0] * pool.kernel[1]), dtype=torch.float64)
