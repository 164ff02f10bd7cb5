"""How much depends on a site, for ``where: least_important`` and ``most_important``.

Without scores from the caller (e.g. spike counts of a healthy run) a neuron's importance is the sum of the absolute weights that it
sends over all connections (of the readout: receives), a core's the sum over its neurons, a synapse's its absolute weight, a bit's the weight
that it moves (in the unit in which the chip reads weights, so that connections of different widths compare).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.places import Block, synapses_at, weights_at
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.connectivity import taps
from neurofault.graph.synapses import Synapses

Scores = Mapping[str, NDArray[np.floating]]


def neuron_scores(deployment: Deployment, population: str, given: Scores | None = None) -> NDArray[np.float64]:
    """Return float64 [n]: the importance of each neuron of a population.

    Raises:
        FaultError: the given scores are not one for each neuron.
    """
    size = deployment.population(population).size
    if given is not None:
        scores = np.asarray(given.get(population), np.float64)
        if scores.shape != (size,):
            raise FaultError(f"importance of layer {population!r} must have {size} scores")
        return scores
    total = np.zeros(size)
    if population == deployment.readout.population:
        for connection in deployment.into(population):
            total += _received(connection.synapses)
    else:
        for connection in deployment.out_of(population):
            total += _sent(connection.synapses)
    return total


def _sent(synapses: Synapses) -> NDArray[np.float64]:
    """Return float64 [n_in]: the sum of the absolute weights that each source sends."""
    size = np.abs(synapses.weight.astype(np.float64))
    match synapses:
        case Dense():
            return np.asarray(size.sum(axis=0))
        case Sparse():
            return np.asarray(np.bincount(synapses.sources, size, synapses.n_in), np.float64)
        case Conv(groups=groups) as conv:
            words = size.reshape(groups, -1, *conv.weight.shape[1:])
            reached = np.zeros((groups, conv.weight.shape[1], *conv.in_shape[1:]))
            for ky, kx, _, inputs in taps(conv):
                read = (slice(None), slice(None), *inputs)
                reached[read] += words[:, :, :, ky, kx].sum(axis=1)[:, :, None, None]
            return reached.reshape(-1)


def _received(synapses: Synapses) -> NDArray[np.float64]:
    """Return float64 [n_out]: the sum of the absolute weights that each target receives; 0 for a convolution, whose targets are alike."""
    match synapses:
        case Dense():
            return np.asarray(np.abs(synapses.weight.astype(np.float64)).sum(axis=1))
        case Sparse():
            return np.asarray(np.bincount(synapses.targets, np.abs(synapses.weight.astype(np.float64)), synapses.n_out), np.float64)
        case Conv():
            return np.zeros(synapses.n_out)


def block_scores(
    deployment: Deployment, block: Block, site: str, bits: Sequence[int] | None, given: Scores | None
) -> NDArray[np.float64]:
    """Return the importance of every site of a block.

    Args:
        deployment: the chip.
        block: its sites.
        site: what one of them is.
        bits: where bits are the sites: those of each stored weight of this connection that are, in the order in which sites count them.
        given: scores of neurons from the caller.

    Raises:
        FaultError: sites of this kind have no order of importance.
    """
    match site:
        case "neurons" | "sensors":
            return neuron_scores(deployment, block.population, given)[block.neurons]
        case "used cores":
            total = 0.0
            for population in deployment.populations:
                here = deployment.placement.core_of[population.name] == block.core
                if here.any():
                    total += float(neuron_scores(deployment, population.name, given)[here].sum())
            return np.array([total])
        case "stored synapses" | "stored bits":
            if bits is not None:
                own = deployment.connection(block.connection)
                moved = 2.0 ** (np.array(bits) + field_shift(own.weight_bits, own.sign_mode))
                return np.tile(moved, block.size // len(bits))
            which, sources, targets = synapses_at(deployment, block, block.first + np.arange(block.size))
            size = np.zeros(block.size)
            np.maximum.at(size, which, np.abs(weights_at(deployment, block.connection, sources, targets)).astype(np.float64))
            return size
        case _:
            raise FaultError(f"{site} have no order of importance; where must be random or clustered")
