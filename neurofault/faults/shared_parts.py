"""Faults of parts that several cores share: chips, boards, memories."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.broken import BrokenCore, BrokenMesh
from neurofault.damage.damage import Drop
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import topology
from neurofault.errors import FaultError
from neurofault.faults.base import Fault, Part
from neurofault.faults.communication import strike_mesh
from neurofault.faults.context import Context, FaultOutcome
from neurofault.faults.cores import silence
from neurofault.faults.flows import flows_of
from neurofault.faults.places import Block, neurons_by_core, stored_synapses
from neurofault.faults.region import chips_of_a_board
from neurofault.faults.sites import Ids
from neurofault.faults.spent import Earlier
from neurofault.graph.connectivity import fan_out


def _chosen(
    context: Context, fault: Fault, name: str, part_of: NDArray[np.int64], gone: Callable[[Earlier, NDArray[np.int64]], bool]
) -> Iterator[tuple[When, list[int]]]:
    """Choose parts.

    Args:
        context: where.
        fault: the model.
        name: what a part is called, for messages.
        part_of: int64 [cores], the part of each core.
        gone: says whether earlier damage leaves nothing to break at a part with these cores.
    """
    if fault.sites is not None:
        last = int(part_of.max())
        if beyond := [str(site) for site in fault.sites if site > last]:
            raise FaultError(f"no {name} {', '.join(beyond)}; {name} ids: 0 to {last}")
        for when, order in context.in_time(fault, np.array(fault.sites, np.int64)):
            yield when, order.tolist()
        return
    drawn_from = parts_in_use(context.deployment, part_of, context.populations(fault))
    blocks = [Block("", core, np.empty(0, np.int64), 1, part) for part, core in drawn_from.items()]

    def spent(earlier: Earlier, block: Block) -> NDArray[np.bool_]:
        return np.array([gone(earlier, np.flatnonzero(part_of == block.first))])

    for when, picked in context.choose(fault, blocks, gone=spent):
        yield when, [int(site) for _, sites in picked for site in sites]


def _all_cores(deployment: Deployment) -> NDArray[np.int64]:
    return np.arange(deployment.placement.chips * deployment.placement.cores_per_chip, dtype=np.int64)


@final
class BoardDead(Fault):
    """A board is dead: all its chips are, with their cores and routers; messages that would pass over it are lost or go round it."""

    kind: ClassVar[str] = "board_dead"
    site: ClassVar[str] = "boards in use"
    list_field: ClassVar[str] = "boards"
    equation: ClassVar[str] = "core_dead for every core of the board's chips, router_dead for every tile of them"
    mechanism: ClassVar[str] = "supply, clock or connector of a board lost; a board that is switched off"
    sources: ClassVar[tuple[str, ...]] = ("SpiNNaker spalloc: dead_boards", "Frady et al. 2020, NICE (24 boards of 32 chips)")
    neighbours: ClassVar[str] = "spalloc_server dead_boards"
    needs: ClassVar[Part | None] = "boards"

    boards: Ids | None = Field(default=None, description="ids of the boards, chip id // chips of a board")
    reroute: bool = Field(default=False, description="whether messages that only pass go round it; extra hops are charged")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _dead_parts(context, self, "board", self.reroute)


@final
class ChipDead(Fault):
    """A chip of several is dead, with its cores and routers; messages that would pass over it are lost or go round it."""

    kind: ClassVar[str] = "chip_dead"
    site: ClassVar[str] = "chips in use"
    list_field: ClassVar[str] = "chips"
    equation: ClassVar[str] = "core_dead for every core of the chip, router_dead for every tile of it"
    mechanism: ClassVar[str] = "supply, clock or reset of a chip lost; a chip that a machine's configuration leaves out"
    sources: ClassVar[tuple[str, ...]] = ("SpiNNMachine down_chips", "Brown et al. 2015, IEEE Trans. Comput. 64(7)")
    neighbours: ClassVar[str] = "SpiNNMachine down_chips"
    needs: ClassVar[Part | None] = "chips"

    chips: Ids | None = Field(default=None, description="ids of the chips")
    reroute: bool = Field(default=False, description="whether messages that only pass go round it; extra hops are charged")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        placement = context.deployment.placement
        used = np.unique(placement.used_cores // placement.cores_per_chip)
        if placement.chips == 1 or (self.sites is None and len(used) == 1):
            raise FaultError(
                f"the network sits on chip {used[0]} alone, and nothing is left where that dies; more chips: --chips N --place spread"
            )
        return _dead_parts(context, self, "chip", self.reroute)


def _dead_parts(context: Context, fault: BoardDead | ChipDead, name: str, reroute: bool) -> FaultOutcome:
    """Kill boards or chips: all their cores and routers."""
    out, deployment, grid = FaultOutcome(), context.deployment, topology(context.deployment)
    used = deployment.placement.used_cores
    part_of = parts_of(deployment, fault)

    def gone(earlier: Earlier, cores: NDArray[np.int64]) -> bool:
        return bool(np.isin(np.intersect1d(cores, used), list(earlier.dead_cores)).all())

    for when, parts in _chosen(context, fault, name, part_of, gone):
        out.name(f"{name} {part}" for part in parts)
        dead = np.flatnonzero(np.isin(part_of, parts))
        silence(context, out, when, np.intersect1d(dead, used).tolist())
        out.broken += [BrokenCore(core, "silent", when=when) for core in np.setdiff1d(dead, used).tolist()]
        if fault.when.kind in ("permanent", "death", "ageing"):
            out.dead_cores.update(dead.tolist())
        routers = _routers(deployment, dead)
        if routers and len(grid.routers()) > len(routers):
            passing = [flow for flow in flows_of(deployment) if not np.isin([flow.source, flow.block.core], dead).any()]
            strike_mesh(context, out, BrokenMesh(routers=routers, reroute=reroute, when=when), passing)
    return out


def _routers(deployment: Deployment, cores: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the tiles of all these cores; none where there are no routers."""
    grid = topology(deployment)
    if not grid.routers():
        return ()
    x, y = grid.tiles(cores)
    return tuple(f"{a},{b}" for a, b in sorted(set(zip(x.tolist(), y.tolist(), strict=True))))


@final
class MemoryDead(Fault):
    """A memory that cores share is dead: no synapse of theirs is read any more, their neurons stay."""

    kind: ClassVar[str] = "memory_dead"
    site: ClassVar[str] = "shared memories in use"
    list_field: ClassVar[str] = "memories"
    equation: ClassVar[str] = (
        "s_j = 0 for every neuron of every core that the memory serves: the row of a spike that arrives is never read"
    )
    mechanism: ClassVar[str] = "dead memory chip, its controller or its bus"
    sources: ClassVar[tuple[str, ...]] = (
        "Furber et al. 2014, Proc. IEEE 102(5) (synaptic rows in the SDRAM of each chip, read by DMA)",
    )
    needs: ClassVar[Part | None] = "shared_memory"

    memories: Ids | None = Field(default=None, description="ids of the memories, counted chip by chip in the order of their cores")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, deployment = FaultOutcome(), context.deployment
        part_of = parts_of(deployment, self)

        def gone(earlier: Earlier, cores: NDArray[np.int64]) -> bool:
            return any(isinstance(edit, Drop) and edit.core in cores and edit.probability >= 1 for edit in earlier.edits)

        for when, memories in _chosen(context, self, "memory", part_of, gone):
            out.name(f"memory {memory}" for memory in memories)
            self._cut(deployment, out, when, set(np.flatnonzero(np.isin(part_of, memories)).tolist()))
        return out

    def _cut(self, deployment: Deployment, out: FaultOutcome, when: When, cores: Collection[int]) -> None:
        for population in deployment.populations:
            for connection in deployment.into(population.name):
                for core, neurons in neurons_by_core(deployment, population.name).items():
                    if core not in cores:
                        continue
                    targets = np.zeros(population.size, bool)
                    targets[neurons] = True
                    sources = np.flatnonzero(fan_out(connection.synapses, targets)).astype(np.int64)
                    if sources.size:
                        out.edits.append(Drop(connection.name, core, sources, neurons, when=when))
                        out.cores.add(core)
                        out.count(out.synapses, connection.name, stored_synapses(deployment, connection.name, neurons))


def parts_of(deployment: Deployment, fault: BoardDead | ChipDead | MemoryDead) -> NDArray[np.int64]:
    """Return the board, the chip or the memory of each core: int64 [cores].

    Args:
        deployment: whose profile says how many chips or cores share one.
        fault: of which of them it is.
    """
    size, cores = deployment.placement.cores_per_chip, _all_cores(deployment)
    if isinstance(fault, ChipDead):
        return cores // size
    if isinstance(fault, BoardDead):
        return cores // (size * chips_of_a_board(deployment.profile))
    assert deployment.profile.shared_memory is not None
    each = deployment.profile.shared_memory.cores.known
    chip, local = np.divmod(cores, size)
    return np.asarray(chip * -(-size // each) + local // each)


def parts_in_use(deployment: Deployment, part_of: NDArray[np.int64], populations: Sequence[str]) -> dict[int, int]:
    """Return the parts that hold populations, sorted: part → its first core with neurons of theirs.

    Args:
        deployment: where they are placed.
        part_of: int64 [cores], the part of each core.
        populations: names, at least one.
    """
    cores = np.unique(np.concatenate([deployment.placement.cores_of(one) for one in populations]))
    parts, first = np.unique(part_of[cores], return_index=True)
    return {int(part): int(cores[at]) for part, at in zip(parts, first, strict=True)}
