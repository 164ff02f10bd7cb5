"""The layers that never change while others learn: their spikes, worked out once for many samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.inputs import Inputs


def front(deployment: Deployment, layers: int) -> Deployment:
    """Return the chip with its first ``layers`` layers only, and the damage that concerns them."""
    damage = deployment.damage
    return replace(
        deployment,
        layers=deployment.layers[:layers],
        placement=replace(deployment.placement, core_of=deployment.placement.core_of[:layers]),
        damage=replace(damage, edits=tuple(edit for edit in damage.edits if getattr(edit, "layer", 0) < layers)),
    )


def arriving_spikes(deployment: Deployment, inputs: Inputs, layer: int) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.int64]]]:
    """Return what reaches a layer, bool [N, T, n_in], and the spike counts of the layers before it.

    Args:
        deployment: the chip.
        inputs: N encoded samples.
        layer: index of the layer, at least 1.
    """
    activity = get_engine("exact").run(front(deployment, layer), inputs, record=("spikes",))
    spikes = activity.traces[deployment.layers[layer - 1].name].spikes
    assert spikes is not None
    return spikes, {name: counts.copy() for name, counts in activity.spike_counts.items()}
