"""Test patterns: the fewest samples that expose the single faults that matter, and what they are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.deploy.cost import Cost, cost
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Presented, as_inputs
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError, nearest
from neurofault.graph.network import samples_apart
from neurofault.inputs import Inputs
from neurofault.numerals import plural, whole_number
from neurofault.progress import Progress, silent
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.patterns.candidates import candidates as narrow
from neurofault.study.patterns.cover import Chosen, any_of, columns_of, fewest, greedy
from neurofault.study.patterns.doubles import Doubles, doubles
from neurofault.study.patterns.fault_list import FaultList, single_faults
from neurofault.study.patterns.made import joined_inputs, made_inputs
from neurofault.study.patterns.masked import WHYS, why_hidden
from neurofault.study.patterns.matrix import ExposedRows, Prober, Told, joined, unpacked
from neurofault.study.patterns.pattern_set import PatternSet, chip_digest
from neurofault.study.patterns.seen import Observe, observation
from neurofault.study.statistics import Interval, wilson

Aim = Literal["critical", "detectable"]
AIMS: tuple[Aim, ...] = ("critical", "detectable")
HELD_OUT = 0.2
"""Share of the faults by which no sample is chosen, when it is asked how well a choice does on faults that it has not seen."""
_CHECKED = 100


@dataclass(frozen=True, eq=False)
class ChosenPatterns:
    """A test and what it is worth.

    Attributes:
        patterns: the test itself.
        aim: which faults matter: ``critical`` or ``detectable``.
        faults: every single fault.
        harm: int64 [F], how many reference samples change class by each (aim ``critical``; else zeros).
        matters: bool [F], which of them matter: critical, they change the class of some reference sample; detectable, some candidate exposes them.
        reached: bool [F], those that matter and that some candidate exposes.
        exposed: bool [F], those that the test exposes, of all.
        choice: the samples among the candidates, and what is proved of their number.
        greedy: how many samples greedy choice takes.
        held_out: bool [F], faults that matter and are reached, by which another test was chosen not; and
        unseen: bool [F], those of them that the other one exposes.
        doubles: unseen pairs of faults; None: not asked for, or no reference.
        why: int64 of the faults that are not exposed by any candidate (or of all, by the test), places in :data:`neurofault.study.patterns.masked.WHYS`; −1: of the others.
        candidates, reference: numbers of samples; of the candidates
        made: so many are inputs that were made.
        checked: how many faults the exact engine ran again on the test's samples, alone, with the same result.
        cost: of one of the test's samples on the healthy chip, a mean.
    """

    patterns: PatternSet
    aim: Aim
    faults: FaultList
    harm: NDArray[np.int64]
    matters: NDArray[np.bool_]
    reached: NDArray[np.bool_]
    exposed: NDArray[np.bool_]
    choice: Chosen
    greedy: int
    held_out: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    doubles: Doubles | None
    why: NDArray[np.int64]
    candidates: int
    reference: int
    made: int
    checked: int
    cost: Cost

    __repr__ = brief

    @property
    def coverage(self) -> float:
        """Share of the faults that matter and are reached that the test exposes."""
        return int((self.exposed & self.reached).sum()) / int(self.reached.sum())

    @property
    def unseen_coverage(self) -> Interval | None:
        """The same, of faults that another test was not chosen by, with Wilson's interval; None where too few matter."""
        number = int(self.held_out.sum())
        return wilson(int(self.unseen.sum()), number) if number else None


def choose_patterns(
    chip: Deployment,
    candidates: Inputs | Presented | Mapping[str, Presented],
    reference: Inputs | Presented | Mapping[str, Presented] | None = None,
    *,
    faults: Sequence[str] = ("synapse_dead", "neuron_dead", "core_dead"),
    observe: str = "class",
    aim: str = "critical",
    critical: int = 1,
    size: int | None = None,
    coverage: float | None = None,
    most: int = 1000,
    made: int = 0,
    layer: str = "any",
    draws: int = 200,
    check: int | None = _CHECKED,
    seconds: float = 60.0,
    seed: int = 1,
    data: str = "candidates",
    indices: NDArray[np.integer] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> ChosenPatterns:
    """Choose the fewest samples that expose the single faults of a chip that matter.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]], [[0, 0]]]), (1, 4, 1)))
    >>> made = choose_patterns(chip, shown, faults=["synapse_dead"])
    >>> made.patterns.indices.tolist(), made.choice.exact, made.coverage
    ([1], True, 1.0)

    Args:
        chip: healthy.
        candidates: samples to choose from, N of them, as :func:`neurofault.run` takes them; no samples that results are reported on.
        reference: samples by which a fault is critical; None: the candidates.
        faults: kinds of single faults, of :data:`neurofault.study.atlas_sites.KINDS`.
        observe: what of an answer is seen (:mod:`neurofault.study.patterns.seen`).
        aim: ``critical``: faults that change the class of reference samples; ``detectable``: all that any candidate exposes.
        critical: of how many reference samples a critical fault changes the class, at least 1.
        size: most samples; None: as many as it takes.
        coverage: share of the faults that matter and that some candidate exposes, above 0 to 1; None: all, or as many as ``size`` samples expose.
        most: candidates that are tried, at least 1; of more, :func:`neurofault.study.patterns.candidates.candidates` takes these. For critical faults that they do not
            expose the others are searched, and the fewest added.
        made: most inputs that are made for faults that no sample exposes (:mod:`neurofault.study.patterns.made`), at least 0; in ``indices`` of the test the first of
            them is −1, the second −2.
        layer: as of :func:`neurofault.study.atlas_sites.all_sites`.
        draws: pairs of faults that are drawn to see how the test does on them, at least 0.
        check: how many faults the exact engine runs again, one by one, to compare every claim; None: all.
        seconds: how long the search for the minimum may take, about.
        seed: key of what is drawn: pairs, held-out faults, faults that are checked.
        data: where the candidates are from, in words, for the file.
        indices: int [N], where each candidate stands there; None: counted from 0.
        threads: worker threads; None: one for each usable core.
        progress: called as work goes on.

    Raises:
        UsageError: nothing to expose; too small a size for the coverage; no such kind, observation or aim; a number out of range.
        UnsupportedError: the samples are one stream.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    wanted = next((each for each in AIMS if each == aim), None)
    if wanted is None:
        raise UsageError(f"no aim {aim!r}{nearest(aim, AIMS)}; there are: {', '.join(AIMS)}")
    _check(chip, {"size": size, "candidates": most, "critical": critical}, {"draws": draws, "check": check, "made": made}, coverage)
    sees = observation(chip, observe)
    listed = single_faults(chip, faults, layer)
    pool = as_inputs(chip, candidates)
    if indices is not None and np.shape(indices) != (len(pool),):
        raise UsageError(f"indices have the shape {np.shape(indices)}, but there are {plural(len(pool), 'candidate')}")
    own = narrow(ExactEngine(threads).run(chip, pool).scores, most)
    tried, by = pool.take(own), as_inputs(chip, candidates if reference is None else reference)
    every = np.arange(len(listed))
    judge = Prober(chip, by, "class", threads)
    kinds = " and ".join(listed.kinds)
    tester = Prober(chip, tried, sees, threads)
    harm = (
        judge.exposing(listed, every, _told(progress, "critical faults"))
        if wanted == "critical"
        else np.zeros(len(listed), np.int64)
    )
    matters = harm >= critical
    if wanted == "critical" and not matters.any():
        raise UsageError(
            f"nothing to expose: none of {plural(len(listed), 'single fault')} ({kinds}) changes the class of {critical:,} or more of {plural(len(by), 'reference sample')}; "
            "aim detectable takes all faults that show in what is observed"
        )
    rows = tester.exposed(listed, np.flatnonzero(matters) if wanted == "critical" else every, _told(progress, "exposed faults"))
    if wanted == "critical":
        more, own = _searched(chip, pool, own, sees, listed, np.flatnonzero(matters), rows, threads, progress)
        rows, tried = more, pool.take(own)
    places = own if indices is None else np.asarray(indices, np.int64)[own]
    fired = dict(tester.activity.spike_counts)
    which = np.flatnonzero(matters) if wanted == "critical" else every
    extra = None
    if made:
        left = np.setdiff1d(which, rows.faults)
        left = left[why_hidden(chip, listed, left, fired) != WHYS.index("nothing changes")]
        extra = made_inputs(chip, tried, listed, left, sees, made, seed, threads, progress)
    if extra is not None:
        more_seen = Prober(chip, extra, sees, threads)
        rows = joined(rows, more_seen.exposed(listed, which, _told(progress, "made inputs")))
        tried, places = joined_inputs(tried, extra), np.concatenate([places, -1 - np.arange(len(extra))])
        fired = {name: fired[name] + more_seen.activity.spike_counts[name] for name in fired}
    if wanted == "detectable":
        matters = _flags(rows.faults, len(listed))
    if not len(rows):
        raise UsageError(
            f"nothing detectable: none of the {plural(len(tried), 'candidate')} exposes any of {plural(int(matters.sum()) or len(listed), 'single fault')} ({kinds}) by {sees}; "
            "more candidates, or an observation that sees more"
        )
    choice, greedily = _chosen(rows, size, coverage, seconds)
    samples = np.array(choice.samples, np.int64)
    shown = tried.take(samples)
    applied = Prober(chip, shown, sees, threads)
    found = applied.exposed(listed, every, _told(progress, "all faults"))
    _verify(choice, rows, found)
    held_out, unseen = _held_out(rows, len(listed), size, coverage, seed)
    checked = _checked(applied, listed, found, check, seed, progress)
    exposed, reached = _flags(found.faults, len(listed)), _flags(rows.faults, len(listed))
    hidden = np.flatnonzero(~exposed & (~reached if wanted == "detectable" else ~reached & matters))
    why = np.full(len(listed), -1, np.int64)
    if wanted == "critical":
        fired = {name: fired[name] + judge.activity.spike_counts[name] for name in fired}
    why[hidden] = why_hidden(chip, listed, hidden, fired)
    patterns = PatternSet(
        chip.name, chip_digest(chip), sees, listed.kinds, data, chip.timesteps, shown, places[samples], applied.activity.scores, applied.activity.sample_spikes,
        tuple(map(int, choice.exposed)), len(rows),
    )  # fmt: skip
    twice = doubles(chip, listed, shown, judge, sees, draws, seed, threads, critical) if draws else None
    return ChosenPatterns(
        patterns, wanted, listed, harm, matters, reached, exposed, choice, greedily, held_out, unseen, twice, why, len(tried), len(by), len(tried) - len(own), checked,
        cost(chip, applied.activity, len(samples)),
    )  # fmt: skip


def _check(chip: Deployment, from_1: Mapping[str, int | None], from_0: Mapping[str, int | None], coverage: float | None) -> None:
    samples_apart(chip, "a test")
    if chip.damage.edits:
        raise UsageError(
            f"a test is made on a healthy chip; this one is damaged already ({plural(len(chip.damage.edits), 'edit')})"
        )
    for least, numbers in ((1, from_1), (0, from_0)):
        for name, number in numbers.items():
            if number is not None and number < least:
                raise UsageError(f"{name} must be at least {least}, is {number}")
    if coverage is not None and not 0 < coverage <= 1:
        raise UsageError(f"coverage must be above 0 and at most 1, is {coverage}")


def _searched(
    chip: Deployment, pool: Inputs, own: NDArray[np.int64], sees: Observe, faults: FaultList, matter: NDArray[np.int64], rows: ExposedRows, threads: int | None,
    progress: Progress,
) -> tuple[ExposedRows, NDArray[np.int64]]:  # fmt: skip
    """Search all samples for faults that no candidate exposes; return rows and candidates with the fewest added, as greedy choice has them."""
    left, others = np.setdiff1d(matter, rows.faults), np.setdiff1d(np.arange(len(pool)), own)
    if not len(left) or not len(others):
        return rows, own
    found = Prober(chip, pool.take(others), sees, threads).exposed(faults, left, _told(progress, "faults that candidates leave"))
    added = greedy(columns_of(found.bits, found.samples), len(found)).samples
    if not added:
        return rows, own
    new = others[np.sort(np.array(added, np.int64))]
    more = Prober(chip, pool.take(new), sees, threads).exposed(faults, matter, _told(progress, "samples added"))
    return joined(rows, more), np.concatenate([own, new])


def _told(progress: Progress, stage: str) -> Told:
    return lambda done, total: progress(stage, done, total, "")


def _flags(which: NDArray[np.int64], number: int) -> NDArray[np.bool_]:
    found = np.zeros(number, bool)
    found[which] = True
    return found


def _chosen(rows: ExposedRows, size: int | None, coverage: float | None, seconds: float) -> tuple[Chosen, int]:
    """Return the samples, and how many greedy choice takes."""
    columns = columns_of(rows.bits, rows.samples)
    enough = len(rows) if coverage is None else math.ceil(coverage * len(rows) - 1e-9)
    first = greedy(columns, enough, None if coverage is not None else size)
    best = first
    if enough == len(rows) and first.exposed[-1] == enough:
        best = fewest(rows.bits, rows.samples, first, seconds)
    if size is not None and len(best.samples) > size:
        proved = (
            "the fewest that do"
            if best.exact
            else f"no fewer than {best.least} do (proved), the best choice found takes {len(best.samples)}"
        )
        needed = f"{len(best.samples)} samples are needed, {proved}" if best.exact else proved
        raise UsageError(
            f"size {size} is too small to expose {100 * (coverage or 1):g} % of {plural(len(rows), 'fault')}: {needed}"
        )
    return replace(best, most=first.most), len(first.samples)


def _verify(choice: Chosen, rows: ExposedRows, found: ExposedRows) -> None:
    """Make sure that the chosen samples, shown on their own, expose what the matrix says."""
    columns = columns_of(rows.bits, rows.samples)
    claimed = rows.faults[unpacked(any_of(columns, choice.samples), len(rows))]
    if not np.isin(claimed, found.faults).all():
        raise AssertionError("a fault that the matrix exposes is not exposed by the samples alone")


def _held_out(
    rows: ExposedRows, number: int, size: int | None, coverage: float | None, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which faults another choice did not see, and which of these it exposes, bool [F] each."""
    out = permutation_prefix(stream_key(seed, "testset", "held out"), len(rows), int(HELD_OUT * len(rows)))
    if not len(out):
        return np.zeros(number, bool), np.zeros(number, bool)
    kept = np.setdiff1d(np.arange(len(rows)), out)
    enough = len(kept) if coverage is None else math.ceil(coverage * len(kept) - 1e-9)
    other = greedy(columns_of(rows.bits[kept], rows.samples), enough, size)
    shows = unpacked(any_of(columns_of(rows.bits[out], rows.samples), other.samples), len(out))
    return _flags(rows.faults[out], number), _flags(rows.faults[out[shows]], number)


def _checked(tester: Prober, faults: FaultList, found: ExposedRows, check: int | None, seed: int, progress: Progress) -> int:
    """Run faults alone on the exact engine and compare which samples expose them; return how many were compared.

    Half of a sample are faults that the test exposes, half are any.
    """
    if check is None:
        which = np.arange(len(faults), dtype=np.int64)
    else:
        key = stream_key(seed, "testset", "check")
        known = found.faults[permutation_prefix(key, len(found), min(len(found), -(-check // 2)))] if len(found) else found.faults
        others = permutation_prefix(key, len(faults), min(len(faults), check))
        which = np.unique(np.concatenate([known, others])[:check])
    place = np.searchsorted(found.faults, which)
    for done, (fault, at) in enumerate(zip(which.tolist(), place.tolist(), strict=True)):
        claimed = np.zeros(len(tester), bool)
        if at < len(found) and found.faults[at] == fault:
            claimed = unpacked(found.bits[at], len(tester))
        if not np.array_equal(claimed, tester.alone(faults.edits(fault))):
            raise AssertionError(f"the exact engine says otherwise of {faults.says(fault)}")
        progress("checking", done + 1, len(which), "")
    return len(which)
