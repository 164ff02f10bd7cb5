"""`from_nir`: a graph in the Neuromorphic Intermediate Representation (NIR) becomes a :class:`Network`; what has no counterpart is refused by name.

NIR (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9; equations: the nodes' docstrings, ``nir/ir/neuron.py``) describes neurons in
continuous time and leaves the step open; :mod:`neurofault.convert.nir_neurons` says what they do here in a step. Their gain (dt/τ)·R is divided
out of the threshold, so the weights keep their values; the leak voltage becomes a bias. ``dt`` is not part of NIR; it is read from
``metadata["dt"]`` of the graph, where :func:`neurofault.deploy.nir_export.to_nir` writes it, or has to be given where a node has a time constant or is a Delay.
Values that other writers use: snnTorch 1e-4 (fixed); sinabs 1 (its time constants count steps); norse 1.1 multiplies its time constants by its
own dt (1e-3), so 1e-6 gives back its dynamics.

Edges that meet are summed, and nodes without neurons are composed into connections (:mod:`neurofault.convert.nir_flow`). What a node sends acts in the same step, in a loop
one step later (:mod:`neurofault.convert.nir_timing`).

NIR does not say how neurons reset beyond ``v_reset``: snnTorch and sinabs write networks that subtract the threshold with
``v_reset`` 0 too; ``reset`` says it, or ``metadata["reset"]`` of the graph or of a node. What was assumed stands in the
network's ``notes``; what was built is run beside NIR's equations (:mod:`neurofault.convert.nir_reference`) before it is returned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurofault.convert.asked import PixelCoding
from neurofault.convert.nir_ends import completed, is_neurons
from neurofault.convert.nir_fields import NirReset
from neurofault.convert.nir_file import UntypedGraph, read_graph
from neurofault.convert.nir_kept import KEY
from neurofault.convert.nir_metadata import network_from_metadata
from neurofault.convert.nir_neurons import FIRING, dynamics_of, neuron_of
from neurofault.convert.nir_step import Step, assumed, reset_of, step_of
from neurofault.errors import ConversionError, DataError
from neurofault.graph import Network
from neurofault.graph.readout import How

if TYPE_CHECKING:
    from neurofault.convert.nir_flow import NirFlow
    from neurofault.convert.nir_network import Built

DEFAULT_TIMESTEPS = 32

MOST_STEPS = 100_000
"""Steps a sample that a file may ask for."""

_MOST_VALUES = 1 << 24


def from_nir(
    source: Any,
    *,
    timesteps: int | None = None,
    dt: float | None = None,
    reset: NirReset | None = None,
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
    (``in_shape``, ``coding``, ``readout``, ``reset`` are not used then).

    Args:
        source: path of a NIR file, or a ``nir.NIRGraph``.
        timesteps: T, steps that a sample will be shown; None: what the file says, else 32.
        dt: the step in the unit of the file's time constants; None: what the file's metadata say, else 1 where no node has any.
        reset: what a spike does to ``v``: ``zero``, ``subtract`` (the threshold) or ``none``; ``snntorch-zero`` and ``snntorch-subtract``: as
            snnTorch's neurons by default, one step late. None: what the metadata say, else ``zero``.
        name: for display; None: the file's name.
        in_shape: of one sample, (n,), (channels, length) or (channels, height, width), for a graph with one input; None: what the file says.
        coding: how pixels in [0, 1] become spikes; None: the network takes ``Inputs(events=…)``.
        readout: ``count`` (spikes of the last layer; the default where it fires), ``potential`` (the last neurons then never fire), or ``largest``
            or ``mean`` of their potentials over the steps, where they fire and reset as they do (:class:`neurofault.graph.Readout`; steps of their
            own: :meth:`neurofault.graph.Network.with_readout`).

    Raises:
        DataError: the file is missing, truncated or malformed.
        ConversionError: no dt, or one that nothing depends on, shapes that do not fit, numbers that are not finite, a node that has no counterpart,
            neurons that no input can make fire, or a network that differs from NIR's equations; the text names the node.
        UnsupportedError: NIR is not installed.
    """
    graph = read_graph(source)
    title = name or (Path(graph.where).stem if isinstance(source, str | Path) else "nir")
    step = step_of(graph, dt)
    if KEY in graph.metadata:
        _check_step(graph, dt)
    kept = network_from_metadata(graph, step.dt, name)
    if kept is not None:
        return kept if timesteps is None else kept.with_timesteps(timesteps)
    graph = completed(graph)
    with _malformed(f"{graph.where}: the nodes do not fit each other"):
        samples = _samples(graph, in_shape)
        from neurofault.convert.nir_flow import flow_of  # with torch, which a file that cannot be read does not need

        flow = flow_of(graph, {name: one.shape for name, one in samples.items()}, step.dt, _malformed)
        first = next(iter(samples.values()))
        steps = timesteps or _timesteps(graph) or first.steps or DEFAULT_TIMESTEPS
        return _network(graph, title, flow, step, reset, steps, coding, readout, first)


def _network(
    graph: UntypedGraph, title: str, flow: NirFlow, step: Step, reset: NirReset | None, timesteps: int, coding: PixelCoding | None, readout: How | None,
    sample: Sample,
) -> Network:  # fmt: skip
    from neurofault.convert.nir_check import check_fires, check_run
    from neurofault.convert.nir_network import built

    rules, dynamics, neurons = {}, {}, {}
    for one in flow.neurons:
        node = graph.nodes[one.node]
        rule = reset_of(graph, one.node, node, reset)
        if type(node).__name__ in FIRING:
            rules[one.node] = rule
        with _malformed(f"{graph.where}: node {one.node!r} ({type(node).__name__}) is malformed"):
            own = any(flow.ports[term.source].node == one.node for term in one.value.terms)
            dynamics[one.node] = dynamics_of(graph.where, one.node, node, step.dt, rule.how, recurrent=own)
            neurons[one.node] = neuron_of(graph.where, one.node, node, dynamics[one.node])
    try:
        made = built(graph.where, title, flow, neurons, timesteps=timesteps, coding=coding, readout=readout)
    except ConversionError as error:
        text = str(error)
        raise ConversionError(text if text.startswith(f"{graph.where}: ") else f"{graph.where}: {text}") from error
    late = [node for node, name in made.named.items() if name == "output" and node in rules and rules[node].how == "snntorch-zero"]
    if readout in ("largest", "mean") and late:
        raise ConversionError(
            f"{graph.where}: node {late[0]!r}: neurons that are reset to zero a step late (reset snntorch-zero) hold what made them fire until the next "
            "step, and the chip's are 0 there, so the potentials of all steps are not the same; use readout 'count'"
        )
    check_fires(graph, made, step)
    check_run(graph, flow, dynamics, made, step, coding)
    said = (*graph.said, *assumed(step, rules, dynamics, _shown(made, coding)), *made.network.notes, *sample.said)
    return replace(made.network, notes=said)


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
    written = step_of(graph, None).dt
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


def _shown(made: Built, coding: PixelCoding | None) -> str:
    """Say how a sample reaches the first layer."""
    if coding is None or len(made.network.inputs) > 1:
        return "inputs are events: an input spikes at most once a step and counts as 1"
    if made.driven is not None:
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


def _samples(graph: UntypedGraph, in_shape: Sequence[int] | None) -> Mapping[str, Sample]:
    """Return what a sample looks like at each Input node."""
    if in_shape is not None:
        if len(graph.inputs) != 1:
            raise ConversionError(
                f"{graph.where}: in_shape for {len(graph.inputs)} inputs ({', '.join(graph.inputs)}); the file must say their shapes"
            )
        found = {graph.inputs[0]: Sample(tuple(in_shape))}
    else:
        found = {name: _sample(graph, _ahead(graph, name)) for name in graph.inputs}
    for sample in found.values():
        _check_sample(graph, sample)
    return found


def _ahead(graph: UntypedGraph, name: str) -> list[Any]:
    """Return the nodes from an input on, up to the first one with neurons, always along the first edge."""
    after: dict[str, str] = {}
    for source, target in graph.edges:
        after.setdefault(source, target)
    nodes, seen = [graph.nodes[name]], {name}
    while name in after and after[name] not in seen:
        name = after[name]
        seen.add(name)
        nodes.append(graph.nodes[name])
        if is_neurons(nodes[-1]):
            break
    return nodes


def _sample(graph: UntypedGraph, nodes: Sequence[Any]) -> Sample:
    """Return what a sample looks like, from the input node or else from the first node that knows."""
    for index, node in enumerate(nodes):
        kind = type(node).__name__
        if kind in ("Affine", "Linear"):
            return Sample((int(node.weight.shape[-1]),))
        if kind in ("Conv1d", "Conv2d") and node.input_shape is not None:
            size = np.asarray(node.input_shape).reshape(-1)
            return Sample((int(node.weight.shape[1]) * int(node.groups), *(int(one) for one in size)))
        if kind in ("Conv1d", "Conv2d", "AvgPool2d", "SumPool2d"):
            break
        known = None if node.input_type is None else node.input_type.get("input")
        if known is not None and np.asarray(known).size and (kind == "Input" or np.prod(known) > 1):
            shape = tuple(int(size) for size in np.asarray(known).reshape(-1))
            inner = _behind_time(shape, nodes[index + 1 :])
            if inner is not None:
                return Sample(inner, shape[0] if shape[0] > 1 else None)
            line = any(type(each).__name__ == "Conv1d" for each in nodes)
            match len(shape):
                case 1 | 3:
                    return Sample(shape)
                case 2:
                    return Sample(shape if line else (1, *shape))
                case _:
                    raise ConversionError(
                        f"{graph.where}: a sample has the shape {shape}; taken: (n,), (channels, length) or (channels, height, width)"
                    )
    raise ConversionError(f"{graph.where}: no node says what shape a sample has; pass in_shape")


def _behind_time(shape: tuple[int, ...], rest: Sequence[Any]) -> tuple[int, ...] | None:
    """Return what is left of a shape without a leading time or batch axis, None where it has none by what follows."""
    inner = shape[1:]
    if not inner:
        return None
    flattens = False
    for node in rest:
        kind = type(node).__name__
        if kind == "Flatten":
            flattens = True
        elif kind in ("Affine", "Linear"):
            values = int(node.weight.shape[-1])
            behind = (len(inner) == 1 or flattens) and math.prod(inner) == values
            return inner if behind and (shape[0] == 1 or math.prod(shape) != values) else None
        elif kind == "Conv1d":
            channels = int(node.weight.shape[1]) * int(np.asarray(node.groups))
            return inner if len(shape) == 3 and inner[0] == channels else None
        elif kind == "Conv2d":
            channels = int(node.weight.shape[1]) * int(np.asarray(node.groups))
            if len(shape) == 4 and inner[0] == channels:
                return inner
            return (1, *inner) if len(shape) == 3 and shape[0] != channels and channels == 1 else None
        elif kind not in ("Input", "Output", "Delay"):
            break
    return inner if shape[0] == 1 and len(shape) in (2, 4) else None
