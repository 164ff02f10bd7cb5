"""Sums that many sources share: which sources add the same, what they add, rounded once for all, and its addition to each row.

Only where the rule's factors are those of sources and targets alone; the others go synapse by synapse (:mod:`neurofault.learning.update`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.widths import FRACTION, HIGHEST, LOWEST


@part
def compose(a: Any, b: NDArray[np.int32], right: int, left: int, table: NDArray[np.int32], alone: bool) -> None:
    """Put one saturating addition after others: clamp(clamp(R + C, l, h) + c, L, H) is again clamp(R + C + c, l', h').

    ``alone``: there are none before it.
    """
    lowest, highest, right32, left32 = np.int32(LOWEST), np.int32(HIGHEST), np.int32(right), np.int32(left)
    if alone:
        for j in range(b.shape[0]):
            c = np.int32(np.int32(np.int32(a * b[j]) >> right32) << left32)
            table[0, j], table[1, j], table[2, j] = min(max(c, lowest), highest), lowest, highest
        return
    for j in range(b.shape[0]):
        c = np.int32(np.int32(np.int32(a * b[j]) >> right32) << left32)
        c = min(max(c, lowest), highest)
        table[0, j] = np.int32(table[0, j] + c)
        table[1, j] = min(max(np.int32(table[1, j] + c), lowest), highest)
        table[2, j] = min(max(np.int32(table[2, j] + c), lowest), highest)


@part
def round_all(table: NDArray[np.int32], drawn: int, least: int, most: int) -> None:
    """Turn additions to accumulators into additions to values, rounded with one number for all: ⌊R/128⌋ + [drawn < R mod 128].

    A value is a multiple of 128 in its accumulator and rounding is monotone, so both pass through the clamp.
    """
    offset, shift, least32, most32 = np.int32(127 - drawn), np.int32(FRACTION), np.int32(least), np.int32(most)
    for j in range(table.shape[1]):
        table[0, j] = np.int32(np.int32(table[0, j] + offset) >> shift)
        table[1, j] = min(max(np.int32(np.int32(table[1, j] + offset) >> shift), least32), most32)
        table[2, j] = min(max(np.int32(np.int32(table[2, j] + offset) >> shift), least32), most32)


@part
def add_clamped(live: NDArray[np.uint8], which: NDArray[np.int64], tables: NDArray[np.int32], values: NDArray[np.int32]) -> None:
    """Add to the values of each live source what its class adds; ``tables``: [classes, 3, n_out]."""
    for i in range(live.shape[0]):
        if live[i]:
            table, row = tables[which[i]], values[i]
            for j in range(row.shape[0]):
                row[j] = min(max(np.int32(row[j] + table[0, j]), table[1, j]), table[2, j])


@part
def round_narrow(table: NDArray[np.int32], drawn: int, least: int, most: int, out: NDArray[np.int16]) -> None:
    """:func:`round_all` into 16 bits; a sum beyond ±1024 is beyond the range of weights all the more."""
    offset, shift, least32, most32 = np.int32(127 - drawn), np.int32(FRACTION), np.int32(least), np.int32(most)
    far = np.int32(1024)
    for j in range(table.shape[1]):
        out[0, j] = np.int16(min(max(np.int32(np.int32(table[0, j] + offset) >> shift), -far), far))
        out[1, j] = np.int16(min(max(np.int32(np.int32(table[1, j] + offset) >> shift), least32), most32))
        out[2, j] = np.int16(min(max(np.int32(np.int32(table[2, j] + offset) >> shift), least32), most32))


@part
def accumulate(values: NDArray[np.int32], table: NDArray[np.int32], total: NDArray[np.int32]) -> None:
    """Add to the accumulators of one source what its class adds."""
    for j in range(total.shape[0]):
        total[j] = min(max(np.int32(np.int32(values[j] << np.int32(FRACTION)) + table[0, j]), table[1, j]), table[2, j])


@part
def _by_value(
    active: NDArray[np.bool_],
    a: NDArray[np.int32],
    whole: bool,
    slots: NDArray[np.int64],
    heads: NDArray[np.int64],
    following: NDArray[np.int64],
) -> int:
    """:func:`classes` by looking values up, where all active products are multiples of one small value; −1: they are not."""
    pilot, sources = -1, following.shape[0]
    for p in range(active.shape[0]):
        if active[p]:
            if pilot < 0:
                pilot = p
                continue
            same, opposite = np.int32(0), np.int32(0)
            for i in range(sources):
                same |= a[p, 0, 0, i] - a[pilot, 0, 0, i]
                opposite |= a[p, 0, 0, i] + a[pilot, 0, 0, i]
            if same != 0 and opposite != 0:
                return -1
    half = slots.shape[0] // 2
    if pilot < 0:
        return -1
    value, least, most = a[pilot, 0, 0], np.int32(0), np.int32(0)
    for i in range(sources):
        least, most = min(least, value[i]), max(most, value[i])
    if least < -half or most >= half:
        return -1
    for slot in range(half + least, half + most + 1):
        slots[slot] = -1
    for i in range(sources):  # nothing that a processor would have to guess, here and below
        slot = half + value[i]
        following[i] = slots[slot]
        slots[slot] = i
    if not whole:
        slots[half] = -1  # they are not live
    count = 0
    for slot in range(half + least, half + most + 1):
        heads[count] = slots[slot]
        count += np.int64(slots[slot] >= 0)
    return count


@part
def classes(
    live: NDArray[np.uint8],
    active: NDArray[np.bool_],
    a: NDArray[np.int32],
    tx: NDArray[np.int32],
    gates: bool,
    whole: bool,
    slots: NDArray[np.int64],
    heads: NDArray[np.int64],
    following: NDArray[np.int64],
) -> int:
    """Put live sources that add the same to each target into classes; return how many there are.

    ``a``: [P, G, 1, n_in]; ``slots``: a hash table; ``heads``: filled, one source of each class, with room for one more; ``following``: filled, for each source
    another of its class, −1: no further one.
    """
    count = -1 if gates else _by_value(active, a, whole, slots, heads, following)
    if count >= 0:
        return count
    mask, count = slots.shape[0] - 1, 0
    for slot in range(slots.shape[0]):
        slots[slot] = -1
    for i in range(live.shape[0]):
        if not live[i]:
            continue
        key = np.int64(tx[i]) if gates else np.int64(0)
        for p in range(active.shape[0]):
            if active[p]:
                key = key * 31 + a[p, 0, 0, i]
        slot = (key ^ (key >> 12)) & mask
        while True:
            other = slots[slot]
            if other < 0:
                slots[slot] = heads[count] = i
                count += 1
                following[i] = -1
                break
            same = not gates or tx[i] == tx[other]
            for p in range(active.shape[0]):
                same &= not active[p] or a[p, 0, 0, i] == a[p, 0, 0, other]
            if same:
                following[i], following[other] = following[other], i
                break
            slot = (slot + 1) & mask
    return count


@part
def numbered(count: int, heads: NDArray[np.int64], following: NDArray[np.int64], which: NDArray[np.int64]) -> None:
    """Write down the class of each live source."""
    for number in range(count):
        source = heads[number]
        while source >= 0:
            which[source] = number
            source = following[source]
