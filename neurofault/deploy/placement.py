"""Which core each neuron sits on: layers are cut into slices, one slice a core, and the slices are spread over the mesh.

A slice is a run of consecutive neurons (C, H, W order); one block is one core, as in nengo-loihi. The output layer is cut first:
how many out-axons a neuron needs depends on the cut of the layer after it, never on that of the layer before.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import fan_in
from neurofault.deploy.deployment import ChipLayer, Placement
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.resources import Resource, check_learning, demand, limits, row_bits, shares_kernels, synapse_bits
from neurofault.deploy.routing import Mesh, mesh_of
from neurofault.errors import CapacityError, UsageError, nearest
from neurofault.streams import permutation_prefix, stream_key

Strategy = Literal["pack", "spread", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""``pack``: consecutive healthy cores from core 0; ``spread``: evenly over the mesh, consecutive slices far apart; ``random``."""

_MESH_STEP = ((math.sqrt(5) - 1) / 2, math.sqrt(2) - 1)
"""Steps along columns and rows of a two-dimensional Kronecker sequence (Niederreiter 1992, "Random Number Generation and
Quasi-Monte Carlo Methods"): each prefix covers columns and rows evenly, and consecutive points lie far apart."""


def place(
    layers: Sequence[ChipLayer],
    profile: HardwareProfile,
    *,
    strategy: str = "pack",
    neurons_per_core: int | None = None,
    spare_cores: int = 0,
    chips: int | None = None,
    seed: int = 0,
    learning: Collection[int] = (),
) -> Placement:
    """Give every neuron a core.

    Each layer is cut into equal slices (the last may be smaller), as few as meet every limit that the profile knows. Slices
    go to healthy usable cores only, in the order of the layers. Spare cores lie evenly spaced among the healthy cores of all
    chips in use, so that a repair finds one near and a cluster of faults does not take all of them.

    Args:
        layers: layer 0 is the input population.
        profile: the chip; ids in its ``dead_cores`` count through the chips, as in :class:`Placement`.
        strategy: where the slices go, see :data:`STRATEGIES`.
        neurons_per_core: largest slice; slices are exactly this size (but the last) where the limits allow it. None: as
            large as the limits allow.
        spare_cores: healthy cores kept free for repair, at least 0.
        chips: number of chips; None: the fewest that fit.
        seed: key of the ``random`` strategy; the first slices do not depend on how many there are.
        learning: indices of layers whose synapses learn (their synapses store a tag, and may take more in-axons).

    Returns:
        The placement; with ``spread`` and ``random`` a slice's core is unrelated to its neighbours'.

    Raises:
        UsageError: an argument is out of range or ``strategy`` is unknown.
        CapacityError: a layer or the network does not fit; the text says what needs how much and what to change.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown placement strategy {strategy!r}{nearest(strategy, STRATEGIES)}: {', '.join(STRATEGIES)}")
    for name, value, least in (("neurons_per_core", neurons_per_core, 1), ("spare_cores", spare_cores, 0), ("chips", chips, 1)):
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, is {value}")
    check_learning(layers, learning)
    sizes = slice_sizes(layers, profile, neurons_per_core=neurons_per_core, learning=learning)
    cuts = [-(-layer.size // size) for layer, size in zip(layers, sizes, strict=True)]
    cores_per_chip = profile.chip.cores.known
    chips = _chips_needed(layers, cuts, profile, spare_cores, chips, neurons_per_core)
    healthy = _healthy_cores(profile, chips)
    spares = healthy[(2 * np.arange(spare_cores) + 1) * len(healthy) // (2 * max(1, spare_cores))]
    free = np.setdiff1d(healthy, spares)
    match strategy:
        case "pack":
            order = free[: sum(cuts)]
        case "spread":
            order = _spread(free, mesh_of(profile, chips))[: sum(cuts)]
        case _:
            order = free[permutation_prefix(stream_key(seed, "placement"), len(free), sum(cuts))]
    first = np.concatenate([[0], np.cumsum(cuts)])
    return Placement(
        chips=chips,
        cores_per_chip=cores_per_chip,
        core_of=tuple(
            order[start + np.arange(layer.size) // size].astype(np.int32)
            for layer, size, start in zip(layers, sizes, first, strict=False)
        ),
        spare_cores=tuple(spares.tolist()),
        bad_cores=tuple(core for core in profile.dead_core_ids if core < chips * cores_per_chip),
        strategy=strategy,
    )


def slice_sizes(
    layers: Sequence[ChipLayer],
    profile: HardwareProfile,
    *,
    neurons_per_core: int | None = None,
    learning: Collection[int] = (),
) -> list[int]:
    """Return for each layer how many neurons a core holds: its last core may hold fewer.

    Args:
        layers: layer 0 is the input population.
        profile: the chip.
        neurons_per_core: as in :func:`place`.
        learning: as in :func:`place`.

    Raises:
        CapacityError: a single neuron of a layer takes more than a core has.
    """
    sizes: list[int] = []
    destinations: NDArray[np.int64] | None = None
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        if destinations is None:
            destinations = np.zeros(layer.size, np.int64)
        learns = index in learning
        _check_single_neurons(layer, profile, learns, destinations, neurons_per_core, layers[index + 1 : index + 2])
        sizes.append(_slice_size(layer, profile, neurons_per_core, learns, destinations))
        if layer.synapses is not None:
            destinations = np.zeros(layer.synapses.n_in, np.int64)
            for start in range(0, layer.size, sizes[-1]):
                destinations += demand(layer, _run(layer, start, sizes[-1]), profile, learns).fan_out > 0
    return sizes[::-1]


def _slice_size(
    layer: ChipLayer, profile: HardwareProfile, neurons_per_core: int | None, learns: bool, destinations: NDArray[np.int64]
) -> int:
    """Return the largest slice size of an equal cut of which every slice fits; single neurons are known to fit."""
    most = min(layer.size, neurons_per_core or layer.size, limits(profile)["neurons"] or layer.size)
    if neurons_per_core == most and _fits(layer, most, profile, learns, destinations):
        return most
    previous = 0
    for cuts in range(-(-layer.size // most), layer.size):
        size = -(-layer.size // cuts)
        if size != previous and _fits(layer, size, profile, learns, destinations):
            return size
        previous = size
    return 1


def _fits(layer: ChipLayer, size: int, profile: HardwareProfile, learns: bool, destinations: NDArray[np.int64]) -> bool:
    """Say whether every slice of this size meets the limits; inner slices, which need most, are looked at first."""
    limit = limits(profile)
    starts = np.arange(0, layer.size, size)
    if limit["out_axons"] is not None and np.add.reduceat(destinations, starts).max() > limit["out_axons"]:
        return False
    if layer.synapses is None or (limit["synapse_bits"] is None and limit["in_axons"] is None):
        return True
    for start in np.roll(starts, -(len(starts) // 2)):
        need = demand(layer, _run(layer, int(start), size), profile, learns)
        for used, available in ((need.synapse_bits, limit["synapse_bits"]), (need.in_axons, limit["in_axons"])):
            if available is not None and used > available:
                return False
    return True


def _run(layer: ChipLayer, start: int, size: int) -> NDArray[np.bool_]:
    mask = np.zeros(layer.size, bool)
    mask[start : start + size] = True
    return mask


def _check_single_neurons(
    layer: ChipLayer,
    profile: HardwareProfile,
    learns: bool,
    destinations: NDArray[np.int64],
    neurons_per_core: int | None,
    following: Sequence[ChipLayer],
) -> None:
    """Refuse a layer of which not even one neuron fits a core."""
    limit = limits(profile)
    needs: list[tuple[Resource, int, str]] = []
    for target in following:
        raised = f"raise neurons_per_core ({neurons_per_core})" if neurons_per_core else "shrink it"
        needs.append(("out_axons", int(destinations.max()), f"let layer {target.name!r} take fewer cores: {raised}"))
    if layer.synapses is not None:
        entries = (profile.learning.in_axons_per_connection.value or 1) if learns else 1
        inputs = int(fan_in(layer.synapses).max())
        bits = synapse_bits(layer, profile, learns)
        if shares_kernels(layer, profile):
            memory = int(row_bits(np.asarray(layer.synapses.weight[0].size), bits, profile))
        else:
            memory = inputs * int(row_bits(np.asarray(1), bits, profile))
        needs += [
            ("in_axons", inputs * entries, "give its neurons fewer inputs"),
            ("synapse_bits", memory, "give its neurons fewer inputs or its weights fewer bits"),
        ]
    for resource, used, change in needs:
        available = limit[resource]
        if available is not None and used > available:
            raise CapacityError(
                f"layer {layer.name!r} does not fit: one neuron takes {used} {resource}, a core of {profile.name!r} has "
                f"{available}; {change}, or use a profile with more core.{resource}"
            )


def _healthy_cores(profile: HardwareProfile, chips: int) -> NDArray[np.int64]:
    """Sorted ids of the usable cores of all chips that the profile does not list as dead."""
    cores = profile.chip.cores.known
    usable = (np.arange(chips)[:, None] * cores + np.arange(profile.chip.usable_cores.known)).reshape(-1)
    return np.setdiff1d(usable, profile.dead_core_ids)


def _chips_needed(
    layers: Sequence[ChipLayer],
    cuts: Sequence[int],
    profile: HardwareProfile,
    spare_cores: int,
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
    needed = sum(cuts) + spare_cores
    count = chips or max(1, -(-needed // profile.chip.usable_cores.known))
    while chips is None and len(_healthy_cores(profile, count)) < needed and (most is None or count < most):
        count += 1
    count = count if most is None else min(count, most)
    available = len(_healthy_cores(profile, count))
    if available >= needed:
        return count
    changes = [f"raise neurons_per_core ({neurons_per_core})"] if neurons_per_core else ["shrink the network"]
    if spare_cores:
        changes.append(f"lower spare_cores ({spare_cores})")
    if chips is not None and (most is None or chips < most):
        changes.append(f"raise chips ({chips}{'' if most is None else f', at most {most}'})")
    parts = ", ".join(f"{layer.name} {cut}" for layer, cut in zip(layers, cuts, strict=True))
    raise CapacityError(
        f"the network does not fit: it takes {needed} cores ({parts}, spare {spare_cores}), but {count} × {profile.name!r} offers "
        f"{available} healthy usable cores; {', '.join(changes)}, or use a profile with more chip.usable_cores"
    )


def _spread(free: NDArray[np.int64], mesh: Mesh) -> NDArray[np.int64]:
    """Order cores so that every prefix covers the mesh evenly and consecutive ones lie far apart."""
    width, tiles = mesh.columns * mesh.chips, mesh.columns * mesh.chips * mesh.rows
    visits = np.empty(0, np.int64)
    points = 4 * tiles
    while len(visits) < tiles:
        walk = (0.5 + np.arange(points)[:, None] * np.array(_MESH_STEP)) % 1.0
        walked = (walk[:, 1] * mesh.rows).astype(np.int64) * width + (walk[:, 0] * width).astype(np.int64)
        visits = np.unique(walked, return_index=True)[1]
        points *= 2
    x, y = mesh.tiles(free)
    tile = y * width + x
    by_tile = np.argsort(tile, kind="stable")
    starts = np.searchsorted(tile[by_tile], tile)
    rank = np.empty(len(free), np.int64)
    rank[by_tile] = np.arange(len(free))
    order: NDArray[np.int64] = free[np.lexsort((visits[tile], rank - starts))]
    return order
