"""A damaged deployment in plain integers, as the chip reads them: what formats without faults can hold.

Broken weights, delays, thresholds, decays and biases are as the chip reads them; a convolution with broken synapses becomes a matrix. Dead neurons get
weights and bias 0, so they never fire; nothing reads what dead inputs send. What no integer says is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.netx_layout import as_matrix
from neurofault.damage.damage import (
    Detour,
    Drop,
    Edit,
    Force,
    LearningDefect,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
)
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.synapses import Dense


@dataclass(frozen=True, eq=False)
class AsRead:
    """A network as a broken chip reads it.

    Attributes:
        populations: in the deployment's order.
        connections: likewise.
        dead: name of a population → bool [n], neurons that never fire.
        beside: whether routes or learning engines are broken too, which are no integers of a network.
    """

    populations: Sequence[ChipPopulation]
    connections: Sequence[ChipConnection]
    dead: Mapping[str, NDArray[np.bool_]]
    beside: bool


def as_read(chip: Deployment, what: str) -> AsRead:
    """Return what a chip reads, all that is broken in its numbers.

    Args:
        chip: the deployment.
        what: the format, as a refusal names it: ``a netx file``.

    Raises:
        UnsupportedError: a fault that no integer says (one that comes and goes, a stuck output), by the name of its population or connection.
    """
    dead = {one.name: np.zeros(one.size, bool) for one in chip.populations}
    fields: dict[str, list[SetField]] = {one.name: [] for one in chip.populations}
    synapses: dict[str, list[SetSynapses | SetDelays | Drop]] = {one.name: [] for one in chip.connections}
    beside = False
    for edit in chip.damage.edits:
        match edit:
            case Detour() | LearningDefect():
                beside = True
            case Silence() | Force(rate=0) if edit.when.always:
                dead[edit.population][edit.neurons] = True
            case SetField(population=name) if edit.when.always and not (
                chip.population(name).is_source and edit.field == "bias_mantissa"
            ):
                fields[name].append(edit)
            case SetSynapses() | SetDelays() if edit.when.always:
                synapses[edit.connection].append(edit)
            case Drop(probability=1.0) if edit.when.always:
                synapses[edit.connection].append(edit)
            case _:
                raise UnsupportedError(f"{_where(edit)}: {what} holds no fault of the kind {type(edit).__name__}{_times(edit)}")
    populations = [_population(one, fields[one.name], dead[one.name]) for one in chip.populations]
    connections = [
        _connection(one, synapses[one.name], dead[one.source] & chip.population(one.source).is_source, dead[one.target])
        for one in chip.connections
    ]
    return AsRead(populations, connections, dead, beside)


def _where(edit: Edit) -> str:
    for kind in ("population", "connection"):
        if kind in vars(edit):
            return f"{kind} {vars(edit)[kind]!r}"
    return "the chip"


def _times(edit: Edit) -> str:
    return "" if edit.when.always else " that acts only at times"


def _population(chip: ChipPopulation, fields: list[SetField], dead: NDArray[np.bool_]) -> ChipPopulation:
    """Return a population as its neurons are, dead ones without bias."""
    now = NeuronFold(chip, fields).at(np.ones(len(fields), bool))
    mantissa, vth = (np.asarray(values, np.int32).copy() for values in (now.bias_mantissa, now.vth))
    if not chip.is_source:
        mantissa[dead] = 0
        vth[dead & (chip.v_init > vth.astype(np.int64) << 6)] = 131071
    return replace(chip, du=now.du.astype(np.int32), dv=now.dv.astype(np.int32), vth=vth, bias_mantissa=mantissa)


def _connection(
    chip: ChipConnection,
    edits: list[SetSynapses | SetDelays | Drop],
    dead_sources: NDArray[np.bool_],
    dead_targets: NDArray[np.bool_],
) -> ChipConnection:
    """Return a connection with the weights and delays that the chip reads, none into dead neurons, none from dead inputs."""
    if not edits and not dead_sources.any() and not dead_targets.any():
        return chip
    whole = as_matrix(chip)
    weight = np.array(whole.weight)
    delay = np.zeros(weight.shape, np.int64) if whole.delay is None else np.array(whole.delay)
    fold = SynapseFold(chip, edits)
    held = fold.at(fold.always)
    weight[fold.targets, fold.sources], delay[fold.targets, fold.sources] = held.weights, held.delays
    for edit in edits:
        if isinstance(edit, Drop):
            weight[np.ix_(edit.targets, edit.sources)] = 0
    weight[dead_targets] = 0
    weight[:, dead_sources] = 0
    return replace(chip, synapses=Dense(weight, delay if delay.any() else None))
