"""Integers as the chip's neurons compute with them: widths, wraps, decays, biases. What a step does with them: ``law.py``."""

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
