"""What the figures on the chip are made of: network, damage, learners, budgets; and the study at work, with its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.faults import inject
from neurofault.papers.rescue2019.cases import Case, CaseHarm, Mission
from neurofault.papers.rescue2019.losses import faults_of, whole_of
from neurofault.papers.rescue2019.units import Results
from neurofault.progress import Progress
from neurofault.rescue.examples import Examples
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.lesson import Learner
from neurofault.study.campaign.identity import chip_digest
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown

Option = tuple[str, int | str]


@dataclass(frozen=True)
class Loss:
    """A kind of damage and how much of it is looked at.

    Attributes:
        name: ``cores`` or ``neurons``, of the hidden layers.
        step: how many die in a step of iterative repair.
        recovery: numbers of dead at which figure 2 counts cycles.
        deaths: numbers of dead at which figure 3 compares, multiples of ``step``.
        way_step: how many die in a step of the ways of figure 4.
        way: number of dead at the end of these ways, a multiple of ``way_step``.
        ends: numbers of dead between which figure 4 interpolates, multiples of ``way_step``.
    """

    name: str
    step: int
    recovery: tuple[int, ...]
    deaths: tuple[int, ...]
    way_step: int
    way: int
    ends: tuple[int, ...]

    @property
    def middle(self) -> int:
        """The number of dead of figure 3's controls."""
        return self.deaths[len(self.deaths) // 2]


@dataclass(frozen=True)
class Sweep:
    """What the ranking changes, one thing at a time.

    Attributes:
        bits: stored bits a weight.
        labels: shares of the adapt set whose labels are known.
        exponents: what is added to the exponents of the learning rules, which are at the least or next to it.
        roundings: name → number that takes the place of the random one, 0 to 127.
        dead: cores that die, one a step.
        adapt: training images of a cycle.
        cycles: of learning in all.
    """

    bits: tuple[int, ...]
    labels: tuple[float, ...]
    exponents: tuple[int, ...]
    dead: int
    adapt: int
    cycles: float = 1.0
    roundings: tuple[tuple[str, int], ...] = (("nearest", 63),)


@dataclass(frozen=True)
class ChipSetting:
    """Every choice of the figures on the chip.

    Attributes:
        name: ``full`` or ``quick``.
        network: of the zoo; its twin trained with dropout is called ``<network>-dropout``.
        losses: what breaks.
        sweep: of the ranking.
        decline_draws: draws of figure 1.
        decline_bits: stored bits a weight of figure 1; the last is that of all other figures.
        draws: of all other figures; the draw is the unit of every interval.
        adapt: training images of a cycle.
        cycles: of learning after each step of iterative repair.
        cap: cycles after which figure 2 gives a repair up.
        looks: cycles after a strike at which figure 2 looks at the chip.
        alphas: points of an interpolation of figure 4, both ends included.
        learners: of :data:`neurofault.rescue.learners.by_name.LEARNERS`, on chip.
        way_learner: whose networks figure 4 interpolates between.
        tolerances: of "recovered" and of U, in accuracy.
        headline: the tolerance that the text speaks of; one of ``tolerances``.
        sustained: evaluations in a row that make "recovered".
        profile, neurons_per_core, spare_cores: of the chip.
        cases: networks of the figure of networks, each at its recipe's own grain.
        missions: of the figure of availability, likewise.
        damages: likewise of the figure of more damage.
        heartbeats: likewise of the figure of a network that follows recordings.
        maps: likewise of the figure of feature maps.
        place: strategy of the placement.
        data: data set; None: the network's own.
        samples: most test samples that report, and most validation samples; None: all.
        seed: of damage, order of samples, rounding.
    """

    name: str
    network: str
    losses: tuple[Loss, ...]
    sweep: Sweep
    decline_draws: int
    decline_bits: tuple[int, ...]
    draws: int
    adapt: int
    cycles: float
    cap: float
    looks: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5)
    alphas: int = 11
    learners: tuple[str, ...] = ("delta", "dfa", "emstdp")
    way_learner: str = "dfa"
    tolerances: tuple[float, ...] = (0.01, 0.005, 0.0025)
    headline: float = 0.005
    sustained: int = 3
    profile: str = "loihi2"
    neurons_per_core: int = 8
    spare_cores: int = 6
    seed: int = 1
    cases: tuple[Case, ...] = ()
    missions: tuple[Mission, ...] = ()
    damages: tuple[Case, ...] = ()
    heartbeats: tuple[Case, ...] = ()
    maps: tuple[Case, ...] = ()
    place: str = "pack"
    data: str | None = None
    samples: int | None = None


_DEAD = (CaseHarm("cores", 0.46), CaseHarm("neurons", 0.48))
_BITS = (CaseHarm("flipped bits", 0.03), CaseHarm("stuck bits", 0.1))
_LOOP = CaseHarm("recurrent synapses", 0.5)
_MORE = (CaseHarm("links", 0.1), CaseHarm("raised thresholds", 0.5), CaseHarm("drifted weights", 0.5))
_MAPS = (CaseHarm("feature maps", 0.2), CaseHarm("neurons", 0.1))
_SEEDS = (None, 1, 2, 3, 4)


def _missions(case: Case, **words: Any) -> tuple[Mission, Mission]:
    """Return a mission in a low orbit, and the same where upsets are a thousand times as frequent."""
    return Mission("orbit", case, 1.0, **words), Mission("orbit × 1000", case, 1000.0, **words)


FULL = ChipSetting(
    "full", "mnist-mlp",
    (
        Loss("cores", 1, (2, 4, 6), (2, 6, 10), 1, 12, (2, 6)),
        Loss("neurons", 8, (16, 32, 48), (16, 48, 80), 4, 60, (16, 48)),
    ),
    Sweep((2, 3, 4, 5, 6, 7), (0.01, 0.1, 0.3), (1, 2), 6, 5000),
    decline_draws=40, decline_bits=(2, 4, 8), draws=8, adapt=10_000, cycles=0.2, cap=2.0,
    cases=(
        Case("mnist-mlp", _SEEDS, (*_DEAD, *_BITS), 3), Case("digits-mlp", _SEEDS, (*_DEAD, *_BITS), 4, 1000),
        Case("digits-events-mlp", _SEEDS, (*_DEAD, *_BITS), 4, 1000),
        Case("digits-events-rnn", _SEEDS, (_DEAD[0], _LOOP, _BITS[0]), 4, 1000, "delta"),
        Case("mnist-mlp2", _SEEDS, (_DEAD[0], _BITS[0]), 2, 5000), Case("mnist-mlp-400", _SEEDS, (_DEAD[0], _BITS[0]), 2, 5000),
    ),
    missions=_missions(Case("digits-mlp", _SEEDS, (), 6, 1000)),
    damages=(
        Case("mnist-mlp", _SEEDS, _MORE, 2, 5000, place="spread"), Case("digits-mlp", _SEEDS, _MORE, 2, 1000, place="spread"),
    ),
    heartbeats=(
        Case("ecg-rnn", _SEEDS, (CaseHarm("cores", 0.25), CaseHarm("recurrent synapses", 0.1)), 4, 1000, "delta", data="ecg-qtdb-windows", scaled=True),
    ),
    maps=(Case("cifar10-cnn", _SEEDS, _MAPS, 2, 1000, "delta", samples=1000, fine=False, scaled=True),),
)  # fmt: skip
QUICK = ChipSetting(
    "quick", "digits-mlp",
    (
        Loss("cores", 2, (2, 6), (4, 6, 10), 3, 12, (3, 6)),
        Loss("neurons", 16, (16, 48), (32, 48, 80), 20, 60, (20, 40)),
    ),
    Sweep((2, 4), (0.1,), (1,), 6, 500),
    decline_draws=6, decline_bits=(4, 8), draws=3, adapt=1000, cycles=0.2, cap=2.0, alphas=5,
    cases=(Case("digits-mlp", (None, 1), (*_DEAD, *_BITS), 2, 1000),),
    missions=_missions(Case("digits-mlp", (None, 1), (), 2, 1000), epochs=2, lesson=100, spares=(2,))[1:],
    damages=(Case("digits-mlp", (None, 1), _MORE, 2, 1000, place="spread"),),
    heartbeats=(Case("digits-events-rnn", (None, 1), (_DEAD[0], _LOOP), 2, 1000, "delta", samples=200, fine=False, scaled=True),),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class HealthyChip:
    """A healthy chip with its data.

    Attributes:
        prepared: where it came from.
        digest: of the chip and the images.
        test: reports.
        validation: stops.
    """

    prepared: Prepared
    digest: str
    test: Examples
    validation: Examples

    @property
    def deployment(self) -> Deployment:
        """The healthy chip."""
        return self.prepared.deployment

    def with_table(self, table: str | None) -> Deployment:
        """Return the healthy chip with another of its profile's energy tables as the one that budgets count in; None: as it is."""
        if table is None:
            return self.deployment
        profile = self.deployment.profile
        return replace(self.deployment, profile=profile.model_copy(update={"default_energy": table}))

    def hidden(self) -> tuple[str, ...]:
        """Return the names of the hidden layers."""
        chip = self.deployment
        return tuple(one.name for one in chip.populations if not one.is_source and one.name != chip.readout.population)


@final
@dataclass(frozen=True, eq=False)
class ChipStudy:
    """A setting at work.

    Attributes:
        setting: every choice.
        units: what is done already.
        progress: told what is being done.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
    """

    setting: ChipSetting
    units: Results
    progress: Progress
    data_dir: Path | None
    _chips: dict[tuple[int, bool], HealthyChip] = field(default_factory=dict)
    _adapt: dict[tuple[int, bool, int], Examples] = field(default_factory=dict)
    _learners: dict[tuple[int, bool, int, str, tuple[Option, ...], bool], Learner] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Stored bits a weight where nothing else is said."""
        return self.setting.decline_bits[-1]

    def chip(self, bits: int | None = None, dropout: bool = False) -> HealthyChip:
        """Return a healthy chip.

        Args:
            bits: stored bits a weight; None: :attr:`bits`.
            dropout: the network that was trained with dropout.
        """
        key = (bits or self.bits, dropout)
        if key not in self._chips:
            setting = self.setting
            setup = Setup(
                setting.network + ("-dropout" if dropout else ""), setting.profile, data=setting.data, data_dir=self.data_dir,
                samples=setting.samples, weight_bits=key[0],
                neurons_per_core=setting.neurons_per_core, spare_cores=setting.spare_cores, place=setting.place,
            )  # fmt: skip
            prepared = prepare(setup, self.progress, accuracy_for="paper", one_label_for="paper")
            chip, test, validation = prepared.deployment, prepared.test, prepared.data.validation
            part = "" if setting.samples is None else f" first {setting.samples}"
            validation = validation if setting.samples is None else validation.first(min(setting.samples, len(validation)))
            self._chips[key] = HealthyChip(
                prepared, f"{chip_digest(chip)} {prepared.data.digest}{part}", Examples(shown(chip, test), test.labels),
                Examples(shown(chip, validation), validation.labels),
            )  # fmt: skip
        return self._chips[key]

    def adapt(self, samples: int, bits: int, dropout: bool = False) -> Examples:
        """Return the first training images as a chip takes them; one pass over them is a cycle."""
        key = (bits, dropout, samples)
        if key not in self._adapt:
            chip = self.chip(bits, dropout)
            train = chip.prepared.data.train.first(samples)
            self._adapt[key] = Examples(shown(chip.deployment, train), train.labels.astype(np.int64))
        return self._adapt[key]

    def learner(
        self, name: str, bits: int, samples: int, options: tuple[Option, ...] = (), dropout: bool = False, scaled: bool = False
    ) -> Learner:
        """Return a learner as it is set up when a chip is deployed, with its usual steps, for the figures measure these and not a choice of steps; or scaled to the chip."""
        key = (bits, dropout, samples, name, options, scaled)
        if key not in self._learners:
            adapt = self.adapt(samples, bits, dropout)
            self._learners[key] = learner_named(
                name, self.chip(bits, dropout).deployment, adapt.inputs, adapt.labels, scaled=scaled, **dict(options)
            )
        return self._learners[key]

    def whole(self, loss: str) -> int:
        """Return how many of what a kind of damage breaks there are; see :func:`neurofault.papers.rescue2019.losses.whole_of`.

        Args:
            loss: of :data:`neurofault.papers.rescue2019.losses.LOSSES`.

        Raises:
            UsageError: no such kind, or none of it.
        """
        return whole_of(self.chip().deployment, self.chip().hidden(), self.setting.network, loss)

    def hurt(self, chip: Deployment, loss: str, count: int, draw: int) -> Deployment:
        """Return a chip with all the damage of a draw."""
        return inject(chip, faults_of(loss, count, chip), seed=self.setting.seed, draw=draw) if count else chip

    @property
    def draws(self) -> Sequence[int]:
        """Numbers of the draws of every figure but the first."""
        return range(self.setting.draws)
