"""Rows of a batch as they are gathered, fault by fault, and as the kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.incremental.fault_table import (
    BY_SAMPLE,
    FAULT,
    MOOD,
    PIECE,
    SCRIPT,
    SCRIPT_ROW,
    TARGET,
    UNIT,
    WEIGHTS,
    FaultTable,
    packed,
    records,
)
from neurofault.engines.incremental.golden import FaultBatch, Golden
from neurofault.engines.incremental.rest import Rest


@dataclass(eq=False)
class GatheredRows:
    """Rows as they are gathered."""

    units: list[NDArray[np.int64]] = field(default_factory=list)
    pieces: list[NDArray[np.int64]] = field(default_factory=list)
    trains: list[NDArray[np.uint32]] = field(default_factory=list)
    masks: list[NDArray[np.uint32]] = field(default_factory=list)
    mask_rows: list[tuple[int, int]] = field(default_factory=list)
    scripts: list[tuple[int, int, int]] = field(default_factory=list)
    moods: list[dict[str, NDArray[np.int64]]] = field(default_factory=list)
    mood_of: list[NDArray[np.int32]] = field(default_factory=list)
    rests: dict[int, Rest] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("trains", "masks", "moods", "mood_of"), 0))

    def unit(self, row: int, population: int, neurons: NDArray[np.int64], kind: int, what: NDArray[np.int64]) -> None:
        """Add units: row, population, neuron, kind, what."""
        one = np.ones(len(neurons), np.int64)
        self.units.append(np.stack([row * one, population * one, neurons, kind * one, what]))

    def train(self, spikes: NDArray[np.bool_]) -> int:
        """Add a fixed train; return its number."""
        self.trains.append(packed(spikes[None])[0])
        return len(self.trains) - 1

    def mask(self, active: NDArray[np.bool_]) -> int:
        """Add a mask, bool [N, T]; return its number."""
        alike = bool((active == active[:1]).all())
        own = packed(active[:1] if alike else active)
        self.masks.append(own)
        self.mask_rows.append((self.counts["masks"], 0 if alike else 1))
        self.counts["masks"] += len(own)
        return len(self.mask_rows) - 1


def batch_of(healthy: Golden, count: int, gathered: GatheredRows, *, whole: bool = False) -> FaultBatch:
    """Sort units and pieces into rows; ``whole``: no fault is taken as a single piece."""
    net = healthy.flat.net
    pieces = np.concatenate([np.empty((8, 0), np.int64), *gathered.pieces], axis=1)
    pieces = pieces[:, pieces[4] != 0]
    given = np.concatenate([np.empty((5, 0), np.int64), *gathered.units], axis=1)
    busy = np.zeros(count, bool)
    busy[given[0]] = True
    apart = net.pops["groups"][pieces[1]] > 1
    if net.pops["farthest"][net.readout] >= 0:  # then both its potentials and its spikes matter
        apart |= pieces[1] == net.readout
    busy[pieces[0][apart]] = True
    single_row = (np.bincount(pieces[0], minlength=count) == 1) & ~busy & (not whole)
    single = single_row[pieces[0]]
    alone = pieces[:, single]
    alone = alone[:, np.lexsort((alone[3], alone[2]))]
    targets, first = np.unique(alone[2], return_index=True)
    rest = pieces[:, ~single]
    rest = rest[:, np.lexsort((rest[2], rest[1], rest[0]))]
    heads = _heads(rest[:3, _not_among(rest[:3], given[:, given[3] == SCRIPT])])
    bare = np.concatenate([heads, np.stack([np.full(heads.shape[1], WEIGHTS), np.zeros(heads.shape[1], np.int64)])])
    units = np.concatenate([bare, given], axis=1)
    units = units[:, np.lexsort((units[2], units[1], units[0]))]
    others = np.union1d(units[0], np.array(list(gathered.rests), np.int64))
    begins = np.searchsorted(units[0], others)
    parts = {rest: place for place, rest in enumerate(dict.fromkeys(gathered.rests.values()))}
    rests = [gathered.rests.get(row) for row in others.tolist()]
    named = dict(zip(("population", "neuron", "kind", "what"), units[1:], strict=True))
    rows = FaultTable(
        count,
        records(
            FAULT,
            {
                "row": others,
                "first": begins,
                "part": np.array([-1 if rest is None else parts[rest] for rest in rests], np.int64),
                "always": np.array([rest is not None and rest.course.always for rest in rests], np.int64),
            },
            end={"first": units.shape[1]},
        ),
        np.array([rest.roles for rest in parts], np.uint8).reshape(-1, len(net.pops)),
        records(UNIT, named | {"first": _firsts(rest[:3], units)}, end={"first": rest.shape[1]}),
        _pieces(rest),
        np.concatenate([np.empty((0, net.words), np.uint32), *(train[None] for train in gathered.trains)]),
        _numbered(SCRIPT_ROW, gathered.scripts),
        np.concatenate([np.empty((0, net.steps), np.int32), *gathered.mood_of]),
        np.concatenate([np.empty(0, MOOD), *(records(MOOD, one) for one in gathered.moods)]),
        _numbered(BY_SAMPLE, gathered.mask_rows),
        np.concatenate([np.empty((0, net.words), np.uint32), *gathered.masks]),
        records(TARGET, {"neuron": targets, "first": first}, end={"first": alone.shape[1]}),
        _pieces(alone),
    )
    return FaultBatch(healthy, rows, gathered.rests)


def _heads(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sorted columns, each once."""
    if not keys.shape[1]:
        return keys
    return keys[:, np.any(np.diff(keys, axis=1, prepend=-1) != 0, axis=0)]


def _not_among(keys: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.bool_]:
    taken = set(map(tuple, units[:3].T.tolist()))
    if not taken:
        return np.ones(keys.shape[1], bool)
    return np.array([tuple(key) not in taken for key in keys.T.tolist()], bool)


def _firsts(keys: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [units]: each one's first piece; both are sorted alike, and every piece has a unit."""
    if not keys.shape[1]:
        return np.zeros(units.shape[1], np.int64)
    _, which = np.unique(np.concatenate([units[:3], keys], axis=1), axis=1, return_inverse=True)
    own, pieces = np.split(which.reshape(-1), [units.shape[1]])
    return np.searchsorted(pieces, own).astype(np.int64)


def _pieces(columns: NDArray[np.int64]) -> NDArray[Any]:
    return records(PIECE, dict(zip(("row", "source", "delta", "shift", "mask", "group"), columns[[0, 3, 4, 5, 6, 7]], strict=True)))


def _numbered(kind: np.dtype[Any], rows: Sequence[tuple[int, ...]]) -> NDArray[Any]:
    names = kind.names or ()
    return records(kind, dict(zip(names, np.array(rows, np.int64).reshape(-1, len(names)).T, strict=True)))
