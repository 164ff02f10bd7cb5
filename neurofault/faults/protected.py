"""What a protection leaves of broken cells: edits of the cells in, edits of what the chip reads out.

A plan says which bits of which words break. Here every code word that is hit is decoded as the chip would decode it, its stored bits and its check bits as
they are in each stretch of time in which the same faults act; weights outside their range are put inside. What then differs from the healthy
weight is an edit again, so engines know nothing of codes. Where the bits of weights lie in another order, that comes first (``bit_orders.py``).

A word is decoded from what was healthy when it was hit. A write of a synapse (``memory.py``) writes its check bits too; it mends what is left of
the upsets of that synapse, and of one that was put right nothing is left. Headers and axon entries are no stored weights and are not
protected.

**Scrubbing.** Every ``scrub`` steps of the chip, at their end, each word is read, put right where its code can and written back, which mends
upsets. Two upsets of a word therefore defeat its code only if no such pass falls between them. Upsets on the presentation's clock begin anew in each
sample and are not scrubbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.broken import BrokenChecks
from neurofault.damage.damage import Damage, Edit, Hit, SetSynapses
from neurofault.damage.when import Clock, When
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.bit_orders import reordered
from neurofault.faults.decoded import Decoder
from neurofault.faults.stored_numbers import StoredNumbers


def remaining(deployment: Deployment, cells: Damage) -> Damage:
    """Return the damage that a chip's protection leaves of what is broken in its cells.

    Args:
        deployment: the chip; its own damage says nothing here.
        cells: all that is broken, as planned.

    Raises:
        FaultError: faults that come and go, or of both clocks, meet in one code word.
    """
    protection = deployment.protection
    if not protection.reads_otherwise:
        return cells
    by_hit: list[list[Edit]] = []
    end = 0
    for hit in cells.hits:
        by_hit.append(list(cells.edits[end : end + hit.n_edits]))
        end += hit.n_edits
    notes: list[list[str]] = [[] for _ in cells.hits]
    for order in protection.orders:
        last = max((at for at, edits in enumerate(by_hit) if any(_is_of(edit, order.connection) for edit in edits)), default=None)
        if last is not None:
            by_hit, said = reordered(deployment, order, by_hit)
            notes[last].append(said)
    for name in dict.fromkeys([*(one.connection for one in protection.words), *(one.connection for one in protection.ranges)]):
        found = [
            (number, place, edit)
            for number, edits in enumerate(by_hit)
            for place, edit in enumerate(edits)
            if isinstance(edit, SetSynapses) and _is_of(edit, name) and edit.of_sources is None
        ]
        checks = [
            (number, place)
            for number, hit in enumerate(cells.hits)
            for place in hit.broken
            if isinstance(place, BrokenChecks) and place.connection == name
        ]
        if found or checks:
            guard = _Guard(deployment, name, found, checks)
            for number, place, kept in guard.kept():
                by_hit[number][place] = kept
            for number, edits, note in guard.left():
                by_hit[number] += edits
                notes[number] += note
    by_hit = [[edit for edit in edits if not isinstance(edit, SetSynapses) or len(edit.sources)] for edits in by_hit]
    hits: list[Hit] = [
        replace(hit, n_edits=len(edits), notes=(*hit.notes, *note))
        for hit, edits, note in zip(cells.hits, by_hit, notes, strict=True)
    ]
    return Damage(tuple(edit for edits in by_hit for edit in edits), tuple(hits), cells.dead_cores, cells)


def _is_of(edit: Edit, connection: str) -> bool:
    return isinstance(edit, SetSynapses) and edit.connection == connection


@dataclass(frozen=True, eq=False)
class _Touches:
    """Broken cells of one connection, one row each: which edit, its how-manieth pair, which stored synapse, which unit.

    A unit is what is decoded together: a code word, or a stored synapse that is in none (words + its number).
    """

    edit: NDArray[np.int64]
    pair: NDArray[np.int64]
    number: NDArray[np.int64]
    unit: NDArray[np.int64]

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> _Touches:
        return _Touches(self.edit[rows], self.pair[rows], self.number[rows], self.unit[rows])


class _Guard:
    """The protection of one connection at work on its broken cells.

    Args:
        deployment: the chip.
        connection: its name.
        found: (number of the hit, place among its edits, edit) of each edit of cells.
        checks: (number of the hit, its broken check bits).
    """

    def __init__(
        self,
        deployment: Deployment,
        connection: str,
        found: Sequence[tuple[int, int, SetSynapses]],
        checks: Sequence[tuple[int, BrokenChecks]],
    ) -> None:
        self._chip, self._own = deployment, deployment.connection(connection)
        self._found, self._checks = found, checks
        self._words, self._range = deployment.protection.words_of(connection), deployment.protection.range_of(connection)
        self._numbers = StoredNumbers(deployment, connection)
        self._n_words = 0 if self._words is None else len(self._words)
        found_rows = self._taken_over()
        self._touches = found_rows.chosen(np.argsort(found_rows.unit, kind="stable"))
        self._checks_of: dict[int, list[int]] = {}
        for at, (_, place) in enumerate(checks):
            for word in place.words:
                self._checks_of.setdefault(word, []).append(at)

    def _touches_of(self, units: NDArray[np.int64]) -> _Touches:
        """Return the broken cells of some units."""
        low, high = (np.searchsorted(self._touches.unit, units, side) for side in ("left", "right"))
        size = high - low
        rows = np.repeat(low, size) + np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        return self._touches.chosen(rows)

    def _word_of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the word of each stored synapse, −1 where it is in none, and its bits that are covered."""
        if self._words is None:
            return np.full(len(numbers), -1, np.int64), np.zeros(len(numbers), np.int64)
        at = np.minimum(np.searchsorted(self._words.sites, numbers), len(self._words.sites) - 1)
        covered = self._words.sites[at] == numbers
        word = np.searchsorted(self._words.starts, at, "right") - 1
        return np.where(covered, word, -1), np.where(covered, self._words.masks[at], 0)

    def _taken_over(self) -> _Touches:
        """Return the broken cells that are in units which are decoded anew: words with a wrong bit, and all others that have a range."""
        edit = np.concatenate(
            [np.empty(0, np.int64), *(np.full(len(one.sources), at) for at, (_, _, one) in enumerate(self._found))]
        )
        pair = np.concatenate([np.empty(0, np.int64), *(np.arange(len(one.sources)) for _, _, one in self._found)])
        sources, targets = (
            np.concatenate([np.empty(0, np.int64), *(getattr(one, name) for _, _, one in self._found)])
            for name in ("sources", "targets")
        )
        number = self._numbers.of(sources, targets) if len(sources) else np.empty(0, np.int64)
        word, mask = self._word_of(number)
        moved = np.concatenate([np.empty(0, np.int64), *(self._moved(one) for _, _, one in self._found)])
        struck = np.unique([*word[(word >= 0) & (moved & mask != 0)], *(each for _, place in self._checks for each in place.words)])
        unit = np.where(np.isin(word, struck), word, -1 if self._range is None else self._n_words + number)
        own = unit >= 0
        return _Touches(edit, pair, number, unit).chosen(own)

    def _moved(self, edit: SetSynapses) -> NDArray[np.int64]:
        """Return int64 [k]: the bits of each field that an edit may change."""
        whole = (1 << self._own.weight_bits) - 1
        if edit.flips is not None:
            return edit.flips.astype(np.int64)
        return np.full(len(edit.sources), whole) if edit.keep is None else whole & ~edit.keep.astype(np.int64)

    def kept(self) -> Iterable[tuple[int, int, SetSynapses]]:
        """Yield the edits without what is decoded anew, each with its hit and its place there."""
        for at, (number, place, edit) in enumerate(self._found):
            gone = self._touches.pair[self._touches.edit == at]
            if gone.size:
                stays = np.ones(len(edit.sources), bool)
                stays[gone] = False
                yield number, place, only(edit, stays)

    def left(self) -> Iterable[tuple[int, list[Edit], list[str]]]:
        """Yield for each hit that comes last in some units the edits that are left of them, and what is to be said."""
        found: dict[int, list[Edit]] = {}
        whole: dict[int, list[int]] = {}
        for hit, moments, units in self._groups():
            alike = len(moments) == 1
            for part in [units] if alike else [units[at : at + 1] for at in range(len(units))]:
                edits, wrong = self._of_units(part, moments)
                found.setdefault(hit, []).extend(edits)
                count = whole.setdefault(hit, [0, 0])
                words = part < self._n_words
                count[0] += int(words.sum())
                count[1] += int(np.isin(part[words], wrong).sum())
        for hit, edits in found.items():
            hurt, wrong_words = whole[hit]
            note = []
            if hurt and self._words is not None:
                note.append(f"{self._words.code} of {self._own.name}: {hurt} words hit, {wrong_words} of them read wrong")
            yield hit, edits, note

    def _groups(self) -> Iterable[tuple[int, tuple[When, ...], NDArray[np.int64]]]:
        """Yield units that are hit at the same times: the last hit, the times, the units."""
        times = list(dict.fromkeys([*(one.when for _, _, one in self._found), *(place.when for _, place in self._checks)]))
        index = {when: at for at, when in enumerate(times)}
        of_edit = np.array([(index[one.when], number) for number, _, one in self._found], np.int64).reshape(-1, 2)
        rows = [np.stack([self._touches.unit, *of_edit[self._touches.edit].T])]
        for number, place in self._checks:
            rows.append(np.array([(word, index[place.when], number) for word in place.words], np.int64).T)
        unit, time, hit = np.unique(np.concatenate(rows, axis=1), axis=1)
        units, starts = np.unique(unit, return_index=True)
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for each, first, end in zip(units.tolist(), starts, [*starts[1:], len(unit)], strict=False):
            own = tuple(sorted(set(time[first:end].tolist())))
            groups.setdefault((int(hit[first:end].max()), own), []).append(each)
        for (last, own), members in groups.items():
            yield last, tuple(times[at] for at in own), np.array(members, np.int64)

    def _of_units(self, units: NDArray[np.int64], moments: tuple[When, ...]) -> tuple[list[Edit], NDArray[np.int64]]:
        """Return what is left of units that are hit at the same times, and which of them read wrong in some step."""
        touches = self._touches_of(units)
        edits = [
            only(self._found[at][2], _mask(touches.pair[touches.edit == at], self._found[at][2])) for at in np.unique(touches.edit)
        ]
        near = sorted({at for unit in units.tolist() for at in self._checks_of.get(unit, ())})
        checks = [self._checks[at][1] for at in near]
        decoder = Decoder(self._chip, self._own.name, self._numbers, self._words, self._range, units, edits, checks)
        out: list[Edit] = []
        wrong = [np.empty(0, np.int64)]
        healed: set[When] = set()
        scrub = None if self._words is None else self._words.scrub
        for when, active in _stretches(moments, self._own.name):
            found, bad = decoder.at(when, active, healed)
            out += found
            wrong.append(bad)
            if not bad.size and _scrubbed(when, scrub):
                healed |= {one for one in active if one.lasts}
        return out, np.unique(np.concatenate(wrong))


def _mask(pairs: NDArray[np.int64], edit: SetSynapses) -> NDArray[np.bool_]:
    found = np.zeros(len(edit.sources), bool)
    found[pairs] = True
    return found


def _scrubbed(when: When, scrub: int | None) -> bool:
    """Whether a pass falls into a stretch of the chip's clock."""
    if scrub is None or when.clock != "chip" or when.stop is None:
        return False
    return (when.stop - 1) // scrub * scrub >= max(when.start, 1)


def _stretches(moments: tuple[When, ...], connection: str) -> list[tuple[When, frozenset[When]]]:
    """Return stretches of time with the times of faults that act in each, in order.

    Raises:
        FaultError: they are of both clocks, or come and go.
    """
    if len(moments) == 1:
        return [(moments[0], frozenset(moments))]
    clocks: list[Clock] = [one.clock for one in moments if not one.always]
    if len(set(clocks)) > 1 or any(one.period not in (None, one.on) for one in moments):
        raise FaultError(
            f"connection {connection!r}: faults that come and go (periodic, intermittent), or of both clocks, meet others in one code word; "
            "what it reads then is not worked out; give faults in time one clock and one beginning and end each"
        )
    clock: Clock = clocks[0] if clocks else "presentation"
    spans = [(0, None) if one.always else (one.start, one.stop) for one in moments]
    points = sorted({start for start, _ in spans} | {stop for _, stop in spans if stop is not None})
    found = []
    for at, start in enumerate(points):
        active = frozenset(
            one for one, (first, stop) in zip(moments, spans, strict=True) if first <= start and (stop is None or start < stop)
        )
        if active:
            found.append((When(start, points[at + 1] if at + 1 < len(points) else None, clock=clock), active))
    return found
