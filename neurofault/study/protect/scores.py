"""How much depends on each stored bit: by the atlas, by importance, or by lot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift, from_field, to_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import WeightRange
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.graph.connectivity import weights_and_delays
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


def first_of(looked: Looked | None, samples: int, what: str) -> Looked:
    """Return the first samples, at most so many; ``what`` looks at them, for the message.

    Raises:
        UsageError: there are none.
    """
    if looked is None:
        raise UsageError(
            f"protect: {what} at samples; give inputs and labels (of training or validation, never those that are reported on)"
        )
    count = min(samples, len(looked.inputs))
    return Looked(looked.inputs[:count], looked.expected[:count], looked.unit)


def by_lot(deployment: Deployment, populations: Sequence[str], seed: int, what: str) -> dict[str, NDArray[np.float64]]:
    """Return a score of each neuron of some populations by lot; ``what`` they are drawn for is part of the key."""
    sizes = [deployment.population(name).size for name in populations]
    total = sum(sizes)
    rank = np.empty(total)
    rank[permutation_prefix(stream_key(seed, "protect", what), total, total)] = np.arange(total, 0, -1)
    return dict(zip(populations, np.split(rank, np.cumsum(sizes)[:-1]), strict=True))


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
    ranges: Mapping[str, WeightRange] | None = None,
) -> BitScores:
    """Return the score of each stored bit; the larger, the sooner it is covered.

    - ``random``: a keyed order.
    - ``importance``: (the change of the weight when the bit flips)² · the spikes that its synapses read, of the samples.
    - ``atlas``: how many predictions its flip changes, of the samples (:func:`neurofault.study.atlas.atlas`); of bits that change as many, by importance.
    - ``fitted``: |change of the weight|^1.5 · spikes, times a number for each target neuron and one for each source, by which the sums over their bits become
      those of the atlas. Most flips change no prediction alone and still add up with others; the atlas says in sum what its counts say poorly one by one.
      The power lies between that of one flip, whose predictions grow as the change, and that of many at once, whose squares add up. A change is what
      is left of it by the range of the weight, and the atlas' count is taken in proportion.

    Args:
        deployment: the healthy chip.
        connections: whose bits.
        by: one of these.
        looked: samples; None: there are none.
        samples: how many of them at most.
        seed: of the lot.
        progress: called as the atlas goes on.
        ranges: connection → range that its weights are read through; of ``fitted``.

    Raises:
        UsageError: samples are needed.
    """
    numbers = {name: StoredNumbers(deployment, name) for name in connections}
    if by == "random":
        return _by_lot(deployment, numbers, seed)
    cut = first_of(looked, samples, f"by {by} looks")
    spikes = run(deployment, cut.inputs).activity.spike_counts
    found = _importance(deployment, numbers, spikes)
    if by == "importance":
        return found
    if by == "fitted":
        return {
            name: _fitted(deployment, name, own, spikes, (ranges or {}).get(name), cut, progress) for name, own in numbers.items()
        }
    highest = max(float(each.max(initial=0.0)) for each in found.values()) or 1.0
    scores = {name: 0.5 * each / highest for name, each in found.items()}  # below one prediction
    for name in connections:
        _add_atlas(deployment, name, numbers[name], scores, cut, progress)
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


def _fitted(
    deployment: Deployment,
    name: str,
    own: StoredNumbers,
    spikes: Mapping[str, NDArray[np.int64]],
    admitted: WeightRange | None,
    looked: Looked,
    progress: Progress,
) -> NDArray[np.float64]:
    """Return |change|^1.5 · spikes of each bit of a connection, scaled by target and by source to what its atlas sums up to."""
    connection = deployment.connection(name)
    bits, mode = connection.weight_bits, connection.sign_mode
    counts = {name: np.zeros((len(own), bits))}
    _add_atlas(deployment, name, own, counts, looked, progress)
    which, sources, targets, _ = own.readers(np.arange(len(own)))
    weights = weights_and_delays(connection.synapses, sources, targets)[0].astype(np.int64)
    found = np.zeros((len(own), bits))
    readers = np.bincount(which, minlength=len(own))
    for bit in range(bits):
        flipped = from_field(to_field(weights, bits, mode) ^ (1 << bit), bits, mode).astype(np.int64)
        read = flipped if admitted is None else admitted.admit(flipped, sources, targets)
        moved = np.abs(read - weights).astype(np.float64)
        found[:, bit] = np.bincount(which, moved**1.5 * spikes[connection.source][sources], len(own))
        left = np.bincount(which, moved / np.maximum(np.abs(flipped - weights), 1), len(own))
        counts[name][:, bit] *= left / np.maximum(readers, 1)
    total = counts[name].sum()
    if total and found.any():
        found *= total / found.sum()
    first = np.unique(which, return_index=True)[1]  # of a stored synapse that many read, the first
    for place in (targets[first], sources[first]):
        # one prediction more on both sides: what was never seen to change any keeps a score
        scale = (np.bincount(place, counts[name].sum(axis=1)) + 1) / (np.bincount(place, found.sum(axis=1)) + 1)
        found *= scale[place][:, None]
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
