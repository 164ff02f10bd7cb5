"""Recordings with a label of every step, cut into windows of equal length: each ends at a step that has a label, and has that label alone.

What takes one label a sample, learning above all, takes windows. A network begins a window as it begins any sample, so a window should be longer than what
the network remembers of its past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.data.order import fair_order
from neurofault.data.splits import ROLES, DataSet, Split
from neurofault.errors import DataError
from neurofault.inputs import Spikes
from neurofault.streams import permutation_prefix, stream_key


def in_windows(data: DataSet, name: str, steps: int, of_each: Mapping[str, int]) -> DataSet:
    """Return a data set of windows: no two roles share a recording, as none of ``data`` do.

    Which steps windows end at is drawn anew for each recording, without repetition, from those of its steps that have a label and ``steps − 1`` steps before them; the
    key is the name and the recording's index, so windows depend on nothing else. One that has fewer such steps gives as many windows as it has.

    Args:
        data: recordings with labels [N, T].
        name: of the windows.
        steps: of a window, 1 to T.
        of_each: role → windows of each recording, at least 1.

    Returns:
        ``labels`` int64 [windows], each that of the window's last step; ``indices`` are the recordings'. Windows are in an order of which each part is a fair sample.

    Raises:
        DataError: no labels of every step; or a role of which no recording has a labelled step late enough.
    """
    if data.timesteps is None or data.test.labels.ndim != 2:
        raise DataError(f"data {data.name} has no label of every step, so it cannot be cut into windows")
    train, validation, test = (_windows(data.split(role), name, role, steps, of_each[role]) for role in ROLES)
    return replace(data, name=name, train=train, validation=validation, test=test)


def _windows(split: Split, name: str, role: str, steps: int, of_each: int) -> Split:
    events, labels, indices = list[NDArray[np.bool_]](), list[int](), list[int]()
    for number, index in enumerate(split.indices.tolist()):
        own = split.labels[number]
        late = np.flatnonzero(own[steps - 1 :] >= 0) + steps - 1
        count = min(of_each, len(late))
        ends = late[permutation_prefix(stream_key("data", name, role, index), len(late), count)] if count else late
        whole = split.events[number : number + 1].to_dense()[0]
        events += [whole[end - steps + 1 : end + 1] for end in ends.tolist()]
        labels += own[ends].tolist()
        indices += [index] * count
    if not events:
        raise DataError(f"{split.name}: no step from {steps} on has a label, so no window of {steps} steps ends at one")
    order = fair_order(np.array(labels, np.int64), stream_key("data", name, role, "order"))
    found = Split(
        Spikes.dense(np.stack(events)[order]),
        np.array(labels, np.int64)[order],
        np.array(indices, np.int64)[order],
        f"{name}/{role}",
    )
    for array in (found.labels, found.indices):
        array.setflags(write=False)
    return found
