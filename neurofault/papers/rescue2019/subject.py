"""What the figures need of what is damaged and repaired: networks of floats or chips (``floats``, ``chips`` in this folder).

A subject says what is damaged and repaired how, and how its tables are laid out; the figures compare and count. The unit over which every
interval is taken is the subject's: a (base, order) pair of networks, a draw of damage on a chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.papers.rescue2019.history import History

Row = dict[str, Any]
Unit = Mapping[str, int]
"""What a unit is called: ``{base, order}``, or ``{draw}``."""


@dataclass(frozen=True, eq=False)
class Decline:
    """One curve of figure 1.

    Attributes:
        name: as the figure names it.
        dead: int [points], how many have died.
        fraction: float64 [points], likewise, as a share of what can die.
        values: float64 [units, points], accuracies.
        units: to which the rows of ``values`` belong.
    """

    name: str
    dead: NDArray[np.int64]
    fraction: NDArray[np.float64]
    values: NDArray[np.float64]
    units: tuple[Unit, ...]


@dataclass(frozen=True, eq=False)
class Recovery:
    """Repairs of one kind, until they recover: a cell of figure 2.

    Attributes:
        place: ``strategy``, ``m`` (number of dead), and what else tells them apart.
        units: that were repaired.
        seen: their histories.
    """

    place: Row
    units: tuple[Unit, ...]
    seen: tuple[History, ...]


@dataclass(frozen=True, eq=False)
class Match:
    """Iterative against batch repair of the same damage: a cell of figure 3.

    Attributes:
        place: ``m``, and what else tells it apart.
        steps: in which the damage happened.
        units: that were repaired.
        iterative: histories, one a unit.
        batch: with the same cycles in all.
        still: where nothing is repaired.
        more: what else the row of ``paired`` says.
        tables: name → rows of the subject's own.
    """

    place: Row
    steps: int
    units: tuple[Unit, ...]
    iterative: tuple[History, ...]
    batch: tuple[History, ...]
    still: tuple[History, ...]
    more: Row
    tables: Mapping[str, list[Row]]


@dataclass(frozen=True, eq=False)
class Ways:
    """Iterative repairs whose course figure 4 looks at.

    Attributes:
        place: what tells them from others of the figure; the figure has one level by its value. Empty: there are no others.
        deaths: int [steps], dead after each damage step.
        units: one a way.
        seen: their histories.
    """

    place: Mapping[str, str]
    deaths: NDArray[np.int64]
    units: tuple[Unit, ...]
    seen: tuple[History, ...]

    @property
    def name(self) -> str | None:
        """The value in ``place``; None without."""
        return next(iter(self.place.values()), None)


@dataclass(frozen=True, eq=False)
class Line:
    """What lies on the straight line between two repaired networks or chips.

    Attributes:
        kind: how both ends belong together.
        ends: units and numbers of dead of both ends.
        accuracies: float64 [alphas], on the way.
        healthy: accuracy before anything happened, of the worse end.
        more: what else its row says.
    """

    kind: str
    ends: tuple[tuple[Unit, int], tuple[Unit, int]]
    accuracies: NDArray[np.float64]
    healthy: float
    more: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How a subject's tables are laid out.

    Attributes:
        prefix: of the names of its figures.
        curve: column that names a curve of figure 1.
        units: what a unit of figure 1 is called, in the plural.
        curves: values of a curve in figure 1's JSON; its table has those up to ``high``.
        recovery: columns of figure 2's rows behind their place.
        paired: columns of figure 3's ``paired`` behind their place.
        served: likewise of ``served``.
        compared: tables of figure 3, in order; the last is not in its JSON.
        embedding: name of figure 4's table of its embedding.
    """

    prefix: str
    curve: str
    units: str
    curves: tuple[str, ...]
    recovery: tuple[str, ...]
    paired: tuple[str, ...]
    served: tuple[str, ...]
    compared: tuple[str, ...]
    embedding: str


class Subject(Protocol):
    """What is damaged and repaired. Each method computes what the journal does not know, and says how far it is.

    Attributes:
        layout: of its tables.
        tolerances: of "recovered" and of U, in accuracy.
        headline: the tolerance that the text speaks of.
        sustained: evaluations in a row that make "recovered".
        cap: cycles after which figure 2 gives a repair up.
        cycles: of learning after each step of iterative repair.
    """

    @property
    def layout(self) -> Layout:
        """Of its tables."""

    @property
    def tolerances(self) -> tuple[float, ...]:
        """Of "recovered" and of U, in accuracy."""

    @property
    def headline(self) -> float:
        """The tolerance that the text speaks of."""

    @property
    def sustained(self) -> int:
        """Evaluations in a row that make "recovered"."""

    @property
    def cap(self) -> float:
        """Cycles after which figure 2 gives a repair up."""

    @property
    def cycles(self) -> float:
        """Of learning after each step of iterative repair."""

    def heading(self, figure: str) -> Row:
        """Return what a figure's JSON begins with."""

    def declines(self) -> Iterator[Decline]:
        """Yield the curves of figure 1."""

    def of_declines(self, seen: Sequence[Decline]) -> Row:
        """Return what figure 1's JSON says besides."""

    def recoveries(self) -> Iterator[Recovery]:
        """Yield the repairs of figure 2."""

    def recovery_costs(self, seen: Sequence[History], at: Sequence[int | None]) -> Row:
        """Return what repairs took until they had recovered: columns of figure 2.

        Args:
            seen: histories.
            at: the point of each at which it had recovered; None: it had not.
        """

    def recovery_pairs(self, one: Recovery) -> list[Row]:
        """Return the rows of single units."""

    def of_recoveries(self, seen: Sequence[Recovery]) -> Row:
        """Return what figure 2's JSON says besides: the damaged, the healthy, the controls."""

    def matches(self) -> Iterator[Match]:
        """Yield the comparisons of figure 3."""

    def matched(self, tables: dict[str, list[Row]]) -> None:
        """Finish the subject's own tables of figure 3, in place."""

    def ways(self) -> Iterator[Ways]:
        """Yield the ways of figure 4."""

    def lines(self, ways: Ways) -> Iterator[Line]:
        """Yield the lines between the ends of ways."""

    def shapes(self, ways: Ways) -> tuple[list[Row], list[Row]]:
        """Return the shape of each way and of a random walk beside it, as :func:`neurofault.papers.rescue2019.fig4.shape_rows` gives them, and the rows of the embedding's table."""
