"""Which fault is it? A dictionary of what a chip with each single fault (or pair of dead cores) answers to a test, and suspects by how near they are.

Faults that give the same answers to every sample of the test are one class: no answer to this test tells them apart. The one whose answers are those of the
healthy chip is called that, whatever is broken.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE
from neurofault.brief import brief
from neurofault.damage.damage import Damage, Edit
from neurofault.deploy.deployment import Deployment
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import UsageError
from neurofault.progress import Progress, silent
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.patterns.apply import check_chip, compared
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.patterns.pattern_set import PatternSet
from neurofault.study.patterns.seen import seen_of
from neurofault.study.statistics import Interval, wilson

HEALTHY = "healthy"
_MOST_NUMBERS = 1 << 27
_TOGETHER = 256


@dataclass(frozen=True, eq=False)
class FaultDictionary:
    """What is answered to a test.

    Attributes:
        patterns: the test.
        classes: faults that give the same answers, in words; the first class holds ``healthy``, alone or with faults that the test does not expose.
        answers: int64 [C, K, k], what is seen of each class.
    """

    patterns: PatternSet
    classes: tuple[tuple[str, ...], ...]
    answers: NDArray[np.int64]

    __repr__ = brief

    def class_of(self, fault: str) -> int:
        """Return the number of the class that a fault is in (UsageError: it is in none)."""
        for number, names in enumerate(self.classes):
            if fault in names:
                return number
        raise UsageError(f"the dictionary has no fault {fault!r}")


@dataclass(frozen=True)
class Suspect:
    """A class of faults and how far its answers lie from those that were given.

    Attributes:
        faults: in words.
        distance: sum over samples of how far what is seen differs: of classes 1 where it does, of numbers their difference, of an output that is dead on
            one side only more than any; 0: the very answers.
    """

    faults: tuple[str, ...]
    distance: float


@dataclass(frozen=True)
class Naming:
    """How often the dead cores are named, over keyed draws.

    Attributes:
        cores: how many cores die in a draw.
        draws: how many draws.
        named: draws in which the first suspect is all that died, as a class of at most two; its share with Wilson's interval.
        part: draws in which the first suspect, as a class of at most two, names cores that died and no other.
        shown: draws that the test exposes at all.
    """

    cores: int
    draws: int
    named: Interval
    part: Interval
    shown: int


def fault_dictionary(
    chip: Deployment,
    patterns: PatternSet,
    faults: Sequence[str] = ("core_dead", "neuron_dead"),
    *,
    pairs: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> FaultDictionary:
    """Work out what a chip with each single fault answers to a test.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]]]), (1, 4, 1)))
    >>> patterns = nf.choose_patterns(chip, shown, faults=["neuron_dead"], observe="counts", aim="detectable").patterns
    >>> fault_dictionary(chip, patterns, ["neuron_dead"]).classes[1]
    ('neuron_dead eyes 0 (core 0)', 'neuron_dead hands 0 (core 1)')

    Args:
        chip: healthy, the one that the test was made for.
        patterns: the test.
        faults: kinds of single faults, as of :func:`neurofault.choose_patterns`.
        pairs: whether every pair of dead cores is in it, too.
        threads: worker threads; None: one for each usable core.
        progress: called as work goes on.

    Raises:
        UsageError: the test is of another chip, no such kind, or more answers than fit (2²⁷ numbers).
    """
    check_chip(patterns, chip)
    listed = single_faults(chip, faults)
    names = [listed.says(at) for at in range(len(listed))]
    edits = [listed.edits(at) for at in range(len(listed))]
    if pairs:
        cores = single_faults(chip, ["core_dead"])
        for one, two in itertools.combinations(range(len(cores)), 2):
            names.append(f"{cores.says(one)} and {cores.says(two).removeprefix('core_dead ')}")
            edits.append((*cores.edits(one), *cores.edits(two)))
    healthy = patterns.answers
    if len(names) * healthy.size > _MOST_NUMBERS:
        raise UsageError(
            f"a dictionary of {len(names):,} faults × {healthy.size:,} numbers is too large (allowed: {_MOST_NUMBERS:,} in all); fewer samples, or fewer kinds"
        )
    answers = [healthy[None]]
    engine = IncrementalEngine(threads)
    for start in range(0, len(edits), _TOGETHER):
        broken = [chip.with_damage(Damage(own)) for own in edits[start : start + _TOGETHER]]
        answers.append(np.stack([seen_of(patterns.observe, activity) for activity in engine.run_many(broken, patterns.inputs)]))
        progress("dictionary", min(start + _TOGETHER, len(edits)), len(edits), "")
    return _classes(patterns, [HEALTHY, *names], np.concatenate(answers))


def _classes(patterns: PatternSet, names: list[str], answers: NDArray[np.int64]) -> FaultDictionary:
    """Put faults of equal answers together, in the order of the first of each."""
    place: dict[bytes, int] = {}
    members: list[list[str]] = []
    first = []
    for at, name in enumerate(names):
        number = place.setdefault(answers[at].tobytes(), len(members))
        if number == len(members):
            members.append([])
            first.append(at)
        members[number].append(name)
    return FaultDictionary(patterns, tuple(map(tuple, members)), answers[first])


def diagnose(dictionary: FaultDictionary, answers: NDArray[np.int64], most: int = 10) -> list[Suspect]:
    """Rank what may be broken, the nearest first.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]]]), (1, 4, 1)))
    >>> patterns = nf.choose_patterns(chip, shown, faults=["neuron_dead"], observe="counts", aim="detectable").patterns
    >>> diagnose(nf.fault_dictionary(chip, patterns), patterns.answers)[0].faults
    ('healthy',)

    Args:
        dictionary: what each fault answers.
        answers: int64 [K, k], what was seen ([K] where k is 1).
        most: how many classes to return, at least 1.

    Raises:
        UsageError: answers of another shape, or a number out of range.
    """
    if most < 1:
        raise UsageError(f"most must be at least 1, is {most}")
    seen = compared(dictionary.patterns, answers).answers
    assert seen is not None
    far = _distances(dictionary, seen)
    return [Suspect(dictionary.classes[at], float(far[at])) for at in np.argsort(far, kind="stable")[:most].tolist()]


def _distances(dictionary: FaultDictionary, seen: NDArray[np.int64]) -> NDArray[np.float64]:
    known = dictionary.answers
    if dictionary.patterns.observe == "class":
        return np.asarray((known != seen).sum(axis=(1, 2)), np.float64)
    dead, other = known == DEAD_SCORE, seen == DEAD_SCORE
    live = known[~dead]
    apart = 1.0 + 2.0 * float(np.abs(live).max(initial=0))
    far = np.abs(np.where(dead, 0, known).astype(np.float64) - np.where(other, 0, seen).astype(np.float64))
    far = np.where(dead & other, 0.0, np.where(dead ^ other, apart, far))
    return np.asarray(far.sum(axis=(1, 2)), np.float64)


def naming(
    chip: Deployment, dictionary: FaultDictionary, cores: int, draws: int = 200, seed: int = 1, threads: int | None = None
) -> Naming:
    """Let cores die at random and ask the dictionary which.

    Args:
        chip: healthy.
        dictionary: of single dead cores at least.
        cores: how many die in a draw, 1 or 2.
        draws: how many draws, at least 1.
        seed: key of the draws; draw d is the same however many are drawn.
        threads: worker threads; None: one for each usable core.

    Raises:
        UsageError: a number out of range.
    """
    if cores not in (1, 2):
        raise UsageError(f"cores must be 1 or 2, is {cores}")
    if draws < 1:
        raise UsageError(f"draws must be at least 1, is {draws}")
    listed = single_faults(chip, ["core_dead"])
    died = [
        sorted(permutation_prefix(stream_key(seed, "diagnose", draw), len(listed), min(cores, len(listed))).tolist())
        for draw in range(draws)
    ]
    edits: list[tuple[Edit, ...]] = [tuple(edit for core in own for edit in listed.edits(core)) for own in died]
    patterns, whole, part, shown = dictionary.patterns, 0, 0, 0
    ids = listed.column("core").tolist()
    for activity, own in zip(
        IncrementalEngine(threads).run_many([chip.with_damage(Damage(one)) for one in edits], patterns.inputs), died, strict=True
    ):
        seen = seen_of(patterns.observe, activity)
        shown += not np.array_equal(seen, patterns.answers)
        suspect = diagnose(dictionary, seen, 1)[0].faults
        true = [f"core {ids[core]}" for core in own]
        all_died = "core_dead " + " and ".join(true)
        small = len(suspect) <= 2
        whole += small and all_died in suspect
        part += small and (all_died in suspect or any(f"core_dead {name}" in suspect for name in true))
    return Naming(cores, draws, wilson(whole, draws), wilson(part, draws), shown)
