"""Chains only: a Lava graph of neurons and connections, one after the other, as a `Network` that carries Lava's own integers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import ConversionError
from neurofault.graph import CubaLif, Network, Population, Source
from neurofault.graph import chain as chain_network
from neurofault.inputs import Inputs
from neurofault.lava.chain import Chain, chain_of, kind_of, title
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
        connections: the Lava process of the synapses into each population but the first.
        orders: of each population, int64 [n]: where neuron i is in Lava's array, flattened (C, H, W here, W, H, C there).
    """

    network: Network
    inputs: Inputs
    populations: tuple[AbstractProcess, ...]
    connections: tuple[AbstractProcess, ...]
    orders: tuple[NDArray[np.int64], ...]


def from_lava(
    processes: AbstractProcess | Iterable[AbstractProcess],
    *,
    timesteps: int,
    conv: ConvAs = "lava",
    starts: Starts = "together",
    name: str = "lava",
) -> Network:
    """Import a Lava graph: a source (``LIF`` or ``io.source.RingBuffer``), then ``Dense``, ``DelayDense``, ``Sparse`` or ``Conv`` → ``LIF`` ….

    The network computes what the processes compute with ``Loihi2SimCfg(select_tag="fixed_pt")``, bit for bit: step t of the population at
    place l is Lava's step t + l + 1.

    >>> from lava.proc.dense.process import Dense
    >>> from lava.proc.io.source import RingBuffer
    >>> from lava.proc.lif.process import LIF
    >>> eyes, synapses, hands = RingBuffer(data=np.ones((2, 4), int)), Dense(weights=np.eye(2, dtype=int) * 8), LIF(shape=(2,), vth=10, name="hands")
    >>> eyes.s_out.connect(synapses.s_in)
    >>> synapses.a_out.connect(hands.a_in)
    >>> [(one.name, one.shape) for one in from_lava(hands, timesteps=4).populations]
    [('input', (2,)), ('hands', (2,))]

    Args:
        processes: one process of the graph (then all that it is joined to), or the processes of the chain in any order.
        timesteps: steps of a presentation, at least 1.
        conv: ``lava``: as Lava's ``Conv`` computes (it ignores ``weight_exp`` and ``num_weight_bits``); ``sparse``: as the ``Sparse`` connection with these
            settings would.
        starts: ``together``: every population begins in Lava's step 1, before its first input, as it does in Lava; refused where none here can begin
            like that. ``staggered``: every population begins with its first input, as on a chip of neurofault's.
        name: of the network.

    Raises:
        ConversionError: a process, a setting or a join that has no equal here; the text names the process.
        UnsupportedError: Lava is not installed.
    """
    return read_graph(processes, timesteps=timesteps, conv=conv, starts=starts, name=name).network


def read_graph(
    processes: AbstractProcess | Iterable[AbstractProcess],
    *,
    timesteps: int,
    conv: ConvAs = "lava",
    starts: Starts = "together",
    name: str = "lava",
    part: bool = False,
) -> LavaGraph:
    """Import a Lava graph with its inputs and the order of its neurons.

    Args:
        processes: see :func:`from_lava`, as for
        timesteps: steps of a presentation,
        conv: how a ``Conv`` is read,
        starts: when populations begin, and
        name: of the network.
        part: whether the chain may be a part of a larger graph, whose other joins are left out.

    Raises:
        ConversionError, UnsupportedError: see :func:`from_lava`.
    """
    chain = chain_of(processes, part=part)
    if timesteps < 1:
        raise ConversionError(f"timesteps must be at least 1, is {timesteps}")
    shapes, orders = places_of(chain)
    names = names_of(chain)
    populations = [
        Population(names[depth], shapes[depth], _neuron(process, depth, orders[depth], starts))
        for depth, process in enumerate(chain.populations)
    ]
    held = [stored_synapses(process, orders[depth], orders[depth + 1], conv) for depth, process in enumerate(chain.connections)]
    inputs = _inputs(chain, orders[0], timesteps)
    network = chain_network(
        name, populations, [synapses for synapses, _ in held], timesteps=timesteps, how="count", stored=[form for _, form in held]
    )
    return LavaGraph(network, inputs, chain.populations, chain.connections, orders)


def places_of(chain: Chain) -> tuple[list[tuple[int, ...]], tuple[NDArray[np.int64], ...]]:
    """Return each population's shape here, and where its neurons are in Lava's arrays."""
    seen: list[tuple[int, int, int] | None] = [None] * len(chain.populations)
    for depth, connection in enumerate(chain.connections):
        if kind_of(connection) != "conv":
            continue
        for place, shape in ((depth, connection.input_shape), (depth + 1, connection.output_shape)):
            width, height, channels = (int(size) for size in shape)
            if seen[place] not in (None, (width, height, channels)):
                raise ConversionError(
                    f"{title(chain.populations[place])} is {seen[place]} to one Conv and {(width, height, channels)} to another; "
                    "give both the same (W, H, C) shape"
                )
            seen[place] = (width, height, channels)
    shapes: list[tuple[int, ...]] = []
    orders = []
    for process, image in zip(chain.populations, seen, strict=True):
        size = math.prod(process.s_out.shape)
        if image is None:
            shapes.append((size,))
            orders.append(np.arange(size, dtype=np.int64))
        else:
            width, height, channels = image
            shapes.append((channels, height, width))
            orders.append(np.arange(size, dtype=np.int64).reshape(image).transpose(2, 1, 0).ravel())
    return shapes, tuple(orders)


def names_of(chain: Chain) -> list[str]:
    """Return the populations' names: those that were given to the processes, else input, hidden1 …, output."""
    last = len(chain.populations) - 1
    roles = ["input", *(f"hidden{depth}" for depth in range(1, last)), "output"][: last + 1]
    given = [process.name for process in chain.populations]
    named = [
        name if name != f"Process_{process.id}" else role
        for name, process, role in zip(given, chain.populations, roles, strict=True)
    ]
    return named if len(set(named)) == len(named) else roles


def _neuron(process: AbstractProcess, depth: int, order: NDArray[np.int64], starts: Starts) -> CubaLif | Source:
    """Return the neurons of the population at some depth."""
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
        v = _settled(process, v, fields, mantissa << exponent if exponent >= 0 else mantissa >> -exponent, depth)
    levels = np.unique(v)
    if levels.size > 1:
        why = f"is at v = {_some(v)} when its first input arrives, and a layer begins at one v for all neurons"
        remedy = '; starts="staggered" lets each layer begin with its first input' if np.unique(fields["v"]).size == 1 else ""
        raise ConversionError(f"{title(process)} {why}{remedy}")
    du, dv, vth, start = fields["du"], fields["dv"], fields["vth"], int(levels[0])
    if depth:
        return CubaLif(vth, mantissa, du, dv, float(start), exponent)
    return Source(None, du, dv, vth, exponent, start, mantissa)


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


def _inputs(chain: Chain, order: NDArray[np.int64], timesteps: int) -> Inputs:
    """Return what drives the first population, as one sample."""
    source = chain.populations[0]
    if kind_of(source) == "neurons":
        return Inputs(bias=_whole(source, "bias_mant", order).astype(np.int16).astype(np.int32)[None])
    data = np.asarray(source.data.init)
    flat = data.reshape(-1, data.shape[-1])[order]
    graded = chain.connections and int(np.max(chain.connections[0].num_message_bits.init)) > 0
    if graded and not np.isin(flat, (0, 1)).all():
        raise ConversionError(f"{title(source)} sends {_some(flat)}; only spikes (0 and 1) can be imported")
    return Inputs(events=(flat[:, np.arange(timesteps) % flat.shape[1]] != 0).T[None].copy())
