"""What several faults together have hit, each neuron and each stored synapse once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    Drop,
    Edit,
    Force,
    Hit,
    InputNoise,
    LearningDefect,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    Upset,
)
from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import shares_kernels, stored_synapses
from neurofault.graph import Conv


@dataclass(frozen=True)
class Struck:
    """How much of a chip faults have hit.

    Attributes:
        cores: ids, sorted.
        neurons, synapses: layer name → number of neurons, of stored synapses (by target layer).
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
    neurons, synapses = dict[str, int](), dict[str, int]()
    for index, layer in enumerate(deployment.layers):
        for totals, total in ((neurons, _neurons(deployment, index, owned)), (synapses, _synapses(deployment, index, owned))):
            if total:
                totals[layer.name] = total
    return Struck(cores, neurons, synapses)


def _by_hit(deployment: Deployment) -> list[tuple[Hit, tuple[Edit, ...]]]:
    found, end = [], 0
    for hit in deployment.damage.hits:
        found.append((hit, deployment.damage.edits[end : end + hit.n_edits]))
        end += hit.n_edits
    return found


def _neurons(deployment: Deployment, index: int, owned: list[tuple[Hit, tuple[Edit, ...]]]) -> int:
    layer, rest = deployment.layers[index], 0
    seen = np.zeros(layer.size, bool)
    for hit, edits in owned:
        own = np.zeros(layer.size, bool)
        for edit in edits:
            if isinstance(edit, Silence | Force | SetField | Upset | InputNoise) and edit.layer == index:
                own[edit.neurons] = True
            elif isinstance(edit, Drop) and edit.layer == index and hit.kind != "axon_lost":
                own[edit.targets] = True
        seen |= own
        rest += 0 if own.any() else hit.neurons.get(layer.name, 0)
    return int(seen.sum()) + rest


def _synapses(deployment: Deployment, index: int, owned: list[tuple[Hit, tuple[Edit, ...]]]) -> int:
    layer = deployment.layers[index]
    if layer.synapses is None:
        return 0
    if isinstance(layer.synapses, Conv) and shares_kernels(deployment):
        return sum(hit.synapses.get(layer.name, 0) for hit, _ in owned)
    gone, rest = np.zeros(layer.size, bool), 0
    pairs, feedback = list[NDArray[np.int64]](), [np.empty(0, np.int64)]
    for hit, edits in owned:
        if not hit.synapses.get(layer.name, 0):
            continue
        named = False
        for edit in edits:
            if isinstance(edit, SetSynapses | SetDelays) and edit.layer == index:
                pairs.append(edit.targets * (1 << 32) + edit.sources)
                named = True
            elif isinstance(edit, LearningDefect) and (edit.layer, edit.part) == (index, "feedback"):
                feedback.append(edit.value * (1 << 32) + edit.neurons)
                named = True
            elif isinstance(edit, Silence | LearningDefect) and edit.layer == index:
                gone[edit.neurons] = True
                named = True
        if not named:
            rest += hit.synapses[layer.name]
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *pairs]))
    alive = int(np.count_nonzero(~gone[keys >> 32]))
    rest += len(np.unique(np.concatenate(feedback)))
    return alive + (stored_synapses(deployment, index, np.flatnonzero(gone)) if gone.any() else 0) + rest
