"""Who handles which step when, worked out once from the graph alone; and how one finds neighbours.

Population p handles step t of sample k in the chip's step kT + phase[p] + 1 + t, and sees over connection c its source's step t − lag[c].
What would cross the border of a sample is dropped. In a chain phase is the position and every lag is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Generic, Protocol, TypeVar

from neurofault.errors import ConversionError, UsageError, nearest


class AnyPopulation(Protocol):
    """A population, of a network or on a chip."""

    @property
    def name(self) -> str:
        """Its identity."""
        ...

    @property
    def size(self) -> int:
        """Number of neurons."""
        ...

    @property
    def is_source(self) -> bool:
        """Whether it is driven from outside: an input."""
        ...


class Edge(Protocol):
    """A connection, of a network or on a chip."""

    @property
    def name(self) -> str:
        """Its identity."""
        ...

    @property
    def source(self) -> str:
        """Name of the population whose spikes it carries."""
        ...

    @property
    def target(self) -> str:
        """Name of the population that it drives."""
        ...

    @property
    def delay(self) -> int:
        """Chip steps from firing to arrival, at least 1."""
        ...


def title(connection: Edge) -> str:
    """Return how messages call a connection: a layer where it has the name of what it drives, as in a chain."""
    kind = "layer" if connection.name == connection.target else "connection"
    return f"{kind} {connection.name!r}"


_NEVER = 1 << 62
N = TypeVar("N", bound=AnyPopulation, covariant=True)
E = TypeVar("E", bound=Edge, covariant=True)


@dataclass(frozen=True)
class Schedule:
    """When populations step.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
    >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
    >>> net.schedule.phase
    {'eyes': 0, 'hands': 1}

    Attributes:
        phase: of each population, the shortest way to it from an input, in delays; one that no input reaches starts as early as those
            that it drives need it.
        lag: of each connection, ``phase[source] + delay − phase[target]``, at least 0: so many steps late its spikes come.
        islands: strongly connected parts in topological order, each in rising phase; a population that drives itself is a loop too.
        loops: which islands are loops, bool for each.
    """

    phase: Mapping[str, int]
    lag: Mapping[str, int]
    islands: tuple[tuple[str, ...], ...]
    loops: tuple[bool, ...]

    @property
    def depth(self) -> int:
        """The largest phase."""
        return max(self.phase.values())

    @classmethod
    def of(cls, populations: Sequence[AnyPopulation], connections: Sequence[Edge]) -> Schedule:
        """Work the schedule of a graph out.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> layers = [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))]
        >>> net = nf.chain("reflex", layers, [nf.Dense(np.eye(2) * 2)], timesteps=4)
        >>> nf.Schedule.of(net.populations, net.connections).islands
        (('eyes',), ('hands',))
        """
        names = [population.name for population in populations]
        islands = _islands(names, connections)
        phase = {population.name: 0 for population in populations if population.is_source}
        moved = True
        while moved:
            moved = False
            for one in connections:
                reached = phase.get(one.source, _NEVER) + one.delay
                if reached < phase.get(one.target, _NEVER):
                    phase[one.target], moved = reached, True
        apart = {name for name in names if name not in phase}
        phase |= dict.fromkeys(apart, 0)
        moved = True
        while moved:
            moved = False
            for one in connections:
                if one.source in apart and phase[one.source] < phase[one.target] - one.delay:
                    phase[one.source], moved = phase[one.target] - one.delay, True
        lag = {one.name: phase[one.source] + one.delay - phase[one.target] for one in connections}
        own = {connection.source for connection in connections if connection.source == connection.target}
        ordered = tuple(tuple(sorted(island, key=lambda name: (phase[name], names.index(name)))) for island in islands)
        return cls(
            {name: phase[name] for name in names}, lag, ordered, tuple(len(island) > 1 or island[0] in own for island in ordered)
        )


def _islands(names: Sequence[str], connections: Sequence[Edge]) -> list[list[str]]:
    """Return the strongly connected parts, sources before targets, else in the order of ``names`` (Tarjan 1972, without recursion)."""
    before: dict[str, list[str]] = {name: [] for name in names}
    for connection in connections:
        before[connection.target].append(connection.source)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    parts: list[list[str]] = []
    for root in names:
        if root in index:
            continue
        work = [(root, iter(before[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            name, rest = work[-1]
            for source in rest:
                if source not in index:
                    index[source] = low[source] = len(index)
                    stack.append(source)
                    work.append((source, iter(before[source])))
                    break
                if source in stack:
                    low[name] = min(low[name], index[source])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    start = stack.index(name)
                    parts.append(stack[start:])
                    del stack[start:]
    return parts  # following sources, a part is complete after all parts that drive it


@dataclass(frozen=True, eq=False)
class Wiring(Generic[N, E]):
    """Populations and connections by name.

    Raises:
        ConversionError: two of one name, or a connection that names a population that is not there, or has a delay below 1 or between whole steps.
    """

    populations: tuple[N, ...]
    connections: tuple[E, ...]

    def __post_init__(self) -> None:
        for what, names in (
            ("populations", [one.name for one in self.populations]),
            ("connections", [one.name for one in self.connections]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConversionError(f"two {what} are called {twice!r}; names must be unique")
        for connection in self.connections:
            ends = f"connection {connection.name!r} ({connection.source!r} → {connection.target!r})"
            for end in (connection.source, connection.target):
                if end not in self._population:
                    known = [one.name for one in self.populations]
                    raise ConversionError(f"{ends}: no population {end!r}{nearest(end, known)}; populations: {', '.join(known)}")
            if not isinstance(connection.delay, Integral):
                raise ConversionError(f"{ends}: delay must be a whole number of steps, is {connection.delay!r:.80}")
            if connection.delay < 1:
                raise ConversionError(f"{ends}: delay must be at least 1 step, is {connection.delay}")

    @cached_property
    def _population(self) -> dict[str, N]:
        return {one.name: one for one in self.populations}

    @cached_property
    def _connection(self) -> dict[str, E]:
        return {one.name: one for one in self.connections}

    @cached_property
    def _into(self) -> dict[str, tuple[E, ...]]:
        return {one.name: tuple(edge for edge in self.connections if edge.target == one.name) for one in self.populations}

    @cached_property
    def _out_of(self) -> dict[str, tuple[E, ...]]:
        return {one.name: tuple(edge for edge in self.connections if edge.source == one.name) for one in self.populations}

    @cached_property
    def schedule(self) -> Schedule:
        """When populations step."""
        return Schedule.of(self.populations, self.connections)

    def population(self, name: str) -> N:
        """Return the population called ``name``.

        Raises:
            UsageError: there is none; the text names the nearest.
        """
        if name not in self._population:
            raise UsageError(f"no population {name!r}{nearest(name, self._population)}; populations: {', '.join(self._population)}")
        return self._population[name]

    def connection(self, name: str) -> E:
        """Return the connection called ``name``.

        Raises:
            UsageError: there is none; the text names the nearest.
        """
        if name not in self._connection:
            raise UsageError(f"no connection {name!r}{nearest(name, self._connection)}; connections: {', '.join(self._connection)}")
        return self._connection[name]

    def into(self, name: str) -> tuple[E, ...]:
        """Return the connections that drive a population, in the order of the graph."""
        return self._into[self.population(name).name]

    def out_of(self, name: str) -> tuple[E, ...]:
        """Return the connections that carry a population's spikes, in the order of the graph."""
        return self._out_of[self.population(name).name]

    def downstream(self, names: set[str]) -> set[str]:
        """Return the populations that some populations reach, themselves included, also through loops."""
        found, todo = set(names), list(names)
        while todo:
            for edge in self._out_of[todo.pop()]:
                if edge.target not in found:
                    found.add(edge.target)
                    todo.append(edge.target)
        return found
