"""The chip's integer law of a CUBA LIF neuron, once: by default equal bit for bit to Lava 0.10 ``fixed_pt`` (``PyLifModelBitAcc``).

Engines that step with NumPy call it; compiled kernels are checked against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.law import USUAL, Law

STATE_LIMIT = 1 << 23
"""u wraps beyond this, v is clipped to one less (Lava 0.10 ``AbstractPyLifModelFixed``: uv_bitwidth = 24)."""


def wrap32(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers as 32 bits hold them."""
    return value.astype(np.int32).astype(np.int64)


def decayed(state: NDArray[np.int64], loss: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``state · (4096 − loss) / 4096``, rounded towards 0."""
    return np.asarray(np.sign(state) * ((np.abs(state) * (4096 - loss)) >> 12))


def bias_of(mantissa: NDArray[np.integer], exponent: int) -> NDArray[np.int32]:
    """Return the bias that is added to v: the mantissa kept in 16 bits, shifted (right: floor) in 32, as Lava does.

    >>> bias_of(np.array([40000, -3]), 0).tolist(), bias_of(np.array([-3]), -1).tolist()
    ([-25536, -3], [-2])
    """
    mantissa = mantissa.astype(np.int16).astype(np.int64)
    if exponent >= 32:
        mantissa = np.zeros_like(mantissa)
    return (mantissa << exponent if exponent >= 0 else mantissa >> min(-exponent, 31)).astype(np.int32)


def step(
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    drive: NDArray[np.int64],
    du: NDArray[np.int64],
    dv: NDArray[np.int64],
    vth: NDArray[np.int64],
    bias: NDArray[np.integer],
    law: Law = USUAL,
    waiting: NDArray[np.int64] | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Advance u and v in place by one step; return bool: who fires. All arrays of one shape, or broadcast to it.

    Args:
        u: int64, state: the synaptic current, 24 bits.
        v: int64, state: the membrane.
        drive: int64, Σ over incoming connections of Σ w·s shifted by the connection's exponent, before the shift by 6.
        du: decay of u, 0 to 4095.
        dv: decay of v, 0 to 4095.
        vth: threshold in units of 64.
        bias: :func:`bias_of` the mantissa.
        law: reset, refractory steps, floor.
        waiting: int64, state: the refractory counters; needed where the law has refractory steps, or one is stuck.
        kept: bool, who is not reset: its reset is lost. None: nobody.
    """
    current = wrap32(decayed(u, du + 1) + wrap32(drive << 6))
    u[:] = np.where(
        current > STATE_LIMIT, current - 2 * STATE_LIMIT, np.where(current <= -STATE_LIMIT, current + 2 * STATE_LIMIT, current)
    )
    if law.usual and waiting is None and kept is None:
        moved = wrap32(decayed(v, dv) + u + bias)
        v[:] = np.clip(moved, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        fired = v > vth << 6
        v[fired] = 0
        return np.asarray(fired)
    theta = np.clip(vth << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT)
    resets = np.asarray(True) if kept is None else ~kept
    above = resets & (v > theta) if law.delayed else np.asarray(False)
    before = np.where(above, 0, v) if law.reset == "zero" else v
    leaked = decayed(before, dv) - (np.where(above, theta, 0) if law.reset == "subtract" else 0)
    moved = np.clip(wrap32(leaked + u + bias), 1 - STATE_LIMIT, STATE_LIMIT - 1)
    if law.floor is not None:
        moved = np.maximum(moved, law.floor)
    live = np.asarray(True) if waiting is None else waiting == 0
    fired = live & (moved > theta)
    if not law.delayed and law.reset != "none":
        left = 0 if law.reset == "zero" else np.minimum(moved - theta, STATE_LIMIT - 1)
        moved = np.where(fired & resets, left, moved)
    v[:] = np.where(live, moved, v)
    if waiting is not None:
        waiting[:] = np.where(live, np.where(fired, 0 if law.refractory is None else law.refractory, 0), waiting - 1)
    return np.asarray(fired)
