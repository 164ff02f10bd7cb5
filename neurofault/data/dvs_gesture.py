"""``dvs-gesture``: DVS128 Gesture as IBM offers it (Amir et al. 2017, CVPR; CC BY 4.0).

::

    <dir>/dvs-gesture/trials_to_train.txt, trials_to_test.txt      one name of a .aedat file a line
    <dir>/dvs-gesture/user01_fluorescent.aedat                     AEDAT 3.1, many gestures one after the other
    <dir>/dvs-gesture/user01_fluorescent_labels.csv                class (1 to 11), first and last µs of each

``DvsGesture``, the name of the published folder, is found too, and ``<dir>`` itself may be it. A gesture is one recording; its time begins at its first µs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.aedat import DVS128_SHAPE, Aedat, open_aedat
from neurofault.data.binning import Binning
from neurofault.data.recordings import Columns, Recordings
from neurofault.data.unread import Unread
from neurofault.errors import DataError
from neurofault.files import read_file
from neurofault.numerals import natural

NAME: Final = "dvs-gesture"
FOLDERS: Final = ("dvs-gesture", "DvsGesture")
BINNING: Final = Binning(bins=300, dt=5e-3, down=4, rounding="down")
"""The first 1.5 s in steps of 5 ms, 4 × 4 pixels a line: 2 × 32 × 32."""
CLASSES: Final = (
    "hand clapping", "right hand wave", "left hand wave", "right hand clockwise", "right hand counter clockwise", "left hand clockwise",
    "left hand counter clockwise", "forearm roll", "drums", "guitar", "other",
)  # fmt: skip
WANTED: Final = "trials_to_train.txt and trials_to_test.txt, and the *.aedat and *_labels.csv that they name"
_LISTS: Final = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_MOST: Final = 16 << 20


def is_there(folder: Path) -> bool:
    """Say whether a folder holds the set."""
    return any((folder / name).is_file() for name in _LISTS.values())


def unread_gestures(folder: Path) -> dict[str, Unread]:
    """Return role → its gestures, not read yet.

    Raises:
        DataError: a list, a recording or its labels are missing or damaged.
    """
    return {role: _unread(folder, folder / name) for role, name in _LISTS.items()}


def _unread(folder: Path, listed: Path) -> Unread:
    names = [line.strip() for line in _text(listed).splitlines() if line.strip()]
    gestures: list[tuple[Path, int, int]] = []
    labels: list[int] = []
    for number, name in enumerate(names, 1):
        if Path(name).name != name or not name.endswith(".aedat"):
            raise DataError(f"{listed}:{number}: {name[:60]!r}, expected a name *.aedat")
        path = folder / name
        for label, start, end in _read_labels(path.with_name(f"{path.stem}_labels.csv")):
            gestures.append((path, start, end))
            labels.append(label)
    if not gestures:
        raise DataError(f"{listed}: lists no recordings")
    opened: dict[Path, Aedat] = {}

    def read(which: NDArray[np.int64]) -> Recordings:
        parts: list[Columns] = []
        for place in which.tolist():
            path, start, end = gestures[place]
            if path not in opened:
                opened[path] = open_aedat(path)
            parts.append(opened[path].events(DVS128_SHAPE, start, end))
        return Recordings.of(parts, DVS128_SHAPE, known[which])

    known = np.array(labels, np.int64)
    return Unread(known, read, chunk=16)


def _read_labels(path: Path) -> list[tuple[int, int, int]]:
    """Return (class from 0, first µs, µs after the last) of each gesture of a file."""
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or (number == 1 and line.lower().startswith("class")):
            continue
        words = [natural(word.strip()) for word in line.split(",")]
        if len(words) != 3 or None in words:
            raise DataError(f"{path}:{number}: {line[:60]!r}, expected class, first and last µs")
        label, start, end = (word or 0 for word in words)
        if not (1 <= label <= len(CLASSES) and start < end < 1 << 62):
            raise DataError(
                f"{path}:{number}: {line[:60]!r}, expected a class of 1 to {len(CLASSES)} and a last µs after the first"
            )
        found.append((label - 1, start, end))
    return found


def _text(path: Path) -> str:
    return read_file(path, _MOST).decode("utf-8", "replace")
