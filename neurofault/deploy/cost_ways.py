"""The hops of messages by their kind: along a mesh, over the links of a tree, from chip to chip, and what detours add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Detour
from neurofault.deploy.cost_events import Traffic
from neurofault.deploy.cost_table import EnergyCosts, TimeCosts
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import Mesh, topology

HOPS = ("hop_east_west", "hop_north_south", "hop_tree", "hop_inter_chip")
"""Steps of a message, named as in the profile's cost tables."""


def flow_hops(deployment: Deployment, flows: Traffic, samples: int) -> dict[str, NDArray[np.float64]] | None:
    """Return float64 [k] for each kind of :data:`HOPS`: the steps of a message of each flow, a mean over the steps of a run of so many samples.

    What a detour adds counts as north-south on a mesh, as from chip to chip on other links. None: it is not known how cores are joined.
    """
    if not deployment.profile.joined:
        return None
    grid = topology(deployment)
    hops, extra = grid.hops(flows.sources, flows.destinations), _detours(deployment, flows, samples)
    round_mesh = extra if isinstance(grid, Mesh) else np.zeros_like(extra)
    return {
        "hop_east_west": hops.east_west.astype(np.float64),
        "hop_north_south": hops.north_south + round_mesh,
        "hop_tree": np.broadcast_to(hops.tree, extra.shape).astype(np.float64),
        "hop_inter_chip": hops.inter_chip + (extra - round_mesh),
    }


def told(costs: EnergyCosts | TimeCosts, hops: dict[str, float]) -> dict[str, float]:
    """Return the steps that a table speaks of: those from chip to chip only where it has ``hop_inter_chip``."""
    return {kind: count for kind, count in hops.items() if kind != "hop_inter_chip" or costs.hop_inter_chip is not None}


def _detours(deployment: Deployment, flows: Traffic, samples: int) -> NDArray[np.float64]:
    """Return float64 [k]: the hops that detours add to each flow, a mean over the steps of the run."""
    size = deployment.placement.chips * deployment.placement.cores_per_chip
    pairs = flows.sources * size + flows.destinations
    extra = np.zeros(len(pairs))
    for edit in deployment.damage.edits:
        if isinstance(edit, Detour):
            share = float(edit.when.grid(0, 0, samples, deployment.timesteps).mean())
            longer = dict(zip((edit.sources * size + edit.destinations).tolist(), edit.extra_hops.tolist(), strict=True))
            extra += share * np.array([longer.get(pair, 0) for pair in pairs.tolist()], np.float64)
    return extra
