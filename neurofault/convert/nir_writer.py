"""A graph of populations, in units in which each drive is Σ weight·s, as a NIR graph or file; what a network is in such units.

:mod:`neurofault.deploy.nir_export` says what a deployment is in such units.

Each population becomes one neuron node: LIF (``du`` 4095) or CubaLIF; LI or CubaLI for outputs that never fire. With the equations of
:mod:`neurofault.convert.nir_graph`: τ_mem = dt·4096/dv, τ_syn = dt·4096/(du + 1), R = τ_mem/dt, w_in = τ_syn/dt, so the gain is 1 and
weights keep their values. A membrane without leak (dv 0) gets τ = 2**40·dt, which float32 cannot tell from none; it is no IF, because
importers read IF in different ways (snnTorch 1.0: as β = 0.9). ``dt`` defaults to 1e-4, which snnTorch's importer takes for granted.

Each connection becomes its synapses, and a Delay in front of them of as many steps as its spikes act late; of synapses that differ in delay, one such
way for each delay. The step of a population's connection to itself is left to the loop, as every writer does. A population has the shape of an
image where convolutions alone drive it, else it is flat, and a convolution from a flat population is written as its matrix.

An input population with a pixel table is a LIF node too: the graph's input is its bias current (the table is in the metadata). One that
takes events has no such node: its Input is spikes. Resets other than to zero stand in the metadata of the neuron node (``reset``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_fields import NirReset
from neurofault.convert.nir_file import import_nir
from neurofault.convert.nir_kept import KEY
from neurofault.convert.nir_metadata import NEVER, READ_VERSION, V_UNIT, VERSION, encoding_to_json
from neurofault.convert.nir_written import MATRIX_LIMIT, Numbers, WrittenConnection, WrittenGraph, WrittenPopulation, matrix_of
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.synapses import Synapses

SNNTORCH_DT = 1e-4
"""The step that snnTorch's importer and exporter take for granted (``snntorch/import_nir.py``)."""

_NO_LEAK = 2.0**40


def write_nir(graph: WrittenGraph, path: str | Path | None, dt: float) -> Any:
    """Return a graph as a ``nir.NIRGraph``, and write it if a path is given.

    Args:
        graph: what to write.
        path: NIR file (HDF5), replaced as a whole; None: nothing is written.
        dt: the step in the unit of the time constants that are written, > 0; kept in ``metadata["dt"]``.

    Raises:
        UnsupportedError: NIR is not installed, or a connection has more than 2**25 numbers as matrices.
        UsageError: the file cannot be written.
    """
    nir = import_nir()
    made = _NirWriter(nir, graph, dt)
    made.write()
    readout = graph.readout
    steps = {} if readout.when is None else {"when": list(readout.when)}
    said = {
        "version": VERSION if readout.usual else READ_VERSION, "name": graph.name, "timesteps": graph.timesteps,
        "readout": {"population": readout.population, "how": readout.how} | steps,
        "peak_potential": graph.peak_potential, "populations": made.populations, "connections": made.connections,
    }  # fmt: skip
    metadata = {"dt": float(dt), "timesteps": graph.timesteps, KEY: json.dumps(said)}
    finished = nir.NIRGraph(made.nodes, made.edges, metadata=metadata, type_check=False)
    if path is not None:
        _write(nir, finished, Path(path))
    return finished


def _write(nir: Any, graph: Any, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        nir.write(part, graph)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


@dataclass(eq=False)
class _NirWriter:
    """One pass over a graph.

    Attributes:
        nir: the package.
        graph: what is written.
        dt: the time step.
        nodes, edges: of NIR.
        populations, connections: what NIR cannot hold of them, as JSON.
    """

    nir: Any
    graph: WrittenGraph
    dt: float
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    populations: list[dict[str, Any]] = field(default_factory=list)
    connections: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        into = {one.name: [each for each in self.graph.connections if each.target == one.name] for one in self.graph.populations}
        flat = {
            one.name: len(one.shape) == 1 or any(not isinstance(each.synapses, Conv) for each in into[one.name])
            for one in self.graph.populations
        }
        shapes = {one.name: (int(np.prod(one.shape)),) if flat[one.name] else one.shape for one in self.graph.populations}
        sources = [one for one in self.graph.populations if one.source]
        ends = {one.name: self._name("input" if len(sources) == 1 else one.name) for one in sources}
        for one in sources:
            self.nodes[ends[one.name]] = self.nir.Input(input_type={"input": np.array(shapes[one.name])})
        leaks, cells = {}, {}
        ways = {one.name: self._ways(one, shapes) for one in self.graph.connections}
        for one in self.graph.populations:
            own = [way for each in into[one.name] for way in ways[each.name]]
            leaks[one.name] = self._leak(one, own)
            cells[one.name] = None if one.source and one.encoding is None else self._name(f"{one.name}_neurons")
        for one in self.graph.populations:
            for each in into[one.name]:
                before, after = cells[each.source] or ends[each.source], cells[one.name]
                assert after is not None
                parts = [self._along(each, way, before, after, shapes) for way in ways[each.name]]
                self.connections.append(_connection_entry(each, parts, shapes))
            node = cells[one.name]
            if node is not None:
                self.nodes[node] = _neuron_node(self.nir, one, shapes[one.name], leaks[one.name], self.dt)
                if one.source:
                    self.edges.append((ends[one.name], node))
            self.populations.append(_population_entry(one, ends.get(one.name), node))
        order = [one.name for one in self.graph.connections]
        self.connections.sort(key=lambda entry: order.index(entry["name"]))
        read = cells[self.graph.readout.population] or ends[self.graph.readout.population]
        self.nodes[end := self._name("output")] = self.nir.Output(
            output_type={"output": np.array(shapes[self.graph.readout.population])}
        )
        self.edges.append((read, end))

    def _name(self, name: str) -> str:
        """Return a name that no node has yet, and take it."""
        name = name.replace("/", "_")  # a folder in HDF5
        while name in self.nodes:
            name += "_"
        self.nodes[name] = None
        return name

    def _ways(self, one: WrittenConnection, shapes: Mapping[str, tuple[int, ...]]) -> list[_Way]:
        """Return the ways of a connection, one for each delay of its synapses."""
        synapses: Synapses = one.synapses
        if isinstance(synapses, Sparse) or (isinstance(synapses, Conv) and len(shapes[one.source]) == 1):
            synapses = Dense(
                matrix_of(one.name, synapses),
                None
                if synapses.delay is None
                else matrix_of(one.name, replace(synapses, weight=synapses.delay, delay=None)).astype(np.int64),
            )
        weight = np.asarray(synapses.weight, np.float64)
        if synapses.delay is None:
            return [_Way(one.lag, replace(synapses, weight=weight))]
        delays = np.unique(synapses.delay[weight != 0]) if np.any(weight) else np.zeros(1, np.int64)
        if len(delays) * weight.size > MATRIX_LIMIT:
            raise UnsupportedError(
                f"connection {one.name!r}: NIR holds delays of single synapses only as a matrix for each delay, here {len(delays)} × {weight.size} numbers "
                f"(more than {MATRIX_LIMIT})"
            )
        return [
            _Way(one.lag + late, replace(synapses, weight=np.where(synapses.delay == late, weight, 0.0), delay=None))
            for late in delays.tolist()
        ]

    def _leak(self, one: WrittenPopulation, ways: Sequence[_Way]) -> Numbers:
        """Return the bias of a population that its only way cannot hold, and let the way hold the rest."""
        if len(ways) != 1 or not np.all(one.du == 4095) or not np.any(one.bias):
            return one.bias
        match ways[0].synapses:
            case Dense():
                ways[0].bias = one.bias
            case Conv() as conv:
                rows = one.bias.reshape(conv.out_shape[0], -1)
                if not np.all(rows == rows[:, :1]):
                    return one.bias
                ways[0].bias = rows[:, 0].copy()
        return np.zeros_like(one.bias)

    def _along(
        self, one: WrittenConnection, way: _Way, before: str, after: str, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Any]:
        """Add the nodes of a way; return what the metadata say of it."""
        chain: list[str] = [before]

        def add(name: str, node: Any) -> str:
            chain.append(self._name(f"{one.name}_{name}"))
            self.nodes[chain[-1]] = node
            return chain[-1]

        steps = way.lag - (one.source == one.target and way.lag == 1)
        shape = shapes[one.source]
        if steps:
            add("delay", self.nir.Delay(np.full(shape, steps * self.dt)))
        if isinstance(way.synapses, Dense) and len(shape) > 1:
            add("flatten", self.nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1))
        synapses = add("synapses", _synapse_node(self.nir, way))
        if isinstance(way.synapses, Conv) and len(shapes[one.target]) == 1:
            add("flatten", self.nir.Flatten(input_type={"input": np.array(way.synapses.out_shape)}, start_dim=0, end_dim=-1))
        self.edges += zip(chain, [*chain[1:], after], strict=True)
        return {"node": synapses, "delay": way.lag - one.lag}


@dataclass(eq=False)
class _Way:
    """Synapses of one delay, ``lag`` steps late; ``bias`` of a neuron or channel where the target's is added there."""

    lag: int
    synapses: Dense | Conv
    bias: Numbers | None = None


def _population_entry(one: WrittenPopulation, entering: str | None, neuron: str | None) -> dict[str, Any]:
    bare = {
        "du": one.du,
        "dv": one.dv,
        "threshold": None if one.threshold is None else np.minimum(one.threshold / V_UNIT, NEVER),
        "bias": one.bias,
    }
    return {
        "name": one.name, "shape": list(one.shape), "source": one.source, "input": entering, "neuron": neuron, "encoding": encoding_to_json(one.encoding),
        "start": listed(one.start), "bias_exponent": one.bias_exponent, "reset": one.reset, "reset_delay": one.reset_delay,
        "refractory": listed(one.refractory), "floor": None if one.floor is None else listed(one.floor),
        "bare": {key: listed(value) for key, value in bare.items()} if one.source and neuron is None and one.bias_exponent is not None else None,
    }  # fmt: skip


def _connection_entry(one: WrittenConnection, parts: list[dict[str, Any]], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    match one.synapses:
        case Dense():
            kind, window = "dense", None
        case Sparse():
            kind, window = "sparse", None
        case Conv() as conv:
            kind, window = "conv", {
                "in_shape": list(conv.in_shape), "kernel": list(conv.weight.shape), "stride": list(conv.stride), "padding": list(conv.padding),
                "dilation": list(conv.dilation), "groups": conv.groups,
            }  # fmt: skip
    return {
        "name": one.name, "source": one.source, "target": one.target, "delay": one.delay, "kind": kind, "window": window, "parts": parts,
        "delayed": one.synapses.delay is not None, "stored": None if one.stored is None else asdict(one.stored),
    }  # fmt: skip


def listed(value: Any) -> Any:
    """Return a number, or a list of one of each neuron, as JSON holds it."""
    return None if value is None else np.asarray(value).tolist()


def _synapse_node(nir: Any, way: _Way) -> Any:
    """Return the node of synapses."""
    weight = np.asarray(way.synapses.weight, np.float64)
    match way.synapses:
        case Dense():
            return nir.Linear(weight=weight) if way.bias is None else nir.Affine(weight=weight, bias=way.bias)
        case Conv() as conv:
            node = nir.Conv2d(
                input_shape=conv.in_shape[1:], weight=_one_group(weight, conv.groups), stride=conv.stride,
                padding=conv.padding, dilation=conv.dilation, groups=1, bias=np.zeros(len(weight)) if way.bias is None else way.bias,
            )  # fmt: skip
            node.output_type = {"output": np.array(conv.out_shape)}  # nir 1.0 takes a kernel's height for its width too
            return node


def _one_group(weight: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Return the kernel of the same convolution in one group: nir 1.0 checks grouped ones against the wrong number of channels."""
    if groups == 1:
        return weight
    outputs, inputs, *window = weight.shape
    whole = np.zeros((groups, outputs // groups, groups, inputs, *window))
    for group, part in enumerate(weight.reshape(groups, outputs // groups, inputs, *window)):
        whole[group, :, group] = part
    return whole.reshape(outputs, groups * inputs, *window)


def _neuron_node(nir: Any, each: WrittenPopulation, shape: tuple[int, ...], leak: Numbers, dt: float) -> Any:
    """Return the node of a population; ``leak`` is added to v at each step, as a leak voltage."""
    lost = np.where(each.dv > 0, each.dv / 4096, 1 / _NO_LEAK)
    fields = {"r": 1 / lost, "v_leak": leak / lost}
    if each.threshold is not None:
        fields |= {"v_threshold": each.threshold, "v_reset": np.zeros(len(lost))}
    if np.all(each.du == 4095):
        kind = "LI" if each.threshold is None else "LIF"
        fields["tau"] = dt / lost
    else:
        kind = "CubaLI" if each.threshold is None else "CubaLIF"
        fields |= {"tau_mem": dt / lost, "tau_syn": dt * 4096 / (each.du + 1), "w_in": 4096 / (each.du + 1)}
    node = getattr(nir, kind)(**{name: np.ascontiguousarray(value).reshape(shape) for name, value in fields.items()})
    word = _reset_word(each)
    if word is not None:
        node.metadata = {"reset": word}
    return node


def _reset_word(each: WrittenPopulation) -> NirReset | None:
    """Return the reset that other readers should know of; None: to zero, which is ``v_reset``."""
    if each.reset == "subtract" and each.reset_delay:
        return "snntorch-subtract"
    return None if each.reset == "zero" else each.reset
