"""`to_nir`: a chain of populations, as a network or a deployment with whatever is broken in it, as a NIR graph. Chains only.

Each population becomes one neuron node: LIF (``du`` 4095) or CubaLIF; LI or CubaLI for outputs that never fire. With the equations of
:mod:`neurofault.convert.nir_graph`: τ_mem = dt·4096/dv, τ_syn = dt·4096/(du + 1), R = τ_mem/dt, w_in = τ_syn/dt, so the gain is 1 and
weights keep their values. A membrane without leak (dv 0) gets τ = 2**40·dt, which float32 cannot tell from none; it is no IF, because
importers read IF in different ways (snnTorch 1.0: as β = 0.9). ``dt`` defaults to 1e-4, which snnTorch's importer takes for granted.

The input population is a LIF node too: the graph's input is its bias current (the pixel table is in the metadata). A network that
takes events has no such node: its graph's input is spikes.

A deployment is written in units of ``v``: weight·2**(6 + e), vth·64, mantissa·2**x. These are whole numbers, so reading back gives the
same integers. Other readers compute with them in real numbers: they leave out the rounding of decays (towards 0) and of negative weight
exponents, the wrap of ``u`` and the saturation of ``v``; with dv = 0, du = 4095 and e ≥ 0 there is nothing to leave out.
They also begin at v = 0: NIR has no initial state, ``v_init`` is in the metadata only.

What is broken is written so that any reader computes it: dead neurons get weights and bias 0 (they stay at v = v_init, below threshold);
where they share a kernel with living ones, an infinite threshold; damaged synapses have the weight that the chip reads, and a convolution with damaged
synapses becomes a matrix. Dead outputs must lose every comparison: they get the lowest weights and bias that the chip's fields hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from neurofault.convert.nir_file import import_nir
from neurofault.convert.nir_metadata import KEY, NEVER, V_UNIT, VERSION, encoding_to_json
from neurofault.damage.damage import (
    Detour,
    Drop,
    Force,
    InputNoise,
    LearningDefect,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    Upset,
)
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.quantise import weight_range
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Source, Sparse
from neurofault.graph.chains import links
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.synapses import Stored, Synapses, longest_delay, with_weight

SNNTORCH_DT = 1e-4
"""The step that snnTorch's importer and exporter take for granted (``snntorch/import_nir.py``)."""

_NO_LEAK = 2.0**40
_MATRIX_LIMIT = 1 << 25


@dataclass(frozen=True, eq=False)
class _Population:
    """A population in units in which its drive is Σ weight·s; arrays [n]; threshold None: never fires, inf: this neuron never fires."""

    name: str
    shape: tuple[int, ...]
    synapses: Synapses | None
    threshold: NDArray[np.float64] | None
    bias: NDArray[np.float64]
    du: NDArray[np.float64]
    dv: NDArray[np.float64]
    start: float
    stored: dict[str, Any] | None


def to_nir(network: Network | Deployment, path: str | Path | None = None, *, dt: float = SNNTORCH_DT) -> Any:
    """Return a network or a (damaged) deployment as a ``nir.NIRGraph``, and write it if a path is given.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> graph = to_nir(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
    {'input': 'Input', 'hands_synapses': 'Linear', 'hands_neurons': 'LIF', 'output': 'Output'}

    Reading the file back with :func:`neurofault.convert.nir_graph.from_nir` and deploying on the same profile gives the same spikes of every
    neuron for the same inputs, and the same answers.

    Args:
        network: what to write.
        path: NIR file (HDF5), replaced as a whole; None: nothing is written.
        dt: the step in the unit of the time constants that are written, > 0; kept in ``metadata["dt"]``.

    Raises:
        UnsupportedError: NIR is not installed, the network is no chain, or NIR cannot hold something: delays, faults that come and go,
            stuck outputs.
        UsageError: dt is not above 0, or the file cannot be written.
    """
    nir = import_nir()
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt must be above 0, is {dt}")
    if isinstance(network, Deployment):
        populations = _broken(network)
        peak = None
    else:
        populations = [_plain(link.population, link.connection) for link in links(network, "the export to NIR")]
        peak = network.peak_potential
    takes_current = network.encoding is not None
    nodes, edges, entries = _graph(nir, populations, takes_current, dt)
    said = {
        "version": VERSION, "name": network.name, "timesteps": network.timesteps, "readout": network.readout.how,
        "encoding": encoding_to_json(network.encoding), "peak_potential": peak, "layers": entries,
    }  # fmt: skip
    graph = nir.NIRGraph(nodes, edges, metadata={"dt": float(dt), "timesteps": network.timesteps, KEY: json.dumps(said)})
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
    nir: Any, populations: Sequence[_Population], takes_current: bool, dt: float
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


def _synapse_node(nir: Any, each: _Population, synapses: Synapses) -> tuple[Any, NDArray[np.float64]]:
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
        case Sparse():
            raise AssertionError("written as a matrix")


def _one_group(weight: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Return the kernel of the same convolution in one group: nir 1.0 checks grouped ones against the wrong number of channels."""
    if groups == 1:
        return weight
    outputs, inputs, *window = weight.shape
    whole = np.zeros((groups, outputs // groups, groups, inputs, *window))
    for group, part in enumerate(weight.reshape(groups, outputs // groups, inputs, *window)):
        whole[group, :, group] = part
    return whole.reshape(outputs, groups * inputs, *window)


def _neuron_node(nir: Any, each: _Population, leak: NDArray[np.float64], dt: float) -> Any:
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


def _written(name: str, synapses: Synapses) -> Dense | Conv:
    """Return synapses as NIR can hold them: without delays, listed ones as a matrix."""
    if longest_delay(synapses):
        raise UnsupportedError(f"layer {name!r}: NIR holds no delays of single synapses")
    if not isinstance(synapses, Sparse):
        return synapses
    _check_matrix(name, "synapses that are listed one by one", synapses)
    weight = np.zeros((synapses.n_out, synapses.n_in), synapses.weight.dtype)
    weight[synapses.targets, synapses.sources] = synapses.weight
    return Dense(weight)


def _check_matrix(name: str, what: str, synapses: Synapses) -> None:
    if synapses.n_in * synapses.n_out > _MATRIX_LIMIT:
        raise UnsupportedError(
            f"layer {name!r}: NIR holds {what} only as a matrix, here {synapses.n_out} × {synapses.n_in} numbers "
            f"(more than {_MATRIX_LIMIT})"
        )


def _plain(population: Population, connection: Connection | None) -> _Population:
    """Return a population of a network; one that carries integers in units of ``v``."""
    match population.neuron:
        case Source() as source:
            return _input(population, source)
        case CubaLif() as neuron:
            return _driven(population, neuron, connection)


def _input(population: Population, neuron: Source) -> _Population:
    n, encoding = population.size, neuron.encoding
    threshold = neuron.threshold if neuron.threshold is not None else 1 if encoding is None else encoding.threshold
    stated = neuron.threshold is not None or neuron.start is not None or bool(neuron.bias_exponent) or bool(np.any(neuron.bias))
    start = neuron.start if neuron.start is not None else 0 if encoding is None else encoding.start
    return _Population(
        population.name, population.shape, None, _full(threshold, n) * V_UNIT, np.floor(_full(neuron.bias, n) * 2.0**neuron.bias_exponent),
        _full(neuron.du, n), _full(neuron.dv, n), float(start) if stated else 0.0,
        _stored(Stored(), neuron.bias_exponent) if stated else None,  # else the pixel table says all
    )  # fmt: skip


def _driven(population: Population, neuron: CubaLif, connection: Connection | None) -> _Population:
    assert connection is not None
    name, n, stored = population.name, population.size, connection.stored
    synapses: Synapses = _written(name, connection.synapses)
    shape = (n,) if isinstance(synapses, Dense) else population.shape  # what a matrix drives is flat in NIR
    threshold = None if neuron.threshold is None else _full(neuron.threshold, n)
    bias, kept = _full(neuron.bias, n), None
    if stored is not None and neuron.bias_exponent is not None:
        threshold = None if threshold is None else threshold * V_UNIT
        bias = np.floor(bias * 2.0**neuron.bias_exponent)
        synapses = _scaled(synapses, stored.weight_exponent)
        kept = _stored(stored, neuron.bias_exponent)
    return _Population(name, shape, synapses, threshold, bias, _full(neuron.du, n), _full(neuron.dv, n), neuron.start, kept)


def _stored(stored: Stored, bias_exponent: int) -> dict[str, Any]:
    """Return the formats of integers; a bias that was shifted right is written as what is left of it."""
    return {**asdict(stored), "bias_exponent": max(bias_exponent, 0)}


def _scaled(synapses: Synapses, exponent: int) -> Synapses:
    return with_weight(synapses, np.asarray(synapses.weight, np.float64) * 2.0 ** (6 + exponent))


def _broken(deployment: Deployment) -> list[_Population]:
    """Return a deployment's populations with everything that is broken written into their numbers."""
    populations: list[_Population] = []
    lost_inputs = np.zeros(0, bool)  # dead inputs of a network without input neurons
    for link in links(deployment, "the export to NIR"):
        chip, connection = link.population, link.connection
        dead = np.zeros(chip.size, bool)
        altered: list[SetField] = []
        for edit in deployment.damage.edits:
            match edit:
                case Detour() | LearningDefect():
                    pass
                case Silence() | Force() | SetField() | Upset() | InputNoise() if edit.population != chip.name:
                    pass
                case SetSynapses() | SetDelays() | Drop() if connection is None or edit.connection != connection.name:
                    pass
                case Silence(neurons=neurons) if edit.when.always:
                    dead[neurons] = True
                case SetField(field=field) if edit.when.always and not (chip.is_source and field == "bias_mantissa"):
                    altered.append(edit)
                case SetSynapses() if edit.when.always:
                    pass
                case Drop(probability=1.0) if edit.when.always:
                    pass
                case _:
                    at_times = "" if edit.when.always else " that acts only at times"
                    raise UnsupportedError(f"layer {chip.name!r}: NIR holds no fault of the kind {type(edit).__name__}{at_times}")
        now = NeuronFold(chip, altered).at(np.ones(len(altered), bool))
        fields = {name: getattr(now, name).astype(np.int32) for name in ("du", "dv", "vth", "bias_mantissa")}
        chip = replace(chip, **fields)  # names of int32 [n] fields
        synapses = None
        if connection is not None:
            synapses = _damaged_synapses(deployment, connection, len(populations[-1].shape) == 1, lost_inputs)
        lost_inputs = dead if chip.is_source and deployment.encoding is None else np.zeros(0, bool)
        shape = (chip.size,) if isinstance(synapses, Dense) else chip.shape
        last = chip.name == deployment.readout.population
        lowest_bias = deployment.profile.neuron.bias_mantissa_min.known
        populations.append(_with_dead(chip, connection, synapses, shape, dead, last, lowest_bias))
    return populations


def _damaged_synapses(
    deployment: Deployment, connection: ChipConnection, flat: bool, lost_inputs: NDArray[np.bool_]
) -> Dense | Conv:
    """Return synapses as the chip reads them; a matrix where a kernel cannot hold them or the source population is flat."""
    name = connection.name
    synapses = _written(name, connection.synapses)
    edits = [edit for edit in deployment.damage.of_connection(name) if isinstance(edit, SetSynapses | Drop)]
    lost = bool(lost_inputs.any())
    if isinstance(synapses, Conv) and (edits or flat or lost):
        synapses = Dense(_matrix(name, synapses))
    if not edits and not lost:
        return synapses
    weight = np.array(synapses.weight)
    fold = SynapseFold(connection, [edit for edit in edits if isinstance(edit, SetSynapses)])
    weight[fold.targets, fold.sources] = fold.at(fold.always).weights
    for edit in edits:
        if isinstance(edit, Drop):
            weight[np.ix_(edit.targets, edit.sources)] = 0
    if lost:
        weight[:, lost_inputs] = 0
    return replace(synapses, weight=weight)


def _matrix(name: str, conv: Conv) -> NDArray[np.int32]:
    """Return the matrix [n_out, n_in] that a convolution is."""
    _check_matrix(name, "a damaged convolution", conv)
    weight = torch.from_numpy(np.array(conv.weight, np.float64))
    images = torch.eye(conv.n_in, dtype=torch.float64).reshape(-1, *conv.in_shape)
    out = functional.conv2d(images, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return np.asarray(out.flatten(1).T.contiguous().numpy(), np.int32)


def _with_dead(
    chip: ChipPopulation,
    connection: ChipConnection | None,
    synapses: Dense | Conv | None,
    shape: tuple[int, ...],
    dead: NDArray[np.bool_],
    last: bool,
    lowest_bias: int,
) -> _Population:
    form = Stored() if connection is None else Stored(connection.weight_exponent, connection.weight_bits, connection.sign_mode)
    mantissa = np.array(chip.bias_mantissa, np.int64)
    threshold = np.asarray(chip.vth, np.float64) * V_UNIT
    exponent = chip.bias_exponent
    bias = np.floor(mantissa * 2.0**exponent)
    if dead.any() and last:
        bias[dead] = lowest_bias * 2.0 ** max(exponent, 0)
    elif dead.any():
        bias[dead] = 0
    if dead.any() and isinstance(synapses, Dense):
        weight = np.array(synapses.weight)
        weight[dead] = weight_range(min(form.weight_bits, 8), form.sign_mode)[0] if last else 0
        synapses = replace(synapses, weight=weight)
        threshold[dead & (chip.v_init > chip.vth << 6)] = np.inf
    elif dead.any():
        threshold[dead] = np.inf
    threshold[chip.vth >= NEVER] = np.inf
    return _Population(
        chip.name, shape, None if synapses is None else _scaled(synapses, form.weight_exponent), threshold if chip.fires else None, bias,
        np.asarray(chip.du, np.float64), np.asarray(chip.dv, np.float64), float(chip.v_init), _stored(form, exponent),
    )  # fmt: skip
