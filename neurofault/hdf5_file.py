"""A stranger's HDF5 file as plain values: opened by a process of its own, under limits of time and memory.

HDF5 is read by a C library that a damaged or hostile file can make loop, crash or ask for exabytes. So another process opens it
(:mod:`neurofault.hdf5_child`, about half a second to start), checks it and sends texts and numbers; whatever happens there ends in
one text here.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import DataError
from neurofault.files import why_not

WALL_SECONDS = 120.0
"""Longest wait for the process; its processor time is limited much more tightly by itself."""

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from neurofault.hdf5_child import main; main(sys.argv[2], sys.stdin.read())"

Tree = dict[str, Any]
"""Name → another tree, a text, an object array of texts, or an array or scalar of numbers."""


def read_tree(path: Path, what: str = "NIR") -> Tree:
    """Return everything that an HDF5 file holds, in the types that ``h5py`` gives (texts as ``str``).

    Args:
        path: the file.
        what: its format, for messages.

    Raises:
        DataError: no such file; not HDF5 or cut short; links, external or virtual data, object references, sizes that the file cannot
            hold; or it hangs or crashes the library.
    """
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {f'no such {what} file' if reason == 'no such file' else reason}")
    sent = sent_by_child(path)
    header, length = _header(path, what, sent)
    return _Values(sent, 8 + length, header["texts"]).tree(header["tree"])


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of numbers, each as long as it is.

    Attributes:
        starts: int64 [R + 1]: row r is ``values[starts[r]:starts[r + 1]]``.
        values: of all rows.
    """

    starts: NDArray[np.int64]
    values: NDArray[Any]


def read_rows(
    path: Path, names: Sequence[str], whole: Sequence[str], rows: Sequence[int], what: str
) -> tuple[int, list[NDArray[Any]], list[Ragged]]:
    """Return how many rows there are, data sets of a number a row, and some rows of data sets of rows.

    Args:
        path: the file.
        names: of data sets of rows, such as ``spikes/times``.
        whole: of data sets of a number a row, such as ``labels``.
        rows: which, from 0.
        what: the format, for messages.

    Raises:
        DataError: as :func:`read_tree`; a data set that is not there or something else; the name stands in the text.
    """
    reason = why_not(path)
    if reason is not None:
        raise DataError(f"{path}: {f'no such {what} file' if reason == 'no such file' else reason}")
    sent = sent_by_child(path, json.dumps([list(names), list(whole), list(map(int, rows))]))
    header, length = _header(path, what, sent)
    at, flat, ragged = 8 + length, [], []
    for kind in header["whole"]:
        flat.append(np.frombuffer(sent, kind, header["rows"], at).copy())
        at += flat[-1].nbytes
    for kind, lengths in header["sets"]:
        values = np.frombuffer(sent, kind, sum(lengths), at)
        ragged.append(Ragged(np.cumsum([0, *lengths], dtype=np.int64), values))
        at += values.nbytes
    return header["rows"], flat, ragged


def _header(path: Path, what: str, sent: bytes) -> tuple[dict[str, Any], int]:
    """Return what the process says of the values that follow, and the bytes that this takes."""
    if len(sent) < 8:
        raise DataError(f"{path}: not a readable {what} file: the HDF5 library hangs or crashes on it, so it is damaged or hostile")
    (length,) = struct.unpack("<Q", sent[:8])
    header: dict[str, Any] = json.loads(sent[8 : 8 + length])
    if "unreadable" in header:
        raise DataError(f"{path}: not a readable {what} file: {header['unreadable']}")
    if "refused" in header:
        raise DataError(f"{path}: {header['refused'].removeprefix('/')}")
    return header, length


def sent_by_child(path: Path, asked: str = "") -> bytes:
    """Return what :func:`neurofault.hdf5_child.main` writes in a process of its own; nothing if that process does not end well."""
    command = [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path), os.path.abspath(path)]  # noqa: PTH100  (no links resolved)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PATH": "::"}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/"
    )
    try:
        sent, _ = child.communicate(asked.encode(), timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired:
        sent = b""
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return b"" if child.returncode else sent


class _Values:
    """The values that the process sent, handed out in the order of the tree."""

    def __init__(self, sent: bytes, at: int, texts: list[list[str]]) -> None:
        self.sent, self.at, self.texts = sent, at, iter(texts)

    def tree(self, described: dict[str, Any]) -> Tree:
        return {name: self.value(one) for name, one in described.items()}

    def value(self, described: dict[str, Any]) -> Any:
        match described:
            case {"group": inner}:
                return self.tree(inner)
            case {"texts": shape}:
                texts = next(self.texts)
                return np.array(texts, object).reshape(shape) if shape else texts[0]
        kind, shape = described["array"]
        dtype, count = np.dtype(kind), math.prod(shape)
        array = np.frombuffer(self.sent, dtype, count, self.at).reshape(shape).copy()
        self.at += count * dtype.itemsize
        return array if shape else array[()]
