"""Digests of arrays, records and plain values: equal numbers give equal digits, however they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np


def canonical(value: Any) -> str:
    """Return JSON in which equal numbers are written alike.

    >>> canonical({"b": 1e-3, "a": 2.0}) == canonical({"a": 2, "b": 0.001})
    True
    """

    def plain(part: Any) -> Any:
        match part:
            case bool() | None | str():
                return part
            case float() if part.is_integer() and abs(part) < 2**53:
                return int(part)
            case Mapping():
                return {str(key): plain(one) for key, one in part.items()}
            case list() | tuple():
                return [plain(one) for one in part]
            case _:
                return part

    return json.dumps(plain(value), sort_keys=True, allow_nan=False)


@dataclass(frozen=True, eq=False)
class Record:
    """What is digested as a dataclass would be.

    Attributes:
        kind: name of the class.
        fields: name → value, in the class's order.
    """

    kind: str
    fields: Mapping[str, Any]


def digest_of(*parts: Any) -> str:
    """Return 32 hexadecimal digits of arrays, records and plain values."""
    digest = hashlib.blake2b(digest_size=16)

    def feed(part: Any) -> None:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, Record):
            digest.update(part.kind.encode())
            for name, value in part.fields.items():
                digest.update(name.encode())
                feed(value)
        elif is_dataclass(part) and not isinstance(part, type):
            digest.update(type(part).__name__.encode())
            for one in fields(part):
                digest.update(one.name.encode())
                feed(getattr(part, one.name))
        elif isinstance(part, tuple | list):
            digest.update(f"[{len(part)}]".encode())
            for one in part:
                feed(one)
        else:
            digest.update(f"{type(part).__name__}:{canonical(part)}".encode())

    for part in parts:
        feed(part)
    return digest.hexdigest()
