"""One draw of a mission: cores die, stored bits flip, and at the end of each epoch a chip is maintained, or is not.

**What breaks.** Each core that holds neurons, and each spare one, has an exponential lifetime; a core that is dead stays dead. Stored bits of all weights, check bits too, flip as a Poisson
process, wherever the weight is stored. Everything is keyed by the draw alone: all ways of maintenance meet the same deaths and upsets, and a shorter mission is the beginning of a longer one.

**Maintenance** (:data:`ARMS`) comes at the end of an epoch, in this order: scrubbing has gone on meanwhile; what sits on dead cores moves to spare ones; the host writes all weights
anew; the chip learns. A code word over the weights (SECDED) is read, put right and written back at each pass, with check bits that fit what was read, so a word that two upsets between two passes have
defeated stays wrong and is a word like others from then on. Weights that move, and those that are written anew, come from the host, which keeps a copy of what was written last.

**Learning** is skipped where validation samples are answered as well as on the healthy chip; else the weights of the look that they like best stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetSynapses
from neurofault.deploy.cost import Estimate, cost
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import write
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.faults import CoreDead, SynapseBitFlip, inject
from neurofault.faults.environment import upset_probability
from neurofault.papers.rescue2019.cases import Mission
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.networks import CaseTraining
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import charge
from neurofault.rescue.examples import Examples
from neurofault.rescue.guard import changes, cost_of_writing, write_back
from neurofault.rescue.lesson import Learner, Lesson, Plasticity
from neurofault.rescue.remap.remap import remap
from neurofault.streams import generator
from neurofault.study.protect.api import protect
from neurofault.study.protect.charge import charge as protection_charge

_SEMANTICS = 1  # raised by hand when the same mission gives other counts

NOTHING, REMAP, LEARN, RELOAD, PROTECT, ALL = "nothing", "remap", "learn", "reload", "protect", "all"
ARMS = {
    NOTHING: "no maintenance", REMAP: "what sat on dead cores moves to spare ones", LEARN: "the chip learns on",
    RELOAD: "the host writes all weights anew", PROTECT: "a SECDED code over all weights, scrubbed", ALL: "protect, remap and learn",
}  # fmt: skip
"""Ways of maintenance."""

Flips = dict[str, dict[tuple[int, int], int]]
"""Connection → (source, target) → bits of the stored field that flip."""


@final
@dataclass(frozen=True)
class Arm:
    """A way of maintenance.

    Attributes:
        name: of :data:`ARMS`.
        spares: spare cores that may be used.
    """

    name: str
    spares: int = 0


def arms(mission: Mission) -> list[Arm]:
    """Return all ways of maintenance that a mission compares.

    >>> from neurofault.papers.rescue2019.chip_setting import QUICK
    >>> [(arm.name, arm.spares) for arm in arms(QUICK.missions[0])][-3:]
    [('protect', 0), ('all', 0), ('all', 2)]
    """
    plain = [Arm(name) for name in (NOTHING, LEARN, RELOAD, PROTECT)]
    moved = [Arm(REMAP, spares) for spares in mission.spares]
    return [plain[0], *moved, *plain[1:], *(Arm(ALL, spares) for spares in (0, *mission.spares))]


@final
@dataclass(frozen=True, eq=False)
class Blow:
    """What happens in an epoch.

    Attributes:
        cores: ids of those that die, sorted.
        bare: bits that flip in the memory of weights.
        coded: those of them that a scrubbed code leaves wrong.
        upsets: how many stored bits of weights flip.
    """

    cores: tuple[int, ...]
    bare: Flips
    coded: Flips
    upsets: int


@lru_cache(maxsize=1)
def _at_work(study: ChipStudy, spares: int, training: CaseTraining) -> ChipStudy:
    return training.at_work(replace(study, setting=replace(study.setting, spare_cores=spares)))


def at_work(study: ChipStudy, mission: Mission, training: CaseTraining) -> ChipStudy:
    """Return the study of one training of a mission's network, on a chip with its spare cores; one is held at a time, for each holds its data set."""
    return _at_work(study, mission.spares[-1], training)


def missions_of(study: ChipStudy) -> list[tuple[Mission, CaseTraining]]:
    """Return all trainings of all missions of a setting, those of one training one after the other.

    Raises:
        UsageError: the setting has none.
    """
    missions = study.setting.missions
    if not missions:
        raise UsageError(f"setting {study.setting.name!r} names no missions to compare")
    most = max(len(mission.case.seeds) for mission in missions)
    return [
        (mission, CaseTraining(mission.case, number))
        for number in range(most)
        for mission in missions
        if number < len(mission.case.seeds)
    ]


@lru_cache(maxsize=2)
def protected(study: ChipStudy) -> Deployment:
    """Return the healthy chip of a training with the code of :data:`PROTECT`."""
    return protect(study.chip().deployment, {"kind": "secded"})


def lifetimes(study: ChipStudy, mission: Mission, draw: int) -> dict[int, float]:
    """Return the years that each core lives that holds neurons or is spare, by its id."""
    placement = study.chip().deployment.placement
    ages = generator(study.setting.seed, "mission", "lifetimes", draw).exponential(size=placement.chips * placement.cores_per_chip)
    cores = sorted({*map(int, placement.used_cores), *placement.spare_cores})
    return {core: float(ages[core] / mission.deaths) if mission.deaths else np.inf for core in cores}


@lru_cache(maxsize=8)
def blows(study: ChipStudy, mission: Mission, draw: int) -> tuple[Blow, ...]:
    """Return what happens in each epoch of a draw; see this module's text."""
    lives, found = lifetimes(study, mission, draw), list[Blow]()
    coded = protected(study)
    rate = upset_probability(mission.weather, mission.seconds / mission.passes)
    for epoch in range(mission.epochs):
        begin, end = (mission.years * at / mission.epochs for at in (epoch, epoch + 1))
        died = tuple(core for core, age in lives.items() if begin < age <= end)
        bare, left, upsets = Flips(), Flips(), 0
        for number in range(mission.passes if rate else 0):
            key = epoch * mission.passes + number
            hit = inject(
                coded, SynapseBitFlip(rate=rate, layer="any"), seed=study.setting.seed, draw=1_000_000 * (draw + 1) + key
            ).damage
            upsets += flipped(hit.cells.edits, bare)
            flipped(hit.edits, left)
        found.append(Blow(died, bare, left, upsets))
    return tuple(found)


def flipped(edits: Sequence[object], into: Flips) -> int:
    """Add the bits that edits flip to others, where two upsets of a bit leave it as it was; return how many they flip."""
    count = 0
    for edit in edits:
        if isinstance(edit, SetSynapses) and edit.flips is not None:
            own = into.setdefault(edit.connection, {})
            for source, target, bits in zip(edit.sources.tolist(), edit.targets.tolist(), edit.flips.tolist(), strict=True):
                own[source, target] = own.get((source, target), 0) ^ bits
                count += int(bits).bit_count()
    return count


def struck(chip: Deployment, flips: Flips) -> Deployment:
    """Return a chip after upsets of single bits of what it stores now."""
    found = []
    for name, own in flips.items():
        listed = [(*pair, bit) for pair, bits in sorted(own.items()) for bit in range(bits.bit_length()) if bits >> bit & 1]
        if listed:
            found.append(SynapseBitFlip(synapse_bits=listed, connection=name))
    return inject(chip, found) if found else chip


@final
class Flight:
    """A chip on a mission, epoch by epoch.

    Args:
        study: of one training, on a chip with the mission's spare cores.
        mission: that it flies.
        arm: how it is maintained.
        draw: of what breaks.
    """

    def __init__(self, study: ChipStudy, mission: Mission, arm: Arm, draw: int) -> None:
        self.study, self.mission, self.arm, self.draw = study, mission, arm, draw
        self.chip, self.shown, self.seed = study.chip().deployment, 0, study.setting.seed + 1000 * draw
        profile = self.chip.profile
        table = profile.default_energy
        power = None if table is None else profile.energy_tables[table].energy.static_power.value
        if table is None or power is None:
            raise UsageError(
                f"profile {profile.name!r} does not say what its default energy table gives a mission to count: events and static power"
            )
        self.table, self.watts = table, power * self.chip.placement.chips
        self.coded = arm.name in (PROTECT, ALL)
        self.avoided = self.chip.placement.spare_cores[arm.spares :]
        self.plastic: tuple[str, ...] = ()
        if arm.name in (LEARN, ALL):
            self.plastic = self._learner().provide(self.chip, Plasticity()).plastic
            self.goal = self._checked(self.chip)[0]

    def _learner(self) -> Learner:
        case = self.mission.case
        return self.study.learner(case.learner or self.study.setting.way_learner, self.study.bits, case.adapt)

    def flown(self) -> dict[str, Any]:
        """Return what a mission gives, in lists of an entry for its beginning and one for each epoch.

        ``before``, ``after``: test samples answered right before and after the maintenance at the end of the epoch; ``serving``, ``static``, ``protection``: joules a sample at both of these times,
        [[before, after], …], static power over the time that a sample takes; ``repair``, ``repair_static``: joules of each maintenance; ``dead``: cores that have died; ``upsets``: bits that have flipped.
        """
        first = self._served(self.chip)
        rows = [(first, first, Spent(), 0, 0)]
        for blow in blows(self.study, self.mission, self.draw):
            self.chip = struck(self.chip, blow.coded if self.coded else blow.bare)
            if blow.cores:
                self.chip = inject(self.chip, CoreDead(cores=blow.cores))
            broken = self.chip
            spent = self._maintained()
            before = self._served(broken)
            rows.append((before, before if self.chip is broken else self._served(self.chip), spent, len(blow.cores), blow.upsets))
        joules = [spent.joules(self.table) for *_, spent, _, _ in rows]
        seconds = [spent.seconds(self.table) for *_, spent, _, _ in rows]
        return {
            "before": [row[0][0] for row in rows], "after": [row[1][0] for row in rows],
            **{name: [[row[0][at], row[1][at]] for row in rows] for at, name in enumerate(("serving", "static", "protection"), 1)},
            "repair": joules, "repair_static": [self.watts * (each or 0.0) for each in seconds],
            "dead": np.cumsum([row[3] for row in rows]).tolist(), "upsets": np.cumsum([row[4] for row in rows]).tolist(),
        }  # fmt: skip

    def _served(self, chip: Deployment) -> tuple[int, float, float, float]:
        """Return test samples answered right, and joules a sample: of events, of static power, of protection."""
        test = self.study.chip().test
        found, samples = run(chip, test.inputs, test.labels), len(test.labels)
        assert found.correct is not None
        each = cost(chip, found.activity, samples)
        guarded, time = 0.0, _known(each.time)
        if self.coded:
            added = protection_charge(protected(self.study), found.activity.spike_counts, samples)
            guarded, time = added.energy or 0.0, time + (added.time or 0.0)
        return found.correct, _known(each.energy), self.watts * time, guarded

    def _maintained(self) -> Spent:
        """Repair the chip as the arm does; return what that took."""
        spent = Spent()
        free = {*self.chip.placement.spare_cores} - {*self.avoided}
        if self.arm.name in (REMAP, ALL) and free:
            done = remap(self.chip, learning=self.plastic, avoid=self.avoided)
            if done.moves:
                self.chip = done.deployment
                spent += cost_of_writing(self.chip, done.writes)
        if self.arm.name == RELOAD:
            spent += self._rewritten()
        if self.plastic:
            spent += self._learned()
        return spent

    def _rewritten(self) -> Spent:
        """Write all weights anew from the host's copy."""
        written = 0
        for one in self.chip.connections:
            healthy = self.study.chip().deployment.connection(one.name)
            weights: NDArray[Any] = healthy.synapses.weight
            self.chip = write(self.chip, one.name, weights)
            written += weights.size - weights.shape[1] * int(self.chip.damage.silent(one.target, weights.shape[0]).sum())
        return cost_of_writing(self.chip, written)

    def _checked(self, chip: Deployment) -> tuple[int, Spent]:
        """Show validation samples; return how many are answered right, and what that took."""
        examples: Examples = self.study.chip().validation
        found = run(chip, examples.inputs, examples.labels)
        assert found.correct is not None
        return found.correct, charge(chip, found.activity, len(examples.labels))

    def _learned(self) -> Spent:
        """Learn, and keep the weights of the best look at validation samples; the first of equal ones."""
        best, spent = self._checked(self.chip)
        if best >= self.goal:
            return spent
        kept, chip, memory, done = self.chip, self.chip, None, 0
        for look in self.mission.looks:
            until = round(look * self.mission.lesson)
            if until > done:
                taught = self._learner().teach(chip, self._lesson(until - done, fresh=not done), memory)
                chip, memory, done = taught.deployment, taught.memory, until
                right, looked = self._checked(chip)
                spent += taught.spent + looked
                if right > best:
                    best, kept = right, chip
        differing = changes(chip, kept)
        self.chip = kept if kept is self.chip else write_back(chip, kept, differing)
        return spent + cost_of_writing(chip, len(differing))

    def _lesson(self, samples: int, fresh: bool) -> Lesson:
        """Return the next training samples, in an order that all arms share."""
        case, first = self.mission.case, self.shown
        adapt = self.study.adapt(case.adapt, self.study.bits)
        size = len(adapt.labels)
        wanted = np.arange(first, first + samples)
        orders = {cycle: generator(self.seed, "order", int(cycle)).permutation(size) for cycle in np.unique(wanted // size)}
        index = np.array([orders[cycle][at] for cycle, at in zip(wanted // size, wanted % size, strict=True)], np.int64)
        self.shown += samples
        inputs = adapt.inputs.take(index).counted_from(first)
        return Lesson(inputs, np.asarray(adapt.labels, np.int64)[index], first, size, self.seed, fresh=fresh)


def _known(each: Estimate) -> float:
    """Return an estimate's value.

    Raises:
        UsageError: it is not known.
    """
    if each.value is None:
        raise UsageError(f"the profile's energy table does not know {', '.join(each.missing)}, so a mission's energy is not known")
    return each.value


def flown(study: ChipStudy, mission: Mission, arm: Arm, draw: int) -> dict[str, Any]:
    """Return what a draw of a mission gives, as :meth:`Flight.flown`, computed once and kept.

    Args:
        study: of one training (:func:`at_work`).
        mission: that it flies.
        arm: how it is maintained.
        draw: of what breaks.
    """
    choices = {name: value for name, value in vars(mission).items() if name not in ("name", "case", "spares", "rate")}
    key = {
        "unit": "mission", "semantics": _SEMANTICS, "chip": study.chip().digest, "seed": study.setting.seed, "arm": arm.name, "spares": arm.spares, "draw": draw,
        "adapt": mission.case.adapt, "learner": mission.case.learner or study.setting.way_learner, **choices, "looks": list(mission.looks),
    }  # fmt: skip
    found: dict[str, Any] = study.units.once(key, lambda: Flight(study, mission, arm, draw).flown())
    return found
