"""The end of a learning epoch, compiled: gates, products and rounding of one dense connection.

The algorithm is that of Lava 0.10 (``lava/magma/core/learning/learning_rule_applier.py``); what the two modes do differently is said
where it happens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.counter import absorb, absorb_word
from neurofault.learning.drawn_sums import add_drawn
from neurofault.learning.factors import evaluate
from neurofault.learning.records import Cells, Defects, LearningRoom, Memory, Noise, Program
from neurofault.learning.shared_sums import (
    accumulate,
    add_clamped,
    classes,
    compose,
    numbered,
    round_all,
    round_narrow,
)
from neurofault.learning.vectors import add_chain, pair_table, store_at_random
from neurofault.learning.widths import FRACTION, HIGHEST, LOWEST


@part
def _add_general(
    head: NDArray[np.int64],
    factors: NDArray[np.int64],
    a: NDArray[np.int32],
    i: int,
    b: NDArray[np.int32],
    ty: NDArray[np.int32],
    weight: NDArray[np.int32],
    delay: NDArray[np.int32],
    tag: NDArray[np.int32],
    group: NDArray[np.int64],
    columns: NDArray[np.int64],
    total: NDArray[np.int32],
) -> None:
    """Add one product of any kind to the accumulators of some of a source's synapses. ``a``: [G, T + 1, n_in]."""
    for j in columns:
        c = np.int32(a[group[j], ty[j] if head[1] == 1 else 0, i] * b[j])
        for f in range(head[7], head[8]):
            which = factors[f, 0]
            value = weight[i, j] if which == 0 else delay[i, j] if which == 1 else tag[i, j]
            wide = np.int64(value) + factors[f, 1]
            if factors[f, 4]:
                wide = np.int64(wide > 0) - np.int64(wide < 0)
            c = np.int32(c * np.int32(min(max(wide, factors[f, 2]), factors[f, 3])))
        wide = min(max((np.int64(c) >> head[3]) << head[4], LOWEST), HIGHEST)
        total[j] = np.int32(min(max(total[j] + wide, LOWEST), HIGHEST))


@part
def _store_shared(
    total: NDArray[np.int32], drawn: int, least: int, most: int, columns: NDArray[np.int64], out: NDArray[np.int32]
) -> None:
    """Round with one number for all and saturate."""
    for j in columns:
        out[j] = np.int32(min(max((np.int64(total[j]) + (127 - drawn)) >> FRACTION, least), most))


@part
def _store_strict(
    total: NDArray[np.int32],
    cut: int,
    low: int,
    high: int,
    state: Any,
    words: NDArray[np.uint64],
    stuck: NDArray[np.int64],
    plastic: NDArray[np.uint8],
    limit: int,
    writes: NDArray[np.int32],
    left: NDArray[np.int64],
    keep: NDArray[np.int32],
    force: NDArray[np.int32],
    sign: int,
    columns: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Round each synapse by a number of its own to what its field can hold; a value that is new is a write, stuck bits stay."""
    bits, sign32 = FRACTION + cut, np.int32(sign)
    ones, down = (1 << bits) - 1, np.uint64(64 - bits)
    for j in columns:
        value = np.int64(total[j])
        if value == np.int64(out[j]) << FRACTION or not plastic[j]:
            continue
        drawn = np.int64(0)
        if value & ones:
            drawn = stuck[j] * ones // 127 if stuck[j] >= 0 else np.int64(absorb_word(state, words[j]) >> down)
        new = np.int32(min(max(((value + ones - drawn) >> bits) << cut, low), high))
        if new != out[j] and writes[j] < limit and left[0] > 0:
            writes[j] += 1
            left[0] -= 1
            if keep.shape[0]:
                new = np.int32(np.int32((np.int32(new * sign32) & keep[j]) | force[j]) * sign32)
            out[j] = new


@part
def learn(
    program: Program,
    cells: Cells,
    defects: Defects,
    noise: Noise,
    memory: Memory,
    row: int,
    index: int,
    epoch: int,
    hx: NDArray[np.int32],
    hy: NDArray[np.int32],
    whole: bool,
    work: LearningRoom,
) -> None:
    """Apply the rule once, at the end of an epoch. Sources whose every product is 0 are left alone unless ``whole``.

    ``row``: of ``defects``; ``index``: of the epoch in this call; ``epoch``: its number, from 1; ``hx``, ``hy``: int32 [T + 1, 2, n_in],
    [T + 1, 3, n_out], traces after each step of the epoch; ``whole``: values lie outside their range, so that even a product of 0
    saturates them. The rest is described in :mod:`neurofault.learning.records`.
    """
    gates = evaluate(program, defects, memory, epoch, hx, hy, whole, work)
    if program.plain and defects.pre.shape[0] == 1:
        _learn_plain(program, cells, defects, noise, memory, row, index, epoch, gates, whole, work)
    else:
        _learn_general(program, cells, defects, noise, memory, row, index, epoch, whole, work)


@part
def _learn_plain(
    program: Program,
    cells: Cells,
    defects: Defects,
    noise: Noise,
    memory: Memory,
    row: int,
    index: int,
    epoch: int,
    gates: bool,
    whole: bool,
    work: LearningRoom,
) -> None:
    """Without y0 gates and factors of the synapse, sources with equal factors share their sums, worked out once."""
    n_in, n_out, last = work.live.shape[0], memory.ty.shape[0], program.epoch
    count = classes(work.live, work.active, work.a, memory.tx, gates, whole, work.slots, work.heads, work.following)
    apart = noise.strict and work.narrow.shape[0] > 0 and not whole
    pair = not noise.strict and program.head.shape[0] == 2 and program.head[0, 0] == 0 and program.head[1, 0] == 0 and not whole
    pair = pair and work.narrow.shape[0] > 0 and work.active[0] and work.active[1] and not gates
    if pair:
        for p in range(2):
            for j in range(n_out):
                work.wide[p, j] = work.b[p, last, j]
    if apart:
        add_drawn(program, cells, defects, noise, memory, row, epoch, gates, count, work)
    if whole or program.used[1] or program.used[2] or work.narrow.shape[0] == 0:
        numbered(count, work.heads, work.following, work.which)
    for number in range(count):
        i = work.heads[number]
        if pair:
            pair_table(
                work.a[0, 0, 0, i], work.wide[0], program.head[0, 3], program.head[0, 4], work.a[1, 0, 0, i], work.wide[1],
                program.head[1, 3], program.head[1, 4], 127 - noise.rounding[index], cells.low[0], cells.high[0], work.narrow_tables, number,
            )  # fmt: skip
            continue
        for variable in range(3):
            if not program.used[variable] or (apart and variable == 0):
                continue
            table, alone = work.tables[variable, number], True
            for p in range(program.head.shape[0]):
                head = program.head[p]
                a = work.a[p, 0, 0, i] if work.active[p] and head[0] == variable else np.int32(0)
                if a != 0 or (whole and head[0] == variable):
                    compose(a, work.b[p, memory.tx[i] if head[1] == 0 else last], head[3], head[4], table, alone)
                    alone = False
            if alone:
                for j in range(n_out):
                    table[0, j], table[1, j], table[2, j] = 0, -(1 << 30), 1 << 30
            if noise.strict:
                continue
            drawn, low, high = noise.rounding[index], cells.low[variable], cells.high[variable]
            if variable == 0 and work.narrow.shape[0] and not whole:
                round_narrow(table, drawn, low, high, work.narrow_tables[number])
            else:
                round_all(table, drawn, low, high)
    for variable in range(1 if apart else 0, 3):
        if program.used[variable]:
            values = memory.weight if variable == 0 else memory.delay if variable == 1 else memory.tag
            if variable == 0 and work.narrow.shape[0] and not whole:
                for number in range(count):
                    add_chain(work.narrow, work.following, work.heads[number], work.narrow_tables, number)
                continue
            if not noise.strict:
                add_clamped(work.live, work.which, work.tables[variable], values)
                continue
            seed, total = absorb(noise.keys[4 + variable], epoch), work.total[variable]
            cut = cells.shift if variable == 0 else 0
            low, high = cells.low[variable], cells.high[variable]
            masks = (cells.keep, cells.force) if variable == 0 else (cells.none, cells.none)
            masked = masks[0].shape[1] > 0
            free = not masked and cells.limit > 1 << 31
            for j in range(n_out):
                free &= defects.rounding[row, j] < 0
            for i in range(n_in):
                if work.live[i]:
                    if free and memory.left[0] >= n_out:
                        memory.left[0] -= store_at_random(
                            values[i], work.tables[variable, work.which[i]], work.words, absorb(seed, noise.first + i),
                            defects.plastic[row], memory.writes[i], cut, low, high,
                        )  # fmt: skip
                        continue
                    accumulate(values[i], work.tables[variable, work.which[i]], total)
                    _store_strict(
                        total,
                        cut,
                        low,
                        high,
                        absorb(seed, noise.first + i),
                        work.words,
                        defects.rounding[row],
                        defects.plastic[row],
                        cells.limit,
                        memory.writes[i],
                        memory.left,
                        masks[0][i if masked else 0],
                        masks[1][i if masked else 0],
                        cells.sign,
                        work.columns,
                        values[i],
                    )


@part
def _learn_general(
    program: Program,
    cells: Cells,
    defects: Defects,
    noise: Noise,
    memory: Memory,
    row: int,
    index: int,
    epoch: int,
    whole: bool,
    work: LearningRoom,
) -> None:
    """Synapse by synapse. Where only y0 gates are open, only targets that spiked are visited."""
    n_in, n_out, last, spiked = work.live.shape[0], memory.ty.shape[0], program.epoch, 0
    for j in range(n_out):
        if memory.ty[j] > 0:
            work.spiked[spiked] = j
            spiked += 1
    for i in range(n_in):
        if not work.live[i]:
            continue
        columns = work.columns if work.live[i] & 2 else work.spiked[:spiked]
        for variable in range(3):
            if program.used[variable]:
                own = memory.weight if variable == 0 else memory.delay if variable == 1 else memory.tag
                values, total = own[i], work.total[variable]
                for j in columns:
                    total[j] = np.int32(values[j] << np.int32(FRACTION))
        for p in range(program.head.shape[0]):
            total = work.total[program.head[p, 0]]
            if work.active[p]:
                read = work.b[p, memory.tx[i] if program.head[p, 1] == 0 else last]
                _add_general(
                    program.head[p],
                    program.factors,
                    work.a[p],
                    i,
                    read,
                    memory.ty,
                    memory.weight,
                    memory.delay,
                    memory.tag,
                    defects.group[row],
                    columns,
                    total,
                )
            elif whole:
                for j in columns:
                    total[j] = min(max(total[j], np.int32(LOWEST)), np.int32(HIGHEST))
        for variable in range(3):
            if program.used[variable]:
                own = memory.weight if variable == 0 else memory.delay if variable == 1 else memory.tag
                values, total = own[i], work.total[variable]
                if not noise.strict:
                    _store_shared(total, noise.rounding[index], cells.low[variable], cells.high[variable], columns, values)
                    continue
                masks = (cells.keep, cells.force) if variable == 0 else (cells.none, cells.none)
                masked = masks[0].shape[1] > 0
                _store_strict(
                    total,
                    cells.shift if variable == 0 else 0,
                    cells.low[variable],
                    cells.high[variable],
                    absorb(absorb(noise.keys[4 + variable], epoch), noise.first + i),
                    work.words,
                    defects.rounding[row],
                    defects.plastic[row],
                    cells.limit,
                    memory.writes[i],
                    memory.left,
                    masks[0][i if masked else 0],
                    masks[1][i if masked else 0],
                    cells.sign,
                    columns,
                    values,
                )
