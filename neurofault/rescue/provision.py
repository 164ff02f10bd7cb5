"""What learning takes from a chip beside the network itself: tags and in-axons of plastic synapses, error neurons, feedback synapses.

Plastic synapses store a tag and take the profile's in-axon entries of a learning connection
(:func:`neurofault.deploy.resources.usage`, ``learning``). Feedback synapses are stored where their target neurons sit, a row for each
error neuron. Supporting neurons go to free cores that are not spare, nearest to the output layer, before anything breaks
(:mod:`neurofault.deploy.support`). A dead core stores nothing and is not checked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import Resource, limits, row_bits, usage
from neurofault.deploy.support import support_cores
from neurofault.errors import CapacityError

LEARNED: tuple[Resource, ...] = ("synapse_bits", "in_axons")
"""Resources of a core that learning takes more of."""


@dataclass(frozen=True)
class Support:
    """Neurons that serve learning only.

    Attributes:
        name: what they are, e.g. ``error``.
        neurons: how many.
        fan_in: synapses of each.
        cores: ids of the cores that they sit on, sorted.
    """

    name: str
    neurons: int
    fan_in: int
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Provision:
    """What a learner needs, placed.

    Attributes:
        plastic: names of the connections whose synapses learn on chip, in the order of the graph.
        support: populations that serve learning only.
        feedback: population → feedback synapses into each of its neurons (one from each error neuron).
        synapse_bits: memory that learning takes beyond the network's own: tags, feedback and supporting synapses.
        in_axons: likewise, entries of input axon tables.
    """

    plastic: tuple[str, ...] = ()
    support: tuple[Support, ...] = ()
    feedback: Mapping[str, int] = field(default_factory=dict)
    synapse_bits: int = 0
    in_axons: int = 0

    @property
    def neurons(self) -> int:
        """Supporting neurons in all."""
        return sum(each.neurons for each in self.support)


def provision(
    deployment: Deployment, plastic: Collection[str], support: Collection[Support] = (), feedback: Mapping[str, int] | None = None
) -> Provision:
    """Check that a chip has room for learning, and place what serves it.

    Args:
        deployment: the (damaged) chip.
        plastic: connections whose synapses learn.
        support: populations to place; their ``cores`` are ignored.
        feedback: population → rows of feedback synapses into its neurons, as wide as the widest weights into it.

    Raises:
        CapacityError: a core, or the chip, has no room; the text says which core, what is used, available and missing.
    """
    plastic, feedback = tuple(one.name for one in deployment.connections if one.name in plastic), dict(feedback or {})
    plain, learning = usage(deployment), usage(deployment, learning=plastic)
    limit, profile, dead = limits(deployment.profile), deployment.profile, set(deployment.damage.dead_cores)
    more = dict.fromkeys(LEARNED, 0)
    for at, core in enumerate(learning.cores.tolist()):
        if core in dead:
            continue
        need = {resource: int(learning.used[resource][at]) for resource in LEARNED}
        for name, rows in feedback.items():
            held = int(np.count_nonzero(deployment.placement.core_of[name] == core))
            if held:
                bits = max(one.weight_bits for one in deployment.into(name))
                need["synapse_bits"] += rows * int(row_bits(np.asarray(held), bits, profile))
                need["in_axons"] += rows
        for resource, used in need.items():
            more[resource] += used - int(plain.used[resource][at])
            available = limit[resource]
            if available is not None and used > available:
                raise CapacityError(
                    f"core {core} cannot learn (plastic: {', '.join(plastic)}): with tags and feedback it takes {used:,} {resource}, it has "
                    f"{available:,}; {used - available:,} are missing; lower neurons_per_core or make fewer layers plastic"
                )
    placed: list[Support] = []
    taken: set[int] = set()
    for each in support:
        cores = tuple(np.unique(support_cores(deployment, each.neurons, each.name, taken)).tolist())
        taken.update(cores)
        placed.append(Support(each.name, each.neurons, each.fan_in, cores))
        more["synapse_bits"] += each.fan_in * int(row_bits(np.asarray(each.neurons), 8, profile))
        more["in_axons"] += each.fan_in * len(cores)
    return Provision(plastic, tuple(placed), feedback, more["synapse_bits"], more["in_axons"])
