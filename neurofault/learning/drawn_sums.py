"""Rounding at random where sources share their sums and no write can be refused: weights of 16 bits, class by class (:mod:`neurofault.learning.drawn_rows`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.counter import absorb, absorb_word, before_mixing, word
from neurofault.learning.drawn_rows import round_class
from neurofault.learning.records import Cells, Defects, LearningRoom, Memory, Noise, Program
from neurofault.learning.widths import FRACTION, HIGHEST, LOWEST

_MOST_PRODUCTS = 64
"""With so many the sums of a class still fit 16 bits once their fractions are cut."""


def never_refused(program: Program, cells: Cells, defects: Defects, memory: Memory, updates: int) -> bool:
    """Say whether the weights of a connection can be rounded class by class in a call of so many updates.

    They are if every write of the call is done as it is rounded (no stuck bit, limit, budget that could end, or number that is always drawn) and weights are what their
    field can hold from the beginning.
    """
    low, high = int(cells.low[0]), int(cells.high[0])
    return bool(
        program.used[0]
        and len(program.head) <= _MOST_PRODUCTS
        and not cells.keep.shape[1]
        and cells.limit > updates
        and memory.left[0] >= 3 * updates
        and (defects.rounding < 0).all()
        and low << FRACTION >= LOWEST
        and high << FRACTION <= HIGHEST
        and low <= memory.weight.min()
        and memory.weight.max() <= high
        and not (memory.weight & ((1 << cells.shift) - 1)).any()
    )


@part
def name_sources(first: int, sources: NDArray[np.uint64]) -> None:
    """Fill in what the numbers of sources contribute to what is drawn."""
    for i in range(sources.shape[0]):
        sources[i] = word(first + i)


@part
def count_writes(writes: NDArray[np.int16], total: NDArray[np.int32], left: NDArray[np.int64]) -> None:
    """Add writes to those of each synapse, take them from the budget, and begin anew."""
    spent = np.int64(0)
    for i in range(writes.shape[0]):
        row, own = total[i], writes[i]
        for j in range(row.shape[0]):
            row[j] += own[j]
            spent += own[j]
            own[j] = 0
    left[0] -= spent


@part
def add_drawn(
    program: Program, cells: Cells, defects: Defects, noise: Noise, memory: Memory, row: int, epoch: int, gates: bool, count: int, work: LearningRoom
) -> None:  # fmt: skip
    """Add to the weights of each of ``count`` classes what it adds; ``gates``: a product has an x0 gate; the rest as in :func:`neurofault.learning.update.learn`."""
    n_out, last, seed = memory.ty.shape[0], program.epoch, absorb(noise.keys[4], epoch)
    for i in range(work.states.shape[0]):
        work.states[i] = before_mixing(absorb_word(seed, work.sources[i]), np.uint64(0))
    low, high = cells.low[0] >> cells.shift, cells.high[0] >> cells.shift
    for number in range(count):
        i, used, adds = work.heads[number], 0, np.int32(0)
        for p in range(program.head.shape[0]):
            head = program.head[p]
            if not work.active[p] or head[0] != 0:
                continue
            own, product = work.a[p, 0, 0, i], work.products[used]
            product[0], product[1], product[2] = own, head[3], head[4]
            adds |= own
            if number == 0 or head[1] == 0:
                factors, read = work.wide[used], work.b[p, memory.tx[i] if head[1] == 0 else last]
                for j in range(n_out):
                    factors[j] = read[j] if defects.plastic[row, j] else np.int32(0)
            used += 1
        if adds != 0:
            round_class(
                work.narrow, work.written, work.following, i, work.products, used, work.wide, work.states, work.drawn_words, n_out, FRACTION + cells.shift,
                low, high,
            )  # fmt: skip
