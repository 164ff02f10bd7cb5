"""Where neurons sit that serve learning only: on free cores near the readout, placed with the chip, before anything breaks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BrokenCore
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import limits
from neurofault.deploy.routing import topology
from neurofault.errors import CapacityError


def support_cores(deployment: Deployment, neurons: int, what: str = "error", taken: Collection[int] = ()) -> NDArray[np.int64]:
    """Return int64 [neurons]: the core of each neuron of a supporting population, in runs of as many as a core holds.

    A core that held nothing when it died is taken as it was before: what sits there is dead. Nothing new is put on one that died with
    neurons of the network and was left.

    Args:
        deployment: the chip, damaged or not.
        neurons: how many.
        what: what they are, for messages.
        taken: ids of cores that other supporting populations take.

    Raises:
        CapacityError: not enough cores are free.
    """
    placement, damage = deployment.placement, deployment.damage
    cores = np.arange(placement.chips * placement.cores_per_chip)
    cores = cores[np.isin(cores % placement.cores_per_chip, deployment.profile.chip.local_ids)]
    empty = {place.core for hit in damage.hits for place in hit.broken if isinstance(place, BrokenCore)}
    left = set(damage.dead_cores) - empty
    closed = {*placement.used_cores.tolist(), *placement.spare_cores, *placement.bad_cores, *left, *taken}
    free = np.array([core for core in cores.tolist() if core not in closed], np.int64)
    room = limits(deployment.profile)["neurons"] or neurons
    needed = -(-neurons // room)
    if len(free) < needed:
        raise CapacityError(
            f"no core is free for {neurons} {what} neurons of the learner: it takes {needed}, free are {len(free)} "
            f"(spare, bad and dead cores not counted); lower spare_cores, raise neurons_per_core, or use more chips"
        )
    outputs = placement.cores_of(deployment.readout.population)
    known = deployment.profile.joined  # else the first that are free
    distance = topology(deployment).hops(free, np.full(len(free), outputs[0])).total if known else np.zeros(len(free), np.int64)
    chosen = np.sort(free[np.argsort(distance, kind="stable")[:needed]])
    return np.asarray(chosen[np.arange(neurons) // room], np.int64)
