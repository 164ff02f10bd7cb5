"""Fresh neurons and fresh weights: embryonic replacement of dead neurons, and controls that start anew.

Fresh weights are uniform with the standard deviation of what the layer stores, rounded to the stored grid by the write gate; the bias
of a fresh neuron is 0. Convolutions cannot be written: their neurons keep the weights that they had.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write
from neurofault.graph import Dense
from neurofault.rescue.remap import Remapped
from neurofault.streams import generator


def implant(done: Remapped, outgoing: str, seed: int) -> tuple[Deployment, Mapping[int, NDArray[np.bool_]]]:
    """Turn neurons that have moved to spare cores into fresh ones.

    Args:
        done: of a remap.
        outgoing: ``zero`` or ``random``: how the synapses that leave fresh neurons start.
        seed: of the weights.

    Returns:
        The chip, and which neurons of each layer are fresh (layers behind dense synapses only).
    """
    deployment = done.deployment
    new: dict[int, NDArray[np.bool_]] = {}
    for move in done.moves:
        index = deployment.layer_index(move.layer)
        if isinstance(deployment.layers[index].synapses, Dense):
            new.setdefault(index, np.zeros(deployment.layers[index].size, bool))[move.neurons] = True
    for index, mask in new.items():
        fresh = _fresh(deployment, index, seed)
        deployment = write(deployment, index, fresh, np.broadcast_to(mask[:, None], fresh.shape))
        chip = deployment.layers[index]
        bias = np.where(mask, 0, chip.bias_mantissa).astype(np.int32)
        deployment = replace(
            deployment, layers=(*deployment.layers[:index], replace(chip, bias_mantissa=bias), *deployment.layers[index + 1 :])
        )
        if index + 1 < len(deployment.layers) and isinstance(deployment.layers[index + 1].synapses, Dense):
            leaving = (
                _fresh(deployment, index + 1, seed)
                if outgoing == "random"
                else np.zeros_like(stored_weights(deployment, index + 1))
            )
            deployment = write(deployment, index + 1, leaving, np.broadcast_to(mask, leaving.shape))
    return deployment, new


def renewed(deployment: Deployment, layers: Collection[int], seed: int) -> Deployment:
    """Return the chip with fresh weights in dense layers; what is dead or stuck stays."""
    for layer in layers:
        deployment = write(deployment, layer, _fresh(deployment, layer, seed))
    return deployment


def _fresh(deployment: Deployment, layer: int, seed: int) -> NDArray[np.int64]:
    """Return int64 [n_out, n_in], uniform with the standard deviation of the healthy stored weights."""
    synapses = deployment.layers[layer].synapses
    assert isinstance(synapses, Dense)
    width = float(np.sqrt(3.0) * synapses.weight.std())
    drawn = generator(seed, "fresh", deployment.layers[layer].name).uniform(-width, width, synapses.weight.shape)
    return np.asarray(np.rint(drawn), np.int64)
