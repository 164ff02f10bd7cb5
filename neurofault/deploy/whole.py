"""Placement on cores that each hold one whole population: every population gets a core that has room for it, where there is such a choice.

DYNAP-CNN and Speck: sinabs finds the same kind of matching (``mapping.py``), of its own order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.core_limits import LayerCores
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.quantity import Quantity
from neurofault.deploy.resources import core_limits, demand, stored_biases, stored_neurons
from neurofault.errors import CapacityError
from neurofault.graph.chip import ChipConnection, ChipPopulation

Needs = Mapping[str, int]


def whole_needs(
    population: ChipPopulation, into: Sequence[ChipConnection], shapes: Mapping[str, tuple[int, ...]], profile: HardwareProfile
) -> dict[str, int]:
    """Return what a population takes from the core that holds it, by resource; ``biases`` among them.

    Args:
        population: all of it.
        into: the connections into it.
        shapes: shape of each population.
        profile: the chip.
    """
    everyone = np.ones(population.size, bool)
    demands = [demand(one, everyone, profile, sources=shapes[one.source]) for one in into]
    return {
        "neurons": stored_neurons(population, profile),
        "synapse_bits": sum(one.synapse_bits for one in demands),
        "in_axons": sum(one.in_axons for one in demands),
        "biases": stored_biases(population),
    }


def match(
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    profile: HardwareProfile,
    layers: LayerCores,
    order: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return int64 [populations]: a core for each, none twice.

    Args:
        populations: of the network, with
        connections: between them.
        profile: the chip, with
        layers: its cores' limits.
        order: int64, ids of the free cores, those that are taken first in front.

    Raises:
        CapacityError: there is no such choice; the text says which resource of which core is short, and what would fit.
    """
    needs, shapes = [], {one.name: one.shape for one in populations}
    for one in populations:
        into = [each for each in connections if each.target == one.name]
        needs.append(whole_needs(one, into, shapes, profile))
        reached = {each.target for each in connections if each.source == one.name}
        most = layers.destinations.value
        if most is not None and len(reached) > most:
            raise CapacityError(
                f"population {one.name!r} does not fit: it sends to {len(reached)} cores ({', '.join(sorted(reached))}), a core of "
                f"{profile.name!r} sends to {most} (core.layers.destinations); let fewer populations listen to it"
            )
    limits = {int(core): core_limits(profile, int(core)) for core in order}
    fitting = [[core for core, own in limits.items() if not short(need, own)] for need in needs]
    for one, need, cores in zip(populations, needs, fitting, strict=True):
        if not cores:
            raise CapacityError(_too_large(one.name, need, limits, profile.name))
    if len(populations) > len(limits):
        raise CapacityError(
            f"the network does not fit: {len(populations)} populations ({', '.join(one.name for one in populations)}) take a core each, "
            f"{profile.name!r} has {len(limits)} that are free; use fewer or lower spare_cores"
        )
    held: dict[int, int] = {}
    for index, one in enumerate(populations):
        if not _seat(index, fitting, held, set()):
            others = ", ".join(f"{core} {populations[held[core]].name}" for core in fitting[index])
            raise CapacityError(
                f"population {one.name!r} does not fit: the cores of {profile.name!r} that have room for its {_said(needs[index])} are taken "
                f"({others}) and those populations fit nowhere else; shrink one of them"
            )
    core_of = {index: core for core, index in held.items()}
    return np.array([core_of[index] for index in range(len(populations))], np.int64)


def check_one_core(
    populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], profile: HardwareProfile, readout: Collection[str]
) -> None:
    """Check that a chip of one core holds a whole network.

    Args:
        populations: of the network, with
        connections: between them.
        profile: the chip.
        readout: names of the populations that nothing listens to.

    Raises:
        CapacityError: it does not; the text says which resource is short, and what each population takes.
    """
    core, parts = profile.core, {"inputs": 0, "outputs": 0, "neurons": 0}
    for one in populations:
        kind = "inputs" if one.is_source and core.inputs else "outputs" if one.name in readout and core.outputs else "neurons"
        parts[kind] += one.size
    demands = [demand(one, np.ones(one.synapses.n_out, bool), profile) for one in connections]
    parts["synapse_bits"] = sum(one.synapse_bits for one in demands)
    parts["in_axons"] = sum(one.in_axons for one in demands)
    limits: dict[str, Quantity[int, Any] | None] = {
        "neurons": core.neurons,
        "synapse_bits": core.synapse_bits,
        "in_axons": core.in_axons,
        "inputs": core.inputs,
        "outputs": core.outputs,
    }
    for name, used in parts.items():
        limit = limits[name]
        if limit is not None and limit.value is not None and used > limit.value:
            sizes = ", ".join(f"{one.name} {one.size}" for one in populations)
            raise CapacityError(
                f"the network does not fit: it takes {used:,} {name} (neurons: {sizes}), the one core of {profile.name!r} has {limit.value:,} "
                f"(core.{name}); shrink it, or use a profile with more"
            )


def short(need: Needs, limits: Mapping[str, int | None]) -> dict[str, int]:
    """Return by how much each resource of a core is too small, where it is."""
    found = {}
    for name, used in need.items():
        limit = limits.get(name)
        if limit is not None and used > limit:
            found[name] = used - limit
    return found


def _seat(index: int, fitting: Sequence[Sequence[int]], held: dict[int, int], tried: set[int]) -> bool:
    """Give a population a core, moving others to other cores that hold them where that makes room (Kuhn's augmenting paths)."""
    free = next((core for core in fitting[index] if core not in held), None)
    if free is not None:
        held[free] = index
        return True
    for core in fitting[index]:
        if core not in tried:
            tried.add(core)
            if _seat(held[core], fitting, held, tried):
                held[core] = index
                return True
    return False


def _too_large(name: str, need: Needs, limits: Mapping[int, Mapping[str, int | None]], chip: str) -> str:
    """Return what is short on the core that lacks least."""
    nearest = min(limits, key=lambda core: (len(short(need, limits[core])), sum(short(need, limits[core]).values())))
    lacks = [f"{missing} needs {need[missing]:,} and has {limits[nearest][missing]:,}" for missing in short(need, limits[nearest])]
    best = {
        one: max((own[one] or 0 for own in limits.values()), default=0)
        for one in need
        if any(own.get(one) for own in limits.values())
    }
    room = ", ".join(f"{most:,} {one}" for one, most in best.items())
    return (
        f"population {name!r} does not fit: it takes {_said(need)} of one core; on core {nearest} of {chip!r}, the nearest, "
        f"{' and '.join(lacks)}; cores of this chip have at most {room} (not all on one core): shrink it or split it into two populations"
    )


def _said(need: Needs) -> str:
    return ", ".join(f"{used:,} {name}" for name, used in need.items() if used and name != "in_axons")
