"""Damage after neurons have moved: what stays behind on their old core, what they meet on the new one, what the mesh does now.

Damage is physical, edits are logical. Left behind: everything about a moved neuron's compartment, parameters, synapse memory, axon
entries and learning engine. It stays with the neuron only if it never was the core's: a sensor line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.broken import BrokenCells, BrokenCore, BrokenMesh
from neurofault.damage.damage import Damage, Detour, Drop, Edit, Hit, SetField, Stall, SynapseEdit
from neurofault.deploy.deployment import Deployment
from neurofault.faults.context import FaultOutcome
from neurofault.faults.flows import Flow, flows_of, strike
from neurofault.faults.spare import LATER, strike_cells, strike_core

ANEW = "worked out anew after a remap"
"""Note of a hit whose edits a remap has changed; the rest of the echo is as it was when the fault struck."""


def damage_after(deployment: Deployment, moved: Mapping[str, NDArray[np.bool_]], taken: Collection[int]) -> Damage:
    """Return the damage of a chip on which neurons have moved.

    Args:
        deployment: the chip with its new placement and its old damage.
        moved: population → bool [n], neurons that moved.
        taken: ids of the cores that they moved to, which held nothing before.
    """
    damage, edits, hits, first = deployment.damage, list[Edit](), list[Hit](), 0
    flows = flows_of(deployment) if _has_mesh(damage) else []
    for hit in damage.hits:
        own = damage.edits[first : first + hit.n_edits]
        first += hit.n_edits
        left, hit = _struck_anew(deployment, own, hit, moved, taken, edits, flows, _closed(hits))
        edits += left
        hits.append(replace(hit, n_edits=len(left)))
    edits += _left(deployment, damage.edits[first:], moved)
    return Damage(tuple(edits), tuple(hits), damage.dead_cores)


def _has_mesh(damage: Damage) -> bool:
    return bool(_closed(damage.hits))


def _closed(hits: Sequence[Hit]) -> list[BrokenMesh]:
    """Return what some faults broke in the mesh, in order."""
    return [broken for hit in hits for broken in hit.broken if isinstance(broken, BrokenMesh)]


def _struck_anew(
    deployment: Deployment,
    own: Sequence[Edit],
    hit: Hit,
    moved: Mapping[str, NDArray[np.bool_]],
    taken: Collection[int],
    earlier: Sequence[Edit],
    flows: Sequence[Flow],
    closed: Sequence[BrokenMesh],
) -> tuple[list[Edit], Hit]:
    """Return the edits of one fault after the move, and its echo."""
    mesh = [broken for broken in hit.broken if isinstance(broken, BrokenMesh)]
    out = FaultOutcome()
    if mesh:
        for number, broken in enumerate(mesh):
            strike(deployment, out, broken, flows, [*closed, *mesh[:number]])
        notes = [*out.notes, *(note for note in hit.notes if note.startswith("acts: "))]
        cores = tuple(sorted({*hit.cores, *out.cores}))
        left = _left(deployment, [edit for edit in own if not isinstance(edit, Drop | Detour)], moved)
        for place in hit.broken:
            if isinstance(place, BrokenCore) and place.core in taken:
                strike_core(deployment, out, place)
        return [*left, *out.edits], replace(hit, cores=cores, neurons=out.neurons, notes=(*notes, ANEW))
    left = _left(deployment, own, moved)
    for place in hit.broken:
        if isinstance(place, BrokenCells) and place.core in taken:
            strike_cells(deployment, out, place, [*earlier, *left])
        elif isinstance(place, BrokenCore) and place.core in taken:
            strike_core(deployment, out, place)
    changed = bool(out.edits) or len(left) != len(own) or any(a is not b for a, b in zip(left, own, strict=True))
    if not changed:
        return left, hit
    still = any(getattr(place, "core", -1) not in {*taken, *map(int, deployment.placement.used_cores)} for place in hit.broken)
    notes = [note for note in hit.notes if note != ANEW and (still or not note.endswith(LATER))]
    counts = replace(hit, neurons=_sum(hit.neurons, out.neurons), synapses=_sum(hit.synapses, out.synapses))
    return [*left, *out.edits], replace(counts, notes=(*notes, ANEW))


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *(name for name in other if name not in one))}


def _left(deployment: Deployment, edits: Sequence[Edit], moved: Mapping[str, NDArray[np.bool_]]) -> list[Edit]:
    """Return the edits without the moved neurons; those that concern nobody else are gone."""
    return [left for edit in edits if (left := _without(deployment, edit, moved)) is edit or _concerns(left)]


def _concerns(edit: Edit) -> bool:
    """Whether an edit concerns anybody."""
    return all(value.size for value in vars(edit).values() if isinstance(value, np.ndarray))


def _without(deployment: Deployment, edit: Edit, moved: Mapping[str, NDArray[np.bool_]]) -> Edit:
    if isinstance(edit, Stall | Detour) or _of_sensor(deployment, edit):
        return edit
    if isinstance(edit, SynapseEdit):
        connection = deployment.connection(edit.connection)
        left: Edit = edit.left_behind(~moved[connection.source], ~moved[connection.target])
    else:
        left = only(edit, ~moved[edit.population][edit.neurons]) if edit.of_core else edit
    return edit if _size(left) == _size(edit) else left


def _of_sensor(deployment: Deployment, edit: Edit) -> bool:
    """Whether an edit is of what a sensor reads: no core can alter the bias of a neuron that pixels drive."""
    if not isinstance(edit, SetField) or edit.field != "bias_mantissa":
        return False
    return deployment.population(edit.population).encoding is not None


def _size(edit: Edit) -> int:
    return sum(value.size for value in vars(edit).values() if isinstance(value, np.ndarray))
