"""A repair that leaves a chip no worse than it found it: some samples are held back, and they say which weights stay.

Before each spell of learning, at :data:`CHECKS` and at its end the chip classifies the held-back samples, which it never learns from.
Weights that were learned take the place of those before where they are right about more samples, by more than 2.5 standard errors of the
paired difference (√(gained + lost) samples; McNemar 1947; 2.5, because several checks are made); of two that were learned, those that are right about more, and the later of
equals. Where targets are to be answered squared errors take the place of right answers: Σd by √Σd², d the differences of the samples, which of right answers is McNemar's. Learning ends early once two checks in a row lie as far below the best. In the end the best are written back.

Charged: each check as served samples, a byte a label and four a target, the weights that a host reads whenever they are the best so far, and every weight that
is written back. A budget of writes is shared so that the way back can always be paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write
from neurofault.engines import run
from neurofault.graph import Dense
from neurofault.inputs import Inputs
from neurofault.metrics import ACCURACY, Expected, Metric
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import charge, cost_of_writes

CHECKS = (0.1, 0.2, 0.5, 1.0)
"""Cycles after a strike at which the held-back samples are shown; then at the end of each cycle."""

_CLEARLY = 2.5
_PATIENCE = 2


Stayed = Literal["last", "best", "first"]


@dataclass(frozen=True)
class Spell:
    """One spell of learning as the held-back samples saw it, in accuracies or mean squared errors.

    Attributes:
        begun: before it.
        lowest: at the worst check (of errors the largest).
        kept: of the weights that stayed.
        stopped: whether it ended early.
        stayed: ``last``: what was learned; ``best``: weights of an earlier check; ``first``: those from before.
    """

    begun: float
    lowest: float
    kept: float
    stopped: bool
    stayed: Stayed


@dataclass(frozen=True)
class Guarded:
    """What a guard did.

    Attributes:
        held_back: samples.
        checks: how often they were shown.
        spells: in order.
        spent: by checks and writing back; part of what the rescue spent.
    """

    held_back: int
    checks: int
    spells: tuple[Spell, ...]
    spent: Spent


@dataclass(frozen=True, eq=False)
class Check:
    """The held-back samples shown to a chip.

    Attributes:
        deployment: the chip.
        merits: float64 [k], 1 where it answers right, else 0; of targets less the squared errors.
        accuracy: share that is right, or the mean squared error.
        spent: by that.
    """

    deployment: Deployment
    merits: NDArray[np.float64]
    accuracy: float
    spent: Spent

    @property
    def total(self) -> float:
        """Sum of the merits."""
        return float(self.merits.sum())

    def ahead_of(self, other: Check) -> float:
        """Return by how many standard errors the samples are answered better than in another check; 0 where none differs."""
        apart = self.merits - other.merits
        squares = float((apart**2).sum())
        return float(apart.sum()) / sqrt(squares) if squares else 0.0


@dataclass(eq=False)
class Keeper:
    """Remembers the best weights of a spell.

    Attributes:
        inputs, expected: the held-back samples, and their labels or targets.
        metric: what is measured.
        checks, spells, spent: so far.
        start, best: of this spell.
        last: what was shown last.
        judged: what was judged last.
        lowest: accuracy, or error, at its worst check.
        worse: checks in a row that lay clearly below the best.
    """

    inputs: Inputs
    expected: Expected
    metric: Metric = ACCURACY
    checks: int = 0
    spells: list[Spell] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    start: Check | None = None
    best: Check | None = None
    last: Check | None = None
    judged: Check | None = None
    lowest: float = 1.0
    worse: int = 0

    def check(self, deployment: Deployment, first: int) -> Check:
        """Show the held-back samples to a chip; nothing is decided or charged yet.

        Args:
            deployment: the chip.
            first: samples that it has been shown before; it counts in schedules.
        """
        for known in (self.judged, self.last):
            if known is not None and known.deployment is deployment:
                return known
        activity = run(deployment, self.inputs.counted_from(first)).activity
        merits = self.metric.merits(activity, self.expected)
        each = 4 * self.expected.shape[1] if self.metric.lower else 1
        spent = charge(deployment, activity, len(merits)) + Spent(host_bytes=len(merits) * each)
        self.last = Check(deployment, merits, self.metric.value(activity, self.expected), spent)
        return self.last

    def begin(self, found: Check) -> Spent:
        """Start a spell with a chip as it is; return what that took."""
        self.start = self.best = self.judged = found
        self.lowest, self.worse = found.accuracy, 0
        return self._count(found, best=True)

    def see(self, found: Check) -> Spent:
        """Judge what has been learned so far; return what that took."""
        assert self.best is not None
        self.judged = found
        better = found.ahead_of(self.best) > _CLEARLY if self.best is self.start else found.total >= self.best.total
        self.worse = self.worse + 1 if found.ahead_of(self.best) < -_CLEARLY else 0
        self.lowest = self.metric.worst((self.lowest, found.accuracy))
        if better:
            self.best = found
        return self._count(found, best=better)

    @property
    def hopeless(self) -> bool:
        """Whether learning should end."""
        return self.worse >= _PATIENCE

    def end(self, writing: Spent) -> Stayed:
        """Note the spell down, with what writing back takes; return which weights stay."""
        assert self.start is not None
        assert self.best is not None
        stayed: Stayed = "last" if not writing.writes else "first" if self.best is self.start else "best"
        self.spells.append(Spell(self.start.accuracy, self.lowest, self.best.accuracy, self.hopeless, stayed))
        self.spent += writing
        self.start = self.best = self.judged = self.last = None
        return stayed

    def _count(self, found: Check, *, best: bool) -> Spent:
        spent = found.spent
        if best:
            spent += Spent(host_bytes=_stored_bytes(found.deployment))
        self.checks += 1
        self.spent += spent
        return spent

    def done(self) -> Guarded:
        """Return what the guard did."""
        return Guarded(len(self.expected), self.checks, tuple(self.spells), self.spent)


@dataclass(frozen=True, eq=False)
class Differences:
    """Where two states of a chip differ.

    Attributes:
        weights: connection → bool [n_out, n_in], stored weights; connections without a difference are left out.
        biases: population → bool [n], likewise.
    """

    weights: Mapping[str, NDArray[np.bool_]]
    biases: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return sum(int(mask.sum()) for mask in (*self.weights.values(), *self.biases.values()))


def changes(now: Deployment, earlier: Deployment) -> Differences:
    """Return what differs between two states of one chip."""
    weights, biases = {}, {}
    for connection in now.connections:
        same = connection is earlier.connection(connection.name) and now.damage is earlier.damage
        if isinstance(connection.synapses, Dense) and not same:
            weights[connection.name] = stored_weights(now, connection.name) != stored_weights(earlier, connection.name)
    for population in now.populations:
        before = earlier.population(population.name)
        if population is not before:
            biases[population.name] = population.bias_mantissa != before.bias_mantissa
    return Differences(
        {k: mask for k, mask in weights.items() if mask.any()}, {k: mask for k, mask in biases.items() if mask.any()}
    )


def cost_of_writing(deployment: Deployment, written: int) -> Spent:
    """Return what a host that writes so many values takes (8 bytes each, for address and value)."""
    energy, time = cost_of_writes(deployment.profile, written)
    return Spent(writes=written, host_bytes=8 * written, energy=energy, time=time)


def write_back(now: Deployment, earlier: Deployment, differing: Differences) -> Deployment:
    """Write the values of an earlier state through the gate, where they differ."""
    chip = now
    for name, mask in differing.weights.items():
        chip = write(chip, name, stored_weights(earlier, name), mask)
    for name, mask in differing.biases.items():
        population = chip.population(name)
        bias = np.where(mask, earlier.population(name).bias_mantissa, population.bias_mantissa)
        chip = chip.with_population(replace(population, bias_mantissa=bias))
    return chip


def _stored_bytes(deployment: Deployment) -> int:
    """Return the size of all dense weights and biases in bytes."""
    dense = [one for one in deployment.connections if isinstance(one.synapses, Dense)]
    bits = sum(one.synapses.weight.size * one.weight_bits for one in dense)
    return (bits + 16 * sum(deployment.population(name).size for name in {one.target for one in dense})) // 8
