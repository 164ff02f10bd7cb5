"""What the faults of a trial hit, each core, neuron and stored bit counted once however many faults hit it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.damage import Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.stored import to_field
from neurofault.faults import KINDS
from neurofault.faults.places import kernel_word, shares_kernels, weights_at
from neurofault.network import Conv


def counted(broken: Deployment) -> dict[str, Any]:
    """Return the columns ``cores``, ``neurons``, ``synapses`` and ``bits`` of a broken chip's row.

    ``neurons`` and ``synapses`` are what the faults report, less what two of them hit by edits of their own. ``bits`` are the stored bits
    of weights that read otherwise than they were written, with every fault taken as active.
    """
    hits = broken.damage.hits
    neurons: dict[int, list[NDArray[np.int64]]] = {}
    words: dict[int, list[NDArray[np.int64]]] = {}
    for edits in _edits_by_hit(broken):
        alive: dict[int, list[NDArray[np.int64]]] = {}
        stored: dict[int, list[NDArray[np.int64]]] = {}
        for edit in edits:
            match edit:
                case Silence() | Force() | SetField() | Upset() | InputNoise():
                    alive.setdefault(edit.layer, []).append(edit.neurons)
                case SetSynapses() | SetDelays():
                    stored.setdefault(edit.layer, []).append(_words(broken, edit.layer, edit.sources, edit.targets))
                case _:
                    pass
        for found, into in ((alive, neurons), (stored, words)):
            for layer, parts in found.items():
                into.setdefault(layer, []).append(np.unique(np.concatenate(parts)))
    return {
        "cores": sorted({core for hit in hits for core in hit.cores}),
        "neurons": sum(sum(hit.neurons.values()) for hit in hits) - _twice(neurons),
        "synapses": sum(sum(hit.synapses.values()) for hit in hits) - _twice(words),
        "bits": _bits(broken),
    }


def _edits_by_hit(broken: Deployment) -> Iterator[tuple[Edit, ...]]:
    """Yield the edits of each fault."""
    at = 0
    for hit in broken.damage.hits:
        yield broken.damage.edits[at : at + hit.n_edits]
        at += hit.n_edits


def _twice(found: dict[int, list[NDArray[np.int64]]]) -> int:
    """Return by how much separate counts exceed the union."""
    return sum(sum(map(len, parts)) - len(np.unique(np.concatenate(parts))) for parts in found.values())


def _words(chip: Deployment, layer: int, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: a number for the stored word of each synapse; positions of a convolution that share a word share its number."""
    synapses = chip.layers[layer].synapses
    if isinstance(synapses, Conv) and shares_kernels(chip):
        home = chip.placement.core_of[layer][targets].astype(np.int64)
        return home * synapses.weight.size + kernel_word(synapses, sources, targets)[1]
    return np.asarray(targets * (1 << 32) + sources, np.int64)


def _bits(broken: Deployment) -> int:
    changed: dict[int, list[SetSynapses]] = {}
    for hit, edits in zip(broken.damage.hits, _edits_by_hit(broken), strict=True):
        for edit in edits:
            if isinstance(edit, SetSynapses) and KINDS[hit.kind].stored:
                changed.setdefault(edit.layer, []).append(edit)
    total = 0
    for index, found in changed.items():
        layer = broken.layers[index]
        sources = np.concatenate([edit.sources for edit in found])[::-1]  # of several edits of a word the last one counts
        targets = np.concatenate([edit.targets for edit in found])[::-1]
        values = np.concatenate([edit.values for edit in found])[::-1]
        _, first = np.unique(_words(broken, index, sources, targets), return_index=True)
        sound = weights_at(broken, index, sources[first], targets[first])
        differ = to_field(values[first], layer.weight_bits, layer.sign_mode) ^ to_field(sound, layer.weight_bits, layer.sign_mode)
        total += int(np.unpackbits(differ.astype("<u8").view(np.uint8)).sum())
    return total
