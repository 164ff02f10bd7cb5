"""Compiled kernel of the exact engine for neurons in registers: one population, all T steps of a batch of samples, sums in 64 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit
from neurofault.engines.exact.held_steps import InRegisters, step_held
from neurofault.engines.exact.kernels import Wires, _arrive, _copy, _shift


@jit
def present_held(
    steps: int,
    wires: Wires,
    held: InRegisters,
    start: NDArray[np.int32],
    silent: NDArray[np.int64],
    bias: NDArray[np.int32],
    starts_in: NDArray[np.int64],
    sources_in: NDArray[np.int32],
    outside: NDArray[np.int64],
    starts_out: NDArray[np.int64],
    sources_out: NDArray[np.int32],
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    """Run one population, as :func:`neurofault.engines.exact.kernels.present` does.

    Args:
        steps: T.
        wires: the connection into it, or none.
        held: the population.
        start: [n_padded], v before the first step.
        silent: [k], neurons that nothing reaches; they have no bias and cannot fire.
        bias: [1 or S, n_padded], added to v each step.
        starts_in: windows of the source's events, [S, T + 1]; no samples: no connection.
        sources_in: the source's events, [S, …].
        outside: drive from elsewhere, [S, T, n_padded]; no samples: there is none.
        starts_out: filled, [S, T + 1].
        sources_out: filled, [S, at least n · T · spikes a step + 8].
        last_v: filled, [S, n], v after step T.
        u_trace: u after each step, filled where it has samples, [S or 0, T, n].
        v_trace: likewise v.
    """
    padded = start.shape[0]
    total, drive = np.zeros(padded, wires.wide.dtype), np.zeros(padded, np.int64)
    u, v, before = np.zeros(padded, np.int64), np.zeros(padded, np.int64), np.zeros(padded, np.int64)
    fired, waiting = np.zeros(padded, np.uint8), np.zeros(held.refractory.shape[0], np.int64)
    for sample in range(starts_out.shape[0]):
        for j in range(padded):
            u[j], v[j] = 0, start[j]
        for j in range(waiting.shape[0]):
            waiting[j] = 0
        own_bias = bias[sample if bias.shape[0] > 1 else 0]
        end = np.int64(0)
        starts_out[sample, 0] = 0
        for step in range(steps):
            if starts_in.shape[0]:
                _arrive(wires, step - wires.lag, starts_in[sample], sources_in[sample], total, drive)
                _shift(total, wires.left, wires.right, drive)
            if outside.shape[0]:
                arrived = outside[sample, step]
                for j in range(padded):
                    drive[j] += arrived[j]
            for position in range(silent.shape[0]):
                drive[silent[position]] = 0
            end = step_held(held.law[0], held, own_bias, drive, u, v, before, waiting, fired, sources_out[sample], end)
            starts_out[sample, step + 1] = end
            if u_trace.shape[0]:
                _copy(u, u_trace[sample, step])
            if v_trace.shape[0]:
                _copy(v, v_trace[sample, step])
        _copy(v, last_v[sample])
