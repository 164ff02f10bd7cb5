"""N-MNIST from its published files (Orchard et al. 2015, Frontiers in Neuroscience 9:437; www.garrickorchard.com/datasets/n-mnist).

Each role is looked for in the set's folder, in this order::

    Train/0/00002.bin …    Test/0/00004.bin …      one folder a class
    Train.zip              Test.zip                as they are published, never unpacked to disk
    train*.txt             test*.txt               SLAYER's lists of samples, with 1.bs2 … in the same folder

Without anything of ``Train`` six tenths of the test recordings calibrate and are not reported on, as of one's own data.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.address_events import MOST_BYTES, address_events, read_label_list
from neurofault.data.binning import Binning
from neurofault.data.recordings import Recordings
from neurofault.data.unread import Unread
from neurofault.errors import DataError
from neurofault.files import read_file, why_not

NAME: Final = "nmnist"
BINNING: Final = Binning(bins=300, dt=1e-3)
"""As SLAYER and Intel's network have it: 300 steps of 1 ms, an event in the nearest step."""

WANTED: Final = "Train/ and Test/ (0/00004.bin …), Train.zip and Test.zip, or train*.txt and test*.txt with *.bs2"
_ROLES: Final = {"train": "Train", "test": "Test"}
_MEMBER: Final = re.compile(r"(?:^|/)([0-9])/([0-9]{1,9})\.bin$")
_MOST_FILES: Final = 200_000
_RECORDING: Final = 16 << 20
"""Bytes of one recording of an archive, unpacked; N-MNIST's longest has about 50 kB."""


def is_there(folder: Path) -> bool:
    """Say whether a folder holds anything of the set."""
    return any(_source(folder, role) is not None for role in _ROLES)


def unread_nmnist(folder: Path) -> dict[str, Unread]:
    """Return role → its recordings, not read yet.

    Args:
        folder: in which :func:`is_there` finds it.

    Raises:
        DataError: no test recordings, or files that are not what their format says.
    """
    found = {role: source for role in _ROLES if (source := _source(folder, role)) is not None}
    if "test" not in found:
        raise DataError(f"{folder}: holds training recordings of {NAME} alone; expected those of Test too: {WANTED}")
    return {role: _unread(source) for role, source in found.items()}


def _source(folder: Path, role: str) -> Path | None:
    """Return what holds the recordings of a role: a folder, an archive or a list."""
    name = _ROLES[role]
    if (folder / name).is_dir():
        return folder / name
    if (folder / f"{name}.zip").exists():
        return folder / f"{name}.zip"
    lists = sorted(folder.glob(f"{role}*.txt"))
    if len(lists) > 1:
        raise DataError(f"{folder}: {', '.join(each.name for each in lists)}; expected one list of {role} recordings")
    return lists[0] if lists else None


def _unread(source: Path) -> Unread:
    if source.is_dir():
        return _of_folder(source)
    return _of_archive(source) if source.suffix == ".zip" else _of_list(source)


def _of_folder(source: Path) -> Unread:
    files = {}
    for digit in range(10):
        for path in (source / str(digit)).glob("*.bin"):
            if not (path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 10):
                raise DataError(f"{path}: expected a name of digits, such as 00004.bin")
            files[int(path.stem)] = (digit, path)
    if not files:
        raise DataError(f"{source}: holds no recordings, expected 0/00004.bin …")
    order = [files[number] for number in sorted(files)]
    return _listed([digit for digit, _ in order], lambda place: _content(order[place][1]))


def _of_list(source: Path) -> Unread:
    listed = read_label_list(source, 10)
    there = [(source.parent / f"{name}.bs2", label) for name, label in listed if (source.parent / f"{name}.bs2").exists()]
    if not there:
        raise DataError(f"{source}: none of the {len(listed):,} recordings that it lists is there, such as {listed[0][0]}.bs2")
    notes: tuple[str, ...] = ()
    if len(there) < len(listed):
        notes = (f"{NAME}: {len(listed) - len(there):,} of the {len(listed):,} recordings that {source.name} lists are not there",)
    return _listed([label for _, label in there], lambda place: _content(there[place][0]), notes)


def _content(path: Path) -> tuple[str, bytes]:
    return str(path), read_file(path, MOST_BYTES)


def _of_archive(source: Path) -> Unread:
    reason = why_not(source)
    if reason is not None:
        raise DataError(f"{source}: {reason}")
    members: dict[int, tuple[int, zipfile.ZipInfo]] = {}
    try:
        archive = zipfile.ZipFile(source)
    except _ZIP_ERRORS as error:
        raise _damaged(source, error) from error
    for info in archive.infolist():
        match = _MEMBER.search(info.filename)
        if match is not None:
            members[int(match[2])] = (int(match[1]), info)
        if len(members) > _MOST_FILES:
            raise DataError(f"{source}: more than {_MOST_FILES:,} recordings")
    if not members:
        raise DataError(f"{source}: holds no recordings, expected 0/00004.bin …")
    order = [members[number] for number in sorted(members)]

    def content(place: int) -> tuple[str, bytes]:
        info = order[place][1]
        where = f"{source}: {info.filename}"
        try:
            with archive.open(info) as member:
                unpacked = member.read(_RECORDING + 1)
        except _ZIP_ERRORS as error:
            raise _damaged(where, error) from error
        if len(unpacked) > _RECORDING:
            raise DataError(f"{where}: larger than {_RECORDING:,} bytes")
        return where, unpacked

    return _listed([digit for digit, _ in order], content)


_ZIP_ERRORS: Final = (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _damaged(where: object, error: Exception) -> DataError:
    return DataError(f"{where}: truncated, damaged or unreadable ({' '.join(str(error).split())[:200]})")


def _listed(labels: list[int], content: Callable[[int], tuple[str, bytes]], notes: tuple[str, ...] = ()) -> Unread:
    known = np.array(labels, np.int64)

    def read(which: NDArray[np.int64]) -> Recordings:
        return address_events((content(int(place)) for place in which), known[which].tolist())

    return Unread(known, read, notes=notes)
