"""A (damaged) deployment in the terms of Lava's processes: plain arrays, nothing of Lava needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import Drop, SetDelays, SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.deploy.quantise import truncate_weights
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.engines.wiring import Edits, dense_delays, dense_weights, edits_of, sparse_weights
from neurofault.graph import Conv, Dense
from neurofault.graph.synapses import SignMode
from neurofault.inputs import Inputs

LARGEST_DELAY = 63
"""Lava 0.10 ``DelayDense`` refuses more."""

JOB, PROGRESS = "job.pickle", "progress"
"""Files in a run's folder: what to do, and how many samples have been through."""

_LARGEST_MATRIX = 1 << 22


@dataclass(frozen=True, eq=False)
class Rewired:
    """What is broken in a layer's synapses and is written anew in each step.

    Attributes:
        broken: synapses that change with time, or have another delay.
        drops: of messages, each with bool [N, T, k]: which are lost.
    """

    broken: SynapsesInTime
    drops: tuple[tuple[Drop, NDArray[np.bool_]], ...]


@dataclass(frozen=True, eq=False)
class Wires:
    """A Lava connection: ``Dense``, ``DelayDense`` (with delays) or ``Sparse`` (a sparse matrix).

    Attributes:
        weights: int32 [n_out, n_in].
        delays: int64 [n_out, n_in], or None.
        max_delay: the largest delay that can occur.
        exponent, bits, sign_mode: Lava's ``weight_exp``, ``num_weight_bits``, ``sign_mode``.
        rewired: what is written anew in each step; there are delays then. None: nothing.
    """

    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None
    max_delay: int
    exponent: int
    bits: int
    sign_mode: SignMode
    rewired: Rewired | None


@dataclass(frozen=True, eq=False)
class Population:
    """A Lava ``LIF`` and the connection into it, flat.

    Attributes:
        name: the layer's.
        du, dv, vth: int64 [n].
        bias: int64 [1 or N, n], mantissa; one for all samples, or one for each.
        bias_exponent: Lava's ``bias_exp``.
        start: int32 [n], v at a sample's first step.
        wires: None for the input.
        damage: what holds in each step of each sample.
    """

    name: str
    du: NDArray[np.int64]
    dv: NDArray[np.int64]
    vth: NDArray[np.int64]
    bias: NDArray[np.int64]
    bias_exponent: int
    start: NDArray[np.int32]
    wires: Wires | None
    damage: NeuronsInTime


@dataclass(frozen=True, eq=False)
class Job:
    """What one Lava run has to do.

    Attributes:
        populations: input first.
        events: bool [N, T, n_in], what leaves the input in place of its own spikes; None where it is driven by a bias.
        samples, timesteps: N and T.
    """

    populations: tuple[Population, ...]
    events: NDArray[np.bool_] | None
    samples: int
    timesteps: int


def unfit(deployment: Deployment) -> str | None:
    """Return why Lava cannot hold a deployment, naming the layer; None if it can."""
    for index, layer in enumerate(deployment.layers):
        synapses = layer.synapses
        if synapses is None:
            continue
        edits = [edit for edit in deployment.damage.edits if isinstance(edit, SetSynapses) and edit.layer == index]
        weights = np.concatenate([synapses.weight.ravel(), *(edit.values for edit in edits)])
        odd = weights != truncate_weights(weights, layer.weight_bits, layer.sign_mode)
        if odd.any():
            field = f"{layer.weight_bits} bits, {layer.sign_mode}"
            return f"layer {layer.name!r}: weight {weights[odd][0]} is not one that Lava's stored field ({field}) can hold"
        if (delay := _max_delay(deployment, index)) > LARGEST_DELAY:
            return f"layer {layer.name!r}: delay {delay} is above Lava's {LARGEST_DELAY}"
        if _rewired(deployment, index) and synapses.n_in * synapses.n_out > _LARGEST_MATRIX:
            return (
                f"layer {layer.name!r}: synapses that change in time are rewritten in each step, "
                f"and {synapses.n_in} × {synapses.n_out} are too many for that"
            )
    return None


def plan(deployment: Deployment, inputs: Inputs) -> Job:
    """Put a deployment and its samples in Lava's terms."""
    populations = tuple(_population(deployment, index, inputs) for index in range(len(deployment.layers)))
    events = inputs.events
    if events is not None:
        events = events.copy()
        for step in range(deployment.timesteps):
            events[:, step] = populations[0].damage.at(step).let_out(events[:, step], step)
    return Job(populations, events, len(inputs), deployment.timesteps)


def _population(deployment: Deployment, index: int, inputs: Inputs) -> Population:
    layer = deployment.layers[index]
    bias = inputs.bias if index == 0 and inputs.bias is not None else layer.bias_mantissa[None]
    return Population(
        layer.name,
        layer.du.astype(np.int64),
        layer.dv.astype(np.int64),
        layer.vth.astype(np.int64),
        bias.astype(np.int64),
        layer.bias_exponent,
        np.full(layer.size, layer.v_init, np.int32),
        _wires(deployment, index, inputs),
        NeuronsInTime(deployment, index, inputs.first_sample, len(inputs)),
    )


def _rewired(deployment: Deployment, index: int) -> bool:
    """Return whether any edit of a layer's synapses acts in time or on more than weights."""
    own = [edit for edit in deployment.damage.edits if isinstance(edit, SetSynapses | SetDelays | Drop) and edit.layer == index]
    return any(not isinstance(edit, SetSynapses) or not edit.when.always for edit in own)


def _max_delay(deployment: Deployment, index: int) -> int:
    """Return the largest delay that can occur in a layer."""
    synapses = deployment.layers[index].synapses
    largest = 0 if not isinstance(synapses, Dense) or synapses.delay is None else int(synapses.delay.max(initial=0))
    flips, longest = 0, 0
    for edit in deployment.damage.edits:
        if isinstance(edit, SetDelays) and edit.layer == index:
            if edit.flips is None or edit.longest is None:
                largest = max(largest, int(edit.delays.max(initial=0)))
            else:
                flips, longest = flips | int(np.bitwise_or.reduce(edit.flips, initial=0)), max(longest, edit.longest)
    every = (1 << (largest | flips).bit_length()) - 1  # no field holds more, whatever flips in it
    return max(largest, min(every, longest))


def _wires(deployment: Deployment, index: int, inputs: Inputs) -> Wires | None:
    layer, synapses = deployment.layers[index], deployment.layers[index].synapses
    if synapses is None:
        return None
    rewired, edits = None, None
    if _rewired(deployment, index):
        broken = SynapsesInTime(deployment, index, inputs.first_sample, len(inputs))
        drops = [edit for edit in deployment.damage.edits if isinstance(edit, Drop) and edit.layer == index]
        lost = [edit.lost(inputs.first_sample, len(inputs), deployment.timesteps) for edit in drops]
        rewired = Rewired(broken, tuple(zip(drops, lost, strict=True)))
        edits = Edits(broken.steady_sources, broken.steady_targets, broken.steady_weights)
    edits = edits_of(deployment, index) if edits is None else edits
    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None = None
    match synapses:
        case Dense():
            weights, own = dense_weights(synapses, edits), dense_delays(synapses, edits)
            delays = None if own is None else own.astype(np.int64)
        case Conv():
            weights = sparse_weights(synapses, edits)
    if rewired:
        weights = weights.toarray() if isinstance(weights, sparse.csr_matrix) else weights
        delays = np.zeros(weights.shape, np.int64) if delays is None else delays
    stored = (layer.weight_exponent, layer.weight_bits, layer.sign_mode)
    return Wires(weights, delays, _max_delay(deployment, index), *stored, rewired)
