"""Fresh neurons (chains only) and fresh weights: embryonic replacement of dead neurons, and controls that start anew.

Fresh weights are uniform with the standard deviation of what the connection stores, rounded to the stored grid by the write gate; the bias
of a fresh neuron is 0. Convolutions cannot be written: their neurons keep the weights that they had.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import write
from neurofault.graph import Dense
from neurofault.graph.chains import links
from neurofault.rescue.remap.remap import Remapped
from neurofault.streams import generator

EMBRYONIC = "embryonic replacement"
"""What takes chains only, for messages."""


def implant(done: Remapped, outgoing: str, seed: int) -> tuple[Deployment, Mapping[str, NDArray[np.bool_]]]:
    """Turn neurons that have moved to spare cores into fresh ones.

    Args:
        done: of a remap.
        outgoing: ``zero`` or ``random``: how the synapses that leave fresh neurons start.
        seed: of the weights.

    Returns:
        The chip, and which neurons of each population are fresh (those behind dense synapses only).

    Raises:
        UnsupportedError: the network is no chain.
    """
    deployment = done.deployment
    chain = {link.population.name: link for link in links(deployment, EMBRYONIC)}
    new: dict[str, NDArray[np.bool_]] = {}
    for move in done.moves:
        connection = chain[move.population].connection
        if connection is not None and isinstance(connection.synapses, Dense):
            new.setdefault(move.population, np.zeros(chain[move.population].population.size, bool))[move.neurons] = True
    for name, mask in new.items():
        arriving = chain[name].incoming.name
        fresh = _fresh(deployment, arriving, seed)
        deployment = write(deployment, arriving, fresh, np.broadcast_to(mask[:, None], fresh.shape))
        population = deployment.population(name)
        bias = np.where(mask, 0, population.bias_mantissa).astype(np.int32)
        deployment = deployment.with_population(replace(population, bias_mantissa=bias))
        for leaving in deployment.out_of(name):
            if isinstance(leaving.synapses, Dense):
                start = (
                    _fresh(deployment, leaving.name, seed)
                    if outgoing == "random"
                    else np.zeros_like(leaving.synapses.weight, np.int64)
                )
                deployment = write(deployment, leaving.name, start, np.broadcast_to(mask, start.shape))
    return deployment, new


def renewed(deployment: Deployment, connections: Collection[str], seed: int) -> Deployment:
    """Return the chip with fresh weights in dense connections; what is dead or stuck stays."""
    for name in connections:
        deployment = write(deployment, name, _fresh(deployment, name, seed))
    return deployment


def _fresh(deployment: Deployment, connection: str, seed: int) -> NDArray[np.int64]:
    """Return int64 [n_out, n_in], uniform with the standard deviation of the healthy stored weights."""
    synapses = deployment.connection(connection).synapses
    assert isinstance(synapses, Dense)
    width = float(np.sqrt(3.0) * synapses.weight.std())
    drawn = generator(seed, "fresh", connection).uniform(-width, width, synapses.weight.shape)
    return np.asarray(np.rint(drawn), np.int64)
