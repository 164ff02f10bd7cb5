"""Set cover over bits: the fewest samples that expose every fault, or most of them.

:class:`Cover` chooses greedily, with gains that are worked out again only where they may be the largest (lazy evaluation, Minoux 1978). :func:`fewest` finds the
minimum: equal rows are one, what another row or column makes needless is dropped, a row with one sample decides, and what is left is an integer program for
HiGHS, row by row only as they are needed: the optimum over some rows is a lower bound of that over all, and where its samples expose all rows, it is the optimum.

Where only some faults are to be exposed, or samples are few, the bound is that of submodular functions: with g₁ ≥ g₂ … what each sample would add to
samples S, no m samples expose more than f(S) + g₁ + … + g_m (Nemhauser, Wolsey and Fisher 1978, Mathematical Programming 14).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from neurofault.study.patterns.matrix import unpacked

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)
_CHUNK = 1 << 14
_FIRST, _MORE = 400, 200
"""ExposedRows that an integer program begins with, and that each further one adds."""


@dataclass(frozen=True)
class Chosen:
    """Samples that expose faults.

    Attributes:
        samples: in the order in which they were chosen.
        exposed: how many faults the first 1, 2 … of them expose.
        least: no fewer samples expose as many as was asked for (proved).
        most: no as many samples expose more faults (proved); None: not asked for.
        exact: whether the number of samples is proved the least.
    """

    samples: tuple[int, ...]
    exposed: tuple[int, ...]
    least: int
    most: int | None
    exact: bool


def columns_of(rows: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    """Turn rows of bits, uint8 [F, ⌈N / 8⌉], into columns, uint8 [N, ⌈F / 8⌉]."""
    columns = np.zeros((samples, -(-len(rows) // 8)), np.uint8)
    for start in range(0, len(rows), _CHUNK):
        part = np.packbits(unpacked(rows[start : start + _CHUNK], samples).T, axis=1)
        columns[:, start // 8 : start // 8 + part.shape[1]] = part
    return columns


def ones(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the bits that are set along the last axis."""
    return np.asarray(_ONES[bits].sum(axis=-1), np.int64)


def any_of(columns: NDArray[np.uint8], samples: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return which faults some of the samples expose, as bits, uint8 [⌈F / 8⌉]."""
    return np.asarray(np.bitwise_or.reduce(columns[list(samples)], axis=0, initial=0), np.uint8)


def greedy(columns: NDArray[np.uint8], enough: int, size: int | None = None) -> Chosen:
    """Choose samples one by one, each the one that exposes most faults that those before do not; of equals the first.

    Args:
        columns: uint8 [N, ⌈F / 8⌉].
        enough: how many faults are to be exposed.
        size: most samples; None: as many as it takes.
    """
    seen = np.zeros(columns.shape[1], np.uint8)
    heap = [(-int(gain), sample) for sample, gain in enumerate(ones(columns))]
    heapq.heapify(heap)
    chosen: list[int] = []
    exposed: list[int] = []
    total = 0
    while heap and total < enough and (size is None or len(chosen) < size):
        _, sample = heapq.heappop(heap)
        gain = int(ones(columns[sample] & ~seen))
        if heap and (-gain, sample) > heap[0]:
            heapq.heappush(heap, (-gain, sample))
            continue
        if not gain:
            break
        seen |= columns[sample]
        total += gain
        chosen.append(sample)
        exposed.append(total)
    least, most = _bounds(columns, chosen, enough, size)
    return Chosen(tuple(chosen), tuple(exposed), least, most, least == len(chosen) and total >= enough)


def _bounds(columns: NDArray[np.uint8], chosen: list[int], enough: int, size: int | None) -> tuple[int, int | None]:
    """Return the least number of samples that expose enough faults, and the most faults that ``size`` samples expose, as far as prefixes of a choice prove it."""
    seen, total = np.zeros(columns.shape[1], np.uint8), 0
    least, most = 0, None if size is None else enough
    for at in range(len(chosen) + 1):
        if at == len(chosen) or at < 8 or at % 4 == 0:
            gains = np.sort(ones(columns & ~seen))[::-1]
            reach = total + np.concatenate([[0], np.cumsum(gains)])
            least = max(least, int(np.searchsorted(reach, min(enough, int(reach[-1])))))
            if size is not None and most is not None:
                most = min(most, int(reach[min(size, len(gains))]))
        if at < len(chosen):
            total += int(ones(columns[chosen[at]] & ~seen))
            seen |= columns[chosen[at]]
    return least, most


def collapsed(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows of bits, each once, without those that no sample exposes."""
    rows = np.ascontiguousarray(rows[rows.any(axis=1)])
    if not len(rows):
        return rows
    kinds = np.unique(rows.view(np.dtype((np.void, rows.shape[1]))).ravel())
    return kinds.view(np.uint8).reshape(-1, rows.shape[1])


def fewest(rows: NDArray[np.uint8], samples: int, start: Chosen, seconds: float = 60.0) -> Chosen:
    """Return the fewest samples that expose every fault that some sample exposes, or the best known and what is proved.

    Args:
        rows: uint8 [F, ⌈N / 8⌉].
        samples: N.
        start: samples that expose all, such as :func:`greedy` finds.
        seconds: how long it may take, about.
    """
    until = monotonic() + seconds
    whole = unpacked(collapsed(rows), samples)
    sizes = whole.sum(axis=1)
    order = np.argsort(sizes, kind="stable")
    work = list(order[:_FIRST])
    best, least = start.samples, start.least
    while least < len(best):
        found, bound, exact = _least(whole[np.array(work, np.int64)], until - monotonic())
        least = max(least, bound)
        if found is None:
            break
        left = np.flatnonzero(~whole[:, list(found)].any(axis=1))
        if not left.size:
            best = found if len(found) < len(best) else best
            if exact:
                break
        repaired = _completed(whole, found, left)
        best = repaired if len(repaired) < len(best) else best
        if monotonic() > until or not left.size:
            break
        work += list(left[np.argsort(sizes[left], kind="stable")][:_MORE])
    if best == start.samples:
        return Chosen(best, start.exposed, least, None, least == len(best))
    columns = columns_of(rows, samples)
    ranked = greedy(columns[list(best)], len(rows)).samples  # those that expose most come first
    best = tuple(best[at] for at in ranked)
    exposed = tuple(int(ones(any_of(columns, best[: at + 1]))) for at in range(len(best)))
    return Chosen(best, exposed, least, None, least == len(best))


def _completed(whole: NDArray[np.bool_], found: tuple[int, ...], left: NDArray[np.int64]) -> tuple[int, ...]:
    """Return samples with those added, greedily, that expose the rows that are left."""
    more: list[int] = []
    rows = whole[left]
    while len(rows):
        more.append(int(rows.sum(axis=0).argmax()))
        rows = rows[~rows[:, more[-1]]]
    return (*found, *more)


def _least(rows: NDArray[np.bool_], seconds: float) -> tuple[tuple[int, ...] | None, int, bool]:
    """Return the fewest samples that expose some rows, a bound of their number, and whether it is proved; None: nothing was found in the time."""
    kept, columns, taken = reduced(rows)
    if not len(kept):
        return taken, len(taken), True
    if seconds <= 0:
        return None, len(taken) + 1, False
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    matrix = sparse.csr_array(rows[np.ix_(kept, columns)].astype(float))
    done = milp(
        np.ones(len(columns)),
        constraints=LinearConstraint(matrix, lb=1),
        integrality=np.ones(len(columns)),
        bounds=Bounds(0, 1),
        options={"time_limit": seconds},
    )
    bound = 1 if done.mip_dual_bound is None or not math.isfinite(done.mip_dual_bound) else math.ceil(done.mip_dual_bound - 1e-6)
    if done.x is None:
        return None, len(taken) + bound, False
    found = (*taken, *(int(columns[at]) for at in np.flatnonzero(done.x > 0.5)))
    return found, len(taken) + bound, len(found) <= len(taken) + bound


def reduced(rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, ...]]:
    """Take out of a cover what decides nothing, or is decided.

    A row that another row's samples are among is exposed with that one; a sample whose rows are among another's is needless; the only sample of a row is
    taken, with all that it exposes.

    Args:
        rows: bool [R, N], each with at least one sample.

    Returns:
        int64 numbers of the rows that are left, of the samples that are left, and the samples that are taken.
    """
    kept, columns = np.arange(len(rows)), np.flatnonzero(rows.any(axis=0))
    taken: list[int] = []
    while len(kept):
        own = rows[np.ix_(kept, columns)]
        keep = ~_holds_another(own)
        drop = _holds_another(~own[keep].T)
        done = len(kept), len(columns)
        kept, columns = kept[keep], columns[~drop]
        own = rows[np.ix_(kept, columns)]
        single = own.sum(axis=1) == 1
        if single.any():
            sure = np.unique(own[single].argmax(axis=1))
            taken += [int(columns[at]) for at in sure]
            kept = kept[~own[:, sure].any(axis=1)]
            columns = np.delete(columns, sure)
        if (len(kept), len(columns)) == done:
            break
    return kept.astype(np.int64), columns.astype(np.int64), tuple(taken)


def _holds_another(sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which sets, bool [S, E], hold another one whole; of equal ones all but the first."""
    own = sets.astype(np.float32)
    size = own.sum(axis=1)
    needless = np.zeros(len(sets), bool)
    rank = np.arange(len(sets))
    for start in range(0, len(sets), 1024):
        common = own[start : start + 1024] @ own.T
        mine = rank[start : start + 1024, None]
        within = (common == size[None]) & ((size[start : start + 1024, None] > size[None]) | (rank[None] < mine))
        within &= mine != rank[None]
        needless[start : start + 1024] = within.any(axis=1)
    return needless
