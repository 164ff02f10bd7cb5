"""The 40-bit events of N-MNIST (``.bin``) and of SLAYER's examples (``.bs2``).

An event is 5 bytes, big-endian: x, y, then the polarity in the top bit of 24 and µs in the other 23
(Orchard et al. 2015, Frontiers in Neuroscience 9:437; www.garrickorchard.com/datasets/n-mnist). An event with y = 240 is none: it
says that the clock of all later ones has gone over by 2¹³ µs, as the publisher's reader has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from neurofault.data.recordings import Columns, Recordings, SensorShape, on_sensor
from neurofault.errors import DataError
from neurofault.files import read_file

NMNIST_SHAPE: Final[SensorShape] = (2, 34, 34)
"""(polarities, height, width) of N-MNIST."""

_BYTES: Final = 5
_OVERFLOW_ROW: Final = 240
_OVERFLOW: Final = 1 << 13
MOST_BYTES: Final = 256 << 20
"""Bytes of one recording; N-MNIST's have about 20 kB."""


def read_address_events(files: Sequence[Path], labels: Sequence[int], shape: SensorShape = NMNIST_SHAPE) -> Recordings:
    """Read one recording a file, in this order.

    Args:
        files: ``.bin`` or ``.bs2`` files.
        labels: the class of each.
        shape: (polarities, height, width) of the sensor; 1 or 2 polarities.

    Raises:
        DataError: a file is missing, empty, too long, cut within an event, or has an event beside the sensor.
    """
    return address_events(((str(path), read_file(path, MOST_BYTES)) for path in files), labels, shape)


def address_events(contents: Iterable[tuple[str, bytes]], labels: Sequence[int], shape: SensorShape = NMNIST_SHAPE) -> Recordings:
    """Return one recording for each file's bytes, in this order.

    Args:
        contents: (what it is called in messages, bytes) of each.
        labels: the class of each.
        shape: (polarities, height, width) of the sensor; 1 or 2 polarities.

    Raises:
        DataError: one is empty, cut within an event, or has an event beside the sensor.
    """
    return Recordings.of([events_of(where, content, shape) for where, content in contents], shape, np.asarray(labels, np.int64))


def read_label_list(path: Path, classes: int) -> list[tuple[str, int]]:
    """Read SLAYER's list of samples: a line ``#sample #class``, then a name and a label a line.

    Returns:
        The name of each recording, without a suffix, and its label, 0 to ``classes`` − 1.

    Raises:
        DataError: the file cannot be read, or a line is something else.
    """
    listed = []
    text = read_file(path, MOST_BYTES).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        plain = len(words) == 2 and all(word.isascii() and word.isdigit() and len(word) < 10 for word in words)
        if not plain or int(words[1]) >= classes:
            raise DataError(f"{path}:{number}: {line[:40]!r}, expected a sample's number and its class, 0 to {classes - 1}")
        listed.append((words[0], int(words[1])))
    if not listed:
        raise DataError(f"{path}: lists no samples")
    return listed


def events_of(where: str, content: bytes, shape: SensorShape = NMNIST_SHAPE) -> Columns:
    """Return the columns of one file's events.

    Args:
        where: what it is called in messages.
        content: its bytes.
        shape: (polarities, height, width) of the sensor; 1 or 2 polarities.

    Raises:
        DataError: it is empty, cut within an event, or has an event beside the sensor.
    """
    if len(content) % _BYTES:
        whole = len(content) // _BYTES * _BYTES
        raise DataError(f"{where}: truncated: an event of {len(content) - whole} bytes at byte {whole}, expected {_BYTES}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, _BYTES)
    over = rows[:, 1] == _OVERFLOW_ROW
    wide = rows.astype(np.int64)
    times = (wide[:, 2] & 127) << 16 | wide[:, 3] << 8 | wide[:, 4]
    times += np.cumsum(over, dtype=np.int64) * _OVERFLOW
    keep = ~over
    if not keep.any():
        raise DataError(f"{where}: holds no events, expected at least 1")
    events = (rows[keep, 0], rows[keep, 1], rows[keep, 2] >> 7, times[keep])
    return on_sensor(where, events, shape, np.flatnonzero(keep) * _BYTES)
