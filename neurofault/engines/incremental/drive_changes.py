"""What a fault changes in the drive of neurons: compiled kernels that add rows, kernel windows, lists and single pieces to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE
from neurofault.compiled import part
from neurofault.engines.incremental.fault_table import FaultTable, ThreadRoom
from neurofault.engines.incremental.net import DENSE, TAPS, Net
from neurofault.engines.incremental.steps import lowest, popcount

_DEAD = DEAD_SCORE
_ONE = np.uint32(1)


@part
def spikes_before(net: Net, trains: NDArray[np.uint32], neuron: int, stop: int) -> int:
    """Count the spikes of a neuron in steps 0 to ``stop`` − 1."""
    total, first = np.int64(0), neuron * net.words
    for word in range(net.words):
        left = stop - word * 32
        if left <= 0:
            break
        bits = trains[first + word]
        if left < 32:
            bits &= np.uint32((_ONE << np.uint32(left)) - _ONE)
        total += popcount(bits)
    return int(total)


@part
def differences(net: Net, first: NDArray[np.uint32], second: NDArray[np.uint32], neuron: int) -> int:
    """Count the steps in which two trains of a neuron differ."""
    total, begin = np.int64(0), neuron * net.words
    for word in range(net.words):
        total += popcount(np.uint32(first[begin + word] ^ second[begin + word]))
    return int(total)


@part
def span_of(net: Net, population: int) -> int:
    """Return how many numbers one sum of a population's drive has."""
    return int(net.pops[population].positions * net.pops[population].lanes * net.steps)


@part
def touch(position: int, count: int, work: ThreadRoom) -> int:
    """Note a place that must run again; return the number of touched places."""
    if not work.touched[position]:
        work.touched[position] = 1
        work.places[count] = position
        count += 1
    return count


@part
def disturb(net: Net, population: int, wire: int, neuron: int, old: NDArray[np.uint32], count: int, work: ThreadRoom) -> int:
    """Add to ``work.extra`` what a changed neuron sends otherwise over a wire; return the number of touched places."""
    lanes, begin = net.pops[population].lanes, net.wires[wire].group * span_of(net, population)
    source = neuron - net.pops[net.wires[wire].source].base
    if net.wires[wire].kind == TAPS:
        return _disturb_taps(net, population, wire, source, neuron, old, count, work)
    if net.wires[wire].kind == DENSE:
        begins = net.wires[wire].first + source * net.wires[wire].pitch
        for place in range(net.pops[population].positions):
            at, first = begins + place * lanes, begin + place * net.steps * lanes
            if net.wires[wire].wide:
                count = _add_run(net, wire, neuron, old, net.wide[at : at + lanes], first, lanes, place, count, work)
            else:
                count = _add_run(net, wire, neuron, old, net.rows[at : at + lanes], first, lanes, place, count, work)
        return int(count)
    window = net.wires[wire].first + source
    for synapse in range(net.windows[window], net.windows[window + 1]):
        target = np.int64(net.targets[synapse])
        place = target // lanes
        first = begin + place * net.steps * lanes + target - place * lanes
        count = _add_run(net, wire, neuron, old, net.weights[synapse : synapse + 1], first, lanes, place, count, work)
    return int(count)


@part
def _disturb_taps(
    net: Net, population: int, wire: int, source: int, neuron: int, old: NDArray[np.uint32], count: int, work: ThreadRoom
) -> int:
    lanes, pitch, begin = net.pops[population].lanes, net.wires[wire], net.wires[wire].group * span_of(net, population)
    entry = net.table[pitch.first + source]
    for strip in range(entry[2]):
        reached = entry[0] + strip * pitch.row_targets
        word = entry[1] + strip * pitch.row_words + pitch.word
        for _ in range(entry[3]):
            done = np.int64(0)
            while done < entry[4]:
                place = (reached + done) // lanes
                lane = (reached + done) - place * lanes
                length = min(entry[4] - done, lanes - lane)
                at, first = word + done, begin + place * net.steps * lanes + lane
                if pitch.wide:
                    count = _add_run(net, wire, neuron, old, net.wide[at : at + length], first, lanes, place, count, work)
                else:
                    count = _add_run(net, wire, neuron, old, net.kernel[at : at + length], first, lanes, place, count, work)
                done += length
            reached += pitch.block_targets
            word += pitch.block_words
    return int(count)


@part
def _add_run(
    net: Net, wire: int, neuron: int, old: NDArray[np.uint32], weights: NDArray[Any], first: int, pitch: int, place: int, count: int,
    work: ThreadRoom,
) -> int:  # fmt: skip
    """Add a run of weights in the steps in which a neuron's train differs; return the number of touched places.

    ``first``: where the run's first lane has its step 0 in ``work.extra``; ``pitch``: from step to step.
    """
    size, left, lag = weights.shape[0], net.wires[wire].left, net.wires[wire].lag
    for word in range(net.words):
        now = work.now[neuron * net.words + word]
        differs = np.uint32(old[neuron * net.words + word] ^ now)
        while differs:
            bit = lowest(differs)
            differs &= np.uint32(differs - _ONE)
            step = word * 32 + bit + lag
            if step >= net.steps:
                break
            count = touch(place, count, work)
            extra = work.extra[first + step * pitch : first + step * pitch + size]
            if (now >> np.uint32(bit)) & _ONE:
                for j in range(size):
                    extra[j] = np.int32(extra[j] + np.int32(np.int32(weights[j]) << left))
            else:
                for j in range(size):
                    extra[j] = np.int32(extra[j] - np.int32(np.int32(weights[j]) << left))
    return int(count)


@part
def add_piece(
    net: Net, rows: FaultTable, pieces: NDArray[Any], each: int, sample: int, trains: NDArray[np.uint32], drive: NDArray[np.int32], at: int, pitch: int
) -> int:  # fmt: skip
    """Add a piece to a neuron's drive, which begins at ``at`` with ``pitch`` numbers from step to step; return how many steps it adds to."""
    source, delta, shift, mask = np.int64(pieces[each].source), pieces[each].delta, np.int64(pieces[each].shift), pieces[each].mask
    own = np.int64(0)
    if mask >= 0:
        own = rows.mask_rows[mask].begin + sample * rows.mask_rows[mask].pitch
    found = np.int64(0)
    for word in range(net.words):
        bits = trains[source * net.words + word]
        if mask >= 0:
            bits &= rows.masks[own, word]
        while bits:
            step = word * 32 + lowest(bits) + shift
            bits &= np.uint32(bits - _ONE)
            if step >= net.steps:
                break
            drive[at + step * pitch] = np.int32(drive[at + step * pitch] + delta)
            found += 1
    return int(found)


@part
def count_piece(net: Net, rows: FaultTable, pieces: NDArray[Any], each: int, sample: int, trains: NDArray[np.uint32]) -> int:
    """Count the steps to which a piece adds."""
    source, shift, mask = np.int64(pieces[each].source), np.int64(pieces[each].shift), pieces[each].mask
    if mask < 0:
        return spikes_before(net, trains, source, net.steps - shift)
    own, total = rows.mask_rows[mask].begin + sample * rows.mask_rows[mask].pitch, np.int64(0)
    for word in range(net.words):
        bits = np.uint32(trains[source * net.words + word] & rows.masks[own, word])
        while bits:
            total += 1 if word * 32 + lowest(bits) + shift < net.steps else 0
            bits &= np.uint32(bits - _ONE)
    return int(total)


@part
def place_of(net: Net, population: int, neuron: int) -> tuple[int, int]:
    """Return where a neuron's drive begins among that of all, and among that of its population; its pitch is the population's lanes."""
    own, lanes = neuron - net.pops[population].base, net.pops[population].lanes
    place = own // lanes
    at = place * net.steps * lanes + own - place * lanes
    return net.pops[population].sums + at, at


@part
def add_row(net: Net, wire: int, neuron: int, times: int, scores: NDArray[np.int64]) -> None:
    """Add a neuron's row of weights ``times`` times to the scores of the outputs that live."""
    begins = net.wires[wire].first + (neuron - net.pops[net.wires[wire].source].base) * net.wires[wire].pitch
    factor = times << net.wires[wire].left
    if net.wires[wire].wide:
        wide = net.wide[begins : begins + scores.shape[0]]
        for j in range(scores.shape[0]):
            scores[j] += factor * wide[j]
    else:
        row = net.rows[begins : begins + scores.shape[0]]
        for j in range(scores.shape[0]):
            scores[j] += factor * row[j]
    if net.any_dead:
        for j in range(scores.shape[0]):
            if net.dead[j]:
                scores[j] = _DEAD
