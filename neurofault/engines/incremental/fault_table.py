"""What the compiled kernels of the incremental engine work on: faults as rows, a thread's room, a sample of the healthy run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.incremental.net import BITS, LANES, Net

WEIGHTS, FIXED, SCRIPT = 0, 1, 2
"""Kinds of units: a neuron whose drive differs, one whose train is given, one that is run by a script (its drive may differ too)."""

KEEP_U, KEEP_V, THRESHOLD, BIAS, REFRACTORY, FLOOR, U, V, WAITING = range(9)
"""Rows of :attr:`Lanes.numbers`."""

FAULT = np.dtype([(name, np.int64) for name in ("row", "first", "part", "always")])
"""A fault that is units: its row, its first unit, its row of :attr:`FaultTable.roles` (−1: all of it is followed), and whether the part that is not is run on
every sample."""

REST, CLOSED, SENDER = 1, 2, 4
"""What a population is to a fault that is not followed all the way: one of the part that is run anew where anything reaches it; of these one in which not even
the first change is told from none; one outside that drives one of them."""

UNIT = np.dtype([(name, np.int64) for name in ("population", "neuron", "kind", "what", "first")])
"""A neuron that a fault hits: its kind, number of the train or the script, first piece."""

PIECE = np.dtype([
    ("source", np.int32), ("delta", np.int32), ("shift", np.int32), ("mask", np.int32), ("row", np.int32),
    ("group", np.int32),
])  # fmt: skip
"""An addition to a neuron's drive: ``delta`` in step s + shift (the wire's lag included) for each spike of the source neuron in step s that a mask of the
source's own steps lets through (−1: all do). row: its fault, where it is all of it. group: which of the neuron's sums."""

TARGET = np.dtype([("neuron", np.int64), ("first", np.int64)])
"""A neuron with faults that are one piece: the first of these."""

SCRIPT_ROW = np.dtype([("begin", np.int64), ("pitch", np.int64), ("steady", np.int64)])
"""As :data:`BY_SAMPLE`; steady: the number of the one mood that is nothing but other numbers and holds in every step of every sample, −1: it is more."""

BY_SAMPLE = np.dtype([("begin", np.int64), ("pitch", np.int64)])
"""Where the row of the first sample stands, and how many rows on that of the next one (0: all samples are alike)."""

MOOD = np.dtype([(name, np.int32) for name in (
    "keep_u", "keep_v", "threshold", "bias", "flips_u", "flips_v", "counter", "silent", "kept", "rate",
)])  # fmt: skip
"""What holds for a neuron while some edits act. counter: what its refractory counter reads, −1: it counts. silent, kept: dead; its reset is lost.
rate: forced spikes in 1/65536 a step, −1: none."""

CHANGE = np.dtype([("row", np.int32), ("sample", np.int32), ("prediction", np.int16)])
"""A changed prediction."""


class FaultTable(NamedTuple):
    """Faults as rows of a batch; neurons are numbered as in :class:`neurofault.engines.incremental.net.Net`.

    Attributes:
        faults: F.
        others: :data:`FAULT`, the faults that are units, or are not followed all the way, and an end.
        roles: uint8 [k, P], sums of ``REST``, ``CLOSED``, ``SENDER``.
        units: :data:`UNIT`, sorted by fault, then population, and an end.
        pieces: :data:`PIECE`, of units.
        trains: uint32 [k, words], fixed trains.
        scripts: :data:`SCRIPT_ROW`, rows of ``mood_rows``, int32 [rows, T], numbers of ``moods``, :data:`MOOD`.
        mask_rows: :data:`BY_SAMPLE`, rows of ``masks``, uint32 [rows, words].
        targets: :data:`TARGET`, sorted by neuron, and an end; alone: :data:`PIECE`, of these.
    """

    faults: int
    others: NDArray[Any]
    roles: NDArray[np.uint8]
    units: NDArray[Any]
    pieces: NDArray[Any]
    trains: NDArray[np.uint32]
    scripts: NDArray[Any]
    mood_rows: NDArray[np.int32]
    moods: NDArray[Any]
    mask_rows: NDArray[Any]
    masks: NDArray[np.uint32]
    targets: NDArray[Any]
    alone: NDArray[Any]


class Lanes(NamedTuple):
    """Neurons that are run side by side, n of them at least as many as are run.

    Attributes:
        numbers: int32 [9, n], rows ``KEEP_U`` … ``WAITING``; the last three are states before the first step that is run, then after the last.
        bits: uint32 [words, n], trains; steps that are run are added.
        drive: int32 [T, n].
        keep: float64 [2, n], ``KEEP_U`` and ``KEEP_V`` as shares, multiples of 1/4096: their products with states are exact, and vector code has fewer
            steps for them than for whole numbers.
    """

    numbers: NDArray[np.int32]
    bits: NDArray[np.uint32]
    drive: NDArray[np.int32]
    keep: NDArray[np.float64]


PART = np.dtype([("begin", np.int64), ("end", np.int64)])
"""A population's part of the stack of changed neurons."""

SEAT = np.dtype([("neuron", np.int64), ("row", np.int64)])
"""Who sits in a lane of the block: a neuron, for a fault."""

FIRED = np.dtype([("active", np.int32), ("early", np.int32)])
"""How often a neuron fires in a sample; its first spike."""


RESPONSE = np.dtype([("gain", np.float64), ("rounding", np.float64)])
"""What a source's spikes do to v of a neuron that they reach, in the steps of a word, at most: ``gain`` by the size of what each of them adds, and what rounding adds to that."""


class ThreadRoom(NamedTuple):
    """Room of one thread, clean between faults.

    Attributes:
        now: uint32 [neurons · words], trains of the sample with the fault; equal to the healthy ones but for the changed neurons.
        changed: int64 [neurons], stack of the neurons that changed; parts: :data:`PART` [P].
        extra: int32 [most drive of a population], what is added to it; touched: uint8, places: int64 [most places].
        held: uint8 [neurons], whether a unit holds the neuron.
        scores: int64 [n_out].
        place: neurons of one place. block: ``LANES`` single neurons, seats: :data:`SEAT` of them.
        column: int32 [T], drive of one neuron; train: uint32 [words].
        trace: int32 [2, T + 1], the healthy u and v of one neuron before each step.
        chosen, sorted: int64 [most faults of a neuron], those that matter; heads: int64 [T + 2].
        fired: :data:`FIRED` [neurons].
        responses: :data:`RESPONSE` [neurons, words], of the sources for which ``made`` int64 [neurons] says so; slack: float64 [2, words], how far a neuron's v
            may rise, and fall, in the steps of each word.
    """

    now: NDArray[np.uint32]
    changed: NDArray[np.int64]
    parts: NDArray[Any]
    extra: NDArray[np.int32]
    touched: NDArray[np.uint8]
    places: NDArray[np.int64]
    held: NDArray[np.uint8]
    scores: NDArray[np.int64]
    place: Lanes
    block: Lanes
    seats: NDArray[Any]
    column: NDArray[np.int32]
    train: NDArray[np.uint32]
    trace: NDArray[np.int32]
    chosen: NDArray[np.int64]
    sorted: NDArray[np.int64]
    heads: NDArray[np.int64]
    fired: NDArray[Any]
    responses: NDArray[Any]
    made: NDArray[np.int64]
    slack: NDArray[np.float64]


class Healthy(NamedTuple):
    """One sample of the healthy run: its index, drives and trains of all populations, scores, the best output, the room of final sums."""

    sample: int
    sums: NDArray[np.int32]
    trains: NDArray[np.uint32]
    scores: NDArray[np.int64]
    prediction: int
    room: int


class Tally(NamedTuple):
    """Results of one thread.

    Attributes:
        changed: int64 [F], samples whose prediction changed.
        correct: int64 [F], change in the number of samples classified as labelled.
        kept: :data:`CHANGE`, the changed predictions; no room: they are not kept.
        spikes: int64 [F, neurons], sample_spikes: int64 [F, N], scores: int64 [F, N, n_out]: differences, and scores; empty: not
            kept.
    """

    changed: NDArray[np.int64]
    correct: NDArray[np.int64]
    kept: NDArray[Any]
    spikes: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    scores: NDArray[np.int64]


PENDING = np.dtype([(name, np.int64) for name in ("row", "neuron", "population", "sample")])
"""A fault of one synapse whose neuron has another train."""


class Pending(NamedTuple):
    """Faults that must be followed on: :data:`PENDING` [k], and uint32 [k, words]: the trains."""

    faults: NDArray[Any]
    trains: NDArray[np.uint32]


HANDED = np.dtype([("row", np.int64), ("sample", np.int64)])
"""A fault, and a sample of the window, in which something reaches what is not followed."""


class Handed(NamedTuple):
    """What is to be run anew: :data:`HANDED` [k], and uint32 [k, …]: the trains of the senders, one population after the other."""

    cases: NDArray[Any]
    trains: NDArray[np.uint32]


class Counted(NamedTuple):
    """How many changes are kept, and how many faults are pending."""

    kept: int
    pending: int


def _lanes(net: Net, count: int) -> Lanes:
    return Lanes(
        np.zeros((9, count), np.int32),
        np.zeros((net.words, count), np.uint32),
        np.zeros((net.steps, count), np.int32),
        np.zeros((2, count)),
    )


def room_for(net: Net, most: int) -> ThreadRoom:
    """Return room for a thread; ``most``: faults of one piece at a neuron."""
    neurons, places = len(net.neurons), int(net.pops["positions"].max())
    drive = int((net.pops["lanes"] * net.pops["positions"] * net.pops["groups"]).max()) * net.steps
    return ThreadRoom(
        np.zeros(neurons * net.words, np.uint32), np.zeros(neurons + 1, np.int64), np.zeros(len(net.pops), PART), np.zeros(drive, np.int32),
        np.zeros(places, np.uint8), np.zeros(places, np.int64), np.zeros(neurons, np.uint8),
        np.zeros(int(net.pops["size"][net.readout]), np.int64), _lanes(net, int(net.pops["lanes"].max())), _lanes(net, LANES),
        np.zeros(LANES, SEAT), np.zeros(net.steps, np.int32), np.zeros(net.words, np.uint32), np.zeros((2, net.steps + 1), np.int32),
        np.zeros(most + 1, np.int64), np.zeros(most + 1, np.int64), np.zeros(net.steps + 2, np.int64), np.zeros(neurons, FIRED),
        np.zeros((neurons, net.words), RESPONSE), np.full(neurons, -1), np.zeros((2, net.words)),
    )  # fmt: skip


def records(kind: np.dtype[Any], columns: dict[str, NDArray[Any]], *, end: dict[str, int] | None = None) -> NDArray[Any]:
    """Return records of columns by name; ``end``: one more record at the end."""
    count = len(next(iter(columns.values())))
    found = np.zeros(count + (end is not None), kind)
    for name, column in columns.items():
        found[name][:count] = column
    for name, value in (end or {}).items():
        found[name][-1] = value
    return found


def packed(spikes: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return trains or masks bool [k, T] as words, uint32 [k, ⌈T / 32⌉]."""
    rows, steps = spikes.shape
    words = -(-steps // BITS)
    whole = np.zeros((rows, words * BITS), bool)
    whole[:, :steps] = spikes
    return np.packbits(whole, axis=1, bitorder="little").view("<u4").astype(np.uint32)
