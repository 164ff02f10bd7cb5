"""Code words and ranges at work: what the chip reads of stored synapses while some of their cells and check bits are wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BrokenChecks
from neurofault.damage.codes import DETECTED, Bits, code_named
from neurofault.damage.damage import SetSynapses
from neurofault.damage.fold import SynapseFold
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import CodedWords, WeightRange
from neurofault.faults.places import weights_at
from neurofault.faults.stored_numbers import StoredNumbers


class Decoder:
    """Units that are decoded together: code words, and stored synapses that are in none.

    Args:
        deployment: the chip.
        connection: its name.
        numbers: its stored synapses.
        words: its code words; None: it has none.
        span: the range of its weights; None: none is known.
        units: int64 [u], sorted: code words, and words + the number of each stored synapse that is in none.
        edits: what is broken in the cells of these units.
        checks: broken check bits, of these units and of others.
    """

    def __init__(
        self,
        deployment: Deployment,
        connection: str,
        numbers: StoredNumbers,
        words: CodedWords | None,
        span: WeightRange | None,
        units: NDArray[np.int64],
        edits: Sequence[SetSynapses],
        checks: Sequence[BrokenChecks],
    ) -> None:
        self._own, self._words, self._span, self._edits, self._checks = (
            deployment.connection(connection),
            words,
            span,
            edits,
            checks,
        )
        n_words = 0 if words is None else len(words)
        self._units, self._coded = units, units[units < n_words]
        parts = [units[units >= n_words] - n_words]
        masks = [np.zeros(len(parts[0]), np.int64)]
        of_unit = [np.flatnonzero(units >= n_words)]
        if words is not None:
            first, last = words.starts[self._coded], words.starts[self._coded + 1]
            size = last - first
            at = np.repeat(first, size) + np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
            parts, masks = [words.sites[at], *parts], [words.masks[at], *masks]
            of_unit = [np.repeat(np.arange(len(self._coded)), size), *of_unit]
        self._sites, self._masks, self._of_unit = (np.concatenate(each).astype(np.int64) for each in (parts, masks, of_unit))
        order = np.argsort(self._sites, kind="stable")
        which, self._sources, self._targets, _ = numbers.readers(self._sites[order])
        self._reads = order[which]
        weights = weights_at(deployment, connection, self._sources, self._targets)
        self._healthy = np.zeros(len(self._sites), np.int64)
        self._healthy[self._reads] = weights
        self._fold = SynapseFold(self._own, edits)
        if len(self._fold.sources):
            own = numbers.of(self._fold.sources, self._fold.targets)
            self._pair_site = order[np.searchsorted(self._sites[order], own)]
        else:
            self._pair_site = np.empty(0, np.int64)

    def at(self, when: When, active: Collection[When], healed: Collection[When]) -> tuple[list[SetSynapses], NDArray[np.int64]]:
        """Return what the chip reads in a stretch of time, as edits, and which units read a covered bit wrong.

        Args:
            when: the stretch, as the edits are to say it.
            active: times of the faults that act in it.
            healed: times of those whose upsets a scrubbing has mended before.
        """
        bits, sign = self._own.weight_bits, self._own.sign_mode
        acting = np.array([one.when in active for one in self._edits], bool)
        stuck = np.zeros(len(self._sites), bool)
        for number, (edit, acts) in enumerate(zip(self._edits, acting, strict=True)):
            if acts and edit.keep is not None:
                stuck[self._pair_site[self._fold.place(number)]] = True
        fields = self._fields(acting)
        if healed:  # of the bits that a scrubbing reads
            kept = self._fields(acting & np.array([one.keep is not None or one.when not in healed for one in self._edits], bool))
            fields = (fields & ~self._masks) | (kept & self._masks)
        muted = self._corrected(fields, active, healed)
        read = np.where(muted, 0, from_field(fields, bits, sign)).astype(np.int64)
        if self._span is not None and len(self._reads):
            inside = read.copy()
            inside[self._reads] = self._span.admit(read[self._reads], self._sources, self._targets)
            muted |= inside != read
            read = inside
        wrong = read != self._healthy
        hard = np.isin(self._of_unit, self._of_unit[stuck])
        edits = [
            self._edit(when, wrong & hard & ~muted, read, "stuck"),
            self._edit(when, wrong & hard & muted, read, "held"),
            self._edit(when, wrong & ~hard & ~muted, read, "flips"),
            self._edit(when, wrong & ~hard & muted, read, "stored"),
        ]
        covered = np.where(self._masks == 0, -1, self._masks)
        bad = ((to_field(read, bits, sign) ^ to_field(self._healthy, bits, sign)) & covered) != 0
        return [edit for edit in edits if len(edit.sources)], self._units[np.unique(self._of_unit[bad])]

    def _fields(self, acting: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return int64 [sites]: what the cells hold while some of the edits act."""
        stored = self._healthy.copy()
        if acting.any():
            stored[self._pair_site] = self._fold.at(acting, cells=True).weights
        return to_field(stored, self._own.weight_bits, self._own.sign_mode)

    def _corrected(self, fields: NDArray[np.int64], active: Collection[When], healed: Collection[When]) -> NDArray[np.bool_]:
        """Decode all words, in place, and return which of the stored synapses read 0 since their word is known to be wrong."""
        muted = np.zeros(len(self._sites), bool)
        words = self._words
        if words is None or not len(self._coded):
            return muted
        width = self._own.weight_bits
        place, bit = np.nonzero(self._masks[:, None] >> np.arange(width) & 1)
        unit = self._of_unit[place]
        healthy = to_field(self._healthy, width, self._own.sign_mode)
        sizes = words.data_bits[self._coded]
        for size in np.unique(sizes):
            own = np.flatnonzero(sizes == size)
            rows = np.isin(unit, own)
            code = code_named(words.code, int(size))
            stored, right = (
                ((each[place[rows]] >> bit[rows]) & 1).astype(np.uint8).reshape(-1, size) for each in (fields, healthy)
            )
            checks = code.encode(right)
            self._break(checks, self._coded[own], active, healed)
            decoded, said = code.decode(stored, checks)
            change = (decoded ^ stored).reshape(-1).astype(np.int64) << bit[rows]
            np.bitwise_xor.at(fields, place[rows], change)
            if words.seen == "mute":
                muted |= np.isin(self._of_unit, own[said == DETECTED])
        return muted

    def _break(self, checks: Bits, words: NDArray[np.int64], active: Collection[When], healed: Collection[When]) -> None:
        """Put what is wrong into the check bits of words, in place; upsets first, then what is stuck."""
        for hard in (False, True):
            for place in self._checks:
                if place.when not in active or (place.level >= 0) != hard or (not hard and place.when in healed):
                    continue
                listed, bits = np.array(place.words, np.int64), np.array(place.bits, np.int64)
                here = np.isin(listed, words)
                row, column = np.searchsorted(words, listed[here]), bits[here]
                if hard:
                    checks[row, column] = place.level
                else:
                    np.bitwise_xor.at(checks, (row, column), 1)

    def _edit(self, when: When, sites: NDArray[np.bool_], read: NDArray[np.int64], how: str) -> SetSynapses:
        """Return an edit of all synapses that read some stored ones.

        ``stuck``, ``flips``: of the bits that are wrong; ``held``, ``stored``: of the whole field, whether a write changes it or not.
        """
        mine = sites[self._reads]
        at = self._reads[mine]
        bits, sign = self._own.weight_bits, self._own.sign_mode
        after, before = (to_field(each[at], bits, sign).astype(np.int32) for each in (read, self._healthy))
        whole, values = (1 << bits) - 1, read[at].astype(np.int32)
        edit = SetSynapses(self._own.name, self._sources[mine], self._targets[mine], values, when)
        return SetSynapses(**{**vars(edit), **_how(how, after, before, whole)})


def _how(how: str, after: NDArray[np.int32], before: NDArray[np.int32], whole: int) -> dict[str, NDArray[np.int32]]:
    wrong = (after ^ before).astype(np.int32)
    match how:
        case "stuck":
            return {"keep": (whole & ~wrong).astype(np.int32), "force": (after & wrong).astype(np.int32)}
        case "held":
            return {"keep": np.zeros_like(after), "force": after}
        case "flips":
            return {"flips": wrong}
        case _:
            return {}
