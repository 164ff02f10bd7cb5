"""A placement that somebody else has worked out: whether a network can sit so."""

from __future__ import annotations

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.placement import healthy_cores
from neurofault.deploy.resources import usage
from neurofault.deploy.routing import machine_chips
from neurofault.errors import CapacityError, UsageError, nearest
from neurofault.numerals import plural


def check_placement(chip: Deployment) -> None:
    """Make sure that a network can sit where its placement says.

    Args:
        chip: with the placement that is asked for.

    Raises:
        UsageError: it is of another network or chip, or uses cores that are dead, spare or not there.
        CapacityError: a core holds more than it has.
    """
    placement, profile = chip.placement, chip.profile
    names = [one.name for one in chip.populations]
    for name in placement.core_of:
        if name not in names:
            raise UsageError(f"placement: no population {name!r}{nearest(name, names)}; populations: {', '.join(names)}")
    for one in chip.populations:
        if one.name not in placement.core_of:
            raise UsageError(f"placement: population {one.name!r} has no cores")
        cores = placement.core_of[one.name]
        if cores.shape != (one.size,) or not np.issubdtype(cores.dtype, np.integer):
            raise UsageError(
                f"placement: population {one.name!r} takes {plural(one.size, 'core')}, one a neuron, is {cores.dtype} {list(cores.shape)}"
            )
    per_chip, most, machine = profile.chip.cores.known, profile.chip.max_chips.value, machine_chips(profile)
    if placement.cores_per_chip != per_chip:
        raise UsageError(
            f"placement: chips of {plural(placement.cores_per_chip, 'core')}, those of {profile.name!r} have {per_chip}"
        )
    if placement.chips < 1 or (most is not None and placement.chips > most) or machine not in (None, placement.chips):
        allowed = f"{machine}" if machine is not None else "at least 1" if most is None else f"1 to {most}"
        raise UsageError(f"placement: {plural(placement.chips, 'chip')}; of {profile.name!r} allowed: {allowed}")
    free = np.setdiff1d(healthy_cores(profile, placement.chips), placement.spare_cores)
    for name, cores in placement.core_of.items():
        wrong = np.setdiff1d(cores, free)
        if wrong.size:
            raise UsageError(
                f"placement: population {name!r} sits on core {int(wrong[0])}, which is dead, spare, not usable or not there"
            )
    counted = usage(chip)
    for resource, used in counted.used.items():
        for core, number, own in zip(counted.cores.tolist(), used.tolist(), counted.own, strict=True):
            limit = own[resource]
            if limit is not None and number > limit:
                raise CapacityError(f"placement: core {core} takes {number} {resource}, a core of {profile.name!r} has {limit}")
