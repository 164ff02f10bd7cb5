"""Where a NIR graph begins and ends, and what its nodes are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from neurofault.convert.nir_file import UntypedGraph, import_nir
from neurofault.convert.nir_neurons import NEURONS
from neurofault.errors import ConversionError


def is_neurons(node: Any) -> bool:
    """Return whether a node has neurons."""
    return type(node).__name__ in NEURONS


def before_of(graph: UntypedGraph) -> dict[str, list[str]]:
    """Return the nodes that each node gets, in the order of the edges."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        before[target].append(source)
    return before


def completed(graph: UntypedGraph) -> UntypedGraph:
    """Return a graph with an Input in front of each node that it begins with and one Output, where it has none.

    Raises:
        ConversionError: nowhere to begin, an Input that gets something, or none or several answers.
    """
    nir, nodes, edges = import_nir(), dict(graph.nodes), list(graph.edges)
    before, sent = before_of(graph), {source for source, _ in graph.edges}
    inputs, outputs = graph.inputs, graph.outputs
    for name in inputs:
        if before[name]:
            raise ConversionError(
                f"{graph.where}: node {before[name][0]!r} leads to the Input {name!r}; a sample enters there and nothing else"
            )
    if not inputs:
        starts = [name for name in graph.nodes if not before[name]]
        if not starts:
            raise ConversionError(f"{graph.where}: no Input node, and no node at which the graph begins; add one")
        inputs = tuple(_unused(nodes, "input") for _ in starts)
        for name, start in zip(inputs, starts, strict=True):
            nodes[name] = nir.Input({"input": None})
            edges.append((name, start))
    if not outputs:
        outputs = tuple(name for name in graph.nodes if name not in sent and name not in inputs)
    if len(outputs) != 1:
        raise ConversionError(
            f"{graph.where}: {len(outputs)} nodes give an answer ({', '.join(outputs) or 'none'}); one is read: keep the Output of that one alone"
        )
    if not graph.outputs:
        edges.append((outputs[0], _unused(nodes, "output")))
        outputs = (edges[-1][1],)
        nodes[outputs[0]] = nir.Output({"output": None})
    elif not before[outputs[0]]:
        raise ConversionError(f"{graph.where}: nothing leads to the Output {outputs[0]!r}; add an edge")
    return replace(graph, nodes=nodes, edges=edges, inputs=inputs, outputs=outputs)


def _unused(nodes: dict[str, Any], name: str) -> str:
    while name in nodes:
        name += "_"
    nodes[name] = None
    return name


def flattened(graph: UntypedGraph, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape behind a Flatten node; one that keeps axes in front of a matrix of all values means all (writers count a batch axis or not)."""
    node, whole = graph.nodes[name], (math.prod(shape),)
    known = None if node.input_type is None else node.input_type.get("input")
    behind = [graph.nodes[target] for source, target in graph.edges if source == name]
    if known is None or all(type(each).__name__ in ("Affine", "Linear") and each.weight.shape[-1] == whole[0] for each in behind):
        return whole
    axes = np.asarray(known).size
    first, last = (int(np.asarray(each)) for each in (node.start_dim, node.end_dim))
    first, last = (each + axes if each < 0 else each for each in (first, last))
    first, last = max(first - (axes - len(shape)), 0), min(last - (axes - len(shape)), len(shape) - 1)
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]) if first <= last else shape


def first_field(node: Any) -> Any:
    """Return the parameter that every node with neurons of its kind has."""
    return node.threshold if type(node).__name__ == "Threshold" else node.r
