"""The check of a converted graph: each population by itself under what the original's populations sent, at the steps at which it arrives here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from neurofault.convert.check import Heard, check_neurons, compare, drive_of
from neurofault.graph import Connection, CubaLif, Network
from neurofault.graph.synapses import with_weight


def check_graph(network: Network, sent: Mapping[str, Tensor], heard: Mapping[str, Heard]) -> None:
    """Compare a spiking network with its original in every step, as :func:`neurofault.convert.check.check_spikes` does for chains.

    Args:
        network: as it was built.
        sent: [K, N, n] of each population whose spikes are given: inputs (of an input with pixels, times the rate that stands for 1.0), and what fires
            by itself.
        heard: what each other population got and gave.

    Raises:
        ConversionError: the first population that differs, in the order of the network, in which step, by how much.
    """
    spikes = dict(sent) | {name: each.gave for name, each in heard.items() if each.gave is not None}
    for population in network.populations:
        if population.name not in heard:
            continue
        each, neuron = heard[population.name], population.neuron
        assert isinstance(neuron, CubaLif)
        bias = torch.as_tensor(np.broadcast_to(np.asarray(neuron.bias, np.float64), (population.size,)).copy())
        ours = bias.expand(each.drive.shape).clone()
        for connection in network.into(population.name):
            ours += arrived(network, connection, spikes[connection.source].double())
        for step, (own, theirs) in enumerate(zip(ours, each.drive, strict=True)):
            compare(each.name, "input to its neurons", own, theirs.flatten(1), f" in step {step + 1}")
        check_neurons(population.size, neuron, each)


def arrived(network: Network, connection: Connection, spikes: Tensor) -> Tensor:
    """Return what spikes [K, N, n_in] bring over a connection in each of its target's steps, [K, N, n_out]."""
    synapses, lag = connection.synapses, network.schedule.lag[connection.name]
    weight = np.asarray(synapses.weight, np.float64)
    own = np.zeros(weight.shape, np.int64) if synapses.delay is None else synapses.delay
    steps, samples = spikes.shape[:2]
    total = torch.zeros((steps, samples, synapses.n_out), dtype=torch.float64)
    for extra in np.unique(own).tolist() if own.size else []:
        late, part = lag + extra, with_weight(synapses, np.where(own == extra, weight, 0.0))
        for step in range(late, steps):
            total[step] += drive_of(part, spikes[step - late].flatten(1))
    return total
