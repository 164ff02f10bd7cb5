"""A campaign that is given as a Python mapping, as the document that a file would hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import count
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.errors import SpecError
from neurofault.faults import Fault, fault_to_mapping
from neurofault.specfile import MAX_DEPTH, parse_yaml
from neurofault.specnodes import Mark, Node

GIVEN = Path("<dict>")
"""Stands for the file of a campaign that has none."""


def source_of(given: Mapping[str, Any]) -> bytes:
    """Return a mapping as JSON, which is YAML.

    NumPy numbers become numbers, paths text, tuples lists, and faults the mappings that a file would hold.

    Raises:
        SpecError: every value that no campaign file can hold, and every key that is no text, by its place.
    """
    mistakes: list[str] = []

    def plain(value: Any, place: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            mistakes.append(f"{GIVEN}: nested deeper than {MAX_DEPTH} levels")
            return None
        match value:
            case np.generic():
                return plain(value.item(), place, depth)
            case float() if not math.isfinite(value):
                mistakes.append(f"{GIVEN}: {place}: expected a finite number, got {value}")
                return None
            case None | bool() | int() | float() | str():
                return value
            case PathLike():
                return fspath(value)
            case Fault():
                return plain(fault_to_mapping(value), place, depth)
            case Mapping():
                return {key: plain(one, _inside(place, key), depth + 1) for key, one in value.items() if _is_text(key, place)}
            case list() | tuple():
                return [plain(one, f"{place}[{index}]", depth + 1) for index, one in enumerate(value)]
        mistakes.append(f"{GIVEN}: {place}: a campaign holds text, numbers, lists and mappings, not {type(value).__name__}")
        return None

    def _is_text(key: object, place: str) -> bool:
        if not isinstance(key, str):
            mistakes.append(f"{GIVEN}: {place or 'the top level'}: a key must be text, not {key!r}")
        return isinstance(key, str)

    found = plain(given, "", 1)
    if mistakes:
        raise SpecError(_once(mistakes))
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"


def document_of(source: bytes) -> Node:
    """Return the document of :func:`source_of`; its marks have no line that a reader could find, and keep the order.

    Raises:
        SpecError: it is larger than a file may be.
    """
    _, root = parse_yaml(source, str(GIVEN))
    places = count(1)

    def placed(node: Node) -> Node:
        made = Node(node.value, Mark(0, next(places)), {})
        for key, child in node.children.items():
            if str(key) in node.keys:
                made.keys[str(key)] = Mark(0, next(places))
            made.add(key, placed(child))
        return made

    return placed(root)


def _inside(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _once(mistakes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(mistakes))
