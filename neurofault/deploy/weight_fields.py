"""Which integers a stored weight can be: the range of a field, what the chip makes of numbers beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.synapses import SignMode


def weight_range(bits: int, sign_mode: SignMode) -> tuple[int, int, int]:
    """Return (lowest, highest, step) of the weights that a stored field can hold, as Lava reads them.

    Args:
        bits: stored bits, 1 to 8; of ``signed`` fields to 16.
        sign_mode: ``mixed`` and ``signed`` spend one bit on the sign; a ``signed`` field is the weight itself.

    >>> weight_range(8, "mixed")
    (-256, 254, 2)
    >>> weight_range(4, "excitatory")
    (0, 240, 16)
    >>> weight_range(4, "signed")
    (-8, 7, 1)
    """
    if sign_mode == "signed":
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1, 1
    step = 1 << (8 - bits + (sign_mode == "mixed"))
    top = 256 - step
    match sign_mode:
        case "mixed":
            return -256, top, step
        case "excitatory":
            return 0, top, step
        case "inhibitory":
            return -top, 0, step


def truncate_weights(weight: NDArray[np.integer], bits: int, sign_mode: SignMode) -> NDArray[np.int32]:
    """Clip and truncate integers to the stored field exactly as Lava does at the first step.

    MIXED clips to [−256, 255], EXC to [0, 255], INH to [−255, 0]; then k = 8 − bits (+ 1 if MIXED) low bits are cut: towards −∞ for
    mixed and excitatory weights, towards 0 for inhibitory ones (Lava 0.10 ``lava/utils/weightutils.py``).

    Args:
        weight: integers of any shape.
        bits: stored bits, 1 to 8.
        sign_mode: which signs the field holds.
    """
    k = 8 - bits + (sign_mode == "mixed")
    wide = weight.astype(np.int64)
    match sign_mode:
        case "signed":
            wide = np.clip(wide, *weight_range(bits, sign_mode)[:2])
        case "mixed":
            wide = (np.clip(wide, -256, 255) >> k) << k
        case "excitatory":
            wide = (np.clip(wide, 0, 255) >> k) << k
        case "inhibitory":
            wide = -((-np.clip(wide, -255, 0) >> k) << k)
    return wide.astype(np.int32)


@dataclass(frozen=True)
class Grid:
    """The integers that weights may take.

    Attributes:
        low, high, step: of the weights.
        bits: stored bits; None for the reference grid, which no chip has.
        exponent_min: smallest exponent e.
        sign_mode: how the field is read.
    """

    low: int
    high: int
    step: int
    bits: int | None
    exponent_min: int
    sign_mode: SignMode
