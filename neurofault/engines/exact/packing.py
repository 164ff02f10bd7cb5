"""From a (damaged) deployment to the arrays that the kernels of the exact engine read."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetSynapses, SetTerms
from neurofault.damage.stored import TABLE_BITS
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.exponents import cut_off, without_exponent
from neurofault.engines.exact.held_steps import EVERY_FEATURE, OUT_OF_REACH, InRegisters, kept, law_in_numbers, most_spikes
from neurofault.engines.exact.kernels import Lists, Rows, Taps, Wires
from neurofault.engines.exact.lanes import UNIT, paired
from neurofault.engines.exact.neuron_steps import Neurons, Rules
from neurofault.engines.wiring import Listed, corrections, dense_weights, edits_of, listed
from neurofault.graph.arithmetic import LOIHI, RESETS, STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import unknown_feature
from neurofault.graph.synapses import Conv, Dense, Sparse

_LARGEST_LEFT, _MOST_BITS = 30, 60
_LARGE_PAGE = 2 << 20
_INT16, _INT32 = int(np.iinfo(np.int16).max), int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class PackedPopulation:
    """One population as the kernels read it.

    Attributes:
        name: the population's.
        order: int64 [n], public (C, H, W) index of each internal neuron: channels last beside a convolution, else as is.
        neurons: see :mod:`neurofault.engines.exact.kernels`.
        bias: int32 [1, n_padded], of neurons that are not driven by a pixel.
        held: see :mod:`neurofault.engines.exact.held_steps`; None: the arithmetic is Loihi's.
        most: spikes of a neuron in a step, at most.
    """

    name: str
    order: NDArray[np.int64]
    neurons: Neurons
    bias: NDArray[np.int32]
    held: InRegisters | None = None
    most: int = 1


@dataclass(frozen=True, eq=False)
class Packed:
    """A deployment as the kernels read it.

    Attributes:
        populations: by name.
        wires: by name of the connection.
    """

    populations: Mapping[str, PackedPopulation]
    wires: Mapping[str, Wires]


def pack(deployment: Deployment, part: Collection[str] | None = None) -> Packed:
    """Pack the populations of a deployment and the connections into some of them, permanent damage applied; None: into all."""
    channels = _channels(deployment)
    populations = {}
    for chip in deployment.populations:
        order = np.arange(chip.size).reshape(channels[chip.name], -1).T.ravel()
        populations[chip.name] = pack_population(chip, order, deployment.damage.silent(chip.name, chip.size))
    wires = {
        one.name: _pack_wires(deployment, one, channels, populations)
        for one in deployment.connections
        if part is None or one.target in part
    }
    return Packed(populations, wires)


def exponent_out_of_range(deployment: Deployment) -> str | None:
    """Return what has a weight exponent that 32 bits cannot hold; None: nothing."""
    for one in deployment.connections:
        if not -31 <= one.weight_exponent <= 24:
            what = f"layer {one.target!r}" if one.name == one.target else f"connection {one.name!r}"
            return f"{what}: weight exponent {one.weight_exponent} is outside −31…24"
    return None


_NO_ROWS = Rows(np.empty((0, 0), np.int16), 8)
NO_WIRES = Wires(
    Rows(np.empty((0, 0), np.uint8), 8),  # as most connections are handed to kernels, which need not be compiled for others then
    Taps(np.empty(0, np.int16), np.empty((0, 5), np.int32), np.zeros(4, np.int64)),
    Lists(np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty(0, np.int32), np.empty(0, np.int32)),
    0,
    0,
    0,
    np.empty(0, np.int32),
    False,
)
"""Nothing that arrives."""


def kernels_know(deployment: Deployment) -> bool:
    """Whether there are kernels for every law, and those of a loop's populations are in one."""
    if any(unknown_feature(one.law, EVERY_FEATURE) is not None for one in deployment.populations):
        return False
    islands = [[deployment.population(name).law.arithmetic == LOIHI for name in island] for island in deployment.schedule.islands]
    return all(len(set(kinds)) == 1 for kinds in islands)


def sums_out_of_range(deployment: Deployment) -> str | None:
    """Return where what arrives in a step may leave the 64 bits of sums that registers hold; None: nowhere. Loihi's sums wrap in 32."""
    for chip in deployment.populations:
        if chip.law.arithmetic == LOIHI:
            continue
        most = 0
        for one in deployment.into(chip.name):
            edits = [edit.values for edit in deployment.damage.synapse_edits(one.name) if isinstance(edit, SetSynapses)]
            largest = max(int(np.abs(each.astype(np.int64)).max(initial=0)) for each in (one.synapses.weight, *edits))
            if any(isinstance(edit, SetTerms) for edit in deployment.damage.of_connection(one.name)):
                largest = max(largest, one.weight_bits << (TABLE_BITS - 1))  # every bit counts for the most that a table holds
            shift = chip.law.arithmetic.shift + max(one.weight_exponent, 0)
            most += largest * deployment.population(one.source).size * _times(deployment, one) << shift
        if most >= 1 << _MOST_BITS:
            return f"layer {chip.name!r}: what arrives in a step may reach 2**{most.bit_length()}, beyond {_MOST_BITS} bits; lower weight exponents"
    return None


def pack_population(chip: ChipPopulation, order: NDArray[np.int64], silent: NDArray[np.bool_]) -> PackedPopulation:
    """Pack a population; ``silent`` is bool [n] in public order."""
    neurons, bias = _pack_neurons(chip, order, silent)
    own = chip.law.arithmetic
    if own == LOIHI:
        return PackedPopulation(chip.name, order, neurons, bias)
    pad = _padding(order)
    limit = (chip.vth.astype(np.int64) << own.shift) + (own.threshold == ">")
    none = np.empty(0, np.int64)
    held = InRegisters(
        law_in_numbers(chip.law, once=chip.is_source),
        pad(0, kept(own.u, chip.du)),
        pad(0, kept(own.v, chip.dv)),
        pad(OUT_OF_REACH, np.where(silent, OUT_OF_REACH, limit)),
        none if chip.law.floor is None else pad(0, chip.law.floor.astype(np.int64)),
        none if chip.law.refractory is None else pad(0, chip.law.refractory.astype(np.int64)),
    )
    return PackedPopulation(chip.name, order, neurons, bias, held, 1 if chip.is_source else most_spikes(own, chip.vth))


def _padding(order: NDArray[np.int64]) -> Callable[[int, NDArray[Any]], NDArray[Any]]:
    """Return what puts values of neurons, public order, in the kernels' order, and a value in the places beyond them."""
    padded = -(-order.size // UNIT) * UNIT

    def padded_with(value: int, values: NDArray[Any]) -> NDArray[Any]:
        out = np.full(padded, value, values.dtype)
        out[: order.size] = values[order]
        return out

    return padded_with


def _pack_neurons(chip: ChipPopulation, order: NDArray[np.int64], silent: NDArray[np.bool_]) -> tuple[Neurons, NDArray[np.int32]]:
    """Pack neurons of Loihi's arithmetic and their constant bias; of others the start, the silent ones and the bias hold."""
    padded_with = _padding(order)

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
        _rules(chip, padded_with),
    )
    return neurons, padded_with(0, np.where(silent, np.int32(0), bias_of(chip.bias_mantissa, chip.bias_exponent)))[None]


def _rules(chip: ChipPopulation, padded_with: Callable[[int, NDArray[Any]], NDArray[Any]]) -> Rules:
    law, none = chip.law, np.empty(0, np.int32)
    if law.usual or law.arithmetic != LOIHI:
        return Rules(True, 0, False, none, none)
    refractory = np.zeros(chip.size, np.int32) if law.refractory is None else law.refractory
    floor = np.full(chip.size, 1 - STATE_LIMIT, np.int32) if law.floor is None else law.floor
    return Rules(False, RESETS.index(law.reset), law.delayed, padded_with(0, refractory), padded_with(0, floor))


def _channels(deployment: Deployment) -> dict[str, int]:
    """Return for each population how many channels lie next to each other: those of the first convolution beside it, else 1."""
    found: dict[str, int] = {}
    for one in deployment.connections:
        if isinstance(one.synapses, Conv):
            found.setdefault(one.target, one.synapses.out_shape[0])
    for one in deployment.connections:
        if isinstance(one.synapses, Conv):
            found.setdefault(one.source, one.synapses.in_shape[0])
    return {population.name: found.get(population.name, 1) for population in deployment.populations}


def _pack_wires(
    deployment: Deployment, chip: ChipConnection, channels: Mapping[str, int], packed: Mapping[str, PackedPopulation]
) -> Wires:
    order_in, target = packed[chip.source].order, packed[chip.target]
    edits, times = edits_of(deployment, chip.name), _times(deployment, chip)
    rows, taps, lists = _NO_ROWS, NO_WIRES.taps, NO_WIRES.lists
    wide: type[np.signedinteger[Any]] = np.int32
    right = cut_off(deployment, chip)
    spare = max(-chip.weight_exponent, 0) - right
    match chip.synapses:
        case Dense(delay=None) as dense:
            weights = without_exponent(dense_weights(dense, edits)[np.ix_(target.order, order_in)], spare)
            bound = times * int(np.abs(weights).sum(axis=1, dtype=np.int64).max(initial=0))
            rows = _pack_rows(weights, target.bias.shape[1])
        case Conv(delay=None, in_shape=before, out_shape=after) as conv if (before[0], after[0]) == (
            channels[chip.source],
            channels[chip.target],
        ):
            delta = corrections(conv, edits)
            values, words = without_exponent(delta.values, spare), without_exponent(conv.weight, spare)
            if delta.sources.size:
                added = Listed(delta.sources, delta.targets, values.astype(np.int32), np.zeros_like(delta.sources))
                lists = _pack_lists(added, order_in, target.order)
            extra = np.bincount(delta.targets, np.abs(values), conv.n_out).max(initial=0)
            bound = times * int(np.abs(words.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0) + extra)
            taps, wide = _pack_taps(replace(conv, weight=words)), np.int16 if bound <= _INT16 else np.int32
        case Dense() | Conv() | Sparse():
            found = listed(chip.synapses, edits)
            found = replace(found, weights=without_exponent(found.weights, spare))
            bound = times * int(
                np.bincount(found.targets, np.abs(found.weights.astype(np.float64)), target.order.size).max(initial=0)
            )
            lists = _pack_lists(found, order_in, target.order)
    own = deployment.population(chip.target).law.arithmetic
    left = max(chip.weight_exponent, 0) + own.shift
    if own != LOIHI:
        wide = np.int64 if bound > _INT32 else np.int32
    elif bound > _INT32 and right:
        wide = np.int64
    return Wires(
        rows, taps, lists, left, right, deployment.schedule.lag[chip.name], np.empty(0, wide), bound << left >= STATE_LIMIT
    )


def _times(deployment: Deployment, chip: ChipConnection) -> int:
    """Return how often a source may send in one step."""
    source = deployment.population(chip.source)
    return 1 if source.is_source else source.law.arithmetic.spikes


def _pack_rows(weights: NDArray[np.int32], padded: int) -> Rows:
    """Rows by source neuron of weights [n_out, n_in]."""
    largest = max(1, int(np.abs(weights.astype(np.int64)).max(initial=0)))
    narrow, most = (np.int16, _INT16) if 8 * largest <= _INT16 else (np.int32, _INT32)
    packed = np.zeros((weights.shape[1], padded), narrow)
    packed[:, : weights.shape[0]] = weights.T
    return Rows(packed, most // largest)


def in_bytes(wires: Wires) -> Wires:
    """Return a connection whose dense weights are stored as bytes where that is exact, so that half as much memory is read.

    Weights that are all multiples of 2**s and then fit a byte (as 8-bit fields of mixed sign do, which are even) are stored divided
    by it; the sum is shifted s places less to the right or more to the left.
    """
    weights = wires.rows.weights
    if weights.dtype != np.int16 or not weights.size or wires.taps.table.size or wires.lists.delays.size:
        return wires
    common = int(np.bitwise_or.reduce(weights, axis=None))
    shift = min((common & -common).bit_length() - 1, 7) if common else 0
    small = weights >> shift
    right = max(wires.right - shift, 0)
    left = wires.left + shift - (wires.right - right)
    least, most = int(small.min()), int(small.max())
    if least < -128 or most > 127 or left > _LARGEST_LEFT:
        return wires
    rows = Rows(_in_large_pages(paired(small.astype(np.int8))), _INT16 // max(1, -least, most))
    return wires._replace(rows=rows, left=left, right=right)


def _in_large_pages(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows in pages of 2 MB where the system gives them: NumPy asks for them from 4 MB on.

    Rows are read in any order, and a processor knows only some dozens of pages of 4 kB at a time.
    """
    if rows.nbytes < _LARGE_PAGE >> 4:
        return rows
    room = np.empty(max(rows.nbytes + _LARGE_PAGE, 2 * _LARGE_PAGE), np.uint8)
    begin = -room.ctypes.data % _LARGE_PAGE
    out = room[begin : begin + rows.nbytes].reshape(rows.shape)
    out[:] = rows
    return out


def _pack_lists(found: Listed, order_in: NDArray[np.int64], order_out: NDArray[np.int64]) -> Lists:
    """One set of lists for each delay; synapses of weight 0 are left out."""
    kept = np.flatnonzero(found.weights)
    n_in, delays = order_in.size, found.delays[kept]
    sources, targets = _renumbered(found.sources[kept], order_in), _renumbered(found.targets[kept], order_out)
    kinds = np.flatnonzero(np.bincount(delays))
    which = np.searchsorted(kinds, np.arange(delays.max(initial=0) + 1))[delays]
    by_source = _stable_order(which, kinds.size)
    if np.any(np.diff(sources) < 0):
        by_source = _stable_order(sources, n_in)
        by_source = by_source[_stable_order(which[by_source], kinds.size)]
    counts = np.bincount(which * n_in + sources, minlength=kinds.size * n_in).reshape(kinds.size, n_in)
    ends = np.cumsum(counts).reshape(counts.shape)
    return Lists(
        kinds.astype(np.int64),
        np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int64),
        targets[by_source].astype(np.int32),
        found.weights[kept][by_source],
    )


def _renumbered(neurons: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return internal indices of neurons in public order."""
    return neurons if np.all(np.diff(order) > 0) else np.argsort(order)[neurons]


def _stable_order(values: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """Return what sorts values from 0 to ``end`` − 1; NumPy counts, in place of comparing, where 8 or 16 bits hold them."""
    narrow = np.uint8 if end <= 1 << 8 else np.uint16 if end <= 1 << 16 else np.int64
    return np.argsort(values.astype(narrow), kind="stable")


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
