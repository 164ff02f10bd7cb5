"""How much depends on a site, for ``where: least_important`` and ``most_important``.

Without scores from the caller (e.g. spike counts of a healthy run) a neuron's importance is the sum of the absolute weights that it
sends (for outputs: receives), a core's the sum over its neurons, a synapse's its absolute weight, a bit's the weight that it moves (in
the unit in which the chip reads weights, so that layers of different widths compare).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import taps
from neurofault.deploy.deployment import Deployment
from neurofault.damage.stored import field_shift
from neurofault.errors import FaultError
from neurofault.faults.places import Block, synapses_at, weights_at
from neurofault.graph import Conv, Dense

Scores = Mapping[str, NDArray[np.floating]]


def neuron_scores(deployment: Deployment, layer: int, given: Scores | None = None) -> NDArray[np.float64]:
    """Return float64 [n]: the importance of each neuron of a layer.

    Raises:
        FaultError: the given scores are not one for each neuron.
    """
    chip = deployment.layers[layer]
    if given is not None:
        scores = np.asarray(given.get(chip.name), np.float64)
        if scores.shape != (chip.size,):
            raise FaultError(f"importance of layer {chip.name!r} must have {chip.size} scores")
        return scores
    sends = layer + 1 < len(deployment.layers)
    synapses = deployment.layers[layer + 1 if sends else layer].synapses
    match synapses:
        case Dense(weight=weight):
            return np.asarray(np.abs(weight.astype(np.float64)).sum(axis=0 if sends else 1))
        case Conv(groups=groups) as conv:
            size = np.abs(conv.weight.astype(np.float64)).reshape(groups, -1, *conv.weight.shape[1:])
            reached = np.zeros((groups, conv.weight.shape[1], *conv.in_shape[1:]))
            for ky, kx, _, inputs in taps(conv):
                read = (slice(None), slice(None), *inputs)
                reached[read] += size[:, :, :, ky, kx].sum(axis=1)[:, :, None, None]
            return reached.reshape(-1) if sends else np.zeros(chip.size)
        case _:
            return np.zeros(chip.size)


def block_scores(
    deployment: Deployment, block: Block, site: str, bits: Sequence[int] | None, given: Scores | None
) -> NDArray[np.float64]:
    """Return the importance of every site of a block.

    Args:
        deployment: the chip.
        block: its sites.
        site: what one of them is.
        bits: where bits are the sites: those of each stored weight of this layer that are, in the order in which sites count them.
        given: scores of neurons from the caller.

    Raises:
        FaultError: sites of this kind have no order of importance.
    """
    match site:
        case "neurons" | "sensors":
            return neuron_scores(deployment, block.layer, given)[block.neurons]
        case "used cores":
            total = 0.0
            for layer, core_of in enumerate(deployment.placement.core_of):
                here = core_of == block.core
                if here.any():
                    total += float(neuron_scores(deployment, layer, given)[here].sum())
            return np.array([total])
        case "stored synapses" | "stored bits":
            if bits is not None:
                chip = deployment.layers[block.layer]
                moved = 2.0 ** (np.array(bits) + field_shift(chip.weight_bits, chip.sign_mode))
                return np.tile(moved, block.size // len(bits))
            which, sources, targets = synapses_at(deployment, block, block.first + np.arange(block.size))
            size = np.zeros(block.size)
            np.maximum.at(size, which, np.abs(weights_at(deployment, block.layer, sources, targets)).astype(np.float64))
            return size
        case _:
            raise FaultError(f"{site} have no order of importance; where must be random or clustered")
