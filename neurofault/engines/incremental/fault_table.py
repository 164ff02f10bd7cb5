"""What the compiled kernels of the incremental engine work on: faults as rows, a thread's room, a sample of the healthy run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class FaultTable(NamedTuple):
    """Faults as rows of a batch; neurons are numbered as in :class:`Net`.

    Attributes:
        faults: int, F.
        units: int64 [G + 1], window of each *other* fault's units, sorted by layer; ``others``: int64 [G], their rows.
        layer, neuron: int64 [units]; fixed: uint8 [units], whether the train is ``train`` (uint64) whatever arrives.
        edits: int64 [units + 1], window of each unit's changed weights; source: int64, delta: int32 [edits].
        layers: int64 [S + 1], window of each layer's sources in ``first`` (int64 [sources + 1]), which are windows of the faults
            that are one synapse of this source: single_row, single_target: int64, single_delta: int32.
    """

    faults: int
    units: NDArray[np.int64]
    others: NDArray[np.int64]
    layer: NDArray[np.int64]
    neuron: NDArray[np.int64]
    fixed: NDArray[np.uint8]
    train: NDArray[np.uint64]
    edits: NDArray[np.int64]
    source: NDArray[np.int64]
    delta: NDArray[np.int32]
    single_layers: NDArray[np.int64]
    first: NDArray[np.int64]
    single_row: NDArray[np.int64]
    single_target: NDArray[np.int64]
    single_delta: NDArray[np.int32]


class ThreadRoom(NamedTuple):
    """Room of one thread, clean between faults.

    Attributes:
        now: uint64 [neurons], trains of the sample with the fault; equal to the healthy ones but for the changed neurons.
        changed: int64 [neurons], stack of the neurons that changed.
        extra: int32 [most sums of a layer], what is added to a layer's sums.
        touched: uint8 [most places]; places: int64 [most places], list of them.
        held: uint8 [neurons], whether a fixed unit holds the neuron.
        lanes: parameters and targets of ``BLOCK`` single neurons.
    """

    now: NDArray[np.uint64]
    changed: NDArray[np.int64]
    extra: NDArray[np.int32]
    touched: NDArray[np.uint8]
    places: NDArray[np.int64]
    held: NDArray[np.uint8]
    scores: NDArray[np.int64]
    drive: NDArray[np.int32]
    keep_u: NDArray[np.float64]
    keep_v: NDArray[np.float64]
    threshold: NDArray[np.int32]
    start: NDArray[np.int32]
    bias: NDArray[np.int32]
    target: NDArray[np.int64]
    row: NDArray[np.int64]
    found: NDArray[np.uint64]


class Healthy(NamedTuple):
    """One sample of the healthy run: sums and trains of all layers, scores, the best output, its room before anything wraps."""

    sums: NDArray[Any]
    trains: NDArray[np.uint64]
    scores: NDArray[np.int64]
    prediction: int
    room: int
