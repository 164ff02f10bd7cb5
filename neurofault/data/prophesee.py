"""Prophesee's DAT files, version 2, as N-CARS is published in (Sironi et al. 2018, CVPR; docs.prophesee.ai, "DAT file format").

A header of lines that begin with ``%``, two bytes (kind of event, 0 or 12: contrast; bytes an event, 8), then events: µs as a little-endian uint32, and a
uint32 of x (bits 0 to 13), y (14 to 27) and polarity (28 to 31).
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from neurofault.data.recordings import Columns, SensorShape, on_sensor
from neurofault.errors import DataError

NCARS_SHAPE: Final[SensorShape] = (2, 100, 120)
"""(polarities, height, width) of N-CARS, whose files do not say it."""

_KINDS: Final = (0, 12)
_BYTES: Final = 8
_MOST_LINES: Final = 256


def dat_events(where: str, content: bytes, shape: SensorShape | None) -> tuple[Columns, SensorShape]:
    """Return the columns of one file's events, times from the first on, and the sensor's shape.

    Args:
        where: what the file is called in messages.
        content: its bytes.
        shape: of the sensor; None: what the header says, else N-CARS's.

    Raises:
        DataError: another format, cut short, or an event beside the sensor.
    """
    at = 0
    lines: list[str] = []
    while content[at : at + 1] == b"%" and len(lines) < _MOST_LINES:
        end = content.find(b"\n", at, at + 4096)
        if end < 0:
            raise DataError(f"{where}: header line at byte {at} has no end")
        lines.append(content[at:end].decode("latin-1"))
        at = end + 1
    said = {
        match[1]: int(match[2]) for line in lines if (match := re.fullmatch(r"% *(Version|Width|Height) +([0-9]{1,5}) *\r?", line))
    }
    if said.get("Version") != 2:
        raise DataError(f"{where}: no DAT file of version 2 (its header says {said.get('Version', 'no version')})")
    if len(content) < at + 2 or content[at] not in _KINDS or content[at + 1] != _BYTES:
        raise DataError(
            f"{where}: byte {at}: {content[at : at + 2].hex() or 'nothing'}; expected a kind of event, 0 or 12 (contrast), and its 8 bytes"
        )
    at += 2
    rest = (len(content) - at) % _BYTES
    if rest:
        raise DataError(f"{where}: truncated: an event of {rest} bytes at byte {len(content) - rest}, expected {_BYTES}")
    if len(content) == at:
        raise DataError(f"{where}: holds no events, expected at least 1")
    words = np.frombuffer(content, "<u4", offset=at).reshape(-1, 2).astype(np.int64)
    place = words[:, 1]
    times = words[:, 0] - words[:, 0].min()
    events = (place & 0x3FFF, place >> 14 & 0x3FFF, place >> 28, times)
    if shape is None:
        shape = (2, said["Height"], said["Width"]) if {"Height", "Width"} <= set(said) else NCARS_SHAPE
    return on_sensor(where, events, shape, at + np.arange(len(words)) * _BYTES), shape
