"""Recordings that are still in their files: read a few at a time, in the order of their role, and binned at once, so that none is held twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.binning import Binning
from neurofault.data.own import Division
from neurofault.data.recordings import Recordings
from neurofault.data.splits import DataSet, Split
from neurofault.errors import DataError
from neurofault.inputs import Spikes

NOTHING: Final[Mapping[str, int]] = {}
"""No limit of any role."""


@dataclass(frozen=True, eq=False)
class Unread:
    """Recordings by number, not read yet.

    Attributes:
        labels: int64 [N], the class of each.
        read: returns those of the numbers int64 [M], in this order.
        chunk: how many are read at a time.
        notes: what is worth a word about them.
    """

    labels: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], Recordings]
    chunk: int = 256
    notes: tuple[str, ...] = ()


def data_set_of_recordings(
    unread: Mapping[str, Unread], name: str, binning: Binning, division: Division, most: Mapping[str, int] = NOTHING
) -> DataSet:
    """Return a data set of recordings, binned.

    Args:
        unread: key → recordings.
        name: of the data.
        binning: complete.
        division: which of them play which role (:func:`neurofault.data.own.roles_of`).
        most: role → how many of its recordings are read, from the first; roles that are not named are read whole.

    Raises:
        DataError: a file is damaged.
        UsageError: the binning does not fit.
    """
    kept = total = 0
    cut = any(most.get(role, len(order)) < len(order) for role, (_, order) in division.places.items())
    lost = dict.fromkeys(("merged", "outside", "cropped"), 0)
    shape, made = None, {}
    for role, (source, whole) in division.places.items():
        part, parts, order = unread[source], [], whole[: most.get(role, len(whole))]
        for first in range(0, len(order), part.chunk):
            recordings = part.read(order[first : first + part.chunk])
            binned = binning.of(recordings, name)
            if shape not in (None, binned.shape):
                raise DataError(f"{name}: {role} recordings are {binned.shape}, others {shape} (polarities, height, width)")
            shape = binned.shape
            parts.append(binned.spikes)
            total += len(recordings.times)
            for way in lost:
                lost[way] += getattr(binned, way)
        spikes = Spikes.joined(parts)
        kept += len(spikes.steps)
        made[role] = _split(spikes, part.labels[order], order, f"{name}/{role}")
    notes = (*division.notes, *(note for part in unread.values() for note in part.notes))
    if kept < total:
        reasons = {
            "merged": "with another of the same line in the same step", "outside": f"after step {made['test'].events.timesteps - 1}", "cropped": "beside the crop",
        }  # fmt: skip
        how = ", ".join(f"{lost[way]:,} {why}" for way, why in reasons.items() if lost[way])
        notes = (*notes, f"{name}: {total - kept:,} of {total:,} events{' that were read' if cut else ''} are lost: {how}")
    return DataSet(name, **made, classes=division.classes, sensor=shape, notes=notes)


def _split(spikes: Spikes, labels: NDArray[np.int64], order: NDArray[np.int64], name: str) -> Split:
    split = Split(spikes, labels, order.copy(), name)
    for array in (split.labels, split.indices):
        array.setflags(write=False)
    return split
