"""Damage that comes in steps: what is broken, cut into equal parts that strike one after the other.

The parts together are the whole damage, so iterative and batch repair end on the same mask. Sites are dealt out in the order of a
keyed permutation (the founding paper's stochastic sequence): dead cores core by core, other neurons and synapses one by one; an edit
that has no single sites (a lossy link, noise) strikes as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.damage import Damage, Edit, Hit, SetSynapses, Silence
from neurofault.damage.edits import sites
from neurofault.damage.fold import with_values
from neurofault.damage.stored import to_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights
from neurofault.errors import UsageError
from neurofault.graph import Dense
from neurofault.numerals import whole_number
from neurofault.streams import permutation_prefix, stream_key


@dataclass(frozen=True, eq=False)
class DamagePart:
    """What strikes in one step.

    Attributes:
        faults: (edits, hit, dead cores) of each fault that has something left for this step.
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
            if found[0] or found[2] or (hit.broken and not step):
                parts[step].append(found)
    return tuple(DamagePart(tuple(part)) for part in parts)


def _cut(
    deployment: Deployment, own: Sequence[Edit], hit: Hit, steps: int, seed: int, number: int
) -> list[tuple[tuple[Edit, ...], Hit, tuple[int, ...]]]:
    """Deal one fault out."""
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
    the chip on which the damage was worked out.

    Args:
        deployment: the chip as it is.
        part: one of :func:`increments`.
    """
    damage = deployment.damage
    for edits, hit, dead_cores in part.faults:
        now: list[Edit] = []
        for edit in edits:
            present = deployment.with_damage(replace(damage, edits=(*damage.edits, *now)))
            now.append(_on_present(present, edit))
        damage = damage.plus(now, hit, dead_cores)
    return deployment.with_damage(damage)


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
