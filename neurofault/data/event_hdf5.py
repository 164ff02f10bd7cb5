"""Spikes in HDF5 as SHD and SSC are published in (Cramer et al. 2020, IEEE TNNLS 33(7); zenkelab.org/resources/spiking-heidelberg-datasets-shd).

``spikes/times`` are rows of seconds, ``spikes/units`` rows of channels, 0 to 699, ``labels`` a whole number a row. A file is opened by a process of its own
(:mod:`neurofault.hdf5_file`), some rows at a time, so that memory holds only these.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.labels import MOST_CLASSES
from neurofault.data.recordings import Recordings, SensorShape
from neurofault.data.unread import Unread
from neurofault.errors import DataError, UnsupportedError
from neurofault.hdf5_file import read_rows

SHD_SHAPE: Final[SensorShape] = (1, 1, 700)
"""700 channels of a cochlea's model, as (polarities, height, width)."""

_NAMES: Final = ("spikes/times", "spikes/units")
_WHAT: Final = "HDF5"
_ROWS: Final = 2048
"""Recordings that are read at a time."""
_LONGEST: Final = 1e6


def unread_hdf5(path: Path, sensor: SensorShape | None, classes: int = MOST_CLASSES) -> Unread:
    """Return the recordings of a file, not read yet.

    Args:
        path: the file.
        sensor: (1, 1, channels); None: SHD's 700.
        classes: labels must be below it.

    Raises:
        DataError: it cannot be read, or its labels are out of range.
        UnsupportedError: h5py is not installed.
    """
    if find_spec("h5py") is None:
        raise UnsupportedError(f"{path}: HDF5 needs h5py, which is not installed; pip install 'neurofault[nir]'")
    shape = SHD_SHAPE if sensor is None else sensor
    _, (labels,), _ = read_rows(path, _NAMES, ["labels"], [], _WHAT)
    known = labels.astype(np.int64)
    if not len(known):
        raise DataError(f"{path}: holds no recordings, expected at least 1")
    wrong = np.flatnonzero((known < 0) | (known >= classes))
    if wrong.size:
        raise DataError(f"{path}: labels: {known[wrong[0]]} at row {wrong[0]}, expected 0 to {classes - 1}")

    def read(which: NDArray[np.int64]) -> Recordings:
        _, _, (times, units) = read_rows(path, _NAMES, [], which.tolist(), _WHAT)
        if not np.array_equal(times.starts, units.starts):
            row = which[np.flatnonzero(np.diff(times.starts) != np.diff(units.starts))[0]]
            raise DataError(f"{path}: row {row} has another number of {_NAMES[0]} than of {_NAMES[1]}")
        seconds, channel = times.values.astype(np.float64), units.values.astype(np.float64)
        for name, values, most in ((_NAMES[0], seconds, _LONGEST), (_NAMES[1], channel, shape[2] - 1)):
            bad = np.flatnonzero(
                ~((values >= 0) & (values <= most)) | ((values != np.rint(values)) if name == _NAMES[1] else False)
            )
            if bad.size:
                row = which[np.searchsorted(times.starts, bad[0], side="right") - 1]
                raise DataError(f"{path}: {name}: {values[bad[0]]:g} in row {row}; allowed: 0 to {most:g}")
        zero = np.zeros(len(channel), np.int64)
        return Recordings(
            times.starts, channel.astype(np.int16), zero.astype(np.int16), zero.astype(np.uint8),
            np.rint(seconds * 1e6).astype(np.int64), shape, known[which],
        )  # fmt: skip

    return Unread(known, read, _ROWS)
