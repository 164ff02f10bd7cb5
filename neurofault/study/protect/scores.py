"""How much depends on each stored bit: by the atlas, by importance, or by lot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.progress import Progress
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.atlas import atlas
from neurofault.study.protect.spec import By


@dataclass(frozen=True, eq=False)
class Looked:
    """The samples by which bits are chosen; never those that are reported on.

    Attributes:
        inputs: encoded.
        expected: labels or targets.
        unit: of targets, as of :func:`neurofault.run`; None: of labels.
    """

    inputs: Inputs
    expected: Expected
    unit: float | None = None


BitScores = Mapping[str, NDArray[np.float64]]
"""Connection → [stored synapses, bits of a weight], float64."""


def bit_scores(
    deployment: Deployment,
    connections: Sequence[str],
    by: By,
    looked: Looked | None,
    *,
    samples: int,
    seed: int,
    progress: Progress,
) -> BitScores:
    """Return the score of each stored bit; the larger, the sooner it is covered.

    - ``random``: a keyed order.
    - ``importance``: (the change of the weight when the bit flips)² · the spikes that its synapses read, of the samples.
    - ``atlas``: how many predictions its flip changes, of the samples (:func:`neurofault.study.atlas.atlas`); of bits that change as many, by importance.

    Args:
        deployment: the healthy chip.
        connections: whose bits.
        by: one of these.
        looked: samples; None: there are none.
        samples: how many of them at most.
        seed: of the lot.
        progress: called as the atlas goes on.

    Raises:
        UsageError: samples are needed.
    """
    numbers = {name: StoredNumbers(deployment, name) for name in connections}
    if by == "random":
        return _by_lot(deployment, numbers, seed)
    if looked is None:
        raise UsageError(
            f"protect: by {by} looks at samples; give inputs and labels (of training or validation, never those that are reported on)"
        )
    count = min(samples, len(looked.inputs))
    part = looked.inputs[:count]
    found = _importance(deployment, numbers, run(deployment, part).activity.spike_counts)
    if by == "importance":
        return found
    highest = max(float(each.max(initial=0.0)) for each in found.values()) or 1.0
    scores = {name: 0.5 * each / highest for name, each in found.items()}  # below one prediction
    for name in connections:
        _add_atlas(deployment, name, numbers[name], scores, Looked(part, looked.expected[:count], looked.unit), progress)
    return scores


def _by_lot(deployment: Deployment, numbers: Mapping[str, StoredNumbers], seed: int) -> BitScores:
    shapes = {name: (len(own), deployment.connection(name).weight_bits) for name, own in numbers.items()}
    total = sum(size * bits for size, bits in shapes.values())
    order = permutation_prefix(stream_key(seed, "protect", "random"), total, total)
    rank = np.empty(total, np.float64)
    rank[order] = np.arange(total, 0, -1)
    found, first = {}, 0
    for name, (size, bits) in shapes.items():
        found[name] = rank[first : first + size * bits].reshape(size, bits)
        first += size * bits
    return found


def _importance(
    deployment: Deployment, numbers: Mapping[str, StoredNumbers], spikes: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.float64]]:
    found = {}
    for name, own in numbers.items():
        connection = deployment.connection(name)
        which, sources, _, _ = own.readers(np.arange(len(own)))
        read = np.bincount(which, spikes[connection.source][sources].astype(np.float64), len(own))
        moved = 4.0 ** (np.arange(connection.weight_bits) + field_shift(connection.weight_bits, connection.sign_mode))
        found[name] = read[:, None] * moved
    return found


def _add_atlas(
    deployment: Deployment,
    name: str,
    numbers: StoredNumbers,
    scores: Mapping[str, NDArray[np.float64]],
    looked: Looked,
    progress: Progress,
) -> None:
    """Add the predictions that each bit of a connection changes, in place."""
    found = atlas(
        deployment, looked.inputs, looked.expected, "synapse_bit_flip", unit=looked.unit, layer=name, changes=False,
        progress=lambda done, total: progress("atlas of bits", done, total, name),
    )  # fmt: skip
    source, target_neuron, bit = (np.asarray(found.sites[each], np.int64) for each in ("source", "target", "bit"))
    read = target_neuron >= 0
    at = numbers.of(source[read], target_neuron[read])
    np.add.at(scores[name], (at, bit[read]), np.asarray(found.sites["changed"], np.float64)[read])
