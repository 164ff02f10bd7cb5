"""Files from anywhere, opened with care: only regular ones, never more than a stated number of bytes, arrays only as large as their file; files of ours, written whole or not at all.

A pipe or a device would be waited for, a link to one too; a NumPy archive may promise exabytes or unpack without end. None of these is
read: :func:`why_not` says what a path is, and :func:`read_arrays` checks every size against the bytes that are there.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from neurofault.errors import DataError
from neurofault.numerals import names_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNPACKED_FREE = 64 << 20
"""Bytes that a packed file may unpack to, however small it is."""
UNPACKED_RATIO = 64
"""Bytes beyond that which each byte of a packed file may unpack to."""
UNPACKED_MOST = 1 << 30
"""Bytes that a packed file may unpack to at most."""
ARRAYS_MOST = 100_000
"""Arrays in one archive."""

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_DESCRIPTOR = re.compile(r"/dev/(stdin|fd/[0-9]+)|/proc/(self|[0-9]+)/fd/[0-9]+")


def why_not(path: Path, *, pipe: bool = False) -> str | None:
    """Return why a path cannot be read as a file, None if it can.

    Args:
        path: what was named.
        pipe: take a pipe that the shell has opened, ``/dev/stdin`` or ``<(…)``, too.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return f"cannot be read ({error.strerror if isinstance(error, OSError) else 'not a name of a file'})"
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG or (pipe and kind == stat.S_IFIFO and _DESCRIPTOR.fullmatch(str(path))):
        return None
    return f"is {_KINDS.get(kind, 'something else')}, not a file"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, the one that a link points to; through a device or a FIFO, which stays what it is.

    Args:
        path: replaced if it exists, with the same permissions; its folder must be there.
        data: all of it.

    Raises:
        OSError: it cannot be written; what was there before is left.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as through:
            through.write(data)
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]], *, packed: bool = False) -> None:
    """Write arrays by name as a NumPy archive, as :func:`write_whole` does: equal arrays give equal bytes.

    Args:
        path: as of :func:`write_whole`.
        arrays: of numbers.
        packed: whether the archive is compressed.

    Raises:
        OSError: it cannot be written.
        ValueError: an array of objects, which would have to be pickled.
    """
    from numpy.lib import format as npy  # here: help and the words of a command line need files, and no numbers

    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            npy.write_array(member, array, (1, 0), allow_pickle=False)  # type: ignore[no-untyped-call]  # NumPy's
            kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), kind)
    write_whole(path, whole.getvalue())


def unpacked_limit(size: int) -> int:
    """Return how many bytes a packed file of ``size`` bytes may unpack to."""
    return min(UNPACKED_FREE + UNPACKED_RATIO * size, UNPACKED_MOST)


def read_file(path: Path, most: int) -> bytes:
    """Return a regular file's bytes.

    Raises:
        DataError: it is no regular file, cannot be read, or is longer than ``most`` bytes.
    """
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise DataError(f"{path}: larger than {most:,} bytes")
    return content


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a NumPy archive (``.npz``): booleans, integers and real numbers; nothing pickled.

    Raises:
        DataError: not such an archive, damaged, an array of another kind or of another size than its bytes, or more bytes than
            :func:`unpacked_limit` allows.
    """
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    arrays: dict[str, NDArray[np.generic]] = {}
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            left = unpacked_limit(path.stat().st_size)
            entries = archive.infolist()
            if len(entries) > ARRAYS_MOST:
                raise DataError(f"{path}: more than {ARRAYS_MOST:,} arrays")
            for entry in entries:
                with archive.open(entry) as member:
                    content = member.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise DataError(f"{path}: unpacks to more than {unpacked_limit(path.stat().st_size):,} bytes")
                arrays[entry.filename.removesuffix(".npy")] = _array(f"{path}: {entry.filename}", content)
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a NumPy archive, or a damaged one ({error})") from None
    return arrays


def _array(where: str, content: bytes) -> NDArray[np.generic]:
    """Return the array of a ``.npy`` file's bytes."""
    import numpy as np

    file = io.BytesIO(content)
    try:
        shape, fortran, dtype = _header(file)
    except (ValueError, TypeError, SyntaxError, LookupError, RecursionError, MemoryError, EOFError) as error:
        raise DataError(f"{where}: not a NumPy array ({' '.join(str(error).split())[:200]})") from None
    if dtype.kind not in "biuf":
        hint = names_hint(where.removesuffix(".npy")) if dtype.kind in "USO" else ""
        raise DataError(f"{where}: holds {dtype}; booleans, integers and real numbers are read{hint}")
    held, expected = len(content) - file.tell(), math.prod(shape) * dtype.itemsize
    if held != expected or any(size < 0 for size in shape):
        raise DataError(f"{where}: {held} bytes for an array of shape {shape} and {expected} bytes")
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return np.array(flat.reshape(shape, order="F" if fortran else "C"))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, whether Fortran's order, and type; the file is left before the numbers."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)  # type: ignore[no-untyped-call]  # NumPy leaves the module's types open
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"format {version}")
    shape, fortran, dtype = read(file)  # type: ignore[no-untyped-call]  # NumPy has no types for its file format
    return shape, fortran, dtype
