"""Faults of communication: axon table entries, routers, links of the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.broken import BrokenMesh
from neurofault.damage.damage import Drop, SetSynapses
from neurofault.damage.fold import with_values
from neurofault.damage.stored import to_field
from neurofault.damage.when import When
from neurofault.deploy.links import Link
from neurofault.deploy.routing import Hexagon, Mesh, Topology, Tree, topology
from neurofault.errors import FaultError
from neurofault.faults.base import ConnectionFault, Fault, Part
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.flows import Flow, flows_of, link_text, strike
from neurofault.faults.places import Block, axon_blocks, axon_sources, key_of, target_blocks
from neurofault.faults.sites import Names, Pairs
from neurofault.faults.spent import Earlier
from neurofault.graph.connectivity import places
from neurofault.numerals import natural
from neurofault.streams import counter_hash, stream_key

_LINKS: Mapping[type[Topology], str] = {
    Mesh: '"x,y:E" (or W, N, S) for the way out of tile x,y of the mesh',
    Hexagon: '"x,y:E" (or NE, N, W, SW, S) for the way out of chip x,y, where there is one',
    Tree: '"x,y:U" for the way up from router x of level y, "x,y:D0" for that to its first child',
}
_AXONS = "nengo-loihi Axon tables; Davies et al. 2018, IEEE Micro 38(1)"
_MESH = "Davies et al. 2018, IEEE Micro 38(1) (dimension-order routing); SpiNNMachine down_links, repair_machine"


def _axons(context: Context, fault: Fault) -> Iterator[tuple[When, list[tuple[Block, NDArray[np.int64]]]]]:
    """Choose axon entries: for each destination block the source neurons."""
    if fault.sites is None:
        for when, picked in context.choose(fault, axon_blocks(context.deployment, context.connections(fault))):
            yield when, [(block, axon_sources(context.deployment, block)[sites]) for block, sites in picked]
        return
    blocks = {block.core: block for block in target_blocks(context.deployment, [context.one_connection(fault)])}
    rows = listed_array(fault.sites, 2)
    known = {core: axon_sources(context.deployment, block) for core, block in blocks.items()}
    for source, core in rows:
        if source not in known.get(int(core), ()):
            raise FaultError(f"no axon from neuron {source} to {fault.about} on core {core}")
    for when, order in context.in_time(fault, np.arange(len(rows))):
        part = rows[order]
        yield when, [(blocks[int(core)], np.sort(part[part[:, 1] == core, 0])) for core in np.unique(part[:, 1])]


def _note_axons(context: Context, out: FaultOutcome, block: Block, sources: NDArray[np.int64]) -> None:
    before = context.deployment.connection(block.connection).source
    homes = context.deployment.placement.core_of[before][sources]
    out.cores.update([block.core, *map(int, np.unique(homes))])
    out.count(out.neurons, before, len(sources))
    out.name(f"core {home}: {before}[{source}] → core {block.core}" for home, source in zip(homes, sources, strict=True))


@final
class AxonLost(ConnectionFault):
    """An axon table entry is lost: one neuron's spikes no longer reach one core."""

    kind: ClassVar[str] = "axon_lost"
    site: ClassVar[str] = "axon entries"
    list_field: ClassVar[str] = "axons"
    equation: ClassVar[str] = "s_j = 0 for all neurons of the destination core"
    mechanism: ClassVar[str] = "upset or defect in the valid bit or the core address of an axon table entry"
    sources: ClassVar[tuple[str, ...]] = (_AXONS,)

    axons: Pairs | None = Field(default=None, description="[source neuron, destination core] into the one layer that layer names")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out = FaultOutcome()
        for when, picked in _axons(context, self):
            for block, sources in picked:
                out.edits.append(Drop(block.connection, block.core, sources, block.neurons, when=when))
                _note_axons(context, out, block, sources)
        return out


def _reached(context: Context, block: Block, source: int) -> NDArray[np.int64]:
    """Return the neurons on a core that a source reaches."""
    synapses = context.deployment.connection(block.connection).synapses
    return block.neurons[places(synapses, np.full(len(block.neurons), source), block.neurons) >= 0]


def _redirected(context: Context, block: Block, source: int) -> NDArray[np.int64]:
    """Return the neurons on a core that other faults have let a source reach: a later entry takes them away."""
    return np.concatenate(
        [np.empty(0, np.int64)]
        + [
            edit.targets[(edit.sources == source) & np.isin(edit.targets, block.neurons)]
            for edit in context.deployment.damage.edits
            if isinstance(edit, SetSynapses)
            and edit.connection == block.connection
            and edit.of_sources is not None
            and edit.keep is not None
        ]
    )


@final
class AxonMisrouted(ConnectionFault):
    """An axon entry holds another axon's index: the core reads another source's synapses when this neuron fires."""

    kind: ClassVar[str] = "axon_misrouted"
    site: ClassVar[str] = "axon entries"
    list_field: ClassVar[str] = "axons"
    equation: ClassVar[str] = (
        "w_ij, d_ij ← w_ij', d_ij' as they are read, for all neurons i of the destination core, j' another source of it"
    )
    mechanism: ClassVar[str] = "upset in the axon index of an axon table entry"
    sources: ClassVar[tuple[str, ...]] = (_AXONS,)

    axons: Pairs | None = Field(default=None, description="[source neuron, destination core] into the one layer that layer names")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, key = FaultOutcome(), context.key(self, "other")
        for when, picked in _axons(context, self):
            for block, sources in picked:
                others = axon_sources(context.deployment, block)
                if len(others) < 2:
                    raise FaultError(f"core {block.core} has one axon into {self.about}: there is no other to take it for")
                own, number = context.deployment.connection(block.connection), key_of(context.deployment, key, block.connection)
                columns: list[NDArray[np.int64]] = [np.empty((3, 0), np.int64)]
                for source in map(int, sources):
                    place = int(np.searchsorted(others, source))
                    step = 1 + int(counter_hash(number, block.core, source)) % (len(others) - 1)
                    other = int(others[(place + step) % len(others)])
                    row = set(_reached(context, block, other).tolist())
                    targets = dict.fromkeys([*_reached(context, block, source), *_redirected(context, block, source), *sorted(row)])
                    columns.append(np.array([(source, int(to), other if to in row else -1) for to in targets], np.int64).T)
                from_, to, of = np.concatenate(columns, axis=1)
                none = np.zeros(len(of), np.int32)
                edit = SetSynapses(
                    own.name, from_, to, none, when, none, none, of_sources=of, of_targets=np.where(of < 0, -1, to)
                )  # fmt: skip
                earlier = context.deployment.damage.synapse_edits(own.name)
                edit = with_values(context.deployment, earlier, edit)
                held = to_field(edit.values, own.weight_bits, own.sign_mode).astype(np.int32)
                out.edits.append(replace(edit, force=held))
                _note_axons(context, out, block, sources)
        return out


def _used_links(context: Context, connections: Sequence[str]) -> list[Link]:
    grid = topology(context.deployment)
    used = {link for flow in flows_of(context.deployment, connections) for link in grid.path(flow.source, flow.block.core)}
    return sorted(used)


def _places(context: Context, fault: Fault, links: Sequence[Link]) -> Iterator[tuple[When, list[Link]]]:
    """Choose among links (or tiles, as links without a direction)."""
    grid = topology(context.deployment)
    blocks = [Block("", grid.core_at((link.x, link.y)), np.empty(0, np.int64), 1, index) for index, link in enumerate(links)]

    def gone(earlier: Earlier, block: Block) -> NDArray[np.bool_]:
        link, closed = (
            links[block.first],
            [place for place in earlier.broken if isinstance(place, BrokenMesh) and place.key is None],
        )
        if isinstance(fault, RouterDead):
            return np.array([any(f"{link.x},{link.y}" in place.routers for place in closed)])
        return np.array([any(link_text(link) in place.links for place in closed)])

    for when, picked in context.choose(fault, blocks, gone=gone):
        yield when, [links[int(site)] for _, sites in picked for site in sites]


def _listed_links(context: Context, fault: Fault) -> Iterator[tuple[When, list[Link]]]:
    grid = topology(context.deployment)
    names = {link_text(link): link for link in grid.links()}
    sites = fault.sites or ()
    for name in sites:
        if name.replace(" ", "") not in names:
            raise FaultError(f"no link {name!r}; write {_LINKS[type(grid)]}; {_range_of(grid)}")
    for when, order in context.in_time(fault, np.arange(len(sites))):
        yield when, [names[sites[at].replace(" ", "")] for at in order]


def _links(context: Context, fault: Fault) -> Iterator[tuple[When, list[Link]]]:
    if fault.sites is not None:
        return _listed_links(context, fault)
    return _places(context, fault, _used_links(context, context.connections(fault)))


def _in_force(groups: list[tuple[When, list[Link]]], reroute: bool) -> Iterator[tuple[When, list[Link]]]:
    """Yield what is closed together and when: a way round must avoid what failed earlier, and is sought anew when more fails.

    Only ageing makes more than one group; each begins later than the one before and lasts for good.
    """
    if not reroute:
        yield from groups
        return
    closed: list[Link] = []
    for index, (when, links) in enumerate(groups):
        closed = closed + links
        yield (when if index + 1 == len(groups) else replace(when, stop=groups[index + 1][0].start)), closed


def _text(link: Link) -> str:
    return f"link {link_text(link)}"


def strike_mesh(context: Context, out: FaultOutcome, broken: BrokenMesh, flows: Sequence[Flow] | None = None) -> None:
    """Add to ``out`` what broken links or routers do, after all that is broken already; ``flows``: those concerned (None: all)."""
    earlier = [place for hit in context.deployment.damage.hits for place in hit.broken if isinstance(place, BrokenMesh)]
    own = [place for place in out.broken if isinstance(place, BrokenMesh)]
    strike(context.deployment, out, broken, flows, [*earlier, *own])
    out.broken.append(broken)


@final
class LinkDead(ConnectionFault):
    """A link between two tiles is dead, both ways or one way; messages on it are lost or go round it."""

    kind: ClassVar[str] = "link_dead"
    needs: ClassVar[Part | None] = "links"
    site: ClassVar[str] = "used links"
    list_field: ClassVar[str] = "links"
    equation: ClassVar[str] = "s_j = 0 at the destination core of every flow whose XY route crosses the link"
    mechanism: ClassVar[str] = "open or short in the wires of a link, dead link driver"
    sources: ClassVar[tuple[str, ...]] = (_MESH,)
    neighbours: ClassVar[str] = "SpiNNMachine down_links"

    links: Names | None = Field(default=None, description='"x,y:E": the way out of tile x,y; E, W, N or S')
    direction: Literal["both", "one"] = Field(default="both", description="whether the opposite link is dead too")
    reroute: bool = Field(
        default=False, description="whether messages go round it, avoiding all that is closed; extra hops are charged"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = FaultOutcome(), list(_links(context, self))
        for _, links in groups:
            out.name(map(_text, links))
        for when, links in _in_force(groups, self.reroute):
            closed = {*links, *(map(topology(context.deployment).opposite, links) if self.direction == "both" else ())}
            strike_mesh(context, out, BrokenMesh(tuple(map(link_text, sorted(closed))), reroute=self.reroute, when=when))
        return out


@final
class LinkLossy(ConnectionFault):
    """A link loses messages at random."""

    kind: ClassVar[str] = "link_lossy"
    needs: ClassVar[Part | None] = "links"
    site: ClassVar[str] = "used links"
    list_field: ClassVar[str] = "links"
    equation: ClassVar[str] = "each message that crosses the link is lost with probability p"
    mechanism: ClassVar[str] = "marginal timing or noise on a link, buffer overflow"
    sources: ClassVar[tuple[str, ...]] = (_MESH, "Navaridas et al. 2013, Parallel Computing 39 (dropped packets)")

    links: Names | None = Field(default=None, description='"x,y:E": the way out of tile x,y; E, W, N or S')
    probability: float = Field(default=0.1, description="of each message to be lost", ge=0, le=1)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out = FaultOutcome()
        flows = flows_of(context.deployment)
        for when, links in _links(context, self):
            out.name(map(_text, links))
            for link in links if self.probability > 0 else []:
                key = stream_key(context.seed, self.kind, _text(link), context.draw)
                strike_mesh(context, out, BrokenMesh((link_text(link),), probability=self.probability, key=key, when=when), flows)
        return out


@final
class RouterDead(Fault):
    """The router of a tile is dead: its cores are cut off, also from each other, and messages through it are lost or go round it."""

    kind: ClassVar[str] = "router_dead"
    needs: ClassVar[Part | None] = "routers"
    site: ClassVar[str] = "routers of used tiles"
    list_field: ClassVar[str] = "routers"
    equation: ClassVar[str] = "s_j = 0 at the destination core of every flow that starts, ends or passes at the tile"
    mechanism: ClassVar[str] = "defect in the tile's router"
    sources: ClassVar[tuple[str, ...]] = (_MESH, "IBM US10454759 (TrueNorth router bypass)")
    neighbours: ClassVar[str] = "SpiNNMachine down_chips"

    routers: Names | None = Field(default=None, description='"x,y" of the tile')
    reroute: bool = Field(
        default=False,
        description="whether messages that only pass go round it, avoiding all that is closed; extra hops are charged",
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        deployment, grid, out = context.deployment, topology(context.deployment), FaultOutcome()
        groups = list(self._tiles(context, grid))
        for _, tiles in groups:
            out.name(f"router {tile.x},{tile.y}" for tile in tiles)
        for when, tiles in _in_force(groups, self.reroute):
            dead = {(tile.x, tile.y) for tile in tiles}
            used = deployment.placement.used_cores
            x, y = grid.tiles(used)
            out.cores.update(int(core) for core, a, b in zip(used, x, y, strict=True) if (int(a), int(b)) in dead)
            routers = tuple(f"{x},{y}" for x, y in sorted(dead))
            strike_mesh(context, out, BrokenMesh(routers=routers, reroute=self.reroute, when=when))
        return out

    def _tiles(self, context: Context, grid: Topology) -> Iterator[tuple[When, list[Link]]]:
        """Choose tiles, as links that point nowhere."""
        if self.sites is None:
            cores = np.unique(np.concatenate([context.deployment.placement.cores_of(name) for name in context.populations(self)]))
            x, y = grid.tiles(cores)
            tiles = sorted({Link(int(a), int(b), "E") for a, b in zip(x, y, strict=True)})
            yield from _places(context, self, tiles)
            return
        found = []
        for name in self.sites:
            column, row = (natural(part) for part in name.partition(",")[::2])
            if column is None or row is None or (column, row) not in grid.routers():
                raise FaultError(f'no router {name!r}; write "x,y", {_range_of(grid)}')
            found.append(Link(column, row, "E"))
        for when, order in context.in_time(self, np.arange(len(found))):
            yield when, [found[at] for at in order]


def _range_of(grid: Topology) -> str:
    """Return which routers there are, for messages."""
    match grid:
        case Mesh():
            return f"x 0 to {grid.columns * grid.chips - 1}, y 0 to {grid.rows - 1}"
        case Tree():
            return f"y the level, 0 to {len(grid.levels) - 1}, x 0 to {grid.levels[0] - 1} in level 0 and fewer above"
        case _:
            return f"one of the {len(grid.routers())} chips' places"
