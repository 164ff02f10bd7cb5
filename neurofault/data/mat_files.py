"""Arrays of numbers from a MATLAB file, version 5 (``.mat``), opened with care.

The format is MathWorks' "MAT-File Format": a header of 128 bytes, then elements, each a tag (type and bytes) and its content, padded to 8 bytes; a
matrix is an element of elements, possibly packed by zlib. Only real arrays of numbers are read: cells, structures, objects, text and sparse or
complex matrices are passed over, and asking for one is refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import DataError
from neurofault.files import read_file, unpacked_limit

_MOST: Final = 256 << 20
"""Bytes of a file."""
_HEADER: Final = 128
_MATRIX, _PACKED = 14, 15
_NUMBERS: Final = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""Element type → how its numbers are stored."""
_CLASSES: Final = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Class of a matrix → type of its numbers; others hold no plain numbers."""
_COMPLEX: Final = 0x0800
_MOST_AXES: Final = 32


@dataclass(frozen=True)
class _Element:
    kind: int
    content: memoryview
    at: int


def read_mat(path: Path, names: Collection[str]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of these names, in C order.

    Raises:
        DataError: no such file, another format, damaged, an array that is missing or no real array of numbers, or more bytes than
            :func:`neurofault.files.unpacked_limit` allows; the text names the file and the byte.
    """
    content = read_file(path, _MOST)
    if len(content) < _HEADER or not content.startswith(b"MATLAB 5.0 MAT-file"):
        kind = "; version 7.3 is HDF5: save it with -v7" if content.startswith((b"MATLAB 7.3", b"\x89HDF")) else ""
        raise DataError(f"{path}: no MATLAB file of version 5{kind}")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise DataError(f"{path}: byte 126 says no order of bytes: {content[126:128]!r}")
    left, found = unpacked_limit(len(content)), {}
    for element in _elements(memoryview(content)[_HEADER:], order, path, _HEADER):
        inner = element
        if element.kind == _PACKED:
            unpacked = _unpacked(element, left, path)
            left -= len(unpacked)
            inner = next(_elements(memoryview(unpacked), order, path, element.at), element)
        if inner.kind != _MATRIX:
            continue
        name, array = _matrix(inner, order, path)
        if name in names:
            if array is None:
                raise DataError(f"{path}: {name!r} (byte {element.at}) is no real array of numbers")
            found[name] = array
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: no array {missing[0]!r}; expected {', '.join(names)}")
    return found


def _elements(content: memoryview, order: str, path: Path, first: int) -> Iterator[_Element]:
    """Yield the elements of a stretch of bytes, of which the first stands at ``first`` in the file."""
    at = 0
    while at < len(content):
        if at + 8 > len(content):
            raise DataError(f"{path}: cut off in the tag at byte {first + at}")
        kind, size = struct.unpack_from(order + "II", content, at)
        begin = at + 8
        if kind >> 16:  # a small one: 16 bits of type, 16 of size, and its content in the tag
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
            end = at + 8
        else:
            end = begin + size + (0 if kind == _PACKED else -size % 8)
        if begin + size > min(end, len(content)):
            raise DataError(f"{path}: the element at byte {first + at} has {size} bytes, more than there are")
        yield _Element(kind, content[begin : begin + size], first + at)
        at = end


def _unpacked(element: _Element, left: int, path: Path) -> bytes:
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(element.content, left + 1)
    except zlib.error as error:
        raise DataError(f"{path}: the element at byte {element.at} cannot be unpacked ({error})") from None
    if len(content) > left:
        raise DataError(f"{path}: unpacks to more than {unpacked_limit(path.stat().st_size):,} bytes")
    if not unpack.eof:
        raise DataError(f"{path}: the element at byte {element.at} is cut off")
    return content


def _matrix(element: _Element, order: str, path: Path) -> tuple[str, NDArray[np.generic] | None]:
    """Return name and array of a matrix; None where it holds no plain numbers."""
    where = f"{path}: the matrix at byte {element.at}"
    parts = list(_elements(element.content, order, path, element.at))
    if len(parts) < 3 or len(parts[0].content) < 8 or len(parts[1].content) % 4:
        raise DataError(f"{where} has no flags, shape and name")
    (flags,) = struct.unpack_from(order + "I", parts[0].content)
    name = bytes(parts[2].content).decode("latin-1")
    kind = _CLASSES.get(flags & 0xFF)
    if kind is None or flags & _COMPLEX:
        return name, None
    shape = tuple(int(size) for size in np.frombuffer(parts[1].content, order + "i4"))
    if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
        raise DataError(f"{where} ({name!r}) has the shape {shape}")
    stored = _NUMBERS.get(parts[3].kind) if len(parts) > 3 else None
    held = len(parts[3].content) if len(parts) > 3 else 0
    expected = math.prod(shape) * np.dtype(stored).itemsize if stored is not None else -1
    if held != expected:
        raise DataError(f"{where} ({name!r}) has the shape {shape}, but {held} bytes of numbers")
    numbers = np.frombuffer(parts[3].content, order + str(stored)).reshape(shape, order="F")
    return name, np.ascontiguousarray(numbers, dtype=kind)
