"""A chip under repair that is looked at on validation and test images: the bench on which the strategies work here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.rescue.budget import Budget
from neurofault.rescue.examples import Examples
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench


@final
class WatchedBench:
    """A :class:`~neurofault.rescue.workbench.Workbench` with looks at chosen moments, and an end of learning once it has recovered for good.

    It sees what :class:`neurofault.papers.rescue2019.float_bench.FloatBench` sees of a network of floats, so both give the same histories.

    Args:
        bench: the chip; it measures nothing itself.
        test: reports.
        validation: stops; None: nobody looks, and nothing stops.
        looks: cycles after the last change at which the chip is looked at, in the first cycles; the end of a lesson always is.
        tolerance: in accuracy; learning ends once ``sustained`` looks in a row on validation images were within it of the healthy chip.
        sustained: see there.
    """

    def __init__(
        self,
        bench: Workbench,
        test: Examples,
        *,
        validation: Examples | None = None,
        looks: Sequence[float] = (),
        tolerance: float | None = None,
        sustained: int = 1,
    ) -> None:
        self.bench, self._test, self._validation = bench, test, validation
        self._marks = [round(share * bench.cycle) for share in looks]
        self._tolerance, self._sustained = tolerance, sustained
        self.what, self.steps, self.samples, self.strikes = list[str](), list[int](), list[int](), list[int]()
        self.validation, self.test, self.writes = list[int](), list[int](), list[int]()
        self.snapshots: list[Deployment] = []
        self.look("healthy")

    @property
    def plan(self) -> Plan:
        """How to go about it."""
        return self.bench.plan

    @property
    def budget(self) -> Budget:
        """What may be used."""
        return self.bench.budget

    @property
    def parts(self) -> Sequence[object]:
        """The damage, cut into the steps in which it happens."""
        return self.bench.parts

    def look(self, what: str) -> int:
        """Note the chip down; return how many validation images it classifies as labelled, −1 where nobody looks."""
        chip = self.bench.deployment
        self.what.append(what)
        self.steps.append(self.bench.learned)
        self.samples.append(self.bench.shown)
        self.strikes.append(self.bench.strikes)
        self.writes.append(self.bench.spent.writes)
        self.test.append(_correct(chip, self._test))
        self.validation.append(-1 if self._validation is None else _correct(chip, self._validation))
        self.snapshots.append(chip)
        return self.validation[-1]

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""
        self.bench.strike(steps)
        self.look("strike")

    def wait(self, samples: int) -> None:
        """Serve samples without learning."""
        if samples:
            self.bench.wait(samples)
            self.look("wait")

    def remap(self) -> None:
        """Move orphans to spare cores."""
        self.bench.remap()
        self.look("remap")

    def embryos(self) -> None:
        """Put fresh neurons onto spare cores in the place of dead ones."""
        self.bench.embryos()
        self.look("embryos")

    def renew(self) -> None:
        """Give every layer that can learn fresh weights."""
        self.bench.renew()
        self.look("renew")

    def learn(self, cycles: float | None = None, share: float = 1.0) -> None:
        """Learn; None: what is left of the budget. Ends early where the budget ends or the tolerance is met for good."""
        bench = self.bench
        left = max(0, bench.budget.samples_allowed(bench.cycle) - bench.learned)
        first = bench.learned
        end = first + (left if cycles is None else min(left, round(cycles * bench.cycle)))
        within = self._within(self.validation[-1], 0)
        while bench.learned < end:
            before = bench.learned
            stop = min([end, *(first + mark for mark in self._marks if first + mark > before)])
            bench.learn((stop - before) / bench.cycle, share)
            within = self._within(self.look("learn"), within)
            if bench.learned < stop or (self._tolerance is not None and within >= self._sustained):
                break

    def _within(self, seen: int, before: int) -> int:
        """Return how many looks in a row were within the tolerance."""
        if self._tolerance is None or self._validation is None:
            return 0
        return before + 1 if seen >= self.validation[0] - self._tolerance * len(self._validation.labels) else 0


def _correct(chip: Deployment, examples: Examples) -> int:
    found = run(chip, examples.inputs, examples.labels).correct
    assert found is not None
    return found
