"""Faults that are one synapse: a compiled way of their own, neuron by neuron.

Of a neuron with many such faults the healthy states and the *room* are worked out once: how far its potential may move before a step is decided
otherwise. What stays in it changes nothing and is not run; of the rest sixteen are run side by side, from the first step that one of them changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.engines.exact.neuron_steps import _moved, _wrapped
from neurofault.engines.incremental.drive_changes import add_piece, add_row, count_piece, place_of
from neurofault.engines.incremental.fault_table import Counted, FaultTable, Healthy, Pending, Tally, ThreadRoom, U, V
from neurofault.engines.incremental.net import LANES, Net
from neurofault.engines.incremental.propagation import COUNT_UNIT, best, seat
from neurofault.engines.incremental.steps import decayed, entry, lowest, popcount, round_lanes, rounded, simulate

_MANY, _FEW = 8, 3
"""Faults of a neuron from which its room is worked out: of a word of steps, and of more."""
_ONE = np.uint32(1)
_FAR = 1 << 60
_ABOVE = 1.0 + 1e-9
"""Keeps bounds in float64 above what they stand for."""


@part
def account(row: int, label: int, prediction: int, healthy: Healthy, tally: Tally, kept: int) -> int:
    """Count a fault's prediction of a sample; return how many changes are kept."""
    if prediction != healthy.prediction:
        tally.changed[row] += 1
        tally.correct[row] += int(prediction == label) - int(healthy.prediction == label)
        if tally.kept.shape[0]:
            change = tally.kept[kept]
            change.row, change.sample, change.prediction = row, healthy.sample, prediction
            kept += 1
    return kept


@part
def survey(net: Net, trains: NDArray[np.uint32], work: ThreadRoom) -> None:
    """Note how often each neuron fires and when first."""
    for neuron in range(work.fired.shape[0]):
        total, first = np.int64(0), np.int64(net.steps)
        for word in range(net.words):
            bits = trains[neuron * net.words + word]
            if bits:
                if not total:
                    first = word * 32 + lowest(bits)
                total += popcount(bits)
        work.fired[neuron].active, work.fired[neuron].early = total, first


@part
def _reconsider(
    net: Net,
    population: int,
    seats: int,
    label: int,
    healthy: Healthy,
    work: ThreadRoom,
    tally: Tally,
    pending: Pending,
    count: Counted,
) -> Counted:
    """Account for the seated faults, which were run, whose neuron changed, or hand its train on."""
    wire, block = net.pops[population].shortcut, work.block
    for lane in range(seats):
        seat = work.seats[lane]
        first, differs, less = seat.neuron * net.words, np.int64(0), np.int64(0)
        for word in range(net.words):
            now, before = block.bits[word, lane], healthy.trains[first + word]
            differs += popcount(np.uint32(now ^ before))
            less += popcount(before) - popcount(now)
        if not differs:
            continue
        if wire >= 0 and differs * net.wires[wire].heaviest <= healthy.room:
            if less:
                for j in range(work.scores.shape[0]):
                    work.scores[j] = healthy.scores[j]
                add_row(net, wire, seat.neuron, -less, work.scores)
                count = Counted(account(seat.row, label, best(work.scores), healthy, tally, count.kept), count.pending)
            continue
        item = pending.faults[count.pending]
        item.row, item.neuron, item.population, item.sample = seat.row, seat.neuron, population, healthy.sample
        for word in range(net.words):
            pending.trains[count.pending, word] = block.bits[word, lane]
        count = Counted(count.kept, count.pending + 1)
    return count


@part
def _flush(
    net: Net, population: int, seats: int, label: int, healthy: Healthy, work: ThreadRoom, tally: Tally, pending: Pending, count: Counted
) -> Counted:  # fmt: skip
    """Run the seated faults, from the first step on, and account for them."""
    if seats:
        round_lanes(net, population, np.int64(0), work.block)
        simulate(net, population, np.int64(0), np.int64(LANES), work.block)
        count = _reconsider(net, population, seats, label, healthy, work, tally, pending, count)
    return count


@part
def _last(
    net: Net, each: int, neuron: int, label: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, tally: Tally, kept: int
) -> int:
    """Take a fault that is one synapse of the readout, which drives nothing."""
    output = net.output_of[neuron - net.pops[net.readout].base]
    if net.dead[output]:
        return kept
    count, delta = count_piece(net, rows, rows.alone, each, healthy.sample, healthy.trains), np.int64(rows.alone[each].delta)
    small = count * abs(delta) <= healthy.room
    if small:
        score, top = healthy.scores[output] + count * delta, healthy.scores[healthy.prediction]
        if output == healthy.prediction and delta > 0:
            return kept
        if output != healthy.prediction and (score < top or (score == top and output > healthy.prediction)):
            return kept
    for j in range(work.scores.shape[0]):
        work.scores[j] = healthy.scores[j]
    if small:
        work.scores[output] += count * delta
    else:
        whole, _ = place_of(net, net.readout, neuron)
        for step in range(net.steps):
            work.block.drive[step, 0] = healthy.sums[whole + step * net.pops[net.readout].lanes]
        add_piece(
            net, rows, rows.alone, each, healthy.sample, healthy.trains, work.block.drive.reshape(-1), np.int64(0), np.int64(LANES)
        )
        seat(net, neuron, np.int64(0), work)
        round_lanes(net, net.readout, np.int64(0), work.block)
        simulate(net, net.readout, np.int64(0), np.int64(LANES), work.block)
        work.scores[output] = work.block.numbers[V, 0]
        if net.counted:
            for word in range(net.words):
                work.scores[output] += popcount(work.block.bits[word, 0]) * COUNT_UNIT
    return account(rows.alone[each].row, label, best(work.scores), healthy, tally, kept)


@part
def _trace(net: Net, population: int, neuron: int, healthy: Healthy, work: ThreadRoom) -> None:
    """Run a healthy neuron of Lava's law; fill in its drive, its states, and how far v may rise, and fall, with no step decided otherwise."""
    whole, _ = place_of(net, population, neuron)
    lanes, u, v = net.pops[population].lanes, np.int32(0), net.neurons[neuron].start
    threshold, keep_u, keep_v, bias = (
        net.neurons[neuron].threshold,
        net.neurons[neuron].keep_u,
        net.neurons[neuron].keep_v,
        net.neurons[neuron].bias,
    )
    for word in range(net.words):
        up, down = np.int64(_FAR), np.int64(_FAR)
        for step in range(word * 32, min(word * 32 + 32, net.steps)):
            work.trace[0, step], work.trace[1, step] = u, v
            drive = healthy.sums[whole + step * lanes]
            work.column[step] = drive
            arrived = rounded(net, net.pops[population].group, drive)
            u = _wrapped(np.int32(arrived + decayed(u, keep_u)))
            moved = _moved(decayed(v, keep_v), u, bias)
            over = np.int64(moved) - np.int64(threshold)
            if over > 0:
                down = min(down, over - 1)
                v = np.int32(0)
            else:
                up = min(up, -over)
                v = moved
        work.slack[0, word], work.slack[1, word] = np.float64(up), np.float64(down)


@part
def _respond(net: Net, population: int, source: int, healthy: Healthy, work: ThreadRoom) -> None:
    """Fill in what a source's spikes do to neurons of a population in this sample, at most, unless it stands there already.

    Decay rounds towards 0, so what survives of a difference is less than 1 more than its share of it.
    """
    made = healthy.sample * net.pops.shape[0] + population
    if work.made[source] == made:
        return
    work.made[source] = made
    keep_u, keep_v = np.float64(net.pops[population].keeps_u) / 4096.0, np.float64(net.pops[population].keeps_v) / 4096.0
    error_u, error_v = np.float64(net.pops[population].remembers != 0), np.float64(net.pops[population].leaks != 0)
    u, v, rough_u, rough_v, begun = 0.0, 0.0, 0.0, 0.0, False
    for word in range(net.words):
        bits, most = healthy.trains[source * net.words + word], 0.0
        begun |= bits != 0
        if begun:
            for step in range(min(32, net.steps - word * 32)):
                u = u * keep_u + np.float64((bits >> np.uint32(step)) & _ONE)
                v = v * keep_v + u
                most = max(most, v)
                rough_u = rough_u * keep_u + error_u
                rough_v = rough_v * keep_v + rough_u + error_v
        work.responses[source, word].gain, work.responses[source, word].rounding = most * _ABOVE, rough_v * _ABOVE


@part
def _matters(
    net: Net, population: int, neuron: int, source: int, shift: int, delta: Any, healthy: Healthy, work: ThreadRoom
) -> bool:
    """Say whether additions of ``delta`` at a source's spikes might decide a step otherwise.

    More drive never lowers v, less never raises it (decays, sums that do not wrap, and saturation keep the order), so one side of the room counts, and the
    first step that is decided otherwise is one in which v leaves it.
    """
    size, side = abs(np.int64(delta)), 0 if delta > 0 else 1
    if net.pops[population].slack < size:
        return True
    if net.words == 1 and not net.pops[population].remembers and not net.pops[population].leaks:
        return bool(np.float64(work.fired[source].active * size) > work.slack[side, 0])
    _respond(net, population, source, healthy, work)
    late = 1 if shift & 31 else 0
    for word in range(shift >> 5, net.words):
        response = work.responses[source, word - (shift >> 5)]
        far, near = response.gain * size + response.rounding, work.slack[side, word]
        if late and word + 1 < net.words:
            near = min(near, work.slack[side, word + 1])
        if far > near:
            return True
    return False


@part
def _early_first(net: Net, count: int, rows: FaultTable, work: ThreadRoom) -> None:
    """Sort the chosen faults by the first spike of their sources."""
    heads = work.heads
    for step in range(net.steps + 2):
        heads[step] = 0
    for at in range(count):
        heads[work.fired[rows.alone[work.chosen[at]].source].early + 1] += 1
    for step in range(net.steps + 1):
        heads[step + 1] += heads[step]
    for at in range(count):
        each = work.chosen[at]
        step = work.fired[rows.alone[each].source].early
        work.sorted[heads[step]] = each
        heads[step] += 1
    for at in range(count):
        work.chosen[at] = work.sorted[at]


@part
def _screen(net: Net, population: int, neuron: int, chosen: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom) -> int:
    """Trace a neuron of Lava's law; keep those of its chosen faults that might decide a step otherwise, and return how many they are."""
    _trace(net, population, neuron, healthy, work)
    left = np.int64(0)
    for at in range(chosen):
        each = work.chosen[at]
        work.chosen[left] = each
        source, shift = np.int64(rows.alone[each].source), np.int64(rows.alone[each].shift)
        left += int(_matters(net, population, neuron, source, shift, rows.alone[each].delta, healthy, work))
    return int(left)


@part
def _column(
    net: Net, population: int, neuron: int, left: int, label: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, tally: Tally,
    pending: Pending, count: Counted,
) -> Counted:  # fmt: skip
    """Take the chosen faults of one traced neuron, from the first step that one of them changes."""
    if left > LANES and net.words > 1:
        _early_first(net, left, rows, work)
    block, at = work.block, np.int64(0)
    while at < left:
        seats, begin = min(np.int64(LANES), left - at), np.int64(net.steps)
        for lane in range(seats):
            each = work.chosen[at + lane]
            begin = min(begin, np.int64(work.fired[rows.alone[each].source].early) + np.int64(rows.alone[each].shift))
        if begin < net.steps:
            for lane in range(LANES):
                seat(net, neuron, lane, work)
                block.numbers[U, lane], block.numbers[V, lane] = work.trace[0, begin], work.trace[1, begin]
            for step in range(begin, net.steps):
                row, own = work.block.drive[step], work.column[step]
                for lane in range(LANES):
                    row[lane] = own
            for lane in range(seats):
                each = work.chosen[at + lane]
                work.seats[lane].row = rows.alone[each].row
                add_piece(
                    net, rows, rows.alone, each, healthy.sample, healthy.trains, work.block.drive.reshape(-1), lane, np.int64(LANES)
                )
            round_lanes(net, population, begin, work.block)
            simulate(net, population, begin, np.int64(LANES), block)
            for word in range((begin + 31) >> 5):
                before = healthy.trains[neuron * net.words + word]
                if word == begin >> 5:
                    before &= np.uint32((_ONE << np.uint32(begin & 31)) - _ONE)
                for lane in range(seats):
                    block.bits[word, lane] |= before
            count = _reconsider(net, population, seats, label, healthy, work, tally, pending, count)
        at += seats
    return count


@part
def _neuron(
    net: Net, place: int, population: int, seats: int, label: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom, tally: Tally,
    pending: Pending, count: Counted,
) -> tuple[int, Counted]:  # fmt: skip
    """Take the faults of one neuron; return how many of the block's seats are taken now by neurons of its population."""
    neuron = rows.targets[place].neuron
    read = population == net.readout
    calm = np.int64(-1) if read or work.fired[neuron].active else net.pops[population].slack
    chosen = np.int64(0)
    for each in range(rows.targets[place].first, rows.targets[place + 1].first):
        delta = np.int64(rows.alone[each].delta)
        work.chosen[chosen] = each
        chosen += int(work.fired[rows.alone[each].source].active != 0 and not (delta <= 0 and -delta <= calm))
    if read:
        kept = count.kept
        for at in range(chosen):
            kept = _last(net, work.chosen[at], neuron, label, rows, healthy, work, tally, kept)
        return seats, Counted(kept, count.pending)
    if chosen >= (_MANY if net.words == 1 else _FEW) and not net.pops[population].ruled:
        chosen = np.int64(_screen(net, population, neuron, chosen, rows, healthy, work))
        if chosen > LANES // 2:
            count = _flush(net, population, seats, label, healthy, work, tally, pending, count)
            return np.int64(0), _column(net, population, neuron, chosen, label, rows, healthy, work, tally, pending, count)
    whole, _ = place_of(net, population, neuron)
    lanes = net.pops[population].lanes
    for at in range(chosen):
        for step in range(net.steps):
            work.block.drive[step, seats] = healthy.sums[whole + step * lanes]
        each = work.chosen[at]
        if add_piece(
            net, rows, rows.alone, each, healthy.sample, healthy.trains, work.block.drive.reshape(-1), seats, np.int64(LANES)
        ):
            seat(net, neuron, seats, work)
            work.seats[seats].row = rows.alone[each].row
            seats += 1
        if seats == LANES:
            count, seats = _flush(net, population, seats, label, healthy, work, tally, pending, count), np.int64(0)
    return seats, count


@entry
def run_singles(
    net: Net, begin: int, window_first: int, sums: NDArray[np.int32], trains: NDArray[np.uint32], scores: NDArray[np.int64],
    room: NDArray[np.int64], labels: NDArray[np.int64], rows: FaultTable, work: ThreadRoom, tally: Tally, pending: Pending,
    progress: NDArray[np.int64],
) -> None:  # fmt: skip
    """Take every fault that is one piece on a window of samples, from sample ``begin`` of the window on.

    Args:
        net: the network.
        begin: first sample of the window that is not done yet.
        window_first: index of the window's first sample.
        sums: drives of the healthy run, [S, …].
        trains: of the healthy run, [S, neurons · words].
        scores: of the window.
        room: of the window.
        labels: [S], −1 where there is none.
        rows: the faults.
        work: room, clean.
        tally: results are added.
        pending: filled: neurons whose trains must be followed on.
        progress: [4] filled: samples done, changes kept, pending; the last is left as it is. It stops before a sample that might not have room for these.
    """
    count = Counted(np.int64(0), np.int64(0))
    for sample in range(begin, scores.shape[0]):
        taken = count.kept + count.pending + (sample - begin) * (rows.others.shape[0] - 1)
        full = tally.kept.shape[0] and tally.kept.shape[0] - taken < rows.faults
        if full or pending.faults.shape[0] - count.pending < rows.alone.shape[0]:
            progress[0], progress[1], progress[2] = sample, count.kept, count.pending
            return
        now = trains[sample]
        healthy = Healthy(window_first + sample, sums[sample], now, scores[sample], best(scores[sample]), room[sample])
        survey(net, now, work)
        population, seats = np.int64(0), np.int64(0)
        for place in range(rows.targets.shape[0] - 1):
            own = population
            while rows.targets[place].neuron >= net.pops[own].stop:
                own += 1
            if own != population:
                count, seats = _flush(net, population, seats, labels[sample], healthy, work, tally, pending, count), np.int64(0)
            population = own
            seats, count = _neuron(net, place, population, seats, labels[sample], rows, healthy, work, tally, pending, count)
        count = _flush(net, population, seats, labels[sample], healthy, work, tally, pending, count)
    progress[0], progress[1], progress[2] = scores.shape[0], count.kept, count.pending
