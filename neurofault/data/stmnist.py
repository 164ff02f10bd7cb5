"""ST-MNIST's recordings of touch (See et al. 2020, arXiv:2005.04319): a MATLAB file with ``spiketrain`` [101, E], real numbers.

A column is a moment: rows 0 to 99 are the 10 × 10 sensors, 1 for a press, −1 for a release, 0 for nothing; row 100 is its time in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from neurofault.data.mat_files import read_mat
from neurofault.data.recordings import Columns, SensorShape
from neurofault.errors import DataError

STMNIST_SHAPE: Final[SensorShape] = (2, 10, 10)
"""(release and press, rows, columns)."""

_LONGEST: Final = 1e6


def stmnist_events(path: Path) -> Columns:
    """Return the columns of one file's events, times from the first moment on: polarity 0 is a release, 1 a press.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    train = read_mat(path, ["spiketrain"])["spiketrain"].astype(np.float64)
    if train.ndim != 2 or train.shape[0] != 101 or not train.shape[1]:
        raise DataError(f"{path}: spiketrain has the shape {train.shape}; expected (101, moments)")
    sensors, seconds = train[:100], train[100]
    if not np.isin(sensors, (-1, 0, 1)).all():
        raise DataError(f"{path}: spiketrain has other values than −1, 0 and 1 in its first 100 rows")
    if not np.isfinite(seconds).all() or np.ptp(seconds) > _LONGEST:
        raise DataError(f"{path}: spiketrain has times that are not finite or more than {_LONGEST:,.0f} s apart in row 100")
    moment, sensor = np.nonzero(sensors.T)
    if not moment.size:
        raise DataError(f"{path}: holds no events, expected at least 1")
    times = np.rint((seconds[moment] - seconds.min()) * 1e6).astype(np.int64)
    return sensor % 10, sensor // 10, (sensors.T[moment, sensor] > 0).astype(np.int64), times
