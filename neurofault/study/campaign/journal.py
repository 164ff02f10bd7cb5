r"""The journal of a campaign: one checksummed line a row, only ever added to.

A line is ``<16 hexadecimal digits> <JSON>\n``; the digits are BLAKE2b (8 bytes) of the JSON's bytes. What a kill left unfinished has no
newline or no matching digits: it is passed over, and the next writer cuts it off.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from neurofault.errors import UsageError
from neurofault.files import why_not
from neurofault.study.campaign.rows import Row

_SYNC_SECONDS = 1.0


def line_of(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of a journal."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode() + b" " + text + b"\n"


def row_of(line: bytes) -> Row | None:
    """Return the row of a line without its newline; None if it is not whole, or no row."""
    if len(line) < 18 or line[16:17] != b" ":
        return None
    if hashlib.blake2b(line[17:], digest_size=8).hexdigest().encode() != line[:16]:
        return None
    try:
        row = json.loads(line[17:])
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("trial"), str) else None


@dataclass(frozen=True)
class Read:
    """What a journal holds.

    Attributes:
        rows: in order.
        damaged: lines that are whole but do not match their digits.
        torn: bytes at the end that a broken-off write left.
    """

    rows: tuple[Row, ...]
    damaged: int
    torn: int


def read_rows(path: Path) -> Read:
    """Read a journal; one that does not exist is empty.

    Raises:
        UsageError: it cannot be read.
    """
    lines = list(_lines(path))
    rows = [row for line, ended in lines if ended and (row := row_of(line)) is not None]
    whole = sum(ended for _, ended in lines)
    return Read(tuple(rows), whole - len(rows), sum(len(line) for line, ended in lines if not ended))


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    reason = why_not(path)
    if reason not in (None, "no such file"):
        raise UsageError(f"{path}: {reason}")
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.removesuffix(b"\n"), line.endswith(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


@final
class Journal:
    """A journal opened to be added to; a second writer is refused while one is at work.

    Args:
        path: the file; it is made, with its folder.

    Raises:
        UsageError: another process writes to it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise UsageError(f"{path}: another run writes to it; wait for it to end, or stop it") from None
        self._path = path
        self._synced = time.monotonic()
        torn = read_rows(path).torn
        if torn:
            os.ftruncate(self._file, os.fstat(self._file).st_size - torn)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row: after this returns it survives the end of the process, and a second later at most that of the machine.

        Raises:
            UsageError: the disk is full or gone.
        """
        data = line_of(row)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}; what was done before is kept") from error

    def close(self) -> None:
        """Bring everything to the disk and let others write.

        Raises:
            UsageError: the disk is full or gone.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}; what was done before is kept") from error
        finally:
            os.close(self._file)
