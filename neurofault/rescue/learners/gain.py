"""How strongly a step of learning answers an error on this chip: the loop gain, by which step sizes are chosen.

A rival that comes within the margin by m scores sends an error of tie·m/margin, every source's weights to it move by rate·trace·error,
and by that its score in the same sample moves by ::

    gain · m        gain = tie / margin · rate · Σ trace · reach        over the sources, a mean over samples

where reach is what one more unit of weight does to the score: the source's spikes times what one of them leaves in the potential. The
right class answers as strongly, so at a gain of 1 a sample's own error overshoots, and what one sample learns another must unlearn. For a
hidden layer the error arrives through the feedback and goes on through the layers that follow, so both stand in the product too.

Spikes grow with a conversion's rates and with the number of sources, margins and potentials do not follow, so no constant suits every
chip: on a network of 64 hidden neurons the same step has a gain of 0.1 or of 0.8 by the conversion alone. Learners take the largest
steps of their ladder, from the usual ones downwards, whose gain is at most :data:`LIMIT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.graph import Dense
from neurofault.graph.chains import links
from neurofault.inputs import Inputs

LIMIT = 0.28
"""Largest gain of a learner's steps: half an octave above that of ``mnist-mlp`` on Loihi 2 (0.19), on which they were tuned."""

SAMPLES = 128
"""Samples over which a gain is a mean."""

_TOP = 127
_CHUNK = 32
_Setting = TypeVar("_Setting")


@dataclass(frozen=True, eq=False)
class Seen:
    """What a healthy chip did with some samples, as far as learning depends on it.

    Attributes:
        deployment: the healthy chip.
        spikes: connection → int64 [N, n_in], spikes of each of its sources that arrive in each sample; of those that are asked for.
    """

    deployment: Deployment
    spikes: Mapping[str, NDArray[np.int64]]

    def drive(self, connection: str, impulse: int) -> float:
        """Return Σ trace · spikes over the sources of a connection, a mean over samples.

        Args:
            connection: its name.
            impulse: what a spike adds to a source's trace, which ends at 127.
        """
        spikes = self.spikes[connection]
        return float((np.minimum(impulse * spikes, _TOP) * spikes).sum(axis=1).mean())

    def unit(self, connection: str) -> float:
        """Return what one spike through a weight of 1 leaves, in scores for the readout, else in spikes of the target."""
        own = self.deployment.connection(connection)
        chip = self.deployment.population(own.target)
        steps = self.deployment.timesteps
        keep_u, keep_v = float(np.mean(4095 - chip.du)) / 4096, float(np.mean(4096 - chip.dv)) / 4096
        left, u, v = 0.0, 1.0, 0.0
        for _ in range(steps):  # a spike this many steps before the sample's last
            v = v * keep_v + u
            u *= keep_u
            left += v / steps
        raw = 2.0 ** (6 + own.weight_exponent) * left
        scored = own.target == self.deployment.output.name and self.deployment.readout.how == "potential"
        return raw if scored else raw / max(64.0 * float(np.mean(chip.vth)), 1.0)

    def onward(self, population: str) -> list[NDArray[np.float64]]:
        """Return for each sample float64 [n_out, n]: what one more spike of each neuron of a chain's hidden population does to each score.

        A neuron passes changes on as far as it fires; one that does not fire learns nothing either.
        """
        chain = links(self.deployment, "what hidden populations do to scores")
        place = next(link.index for link in chain if link.population.name == population)
        later = [link.incoming for link in chain[:place:-1]]
        found = []
        for sample in range(len(self.spikes[later[-1].name])):
            way = np.eye(self.deployment.output.size)
            for connection in later:
                synapses, name = connection.synapses, connection.name
                assert isinstance(synapses, Dense)
                way = (way @ np.asarray(synapses.weight, np.float64)) * self.unit(name) * (self.spikes[name][sample] > 0)
            found.append(way)
        return found


def seen(deployment: Deployment, inputs: Inputs, connections: Iterable[str]) -> Seen:
    """Run the healthy chip on the first samples.

    Args:
        deployment: the chip; its damage is left out.
        inputs: encoded samples, at least one; the first :data:`SAMPLES` count.
        connections: names of those over which spikes are counted.
    """
    healthy, engine = deployment.with_damage(Damage()), get_engine("exact")
    kept: dict[str, list[NDArray[np.int64]]] = {name: [] for name in connections}
    for start in range(0, min(SAMPLES, len(inputs)), _CHUNK):
        activity = engine.run(healthy, inputs[start : min(start + _CHUNK, SAMPLES, len(inputs))], record=("spikes",))
        for name, each in kept.items():
            spikes = activity.traces[deployment.connection(name).source].spikes
            assert spikes is not None
            in_time = max(0, deployment.timesteps - deployment.schedule.lag[name])
            each.append(spikes[:, :in_time].sum(axis=1, dtype=np.int64))
    return Seen(healthy, {name: np.concatenate(each) for name, each in kept.items()})


def through_feedback(seen: Seen, population: str, arriving: NDArray[np.float64]) -> float:
    """Return Σ onward · arriving over the neurons of a hidden population, a mean over classes and samples.

    Args:
        seen: see :func:`seen`.
        population: its name.
        arriving: float64 [n_out, n], what a tie's error of each class writes into each neuron's third factor, or how often it fires.
    """
    size = np.abs(arriving)
    return float(np.mean([(np.abs(way) * size).sum(axis=1).mean() for way in seen.onward(population)]))


def first_stable(ladder: Iterable[tuple[_Setting, float]], limit: float = LIMIT) -> _Setting:
    """Return the first setting whose gain is at most ``limit``; where there is none, that of the smallest gain.

    Args:
        ladder: (setting, gain), the one liked best first; at least one.
        limit: largest gain.
    """
    seen: list[tuple[_Setting, float]] = []
    for setting, gain in ladder:
        if gain <= limit:
            return setting
        seen.append((setting, gain))
    return min(seen, key=lambda one: one[1])[0]
