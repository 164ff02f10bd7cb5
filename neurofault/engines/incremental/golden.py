"""One healthy run, then only what each fault changes; equal spike for spike to the exact engine.

A :class:`Golden` holds the healthy run: scores and, where memory allows, the spike trains and the drive of each neuron in each step; where it does not,
both are made again, window by window of samples, for each batch of faults. :func:`effects` takes such a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, scores_from
from neurofault.cores import usable_cores
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact import kernels
from neurofault.engines.exact.engine import RunPlan, RunSheet, run_batch
from neurofault.engines.exact.kernels import Lists, Wires
from neurofault.engines.exact.packing import NO_WIRES
from neurofault.engines.exact.presented import Events
from neurofault.engines.incremental.fault_loop import headroom, keep_drive, keep_trains, run_rest
from neurofault.engines.incremental.fault_table import CHANGE, PENDING, FaultTable, Pending, Tally, room_for
from neurofault.engines.incremental.limits import refusal
from neurofault.engines.incremental.net import FlatNetwork, lay_out
from neurofault.engines.incremental.rest import Rest, Waiting
from neurofault.engines.incremental.singles import run_singles
from neurofault.errors import UnsupportedError, UsageError
from neurofault.inputs import Inputs

KEPT_BYTES = 1 << 30
"""How much of a healthy run is kept unless told otherwise."""

MOST_ANSWERS = 1 << 15
"""Outputs whose numbers fit the 16 bits in which changed answers are kept."""

_WINDOW = 64
_WINDOW_BYTES = 32 << 20
_CHANGES = 1 << 20


@dataclass(frozen=True, eq=False)
class Golden:
    """A healthy run.

    Attributes:
        deployment: the healthy side; plain damage is allowed.
        inputs: the samples.
        flat: the network as the kernels read it.
        plan: the same as the exact engine runs it.
        scores: int64 [N, n_out].
        room: int64 [N], how far final sums may move before anything wraps, saturates or fires; −1: they are no sums.
        sums, trains: int32 and uint32, kept run, one row a sample; None: made again where needed.
        spikes: int64 [neurons], in the numbering of ``flat``. sample_spikes: int64 [N].
    """

    deployment: Deployment
    inputs: Inputs
    flat: FlatNetwork
    plan: RunPlan
    scores: NDArray[np.int64]
    room: NDArray[np.int64]
    sums: NDArray[np.int32] | None
    trains: NDArray[np.uint32] | None
    spikes: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Int64 [N]: the class of the highest score; ties go to the lowest index."""
        return np.asarray(np.argmax(self.scores, axis=1), np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes of the kept run."""
        return sum(part.nbytes for part in (self.sums, self.trains) if part is not None)


@dataclass(frozen=True, eq=False)
class FaultBatch:
    """Faults on one healthy run, one a row.

    Attributes:
        healthy: the run.
        rows: as the kernels read them.
        rests: by row, what is not followed of a fault; none: all is.
    """

    healthy: Golden
    rows: FaultTable
    rests: Mapping[int, Rest] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.rows.faults


@dataclass(frozen=True, eq=False)
class Changes:
    """Every (fault, sample) whose prediction a fault changes, sorted by fault, then sample.

    Attributes:
        faults, samples: int32 [k].
        predictions: int16 [k], the class that is predicted instead; where targets are answered float64 [k], the squared error of the sample.
        steps: int32 [k], of which step, where every step is answered; else None.
    """

    faults: NDArray[np.int32]
    samples: NDArray[np.int32]
    predictions: NDArray[np.int16] | NDArray[np.float64]
    steps: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Effects:
    """What each fault of a batch does.

    Attributes:
        changed: int64 [F], samples whose prediction changed.
        correct: int64 [F], change in the number of samples classified as labelled; zeros without labels.
        changes: which ones, if asked for.
    """

    changed: NDArray[np.int64]
    correct: NDArray[np.int64]
    changes: Changes | None = None


def bytes_kept(flat: FlatNetwork) -> int:
    """Return how many bytes of a sample a healthy run keeps."""
    return 4 * (flat.drives + flat.neurons * flat.net.words)


def golden(deployment: Deployment, inputs: Inputs, *, threads: int | None = None, keep_bytes: int = KEPT_BYTES) -> Golden:
    """Run the healthy side.

    Args:
        deployment: no damage, or dead neurons and changed synapses that last for good.
        inputs: N encoded samples.
        threads: worker threads; None: one for each usable core.
        keep_bytes: the run is kept for the faults that follow if it takes no more than this.

    Raises:
        UnsupportedError: the deployment cannot be run in this way; the text says why.
    """
    reason = refusal(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine 'incremental' cannot run {reason}")
    flat, inputs = lay_out(deployment), deepcopy(inputs.named(deployment.inputs))  # whatever becomes of the caller's arrays
    net, n, names = flat.net, len(inputs), [one.name for one in deployment.populations]
    kept = n * bytes_kept(flat) <= keep_bytes
    sums = np.empty((n, flat.drives), np.int32) if kept else None
    trains = np.zeros((n, flat.neurons * net.words), np.uint32) if kept else None
    whole = Golden(
        deployment, inputs, flat, RunPlan.of(deployment, names, inputs), np.empty((n, deployment.output.size), np.int64),
        np.empty(n, np.int64), sums, trains, np.zeros(flat.neurons, np.int64), np.zeros(n, np.int64),
    )  # fmt: skip
    lock = threading.Lock()

    def work(windows: Iterator[slice]) -> None:
        for window in windows:
            own, found = (None, None) if sums is None or trains is None else (sums[window], trains[window])
            activity, drive = _present(whole, window, own, found)
            whole.scores[window], whole.sample_spikes[window] = activity.scores, activity.sample_spikes
            if net.linear:
                headroom(net, drive, whole.room[window])
            else:
                whole.room[window] = -1
            with lock:
                for name, counts in activity.spike_counts.items():
                    whole.spikes[flat.place_of[name]] += counts

    _in_threads(work, n, threads, bytes_kept(flat))
    return whole


def _present(
    whole: Golden, window: slice, sums: NDArray[np.int32] | None, trains: NDArray[np.uint32] | None
) -> tuple[Activity, NDArray[np.int32]]:
    """Run a window of samples; fill drives and trains in (trains: zero before), in room of their own where there is none."""
    net, flat, deployment = whole.flat.net, whole.flat, whole.deployment
    size, inputs = window.stop - window.start, whole.inputs[window]
    own = np.empty((size, flat.drives), np.int32) if sums is None else sums
    bits = np.zeros((size, flat.neurons * net.words), np.uint32) if trains is None else trains
    sheet = RunSheet.blank(deployment, [one.name for one in deployment.populations], size, ())

    def seen(name: str, events: Mapping[str, Events]) -> None:
        place = net.pops[flat.index(name)]
        keep_trains(events[name].starts, events[name].sources, int(place["base"]), net.words, bits)
        if not flat.driven[name]:
            return
        padded = flat.packed.populations[name].bias.shape[1]
        shape, first = (size, net.steps, padded), int(place["sums"])
        span = int(place["positions"] * place["lanes"]) * net.steps
        simply = name in drives and place["groups"] == 1 and not net.groups[place["group"]]["right"]
        for group in range(int(place["groups"])):
            drive = drives[name] if simply else np.zeros(shape, np.int32)
            for wires, source in () if simply else _summed(whole, name, group):
                kernels.add_drive(net.steps, wires, events[source].starts, events[source].sources, 0, padded, drive)
            keep_drive(drive, first + group * span, int(place["positions"]), int(place["lanes"]), own)

    drives: dict[str, NDArray[np.int32]] = {}
    counts = run_batch(whole.plan, inputs, sheet, seen, drives=drives)
    readout = deployment.readout
    dead = deployment.damage.silent(readout.population, deployment.output.size)
    scores = scores_from(sheet.potential, sheet.output_counts, readout.how, dead)
    return Activity(scores, dict(counts), sheet.sample_spikes), own


def _summed(whole: Golden, name: str, group: int) -> Iterator[tuple[Wires, str]]:
    """Yield what goes into one of a population's sums, and over which connection from where; sums that are rounded in whole weights, unshifted."""
    flat = whole.flat
    for one in whole.deployment.into(name):
        wires, own = (
            flat.packed.wires[one.name],
            {delay for (known, delay), at in flat.group_of.items() if known == one.name and at == group},
        )
        if not own:
            continue
        if not wires.right:
            yield whole.plan.packed.wires[one.name], one.source
            continue
        (delay,) = own
        (which,) = np.nonzero(wires.lists.delays == delay)
        lists = Lists(wires.lists.delays[which], wires.lists.starts[which], wires.lists.targets, wires.lists.weights)
        alone = wires._replace(left=0, right=0, lists=lists)
        yield (alone if not delay else alone._replace(rows=NO_WIRES.rows, taps=NO_WIRES.taps)), one.source


def effects(
    batch: FaultBatch,
    labels: NDArray[np.integer] | None = None,
    *,
    threads: int | None = None,
    changes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Effects:
    """Work out what each fault of a batch does to the prediction of each sample.

    Args:
        batch: faults on a healthy run.
        labels: int [N].
        threads: worker threads; None: one for each usable core. Results do not depend on it.
        changes: whether to keep which predictions change.
        progress: called as ``progress(samples done, N)``.

    Raises:
        UsageError: labels do not fit.
    """
    tally, found = follow_faults(batch, labels, threads, changes=changes, progress=progress)
    return Effects(tally.changed, tally.correct, found)


def follow_faults(
    batch: FaultBatch,
    labels: NDArray[np.integer] | None,
    threads: int | None,
    *,
    changes: bool = False,
    full: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tally, Changes | None]:
    """Run every fault over every sample."""
    healthy, rows = batch.healthy, batch.rows
    if batch.rests and not full:
        raise UsageError("what is not followed is run anew only where spikes are counted")
    n, count, net, flat = len(healthy), len(batch), healthy.flat.net, healthy.flat
    if changes and healthy.deployment.output.size > MOST_ANSWERS:
        raise UsageError(f"changed answers are kept in 16 bits; there are {healthy.deployment.output.size:,} outputs")
    if labels is not None and np.shape(labels) != (n,):
        raise UsageError(f"labels have the shape {np.shape(labels)}, but there are {n} samples")
    known = np.full(n, -1, np.int64) if labels is None else np.array(labels, np.int64)  # one's own: kernels are compiled for such
    lock, done = threading.Lock(), [0]
    parts: list[NDArray[Any]] = []
    total = Tally(
        np.zeros(count, np.int64), np.zeros(count, np.int64), np.empty(0, CHANGE),
        np.zeros((count if full else 0, flat.neurons), np.int64),
        np.zeros((count if full else 0, n), np.int64),
        np.repeat(healthy.scores[None], count, axis=0) if full else np.empty((0, 0, 0), np.int64),
    )  # fmt: skip

    def work(windows: Iterator[slice]) -> None:
        room = room_for(net, int(np.diff(rows.targets["first"]).max(initial=0)))
        own = total._replace(
            changed=np.zeros_like(total.changed), correct=np.zeros_like(total.correct), spikes=np.zeros_like(total.spikes)
        )
        if changes:
            own = own._replace(kept=np.empty(max(count, _CHANGES), CHANGE))
        state = np.zeros(4, np.int64)
        most = max(len(rows.alone), min(_CHANGES, len(rows.alone) * _WINDOW))
        pending = Pending(np.empty(most, PENDING), np.empty((most, net.words), np.uint32))
        waiting = Waiting.of(batch.rests)
        for window in windows:
            sums, trains = healthy.sums, healthy.trains
            if sums is None or trains is None:
                trains = np.zeros((window.stop - window.start, flat.neurons * net.words), np.uint32)
                _, sums = _present(healthy, window, None, trains)
            else:
                sums, trains = sums[window], trains[window]
            begin, size = 0, window.stop - window.start
            while begin < size:
                run = (
                    window.start,
                    sums,
                    trains,
                    healthy.scores[window],
                    healthy.room[window],
                    known[window],
                    rows,
                    room,
                    own,
                    pending,
                    state,
                )
                state[:] = min(size, begin + len(own.kept) // count) if changes and count else size, 0, 0, 0
                if batch.rests:
                    state[0] = min(size, begin + waiting.samples)
                if len(rows.alone):
                    run_singles(net, begin, *run)
                stop = int(state[0])
                if state[2] or len(rows.others) > 1:
                    run_rest(net, begin, stop, *run, waiting.handed)
                    waiting.keep(int(state[3]), window.start, own)
                begin, kept = stop, int(state[1])
                if kept:
                    with lock:
                        parts.append(own.kept[:kept].copy())
            if progress is not None:
                with lock:
                    done[0] += size
                    progress(done[0], n)
        waiting.run(own)
        with lock:
            total.changed[:] += own.changed
            total.correct[:] += own.correct
            total.spikes[:] += own.spikes

    _in_threads(work, n, threads, bytes_kept(healthy.flat))
    return total, _sorted(parts) if changes else None


def _sorted(parts: list[NDArray[Any]]) -> Changes:
    found = np.concatenate([np.empty(0, CHANGE), *parts])
    order = np.lexsort((found["sample"], found["row"]))
    return Changes(found["row"][order], found["sample"][order], found["prediction"][order])


def _in_threads(work: Callable[[Iterator[slice]], None], n: int, threads: int | None, each: int) -> None:
    """Share the samples' windows out among threads; ``each``: bytes of a sample."""
    number = threads or usable_cores()
    window = max(1, min(_WINDOW, -(-n // number), _WINDOW_BYTES // max(each, 1)))
    todo = iter([slice(start, min(start + window, n)) for start in range(0, n, window)])
    lock = threading.Lock()

    def mine() -> Iterator[slice]:
        while True:
            with lock:
                window = next(todo, None)
            if window is None:
                return
            yield window

    if number == 1:
        work(mine())
        return
    with ThreadPoolExecutor(number) as pool:
        for future in [pool.submit(work, mine()) for _ in range(number)]:
            future.result()
