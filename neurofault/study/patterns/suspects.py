"""Single faults that a dictionary knows: the sites of an atlas (cores, neurons, synapses, bits), and stored words, links and routers.

A fault of the last three kinds is what its model does to the healthy chip (:mod:`neurofault.faults`), site by site: every word that holds weights of the network, every
link (both ways) that a message crosses, every router of a tile in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from neurofault.damage.broken import BrokenMesh
from neurofault.damage.damage import Edit, SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.links import Link
from neurofault.deploy.routing import topology
from neurofault.errors import UsageError, nearest
from neurofault.faults.chip_places import check_chip
from neurofault.faults.communication import LinkDead, RouterDead
from neurofault.faults.context import FaultOutcome
from neurofault.faults.flows import Flow, flows_of, link_text, strike
from neurofault.faults.places import (
    Block,
    connections_into,
    first_runs,
    run_ranges,
    runs_of,
    synapse_blocks,
    synapses_at,
    word_synapses,
)
from neurofault.faults.plan import plan
from neurofault.faults.synapses import MemoryWordDead
from neurofault.study.atlas_sites import KINDS
from neurofault.study.patterns.fault_list import single_faults

PLACES = ("memory_word_dead", "link_dead", "router_dead")
SUSPECTED: tuple[str, ...] = (*KINDS, *PLACES)
"""Kinds of single faults that a dictionary can hold."""


@dataclass(frozen=True, eq=False)
class Suspects:
    """Single faults of one kind.

    Attributes:
        kind: its name.
        count: how many.
        of: number → what it is in words, what it does to the chip, and the cores that a repair would have to leave (none: leaving a core mends no such fault).
    """

    kind: str
    count: int
    of: Callable[[int], tuple[str, tuple[Edit, ...], tuple[int, ...]]]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[str, tuple[Edit, ...], tuple[int, ...]]]:
        return map(self.of, range(self.count))


def suspects(chip: Deployment, kinds: Sequence[str], layer: str = "any") -> list[Suspects]:
    """List every single fault of some kinds.

    Args:
        chip: healthy.
        kinds: of :data:`SUSPECTED`, at least one, each once.
        layer: whose: the name of a population (of links: whose incoming messages cross them); ``any``: all.

    Raises:
        UsageError: no such kind, none at all, one twice, or no such layer.
        FaultError: the chip has no such parts.
    """
    for name in kinds:
        if name not in SUSPECTED:
            raise UsageError(
                f"a dictionary has no faults of kind {name!r}{nearest(name, SUSPECTED)}; kinds: {', '.join(SUSPECTED)}"
            )
        if list(kinds).count(name) > 1:
            raise UsageError(f"kind {name!r} is named twice")
    if not kinds:
        raise UsageError(f"no kind of fault is named; kinds: {', '.join(SUSPECTED)}")
    return [_of_kind(chip, kind, layer) for kind in kinds]


def _of_kind(chip: Deployment, kind: str, layer: str) -> Suspects:
    if kind not in PLACES:
        return _of_atlas(chip, kind, layer)
    populations = [one.name for one in chip.populations]
    if layer not in ("any", *populations):
        raise UsageError(f"no layer {layer!r}; layers: {', '.join(populations)}{nearest(layer, populations)}")
    into = connections_into(chip, None if layer == "any" else [layer])
    match kind:
        case "memory_word_dead":
            return _words(chip, into)
        case "link_dead":
            return _links(chip, into)
    return _routers(chip, layer)


def _of_atlas(chip: Deployment, kind: str, layer: str) -> Suspects:
    listed = single_faults(chip, [kind], layer)
    core = listed.column("core")
    return Suspects(kind, len(listed), lambda at: (listed.says(at), listed.edits(at), (int(core[at]),)))


def _words(chip: Deployment, into: Sequence[str]) -> Suspects:
    plan(chip, [MemoryWordDead(count=1, layer="any")])  # refuses a chip without words
    first = first_runs(chip, lambda connection: word_synapses(chip, connection))
    held: list[tuple[Block, int]] = []
    for block in synapse_blocks(chip, into):
        held += [(block, run) for run in range(runs_of(chip, block, word_synapses(chip, block.connection)).size)]

    def of(at: int) -> tuple[str, tuple[Edit, ...], tuple[int, ...]]:
        block, run = held[at]
        low, high = (int(end[0]) for end in run_ranges(chip, block, word_synapses(chip, block.connection), np.array([run])))
        _, sources, targets = synapses_at(chip, block, np.arange(low, high))
        number = first[block.connection, block.core] + run
        dead = SetSynapses(block.connection, sources, targets, np.zeros(len(sources), np.int32))
        return f"memory_word_dead {block.connection} word {number} (core {block.core})", (dead,), (block.core,)

    return Suspects("memory_word_dead", len(held), of)


def _links(chip: Deployment, into: Sequence[str]) -> Suspects:
    check_chip(chip.profile, LinkDead(count=1))
    grid, crossing = topology(chip), dict[Link, list[Flow]]()
    for flow in flows_of(chip, into):
        for link in grid.path(flow.source, flow.block.core):
            crossing.setdefault(link, []).append(flow)
    found = [link for link in sorted(crossing) if not (grid.opposite(link) in crossing and grid.opposite(link) < link)]
    every = flows_of(chip)

    def of(at: int) -> tuple[str, tuple[Edit, ...], tuple[int, ...]]:
        both = tuple(sorted((found[at], grid.opposite(found[at]))))
        return f"link_dead {link_text(found[at])}", _struck(chip, BrokenMesh(tuple(map(link_text, both))), every), ()

    return Suspects("link_dead", len(found), of)


def _routers(chip: Deployment, layer: str) -> Suspects:
    check_chip(chip.profile, RouterDead(count=1))
    cores = chip.placement.used_cores if layer == "any" else chip.placement.cores_of(layer)
    tiles = sorted({(int(x), int(y)) for x, y in zip(*topology(chip).tiles(cores), strict=True)})
    every = flows_of(chip)

    def of(at: int) -> tuple[str, tuple[Edit, ...], tuple[int, ...]]:
        x, y = tiles[at]
        return f"router_dead {x},{y}", _struck(chip, BrokenMesh(routers=(f"{x},{y}",)), every), ()

    return Suspects("router_dead", len(tiles), of)


def _struck(chip: Deployment, broken: BrokenMesh, flows: Sequence[Flow]) -> tuple[Edit, ...]:
    out = FaultOutcome()
    strike(chip, out, broken, flows)
    return tuple(out.edits)
