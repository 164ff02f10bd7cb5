"""The sites of an atlas: kinds, columns, and every site of a network that is more than a chain, as an edit of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit, SetSynapses, Silence
from neurofault.damage.stored import from_field, to_field
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError, nearest
from neurofault.graph import Conv, Dense
from neurofault.graph.chip import ChipConnection

Kind = Literal["synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead"]
KINDS: tuple[Kind, ...] = ("synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead")

COLUMNS = ("layer", "source", "target", "bit", "core", "changed", "correct")
"""Columns of the table of sites; −1 where a column does not apply to the kind."""


@dataclass(frozen=True, eq=False)
class SynapseSites:
    """Sites among the stored synapses of a dense connection.

    Attributes:
        sources, targets, bits: int64 [k]; bits are −1 where whole synapses are meant.
        values: int64 [k], the weight that is read there.
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    bits: NDArray[np.int64]
    values: NDArray[np.int64]


def stored_sites(deployment: Deployment, title: str, connection: ChipConnection, kind: Kind) -> Iterator[SynapseSites]:
    """Yield every stored synapse of a dense connection, or every bit of it, the lowest bit first.

    Args:
        deployment: the healthy chip.
        title: what the connection is called in messages.
        connection: one of its.
        kind: ``synapse_dead`` or ``synapse_bit_flip``.

    Raises:
        UsageError: it is not dense, or has no stored bits.
    """
    if not isinstance(connection.synapses, Dense):
        what = "a convolution" if isinstance(connection.synapses, Conv) else "sparse"
        dense = ", ".join(one.name for one in deployment.connections if isinstance(one.synapses, Dense))
        able = f"name one with --layer: {dense}" if dense else "there is none; --fault neuron_dead and core_dead take all"
        raise UsageError(f"{title} is {what}: an atlas of synapses takes dense layers; {able}")
    n_in, n_out, width = connection.synapses.n_in, connection.synapses.n_out, connection.weight_bits
    sources, targets = (part.ravel() for part in np.indices((n_in, n_out)))
    if kind == "synapse_dead":
        yield SynapseSites(sources, targets, np.full(len(sources), -1), np.zeros(len(sources), np.int64))
        return
    if width > 8:
        raise UsageError(f"{title} is a {width}-bit reference that no chip stores: it has no stored bits")
    field = to_field(connection.synapses.weight[targets, sources], width, connection.sign_mode)
    for bit in range(width):
        values = from_field(field ^ (1 << bit), width, connection.sign_mode).astype(np.int64)
        yield SynapseSites(sources, targets, np.full(len(sources), bit), values)


@dataclass(frozen=True, eq=False)
class GraphSites:
    """Every site of a kind.

    Attributes:
        layers: names that the column ``layer`` counts: of populations, or, of synapses, of connections.
        columns: the first five of :data:`COLUMNS`, int64 [F].
        edits: one site after the other, what it does to the chip.
    """

    layers: tuple[str, ...]
    columns: dict[str, NDArray[np.int64]]
    edits: Sequence[tuple[Edit, ...]]


def graph_sites(deployment: Deployment, kind: Kind, layer: str) -> GraphSites:
    """List all sites of a kind.

    Args:
        deployment: the healthy chip.
        kind: one of :data:`KINDS`.
        layer: name of a population; of synapses of a connection, else of the population whose synapses are meant; ``any``: all.

    Raises:
        UsageError: no such place, or one without such sites.
    """
    names = tuple(one.name for one in deployment.populations)
    core_of = deployment.placement.core_of
    rows: list[tuple[int, int, int, int, int]] = []
    edits: list[tuple[Edit, ...]] = []
    if kind.startswith("synapse"):
        layers = tuple(one.name for one in deployment.connections)
        for name in _connections(deployment, layer):
            own = deployment.connection(name)
            for part in stored_sites(deployment, f"connection {name!r}", own, kind):
                for source, target, bit, value in zip(part.sources, part.targets, part.bits, part.values, strict=True):
                    rows.append((layers.index(name), int(source), int(target), int(bit), int(core_of[own.target][target])))
                    edits.append((_weight(name, source, target, value),))
        return GraphSites(layers, _columns(rows), edits)
    chosen = names if layer == "any" else (_known(layer, names),)
    if kind == "neuron_dead":
        for name in chosen:
            for neuron in range(deployment.population(name).size):
                rows.append((names.index(name), -1, neuron, -1, int(core_of[name][neuron])))
                edits.append((Silence(name, np.array([neuron])),))
        return GraphSites(names, _columns(rows), edits)
    for core in np.unique(np.concatenate([core_of[name] for name in chosen])).tolist():
        held = [(name, np.flatnonzero(core_of[name] == core)) for name in names if (core_of[name] == core).any()]
        rows.append((names.index(held[0][0]), -1, -1, -1, core))
        edits.append(tuple(Silence(name, neurons) for name, neurons in held))
    return GraphSites(names, _columns(rows), edits)


def _connections(deployment: Deployment, layer: str) -> tuple[str, ...]:
    names = tuple(one.name for one in deployment.connections)
    if layer == "any" or layer in names:
        return names if layer == "any" else (layer,)
    population = _known(layer, (*(one.name for one in deployment.populations), *names))
    into = tuple(one.name for one in deployment.into(population))
    if not into:
        raise UsageError(f"layer {layer!r} has no synapses")
    return into


def _known(layer: str, names: Sequence[str]) -> str:
    if layer not in names:
        raise UsageError(f"no layer {layer!r}; layers: {', '.join(dict.fromkeys(names))}{nearest(layer, names)}")
    return layer


def _weight(connection: str, source: int, target: int, value: int) -> SetSynapses:
    return SetSynapses(connection, np.array([source]), np.array([target]), np.array([value], np.int32))


def _columns(rows: Sequence[tuple[int, ...]]) -> dict[str, NDArray[np.int64]]:
    return dict(zip(COLUMNS, np.array(rows, np.int64).reshape(-1, 5).T, strict=False))
