"""What several faults together have hit, each neuron and each stored synapse once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    Drop,
    Edit,
    Hit,
    LearningDefect,
    NeuronEdit,
    SetDelays,
    SetSynapses,
    SetTerms,
    Silence,
)
from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import connections_into, shares_kernels, stored_synapses
from neurofault.faults.pooled import pool_of
from neurofault.graph import Conv
from neurofault.graph.chip import ChipConnection, ChipPopulation


@dataclass(frozen=True)
class Struck:
    """How much of a chip faults have hit.

    Attributes:
        cores: ids, sorted.
        neurons, synapses: population → number of neurons, connection → number of stored synapses.
    """

    cores: tuple[int, ...]
    neurons: Mapping[str, int]
    synapses: Mapping[str, int]


def struck(deployment: Deployment) -> Struck:
    """Count what the faults of a deployment have hit; what several of them hit counts once.

    What edits do not name one by one is added up as the faults report it: sources of lost axon entries, and stored words of kernels that
    a core shares.
    """
    hits, owned = deployment.damage.hits, _by_hit(deployment)
    cores = tuple(sorted({core for hit in hits for core in hit.cores}))
    if len(hits) == 1:
        return Struck(cores, hits[0].neurons, hits[0].synapses)
    neurons = {one.name: _neurons(deployment, one, owned) for one in deployment.populations}
    synapses = {name: _synapses(deployment, deployment.connection(name), owned) for name in connections_into(deployment)}
    return Struck(
        cores,
        {name: number for name, number in neurons.items() if number},
        {name: number for name, number in synapses.items() if number},
    )


def _by_hit(deployment: Deployment) -> list[tuple[Hit, tuple[Edit, ...]]]:
    found, end = [], 0
    for hit in deployment.damage.hits:
        found.append((hit, deployment.damage.edits[end : end + hit.n_edits]))
        end += hit.n_edits
    return found


def _neurons(deployment: Deployment, population: ChipPopulation, owned: list[tuple[Hit, tuple[Edit, ...]]]) -> int:
    name, rest = population.name, 0
    seen = np.zeros(population.size, bool)
    for hit, edits in owned:
        own = np.zeros(population.size, bool)
        for edit in edits:
            if isinstance(edit, NeuronEdit) and edit.population == name:
                own[edit.neurons] = True
            elif isinstance(edit, Drop) and hit.kind != "axon_lost" and deployment.connection(edit.connection).target == name:
                own[edit.targets] = True
        seen |= own
        rest += 0 if own.any() else hit.neurons.get(name, 0)
    return int(seen.sum()) + rest


def _synapses(deployment: Deployment, connection: ChipConnection, owned: list[tuple[Hit, tuple[Edit, ...]]]) -> int:
    name = connection.name
    if pool_of(deployment, name) > 1 or (isinstance(connection.synapses, Conv) and shares_kernels(deployment)):
        return sum(hit.synapses.get(name, 0) for hit, _ in owned)
    gone, rest = np.zeros(connection.synapses.n_out, bool), 0
    pairs, feedback = list[NDArray[np.int64]](), [np.empty(0, np.int64)]
    for hit, edits in owned:
        if not hit.synapses.get(name, 0):
            continue
        named = False
        for edit in edits:
            if isinstance(edit, SetSynapses | SetTerms | SetDelays) and edit.connection == name:
                pairs.append(edit.targets * (1 << 32) + edit.sources)
                named = True
            elif isinstance(edit, LearningDefect) and (edit.connection, edit.part) == (name, "feedback"):
                feedback.append(edit.value * (1 << 32) + edit.neurons)
                named = True
            elif (isinstance(edit, LearningDefect) and edit.connection == name) or (
                isinstance(edit, Silence) and edit.population == connection.target
            ):
                gone[edit.neurons] = True
                named = True
        if not named:
            rest += hit.synapses[name]
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *pairs]))
    alive = int(np.count_nonzero(~gone[keys >> 32]))
    rest += len(np.unique(np.concatenate(feedback)))
    return alive + (stored_synapses(deployment, name, np.flatnonzero(gone)) if gone.any() else 0) + rest
