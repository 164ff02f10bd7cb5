"""Every fault on every sample of a chain: compiled loops over a batch of faults, with short ways for the two commonest kinds.

A fault that is one synapse is met source by source, so that silent sources cost nothing, and sixteen such faults are run side by
side. A fault that is only dead or stuck neurons right before an output of plain sums needs no neuron to be run at all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE
from neurofault.engines.exact.neuron_steps import compiled
from neurofault.engines.incremental.fault_table import FaultTable, Healthy, ThreadRoom
from neurofault.engines.incremental.propagation import (
    BLOCK,
    COUNT_UNIT,
    add_row,
    best,
    board,
    ripple,
    run_block,
)  # fmt: skip
from neurofault.engines.incremental.trains import BlockRoom, LayerEvents, Net, entry, popcount, run_sample

_DEAD = DEAD_SCORE
_LIMIT = 1 << 23


class ThreadTally(NamedTuple):
    """Results of one thread.

    Attributes:
        changed: int64 [F], samples whose prediction changed.
        correct: int64 [F], change in the number of samples classified as labelled.
        rows, samples: int32, predictions: int16, the changed predictions; no room: they are not kept.
        spikes: int64 [F, neurons], sample_spikes: int64 [F, N], scores: int64 [F, N, n_out]: differences, and scores; empty: not
            kept.
    """

    changed: NDArray[np.int64]
    correct: NDArray[np.int64]
    rows: NDArray[np.int32]
    samples: NDArray[np.int32]
    predictions: NDArray[np.int16]
    spikes: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    scores: NDArray[np.int64]


@compiled
def headroom(net: Net, sums: NDArray[Any]) -> int:
    """Return how far final sums may move, in weights, with no output wrapping, saturating or firing; −1: they are not sums."""
    last = net.size.shape[0] - 1
    if not net.linear:
        return -1
    room = np.int64(_LIMIT)
    lanes, first = net.lanes[last], net.sums[last]
    for j in range(net.size[last]):
        neuron = net.base[last] + j
        bias = np.int64(net.bias[neuron])
        top = min(np.int64(net.threshold[neuron]), _LIMIT - 1)
        v = np.int64(net.start[neuron])
        for step in range(net.steps):
            u = np.int64(sums[first + step * lanes + j]) << net.left[last]
            v += u + bias
            room = min(room, _LIMIT - 1 - abs(u), top - v, _LIMIT - 1 + v, _LIMIT * 64 - abs(u + bias) - abs(v))
    return int(room >> net.left[last] if room >= 0 else np.int64(-1))


@compiled
def _account(row: int, sample: int, label: int, prediction: int, healthy: Healthy, tally: ThreadTally, kept: int) -> int:
    if prediction != healthy.prediction:
        tally.changed[row] += 1
        tally.correct[row] += int(prediction == label) - int(healthy.prediction == label)
        if tally.rows.shape[0]:
            tally.rows[kept], tally.samples[kept], tally.predictions[kept] = row, sample, prediction
            kept += 1
    return kept


@compiled
def _clean(end: int, healthy: Healthy, work: ThreadRoom) -> None:
    for at in range(end):
        work.now[work.changed[at]] = healthy.trains[work.changed[at]]


@compiled
def _flush(
    net: Net, layer: int, seats: int, sample: int, label: int, rows: FaultTable, healthy: Healthy, bench: BlockRoom, work: ThreadRoom,
    tally: ThreadTally, kept: int, found: NDArray[np.uint64],
) -> int:  # fmt: skip
    """Run the seated faults and account for those whose neuron changed."""
    run_block(net, layer, bench, work)
    for seat in range(seats):
        found[seat] = bench.trains[seat]
    none = np.int64(0)
    last = net.size.shape[0] - 1
    for seat in range(seats):
        target = work.target[seat]
        if found[seat] == healthy.trains[target]:
            continue
        if layer + 1 == last and popcount(found[seat] ^ healthy.trains[target]) * net.heaviest <= healthy.room:
            more = popcount(found[seat]) - popcount(healthy.trains[target])
            if more:
                for j in range(work.scores.shape[0]):
                    work.scores[j] = healthy.scores[j]
                add_row(
                    net.rows, net.row_base[last] + (target - net.base[layer]) * net.lanes[last], more, net.left[last], net.dead,
                    work.scores,
                )  # fmt: skip
                prediction = best(work.scores)
                if prediction != healthy.prediction:
                    kept = _account(work.row[seat], sample, label, prediction, healthy, tally, kept)
            continue
        work.now[target] = found[seat]
        work.changed[0] = target
        end = ripple(net, layer + 1, none, none + 1, none, none, rows, healthy, bench, work)
        kept = _account(work.row[seat], sample, label, best(work.scores), healthy, tally, kept)
        _clean(end, healthy, work)
    return kept


@compiled
def _singles(
    net: Net, sample: int, label: int, rows: FaultTable, healthy: Healthy, bench: BlockRoom, work: ThreadRoom, tally: ThreadTally, kept: int,
    found: NDArray[np.uint64],
) -> int:  # fmt: skip
    """Take every fault that is one synapse, source by source, so that silent sources cost nothing."""
    last = net.size.shape[0] - 1
    for layer in range(1, last + 1):
        seats = np.int64(0)
        begin = rows.single_layers[layer - 1]
        for source in range(rows.single_layers[layer] - begin):
            word = healthy.trains[net.base[layer - 1] + source]
            if not word:
                continue
            for each in range(rows.first[begin + source], rows.first[begin + source + 1]):
                target, delta = rows.single_target[each], rows.single_delta[each]
                if layer < last:
                    board(net, layer, target, seats, healthy.sums, word, delta, work)
                    work.row[seats] = rows.single_row[each]
                    seats += 1
                    if seats == BLOCK:
                        kept = _flush(net, layer, seats, sample, label, rows, healthy, bench, work, tally, kept, found)
                        seats = np.int64(0)
                else:
                    kept = _last_single(
                        net, rows.single_row[each], target, word, delta, sample, label, healthy, bench, work, tally, kept
                    )
        if seats:
            kept = _flush(net, layer, seats, sample, label, rows, healthy, bench, work, tally, kept, found)
    return kept


@compiled
def _last_single(
    net: Net, row: int, target: int, word: Any, delta: Any, sample: int, label: int, healthy: Healthy, bench: BlockRoom, work: ThreadRoom,
    tally: ThreadTally, kept: int,
) -> int:  # fmt: skip
    """Take a fault that is one synapse of the output layer."""
    last = net.size.shape[0] - 1
    output = target - net.base[last]
    count = popcount(word)
    if net.dead[output]:
        return kept
    for j in range(net.size[last]):
        work.scores[j] = healthy.scores[j]
    if count * abs(np.int64(delta)) <= healthy.room:
        work.scores[output] += (count * delta) << net.left[last]
    else:
        board(net, last, target, np.int64(0), healthy.sums, word, delta, work)
        run_block(net, last, bench, work)
        work.scores[output] = bench.v[0]
        if net.counted:
            work.scores[output] += popcount(bench.trains[0]) * COUNT_UNIT
    return _account(row, sample, label, best(work.scores), healthy, tally, kept)


@compiled
def _others(
    net: Net,
    sample: int,
    label: int,
    rows: FaultTable,
    healthy: Healthy,
    bench: BlockRoom,
    work: ThreadRoom,
    tally: ThreadTally,
    kept: int,
) -> int:
    """Take every fault that is more than one synapse, or a neuron."""
    none = np.int64(0)
    last = net.size.shape[0] - 1
    for other in range(rows.others.shape[0]):
        row = rows.others[other]
        if tally.spikes.shape[0] == 0:
            swing = np.int64(0)
            for unit in range(rows.units[other], rows.units[other + 1]):
                if not rows.fixed[unit] or rows.layer[unit] != last - 1:
                    swing = healthy.room + 1
                    break
                swing += popcount(rows.train[unit] ^ healthy.trains[rows.neuron[unit]]) * net.heaviest
            if swing <= healthy.room:
                if swing:
                    for j in range(work.scores.shape[0]):
                        work.scores[j] = healthy.scores[j]
                    for unit in range(rows.units[other], rows.units[other + 1]):
                        neuron = rows.neuron[unit]
                        more = popcount(rows.train[unit]) - popcount(healthy.trains[neuron])
                        if more:
                            begins = net.row_base[last] + (neuron - net.base[last - 1]) * net.lanes[last]
                            add_row(net.rows, begins, more, net.left[last], net.dead, work.scores)
                    prediction = best(work.scores)
                    if prediction != healthy.prediction:
                        kept = _account(row, sample, label, prediction, healthy, tally, kept)
                continue
        end = ripple(net, none, none, none, rows.units[other], rows.units[other + 1], rows, healthy, bench, work)
        kept = _account(row, sample, label, best(work.scores), healthy, tally, kept)
        if tally.spikes.shape[0]:
            for at in range(end):
                neuron = work.changed[at]
                more = popcount(work.now[neuron]) - popcount(healthy.trains[neuron])
                tally.spikes[row, neuron] += more
                tally.sample_spikes[row, sample] += more
            for j in range(work.scores.shape[0]):
                tally.scores[row, sample, j] = work.scores[j]
        _clean(end, healthy, work)
    return kept


@compiled
def score(net: Net, bench: BlockRoom, trains: NDArray[np.uint64], scores: NDArray[np.int64]) -> None:
    """Fill in the scores of the sample that :func:`run_sample` has just run."""
    last = net.size.shape[0] - 1
    for j in range(net.size[last]):
        scores[j] = bench.v[j]
        if net.counted:
            scores[j] += popcount(trains[net.base[last] + j]) * COUNT_UNIT
        if net.dead[j]:
            scores[j] = _DEAD


@entry
def run_healthy(
    net: Net, own_bias: NDArray[np.int32], bench: BlockRoom, events: LayerEvents, sums: NDArray[Any], trains: NDArray[np.uint64],
    scores: NDArray[np.int64], room: NDArray[np.int64], spikes: NDArray[np.int64], sample_spikes: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Run a window of samples; return whether every sum fits.

    Args:
        net: the network.
        own_bias: [S, lanes of the input] or [S, 0] where the input trains are in ``trains``.
        bench: room.
        events: room.
        sums: [S or 1, …] filled; one row: nothing is kept.
        trains: [S or 1, …] filled; likewise (S rows where the input is given).
        scores: [S, n_out] filled.
        room: [S] filled, see :func:`headroom`.
        spikes: [neurons], counts are added.
        sample_spikes: [S] filled.
    """
    for sample in range(scores.shape[0]):
        own, now = sums[sample if sums.shape[0] > 1 else 0], trains[sample if trains.shape[0] > 1 else 0]
        if not run_sample(net, own_bias[sample], bench, events, own, now):
            return False
        score(net, bench, now, scores[sample])
        room[sample] = headroom(net, own)
        total = np.int64(0)
        for neuron in range(now.shape[0]):
            count = popcount(now[neuron])
            spikes[neuron] += count
            total += count
        sample_spikes[sample] = total
    return True


@entry
def run_faults(
    net: Net, begin: int, first_sample: int, own_bias: NDArray[np.int32], kept_run: bool, bench: BlockRoom, events: LayerEvents,
    sums: NDArray[Any], trains: NDArray[np.uint64], scores: NDArray[np.int64], room: NDArray[np.int64],
    labels: NDArray[np.int64], rows: FaultTable, work: ThreadRoom, tally: ThreadTally, progress: NDArray[np.int64],
) -> None:  # fmt: skip
    """Take every fault on a window of samples, from sample ``begin`` of the window on.

    Args:
        net: the network.
        begin: first sample of the window that is not done yet.
        first_sample: index of the window's first sample.
        own_bias: as for :func:`run_healthy`; used where the run was not kept.
        kept_run: whether ``sums`` and ``trains`` hold the healthy run of the window, else they are room for one sample
            (``trains``: the given input trains where ``own_bias`` is empty).
        bench: room.
        events: room.
        sums: of the window, or room for one sample.
        trains: likewise.
        scores: of the window.
        room: of the window.
        labels: [S], −1 where there is none.
        rows: the faults.
        work: room, clean.
        tally: results are added.
        progress: [2] filled: samples done, changes kept. It stops before a sample whose changes might not have room.
    """
    found = work.found
    kept = np.int64(0)
    for sample in range(begin, scores.shape[0]):
        if tally.rows.shape[0] and tally.rows.shape[0] - kept < rows.faults:
            progress[0], progress[1] = sample, kept
            return
        own, now = sums[sample if sums.shape[0] > 1 else 0], trains[sample if trains.shape[0] > 1 else 0]
        if not kept_run:
            run_sample(net, own_bias[sample], bench, events, own, now)
        healthy = Healthy(own, now, scores[sample], best(scores[sample]), room[sample])
        for neuron in range(now.shape[0]):
            work.now[neuron] = now[neuron]
        at = first_sample + sample
        kept = _singles(net, at, labels[sample], rows, healthy, bench, work, tally, kept, found)
        kept = _others(net, at, labels[sample], rows, healthy, bench, work, tally, kept)
    progress[0], progress[1] = scores.shape[0], kept
