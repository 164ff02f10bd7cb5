"""``ecg-qtdb``: recordings of the QT Database as level crossings, with the phase of the heartbeat at every step.

Files as byin-cwi/Efficient-spiking-networks on GitHub offers them (folder ``data``)::

    <dir>/ecg-qtdb/QTDB_train.mat      x [618, 1301, 4], −1, 0 or 1; y [618, 1301, 6], 0 or 1
    <dir>/ecg-qtdb/QTDB_test.mat       141 recordings

of the network of Yin, Corradi and Bohté 2021 (Nature Machine Intelligence 3:905); the recordings are PhysioNet's (Laguna et al. 1997, ODC-BY). A step is
4 ms. Each channel is two lines of events: 0 to 3 for its ones, 4 to 7 for its minus ones (of which the published files have one a recording, in the last
step). The label of a step is the place of the one in y; **a step without any has no label** (8 % of the training steps, 10 % of the test steps), −1 here, and does not
count. (The authors' program takes those as class 0, P.)

**Roles.** A tenth of the published training recordings is the validation part; all are in a fixed, mixed order, as every data set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.mat_files import read_mat
from neurofault.data.order import fair_order
from neurofault.data.splits import DataSet, Split
from neurofault.errors import DataError
from neurofault.files import why_not
from neurofault.inputs import Spikes
from neurofault.numerals import plural
from neurofault.streams import stream_key

NAME: Final = "ecg-qtdb"
CLASSES: Final = ("P", "PQ", "QR", "RS", "ST", "TP")
"""Phases of a heartbeat, in their order."""
_CHANNELS: Final = 4
_FEWEST: Final = 10


def read_ecg_qtdb(root: Path | None) -> DataSet:
    """Return the data set.

    Args:
        root: folder that holds ``ecg-qtdb/``; None: none was named.

    Raises:
        DataError: a file is missing, damaged, or holds something else; one line that names it.
    """
    paths = {} if root is None else {role: root / NAME / f"QTDB_{role}.mat" for role in ("train", "test")}
    for path in paths.values() or (None,):
        if path is None or why_not(path) == "no such file":
            looked = f"no file {path}" if path is not None else "no folder is named (neither --data-dir nor NEUROFAULT_DATA)"
            raise DataError(
                f"data set {NAME!r} not found: {looked}; put QTDB_train.mat and QTDB_test.mat (github.com/byin-cwi/Efficient-spiking-networks, "
                f"folder data) into DIR/{NAME}/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR)"
            )
    (events, labels), (test_events, test_labels) = (_read(paths[role]) for role in ("train", "test"))
    if len(labels) < _FEWEST:
        raise DataError(
            f"{paths['train']}: {plural(len(labels), 'recording')}, expected at least {_FEWEST} (a tenth is held out for validation)"
        )
    if test_events.timesteps != events.timesteps:
        raise DataError(
            f"{paths['test']}: {plural(test_events.timesteps, 'step')} a recording, but {paths['train']} has {events.timesteps}"
        )
    order, test_order = (
        fair_order(np.zeros(len(each), np.int64), stream_key("data", NAME, role))
        for each, role in ((labels, "train"), (test_labels, "test"))
    )
    held = len(order) // 10
    return DataSet(
        NAME,
        train=_taken(events, labels, order[held:], "train"),
        validation=_taken(events, labels, order[:held], "validation"),
        test=_taken(test_events, test_labels, test_order, "test"),
        classes=CLASSES,
    )


def _taken(events: Spikes, labels: NDArray[np.int64], order: NDArray[np.int64], role: str) -> Split:
    split = Split(events.take(order), labels[order], order.copy(), f"{NAME}/{role}")
    for array in (split.labels, split.indices):
        array.setflags(write=False)
    return split


def _read(path: Path) -> tuple[Spikes, NDArray[np.int64]]:
    """Return the events [N, T] of eight lines and the labels [N, T] of a file."""
    arrays = read_mat(path, ("x", "y"))
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 3 or x.shape[2] != _CHANNELS or not x.size:
        raise DataError(f"{path}: x has the shape {x.shape}; expected [N, T, {_CHANNELS}]")
    if y.shape != (*x.shape[:2], len(CLASSES)):
        raise DataError(f"{path}: y has the shape {y.shape}; expected {(*x.shape[:2], len(CLASSES))}")
    for name, array, allowed in (("x", x, (-1, 0, 1)), ("y", y, (0, 1))):
        wrong = ~np.isin(array, allowed)
        if wrong.any():
            at = tuple(int(each) for each in np.argwhere(wrong)[0])
            raise DataError(f"{path}: {name} holds {array[at]} at {list(at)}; expected {', '.join(map(str, allowed))}")
    marked = y.sum(axis=2, dtype=np.int64)
    if marked.max() > 1:
        at = tuple(int(each) for each in np.argwhere(marked > 1)[0])
        raise DataError(f"{path}: y holds {plural(marked[at], 'label')} at {list(at)}; expected one, or none")
    if not marked.any():
        raise DataError(f"{path}: no step has a label")
    lines: NDArray[np.bool_] = np.concatenate([np.equal(x, 1), np.equal(x, -1)], axis=2)
    return Spikes.dense(lines), np.where(marked > 0, y.argmax(axis=2), -1).astype(np.int64)
