"""What a fault changes in one sample, and nothing else: compiled kernels of the incremental engine.

A fault is a few *units*: a neuron whose drive differs, whose train is fixed (dead or stuck), or that follows a script (numbers that change, flips
of its state, damage that comes and goes). Neurons whose trains come out different disturb the drive of what they drive, by their own rows, kernel
windows or lists in the steps that differ, and only places that are disturbed run again. Final potentials that are sums of what arrives take the
difference at once, if nothing can wrap, saturate or fire on the way; else they are run again like the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE
from neurofault.compiled import part
from neurofault.engines.incremental.drive_changes import (
    add_piece,
    add_row,
    count_piece,
    differences,
    disturb,
    place_of,
    span_of,
    spikes_before,
    touch,
)
from neurofault.engines.incremental.fault_table import (
    BIAS,
    CLOSED,
    FIXED,
    FLOOR,
    KEEP_U,
    KEEP_V,
    REFRACTORY,
    REST,
    SCRIPT,
    THRESHOLD,
    WAITING,
    WEIGHTS,
    FaultTable,
    Healthy,
    ThreadRoom,
    U,
    V,
)
from neurofault.engines.incremental.net import DENSE, LANES, Net
from neurofault.engines.incremental.steps import (
    perform,
    perform_steady,
    popcount,
    round_lanes,
    rounded,
    silent_at_the_end,
    simulate,
)

COUNT_UNIT = 1 << 24
_DEAD = DEAD_SCORE
_ONE, _NONE = np.uint32(1), np.uint32(0)


@part
def best(scores: NDArray[np.int64]) -> int:
    """Index of the highest score, the lowest of equals."""
    found = 0
    for j in range(1, scores.shape[0]):
        if scores[j] > scores[found]:
            found = j
    return found


@part
def _changed(net: Net, neuron: int, bits: NDArray[np.uint32], lane: int, healthy: Healthy, work: ThreadRoom, end: int) -> int:
    """Note a neuron's train, of a lane of ``bits`` [words, n], if it differs; return the new end of the stack."""
    first, differs = neuron * net.words, False
    for word in range(net.words):
        if bits[word, lane] != healthy.trains[first + word]:
            differs = True
    if differs:
        for word in range(net.words):
            work.now[first + word] = bits[word, lane]
        work.changed[end] = neuron
        end += 1
    return int(end)


@part
def seat(net: Net, neuron: int, lane: int, work: ThreadRoom) -> None:
    """Give a lane of the block the numbers of a neuron, before the first step."""
    block = work.block
    block.numbers[KEEP_U, lane], block.numbers[KEEP_V, lane] = net.neurons[neuron].keep_u, net.neurons[neuron].keep_v
    block.numbers[THRESHOLD, lane], block.numbers[BIAS, lane] = net.neurons[neuron].threshold, net.neurons[neuron].bias
    block.numbers[REFRACTORY, lane], block.numbers[FLOOR, lane] = net.neurons[neuron].refractory, net.neurons[neuron].floor
    block.numbers[U, lane], block.numbers[V, lane], block.numbers[WAITING, lane] = 0, net.neurons[neuron].start, 0
    work.seats[lane].neuron = neuron
    block.keep[0, lane], block.keep[1, lane] = net.neurons[neuron].keep_u / 4096.0, net.neurons[neuron].keep_v / 4096.0
    for word in range(net.words):
        block.bits[word, lane] = _NONE


@part
def _final(net: Net, neuron: int, v: Any, train: NDArray[np.uint32], first: int, pitch: int, work: ThreadRoom) -> None:
    """Write the score of an output that was run; its train begins at ``first``."""
    output = net.output_of[neuron - net.pops[net.readout].base]
    if output < 0 or net.dead[output]:
        return
    score = np.int64(v)
    if net.counted:
        for word in range(net.words):
            score += popcount(train[first + word * pitch]) * COUNT_UNIT
    work.scores[output] = score


@part
def _run_seats(net: Net, population: int, seats: int, healthy: Healthy, work: ThreadRoom, top: int) -> int:
    round_lanes(net, population, np.int64(0), work.block)
    simulate(net, population, np.int64(0), np.int64(LANES), work.block)
    for lane in range(seats):
        top = _changed(net, work.seats[lane].neuron, work.block.bits, lane, healthy, work, top)
        if population == net.readout:
            _final(
                net, work.seats[lane].neuron, work.block.numbers[V, lane], work.block.bits.reshape(-1), lane, np.int64(LANES), work
            )
    return top


@part
def _run_scripts(
    net: Net, population: int, unit: int, stop: int, together: bool, rows: FaultTable, healthy: Healthy, work: ThreadRoom, top: int
) -> int:  # fmt: skip
    """Run the units that go by scripts; what differs in their drive stands in ``work.extra``, ``together``: something may."""
    span, lanes, first = span_of(net, population), net.pops[population].lanes, net.pops[population].group
    plain = not (together or net.pops[population].ruled or net.groups[first].right)
    for each in range(unit, stop):
        if rows.units[each].kind != SCRIPT:
            continue
        neuron, what = rows.units[each].neuron, rows.units[each].what
        whole, at = place_of(net, population, neuron)
        steady = rows.scripts[what].steady
        if plain and steady >= 0:
            v = perform_steady(net, neuron, steady, rows, healthy.sums, whole, lanes, work.train)
        else:
            for step in range(net.steps):
                total = np.int32(0)
                for group in range(net.pops[population].groups):
                    place = group * span + step * lanes
                    held = np.int32(healthy.sums[whole + place] + work.extra[at + place])
                    total = np.int32(total + rounded(net, first + group, held))
                work.column[step] = total
            v = perform(net, population, neuron, what, healthy.sample, rows, work.column, work.train)
        if population == net.readout:
            if silent_at_the_end(net, what, healthy.sample, rows):
                work.scores[net.output_of[neuron - net.pops[population].base]] = _DEAD
            else:
                _final(net, neuron, v, work.train, np.int64(0), np.int64(1), work)
        top = _changed(net, neuron, work.train.reshape((net.words, 1)), np.int64(0), healthy, work, top)
    return int(top)


@part
def _run_alone(
    net: Net, population: int, unit: int, stop: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, top: int
) -> int:
    """Run units of a population that nothing else disturbs, and whose drive is one sum, side by side; their drive differs."""
    seats, lanes = np.int64(0), net.pops[population].lanes
    for each in range(unit, stop):
        if rows.units[each].kind != WEIGHTS:
            continue
        neuron = rows.units[each].neuron
        whole, _ = place_of(net, population, neuron)
        for step in range(net.steps):
            work.block.drive[step, seats] = healthy.sums[whole + step * lanes]
        moved = np.int64(0)
        for edit in range(rows.units[each].first, rows.units[each + 1].first):
            moved += add_piece(
                net, rows, rows.pieces, edit, healthy.sample, work.now, work.block.drive.reshape(-1), seats, np.int64(LANES)
            )
        if moved:
            seat(net, neuron, seats, work)
            seats += 1
            if seats == LANES:
                top = _run_seats(net, population, seats, healthy, work, top)
                seats = np.int64(0)
    if seats:
        top = _run_seats(net, population, seats, healthy, work, top)
    return int(top)


@part
def _run_place(net: Net, population: int, place: int, healthy: Healthy, work: ThreadRoom, top: int) -> int:
    """Run a touched place again and clean it."""
    lanes, span, base = net.pops[population].lanes, span_of(net, population), net.pops[population].sums
    first = net.pops[population].base + place * lanes
    for group in range(net.pops[population].groups):
        number = net.pops[population].group + group
        simply = group == 0 and not net.groups[number].right
        for step in range(net.steps):
            at = group * span + (place * net.steps + step) * lanes
            drive, extra = work.place.drive[step][:lanes], work.extra[at : at + lanes]
            kept = healthy.sums[base + at : base + at + lanes]
            if simply:
                for j in range(lanes):
                    drive[j] = np.int32(kept[j] + extra[j])
                    extra[j] = 0
            else:
                for j in range(lanes):
                    total = rounded(net, number, np.int32(kept[j] + extra[j]))
                    drive[j] = np.int32(total + drive[j]) if group else total
                    extra[j] = 0
    work.touched[place] = 0
    own = work.place
    for j in range(lanes):
        own.numbers[KEEP_U, j], own.numbers[KEEP_V, j] = net.neurons[first + j].keep_u, net.neurons[first + j].keep_v
        own.numbers[THRESHOLD, j], own.numbers[BIAS, j] = net.neurons[first + j].threshold, net.neurons[first + j].bias
        own.numbers[REFRACTORY, j], own.numbers[FLOOR, j] = net.neurons[first + j].refractory, net.neurons[first + j].floor
        own.numbers[U, j], own.numbers[V, j], own.numbers[WAITING, j] = 0, net.neurons[first + j].start, 0
        own.keep[0, j], own.keep[1, j] = net.neurons[first + j].keep_u / 4096.0, net.neurons[first + j].keep_v / 4096.0
    for word in range(net.words):
        for j in range(lanes):
            own.bits[word, j] = _NONE
    simulate(net, population, np.int64(0), lanes, own)
    for j in range(lanes):
        if not work.held[first + j]:
            top = _changed(net, first + j, own.bits, j, healthy, work, top)
            if population == net.readout:
                _final(net, first + j, own.numbers[V, j], own.bits.reshape(-1), j, np.int64(own.bits.shape[1]), work)
    return top


@part
def _quickly(net: Net, unit: int, stop: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom) -> bool:
    """Add what differs to final sums, if they are sums and stay in their room; return whether that was all."""
    swing, last = np.int64(0), net.readout
    if healthy.room < 0:
        return False
    for wire in range(net.pops[last].into, net.pops[last].until):
        source = net.wires[wire].source
        if work.parts[source].begin != work.parts[source].end and net.wires[wire].kind != DENSE:
            return False
        for at in range(work.parts[source].begin, work.parts[source].end):
            swing += differences(net, work.now, healthy.trains, work.changed[at]) * net.wires[wire].heaviest
    for each in range(unit, stop):
        if rows.units[each].kind == SCRIPT:
            return False
        for edit in range(rows.units[each].first, rows.units[each + 1].first):
            swing += count_piece(net, rows, rows.pieces, edit, healthy.sample, work.now) * abs(np.int64(rows.pieces[edit].delta))
    if swing > healthy.room:
        return False
    for wire in range(net.pops[last].into, net.pops[last].until):
        source, until = net.wires[wire].source, net.steps - net.wires[wire].lag
        for at in range(work.parts[source].begin, work.parts[source].end):
            neuron = work.changed[at]
            more = spikes_before(net, work.now, neuron, until) - spikes_before(net, healthy.trains, neuron, until)
            if more:
                add_row(net, wire, neuron, more, work.scores)
    for each in range(unit, stop):
        output = rows.units[each].neuron - net.pops[last].base
        for edit in range(rows.units[each].first, rows.units[each + 1].first):
            if not net.dead[output]:
                count = count_piece(net, rows, rows.pieces, edit, healthy.sample, work.now)
                work.scores[output] += count * np.int64(rows.pieces[edit].delta)
    return True


@part
def _add_pieces(net: Net, population: int, unit: int, rows: FaultTable, healthy: Healthy, count: int, work: ThreadRoom) -> int:
    """Add a unit's pieces to ``work.extra``; return the number of touched places."""
    _, at = place_of(net, population, rows.units[unit].neuron)
    moved = np.int64(0)
    for edit in range(rows.units[unit].first, rows.units[unit + 1].first):
        begin = at + rows.pieces[edit].group * span_of(net, population)
        moved += add_piece(net, rows, rows.pieces, edit, healthy.sample, work.now, work.extra, begin, net.pops[population].lanes)
    if moved:
        count = touch((rows.units[unit].neuron - net.pops[population].base) // net.pops[population].lanes, count, work)
    return int(count)


@part
def _advance(
    net: Net, population: int, unit: int, stop: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, top: int
) -> int:
    """Run what is touched of a population; return the new end of the stack of changed neurons."""
    disturbed = False
    for wire in range(net.pops[population].into, net.pops[population].until):
        disturbed |= work.parts[net.wires[wire].source].begin != work.parts[net.wires[wire].source].end
    if population == net.readout and _quickly(net, unit, stop, rows, healthy, work):
        disturbed = False
    else:
        count = np.int64(0)
        if disturbed:
            for wire in range(net.pops[population].into, net.pops[population].until):
                source = net.wires[wire].source
                for at in range(work.parts[source].begin, work.parts[source].end):
                    count = disturb(net, population, wire, work.changed[at], healthy.trains, count, work)
        for each in range(unit, stop):
            if rows.units[each].kind == SCRIPT:
                count = _add_pieces(net, population, each, rows, healthy, count, work)
            if rows.units[each].kind != WEIGHTS:
                work.held[rows.units[each].neuron] = 1
        together = count > 0 or net.pops[population].groups > 1
        for each in range(unit, stop if together else unit):
            if rows.units[each].kind == WEIGHTS:
                count = _add_pieces(net, population, each, rows, healthy, count, work)
        if unit < stop:
            top = _run_scripts(net, population, unit, stop, together, rows, healthy, work, top)
            if not together:
                top = _run_alone(net, population, unit, stop, rows, healthy, work, top)
        for at in range(count):
            top = _run_place(net, population, work.places[at], healthy, work, top)
    for each in range(unit, stop):
        neuron = rows.units[each].neuron
        work.held[neuron] = 0
        if rows.units[each].kind == FIXED:
            top = _changed(net, neuron, rows.trains[rows.units[each].what].reshape((net.words, 1)), np.int64(0), healthy, work, top)
            if population == net.readout:
                work.scores[net.output_of[neuron - net.pops[population].base]] = _DEAD
    return top


@part
def ripple(
    net: Net, population: int, unit: int, stop: int, part: int, reached: bool, rows: FaultTable, healthy: Healthy, work: ThreadRoom
) -> tuple[int, bool]:  # fmt: skip
    """Follow a fault from a population on; return the end of the stack of changed neurons, and whether the part that is not followed is reached.

    What is in the stack already is of populations before ``population`` (``work.parts``; those of the others are empty); ``unit`` to
    ``stop`` are the fault's units in this population and later. ``part``: its row of ``rows.roles``, −1: it is followed all the way. ``work.scores`` is filled
    in. Once the part is reached, what has changed in its populations means nothing.

    A loop sees its own healthy spikes: where no train of its populations differs then, none does, since every way round takes a step or more.
    """
    for j in range(work.scores.shape[0]):
        work.scores[j] = healthy.scores[j]
    top, farthest = np.int64(0), np.int64(-1)
    for before in range(population):
        if work.parts[before].end != work.parts[before].begin:
            top, farthest = max(top, work.parts[before].end), max(farthest, net.pops[before].farthest)
    while population < net.pops.shape[0] and (unit < stop or population <= farthest):
        if unit < stop and farthest < population:
            population = rows.units[unit].population
        until = unit
        while until < stop and rows.units[until].population == population:
            until += 1
        role = np.uint8(0) if part < 0 else rows.roles[part, population]
        if role & CLOSED and not reached:
            for wire in range(net.pops[population].into, net.pops[population].until):
                reached |= work.parts[net.wires[wire].source].begin != work.parts[net.wires[wire].source].end
        if not (role & REST and (reached or role & CLOSED)):
            end = _advance(net, population, unit, until, rows, healthy, work, top)
            work.parts[population].begin, work.parts[population].end = top, end
            if end != top:
                farthest = max(farthest, net.pops[population].farthest)
                if role & REST and net.pops[population].looped:
                    reached = True
            top = end
        unit, population = until, population + 1
    return int(top), reached


@part
def clean(net: Net, end: int, healthy: Healthy, work: ThreadRoom) -> None:
    """Forget what a fault has changed."""
    for at in range(end):
        first = work.changed[at] * net.words
        for word in range(net.words):
            work.now[first + word] = healthy.trains[first + word]
    for population in range(work.parts.shape[0]):
        work.parts[population].begin = work.parts[population].end = 0
