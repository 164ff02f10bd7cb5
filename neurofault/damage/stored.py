"""Between a weight as the chip reads it and the bits that its memory stores.

A stored field has ``bits`` bits: two's complement for ``mixed`` and ``signed`` (its top bit is the sign), a magnitude for ``excitatory`` and
``inhibitory``. A ``signed`` field is the weight itself (Speck, Xylo, ReckOn); of the others Loihi reads it shifted left by 8 − bits, one more for ``mixed`` (Lava 0.10 ``lava/utils/weightutils.py``, where
the same shift truncates): 8-bit mixed fields −128 … 127 are the weights −256, −254 … 254.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.synapses import SignMode


def field_shift(bits: int, sign_mode: SignMode) -> int:
    """Return by how many places a stored field is shifted when it is read (0 for reference weights of more than 8 bits)."""
    return 0 if sign_mode == "signed" else max(0, 8 - bits + (sign_mode == "mixed"))


def to_field(weight: NDArray[np.integer], bits: int, sign_mode: SignMode) -> NDArray[np.int64]:
    """Return the stored bits, 0 to 2**bits − 1, of weights that fit the field.

    >>> to_field(np.array([-256, -2, 0, 254]), 8, "mixed").tolist()
    [128, 255, 0, 127]
    """
    wide = weight.astype(np.int64)
    magnitude = -wide if sign_mode == "inhibitory" else wide
    return np.asarray((magnitude >> field_shift(bits, sign_mode)) & ((1 << bits) - 1))


def from_field(field: NDArray[np.integer], bits: int, sign_mode: SignMode) -> NDArray[np.int32]:
    """Return the weights that the chip reads from stored bits.

    >>> from_field(np.array([128, 255, 0, 127]), 8, "mixed").tolist()
    [-256, -2, 0, 254]
    """
    wide = field.astype(np.int64)
    if sign_mode in ("mixed", "signed"):
        wide = np.where(wide >> (bits - 1) & 1, wide - (1 << bits), wide)
    value = wide << field_shift(bits, sign_mode)
    return (-value if sign_mode == "inhibitory" else value).astype(np.int32)


def nearest_field(weights: NDArray[np.floating], bits: int, sign_mode: SignMode) -> NDArray[np.int64]:
    """Return the stored fields nearest to some weights, within the field's range.

    >>> nearest_field(np.array([-999.0, 2.9]), 8, "mixed").tolist()
    [128, 1]
    """
    step = 1 << field_shift(bits, sign_mode)
    edge = 1 << (bits - 1 if sign_mode in ("mixed", "signed") else bits)
    whole = (-edge, edge - 1)
    low, high = {"mixed": whole, "signed": whole, "excitatory": (0, edge - 1), "inhibitory": (1 - edge, 0)}[sign_mode]
    return to_field(np.clip(np.rint(weights / step), low, high).astype(np.int64) * step, bits, sign_mode)
