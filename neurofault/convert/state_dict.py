"""A saved state dict as data: its file is taken apart here, and nothing in it is run or believed.

``torch.save`` writes a zip archive: a pickle that names tensors, and one stored entry of raw numbers a storage (before 2020: one pickle
after the other, then the storages). The pickle is read by a machine that calls nothing (:mod:`neurofault.convert.pickled`); every storage must
have exactly the bytes that the pickle promises, and every tensor must lie inside its storage, so nothing is allocated that the file does
not hold.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from neurofault.convert.pickled import MAX_BYTES, Name, NotPlainError, Persistent, PickledCall, read_pickle
from neurofault.errors import DataError
from neurofault.files import UNPACKED_MOST, why_not

_DTYPES: Final = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
_MAX_RANK: Final = 8
_MAX_NAME: Final = 1000
CHECKPOINT_KEYS: Final = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Under which of its keys the state dict of a checkpoint is taken, whatever else stands in it."""
_SHOWN: Final = 5
_SHARED: Final = 4
"""Times that the tensors together may be as long as their storages together (tied weights)."""

State = dict[str, torch.Tensor]
_Bytes = Callable[[str, int], bytes]
"""Key of a storage and its length → its bytes."""


def read_state(weights: Path) -> State:
    """Read a state dict as data: alone in its file, or in a checkpoint under one of :data:`CHECKPOINT_KEYS`.

    Raises:
        DataError: missing, damaged, longer than 1 GiB, not a state dict, a tensor that is not a plain dense one, numbers that are not
            finite, or a pickle that would execute code.
    """
    reason = why_not(weights)
    if reason is not None:
        raise DataError(f"{weights}: {'no such weights file' if reason == 'no such file' else reason}")
    try:
        size = weights.stat().st_size
        if size > UNPACKED_MOST:
            raise DataError(f"{weights}: larger than {UNPACKED_MOST:,} bytes")
        with weights.open("rb") as file:
            packed = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content = file.read(size)
        return _from_zip(weights, content) if packed else _from_legacy(weights, content)
    except NotPlainError as error:
        raise DataError(
            f"{weights}: refused: it holds more than tensors and could execute code when loaded; "
            "save the weights alone: torch.save(model.state_dict(), path)"
        ) from error
    except (OSError, EOFError, ValueError, LookupError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{weights}: not a readable torch file ({type(error).__name__})") from error


def _from_zip(weights: Path, content: bytes) -> State:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise DataError(f"{weights}: not a readable torch file (an entry of its archive stands there twice)")
        pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise DataError(f"{weights}: not a readable torch file (no data.pkl in the archive)")
        root = pickles[0].removesuffix("data.pkl")
        if root + "constants.pkl" in entries:
            raise DataError(f"{weights}: is a TorchScript program; save the weights alone: torch.save(model.state_dict(), path)")
        stored = sum(entry.file_size for entry in entries.values())
        if stored > len(content) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise DataError(f"{weights}: its archive is packed; torch.save writes it plain")

        def read(name: str, length: int) -> bytes:
            entry = entries.get(root + name)
            if entry is None or entry.file_size != length:
                held = "is missing" if entry is None else f"has {entry.file_size:,} bytes, not {length:,}"
                raise DataError(f"{weights}: not a readable torch file ({name} {held})")
            return archive.read(entry)

        if root + "byteorder" in entries and archive.read(root + "byteorder") != b"little":
            raise DataError(f"{weights}: numbers are not little-endian; save it again on such a machine")
        pickle = archive.read(entries[pickles[0]])
        if len(pickle) > MAX_BYTES:
            raise DataError(f"{weights}: the names and shapes of its tensors take more than {MAX_BYTES:,} bytes")
        records = _names_and_records(weights, read_pickle(io.BytesIO(pickle), str(weights)))
        return _tensors(weights, records, lambda key, length: read(f"data/{key}", length))


def _from_legacy(weights: Path, content: bytes) -> State:
    file = io.BytesIO(content)
    where = str(weights)
    if not content.startswith(b"\x80"):
        raise DataError(f"{weights}: not a readable torch file (neither a zip archive nor a pickle)")
    first = read_pickle(file, where)
    if first != _LEGACY_MAGIC:
        raise DataError(f"{weights}: holds no state dict (names → tensors); save it with torch.save(model.state_dict(), path)")
    if read_pickle(file, where) != _LEGACY_PROTOCOL:
        raise DataError(f"{weights}: not a readable torch file (another protocol than {_LEGACY_PROTOCOL})")
    system = read_pickle(file, where)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise DataError(f"{weights}: numbers are not little-endian; save it again on such a machine")
    everything = read_pickle(file, where)
    state = _names_and_records(weights, everything)
    keys = read_pickle(file, where)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise DataError(f"{weights}: not a readable torch file (its list of storages)")
    lengths = {
        argument.key[2]: argument.key[4] * _DTYPES[argument.key[1].name].itemsize
        for argument in _storages(everything)
        if _is_storage(argument)
    }
    places: dict[str, tuple[int, int]] = {}
    at = file.tell()
    for key in keys:
        length = lengths.get(key)
        if length is None or at + 8 + length > len(content):
            raise DataError(f"{weights}: not a readable torch file (storage {key!r} is cut short)")
        places[key] = (at + 8, length)
        at += 8 + length

    def read(key: str, length: int) -> bytes:
        if key not in places or places[key][1] != length:
            raise DataError(f"{weights}: not a readable torch file (storage {key!r} is missing, or of two lengths)")
        return content[places[key][0] : places[key][0] + length]

    return _tensors(weights, state, read)


def _storages(pickled: Any) -> list[Persistent]:
    """Return the storages that whatever a pickle holds names."""
    found: list[Persistent] = []
    left, seen = [pickled], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:  # a pickle may name a thing again, and itself
            continue
        seen.add(id(one))
        match one:
            case dict() as inner:
                left += inner.values()
            case list() | tuple() as inner:
                left += inner
            case PickledCall(arguments=arguments):
                left += arguments
            case Persistent() as storage:
                found.append(storage)
    return found


def _names_and_records(weights: Path, state: Any) -> dict[str, PickledCall]:
    """Return the records of a state dict, which may stand in a checkpoint under one of the usual keys."""
    if _is_state(state):
        return dict(state)
    asked = "save it with torch.save(model.state_dict(), path)"
    if not isinstance(state, dict):
        raise DataError(f"{weights}: holds no state dict (names → tensors); {asked}")
    inside = [key for key in CHECKPOINT_KEYS if _is_state(state.get(key)) and state[key]]
    if len(inside) == 1:
        return dict(state[inside[0]])
    if inside:
        raise DataError(
            f"{weights}: holds several state dicts, under {' and '.join(map(repr, inside))}; save the one that is meant alone: {asked}"
        )
    others = [repr(key)[:40] for key, value in state.items() if _is_state(value) and value]
    keys = ", ".join(repr(key)[:40] for key in list(state)[:_SHOWN]) + (" …" if len(state) > _SHOWN else "")
    where = (
        f"a state dict under {others[0]}, which is none of {', '.join(CHECKPOINT_KEYS)}" if others
        else f"no state dict (names → tensors), but {keys or 'nothing'}"
    )  # fmt: skip
    raise DataError(f"{weights}: holds {where}; {asked}")


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(key, str) and isinstance(value, PickledCall) for key, value in state.items())


def _tensors(weights: Path, state: dict[str, PickledCall], read: _Bytes) -> State:
    """Return the tensors that a state dict's records stand for."""
    storages: dict[str, tuple[torch.dtype, torch.Tensor]] = {}
    total = held = 0
    tensors: State = {}
    for name, call in state.items():
        if len(name) > _MAX_NAME:
            raise DataError(f"{weights}: a name of {len(name):,} characters; at most {_MAX_NAME:,}")
        said = f"{weights}: tensor {name!r}"
        storage, offset, size, stride = _parts(said, call)
        kind, key = storage.key[1], storage.key[2]
        dtype, length = _DTYPES[kind.name], storage.key[4]
        if key not in storages:
            content = bytearray(read(key, length * dtype.itemsize))
            if dtype == torch.bool and any(byte > 1 for byte in content):
                raise DataError(f"{said}: holds truth values other than 0 and 1")
            held += length
            storages[key] = (dtype, torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype))
        known, flat = storages[key]
        if known != dtype or len(flat) != length:
            raise DataError(f"{said}: reads a storage as {dtype} that another tensor reads as {known}")
        count = math.prod(size)
        reach = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True)) if count else 0
        if (reach >= length and count) or count > length:
            raise DataError(f"{said}: shape {list(size)} with strides {list(stride)} reaches beyond its {length:,} numbers")
        tensors[name] = flat.as_strided(size, stride, offset) if count else flat.new_empty(size)
        total += count
        if total > _SHARED * held:
            raise DataError(f"{said}: too many tensors share one storage")
        if dtype.is_floating_point and not bool(torch.isfinite(tensors[name]).all()):
            raise DataError(f"{said}: holds a number that is not finite")
    return tensors


def _parts(said: str, call: PickledCall) -> tuple[Persistent, int, tuple[int, ...], tuple[int, ...]]:
    """Return storage, offset, shape and strides of a tensor's record."""
    if call.what == Name("torch._utils", "_rebuild_parameter") and call.arguments and isinstance(call.arguments[0], PickledCall):
        call = call.arguments[0]
    if call.what not in (Name("torch._utils", "_rebuild_tensor_v2"), Name("torch._utils", "_rebuild_tensor")):
        if isinstance(call.what, Name) and call.what.module.split(".")[0] == "torch" and "rebuild" in call.what.name:
            raise DataError(
                f"{said}: is no plain dense tensor ({call.what.name}): sparse, quantised and meta tensors are not taken"
            )
        raise NotPlainError(str(call.what))
    match call.arguments:
        case (Persistent() as storage, int(offset), tuple(size), tuple(stride), *_):
            pass
        case _:
            raise DataError(f"{said}: its record in the pickle is damaged")
    if not _is_storage(storage):
        named = (
            storage.key[1].name
            if isinstance(storage.key, tuple) and len(storage.key) > 1 and isinstance(storage.key[1], Name)
            else ""
        )
        odd = (
            f"its numbers are a {named[:40]}; taken: {', '.join(_DTYPES)}"
            if named.endswith("Storage") and named not in _DTYPES
            else ""
        )
        raise DataError(f"{said}: {odd or 'its record in the pickle is damaged'}")
    numbers = (offset, *size, *stride)
    if (
        len(size) != len(stride)
        or len(size) > _MAX_RANK
        or not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers)
    ):
        raise DataError(f"{said}: its shape and strides are not {_MAX_RANK} whole numbers each at most, from 0")
    return storage, offset, size, stride


def _is_storage(storage: Persistent) -> bool:
    match storage.key:
        case ("storage", Name(module="torch", name=name), str(), str(), int(length), *rest):
            return name in _DTYPES and type(length) is int and 0 <= length < 1 << 40 and rest in ([], [None])
    return False
