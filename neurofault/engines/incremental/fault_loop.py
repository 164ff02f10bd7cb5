"""Every fault on every sample but those of one synapse: compiled loops over a batch of faults.

A fault that is only dead or stuck neurons right before an output of plain sums needs no neuron to be run at all; faults of one synapse have a way of
their own (:mod:`neurofault.engines.incremental.singles`), which leaves here what must be followed on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.engines.incremental.drive_changes import add_row, spikes_before
from neurofault.engines.incremental.fault_table import FIXED, REST, SENDER, FaultTable, Handed, Healthy, Pending, Tally, ThreadRoom
from neurofault.engines.incremental.net import Net
from neurofault.engines.incremental.propagation import best, clean, ripple
from neurofault.engines.incremental.singles import account, survey
from neurofault.engines.incremental.steps import entry, lowest, popcount
from neurofault.graph.arithmetic import STATE_LIMIT

_ONE = np.uint32(1)


@entry
def keep_trains(starts: NDArray[np.int64], sources: NDArray[np.int32], first: int, words: int, trains: NDArray[np.uint32]) -> None:
    """Set the bits of a population's events.

    Args:
        starts: as in :mod:`neurofault.engines.exact.kernels`, [S, T + 1].
        sources: likewise.
        first: the population's first neuron.
        words: of a train.
        trains: [S, neurons · words], zero where the population is.
    """
    for sample in range(starts.shape[0]):
        for step in range(starts.shape[1] - 1):
            bit, word = np.uint32(_ONE << np.uint32(step & 31)), step >> 5
            for position in range(starts[sample, step], starts[sample, step + 1]):
                trains[sample, (first + sources[sample, position]) * words + word] |= bit


@entry
def write_events(trains: NDArray[np.uint32], words: int, starts: NDArray[np.int64], sources: NDArray[np.int32]) -> None:
    """Write a population's events.

    Args:
        trains: [S, n · words].
        words: of a train.
        starts: filled, as in :mod:`neurofault.engines.exact.kernels`, [S, T + 1].
        sources: filled, likewise; it has room for all.
    """
    steps = starts.shape[1] - 1
    for sample in range(starts.shape[0]):
        ends, own = starts[sample], trains[sample]
        for step in range(steps + 1):
            ends[step] = 0
        for place in range(own.shape[0]):
            bits, first = own[place], (place % words) * 32 + 1
            while bits:
                ends[first + lowest(bits)] += 1
                bits &= np.uint32(bits - _ONE)
        for step in range(steps):
            ends[step + 1] += ends[step]
        for step in range(steps, 0, -1):
            ends[step] = ends[step - 1]
        for place in range(own.shape[0]):
            bits, first = own[place], (place % words) * 32 + 1
            while bits:
                at = first + lowest(bits)
                sources[sample, ends[at]] = place // words
                ends[at] += 1
                bits &= np.uint32(bits - _ONE)


@entry
def keep_drive(drive: NDArray[np.int32], first: int, positions: int, lanes: int, sums: NDArray[np.int32]) -> None:
    """Copy a population's drive, [S, T, ≥ positions · lanes], to its place in ``sums`` [S, …], as [position, step, lane]."""
    steps = drive.shape[1]
    for sample in range(drive.shape[0]):
        for step in range(steps):
            for place in range(positions):
                at = first + (place * steps + step) * lanes
                row, out = drive[sample, step, place * lanes : (place + 1) * lanes], sums[sample, at : at + lanes]
                for j in range(row.shape[0]):
                    out[j] = row[j]


@entry
def headroom(net: Net, sums: NDArray[np.int32], room: NDArray[np.int64]) -> None:
    """Fill in how far final sums of each sample may move with no output wrapping, saturating or firing."""
    last = net.readout
    lanes, limit = net.pops[last].lanes, np.int64(STATE_LIMIT)
    for sample in range(room.shape[0]):
        least = limit
        for j in range(net.pops[last].size):
            neuron = net.pops[last].base + j
            bias, v = np.int64(net.neurons[neuron].bias), np.int64(net.neurons[neuron].start)
            top = min(np.int64(net.neurons[neuron].threshold), limit - 1)
            place = j // lanes
            first = net.pops[last].sums + place * net.steps * lanes + j - place * lanes
            for step in range(net.steps):
                u = np.int64(sums[sample, first + step * lanes])
                v += u + bias
                least = min(least, limit - 1 - abs(u), top - v, limit - 1 + v, limit * 64 - abs(u + bias) - abs(v))
        room[sample] = max(least, np.int64(-1))


@part
def _at_once(net: Net, unit: int, stop: int, rows: FaultTable, healthy: Healthy, work: ThreadRoom) -> int:
    """Fill in the scores of a fault that is neurons with fixed trains, right before final sums that stay in their room.

    Return 0: it is another; 1: nothing changes; 2: filled in.
    """
    for j in range(work.scores.shape[0]):
        work.scores[j] = healthy.scores[j]
    swing, moved = np.int64(0), False
    for each in range(unit, stop):
        fault = rows.units[each]
        wire = net.pops[fault.population].shortcut
        if fault.kind != FIXED or wire < 0:
            return 0
        first, differs, more = fault.neuron * net.words, np.int64(0), np.int64(0)
        for word in range(net.words):
            now, before = rows.trains[fault.what, word], healthy.trains[first + word]
            differs += popcount(np.uint32(now ^ before))
            more += popcount(now) - popcount(before)
        swing += differs * net.wires[wire].heaviest
        if more:
            add_row(net, wire, fault.neuron, more, work.scores)
            moved = True
    if swing > healthy.room:
        return 0
    return 2 if moved else 1


@part
def _count(
    net: Net, row: int, own_part: int, reached: bool, rows: FaultTable, healthy: Healthy, work: ThreadRoom, tally: Tally
) -> None:  # fmt: skip
    """Add what differs in a sample; of populations that are run anew, once reached, all spikes of the healthy run are taken away."""
    for population in range(net.pops.shape[0]):
        if reached and rows.roles[own_part, population] & REST:
            for neuron in range(net.pops[population].base, net.pops[population].stop):
                tally.spikes[row, neuron] -= work.fired[neuron].active
                tally.sample_spikes[row, healthy.sample] -= work.fired[neuron].active
        else:
            for place in range(work.parts[population].begin, work.parts[population].end):
                neuron = work.changed[place]
                more = spikes_before(net, work.now, neuron, net.steps) - work.fired[neuron].active
                tally.spikes[row, neuron] += more
                tally.sample_spikes[row, healthy.sample] += more
    for j in range(work.scores.shape[0]):
        tally.scores[row, healthy.sample, j] = work.scores[j]


@part
def _hand_on(
    net: Net, row: int, sample: int, own_part: int, rows: FaultTable, work: ThreadRoom, handed: Handed, progress: NDArray[np.int64]
) -> None:  # fmt: skip
    """Write a fault down that reaches what is not followed in a sample, and what the senders do with it."""
    case, place = progress[3], np.int64(0)
    handed.cases[case].row, handed.cases[case].sample = row, sample
    for population in range(net.pops.shape[0]):
        if rows.roles[own_part, population] & SENDER:
            for word in range(net.pops[population].base * net.words, net.pops[population].stop * net.words):
                handed.trains[case, place] = work.now[word]
                place += 1
    progress[3] += 1


@entry
def run_rest(
    net: Net, begin: int, stop: int, window_first: int, sums: NDArray[np.int32], trains: NDArray[np.uint32], scores: NDArray[np.int64],
    room: NDArray[np.int64], labels: NDArray[np.int64], rows: FaultTable, work: ThreadRoom, tally: Tally, pending: Pending,
    progress: NDArray[np.int64], handed: Handed,
) -> None:  # fmt: skip
    """Follow what is pending on, and every fault that is units, on samples ``begin`` to ``stop`` − 1 of a window.

    Args:
        net: the network.
        begin: first sample.
        stop: the first one after the last.
        window_first: index of the window's first sample.
        sums: drives of the healthy run, [S, …].
        trains: of the healthy run, [S, neurons · words].
        scores: of the window.
        room: of the window.
        labels: [S], −1 where there is none.
        rows: the faults.
        work: room, clean.
        tally: results are added.
        pending: what :func:`neurofault.engines.incremental.singles.run_singles` left.
        progress: [4]: as it left them; changes kept are counted on, and the last is how many are handed on.
        handed: filled, from its beginning: what the exact engine is to run; it has room for every fault of each sample.
    """
    kept, at = progress[1], np.int64(0)
    units = rows.others.shape[0] - 1
    for sample in range(begin, stop):
        now = trains[sample]
        healthy = Healthy(window_first + sample, sums[sample], now, scores[sample], best(scores[sample]), room[sample])
        waiting = np.int64(0)
        while at + waiting < progress[2] and pending.faults[at + waiting].sample == healthy.sample:
            waiting += 1
        if waiting or units:
            for word in range(now.shape[0]):
                work.now[word] = now[word]
        if units:
            survey(net, now, work)
        for fault in range(waiting + units):
            unit, last, population, own_part, reached = np.int64(0), np.int64(0), np.int64(0), np.int64(-1), False
            if fault < waiting:
                item = pending.faults[at + fault]
                row, population = item.row, item.population
                for word in range(net.words):
                    work.now[item.neuron * net.words + word] = pending.trains[at + fault, word]
                work.changed[0], work.parts[population].begin, work.parts[population].end = item.neuron, 0, 1
                population += 1
            else:
                other = rows.others[fault - waiting]
                row, unit, last = other.row, other.first, rows.others[fault - waiting + 1].first
                population, own_part, reached = rows.units[unit].population, other.part, other.always != 0
                if tally.spikes.shape[0] == 0:
                    found = _at_once(net, unit, last, rows, healthy, work)
                    if found == 2:
                        kept = account(row, labels[sample], best(work.scores), healthy, tally, kept)
                    if found:
                        continue
            end, reached = ripple(net, population, unit, last, own_part, reached, rows, healthy, work)
            if tally.spikes.shape[0]:
                _count(net, row, own_part, reached, rows, healthy, work, tally)
                if reached:
                    _hand_on(net, row, sample, own_part, rows, work, handed, progress)
            if not reached:
                kept = account(row, labels[sample], best(work.scores), healthy, tally, kept)
            clean(net, max(end, np.int64(1 if fault < waiting else 0)), healthy, work)
        at += waiting
    progress[1] = kept
