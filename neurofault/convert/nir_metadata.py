"""What NIR itself cannot hold of a spiking network, as one JSON text in the graph's metadata, and the way back.

NIR has no names of populations, no initial state, no number of steps, no readout, no integers. ``metadata["neurofault"]`` of a graph that we
wrote holds these; other readers may ignore it, and a graph that lost it is read like anybody else's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_kept import check_kept
from neurofault.convert.nir_neurons import dynamics_of
from neurofault.convert.nir_neurons import neuron_of as own_neuron
from neurofault.convert.spiking_layers import SpikingNeurons, pair
from neurofault.errors import DataError
from neurofault.graph import Conv, CubaLif, Dense, Encoding, Network, Population, Source
from neurofault.graph import chain as feed_forward
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.synapses import Stored, Synapses

KEY = "neurofault"
VERSION = 1
NEVER = 131072
"""A Lava ``vth`` that ``v`` cannot exceed (v saturates at 2**23 − 1 = 131072·64 − 1): neurons that are dead but share a kernel."""

V_UNIT = 64
"""One threshold or weight unit in units of ``v``."""


def encoding_to_json(encoding: Encoding | None) -> dict[str, Any] | None:
    """Return a pixel table as JSON."""
    if encoding is None:
        return None
    return {
        "table": encoding.table.tolist(), "threshold": encoding.threshold, "start": encoding.start, "full_rate": encoding.full_rate,
    }  # fmt: skip


def network_from_metadata(graph: UntypedGraph, dt: float, name: str | None) -> Network | None:
    """Return the network that a graph was written from, None for a graph of somebody else.

    Args:
        graph: the graph.
        dt: the time step.
        name: for display; None: as written.

    Raises:
        DataError: the metadata and the nodes do not belong together.
    """
    if KEY not in graph.metadata:
        return None
    text = graph.metadata[KEY]
    nodes = graph.nodes

    def neuron_of(each: str, node: Any) -> SpikingNeurons:
        return own_neuron(graph.where, each, node, dynamics_of(graph.where, each, node, dt))

    try:
        said = json.loads(text.decode("utf8") if isinstance(text, bytes) else str(text))
        if said["version"] != VERSION:
            raise DataError(
                f"{graph.where}: written by a newer neurofault (metadata version {said['version']!r:.40}, this one reads {VERSION})"
            )
        check_kept(f"{graph.where}: metadata {KEY!r}", said)
        encoding = said["encoding"]
        if encoding is not None:
            encoding = Encoding(
                np.asarray(encoding["table"], np.int32),
                int(encoding["threshold"]),
                int(encoding["start"]),
                float(encoding["full_rate"]),
            )
        if not 1 <= int(said["timesteps"]) <= 100_000:
            raise ValueError(f"{said['timesteps']} timesteps")
        first, *rest = said["layers"]
        read = [_input(graph.where, first, nodes, neuron_of, encoding)]
        synapses: list[Synapses] = []
        stored: list[Stored | None] = []
        for entry in rest:
            form = None if entry["stored"] is None else Stored(**{k: v for k, v in entry["stored"].items() if k != "bias_exponent"})
            population, own = _population(graph.where, entry, nodes, neuron_of, read[-1], form)
            read.append(population)
            synapses.append(own)
            stored.append(form)
        return feed_forward(
            name or said["name"], read, synapses, timesteps=int(said["timesteps"]), how=said["readout"], stored=stored,
            peak_potential=said["peak_potential"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{graph.where}: metadata {KEY!r} and the nodes do not belong together ({type(error).__name__}: {error!s:.200}); "
            f"take the metadata {KEY!r} out to read the graph like any other"
        ) from error


def _input(
    where: str, entry: Mapping[str, Any], nodes: Mapping[str, Any], neuron_of: Callable[[str, Any], Any], encoding: Encoding | None
) -> Population:
    """Return the input population."""
    shape, stored, name = _shape(entry, nodes), entry["stored"], str(entry["name"])
    neuron = (
        None if entry["neuron"] is None else neuron_of(entry["neuron"], nodes[entry["neuron"]])
    )  # None: its spikes are the input
    du, dv = (NO_MEMORY, 0) if neuron is None else (_even(neuron.du), _even(neuron.dv))
    if stored is None:  # threshold and start are the pixel table's
        return Population(name, shape, Source(encoding, du, dv))
    exponent, start = int(stored.get("bias_exponent", 0)), round(float(entry["start"]))
    if neuron is None:
        return Population(name, shape, Source(encoding, du, dv, 1, exponent, start))
    threshold = _vth(where, entry["neuron"], neuron.threshold)
    bias = _mantissa(where, name, np.zeros(math.prod(shape)) + np.asarray(neuron.bias).reshape(-1), exponent)
    return Population(name, shape, Source(encoding, du, dv, threshold, exponent, start, bias))


def _population(
    where: str,
    entry: Mapping[str, Any],
    nodes: Mapping[str, Any],
    neuron_of: Callable[[str, Any], Any],
    before: Population,
    stored: Stored | None,
) -> tuple[Population, Synapses]:
    """Return a population and the synapses that drive it."""
    shape = _shape(entry, nodes)
    name, start = str(entry["name"]), float(entry["start"])
    node = nodes[entry["synapses"]]
    unit = 1.0 if stored is None else 2.0 ** (6 + stored.weight_exponent)
    synapses = _synapses(where, entry["synapses"], node, before, unit, int(entry["groups"]))
    bias = np.zeros(math.prod(shape))
    flat = np.asarray(getattr(node, "bias", 0.0), np.float64).reshape(-1)
    bias = bias + (np.repeat(flat, bias.size // flat.size) if flat.size > 1 else flat)
    if entry["neuron"] is None:
        raise ValueError(f"population {name!r} has no neurons")
    neuron = neuron_of(entry["neuron"], nodes[entry["neuron"]])
    total = bias + np.asarray(neuron.bias).reshape(-1)
    du, dv = _even(neuron.du), _even(neuron.dv)
    if stored is None:
        threshold = None if neuron.threshold is None else _even(neuron.threshold)
        return Population(name, shape, CubaLif(threshold, total, du, dv, start)), synapses
    exponent = int(entry["stored"].get("bias_exponent", 0))
    mantissa = _mantissa(where, name, total, exponent)
    vth = None if neuron.threshold is None else _vth(where, entry["neuron"], neuron.threshold)
    return Population(name, shape, CubaLif(vth, mantissa, du, dv, start, exponent)), synapses


def _shape(entry: Mapping[str, Any], nodes: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tuple(int(size) for size in entry["shape"])
    if min(shape, default=0) < 1 or math.prod(shape) > _most_neurons(entry, nodes):
        raise ValueError(f"a population of the shape {shape}")
    return shape


def _mantissa(where: str, name: str, bias: NDArray[np.float64], exponent: int) -> Any:
    """Return the mantissas of biases that are written in units of ``v``."""
    return _even(_whole(where, name, "bias", bias / 2.0**exponent))


def _vth(where: str, name: str, threshold: Any) -> Any:
    """Return Lava ``vth`` of a threshold that is written in units of ``v``."""
    even = _even(threshold)
    scaled = np.where(np.isinf(even), NEVER, np.asarray(even, np.float64) / V_UNIT)
    return _even(_whole(where, name, "threshold", scaled))


def _most_neurons(entry: Mapping[str, Any], nodes: Mapping[str, Any]) -> int:
    """Return a bound on a population's size from the node that holds its neurons, or else from the graph's input."""
    if entry["neuron"] is not None:
        node = nodes[entry["neuron"]]
        return int(np.size(node.r))
    inputs = [node for node in nodes.values() if type(node).__name__ == "Input"]
    return int(np.prod(inputs[0].input_type["input"]))


def _synapses(where: str, name: str, node: Any, before: Population, unit: float, groups: int) -> Synapses:
    weight: NDArray[Any] = np.asarray(node.weight, np.float64)
    if unit != 1.0:
        weight = _whole(where, name, "weight", weight / unit).astype(np.int32)
    if weight.ndim == 2:
        return Dense(weight)
    channels, height, width = before.shape
    if groups > 1:  # written as one group
        outputs, _, *window = weight.shape
        blocks = weight.reshape(groups, outputs // groups, groups, channels // groups, *window)
        weight = np.concatenate([blocks[group, :, group] for group in range(groups)])
    return Conv(weight, (channels, height, width), pair(node.stride), pair(node.padding), pair(node.dilation), groups)


def _whole(where: str, name: str, field: str, value: NDArray[np.float64]) -> NDArray[np.int64]:
    whole = np.rint(value)
    if not np.all(np.abs(value - whole) <= 1e-3) or np.any(np.abs(whole) >= 2.0**31):
        raise DataError(
            f"{where}: node {name!r}: {field} is not the integer that metadata {KEY!r} promise; was the file edited? "
            f"Take the metadata {KEY!r} out to read real numbers"
        )
    return np.asarray(whole, np.int64)


def _even(value: Any) -> Any:
    """Return one number where all are equal, else a flat array."""
    flat = np.asarray(value).reshape(-1)
    return flat[0].item() if np.all(flat == flat[0]) else flat
