"""Compiled loops over the steps of a layer of spiking neurons, forward and back: what :mod:`neurofault.zoo.surrogate` hands to torch.

Shapes: [T, N, n] float32, T steps of N samples of n neurons; spikes are 0 and 1. The threshold is 1. Where ``recurrent`` has no rows, the layer does not see itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit

Floats = NDArray[np.float32]


@jit
def run_steps(
    drive: Floats,
    recurrent: Floats,
    bias: Floats,
    keep_u: Floats,
    keep_v: Floats,
    fires: bool,
    us: Floats,
    vs: Floats,
    spikes: Floats,
) -> None:
    """Run all steps of all samples from u = v = 0.

    Args:
        drive: Σ w·s of the layer before.
        recurrent: [n, n] or [0, n], by *source*: row j is what a spike of neuron j adds to each.
        bias: [n].
        keep_u: [n].
        keep_v: [n].
        fires: whether there are spikes.
        us: filled.
        vs: filled, before the reset.
        spikes: filled.
    """
    steps, samples, size = drive.shape
    looped = recurrent.shape[0] > 0
    u, v = np.empty(size, np.float32), np.empty(size, np.float32)
    before, fired = np.zeros(size, np.int64), 0
    for sample in range(samples):
        u[:], v[:] = 0, 0
        fired = 0
        for step in range(steps):
            now, u_now, v_now, out = drive[step, sample], us[step, sample], vs[step, sample], spikes[step, sample]
            for j in range(size):
                u[j] = u[j] * keep_u[j] + now[j]
            if looped:
                for position in range(fired):
                    row = recurrent[before[position]]
                    for j in range(size):
                        u[j] += row[j]
            for j in range(size):
                v[j] = v[j] * keep_v[j] + u[j] + bias[j]
                u_now[j], v_now[j] = u[j], v[j]
            if fires:
                fired = 0
                for j in range(size):
                    out[j] = 0
                    if v[j] > 1:
                        out[j], v[j] = 1, 0
                        before[fired] = j
                        fired += 1


@jit
def run_back(
    of_spikes: Floats,
    of_v: Floats,
    us: Floats,
    vs: Floats,
    spikes: Floats,
    recurrent: Floats,
    keep_u: Floats,
    keep_v: Floats,
    fires: bool,
    slope: float,
    damping: float,
    of_drive: Floats,
    of_recurrent: Floats,
    of_rest: NDArray[np.float64],
) -> None:
    """Go back through all steps: the gradients of what :func:`run_steps` was given.

    The derivative of a spike by v is ``damping · (1 + slope · |v − 1|)**−2``; the reset has none.

    Args:
        of_spikes: of the loss, by the spikes.
        of_v: by v before its reset.
        us: what was filled.
        vs: likewise.
        spikes: likewise.
        recurrent: [n, n] or [0, n], by *target*: row i holds the weights into neuron i.
        keep_u: as it was given.
        keep_v: likewise.
        fires: likewise.
        slope: of the surrogate.
        damping: likewise.
        of_drive: filled.
        of_recurrent: added to, by source, as ``recurrent`` of :func:`run_steps`.
        of_rest: added to, [3, n]: of the bias, of ``keep_u`` and of ``keep_v``.
    """
    steps, samples, size = us.shape
    looped, sharp, height, one = recurrent.shape[0] > 0, np.float32(slope), np.float32(damping), np.float32(1)
    g_u, g_v, g_s = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    for sample in range(samples):
        g_u[:], g_v[:] = 0, 0  # of the step after
        for step in range(steps - 1, -1, -1):
            v, fired, out = vs[step, sample], spikes[step, sample], of_drive[step, sample]
            given_s, given_v = of_spikes[step, sample], of_v[step, sample]
            if fires:
                for j in range(size):
                    g_s[j] = given_s[j]
                if looped and step + 1 < steps:
                    for i in range(0, size - 3, 4):  # four rows at a time: a sum is loaded and stored once for them
                        w0, w1, w2, w3 = recurrent[i], recurrent[i + 1], recurrent[i + 2], recurrent[i + 3]
                        g0, g1, g2, g3 = g_u[i], g_u[i + 1], g_u[i + 2], g_u[i + 3]
                        for j in range(size):
                            g_s[j] += (g0 * w0[j] + g1 * w1[j]) + (g2 * w2[j] + g3 * w3[j])
                    for i in range(size - size % 4, size):
                        last, gain = recurrent[i], g_u[i]
                        for j in range(size):
                            g_s[j] += gain * last[j]
                    for j in range(size):
                        if fired[j] > 0:
                            into = of_recurrent[j]
                            for i in range(size):
                                into[i] += g_u[i]
            if step + 1 < steps:
                for j in range(size):
                    of_rest[1, j] += g_u[j] * us[step, sample, j]
                    of_rest[2, j] += g_v[j] * v[j] * (one - fired[j])
            for j in range(size):
                own = g_v[j] * keep_v[j] * (one - fired[j]) + given_v[j]
                if fires:
                    away = one + sharp * abs(v[j] - one)
                    own += height * g_s[j] / (away * away)
                g_v[j] = own
                g_u[j] = g_u[j] * keep_u[j] + own
                out[j] = g_u[j]
                of_rest[0, j] += own
