"""A chip under repair that is looked at on validation images after the last of its damage, and is kept as it was at the best of these looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.rescue.budget import Budget
from neurofault.rescue.examples import Examples
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench


@final
@dataclass(frozen=True, eq=False)
class Look:
    """A chip at a moment of its repair.

    Attributes:
        samples: that it has learned from since the last of the damage.
        right: validation samples that it answers as labelled.
        chip: as it was.
    """

    samples: int
    right: int
    chip: Deployment


@final
class StoppedBench:
    """A :class:`~neurofault.rescue.workbench.Workbench` on which :mod:`neurofault.rescue.strategies` work, with looks after the last strike.

    Nothing is measured on test images, and no look changes what is learned.

    Args:
        bench: the chip; it measures nothing itself.
        validation: what is looked at.
        marks: cycles after the last strike at which it is; right after the strike it always is, and at the end of the repair.
    """

    def __init__(self, bench: Workbench, validation: Examples, marks: Sequence[float]) -> None:
        self.bench, self._validation = bench, validation
        self._marks = [round(mark * bench.cycle) for mark in marks]
        self._struck = 0
        self.looks: list[Look] = []

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

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""
        self.bench.strike(steps)
        self._struck = self.bench.learned
        if self._broken:
            self._look()

    def wait(self, samples: int) -> None:
        """Serve samples without learning."""
        self.bench.wait(samples)

    def embryos(self) -> None:
        """Put fresh neurons onto spare cores in the place of dead ones."""
        self.bench.embryos()

    def renew(self) -> None:
        """Give every layer that can learn fresh weights."""
        self.bench.renew()

    def learn(self, cycles: float | None = None, share: float = 1.0) -> None:
        """Learn; None: what is left of the budget."""
        bench = self.bench
        left = max(0, bench.budget.samples_allowed(bench.cycle) - bench.learned)
        end = bench.learned + (left if cycles is None else min(left, round(cycles * bench.cycle)))
        ahead = [self._struck + mark for mark in self._marks if bench.learned < self._struck + mark < end] if self._broken else []
        for stop in (*ahead, end):
            bench.learn((stop - bench.learned) / bench.cycle, share)
            if self._broken:
                self._look()

    @property
    def best(self) -> Deployment:
        """The chip at the look that validation samples like best; the first of equal ones."""
        return max(self.looks, key=lambda look: look.right).chip

    def after(self, cycles: float) -> Deployment:
        """Return the chip at the last look within so many cycles after the last strike."""
        return [look.chip for look in self.looks if look.samples <= round(cycles * self.bench.cycle)][-1]

    @property
    def _broken(self) -> bool:
        """Whether all the damage has happened."""
        return self.bench.strikes == len(self.parts)

    def _look(self) -> None:
        chip = self.bench.deployment
        self.looks.append(Look(self.bench.learned - self._struck, correct(chip, self._validation), chip))


def correct(chip: Deployment, examples: Examples) -> int:
    """Return how many samples a chip answers as labelled."""
    found = run(chip, examples.inputs, examples.labels).correct
    assert found is not None
    return found
