"""Sums of weights over spikes as products of matrices in floating point that are exact, whatever the order in which a device adds.

A device has no product of integers, so weights are held in floats. Each partial sum of a product with spikes, 0 or 1, is a whole number no larger than the sum
of the sizes of all weights into the neuron. Where that stays below 2**24 and each weight fits 8 significant bits, float32 holds all of them, also where the
device rounds factors to TF32 (11 bits) or bfloat16 (8 bits) before it multiplies; else float64 does, below 2**53. Convolutions are unfolded: what libraries
compute for them otherwise (Winograd, Fourier) rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.deploy.deployment import Deployment
from neurofault.engines.wiring import Listed, corrections, dense_weights, edits_of, listed
from neurofault.graph.chip import ChipConnection
from neurofault.graph.schedule import title
from neurofault.graph.synapses import Conv, Dense, Sparse

_FLOAT32 = 1 << 24
_LARGEST_FACTOR = 1 << 8
_MOST_SOURCES = 1 << 22
_VALUES = 1 << 24
"""Values that a product holds at a time."""


@dataclass(frozen=True, eq=False)
class DenseProduct:
    """Dense synapses.

    Attributes:
        matrix: float [n_in, n_out].
    """

    matrix: Tensor

    @property
    def width(self) -> int:
        """Values that a row of spikes takes on the way."""
        return sum(self.matrix.shape)

    def sums(self, spikes: Tensor) -> Tensor:
        """Bool [rows, n_in] → whole numbers in floats [rows, n_out]."""
        return spikes.to(self.matrix.dtype) @ self.matrix


@dataclass(frozen=True, eq=False)
class ListProduct:
    """Single synapses.

    Attributes:
        matrix: float, sparse [n_out, n_in].
    """

    matrix: Tensor

    @property
    def width(self) -> int:
        """Values that a row of spikes takes on the way."""
        return sum(self.matrix.shape)

    def sums(self, spikes: Tensor) -> Tensor:
        """Bool [rows, n_in] → whole numbers in floats [rows, n_out]."""
        sums: Tensor = torch.sparse.mm(self.matrix, spikes.T.to(self.matrix.dtype))
        return sums.T


@dataclass(frozen=True, eq=False)
class ConvProduct:
    """A convolution.

    Attributes:
        kernel: float [groups, c_out / groups, words of a target].
        conv: its geometry.
    """

    kernel: Tensor
    conv: Conv

    @property
    def width(self) -> int:
        """Values that a row of spikes takes on the way."""
        groups, _, words = self.kernel.shape
        _, height, width = self.conv.out_shape
        return self.conv.n_in + groups * words * height * width + self.conv.n_out

    def sums(self, spikes: Tensor) -> Tensor:
        """Bool [rows, n_in] → whole numbers in floats [rows, n_out]."""
        conv = self.conv
        columns = torch.nn.functional.unfold(
            spikes.to(self.kernel.dtype).reshape(-1, *conv.in_shape),
            conv.weight.shape[2:],
            dilation=conv.dilation,
            padding=conv.padding,
            stride=conv.stride,
        )
        columns = columns.reshape(len(spikes), len(self.kernel), -1, columns.shape[-1])
        return (self.kernel @ columns).reshape(len(spikes), -1)


Product = DenseProduct | ListProduct | ConvProduct


@dataclass(frozen=True, eq=False)
class ConnectionSums:
    """How the spikes that come over one connection become a drive, permanent damage applied.

    Attributes:
        source: the population that sends them.
        exponent: by which each sum is shifted: left, right (floor) if negative.
        products: how many of the target's steps after the source's a spike arrives (lag and delay), and what is added up before the shift.
    """

    source: str
    exponent: int
    products: tuple[tuple[int, tuple[Product, ...]], ...]

    def drive(self, products: tuple[Product, ...], spikes: Tensor) -> Tensor:
        """Bool [rows, n_in] → int64 [rows, n_out], modulo 2**32: the shifted sums of one delay."""
        rows = max(1, _VALUES // max(product.width for product in products))
        return torch.cat([self._shifted(products, part) for part in torch.split(spikes, rows)])

    def _shifted(self, products: tuple[Product, ...], spikes: Tensor) -> Tensor:
        total = products[0].sums(spikes).to(torch.int64)
        for product in products[1:]:
            total = total + product.sums(spikes).to(torch.int64)
        return wrap32(total) << self.exponent if self.exponent >= 0 else total >> -self.exponent


def wrap32(value: Tensor) -> Tensor:
    """Return int64 as 32 bits hold them, in two's complement."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def too_large(deployment: Deployment) -> str | None:
    """Return which connection has so many sources that a sum of 32-bit weights might pass 2**53; None: none."""
    for one in deployment.connections:
        if one.synapses.n_in >= _MOST_SOURCES:
            return f"{title(one)}: {one.synapses.n_in:,} source neurons, whose sums may pass 2**53; allowed: fewer than {_MOST_SOURCES:,}"
    return None


def connection_sums(deployment: Deployment, chip: ChipConnection, device: torch.device) -> ConnectionSums:
    """Lay a connection out on a device."""
    edits, lag = edits_of(deployment, chip.name), deployment.schedule.lag[chip.name]
    match chip.synapses:
        case Dense(delay=None) as dense:
            products: dict[int, tuple[Product, ...]] = {0: (_dense(dense_weights(dense, edits), device),)}
        case Conv(delay=None) as conv:
            delta = corrections(conv, edits)
            added = Listed(delta.sources, delta.targets, delta.values.astype(np.int32), np.zeros_like(delta.sources))
            products = {0: (_conv(conv, device), *_lists(added, conv, device).get(0, ()))}
        case Dense() | Conv() | Sparse():
            products = _lists(listed(chip.synapses, edits), chip.synapses, device)
    return ConnectionSums(chip.source, chip.weight_exponent, tuple((lag + delay, each) for delay, each in sorted(products.items())))


def _dense(weights: NDArray[np.int32], device: torch.device) -> DenseProduct:
    sizes = np.abs(weights.astype(np.int64))
    return DenseProduct(torch.from_numpy(weights.T.copy()).to(device, _exact(sizes, int(sizes.sum(axis=1).max(initial=0)))))


def _conv(conv: Conv, device: torch.device) -> ConvProduct:
    weights = conv.weight.astype(np.int64)
    kind = _exact(np.abs(weights), int(np.abs(weights).sum(axis=(1, 2, 3)).max(initial=0)))
    kernel = torch.from_numpy(weights.reshape(conv.groups, conv.out_shape[0] // conv.groups, -1))
    return ConvProduct(kernel.to(device, kind), conv)


def _lists(found: Listed, synapses: Dense | Conv | Sparse, device: torch.device) -> dict[int, tuple[Product, ...]]:
    """Return one product for each delay; synapses of weight 0 are left out."""
    products: dict[int, tuple[Product, ...]] = {}
    for delay in np.unique(found.delays[found.weights != 0]):
        own = (found.weights != 0) & (found.delays == delay)
        targets, weights = found.targets[own], found.weights[own].astype(np.int64)
        sums = np.zeros(synapses.n_out, np.int64)
        np.add.at(sums, targets, np.abs(weights))
        kind = _exact(np.abs(weights), int(sums.max(initial=0)))
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([targets, found.sources[own]])), torch.from_numpy(weights).to(kind),
            (synapses.n_out, synapses.n_in), check_invariants=False,
        )  # fmt: skip
        products[int(delay)] = (ListProduct(matrix.to(device).coalesce()),)
    return products


def _exact(sizes: NDArray[np.int64], largest: int) -> torch.dtype:
    """Return the floating type that holds every sum of weights of these sizes; the largest sum is that of all into one neuron."""
    if largest < _FLOAT32 and int(sizes.max(initial=0)) <= _LARGEST_FACTOR:
        return torch.float32
    return torch.float64  # below 2**53: too_large
