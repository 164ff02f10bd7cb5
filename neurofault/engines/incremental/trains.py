"""Spike trains of a chain as bit masks: a neuron's T ≤ 64 steps of a sample are one uint64 word, bit t for step t.

Compiled kernels that run one sample layer by layer and keep, for every neuron of a layer, the raw sum of weights that reached it in
each step. With these sums at hand a fault is an addition to some of them (:mod:`neurofault.engines.incremental.propagation`). Arithmetic as in
:mod:`neurofault.engines.exact.kernels`: wrapping int32, equal to Lava 0.10 ``fixed_pt``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from neurofault.compiled import jit
from neurofault.engines.exact.kernels import Rows, Taps, _add_rows, _add_taps
from neurofault.engines.exact.neuron_steps import _moved, _wrapped, compiled

MOST_STEPS = 64
"""Bits of a word."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def entry(function: _Function) -> _Function:
    """Compile a kernel that Python calls, without reference counts."""
    return jit(function, _nrt=False)


def _instruction(function: Callable[..., Any]) -> Any:
    """Make a function of one machine instruction."""
    return intrinsic(function)


_ZERO = np.int32(0)


@_instruction
def popcount(typing: Any, word: Any) -> Any:
    """Number of ones of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@_instruction
def lowest(typing: Any, word: Any) -> Any:
    """Index of the lowest one of a uint64; 64 if there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.uint64), generate


class Net(NamedTuple):
    """A deployment as the kernels read it; neurons of all layers one after the other, each layer padded.

    A layer is ``positions`` × ``lanes``: a convolution's places × channels (channels last), else one place. Its sums lie as
    [position, step, lane].

    Attributes:
        steps: T, 1 to 64.
        size, positions, lanes: int64 [layers].
        base: int64 [layers + 1], first neuron of each layer.
        sums: int64 [layers + 1], first sum of each layer; the input has none.
        kind: int64 [layers], 0: no synapses, 1: dense rows, 2: a convolution.
        rows: int16, dense weights by source; ``row_base`` int64 [layers]; ``run``: how many rows int16 can surely add up.
        words: int16, kernels; ``word_base`` int64 [layers]; ``table``, ``table_base``, ``pitch``: as in :class:`Taps`, by layer.
        keep_u, keep_v: float64; threshold, start, bias: int32; one for each neuron, as in
            :class:`neurofault.engines.exact.neuron_steps.Neurons`.
        remembers, leaks, left, right: int64 [layers], likewise.
        linear: whether final potentials are sums of what arrives, as long as nothing wraps, saturates or fires.
        heaviest: the largest |weight| of the last layer.
        counted: whether the readout counts spikes.
        dead: bool [n_out], outputs that score lowest.
    """

    steps: int
    size: NDArray[np.int64]
    positions: NDArray[np.int64]
    lanes: NDArray[np.int64]
    base: NDArray[np.int64]
    sums: NDArray[np.int64]
    kind: NDArray[np.int64]
    rows: NDArray[np.int16]
    row_base: NDArray[np.int64]
    run: NDArray[np.int64]
    words: NDArray[np.int16]
    word_base: NDArray[np.int64]
    table: NDArray[np.int32]
    table_base: NDArray[np.int64]
    pitch: NDArray[np.int64]
    keep_u: NDArray[np.float64]
    keep_v: NDArray[np.float64]
    threshold: NDArray[np.int32]
    start: NDArray[np.int32]
    bias: NDArray[np.int32]
    remembers: NDArray[np.int64]
    leaks: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    linear: bool
    heaviest: int
    counted: bool
    dead: NDArray[np.bool_]


class BlockRoom(NamedTuple):
    """Room for one block of neurons while it is simulated.

    Attributes:
        drive: int32 [T, widest], sums of weights.
        idle: int32 [1, widest], zeros.
        u, v, low, high: int32 [widest]; v holds the final potentials afterwards.
        trains: uint64 [widest], filled.
    """

    drive: NDArray[np.int32]
    idle: NDArray[np.int32]
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    trains: NDArray[np.uint64]


class LayerEvents(NamedTuple):
    """Room for the events of one layer: ``sources[starts[t]:starts[t + 1]]`` fire in step t."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    sources: NDArray[np.int32]
    total: NDArray[np.int16]


@compiled
def simulate(
    bench: BlockRoom,
    drive: NDArray[np.int32],
    steps: int,
    width: int,
    keep_u: NDArray[np.float64],
    keep_v: NDArray[np.float64],
    threshold: NDArray[np.int32],
    start: NDArray[np.int32],
    bias: NDArray[np.int32],
    remembers: int,
    leaks: int,
    left: int,
    right: int,
) -> None:
    """Run ``width`` neurons for T steps on given sums of weights (``drive`` [T or 1, ≥ width]; one row: the same in every step)."""
    u, v, low, high = bench.u[:width], bench.v[:width], bench.low[:width], bench.high[:width]
    factor = np.int32(1 << left)
    for j in range(width):
        u[j], v[j], low[j], high[j] = 0, start[j], 0, 0
    for step in range(steps):
        row = drive[step if drive.shape[0] > 1 else 0][:width]
        bits = low if step < 32 else high
        bit = np.int32(1) << np.int32(step & 31)
        if remembers or leaks or right:
            for j in range(width):
                arrived = np.int32(np.int32(row[j] >> right) * factor)
                u[j] = _wrapped(np.int32(arrived + np.int32(u[j] * keep_u[j])))
            if leaks:
                for j in range(width):
                    v[j] = np.int32(v[j] * keep_v[j])
            for j in range(width):
                moved = _moved(v[j], u[j], bias[j])
                spike = moved > threshold[j]
                v[j] = _ZERO if spike else moved
                bits[j] = np.int32(bits[j] | (np.int32(bit) if spike else _ZERO))
        else:
            for j in range(width):
                moved = _moved(v[j], _wrapped(np.int32(row[j] * factor)), bias[j])
                spike = moved > threshold[j]
                v[j] = _ZERO if spike else moved
                bits[j] = np.int32(bits[j] | (np.int32(bit) if spike else _ZERO))
    for j in range(width):
        bench.trains[j] = np.uint64(np.uint32(low[j])) | (np.uint64(np.uint32(high[j])) << np.uint64(32))


@compiled
def simulate_place(net: Net, layer: int, position: int, bench: BlockRoom) -> None:
    """Run the neurons of one place of a layer on ``bench.drive``."""
    width = net.lanes[layer]
    first = net.base[layer] + position * width
    stop = first + width
    simulate(
        bench, bench.drive, net.steps, width, net.keep_u[first:stop], net.keep_v[first:stop], net.threshold[first:stop],
        net.start[first:stop], net.bias[first:stop], net.remembers[layer], net.leaks[layer], net.left[layer], net.right[layer],
    )  # fmt: skip


@compiled
def _listed(net: Net, layer: int, trains: NDArray[np.uint64], events: LayerEvents) -> None:
    """List the events of a layer step by step."""
    starts, ends = events.starts, events.ends
    own = trains[net.base[layer] : net.base[layer] + net.size[layer]]
    for step in range(net.steps + 1):
        starts[step] = 0
    for j in range(own.shape[0]):
        word = own[j]
        while word:
            starts[lowest(word) + 1] += 1
            word &= word - np.uint64(1)
    for step in range(net.steps):
        starts[step + 1] += starts[step]
        ends[step] = starts[step]
    for j in range(own.shape[0]):
        word = own[j]
        while word:
            step = lowest(word)
            word &= word - np.uint64(1)
            events.sources[ends[step]] = j
            ends[step] += 1


@compiled
def _add_up(net: Net, layer: int, bench: BlockRoom, events: LayerEvents, sums: NDArray[Any]) -> bool:
    """Write the sums of a layer (int16 or int32); return whether they fit."""
    lanes, places, steps = net.lanes[layer], net.positions[layer], net.steps
    if net.kind[layer] == 1:
        n_in = net.size[layer - 1]
        first = net.row_base[layer]
        rows = Rows(net.rows[first : first + n_in * lanes].reshape((n_in, lanes)), net.run[layer])
        least, most = np.int32(0), np.int32(0)
        for step in range(steps):
            row = bench.drive[step][:lanes]
            for j in range(lanes):
                row[j] = 0
            _add_rows(rows, events.sources, events.starts[step], events.starts[step + 1], row)
            kept = sums[step * lanes : (step + 1) * lanes]
            for j in range(lanes):
                least, most = min(least, row[j]), max(most, row[j])
                kept[j] = row[j]
        return bool(sums.itemsize > 2 or (least >= -32768 and most <= 32767))
    table = net.table[net.table_base[layer] : net.table_base[layer] + net.size[layer - 1]]
    taps = Taps(net.words[net.word_base[layer] :], table, net.pitch[layer])
    total = events.total[: places * lanes]
    for step in range(steps):
        for j in range(total.shape[0]):
            total[j] = 0
        _add_taps(taps, events.sources, events.starts[step], events.starts[step + 1], total)
        for place in range(places):
            first = (place * steps + step) * lanes
            for j in range(lanes):
                sums[first + j] = total[place * lanes + j]
    return True


@compiled
def run_sample(
    net: Net, own_bias: NDArray[np.int32], bench: BlockRoom, events: LayerEvents, sums: NDArray[Any], trains: NDArray[np.uint64]
) -> bool:
    """Run one sample through all layers; return whether every sum fits.

    Args:
        net: the network.
        own_bias: [lanes of the input], bias of each input neuron; empty: the input trains are in ``trains`` already.
        bench: room; ``v`` holds the last layer's potentials afterwards.
        events: room.
        sums: filled, raw sums of weights of layers 1 …
        trains: filled, of all layers.
    """
    fits = True
    if own_bias.shape[0]:
        stop = net.lanes[0]
        simulate(
            bench, bench.idle, net.steps, stop, net.keep_u[:stop], net.keep_v[:stop], net.threshold[:stop], net.start[:stop],
            own_bias, np.int64(0), net.leaks[0], np.int64(0), np.int64(0),
        )  # fmt: skip
        for j in range(stop):
            trains[j] = bench.trains[j]
    for layer in range(1, net.size.shape[0]):
        _listed(net, layer - 1, trains, events)
        lanes = net.lanes[layer]
        own = sums[net.sums[layer] : net.sums[layer + 1]]
        fits &= _add_up(net, layer, bench, events, own)
        for place in range(net.positions[layer]):
            if net.kind[layer] == 2:
                for step in range(net.steps):
                    first = (place * net.steps + step) * lanes
                    for j in range(lanes):
                        bench.drive[step, j] = own[first + j]
            simulate_place(net, layer, place, bench)
            first = net.base[layer] + place * lanes
            for j in range(lanes):
                trains[first + j] = bench.trains[j]
    return fits
