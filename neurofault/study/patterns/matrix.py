"""Which samples expose which faults, as bits: one row a fault, one bit a sample.

What the incremental engine follows is followed from one healthy run, in batches, so that memory holds the bits and one batch; other faults run once each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage, Edit
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import edit_rows
from neurofault.engines.incremental.golden import FaultBatch, Golden, effects, follow_faults, golden
from neurofault.engines.incremental.limits import not_followed, refusal
from neurofault.errors import StalledError
from neurofault.inputs import Inputs
from neurofault.study.atlas_follow import able, rows_of
from neurofault.study.patterns.fault_list import FaultList
from neurofault.study.patterns.seen import Observe, seen, seen_of

Told = Callable[[int, int], None]
"""Called as ``told(faults done, all)``."""

_BATCH = 1 << 15
_BATCH_BYTES = 64 << 20


def row_bytes(samples: int) -> int:
    """Return the bytes of a row of bits."""
    return -(-samples // 8)


def unpacked(rows: NDArray[np.uint8], samples: int) -> NDArray[np.bool_]:
    """Return rows of bits, uint8 [F, ⌈N / 8⌉], as bool [F, N]."""
    return np.unpackbits(rows, axis=-1, count=samples).astype(bool)


@dataclass(frozen=True, eq=False)
class ExposedRows:
    """Faults that some sample exposes.

    Attributes:
        faults: int64 [k], their numbers, rising.
        bits: uint8 [k, ⌈N / 8⌉], bit s of a row: whether sample s exposes the fault (as :func:`numpy.packbits` sets them).
        samples: N.
    """

    faults: NDArray[np.int64]
    bits: NDArray[np.uint8]
    samples: int

    def __len__(self) -> int:
        return len(self.faults)


def joined(first: ExposedRows, second: ExposedRows) -> ExposedRows:
    """Return the rows of two groups of samples, those of the second behind the first's."""
    faults = np.union1d(first.faults, second.faults)
    whole = np.zeros((len(faults), first.samples + second.samples), bool)
    for rows, begin in ((first, 0), (second, first.samples)):
        whole[np.searchsorted(faults, rows.faults), begin : begin + rows.samples] = unpacked(rows.bits, rows.samples)
    return ExposedRows(faults, np.packbits(whole, axis=1), whole.shape[1])


class Prober:
    """Shows samples to a chip with each of many faults.

    Args:
        chip: healthy.
        inputs: N encoded samples.
        observe: what of the answer is seen.
        threads: worker threads; None: one for each usable core. Results do not depend on it.

    Attributes:
        healthy: int64 [N, k], what is seen of the healthy chip.
    """

    def __init__(self, chip: Deployment, inputs: Inputs, observe: Observe, threads: int | None = None) -> None:
        self._chip, self._inputs, self._observe, self._threads = chip, inputs, observe, threads
        self.activity = ExactEngine(threads).run(chip, inputs)
        self.healthy = seen_of(observe, self.activity)
        self._golden: Golden | None = None if refusal(chip) is not None else golden(chip, inputs, threads=threads)

    def __len__(self) -> int:
        return len(self._inputs)

    def exposed(self, faults: FaultList, which: NDArray[np.int64], told: Told | None = None) -> ExposedRows:
        """Return which samples expose each of some faults.

        Args:
            faults: the list.
            which: int64 [k], rising numbers of faults.
            told: called as work goes on.
        """
        found, rows = [np.empty(0, np.int64)], [np.empty((0, row_bytes(len(self))), np.uint8)]
        for own, bits in self._batches(faults, which, told, self._followed):
            some = bits.any(axis=1)
            found.append(own[some])
            rows.append(bits[some])
        order = np.argsort(numbers := np.concatenate(found), kind="stable")
        return ExposedRows(numbers[order], np.concatenate(rows)[order], len(self))

    def exposing(self, faults: FaultList, which: NDArray[np.int64], told: Told | None = None) -> NDArray[np.int64]:
        """Return how many samples expose each of some faults, int64 [k]; arguments as of :meth:`exposed`."""
        found = np.zeros(len(which), np.int64)
        for own, counts in self._batches(faults, which, told, self._counted):
            found[np.searchsorted(which, own)] = counts if counts.ndim == 1 else unpacked(counts, len(self)).sum(axis=1)
        return found

    def _batches(
        self, faults: FaultList, which: NDArray[np.int64], told: Told | None, follow: Callable[[FaultBatch], NDArray[Any]]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield numbers of faults with what ``follow`` makes of them, or, of those that are run one by one, with their bits."""
        done, each = 0, self._together()
        for part, sites in enumerate(faults.sites):
            begin, stop = np.searchsorted(which, faults.first[part : part + 2])
            own = which[begin:stop] - faults.first[part]
            followed = np.zeros(len(sites), bool)
            if self._golden is not None:
                followed[able(self._golden, sites)] = True
            fast = own[followed[own]]
            for start in range(0, len(fast), each):
                assert self._golden is not None
                window = fast[start : start + each]
                yield window + faults.first[part], follow(rows_of(self._golden, sites, window, whole=self._observe != "class"))
                done += len(window)
                if told is not None:
                    told(done, len(which))
            for site in own[~followed[own]]:
                number = site + faults.first[part]
                yield number[None], np.packbits(self.alone(faults.edits(int(number))))[None]
                done += 1
                if told is not None:
                    told(done, len(which))

    def of_edits(self, faults: Sequence[tuple[Edit, ...]]) -> NDArray[np.uint8]:
        """Return which samples expose each of some faults, given by what they do; as :meth:`exposed`."""
        rows = np.zeros((len(faults), row_bytes(len(self))), np.uint8)
        whole = self._golden
        fast = (
            []
            if whole is None
            else [at for at, edits in enumerate(faults) if not_followed(self._chip, edits, whole.flat.unfollowed) is None]
        )
        each = self._together()
        for start in range(0, len(fast), each):
            assert whole is not None
            own = fast[start : start + each]
            rows[own] = self._followed(edit_rows(whole, [faults[at] for at in own], whole=self._observe != "class"))
        for at in sorted(set(range(len(faults))) - set(fast)):
            rows[at] = np.packbits(self.alone(faults[at]))
        return rows

    def alone(self, edits: tuple[Edit, ...]) -> NDArray[np.bool_]:
        """Return which samples expose a fault, bool [N], from a whole run of the exact engine; a chip that stalls is exposed by all."""
        try:
            activity = ExactEngine(self._threads).run(self._chip.with_damage(Damage(edits)), self._inputs)
        except StalledError:
            return np.ones(len(self), bool)
        return np.asarray((seen_of(self._observe, activity) != self.healthy).any(axis=1))

    def _together(self) -> int:
        """Return how many faults are followed at a time."""
        if self._observe == "class":
            return max(1, min(_BATCH, _BATCH_BYTES // len(self)))
        neurons = sum(one.size for one in self._chip.populations)
        return max(1, _BATCH_BYTES // (8 * (len(self) * (self._chip.output.size + 1) + neurons)))

    def _counted(self, batch: FaultBatch) -> NDArray[Any]:
        """Return how many samples expose each fault, int64 [F], or, where that is not counted, which, as bits."""
        return effects(batch, threads=self._threads).changed if self._observe == "class" else self._followed(batch)

    def _followed(self, batch: FaultBatch) -> NDArray[np.uint8]:
        differs = np.zeros((len(batch), len(self)), bool)
        if self._observe == "class":
            found = effects(batch, threads=self._threads, changes=True).changes
            assert found is not None
            differs[found.faults, found.samples] = True
            return np.packbits(differs, axis=1)
        tally, _ = follow_faults(batch, None, self._threads, full=True)
        spikes = tally.sample_spikes + batch.healthy.sample_spikes
        differs[:] = (seen(self._observe, tally.scores, spikes) != self.healthy).any(axis=-1)
        return np.packbits(differs, axis=1)
