"""What a damage changes in a running Brian2 network, step by step: numbers that are written into the variables of its groups.

A network holds B copies of the chip side by side; copy c shows sample pB + c in presentation p. The order of events in a step is
defined in :mod:`neurofault.damage.damage`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Drop, Force, InputNoise
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.wiring import Edits, listed
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection
from neurofault.inputs import Bias, Inputs

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Show:
    """One presentation: which samples the copies show.

    Attributes:
        first: index of the first copy's sample in the whole data set.
        copies: B.
        timesteps: T.
        inputs: of those samples; fewer than B in the last presentation.
    """

    first: int
    copies: int
    timesteps: int
    inputs: Inputs


class NeuronEdits:
    """The parameters and the state of one population's neurons, as the damage wants them.

    Attributes:
        varies: whether parameters may differ from step to step.
        ruled: whether the law is not Lava's, or a counter or a reset is broken.

    Args:
        deployment: the chip.
        name: of the population.
    """

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment, self.population = deployment, deployment.population(name)
        edits = deployment.damage.of_population(name)
        self.ruled = not self.population.law.usual or any(edit.does & {"counter", "kept"} for edit in edits)
        self.varies = any(isinstance(edit, InputNoise | Force) or not edit.when.always for edit in edits)

    def begin(self, show: Show) -> None:
        """Make ready for a presentation."""
        self.show = show
        self._neurons = NeuronsInTime(self.deployment, self.population.name, show.first, show.copies)

    def parameters(self, step: int) -> dict[str, Values]:
        """Return float64 [B, n] each of ``keep_u``, ``keep_v``, ``theta``, ``bias``, ``alive``, ``forced`` (−1: not) in a step, and what a law takes."""
        own, show, now = self.population, self.show, self._neurons.at(step)
        given, part = None, show.inputs.of(own.name) if own.is_source else None
        if isinstance(part, Bias):
            shown = np.pad(part.mantissa.astype(np.int64), ((0, show.copies - len(part)), (0, 0)))
            given = self._neurons.noisy(shown, step)
        every = now.let_out(np.ones((show.copies, own.size), bool), step)
        values = {
            "keep_u": (4095 - now.du) / 4096,
            "keep_v": (4096 - now.dv) / 4096,
            "theta": now.vth * 64.0,
            "bias": bias_of(now.mantissa(given), own.bias_exponent).astype(np.float64),
            "alive": np.where(now.silent, 0.0, 1.0),
            "forced": np.where(now.rate < 0, -1.0, every),
        }
        if self.ruled:
            law, reach = own.law, np.clip(now.vth * 64.0, -2.0 * STATE_LIMIT, 2.0 * STATE_LIMIT)
            values |= {
                "theta": reach,
                "pause": np.zeros(own.size) if law.refractory is None else law.refractory,
                "lowest": np.full(own.size, 1.0 - STATE_LIMIT) if law.floor is None else law.floor,
                "counter": now.counter.astype(np.float64),
                "resets": np.where(now.kept, 0.0, 1.0),
            }
        return {name: np.broadcast_to(value, (show.copies, own.size)) for name, value in values.items()}

    def upset(self, step: int, u: Values, v: Values) -> None:
        """Flip the bits of u and v [B·n] that flip at the beginning of a step."""
        self._neurons.at(step).upset(u.reshape(self.show.copies, -1), v.reshape(self.show.copies, -1))


@dataclass(frozen=True, eq=False)
class BrianSynapses:
    """The synapses of one delay in one copy; the last of them vary in time.

    Attributes:
        delay: extra steps, at least 0.
        sources, targets: int64 [k].
        weights: float64 [k], 0 where they vary.
        varying: int64 [m], which of the pairs of :class:`SynapseEdits` the last m synapses are.
    """

    delay: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: Values
    varying: NDArray[np.int64]


class SynapseEdits:
    """The synapses of one connection, and those pairs whose weight or delay varies in time or whose messages may get lost.

    Attributes:
        wires: the synapses of each delay with which spikes can still arrive within a presentation.
        presentation: which one :meth:`begin` has prepared; −1: none.

    Args:
        deployment: the chip.
        connection: of the chip.
        first_sample, samples: those that will be shown.
    """

    def __init__(self, deployment: Deployment, connection: ChipConnection, first_sample: int, samples: int) -> None:
        self.deployment, self.connection = deployment, connection
        n_in, within = connection.synapses.n_in, deployment.timesteps - deployment.schedule.lag[connection.name]
        self._drops = [edit for edit in deployment.damage.of_connection(connection.name) if isinstance(edit, Drop)]
        broken = SynapsesInTime(deployment, connection.name, first_sample, samples)
        targets, sources, weights, delays = _synapses(connection, broken)
        keys = targets * n_in + sources
        own = broken.targets * n_in + broken.sources
        dropped = [keys[np.isin(targets, edit.targets) & np.isin(sources, edit.sources)] for edit in self._drops]
        self._keys = np.unique(np.concatenate([own, *dropped]))
        self._targets, self._sources = np.divmod(self._keys, n_in)
        self._place = np.searchsorted(self._keys, own)
        self._weights, self._delays = np.zeros((2, self._keys.size), np.int64)
        among = np.isin(keys, self._keys)
        at = np.searchsorted(self._keys, keys[among])
        self._weights[at], self._delays[at] = weights[among].astype(np.int64), delays[among]
        alone = ~np.isin(self._keys, own)
        possible: dict[int, list[NDArray[np.int64]]] = {int(d): [] for d in np.unique(delays[~among])}
        for delay in np.unique(self._delays[alone]):
            possible.setdefault(int(delay), []).append(np.flatnonzero(alone & (self._delays == delay)))
        for delay, mine in broken.delays().items():
            possible.setdefault(delay, []).append(self._place[mine])
        self.presentation = -1
        self.wires = []
        for delay in sorted(delay for delay in possible if delay < within):
            steady = ~among & (delays == delay)
            varying = np.unique(np.concatenate([np.empty(0, np.int64), *possible[delay]]))
            self.wires.append(
                BrianSynapses(
                    delay,
                    np.concatenate([sources[steady], self._sources[varying]]),
                    np.concatenate([targets[steady], self._targets[varying]]),
                    np.concatenate([weights[steady], np.zeros(varying.size)]),
                    varying,
                )
            )

    def begin(self, show: Show, presentation: int) -> None:
        """Make ready for a presentation."""
        self.presentation, self._copies = presentation, show.copies
        self._broken = SynapsesInTime(self.deployment, self.connection.name, show.first, show.copies)
        phase = self.deployment.schedule.phase[self.connection.target]
        self._lost = [edit.lost(phase, show.first, show.copies, show.timesteps) for edit in self._drops]

    def varying(self, wires: BrianSynapses, sent: int) -> Values:
        """Return float64 [B, m]: what the varying synapses of one delay carry for spikes that arrived in step ``sent``."""
        weights, delays = (np.tile(values, (self._copies, 1)) for values in (self._weights, self._delays))
        kept = np.ones(weights.shape, bool)
        for copy, number in enumerate(self._broken.which[:, sent]):
            held = self._broken.held(int(number))
            weights[copy, self._place], delays[copy, self._place] = held.weights, held.delays
        for edit, lost in zip(self._drops, self._lost, strict=True):
            where = np.flatnonzero(np.isin(self._targets, edit.targets) & np.isin(self._sources, edit.sources))
            kept[:, where] &= ~lost[:, sent][:, np.searchsorted(edit.sources, self._sources[where])]
        return np.asarray((weights * (kept & (delays == wires.delay)))[:, wires.varying], np.float64)


def _synapses(
    connection: ChipConnection, broken: SynapsesInTime
) -> tuple[NDArray[np.int64], NDArray[np.int64], Values, NDArray[np.int64]]:
    """Return targets, sources, weights and delays of every synapse that is not 0 where ``broken`` does not vary."""
    found = listed(connection.synapses, Edits(broken.steady_sources, broken.steady_targets, broken.steady_weights))
    there = found.weights != 0
    return found.targets[there], found.sources[there], found.weights[there].astype(np.float64), found.delays[there]
