"""How many stored bits of a broken chip read otherwise than they were written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetSynapses
from neurofault.damage.stored import to_field
from neurofault.deploy.deployment import Deployment
from neurofault.faults import KINDS
from neurofault.faults.places import kernel_word, shares_kernels, weights_at
from neurofault.faults.pooled import pool_of, window_of, window_shape
from neurofault.graph import Conv
from neurofault.graph.chip import ChipConnection


def changed_bits(broken: Deployment) -> int:
    """Return the number of bits of stored weights that differ from the healthy chip's, each once, with every fault taken as active.

    Positions of a convolution that read one stored word count as one. Only faults of stored bits count: not an axon that reads the wrong row.
    """
    changed: dict[str, list[SetSynapses]] = {}
    for edit in _stored(broken):
        changed.setdefault(edit.connection, []).append(edit)
    total = 0
    for name, found in changed.items():
        connection = broken.connection(name)
        sources = np.concatenate([edit.sources for edit in found])[::-1]  # of several edits of a word the last one counts
        targets = np.concatenate([edit.targets for edit in found])[::-1]
        values = np.concatenate([edit.values for edit in found])[::-1]
        _, first = np.unique(_words(broken, connection, sources, targets), return_index=True)
        healthy = weights_at(broken, name, sources[first], targets[first])
        fields = (to_field(weights, connection.weight_bits, connection.sign_mode) for weights in (values[first], healthy))
        differ = np.bitwise_xor(*fields)
        total += int(np.unpackbits(differ.astype("<u8").view(np.uint8)).sum())
    return total


def _stored(broken: Deployment) -> Iterator[SetSynapses]:
    """Yield the edits of synapses by faults of stored bits, in order."""
    at = 0
    for hit in broken.damage.hits:
        for edit in broken.damage.edits[at : at + hit.n_edits]:
            if isinstance(edit, SetSynapses) and KINDS[hit.kind].stored:
                yield edit
        at += hit.n_edits


def _words(
    chip: Deployment, connection: ChipConnection, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64 [k]: a number for the stored word of each synapse."""
    synapses, window = connection.synapses, np.arange(0)
    if (pool := pool_of(chip, connection.name)) > 1:
        window = window_of(window_shape(chip, connection.name), pool)
        if not isinstance(synapses, Conv):
            sources = window[sources]
    if isinstance(synapses, Conv) and shares_kernels(chip):
        home = chip.placement.core_of[connection.target][targets].astype(np.int64)
        word = kernel_word(synapses, sources, targets)[1]
        if window.size:  # a number for each window of a channel
            word = word // window.size * window.size + window[word % window.size]
        return home * synapses.weight.size + word
    return np.asarray(targets * (1 << 32) + sources, np.int64)
