"""What NIR itself cannot hold of a spiking network, as one JSON text in the graph's metadata, and the way back.

NIR has no names of populations, no initial state, no number of steps, no readout, no integers. ``metadata["neurofault"]`` of a graph that we
wrote holds these; other readers may ignore it, and a graph that lost it is read like anybody else's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_kept import KEY, check_kept
from neurofault.convert.nir_neurons import dynamics_of
from neurofault.convert.nir_neurons import neuron_of as own_neuron
from neurofault.convert.nir_version1 import of_a_chain
from neurofault.convert.spiking_neurons import SpikingNeurons, pair
from neurofault.errors import DataError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Encoding, Network, Population, Readout, Source, Sparse
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.synapses import Stored, Synapses
from neurofault.numerals import plural

VERSION = 2
"""Of what is written; version 1, chains only, is read."""
READ_VERSION = 3
"""As 2, with a readout of other potentials than the last, or of some steps, which an older version would not know."""
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
    text, where = graph.metadata[KEY], graph.where
    try:
        said = json.loads(text.decode("utf8") if isinstance(text, bytes) else str(text))
        if said["version"] not in (1, VERSION, READ_VERSION):
            raise DataError(
                f"{where}: written by a newer neurofault (metadata version {said['version']!r:.40}, this one reads {READ_VERSION})"
            )
        check_kept(f"{where}: metadata {KEY!r}", said)
        if said["version"] == 1:
            said = of_a_chain(said, graph.nodes)
        connections = [_connection(graph, entry) for entry in said["connections"]]
        nodes: dict[str, list[str]] = {}
        for entry in said["connections"]:
            nodes.setdefault(entry["target"], []).extend(part["node"] for part in entry["parts"])
        populations = [_population(graph, entry, nodes.get(entry["name"], []), dt) for entry in said["populations"]]
        return Network(
            name or said["name"], tuple(populations), tuple(connections), int(said["timesteps"]),
            Readout(said["readout"]["population"], said["readout"]["how"], said["readout"].get("when")), said["peak_potential"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{where}: metadata {KEY!r} and the nodes do not belong together ({type(error).__name__}: {error!s:.200}); "
            f"take the metadata {KEY!r} out to read the graph like any other"
        ) from error


def _population(graph: UntypedGraph, entry: Mapping[str, Any], synapses: Sequence[str], dt: float) -> Population:
    """Return a population; ``synapses``: the nodes that drive it, whose biases are its own."""
    where, nodes, name = graph.where, graph.nodes, str(entry["name"])
    shape, exponent, start = tuple(int(size) for size in entry["shape"]), entry["bias_exponent"], entry["start"]
    size = math.prod(shape)
    neuron = None
    if entry["neuron"] is not None:
        node = nodes[entry["neuron"]]
        if np.size(node.r) != size:
            raise ValueError(
                f"population {name!r} has the shape {shape}, but node {entry['neuron']!r} {plural(np.size(node.r), 'neuron')}"
            )
        neuron = own_neuron(where, entry["neuron"], node, dynamics_of(where, entry["neuron"], node, dt))
    elif entry["source"] and entry["input"] is not None and int(np.prod(nodes[entry["input"]].input_type["input"])) != size:
        raise ValueError(f"population {name!r} has the shape {shape}, but its Input has another")
    if entry["source"]:
        encoding = entry["encoding"]
        if encoding is not None:
            encoding = Encoding(
                np.asarray(encoding["table"], np.int32),
                int(encoding["threshold"]),
                int(encoding["start"]),
                float(encoding["full_rate"]),
            )
        return Population(name, shape, _source(where, entry, encoding, neuron, size))
    if neuron is None:
        raise ValueError(f"population {name!r} has no neurons")
    total = np.zeros(size) + np.asarray(neuron.bias).reshape(-1)
    for each in synapses:
        flat = np.asarray(getattr(nodes[each], "bias", 0.0), np.float64).reshape(-1)
        total = total + (np.repeat(flat, size // flat.size) if flat.size > 1 else flat)
    threshold, bias = neuron.threshold, total
    if exponent is not None:
        threshold, bias = (
            None if threshold is None else _vth(where, entry["neuron"], threshold),
            _mantissa(where, name, total, exponent),
        )
    elif threshold is not None:
        threshold = _even(threshold)
    begin = float(start) if np.ndim(start) == 0 else np.asarray(start, np.float64)
    floor = entry["floor"] if entry["floor"] is None or np.ndim(entry["floor"]) == 0 else np.asarray(entry["floor"], np.float64)
    held = int(entry["refractory"]) if np.ndim(entry["refractory"]) == 0 else np.asarray(entry["refractory"], np.int32)
    law = (entry["reset"], int(entry["reset_delay"]), held, floor)
    return Population(name, shape, CubaLif(threshold, bias, _even(neuron.du), _even(neuron.dv), begin, exponent, *law))


def _source(where: str, entry: Mapping[str, Any], encoding: Encoding | None, neuron: SpikingNeurons | None, size: int) -> Source:
    exponent, bare, reset = entry["bias_exponent"], entry["bare"], entry["reset"]
    du, dv = (NO_MEMORY, 0) if neuron is None else (_even(neuron.du), _even(neuron.dv))
    if exponent is None:  # threshold and start are the pixel table's
        return Source(encoding, du, dv, reset=reset)
    start = round(float(entry["start"]))
    if bare is not None:
        own = {key: np.zeros(size) + np.asarray(value, np.float64) for key, value in bare.items()}
        du, dv, threshold = (_even(_whole(where, entry["name"], key, own[key])) for key in ("du", "dv", "threshold"))
        return Source(encoding, du, dv, threshold, exponent, start, _mantissa(where, entry["name"], own["bias"], exponent), reset)
    if neuron is None:
        return Source(encoding, du, dv, 1, exponent, start, reset=reset)
    bias = _mantissa(where, entry["name"], np.zeros(size) + np.asarray(neuron.bias).reshape(-1), exponent)
    return Source(encoding, du, dv, _vth(where, entry["neuron"], neuron.threshold), exponent, start, bias, reset)


def _connection(graph: UntypedGraph, entry: Mapping[str, Any]) -> Connection:
    """Return a connection, its weights and delays put together from its ways."""
    stored = None if entry["stored"] is None else Stored(**entry["stored"])
    unit = 1.0 if stored is None else 2.0 ** (6 + stored.weight_exponent)
    weights = []
    for part in entry["parts"]:
        weight: NDArray[Any] = np.asarray(graph.nodes[part["node"]].weight, np.float64)
        weights.append(weight if stored is None else _whole(graph.where, part["node"], "weight", weight / unit).astype(np.int32))
    total = np.sum(weights, axis=0, dtype=weights[0].dtype)
    late: NDArray[np.int64] | None = None
    if entry["delayed"]:
        steps = [int(part["delay"]) for part in entry["parts"]]
        late = np.full(total.shape, steps[0], np.int64)
        for weight, step in zip(weights[1:], steps[1:], strict=True):
            late[weight != 0] = step
    synapses: Synapses
    match entry["kind"]:
        case "dense":
            synapses = Dense(total, late)
        case "sparse":
            targets, sources = np.nonzero(total)
            own = None if late is None else late[targets, sources]
            synapses = Sparse.of(len(total), total.shape[1], targets, sources, total[targets, sources], own)
        case _:
            synapses = _conv(total, late, entry["window"])
    return Connection(str(entry["name"]), str(entry["source"]), str(entry["target"]), synapses, int(entry["delay"]), stored)


def _conv(weight: NDArray[Any], late: NDArray[Any] | None, window: Mapping[str, Any]) -> Conv:
    """Return a convolution from its kernel, or from its matrix."""
    channels, height, width = (int(side) for side in window["in_shape"])
    shape, groups = (channels, height, width), int(window["groups"])
    stride, padding, dilation = (pair(window[key]) for key in ("stride", "padding", "dilation"))

    def as_kernel(value: NDArray[Any]) -> NDArray[Any]:
        if value.ndim == 4:
            return _grouped(value, groups)
        import torch

        from neurofault.convert.maps import Kernel, rows_of

        kernel = tuple(int(side) for side in window["kernel"])
        numbered = Conv(np.arange(1.0, math.prod(kernel) + 1).reshape(kernel), shape, stride, padding, dilation, groups)
        if numbered.mistake() is not None or (numbered.n_out, numbered.n_in) != value.shape:
            raise ValueError(f"a kernel of {kernel} on {shape} is no matrix of {value.shape}")
        listed = rows_of("metadata", Kernel(torch.from_numpy(numbered.weight), shape, stride, padding, dilation, groups)).tocoo()
        found = np.zeros(math.prod(kernel), value.dtype)
        found[listed.data.astype(np.int64) - 1] = value[listed.row, listed.col]
        return found.reshape(kernel)

    return Conv(
        as_kernel(weight), shape, stride, padding, dilation, groups, None if late is None else as_kernel(late).astype(np.int64)
    )


def _grouped(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """Return a kernel in its groups; it was written as one group."""
    if groups == 1:
        return weight
    outputs, channels, *window = weight.shape
    blocks = weight.reshape(groups, outputs // groups, groups, channels // groups, *window)
    return np.concatenate([blocks[group, :, group] for group in range(groups)])


def _mantissa(where: str, name: str, bias: NDArray[np.float64], exponent: int) -> Any:
    """Return the mantissas of biases that are written in units of ``v``."""
    return _even(_whole(where, name, "bias", bias / 2.0**exponent))


def _vth(where: str, name: str, threshold: Any) -> Any:
    """Return Lava ``vth`` of a threshold that is written in units of ``v``."""
    even = _even(threshold)
    scaled = np.where(np.isinf(even), NEVER, np.asarray(even, np.float64) / V_UNIT)
    return _even(_whole(where, name, "threshold", scaled))


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
