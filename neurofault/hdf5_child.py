"""The process that opens a stranger's HDF5 file: it may hang, crash or run out of memory, and only it does.

It walks the file before it reads any value: every link, object and data set is counted, and every size is checked against the bytes that
the file has. Then it writes one header and the plain values to its standard output; :mod:`neurofault.hdf5_file` reads them. Its
processor time is limited by a timer that ends the process (``ITIMER_PROF``), its memory by ``RLIMIT_AS`` where the system keeps to that
(Linux); no plugin, external file, virtual data set or object reference is followed.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]  # ships no type information
import numpy as np

from neurofault.files import unpacked_limit

WALK_SECONDS = 1.0
"""Processor time to look through a file; reading its values gets as much again, and a second for each 50 MB."""
MEMORY_FREE = 256 << 20
"""Bytes of address space beyond what the process holds when it begins, and twice the values."""
MAX_OBJECTS = 10_000
"""Groups and data sets in a file."""
MAX_DEPTH = 8
"""Groups inside groups."""
MAX_CHUNKS = 65_536
"""Chunks of one data set."""
MAX_TEXTS = 100_000
"""Texts in one data set."""
MAX_ROWS = 1_000_000
"""Rows of a data set of rows."""
MAX_RANK = 8
"""Dimensions of a data set."""

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_LZF)


class _Refused(Exception):
    """What is wrong with the file, for the user."""


def limit(seconds: float, extra: int) -> None:
    """Let the process use so much more processor time, and so many bytes beyond what it holds now."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    statm = Path("/proc/self/statm")
    held = int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 4 << 30
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = held + extra if hard == resource.RLIM_INFINITY else min(held + extra, hard)
    with suppress(ValueError, OSError):  # macOS may refuse; the sizes are checked there all the same
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


class _Walk:
    """One walk over a file: what is in it, without a value read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = unpacked_limit(size)
        self.stored = 0
        self.seen: set[tuple[int, int]] = set()
        self.sets: list[Any] = []

    def group(self, group: Any, name: str, depth: int) -> dict[str, Any]:
        """Return name → ``{"group": …}`` or the description of a data set; the sets are kept in order."""
        if depth > MAX_DEPTH:
            raise _Refused(f"{name}: groups are nested deeper than {MAX_DEPTH}")
        if len(group) > MAX_OBJECTS:
            raise _Refused(f"{name}: more than {MAX_OBJECTS:,} objects")
        found: dict[str, Any] = {}
        for key in group:
            where = f"{name}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
                raise _Refused(f"{where}: is {kind}; only what the file itself holds is read")
            item = group[key]
            about = h5py.h5o.get_info(item.id)
            if (about.fileno, about.addr) in self.seen:
                raise _Refused(f"{where}: links to what stands elsewhere in the file too (a cycle, or one value many times)")
            self.seen.add((about.fileno, about.addr))
            if len(self.seen) > MAX_OBJECTS:
                raise _Refused(f"more than {MAX_OBJECTS:,} objects")
            match item:
                case h5py.Group():
                    found[key] = {"group": self.group(item, where, depth + 1)}
                case h5py.Dataset():
                    found[key] = self.data(item, where)
                case _:
                    raise _Refused(f"{where}: is neither a group nor a data set")
        return found

    def data(self, item: Any, where: str) -> dict[str, Any]:
        """Return what a data set is; refuse what would not be plain values, or larger than its bytes allow."""
        shape, dtype, creation = item.shape, item.dtype, item.id.get_create_plist()
        if shape is None or len(shape) > MAX_RANK:
            raise _Refused(f"{where}: has no value" if shape is None else f"{where}: has more than {MAX_RANK} dimensions")
        text = h5py.check_string_dtype(dtype)
        if text is None and dtype.kind not in "biuf":
            raise _Refused(f"{where}: holds {_kind_of(dtype)}; texts and real numbers are read")
        layout = creation.get_layout()
        if layout == h5py.h5d.VIRTUAL or creation.get_external_count():
            raise _Refused(f"{where}: its values lie in another file (a virtual or external data set)")
        for index in range(creation.get_nfilters()):
            if creation.get_filter(index)[0] not in _FILTERS:
                raise _Refused(f"{where}: is packed with filter {creation.get_filter(index)[0]}; gzip, lzf and szip are unpacked")
        count = math.prod(shape)
        size, stored = count * dtype.itemsize, item.id.get_storage_size()
        self.left -= size
        self.stored += stored
        if self.left < 0 or (text is not None and count > MAX_TEXTS):
            raise _Refused(f"{where}: is {' × '.join(map(str, shape))} values, far more than {self.size:,} bytes of file hold")
        if size and (not stored or (layout != h5py.h5d.CHUNKED and stored < size)):
            raise _Refused(f"{where}: promises {size:,} bytes and holds {stored:,}")
        if self.stored > self.size:
            raise _Refused(f"{where}: the data sets hold more bytes than the file")
        if layout == h5py.h5d.CHUNKED:
            chunks = math.prod(-(-whole // part) for whole, part in zip(shape, item.chunks, strict=True))
            if chunks > MAX_CHUNKS or math.prod(item.chunks) * dtype.itemsize > unpacked_limit(self.size):
                raise _Refused(f"{where}: {chunks:,} chunks of {' × '.join(map(str, item.chunks))}; it cannot be unpacked safely")
        self.sets.append(item)
        return {"texts": shape} if text is not None else {"array": [dtype.newbyteorder("<").str, shape]}


def _kind_of(dtype: np.dtype[Any]) -> str:
    if h5py.check_ref_dtype(dtype) is not None:
        return "object references"
    return "compound values" if dtype.names else f"values of type {dtype}"


def read(path: str) -> list[bytes]:
    """Return what is to be written: a JSON header, then the bytes of each array in order.

    Raises:
        _Refused: the file cannot be taken.
    """
    with h5py.File(path, "r") as file:
        size = Path(path).stat().st_size
        walk = _Walk(size)
        tree = walk.group(file, "", 0)
        used = unpacked_limit(size) - walk.left
        limit(WALK_SECONDS + used / 50e6, MEMORY_FREE + 2 * used)
        texts: list[list[str]] = []
        blobs: list[bytes] = []
        for item in walk.sets:
            if h5py.check_string_dtype(item.dtype) is None:
                blobs.append(np.asarray(item[()]).astype(item.dtype.newbyteorder("<")).tobytes())
                continue
            values = [value if isinstance(value, bytes) else str(value).encode() for value in np.asarray(item[()]).reshape(-1)]
            try:
                texts.append([value.decode() for value in values])
            except UnicodeDecodeError:
                raise _Refused(f"{item.name}: is not UTF-8 text") from None
    return [json.dumps({"tree": tree, "texts": texts}).encode(), *blobs]


def read_rows(path: str, names: list[str], whole: list[str], rows: list[int]) -> list[bytes]:
    """Return rows of data sets that are rows of numbers, each as long as it is, and small data sets whole.

    Args:
        path: the file.
        names: of data sets of rows.
        whole: of data sets of one dimension, each a number a row.
        rows: which, from 0.

    Returns:
        A JSON header ``{"rows": how many there are, "whole": [type of each], "sets": [[type, [length of each]], …]}``, then the bytes of each.

    Raises:
        _Refused: the file cannot be taken.
    """
    with h5py.File(path, "r") as file:
        size = Path(path).stat().st_size
        walk, sets = _Walk(size), []
        for name in names:
            item = _found(file, name)
            kind = h5py.check_vlen_dtype(item.dtype) if isinstance(item, h5py.Dataset) else None
            if kind is None or kind.kind not in "iuf" or item.ndim != 1:
                raise _Refused(f"{name}: expected rows of numbers, each as long as it is (variable length)")
            creation = item.id.get_create_plist()
            if creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count() or creation.get_nfilters():
                raise _Refused(f"{name}: its values lie in another file or are packed")
            sets.append((name, item, kind))
        counts = {item.shape[0] for _, item, _ in sets}
        if len(counts) != 1 or max(counts) > MAX_ROWS:
            raise _Refused(
                f"{' and '.join(names)}: {' and '.join(map(str, sorted(counts)))} rows; expected the same number, at most {MAX_ROWS:,}"
            )
        (count,) = counts
        flat = []
        for name in whole:
            item = _found(file, name)
            if not isinstance(item, h5py.Dataset) or item.shape != (count,) or item.dtype.kind not in "iu":
                raise _Refused(f"{name}: expected {count} whole numbers")
            walk.data(item, name)
            flat.append(np.asarray(item[()]))
        limit(WALK_SECONDS + len(rows) / 1000 + size / 50e6, MEMORY_FREE + 3 * unpacked_limit(size))
        described, blobs, left = [], [], size
        for name, item, kind in sets:
            lengths = []
            for row in rows:
                values = np.asarray(item[row])
                left -= values.nbytes
                if left < 0:
                    raise _Refused(f"{name}: rows hold more bytes than the file (one value many times)")
                lengths.append(len(values))
                blobs.append(values.astype(kind.newbyteorder("<")).tobytes())
            described.append([kind.newbyteorder("<").str, lengths])
    head = {"rows": count, "whole": [each.dtype.newbyteorder("<").str for each in flat], "sets": described}
    return [json.dumps(head).encode(), *(each.astype(each.dtype.newbyteorder("<")).tobytes() for each in flat), *blobs]


def _found(file: Any, name: str) -> Any:
    """Return what stands under a name, through the file's own groups alone."""
    item = file
    for key in name.split("/"):
        if not isinstance(item, h5py.Group) or key not in item:
            raise _Refused(f"{name}: is not there")
        if not isinstance(item.get(key, getlink=True), h5py.HardLink):
            raise _Refused(f"{name}: is a link; only what the file itself holds is read")
        item = item[key]
    return item


def main(path: str, asked: str = "") -> None:
    """Read one file; write its values, or why there are none, to standard output.

    Args:
        path: the file.
        asked: JSON of the other arguments of :func:`read_rows`; empty: all that it holds.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    limit(WALK_SECONDS, MEMORY_FREE)
    try:
        parts = read_rows(path, *json.loads(asked)) if asked else read(path)
    except _Refused as error:
        parts = [json.dumps({"refused": str(error)}).encode()]
    except Exception:  # whatever HDF5 makes of a damaged file: it says nothing that a user could use
        parts = [json.dumps({"unreadable": "not HDF5, or cut short"}).encode()]
    out = sys.stdout.buffer
    out.write(struct.pack("<Q", len(parts[0])))
    for part in parts:
        out.write(part)
    out.flush()
