"""A (damaged) deployment in the terms of Lava's processes: plain arrays, nothing of Lava needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.damage import Drop, Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.quantise import truncate_weights
from neurofault.engines.wiring import Edits, dense_weights, edits_of, sparse_weights
from neurofault.network import Conv, Dense, Inputs, SignMode

LARGEST_DELAY = 63
"""Lava 0.10 ``DelayDense`` refuses more."""

JOB, PROGRESS = "job.pickle", "progress"
"""Files in a run's folder: what to do, and how many samples have been through."""

_LARGEST_MATRIX = 1 << 22
_NONE = Edits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Timed:
    """An edit of a layer and when it acts.

    Attributes:
        edit: the edit.
        grid: bool [N, T], whether it acts in a step of a sample; for a :class:`Drop` [N, T, k], whether a message is lost;
            for an :class:`InputNoise` int64 [N, T, k], what is added.
    """

    edit: Edit
    grid: NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Wires:
    """A Lava connection: ``Dense``, ``DelayDense`` (with delays) or ``Sparse`` (a sparse matrix).

    Attributes:
        weights: int32 [n_out, n_in].
        delays: int64 [n_out, n_in], or None.
        max_delay: the largest delay that can occur.
        exponent, bits, sign_mode: Lava's ``weight_exp``, ``num_weight_bits``, ``sign_mode``.
        faults: `SetSynapses`, `SetDelays`, `Drop` that are applied anew in each step, in order; there are delays then.
    """

    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None
    max_delay: int
    exponent: int
    bits: int
    sign_mode: SignMode
    faults: tuple[Timed, ...]


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
        faults: `Silence`, `Force`, `SetField`, `Upset`, `InputNoise`, in order.
    """

    name: str
    du: NDArray[np.int64]
    dv: NDArray[np.int64]
    vth: NDArray[np.int64]
    bias: NDArray[np.int64]
    bias_exponent: int
    start: NDArray[np.int32]
    wires: Wires | None
    faults: tuple[Timed, ...]


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
        for sample, step in np.ndindex(*events.shape[:2]):
            let_out(populations[0].faults, sample, step, events[sample, step])
    return Job(populations, events, len(inputs), deployment.timesteps)


def let_out(faults: Iterable[Timed], sample: int, step: int, spikes: NDArray[np.bool_]) -> None:
    """Change the spikes [n] that leave a population: what is forced, and nothing from the silent."""
    for fault in faults:
        if isinstance(fault.edit, Force) and fault.grid[sample, step]:
            spikes[fault.edit.neurons] = fault.edit.spikes(fault.grid.shape[1])[step]
    for fault in faults:
        if isinstance(fault.edit, Silence) and fault.grid[sample, step]:
            spikes[fault.edit.neurons] = False


def _grid(deployment: Deployment, inputs: Inputs, edit: Edit, index: int) -> NDArray[np.generic]:
    """What :class:`Timed` says of an edit."""
    samples, steps = len(inputs), deployment.timesteps
    match edit:
        case Drop():
            return edit.lost(inputs.first_sample, samples, steps)
        case InputNoise():
            return edit.mantissas(inputs.first_sample, samples, steps)
        case _:
            return edit.when.grid(index, inputs.first_sample, samples, steps)


def _population(deployment: Deployment, index: int, inputs: Inputs) -> Population:
    layer, edits = deployment.layers[index], deployment.damage.edits
    own = [edit for edit in edits if isinstance(edit, Silence | Force | SetField | Upset | InputNoise) and edit.layer == index]
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
        tuple(Timed(edit, _grid(deployment, inputs, edit, index)) for edit in own),
    )


def _rewired(deployment: Deployment, index: int) -> list[SetSynapses | SetDelays | Drop]:
    """Return all edits of a layer's synapses if any of them acts in time or on more than weights, else none."""
    own = [edit for edit in deployment.damage.edits if isinstance(edit, SetSynapses | SetDelays | Drop) and edit.layer == index]
    return own if any(not isinstance(edit, SetSynapses) or not edit.when.always for edit in own) else []


def _max_delay(deployment: Deployment, index: int) -> int:
    """Return the largest delay that can occur in a layer."""
    synapses = deployment.layers[index].synapses
    healthy = synapses.delay if isinstance(synapses, Dense) and synapses.delay is not None else np.zeros(1, np.int64)
    edits = (edit.delays for edit in deployment.damage.edits if isinstance(edit, SetDelays) and edit.layer == index)
    return max(int(delays.max(initial=0)) for delays in (healthy, *edits))


def _wires(deployment: Deployment, index: int, inputs: Inputs) -> Wires | None:
    layer, synapses, rewired = deployment.layers[index], deployment.layers[index].synapses, _rewired(deployment, index)
    edits = _NONE if rewired or synapses is None else edits_of(deployment, index)
    weights: NDArray[np.int32] | sparse.csr_matrix
    delays: NDArray[np.int64] | None = None
    match synapses:
        case Dense():
            weights = dense_weights(synapses, edits)
            delays = None if synapses.delay is None else synapses.delay.astype(np.int64)
        case Conv():
            weights = sparse_weights(synapses, edits)
        case None:
            return None
    if rewired:
        weights = weights.toarray() if isinstance(weights, sparse.csr_matrix) else weights
        delays = np.zeros(weights.shape, np.int64) if delays is None else delays
    faults = tuple(Timed(edit, _grid(deployment, inputs, edit, index)) for edit in rewired)
    stored = (layer.weight_exponent, layer.weight_bits, layer.sign_mode)
    return Wires(weights, delays, _max_delay(deployment, index), *stored, faults)
