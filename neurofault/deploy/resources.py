"""What a network takes from each core: neurons, synapse memory, input and output axons; and how many words it stores.

Counting rules (nengo-loihi, ``SynapseConfig.bits_per_axon``, ``MAX_IN_AXONS``, ``MAX_OUT_AXONS``; one block is one core):

* **synapse memory**: a core keeps one row of synapses for each source neuron that reaches it. A row of n synapses is cut into
  blocks; each block holds ``synapses · bits + header`` bits, filled up to whole words. Bits of a synapse: weight, delay where
  the layer has delays, tag where it learns, and a target index where the row is sparse (an expanded convolution).
* **shared kernels**: where the profile says that the positions of a convolution read one kernel, a core stores for each output
  channel that it holds, even in part, that channel's kernel once, as one row.
* **in-axons**: distinct source neurons that reach a core (times the profile's entries a learning connection, where it learns).
* **out-axons**: for each neuron of a core, the distinct cores that it reaches.

Weights of zero are stored like any other. A number that the profile does not know adds nothing (no header, no filling up).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import fan_in, fan_out
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import UsageError
from neurofault.graph import Conv, Dense

Resource = Literal["neurons", "synapse_bits", "in_axons", "out_axons"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)
"""Resources of a core, named as in the profile's ``core`` section."""


class Demand(NamedTuple):
    """What some neurons of one layer take from the core that holds them all.

    Attributes:
        synapse_bits: synapse memory, in bits.
        in_axons: entries of the input axon table.
        fan_out: int64 [n_in], synapses from each source neuron to these neurons.
    """

    synapse_bits: int
    in_axons: int
    fan_out: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Usage:
    """Use of each resource by each core in use.

    Attributes:
        cores: int64 [k], sorted ids of the cores that hold neurons.
        used: for each resource, int64 [k].
        limits: for each resource, what one core has; None: not known, not checked.
    """

    cores: NDArray[np.int64]
    used: Mapping[Resource, NDArray[np.int64]]
    limits: Mapping[Resource, int | None]

    def of(self, core: int) -> dict[Resource, tuple[int, int | None]]:
        """Return (used, limit or None) of each resource of one core; a core that holds nothing uses 0."""
        at = np.flatnonzero(self.cores == core)
        return {name: (int(self.used[name][at].sum()), self.limits[name]) for name in RESOURCES}


def limits(profile: HardwareProfile) -> dict[Resource, int | None]:
    """Return what one core has of each resource; None: not known, not checked."""
    return {name: getattr(profile.core, name).value for name in RESOURCES}


def shares_kernels(layer: ChipLayer, profile: HardwareProfile) -> bool:
    """Say whether the positions of this layer that share a core read the same stored kernel."""
    return isinstance(layer.synapses, Conv) and bool(profile.synapse.shared_kernels.value)


def row_bits(counts: NDArray[np.integer], synapse_bits: int, profile: HardwareProfile) -> NDArray[np.int64]:
    """Return the bits that a row of synapses takes, header and filling included.

    Args:
        counts: synapses of each row, any shape; 0 takes nothing.
        synapse_bits: bits of one synapse.
        profile: for the size of blocks, headers and words.
    """
    rows = np.asarray(counts, np.int64)
    header = profile.synapse.block_header_bits.value or 0
    word = profile.synapse.word_bits.value or 1

    def block(synapses: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(synapses > 0, -(-(synapses * synapse_bits + header) // word) * word, 0)

    size = profile.synapse.block_synapses.value
    if size is None:
        return block(rows)
    full, rest = np.divmod(rows, size)
    return full * block(np.asarray(size)) + block(rest)


def synapse_bits(layer: ChipLayer, profile: HardwareProfile, learns: bool = False, targets: int = 1) -> int:
    """Return the bits of one stored synapse of a layer: weight, delay, tag and target index.

    Args:
        layer: layer 1 or later.
        profile: for the width of delay, tag and index.
        learns: whether the layer's synapses learn.
        targets: neurons of the layer in the core, which a sparse row's index must tell apart.
    """
    bits = layer.weight_bits
    if isinstance(layer.synapses, Dense) and layer.synapses.delay is not None:
        bits += profile.synapse.delay_bits.value or 0
    if learns:
        bits += profile.synapse.tag_bits.value or 0
    if isinstance(layer.synapses, Conv) and not shares_kernels(layer, profile):
        needed = (targets - 1).bit_length()
        allowed = profile.synapse.index_bits.value or (needed,)
        bits += min((width for width in allowed if width >= needed), default=max(allowed))
    return bits


def demand(layer: ChipLayer, targets: NDArray[np.bool_], profile: HardwareProfile, learns: bool = False) -> Demand:
    """Return what the chosen neurons of a layer take from a core that holds exactly these.

    Args:
        layer: layer 1 or later.
        targets: bool [n_out], the neurons in the core.
        profile: the chip.
        learns: whether the layer's synapses learn.
    """
    assert layer.synapses is not None
    reach = fan_out(layer.synapses, targets)
    bits = synapse_bits(layer, profile, learns, int(np.count_nonzero(targets)))
    if shares_kernels(layer, profile):
        assert isinstance(layer.synapses, Conv)
        channels = int(np.count_nonzero(targets.reshape(len(layer.synapses.weight), -1).any(axis=1)))
        memory = channels * int(row_bits(np.asarray(_kernel_words(layer.synapses)), bits, profile))
    else:
        lengths, rows = np.unique(reach, return_counts=True)
        memory = int((row_bits(lengths, bits, profile) * rows).sum())
    entries = profile.learning.in_axons_per_connection.value if learns else None
    return Demand(memory, int(np.count_nonzero(reach)) * (entries or 1), reach)


def usage(deployment: Deployment, learning: Collection[int] = ()) -> Usage:
    """Count what each core in use holds, damaged or not.

    Args:
        deployment: a placed network.
        learning: indices of the layers whose synapses learn; they store tags and may take more in-axons.

    Raises:
        UsageError: if ``learning`` names a layer without synapses.
    """
    check_learning(deployment.layers, learning)
    placement = deployment.placement
    cores = placement.used_cores
    used = {name: np.zeros(len(cores), np.int64) for name in RESOURCES}
    for index, layer in enumerate(deployment.layers):
        seats = np.searchsorted(cores, placement.core_of[index])
        used["neurons"] += np.bincount(seats, minlength=len(cores))
        if index == 0:
            continue
        destinations = np.zeros(deployment.layers[index - 1].size, np.int64)
        for seat in np.unique(seats):
            need = demand(layer, seats == seat, deployment.profile, index in learning)
            used["synapse_bits"][seat] += need.synapse_bits
            used["in_axons"][seat] += need.in_axons
            destinations += need.fan_out > 0
        np.add.at(used["out_axons"], np.searchsorted(cores, placement.core_of[index - 1]), destinations)
    return Usage(cores, used, limits(deployment.profile))


def stored_words(deployment: Deployment, layer: int) -> NDArray[np.int64]:
    """Count the synapse words that each core of a layer stores; their sum is the layer's.

    With shared kernels one word is a kernel element of an output channel in a core, and many synapses read it; else each
    synapse has a word of its own.

    Args:
        deployment: a placed network.
        layer: index of the target layer; layer 0 stores none.

    Returns:
        int64 [k], in the order of ``placement.cores_of_layer(layer)``.
    """
    target = deployment.layers[layer]
    cores, seats = np.unique(deployment.placement.core_of[layer], return_inverse=True)
    if target.synapses is None:
        return np.zeros(len(cores), np.int64)
    if not shares_kernels(target, deployment.profile):
        words = np.zeros(len(cores), np.int64)
        np.add.at(words, seats, fan_in(target.synapses))
        return words
    assert isinstance(target.synapses, Conv)
    channels = len(target.synapses.weight)
    channel = np.arange(target.size) // (target.size // channels)
    present = np.unique(seats * channels + channel) // channels
    return np.bincount(present, minlength=len(cores)) * _kernel_words(target.synapses)


def check_learning(layers: Collection[ChipLayer], learning: Collection[int]) -> None:
    """Refuse indices of layers that have no synapses.

    Raises:
        UsageError: naming the first such index.
    """
    for index in learning:
        if not 1 <= index < len(layers):
            raise UsageError(f"learning: layer {index} has no synapses; layers with synapses are 1 to {len(layers) - 1}")


def _kernel_words(conv: Conv) -> int:
    """Kernel elements of one output channel."""
    return int(np.prod(conv.weight.shape[1:]))
