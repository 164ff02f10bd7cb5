"""Where orphans go: which slices are served, and which spare core takes which slice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.resources import demand, limits, usage
from neurofault.deploy.routing import topology
from neurofault.deploy.spares import groups_of
from neurofault.errors import UsageError
from neurofault.faults.importance import neuron_scores
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import fan_out

Scores = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Piece:
    """Orphans that move together to one core.

    Attributes:
        core: id of the dead core that they sat on.
        neurons: population → int64 [k], sorted; no population without any.
        whole: whether these are all orphans of that core.
    """

    core: int
    neurons: Mapping[str, NDArray[np.int64]]
    whole: bool


def on_cores(deployment: Deployment, cores: Collection[int]) -> dict[str, NDArray[np.bool_]]:
    """Return population → bool [n]: neurons that sit on some cores."""
    return {name: np.isin(own, list(cores)) for name, own in deployment.placement.core_of.items()}


def reached_by_core(deployment: Deployment, connection: ChipConnection) -> dict[int, NDArray[np.bool_]]:
    """Return core id → bool [n_in]: which source neurons of a connection send to the target's neurons on this core."""
    core_of = deployment.placement.core_of[connection.target]
    return {int(core): fan_out(connection.synapses, core_of == core) > 0 for core in np.unique(core_of)}


def pieces(
    deployment: Deployment, orphans: Mapping[str, NDArray[np.bool_]], learning: Collection[str]
) -> tuple[list[Piece], list[Piece]]:
    """Cut the orphans into pieces that an empty core can hold: all of a dead core, or runs of one population where that is too much.

    Args:
        deployment: the chip.
        orphans: population → bool [n].
        learning: connections whose synapses learn.

    Returns:
        The pieces, and single neurons that no core can hold.
    """
    room, core_of = _Room.of(deployment, learning), deployment.placement.core_of
    found: list[Piece] = []
    too_big: list[Piece] = []
    cores = np.unique(np.concatenate([core_of[name][mask] for name, mask in orphans.items()]))
    for core in map(int, cores):
        here = {name: np.flatnonzero(own == core).astype(np.int64) for name, own in core_of.items()}
        neurons = {name: own for name, own in here.items() if own.size}
        if room.holds(neurons):
            found.append(Piece(core, neurons, True))
            continue
        for name, rest in neurons.items():
            while rest.size:
                run = room.longest_run(name, rest)
                piece = Piece(core, {name: rest[: max(1, run)]}, False)
                (found if run else too_big).append(piece)
                rest = rest[max(1, run) :]
    return found, too_big


@dataclass(frozen=True, eq=False)
class _Room:
    """What an empty core can hold.

    Attributes:
        deployment: the chip.
        learning: connections whose synapses learn.
        destinations: population → int64 [n]: cores that each neuron reaches, over each connection.
    """

    deployment: Deployment
    learning: Collection[str]
    destinations: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, deployment: Deployment, learning: Collection[str]) -> _Room:
        destinations = {one.name: np.zeros(one.size, np.int64) for one in deployment.populations}
        for connection in deployment.connections:
            for reached in reached_by_core(deployment, connection).values():
                destinations[connection.source] += reached
        return cls(deployment, learning, destinations)

    def holds(self, neurons: Mapping[str, NDArray[np.int64]]) -> bool:
        """Say whether these neurons meet every limit that the profile knows."""
        profile, used = self.deployment.profile, dict.fromkeys(("neurons", "synapse_bits", "in_axons", "out_axons"), 0)
        for population, own in neurons.items():
            used["neurons"] += len(own)
            used["out_axons"] += int(self.destinations[population][own].sum())
            mask = np.zeros(self.deployment.population(population).size, np.bool_)
            mask[own] = True
            for connection in self.deployment.into(population):
                need = demand(connection, mask, profile, connection.name in self.learning)
                used["synapse_bits"] += need.synapse_bits
                used["in_axons"] += need.in_axons
        return all(limit is None or used[name] <= limit for name, limit in limits(profile).items())

    def longest_run(self, population: str, neurons: NDArray[np.int64]) -> int:
        """Return how many of the first neurons of a population an empty core holds; more never take less of it."""
        low, high = 0, len(neurons)
        while low < high:
            middle = (low + high + 1) // 2
            if self.holds({population: neurons[:middle]} if middle else {}):
                low = middle
            else:
                high = middle - 1
        return low


def ranked(deployment: Deployment, found: Sequence[Piece], importance: Scores | None) -> list[Piece]:
    """Sort pieces by how much is lost without them: with outputs first, then hidden ones, then inputs; within these the most important.

    Args:
        deployment: the chip.
        found: the pieces.
        importance: population → [n]; None: by weights (``faults/importance.py``).
    """
    scores = {name: neuron_scores(deployment, name, importance) for piece in found for name in piece.neurons}

    def key(piece: Piece) -> tuple[int, float, int, int]:
        names = list(piece.neurons)
        role = 0 if deployment.output.name in names else 2 if all(deployment.population(name).is_source for name in names) else 1
        score = sum(float(scores[name][own].sum()) for name, own in piece.neurons.items())
        return role, -score, piece.core, int(piece.neurons[names[0]][0])

    return sorted(found, key=key)


def shared_out(
    deployment: Deployment, found: Sequence[Piece], free: NDArray[np.int64]
) -> list[tuple[list[Piece], NDArray[np.int64]]]:
    """Return the pieces, in their order, and the free spare cores that the placement's policy lets them have; a piece without any is in no group.

    Args:
        deployment: the chip.
        found: the pieces; one of several populations counts as of the one that it has most of.
        free: int64, ids of empty sound spare cores.
    """
    place = deployment.placement
    if place.spares_for == "all":
        return [(list(found), free)]
    if place.spares_for == "layer":
        owner: list[int | str] = [place.spare_layers[int(core)] for core in free]
        own: list[int | str] = [max(piece.neurons, key=lambda name: len(piece.neurons[name])) for piece in found]
    else:
        cores = np.array([*free, *(piece.core for piece in found)], np.int64)
        groups = groups_of(cores, place.spares_for, deployment.profile, place.chips).tolist()
        owner, own = groups[: len(free)], groups[len(free) :]
    return [
        ([piece for piece, its in zip(found, own, strict=True) if its == one], free[[its == one for its in owner]])
        for one in dict.fromkeys(own)
    ]


def assign(
    deployment: Deployment, served: Sequence[Piece], free: NDArray[np.int64], spikes: Scores | None, dead: Collection[int]
) -> list[int]:
    """Give each piece a core of its own so that messages take the fewest hops in all.

    Hops of a piece: each of its neurons' messages to the cores that it reaches, and each message that reaches the piece, once for each
    spike; steps from chip to chip count like others. Ends on cores that are left are left out. Where the mesh is not known, the first free cores are
    taken in order.

    Args:
        deployment: the chip.
        served: the pieces, at most as many as free cores.
        free: int64, ids of empty sound cores.
        spikes: population → [n], spikes of each neuron; None: one each.
        dead: ids of the cores that are left, and those known to be dead.
    """
    from scipy.optimize import linear_sum_assignment

    if not deployment.profile.joined:
        return [int(core) for core in free[: len(served)]]
    grid, hops = topology(deployment), np.zeros((len(served), len(free)))
    size = deployment.placement.chips * deployment.placement.cores_per_chip
    sound = np.ones(size)
    sound[list(dead)] = 0
    distance = grid.hops(np.arange(size)[:, None], free).total.astype(np.float64)
    weight = {one.name: _spikes(one, spikes) for one in deployment.populations}
    reached = {one.name: reached_by_core(deployment, one) for one in deployment.connections}
    for row, piece in enumerate(served):
        messages = np.zeros(size)
        for name, own in piece.neurons.items():
            mask = np.zeros(deployment.population(name).size, np.bool_)
            mask[own] = True
            for connection in deployment.into(name):
                senders = fan_out(connection.synapses, mask) > 0
                np.add.at(messages, deployment.placement.core_of[connection.source], weight[connection.source] * senders)
            for connection in deployment.out_of(name):
                for core, sends in reached[connection.name].items():
                    messages[core] += float((weight[name] * (sends & mask)).sum())
        hops[row] = (messages * sound) @ distance
    return [int(free[column]) for column in linear_sum_assignment(hops)[1]]


def _spikes(population: ChipPopulation, spikes: Scores | None) -> NDArray[np.float64]:
    if spikes is None:
        return np.ones(population.size)
    found = np.asarray(spikes.get(population.name), np.float64)
    if found.shape != (population.size,):
        raise UsageError(f"spikes of layer {population.name!r} must have {population.size} numbers, one a neuron")
    return found


def moved_to(placement: Placement, served: Sequence[Piece], cores: Sequence[int]) -> Placement:
    """Return the placement with each piece on its new core, which is spare no longer."""
    core_of = {name: own.copy() for name, own in placement.core_of.items()}
    for piece, core in zip(served, cores, strict=True):
        for name, neurons in piece.neurons.items():
            core_of[name][neurons] = core
    return replace(placement, core_of=core_of, spare_cores=tuple(core for core in placement.spare_cores if core not in cores))


def overflows(before: Deployment, after: Deployment, learning: Collection[str]) -> bool:
    """Say whether a core has more out-axons than it can hold that had enough before: a slice in pieces takes one for each piece."""
    limit = limits(after.profile)["out_axons"]
    if limit is None:
        return False
    was, now = usage(before, learning), usage(after, learning)
    return any(
        used > limit and was.of(int(core))["out_axons"][0] <= limit
        for core, used in zip(now.cores, now.used["out_axons"], strict=True)
    )
