"""Remap: orphans, neurons that sat on dead cores, move to spare cores; nothing else moves, and messages follow.

What vendors do about bad cores (SpiNNaker blacklists, Brown et al. 2015; TrueNorth core availability bits, US patent 9992057; lava
issue #578), done to a network that is already placed. The slice of a dead core moves as a whole to one spare core; where that cannot
hold it, in runs of consecutive neurons to several. Which goes where minimises the hops of all messages to and from the slices, by
optimal assignment. With fewer spare cores than slices, slices with output neurons go first, then those with hidden ones, then inputs;
among equals the most important. Spare cores that are kept for a chip, tile or layer go to what sat there alone. With enough sound spare cores, every spike is as on the healthy chip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import check_learning, demand, stored_words
from neurofault.errors import UsageError
from neurofault.rescue.remap.damage import damage_after
from neurofault.rescue.remap.placing import (
    Piece,
    Scores,
    assign,
    moved_to,
    on_cores,
    overflows,
    pieces,
    ranked,
    reached_by_core,
    shared_out,
)

PARAMETERS = 4
"""Parameters that are written for each neuron: du, dv, vth and bias mantissa."""

STATUS_BYTES, AXON_BYTES, PARAMETER_BYTES = 8, 8, 4
"""What the host moves for a core's status, an axon table entry, a neuron parameter (our assumption: words of 64 and 32 bits)."""


@dataclass(frozen=True, eq=False)
class Move:
    """Neurons of one population that moved from a dead core to a spare one, with all connections into and out of them.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted.
        source, destination: ids of the dead core and of the core that took them.
    """

    population: str
    neurons: NDArray[np.int64]
    source: int
    destination: int


@dataclass(frozen=True, eq=False)
class Remapped:
    """A repaired chip and what the repair took.

    Attributes:
        deployment: the chip from the remap on; its healthy integers are those of before.
        moves: by dead core, then by population.
        left: population → int64 [k], sorted: orphans that could not be moved; no population without any.
        writes: stored synapse words written into the new cores (one for each synapse, or each shared kernel element of a core).
        axon_updates: entries written into axon tables: of each connection, in-axons of the new cores, one out-axon for each source neuron that
            lives and each new core that it reaches, and one for each core that a moved neuron reaches.
        parameters: neuron parameters written into the new cores.
        host_bytes: what the host moves to and from the chip, in bytes: the synapse memory of the new cores with headers and filling,
            axon entries, parameters, and the status of each core in use, read to find the dead ones (of none where the cores to be left are given). Where nothing moves: 0.
        notes: what else must be known.
    """

    deployment: Deployment
    moves: tuple[Move, ...]
    left: Mapping[str, NDArray[np.int64]]
    writes: int = 0
    axon_updates: int = 0
    parameters: int = 0
    host_bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def left_counts(self) -> dict[str, int]:
        """Population → number of orphans that could not be moved."""
        return {name: len(neurons) for name, neurons in self.left.items()}


def remap(
    deployment: Deployment,
    *,
    spikes: Scores | None = None,
    importance: Scores | None = None,
    learning: Collection[str] = (),
    cores: Collection[int] | None = None,
    avoid: Collection[int] = (),
) -> Remapped:
    """Move the neurons of dead cores, or of cores that somebody suspects, to spare cores.

    Cores that are dead for good count (``damage.dead_cores``), also those that die later (``when: death``, ``ageing``): the repaired
    chip is the one from the remap on, on which they are dead and empty. Dead and known-bad cores are never used. A spare core with
    broken memory, links or learning engine is used like any other: what is broken there, the moved neurons meet.

    With ``cores`` nobody is told what is dead: the neurons of these cores move, whether they are dead or sound, to spare cores of which no more is known than that they
    are listed and free. One that is dead takes them, and they are silent there.

    Args:
        deployment: a damaged chip that was deployed with spare cores.
        spikes: population → [n], spikes of each neuron (e.g. ``Activity.spike_counts`` of a healthy run), which weigh the hops; None:
            one spike each.
        importance: population → [n] score of each neuron, for who goes first where spare cores run out; None: by weights, see
            ``faults/importance.py``.
        learning: names of connections whose synapses learn; they take more of a core.
        cores: ids of the cores to be left; None: those that are dead.
        avoid: ids of spare cores that are not to be used.

    Raises:
        UsageError: neurons are orphaned and the placement keeps no spare cores, or the chip's cores hold whole populations, or it is protected; or ``spikes`` do not fit the populations.
        FaultError: ``importance`` does not fit the populations.
    """
    check_learning(deployment.connections, learning)
    if deployment.protection.reads_otherwise:
        raise UsageError(
            "remap moves stored weights away from their code words, ranges and orders of bits, and no new ones are made: remap the chip, then protect it"
        )
    placement = deployment.placement
    dead = deployment.damage.dead_cores if cores is None else tuple(sorted(set(cores)))
    alone = _left_alone(deployment) if cores is None else ()
    orphans = on_cores(deployment, dead)
    if not any(mask.any() for mask in orphans.values()):
        return Remapped(deployment, (), {}, notes=alone)
    if deployment.profile.core.layers is not None:
        raise UsageError(
            f"remap moves parts of populations to any spare core; cores of {deployment.profile.name!r} differ and hold one whole population "
            "each: list the dead cores in the profile (dead_cores) and deploy anew"
        )
    if not placement.spare_cores:
        died = sorted(set(dead) & set(placement.used_cores.tolist()))
        raise UsageError(
            f"no spare cores: neurons of {_cores(died)} have nowhere to move; deploy with spare_cores of at least {len(died)}"
        )
    free = np.setdiff1d(placement.spare_cores, [*dead, *avoid, *placement.bad_cores, *placement.used_cores.tolist()])
    found, too_big = pieces(deployment, orphans, learning)
    order = ranked(deployment, found, importance)
    while True:
        served, taken = list[Piece](), list[int]()
        for wanting, cores_there in shared_out(deployment, order, free):
            some = wanting[: len(cores_there)]
            served += some
            taken += assign(deployment, some, cores_there, spikes, dead) if some else []
        placed = replace(deployment, placement=moved_to(placement, served, taken))
        parts = [piece for piece in served if not piece.whole]
        if not parts or not overflows(deployment, placed, learning):
            break
        order.remove(parts[-1])
        too_big.append(parts[-1])
    gone = {one.name: np.isin(np.arange(one.size), _all(served, one.name)) for one in deployment.populations}
    repaired = placed.with_damage(damage_after(placed, gone, taken)) if served else deployment
    left = {
        name: np.flatnonzero(mask & ~gone[name]).astype(np.int64) for name, mask in orphans.items() if (mask & ~gone[name]).any()
    }
    order_of = {one.name: place for place, one in enumerate(deployment.populations)}
    return Remapped(
        repaired,
        tuple(sorted(_moves(served, taken), key=lambda move: (move.source, order_of[move.population]))),
        left,
        *_charge(repaired, gone, taken, learning, dead, len(placement.used_cores) if cores is None else 0),
        notes=(*_short(left, len(order) - len(served), order, free, too_big, deployment.placement.spares_for), *alone),
    )


def _all(served: Sequence[Piece], population: str) -> NDArray[np.int64]:
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *(piece.neurons.get(population, nothing) for piece in served)])


def _moves(served: Sequence[Piece], cores: Sequence[int]) -> list[Move]:
    return [
        Move(name, neurons, piece.core, core)
        for piece, core in zip(served, cores, strict=True)
        for name, neurons in piece.neurons.items()
    ]


def _charge(
    after: Deployment, moved: Mapping[str, NDArray[np.bool_]], taken: Sequence[int], learning: Collection[str], left: Collection[int], status: int
) -> tuple[int, int, int, int]:  # fmt: skip
    """Count written synapse words, axon entries and parameters, and the bytes that the host moves; ``left``: cores that nothing is written to, ``status``: those that are asked."""
    placement, profile = after.placement, after.profile
    dead = on_cores(after, left)
    writes = axons = bits = 0
    for connection in after.connections:
        cores, source = placement.cores_of(connection.target), connection.source
        writes += int(stored_words(after, connection.name)[np.isin(cores, taken)].sum())
        for core, senders in reached_by_core(after, connection).items():
            if core in taken:
                need = demand(connection, placement.core_of[connection.target] == core, profile, connection.name in learning)
                bits += need.synapse_bits
                axons += need.in_axons + int(np.count_nonzero(senders & ~dead[source]))
            elif core not in left:
                axons += int(np.count_nonzero(senders & moved[source]))
    parameters = PARAMETERS * sum(int(np.count_nonzero(mask)) for mask in moved.values())
    host = -(-bits // 8) + AXON_BYTES * axons + PARAMETER_BYTES * parameters + STATUS_BYTES * status
    return writes, axons, parameters, host


def _short(
    left: Mapping[str, NDArray[np.int64]],
    unserved: int,
    order: Sequence[Piece],
    free: NDArray[np.int64],
    too_big: Sequence[Piece],
    kept_for: str,
) -> list[str]:
    """Say why orphans are left."""
    notes = []
    if unserved:
        counts = ", ".join(f"{len(neurons)} of {name}" for name, neurons in left.items())
        whose = "" if kept_for == "all" else f", each kept for its {kept_for}"
        notes.append(f"{len(order)} slices, {len(free)} sound spare cores{whose}: left are {counts}")
    if too_big:
        cores = sorted({piece.core for piece in too_big})
        notes.append(
            f"some neurons of {_cores(cores)} fit no spare core, or would take too many out-axons of the cores before them"
        )
    return notes


def _left_alone(deployment: Deployment) -> tuple[str, ...]:
    """Name the cores in use that are out of order but not dead for good: they are not touched."""
    damage, used = deployment.damage, set(deployment.placement.used_cores.tolist())
    hit = {core for one in damage.hits if one.kind in ("core_dead", "core_hung") for core in one.cores}
    alone = sorted(hit & used - set(damage.dead_cores))
    return (f"{_cores(alone)}: not dead for good, left as they are",) if alone else ()


def _cores(cores: Sequence[int]) -> str:
    return f"core{'s' * (len(cores) != 1)} {', '.join(map(str, cores))}"
