"""`from_nir`: a chain in the Neuromorphic Intermediate Representation (NIR) becomes a :class:`Network`; other graphs are refused by name.

NIR (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9; equations: the nodes' docstrings, ``nir/ir/neuron.py``) describes neurons in
continuous time and leaves the step open; :mod:`neurofault.convert.nir_neurons` says what they do here in a step. Their gain (dt/τ)·R is divided
out of the threshold, so the weights keep their values; the leak voltage becomes a bias. ``dt`` is not part of NIR; it is read from
``metadata["dt"]`` of the graph, where :func:`neurofault.deploy.nir_export.to_nir` writes it, or has to be given where a node has a time constant.
Values that other writers use: snnTorch 1e-4 (fixed); sinabs 1 (its time constants count steps); norse 1.1 multiplies its time constants by its
own dt (1e-3), so 1e-6 gives back its dynamics.

NIR does not say how neurons reset beyond ``v_reset``: snnTorch and sinabs write networks that subtract the threshold with
``v_reset`` 0 too, and these then run here with another reset than the one that they were trained with. What was assumed so stands in the
network's ``notes``; what was built is run beside NIR's equations (:mod:`neurofault.convert.nir_reference`) before it is returned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurofault.arrays import not_finite
from neurofault.convert.chain import PixelCoding, linear, network_of
from neurofault.convert.nir_fields import check_sizes
from neurofault.convert.nir_file import UntypedGraph, chain_of, read_graph
from neurofault.convert.nir_metadata import KEY, network_from_metadata
from neurofault.convert.nir_neurons import NodeDynamics, assumed, dynamics_of, neuron_of, step_of
from neurofault.convert.nir_reference import check_fires, check_run, computing
from neurofault.convert.spiking_layers import Operation, SumPool, pair
from neurofault.errors import ConversionError, DataError
from neurofault.graph import Network
from neurofault.graph.network import How

DEFAULT_TIMESTEPS = 32

MOST_STEPS = 100_000
"""Steps a sample that a file may ask for."""

_MOST_VALUES = 1 << 24

NEURONS = ("IF", "LIF", "CubaLIF", "I", "LI", "CubaLI")


def from_nir(
    source: Any,
    *,
    timesteps: int | None = None,
    dt: float | None = None,
    name: str | None = None,
    in_shape: Sequence[int] | None = None,
    coding: PixelCoding | None = PixelCoding(),  # noqa: B008  (frozen)
    readout: How | None = None,
) -> Network:
    """Convert a NIR graph.

    >>> from neurofault.convert.nir_file import import_nir
    >>> nir = import_nir()
    >>> neurons = nir.IF(r=np.ones(2), v_threshold=np.ones(2))
    >>> nodes = {"input": nir.Input(np.array([2])), "w": nir.Linear(np.eye(2)), "n": neurons, "output": nir.Output(np.array([2]))}
    >>> net = from_nir(nir.NIRGraph(nodes, [("input", "w"), ("w", "n"), ("n", "output")]), timesteps=8)
    >>> [(one.name, one.shape) for one in net.populations], net.readout.how
    ([('input', (2,)), ('output', (2,))], 'count')

    A graph that :func:`neurofault.deploy.nir_export.to_nir` wrote comes back as the network that it was, integers and pixel table included
    (``in_shape``, ``coding``, ``readout`` are not used then).

    Args:
        source: path of a NIR file, or a ``nir.NIRGraph``.
        timesteps: T, steps that a sample will be shown; None: what the file says, else 32.
        dt: the step in the unit of the file's time constants; None: what the file's metadata say, else 1 where no node has any.
        name: for display; None: the file's name.
        in_shape: of one sample, (n,) or (channels, height, width); None: what the file says.
        coding: how pixels in [0, 1] become spikes; None: the network takes ``Inputs(events=…)``.
        readout: ``count`` (spikes of the last layer; the default where it fires) or ``potential`` (the last neurons then never fire).

    Raises:
        DataError: the file is missing, truncated or malformed.
        ConversionError: no dt, a cycle or branch, shapes that do not fit, numbers that are not finite, a node that has no counterpart, neurons that no
            input can make fire, or a network that differs from NIR's equations; the text names the node.
        UnsupportedError: NIR is not installed.
    """
    graph = read_graph(source)
    chain = chain_of(graph)
    title = name or (Path(graph.where).stem if isinstance(source, str | Path) else "nir")
    step = step_of(graph, chain, dt)
    if KEY in graph.metadata:
        _check_step(graph, dt)
    kept = network_from_metadata(graph, chain, lambda each, node: neuron_of(graph.where, each, node, step.dt), name)
    if kept is not None:
        return kept if timesteps is None else kept.with_timesteps(timesteps)
    operations: list[tuple[str, Operation]] = []
    dynamics: dict[str, NodeDynamics] = {}
    for each, node in chain:
        with _malformed(f"{graph.where}: node {each!r} ({type(node).__name__}) is malformed"):
            operation = _operation(graph, each, node, step.dt)
            if operation is not None:
                operations.append((each, operation))
            if operation is not None and type(node).__name__ in NEURONS:
                dynamics[each] = dynamics_of(graph.where, each, node, step.dt)
    with _malformed(f"{graph.where}: the nodes do not fit each other"):
        sample = Sample(tuple(in_shape)) if in_shape is not None else _sample(graph, chain)
        _check_sample(graph, sample)
        check_sizes(graph.where, chain, sample.shape)
        steps = timesteps or _timesteps(graph) or sample.steps or DEFAULT_TIMESTEPS
        try:
            network = network_of(title, operations, sample.shape, timesteps=steps, coding=coding, readout=readout)
        except ConversionError as error:
            raise ConversionError(f"{graph.where}: {error}") from error
        check_fires(graph, list(dynamics), network, step)
        check_run(graph, chain, dynamics, network, sample.shape, coding)
    return replace(network, notes=(*assumed(graph, step, dynamics, _shown(chain, coding)), *sample.said))


@contextmanager
def _malformed(what: str) -> Iterator[None]:
    """Report what numbers of a file do to NumPy and torch as one line about the file.

    Raises:
        DataError: anything but one of our own refusals was raised inside.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{what} ({type(error).__name__}: {text[:200]})") from error


def _check_sample(graph: UntypedGraph, sample: Sample) -> None:
    if not (sample.shape and min(sample.shape) >= 1 and math.prod(sample.shape) <= _MOST_VALUES):
        raise ConversionError(f"{graph.where}: a sample has the shape {sample.shape}; taken: 1 to {_MOST_VALUES} values")
    if sample.steps is not None and sample.steps > MOST_STEPS:
        raise ConversionError(
            f"{graph.where}: the input's first axis is {sample.steps}, more than {MOST_STEPS} steps; pass in_shape"
        )


def _check_step(graph: UntypedGraph, dt: float | None) -> None:
    """Refuse another step for a file that we wrote: its integers hold for the one that it says."""
    if dt is None or "dt" not in graph.metadata:
        return
    written = step_of(graph, (), None).dt
    if not np.isclose(dt, written, rtol=1e-6, atol=0):
        raise ConversionError(f"{graph.where}: written by neurofault with dt {written:g}; leave dt out, it is in the file")


def _timesteps(graph: UntypedGraph) -> int | None:
    """Return the steps a sample that the metadata say; None: they do not."""
    if "timesteps" not in graph.metadata:
        return None
    said = np.asarray(graph.metadata["timesteps"])
    if said.size != 1 or said.dtype.kind not in "iu" or not 1 <= int(said.reshape(-1)[0]) <= MOST_STEPS:
        raise ConversionError(
            f"{graph.where}: metadata timesteps must be a whole number from 1 to {MOST_STEPS}, is {str(said)[:40]!r}; pass timesteps"
        )
    return int(said.reshape(-1)[0])


def _shown(chain: Sequence[tuple[str, Any]], coding: PixelCoding | None) -> str:
    """Say how a sample reaches the first layer."""
    if coding is None:
        return "inputs are events: an input spikes at most once a step and counts as 1"
    if type(computing(chain)[0][1]).__name__ in NEURONS:
        return "a pixel of 1 is a constant current of 1 into the neurons at the input"
    return f"a pixel of 1 is shown as {coding.full_rate:g} spikes a step, each worth {1 / coding.full_rate:g}"


@dataclass(frozen=True)
class Sample:
    """What a sample looks like.

    Attributes:
        shape: (n,) or (channels, height, width).
        steps: of the time axis that the file puts in front of it; None: none.
        said: what was assumed of it.
    """

    shape: tuple[int, ...]
    steps: int | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """Say that a leading axis was taken for time."""
        if self.steps is None:
            return ()
        return (f"the input's first axis, {self.steps}, is taken for time: a sample has the shape {self.shape}",)


def _sample(graph: UntypedGraph, chain: Sequence[tuple[str, Any]]) -> Sample:
    """Return what a sample looks like, from the input node or else from the first node that knows."""
    for index, (_, node) in enumerate(chain):
        kind = type(node).__name__
        if kind in ("Affine", "Linear"):
            return Sample((int(node.weight.shape[-1]),))
        if kind == "Conv2d" and node.input_shape is not None:
            return Sample((int(node.weight.shape[1]) * int(node.groups), *(int(size) for size in node.input_shape)))
        if kind in ("Conv2d", "AvgPool2d", "SumPool2d"):
            break
        known = None if node.input_type is None else node.input_type.get("input")
        if known is not None and np.asarray(known).size and (kind == "Input" or np.prod(known) > 1):
            shape = tuple(int(size) for size in np.asarray(known).reshape(-1))
            inner = _behind_time(shape, chain[index + 1 :])
            if inner is not None:
                return Sample(inner, shape[0] if shape[0] > 1 else None)
            match len(shape):
                case 1 | 3:
                    return Sample(shape)
                case 2:
                    return Sample((1, *shape))
                case _:
                    raise ConversionError(
                        f"{graph.where}: a sample has the shape {shape}; taken: (n,) or (channels, height, width)"
                    )
    raise ConversionError(f"{graph.where}: no node says what shape a sample has; pass in_shape")


def _behind_time(shape: tuple[int, ...], rest: Sequence[tuple[str, Any]]) -> tuple[int, ...] | None:
    """Return what is left of a shape without a leading time or batch axis, None where it has none by what follows."""
    inner = shape[1:]
    if not inner:
        return None
    flattens = False
    for _, node in rest:
        kind = type(node).__name__
        if kind == "Flatten":
            flattens = True
        elif kind in ("Affine", "Linear"):
            values = int(node.weight.shape[-1])
            behind = (len(inner) == 1 or flattens) and math.prod(inner) == values
            return inner if behind and (shape[0] == 1 or math.prod(shape) != values) else None
        elif kind == "Conv2d":
            channels = int(node.weight.shape[1]) * int(np.asarray(node.groups))
            if len(shape) == 4 and inner[0] == channels:
                return inner
            return (1, *inner) if len(shape) == 3 and shape[0] != channels and channels == 1 else None
        else:
            break
    return inner if shape[0] == 1 and len(shape) in (2, 4) else None


def _operation(graph: UntypedGraph, name: str, node: Any, dt: float) -> Operation | None:
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


def _matrix(graph: UntypedGraph, name: str, node: Any) -> nn.Linear:
    weight = np.asarray(node.weight, np.float64)
    if weight.ndim != 2:
        raise ConversionError(f"{graph.where}: node {name!r}: weight has the shape {weight.shape}; a matrix [n_out, n_in] is taken")
    bias = None if type(node).__name__ == "Linear" else np.asarray(node.bias, np.float64).reshape(-1)
    _check_finite(graph, name, node)
    if bias is not None and bias.size != len(weight):
        raise ConversionError(f"{graph.where}: node {name!r}: bias has {bias.size} values for {len(weight)} outputs")
    return linear(weight, bias)


def _convolution(graph: UntypedGraph, name: str, node: Any) -> nn.Conv2d:
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
    _check_finite(graph, name, node)
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


def _check_finite(graph: UntypedGraph, name: str, node: Any) -> None:
    for field in ("weight", "bias"):
        problem = not_finite(np.asarray(getattr(node, field, 0.0), np.float64))
        if problem is not None:
            raise ConversionError(f"{graph.where}: node {name!r}: {field}: {problem}; did training diverge?")


def _window(graph: UntypedGraph, name: str, node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    if pair(node.padding) != (0, 0):
        raise ConversionError(
            f"{graph.where}: node {name!r}: {type(node).__name__} with padding {pair(node.padding)}; use it without"
        )
    return pair(node.kernel_size), pair(node.stride)
