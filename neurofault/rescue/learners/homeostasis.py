"""Healing without labels: each neuron moves its bias until it fires as often as on the healthy chip (`homeostasis`).

Every ``every`` samples a neuron compares its mean number of spikes a sample with the one that it had when the chip was deployed ::

    Δbias = gain · (healthy − now) · (threshold − v_init) / T        a bias that adds this in each step brings about one spike more

rounded to its stored mantissa, at most ``most`` of the way to one spike at a time, and none where the difference is within ``tolerance``
standard errors: what so few samples scatter by is not chased. The rule is local: a spike counter, a stored
target and the neuron's own bias (a neuron program of Loihi 2; on Loihi 1 an embedded processor would do it). Biases rather than thresholds,
because a core of Loihi 1 stores few distinct thresholds but a bias for each neuron. Synaptic scaling in nature does the same with weights
(Turrigiano 2008, Cell 135(3)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.damage.damage import Damage, SetField
from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.errors import UsageError
from neurofault.graph.chip import ChipPopulation
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import LessonCharge, charge
from neurofault.rescue.guard import Differences
from neurofault.rescue.lesson import Lesson, Plasticity, Taught
from neurofault.rescue.provision import Provision


@dataclass(frozen=True, eq=False)
class HomeostasisMemory:
    """What the neurons keep between lessons.

    Attributes:
        counted: population → int64 [n], spikes since the last change of biases.
        samples: number of samples since then.
        writes: population → int64 [n], how often each bias was written.
    """

    counted: Mapping[str, NDArray[np.int64]]
    samples: int
    writes: Mapping[str, NDArray[np.int64]]


@final
@dataclass(frozen=True)
class Homeostasis:
    """Biases that follow the healthy rates; made by :func:`homeostasis`.

    Attributes:
        rates: population → float64 [n], spikes a sample on the healthy chip.
        every: samples between two changes, at least 1.
        gain: share of the error that a change makes up for, above 0.
        most: largest change, in spikes a sample, above 0.
        tolerance: a difference of rates is left alone within so many standard errors (of counts that scatter as Poisson's do, as they
            would at the healthy rate), at least 0.
    """

    rates: tuple[tuple[str, NDArray[np.float64]], ...]
    every: int = 200
    gain: float = 0.5
    most: float = 1.0
    tolerance: float = 2.0

    def __post_init__(self) -> None:
        if not self.tolerance >= 0:
            raise UsageError(f"homeostasis: tolerance must be at least 0, is {self.tolerance}")
        for name in ("every", "gain", "most"):
            if not getattr(self, name) > 0:
                raise UsageError(f"homeostasis: {name} must be above 0, is {getattr(self, name)}")

    @property
    def name(self) -> str:
        """``homeostasis``."""
        return "homeostasis"

    @property
    def on_chip(self) -> bool:
        """True."""
        return True

    def trainable(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the names of the hidden populations."""
        return tuple(one.name for one in deployment.populations if not one.is_source and one.name != deployment.output.name)

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """Return nothing: no synapse learns."""
        return Provision()

    def teach(self, deployment: Deployment, lesson: Lesson, memory: HomeostasisMemory | None = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`; labels are not read, and plastic are the targets of plastic connections."""
        trainable, allowed = self.trainable(deployment), lesson.plasticity.connections
        plastic = tuple(
            name for name in trainable if allowed is None or any(connection.name in allowed for connection in deployment.into(name))
        )
        if not plastic:
            raise UsageError(f"homeostasis can change {', '.join(trainable) or 'nothing'}, none of which is plastic")
        kept, sizes = memory or HomeostasisMemory({}, 0, {}), {name: deployment.population(name).size for name in plastic}
        counted = {name: kept.counted.get(name, np.zeros(size, np.int64)).copy() for name, size in sizes.items()}
        writes = {name: kept.writes.get(name, np.zeros(size, np.int64)).copy() for name, size in sizes.items()}
        samples, start, spent = kept.samples, 0, Spent()
        while start < len(lesson.labels):
            part = lesson.inputs[start : min(start + self.every - samples, len(lesson.labels))]
            activity: Activity = get_engine("exact").run(deployment, part)
            for name in plastic:
                counted[name] += activity.spike_counts[name]
            before, written = deployment, 0
            samples += len(part)
            start += len(part)
            if samples >= self.every:
                left = None if lesson.writes is None else lesson.writes - spent.writes
                deployment, written = self._change(deployment, counted, samples, writes, left, lesson.writes_per_synapse)
                samples = 0
                for total in counted.values():
                    total[:] = 0
            spent += charge(before, activity, len(part), LessonCharge(writes=written))
        return Taught(deployment, spent, HomeostasisMemory(counted, samples, writes))

    def written_back(self, memory: HomeostasisMemory | None, differing: Differences) -> HomeostasisMemory | None:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`; what was counted since is forgotten."""
        if memory is None:
            return None
        writes = {name: done + differing.biases[name] if name in differing.biases else done for name, done in memory.writes.items()}
        return HomeostasisMemory({}, 0, writes)

    def _change(
        self,
        deployment: Deployment,
        counted: Mapping[str, NDArray[np.int64]],
        samples: int,
        writes: dict[str, NDArray[np.int64]],
        left: int | None,
        limit: int | None,
    ) -> tuple[Deployment, int]:
        """Return the chip with new biases, and how many were written; ``writes`` is counted on."""
        targets, profile, written = dict(self.rates), deployment.profile.neuron, 0
        for name, spikes in counted.items():
            chip = deployment.population(name)
            missing = targets[name] - spikes / samples
            noise = np.sqrt(np.maximum(targets[name], 1 / samples) / samples)
            missing = np.where(np.abs(missing) > self.tolerance * noise, missing, 0.0)
            error = np.clip(self.gain * missing, -self.most, self.most)
            way = np.maximum((chip.vth.astype(np.float64) * 64) - chip.v_init, 64.0)
            step = np.rint(error * way / deployment.timesteps / 2.0**chip.bias_exponent).astype(np.int64)
            wanted = np.clip(chip.bias_mantissa + step, *profile.bias_mantissas)
            changes = (wanted != chip.bias_mantissa) & alive(deployment, name) & ~_stuck(deployment, chip)
            if limit is not None:
                changes &= writes[name] < limit
            chosen = np.flatnonzero(changes)
            if left is not None:
                chosen = chosen[np.argsort(-np.abs(step[chosen]), kind="stable")][: max(0, left - written)]
            bias = chip.bias_mantissa.copy()
            bias[chosen] = wanted[chosen]
            deployment = deployment.with_population(replace(chip, bias_mantissa=bias))
            writes[name][chosen] += 1
            written += len(chosen)
        return deployment, written


def homeostasis(
    deployment: Deployment, inputs: Inputs, labels: Expected | None = None, *, samples: int = 1000, **options: float
) -> Homeostasis:
    """Return `homeostasis`, its rates taken from the healthy chip.

    Args:
        deployment: the chip; its damage is left out.
        inputs: encoded samples; no labels are needed.
        labels: not read.
        samples: how many of the inputs the rates are taken from.
        options: other attributes of :class:`Homeostasis`.
    """
    part = inputs[: min(samples, len(inputs))]
    activity = get_engine("exact").run(deployment.with_damage(Damage()), part)
    rates = tuple((one.name, activity.spike_counts[one.name] / len(part)) for one in deployment.populations if not one.is_source)
    return Homeostasis(rates, **options)  # type: ignore[arg-type]  # wrong names and values are refused


def _stuck(deployment: Deployment, population: ChipPopulation) -> NDArray[np.bool_]:
    """Return bool [n]: neurons whose bias a fault holds for good."""
    mask = np.zeros(population.size, bool)
    for edit in deployment.damage.of_population(population.name):
        if isinstance(edit, SetField) and edit.field == "bias_mantissa" and edit.when.always:
            mask[edit.neurons] = True
    return mask
