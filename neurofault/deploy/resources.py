"""What a network takes from each core: neurons, synapse memory, input and output axons; and how many words it stores.

Counting rules (nengo-loihi, ``SynapseConfig.bits_per_axon``, ``MAX_IN_AXONS``, ``MAX_OUT_AXONS``; one block is one core):

* **synapse memory**: a core keeps, of each connection, one row of synapses for each source neuron that reaches it. A row of n synapses is
  cut into blocks; each block holds ``synapses · bits + header`` bits, filled up to whole words. Bits of a synapse: weight, delay where
  the connection has delays, tag where it learns, and a target index where the row is sparse (an expanded convolution).
* **shared kernels**: where the profile says that the positions of a convolution read one kernel, a core stores for each output
  channel that it holds, even in part, that channel's kernel once, as one row.
* **in-axons**: of each connection, the source neurons that reach a core (times the profile's entries a learning connection, where it learns).
* **crossbar** (``synapse.format: crossbar``): a synapse is a bit a crossing, without index, delay or tag; each source neuron takes an in-axon for each
  bit of its weights.
* **out-axons**: for each neuron of a core, of each connection, the cores that it reaches.

What several connections into the neurons of a core take adds up. Weights of zero are stored like any other. A number that the profile does not know adds nothing (no header, no filling up).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import UsageError, nearest
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import fan_in, fan_out
from neurofault.graph.synapses import Conv, Dense, Sparse

Resource = Literal["neurons", "synapse_bits", "in_axons", "out_axons"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)
"""Resources of a core, named as in the profile's ``core`` section."""


class Demand(NamedTuple):
    """What the synapses of a connection into some neurons take from the core that holds them all.

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
        limits: for each resource, what one core has, where they differ the largest; None: not known, not checked.
        own: the same of each core in use.
    """

    cores: NDArray[np.int64]
    used: Mapping[Resource, NDArray[np.int64]]
    limits: Mapping[Resource, int | None]
    own: tuple[Mapping[str, int | None], ...]

    def of(self, core: int) -> dict[Resource, tuple[int, int | None]]:
        """Return (used, limit or None) of each resource of one core; a core that holds nothing uses 0."""
        at = np.flatnonzero(self.cores == core)
        return {
            name: (int(self.used[name][at].sum()), self.own[at[0]][name] if at.size else self.limits[name]) for name in RESOURCES
        }


def limits(profile: HardwareProfile) -> dict[Resource, int | None]:
    """Return what one core has of each resource, where they differ the largest; None: not known, not checked."""
    found: dict[Resource, int | None] = {name: getattr(profile.core, name).value for name in RESOURCES}
    if (layers := profile.core.layers) is not None:
        found["neurons"] = None if layers.neurons.value is None else max(layers.neurons.value)
        found["synapse_bits"] = None if layers.synapse_bits.value is None else max(layers.synapse_bits.value)
    return found


def core_limits(profile: HardwareProfile, core: int) -> dict[str, int | None]:
    """Return what a core has of each resource, and of ``biases`` where the profile says so; None: not known, not checked."""
    found: dict[str, int | None] = dict(limits(profile).items())
    if (layers := profile.core.layers) is not None:
        local = core % profile.chip.cores.known
        for name in ("neurons", "synapse_bits", "biases"):
            each = getattr(layers, name).value
            found[name] = None if each is None else each[local]
    return found


def _padded(profile: HardwareProfile) -> bool:
    return profile.core.layers is not None and bool(profile.core.layers.padded.value)


def stored_neurons(population: ChipPopulation, profile: HardwareProfile) -> int:
    """Return how many places of a neuron memory a whole population takes: its size, or (``core.layers.padded``) that of its addresses."""
    if not _padded(profile):
        return population.size
    channels, height, width = _map(population.shape)
    return channels << ((height - 1).bit_length() + (width - 1).bit_length())


def stored_biases(population: ChipPopulation) -> int:
    """Return how many biases a whole population takes: none where all are 0, one a channel where its neurons share one, else one a neuron."""
    if population.is_source or not np.any(population.bias_mantissa):
        return 0
    each = population.bias_mantissa.reshape(_map(population.shape)[0], -1)
    return len(each) if bool((each == each[:, :1]).all()) else population.size


def _map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return a population's shape as channels, height and width; neurons in a row are channels."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return int(np.prod(shape)), 1, 1


def sum_pooled(connection: ChipConnection, sources: tuple[int, ...] | None, profile: HardwareProfile) -> int:
    """Return the width of the windows over which a connection's weights are the same, of those that the chip pools before it stores them; 1: none.

    A sum pool in front of a convolution or a dense layer is in its kernel here, each weight k·k times.

    Args:
        connection: with all its weights.
        sources: shape of its source, where it is at hand.
        profile: the chip; ``core.layers.sum_pools`` says what it pools.
    """
    synapses, layers = connection.synapses, profile.core.layers
    widths = () if layers is None or layers.sum_pools.value is None else layers.sum_pools.value
    match synapses:
        case Conv(dilation=(1, 1)):
            kernel, steps = synapses.weight, [*synapses.stride, *synapses.padding]
        case Dense() if sources is not None and len(sources) == 3:
            kernel, steps = synapses.weight.reshape(synapses.n_out, *sources), list[int]()
        case _:
            return 1
    height, width = kernel.shape[2:]
    for k in sorted(widths, reverse=True):
        if k > 1 and not any(one % k for one in (height, width, *steps)):
            windows = kernel.reshape(*kernel.shape[:2], height // k, k, width // k, k)
            if np.array_equal(windows, np.broadcast_to(windows[:, :, :, :1, :, :1], windows.shape)):
                return k
    return 1


def _padded_words(connection: ChipConnection, sources: tuple[int, ...] | None, profile: HardwareProfile) -> int:
    """Return the addresses of a connection's weights: a kernel of its own size, or, of other synapses, as large as the source's map."""
    synapses, pool = connection.synapses, sum_pooled(connection, sources, profile)
    if isinstance(synapses, Conv):
        outputs, channels, height, width = map(int, synapses.weight.shape)
    else:
        (channels, height, width), outputs = _map((synapses.n_in,) if sources is None else sources), synapses.n_out
    return channels << ((height // pool * (width // pool) - 1).bit_length() + (outputs - 1).bit_length())


def shares_kernels(connection: ChipConnection, profile: HardwareProfile) -> bool:
    """Say whether the target's positions that share a core read the same stored kernel."""
    return isinstance(connection.synapses, Conv) and bool(profile.synapse.shared_kernels.value)


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


def synapse_bits(connection: ChipConnection, profile: HardwareProfile, learns: bool = False, targets: int = 1) -> int:
    """Return the bits of one stored synapse of a connection: weight, delay, tag and target index.

    Args:
        connection: whose synapse it is.
        profile: for the width of delay, tag and index.
        learns: whether the connection's synapses learn.
        targets: neurons of the target in the core, which a sparse row's index must tell apart.
    """
    bits = connection.weight_bits
    if profile.synapse.format == "crossbar":
        return bits
    if connection.synapses.delay is not None or connection.delay > 1:
        bits += profile.synapse.delay_bits.value or 0
    if learns:
        bits += profile.synapse.tag_bits.value or 0
    if isinstance(connection.synapses, Conv | Sparse) and not shares_kernels(connection, profile):
        needed = (targets - 1).bit_length()
        allowed = profile.synapse.index_bits.value or (needed,)
        bits += min((width for width in allowed if width >= needed), default=max(allowed))
    return bits


def demand(
    connection: ChipConnection,
    targets: NDArray[np.bool_],
    profile: HardwareProfile,
    learns: bool = False,
    sources: tuple[int, ...] | None = None,
) -> Demand:
    """Return what a connection takes from a core that holds exactly some neurons of its target.

    Args:
        connection: whose synapses they are.
        targets: bool [n_out], the neurons in the core.
        profile: the chip.
        learns: whether the connection's synapses learn.
        sources: shape of the source, where it is at hand: on ``padded`` cores a dense connection is a kernel of its size.
    """
    synapses = connection.synapses
    reach = fan_out(synapses, targets)
    if _padded(profile):
        return Demand(_padded_words(connection, sources, profile) * connection.weight_bits, int(np.count_nonzero(reach)), reach)
    bits = synapse_bits(connection, profile, learns, int(np.count_nonzero(targets)))
    if shares_kernels(connection, profile):
        assert isinstance(synapses, Conv)
        channels = int(np.count_nonzero(targets.reshape(len(synapses.weight), -1).any(axis=1)))
        memory = channels * int(row_bits(np.asarray(_kernel_words(synapses)), bits, profile))
    else:
        lengths, rows = np.unique(reach, return_counts=True)
        memory = int((row_bits(lengths, bits, profile) * rows).sum())
    return Demand(memory, int(np.count_nonzero(reach)) * entries(connection, profile, learns), reach)


def entries(connection: ChipConnection, profile: HardwareProfile, learns: bool) -> int:
    """Return how many entries of the input axon table a source neuron takes; of a crossbar: axons, one a bit of its weights."""
    types = profile.synapse.axon_types
    each = min(connection.weight_bits, types.known) if profile.synapse.format == "crossbar" and types is not None else 1
    return each * (profile.learning.in_axons_per_connection.value or 1) if learns else each


def usage(deployment: Deployment, learning: Collection[str] = ()) -> Usage:
    """Count what each core in use holds, damaged or not.

    Args:
        deployment: a placed network.
        learning: names of the connections whose synapses learn; they store tags and may take more in-axons.

    Raises:
        UsageError: if ``learning`` names a connection that is not there.
    """
    check_learning(deployment.connections, learning)
    core_of = deployment.placement.core_of
    cores = deployment.placement.used_cores
    used = {name: np.zeros(len(cores), np.int64) for name in RESOURCES}
    seats = {name: np.searchsorted(cores, own) for name, own in core_of.items()}
    for one in deployment.populations:
        own = np.bincount(seats[one.name], minlength=len(cores))
        used["neurons"] += own if not _padded(deployment.profile) else np.minimum(own, 1) * stored_neurons(one, deployment.profile)
    for connection in deployment.connections:
        destinations = np.zeros(connection.synapses.n_in, np.int64)
        for seat in np.unique(seats[connection.target]):
            targets = seats[connection.target] == seat
            shape = deployment.population(connection.source).shape
            need = demand(connection, targets, deployment.profile, connection.name in learning, shape)
            used["synapse_bits"][seat] += need.synapse_bits
            used["in_axons"][seat] += need.in_axons
            destinations += need.fan_out > 0
        np.add.at(used["out_axons"], seats[connection.source], destinations)
    return Usage(cores, used, limits(deployment.profile), tuple(core_limits(deployment.profile, core) for core in cores.tolist()))


def stored_words(deployment: Deployment, connection: str) -> NDArray[np.int64]:
    """Count the synapse words of a connection that each core of its target stores; their sum is the connection's.

    With shared kernels one word is a kernel element of an output channel in a core, and many synapses read it; else each
    synapse has a word of its own. Where the chip pools windows of the source, there is one for a window.

    Args:
        deployment: a placed network.
        connection: its name.

    Returns:
        int64 [k], in the order of ``placement.cores_of(target)``.
    """
    own = deployment.connection(connection)
    window = sum_pooled(own, deployment.population(own.source).shape, deployment.profile) ** 2
    cores, seats = np.unique(deployment.placement.core_of[own.target], return_inverse=True)
    if not shares_kernels(own, deployment.profile):
        words = np.zeros(len(cores), np.int64)
        np.add.at(words, seats, fan_in(own.synapses))
        return words // window
    assert isinstance(own.synapses, Conv)
    channels = len(own.synapses.weight)
    channel = np.arange(own.synapses.n_out) // (own.synapses.n_out // channels)
    present = np.unique(seats * channels + channel) // channels
    return np.bincount(present, minlength=len(cores)) * (_kernel_words(own.synapses) // window)


def check_learning(connections: Collection[ChipConnection], learning: Collection[str]) -> None:
    """Refuse names of connections that are not there.

    Raises:
        UsageError: naming the first such name.
    """
    known = [one.name for one in connections]
    for name in learning:
        if name not in known:
            raise UsageError(f"learning: no connection {name!r}{nearest(name, known)}; connections: {', '.join(known)}")


def _kernel_words(conv: Conv) -> int:
    """Kernel elements of one output channel."""
    return int(np.prod(conv.weight.shape[1:]))
