"""A chain seen as what it is: each population with the one connection into it, in order. For what can do chains only.

This is the one module that knows neighbours by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from neurofault.errors import UnsupportedError
from neurofault.graph.readout import Readout
from neurofault.graph.schedule import E, N
from neurofault.numerals import plural


class _Graph(Protocol[N, E]):
    @property
    def populations(self) -> Sequence[N]: ...

    @property
    def connections(self) -> Sequence[E]: ...

    @property
    def readout(self) -> Readout: ...


@dataclass(frozen=True, eq=False)
class ChainLink(Generic[N, E]):
    """A population of a chain.

    Attributes:
        index: its place, 0 = input.
        population: the population.
        connection: what drives it; None for the input.
    """

    index: int
    population: N
    connection: E | None

    @property
    def incoming(self) -> E:
        """What drives it, of any but the input."""
        assert self.connection is not None
        return self.connection


def not_a_chain(graph: _Graph[N, E]) -> str | None:
    """Return what makes a graph more than a chain of populations in which every connection takes one step; None if nothing does."""
    populations, connections = list(graph.populations), list(graph.connections)
    order = {one.name: place for place, one in enumerate(populations)}
    seen: dict[str, str] = {}
    for one in connections:
        if order[one.target] != order[one.source] + 1:
            kind = "drives itself" if one.source == one.target else f"goes from {one.source!r} to {one.target!r}"
            return f"connection {one.name!r} {kind}"
        if one.target in seen:
            return f"connections {seen[one.target]!r} and {one.name!r} both drive {one.target!r}"
        if one.delay != 1:
            return f"connection {one.name!r} takes {plural(one.delay, 'step')}"
        seen[one.target] = one.name
    for place, population in enumerate(populations):
        if place and population.name not in seen:
            return f"population {population.name!r} is driven by nothing"
        if bool(place) == population.is_source:
            return f"population {population.name!r} is {'another' if place else 'not an'} input"
    if graph.readout.population != populations[-1].name:
        return f"the readout {graph.readout.population!r} is not the last population"
    return None


def links(graph: _Graph[N, E], what: str, *, instead: str | None = None) -> tuple[ChainLink[N, E], ...]:
    """Return the populations of a chain in order, each with what drives it.

    Args:
        graph: a network or a deployment.
        what: what needs a chain, for the message.
        instead: what to do with another graph, for the message.

    Raises:
        UnsupportedError: it is no chain; the text names the first population or connection that makes it more.
    """
    reason = not_a_chain(graph)
    if reason is not None:
        raise UnsupportedError(f"{what} takes chains only, and {reason}" + ("" if instead is None else f"; {instead}"))
    into = {one.target: one for one in graph.connections}
    return tuple(ChainLink(place, one, into.get(one.name)) for place, one in enumerate(graph.populations))
