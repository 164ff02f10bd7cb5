"""Damage that is the same in every step as the chip of other integers that it comes to, which the compiled kernels run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.damage import Drop, Edit, SetField
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.damage.synapse_edits import SingleSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.graph import Dense


def lasting(deployment: Deployment) -> Deployment:
    """Return a chip that gives the same, with parameters that are others for good, and dense synapses to which no message ever comes, as its integers.

    Where damage of other kinds or times is left on top, or a connection is not dense, or an input's bias is fixed in the place of what samples give, the chip is returned as it is.

    Args:
        deployment: the chip.
    """
    damage = deployment.damage
    if damage.plain or not damage.steady:
        return deployment
    for edit in damage.edits:
        if isinstance(edit, Drop) and not isinstance(deployment.connection(edit.connection).synapses, Dense):
            return deployment
        if isinstance(edit, SetField) and edit.field == "bias_mantissa" and deployment.population(edit.population).is_source:
            return deployment
    populations = []
    for one in deployment.populations:
        fold = NeuronFold(one, damage.edits)
        if any(isinstance(edit, SetField) for edit in fold.edits):
            now = fold.at(np.array([isinstance(edit, SetField) for edit in fold.edits], bool))
            fields = {name: getattr(now, name).astype(getattr(one, name).dtype) for name in ("du", "dv", "vth", "bias_mantissa")}
            one = replace(one, **fields)
        populations.append(one)
    connections = []
    edits: list[Edit] = [edit for edit in damage.edits if not isinstance(edit, Drop | SetField)]
    for wire in deployment.connections:
        synapses = wire.synapses
        if isinstance(synapses, Dense) and any(isinstance(edit, Drop) and edit.connection == wire.name for edit in damage.edits):
            lost = damage.lost(wire.name, synapses.n_out, synapses.n_in)
            edits = [_heard(edit, wire.name, lost) for edit in edits]
            wire = replace(
                wire, synapses=replace(synapses, weight=np.where(lost, 0, synapses.weight).astype(synapses.weight.dtype))
            )
        connections.append(wire)
    return replace(
        deployment, populations=tuple(populations), connections=tuple(connections), damage=replace(damage, edits=tuple(edits))
    )


def _heard(edit: Edit, connection: str, lost: NDArray[np.bool_]) -> Edit:
    """Return an edit without synapses that no message reaches."""
    if isinstance(edit, SingleSynapses) and edit.connection == connection:
        return only(edit, ~lost[edit.targets, edit.sources])
    return edit
