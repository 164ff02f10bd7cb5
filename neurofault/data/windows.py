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
from neurofault.errors import DataError, UsageError
from neurofault.inputs import Spikes
from neurofault.numerals import whole_number
from neurofault.streams import permutation_prefix, stream_key


def in_windows(data: DataSet, name: str, steps: int, of_each: Mapping[str, int]) -> DataSet:
    """Return a data set of windows: no two roles share a recording, as none of ``data`` do.

    Which steps windows end at is drawn anew for each recording, without repetition, from those of its steps that have a label and ``steps − 1`` steps before them; the
    key is the name and the recording's index, so windows depend on nothing else. One that has fewer such steps gives as many windows as it has.

    Args:
        data: recordings with labels [N, T].
        name: of the windows.
        steps: of a window, 1 to T.
        of_each: ``train``, ``validation`` and ``test`` → windows of each recording, at least 1.

    Returns:
        ``labels`` int64 [windows], each that of the window's last step; ``indices`` are the recordings'. Windows are in an order of which each part is a fair sample.

    Raises:
        UsageError: steps or windows out of range or no whole numbers, or a role without a number of windows.
        DataError: no labels of every step; or a role of which no recording has a labelled step late enough.
    """
    if data.timesteps is None or data.test.labels.ndim != 2:
        raise DataError(f"data {data.name} has no label of every step, so it cannot be cut into windows")
    steps = whole_number(steps, "steps")
    if not 1 <= steps <= data.timesteps:
        raise UsageError(f"steps of a window must be 1 to {data.timesteps}, those of a recording, are {steps}")
    if set(of_each) != set(ROLES):
        raise UsageError(
            f"windows of each recording are given for {', '.join(of_each) or 'no role'}; needed are those of {', '.join(ROLES)}"
        )
    of_each = {role: whole_number(count, f"windows of {role}") for role, count in of_each.items()}
    for role, count in of_each.items():
        if count < 1:
            raise UsageError(f"windows of {role} must be at least 1 of each recording, are {count}")
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
