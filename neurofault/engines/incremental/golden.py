"""One healthy run of a chain, then only what each fault changes; equal spike for spike to the exact engine.

A :class:`Golden` holds the healthy run: scores and, where memory allows, the spike trains (one word a neuron and sample) and the
sums of weights that reached each neuron in each step; where it does not, both are made again sample by sample for each batch of
faults. :func:`effects` takes such a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.cores import usable_cores
from neurofault.deploy.deployment import Deployment
from neurofault.engines.incremental import fault_loop as follow
from neurofault.engines.incremental.fault_loop import ThreadTally
from neurofault.engines.incremental.fault_rows import FaultBatch, FlatNetwork, flatten, refusal
from neurofault.engines.incremental.fault_table import ThreadRoom
from neurofault.engines.incremental.propagation import BLOCK
from neurofault.engines.incremental.trains import BlockRoom, LayerEvents
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph.arithmetic import bias_of
from neurofault.inputs import Bias, Inputs

KEPT_BYTES = 1 << 30
"""How much of a healthy run is kept unless told otherwise."""

_WINDOW = 64
_CHANGES = 1 << 20


@dataclass(frozen=True, eq=False)
class Golden:
    """A healthy run.

    Attributes:
        deployment: the healthy side; plain damage is allowed.
        inputs: the samples.
        flat: the network as the kernels read it.
        scores: int64 [N, n_out].
        room: int64 [N], how far final sums may move before anything wraps, saturates or fires.
        sums, trains: kept run, one row a sample; None: made again where needed.
        sum_type: int16, or int32 where a sum of the run leaves 16 bits.
        spikes: int64 [neurons], in the numbering of ``flat``. sample_spikes: int64 [N].
    """

    deployment: Deployment
    inputs: Inputs
    flat: FlatNetwork
    scores: NDArray[np.int64]
    room: NDArray[np.int64]
    sums: NDArray[Any] | None
    trains: NDArray[np.uint64] | None
    spikes: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    sum_type: type[np.int16] | type[np.int32] = np.int16

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


def golden(deployment: Deployment, inputs: Inputs, *, threads: int | None = None, keep_bytes: int = KEPT_BYTES) -> Golden:
    """Run the healthy side.

    Args:
        deployment: a chain, with no damage, or with dead neurons and changed synapses that last for good.
        inputs: N encoded samples.
        threads: worker threads; None: one for each usable core.
        keep_bytes: the run is kept for the faults that follow if it takes no more than this.

    Raises:
        UnsupportedError: the deployment cannot be run in this way; the text says why.
    """
    reason = refusal(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine 'incremental' cannot run {reason}")
    flat, inputs = flatten(deployment), inputs.named(deployment.inputs)
    narrow = _run(deployment, inputs, flat, np.int16, threads, keep_bytes)
    whole = narrow or _run(deployment, inputs, flat, np.int32, threads, keep_bytes)
    assert whole is not None
    return whole


def _run(
    deployment: Deployment, inputs: Inputs, flat: FlatNetwork, kind: type[np.int16] | type[np.int32], threads: int | None,
    keep_bytes: int,
) -> Golden | None:  # fmt: skip
    """Run the healthy side with sums of a type; None if one does not fit."""
    net, n = flat.net, len(inputs)
    n_sums, n_neurons = int(net.sums[-1]), int(net.base[-1])
    kept = n * (np.dtype(kind).itemsize * n_sums + 8 * n_neurons) <= keep_bytes
    sums = np.empty((n, n_sums), kind) if kept else None
    trains = np.zeros((n, n_neurons), np.uint64) if kept else None
    whole = Golden(
        deployment, inputs, flat, np.empty((n, int(net.size[-1])), np.int64), np.empty(n, np.int64), sums, trains,
        np.zeros(n_neurons, np.int64), np.zeros(n, np.int64), kind,
    )  # fmt: skip
    lock, fit = threading.Lock(), [True]

    def work(windows: Iterator[slice]) -> None:
        bench, events = _bench(flat), _events(flat)
        spikes = np.zeros(n_neurons, np.int64)
        for window in windows:
            bias, own, kept_trains = _window(whole, window)
            fits = follow.run_healthy(
                net, bias, bench, events, own, kept_trains, whole.scores[window], whole.room[window], spikes,
                whole.sample_spikes[window],
            )  # fmt: skip
            if not fits or not fit[0]:
                fit[0] = False
                return
        with lock:
            whole.spikes[:] += spikes

    _in_threads(work, n, threads)
    return whole if fit[0] else None


def effects(
    healthy: Golden,
    batch: FaultBatch,
    labels: NDArray[np.integer] | None = None,
    *,
    threads: int | None = None,
    changes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Effects:
    """Work out what each fault of a batch does to the prediction of each sample.

    Args:
        healthy: the healthy run.
        batch: faults on the same deployment.
        labels: int [N].
        threads: worker threads; None: one for each usable core. Results do not depend on it.
        changes: whether to keep which predictions change.
        progress: called as ``progress(samples done, N)``.

    Raises:
        UsageError: the batch is about another deployment, or labels do not fit.
    """
    tally, found = follow_faults(healthy, batch, labels, threads, changes=changes, progress=progress)
    return Effects(tally.changed, tally.correct, found)


def follow_faults(
    healthy: Golden,
    batch: FaultBatch,
    labels: NDArray[np.integer] | None,
    threads: int | None,
    *,
    changes: bool = False,
    full: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ThreadTally, Changes | None]:
    """Run every fault over every sample."""
    if batch.deployment is not healthy.deployment:
        raise UsageError("the faults were resolved on another deployment than the healthy run's")
    n, count, net = len(healthy), len(batch), healthy.flat.net
    if labels is not None and np.shape(labels) != (n,):
        raise UsageError(f"labels have the shape {np.shape(labels)}, but there are {n} samples")
    known = np.full(n, -1, np.int64) if labels is None else np.asarray(labels, np.int64)
    lock, done = threading.Lock(), [0]
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]]] = []
    total = ThreadTally(
        np.zeros(count, np.int64), np.zeros(count, np.int64), *_no_changes(0),
        np.zeros((count if full else 0, int(net.base[-1])), np.int64),
        np.zeros((count if full else 0, n), np.int64),
        np.repeat(healthy.scores[None], count, axis=0) if full else np.empty((0, 0, 0), np.int64),
    )  # fmt: skip

    def work(windows: Iterator[slice]) -> None:
        bench, events, room = _bench(healthy.flat), _events(healthy.flat), _work(healthy.flat)
        own = total._replace(
            changed=np.zeros_like(total.changed), correct=np.zeros_like(total.correct), spikes=np.zeros_like(total.spikes)
        )
        if changes:
            rows, samples, predictions = _no_changes(max(count, _CHANGES))
            own = own._replace(rows=rows, samples=samples, predictions=predictions)
        state = np.zeros(2, np.int64)
        for window in windows:
            bias, sums, trains = _window(healthy, window)
            begin, size = 0, window.stop - window.start
            while begin < size:
                follow.run_faults(
                    net, begin, window.start, bias, healthy.sums is not None, bench, events, sums, trains, healthy.scores[window],
                    healthy.room[window], known[window], batch.rows, room, own, state,
                )  # fmt: skip
                begin, kept = int(state[0]), int(state[1])
                if kept:
                    with lock:
                        parts.append((own.rows[:kept].copy(), own.samples[:kept].copy(), own.predictions[:kept].copy()))
            if progress is not None:
                with lock:
                    done[0] += size
                    progress(done[0], n)
        with lock:
            total.changed[:] += own.changed
            total.correct[:] += own.correct
            total.spikes[:] += own.spikes

    _in_threads(work, n, threads)
    return total, _sorted(parts) if changes else None


def _sorted(parts: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]]]) -> Changes:
    parts = [_no_changes(0), *parts]
    faults, samples, predictions = (np.concatenate([part[column] for part in parts]) for column in range(3))
    order = np.lexsort((samples, faults))
    return Changes(faults[order], samples[order], predictions[order])


def _no_changes(room: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]]:
    return np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int16)


def _in_threads(work: Callable[[Iterator[slice]], None], n: int, threads: int | None) -> None:
    """Share the samples' windows out among threads."""
    number = threads or usable_cores()
    window = max(1, min(_WINDOW, -(-n // number)))
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


def _window(healthy: Golden, window: slice) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.uint64]]:
    """Return the bias of a window's input neurons (no columns: trains are given), its sums and its trains, or room for them."""
    flat, source = healthy.flat, healthy.deployment.population(healthy.deployment.inputs[0])
    net, order = flat.net, flat.input_order
    size = window.stop - window.start
    sums = healthy.sums[window] if healthy.sums is not None else np.empty((1, int(net.sums[-1])), healthy.sum_type)
    trains = healthy.trains[window] if healthy.trains is not None else np.zeros((1, int(net.base[-1])), np.uint64)
    silent = healthy.deployment.damage.silent(source.name, order.size)[order]
    given = healthy.inputs.of(source.name)[window]
    if isinstance(given, Bias):
        bias = np.zeros((size, int(net.lanes[0])), np.int32)
        bias[:, : order.size] = bias_of(given.mantissa[:, order], source.bias_exponent)
        bias[:, : order.size][:, silent] = 0
        return bias, sums, trains
    if healthy.trains is None:
        trains = np.zeros((size, int(net.base[-1])), np.uint64)
    words = np.zeros((size, order.size), np.uint64)
    sample = np.repeat(np.arange(size), np.diff(given.starts))
    bits = np.uint64(1) << given.steps.astype(np.uint64)
    np.add.at(words.reshape(-1), sample * order.size + given.neurons, bits)  # each bit once
    trains[:, : order.size] = np.where(silent, np.uint64(0), words[:, order])
    return np.empty((size, 0), np.int32), sums, trains


def _bench(flat: FlatNetwork) -> BlockRoom:
    net = flat.net
    widest = max(int(net.lanes.max()), BLOCK)
    u, v, low, high = (np.zeros(widest, np.int32) for _ in range(4))
    return BlockRoom(
        np.zeros((net.steps, widest), np.int32), np.zeros((1, widest), np.int32), u, v, low, high, np.zeros(widest, np.uint64)
    )


def _events(flat: FlatNetwork) -> LayerEvents:
    net = flat.net
    largest = int((net.lanes * net.positions).max())
    return LayerEvents(
        np.zeros(net.steps + 1, np.int64), np.zeros(net.steps, np.int64), np.empty(largest * net.steps, np.int32),
        np.zeros(largest, np.int16),
    )  # fmt: skip


def _work(flat: FlatNetwork) -> ThreadRoom:
    net = flat.net
    neurons, largest = int(net.base[-1]), int(np.diff(net.sums).max())
    block = [np.zeros(BLOCK, np.int32) for _ in range(3)]
    return ThreadRoom(
        np.zeros(neurons, np.uint64), np.zeros(neurons, np.int64), np.zeros(largest, np.int32),
        np.zeros(int(net.positions.max()), np.uint8), np.zeros(int(net.positions.max()), np.int64), np.zeros(neurons, np.uint8),
        np.zeros(int(net.size[-1]), np.int64), np.zeros((net.steps, BLOCK), np.int32), np.zeros(BLOCK), np.zeros(BLOCK),
        block[0], block[1], block[2], np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.int64), np.zeros(BLOCK, np.uint64),
    )  # fmt: skip
