"""Where orphans go: which slices are served, and which spare core takes which slice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import fan_out
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.resources import demand, limits, usage
from neurofault.deploy.routing import mesh
from neurofault.errors import UsageError
from neurofault.faults.importance import neuron_scores

Scores = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Piece:
    """Orphans that move together to one core.

    Attributes:
        core: id of the dead core that they sat on.
        neurons: for each layer, int64 [k], sorted.
        whole: whether these are all orphans of that core.
    """

    core: int
    neurons: tuple[NDArray[np.int64], ...]
    whole: bool

    @property
    def layers(self) -> list[int]:
        """Indices of the layers that it has neurons of."""
        return [layer for layer, neurons in enumerate(self.neurons) if neurons.size]


def on_cores(deployment: Deployment, cores: Collection[int]) -> tuple[NDArray[np.bool_], ...]:
    """Return for each layer bool [n]: neurons that sit on some cores."""
    return tuple(np.isin(core_of, list(cores)) for core_of in deployment.placement.core_of)


def reached_by_core(deployment: Deployment, layer: int) -> dict[int, NDArray[np.bool_]]:
    """Return core id → bool [n of the layer before]: which source neurons send to the layer's neurons on this core."""
    synapses, core_of = deployment.layers[layer].synapses, deployment.placement.core_of[layer]
    assert synapses is not None
    return {int(core): fan_out(synapses, core_of == core) > 0 for core in np.unique(core_of)}


def pieces(
    deployment: Deployment, orphans: Sequence[NDArray[np.bool_]], learning: Collection[int]
) -> tuple[list[Piece], list[Piece]]:
    """Cut the orphans into pieces that an empty core can hold: all of a dead core, or runs of one layer where that is too much.

    Args:
        deployment: the chip.
        orphans: for each layer bool [n].
        learning: layers whose synapses learn.

    Returns:
        The pieces, and single neurons that no core can hold.
    """
    room = _Room.of(deployment, learning)
    found: list[Piece] = []
    too_big: list[Piece] = []
    cores = np.unique(np.concatenate([core_of[mask] for core_of, mask in zip(deployment.placement.core_of, orphans, strict=True)]))
    for core in map(int, cores):
        neurons = tuple(np.flatnonzero(core_of == core).astype(np.int64) for core_of in deployment.placement.core_of)
        if room.holds(neurons):
            found.append(Piece(core, neurons, True))
            continue
        for layer, rest in enumerate(neurons):
            while rest.size:
                run = room.longest_run(layer, rest)
                piece = Piece(core, room.alone(layer, rest[: max(1, run)]), False)
                (found if run else too_big).append(piece)
                rest = rest[max(1, run) :]
    return found, too_big


@dataclass(frozen=True, eq=False)
class _Room:
    """What an empty core can hold.

    Attributes:
        deployment: the chip.
        learning: layers whose synapses learn.
        destinations: for each layer int64 [n]: cores that each neuron reaches.
    """

    deployment: Deployment
    learning: Collection[int]
    destinations: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, deployment: Deployment, learning: Collection[int]) -> _Room:
        destinations = [np.zeros(layer.size, np.int64) for layer in deployment.layers]
        for layer in range(1, len(deployment.layers)):
            for reached in reached_by_core(deployment, layer).values():
                destinations[layer - 1] += reached
        return cls(deployment, learning, tuple(destinations))

    def alone(self, layer: int, neurons: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Return neurons of one layer as neurons of each layer."""
        return tuple(neurons if index == layer else neurons[:0] for index in range(len(self.deployment.layers)))

    def holds(self, neurons: Sequence[NDArray[np.int64]]) -> bool:
        """Say whether these neurons meet every limit that the profile knows."""
        profile, used = self.deployment.profile, dict.fromkeys(("neurons", "synapse_bits", "in_axons", "out_axons"), 0)
        for layer, own in enumerate(neurons):
            if not own.size:
                continue
            used["neurons"] += len(own)
            used["out_axons"] += int(self.destinations[layer][own].sum())
            if layer:
                mask = np.zeros(self.deployment.layers[layer].size, bool)
                mask[own] = True
                need = demand(self.deployment.layers[layer], mask, profile, layer in self.learning)
                used["synapse_bits"] += need.synapse_bits
                used["in_axons"] += need.in_axons
        return all(limit is None or used[name] <= limit for name, limit in limits(profile).items())

    def longest_run(self, layer: int, neurons: NDArray[np.int64]) -> int:
        """Return how many of the first neurons an empty core holds; more never take less of it."""
        low, high = 0, len(neurons)
        while low < high:
            middle = (low + high + 1) // 2
            if self.holds(self.alone(layer, neurons[:middle])):
                low = middle
            else:
                high = middle - 1
        return low


def ranked(deployment: Deployment, found: Sequence[Piece], importance: Scores | None) -> list[Piece]:
    """Sort pieces by how much is lost without them: with outputs first, then hidden ones, then inputs; within these the most important.

    Args:
        deployment: the chip.
        found: the pieces.
        importance: layer name → [n]; None: by weights (``faults/importance.py``).
    """
    last = len(deployment.layers) - 1
    scores = {layer: neuron_scores(deployment, layer, importance) for piece in found for layer in piece.layers}

    def key(piece: Piece) -> tuple[int, float, int, int]:
        layers = piece.layers
        role = 0 if last in layers else 2 if layers == [0] else 1
        score = sum(float(scores[layer][piece.neurons[layer]].sum()) for layer in layers)
        return role, -score, piece.core, int(piece.neurons[layers[0]][0])

    return sorted(found, key=key)


def assign(deployment: Deployment, served: Sequence[Piece], free: NDArray[np.int64], spikes: Scores | None) -> list[int]:
    """Give each piece a core of its own so that messages take the fewest hops in all.

    Hops of a piece: each of its neurons' messages to the cores that it reaches, and each message that reaches the piece, once for each
    spike; steps from chip to chip count like others. Ends on dead cores are left out.

    Args:
        deployment: the chip.
        served: the pieces, at most as many as free cores.
        free: int64, ids of empty sound cores.
        spikes: layer name → [n], spikes of each neuron; None: one each.
    """
    from scipy.optimize import linear_sum_assignment

    grid, hops = mesh(deployment), np.zeros((len(served), len(free)))
    size = deployment.placement.chips * deployment.placement.cores_per_chip
    sound = np.ones(size)
    sound[list(deployment.damage.dead_cores)] = 0
    distance = grid.hops(np.arange(size)[:, None], free).total.astype(np.float64)
    weight = [_spikes(deployment, layer, spikes) for layer in range(len(deployment.layers))]
    reached = [reached_by_core(deployment, layer) if layer else {} for layer in range(len(deployment.layers))]
    for row, piece in enumerate(served):
        messages = np.zeros(size)
        for layer in piece.layers:
            mask = np.zeros(deployment.layers[layer].size, bool)
            mask[piece.neurons[layer]] = True
            if layer:
                synapses = deployment.layers[layer].synapses
                assert synapses is not None
                senders = fan_out(synapses, mask) > 0
                np.add.at(messages, deployment.placement.core_of[layer - 1], weight[layer - 1] * senders)
            for core, sends in reached[layer + 1].items() if layer + 1 < len(reached) else ():
                messages[core] += float((weight[layer] * (sends & mask)).sum())
        hops[row] = (messages * sound) @ distance
    return [int(free[column]) for column in linear_sum_assignment(hops)[1]]


def _spikes(deployment: Deployment, layer: int, spikes: Scores | None) -> NDArray[np.float64]:
    chip = deployment.layers[layer]
    if spikes is None:
        return np.ones(chip.size)
    found = np.asarray(spikes.get(chip.name), np.float64)
    if found.shape != (chip.size,):
        raise UsageError(f"spikes of layer {chip.name!r} must have {chip.size} numbers, one a neuron")
    return found


def moved_to(placement: Placement, served: Sequence[Piece], cores: Sequence[int]) -> Placement:
    """Return the placement with each piece on its new core, which is spare no longer."""
    core_of = tuple(own.copy() for own in placement.core_of)
    for piece, core in zip(served, cores, strict=True):
        for layer in piece.layers:
            core_of[layer][piece.neurons[layer]] = core
    return replace(placement, core_of=core_of, spare_cores=tuple(core for core in placement.spare_cores if core not in cores))


def overflows(before: Deployment, after: Deployment, learning: Collection[int]) -> bool:
    """Say whether a core has more out-axons than it can hold that had enough before: a slice in pieces takes one for each piece."""
    limit = limits(after.profile)["out_axons"]
    if limit is None:
        return False
    was, now = usage(before, learning), usage(after, learning)
    return any(
        used > limit and was.of(int(core))["out_axons"][0] <= limit
        for core, used in zip(now.cores, now.used["out_axons"], strict=True)
    )
