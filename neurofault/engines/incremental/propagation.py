"""What a fault changes in one sample, and nothing else: compiled kernels of the incremental engine, which takes chains.

A fault is a few *units*: a neuron whose incoming weights differ (then its sums of the healthy run, plus what differs, are run
again) or whose train is fixed (dead or stuck). Neurons whose trains come out different disturb the sums of the next layer, by their
own rows or kernel windows in the steps that differ, and only places that are disturbed run again. Final potentials that are sums of
what arrives take the difference at once, if nothing can wrap, saturate or fire on the way; else they are run again like the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE
from neurofault.engines.exact.neuron_steps import compiled
from neurofault.engines.incremental.fault_table import FaultTable, Healthy, ThreadRoom
from neurofault.engines.incremental.trains import BlockRoom, Net, lowest, popcount, simulate, simulate_place

BLOCK = 16
"""Neurons that are run side by side where single ones are hit."""
COUNT_UNIT = 1 << 24
_DEAD = DEAD_SCORE
_ONE = np.uint64(1)


@compiled
def best(scores: NDArray[np.int64]) -> int:
    """Index of the highest score, the lowest of equals."""
    found = 0
    for j in range(1, scores.shape[0]):
        if scores[j] > scores[found]:
            found = j
    return found


@compiled
def add_row(
    rows: NDArray[np.int16], begins: int, times: int, left: int, dead: NDArray[np.bool_], scores: NDArray[np.int64]
) -> None:
    """Add an output row ``times`` times to the scores of the outputs that live."""
    for j in range(scores.shape[0]):
        if not dead[j]:
            scores[j] += (times * rows[begins + j]) << left


@compiled
def _touch(position: int, count: int, work: ThreadRoom) -> int:
    if not work.touched[position]:
        work.touched[position] = 1
        work.places[count] = position
        count += 1
    return count


@compiled
def _disturb(net: Net, layer: int, neuron: int, old: Any, count: int, work: ThreadRoom) -> int:
    """Add to ``work.extra`` what a changed neuron of the layer before sends otherwise; return the number of touched places."""
    steps, lanes = net.steps, net.lanes[layer]
    now = work.now[neuron]
    source = neuron - net.base[layer - 1]
    differs = old ^ now
    if net.kind[layer] == 1:
        count = _touch(np.int64(0), count, work)
        begins = net.row_base[layer] + source * lanes
        row = net.rows[begins : begins + lanes]
        while differs:
            step = lowest(differs)
            differs &= differs - _ONE
            extra = work.extra[step * lanes : (step + 1) * lanes]
            if (now >> np.uint64(step)) & _ONE:
                for j in range(lanes):
                    extra[j] += row[j]
            else:
                for j in range(lanes):
                    extra[j] -= row[j]
        return count
    entry, pitch = net.table[net.table_base[layer] + source], net.pitch[layer]
    for strip in range(entry[2]):
        reached = entry[0] + strip * pitch[0]
        word = entry[1] + strip * pitch[1] + net.word_base[layer]
        for _ in range(entry[3]):
            done = np.int64(0)
            while done < entry[4]:
                place = (reached + done) // lanes
                lane = (reached + done) - place * lanes
                length = min(entry[4] - done, lanes - lane)
                count = _touch(place, count, work)
                words = net.words[word + done : word + done + length]
                left = differs
                while left:
                    step = lowest(left)
                    left &= left - _ONE
                    first = (place * steps + step) * lanes + lane
                    extra = work.extra[first : first + length]
                    if (now >> np.uint64(step)) & _ONE:
                        for j in range(length):
                            extra[j] += words[j]
                    else:
                        for j in range(length):
                            extra[j] -= words[j]
                done += length
            reached += pitch[2]
            word += pitch[3]
    return count


@compiled
def _reweigh(net: Net, layer: int, unit: int, rows: FaultTable, count: int, work: ThreadRoom) -> int:
    """Add to ``work.extra`` what a unit's changed weights bring; return the number of touched places."""
    target = rows.neuron[unit] - net.base[layer]
    place = target // net.lanes[layer]
    lane = target - place * net.lanes[layer]
    for edit in range(rows.edits[unit], rows.edits[unit + 1]):
        word = work.now[rows.source[edit]]
        if word:
            count = _touch(place, count, work)
        while word:
            step = lowest(word)
            word &= word - _ONE
            work.extra[(place * net.steps + step) * net.lanes[layer] + lane] += rows.delta[edit]
    return count


@compiled
def _resum(net: Net, layer: int, place: int, sums: NDArray[Any], bench: BlockRoom, work: ThreadRoom) -> None:
    """Write a touched place's sums to ``bench.drive`` and clean the place."""
    lanes = net.lanes[layer]
    for step in range(net.steps):
        first = (place * net.steps + step) * lanes
        drive, extra = bench.drive[step][:lanes], work.extra[first : first + lanes]
        kept = sums[net.sums[layer] + first : net.sums[layer] + first + lanes]
        for j in range(lanes):
            drive[j] = kept[j] + extra[j]
            extra[j] = 0
    work.touched[place] = 0


@compiled
def _changed(neuron: int, train: Any, healthy: Healthy, work: ThreadRoom, end: int) -> int:
    if train != healthy.trains[neuron] and not work.held[neuron]:
        work.now[neuron] = train
        work.changed[end] = neuron
        end += 1
    return end


@compiled
def run_block(net: Net, layer: int, bench: BlockRoom, work: ThreadRoom) -> None:
    """Run the block of single neurons."""
    simulate(
        bench, work.drive, net.steps, np.int64(BLOCK), work.keep_u, work.keep_v, work.threshold, work.start, work.bias,
        net.remembers[layer], net.leaks[layer], net.left[layer], net.right[layer],
    )  # fmt: skip


@compiled
def board(net: Net, layer: int, target: int, seat: int, sums: NDArray[Any], word: Any, delta: Any, work: ThreadRoom) -> None:
    """Seat one neuron in the block, with its sums plus ``delta`` in the steps of ``word``."""
    work.keep_u[seat], work.keep_v[seat] = net.keep_u[target], net.keep_v[target]
    work.threshold[seat], work.start[seat], work.bias[seat] = net.threshold[target], net.start[target], net.bias[target]
    work.target[seat] = target
    lanes = net.lanes[layer]
    place = (target - net.base[layer]) // lanes
    at = net.sums[layer] + place * net.steps * lanes + (target - net.base[layer] - place * lanes)
    for step in range(net.steps):
        work.drive[step, seat] = np.int32(sums[at]) + np.int32((word >> np.uint64(step)) & _ONE) * delta
        at += lanes


@compiled
def _hidden(
    net: Net,
    layer: int,
    begin: int,
    end: int,
    unit: int,
    stop: int,
    rows: FaultTable,
    healthy: Healthy,
    bench: BlockRoom,
    work: ThreadRoom,
) -> int:
    """Run what is touched of a hidden layer; return the new end of the stack ``work.changed``.

    ``begin`` to ``end`` are the stack's neurons of the layer before, ``unit`` to ``stop`` the fault's units in this layer.
    """
    for each in range(unit, stop):
        if rows.fixed[each]:
            work.held[rows.neuron[each]] = 1
    top = end
    if end == begin:
        seats = np.int64(0)
        for each in range(unit, stop):
            if rows.fixed[each]:
                continue
            heard = np.uint64(0)
            for edit in range(rows.edits[each], rows.edits[each + 1]):
                heard |= work.now[rows.source[edit]]
            if not heard:
                continue
            at = rows.edits[each]
            board(net, layer, rows.neuron[each], seats, healthy.sums, work.now[rows.source[at]], rows.delta[at], work)
            for edit in range(at + 1, rows.edits[each + 1]):
                word = work.now[rows.source[edit]]
                while word:
                    work.drive[lowest(word), seats] += rows.delta[edit]
                    word &= word - _ONE
            seats += 1
            if seats == BLOCK:
                run_block(net, layer, bench, work)
                for seat in range(seats):
                    top = _changed(work.target[seat], bench.trains[seat], healthy, work, top)
                seats = np.int64(0)
        if seats:
            run_block(net, layer, bench, work)
            for seat in range(seats):
                top = _changed(work.target[seat], bench.trains[seat], healthy, work, top)
    else:
        count = np.int64(0)
        for at in range(begin, end):
            count = _disturb(net, layer, work.changed[at], healthy.trains[work.changed[at]], count, work)
        for each in range(unit, stop):
            if not rows.fixed[each]:
                count = _reweigh(net, layer, each, rows, count, work)
        lanes = net.lanes[layer]
        for at in range(count):
            place = work.places[at]
            _resum(net, layer, place, healthy.sums, bench, work)
            simulate_place(net, layer, place, bench)
            first = net.base[layer] + place * lanes
            for j in range(lanes):
                top = _changed(first + j, bench.trains[j], healthy, work, top)
    return _fix(unit, stop, rows, healthy, work, top)


@compiled
def _fix(unit: int, stop: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, top: int) -> int:
    """Give held neurons their trains and let go of them."""
    for each in range(unit, stop):
        if rows.fixed[each]:
            work.held[rows.neuron[each]] = 0
            top = _changed(rows.neuron[each], rows.train[each], healthy, work, top)
    return top


@compiled
def _output(
    net: Net, begin: int, end: int, unit: int, stop: int, rows: FaultTable, healthy: Healthy, bench: BlockRoom, work: ThreadRoom
) -> int:
    """Fill ``work.scores`` in; return the new end of the stack of changed neurons."""
    last = net.size.shape[0] - 1
    base, size, top = net.base[last], net.size[last], end
    scores = work.scores
    for j in range(size):
        scores[j] = healthy.scores[j]
    swing = np.int64(0)
    for at in range(begin, end):
        neuron = work.changed[at]
        swing += popcount(work.now[neuron] ^ healthy.trains[neuron]) * net.heaviest
    for each in range(unit, stop):
        for edit in range(rows.edits[each], rows.edits[each + 1]):
            swing += popcount(work.now[rows.source[edit]]) * abs(np.int64(rows.delta[edit]))
    if swing <= healthy.room:
        for at in range(begin, end):
            neuron = work.changed[at]
            more = popcount(work.now[neuron]) - popcount(healthy.trains[neuron])
            if more:
                begins = net.row_base[last] + (neuron - net.base[last - 1]) * net.lanes[last]
                row = net.rows[begins : begins + size]
                for j in range(size):
                    scores[j] += (more * row[j]) << net.left[last]
        for each in range(unit, stop):
            for edit in range(rows.edits[each], rows.edits[each + 1]):
                count = popcount(work.now[rows.source[edit]])
                scores[rows.neuron[each] - base] += (count * rows.delta[edit]) << net.left[last]
    else:
        count = np.int64(0)
        for at in range(begin, end):
            count = _disturb(net, last, work.changed[at], healthy.trains[work.changed[at]], count, work)
        for each in range(unit, stop):
            if not rows.fixed[each]:
                count = _reweigh(net, last, each, rows, count, work)
            else:
                work.held[rows.neuron[each]] = 1
        if count:
            _resum(net, last, np.int64(0), healthy.sums, bench, work)
            simulate_place(net, last, np.int64(0), bench)
            for j in range(size):
                scores[j] = bench.v[j]
                if net.counted:
                    scores[j] += popcount(bench.trains[j]) * COUNT_UNIT
                top = _changed(base + j, bench.trains[j], healthy, work, top)
    for j in range(size):
        if net.dead[j]:
            scores[j] = _DEAD
    for each in range(unit, stop):
        if rows.fixed[each]:
            scores[rows.neuron[each] - base] = _DEAD
    return _fix(unit, stop, rows, healthy, work, top)


@compiled
def ripple(
    net: Net,
    layer: int,
    begin: int,
    end: int,
    unit: int,
    stop: int,
    rows: FaultTable,
    healthy: Healthy,
    bench: BlockRoom,
    work: ThreadRoom,
) -> int:
    """Follow a fault from ``layer`` to the output; return the end of the stack of changed neurons; ``work.scores`` is filled in.

    ``layer`` is the first to look at, ``begin`` to ``end`` are the neurons of the layer before that changed, in the stack, ``unit``
    to ``stop`` the fault's units in this layer and later.
    """
    last = net.size.shape[0] - 1
    while True:
        if begin == end:
            if unit == stop:
                break
            layer = rows.layer[unit]
        until = unit
        while until < stop and rows.layer[until] == layer:
            until += 1
        if layer == last:
            return _output(net, begin, end, unit, until, rows, healthy, bench, work)
        top = _hidden(net, layer, begin, end, unit, until, rows, healthy, bench, work)
        begin, end, unit, layer = end, top, until, layer + 1
    for j in range(work.scores.shape[0]):
        work.scores[j] = healthy.scores[j]
    return end
