"""A NIR graph by its own equations, in float64, beside the network that was built of it.

The original of a NIR file cannot be run, so its nodes are: matrices, convolutions and pools by torch's functions, neurons by forward Euler as
:class:`neurofault.convert.nir_neurons.NodeDynamics` writes it, in NIR's own units and with decays that are not rounded. Both get the same seeded spikes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurofault.convert.chain import PixelCoding
from neurofault.convert.check import Heard, check_spikes, drive_of
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_neurons import NodeDynamics, Step
from neurofault.convert.spiking_layers import pair, spread
from neurofault.errors import ConversionError
from neurofault.graph import Conv, CubaLif, Dense, Network
from neurofault.graph.synapses import Synapses, with_weight

_RATES = (0.5, 0.05, 0.9, 0.2)
"""Spikes a step of the inputs in each sample."""

_WORK, _VALUES = 1 << 31, 1 << 25
"""Multiplications and stored values of a check, about, beyond which fewer samples are shown (one at least)."""

_MOST_WORK = 1 << 34
"""Multiplications beyond which a sample is shown for fewer steps (16 at least)."""


def check_run(
    graph: UntypedGraph,
    chain: Sequence[tuple[str, Any]],
    dynamics: Mapping[str, NodeDynamics],
    network: Network,
    shape: tuple[int, ...],
    coding: PixelCoding | None,
) -> None:
    """Run a graph and the network that was built of it on the same seeded spikes, over all steps (fewer where these would take minutes).

    Args:
        graph: the graph.
        chain: its nodes in order.
        dynamics: of its neurons, by node.
        network: what was built of it.
        shape: of a sample.
        coding: as it was built with.

    Raises:
        ConversionError: the first node that differs, in which step, by how much.
    """
    rest = computing(chain)
    driven = rest[0][0] in dynamics
    if driven:  # the neurons at the input are the pixel table's; what they send is given
        rest = rest[1:]
    work, values = sum(_work(one.synapses) for one in network.connections), sum(one.size for one in network.populations)
    steps = min(network.timesteps, max(16, min(_MOST_WORK // work, 8 * _VALUES // values)))
    samples = int(np.clip(min(_WORK // (work * steps), _VALUES // (values * steps)), 1, len(_RATES)))
    rates = torch.tensor(_RATES[:samples], dtype=torch.float64).reshape(-1, *[1] * len(shape))
    dice = torch.rand((steps, samples, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = (dice < rates).double()
    shown, heard = x.flatten(2), []
    for index, (name, node) in enumerate(rest):
        if name in dynamics:
            fires = index < len(rest) - 1 or network.readout.how == "count"
            heard.append(_population(name, dynamics[name], x, fires=fires))
            gave = heard[-1].gave
            x = x if gave is None else gave.reshape(x.shape)
        else:
            x = _linear(node, x)
    if len(heard) < len(network.populations) - 1:  # a matrix at the end: it is read by the sum of its output
        heard.append(Heard(rest[-1][0], x.flatten(2), potential=x.flatten(2).cumsum(0)))
    rate = 1.0 if driven or coding is None else coding.full_rate
    try:
        check_spikes(network, shown, heard, full_rate=rate)
    except ConversionError as error:
        raise ConversionError(f"{graph.where}: {error}") from error


def computing(chain: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the nodes of a chain from the first one that changes more than a shape."""
    kept = [(name, node) for name, node in chain if type(node).__name__ not in ("Input", "Output")]
    return kept[next(index for index, (_, node) in enumerate(kept) if type(node).__name__ != "Flatten") :]


def check_fires(graph: UntypedGraph, names: Sequence[str], network: Network, step: Step) -> None:
    """Refuse a population whose threshold no input reaches.

    Args:
        graph: the graph.
        names: its neurons' nodes in order.
        network: what was built of it.
        step: the time step.

    Raises:
        ConversionError: the text names the node and how near to its threshold it comes.
    """
    driven = [(one.neuron, network.into(one.name)[0].synapses) for one in network.populations if isinstance(one.neuron, CubaLif)]
    for name, (neuron, synapses) in zip(names[-len(driven) :], driven, strict=False):
        if neuron.threshold is None:
            continue
        highest = float((_highest(neuron, synapses, network.timesteps) / np.asarray(neuron.threshold, np.float64)).max())
        if highest <= 1:
            raise ConversionError(
                f"{graph.where}: node {name!r}: no input makes any of its neurons fire: with every excitatory input in each of "
                f"{network.timesteps} steps, v comes to {highest:.3g} of the threshold; usual causes: a time step that the file was not made with "
                f"({step.dt:g}, {step.source}), weights and threshold in different units"
            )


def _highest(neuron: CubaLif, synapses: Synapses, timesteps: int) -> NDArray[np.float64]:
    """Return float64 [n]: the most that v can reach in T steps."""
    weight = np.maximum(np.asarray(synapses.weight, np.float64), 0)
    if isinstance(synapses, Dense):
        drive = torch.from_numpy(weight).sum(dim=1).numpy()
    else:
        ones = torch.ones(1, synapses.n_in, dtype=torch.float64)
        drive = drive_of(with_weight(synapses, weight), ones).reshape(-1).numpy()
    keep_u, keep_v = (4095 - np.asarray(neuron.du)) / 4096, (4096 - np.asarray(neuron.dv)) / 4096
    u = v = np.zeros(synapses.n_out)
    most = np.full(synapses.n_out, -np.inf)
    for _ in range(timesteps):
        u = keep_u * u + drive
        v = keep_v * v + u + np.asarray(neuron.bias)
        most = np.maximum(most, v)
    return most


def _work(synapses: Synapses) -> int:
    """Return the multiplications of one step."""
    weight = synapses.weight
    return int(weight[0].size * synapses.n_out if isinstance(synapses, Conv) else weight.size)


def _population(name: str, dynamics: NodeDynamics, x: Tensor, *, fires: bool) -> Heard:
    """Run a population on its input [K, N, …]."""
    shape = tuple(x.shape[2:])

    def each(field: str, value: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.array(np.broadcast_to(spread(name, field, value, shape), int(np.prod(shape)))))

    lost_i, gain_i = each("tau_syn", dynamics.lost_i), each("w_in", dynamics.gain_i)
    lost_v, gain_v = each("tau", dynamics.lost_v), each("r", dynamics.gain_v)
    leak, gain = each("v_leak", dynamics.leak), each("r", dynamics.gain)
    given = x.flatten(2)
    threshold = each("threshold", dynamics.threshold) if dynamics.threshold is not None and fires else None
    current, v = torch.zeros_like(given[0]), torch.zeros_like(given[0])
    potential, spikes = torch.empty_like(given), torch.zeros_like(given, dtype=torch.bool)
    for step, drive in enumerate(given):
        current = current * (1 - lost_i) + gain_i * drive
        v = v * (1 - lost_v) + leak + gain_v * current
        potential[step] = v / gain
        if threshold is not None:
            spikes[step] = v > threshold
            v = torch.where(spikes[step], 0.0, v)
    fired = None if threshold is None else spikes
    return Heard(name, given + leak / gain, None if fired is None else fired.double(), fired, potential)


def _linear(node: Any, x: Tensor) -> Tensor:
    """Return what a node without neurons makes of [K, N, …]."""

    def images(value: Tensor) -> Tensor:
        return value.reshape(*x.shape[:2], *value.shape[1:])

    match type(node).__name__:
        case "Flatten":
            return x.flatten(2)
        case "Linear" | "Affine":
            return x.flatten(2) @ _tensor(node.weight).T + _tensor(getattr(node, "bias", 0.0)).reshape(-1)
        case "Conv2d":
            padding = (0, 0) if isinstance(node.padding, str | bytes) else pair(node.padding)
            shape = (pair(node.stride), padding, pair(node.dilation), int(np.asarray(node.groups)))
            return images(functional.conv2d(x.flatten(0, 1), _tensor(node.weight), _tensor(node.bias).reshape(-1), *shape))
        case kind:
            pooled = images(functional.avg_pool2d(x.flatten(0, 1), pair(node.kernel_size), pair(node.stride)))
            return pooled * (float(np.prod(pair(node.kernel_size))) if kind == "SumPool2d" else 1.0)


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(np.array(value, np.float64))
