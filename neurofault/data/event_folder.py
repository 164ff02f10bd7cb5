"""A folder of recordings, one folder a class, in any format that is read.

::

    mine/cat/1.bin  mine/cat/2.bin  mine/dog/1.bin         the names of the folders are the classes, in their order
    mine/train/cat/1.bin …  mine/test/cat/9.bin            or with roles: train, validation (each may be missing) and test

========================  ==============================================================================  =====================
``.bin``, ``.bs2``        40 bits an event: N-MNIST, SLAYER (:mod:`neurofault.data.address_events`)          2 × 34 × 34
``.aedat``                AEDAT 3.1 (:mod:`neurofault.data.aedat`)                                           2 × 128 × 128
``.dat``                  Prophesee, version 2: N-CARS (:mod:`neurofault.data.prophesee`)                    as it says, or 2 × 100 × 120
``.mat``                  ST-MNIST (:mod:`neurofault.data.stmnist`)                                          2 × 10 × 10
========================  ==============================================================================  =====================

The last column is the sensor that is assumed; ``sensor`` of the binning names another. Files whose names begin with a dot are passed over; any other file is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.address_events import MOST_BYTES, NMNIST_SHAPE, events_of
from neurofault.data.aedat import DVS128_SHAPE, open_aedat
from neurofault.data.prophesee import dat_events
from neurofault.data.recordings import Columns, Recordings, SensorShape
from neurofault.data.splits import ROLES
from neurofault.data.stmnist import STMNIST_SHAPE, stmnist_events
from neurofault.data.unread import Unread
from neurofault.errors import DataError
from neurofault.files import read_file

_MOST_FILES: Final = 1_000_000

_Read = Callable[[Path, SensorShape | None], tuple[Columns, SensorShape]]


def _address(path: Path, sensor: SensorShape | None) -> tuple[Columns, SensorShape]:
    shape = sensor or NMNIST_SHAPE
    return events_of(str(path), read_file(path, MOST_BYTES), shape), shape


def _aedat(path: Path, sensor: SensorShape | None) -> tuple[Columns, SensorShape]:
    shape = sensor or DVS128_SHAPE
    return open_aedat(path).events(shape), shape


def _dat(path: Path, sensor: SensorShape | None) -> tuple[Columns, SensorShape]:
    return dat_events(str(path), read_file(path, MOST_BYTES), sensor)


def _mat(path: Path, sensor: SensorShape | None) -> tuple[Columns, SensorShape]:
    if sensor not in (None, STMNIST_SHAPE):
        raise DataError(f"{path}: recordings of ST-MNIST have the sensor {STMNIST_SHAPE}, not {sensor}")
    return stmnist_events(path), STMNIST_SHAPE


_FORMATS: Final[Mapping[str, _Read]] = {".bin": _address, ".bs2": _address, ".aedat": _aedat, ".dat": _dat, ".mat": _mat}

_OTHERS: Final = {
    ".aedat4": "AEDAT 4 is not read: convert it to AEDAT 3.1, or give its events from a factory, package.module:datasets (docs/events.md)",
    ".h5": "an HDF5 file holds many recordings: give it by itself, --data FILE.h5",
    ".hdf5": "an HDF5 file holds many recordings: give it by itself, --data FILE.hdf5",
}


def why_no_recording(path: Path) -> str | None:
    """Return why a file is no recording that is read, None if it is one, by its name."""
    suffix = path.suffix.lower()
    if suffix in _FORMATS:
        return None
    return _OTHERS.get(suffix, f"no recording; read are {', '.join(_FORMATS)}")


def unread_folder(folder: Path, sensor: SensorShape | None) -> tuple[dict[str, Unread], tuple[str, ...]]:
    """Return role → the recordings of a folder, not read yet, and the names of the classes.

    Args:
        folder: see this module.
        sensor: (polarities, height, width); None: as the format has it.

    Raises:
        DataError: no recordings, a file of another kind, or roles without test.
    """
    inner = _folders(folder)
    roles = {each.name.lower(): each for each in inner if each.name.lower() in ROLES}
    if roles and len(roles) < len(inner):
        others = [each.name for each in inner if each.name.lower() not in ROLES]
        raise DataError(f"{folder}: holds {', '.join(roles)} and {others[0]}; expected roles alone, or one folder a class")
    if roles and "test" not in roles:
        raise DataError(f"{folder}: holds {', '.join(roles)}; expected test among them")
    parts = roles or {"test": folder}
    classes = sorted({each.name for part in parts.values() for each in _folders(part)}, key=_in_order)
    if not classes:
        raise DataError(f"{folder}: holds no folders; expected one a class, with recordings ({', '.join(_FORMATS)})")
    return {role: _unread(part, classes, sensor) for role, part in parts.items()}, tuple(classes)


def _in_order(name: str) -> tuple[int, str]:
    """Numbers first, by value."""
    return (int(name), "") if name.isascii() and name.isdigit() and len(name) < 10 else (1 << 31, name)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None


def _unread(folder: Path, classes: list[str], sensor: SensorShape | None) -> Unread:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inner = folder / name
        if not inner.is_dir():
            continue
        for path in sorted(each for each in inner.iterdir() if not each.name.startswith(".")):
            why = f"is a folder; expected recordings in {inner}" if path.is_dir() else why_no_recording(path)
            if why is not None:
                raise DataError(f"{path}: {why}")
            files.append(path)
            labels.append(label)
        if len(files) > _MOST_FILES:
            raise DataError(f"{folder}: more than {_MOST_FILES:,} recordings")
    if not files:
        raise DataError(f"{folder}: holds no recordings ({', '.join(_FORMATS)})")
    known = np.array(labels, np.int64)

    def read(which: NDArray[np.int64]) -> Recordings:
        parts: list[Columns] = []
        shape: SensorShape | None = None
        for place in which.tolist():
            path = files[place]
            events, found = _FORMATS[path.suffix.lower()](path, sensor)
            if shape not in (None, found):
                raise DataError(f"{path}: a sensor of {found} (polarities, height, width), others have {shape}; expected the same")
            shape = found
            parts.append(events)
        return Recordings.of(parts, shape or NMNIST_SHAPE, known[which])

    return Unread(known, read)
