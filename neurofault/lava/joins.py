"""Which Lava processes a graph consists of, what joins them, and when spikes of an input first reach them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import ConversionError
from neurofault.graph.schedule import Schedule, Wiring

require_lava()

from lava.magma.core.process.ports.ports import AbstractPort, AbstractVirtualPort, InPort, OutPort, ReshapePort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402

Kind = Literal["neurons", "source", "dense", "delays", "sparse", "conv"]

KINDS: dict[type[AbstractProcess], Kind] = {
    LIF: "neurons",
    RingBuffer: "source",
    Dense: "dense",
    DelayDense: "delays",
    Sparse: "sparse",
    Conv: "conv",
}
"""Lava's processes that can be imported and broken; classes derived from them have other models, and are not."""


def kind_of(process: AbstractProcess) -> Kind | None:
    """Return what a process is here; None: something else."""
    return KINDS.get(type(process))


def title(process: AbstractProcess) -> str:
    """Return how messages name a process."""
    return f"{type(process).__name__} {process.name!r}"


@dataclass(frozen=True, eq=False)
class Member:
    """A population of a Lava graph.

    Attributes:
        name: its name here: the process's, if it was given one.
        process: ``LIF`` or ``io.source.RingBuffer``.
        is_source: whether nothing drives it over synapses.
    """

    name: str
    process: AbstractProcess
    is_source: bool

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.process.s_out.shape)


@dataclass(frozen=True, eq=False)
class Join:
    """Synapses of a Lava graph.

    Attributes:
        name: its name here: its target's, or the process's where several drive that.
        source, target: names of populations.
        process: ``Dense``, ``DelayDense``, ``Sparse`` or ``Conv``.
        delay: steps from firing to arrival, 1.
    """

    name: str
    source: str
    target: str
    process: AbstractProcess
    delay: int = 1


@dataclass(frozen=True, eq=False)
class Joined:
    """A Lava graph.

    Attributes:
        populations: those that spikes of an input reach earlier first.
        connections: by target, in this order.
    """

    populations: tuple[Member, ...]
    connections: tuple[Join, ...]

    @cached_property
    def schedule(self) -> Schedule:
        """When populations get their first input: one of phase p in Lava's step p + 1."""
        return Wiring(self.populations, self.connections).schedule

    @property
    def last(self) -> tuple[str, ...]:
        """Names of the populations that drive no other."""
        driving = {one.source for one in self.connections if one.source != one.target}
        return tuple(one.name for one in self.populations if one.name not in driving)


def graph_of(processes: AbstractProcess | Iterable[AbstractProcess], *, part: bool = False) -> Joined:
    """Find out how processes are joined.

    Args:
        processes: one process (then all that it is joined to), or the processes of the graph in any order. What only listens is left out.
        part: whether they may have joins to processes that are not named.

    Raises:
        ConversionError: a process that is not known, or joins that have no equal here.
    """
    given = _connected(processes) if isinstance(processes, AbstractProcess) else list(processes)
    members = [process for process in given if kind_of(process) is not None or _talks(process)]
    for process in members:
        if kind_of(process) is None:
            known = ", ".join(kind.__name__ for kind in KINDS)
            raise ConversionError(f"{title(process)} is not one of {known}, nor a listener without outputs")
    if not members:
        raise ConversionError("no processes to import")
    ahead = {process: _next(process, members, part) for process in members}
    behind: dict[AbstractProcess, list[AbstractProcess]] = {process: [] for process in members}
    for process, following in ahead.items():
        for other in following:
            behind[other].append(process)
    for process in members:
        _check(process, behind[process], ahead[process], members, part)
    wires = [(behind[one][0], one, ahead[one][0]) for one in members if not _is_population(one)]
    return _named([one for one in members if _is_population(one)], wires)


Wire = tuple[AbstractProcess, AbstractProcess, AbstractProcess]
"""A connection between its source and its target."""


def _named(cells: list[AbstractProcess], wires: list[Wire]) -> Joined:
    """Put populations in order and name everything."""
    driven = {target for _, _, target in wires}
    plain = Joined(
        tuple(Member(f"{place}", one, one not in driven) for place, one in enumerate(cells)),
        tuple(Join(f"{place}", f"{cells.index(a)}", f"{cells.index(b)}", one) for place, (a, one, b) in enumerate(wires)),
    )
    phase, last = plain.schedule.phase, plain.last
    ordered = sorted(plain.populations, key=lambda one: phase[one.name])
    names = _names(ordered, last[0] if len(last) == 1 else None)
    members = tuple(Member(names[one.name], one.process, one.is_source) for one in ordered)
    joins = []
    for member in ordered:
        into = [one for one in plain.connections if one.target == member.name]
        joins += [(names[one.source], names[one.target], one.process, len(into) == 1) for one in into]
    return Joined(members, _joins(joins))


def _joins(joins: list[tuple[str, str, AbstractProcess, bool]]) -> tuple[Join, ...]:
    """Name connections: after their target where they alone drive it, else as the process was, else by both ends."""
    titles = {target for _, target, _, alone in joins if alone}
    found = []
    for source, target, process, alone in joins:
        own = _given(process)
        name = target if alone else own or (f"{target}.rec" if source == target else f"{target}.{source}")
        base, number = name, 1
        while not alone and name in titles:
            number += 1
            name = f"{base}.{number}"
        titles.add(name)
        found.append(Join(name, source, target, process))
    return tuple(found)


def _names(ordered: list[Member], last: str | None) -> dict[str, str]:
    """Return the populations' names: those that were given to the processes, else input, hidden1 …, output."""
    sources = [one for one in ordered if one.is_source]
    roles: dict[str, str] = {}
    for number, one in enumerate(sources, 1):
        roles[one.name] = "input" if len(sources) == 1 else f"input{number}"
    for number, one in enumerate((one for one in ordered if not one.is_source), 1):
        roles[one.name] = "output" if one.name == last else f"hidden{number}"
    names = {one.name: _given(one.process) or roles[one.name] for one in ordered}
    return names if len(set(names.values())) == len(names) else roles


def _given(process: AbstractProcess) -> str | None:
    """Return the name that a process was given; None: Lava made one."""
    name: str = process.name
    return name if name != f"Process_{process.id}" else None


def _is_population(process: AbstractProcess) -> bool:
    return kind_of(process) in ("neurons", "source")


def _out(process: AbstractProcess) -> OutPort:
    return process.s_out if _is_population(process) else process.a_out


def _in(process: AbstractProcess) -> InPort | None:
    match kind_of(process):
        case "source":
            return None
        case "neurons":
            return process.a_in
        case _:
            return process.s_in


def _talks(process: AbstractProcess) -> bool:
    """Return whether a process could send anything, unlike monitors and sinks."""
    return any(True for _ in process.out_ports)


def _connected(process: AbstractProcess) -> list[AbstractProcess]:
    """Return a process and all that it is joined to by its in- and out-ports."""
    found, waiting = [process], [process]
    while waiting:
        current = waiting.pop()
        near = [port.process for out in current.out_ports for port in out.get_dst_ports()]
        near += [port.process for into in current.in_ports for port in into.get_src_ports()]
        for other in near:
            if other not in found:
                found.append(other)
                waiting.append(other)
    return found


def _ways(port: AbstractPort, between: tuple[AbstractPort, ...] = ()) -> Iterator[tuple[AbstractPort, tuple[AbstractPort, ...]]]:
    """Yield every port at the end of a port's ways, and the virtual ones that lie between."""
    for other in port.out_connections:
        passed = (*between, other) if isinstance(other, AbstractVirtualPort) else between
        if other.out_connections:
            yield from _ways(other, passed)
        else:
            yield other, passed


def _next(process: AbstractProcess, members: list[AbstractProcess], part: bool) -> list[AbstractProcess]:
    """Return the members that a process sends to."""
    following = []
    for port, between in _ways(_out(process)):
        if port.process not in members:
            if not part and _talks(port.process):
                raise ConversionError(f"{title(process)} also drives {title(port.process)}, which is not among the processes")
            continue
        odd = [one for one in between if not isinstance(one, ReshapePort)]
        if odd:
            raise ConversionError(
                f"{title(process)} → {title(port.process)}: a {type(odd[0]).__name__} lies between; only reshape and flatten can be imported"
            )
        following.append(port.process)
    return following


def _check(
    process: AbstractProcess,
    behind: list[AbstractProcess],
    ahead: list[AbstractProcess],
    members: list[AbstractProcess],
    part: bool,
) -> None:
    """Raise unless a population is driven by connections, and a connection joins one population to another."""
    port = _in(process)
    strange = [] if port is None or part else [one.process for one in port.get_src_ports() if one.process not in members]
    if strange:
        raise ConversionError(f"{title(process)} is driven by {title(strange[0])}, which is not among the processes")
    if kind_of(process) == "source" and behind:
        raise ConversionError(f"{title(process)} is driven by another process")
    wrong = next((other for other in ahead if _is_population(other) == _is_population(process)), None)
    if wrong is not None:
        expected = "a connection" if _is_population(process) else "a LIF"
        raise ConversionError(f"{title(wrong)} stands where {expected} is expected, behind {title(process)}")
    if _is_population(process):
        return
    for where, others, remedy in (
        ("is driven by", behind, "Lava makes one spike of theirs; give each a connection of its own"),
        ("drives", ahead, "give each a connection of its own"),
    ):
        if len(others) > 1:
            raise ConversionError(f"{title(process)} {where} {' and '.join(map(title, others))}; {remedy}")
        if not others:
            raise ConversionError(f"{title(process)} {where} nothing among the processes; name the population, too")
