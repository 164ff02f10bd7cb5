"""NIR files and graphs as a plain chain of nodes: everything that can be wrong with them ends in one text.

A file is opened by a process of its own (:mod:`neurofault.convert.hdf5_file`) and read node by node (``nir.dict2NIRNode``) without NIR's own
type inference, so that files with missing shapes are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.convert.hdf5_file import read_tree
from neurofault.convert.nir_fields import check_fields
from neurofault.errors import ConversionError, DataError, UnsupportedError, nearest

ACCEPTED = (
    "Affine", "Linear", "Conv2d", "LIF", "CubaLIF", "IF", "Flatten", "SumPool2d", "AvgPool2d", "Input", "Output", "LI", "CubaLI", "I",
)  # fmt: skip
"""Node kinds; LI, CubaLI and I (leaky and plain integrators) only as the last layer."""

MAX_NODES = 4096
"""Nodes of a graph."""


@dataclass(frozen=True, eq=False)
class UntypedGraph:
    """A NIR graph without its types.

    Attributes:
        where: file name or ``graph``, for messages.
        nodes: name → ``nir`` node.
        edges: (from, to).
        metadata: of the graph.
    """

    where: str
    nodes: Mapping[str, Any]
    edges: Sequence[tuple[str, str]]
    metadata: Mapping[str, Any]


def import_nir() -> Any:
    """Return the ``nir`` package.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise UnsupportedError("NIR is not installed; pip install 'neurofault[nir]'") from error
    return nir


def read_graph(source: Any) -> UntypedGraph:
    """Read a NIR file, or take a ``nir.NIRGraph``.

    Raises:
        DataError: missing or truncated file, not a NIR file, or a node whose fields do not fit each other.
        ConversionError: a node of a kind that has no counterpart on the chip.
        UnsupportedError: NIR is not installed.
    """
    nir = import_nir()
    if isinstance(source, nir.NIRGraph):
        _check_kinds("graph", {name: type(node).__name__ for name, node in source.nodes.items()})
        edges = [(str(a), str(b)) for a, b in source.edges]
        return UntypedGraph("graph", dict(source.nodes), edges, source.metadata if isinstance(source.metadata, Mapping) else {})
    if not isinstance(source, str | Path):
        raise ConversionError(f"from_nir takes a path or a nir.NIRGraph, not {type(source).__name__}")
    path = Path(source)
    data = read_tree(path).get("node")
    if not isinstance(data, dict):
        raise DataError(f"{path}: not a NIR file: it has no group 'node'")
    nodes, pairs = data.get("nodes"), data.get("edges")
    if not isinstance(data.get("type"), str) or data["type"] != "NIRGraph" or not isinstance(nodes, dict) or pairs is None:
        raise DataError(f"{path}: not a NIR graph (an HDF5 file with node/type 'NIRGraph', node/nodes and node/edges)")
    _check_nodes(path, nodes)
    _check_kinds(str(path), {name: str(node.get("type") if isinstance(node, dict) else "?") for name, node in nodes.items()})
    made = {name: _make(nir, path, name, node) for name, node in nodes.items()}
    metadata = data.get("metadata", {})
    edges = [(str(a), str(b)) for a, b in _pairs(path, pairs)]
    return UntypedGraph(str(path), made, edges, metadata if isinstance(metadata, dict) else {})


def chain_of(graph: UntypedGraph) -> list[tuple[str, Any]]:
    """Return the nodes from input to output.

    Raises:
        ConversionError: a cycle, a branch, a node that nothing reaches, or an edge to a node that is not there.
    """
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in dict.fromkeys(graph.edges):
        for end in (source, target):
            if end not in graph.nodes:
                raise ConversionError(
                    f"{graph.where}: edge {source!r} → {target!r} names a node {end!r} that is not there{nearest(str(end), graph.nodes)}; "
                    f"nodes: {', '.join(graph.nodes)}"
                )
        after[source].append(target)
        before[target].append(source)
    cycle = _cycle(after)
    if cycle:
        raise ConversionError(
            f"{graph.where}: the graph has a cycle {' → '.join(cycle)}; recurrent networks have no counterpart here, only feed-forward chains"
        )
    for name in graph.nodes:
        if len(after[name]) > 1:
            raise ConversionError(
                f"{graph.where}: node {name!r} branches to {', '.join(sorted(after[name]))}; only a chain of layers is taken"
            )
        if len(before[name]) > 1:
            raise ConversionError(
                f"{graph.where}: node {name!r} joins {', '.join(sorted(before[name]))}; only a chain of layers is taken"
            )
    starts = [name for name in graph.nodes if not before[name]]
    if len(starts) != 1:
        raise ConversionError(
            f"{graph.where}: {len(starts)} separate chains begin at {', '.join(sorted(starts)) or 'no node'}; exactly one is taken"
        )
    chain, at = [], starts[0]
    while True:
        chain.append((at, graph.nodes[at]))
        if not after[at]:
            return chain
        at = after[at][0]


def _cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes of one cycle, its first one again at the end; empty if there is none."""
    done: set[str] = set()
    for start in after:
        path: list[str] = []
        stack = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                path.pop()
                done.add(node)
            elif node in path:
                return [*path[path.index(node) :], node]
            elif node not in done:
                path.append(node)
                stack.append((node, True))
                stack.extend((target, False) for target in after[node])
    return []


def _check_kinds(where: str, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind not in ACCEPTED:
            more = "; a nested graph (recurrent neurons?) has no counterpart here" if kind == "NIRGraph" else ""
            raise ConversionError(
                f"{where}: node {name!r} is a {kind}, which cannot become spiking{more}; taken: {', '.join(ACCEPTED)}"
            )


def _check_nodes(path: Path, nodes: Mapping[str, Any]) -> None:
    if len(nodes) > MAX_NODES:
        raise DataError(f"{path}: {len(nodes):,} nodes; at most {MAX_NODES:,} are read")
    for name, node in nodes.items():
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            raise DataError(f"{path}: node {name!r} has no type")


def _pairs(path: Path, pairs: Any) -> Any:
    """Return the edges, [n, 2] of texts."""
    edges = np.asarray(pairs)
    if edges.dtype != object or edges.ndim != 2 or edges.shape[1] != 2:
        if not edges.size:
            return []
        raise DataError(f"{path}: node/edges must be pairs of names, has the shape {edges.shape} of {edges.dtype}")
    return edges


def _make(nir: Any, path: Path, name: str, node: dict[str, Any]) -> Any:
    """Build one node; numbers become what ``nir`` itself would make of them."""
    check_fields(str(path), name, node)
    try:
        return nir.dict2NIRNode(dict(node))
    except Exception as error:  # another package's constructors, on fields that they did not expect
        text = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: node {name!r} ({node['type']}) is malformed: {text}") from error
