"""The network that was built of a NIR graph beside the graph's own equations, and whether its populations can fire at all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from neurofault.convert.asked import PixelCoding
from neurofault.convert.check import drive_of
from neurofault.convert.check_graph import check_graph
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_flow import NirFlow
from neurofault.convert.nir_network import BIAS, Built
from neurofault.convert.nir_neurons import NodeDynamics
from neurofault.convert.nir_reference import run_by_equations
from neurofault.convert.nir_step import Step
from neurofault.errors import ConversionError
from neurofault.graph import Connection, Conv, CubaLif, Network
from neurofault.graph.synapses import Synapses, with_weight
from neurofault.numerals import plural

_RATES = (0.5, 0.05, 0.9, 0.2)
"""Spikes a step of the inputs in each sample."""

_WORK, _VALUES = 1 << 31, 1 << 25
"""Multiplications and stored values of a check, about, beyond which fewer samples are shown (one at least)."""

_MOST_WORK = 1 << 34
"""Multiplications beyond which a sample is shown for fewer steps (16 at least)."""


def check_run(
    graph: UntypedGraph, flow: NirFlow, dynamics: Mapping[str, NodeDynamics], made: Built, step: Step, coding: PixelCoding | None
) -> None:
    """Run a graph and the network that was built of it on the same seeded spikes, over all steps (fewer where these would take minutes).

    Args:
        graph: the graph, complete.
        flow: what drives each of its populations.
        dynamics: of its neurons, by node.
        made: what was built of it.
        step: the time step.
        coding: as it was built with.

    Raises:
        ConversionError: the first node that differs, in which step, by how much.
    """
    network = made.network
    work, values = sum(_work(one.synapses) for one in network.connections) or 1, sum(one.size for one in network.populations)
    steps = min(network.timesteps, max(16, min(_MOST_WORK // work, 8 * _VALUES // values)))
    samples = int(np.clip(min(_WORK // (work * steps), _VALUES // (values * steps)), 1, len(_RATES)))
    rates, dice = torch.tensor(_RATES[:samples], dtype=torch.float64), torch.Generator().manual_seed(1)
    shown = {}
    for name, shape in flow.inputs.items():  # the neurons at the input are the pixel table's; what they send is given
        drawn = torch.rand((steps, samples, *shape), dtype=torch.float64, generator=dice)
        shown[made.driven or name] = (drawn < rates.reshape(-1, *[1] * len(shape))).double()
    heard = run_by_equations(graph, flow, dynamics, made, shown, step.dt)
    rate = 1.0 if made.driven is not None or coding is None or len(shown) > 1 else coding.full_rate
    sent = {made.named[node]: frames.flatten(2) * rate for node, frames in shown.items()}
    sent |= {
        one.name: torch.ones((steps, samples, 1), dtype=torch.float64) for one in network.populations if one.name.endswith(BIAS)
    }
    try:
        check_graph(network, sent, {made.named[node]: each for node, each in heard.items()})
    except ConversionError as error:
        raise ConversionError(f"{graph.where}: {error}") from error


def check_fires(graph: UntypedGraph, made: Built, step: Step) -> None:
    """Refuse a population whose threshold no input reaches.

    Args:
        graph: the graph.
        made: what was built of it.
        step: the time step.

    Raises:
        ConversionError: the text names the node and how near to its threshold it comes.
    """
    network, nodes = made.network, {name: node for node, name in made.named.items()}
    for one in network.populations:
        neuron = one.neuron
        if not isinstance(neuron, CubaLif) or neuron.threshold is None or one.name not in nodes:
            continue
        highest = float((_highest(network, one.name, neuron) / np.asarray(neuron.threshold, np.float64)).max())
        if highest <= 1:
            raise ConversionError(
                f"{graph.where}: node {nodes[one.name]!r}: no input makes any of its neurons fire: with every excitatory input in each of "
                f"{plural(network.timesteps, 'step')}, v comes to {highest:.3g} of the threshold; usual causes: a time step that the file was not made with "
                f"({step.dt:g}, {step.source}), weights and threshold in different units"
            )


def _highest(network: Network, name: str, neuron: CubaLif) -> NDArray[np.float64]:
    """Return float64 [n]: the most that v can reach in T steps."""
    drive = np.zeros(network.population(name).size)
    for one in network.into(name):
        drive += _most(one)
    keep_u, keep_v = (4095 - np.asarray(neuron.du)) / 4096, (4096 - np.asarray(neuron.dv)) / 4096
    u = v = np.zeros(len(drive))
    most = np.full(len(drive), -np.inf)
    for _ in range(network.timesteps):
        u = keep_u * u + drive
        v = keep_v * v + u + np.asarray(neuron.bias)
        most = np.maximum(most, v)
    return most


def _most(connection: Connection) -> NDArray[np.float64]:
    """Return float64 [n]: the most that a connection brings in a step; one from a bias brings what it brings."""
    synapses, weight = connection.synapses, np.asarray(connection.synapses.weight, np.float64)
    if not connection.source.endswith(BIAS):
        weight = np.maximum(weight, 0)
    ones = torch.ones(1, synapses.n_in, dtype=torch.float64)
    return np.asarray(drive_of(with_weight(synapses, weight), ones).reshape(-1).numpy())


def _work(synapses: Synapses) -> int:
    """Return the multiplications of one step."""
    weight = synapses.weight
    return int(weight[0].size * synapses.n_out if isinstance(synapses, Conv) else weight.size)
