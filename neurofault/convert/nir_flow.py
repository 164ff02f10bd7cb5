"""What drives each population of a NIR graph: nodes without neurons composed into affine sums of populations, edges that meet into sums.

A value is an :class:`neurofault.convert.affine.Affine` whose terms name *ports*: spikes of an input or a population, some steps late where a Delay
lies on the way. Neurons come first into being as what they send; what they get is known when the whole graph has been walked, so loops need no care.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from neurofault.arrays import not_finite
from neurofault.convert import affine
from neurofault.convert.affine import Affine, Term
from neurofault.convert.maps import Convolution, Same, listed
from neurofault.convert.nir_ends import before_of, first_field, flattened, is_neurons
from neurofault.convert.nir_fields import Extent, padding_of, window_of
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_step import delay_steps
from neurofault.errors import ConversionError
from neurofault.numerals import plural

MOST_DELAYS = 64
"""Different delays in one Delay node."""


Guard = Callable[[str], AbstractContextManager[None]]
"""What makes one line of what the numbers of a file do to torch, given what they belong to."""


@dataclass(frozen=True)
class NirPort:
    """Spikes of a node, an input or neurons, so many steps late."""

    node: str
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Reached:
    """Neurons of a graph.

    Attributes:
        node: their name.
        value: what they get; terms name ports by number.
    """

    node: str
    value: Affine

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the population: (channels, height, width), or (n,)."""
        return affine.image_of(self.value.shape) or (self.value.size,)


@dataclass(frozen=True, eq=False)
class NirFlow:
    """A graph as populations and what drives them.

    Attributes:
        inputs: Input node → shape of a sample.
        ports: what terms name.
        neurons: in the order of the file.
        answer: what its Output gets.
        ending: the node that gives it.
    """

    inputs: Mapping[str, tuple[int, ...]]
    ports: Sequence[NirPort]
    neurons: Sequence[Reached]
    answer: Affine
    ending: str


def flow_of(graph: UntypedGraph, shapes: Mapping[str, tuple[int, ...]], dt: float, guard: Guard) -> NirFlow:
    """Return what drives each population of a graph.

    Args:
        graph: the graph, :func:`completed`.
        shapes: of a sample, for each Input node.
        dt: the time step, for Delay nodes.
        guard: wraps what is done with each node's numbers.

    Raises:
        ConversionError: shapes that do not fit, a cycle without neurons, a node that nothing reaches, a Delay that is no whole number of steps;
            the text names the node.
        DataError: numbers that torch does not take.
    """
    return _NirWalk(graph, shapes, dt, guard).flow()


@dataclass(eq=False)
class _NirWalk:
    graph: UntypedGraph
    shapes: Mapping[str, tuple[int, ...]]
    dt: float
    guard: Guard
    values: dict[str, Affine] = field(default_factory=dict)
    extents: dict[str, Extent] = field(default_factory=dict)
    ports: dict[NirPort, int] = field(default_factory=dict)

    def flow(self) -> NirFlow:
        graph, end = self.graph, self.graph.outputs[0]
        before = before_of(graph)
        after: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in graph.edges:
            after[source].append(target)
        missing = {name: len(before[name]) for name in graph.nodes}
        queue: deque[str] = deque()

        def give(name: str, value: Affine, extent: Extent) -> None:
            self.values[name], self.extents[name] = value, extent
            queue.extend(after[name])

        for name, shape in self.shapes.items():
            self._own(name, shape, give)
        while True:
            while queue:
                self._arrived(queue.popleft(), before, missing, give)
            sized = [
                name
                for name, node in graph.nodes.items()
                if name not in self.values and is_neurons(node) and (np.size(first_field(node)) > 1 or not before[name])
            ]  # by themselves, or in a loop that no input reaches
            if not sized:
                break
            self._own(sized[0], np.shape(first_field(graph.nodes[sized[0]])), give)
        left = [name for name in graph.nodes if name not in self.values]
        if left:
            raise ConversionError(self._unreached(left, before))
        neurons = tuple(
            Reached(name, self._drive(name, before[name]) if before[name] else Affine(self.values[name].shape, ()))
            for name, node in graph.nodes.items()
            if is_neurons(node)
        )
        return NirFlow(self.shapes, tuple(self.ports), neurons, self.values[end], before[end][0])

    def _spikes(self, name: str, shape: Sequence[int]) -> Affine:
        """Return the spikes of a node as they are."""
        number = self.ports.setdefault(NirPort(name), len(self.ports))
        return Affine(tuple(shape), (Term(number, Same(math.prod(shape))),))

    def _own(self, name: str, shape: Sequence[int], give: Any) -> None:
        give(name, self._spikes(name, shape), Extent.of(self.graph.where, f"node {name!r}", shape))

    def _arrived(self, name: str, before: Mapping[str, list[str]], missing: dict[str, int], give: Any) -> None:
        """Note that one more of what a node gets is known."""
        missing[name] -= 1
        if is_neurons(self.graph.nodes[name]):
            if name not in self.values:
                known = next(each for each in before[name] if each in self.values)
                self._own(name, self.values[known].shape, give)
        elif not missing[name]:
            give(name, *self._through(name, self._drive(name, before[name]), self._extent(before[name])))

    def _extent(self, sources: Sequence[str]) -> Extent:
        first, *rest = (self.extents[name] for name in sources)
        for other in rest:
            first = first.joined(other)
        return first

    def _drive(self, name: str, sources: Sequence[str]) -> Affine:
        """Return the sum of what a node gets."""
        total = self.values[sources[0]]
        for source in sources[1:]:
            other = self.values[source]
            if other.shape != total.shape:
                raise ConversionError(
                    f"{self.graph.where}: node {name!r} gets the shape {total.shape} of {sources[0]!r} and {other.shape} of {source!r}; edges that meet are "
                    "summed, which takes one shape"
                )
            total = affine.added(total, other, name)
        return total

    def _through(self, name: str, value: Affine, extent: Extent) -> tuple[Affine, Extent]:
        """Return what a node without neurons makes of a value."""
        graph, node = self.graph, self.graph.nodes[name]
        kind = type(node).__name__
        with self.guard(f"{graph.where}: node {name!r} ({kind}) is malformed"):
            grown = extent.through(graph.where, name, node)
            try:
                made = self._made(name, node, value)
            except ConversionError as error:
                text = str(error)
                raise ConversionError(text if text.startswith(graph.where) else f"{graph.where}: {text}") from error
        return made, replace(grown, shape=made.shape)

    def _made(self, name: str, node: Any, value: Affine) -> Affine:
        match type(node).__name__:
            case "Input" | "Output":
                return value
            case "Flatten":
                return affine.reshaped(flattened(self.graph, name, value.shape), value)
            case "Affine" | "Linear":
                return self._matrix(name, node, value)
            case "Scale":
                return affine.scaled(name, self._factors(name, node, value.shape), value)
            case "Conv1d" | "Conv2d":
                return self._convolution(name, node, value)
            case "AvgPool2d" | "SumPool2d":
                return self._pool(name, node, value)
            case _:
                return self._late(name, node, value)

    def _matrix(self, name: str, node: Any, value: Affine) -> Affine:
        where = f"{self.graph.where}: node {name!r}"
        weight = np.asarray(node.weight, np.float64)
        if weight.ndim != 2:
            raise ConversionError(f"{where}: weight has the shape {weight.shape}; a matrix [n_out, n_in] is taken")
        bias = np.zeros(len(weight)) if type(node).__name__ == "Linear" else np.asarray(node.bias, np.float64).reshape(-1)
        self._check_finite(name, node)
        if bias.size != len(weight):
            raise ConversionError(f"{where}: bias has {plural(bias.size, 'value')} for {plural(len(weight), 'output')}")
        if value.shape != (weight.shape[1],):
            flat = "; put Flatten before it" if len(value.shape) > 1 else ""
            raise ConversionError(
                f"layer {name!r}: Linear takes {plural(weight.shape[1], 'value')}, but a sample has shape {value.shape} there{flat}"
            )
        return affine.linear(name, tensor(weight), tensor(bias), value)

    def _factors(self, name: str, node: Any, shape: tuple[int, ...]) -> Tensor:
        scale = np.asarray(node.scale, np.float64)
        problem = not_finite(scale)
        if problem is not None:
            raise ConversionError(f"{self.graph.where}: node {name!r}: scale: {problem}; did training diverge?")
        return tensor(np.broadcast_to(self._each(name, "scale", scale, shape), shape))

    def _each(self, name: str, what: str, values: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return numbers of a node as they stand beside a value."""
        if values.shape == shape or values.size == 1:
            return values.reshape(shape) if values.size == math.prod(shape) else values.reshape(())
        raise ConversionError(
            f"{self.graph.where}: node {name!r}: {what} has the shape {values.shape}, but a sample has {shape} there"
        )

    def _convolution(self, name: str, node: Any, value: Affine) -> Affine:
        where, kind = f"{self.graph.where}: node {name!r}", type(node).__name__
        axes = int(kind[4])
        weight, groups = np.asarray(node.weight, np.float64), int(np.asarray(node.groups))
        if weight.ndim != axes + 2:
            raise ConversionError(
                f"{where}: weight has the shape {weight.shape}; [c_out, c_in/groups, {'k_h, k_w' if axes == 2 else 'k'}] is taken"
            )
        bias = np.asarray(node.bias, np.float64).reshape(-1)
        self._check_finite(name, node)
        if bias.size != len(weight):
            raise ConversionError(f"{where}: bias has {plural(bias.size, 'value')} for {plural(len(weight), 'channel')}")
        window, stride, padding, dilation = window_of(node)
        said = padding_of(node)
        if (
            isinstance(said, str)
            and said == "same"
            and (stride != (1, 1) or any(dilation[a] * (window[a] - 1) % 2 for a in (0, 1)))
        ):
            raise ConversionError(
                f"{where}: {kind} with padding 'same', which differs between its sides here; write the padding as numbers"
            )
        if len(value.shape) != axes + 1 or value.shape[0] != weight.shape[1] * groups:
            raise ConversionError(
                f"layer {name!r}: {kind} takes {weight.shape[1] * groups} channels, but a sample has shape {value.shape} there"
            )
        kernel = weight if axes == 2 else weight[:, :, None, :]
        return affine.convolution(name, Convolution(tensor(kernel), stride, padding, dilation, groups), tensor(bias), value)

    def _pool(self, name: str, node: Any, value: Affine) -> Affine:
        kind = type(node).__name__
        window, stride, padding, _ = window_of(node)
        if padding != (0, 0):
            raise ConversionError(f"{self.graph.where}: node {name!r}: {kind} with padding {padding}; use it without")
        if len(value.shape) != 3:
            raise ConversionError(f"layer {name!r}: {kind} needs (channels, height, width), but a sample has shape {value.shape}")
        return affine.average(name, window, stride, value, float(math.prod(window)) if kind == "SumPool2d" else 1.0)

    def _late(self, name: str, node: Any, value: Affine) -> Affine:
        """Return a value some steps late."""
        steps = delay_steps(self.graph.where, name, node, self.dt)
        steps = np.broadcast_to(self._each(name, "delay", steps, value.shape), value.shape).reshape(-1)
        distinct = np.unique(steps)
        if not distinct.any():
            return value
        if value.bias is not None and bool(value.biases().any()):
            raise ConversionError(
                f"{self.graph.where}: node {name!r}: a Delay behind a bias, which would begin late too; put the Delay in front of the node with the bias"
            )
        if len(distinct) > MOST_DELAYS:
            raise ConversionError(
                f"{self.graph.where}: node {name!r}: {len(distinct)} different delays; at most {MOST_DELAYS} are taken"
            )
        terms = []
        for each in value.terms:
            own = steps[each.first : each.first + each.map.n_out]
            for late in np.unique(own):
                port = list(self.ports)[each.source]
                number = self.ports.setdefault(NirPort(port.node, port.steps + int(late)), len(self.ports))
                chosen = own == late
                kept = (
                    each.map if chosen.all() else listed(name, sparse.csr_matrix(sparse.diags(chosen.astype(np.float64))), each.map)
                )
                terms.append(replace(each, source=number, map=kept))
        return Affine(value.shape, affine.merged(terms), None)

    def _check_finite(self, name: str, node: Any) -> None:
        for what in ("weight", "bias"):
            problem = not_finite(np.asarray(getattr(node, what, 0.0), np.float64))
            if problem is not None:
                raise ConversionError(f"{self.graph.where}: node {name!r}: {what}: {problem}; did training diverge?")

    def _unreached(self, left: Sequence[str], before: Mapping[str, list[str]]) -> str:
        """Return what is wrong with nodes that never got what they need."""
        name, seen = left[0], list[str]()
        while name not in seen:
            seen.append(name)
            name = next((each for each in before[name] if each in left), "")
            if not name:
                return f"{self.graph.where}: node {seen[-1]!r}: nothing leads to it; remove it, or add an edge"
        cycle = [*seen[seen.index(name) :], name][::-1]
        return f"{self.graph.where}: the graph has a cycle without neurons: {' → '.join(cycle)}; a loop needs neurons or is a sum without end"


def tensor(value: Any) -> Tensor:
    """Return a float64 tensor of its own memory."""
    return torch.from_numpy(np.array(value, np.float64))
