"""A chain of populations, in units in which each drive is Σ weight·s, as a NIR graph or file; what a network is in such units.

:mod:`neurofault.deploy.nir_export` says what a deployment is in such units.

Each population becomes one neuron node: LIF (``du`` 4095) or CubaLIF; LI or CubaLI for outputs that never fire. With the equations of
:mod:`neurofault.convert.nir_graph`: τ_mem = dt·4096/dv, τ_syn = dt·4096/(du + 1), R = τ_mem/dt, w_in = τ_syn/dt, so the gain is 1 and
weights keep their values. A membrane without leak (dv 0) gets τ = 2**40·dt, which float32 cannot tell from none; it is no IF, because
importers read IF in different ways (snnTorch 1.0: as β = 0.9). ``dt`` defaults to 1e-4, which snnTorch's importer takes for granted.

The input population is a LIF node too: the graph's input is its bias current (the pixel table is in the metadata). A network that
takes events has no such node: its graph's input is spikes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_file import import_nir
from neurofault.convert.nir_metadata import KEY, V_UNIT, VERSION, encoding_to_json
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Encoding, Network, Population, Source, Sparse
from neurofault.graph.chains import links
from neurofault.graph.synapses import Stored, Synapses, longest_delay

SNNTORCH_DT = 1e-4
"""The step that snnTorch's importer and exporter take for granted (``snntorch/import_nir.py``)."""

_NO_LEAK = 2.0**40
_MATRIX_LIMIT = 1 << 25


@dataclass(frozen=True, eq=False)
class WrittenPopulation:
    """A population in units in which its drive is Σ weight·s.

    Attributes:
        name: its name.
        shape: the shape of its neurons; one number where a matrix drives it.
        synapses: from the population before it, ``Dense`` or ``Conv`` without delays; None: the input.
        threshold: float64 [n]; None: the population never fires, inf: this neuron never fires.
        bias: float64 [n], added at each step.
        du, dv: decays, float64 [n], 0 to 4095.
        start: the potential at the start.
        stored: the formats of a chip's integers (:func:`formats`); None: the numbers are no chip's.
    """

    name: str
    shape: tuple[int, ...]
    synapses: Dense | Conv | None
    threshold: NDArray[np.float64] | None
    bias: NDArray[np.float64]
    du: NDArray[np.float64]
    dv: NDArray[np.float64]
    start: float
    stored: dict[str, Any] | None


@dataclass(frozen=True, eq=False)
class WrittenChain:
    """A chain as it is written.

    Attributes:
        name, timesteps, how: of the network, and how it is read out.
        encoding: the pixel table; None: the graph's input is spikes.
        peak_potential: of a network (:class:`neurofault.graph.Network`); None: unknown.
        populations: from the input to the output.
    """

    name: str
    timesteps: int
    how: str
    encoding: Encoding | None
    peak_potential: float | None
    populations: Sequence[WrittenPopulation]


def written_network(network: Network) -> WrittenChain:
    """Return a network as it is written; connections that carry integers in units of ``v``.

    Raises:
        UnsupportedError: the network is no chain, or NIR cannot hold its synapses.
    """
    populations = [_plain(link.population, link.connection) for link in links(network, "the export to NIR")]
    return WrittenChain(network.name, network.timesteps, network.readout.how, network.encoding, network.peak_potential, populations)


def write_nir(chain: WrittenChain, path: str | Path | None, dt: float) -> Any:
    """Return a chain as a ``nir.NIRGraph``, and write it if a path is given.

    Args:
        chain: what to write.
        path: NIR file (HDF5), replaced as a whole; None: nothing is written.
        dt: the step in the unit of the time constants that are written, > 0; kept in ``metadata["dt"]``.

    Raises:
        UnsupportedError: NIR is not installed, or it has no node for a convolution of a flat population.
        UsageError: the file cannot be written.
    """
    nir = import_nir()
    nodes, edges, entries = _graph(nir, chain.populations, chain.encoding is not None, dt)
    said = {
        "version": VERSION, "name": chain.name, "timesteps": chain.timesteps, "readout": chain.how,
        "encoding": encoding_to_json(chain.encoding), "peak_potential": chain.peak_potential, "layers": entries,
    }  # fmt: skip
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": float(dt), "timesteps": chain.timesteps, KEY: json.dumps(said)})
    if path is not None:
        _write(nir, graph, Path(path))
    return graph


def _write(nir: Any, graph: Any, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        nir.write(part, graph)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _graph(
    nir: Any, populations: Sequence[WrittenPopulation], takes_current: bool, dt: float
) -> tuple[dict[str, Any], list[tuple[str, str]], list[dict[str, Any]]]:
    nodes: dict[str, Any] = {"input": nir.Input(input_type={"input": np.array(populations[0].shape)})}
    edges: list[tuple[str, str]] = []
    entries: list[dict[str, Any]] = []
    at, shape = "input", populations[0].shape

    def add(name: str, node: Any) -> str:
        nonlocal at
        name = name.replace("/", "_")  # a folder in HDF5
        while name in nodes:
            name += "_"
        nodes[name] = node
        edges.append((at, name))
        at = name
        return name

    for each in populations:
        synapses = neuron = None
        leak = each.bias
        if each.synapses is not None:
            if isinstance(each.synapses, Conv) and len(shape) == 1:
                raise UnsupportedError(
                    f"layer {each.name!r}: NIR has no node that folds a flat population into the channels of a Conv2d"
                )
            if isinstance(each.synapses, Dense) and len(shape) > 1:
                add(f"{each.name}_flatten", nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1))
            node, leak = _synapse_node(nir, each, each.synapses)
            synapses = add(f"{each.name}_synapses", node)
        if each.synapses is not None or takes_current:
            neuron = add(f"{each.name}_neurons", _neuron_node(nir, each, leak, dt))
        shape = each.shape
        entries.append({
            "name": each.name, "shape": list(each.shape), "synapses": synapses, "neuron": neuron, "start": each.start,
            "groups": each.synapses.groups if isinstance(each.synapses, Conv) else 1,
            "stored": each.stored,
        })  # fmt: skip
    add("output", nir.Output(output_type={"output": np.array(shape)}))
    return nodes, edges, entries


def _synapse_node(nir: Any, each: WrittenPopulation, synapses: Dense | Conv) -> tuple[Any, NDArray[np.float64]]:
    """Return the node of a layer's synapses and the bias that it cannot hold."""
    weight = np.asarray(synapses.weight, np.float64)
    forgets = bool(np.all(each.du == 4095))
    match synapses:
        case Dense():
            if forgets and np.any(each.bias):
                return nir.Affine(weight=weight, bias=each.bias), np.zeros_like(each.bias)
            return nir.Linear(weight=weight), each.bias
        case Conv():
            rows = each.bias.reshape(synapses.out_shape[0], -1)
            even = forgets and bool(np.all(rows == rows[:, :1]))
            node = nir.Conv2d(
                input_shape=synapses.in_shape[1:], weight=_one_group(weight, synapses.groups), stride=synapses.stride,
                padding=synapses.padding, dilation=synapses.dilation, groups=1,
                bias=rows[:, 0].copy() if even else np.zeros(len(rows)),
            )  # fmt: skip
            node.output_type = {"output": np.array(synapses.out_shape)}  # nir 1.0 takes a kernel's height for its width too
            return node, np.zeros_like(each.bias) if even else each.bias


def _one_group(weight: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Return the kernel of the same convolution in one group: nir 1.0 checks grouped ones against the wrong number of channels."""
    if groups == 1:
        return weight
    outputs, inputs, *window = weight.shape
    whole = np.zeros((groups, outputs // groups, groups, inputs, *window))
    for group, part in enumerate(weight.reshape(groups, outputs // groups, inputs, *window)):
        whole[group, :, group] = part
    return whole.reshape(outputs, groups * inputs, *window)


def _neuron_node(nir: Any, each: WrittenPopulation, leak: NDArray[np.float64], dt: float) -> Any:
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
    return getattr(nir, kind)(**{field: np.ascontiguousarray(value).reshape(each.shape) for field, value in fields.items()})


def _full(value: Any, size: int) -> NDArray[np.float64]:
    return np.array(np.broadcast_to(np.asarray(value, np.float64), (size,)))


def as_nir_holds(name: str, synapses: Synapses) -> Dense | Conv:
    """Return synapses as NIR can hold them: without delays, listed ones as a matrix.

    Raises:
        UnsupportedError: they have delays, or the matrix has more than 2**25 numbers.
    """
    if longest_delay(synapses):
        raise UnsupportedError(f"layer {name!r}: NIR holds no delays of single synapses")
    if not isinstance(synapses, Sparse):
        return synapses
    check_matrix(name, "synapses that are listed one by one", synapses)
    weight = np.zeros((synapses.n_out, synapses.n_in), synapses.weight.dtype)
    weight[synapses.targets, synapses.sources] = synapses.weight
    return Dense(weight)


def check_matrix(name: str, what: str, synapses: Synapses) -> None:
    """Refuse a matrix of more than 2**25 numbers.

    Raises:
        UnsupportedError: it would have more; ``what`` says of what.
    """
    if synapses.n_in * synapses.n_out > _MATRIX_LIMIT:
        raise UnsupportedError(
            f"layer {name!r}: NIR holds {what} only as a matrix, here {synapses.n_out} × {synapses.n_in} numbers "
            f"(more than {_MATRIX_LIMIT})"
        )


def _plain(population: Population, connection: Connection | None) -> WrittenPopulation:
    """Return a population of a network; one that carries integers in units of ``v``."""
    match population.neuron:
        case Source() as source:
            return _input(population, source)
        case CubaLif() as neuron:
            return _driven(population, neuron, connection)


def _input(population: Population, neuron: Source) -> WrittenPopulation:
    n, encoding = population.size, neuron.encoding
    threshold = neuron.threshold if neuron.threshold is not None else 1 if encoding is None else encoding.threshold
    stated = neuron.threshold is not None or neuron.start is not None or bool(neuron.bias_exponent) or bool(np.any(neuron.bias))
    start = neuron.start if neuron.start is not None else 0 if encoding is None else encoding.start
    return WrittenPopulation(
        population.name, population.shape, None, _full(threshold, n) * V_UNIT, np.floor(_full(neuron.bias, n) * 2.0**neuron.bias_exponent),
        _full(neuron.du, n), _full(neuron.dv, n), float(start) if stated else 0.0,
        formats(Stored(), neuron.bias_exponent) if stated else None,  # else the pixel table says all
    )  # fmt: skip


def _driven(population: Population, neuron: CubaLif, connection: Connection | None) -> WrittenPopulation:
    assert connection is not None
    name, n, stored = population.name, population.size, connection.stored
    if (law := neuron.unusual) or np.ndim(neuron.start):
        raise UnsupportedError(f"layer {name!r}: {law or 'initial potentials of single neurons'}, which NIR's nodes do not say")
    synapses = as_nir_holds(name, connection.synapses)
    shape = (n,) if isinstance(synapses, Dense) else population.shape  # what a matrix drives is flat in NIR
    threshold = None if neuron.threshold is None else _full(neuron.threshold, n)
    bias, kept = _full(neuron.bias, n), None
    if stored is not None and neuron.bias_exponent is not None:
        threshold = None if threshold is None else threshold * V_UNIT
        bias = np.floor(bias * 2.0**neuron.bias_exponent)
        synapses = scaled(synapses, stored.weight_exponent)
        kept = formats(stored, neuron.bias_exponent)
    return WrittenPopulation(
        name, shape, synapses, threshold, bias, _full(neuron.du, n), _full(neuron.dv, n), float(neuron.start), kept
    )


def formats(stored: Stored, bias_exponent: int) -> dict[str, Any]:
    """Return the formats of integers; a bias that was shifted right is written as what is left of it."""
    return {**asdict(stored), "bias_exponent": max(bias_exponent, 0)}


def scaled(synapses: Dense | Conv, exponent: int) -> Dense | Conv:
    """Return synapses of integers in units of ``v``: weight·2**(6 + exponent)."""
    return replace(synapses, weight=np.asarray(synapses.weight, np.float64) * 2.0 ** (6 + exponent))
