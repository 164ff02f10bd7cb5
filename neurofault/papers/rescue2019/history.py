"""What was seen in the course of a repair, of a network of floats or of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from neurofault.rescue.budget import Spent
from neurofault.rescue.outcome import Point, mean_served, served


@final
@dataclass(frozen=True)
class History:
    """What was seen in the course of a repair, point by point.

    Attributes:
        steps: gradient steps so far.
        samples: samples shown so far, those served without learning included.
        strikes: damage steps so far.
        what: what had just happened, see :class:`neurofault.rescue.outcome.Point`.
        validation, test: images classified as labelled.
        updates: weights and biases changed so far, step by step.
        cycle: gradient steps of a cycle.
        batch: samples of a step.
        n_validation, n_test: images.
        spent: on a chip, what the repair used in all.
        notes: what else must be known.
    """

    steps: tuple[int, ...]
    samples: tuple[int, ...]
    strikes: tuple[int, ...]
    what: tuple[str, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    updates: tuple[int, ...]
    cycle: int
    batch: int
    n_validation: int
    n_test: int
    spent: Spent = field(default_factory=Spent)
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(known: Mapping[str, Any]) -> History:
        """Return the history that ``dataclasses.asdict`` and JSON made this of."""
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
        return History(**{**fields, "spent": Spent(**known["spent"])})

    @property
    def points(self) -> list[Point]:
        """The points as :mod:`neurofault.rescue.outcome` takes them."""
        return [
            Point(self.samples[i], self.strikes[i], self.test[i] / self.n_test, Spent(samples=self.samples[i]), self.what[i])
            for i in range(len(self.steps))
        ]

    @property
    def healthy(self) -> float:
        """Test accuracy before anything happened."""
        return self.test[0] / self.n_test

    @property
    def final(self) -> float:
        """Test accuracy in the end."""
        return self.test[-1] / self.n_test

    @property
    def worst(self) -> float:
        """Lowest test accuracy from the first strike on."""
        return min(point.accuracy or 0.0 for point in served(self.points))

    @property
    def damaged(self) -> float:
        """Test accuracy right after the last strike; where nothing struck, before anything happened."""
        struck = [i for i, what in enumerate(self.what) if what == "strike"]
        return self.test[struck[-1] if struck else 0] / self.n_test

    @property
    def best(self) -> float:
        """Best test accuracy since the last change that was not learning."""
        return max(self.test[self.began :]) / self.n_test

    @property
    def stopped(self) -> float:
        """Test accuracy at the look since the last change that validation images liked best; the first of equal ones."""
        later = range(self.began, len(self.test))
        return self.test[max(later, key=lambda look: self.validation[look])] / self.n_test

    @property
    def began(self) -> int:
        """Where the last change that was not learning stands: the first evaluation of the last repair."""
        return max(i for i, what in enumerate(self.what) if what != "learn")

    def until(self, strikes: int) -> History:
        """Return the history as it was before the strike after this many."""
        return self._first(sum(count <= strikes for count in self.strikes))

    def then(self, other: History) -> History:
        """Return the history that goes on with the last repair of another one, to the same mask.

        Waiting changes no weight, so a repair that begins later is the same repair.
        """
        start, shift = other.began + 1, self.samples[-1] - other.samples[other.began]
        return replace(
            self, steps=self.steps + other.steps[start:], samples=self.samples + tuple(at + shift for at in other.samples[start:]),
            strikes=self.strikes + (self.strikes[-1],) * len(other.steps[start:]), what=self.what + other.what[start:],
            validation=self.validation + other.validation[start:], test=self.test + other.test[start:],
            updates=self.updates + other.updates[start:],
        )  # fmt: skip

    def _first(self, kept: int) -> History:
        cut: dict[str, Any] = {
            name: value[:kept] for name, value in vars(self).items() if isinstance(value, tuple) and name != "notes"
        }
        return replace(self, **cut)

    @property
    def changed(self) -> float:
        """Test accuracy right after the last change that was not learning."""
        return self.test[self.began] / self.n_test

    def at_cycle(self, cycles: float) -> float:
        """Return the test accuracy after so many cycles of learning since :attr:`began`."""
        wanted = self.steps[self.began] + cycles * self.cycle
        return self.test[max(i for i in range(self.began, len(self.steps)) if self.steps[i] <= wanted)] / self.n_test

    def mean_served(self, cycles: float) -> float:
        """Return the mean test accuracy over so many cycles from the first strike on."""
        mean = mean_served(self.points, round(cycles * self.cycle * self.batch))
        assert mean is not None
        return mean

    def recovered(self, tolerance: float, sustained: int) -> int | None:
        """Return where the last repair first comes within a tolerance of the healthy network, on validation images.

        The evaluation right after the damage counts as the first.

        Args:
            tolerance: in accuracy.
            sustained: evaluations in a row that must be within it.
        """
        goal = self.validation[0] - tolerance * self.n_validation
        good = [count >= goal for count in self.validation]
        for i in range(self.began, len(good) - sustained + 1):
            if all(good[i : i + sustained]):
                return i
        return None

    def cycles_at(self, point: int) -> float:
        """Return the cycles of the last repair at a point."""
        return (self.steps[point] - self.steps[self.began]) / self.cycle
