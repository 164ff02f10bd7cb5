"""AEDAT 3.1 files, as DVS128 Gesture is published in (Amir et al. 2017, CVPR; format: docs.inivation.com, "AEDAT 3.1").

Lines that begin with ``#``, the last ``#!END-HEADER``, then packets: a header of 28 bytes, little-endian (kind of event, source, bytes an event, offset of the time,
2³¹ µs that have gone over, capacity, events, valid events), then the events. Of polarity events (kind 1) 8 bytes: a word of valid (bit 0), polarity (1), y
(2 to 16) and x (17 to 31), and µs. Packets of other kinds, pictures and movements, are passed over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.recordings import Columns, SensorShape, on_sensor
from neurofault.errors import DataError
from neurofault.files import why_not

DVS128_SHAPE: Final[SensorShape] = (2, 128, 128)
"""(polarities, height, width) of the DVS128."""

_FIRST: Final = b"#!AER-DAT3."
_END: Final = b"#!END-HEADER"
_HEADER: Final = struct.Struct("<HHIIIIII")
_POLARITY: Final = 1
_BYTES: Final = 8
_MOST_HEADER: Final = 1 << 16
_MOST_EVENTS: Final = 1 << 22
"""Events of one packet."""
_MOST_PACKETS: Final = 1 << 21
_MOST_READ: Final = 1 << 30
"""Bytes of one stretch of time."""


@dataclass(frozen=True, eq=False)
class Aedat:
    """Where the polarity events of a file stand, and when they are.

    Attributes:
        path: the file.
        at: int64 [P], byte of the first event of each packet.
        count: int64 [P], its events.
        over: int64 [P], µs to add to its times.
        first, last: int64 [P], time of its first and of its last event (µs).
    """

    path: Path
    at: NDArray[np.int64]
    count: NDArray[np.int64]
    over: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def events(self, shape: SensorShape, start: int | None = None, end: int | None = None) -> Columns:
        """Return the columns of the valid events of a stretch of time, times from its start on.

        Args:
            shape: of the sensor.
            start: first µs; None: that of the first event.
            end: µs after the last; None: all that follow.

        Raises:
            DataError: none is there, one lies beside the sensor, or the file has changed.
        """
        low = int(self.first.min()) if start is None else start
        high = int(self.last.max()) + 1 if end is None else end
        chosen = np.flatnonzero((self.last >= low) & (self.first < high))
        if int(self.count[chosen].sum()) * _BYTES > _MOST_READ:
            raise DataError(f"{self.path}: more than {_MOST_READ:,} bytes of events from {low} to {high} µs")
        words, at, over = [np.zeros((0, 2), "<u4")], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        with self.path.open("rb") as file:
            for packet in chosen.tolist():
                count = int(self.count[packet])
                file.seek(int(self.at[packet]))
                words.append(np.frombuffer(_exactly(file, count * _BYTES, self.path), "<u4").reshape(-1, 2))
                at.append(self.at[packet] + _BYTES * np.arange(count))
                over.append(np.full(count, self.over[packet]))
        flat, places = np.concatenate(words).astype(np.int64), np.concatenate(at)
        word, times = flat[:, 0], flat[:, 1] + np.concatenate(over)
        use = (word & 1 == 1) & (times >= low) & (times < high)
        if not use.any():
            raise DataError(f"{self.path}: no valid polarity events from {low} to {high} µs, expected at least 1")
        word, times = word[use], times[use]
        return on_sensor(str(self.path), (word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1, times - low), shape, places[use])


def open_aedat(path: Path) -> Aedat:
    """Walk over a file's packets; their events are not kept.

    Raises:
        DataError: another format, damaged or cut short; the text names the byte.
    """
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    found: list[tuple[int, int, int, int, int]] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            place = _after_header(file, path)
            while place < size:
                file.seek(place)
                head = _exactly(file, _HEADER.size, path)
                kind, _, each, _, gone, capacity, number, _ = _HEADER.unpack(head)
                if not 0 < each <= _MOST_READ or number > capacity or number * each > size - place - _HEADER.size:
                    raise DataError(
                        f"{path}: byte {place}: truncated or damaged: a packet of {number} events (room for {capacity}) of {each} bytes each, {size - place - _HEADER.size} bytes are left"
                    )
                if kind == _POLARITY and number:
                    if each != _BYTES or number > _MOST_EVENTS:
                        raise DataError(
                            f"{path}: byte {place}: {number} polarity events of {each} bytes; expected {_BYTES} bytes, at most {_MOST_EVENTS:,} events"
                        )
                    words = np.frombuffer(_exactly(file, number * each, path), "<u4").reshape(-1, 2)
                    over = gone << 31
                    found.append((place + _HEADER.size, number, over, int(words[:, 1].min()) + over, int(words[:, 1].max()) + over))
                place += _HEADER.size + number * each
                if len(found) > _MOST_PACKETS:
                    raise DataError(f"{path}: more than {_MOST_PACKETS:,} packets")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not found:
        raise DataError(f"{path}: holds no polarity events, expected at least 1")
    return Aedat(path, *np.array(found, np.int64).T)


def _after_header(file: BinaryIO, path: Path) -> int:
    head = file.read(_MOST_HEADER)
    if not head.startswith(_FIRST):
        raise DataError(f"{path}: starts with {head[:16]!r}, expected {_FIRST.decode()}1")
    place = 0
    while True:
        end = head.find(b"\n", place)
        if end < 0 or head[place : place + 1] != b"#":
            raise DataError(f"{path}: byte {place}: the header has no end ({_END.decode()})")
        line, place = head[place:end].rstrip(b"\r"), end + 1
        if line == _END:
            return place


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    place = file.tell()
    found = file.read(count)
    if len(found) != count:
        raise DataError(f"{path}: byte {place}: truncated: {len(found)} bytes, expected {count}")
    return found
