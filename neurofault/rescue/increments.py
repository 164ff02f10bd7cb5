"""Damage that comes in steps: what is broken, cut into equal parts that strike one after the other.

The parts together are the whole damage, so iterative and batch repair end on the same mask. Sites are dealt out in the order of a
keyed permutation (the founding paper's stochastic sequence): dead cores core by core, links and routers one by one (a link with the way back where
both are broken), other neurons and synapses one by one; an edit that has no single sites (noise) strikes as a whole, and so do links that age.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.broken import BrokenMesh
from neurofault.damage.damage import Damage, Detour, Drop, Edit, Hit, SetSynapses, Silence
from neurofault.damage.edits import sites
from neurofault.damage.fold import with_values
from neurofault.damage.stored import to_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.links import Link
from neurofault.deploy.memory import stored_weights
from neurofault.deploy.routing import Topology, topology
from neurofault.errors import UsageError
from neurofault.faults.context import FaultOutcome
from neurofault.faults.flows import link_of
from neurofault.faults.flows import strike as strike_mesh
from neurofault.graph import Dense
from neurofault.numerals import whole_number
from neurofault.streams import permutation_prefix, stream_key


@dataclass(frozen=True, eq=False)
class DamagePart:
    """What strikes in one step.

    Attributes:
        faults: (edits, hit, dead cores) of each fault that has something left for this step. The edits of links and routers are worked out when they
            strike, for neurons may have moved by then; until then ``hit.broken`` says which they are.
    """

    faults: tuple[tuple[tuple[Edit, ...], Hit, tuple[int, ...]], ...]


def increments(deployment: Deployment, steps: int, *, seed: int = 0) -> tuple[DamagePart, ...]:
    """Cut the damage of a deployment into parts.

    Args:
        deployment: the damaged chip.
        steps: number of parts, at least 1; one that has more steps than sites leaves some empty.
        seed: of the order.

    Raises:
        UsageError: fewer than one step, or damage that no fault stands behind.
    """
    seed, steps = whole_number(seed, "seed"), whole_number(steps, "steps")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, is {steps}")
    damage = deployment.damage
    if sum(hit.n_edits for hit in damage.hits) != len(damage.edits):
        raise UsageError("this damage was not made by faults (Damage.plus), so it cannot be cut into steps")
    parts: list[list[tuple[tuple[Edit, ...], Hit, tuple[int, ...]]]] = [[] for _ in range(steps)]
    first = 0
    for number, hit in enumerate(damage.hits):
        own = [
            _as_flips(deployment.with_damage(Damage(damage.edits[:position])), damage.edits[position])
            for position in range(first, first + hit.n_edits)
        ]
        first += hit.n_edits
        for step, found in enumerate(_cut(deployment, own, hit, steps, seed, number)):
            if found[0] or found[2] or (found[1].broken and (not step or _closed(hit, own))):
                parts[step].append(found)
    return tuple(DamagePart(tuple(part)) for part in parts)


def _cut(
    deployment: Deployment, own: Sequence[Edit], hit: Hit, steps: int, seed: int, number: int
) -> list[tuple[tuple[Edit, ...], Hit, tuple[int, ...]]]:
    """Deal one fault out."""
    if closed := _closed(hit, own):
        return [
            ((), replace(hit, broken=places), ()) for places in _places_by_step(topology(deployment), closed, steps, seed, number)
        ]
    turn_of_core = dict(zip(_shuffled(hit.dead_cores, seed, number), _turns(len(hit.dead_cores), steps), strict=True))
    dealt: list[list[Edit]] = [[] for _ in range(steps)]
    for position, edit in enumerate(own):
        count = sites(edit)
        if count is None:
            dealt[0].append(edit)
            continue
        if turn_of_core and isinstance(edit, Silence):
            cores = deployment.placement.core_of[edit.population][edit.neurons].tolist()
            turns = np.array([turn_of_core.get(core, 0) for core in cores], np.int64)
        else:
            turns = np.empty(count, np.int64)
            turns[permutation_prefix(stream_key(seed, "increments", number, position), count, count)] = _turns(count, steps)
        for step in range(steps):
            if (turns == step).any():
                dealt[step].append(only(edit, turns == step))
    cores_of = [tuple(sorted(core for core, turn in turn_of_core.items() if turn == step)) for step in range(steps)]
    return [(tuple(dealt[step]), replace(hit, cores=cores_of[step] or hit.cores), cores_of[step]) for step in range(steps)]


def _closed(hit: Hit, own: Sequence[Edit]) -> tuple[BrokenMesh, ...]:
    """Return the links and routers that a fault breaks, where it breaks nothing else and all of them at the same times; else nothing."""
    mesh = tuple(place for place in hit.broken if isinstance(place, BrokenMesh))
    alone = len(mesh) == len(hit.broken) and not hit.dead_cores and all(isinstance(edit, Drop | Detour) for edit in own)
    return mesh if alone and len({place.when for place in mesh}) == 1 else ()


def _places_by_step(
    grid: Topology, closed: Sequence[BrokenMesh], steps: int, seed: int, number: int
) -> list[tuple[BrokenMesh, ...]]:
    """Deal links and routers out one by one; what breaks in the same step and takes every message is one record."""
    places = [place for each in closed for place in _singly(grid, each)]
    turns = np.empty(len(places), np.int64)
    turns[permutation_prefix(stream_key(seed, "increments", number, "mesh"), len(places), len(places))] = _turns(len(places), steps)
    dealt = []
    for step in range(steps):
        own = [place for place, turn in zip(places, turns, strict=True) if turn == step]
        lossy, shut = ([place for place in own if (place.key is None) == dead] for dead in (False, True))
        links, routers = (tuple(sorted(text for place in shut for text in getattr(place, name))) for name in ("links", "routers"))
        dealt.append((*(replace(place, links=links, routers=routers) for place in shut[:1]), *lossy))
    return dealt


def _singly(grid: Topology, closed: BrokenMesh) -> list[BrokenMesh]:
    """Return what a record closes, one link (with the way back) or router a record."""
    wires: dict[frozenset[Link], list[str]] = {}
    for text in closed.links:
        link = link_of(text)
        wires.setdefault(frozenset((link, grid.opposite(link))), []).append(text)
    links = [replace(closed, links=tuple(own), routers=()) for own in wires.values()]
    return [*links, *(replace(closed, links=(), routers=(router,)) for router in closed.routers)]


def _shuffled(cores: Sequence[int], seed: int, number: int) -> list[int]:
    if not cores:
        return []
    return [cores[at] for at in permutation_prefix(stream_key(seed, "increments", number, "cores"), len(cores), len(cores))]


def _turns(sites: int, steps: int) -> NDArray[np.int64]:
    """Return the step in which each of so many sites strikes: equal parts, the earlier ones larger where they cannot be equal."""
    return np.sort(np.arange(sites) % steps)


def strike(deployment: Deployment, part: DamagePart) -> Deployment:
    """Let a part of the damage happen to a chip that may have learned since.

    Broken synapses act on the bits that are stored now: stuck bits force themselves on them, upsets flip the bits that they flipped on
    the chip on which the damage was worked out. Links and routers take the messages of the neurons where these sit now.

    Args:
        deployment: the chip as it is.
        part: one of :func:`increments`.
    """
    damage = deployment.damage
    for edits, hit, dead_cores in part.faults:
        now: list[Edit] = []
        if closed := _closed(hit, edits):
            now, hit = _mesh_strikes(deployment.with_damage(damage), hit, closed)
        for edit in edits:
            present = deployment.with_damage(replace(damage, edits=(*damage.edits, *now)))
            now.append(_on_present(present, edit))
        damage = damage.plus(now, hit, dead_cores)
    return deployment.with_damage(damage)


def _mesh_strikes(deployment: Deployment, hit: Hit, closed: Sequence[BrokenMesh]) -> tuple[list[Edit], Hit]:
    """Return the edits of links and routers that break on the chip as it is, and their echo."""
    out = FaultOutcome()
    earlier = [place for each in deployment.damage.hits for place in each.broken if isinstance(place, BrokenMesh)]
    for number, place in enumerate(closed):
        strike_mesh(deployment, out, place, earlier=[*earlier, *closed[:number]])
    notes = (*out.notes, *(note for note in hit.notes if note.startswith("acts: ")))
    return out.edits, replace(hit, cores=tuple(sorted(out.cores)), neurons=out.neurons, notes=notes)


def _as_flips(before: Deployment, edit: Edit) -> Edit:
    """Return a permanent edit of dense synapses that sets what is stored with the bits that it flips in the place of what it leaves."""
    if not isinstance(edit, SetSynapses) or not _learnable(before, edit):
        return edit
    connection = before.connection(edit.connection)
    bits, mode = connection.weight_bits, connection.sign_mode
    held = to_field(stored_weights(before, edit.connection)[edit.targets, edit.sources], bits, mode)
    return replace(edit, flips=(held ^ to_field(edit.values, bits, mode)).astype(np.int32))


def _on_present(deployment: Deployment, edit: Edit) -> Edit:
    """Return an edit of synapses with the weights that it leaves on the chip as it is now."""
    if not isinstance(edit, SetSynapses):
        return edit
    return with_values(deployment, deployment.damage.synapse_edits(edit.connection), edit)


def _learnable(deployment: Deployment, edit: SetSynapses) -> bool:
    """Whether an edit sets dense synapses for good; others never learn, so theirs stay as they are."""
    says = (edit.keep, edit.flips, edit.factor, edit.of_sources)
    dense = isinstance(deployment.connection(edit.connection).synapses, Dense)
    return edit.when.always and dense and all(one is None for one in says)
