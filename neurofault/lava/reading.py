"""A Lava graph of neurons and connections as a `Network` that carries Lava's own integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import ConversionError, nearest
from neurofault.graph import Connection, CubaLif, Network, Population, Readout, Source
from neurofault.inputs import Inputs
from neurofault.lava.joins import Joined, Member, graph_of, kind_of, title
from neurofault.lava.weights import stored_synapses

require_lava()

from lava.magma.core.process.process import AbstractProcess  # noqa: E402

Starts = Literal["together", "staggered"]
ConvAs = Literal["lava", "sparse"]

_LIMIT = 1 << 23


@dataclass(frozen=True, eq=False)
class LavaGraph:
    """A Lava graph and what it is here.

    Attributes:
        network: carries Lava's integers; :func:`neurofault.deploy` keeps them bit for bit.
        inputs: what drives it, one sample of ``network.timesteps`` steps.
        populations: the Lava process of each population, in the network's order.
        connections: the Lava process of each connection, likewise.
        orders: of each population, int64 [n]: where neuron i is in Lava's array, flattened (C, H, W here, W, H, C there).
    """

    network: Network
    inputs: Inputs
    populations: tuple[AbstractProcess, ...]
    connections: tuple[AbstractProcess, ...]
    orders: tuple[NDArray[np.int64], ...]

    def process(self, population: str) -> AbstractProcess:
        """Return the process of a population."""
        return self.populations[self._place(population)]

    def synapses(self, connection: str) -> AbstractProcess:
        """Return the process of a connection."""
        return self.connections[[one.name for one in self.network.connections].index(connection)]

    def order(self, population: str) -> NDArray[np.int64]:
        """Return where the neurons of a population are in Lava's array: its part of ``orders``."""
        return self.orders[self._place(population)]

    def _place(self, population: str) -> int:
        return [one.name for one in self.network.populations].index(population)


def from_lava(
    processes: AbstractProcess | Iterable[AbstractProcess],
    *,
    timesteps: int,
    conv: ConvAs = "lava",
    starts: Starts = "together",
    name: str = "lava",
    readout: str | None = None,
) -> Network:
    """Import a Lava graph: ``LIF`` and ``io.source.RingBuffer``, joined by ``Dense``, ``DelayDense``, ``Sparse`` or ``Conv``, with branches and loops.

    The network computes what the processes compute with ``Loihi2SimCfg(select_tag="fixed_pt")``, bit for bit: step t of a population of phase p
    (how many connections lie between it and the nearest input) is Lava's step t + p + 1. Populations that no connection drives are inputs.

    >>> from lava.proc.dense.process import Dense
    >>> from lava.proc.io.source import RingBuffer
    >>> from lava.proc.lif.process import LIF
    >>> eyes, synapses, hands = RingBuffer(data=np.ones((2, 4), int)), Dense(weights=np.eye(2, dtype=int) * 8), LIF(shape=(2,), vth=10, name="hands")
    >>> eyes.s_out.connect(synapses.s_in)
    >>> synapses.a_out.connect(hands.a_in)
    >>> [(one.name, one.shape) for one in from_lava(hands, timesteps=4).populations]
    [('input', (2,)), ('hands', (2,))]

    Args:
        processes: one process of the graph (then all that it is joined to), or its processes in any order.
        timesteps: steps of a presentation, at least 1.
        conv: ``lava``: as Lava's ``Conv`` computes (it ignores ``weight_exp`` and ``num_weight_bits``); ``sparse``: as the ``Sparse`` connection with these
            settings would.
        starts: ``together``: every population begins in Lava's step 1, before its first input, as it does in Lava; refused where none here can begin
            like that. ``staggered``: every population begins with its first input, as on a chip of neurofault's.
        name: of the network.
        readout: name of the population that is read, by its spikes; None: the only one that drives no other.

    Raises:
        ConversionError: a process, a setting or a join that has no equal here; the text names the process.
        UnsupportedError: Lava is not installed.
    """
    return read_graph(processes, timesteps=timesteps, conv=conv, starts=starts, name=name, readout=readout).network


def read_graph(
    processes: AbstractProcess | Iterable[AbstractProcess],
    *,
    timesteps: int,
    conv: ConvAs = "lava",
    starts: Starts = "together",
    name: str = "lava",
    readout: str | None = None,
    part: bool = False,
) -> LavaGraph:
    """Import a Lava graph with its inputs and the order of its neurons.

    Args:
        processes: see :func:`from_lava`, as for
        timesteps: steps of a presentation,
        conv: how a ``Conv`` is read,
        starts: when populations begin,
        name: of the network, and
        readout: what is read.
        part: whether the processes may be a part of a larger graph, whose other joins are left out.

    Raises:
        ConversionError, UnsupportedError: see :func:`from_lava`.
    """
    joined = graph_of(processes, part=part)
    if timesteps < 1:
        raise ConversionError(f"timesteps must be at least 1, is {timesteps}")
    shapes, orders = places_of(joined)
    phase = joined.schedule.phase
    populations = tuple(
        Population(one.name, shapes[one.name], _neuron(one, phase[one.name], orders[one.name], starts))
        for one in joined.populations
    )
    connections = []
    for one in joined.connections:
        synapses, form = stored_synapses(one.process, orders[one.source], orders[one.target], conv)
        connections.append(Connection(one.name, one.source, one.target, synapses, 1, form))
    inputs = _inputs(joined, orders, timesteps)
    network = Network(name, populations, tuple(connections), timesteps, Readout(_read(joined, readout), "count"))
    return LavaGraph(
        network,
        inputs,
        tuple(one.process for one in joined.populations),
        tuple(one.process for one in joined.connections),
        tuple(orders[one.name] for one in joined.populations),
    )


def _read(joined: Joined, readout: str | None) -> str:
    """Return the name of the population that is read."""
    names = [one.name for one in joined.populations]
    if readout is not None:
        if readout not in names:
            raise ConversionError(f"readout: no population {readout!r}{nearest(readout, names)}; populations: {', '.join(names)}")
        return readout
    if len(joined.last) != 1:
        found = f"{' and '.join(map(repr, joined.last))} drive no other" if joined.last else "every one drives another"
        raise ConversionError(f"which population is read? {found}; say readout=, one of {', '.join(names)}")
    return joined.last[0]


def places_of(joined: Joined) -> tuple[dict[str, tuple[int, ...]], dict[str, NDArray[np.int64]]]:
    """Return each population's shape here, and where its neurons are in Lava's arrays."""
    seen: dict[str, tuple[int, int, int]] = {}
    process = {one.name: one.process for one in joined.populations}
    for join in joined.connections:
        if kind_of(join.process) != "conv":
            continue
        for name, shape in ((join.source, join.process.input_shape), (join.target, join.process.output_shape)):
            width, height, channels = (int(size) for size in shape)
            if seen.setdefault(name, (width, height, channels)) != (width, height, channels):
                raise ConversionError(
                    f"{title(process[name])} is {seen[name]} to one Conv and {(width, height, channels)} to another; "
                    "give both the same (W, H, C) shape"
                )
    shapes: dict[str, tuple[int, ...]] = {}
    orders: dict[str, NDArray[np.int64]] = {}
    for one in joined.populations:
        shapes[one.name], orders[one.name] = (one.size,), np.arange(one.size, dtype=np.int64)
        if one.name in seen:
            width, height, channels = seen[one.name]
            shapes[one.name] = (channels, height, width)
            orders[one.name] = orders[one.name].reshape(seen[one.name]).transpose(2, 1, 0).ravel()
    return shapes, orders


def _neuron(member: Member, phase: int, order: NDArray[np.int64], starts: Starts) -> CubaLif | Source:
    """Return the neurons of a population of some phase."""
    process = member.process
    if kind_of(process) == "source":
        return Source()
    fields = {field: _whole(process, field, order) for field in ("u", "v", "du", "dv", "vth", "bias_mant", "bias_exp")}
    exponents = np.unique(fields["bias_exp"])
    if exponents.size > 1:
        raise ConversionError(f"{title(process)}: bias_exp is {exponents.tolist()} in one population; use one LIF for each")
    exponent = int(exponents[0].astype(np.int16))
    mantissa = fields["bias_mant"].astype(np.int16).astype(np.int64)
    if fields["u"].any():
        raise ConversionError(f"{title(process)} starts with u = {_some(fields['u'])}; only u = 0 can be imported")
    v = fields["v"]
    if starts == "together":
        v = _settled(process, v, fields, mantissa << exponent if exponent >= 0 else mantissa >> -exponent, phase)
    one = bool(np.all(v == v[:1]))
    du, dv, vth = fields["du"], fields["dv"], fields["vth"]
    if not member.is_source:
        return CubaLif(vth, mantissa, du, dv, float(v[0]) if one else v, exponent)
    if not one:
        raise ConversionError(f"{title(process)} begins at v = {_some(v)}, and an input begins at one v for all neurons")
    return Source(None, du, dv, vth, exponent, int(v[0]), mantissa)


def _settled(
    process: AbstractProcess, v: NDArray[np.int64], fields: dict[str, NDArray[np.int64]], bias: NDArray[np.int64], steps: int
) -> NDArray[np.int64]:
    """Return v after the steps before the first input (Lava 0.10 ``PyLifModelBitAcc`` without input, from u = 0)."""
    for step in range(1, steps + 1):
        decayed = np.sign(v) * ((np.abs(v) * (4096 - fields["dv"])) >> 12)
        v = np.clip((decayed + bias).astype(np.int32).astype(np.int64), 1 - _LIMIT, _LIMIT - 1)
        if np.any(v > fields["vth"] << 6):
            raise ConversionError(
                f"{title(process)} fires in step {step}, before its first input, which arrives in step {steps + 1}; "
                'starts="staggered" lets each layer begin with its first input'
            )
    return v


def _whole(process: AbstractProcess, field: str, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a Var's initial value as int64 [n], in our order."""
    value = np.asarray(getattr(process, field).init)
    if value.dtype.kind == "f" and not np.array_equal(value, np.trunc(value)):
        raise ConversionError(f"{title(process)}: {field} is {_some(value)}; Lava's fixed_pt model takes whole numbers")
    try:
        spread = np.broadcast_to(value.reshape(process.s_out.shape) if value.size == order.size else value, process.s_out.shape)
    except ValueError:
        raise ConversionError(f"{title(process)}: {field} has the shape {value.shape}, not {process.s_out.shape}") from None
    return np.ascontiguousarray(spread.astype(np.int64).reshape(-1)[order])


def _some(values: NDArray[Any]) -> str:
    """Name the few different values."""
    different = np.unique(values).tolist()
    return ", ".join(f"{value:g}" for value in different[:3]) + (" …" if len(different) > 3 else "")


def _inputs(joined: Joined, orders: Mapping[str, NDArray[np.int64]], timesteps: int) -> Inputs:
    """Return what drives the inputs, as one sample."""
    bias: dict[str, NDArray[np.int32]] = {}
    events: dict[str, NDArray[np.bool_]] = {}
    for one in joined.populations:
        if one.is_source and kind_of(one.process) == "neurons":
            bias[one.name] = _whole(one.process, "bias_mant", orders[one.name]).astype(np.int16).astype(np.int32)[None]
        elif one.is_source:
            events[one.name] = _events(joined, one, orders[one.name], timesteps)
    return Inputs(bias, events) if bias or events else Inputs(samples=1)


def _events(joined: Joined, source: Member, order: NDArray[np.int64], timesteps: int) -> NDArray[np.bool_]:
    """Return what a source of spikes sends, bool [1, T, n]."""
    data = np.asarray(source.process.data.init)
    flat = data.reshape(-1, data.shape[-1])[order]
    graded = any(int(np.max(one.process.num_message_bits.init)) > 0 for one in joined.connections if one.source == source.name)
    if graded and not np.isin(flat, (0, 1)).all():
        raise ConversionError(f"{title(source.process)} sends {_some(flat)}; only spikes (0 and 1) can be imported")
    return np.array(flat[:, np.arange(timesteps) % flat.shape[1]].T[None] != 0)
