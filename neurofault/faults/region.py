"""Physical places as texts: chips, tiles, cores, ranges of memory words; unions and intersections of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.routing import Hexagon, Mesh, Tree, Unlinked, topology
from neurofault.errors import FaultError, nearest
from neurofault.faults.ranges import turned

ALL_WORDS = ((0, 1 << 62),)
"""The words of a core that is meant as a whole."""
_UNITS = ("board", "chip", "tile", "core", "word")
_IDS = r"\s*[0-9]{1,12}(-[0-9]{1,12})?\s*"
_NUMBERS = re.compile(rf"{_IDS}(,{_IDS})*")

Region = dict[int, tuple[tuple[int, int], ...]]
"""Core id → disjoint, sorted ranges of memory words [first, end) in that core."""


def region(deployment: Deployment, at: str | Sequence[str] | Mapping[str, Any]) -> Region:
    """Return the cores, and the memory words in each, that a place means.

    Args:
        deployment: the chip.
        at: ``"core:0-7"``, ``"core:3,5-6"``, ``"chip:0"``, ``"board:1"``, ``"tile:3"`` (tiles counted like cores: chip by chip, row by
            row), ``"word:0-63"`` (memory words of every core); a list or ``{any_of: […]}``: everything that one of them means;
            ``{all_of: […]}``: what all of them mean.

    Raises:
        FaultError: not such a text, or no such chip, tile or core.
    """
    match at:
        case str():
            return _one(deployment, at)
        case {"all_of": parts, **rest} if not rest and _is_list(parts):
            found = [region(deployment, part) for part in parts]
            return {
                core: words for core in set.intersection(*map(set, found)) if (words := _common([part[core] for part in found]))
            }
        case {"any_of": parts, **rest} if not rest and _is_list(parts):
            return region(deployment, parts)
        case list() | tuple() if at:
            either: dict[int, list[tuple[int, int]]] = {}
            for part in at:
                for core, words in region(deployment, part).items():
                    either.setdefault(core, []).extend(words)
            return {core: _merged(words) for core, words in either.items()}
    raise FaultError(f'at must be a place such as "core:0-7", a list of places, or {{all_of: […]}}, is {at!r}')


def _is_list(parts: object) -> bool:
    return isinstance(parts, list | tuple) and bool(parts)


def _one(deployment: Deployment, text: str) -> Region:
    unit, _, numbers = text.partition(":")
    if unit not in _UNITS or not _NUMBERS.fullmatch(numbers):
        raise FaultError(
            f"at: {text!r} is not a place{nearest(unit, _UNITS)}; write {', '.join(_UNITS)}, a colon, and ids such as 0-3,7"
        )
    ranges = []
    for part in numbers.split(","):
        if (right := turned(part)) is not None:
            good = text.replace(part.strip(), right)
            raise FaultError(f"at: {text!r}: {part.strip()!r} means nothing: the lower end comes first (did you mean {good!r}?)")
        low, _, high = part.strip().partition("-")
        ranges.append((int(low), int(high or low) + 1))
    ranges.sort()
    placement = deployment.placement
    cores = np.arange(placement.chips * placement.cores_per_chip)
    if unit == "word":
        return dict.fromkeys(map(int, cores), _merged(ranges))
    chip, local = np.divmod(cores, placement.cores_per_chip)
    match unit:
        case "board":
            owner = chip // chips_of_a_board(deployment.profile)
        case "chip":
            owner = chip
        case "tile":
            owner = _tiles(deployment, chip, local)
        case _:
            owner = cores
    last = ranges[-1][1] - 1
    if last > int(owner.max()):
        more = "; more chips: --chips N --place spread" if unit in ("board", "chip") else ""
        raise FaultError(f"at: there is no {unit} {last}; {unit}s: 0 to {int(owner.max())}{more}")
    inside = np.any([(owner >= low) & (owner < high) for low, high in ranges], axis=0)
    return dict.fromkeys(map(int, cores[inside]), ALL_WORDS)


def _tiles(deployment: Deployment, chip: NDArray[np.int64], local: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each core's tile: all of a chip where its cores share one router."""
    match topology(deployment):
        case Mesh() | Tree() as grid:
            return chip * grid.tiles_per_chip + local // grid.cores_per_tile
        case Hexagon():
            return chip
        case Unlinked():
            raise FaultError(f"at: chip {deployment.profile.name!r} has no tiles; write core or chip")


def chips_of_a_board(profile: HardwareProfile) -> int:
    """Return how many chips share a board (FaultError: the profile does not say)."""
    if profile.board is None or profile.board.chips.value is None:
        raise FaultError(f"profile {profile.name!r} does not say how many chips share a board (board.chips)")
    return profile.board.chips.value


def _merged(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _common(parts: Sequence[Sequence[tuple[int, int]]]) -> tuple[tuple[int, int], ...]:
    common = tuple(parts[0])
    for part in parts[1:]:
        common = tuple((max(a, c), min(b, d)) for a, b in common for c, d in part if max(a, c) < min(b, d))
    return common
