"""Which bits are covered, and how they are put into code words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.codes import code_named
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import CodedWords
from neurofault.errors import UsageError
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.numerals import plural
from neurofault.study.protect.scores import BitScores
from neurofault.study.protect.spec import CodeSpec, Unit


@dataclass(frozen=True, eq=False)
class Stores:
    """Stored bits that may be covered.

    Attributes:
        numbers: connection → its stored synapses.
        widths: connection → bits of a stored weight.
    """

    numbers: Mapping[str, StoredNumbers]
    widths: Mapping[str, int]

    @classmethod
    def of(cls, deployment: Deployment, connections: tuple[str, ...]) -> Stores:
        """Return those of some connections."""
        return cls(
            {name: StoredNumbers(deployment, name) for name in connections},
            {name: deployment.connection(name).weight_bits for name in connections},
        )

    @property
    def bits(self) -> int:
        """How many there are."""
        return sum(len(own) * self.widths[name] for name, own in self.numbers.items())


def covered(stores: Stores, spec: CodeSpec, scores: BitScores | None) -> tuple[CodedWords, ...]:
    """Return the code words of a choice.

    Args:
        stores: what may be covered.
        spec: how much, by what code, in what units.
        scores: of each bit; None: all are covered.

    Raises:
        UsageError: the share is less than one unit, or the budget less than the smallest code word's check bits.
    """
    if scores is None:
        masks = {name: np.full(len(own), (1 << stores.widths[name]) - 1, np.int64) for name, own in stores.numbers.items()}
        return _words(stores, spec, masks)
    taken = _by_score(stores, spec.unit, scores)
    if spec.share is not None:
        most = int(spec.share * stores.bits + 1e-9)
        masks = taken(most)
        if not any(each.any() for each in masks.values()):
            raise UsageError(f"protect {spec}: {spec.share:g} of {plural(stores.bits, 'stored bit')} is less than one {spec.unit}")
        return _words(stores, spec, masks)
    assert spec.budget is not None
    room = int(spec.budget * stores.bits + 1e-9)
    low, high = 0, stores.bits
    best: tuple[CodedWords, ...] = ()
    while low < high:
        middle = (low + high + 1) // 2
        words = _words(stores, spec, taken(middle))
        if sum(int(one.check_bits.sum()) + one.map_bits for one in words) <= room:
            low, best = middle, words
        else:
            high = middle - 1
    if not best:
        least = code_named(spec.kind, 1).checks
        raise UsageError(
            f"protect {spec}: a budget of {spec.budget:g} of {plural(stores.bits, 'stored bit')} is {plural(room, 'bit')}, too few for the check bits of one code word "
            f"and the map of what it covers (one bit takes {plural(least, 'check bit')})"
        )
    return best


def _by_score(stores: Stores, unit: Unit, scores: BitScores) -> Callable[[int], dict[str, NDArray[np.int64]]]:
    """Return what turns a number of bits into masks of each stored synapse: the best units that fit in."""
    units, sizes, values, first = dict[str, NDArray[np.int64]](), list[NDArray[np.int64]](), list[NDArray[np.float64]](), 0
    for name, own in scores.items():
        count, width = own.shape
        match unit:
            case "bit":
                number = np.arange(count * width).reshape(count, width)
            case "row":
                number = stores.numbers[name].rows()[:, None] * width + np.arange(width)
            case "plane":
                number = np.broadcast_to(np.arange(width), (count, width))
        size = np.bincount(number.ravel())
        sizes.append(size)
        values.append(np.bincount(number.ravel(), own.ravel()) / np.maximum(size, 1))
        units[name] = number + first
        first += len(size)
    size, value = np.concatenate(sizes), np.concatenate(values)
    order = np.lexsort((np.arange(len(value)), -value))
    ends = np.cumsum(size[order])

    def taken(most: int) -> dict[str, NDArray[np.int64]]:
        chosen = np.zeros(len(size), bool)
        full = int(np.searchsorted(ends, most, "right"))
        chosen[order[:full]] = True
        left = most - (int(ends[full - 1]) if full else 0)
        if unit == "row" and left:  # rows differ in length: a shorter one may still fit
            for at in order[full : full + 64]:
                if size[at] <= left:
                    chosen[at], left = True, left - int(size[at])
        return {
            name: (chosen[number] * (1 << np.arange(number.shape[1], dtype=np.int64))).sum(axis=1) for name, number in units.items()
        }

    return taken


def _words(stores: Stores, spec: CodeSpec, masks: Mapping[str, NDArray[np.int64]]) -> tuple[CodedWords, ...]:
    """Put covered bits into words, core by core in the order in which they are stored; no synapse is cut in two."""
    found = []
    for name, mask in masks.items():
        sites = np.flatnonzero(mask).astype(np.int64)
        if not sites.size:
            continue
        own, width = stores.numbers[name], stores.widths[name]
        size = (mask[sites][:, None] >> np.arange(width) & 1).sum(axis=1)
        core = own.core_of(sites)
        edges = np.flatnonzero(np.diff(core)) + 1
        starts: list[int] = []
        for first, end in zip([0, *edges], [*edges, len(sites)], strict=True):
            ends = np.cumsum(size[first:end])
            at = 0
            while at < end - first:
                starts.append(int(first) + at)
                before = int(ends[at - 1]) if at else 0
                at = max(at + 1, int(np.searchsorted(ends, before + spec.word, "right")))
        begins = np.array([*starts, len(sites)], np.int64)
        seen = spec.seen or ("keep" if spec.kind == "secded" else "mute")
        cores, said = core[begins[:-1]], _map_bits(own, width, spec, sites, size)
        found.append(CodedWords(name, spec.kind, seen, sites, mask[sites], begins, cores, spec.scrub, said))
    return tuple(found)


def _map_bits(own: StoredNumbers, width: int, spec: CodeSpec, sites: NDArray[np.int64], size: NDArray[np.int64]) -> int:
    """Return the bits that say what is covered.

    Of single bits, on each core one each or the addresses of those that are, whichever is less; of rows, one for each row and bit; of planes
    none, for that is wiring.
    """
    if spec.whole or spec.unit == "plane":
        return 0
    if spec.unit == "row":
        return (int(own.rows()[-1]) + 1) * width
    total = 0
    counts = np.bincount(np.searchsorted(own.firsts, sites, "right") - 1, size, len(own.blocks)).astype(np.int64)
    for block, count in zip(own.blocks, counts.tolist(), strict=True):
        bits = block.size * width
        total += min(bits, count * max(1, (bits - 1).bit_length()))
    return total
