"""A (damaged) deployment in the terms of Lava's processes: plain arrays, nothing of Lava needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop, LearningDefect, SetDelays, SetSynapses
from neurofault.damage.edits import not_applied
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.weight_fields import truncate_weights
from neurofault.engines.base import STREAM
from neurofault.engines.wiring import Edits, dense_delays, dense_weights, edits_of, listed, sparse_weights
from neurofault.graph import Dense
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import Law, unknown_feature
from neurofault.graph.schedule import title
from neurofault.graph.synapses import SignMode, longest_delay
from neurofault.inputs import Bias, Inputs, Spikes

LARGEST_DELAY = 63
"""Lava 0.10 ``DelayDense`` refuses more."""

JOB, PROGRESS = "job.pickle", "progress"
"""Files in a run's folder: what to do, and how many samples have been through."""

_LARGEST_MATRIX = 1 << 22
_FEATURES = frozenset({"reset subtract", "reset none", "delayed", "refractory", "floor"})
"""What laws are built here (:attr:`neurofault.graph.law.Law.features`)."""
_APPLIED = frozenset({
    "silent", "rate", "du", "dv", "vth", "bias_mantissa", "own_bias", "flips_u", "flips_v", "noise", "weights", "delays",
    "messages", "counter", "kept",
})  # fmt: skip
"""What edits may do to a step here (``does`` of their classes)."""


@dataclass(frozen=True, eq=False)
class Rewired:
    """What is broken in a connection's synapses and is written anew in each step.

    Attributes:
        broken: synapses that change with time, or have another delay.
        drops: of messages, each with bool [N, T, k]: which are lost.
    """

    broken: SynapsesInTime
    drops: tuple[tuple[Drop, NDArray[np.bool_]], ...]


@dataclass(frozen=True, eq=False)
class LavaConnection:
    """A Lava connection: ``Dense``, ``DelayDense`` (where synapses have delays of their own) or ``Sparse`` (a sparse matrix).

    Attributes:
        source, target: places of the populations in :attr:`Job.populations`.
        phase: of the target: it sees its first spikes in this step of Lava's.
        waits: steps that spikes are held back before Lava's own one step: the connection's delay − 1.
        lag: as in the schedule: in so many of a sample's first steps the target sees nothing of it.
        weights: int32 [n_out, n_in].
        delays: int64 [n_out, n_in], or None.
        max_delay: the largest delay that can occur.
        exponent, bits, sign_mode: Lava's ``weight_exp``, ``num_weight_bits``, ``sign_mode``.
        rewired: what is written anew in each step; there are delays then. None: nothing.
    """

    source: int
    target: int
    phase: int
    waits: int
    lag: int
    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None
    max_delay: int
    exponent: int
    bits: int
    sign_mode: SignMode
    rewired: Rewired | None


@dataclass(frozen=True, eq=False)
class LavaPopulation:
    """A Lava ``LIF``, flat.

    Attributes:
        name: the population's.
        phase: its first step is Lava's step phase + 1.
        du, dv, vth: int64 [n].
        bias: int64 [1 or N, n], mantissa; one for all samples, or one for each.
        bias_exponent: Lava's ``bias_exp``.
        start: int32 [n], v at a sample's first step.
        noisy: whether its bias is what a sample gives, with what noise adds.
        damage: what holds in each step of each sample.
        law: reset, refractory steps, floor.
    """

    name: str
    phase: int
    du: NDArray[np.int64]
    dv: NDArray[np.int64]
    vth: NDArray[np.int64]
    bias: NDArray[np.int64]
    bias_exponent: int
    start: NDArray[np.int32]
    noisy: bool
    damage: NeuronsInTime
    law: Law


@dataclass(frozen=True, eq=False)
class Job:
    """What one Lava run has to do.

    Attributes:
        populations: in the order of the network.
        wires: between them.
        events: place of an input that is driven by events → bool [N, T, n], what leaves it.
        samples, timesteps: N and T.
        depth: the largest phase.
    """

    populations: tuple[LavaPopulation, ...]
    wires: tuple[LavaConnection, ...]
    events: Mapping[int, NDArray[np.bool_]]
    samples: int
    timesteps: int
    depth: int


def unfit(deployment: Deployment) -> str | None:
    """Return why Lava cannot hold a deployment, naming the connection; None if it can."""
    if deployment.reset == "never":
        return STREAM
    if (joining := deployment.damage.joining) is not None:
        return joining
    if (reason := not_applied(deployment.damage.edits, _APPLIED)) is not None:
        return reason
    for own in deployment.populations:
        if (feature := unknown_feature(own.law, _FEATURES)) is not None:
            return f"layer {own.name!r}: {feature} is not built here"
    for connection in deployment.connections:
        if connection.sign_mode == "signed":
            return f"{title(connection)}: Lava stores no weights in plain signed bits"
        synapses = connection.synapses
        edits = [edit for edit in deployment.damage.edits if isinstance(edit, SetSynapses) and edit.connection == connection.name]
        weights = np.concatenate([synapses.weight.ravel(), *(edit.values for edit in edits)])
        odd = weights != truncate_weights(weights, connection.weight_bits, connection.sign_mode)
        if odd.any():
            field = f"{connection.weight_bits} bits, {connection.sign_mode}"
            return f"{title(connection)}: weight {weights[odd][0]} is not one that Lava's stored field ({field}) can hold"
        if (delay := _max_delay(deployment, connection)) > LARGEST_DELAY:
            return f"{title(connection)}: delay {delay} is above Lava's {LARGEST_DELAY}"
        size = f"{synapses.n_in} × {synapses.n_out} are too many for that"
        if synapses.n_in * synapses.n_out <= _LARGEST_MATRIX:
            continue
        if _rewired(deployment, connection):
            return f"{title(connection)}: synapses that change in time are rewritten in each step, and {size}"
        if synapses.delay is not None and not isinstance(synapses, Dense):
            return f"{title(connection)}: Lava's DelayDense holds every pair of neurons, and {size}"
    return None


def plan(deployment: Deployment, inputs: Inputs) -> Job:
    """Put a deployment and its samples in Lava's terms."""
    populations = tuple(_population(deployment, one, inputs) for one in deployment.populations)
    events: dict[int, NDArray[np.bool_]] = {}
    for place, own in enumerate(deployment.populations):
        given = inputs.of(own.name) if own.is_source else None
        if isinstance(given, Spikes):
            events[place] = given.to_dense()
            for step in range(deployment.timesteps):
                events[place][:, step] = populations[place].damage.at(step).let_out(events[place][:, step], step)
    wires = tuple(_wires(deployment, connection, inputs) for connection in deployment.connections)
    return Job(populations, wires, events, len(inputs), deployment.timesteps, deployment.schedule.depth)


def _population(deployment: Deployment, own: ChipPopulation, inputs: Inputs) -> LavaPopulation:
    given = inputs.of(own.name) if own.is_source else None
    bias = given.mantissa if isinstance(given, Bias) else own.bias_mantissa[None]
    return LavaPopulation(
        own.name,
        deployment.schedule.phase[own.name],
        own.du.astype(np.int64),
        own.dv.astype(np.int64),
        own.vth.astype(np.int64),
        bias.astype(np.int64),
        own.bias_exponent,
        np.full(own.size, own.v_init, np.int32),
        own.is_source,
        NeuronsInTime(deployment, own.name, inputs.first_sample, len(inputs)),
        own.law,
    )


def _rewired(deployment: Deployment, connection: ChipConnection) -> bool:
    """Return whether any edit of a connection acts in time or on more than weights."""
    own = [edit for edit in deployment.damage.of_connection(connection.name) if not isinstance(edit, LearningDefect)]
    return any(not isinstance(edit, SetSynapses) or not edit.when.always for edit in own)


def _max_delay(deployment: Deployment, connection: ChipConnection) -> int:
    """Return the largest delay that a synapse of a connection can have."""
    largest = longest_delay(connection.synapses)
    flips, longest = 0, 0
    for edit in deployment.damage.of_connection(connection.name):
        if isinstance(edit, SetDelays):
            if edit.flips is None or edit.longest is None:
                largest = max(largest, int(edit.delays.max(initial=0)))
            else:
                flips, longest = flips | int(np.bitwise_or.reduce(edit.flips, initial=0)), max(longest, edit.longest)
    every = (1 << (largest | flips).bit_length()) - 1  # no field holds more, whatever flips in it
    return max(largest, min(every, longest))


def _wires(deployment: Deployment, connection: ChipConnection, inputs: Inputs) -> LavaConnection:
    synapses, name = connection.synapses, connection.name
    rewired, edits = None, None
    if _rewired(deployment, connection):
        broken = SynapsesInTime(deployment, name, inputs.first_sample, len(inputs))
        drops = [edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.connection == name]
        phase = deployment.schedule.phase[connection.target]
        lost = [edit.lost(phase, inputs.first_sample, len(inputs), deployment.timesteps) for edit in drops]
        rewired = Rewired(broken, tuple(zip(drops, lost, strict=True)))
        edits = Edits(broken.steady_sources, broken.steady_targets, broken.steady_weights)
    edits = edits_of(deployment, name) if edits is None else edits
    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None = None
    if isinstance(synapses, Dense):
        weights, own = dense_weights(synapses, edits), dense_delays(synapses, edits)
        delays = None if own is None else own.astype(np.int64)
        delays = np.zeros(weights.shape, np.int64) if rewired and delays is None else delays
    elif rewired or synapses.delay is not None:
        every = listed(synapses, edits)
        weights, delays = np.zeros((synapses.n_out, synapses.n_in), np.int32), np.zeros((synapses.n_out, synapses.n_in), np.int64)
        weights[every.targets, every.sources] = every.weights
        delays[every.targets, every.sources] = every.delays
    else:
        weights = sparse_weights(synapses, edits)
    places = [one.name for one in deployment.populations]
    return LavaConnection(
        places.index(connection.source),
        places.index(connection.target),
        deployment.schedule.phase[connection.target],
        connection.delay - 1,
        deployment.schedule.lag[name],
        weights,
        delays,
        _max_delay(deployment, connection),
        connection.weight_exponent,
        connection.weight_bits,
        connection.sign_mode,
        rewired,
    )
