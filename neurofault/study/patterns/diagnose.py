"""Which fault is it? A dictionary of what a chip with each single fault (or pair of dead cores) answers to a test, and suspects by how near they are.

Faults that give the same answers to every sample of the test are one class: no answer to this test tells them apart. The one whose answers are those of the
healthy chip is called that, whatever is broken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE, Activity
from neurofault.brief import brief
from neurofault.damage.damage import Damage, Edit
from neurofault.deploy.deployment import Deployment
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural, whole_number
from neurofault.progress import Progress, silent
from neurofault.rescue.detection import Accused, Suspicion
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.patterns.apply import check_chip, compared
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.patterns.pattern_set import PatternSet
from neurofault.study.patterns.seen import seen_of
from neurofault.study.patterns.suspects import Suspects, suspects
from neurofault.study.statistics import Interval, wilson

HEALTHY = "healthy"
MOST_FAULTS = 200_000
"""Single faults and pairs that a dictionary takes unless told otherwise: each is run over the whole test."""
_MOST_NUMBERS = 1 << 27
_TOGETHER = 256
_NAMED = 20
"""Classes of suspects that a repair is told of."""


@dataclass(frozen=True, eq=False)
class FaultDictionary:
    """What is answered to a test. It is a :class:`neurofault.rescue.detection.Tester`: a repair that nobody tells what is broken asks it.

    Attributes:
        patterns: the test.
        classes: faults that give the same answers, in words; the first class holds ``healthy``, alone or with faults that the test does not expose.
        answers: int64 [C, K, k], what is seen of each class.
        cores: of each fault of each class the cores that a repair would have to leave; none where leaving a core mends nothing.
        core_of: population → [n], the placement that these cores are of.
    """

    patterns: PatternSet
    classes: tuple[tuple[str, ...], ...]
    answers: NDArray[np.int64]
    cores: tuple[tuple[tuple[int, ...], ...], ...]
    core_of: Mapping[str, NDArray[np.integer]] = field(repr=False)

    @property
    def inputs(self) -> Inputs:
        """The samples of the test."""
        return self.patterns.inputs

    @property
    def numbers(self) -> int:
        """How many numbers are seen of each sample."""
        return int(self.answers.shape[2])

    @property
    def faults(self) -> int:
        """How many faults it knows."""
        return sum(map(len, self.classes)) - 1

    __repr__ = brief

    def class_of(self, fault: str) -> int:
        """Return the number of the class that a fault is in (UsageError: it is in none)."""
        for number, names in enumerate(self.classes):
            if fault in names:
                return number
        raise UsageError(f"the dictionary has no fault {fault!r}")

    def check(self, chip: Deployment) -> None:
        """Refuse a chip that the test is not for.

        Raises:
            UsageError: the chip holds other integers.
        """
        check_chip(self.patterns, chip)

    def hear(self, activity: Activity | None) -> Suspicion:
        """Say whether answers are the healthy ones, how far they are from them, and which classes are nearest to them; None: the chip stalls."""
        if activity is None:
            return Suspicion(False, float("inf"), ())
        far = _distances(self, seen_of(self.patterns.observe, activity))
        if not far[0]:
            return Suspicion(True, 0.0, ())
        nearest = [at for at in np.argsort(far, kind="stable")[: _NAMED + 1].tolist() if at][:_NAMED]
        named = tuple(tuple(map(Accused, self.classes[at], self.cores[at])) for at in nearest)
        return Suspicion(False, float(far[0]), named)


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
    layer: str = "any",
    most: int = MOST_FAULTS,
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
        faults: kinds of single faults, of :data:`neurofault.study.patterns.suspects.SUSPECTED`.
        pairs: whether every pair of dead cores is in it, too.
        layer: whose single faults, the name of a population; ``any``: of all.
        most: faults and pairs that it may hold, at least 1; each is run over the whole test.
        threads: worker threads; None: one for each usable core.
        progress: called as work goes on.

    Raises:
        UsageError: the test is of another chip; no such kind or layer; more faults than ``most``, or more different answers than fit (2²⁷ numbers); or nothing
            detectable: every fault answers as the healthy chip.
        FaultError: the chip has no such parts.
    """
    if most < 1:
        raise UsageError(f"most must be at least 1, is {most}")
    check_chip(patterns, chip)
    listed = suspects(chip, faults, layer)
    cores = suspects(chip, ["core_dead"])[0] if pairs else None
    number = sum(map(len, listed)) + (0 if cores is None else len(cores) * (len(cores) - 1) // 2)
    if number > most:
        counts = [f"{len(part):,} {part.kind}" for part in listed] + (
            [] if cores is None else [f"pairs of {plural(len(cores), 'core')}"]
        )
        raise UsageError(
            f"a dictionary of {plural(number, 'fault')} ({', '.join(counts)}) is more than the {most:,} that are allowed, for each is run over the whole test: "
            "fewer kinds, one layer, or a larger limit"
        )
    place, found = {patterns.answers.tobytes(): 0}, [patterns.answers]
    members: list[list[tuple[str, tuple[int, ...]]]] = [[(HEALTHY, ())]]
    engine, done = IncrementalEngine(threads), 0
    entries = _entries(listed, cores)
    while window := list(itertools.islice(entries, _TOGETHER)):
        broken = [chip.with_damage(Damage(edits)) for _, edits, _ in window]
        for (name, _, where), activity in zip(window, engine.run_many(broken, patterns.inputs), strict=True):
            seen = seen_of(patterns.observe, activity)
            at = place.setdefault(seen.tobytes(), len(members))
            if at == len(members):
                members.append([])
                found.append(seen)
            members[at].append((name, where))
        if len(found) * patterns.answers.size > _MOST_NUMBERS:
            raise UsageError(
                f"a dictionary of {len(found):,} or more different answers × {patterns.answers.size:,} numbers is too large (allowed: {_MOST_NUMBERS:,} numbers in all); "
                "fewer samples, fewer kinds, or one layer"
            )
        done += len(window)
        progress("dictionary", done, number, "")
    if len(found) == 1:
        raise UsageError(
            f"nothing detectable: to the {plural(len(patterns), 'sample')} of the test, each of {plural(number, 'fault')} ({', '.join(part.kind for part in listed)}) answers as the healthy "
            f"chip ({patterns.observe}); a test that was made for these kinds, or an observation that sees more"
        )
    return FaultDictionary(
        patterns,
        tuple(tuple(name for name, _ in one) for one in members),
        np.stack(found),
        tuple(tuple(where for _, where in one) for one in members),
        dict(chip.placement.core_of),
    )


def _entries(listed: Sequence[Suspects], cores: Suspects | None) -> Iterator[tuple[str, tuple[Edit, ...], tuple[int, ...]]]:
    """Yield every single fault, then every pair of dead cores."""
    for part in listed:
        yield from part
    if cores is not None:
        for (one, first, here), (two, second, there) in itertools.combinations(list(cores), 2):
            yield f"{one} and {two.removeprefix('core_dead ')}", (*first, *second), (*here, *there)


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
        UsageError: a number out of range, or a dictionary without dead cores.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    if not any(name.startswith("core_dead ") for names in dictionary.classes for name in names):
        raise UsageError("naming is measured on dead cores, and the dictionary knows none: let it suspect core_dead, too")
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
