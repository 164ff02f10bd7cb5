"""The populations that never change while others learn: their spikes, worked out once for many samples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Detour, Edit, Stall
from neurofault.damage.neuron_edits import NeuronEdit
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.graph.readout import Readout
from neurofault.inputs import Inputs


def front(deployment: Deployment, trained: Collection[str]) -> Deployment:
    """Return the chip without some populations and what they reach, with the damage that concerns the rest.

    Args:
        deployment: the chip.
        trained: names of populations, not all that there are.
    """
    gone = deployment.wiring.downstream(set(trained))
    populations = tuple(one for one in deployment.populations if one.name not in gone)
    connections = tuple(one for one in deployment.connections if one.target not in gone)
    left = {one.name for one in populations}, {one.name for one in connections}
    damage, core_of = deployment.damage, deployment.placement.core_of
    return replace(
        deployment,
        populations=populations,
        connections=connections,
        placement=replace(deployment.placement, core_of={name: own for name, own in core_of.items() if name in left[0]}),
        readout=Readout(max(populations, key=lambda one: deployment.schedule.phase[one.name]).name, deployment.readout.how),
        damage=replace(damage, edits=tuple(edit for edit in damage.edits if _concerns(edit, *left))),
    )


def _concerns(edit: Edit, populations: set[str], connections: set[str]) -> bool:
    if isinstance(edit, Stall | Detour):
        return True
    return edit.population in populations if isinstance(edit, NeuronEdit) else edit.connection in connections


def arriving_spikes(
    deployment: Deployment, inputs: Inputs, trained: Collection[str]
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.int64]]]:
    """Return the spikes of the populations that some do not reach, bool [N, T, n] each, and their spike counts.

    Args:
        deployment: the chip.
        inputs: N encoded samples.
        trained: names of populations, not all that there are.
    """
    part = front(deployment, trained)
    names = [one.name for one in part.populations]
    phase = deployment.schedule.phase
    # the phase of a population that no input reaches may follow from what was left out
    if any(part.schedule.phase[name] != phase[name] for name in names):
        part = deployment
    activity = get_engine("exact").run(part, inputs, record=("spikes",))
    spikes: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        own = activity.traces[name].spikes
        assert own is not None
        spikes[name] = own
    return spikes, {name: activity.spike_counts[name].copy() for name in names}
