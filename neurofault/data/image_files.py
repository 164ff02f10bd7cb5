"""The two file formats in which the image sets are published: IDX (MNIST, Fashion-MNIST) and CIFAR-10's binary batches.

IDX: ``0x000008`` and the number of dimensions, each size as a big-endian uint32, then unsigned bytes in C order
(yann.lecun.com/exdb/mnist). CIFAR-10: records of 1 label byte and 3 × 1024 pixel bytes, the R, G and B planes
(www.cs.toronto.edu/~kriz/cifar.html). Files may be plain, gzip or xz; nothing is unpacked to disk.
"""

from __future__ import annotations

import gzip
import io
import lzma
import math
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import DataError
from neurofault.files import UNPACKED_MOST, unpacked_limit, why_not
from neurofault.numerals import plural

Shape = tuple[int, int, int]
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]
"""Training images uint8 [N, C, H, W] and labels int64 [N], then the test set's."""

IDX_STEMS: Final = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_FOLDER: Final = "cifar-10-batches-bin"
CIFAR_ARCHIVE: Final = "cifar-10-binary.tar"
_CIFAR_TRAIN: Final = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_CIFAR_TEST: Final = "test_batch.bin"
_READ_ERRORS: Final = (OSError, EOFError, ValueError, OverflowError, IndexError, lzma.LZMAError, zlib.error, tarfile.TarError)
_XZ_MEMORY: Final = 256 << 20
"""Bytes that the xz decoder may take; its strongest preset takes 65 MB."""
_MOST_MEMBERS: Final = 10_000
"""Files in an archive."""


def variant(folder: Path, stem: str) -> Path | None:
    """Return the plain, gzip or xz file of that stem, the first that exists."""
    return next((path for path in (folder / (stem + suffix) for suffix in ("", ".gz", ".xz")) if path.exists()), None)


def read_idx_set(folder: Path, shape: Shape, classes: int) -> Arrays:
    """Read the four IDX files of an MNIST-like set.

    Args:
        folder: holds each of :data:`IDX_STEMS`, plain, ``.gz`` or ``.xz``.
        shape: (1, height, width) that the images must have.
        classes: labels must be below it.

    Raises:
        DataError: a file is missing, truncated, or not what its header or its partner says.
    """
    images, labels = _read_idx_pair(folder, *IDX_STEMS[:2], shape, classes)
    return images, labels, *_read_idx_pair(folder, *IDX_STEMS[2:], shape, classes)


def _read_idx_pair(
    folder: Path, image_stem: str, label_stem: str, shape: Shape, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images [n, *shape] and their labels [n]."""
    image_path, label_path = (_idx_path(folder, stem) for stem in (image_stem, label_stem))
    images = _read_idx(image_path, shape[1:])
    labels = _read_idx(label_path, ()).astype(np.int64)
    if len(images) != len(labels):
        raise DataError(f"{label_path}: {plural(len(labels), 'label')} for the {plural(len(images), 'image')} of {image_path}")
    _check_labels(str(label_path), labels, classes)
    return images.reshape(-1, *shape), labels


def _idx_path(folder: Path, stem: str) -> Path:
    path = variant(folder, stem)
    if path is None:
        raise DataError(f"{folder}: {stem}[.gz|.xz] is missing; expected all of {', '.join(IDX_STEMS)}")
    return path


def _read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, [n, *shape]."""
    dimensions = 1 + len(shape)
    magic = 0x0800 | dimensions
    header = 4 * (1 + dimensions)
    content = _content(path)
    if content[:4] != magic.to_bytes(4, "big"):
        starts = f"starts with 0x{content[:4].hex()}" if content else "is empty"
        raise DataError(f"{path}: {starts}, expected 0x{magic:08x} (IDX, unsigned bytes, dimensions: {dimensions})")
    if len(content) < header:
        raise DataError(f"{path}: truncated: {len(content)} bytes, expected a header of {header}")
    count, *sizes = (int(size) for size in np.frombuffer(content[:header], ">u4", offset=4))
    if tuple(sizes) != shape:
        raise DataError(f"{path}: images of {'×'.join(map(str, sizes))} pixels, expected {'×'.join(map(str, shape))}")
    expected, held = count * math.prod(shape), len(content) - header
    if held != expected:
        state = "truncated" if held < expected else "too long"
        raise DataError(f"{path}: {state}: {held} bytes after the header, expected {expected} for {count} items")
    if not count:
        raise DataError(f"{path}: holds no items, expected at least 1")
    return np.frombuffer(content, np.uint8, offset=header).reshape(count, *shape)


def read_cifar_set(folder: Path, shape: Shape, classes: int) -> Arrays:
    """Read the six batches of CIFAR-10, from :data:`CIFAR_FOLDER` or else from the archive.

    Batches may hold any number of images.

    Args:
        folder: holds ``cifar-10-batches-bin/`` or ``cifar-10-binary.tar``, ``.tar.gz`` or ``.tar.xz``.
        shape: (channels, height, width) of a record's pixels.
        classes: labels must be below it.

    Raises:
        DataError: a batch is missing or truncated, the archive cannot be read to its end, or a label is out of range.
    """
    source = folder / CIFAR_FOLDER
    names = (*_CIFAR_TRAIN, _CIFAR_TEST)
    if source.is_dir():
        payloads = _read_folder(source, names)
    else:
        source = variant(folder, CIFAR_ARCHIVE) or source
        payloads = _read_tar(source, names)
    missing = [name for name in names if name not in payloads]
    if missing:
        raise DataError(f"{source}: {', '.join(missing)} missing; expected all of {', '.join(names)}")
    batches = [_cifar_batch(f"{source}: {name}", payloads[name], shape, classes) for name in names]
    images = np.concatenate([batch[0] for batch in batches[:-1]])
    labels = np.concatenate([batch[1] for batch in batches[:-1]])
    return images, labels, *batches[-1]


def _read_folder(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return those of the named files that exist."""
    return {path.name: _content(path) for path in (folder / name for name in names) if path.exists()}


def _read_tar(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the named regular files of an archive, in one pass over it, whatever folder they are in."""
    payloads = {}
    content = _content(path)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:", tarinfo=_Member) as archive:
            for number, member in enumerate(archive):
                name = PurePosixPath(member.name).name
                if number >= _MOST_MEMBERS or not 0 <= member.size <= len(content):
                    raise tarfile.TarError(
                        f"more than {_MOST_MEMBERS:,} files" if number >= _MOST_MEMBERS else f"{name}: {member.size} bytes"
                    )
                stream = archive.extractfile(member) if member.isreg() and name in names and not member.issparse() else None
                if stream is not None:
                    payloads[name] = stream.read()
    except _READ_ERRORS as error:
        raise _damaged(path, error) from error
    return payloads


class _Member(tarfile.TarInfo):
    """A member whose header may not lead backwards: Python before 3.11.14 would read such an archive for ever (CVE-2025-8194)."""

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("a member of negative size")
        return int(super()._block(count))  # type: ignore[misc]  # tarfile's own, which its type information leaves out


def _cifar_batch(where: str, payload: bytes, shape: Shape, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Split a batch into images [n, *shape] and labels [n]."""
    size = 1 + math.prod(shape)
    if not payload or len(payload) % size:
        raise DataError(f"{where}: {len(payload)} bytes, expected a multiple of {size} (1 label, {size - 1} pixels an image)")
    records = np.frombuffer(payload, np.uint8).reshape(-1, size)
    labels = records[:, 0].astype(np.int64)
    _check_labels(where, labels, classes)
    return records[:, 1:].reshape(-1, *shape), labels


def _content(path: Path) -> bytes:
    """Return the bytes of a plain, gzip or xz file, told apart by its first bytes; packed ones within :func:`unpacked_limit`."""
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    try:
        most = unpacked_limit(path.stat().st_size)
        with path.open("rb") as file:
            head = file.read(6)
            file.seek(0)
            if head[:2] == b"\x1f\x8b":
                with gzip.open(file) as packed:
                    content = packed.read(most + 1)
            elif head == b"\xfd7zXZ\x00":
                content = _unpacked_xz(file.read(), most + 1)
            else:
                content = file.read(UNPACKED_MOST + 1)
                most = UNPACKED_MOST
    except _READ_ERRORS as error:
        raise _damaged(path, error) from error
    if len(content) > most:
        raise DataError(f"{path}: more than {most:,} bytes, unpacked")
    return content


def _unpacked_xz(packed: bytes, most: int) -> bytes:
    """Return at most so many bytes of an xz file, which may be several streams."""
    parts, left = [], most
    while packed and left:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while left and not unpacker.eof:
            part = unpacker.decompress(packed, left)
            packed = b""
            if not part and unpacker.needs_input:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            parts.append(part)
            left -= len(part)
        packed = unpacker.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: truncated, damaged or unreadable ({error})")


def _check_labels(where: str, labels: NDArray[np.int64], classes: int) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise DataError(f"{where}: label {labels[wrong[0]]} at position {wrong[0]}, expected 0 to {classes - 1}")
