"""What a protection costs: stored bits, cores, energy and time of an inference.

A synaptic operation of the profile's table reads one stored weight. Here reading a bit costs that operation's energy (and time) divided by the weight's bits:
an upper bound, for the operation adds up as well. Counted are, for each spike that reads a row of stored synapses, all bits of the code words that
have bits in that row, data and check, but for the data bits that belong to the row and are read anyway; each scrubbing pass, which reads and writes every bit
of every word; and where bits lie in another order, what says so, once for each word that is read, or for each row (of shared kernels for each operation, which is an upper bound too). Copies and voters, watchers and relays cost their synaptic operations; what their neurons take is not in it. Ranges and floors are held in registers and cost bits alone. The decoder's own gates are in no published table and not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import BitOrder, CodedWords
from neurofault.faults.places import connections_into, synapse_blocks
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.graph import Conv
from neurofault.graph.connectivity import fan_out


@dataclass(frozen=True)
class Charge:
    """What a protection costs.

    Attributes:
        stored_bits: bits of the stored weights of the chip.
        data_bits: those that are in a code word.
        check_bits, map_bits: stored bits that are added: check bits; what says which bits are covered and in which order they lie, and ranges.
        copied_bits: bits of the weights of copies and voters, watchers and relays, which are added too.
        cores: cores that are added.
        bits_read: bits a sample that are read beyond what the synaptic operations read, a mean.
        energy: joules a sample; None: the profile has no cost of a synaptic operation.
        time: seconds a sample at most, where no read of the busiest core goes on beside another; None likewise.
    """

    stored_bits: int
    data_bits: int
    check_bits: int
    map_bits: int
    copied_bits: int
    cores: int
    bits_read: float
    energy: float | None
    time: float | None

    @property
    def added(self) -> float:
        """Stored bits that are added, as a share of those of the weights."""
        return (self.check_bits + self.map_bits + self.copied_bits) / self.stored_bits if self.stored_bits else 0.0


def charge(deployment: Deployment, spike_counts: Mapping[str, NDArray[np.int64]], samples: int) -> Charge:
    """Work out what a chip's protection costs.

    Args:
        deployment: the protected chip.
        spike_counts: of a run on it, as :attr:`neurofault.activity.Activity.spike_counts`.
        samples: how many samples that run presented, at least 1.
    """
    protection, profile = deployment.protection, deployment.profile
    stored = sum(
        block.size * deployment.connection(name).weight_bits
        for name in connections_into(deployment)
        for block in synapse_blocks(deployment, [name])
    )
    name = profile.default_energy
    costs = None if name is None else profile.energy_tables[name]
    joule = None if costs is None else costs.energy.synaptic_operation.value
    second = None if costs is None else costs.time.synaptic_operation.value
    stored -= protection.copied_bits
    read, energy, busy = 0.0, 0.0, dict[int, float]()
    for link in (name for one in protection.built_in for name in one.links):
        own = deployment.connection(link)
        for core in deployment.placement.cores_of(own.target).tolist():
            here = fan_out(own.synapses, deployment.placement.core_of[own.target] == core)
            operations = float(here @ spike_counts[own.source]) / samples
            read += operations * own.weight_bits
            energy += operations * (joule or 0.0)
            busy[core] = busy.get(core, 0.0) + operations * (second or 0.0)
    for words in protection.words:
        width = deployment.connection(words.connection).weight_bits
        for core, bits in _read_by_core(deployment, words, spike_counts).items():
            each = bits / samples + _scrubbed(words, core) * deployment.timesteps
            read += each
            energy += each / width * (joule or 0.0)
            busy[core] = busy.get(core, 0.0) + each / width * (second or 0.0)
    for order in protection.orders:
        width = deployment.connection(order.connection).weight_bits
        for core, operations in _orders_read(deployment, order, spike_counts).items():
            each = operations / samples * (width - 1).bit_length()
            read += each
            energy += each / width * (joule or 0.0)
            busy[core] = busy.get(core, 0.0) + each / width * (second or 0.0)
    return Charge(
        stored, protection.data_bits, protection.check_bits, protection.map_bits,
        protection.copied_bits, sum(len(one.cores) for one in protection.built_in), read,
        None if joule is None else energy, None if second is None else max(busy.values(), default=0.0),
    )  # fmt: skip


def _orders_read(deployment: Deployment, order: BitOrder, spikes: Mapping[str, NDArray[np.int64]]) -> dict[int, float]:
    """Return core → how many units' orders are read there, over all samples."""
    own, found = deployment.connection(order.connection), dict[int, float]()
    for core in deployment.placement.cores_of(own.target).tolist():
        here = fan_out(own.synapses, deployment.placement.core_of[own.target] == core)
        if order.unit == "row" and not isinstance(own.synapses, Conv):
            here = np.minimum(here, 1)
        found[core] = float(here @ spikes[own.source])
    return found


def _scrubbed(words: CodedWords, core: int) -> float:
    """Return bits that scrubbing reads and writes on a core in a step, a mean."""
    if words.scrub is None:
        return 0.0
    own = words.cores == core
    return 2.0 * float((words.data_bits + words.check_bits)[own].sum()) / words.scrub


def _read_by_core(deployment: Deployment, words: CodedWords, spikes: Mapping[str, NDArray[np.int64]]) -> dict[int, float]:
    """Return core → bits that are read beyond the rows' own, over all samples."""
    numbers = StoredNumbers(deployment, words.connection)
    source_spikes = spikes[deployment.connection(words.connection).source].astype(np.float64)
    which, sources, _, _ = numbers.readers(words.sites)
    # spikes that read each covered site: in a row all by one source; of a shared kernel by all that come to a position
    read = np.zeros(len(words.sites))
    first = np.zeros(len(words.sites), np.int64)
    first[which[::-1]] = sources[::-1]
    several = np.bincount(which, minlength=len(words.sites)) > 1
    read[:] = source_spikes[first]
    if several.any():
        read = np.where(several, np.bincount(which, source_spikes[sources], len(words.sites)), read)
    word = np.repeat(np.arange(len(words)), np.diff(words.starts))
    row = numbers.rows()[words.sites]
    own_bits = (words.masks[:, None] >> np.arange(16) & 1).sum(axis=1)
    pairs, at = np.unique(np.stack([word, row]), axis=1, return_inverse=True)
    at = np.asarray(at).reshape(-1)
    own = np.bincount(at, own_bits, pairs.shape[1])
    often = np.zeros(pairs.shape[1])
    np.maximum.at(often, at, read)
    extra = ((words.data_bits + words.check_bits)[pairs[0]] - own) * often
    total = np.bincount(words.cores[pairs[0]], extra)
    return {core: float(total[core]) for core in np.unique(words.cores).tolist()}
