"""Kinds of damage of the figures of several trainings on the chip: the faults that they are, and how many of them there can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import topology
from neurofault.errors import UsageError, nearest
from neurofault.faults import (
    CoreDead,
    Fault,
    LinkDead,
    NeuronDead,
    NeuronThreshold,
    SynapseBitFlip,
    SynapseBitStuck,
    SynapseDead,
    SynapsePerturbed,
)
from neurofault.faults.flows import flows_of
from neurofault.graph import Conv, Dense
from neurofault.numerals import plural

LOSSES = (
    "cores", "neurons", "flipped bits", "stuck bits", "recurrent synapses", "links", "raised thresholds", "drifted weights", "feature maps",
)  # fmt: skip
"""What breaks: dead cores, dead neurons, flipped bits of stored weights, bits of them that are stuck at 0, synapses of the loop of a recurrent layer that read 0,
dead links of the mesh (one way each), neurons that have aged: their threshold is :data:`RAISED` times as high, stored weights that have aged: by :data:`DRIFT`, and dead cores of convolutions, each of which holds
one feature map."""

LOOP = "hidden1.rec"
"""The connection of a recurrent layer of the zoo to itself."""

RAISED = 4.0
"""By what the threshold of an aged neuron is multiplied."""

DRIFT = 2.0
"""Standard deviation of what an aged weight has drifted by, as a share of the weight."""


def faults_of(loss: str, count: int, chip: Deployment | None = None) -> Fault:
    """Return so many of a kind of damage in the hidden layers, of links in the whole mesh; k of them are among any larger number of the same draw.

    Args:
        loss: of :data:`LOSSES`.
        count: how many cores, neurons, bits, synapses, links or feature maps, at least 1.
        chip: on which; feature maps need it.

    >>> faults_of("stuck bits", 3).kind
    'synapse_bit_stuck'

    Raises:
        UsageError: no such kind.
    """
    match loss:
        case "cores":
            return CoreDead(count=count, layer="hidden")
        case "neurons":
            return NeuronDead(count=count, layer="hidden")
        case "flipped bits":
            return SynapseBitFlip(count=count, layer="hidden")
        case "stuck bits":
            return SynapseBitStuck(count=count, layer="hidden")
        case "recurrent synapses":
            return SynapseDead(count=count, connection=LOOP)
        case "links":
            return LinkDead(count=count, layer="any", direction="one")
        case "raised thresholds":
            return NeuronThreshold(count=count, layer="hidden", factor=RAISED)
        case "drifted weights":
            return SynapsePerturbed(count=count, layer="hidden", sigma=DRIFT)
        case "feature maps" if chip is not None:
            return CoreDead(count=count, at=[f"core:{core}" for core in map_cores(chip)])
        case _:
            raise no_loss(loss)


def whole_of(chip: Deployment, hidden: Sequence[str], network: str, loss: str) -> int:
    """Return how many cores, neurons, feature maps, stored weights or bits of them the hidden layers have, or synapses their loop, or how many links carry messages.

    Args:
        chip: the healthy chip.
        hidden: names of the hidden layers.
        network: its name, for the message.
        loss: of :data:`LOSSES`.

    Raises:
        UsageError: no such kind, no loop, no link that carries anything, weights that are not stored as a dense matrix, no convolution, or cores of one that hold
            anything else than one feature map.
    """
    match loss:
        case "cores":
            return sum(len(chip.placement.cores_of(name)) for name in hidden)
        case "neurons" | "raised thresholds":
            return sum(chip.population(name).size for name in hidden)
        case "flipped bits" | "stuck bits" | "drifted weights":
            into = [one for one in chip.connections if one.target in hidden]
            what = "weights" if loss == "drifted weights" else "bits"
            if others := [one.name for one in into if not isinstance(one.synapses, Dense)]:
                raise UsageError(f"{what} are counted of dense weights, which connection {others[0]!r} has not")
            return sum(one.synapses.n_in * one.synapses.n_out * (1 if what == "weights" else one.weight_bits) for one in into)
        case "recurrent synapses":
            loops = [one.synapses for one in chip.connections if one.name == LOOP]
            if not loops:
                raise UsageError(f"network {network!r} has no recurrent layer, so no recurrent synapse can break")
            return loops[0].n_in * loops[0].n_out
        case "links":
            grid = topology(chip)
            used = {link for flow in flows_of(chip) for link in grid.path(flow.source, flow.block.core)}
            if not used:
                raise UsageError(
                    f"no message of network {network!r} crosses a link as it is placed, so none can be lost; place it with spread"
                )
            return len(used)
        case "feature maps":
            return len(map_cores(chip))
        case _:
            raise no_loss(loss)


def map_cores(chip: Deployment) -> list[int]:
    """Return the cores that hold the neurons of convolutions, map by map, where each holds one feature map.

    Raises:
        UsageError: no convolution, or a core that holds part of a map or several.
    """
    found = list[int]()
    for one in chip.connections:
        if isinstance(one.synapses, Conv):
            maps, height, width = one.synapses.out_shape
            home = chip.placement.core_of[one.target].reshape(maps, height * width)
            if (home != home[:, :1]).any() or len(np.unique(home)) < maps:
                raise UsageError(
                    f"the cores of layer {one.target!r} hold parts of feature maps or several; place it with {plural(height * width, 'neuron')} a core"
                )
            found += home[:, 0].tolist()
    if not found:
        raise UsageError(f"network {chip.name!r} has no convolution, so no feature maps")
    return found


def no_loss(loss: str) -> UsageError:
    """Return what is raised for a kind of damage that there is not."""
    return UsageError(f"no loss {loss!r}; allowed: {', '.join(LOSSES)}{nearest(loss, LOSSES)}")
