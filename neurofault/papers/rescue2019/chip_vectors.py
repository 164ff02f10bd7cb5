"""A chip as the weights that it acts with: a point in the space in which figure 4 draws lines.

Stored integers, zero where a neuron at either end is dead. Between two chips lie the weights (1 − α) a + α b, rounded to what a synapse can
store. Chips of different training have weights in different units (the exponent of a connection is fitted to it), so there are no lines between
bases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write


def vector(chip: Deployment) -> NDArray[np.float32]:
    """Return the weights that a chip of dense connections acts with, float32 [P], connection by connection, 0 where a neuron at either end is dead.

    Raises:
        UsageError: a connection that is not dense.
    """
    parts = []
    for one in chip.connections:
        weights = stored_weights(chip, one.name) * alive(chip, one.target)[:, None] * alive(chip, one.source)
        parts.append(weights.ravel())
    return np.concatenate(parts).astype(np.float32)


def with_vector(chip: Deployment, weights: NDArray[np.floating]) -> Deployment:
    """Return a healthy chip of dense connections with other weights, each rounded to the nearest that can be stored.

    Args:
        chip: the healthy chip.
        weights: float [P], as :func:`vector` gives them.

    Raises:
        UsageError: a connection that is not dense.
    """
    start = 0
    for one in chip.connections:
        shape = stored_weights(chip, one.name).shape
        size = shape[0] * shape[1]
        grid = 1 << field_shift(one.weight_bits, one.sign_mode)
        chip = write(chip, one.name, (np.rint(weights[start : start + size] / grid) * grid).astype(np.int64).reshape(shape))
        start += size
    return chip
