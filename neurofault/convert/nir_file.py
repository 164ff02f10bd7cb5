"""NIR files and graphs as plain nodes and edges, graphs within unfolded: everything that can be wrong with them ends in one text.

A file is opened by a process of its own (:mod:`neurofault.hdf5_file`) and read node by node (``nir.dict2NIRNode``) without NIR's own
type inference, so that files with missing shapes are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.convert.nir_fields import check_fields
from neurofault.convert.nir_nested import DEEPEST, MAX_NODES, Nest, unfolded
from neurofault.errors import ConversionError, DataError, UnsupportedError
from neurofault.hdf5_file import read_tree
from neurofault.numerals import plural

ACCEPTED = (
    "Affine", "Linear", "Scale", "Conv1d", "Conv2d", "Flatten", "SumPool2d", "AvgPool2d", "Delay", "LIF", "CubaLIF", "IF", "Threshold", "LI",
    "CubaLI", "I", "Input", "Output", "NIRGraph",
)  # fmt: skip
"""Node kinds; LI, CubaLI and I (leaky and plain integrators) only as the answer."""


@dataclass(frozen=True, eq=False)
class UntypedGraph:
    """A NIR graph without its types, graphs within unfolded (:mod:`neurofault.convert.nir_nested`).

    Attributes:
        where: file name or ``graph``, for messages.
        nodes: name → ``nir`` node.
        edges: (from, to), each once.
        metadata: of the graph.
        inputs, outputs: names of the Input and Output nodes of the graph itself; those of graphs within hand on what they get.
        said: what had to be assumed to read it.
    """

    where: str
    nodes: Mapping[str, Any]
    edges: Sequence[tuple[str, str]]
    metadata: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    said: tuple[str, ...] = ()


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
        metadata = source.metadata if isinstance(source.metadata, Mapping) else {}
        return _plain("graph", _nest_of(nir, "graph", source, ""), metadata)
    if not isinstance(source, str | Path):
        raise ConversionError(f"from_nir takes a path or a nir.NIRGraph, not {type(source).__name__}")
    path = Path(source)
    data = read_tree(path).get("node")
    if not isinstance(data, dict):
        raise DataError(f"{path}: not a NIR file: it has no group 'node'")
    kind = data.get("type")
    if not isinstance(kind, str) or kind != "NIRGraph" or not isinstance(data.get("nodes"), dict) or data.get("edges") is None:
        raise DataError(f"{path}: not a NIR graph (an HDF5 file with node/type 'NIRGraph', node/nodes and node/edges)")
    metadata = data.get("metadata", {})
    return _plain(str(path), _nest_in(nir, path, data, ""), metadata if isinstance(metadata, dict) else {})


def _plain(where: str, nest: Nest, metadata: Mapping[str, Any]) -> UntypedGraph:
    plain = unfolded(where, nest)
    inputs, outputs = (
        tuple(name for name, node in nest.nodes.items() if type(node).__name__ == kind) for kind in ("Input", "Output")
    )
    return UntypedGraph(where, plain.nodes, plain.edges, metadata, inputs, outputs, plain.said)


def _nest_of(nir: Any, where: str, graph: Any, prefix: str, depth: int = 1) -> Nest:
    """Return a ``nir.NIRGraph`` as nodes and edges."""
    if depth > DEEPEST:
        raise DataError(f"{where}: more than {DEEPEST} graphs within each other")
    _check_kinds(where, {prefix + name: type(node).__name__ for name, node in graph.nodes.items()})
    nodes = {
        str(name): _nest_of(nir, where, node, f"{prefix}{name}.", depth + 1) if isinstance(node, nir.NIRGraph) else node
        for name, node in graph.nodes.items()
    }
    return Nest(nodes, [(str(source), str(target)) for source, target in graph.edges])


def _nest_in(nir: Any, path: Path, group: Mapping[str, Any], prefix: str, depth: int = 1) -> Nest:
    """Return a graph of a file as nodes and edges; its nodes are built one by one."""
    nodes, title = group.get("nodes"), f"node {prefix[:-1]!r}: " if prefix else ""
    if not isinstance(nodes, dict) or group.get("edges") is None:
        raise DataError(f"{path}: {title}a graph without nodes and edges")
    if len(nodes) > MAX_NODES or depth > DEEPEST:
        raise DataError(
            f"{path}: {title}{plural(len(nodes), 'node')}; at most {MAX_NODES:,} are read, and {DEEPEST} graphs within each other"
        )
    for name, node in nodes.items():
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            raise DataError(f"{path}: node {prefix + name!r} has no type")
    _check_kinds(str(path), {prefix + name: str(node["type"]) for name, node in nodes.items()})
    made = {
        name: _nest_in(nir, path, node, f"{prefix}{name}.", depth + 1)
        if node["type"] == "NIRGraph"
        else _make(nir, path, prefix + name, node)
        for name, node in nodes.items()
    }
    return Nest(made, [(str(source), str(target)) for source, target in _pairs(path, group["edges"], prefix)])


def _check_kinds(where: str, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind not in ACCEPTED:
            raise ConversionError(f"{where}: node {name!r} is a {kind}, which cannot become spiking; taken: {', '.join(ACCEPTED)}")


def _pairs(path: Path, pairs: Any, prefix: str) -> Any:
    """Return the edges, [n, 2] of texts."""
    edges = np.asarray(pairs)
    if edges.dtype != object or edges.ndim != 2 or edges.shape[1] != 2:
        if not edges.size:
            return []
        where = f"node {prefix[:-1]!r}: edges" if prefix else "node/edges"
        raise DataError(f"{path}: {where} must be pairs of names, has the shape {edges.shape} of {edges.dtype}")
    return edges


def _make(nir: Any, path: Path, name: str, node: dict[str, Any]) -> Any:
    """Build one node; numbers become what ``nir`` itself would make of them."""
    check_fields(str(path), name, node)
    try:
        return nir.dict2NIRNode(dict(node))
    except Exception as error:  # another package's constructors, on fields that they did not expect
        text = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: node {name!r} ({node['type']}) is malformed: {text}") from error
