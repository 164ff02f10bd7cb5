"""Messages between cores, and what broken links and routers do to them: for one placement, worked out anew for another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from neurofault.deploy.broken import BrokenMesh
from neurofault.deploy.damage import Detour, Drop
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import Direction, Link, Mesh, mesh
from neurofault.faults.context import Outcome
from neurofault.faults.places import Block, axon_sources, neuron_blocks

_MOVES = {"E": (1, 0), "W": (-1, 0), "N": (0, -1), "S": (0, 1)}
_BACK = {"E": "W", "W": "E", "N": "S", "S": "N"}


@dataclass(frozen=True, eq=False)
class Flow:
    """Messages from one core to the neurons of a layer on another.

    Attributes:
        layer: index of the target layer.
        source: id of the core that sends.
        block: the neurons that receive.
    """

    layer: int
    source: int
    block: Block


def flows_into(deployment: Deployment, layers: Sequence[int]) -> list[Flow]:
    """Return every flow into some layers that leaves its core."""
    flows = []
    for block in neuron_blocks(deployment, [layer for layer in layers if layer > 0]):
        cores = np.unique(deployment.placement.core_of[block.layer - 1][axon_sources(deployment, block)])
        flows += [Flow(block.layer, int(core), block) for core in cores if core != block.core]
    return flows


def opposite(link: Link) -> Link:
    """Return the link back."""
    dx, dy = _MOVES[link.direction]
    return Link(link.x + dx, link.y + dy, cast(Direction, _BACK[link.direction]))


def link_text(link: Link) -> str:
    """Return ``"x,y:E"``."""
    return f"{link.x},{link.y}:{link.direction}"


def link_of(text: str) -> Link:
    """Return the link that :func:`link_text` wrote."""
    tile, _, direction = text.partition(":")
    x, _, y = tile.partition(",")
    return Link(int(x), int(y), cast(Direction, direction))


def strike(deployment: Deployment, out: Outcome, broken: BrokenMesh, flows: Sequence[Flow] | None = None) -> None:
    """Add to ``out`` what broken links or routers do to the messages of a placement: lost, lost by chance, or sent round.

    Args:
        deployment: whose placement counts; its damage does not.
        out: takes the edits, the cores concerned, counts and notes.
        broken: what is broken.
        flows: all flows of the placement, where they are at hand.
    """
    grid = mesh(deployment)
    flows = flows_into(deployment, range(1, len(deployment.layers))) if flows is None else flows
    links = set(map(link_of, broken.links))
    if broken.key is not None:
        _cut(deployment, out, broken, [flow for flow in flows if not links.isdisjoint(grid.path(flow.source, flow.block.core))])
        return
    dead = {tuple(map(int, router.split(","))) for router in broken.routers}
    if dead:
        links |= {link for link in grid.links() if (link.x, link.y) in dead or opposite(link)[:2] in dead}
    lost, detours = [], []
    for flow in flows:
        path = grid.path(flow.source, flow.block.core)
        x, y = grid.tiles(np.array([flow.source, flow.block.core]))
        ends = set(zip(x.tolist(), y.tolist(), strict=True))
        if links.isdisjoint(path) and dead.isdisjoint(ends):
            continue
        length = _around(grid, flow, links) if broken.reroute else None
        if length is None:
            lost.append(flow)
        else:
            detours.append((flow.source, flow.block.core, length - len(path)))
    _cut(deployment, out, broken, lost)
    if detours:
        sources, destinations, extra = np.array(sorted(set(detours)), np.int64).T
        out.edits.append(Detour(sources, destinations, extra, broken.when))
        out.notes.append(f"{len(extra)} flows go round it, {int(extra.sum())} extra hops")
    if lost:
        out.notes.append(f"{len({(flow.source, flow.block.core) for flow in lost})} flows between cores are lost")


def _around(grid: Mesh, flow: Flow, closed: set[Link]) -> int | None:
    """Return the length of the shortest way that avoids closed links; None if there is none."""
    (x0, x1), (y0, y1) = (axis.tolist() for axis in grid.tiles(np.array([flow.source, flow.block.core])))
    reached, queue = {(x0, y0)}, deque([((x0, y0), 0)])
    while queue:
        (x, y), length = queue.popleft()
        if (x, y) == (x1, y1):
            return length
        for direction, (dx, dy) in _MOVES.items():
            there = (x + dx, y + dy)
            inside = 0 <= there[0] < grid.columns * grid.chips and 0 <= there[1] < grid.rows
            if inside and there not in reached and Link(x, y, cast(Direction, direction)) not in closed:
                reached.add(there)
                queue.append((there, length + 1))
    return None


def _cut(deployment: Deployment, out: Outcome, broken: BrokenMesh, lost: Sequence[Flow]) -> None:
    """Lose the messages of some flows."""
    together: dict[tuple[int, int], list[Flow]] = {}
    for flow in lost:
        together.setdefault((flow.layer, flow.block.core), []).append(flow)
    for (layer, core), flows in sorted(together.items()):
        home = deployment.placement.core_of[layer - 1]
        sources = np.flatnonzero(np.isin(home, [flow.source for flow in flows])).astype(np.int64)
        out.edits.append(Drop(layer, core, sources, flows[0].block.neurons, broken.probability, broken.key or 0, broken.when))
        out.cores.update([core, *(flow.source for flow in flows)])
        out.count(out.neurons, deployment.layers[layer].name, len(flows[0].block.neurons))
