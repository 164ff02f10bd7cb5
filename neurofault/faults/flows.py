"""Messages between cores, and what broken links and routers do to them: for one placement, worked out anew for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurofault.damage.broken import BrokenMesh
from neurofault.damage.damage import Detour, Drop
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.links import Link, Tile, shortest
from neurofault.deploy.routing import Topology, topology
from neurofault.faults.context import FaultOutcome
from neurofault.faults.places import Block, axon_sources, connections_into, key_of, target_blocks


@dataclass(frozen=True, eq=False)
class Flow:
    """Messages of a connection from one core to the neurons of its target on another.

    Attributes:
        source: id of the core that sends.
        block: the neurons that receive, and the connection.
    """

    source: int
    block: Block


def flows_of(deployment: Deployment, connections: Sequence[str] | None = None) -> list[Flow]:
    """Return every flow of some connections (None: all) that leaves its core."""
    flows = []
    for block in target_blocks(deployment, connections_into(deployment) if connections is None else connections):
        home = deployment.placement.core_of[deployment.connection(block.connection).source]
        flows += [Flow(int(core), block) for core in np.unique(home[axon_sources(deployment, block)]) if core != block.core]
    return flows


def link_text(link: Link) -> str:
    """Return ``"x,y:E"``."""
    return f"{link.x},{link.y}:{link.direction}"


def link_of(text: str) -> Link:
    """Return the link that :func:`link_text` wrote."""
    tile, _, direction = text.partition(":")
    x, _, y = tile.partition(",")
    return Link(int(x), int(y), direction)


_Ends = tuple[Tile, Tile]
"""The tiles (x, y) that a message leaves and reaches."""


@dataclass(frozen=True, eq=False)
class _Closed:
    """What does not pass in some steps, by any number of faults.

    Attributes:
        grid: the routers and their links.
        dead: tiles whose router is dead.
        links: every link that is closed, those of dead routers among them.
        round: of these, the ones that messages go round; the others take what crosses them.
    """

    grid: Topology
    dead: frozenset[tuple[int, int]]
    links: frozenset[Link]
    round: frozenset[Link]

    @classmethod
    def by(cls, grid: Topology, broken: Sequence[BrokenMesh]) -> _Closed:
        """Put together what some records close."""
        dead: set[tuple[int, int]] = set()
        links: set[Link] = set()
        taking: set[Link] = set()
        for each in broken:
            own, tiles = set(map(link_of, each.links)), {_tile_of(router) for router in each.routers}
            if tiles:
                own |= {link for link in grid.links() if (link.x, link.y) in tiles or grid.over(link) in tiles}
            dead |= tiles
            links |= own
            taking |= set() if each.reroute else own
        return cls(grid, frozenset(dead), frozenset(links), frozenset(links - taking))

    def concerns(self, ends: _Ends, direct: tuple[Link, ...]) -> bool:
        """Whether the direct way between two tiles is closed."""
        return not (self.links.isdisjoint(direct) and self.dead.isdisjoint(ends))

    def way(self, ends: _Ends, direct: tuple[Link, ...]) -> tuple[Link, ...] | None:
        """Return the links that a message between two tiles crosses; None: it is lost, also within a tile whose router is dead."""
        if not self.dead.isdisjoint(ends):
            return None
        shut = self.links.intersection(direct)
        if not shut:
            return direct
        return shortest(self.grid, *ends, self.links) if shut <= self.round else None


def _tile_of(router: str) -> tuple[int, int]:
    x, _, y = router.partition(",")
    return int(x), int(y)


def strike(
    deployment: Deployment,
    out: FaultOutcome,
    broken: BrokenMesh,
    flows: Sequence[Flow] | None = None,
    earlier: Sequence[BrokenMesh] = (),
) -> None:
    """Add to ``out`` what broken links or routers do to the messages of a placement: lost, lost by chance, or sent round.

    A message whose direct way is open goes there. One whose direct way crosses only links that faults with ``reroute`` closed takes the
    shortest way that avoids everything closed, whichever fault closed it; where there is none, or a fault without ``reroute`` closed its
    direct way, it is lost. What earlier faults did stays; the edits say what this one adds.

    Args:
        deployment: whose placement counts; its damage does not.
        out: takes the edits, the cores concerned, counts and notes.
        broken: what is broken.
        flows: all flows of the placement, where they are at hand.
        earlier: what broke before, in the same mesh.
    """
    grid = topology(deployment)
    flows = flows_of(deployment) if flows is None else flows
    known = [(flow, _ends(grid, flow), grid.path(flow.source, flow.block.core)) for flow in flows]
    shut = [each for each in earlier if each.key is None]
    turning = broken.reroute or any(each.reroute for each in shut)
    own, lost, counted = _Closed.by(grid, [broken]), set[tuple[int, int]](), set[tuple[str, int]]()
    if broken.key is None:
        gone = [flow for flow, ends, direct in known if own.concerns(ends, direct) and own.way(ends, direct) is None]
        _cut(deployment, out, broken, gone, counted)
        lost |= {(flow.source, flow.block.core) for flow in gone}
    for when in _pieces(broken.when, [each.when for each in shut] if turning else []):
        now, active = replace(broken, when=when), [each for each in shut if _meet(each.when, when)]
        before = _Closed.by(grid, active)
        if broken.key is not None:
            crossing = [flow for flow, ends, direct in known if not own.links.isdisjoint(before.way(ends, direct) or direct)]
            _cut(deployment, out, now, crossing, counted)
        elif turning:
            taken, detours = _turned(known, own, before, _Closed.by(grid, [*active, broken]))
            _cut(deployment, out, now, taken, counted)
            lost |= {(flow.source, flow.block.core) for flow in taken}
            if detours:
                sources, destinations, extra = np.array(sorted(detours), np.int64).T
                out.edits.append(Detour(sources, destinations, extra, when))
                out.notes.append(f"{len(extra)} flows go round it, {int(extra.sum())} extra hops")
    if lost:
        out.notes.append(f"{len(lost)} flows between cores are lost")


def _turned(
    known: Sequence[tuple[Flow, _Ends, tuple[Link, ...]]], own: _Closed, before: _Closed, after: _Closed
) -> tuple[list[Flow], set[tuple[int, int, int]]]:
    """Return the flows that a closure takes together with earlier ones, and (source, destination, extra hops) of those that turn."""
    taken, detours = [], set()
    for flow, ends, direct in known:
        concerned = own.concerns(ends, direct)
        if (concerned and own.way(ends, direct) is None) or not (concerned or before.concerns(ends, direct)):
            continue
        old, new = before.way(ends, direct), after.way(ends, direct)
        if old is not None and new is not None and (concerned or len(new) > len(old)):
            detours.add((flow.source, flow.block.core, len(new) - len(old)))
        elif new is None and (concerned or old is not None):
            taken.append(flow)
    return taken, detours


def _ends(grid: Topology, flow: Flow) -> _Ends:
    (x0, x1), (y0, y1) = (axis.tolist() for axis in grid.tiles(np.array([flow.source, flow.block.core])))
    return (x0, y0), (x1, y1)


def _meet(one: When, other: When) -> bool:
    """Whether two faults are active in a common step: exact without cycles and on one clock, else they are taken to be."""
    if one.always or other.always:
        return True
    if one.clock != other.clock or one.period is not None or other.period is not None:
        return True
    return (other.stop is None or one.start < other.stop) and (one.stop is None or other.start < one.stop)


def _pieces(when: When, others: Sequence[When]) -> list[When]:
    """Cut active steps where what else is closed may change: at the ends of windows without cycles on the same clock."""
    timed = [other for other in others if not other.always and other.period is None]
    if when.always and timed and all(other.clock == timed[0].clock for other in timed):
        when = When(clock=timed[0].clock) if timed[0].clock == "presentation" else When(1, clock="chip")
    if when.period is not None:
        return [when]
    ends = {end for other in timed if other.clock == when.clock for end in (other.start, other.stop) if end is not None}
    inner = sorted(end for end in ends if end > when.start and (when.stop is None or end < when.stop))
    return [replace(when, start=a, stop=b) for a, b in zip([when.start, *inner], [*inner, when.stop], strict=True)]


def _cut(
    deployment: Deployment, out: FaultOutcome, broken: BrokenMesh, lost: Sequence[Flow], counted: set[tuple[str, int]]
) -> None:
    """Lose the messages of some flows; neurons of (population, core) in ``counted`` are in the echo already."""
    together: dict[tuple[str, int], list[Flow]] = {}
    for flow in lost:
        together.setdefault((flow.block.connection, flow.block.core), []).append(flow)
    stored = connections_into(deployment)
    for name, core in sorted(together, key=lambda place: (stored.index(place[0]), place[1])):
        flows, block = together[name, core], together[name, core][0].block
        home = deployment.placement.core_of[deployment.connection(name).source]
        sources = np.flatnonzero(np.isin(home, [flow.source for flow in flows])).astype(np.int64)
        key = 0 if broken.key is None else key_of(deployment, broken.key, name)
        out.edits.append(Drop(name, core, sources, block.neurons, broken.probability, key, broken.when))
        out.cores.update([core, *(flow.source for flow in flows)])
        if (block.population, core) not in counted:
            out.count(out.neurons, block.population, len(block.neurons))
            counted.add((block.population, core))
