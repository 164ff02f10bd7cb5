"""Between a weight as the chip reads it and the bits that its memory stores.

A stored field has ``bits`` bits: two's complement for ``mixed`` and ``signed`` (its top bit is the sign), a magnitude for ``excitatory`` and
``inhibitory``. A ``signed`` field is the weight itself (Speck, Xylo, ReckOn); of the others Loihi reads it shifted left by 8 − bits, one more for ``mixed`` (Lava 0.10 ``lava/utils/weightutils.py``, where
the same shift truncates): 8-bit mixed fields −128 … 127 are the weights −256, −254 … 254.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.synapses import SignMode

TABLE_BITS = 9
"""Of a value of a crossbar's table, two's complement: what weights of ±256 are made of."""
MOST_TYPE = 255
"""The largest type of an axon that is followed."""


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


def table_value(kind: int, bits: int) -> int:
    """Return what a neuron's table holds for axons of a type (TrueNorth, ``synapse.format: crossbar``): 0 for those that no weight needs.

    >>> [table_value(kind, 4) for kind in range(5)]
    [32, 64, 128, -256, 0]
    """
    return int(from_field(np.array(1 << kind), bits, "mixed")) if kind < bits else 0


def crossbar_sum(
    field: NDArray[np.integer], bits: int, types: Mapping[int, NDArray[np.integer]], tables: Mapping[int, NDArray[np.integer]]
) -> NDArray[np.int64]:
    """Return int64 [K]: Σ bit · table[type], what a crossbar reads where types of axons and values of tables have flipped.

    Args:
        field: [K], stored bits; bit i is the crossing with the axon of bit i, whose type is i where nothing has flipped.
        bits: of a field.
        types: bit → [K], which bits of its axon's type have flipped.
        tables: type → [K], which bits of the target's value for it have flipped.

    >>> crossbar_sum(np.array([0b0011]), 4, {0: np.array([2])}, {1: np.array([1])}).tolist()  # 128 (type 2) + 65
    [193]
    """
    whole, total = (1 << TABLE_BITS) - 1, np.zeros(field.size, np.int64)
    for bit in range(bits):
        own = np.full(field.size, bit, np.int64) ^ types.get(bit, np.int64(0))
        for kind in np.unique(own).tolist():
            value = (table_value(kind, bits) & whole) ^ np.asarray(tables.get(kind, 0), np.int64)
            value = np.where(value >> (TABLE_BITS - 1), value - (1 << TABLE_BITS), value)
            total += np.where((own == kind) & (field >> bit & 1 > 0), value, 0)
    return total


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
