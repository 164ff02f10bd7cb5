"""The sites of an atlas: kinds, columns, and every site of a network, with what it does to the chip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit, SetSynapses, Silence
from neurofault.damage.stored import from_field, to_field
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError, UsageError
from neurofault.faults.places import populations_named, synapse_blocks, synapses_at
from neurofault.faults.pooled import pool_of
from neurofault.graph import Dense
from neurofault.graph.chains import not_a_chain
from neurofault.graph.chip import ChipConnection
from neurofault.graph.connectivity import weights_and_delays
from neurofault.graph.schedule import title

Kind = Literal["synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead"]
KINDS: tuple[Kind, ...] = ("synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead")

COLUMNS = ("layer", "source", "target", "bit", "core", "changed", "correct")
"""Columns of the table of sites; −1 where a column does not apply to the kind."""


@dataclass(frozen=True, eq=False)
class SynapseSites:
    """Sites among the stored synapses of a connection: one synapse each, or, where a core shares kernels, all that read one stored word.

    Attributes:
        connection: its name.
        starts: int64 [k + 1], window of each site's synapses.
        sources, targets: int64 [m], synapse by synapse; of a site, the first of its synapses stands in the table.
        values: int64 [m], the weight that is read there.
        bits: int64 [k]; −1 where whole synapses are meant.
    """

    connection: str
    starts: NDArray[np.int64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int64]
    bits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bits)

    def edit(self, site: int) -> SetSynapses:
        """Return what a site does to the chip."""
        own = slice(self.starts[site], self.starts[site + 1])
        return SetSynapses(self.connection, self.sources[own], self.targets[own], self.values[own].astype(np.int32))


class MadeEdits(Sequence[tuple[Edit, ...]]):
    """What each of many sites does to the chip, made when it is asked for.

    Args:
        count: how many.
        made: site → its edits.
    """

    def __init__(self, count: int, made: Callable[[int], tuple[Edit, ...]]) -> None:
        self._count, self._made = count, made

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> tuple[Edit, ...]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[tuple[Edit, ...]]: ...
    def __getitem__(self, at: int | slice) -> tuple[Edit, ...] | Sequence[tuple[Edit, ...]]:
        if isinstance(at, slice):
            chosen = range(self._count)[at]
            return MadeEdits(len(chosen), lambda place: self._made(chosen[place]))
        return self._made(range(self._count)[at])


@dataclass(frozen=True, eq=False)
class Sites:
    """Every site of a kind.

    Attributes:
        layers: names that the column ``layer`` counts: of populations, or, of synapses of what is no chain, of connections.
        columns: the first five of :data:`COLUMNS`, int64 [F].
        edits: one site after the other, what it does to the chip.
        parts: of synapses, the same sites, connection by connection.
    """

    layers: tuple[str, ...]
    columns: dict[str, NDArray[np.int64]]
    edits: Sequence[tuple[Edit, ...]]
    parts: tuple[SynapseSites, ...] = ()

    def __len__(self) -> int:
        return len(self.edits)

    def chosen(self, which: NDArray[np.int64]) -> Sites:
        """Return some of the sites, int64 [k], without their parts."""
        edits = self.edits
        return Sites(
            self.layers,
            {name: column[which] for name, column in self.columns.items()},
            MadeEdits(len(which), lambda place: edits[int(which[place])]),
        )


def all_sites(deployment: Deployment, kind: Kind, layer: str) -> Sites:
    """List all sites of a kind.

    Args:
        deployment: the healthy chip.
        kind: one of :data:`KINDS`.
        layer: which populations, as faults name them (:func:`neurofault.faults.places.populations_named`); of synapses a connection, else
            the populations whose synapses are meant; ``any``: all.

    Raises:
        FaultError: no such place.
        UsageError: a place without such sites, or without stored bits.
    """
    names = tuple(one.name for one in deployment.populations)
    core_of = deployment.placement.core_of
    if kind.startswith("synapse"):
        return _synapses(deployment, kind, layer)
    chosen = populations_named(deployment, layer)
    rows: list[tuple[int, int, int, int, int]] = []
    edits: list[tuple[Edit, ...]] = []
    if kind == "neuron_dead":
        for name in chosen:
            for neuron in range(deployment.population(name).size):
                rows.append((names.index(name), -1, neuron, -1, int(core_of[name][neuron])))
                edits.append((Silence(name, np.array([neuron])),))
        return Sites(names, _columns(rows), edits)
    for core in np.unique(np.concatenate([core_of[name] for name in chosen])).tolist():
        held = [(name, np.flatnonzero(core_of[name] == core)) for name in names if (core_of[name] == core).any()]
        rows.append((names.index(held[0][0]), -1, -1, -1, core))
        edits.append(tuple(Silence(name, neurons) for name, neurons in held))
    return Sites(names, _columns(rows), edits)


def _synapses(deployment: Deployment, kind: Kind, layer: str) -> Sites:
    chain = not_a_chain(deployment) is None
    names = tuple(one.name for one in (deployment.populations if chain else deployment.connections))
    parts, tables = [], []
    for name in _connections(deployment, layer):
        own = deployment.connection(name)
        number = names.index(own.target if chain else name)
        for part in _stored(deployment, own, kind):
            first = part.starts[:-1]
            core = deployment.placement.core_of[own.target][part.targets[first]]
            tables.append((np.full(len(part), number), part.sources[first], part.targets[first], part.bits, core))
            parts.append(part)
    columns = [np.concatenate(column).astype(np.int64) for column in zip(*tables, strict=True)]
    ends = np.cumsum([len(part) for part in parts])

    def made(site: int) -> tuple[Edit, ...]:
        at = int(np.searchsorted(ends, site, "right"))
        return (parts[at].edit(site - int(ends[at]) + len(parts[at])),)

    return Sites(names, dict(zip(COLUMNS, columns, strict=False)), MadeEdits(int(ends[-1]), made), tuple(parts))


def _stored(deployment: Deployment, connection: ChipConnection, kind: Kind) -> Iterator[SynapseSites]:
    """Yield every stored synapse of a connection, or every bit of it, the lowest bit first."""
    starts, sources, targets = _places(deployment, connection)
    width = connection.weight_bits
    none = np.full(len(starts) - 1, -1)
    if kind == "synapse_dead":
        yield SynapseSites(connection.name, starts, sources, targets, np.zeros(len(sources), np.int64), none)
        return
    if width > 8:
        raise UsageError(f"{title(connection)} is a {width}-bit reference that no chip stores: it has no stored bits")
    field = to_field(weights_and_delays(connection.synapses, sources, targets)[0], width, connection.sign_mode)
    for bit in range(width):
        values = from_field(field ^ (1 << bit), width, connection.sign_mode).astype(np.int64)
        yield SynapseSites(connection.name, starts, sources, targets, values, np.full(len(none), bit))


def _places(deployment: Deployment, connection: ChipConnection) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return int64: window of each stored synapse [k + 1], and source and target of each that reads it [m]. Words that nothing reads are left out.

    Those of a dense connection without a pool go by source, then target; of the others core by core, as the core stores them.
    """
    synapses = connection.synapses
    if isinstance(synapses, Dense) and pool_of(deployment, connection.name) == 1:
        sources, targets = (part.ravel().astype(np.int64) for part in np.indices((synapses.n_in, synapses.n_out)))
        return np.arange(len(sources) + 1), sources, targets
    which, read = [np.empty(0, np.int64)], [(np.empty(0, np.int64), np.empty(0, np.int64))]
    begin = 0
    for block in synapse_blocks(deployment, [connection.name]):
        own, *pair = synapses_at(deployment, block, np.arange(block.size))
        which.append(own + begin)
        read.append((pair[0], pair[1]))
        begin += block.size
    sites, (sources, targets) = np.concatenate(which), (np.concatenate(column) for column in zip(*read, strict=True))
    order = np.argsort(sites, kind="stable")
    _, first = np.unique(sites[order], return_index=True)
    return np.append(first, len(sites)).astype(np.int64), sources[order], targets[order]


def _connections(deployment: Deployment, layer: str) -> tuple[str, ...]:
    names = tuple(one.name for one in deployment.connections)
    if layer in names:
        return (layer,)
    try:
        chosen = set(populations_named(deployment, layer))
    except FaultError as error:
        if not_a_chain(deployment) is None:
            raise
        raise FaultError(f"{error}; connections: {', '.join(names)}") from None
    into = tuple(one.name for one in deployment.connections if one.target in chosen)
    if not into:
        raise UsageError(f"layer {layer!r} has no synapses")
    return into


def _columns(rows: Sequence[tuple[int, ...]]) -> dict[str, NDArray[np.int64]]:
    return dict(zip(COLUMNS, np.array(rows, np.int64).reshape(-1, 5).T, strict=False))
