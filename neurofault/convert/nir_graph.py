"""`from_nir`: a graph of the Neuromorphic Intermediate Representation becomes a :class:`SpikingNetwork`.

NIR (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9; equations: the nodes' docstrings, ``nir/ir/neuron.py``) describes neurons in
continuous time and leaves the step open. Here, with step ``dt`` and forward Euler, currents before membranes::

    LIF      v ← v·(1 − dt/τ) + (dt/τ)·(v_leak + R·I)
    CubaLIF  i ← i·(1 − dt/τ_syn) + (dt/τ_syn)·w_in·I       v ← v·(1 − dt/τ_mem) + (dt/τ_mem)·(v_leak + R·i)
    IF       v ← v + dt·R·I
             spike where v > v_threshold, then v ← v_reset = 0

which is what snnTorch's own exporter and importer mean (``snntorch/export_nir.py``, ``import_nir.py``: β = 1 − dt/τ, R = τ/dt,
dt = 1e-4) and what norse computes (``norse/torch/functional/lif_box.py``). The gain (dt/τ)·R is divided out of the threshold, so the
weights keep their values; the leak voltage becomes a bias. ``dt`` is not part of NIR; it is read from ``metadata["dt"]`` of the graph,
where :func:`neurofault.deploy.nir_export.to_nir` writes it, or has to be given. Values that other writers use: snnTorch 1e-4 (fixed);
sinabs 1 (its time constants count steps); norse 1.1 multiplies its time constants by its own dt (1e-3), so 1e-6 gives back its dynamics.

NIR does not say how neurons reset beyond ``v_reset``: snnTorch and sinabs write networks that subtract the threshold with
``v_reset`` 0 too, and these then run here with another reset than the one that they were trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurofault.convert.chain import (
    Neuron,
    Operation,
    PixelCoding,
    SumPool,
    Value,
    current_decay,
    linear,
    membrane_decay,
    network_of,
    pair,
)
from neurofault.convert.nir_fields import check_sizes
from neurofault.convert.nir_file import Graph, chain_of, read_graph
from neurofault.convert.nir_metadata import network_from_metadata
from neurofault.errors import ConversionError
from neurofault.network import Readout, SpikingNetwork

DEFAULT_TIMESTEPS = 32


def from_nir(
    source: Any,
    *,
    timesteps: int | None = None,
    dt: float | None = None,
    name: str | None = None,
    in_shape: Sequence[int] | None = None,
    coding: PixelCoding | None = PixelCoding(),  # noqa: B008  (frozen)
    readout: Readout | None = None,
) -> SpikingNetwork:
    """Convert a NIR graph.

    A graph that :func:`neurofault.deploy.nir_export.to_nir` wrote comes back as the network that it was, integers and pixel table included
    (``in_shape``, ``coding``, ``readout`` are not used then).

    Args:
        source: path of a NIR file, or a ``nir.NIRGraph``.
        timesteps: T, steps that a sample will be shown; None: what the file says, else 32.
        dt: the step in the unit of the file's time constants; None: what the file's metadata say.
        name: for display; None: the file's name.
        in_shape: of one sample, (n,) or (channels, height, width); None: what the file says.
        coding: how pixels in [0, 1] become spikes; None: the network takes ``Inputs(events=…)``.
        readout: ``count`` (spikes of the last layer; the default where it fires) or ``potential`` (the last neurons then never fire).

    Raises:
        DataError: the file is missing, truncated or malformed.
        ConversionError: no dt, a cycle or branch, shapes that do not fit, or a node that has no counterpart; the text names the node.
        UnsupportedError: NIR is not installed.
    """
    graph = read_graph(source)
    chain = chain_of(graph)
    title = name or (Path(graph.where).stem if isinstance(source, str | Path) else "nir")
    step = _step(graph, dt)
    kept = network_from_metadata(graph, chain, lambda each, node: neuron_of(graph.where, each, node, step), name)
    if kept is not None:
        return kept if timesteps is None else kept.with_timesteps(timesteps)
    operations: list[tuple[str, Operation]] = []
    for each, node in chain:
        operation = _operation(graph, each, node, step)
        if operation is not None:
            operations.append((each, operation))
    shape = tuple(in_shape) if in_shape is not None else _in_shape(graph, chain)
    check_sizes(graph.where, chain, shape)
    try:
        return network_of(title, operations, shape, timesteps=timesteps or DEFAULT_TIMESTEPS, coding=coding, readout=readout)
    except ConversionError as error:
        raise ConversionError(f"{graph.where}: {error}") from error


def _step(graph: Graph, dt: float | None) -> float:
    """Return the time step.

    Raises:
        ConversionError: nobody says.
    """
    found = dt if dt is not None else graph.metadata.get("dt")
    if found is None:
        raise ConversionError(
            f"{graph.where}: no time step: NIR neurons are continuous in time and the metadata have no 'dt'; pass dt (--dt), in the unit of "
            "the file's time constants: 1e-4 for snnTorch, 1 for sinabs, 1e-6 for norse"
        )
    numbers = np.asarray(found)
    if numbers.dtype.kind not in "iuf" or numbers.size != 1:
        raise ConversionError(f"{graph.where}: dt must be one number, is of type {numbers.dtype} and shape {numbers.shape}")
    step = float(numbers.reshape(-1)[0])
    if not (np.isfinite(step) and step > 0):
        raise ConversionError(f"{graph.where}: dt must be above 0, is {step}")
    return step


def _in_shape(graph: Graph, chain: Sequence[tuple[str, Any]]) -> tuple[int, ...]:
    """Return the shape of a sample, from the input node or else from the first node that knows."""
    for _, node in chain:
        kind = type(node).__name__
        if kind in ("Affine", "Linear"):
            return (int(node.weight.shape[-1]),)
        if kind == "Conv2d" and node.input_shape is not None:
            return (int(node.weight.shape[1]) * int(node.groups), *(int(size) for size in node.input_shape))
        if kind in ("Conv2d", "AvgPool2d", "SumPool2d"):
            break
        known = None if node.input_type is None else node.input_type.get("input")
        if known is not None and np.asarray(known).size and (kind == "Input" or np.prod(known) > 1):
            shape = tuple(int(size) for size in np.asarray(known).reshape(-1))
            match len(shape):
                case 1 | 3:
                    return shape
                case 2 if shape[0] == 1:  # a batch dimension that was left in
                    return (shape[1],)
                case 2:
                    return (1, *shape)
                case 4 if shape[0] == 1:
                    return shape[1:]
                case _:
                    raise ConversionError(
                        f"{graph.where}: a sample has the shape {shape}; taken: (n,) or (channels, height, width)"
                    )
    raise ConversionError(f"{graph.where}: no node says what shape a sample has; pass in_shape")


def _operation(graph: Graph, name: str, node: Any, dt: float) -> Operation | None:
    """Return what a node does, None for the ends of the graph."""
    match type(node).__name__:
        case "Input" | "Output":
            return None
        case "Flatten":
            return nn.Flatten()
        case "Affine" | "Linear":
            return _matrix(graph, name, node)
        case "Conv2d":
            return _convolution(graph, name, node)
        case "AvgPool2d":
            return nn.AvgPool2d(*_window(graph, name, node))
        case "SumPool2d":
            return SumPool(*_window(graph, name, node))
        case _:
            return neuron_of(graph.where, name, node, dt)


def _matrix(graph: Graph, name: str, node: Any) -> nn.Linear:
    weight = np.asarray(node.weight, np.float64)
    if weight.ndim != 2:
        raise ConversionError(f"{graph.where}: node {name!r}: weight has the shape {weight.shape}; a matrix [n_out, n_in] is taken")
    bias = None if type(node).__name__ == "Linear" else np.asarray(node.bias, np.float64).reshape(-1)
    if bias is not None and bias.size != len(weight):
        raise ConversionError(f"{graph.where}: node {name!r}: bias has {bias.size} values for {len(weight)} outputs")
    return linear(weight, bias)


def _convolution(graph: Graph, name: str, node: Any) -> nn.Conv2d:
    weight = np.asarray(node.weight, np.float64)
    groups = int(np.asarray(node.groups))
    padding = node.padding if not isinstance(node.padding, bytes) else node.padding.decode()
    if isinstance(padding, str) and padding != "valid":
        raise ConversionError(f"{graph.where}: node {name!r}: Conv2d with padding {padding!r}; write the padding as numbers")
    if weight.ndim != 4:
        raise ConversionError(
            f"{graph.where}: node {name!r}: weight has the shape {weight.shape}; [c_out, c_in/groups, k_h, k_w] is taken"
        )
    bias = np.asarray(node.bias, np.float64).reshape(-1)
    if bias.size != len(weight):
        raise ConversionError(f"{graph.where}: node {name!r}: bias has {bias.size} values for {len(weight)} channels")
    module = nn.Conv2d(
        weight.shape[1] * groups, len(weight), weight.shape[2:], pair(node.stride), (0, 0) if isinstance(padding, str) else pair(padding),
        pair(node.dilation), groups,
    ).double()  # fmt: skip
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        assert module.bias is not None
        module.bias.copy_(torch.from_numpy(bias))
    return module


def _window(graph: Graph, name: str, node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    if pair(node.padding) != (0, 0):
        raise ConversionError(
            f"{graph.where}: node {name!r}: {type(node).__name__} with padding {pair(node.padding)}; use it without"
        )
    return pair(node.kernel_size), pair(node.stride)


def neuron_of(where: str, name: str, node: Any, dt: float) -> Neuron:
    """Return a NIR neuron as the chip's, its gain divided out.

    Raises:
        ConversionError: ``v_reset`` is not 0, ``dt`` exceeds a time constant, or a gain is not positive.
    """
    kind = type(node).__name__
    if np.any(np.asarray(getattr(node, "v_reset", 0)) != 0):
        raise ConversionError(
            f"{where}: node {name!r}: {kind} with v_reset {_some(node.v_reset)}; the chip's neuron resets to zero"
        )
    threshold = getattr(node, "v_threshold", None)
    bias: Value = 0.0
    du: Value = 4095
    dv: Value = 0
    match kind:
        case "IF" | "I":
            gain = dt * _double(node.r)
        case "LIF" | "LI":
            rate = _rate(where, name, "tau", node.tau, dt)
            gain, dv = rate * _double(node.r), membrane_decay(1 - rate)
            bias = rate * _double(node.v_leak)
        case _:
            rate, current = _rate(where, name, "tau_mem", node.tau_mem, dt), _rate(where, name, "tau_syn", node.tau_syn, dt)
            gain = rate * _double(node.r) * current * _double(node.w_in)
            du, dv = current_decay(name, 1 - current), membrane_decay(1 - rate)
            bias = rate * _double(node.v_leak)
    if not np.all(gain > 0):
        raise ConversionError(
            f"{where}: node {name!r}: {kind} with resistance {_some(node.r)}; it must be above 0 (fold signs into the weights)"
        )
    gain = np.where(np.abs(gain - 1) < 1e-6, 1.0, gain)  # what float32 time constants leave of a gain of 1
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [bias / gain, 0.0 if threshold is None else _double(threshold) / gain]
    if not np.all(np.isfinite(parts[0])) or not np.all(~np.isnan(parts[1])):
        raise ConversionError(f"{where}: node {name!r}: {kind}: its constants give numbers that 64 bits cannot hold")
    neuron = Neuron(None, du, dv, parts[0])
    return neuron if threshold is None else replace(neuron, threshold=parts[1])


def _rate(where: str, name: str, field: str, tau: Any, dt: float) -> NDArray[np.float64]:
    """Return dt/τ, the fraction that is lost each step."""
    constants = _double(tau)
    if not np.all(constants > 0) or np.any(dt / constants > 1 + 1e-6):
        raise ConversionError(
            f"{where}: node {name!r}: {field} {_some(tau)} does not reach one step of dt {dt:g}; pass the dt that the file was made with"
        )
    return np.minimum(dt / constants, 1.0)


def _double(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, np.float64)


def _some(value: Any) -> str:
    """Return a value or the range of an array, for messages."""
    array = _double(value)
    low, high = float(array.min()), float(array.max())
    return f"{low:g}" if low == high else f"{low:g}…{high:g}"
