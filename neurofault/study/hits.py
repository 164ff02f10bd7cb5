"""What faults hit, as JSON: which cores are dead, for good or for a time, and which only lose messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurofault.damage.damage import Drop, Edit, Hit, Silence
from neurofault.deploy.deployment import Deployment


def hits_to_json(chip: Deployment) -> list[dict[str, Any]]:
    """Return the hits of a damaged chip as JSON: kind, ids of cores hit, neurons and synapses (total and by layer), sites.

    Where others that were hit live, ``dead_cores`` are the ids of those that are dead for good, and ``dead_for_a_time`` those whose neurons are silent in a time
    window, or until something is repaired, of a fault that cuts messages too.
    """
    damage, end, found = chip.damage.cells, 0, []
    for hit in damage.hits:
        edits = damage.edits[end : end + hit.n_edits]
        end += hit.n_edits
        found.append(hit_to_json(hit) | _for_a_time(chip, hit, edits))
    return found


def _for_a_time(chip: Deployment, hit: Hit, edits: Sequence[Edit]) -> dict[str, Any]:
    """Return the cores that a hit without dead ones silences for a time beside others that only lose messages."""
    if hit.dead_cores or not any(isinstance(edit, Drop) for edit in edits):
        return {}
    silent = {
        int(core)
        for edit in edits
        if isinstance(edit, Silence)
        for core in np.unique(chip.placement.core_of[edit.population][edit.neurons])
    }
    return {"dead_for_a_time": sorted(silent)} if silent and set(hit.cores) - silent else {}


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON, by itself: see :func:`hits_to_json`."""
    return {
        "kind": hit.kind,
        "cores": list(hit.cores),
        **({"dead_cores": list(hit.dead_cores)} if hit.dead_cores and set(hit.cores) - set(hit.dead_cores) else {}),
        "neurons": sum(hit.neurons.values()),
        "synapses": sum(hit.synapses.values()),
        "neurons_by_layer": dict(hit.neurons),
        "synapses_by_layer": dict(hit.synapses),
        "sites": list(hit.sites),
    }
