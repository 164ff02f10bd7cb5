"""The synapses of a netx layer: weights, windows and delays as its file says them, in the chip's fields or refused by the layer's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.netx_file import NetxLayer
from neurofault.convert.nir_fields import MAX_NEURONS, MAX_SYNAPSES
from neurofault.errors import ConversionError, DataError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.synapses import MOST_DELAY, SignMode, Stored, Synapses, with_weight
from neurofault.numerals import plural

SIGNS: tuple[SignMode, ...] = ("mixed", "excitatory", "inhibitory")
"""Which signs a field holds, by the number that a file says."""


@dataclass(frozen=True, eq=False)
class Port:
    """Spikes of one population as a layer sees them: ``shape`` is flat behind a flatten."""

    population: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


def matrix(layer: NetxLayer, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the ``weight`` of a dense layer whose neurons have ``shape``, int64 [n_out, n_in] (DataError: another shape)."""
    weight, size = layer.whole("weight", -(1 << 15), 1 << 15), math.prod(shape)
    if weight.ndim > 2 and math.prod(weight.shape[2:]) == 1:
        weight = weight.reshape(weight.shape[:2])
    if weight.ndim == 1 and weight.size % size == 0:
        weight = weight.reshape(size, -1)
    if weight.ndim != 2 or len(weight) != size:
        raise DataError(f"{layer.where}: weight has the shape {weight.shape}; [{size}, inputs] is taken")
    return weight


def synapses_of(
    layer: NetxLayer, before: tuple[Port, ...], delays: Mapping[str, NDArray[np.int64]], shape: tuple[int, ...]
) -> list[tuple[Port, Synapses]]:
    """Return the synapses from each population that a layer sees.

    Args:
        layer: dense, recurrent, conv or pool.
        before: what it sees, in the order in which its weights take them.
        delays: population → int64 [n], axonal delays of what it sends.
        shape: of its neurons.

    Raises:
        DataError, ConversionError: weights, delays and shapes do not fit each other, or cannot be held; the text names the layer.
    """
    if layer.kind in ("dense", "recurrent"):
        return _dense(layer, before, delays, matrix(layer, shape))
    if any(len(port.shape) != 3 for port in before):
        said = ", ".join(str(port.shape) for port in before)
        raise ConversionError(f"{layer.where}: gets the shape {said}; (channels, height, width) is taken")
    return _conv(layer, before, delays, shape)


def _dense(
    layer: NetxLayer, before: tuple[Port, ...], delays: Mapping[str, NDArray[np.int64]], weight: NDArray[np.int64]
) -> list[tuple[Port, Synapses]]:
    sizes = [port.size for port in before]
    if weight.shape[1] != sum(sizes):
        raise ConversionError(
            f"{layer.where}: weight takes {plural(weight.shape[1], 'input')}, but {' + '.join(map(str, sizes))} come"
        )
    own = layer.whole("delay", 0, MOST_DELAY) if np.shape(layer.fields.get("delay", 0)) == weight.shape else None
    joined, at = [], 0
    for port in before:
        part = slice(at, at + port.size)
        delay = _sum(None if own is None else own[:, part], delays.get(port.population))
        if delay is not None:
            _check_delay(layer, delay := np.array(np.broadcast_to(delay, (len(weight), port.size))))
        joined.append((port, Dense(np.ascontiguousarray(weight[:, part]), delay)))
        at += port.size
    return joined  # type: ignore[return-value]  # a list of the union's members


def _conv(
    layer: NetxLayer, before: tuple[Port, ...], delays: Mapping[str, NDArray[np.int64]], shape: tuple[int, ...]
) -> list[tuple[Port, Synapses]]:
    weight = layer.whole("weight", -(1 << 15), 1 << 15)
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    if weight.ndim != 4:
        raise DataError(f"{layer.where}: weight has the shape {weight.shape}; [c_out, c_in/groups, height, width] is taken")
    channels = sum(port.shape[0] for port in before)
    stride, padding, dilation = layer.pair("stride", 1, 1), layer.pair("padding", 0, 0), layer.pair("dilation", 1, 1)
    groups = layer.one("groups", 1, MAX_NEURONS, 1)
    own = layer.whole("delay", 0, MOST_DELAY) if np.shape(layer.fields.get("delay", 0))[:4] == weight.shape else None
    if layer.kind == "pool":
        weight, groups = _window(layer, weight, before, stride, padding, dilation), channels
        own = None
    if weight.shape[1] * groups != channels or len(weight) % groups or (groups > 1 and len(before) > 1):
        raise ConversionError(
            f"{layer.where}: weight {weight.shape} in {plural(groups, 'group')} takes {weight.shape[1] * groups} channels, but {channels} come"
            + (" from several layers" if len(before) > 1 else "")
        )
    joined: list[tuple[Port, Synapses]] = []
    at = 0
    for port in before:
        part = slice(at, at + port.shape[0]) if groups == 1 else slice(None)
        channels, height, width = port.shape
        kernel = np.ascontiguousarray(weight[:, part])
        delay = _sum(None if own is None else own.reshape(weight.shape)[:, part], _by_channel(layer, port, delays, kernel, groups))
        if delay is not None:
            _check_delay(layer, delay := np.array(np.broadcast_to(delay, kernel.shape)))
        conv = Conv(kernel, (channels, height, width), stride, padding, dilation, groups, delay)
        if conv.out_shape != shape:
            raise ConversionError(f"{layer.where}: its weights give the shape {conv.out_shape}, but it says {shape}")
        if conv.n_out * kernel[0].size > MAX_SYNAPSES:
            raise ConversionError(f"{layer.where}: {conv.n_out * kernel[0].size:,} synapses; at most {MAX_SYNAPSES:,} can be built")
        joined.append((port, conv))
        at += port.shape[0]
    return joined


def _window(layer: NetxLayer, weight: NDArray[np.int64], before: tuple[Port, ...], stride: tuple[int, int], padding: tuple[int, int],
    dilation: tuple[int, int],
) -> NDArray[np.int64]:  # fmt: skip
    """Return the kernel [channels, 1, h, w] of a pool: its one window for every channel."""
    window = weight.shape[2:]
    _, height, width = before[0].shape
    if len(before) > 1 or weight.shape[:2] != (1, 1):
        raise ConversionError(
            f"{layer.where}: weight {weight.shape} for {len(before)} layers; one window [1, 1, h, w] of one layer is taken"
        )
    if stride != window or padding != (0, 0) or dilation != (1, 1) or height % window[0] or width % window[1]:
        raise ConversionError(
            f"{layer.where}: a window of {window} at strides {stride}, padding {padding}, dilation {dilation} on {height} × {width}; "
            "SLAYER runs its windows across channels then, so only windows that tile the image are taken"
        )
    return np.repeat(weight, before[0].shape[0], axis=0)


def _by_channel(
    layer: NetxLayer, port: Port, delays: Mapping[str, NDArray[np.int64]], kernel: NDArray[np.int64], groups: int
) -> NDArray[np.int64] | None:
    """Return the delays of a source as those of kernel words, [c_out, c_in/groups, 1, 1]."""
    delay = delays.get(port.population)
    if delay is None:
        return None
    rows = delay.reshape(port.shape[0], -1)
    if np.any(rows != rows[:, :1]):
        raise ConversionError(
            f"{layer.where}: the delays of {port.population!r} differ within a channel, which the kernel of a convolution cannot hold; one a channel is taken"
        )
    group = np.arange(len(kernel)) // (len(kernel) // groups)
    sources = group[:, None] * kernel.shape[1] + np.arange(kernel.shape[1])
    return np.asarray(rows[:, 0][sources][:, :, None, None])


def _sum(one: NDArray[np.int64] | None, other: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    if one is None or other is None:
        return one if other is None else other
    return np.asarray(one + other)


def _check_delay(layer: NetxLayer, delay: NDArray[np.int64]) -> None:
    if delay.max(initial=0) > MOST_DELAY:
        raise ConversionError(
            f"{layer.where}: delays of axons and synapses add up to {delay.max()}; at most {MOST_DELAY} steps are taken"
        )


def formats(layer: NetxLayer, count: int) -> list[Stored]:
    """Return the formats that ``stored`` says, [count, 3]: weight exponent, bits, and which signs (the place in :data:`SIGNS`).

    Raises:
        DataError: another shape, or a number out of range.
    """
    rows = layer.whole("stored", -32, 24)
    if rows.shape != (count, 3) or np.any((rows[:, 1] < 1) | (rows[:, 1] > 8) | (rows[:, 2] < 0) | (rows[:, 2] >= len(SIGNS))):
        raise DataError(f"{layer.where}: stored must be [{count}, 3]: weight exponent, bits 1 to 8, signs 0 to {len(SIGNS) - 1}")
    return [Stored(exponent, bits, SIGNS[sign]) for exponent, bits, sign in rows.tolist()]


def held(layer: NetxLayer, synapses: Dense | Conv | Sparse, exponent: int, stored: Stored | None = None) -> tuple[Synapses, Stored]:
    """Return synapses as the chip's fields hold them, and how they are to be read.

    Args:
        layer: whose they are, for messages.
        synapses: with the numbers of the file.
        exponent: ``wgtExp`` of its neurons.
        stored: the format that the file says; None: the first one of :func:`natural`.

    Raises:
        ConversionError: they fit no field; lava-dl would clip or truncate them.
        DataError: they are no integers of the format that the file says.
    """
    weight = np.asarray(synapses.weight, np.int64)
    found = natural(weight, exponent) if stored is None else _in_format(layer, weight, exponent, stored)
    if found is None:
        odd = int(np.count_nonzero(weight & 1))
        raise ConversionError(
            f"{layer.where}: weights lie in {weight.min()} … {weight.max()}, {odd} of {weight.size} odd; the chip holds even numbers from −256 to 254, or any from −128 to 127, "
            "or of one sign up to 255 (lava-dl would clip or truncate them); quantise the weights in training"
        )
    return with_weight(synapses, found[0].astype(np.int32)), found[1]


def natural(weight: NDArray[np.int64], exponent: int) -> tuple[NDArray[np.int64], Stored] | None:
    """Return the integers and the format in which a file's weights are exact where it does not say one; None: there is none.

    Eight mixed bits hold even numbers from −256 to 254. Odd ones fit doubled with an exponent less (−128 to 127), or in a field of one sign.

    >>> natural(np.array([3, -7]), 0)
    (array([  6, -14]), Stored(weight_exponent=-1, weight_bits=8, sign_mode='mixed'))

    Args:
        weight: of any shape.
        exponent: ``wgtExp`` of the layer's neurons, −8 to 16.
    """
    low, high, even = int(weight.min(initial=0)), int(weight.max(initial=0)), not np.any(weight & 1)
    mode: SignMode = "mixed"
    if not (even and low >= -256 and high <= 254):
        if low >= -128 and high <= 127 and exponent > -8:
            weight, exponent = weight * 2, exponent - 1
        elif low >= 0 and high <= 255:
            mode = "excitatory"
        elif high <= 0 and low >= -255:
            mode = "inhibitory"
        else:
            return None
    return weight, Stored(exponent, 8, mode)


def _in_format(layer: NetxLayer, weight: NDArray[np.int64], exponent: int, stored: Stored) -> tuple[NDArray[np.int64], Stored]:
    """Return weights in the format that the file says, from numbers in units of 2**exponent."""
    own = np.ldexp(weight.astype(np.float64), exponent - stored.weight_exponent)
    if np.any((np.rint(own) != own) | (np.abs(own) > 256)):
        raise DataError(
            f"{layer.where}: its weights are no {stored.weight_bits}-bit integers with the exponent {stored.weight_exponent}, as stored says"
        )
    return own.astype(np.int64), stored
