"""What of a run costs energy or time, counted at each place: a place is the neurons of one population that sit on one core.

How each event is counted stands in :mod:`neurofault.deploy.cost`. An event belongs to the place where it is worked off: synaptic operations and
updates to the neurons that they reach, spikes to those that send them, a message to its sender (leaving the core, and all its hops) and to the
targets that it reaches (entering the core, and the tile).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.graph.connectivity import arrivals, fan_out

EVENTS = (
    "synaptic_operation",
    "neuron_update_active",
    "neuron_update_inactive",
    "neuron_spike",
    "axon_out_message",
    "axon_in_message",
    "spike_in_tile",
)
"""Events that take place in a core (the last one at its router), named as in the profile's cost tables."""


@dataclass(frozen=True, eq=False)
class Traffic:
    """Messages from core to core, each pair once, none without messages.

    Attributes:
        sources, destinations: int64 [k], core ids.
        messages: int64 [k].
    """

    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    messages: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Places:
    """The neurons of one population on one core, and what they do.

    Attributes:
        populations: [k], names, in the order of the deployment.
        cores: int64 [k], core ids, ascending within a population.
        events: each of :data:`EVENTS` → int64 [k], over all samples of the run.
    """

    populations: tuple[str, ...]
    cores: NDArray[np.int64]
    events: Mapping[str, NDArray[np.int64]]

    def seats(self, population: str, cores: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return int64 of the shape of ``cores``: which place the neurons of a population on each core are; all must hold some."""
        first = self.populations.index(population)
        held = self.cores[first : first + self.populations.count(population)]
        return np.asarray(first + np.searchsorted(held, cores), np.int64)


def alive(deployment: Deployment, population: str) -> NDArray[np.bool_]:
    """Return bool [n]: neurons of a population that are neither silent for good nor on a dead core."""
    on_dead_core = np.isin(deployment.placement.core_of[population], deployment.damage.dead_cores)
    return ~(deployment.damage.silent(population, deployment.population(population).size) | on_dead_core)


def traffic(deployment: Deployment, activity: Activity) -> Traffic:
    """Count the messages of a run: over each connection, one for each spike and each core that holds a live target of it.

    Args:
        deployment: the chip.
        activity: a run on it; counts are over all its samples.
    """
    return merged(deployment, connection_traffic(deployment, activity.spike_counts))


def connection_traffic(deployment: Deployment, spike_counts: Mapping[str, NDArray[np.int64]]) -> list[Traffic]:
    """Count the messages over each connection, in the order of the deployment.

    Args:
        deployment: the chip.
        spike_counts: of a run on it, as :attr:`neurofault.activity.Activity.spike_counts`.
    """
    found = []
    for connection in deployment.connections:
        spikes = _spikes(deployment, spike_counts, connection.source)
        cores, seats = np.unique(deployment.placement.core_of[connection.source], return_inverse=True)
        core_of, live = deployment.placement.core_of[connection.target], alive(deployment, connection.target)
        sources, destinations, messages = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for core in np.unique(core_of[live]):
            reached = fan_out(connection.synapses, live & (core_of == core)) > 0
            sent = np.zeros(len(cores), np.int64)
            np.add.at(sent, seats, spikes * reached)
            senders = np.flatnonzero(sent)
            sources.append(cores[senders].astype(np.int64))
            destinations.append(np.full(len(senders), core, np.int64))
            messages.append(sent[senders])
        found.append(Traffic(np.concatenate(sources), np.concatenate(destinations), np.concatenate(messages)))
    return found


def merged(deployment: Deployment, flows: Sequence[Traffic]) -> Traffic:
    """Return the messages of several connections as one, each pair of cores once."""
    nothing = np.empty(0, np.int64)
    sources = np.concatenate([nothing, *(one.sources for one in flows)])
    destinations = np.concatenate([nothing, *(one.destinations for one in flows)])
    cores_in_all = deployment.placement.chips * deployment.placement.cores_per_chip
    pairs, where = np.unique(sources * cores_in_all + destinations, return_inverse=True)
    total = np.zeros(len(pairs), np.int64)
    np.add.at(total, where, np.concatenate([nothing, *(one.messages for one in flows)]))
    return Traffic(pairs // cores_in_all, pairs % cores_in_all, total)


def place_events(
    deployment: Deployment, spike_counts: Mapping[str, NDArray[np.int64]], flows: Sequence[Traffic], samples: int
) -> Places:
    """Count the events of a run at each place.

    Args:
        deployment: the chip, with its damage.
        spike_counts: of a run on it, as :attr:`neurofault.activity.Activity.spike_counts`.
        flows: from :func:`connection_traffic` of the same.
        samples: how many samples the run presented.
    """
    steps = samples * deployment.timesteps
    core_of = deployment.placement.core_of
    held = [(one.name, core) for one in deployment.populations for core in np.unique(core_of[one.name]).tolist()]
    counts = {event: np.zeros(len(held), np.int64) for event in EVENTS}
    places = Places(tuple(name for name, _ in held), np.array([core for _, core in held], np.int64), counts)
    for population in deployment.populations:
        name, into = population.name, deployment.into(population.name)
        seats, live = places.seats(name, core_of[name]), alive(deployment, name)
        active = np.where(live, steps, 0)
        if into:
            arrived = np.zeros(population.size, np.int64)
            for connection in into:
                arrived += np.where(live, arrivals(connection.synapses, _spikes(deployment, spike_counts, connection.source)), 0)
            np.add.at(counts["synaptic_operation"], seats, arrived)
            active = np.minimum(active, arrived)
        np.add.at(counts["neuron_update_active"], seats, active)
        np.add.at(counts["neuron_update_inactive"], seats, np.where(live, steps - active, 0))
        np.add.at(counts["neuron_spike"], seats, _spikes(deployment, spike_counts, name))
    for connection, flow in zip(deployment.connections, flows, strict=True):
        np.add.at(counts["axon_out_message"], places.seats(connection.source, flow.sources), flow.messages)
        for event in ("axon_in_message", "spike_in_tile"):
            np.add.at(counts[event], places.seats(connection.target, flow.destinations), flow.messages)
    return places


def _spikes(deployment: Deployment, spike_counts: Mapping[str, NDArray[np.int64]], population: str) -> NDArray[np.int64]:
    """Spikes of each neuron of a population over all samples, none from the dead."""
    return np.where(alive(deployment, population), spike_counts[population], 0).astype(np.int64)
