"""Which core each neuron sits on: populations are cut into slices, one slice a core, and the slices are spread over the mesh.

A slice is a run of consecutive neurons (C, H, W order); one block is one core, as in nengo-loihi. How many out-axons a neuron needs
depends on the cut of the populations that it drives, so these are cut first; those of a loop again and again, finer each time, until all fit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Placement
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.resources import Resource, check_learning, demand, entries, limits, row_bits, shares_kernels, synapse_bits
from neurofault.deploy.routing import Mesh, Topology, machine_chips, topology_of
from neurofault.deploy.spares import Spares, kept_free, spares_of
from neurofault.deploy.whole import check_one_core, match
from neurofault.errors import CapacityError, UsageError, nearest
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import fan_in, fan_out
from neurofault.graph.schedule import Wiring
from neurofault.numerals import whole_number
from neurofault.streams import permutation_prefix, stream_key

Strategy = Literal["pack", "spread", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""``pack``: consecutive healthy cores from core 0; ``spread``: evenly over the mesh, consecutive slices far apart; ``random``."""

_MESH_STEP = ((math.sqrt(5) - 1) / 2, math.sqrt(2) - 1)
"""Steps along columns and rows of a two-dimensional Kronecker sequence (Niederreiter 1992, "Random Number Generation and
Quasi-Monte Carlo Methods"): each prefix covers columns and rows evenly, and consecutive points lie far apart."""


def place(
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    profile: HardwareProfile,
    *,
    strategy: str = "pack",
    neurons_per_core: int | None = None,
    spare_cores: int | str | Mapping[str, int] | Spares = 0,
    chips: int | None = None,
    seed: int = 0,
    learning: Collection[str] = (),
) -> Placement:
    """Give every neuron a core.

    Each population is cut into equal slices (the last may be smaller), as few as meet every limit that the profile knows. Slices
    go to healthy usable cores only, in the order of the populations. Spare cores lie evenly spaced among the healthy cores of all
    chips in use, so that a repair finds one near and a cluster of faults does not take all of them.

    Args:
        populations: of the network.
        connections: between them.
        profile: the chip; ids in its ``dead_cores`` count through the chips, as in :class:`Placement`.
        strategy: where the slices go, see :data:`STRATEGIES`.
        neurons_per_core: largest slice; slices are exactly this size (but the last) where the limits allow it. None: as
            large as the limits allow.
        spare_cores: healthy cores kept free for repair, at least 0, shared by all; or a policy (:func:`neurofault.deploy.spares.spares_of`): so many of each chip, tile or
            layer, for what sits there alone. Those of a layer follow it in the order of cores.
        chips: number of chips; None: the fewest that fit.
        seed: key of the ``random`` strategy; the first slices do not depend on how many there are.
        learning: names of connections that learn (their synapses store a tag, and may take more in-axons).

    Returns:
        The placement; with ``spread`` and ``random`` a slice's core is unrelated to its neighbours'.

    Raises:
        UsageError: an argument is out of range or ``strategy`` is unknown.
        CapacityError: a population or the network does not fit; the text says what needs how much and what to change.
    """
    seed = whole_number(seed, "seed")
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown placement strategy {strategy!r}{nearest(strategy, STRATEGIES)}: {', '.join(STRATEGIES)}")
    for name, value, least in (("neurons_per_core", neurons_per_core, 1), ("chips", chips, 1)):
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, is {value}")
    spares = spares_of(spare_cores)
    check_learning(connections, learning)
    if (machine := machine_chips(profile)) is not None:
        if chips not in (None, machine):
            raise UsageError(f"chips is {chips}, but {profile.name!r} is a machine of {machine} chips; leave chips out")
        chips = machine
    if not profile.cuts and neurons_per_core is not None:
        held = "the one core" if profile.one_core else "a core"
        what = "all of a network" if profile.one_core else "one whole population"
        raise UsageError(
            f"neurons_per_core is {neurons_per_core}, but {held} of {profile.name!r} holds {what}; leave neurons_per_core out"
        )
    if profile.one_core:
        return _on_one_core(populations, connections, profile, spares, strategy)
    sizes = slice_sizes(populations, connections, profile, neurons_per_core=neurons_per_core, learning=learning)
    if profile.core.layers is not None and spares.kept_for != "all":
        raise UsageError(
            f"spare_cores {spares}: cores of {profile.name!r} differ and hold one whole population each; allowed: a number"
        )
    own = spares.count if spares.kept_for == "layer" else 0
    cuts = [-(-one.size // sizes[one.name]) + own for one in populations]
    cores_per_chip = profile.chip.cores.known
    chips = 1 if profile.core.layers is not None else _chips_needed(populations, cuts, profile, spares, chips, neurons_per_core)
    healthy = healthy_cores(profile, chips)
    kept = kept_free(healthy, spares, profile, chips)
    free = np.setdiff1d(healthy, kept)
    match strategy:
        case "pack":
            order = free
        case "spread":
            order = _spread(free, topology_of(profile, chips))
        case _:
            order = free[
                permutation_prefix(
                    stream_key(seed, "placement"), len(free), sum(cuts) if profile.core.layers is None else len(free)
                )
            ]
    if profile.core.layers is not None:
        order = match(populations, connections, profile, profile.core.layers, order)
    first = np.concatenate([[0], np.cumsum(cuts)])
    layer_of = {
        int(core): one.name
        for one, end in zip(populations, first[1:].tolist(), strict=True)
        for core in (order[end - own : end] if own else ())
    }
    return Placement(
        chips=chips,
        cores_per_chip=cores_per_chip,
        core_of={
            one.name: order[start + np.arange(one.size) // sizes[one.name]].astype(np.int32)
            for one, start in zip(populations, first, strict=False)
        },
        spare_cores=tuple(sorted(layer_of)) if own else tuple(kept.tolist()),
        bad_cores=tuple(core for core in profile.dead_core_ids if core < chips * cores_per_chip),
        strategy=strategy,
        spares_for=spares.kept_for if spares.count else "all",
        spare_layers=layer_of,
    )


def _on_one_core(
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    profile: HardwareProfile,
    spares: Spares,
    strategy: str,
) -> Placement:
    """Return the only placement on a chip of one core, which all populations share."""
    if spares.count or not healthy_cores(profile, 1).size:
        raise CapacityError(
            f"the network does not fit: {profile.name!r} has one core, and none to spare; lower spare_cores ({spares})"
        )
    sources = {one.source for one in connections}
    check_one_core(populations, connections, profile, [one.name for one in populations if one.name not in sources])
    core = int(healthy_cores(profile, 1)[0])
    return Placement(
        1, profile.chip.cores.known, {one.name: np.full(one.size, core, np.int32) for one in populations}, strategy=strategy
    )


def slice_sizes(
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    profile: HardwareProfile,
    *,
    neurons_per_core: int | None = None,
    learning: Collection[str] = (),
) -> dict[str, int]:
    """Return for each population how many neurons a core holds: its last core may hold fewer.

    Args:
        populations: of the network.
        connections: between them.
        profile: the chip.
        neurons_per_core: as in :func:`place`.
        learning: as in :func:`place`.

    Raises:
        CapacityError: a single neuron of a population takes more than a core has.
    """
    if profile.core.layers is not None:
        return {one.name: one.size for one in populations}
    wiring = Wiring(tuple(populations), tuple(connections))
    most = limits(profile)["neurons"]
    sizes = {one.name: min(one.size, neurons_per_core or one.size, most or one.size) for one in populations}
    for island, loops in zip(reversed(wiring.schedule.islands), reversed(wiring.schedule.loops), strict=True):
        asked = {name for name in island if sizes[name] == neurons_per_core}
        moved = True
        while moved:
            moved = False
            for name in reversed(island):
                before = sizes[name]
                own = _Cut(wiring.population(name), wiring.into(name), wiring.out_of(name), profile, learning)
                destinations = own.destinations(sizes)
                own.check_single_neurons(destinations, neurons_per_core)
                sizes[name] = own.slice_size(before, name in asked, destinations)
                moved |= loops and sizes[name] != before
            asked = set(island)
    return {one.name: sizes[one.name] for one in populations}


@dataclass(frozen=True, eq=False)
class _Cut:
    """How a population may be cut.

    Attributes:
        population: the population.
        into, out_of: its connections.
        profile: the chip.
        learning: names of connections that learn.
    """

    population: ChipPopulation
    into: Sequence[ChipConnection]
    out_of: Sequence[ChipConnection]
    profile: HardwareProfile
    learning: Collection[str]

    def destinations(self, sizes: Mapping[str, int]) -> NDArray[np.int64]:
        """Return int64 [n]: how many slices each neuron reaches, over each of its connections, where populations are cut so."""
        found = np.zeros(self.population.size, np.int64)
        for connection in self.out_of:
            size, slices = connection.synapses.n_out, sizes[connection.target]
            for start in range(0, size, slices):
                found += fan_out(connection.synapses, _run(size, start, slices)) > 0
        return found

    def slice_size(self, most: int, asked: bool, destinations: NDArray[np.int64]) -> int:
        """Return the largest slice size, up to ``most``, of an equal cut of which every slice fits; single neurons are known to fit.

        ``asked``: ``most`` itself is good too, though the cut may be unequal.
        """
        if asked and self._fits(most, destinations):
            return most
        previous = 0
        for cuts in range(-(-self.population.size // most), self.population.size):
            size = -(-self.population.size // cuts)
            if size != previous and self._fits(size, destinations):
                return size
            previous = size
        return 1

    def _fits(self, size: int, destinations: NDArray[np.int64]) -> bool:
        """Say whether every slice of this size meets the limits; inner slices, which need most, are looked at first."""
        limit = limits(self.profile)
        starts = np.arange(0, self.population.size, size)
        if limit["out_axons"] is not None and np.add.reduceat(destinations, starts).max() > limit["out_axons"]:
            return False
        if not self.into or (limit["synapse_bits"] is None and limit["in_axons"] is None):
            return True
        for start in np.roll(starts, -(len(starts) // 2)):
            run = _run(self.population.size, int(start), size)
            needs = [demand(one, run, self.profile, one.name in self.learning) for one in self.into]
            for used, available in (
                (sum(need.synapse_bits for need in needs), limit["synapse_bits"]),
                (sum(need.in_axons for need in needs), limit["in_axons"]),
            ):
                if available is not None and used > available:
                    return False
        return True

    def check_single_neurons(self, destinations: NDArray[np.int64], neurons_per_core: int | None) -> None:
        """Refuse a population of which not even one neuron fits a core."""
        limit = limits(self.profile)
        needs: list[tuple[Resource, int, str]] = []
        if self.out_of:
            targets = " and ".join(repr(name) for name in dict.fromkeys(one.target for one in self.out_of))
            raised = f"raise neurons_per_core ({neurons_per_core})" if neurons_per_core else "shrink it"
            needs.append(("out_axons", int(destinations.max()), f"let {targets} take fewer cores: {raised}"))
        if self.into:
            axons = np.zeros(self.population.size, np.int64)
            memory = np.zeros(self.population.size, np.int64)
            for connection in self.into:
                learns = connection.name in self.learning
                inputs, bits = fan_in(connection.synapses), synapse_bits(connection, self.profile, learns)
                axons += inputs * entries(connection, self.profile, learns)
                if shares_kernels(connection, self.profile):
                    memory += row_bits(np.asarray(connection.synapses.weight[0].size), bits, self.profile)
                else:
                    memory += inputs * row_bits(np.asarray(1), bits, self.profile)
            needs += [
                ("in_axons", int(axons.max()), self._fewer_axons(limit["in_axons"])),
                ("synapse_bits", int(memory.max()), "give its neurons fewer inputs or its weights fewer bits"),
            ]
        for resource, used, change in needs:
            available = limit[resource]
            if available is not None and used > available:
                raise CapacityError(
                    f"population {self.population.name!r} does not fit: one neuron takes {used} {resource}, a core of {self.profile.name!r} has "
                    f"{available}; {change}, or use a profile with more core.{resource}"
                )

    def _fewer_axons(self, available: int | None) -> str:
        """Return what would make its neurons take fewer in-axons."""
        bits = max(one.weight_bits for one in self.into)
        if self.profile.synapse.format != "crossbar" or available is None:
            return "give its neurons fewer inputs"
        least = min(self.profile.synapse.weight_bits.known)
        fewer = f", or {available // least} with weight_bits {least}" if least < bits else ""
        return f"each source takes an axon for each of the {bits} bits of its weights: give its neurons at most {available // bits} sources{fewer}"


def _run(total: int, start: int, size: int) -> NDArray[np.bool_]:
    mask = np.zeros(total, bool)
    mask[start : start + size] = True
    return mask


def healthy_cores(profile: HardwareProfile, chips: int) -> NDArray[np.int64]:
    """Sorted ids of the usable cores of all chips that the profile does not list as dead."""
    cores = profile.chip.cores.known
    usable = (np.arange(chips)[:, None] * cores + np.array(profile.chip.local_ids)).reshape(-1)
    return np.setdiff1d(usable, profile.dead_core_ids)


def _chips_needed(
    populations: Sequence[ChipPopulation],
    cuts: Sequence[int],
    profile: HardwareProfile,
    spares: Spares,
    chips: int | None,
    neurons_per_core: int | None,
) -> int:
    """Return ``chips`` or the fewest that hold all slices and spare cores.

    Raises:
        CapacityError: they do not fit, or there cannot be so many chips.
    """
    most = profile.chip.max_chips.value
    if chips is not None and most is not None and chips > most:
        raise CapacityError(f"chips is {chips}, but at most {most} of {profile.name!r} can be joined; lower chips")
    count = chips or max(1, -(-(sum(cuts) + (spares.count if spares.kept_for == "all" else 0)) // profile.chip.usable))

    def needed(chips: int) -> int:
        shared = spares.count if spares.kept_for == "all" else len(kept_free(healthy_cores(profile, chips), spares, profile, chips))
        return sum(cuts) + shared

    while chips is None and len(healthy_cores(profile, count)) < needed(count) and (most is None or count < most):
        if spares.kept_for in ("chip", "tile") and not len(healthy_cores(profile, 1)) > needed(1) - sum(cuts):
            break  # every core of a chip is kept free
        count += 1
    count = count if most is None else min(count, most)
    available = len(healthy_cores(profile, count))
    if available >= needed(count):
        return count
    changes = [f"raise neurons_per_core ({neurons_per_core})"] if neurons_per_core else ["shrink the network"]
    if spares.count:
        changes.append(f"lower spare_cores ({spares})")
    if chips is not None and (most is None or chips < most):
        changes.append(f"raise chips ({chips}{'' if most is None else f', at most {most}'})")
    parts = ", ".join(f"{one.name} {cut}" for one, cut in zip(populations, cuts, strict=True))
    raise CapacityError(
        f"the network does not fit: it takes {needed(count)} cores ({parts}, spare {spares}), but {count} × {profile.name!r} offers "
        f"{available} healthy usable cores; {', '.join(changes)}, or use a profile with more chip.usable_cores"
    )


def _spread(free: NDArray[np.int64], grid: Topology) -> NDArray[np.int64]:
    """Order cores so that every prefix covers the tiles evenly and consecutive ones lie far apart."""
    x, y = grid.tiles(free)
    if isinstance(grid, Mesh):
        tile, visits = y * grid.columns * grid.chips + x, _mesh_visits(grid)
    else:
        tile = np.unique(np.stack([x, y]), axis=1, return_inverse=True)[1].reshape(-1)
        visits = np.argsort(np.argsort(np.arange(tile.max(initial=0) + 1) * _MESH_STEP[0] % 1.0))
    by_tile = np.argsort(tile, kind="stable")
    starts = np.searchsorted(tile[by_tile], tile)
    rank = np.empty(len(free), np.int64)
    rank[by_tile] = np.arange(len(free))
    order: NDArray[np.int64] = free[np.lexsort((visits[tile], rank - starts))]
    return order


def _mesh_visits(mesh: Mesh) -> NDArray[np.int64]:
    """Return when each tile of a mesh is visited first, counted row by row."""
    width, tiles = mesh.columns * mesh.chips, mesh.columns * mesh.chips * mesh.rows
    visits = np.empty(0, np.int64)
    points = 4 * tiles
    while len(visits) < tiles:
        walk = (0.5 + np.arange(points)[:, None] * np.array(_MESH_STEP)) % 1.0
        walked = (walk[:, 1] * mesh.rows).astype(np.int64) * width + (walk[:, 0] * width).astype(np.int64)
        visits = np.unique(walked, return_index=True)[1]
        points *= 2
    return visits
