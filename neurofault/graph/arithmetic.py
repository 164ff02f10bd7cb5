"""The chip's integer law of a CUBA LIF neuron, once: equal bit for bit to Lava 0.10 ``fixed_pt`` (``PyLifModelBitAcc``).

Engines that step with NumPy call it; compiled kernels are checked against it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
) -> NDArray[np.bool_]:
    """Advance u and v in place by one step, reset to zero; return bool: who fires. All arrays of one shape, or broadcast to it.

    Args:
        u: int64, state: the synaptic current, 24 bits.
        v: int64, state: the membrane.
        drive: int64, Σ over incoming connections of Σ w·s shifted by the connection's exponent, before the shift by 6.
        du: decay of u, 0 to 4095.
        dv: decay of v, 0 to 4095.
        vth: threshold in units of 64.
        bias: :func:`bias_of` the mantissa.
    """
    current = wrap32(decayed(u, du + 1) + wrap32(drive << 6))
    u[:] = np.where(
        current > STATE_LIMIT, current - 2 * STATE_LIMIT, np.where(current <= -STATE_LIMIT, current + 2 * STATE_LIMIT, current)
    )
    moved = wrap32(decayed(v, dv) + u + bias)
    v[:] = np.clip(moved, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    fired = v > vth << 6
    v[fired] = 0
    return np.asarray(fired)
