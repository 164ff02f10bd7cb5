"""The kernel of what most networks are made of: populations of Lava's law behind dense synapses, or behind nothing. It is compiled in a third of the other's time.

What else there is :func:`neurofault.engines.exact.kernels.present` runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit
from neurofault.engines.exact.event_lists import collect_words
from neurofault.engines.exact.kernels import Rows, Wires, _add_rows, _copy
from neurofault.engines.exact.lanes import UNIT, step_rows, step_sums
from neurofault.engines.exact.neuron_steps import Neurons


def takes_rows(wires: Wires, neurons: Neurons) -> bool:
    """Whether :func:`present_rows` runs a population behind a connection."""
    return neurons.rules.usual and not wires.taps.table.shape[0] and not wires.lists.delays.shape[0]


def present_rows(
    steps: int,
    wires: Wires,
    neurons: Neurons,
    bias: NDArray[np.int32],
    starts_in: NDArray[np.int64],
    sources_in: NDArray[np.int32],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    """Run one population for every sample of a batch, as :func:`neurofault.engines.exact.kernels.present` does; nothing comes from elsewhere."""
    padded = neurons.threshold.shape[0]
    _present_rows(
        steps, wires.rows, wires.left, wires.right, wires.lag, wires.wraps, neurons.keep_u, neurons.keep_v,
        neurons.remembers or u_trace.shape[0] > 0, neurons.leaks, neurons.threshold, neurons.start, neurons.silent, bias, starts_in, sources_in,
        np.zeros(padded, wires.wide.dtype), np.zeros(padded, np.int32), np.zeros(padded, np.int32), np.zeros(padded // UNIT, np.uint64),
        starts_out, sources_out, last_v, u_trace, v_trace,
    )  # fmt: skip


@jit
def _present_rows(
    steps: int,
    rows: Rows,
    left: int,
    right: int,
    lag: int,
    wraps: bool,
    keep_u: NDArray[np.float64],
    keep_v: NDArray[np.float64],
    remembers: bool,
    leaks: bool,
    threshold: NDArray[np.int32],
    start: NDArray[np.int32],
    silent: NDArray[np.int64],
    bias: NDArray[np.int32],
    starts_in: NDArray[np.int64],
    sources_in: NDArray[np.int32],
    total: NDArray[np.int32],
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    words: NDArray[np.uint64],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    at_once = not (remembers or leaks or right) and rows.weights.shape[0] > 0
    factor = np.int32(1 << left)
    for sample in range(starts_out.shape[0]):
        for j in range(v.shape[0]):
            u[j], v[j] = 0, start[j]
        own_bias = bias[sample if bias.shape[0] > 1 else 0]
        starts, sources = starts_in[sample if starts_in.shape[0] else 0], sources_in[sample if starts_in.shape[0] else 0]
        end = np.int64(0)
        starts_out[sample, 0] = 0
        for step in range(steps):
            at = step - lag
            first, stop = (starts[at], starts[at + 1]) if starts_in.shape[0] and at >= 0 else (np.int64(0), np.int64(0))
            if at_once and stop - first <= rows.run:
                step_rows(rows.weights, sources, first, stop, factor, own_bias, threshold, v, words, wraps)
                for position in range(silent.shape[0]):
                    v[silent[position]] = 0
            else:
                if rows.weights.shape[0]:  # of a connection that has lost all synapses there are none
                    _add_rows(rows, sources, first, stop, total)
                for position in range(silent.shape[0]):
                    total[silent[position]] = 0
                step_sums(total, right, factor, keep_u, keep_v, u, own_bias, threshold, v, words, remembers, leaks, wraps)
            end = collect_words(words, sources_out[sample], end)
            starts_out[sample, step + 1] = end
            if u_trace.shape[0]:
                _copy(u, u_trace[sample, step])
            if v_trace.shape[0]:
                _copy(v, v_trace[sample, step])
        _copy(v, last_v[sample])
