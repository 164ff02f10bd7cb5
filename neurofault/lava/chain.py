"""Chains only: which Lava processes a graph consists of, and in which order spikes pass through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import ConversionError

require_lava()

from lava.magma.core.process.ports.ports import InPort, OutPort, ReshapePort  # noqa: E402
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
class Chain:
    """Processes in the order in which spikes pass.

    Attributes:
        populations: `LIF` or, as the first, ``io.source.RingBuffer``.
        connections: what joins each population to the next.
    """

    populations: tuple[AbstractProcess, ...]
    connections: tuple[AbstractProcess, ...]


def chain_of(processes: AbstractProcess | Iterable[AbstractProcess], *, part: bool = False) -> Chain:
    """Put processes in order.

    Args:
        processes: one process (then all that it is joined to), or the processes of the chain in any order. What only listens is left out.
        part: whether they may have joins to processes that are not named.

    Raises:
        ConversionError: a process that is not known, or joins that are not a chain.
    """
    given = _joined(processes) if isinstance(processes, AbstractProcess) else list(processes)
    members = [process for process in given if kind_of(process) is not None or _talks(process)]
    for process in members:
        if kind_of(process) is None:
            known = ", ".join(kind.__name__ for kind in KINDS)
            raise ConversionError(f"{title(process)} is not one of {known}, nor a listener without outputs")
    if not members:
        raise ConversionError("no processes to import")
    ahead = {process: _next(process, members, part) for process in members}
    if not part:
        for process in members:
            _check_drive(process, members)
    reached = {after for after in ahead.values() if after is not None}
    first = [process for process in members if process not in reached]
    if len(first) != 1:
        what = "no beginning (it is a loop)" if not first else f"more than one beginning: {', '.join(map(title, first))}"
        raise ConversionError(f"the graph has {what}; only a chain can be imported")
    order: list[AbstractProcess] = []
    step: AbstractProcess | None = first[0]
    while step is not None and step not in order:
        order.append(step)
        step = ahead[step]
    if step is not None or len(order) < len(members):
        raise ConversionError(f"the graph loops back to {title(step or members[-1])}; only a chain can be imported")
    _check_order(order)
    return Chain(tuple(order[::2]), tuple(order[1::2]))


def _out(process: AbstractProcess) -> OutPort:
    return process.s_out if kind_of(process) in ("neurons", "source") else process.a_out


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


def _joined(process: AbstractProcess) -> list[AbstractProcess]:
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


def _next(process: AbstractProcess, members: list[AbstractProcess], part: bool) -> AbstractProcess | None:
    """Return the member that a process sends to."""
    ports = _out(process).get_dst_ports()
    after = [port for port in ports if port.process in members]
    if not part:
        strange = [port.process for port in ports if port.process not in members and _talks(port.process)]
        if strange:
            raise ConversionError(f"{title(process)} also drives {title(strange[0])}, which is not among the processes")
    if len(after) > 1:
        raise ConversionError(
            f"{title(process)} drives {' and '.join(title(port.process) for port in after)}; only a chain can be imported"
        )
    if not after:
        return None
    _, between = after[0].get_incoming_virtual_ports()
    odd = [port for port in between if not isinstance(port, ReshapePort)]
    if odd:
        raise ConversionError(
            f"{title(process)} → {title(after[0].process)}: a {type(odd[0]).__name__} lies between; only reshape and flatten can be imported"
        )
    following: AbstractProcess = after[0].process
    return following


def _check_drive(process: AbstractProcess, members: list[AbstractProcess]) -> None:
    """Raise if something drives a process beside the one before it."""
    port = _in(process)
    sources = [] if port is None else [source.process for source in port.get_src_ports()]
    strange = [source for source in sources if source not in members]
    if strange:
        raise ConversionError(f"{title(process)} is driven by {title(strange[0])}, which is not among the processes")
    if len(sources) > 1:
        raise ConversionError(f"{title(process)} is driven by {' and '.join(map(title, sources))}; only a chain can be imported")


def _check_order(order: list[AbstractProcess]) -> None:
    """Raise unless populations and connections take turns, with a population at each end."""
    for place, process in enumerate(order):
        is_population = kind_of(process) in ("neurons", "source")
        if is_population != (place % 2 == 0):
            found = "LIF or RingBuffer" if place == 0 else "LIF" if place % 2 == 0 else "a connection"
            raise ConversionError(f"{title(process)} stands where {found} is expected: a chain is LIF, connection, LIF …")
        if place and kind_of(process) == "source":
            raise ConversionError(f"{title(process)} is driven by another process")
    if len(order) % 2 == 0:
        raise ConversionError(f"the chain ends with {title(order[-1])}; name the LIF that it drives, too")
