"""A (damaged) deployment in the terms of Lava's processes: plain arrays, nothing of Lava needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.deploy.quantise import truncate_weights
from neurofault.engines.wiring import dense_weights, edits_of, sparse_weights
from neurofault.network import Conv, Dense, Inputs, SignMode

UNREACHABLE = 1 << 17
"""A Lava ``vth`` that v cannot exceed: v is clipped to 2**23 − 1 and vth is shifted left by 6."""

JOB, PROGRESS = "job.pickle", "progress"
"""Files in a run's folder: what to do, and how many samples have been through."""

LARGEST_DELAY = 63
"""Lava 0.10 ``DelayDense`` refuses more."""


@dataclass(frozen=True, eq=False)
class Wires:
    """A Lava connection: ``Dense``, ``DelayDense`` (with delays) or ``Sparse`` (a sparse matrix).

    Attributes:
        weights: int32 [n_out, n_in], in which the rows of silent neurons are zero.
        delays: int64 [n_out, n_in], or None.
        exponent, bits, sign_mode: Lava's ``weight_exp``, ``num_weight_bits``, ``sign_mode``.
    """

    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None
    exponent: int
    bits: int
    sign_mode: SignMode


@dataclass(frozen=True, eq=False)
class Population:
    """A Lava ``LIF`` and the connection into it, flat.

    A silent neuron needs nothing of its own from Lava: no synapse, no bias, v starts at 0, the threshold is out of reach.

    Attributes:
        name: the layer's.
        du, dv, vth: int64 [n].
        bias: int16 [1 or N, n], mantissa; one for all samples, or one for each.
        bias_exponent: Lava's ``bias_exp``.
        start: int32 [n], v at a sample's first step.
        wires: None for the input.
    """

    name: str
    du: NDArray[np.int64]
    dv: NDArray[np.int64]
    vth: NDArray[np.int64]
    bias: NDArray[np.int16]
    bias_exponent: int
    start: NDArray[np.int32]
    wires: Wires | None


@dataclass(frozen=True, eq=False)
class Job:
    """What one Lava run has to do.

    Attributes:
        populations: input first.
        events: bool [N, T, n_in], what the input sends in place of its own spikes; None where it is driven by a bias.
        samples, timesteps: N and T.
    """

    populations: tuple[Population, ...]
    events: NDArray[np.bool_] | None
    samples: int
    timesteps: int

    def part(self, window: slice) -> Job:
        """Return the job for some of the samples."""
        first, *others = self.populations
        samples = len(range(self.samples)[window])
        if self.events is not None:
            return replace(self, events=self.events[window], samples=samples)
        return replace(self, populations=(replace(first, bias=first.bias[window]), *others), samples=samples)


def unfit(deployment: Deployment) -> str | None:
    """Return why Lava cannot hold a deployment, naming the layer; None if it can."""
    if not deployment.damage.plain:
        kinds = sorted({type(edit).__name__ for edit in deployment.damage.edits})
        return f"damage that acts in time or on more than neurons and weights ({', '.join(kinds)})"
    for index, layer in enumerate(deployment.layers):
        if layer.synapses is None:
            continue
        weights = np.concatenate([layer.synapses.weight.ravel(), edits_of(deployment, index).values])
        odd = weights != truncate_weights(weights, layer.weight_bits, layer.sign_mode)
        if odd.any():
            field = f"{layer.weight_bits} bits, {layer.sign_mode}"
            return f"layer {layer.name!r}: weight {weights[odd][0]} is not one that Lava's stored field ({field}) can hold"
        delay = 0 if isinstance(layer.synapses, Conv) or layer.synapses.delay is None else int(layer.synapses.delay.max(initial=0))
        if delay > LARGEST_DELAY:
            return f"layer {layer.name!r}: delay {delay} is above Lava's {LARGEST_DELAY}"
    return None


def plan(deployment: Deployment, inputs: Inputs) -> Job:
    """Put a deployment and its samples in Lava's terms."""
    populations = tuple(_population(deployment, index, inputs) for index in range(len(deployment.layers)))
    events = inputs.events
    if events is not None:
        events = events & ~deployment.damage.silent(0, deployment.layers[0].size)
    return Job(populations, events, len(inputs), deployment.timesteps)


def _population(deployment: Deployment, index: int, inputs: Inputs) -> Population:
    layer = deployment.layers[index]
    silent = deployment.damage.silent(index, layer.size)
    mantissa = inputs.bias if index == 0 and inputs.bias is not None else layer.bias_mantissa[None]
    return Population(
        layer.name,
        layer.du.astype(np.int64),
        layer.dv.astype(np.int64),
        np.where(silent, UNREACHABLE, layer.vth.astype(np.int64)),
        np.where(silent, 0, mantissa).astype(np.int16),
        layer.bias_exponent,
        np.where(silent, 0, layer.v_init).astype(np.int32),
        _wires(deployment, index),
    )


def _wires(deployment: Deployment, index: int) -> Wires | None:
    layer = deployment.layers[index]
    alive = ~deployment.damage.silent(index, layer.size)
    match layer.synapses:
        case Dense() as dense:
            delays = None if dense.delay is None else dense.delay.astype(np.int64)
            return _stored(layer, dense_weights(dense, edits_of(deployment, index)) * alive[:, None], delays)
        case Conv() as conv:
            weights = sparse_weights(conv, edits_of(deployment, index))
            return _stored(layer, sparse.diags(alive.astype(np.int32), dtype=np.int32).dot(weights).tocsr(), None)
        case None:
            return None


def _stored(layer: ChipLayer, weights: NDArray[np.int32] | sparse.csr_matrix, delays: NDArray[np.int64] | None) -> Wires:
    return Wires(weights, delays, layer.weight_exponent, layer.weight_bits, layer.sign_mode)
