"""From a (damaged) deployment to the arrays that the kernels of the exact engine read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.engines.kernels import STATE_LIMIT, Lists, Neurons, Rows, Taps
from neurofault.engines.wiring import Edits, corrections, dense_delays, dense_weights, edits_of
from neurofault.graph import Conv, Dense

_LANES = 64
_LARGEST_LEFT = 30
_INT16, _INT32 = int(np.iinfo(np.int16).max), int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """One layer as the kernels read it.

    Attributes:
        name: the layer's.
        order: int64 [n], public (C, H, W) index of each internal neuron: channels last beside a convolution, else as is.
        rows, taps, lists, neurons: see :mod:`neurofault.engines.kernels`.
        bias: int32 [1, n_padded], of neurons that are not driven by a pixel.
        wide: empty array of the type that holds a sum of weights.
    """

    name: str
    order: NDArray[np.int64]
    rows: Rows
    taps: Taps
    lists: Lists
    neurons: Neurons
    bias: NDArray[np.int32]
    wide: NDArray[Any]


def pack(deployment: Deployment) -> tuple[PackedLayer, ...]:
    """Pack every layer of a deployment, its damage applied."""
    orders = _orders(deployment)
    return tuple(_pack_layer(deployment, index, orders) for index in range(len(deployment.layers)))


def bias_of(mantissa: NDArray[np.integer], exponent: int) -> NDArray[np.int32]:
    """Return the bias that is added to v: the mantissa kept in 16 bits, shifted (right: floor) in 32, as Lava does.

    >>> bias_of(np.array([40000, -3]), 0).tolist(), bias_of(np.array([-3]), -1).tolist()
    ([-25536, -3], [-2])
    """
    mantissa = mantissa.astype(np.int16).astype(np.int64)
    if exponent >= 32:
        mantissa = np.zeros_like(mantissa)
    return (mantissa << exponent if exponent >= 0 else mantissa >> min(-exponent, 31)).astype(np.int32)


def empty_synapses() -> tuple[Rows, Taps, Lists]:
    """Return synapses of each kind that are not there."""
    return (
        Rows(np.empty((0, 0), np.int16), 8, np.empty(0, np.int16)),
        Taps(np.empty(0, np.int16), np.empty((0, 5), np.int32), np.zeros(4, np.int64)),
        Lists(np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty(0, np.int32), np.empty(0, np.int32)),
    )


def pack_neurons(
    chip: ChipLayer, order: NDArray[np.int64], silent: NDArray[np.bool_], left: int = 0, right: int = 0
) -> tuple[Neurons, NDArray[np.int32]]:
    """Pack a population and its constant bias; ``silent`` is bool [n] in public order."""
    padded = -(-order.size // _LANES) * _LANES

    def padded_with(value: int, values: NDArray[Any]) -> NDArray[Any]:
        out = np.full(padded, value, values.dtype)
        out[: order.size] = values[order]
        return out

    threshold = np.clip(chip.vth.astype(np.int64) << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT).astype(np.int32)
    keep_u = padded_with(0, (4095 - chip.du.astype(np.float64)) / 4096)
    keep_v = padded_with(1, (4096 - chip.dv.astype(np.float64)) / 4096)
    neurons = Neurons(
        keep_u,
        keep_v,
        bool(np.any(keep_u)),
        bool(np.any(keep_v != 1)),
        padded_with(2 * STATE_LIMIT, np.where(silent, np.int32(2 * STATE_LIMIT), threshold)),
        padded_with(0, np.where(silent, np.int32(0), np.int32(chip.v_init))),
        np.flatnonzero(silent[order]),
        left,
        right,
    )
    return neurons, padded_with(0, np.where(silent, np.int32(0), bias_of(chip.bias_mantissa, chip.bias_exponent)))[None]


def _orders(deployment: Deployment) -> list[NDArray[np.int64]]:
    """Public index of each internal neuron, for each layer."""
    beside_conv = [isinstance(layer.synapses, Conv) for layer in deployment.layers]
    beside_conv = [own or after for own, after in zip(beside_conv, [*beside_conv[1:], False], strict=True)]
    return [
        np.arange(layer.size).reshape(_image_shape(deployment, index)).transpose(1, 2, 0).ravel()
        if beside
        else np.arange(layer.size)
        for index, (layer, beside) in enumerate(zip(deployment.layers, beside_conv, strict=True))
    ]


def _image_shape(deployment: Deployment, index: int) -> tuple[int, int, int]:
    """Channels, height, width of a population beside a convolution, as the convolution sees it."""
    own = deployment.layers[index].synapses
    if isinstance(own, Conv):
        return own.out_shape
    after = deployment.layers[index + 1].synapses
    assert isinstance(after, Conv)
    return after.in_shape


def _pack_layer(deployment: Deployment, index: int, orders: list[NDArray[np.int64]]) -> PackedLayer:
    chip, order = deployment.layers[index], orders[index]
    left, right = max(chip.weight_exponent, 0) + 6, max(-chip.weight_exponent, 0)
    neurons, bias = pack_neurons(chip, order, deployment.damage.silent(index, chip.size), left, right)
    padded = bias.shape[1]
    rows, taps, lists = empty_synapses()
    bound = 0
    match chip.synapses:
        case Dense() as dense:
            edits = edits_of(deployment, index)
            weights, delay = dense_weights(dense, edits)[np.ix_(order, orders[index - 1])], dense_delays(dense, edits)
            bound = int(np.abs(weights).sum(axis=1, dtype=np.int64).max(initial=0))
            if delay is None:
                rows, wide = _pack_rows(weights, padded), np.int32
            else:
                lists, wide = _pack_delays(weights, delay[np.ix_(order, orders[index - 1])]), np.int32
        case Conv() as conv:
            delta = corrections(conv, edits_of(deployment, index))
            if delta.sources.size:
                lists = _pack_corrections(delta, orders[index - 1], order)
            extra = np.bincount(delta.targets, np.abs(delta.values), conv.n_out).max(initial=0)
            bound = int(np.abs(conv.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0) + extra)
            taps, wide = _pack_taps(conv), np.int16 if bound <= _INT16 else np.int32
        case None:
            wide = np.int32
    if bound > _INT32 and right:
        wide = np.int64
    return PackedLayer(chip.name, order, rows, taps, lists, neurons, bias, np.empty(0, wide))


def _pack_rows(weights: NDArray[np.int32], padded: int) -> Rows:
    """Rows by source neuron of weights [n_out, n_in]."""
    largest = max(1, int(np.abs(weights.astype(np.int64)).max(initial=0)))
    narrow, most = (np.int16, _INT16) if 8 * largest <= _INT16 else (np.int32, _INT32)
    packed = np.zeros((weights.shape[1], padded), narrow)
    packed[:, : weights.shape[0]] = weights.T
    return Rows(packed, most // largest, np.empty(0, narrow))


def in_bytes(layer: PackedLayer) -> PackedLayer:
    """Return a layer whose dense weights are stored as bytes where that is exact, so that half as much memory is read.

    Weights that are all multiples of 2**s and then fit a byte (as 8-bit fields of mixed sign do, which are even) are stored divided
    by it; the sum is shifted s places less to the right or more to the left.
    """
    weights, neurons = layer.rows.weights, layer.neurons
    if weights.dtype != np.int16 or not weights.size or layer.taps.table.size or layer.lists.delays.size:
        return layer
    common = int(np.bitwise_or.reduce(weights, axis=None))
    shift = min((common & -common).bit_length() - 1, 7) if common else 0
    small = weights >> shift
    right = max(neurons.right - shift, 0)
    left = neurons.left + shift - (neurons.right - right)
    if int(small.min()) < -128 or int(small.max()) > 127 or left > _LARGEST_LEFT:
        return layer
    largest = max(1, int(np.abs(small.astype(np.int64)).max()))
    return replace(
        layer,
        rows=Rows(small.astype(np.int8), _INT16 // largest, layer.rows.lane),
        neurons=neurons._replace(left=left, right=right),
    )


def _pack_delays(weights: NDArray[np.int32], delays: NDArray[np.integer]) -> Lists:
    """One set of lists for each delay of weights [n_out, n_in]."""
    n_in = weights.shape[1]
    kinds = np.unique(delays)
    starts, targets, values = np.zeros((kinds.size, n_in + 1), np.int64), [], []
    end = 0
    for which, delay in enumerate(kinds):
        source, target = np.nonzero(((delays == delay) & (weights != 0)).T)
        starts[which] = end + np.searchsorted(source, np.arange(n_in + 1))
        end += source.size
        targets.append(target)
        values.append(weights[target, source])
    return Lists(kinds.astype(np.int64), starts, np.concatenate(targets).astype(np.int32), np.concatenate(values).astype(np.int32))


def _pack_corrections(delta: Edits, order_in: NDArray[np.int64], order_out: NDArray[np.int64]) -> Lists:
    """One set of lists, without delay, of single synapses given in public order."""
    sources, targets = np.argsort(order_in)[delta.sources], np.argsort(order_out)[delta.targets]
    by_source = np.argsort(sources, kind="stable")
    starts = np.searchsorted(sources[by_source], np.arange(order_in.size + 1))
    return Lists(
        np.zeros(1, np.int64),
        starts[None].astype(np.int64),
        targets[by_source].astype(np.int32),
        delta.values[by_source].astype(np.int32),
    )


@dataclass(frozen=True)
class _Axis:
    """How one axis of a convolution is walked.

    Along an axis, input x reaches output o through tap k where o·stride + k·dilation = x + padding. For one x the solutions go up
    by ``step`` outputs and down by a fixed number of taps; what differs is the smallest tap, the phase. The words of a phase are
    stored with falling tap, so that a source adds them in one run.

    Attributes:
        step: outputs from one solution to the next.
        taps: for each phase, its taps, falling.
        first_output, phase, first_tap, count: for each x, where its run starts: in the outputs, and in the taps of its phase.
    """

    step: int
    taps: tuple[tuple[int, ...], ...]
    first_output: NDArray[np.int64]
    phase: NDArray[np.int64]
    first_tap: NDArray[np.int64]
    count: NDArray[np.int64]


def _walk(conv: Conv, axis: int) -> _Axis:
    size, n_taps, outputs = conv.in_shape[1 + axis], conv.weight.shape[2 + axis], conv.out_shape[1 + axis]
    stride, padding, dilation = conv.stride[axis], conv.padding[axis], conv.dilation[axis]
    divisor = math.gcd(stride, dilation)
    jump = stride // divisor
    phases = tuple(tuple(range(phase, n_taps, jump))[::-1] for phase in range(jump))
    walk = np.zeros((4, size), np.int64)
    for x in range(size):
        runs = [(x + padding - k * dilation, k) for k in reversed(range(n_taps))]
        runs = [(reach // stride, k) for reach, k in runs if reach % stride == 0 and 0 <= reach // stride < outputs]
        if runs:
            phase = runs[0][1] % jump
            walk[:, x] = runs[0][0], phase, phases[phase].index(runs[0][1]), len(runs)
    return _Axis(dilation // divisor, phases, *walk)


def _pack_taps(conv: Conv) -> Taps:
    """Reorder a kernel by phase and give each source (channels last) the block of words that it adds."""
    c_in, height, width = conv.in_shape
    c_out, _, out_width = conv.out_shape
    block, per_group = c_out // conv.groups, c_in // conv.groups
    vertical, horizontal = _walk(conv, 0), _walk(conv, 1)
    longest_y, longest_x = (max(map(len, walk.taps)) for walk in (vertical, horizontal))
    words = np.zeros((c_in, len(vertical.taps), len(horizontal.taps), longest_y, longest_x, block), np.int32)
    own = conv.weight.reshape(conv.groups, block, per_group, *conv.weight.shape[2:]).transpose(0, 2, 3, 4, 1)
    own = own.reshape(c_in, *own.shape[2:])
    for p, taps_y in enumerate(vertical.taps):
        for q, taps_x in enumerate(horizontal.taps):
            words[:, p, q, : len(taps_y), : len(taps_x)] = own[:, taps_y][:, :, taps_x]
    channel = np.arange(c_in)
    shape = (height, width, c_in)
    y, x = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    target = (vertical.first_output[y] * out_width + horizontal.first_output[x]) * c_out + channel // per_group * block
    word = np.ravel_multi_index(
        (channel, vertical.phase[y], horizontal.phase[x], vertical.first_tap[y], horizontal.first_tap[x], 0), words.shape
    )
    joined = block == c_out and horizontal.step == 1
    columns = horizontal.count[x]
    table = np.empty((*shape, 5), np.int32)
    table[..., 0], table[..., 1], table[..., 2] = target, word, np.where(columns > 0, vertical.count[y], 0)
    table[..., 3], table[..., 4] = (1, columns * block) if joined else (columns, block)
    pitch = np.array([vertical.step * out_width * c_out, longest_x * block, horizontal.step * c_out, block], np.int64)
    narrow = np.int16 if int(np.abs(words).max(initial=0)) <= _INT16 else np.int32
    return Taps(words.astype(narrow).ravel(), table.reshape(-1, 5), pitch)
