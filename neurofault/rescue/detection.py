"""Detect, name, move, test again: a repair that nobody tells what is broken.

A test is shown to the chip; a tester says whether its answers are the healthy ones and, if not, what is most likely broken and on which cores that sits. These cores are
left (:func:`neurofault.rescue.remap.remap.remap`), and the test is shown again. Answers that are nearer to the healthy ones let the move stand; others have it taken
back, and the next suspect is tried: a wrong name, or a class of several that no answer tells apart, costs a test and a move. A second fault is found by the answers
that are left once the first is mended. A suspect that was moved in vain comes again after a few others, to another spare core, for that one may have been dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import StalledError, UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import charge
from neurofault.rescue.remap.remap import AXON_BYTES

if TYPE_CHECKING:
    from neurofault.rescue.workbench import Workbench

ANSWER_BYTES = 8
"""What the host reads of each number of an answer."""
AGAIN = 4
"""A suspect that was moved in vain stands so many places further back."""


@dataclass(frozen=True)
class Accused:
    """Something that may be broken.

    Attributes:
        name: in words.
        cores: ids of the cores that it sits on, in the placement that the tester knows, sorted; empty: no move mends it.
    """

    name: str
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Suspicion:
    """What a tester makes of the answers to its test.

    Attributes:
        passed: whether they are those of the healthy chip.
        distance: how far they are from these, at least 0; infinite where the chip stalls.
        suspects: the likeliest class first; faults of a class are told apart by no answer. Empty where the test passes.
    """

    passed: bool
    distance: float
    suspects: tuple[tuple[Accused, ...], ...]


class Tester(Protocol):
    """Knows a test and what its answers mean; :class:`neurofault.study.patterns.diagnose.FaultDictionary` is one.

    Attributes:
        inputs: the K samples of the test.
        numbers: how many numbers are read of the answer to each.
        core_of: population → [n], the core of each neuron where the suspects were listed.
    """

    @property
    def inputs(self) -> Inputs:
        """The K samples of the test."""

    @property
    def numbers(self) -> int:
        """How many numbers are read of the answer to each."""

    @property
    def core_of(self) -> Mapping[str, NDArray[np.integer]]:
        """Population → [n], the core of each neuron where the suspects were listed."""

    def check(self, chip: Deployment) -> None:
        """Refuse a chip that the test is not for (UsageError)."""

    def hear(self, activity: Activity | None) -> Suspicion:
        """Say what the answers mean; None: the chip stalls."""


@dataclass(frozen=True)
class Try:
    """A move of what was suspected.

    Attributes:
        named: the suspects that were moved, in words, one or more.
        left, taken: ids of the cores that were left, and of the spare cores that took their neurons.
        stays: whether the answers came nearer to the healthy ones, so that the move stands.
    """

    named: tuple[str, ...]
    left: tuple[int, ...]
    taken: tuple[int, ...]
    stays: bool


@dataclass(frozen=True)
class Detection:
    """What detecting and moving came to.

    Attributes:
        delay: samples shown from the last strike to the end of the first test, which failed; None: it passed, nothing was noticed.
        tests: how often the test was shown, and
        samples: how many samples that were.
        tries: what was moved, in order.
        passed: whether the last test passed.
    """

    delay: int | None
    tests: int
    samples: int
    tries: tuple[Try, ...]
    passed: bool

    @property
    def mended(self) -> tuple[str, ...]:
        """What was named and stays moved, in words; of a class that moved as a whole all of it."""
        return tuple(name for one in self.tries if one.stays for name in one.named)


def find_and_move(bench: Workbench) -> Detection:
    """Show the test, move what it accuses, and test again, until it passes, nothing is left to move, or the plan's tries are used up.

    Args:
        bench: a chip under repair, with a tester; ``bench.detection`` is set.

    Raises:
        UsageError: no tester, or one of another chip.
    """
    tester = bench.tester
    if tester is None:
        raise UsageError("this strategy tests the chip: give a tester, such as nf.fault_dictionary(chip, patterns)")
    tester.check(bench.deployment)
    heard, tests, tries = _test(bench, tester), 1, list[Try]()
    delay = None if heard.passed else bench.shown - bench.struck_at
    vain: dict[tuple[int, ...], list[int]] = {}
    while not heard.passed and len(tries) < bench.plan.tries:
        chosen = _next(bench, tester, heard, vain)
        if chosen is None:
            bench.notes.append("the test fails, and no suspect is left that a move to the spare cores could mend")
            break
        cores = tuple(sorted({core for one in chosen for core in one.cores}))
        before, left = bench.deployment, _now(bench, tester, cores)
        done = bench.remap(left, vain.get(cores, ()))
        taken = tuple(sorted({move.destination for move in done.moves}))
        again, tests = _test(bench, tester), tests + 1
        stays = again.passed or again.distance < heard.distance
        tries.append(Try(tuple(one.name for one in chosen), left, taken, stays))
        if stays:
            heard, vain = again, {}
            continue
        vain[cores] = [*vain.get(cores, ()), *(taken or bench.deployment.placement.spare_cores)]
        bench.deployment = before
        bench.spent += Spent(axon_updates=done.axon_updates, host_bytes=AXON_BYTES * done.axon_updates)
        bench.look("put back")
    if not heard.passed and len(tries) == bench.plan.tries:
        bench.notes.append(f"the test still fails after {plural(len(tries), 'move')}, as many as the plan allows")
    bench.detection = Detection(delay, tests, tests * len(tester.inputs), tuple(tries), heard.passed)
    return bench.detection


def _test(bench: Workbench, tester: Tester) -> Suspicion:
    """Show the test to the chip as it is, charge it, and say what its answers mean."""
    samples = len(tester.inputs)
    try:
        activity = run(bench.deployment, tester.inputs.counted_from(bench.shown)).activity
    except StalledError:
        bench.notes.append("the chip stalls: it answers no test, so nothing can be named")
        return tester.hear(None)
    bench.spent += charge(bench.deployment, activity, samples)
    bench.spent += Spent(host_bytes=ANSWER_BYTES * samples * tester.numbers)
    bench.shown += samples
    bench.note(replace(bench.points[-1], samples=bench.shown, spent=bench.spent, what="test"))  # a test changes nothing
    return tester.hear(activity)


def _next(
    bench: Workbench, tester: Tester, heard: Suspicion, vain: Mapping[tuple[int, ...], Sequence[int]]
) -> tuple[Accused, ...] | None:
    """Return what is moved next: the likeliest for which there are spare cores that did not fail it, those moved in vain further back; None: nothing."""
    spares = set(bench.deployment.placement.spare_cores)
    options: list[tuple[Accused, ...]] = []
    for members in heard.suspects:
        movable = {one.cores: one for one in members if one.cores}  # a core and a neuron on it move alike
        if bench.plan.together and len(movable) > 1:
            options.append(tuple(movable.values()))
        options += [(one,) for one in movable.values()]
    ranked = []
    for place, option in enumerate(options):
        cores = tuple(sorted({core for one in option for core in one.cores}))
        used = vain.get(cores, ())
        if len(_now(bench, tester, cores)) <= len(spares - set(used)):
            ranked.append((place + AGAIN * len(used), place))
    return options[min(ranked)[1]] if ranked else None


def _now(bench: Workbench, tester: Tester, cores: Sequence[int]) -> tuple[int, ...]:
    """Return the cores on which the neurons sit now that sat on some cores where the suspects were listed."""
    own = bench.deployment.placement.core_of
    held = [own[name][np.isin(before, cores)] for name, before in tester.core_of.items()]
    return tuple(np.unique(np.concatenate(held)).tolist())
