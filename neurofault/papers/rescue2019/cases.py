"""Networks of which several trainings are looked at on the chip, what breaks in them, and missions that they fly."""

from __future__ import annotations

from dataclasses import dataclass

from neurofault.errors import UsageError, nearest
from neurofault.faults.environment import ENVIRONMENTS, Environment
from neurofault.numerals import plural


@dataclass(frozen=True)
class CaseHarm:
    """A kind of damage of the figure of networks.

    Attributes:
        loss: of :data:`neurofault.papers.rescue2019.losses.LOSSES`.
        share: of what can break in the hidden layers, above 0 and below 1; of links: of all that carry messages.
        steps: in which it happens to what is repaired after each.

    Raises:
        UsageError: a number out of range.
    """

    loss: str
    share: float
    steps: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"share of {self.loss} must be above 0 and below 1, is {self.share:g}")
        if self.steps < 2:
            raise UsageError(
                f"steps of {self.loss} must be at least 2, is {self.steps}: in one step iterative repair is batch repair"
            )


@dataclass(frozen=True)
class Case:
    """A network of the figure of networks.

    Attributes:
        network: of the zoo.
        seeds: of its trainings; None: the recipe's own, whose weights are shipped where any are.
        harms: what breaks.
        draws: of each kind of damage, the same numbers for each training.
        adapt: training samples of a cycle.
        learner: that repairs it; None: that of the setting's ways.
        place: strategy of its placement, of :data:`neurofault.deploy.placement.STRATEGIES`.
        data: data set; None: the network's own.
        samples: most test samples that report, and most validation samples that are looked at; None: all.
        scaled: whether the learner's steps follow from the chip, as users get them; else they are the usual ones, as in most figures.
        fine: whether batch repair is looked at after hundredths of a cycle too, not only when a step of iterative repair would end.

    Raises:
        UsageError: fewer than two trainings, a training that is named twice, or fewer than two draws: neither would say anything about the spread.
    """

    network: str
    seeds: tuple[int | None, ...]
    harms: tuple[CaseHarm, ...]
    draws: int
    adapt: int = 10_000
    learner: str | None = None
    place: str = "pack"
    data: str | None = None
    samples: int | None = None
    fine: bool = True
    scaled: bool = False

    def __post_init__(self) -> None:
        if len(self.seeds) < 2 or self.draws < 2:
            raise UsageError(
                f"case {self.network}: {plural(len(self.seeds), 'training')} and {plural(self.draws, 'draw')}; needed are at least two of each, for an interval over trainings"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"case {self.network}: a training is named twice")

    def training(self, seed: int | None) -> str:
        """Return the name of a training: ``mnist-mlp``, or ``mnist-mlp+seed=1``."""
        return self.network if seed is None else f"{self.network}+seed={seed}"


@dataclass(frozen=True)
class Mission:
    """Years in which cores die and stored bits flip, cut into equal epochs; at the end of each there may be maintenance.

    Attributes:
        name: of the mission.
        case: the network, its trainings, the draws of each, the samples that it learns from, and the learner; no kinds of damage.
        factor: upsets a bit and second as multiples of those of the environment, at least 0.
        environment: of :data:`neurofault.faults.environment.ENVIRONMENTS`.
        deaths: of cores, a core-year, at least 0.
        years: of the mission, above 0.
        epochs: in which it is cut, at least 1.
        passes: of scrubbing an epoch, evenly spaced, the last at its end; at least 1.
        lesson: samples that are learned from in an epoch, at least 1.
        looks: shares of a lesson after which validation samples are shown, rising, the last of them 1.
        spares: numbers of spare cores that are compared, rising, each at least 1; the chip has the largest.
        rate: samples that are served a second, above 0.

    Raises:
        UsageError: no such environment, or a number out of range.
    """

    name: str
    case: Case
    factor: float
    environment: str = "low_earth_orbit"
    deaths: float = 0.02
    years: float = 10.0
    epochs: int = 10
    passes: int = 4
    lesson: int = 500
    looks: tuple[float, ...] = (0.2, 0.5, 1.0)
    spares: tuple[int, ...] = (2, 4, 8)
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.environment not in ENVIRONMENTS:
            raise UsageError(
                f"mission {self.name}: no environment {self.environment!r}{nearest(self.environment, ENVIRONMENTS)}; environments: {', '.join(ENVIRONMENTS)}"
            )
        for name, least in (("factor", 0), ("deaths", 0), ("epochs", 1), ("passes", 1), ("lesson", 1)):
            if not getattr(self, name) >= least:
                raise UsageError(f"mission {self.name}: {name} must be at least {least}, is {getattr(self, name)}")
        for name in ("years", "rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"mission {self.name}: {name} must be above 0, is {getattr(self, name):g}")
        for name, good in (("looks", self.looks[-1:] == (1.0,)), ("spares", bool(self.spares))):
            rising = getattr(self, name)
            if not good or list(rising) != sorted(set(rising)) or rising[0] <= 0:
                raise UsageError(
                    f"mission {self.name}: {name} must rise from above 0{' to 1' if name == 'looks' else ''}, are {', '.join(map(str, rising)) or 'none'}"
                )

    @property
    def seconds(self) -> float:
        """Seconds of an epoch."""
        return self.years / self.epochs * YEAR

    @property
    def weather(self) -> Environment:
        """The environment with its upsets multiplied."""
        found = ENVIRONMENTS[self.environment]
        return Environment(
            found.name, found.title, self.factor * found.upsets_per_bit_second, f"{self.factor:g} × {found.derivation}", found.sources,
            found.evidence,
        )  # fmt: skip


YEAR = 365.25 * 86400.0
"""Seconds of a year."""
