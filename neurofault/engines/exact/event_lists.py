"""Compiled kernels that make event lists and read them; what an event list is: :mod:`neurofault.engines.exact.kernels`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit, part
from neurofault.engines.exact.lanes import PLACES, UNIT, write_ones

_PACK_BYTES = np.uint64(0x0102040810204080)


@part
def collect(fired: NDArray[np.uint8], sources: NDArray[np.int32], end: int) -> int:
    """Append the neurons that fired to ``sources`` at ``end``; return the new end. Up to 8 places beyond it are overwritten."""
    bytes8 = fired.view(np.uint64)
    for first in range(0, bytes8.shape[0], 8):
        word = np.uint64(0)
        for each in range(8):
            bits = (bytes8[first + each] * _PACK_BYTES) >> np.uint64(56)  # one bit from each of eight bytes, the first lowest
            word |= bits << np.uint64(8 * each)
        if word:
            end = write_ones(word, np.int32(8 * first), PLACES, sources, end)
    return end


@part
def collect_words(fired: NDArray[np.uint64], sources: NDArray[np.int32], end: int) -> int:
    """:func:`collect` from one bit for each neuron."""
    for word in range(fired.shape[0]):
        if fired[word]:
            end = write_ones(fired[word], np.int32(UNIT * word), PLACES, sources, end)
    return end


@jit
def unfold(
    bias: NDArray[np.int32],
    order: NDArray[np.int64],
    kind: NDArray[np.int64],
    lookup: NDArray[np.int32],
    train_starts: NDArray[np.int64],
    train_steps: NDArray[np.int64],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
) -> None:
    """Write the events of an input population whose spike trains are known for each kind of neuron and bias.

    Args:
        bias: [S, n], mantissas in public order.
        order: [n], public index of each internal one.
        kind: [n], row of ``lookup`` for each internal neuron; −1: silent.
        lookup: [kinds, 65536], train of each mantissa modulo 2**16.
        train_starts: [trains + 1], window of each train in ``train_steps``.
        train_steps: the steps in which each train fires.
        starts_out: filled, as in :func:`neurofault.engines.exact.kernels.present`.
        sources_out: filled, as in :func:`neurofault.engines.exact.kernels.present`.
    """
    steps = starts_out.shape[1] - 1
    for sample in range(bias.shape[0]):
        ends = np.zeros(steps + 1, np.int64)
        for j in range(order.shape[0]):
            if kind[j] >= 0:
                train = lookup[kind[j], bias[sample, order[j]] & 0xFFFF]
                for position in range(train_starts[train], train_starts[train + 1]):
                    ends[train_steps[position] + 1] += 1
        starts_out[sample, 0] = 0
        for step in range(steps):
            ends[step + 1] += ends[step]
            starts_out[sample, step + 1] = ends[step + 1]
        for j in range(order.shape[0]):
            if kind[j] >= 0:
                train = lookup[kind[j], bias[sample, order[j]] & 0xFFFF]
                for position in range(train_starts[train], train_starts[train + 1]):
                    step = train_steps[position]
                    sources_out[sample, ends[step]] = j
                    ends[step] += 1


@jit
def given(
    starts: NDArray[np.int64],
    steps: NDArray[np.int32],
    neurons: NDArray[np.int32],
    rank: NDArray[np.int64],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
) -> None:
    """Write the events of an input population whose spikes are given, those of a step in rising internal order.

    Args:
        starts: [S + 1], window of each sample's spikes.
        steps: the step of each spike, rising within a sample.
        neurons: its neuron, public order.
        rank: [n], internal index of each neuron; −1: silent; none: each is its own.
        starts_out: filled, [S, T + 1].
        sources_out: filled, [S, at least 8 more than the most spikes of a sample].
    """
    ones = np.zeros(-(-rank.shape[0] // UNIT), np.uint64)
    for sample in range(starts_out.shape[0]):
        which, when, out = (
            neurons[starts[sample] : starts[sample + 1]],
            steps[starts[sample] : starts[sample + 1]],
            sources_out[sample],
        )
        ends, number = starts_out[sample], which.shape[0]
        position, end = np.int64(0), np.int64(0)
        ends[0] = 0
        if rank.shape[0] == 0:
            for k in range(number):
                out[k] = which[k]
        for step in range(starts_out.shape[1] - 1):
            begin = position
            while position + 16 <= number and when[position + 15] <= step:
                position += 16
            while position < number and when[position] <= step:
                position += 1
            if rank.shape[0] == 0:
                end = position
            else:
                for k in range(begin, position):
                    source = rank[which[k]]
                    if source >= 0:
                        ones[source >> 6] |= np.uint64(1) << np.uint64(source & 63)
                for word in range(ones.shape[0]):
                    if ones[word]:
                        end = write_ones(ones[word], np.int32(UNIT * word), PLACES, out, end)
                        ones[word] = 0
            ends[step + 1] = end


@jit
def spread(starts: NDArray[np.int64], sources: NDArray[np.int32], order: NDArray[np.int64], spikes: NDArray[np.uint8]) -> None:
    """Add event lists (internal order) to spikes, uint8 [S, T, n] (public order): how many each neuron sends in a step."""
    for sample in range(starts.shape[0]):
        for step in range(starts.shape[1] - 1):
            for position in range(starts[sample, step], starts[sample, step + 1]):
                spikes[sample, step, order[sources[sample, position]]] += 1


@jit
def tally(starts: NDArray[np.int64], sources: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    """Add the spikes of each neuron to ``counts`` [1 or S, n] (internal order)."""
    last = starts.shape[1] - 1
    for sample in range(starts.shape[0]):
        own, events = counts[sample if counts.shape[0] > 1 else 0], sources[sample]
        for position in range(starts[sample, last]):
            own[events[position]] += 1
