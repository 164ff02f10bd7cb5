"""Graphs within a NIR graph: unfolded into one, `outer.inner` by name, their Input and Output nodes left in as places where edges meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurofault.errors import ConversionError, DataError, nearest

MAX_NODES = 4096
"""Nodes of a graph, those of graphs in it counted in."""
DEEPEST = 16
"""Graphs within graphs."""

Edge = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Nest:
    """A graph as it stands in a file.

    Attributes:
        nodes: name → node, or a graph within.
        edges: (from, to).
    """

    nodes: Mapping[str, Any]
    edges: Sequence[Edge]


@dataclass(frozen=True, eq=False)
class Unfolded:
    """The same graph without graphs in it.

    Attributes:
        nodes: name → node.
        edges: (from, to), each once.
        said: what had to be assumed, one text each.
    """

    nodes: dict[str, Any]
    edges: list[Edge]
    said: tuple[str, ...]


def unfolded(where: str, graph: Nest) -> Unfolded:
    """Return a graph with all graphs in it unfolded.

    Args:
        where: file name or ``graph``, for messages.
        graph: nodes and edges; a :class:`Nest` among the nodes is a graph within.

    Raises:
        DataError: more than :data:`MAX_NODES` nodes or :data:`DEEPEST` graphs within each other.
        ConversionError: an edge to a node that is not there, or a graph within that has not one Input and one Output.
    """
    nodes: dict[str, Any] = {}
    said: list[str] = []
    edges = _unfold(where, graph, "", nodes, said, 1)
    return Unfolded(nodes, list(dict.fromkeys(edges)), tuple(said))


def _unfold(where: str, graph: Nest, prefix: str, nodes: dict[str, Any], said: list[str], depth: int) -> list[Edge]:
    if depth > DEEPEST:
        raise DataError(f"{where}: more than {DEEPEST} graphs within each other")
    edges = _mended(where, graph, prefix, said)
    ends: dict[str, Edge] = {}
    found: list[Edge] = []
    for name, node in graph.nodes.items():
        title = prefix + name
        if title in nodes:
            raise ConversionError(f"{where}: two nodes are called {title!r}, one of them in a graph within; rename one")
        if isinstance(node, Nest):
            nodes[title] = None  # its name is taken
            found += _unfold(where, node, f"{title}.", nodes, said, depth + 1)
            del nodes[title]
            ends[name] = tuple(f"{title}.{_end(where, title, node, kind)}" for kind in ("Input", "Output"))  # type: ignore[assignment]  # two of them
        else:
            nodes[title] = node
        if len(nodes) > MAX_NODES:
            raise DataError(f"{where}: {len(nodes):,} nodes; at most {MAX_NODES:,} are read")
    for source, target in edges:
        leaves = ends[source][1] if source in ends else prefix + source
        enters = ends[target][0] if target in ends else prefix + target
        found.append((leaves, enters))
    return found


def _end(where: str, title: str, graph: Nest, kind: str) -> str:
    """Return the one Input or Output of a graph within."""
    names = [name for name, node in graph.nodes.items() if type(node).__name__ == kind]
    if len(names) != 1:
        raise ConversionError(
            f"{where}: node {title!r}, a graph within, has {len(names)} nodes of the kind {kind}{_listed(names)}; exactly one is taken"
        )
    return names[0]


def _mended(where: str, graph: Nest, prefix: str, said: list[str]) -> list[Edge]:
    """Return the edges of a graph; a name that can only mean one node without edges is taken for it."""
    named = dict.fromkeys(end for edge in graph.edges for end in edge)
    unknown = [name for name in named if name not in graph.nodes]
    alone = [name for name in graph.nodes if name not in named]
    if len(unknown) == 1 and len(alone) == 1 and (alone[0].startswith(unknown[0]) or unknown[0].startswith(alone[0])):
        mended = {unknown[0]: alone[0]}
        said.append(
            f"edges name a node {prefix + unknown[0]!r} that is not there: {prefix + alone[0]!r}, the only node without edges, is taken for it"
        )
        return [(mended.get(source, source), mended.get(target, target)) for source, target in graph.edges]
    for source, target in graph.edges:
        for end in (source, target):
            if end not in graph.nodes:
                raise ConversionError(
                    f"{where}: edge {prefix + source!r} → {prefix + target!r} names a node {prefix + end!r} that is not there{nearest(end, graph.nodes)}; "
                    f"nodes: {', '.join(graph.nodes)}"
                )
    return list(graph.edges)


def _listed(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f" ({listed})" if listed else ""
