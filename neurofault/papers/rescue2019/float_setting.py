"""What the four figures are made of: networks, bases, orders, budgets; and the study at work, with its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from neurofault.data.datasets import load
from neurofault.papers.rescue2019.bases import Base, Roles, trained
from neurofault.papers.rescue2019.network import FloatNetwork
from neurofault.papers.rescue2019.units import Results
from neurofault.progress import Progress
from neurofault.streams import stream_key


@dataclass(frozen=True)
class FloatSetting:
    """Every choice of the reproduction.

    Attributes:
        name: ``full`` or ``quick``.
        dataset: as :func:`neurofault.data.datasets.load` names it.
        networks: hidden widths of the networks of figure 1.
        bases: trained networks of each shape, each from a seed of its own.
        orders: random orders of deletion for each base in figure 1.
        study: hidden widths of the network of figures 2 to 4.
        repair_orders: random orders of deletion for each base in figures 2 to 4; bases × repair_orders pairs.
        step: nodes that die in a step of iterative repair.
        cycles: of learning after each such step.
        deaths: numbers of dead nodes at which strategies are compared, multiples of ``step``.
        tolerances: of "recovered", in accuracy (0.005 is half a point).
        headline: the tolerance that the text speaks of; one of ``tolerances``.
        cap: cycles after which a repair that has not recovered is given up.
        step_cap: likewise for each step of the iterative repair that ends a step when it has recovered.
        sustained: evaluations in a row that make "recovered".
        epochs, batch, rate: of the bases; batch and rate also of repair (plain SGD).
        barrier_deaths: numbers of dead nodes at which figure 4 interpolates.
        alphas: points of an interpolation, both ends included.
        curve_epochs: passes over the training set in which a curve between two networks is fitted.
        perplexity: of t-SNE.
        seed: of everything.
    """

    name: str
    dataset: str
    networks: tuple[tuple[int, ...], ...]
    bases: int
    orders: int
    study: tuple[int, ...]
    repair_orders: int
    step: int
    deaths: tuple[int, ...]
    barrier_deaths: tuple[int, ...]
    cycles: int = 1
    tolerances: tuple[float, ...] = (0.01, 0.005, 0.0025)
    headline: float = 0.005
    cap: int = 35
    step_cap: int = 5
    sustained: int = 3
    epochs: int = 30
    batch: int = 100
    rate: float = 0.1
    alphas: int = 21
    curve_epochs: int = 6
    perplexity: float = 30.0
    seed: int = 2019


FULL = FloatSetting(
    "full", "mnist", ((25,), (50,), (100,), (200,), (400,), (100, 100)), 3, 20, (100,), 3, 5, (10, 25, 50, 75, 90), (25, 50)
)
QUICK = FloatSetting(
    "quick", "digits", ((20,), (40,), (20, 20)), 2, 6, (40,), 4, 4, (8, 20, 32), (8, 20),
    cap=12, step_cap=3, epochs=60, batch=20, alphas=11, perplexity=15.0, curve_epochs=30,
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Separate:
    """What a figure that stands apart from the others needs.

    Attributes:
        units: what is done already.
        progress: told what is being done.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
    """

    units: Results
    progress: Progress
    data_dir: Path | None


@dataclass(frozen=True)
class Pair:
    """One (base, order of deletion): the unit over which intervals are taken.

    Attributes:
        base: its number, from 0.
        order: its number, from 0.
    """

    base: int
    order: int


@final
@dataclass(frozen=True, eq=False)
class FloatStudy:
    """A setting at work.

    Attributes:
        setting: every choice.
        roles: the data.
        units: what is done already.
        progress: told what is being done.
    """

    setting: FloatSetting
    roles: Roles
    units: Results
    progress: Progress
    _networks: dict[str, FloatNetwork] = field(default_factory=dict)

    @staticmethod
    def begin(setting: FloatSetting, units: Results, data_dir: Path | None, progress: Progress) -> FloatStudy:
        """Load the data.

        Args:
            setting: every choice.
            units: what is done already.
            data_dir: as :func:`neurofault.data.datasets.load` takes it.
            progress: told what is being done.
        """
        return FloatStudy(setting, Roles.of(load(setting.dataset, data_dir=data_dir)), units, progress)

    def base(self, hidden: tuple[int, ...], number: int, dropout: float = 0.0) -> Base:
        """Return the recipe of a base."""
        pixels, classes = self.roles.sizes
        chosen = self.setting
        seed = stream_key(chosen.seed, "base", number)
        return Base(
            self.roles.digest, (pixels, *hidden, classes), seed, chosen.epochs, chosen.batch, chosen.rate, dropout
        )  # fmt: skip

    def network(self, base: Base) -> FloatNetwork:
        """Return a trained network, training it if need be."""
        if base.digest not in self._networks:
            self._networks[base.digest] = trained(base, self.roles.train)
        return self._networks[base.digest]

    def weights(self, hidden: tuple[int, ...], dropout: float = 0.0) -> dict[str, str]:
        """Return the digest of the trained weights of each base of a network, by its number (:attr:`FloatNetwork.digest`)."""
        found = {}
        for number in range(self.setting.bases):
            base = self.base(hidden, number, dropout)

            def compute(base: Base = base) -> str:
                return self.network(base).digest

            found[str(number)] = str(self.units.once({"unit": "weights", "base": base.digest}, compute))
        return found

    def name(self, hidden: tuple[int, ...]) -> str:
        """Return ``784-100-10``."""
        return self.base(hidden, 0).name

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of figures 2 to 4."""
        return tuple(Pair(b, o) for b in range(self.setting.bases) for o in range(self.setting.repair_orders))
