"""Compiled kernels of the exact engine: one population, all T steps of a batch of samples, in wrapping int32.

Spike trains travel as event lists: for each sample ``s``, ``sources[s, starts[s, t] : starts[s, t + 1]]`` are the neurons that
fire in step ``t``, in rising order, so that work is proportional to spikes. Everything that Lava holds in int32 is held in int32
here and wraps where Lava's wraps; sums of weights are held in a type that :mod:`neurofault.engines.exact.packing` has proved wide enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit, part
from neurofault.engines.exact.event_lists import collect, collect_words
from neurofault.engines.exact.lanes import UNIT, add_rows, add_words, step_sums
from neurofault.engines.exact.neuron_steps import Neurons, _step_ruled


class Rows(NamedTuple):
    """Dense synapses: one row of target weights for each source neuron.

    Attributes:
        weights: int16 or int32 [n_in, n_padded], or uint8, bytes in pairs (:mod:`neurofault.engines.exact.lanes`); columns beyond n_out are
            zero. No rows: there are none.
        run: how many rows can surely be added up without overflow, in 16 bits, those of int32 in 32; at least 8.
    """

    weights: NDArray[Any]
    run: int


class Taps(NamedTuple):
    """A convolution: the block of kernel words that each source neuron adds to its targets, both channels last.

    Attributes:
        kernel: int16 or int32, the words reordered so that neighbouring targets meet neighbouring words.
        table: int32 [n_in, 5]: first target, first word, rows, blocks in a row, words in a block. No rows: not a convolution.
        pitch: int64 [4], from one row to the next in targets and in words, from one block to the next in targets and in words.
    """

    kernel: NDArray[Any]
    table: NDArray[np.int32]
    pitch: NDArray[np.int64]


class Lists(NamedTuple):
    """Single synapses in lists by source neuron, one set of lists for each delay.

    Attributes:
        delays: int64 [K], extra steps of each set, rising. Empty: there are none.
        starts: int64 [K, n_in + 1], window of each source's synapses.
        targets: int32 [synapses].
        weights: int32 [synapses].
    """

    delays: NDArray[np.int64]
    starts: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]


class Wires(NamedTuple):
    """How the spikes that come over one connection become a drive. Beside rows or taps there are no lists but of delay 0.

    Attributes:
        rows: dense synapses, or none.
        taps: a convolution, or none.
        lists: single synapses, or none.
        left, right: the sum of weights of each delay is shifted right (floor), then left, into u; left at most 30.
        lag: how many steps late spikes come.
        wide: empty array of the type that holds a sum of weights.
        wraps: whether u can leave its range by a sum of weights.
    """

    rows: Rows
    taps: Taps
    lists: Lists
    left: int
    right: int
    lag: int
    wide: NDArray[Any]
    wraps: bool


@part
def _add_rows(rows: Rows, sources: NDArray[np.int32], first: int, stop: int, total: NDArray[Any]) -> None:
    """Add the rows of ``sources[first:stop]`` to ``total``."""
    while first < stop:
        last = min(first + rows.run, stop)
        add_rows(rows.weights, sources, first, last, total)
        first = last


@part
def _add_taps(taps: Taps, sources: NDArray[np.int32], first: int, stop: int, total: NDArray[Any]) -> None:
    """Add the kernel blocks of ``sources[first:stop]`` to ``total``; those of one place, which reach the same targets, in one go."""
    table, pitch = taps.table, taps.pitch
    while first < stop:
        source = sources[first]
        begin, rows, blocks, length = table[source, 0], table[source, 2], table[source, 3], table[source, 4]
        last = first + 1
        while last < stop:
            source = sources[last]
            if table[source, 0] != begin or table[source, 2] != rows or table[source, 3] != blocks or table[source, 4] != length:
                break
            last += 1
        for row in range(rows):
            target, offset = begin + row * pitch[0], row * pitch[1]
            for _ in range(blocks):
                add_words(taps.kernel, table, sources, first, last, offset, total, target, length)
                target += pitch[2]
                offset += pitch[3]
        first = last


@part
def _add_lists(lists: Lists, which: int, sources: NDArray[np.int32], total: NDArray[Any]) -> None:
    """Add the single synapses of ``sources`` in set ``which`` to ``total``."""
    for position in range(sources.shape[0]):
        source = sources[position]
        for synapse in range(lists.starts[which, source], lists.starts[which, source + 1]):
            total[lists.targets[synapse]] += lists.weights[synapse]


@part
def _shift(total: NDArray[Any], left: int, right: int, drive: NDArray[Any]) -> None:
    """Add the shifted sums of weights to ``drive``, int32 or int64, and set them to zero."""
    kind = drive.dtype.type
    factor = kind(1 << left)
    for j in range(total.shape[0]):
        drive[j] += kind(total[j] >> right) * factor
        total[j] = 0


@part
def _arrive(
    wires: Wires,
    at: int,
    starts: NDArray[np.int64],
    sources: NDArray[np.int32],
    total: NDArray[Any],
    drive: NDArray[Any],
) -> None:
    """Add up the spikes sent in step ``at``, and those of earlier steps whose delays end with it.

    The sums of all delays but the last are shifted into ``drive``, those of the last stand in ``total``.
    """
    if at < 0:
        return
    if wires.rows.weights.shape[0]:
        _add_rows(wires.rows, sources, starts[at], starts[at + 1], total)
    if wires.taps.table.shape[0]:
        _add_taps(wires.taps, sources, starts[at], starts[at + 1], total)
    sets = wires.lists.delays.shape[0]
    for which in range(sets):
        sent = at - wires.lists.delays[which]
        if sent >= 0:
            _add_lists(wires.lists, which, sources[starts[sent] : starts[sent + 1]], total)
        if which + 1 < sets:
            _shift(total, wires.left, wires.right, drive)


@part
def _step(
    neurons: Neurons,
    total: NDArray[Any],
    right: int,
    factor: Any,
    bias: NDArray[np.int32],
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    fired: NDArray[np.uint64],
    remembers: bool,
    wraps: bool,
) -> None:
    """Advance neurons of Lava's law by sums of weights, which are set to zero; ``remembers``: whether u is written down."""
    step_sums(
        total, right, factor, neurons.keep_u, neurons.keep_v, u, bias, neurons.threshold, v, fired, remembers, neurons.leaks, wraps
    )  # fmt: skip


@part
def _copy(state: NDArray[Any], out: NDArray[np.int32]) -> None:
    """Copy as many values as ``out`` holds."""
    for j in range(out.shape[0]):  # a slice assignment takes numba ten times as long to compile
        out[j] = state[j]


@jit
def present(
    steps: int,
    wires: Wires,
    neurons: Neurons,
    bias: NDArray[np.int32],
    starts_in: NDArray[np.int64],
    sources_in: NDArray[np.int32],
    outside: NDArray[np.int32],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    """Run one population for every sample of a batch, T steps each, from u = 0 and v = start.

    Args:
        steps: T.
        wires: the connection into it, or none.
        neurons: the population.
        bias: [1 or S, n_padded], added to v each step.
        starts_in: windows of the source's events, [S, T + 1]; no samples: no connection.
        sources_in: the source's events, [S, …].
        outside: drive from elsewhere, [S, T, n_padded]; no samples: there is none.
        starts_out: filled, [S, T + 1].
        sources_out: filled, [S, at least n · T + 8].
        last_v: filled, [S, n], v after step T.
        u_trace: u after each step, filled where it has samples, [S or 0, T, n].
        v_trace: likewise v.
    """
    padded = neurons.threshold.shape[0]
    total = np.zeros(padded, wires.wide.dtype)
    drive, u, v = np.zeros(padded, np.int32), np.zeros(padded, np.int32), np.zeros(padded, np.int32)
    fired, words = np.zeros(padded, np.uint8), np.zeros(padded // UNIT, np.uint64)
    ruled = not neurons.rules.usual
    waiting = np.zeros(padded if ruled else 0, np.int32)
    straight = wires.lists.delays.shape[0] <= 1 and not outside.shape[0]
    remembers = neurons.remembers or u_trace.shape[0] > 0
    factor = np.int32(1 << wires.left)
    for sample in range(starts_out.shape[0]):
        for j in range(padded):
            u[j], v[j] = 0, neurons.start[j]
        for j in range(waiting.shape[0]):
            waiting[j] = 0
        own_bias = bias[sample if bias.shape[0] > 1 else 0]
        starts, sources = starts_in[sample if starts_in.shape[0] else 0], sources_in[sample if starts_in.shape[0] else 0]
        end = np.int64(0)
        starts_out[sample, 0] = 0
        for step in range(steps):
            if starts_in.shape[0]:
                _arrive(wires, step - wires.lag, starts, sources, total, drive)
            if outside.shape[0]:
                arrived = outside[sample, step]
                for j in range(padded):
                    drive[j] += arrived[j]
            for position in range(neurons.silent.shape[0]):
                total[neurons.silent[position]] = drive[neurons.silent[position]] = 0
            if straight and not ruled:
                _step(neurons, total, wires.right, factor, own_bias, u, v, words, remembers, wires.wraps)
                end = collect_words(words, sources_out[sample], end)
            else:
                _shift(total, wires.left, wires.right, drive)
                if ruled:
                    _step_ruled(neurons, own_bias, drive, u, v, waiting, fired)
                    end = collect(fired, sources_out[sample], end)
                else:
                    _step(neurons, drive, 0, np.int32(1), own_bias, u, v, words, remembers, True)
                    end = collect_words(words, sources_out[sample], end)
            starts_out[sample, step + 1] = end
            if u_trace.shape[0]:
                _copy(u, u_trace[sample, step])
            if v_trace.shape[0]:
                _copy(v, v_trace[sample, step])
        _copy(v, last_v[sample])


@jit
def add_drive(
    steps: int,
    wires: Wires,
    starts_in: NDArray[np.int64],
    sources_in: NDArray[np.int32],
    first: int,
    padded: int,
    outside: NDArray[Any],
) -> None:
    """Add what comes over one connection to a drive.

    Args:
        steps: T.
        wires: the connection.
        starts_in: windows of the source's events, [S, T + 1].
        sources_in: the source's events, [S, …].
        first: where the target's neurons start in the drive.
        padded: how many there are.
        outside: the drive, [S, T, …], int32, or int64 of neurons in registers.
    """
    total = np.zeros(padded, wires.wide.dtype)
    for sample in range(starts_in.shape[0]):
        starts, sources = starts_in[sample], sources_in[sample]
        for step in range(wires.lag, steps):
            drive = outside[sample, step][first : first + padded]
            _arrive(wires, step - wires.lag, starts, sources, total, drive)
            _shift(total, wires.left, wires.right, drive)
