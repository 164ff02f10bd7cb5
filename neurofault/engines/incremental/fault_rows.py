"""From edits of a deployment to rows of a batch that the incremental engine takes, and from packed arrays to its flat network. Chains only.

A layer is a population of the chain with the connection that drives it; layers are numbered from 0, the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage, Detour, Edit, Force, LearningDefect, SetSynapses, Silence
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import STREAM
from neurofault.engines.exact.packing import NO_WIRES, exponent_out_of_range, pack
from neurofault.engines.incremental.fault_table import FaultTable
from neurofault.engines.incremental.trains import MOST_STEPS, Net
from neurofault.engines.wiring import edits_of
from neurofault.errors import UsageError
from neurofault.graph.chains import ChainLink, links, not_a_chain
from neurofault.graph.chip import ChipConnection, ChipPopulation, unusual_law
from neurofault.graph.connectivity import conv_weights
from neurofault.graph.readout import unusual_readout
from neurofault.graph.synapses import Conv, Dense, Sparse

_INT16 = int(np.iinfo(np.int16).max)
_MOST_WEIGHT = 1 << 20


ChipLink = ChainLink[ChipPopulation, ChipConnection]


def chain_of(deployment: Deployment) -> tuple[ChipLink, ...]:
    """Return the layers of a chain.

    Raises:
        UnsupportedError: it is none; the text names what makes it more.
    """
    return links(deployment, "the incremental engine")


def refusal(deployment: Deployment) -> str | None:
    """Return None if a deployment can be the healthy side of an incremental run, else why not, naming the layer."""
    if deployment.timesteps > MOST_STEPS:
        return f"{deployment.timesteps} steps: a spike train is one word of {MOST_STEPS} bits"
    if deployment.reset == "never":
        return STREAM
    if (reason := not_a_chain(deployment)) is not None:
        return f"a graph that is no chain: {reason}"
    layers = chain_of(deployment)
    if len(layers) < 2:
        return f"layer {layers[0].population.name!r} alone: there is nothing behind it"
    if not deployment.damage.plain:
        return "damage that acts in time windows or alters parameters"
    reason = exponent_out_of_range(deployment) or unusual_law(deployment.populations) or unusual_readout(deployment.readout)
    if reason is not None:
        return reason
    for link in layers[1:]:
        reason = _refused_synapses(deployment, link.incoming)
        if reason is not None:
            return f"layer {link.population.name!r}: {reason}"
    if not isinstance(layers[-1].incoming.synapses, Dense):
        return f"layer {layers[-1].population.name!r}: an output layer that is a convolution"
    return None


def _refused_synapses(deployment: Deployment, connection: ChipConnection) -> str | None:
    match connection.synapses:
        case Sparse():
            return "synapses that are listed one by one"
        case Dense(delay=delay) | Conv(delay=delay) if delay is not None:
            return "synapses with delays"
        case Dense(weight=weight):
            values = np.abs(weight.astype(np.int64)).max(initial=0)
            if 8 * max(int(values), int(np.abs(edits_of(deployment, connection.name).values).max(initial=0))) > _INT16:
                return "weights of more than 13 bits"
        case Conv(weight=weight):
            if int(np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0)) > _INT16:
                return "sums of more than 16 bits"
            if deployment.damage.synapse_edits(connection.name):
                return "a convolution with edited synapses"
    return None


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """A network as the kernels read it, and where each neuron went.

    Attributes:
        net: the arrays.
        place_of: for each layer, int64 [n], number in ``net`` of each neuron in public (C, H, W) order.
        input_order: int64 [n], public index of each input neuron of ``net``.
    """

    net: Net
    place_of: tuple[NDArray[np.int64], ...]
    input_order: NDArray[np.int64]


def flatten(deployment: Deployment) -> FlatNetwork:
    """Lay a deployment that :func:`refusal` has nothing against out for the kernels."""
    layers, packed = chain_of(deployment), pack(deployment)
    own = [packed.populations[link.population.name] for link in layers]
    wires = [NO_WIRES if link.connection is None else packed.wires[link.connection.name] for link in layers]
    count = len(layers)
    size = np.array([one.order.size for one in own], np.int64)
    kind = np.zeros(count, np.int64)
    lanes = -(-size // 16) * 16
    positions = np.ones(count, np.int64)
    for link in layers[1:]:
        synapses = link.incoming.synapses
        kind[link.index] = 1 if isinstance(synapses, Dense) else 2
        if isinstance(synapses, Conv):
            channels, height, width = synapses.out_shape
            lanes[link.index], positions[link.index] = channels, height * width
    base = np.concatenate([[0], np.cumsum(lanes * positions)]).astype(np.int64)
    sums = np.concatenate([[0, 0], np.cumsum((lanes * positions)[1:] * deployment.timesteps)]).astype(np.int64)
    rows = [one.rows.weights[:, :width].astype(np.int16).ravel() for one, width in zip(wires, lanes, strict=True)]
    words = [one.taps.kernel.astype(np.int16) for one in wires]
    tables = [one.taps.table for one in wires]

    def starts(parts: Sequence[NDArray[np.generic]]) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(part) for part in parts[:-1])]).astype(np.int64)

    def padded(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one.neurons, name)[:stop] for one, stop in zip(own, lanes * positions, strict=True)])

    def each(values: Sequence[int]) -> NDArray[np.int64]:
        return np.array(values, np.int64)

    last, how = own[-1].neurons, deployment.readout.how
    net = Net(
        deployment.timesteps, size, positions, lanes, base, sums, kind, np.concatenate(rows), starts(rows),
        each([one.rows.run for one in wires]), np.concatenate(words), starts(words),
        np.concatenate(tables), starts(tables), np.stack([one.taps.pitch for one in wires]), padded("keep_u"),
        padded("keep_v"), padded("threshold"), padded("start"),
        np.concatenate([one.bias[0, :stop] for one, stop in zip(own, lanes * positions, strict=True)]),
        each([one.neurons.remembers for one in own]), each([one.neurons.leaks for one in own]),
        each([one.left for one in wires]), each([one.right for one in wires]),
        not (last.remembers or last.leaks or wires[-1].right) and how == "potential",
        int(np.abs(wires[-1].rows.weights.astype(np.int64)).max(initial=0)),
        how == "count",
        deployment.damage.silent(layers[-1].population.name, layers[-1].population.size),
    )  # fmt: skip
    place_of = tuple(np.argsort(one.order) + first for one, first in zip(own, base[:-1], strict=True))
    return FlatNetwork(net, place_of, own[0].order)


@dataclass(frozen=True, eq=False)
class FaultBatch:
    """Faults on one deployment, one a row.

    Attributes:
        deployment: the healthy side.
        rows: as the kernels read them.
    """

    deployment: Deployment
    rows: FaultTable

    def __len__(self) -> int:
        return self.rows.faults


def _weights_at(
    deployment: Deployment, connection: ChipConnection, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the weights that the healthy side reads now."""
    synapses = connection.synapses
    if isinstance(synapses, Conv):
        return conv_weights(synapses, sources, targets)
    assert isinstance(synapses, Dense)
    if not deployment.damage.synapse_edits(connection.name):
        return synapses.weight[targets, sources].astype(np.int64)
    edits = edits_of(deployment, connection.name)
    weights = synapses.weight.astype(np.int32)
    weights[edits.targets, edits.sources] = edits.values
    return weights[targets, sources].astype(np.int64)


def synapse_rows(
    deployment: Deployment,
    layer: int,
    sources: NDArray[np.integer],
    targets: NDArray[np.integer],
    values: NDArray[np.integer],
    flat: FlatNetwork | None = None,
) -> FaultBatch:
    """Return faults of one synapse each: ``values`` is what the chip reads instead.

    Args:
        deployment: the healthy side.
        layer: number of the target layer, at least 1.
        sources: int [F], neurons in public order, and
        targets: int [F], likewise.
        values: int [F], weights as Lava reads them.
        flat: the network if it is laid out already.

    Raises:
        UsageError: a layer or neuron does not exist, or a value is too large.
    """
    layers = chain_of(deployment)
    if not 1 <= layer < len(layers):
        raise UsageError(f"layer {layer} has no synapses; layers with synapses are 1 to {len(layers) - 1}")
    sources, targets, values = (np.asarray(part).astype(np.int64) for part in (sources, targets, values))
    for label, ids, size in (
        ("source", sources, layers[layer - 1].population.size),
        ("target", targets, layers[layer].population.size),
    ):
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise UsageError(
                f"layer {layers[layer].population.name!r}: a synapse fault names {label} {ids.min()}…{ids.max()}, "
                f"allowed are 0…{size - 1}"
            )
    laid = flat or flatten(deployment)
    delta = values - _weights_at(deployment, layers[layer].incoming, sources, targets)
    columns = np.stack(
        [
            np.arange(len(sources)),
            np.full(len(sources), layer),
            laid.place_of[layer][targets],
            laid.place_of[layer - 1][sources],
            delta,
        ]
    )
    return _batch(deployment, laid, len(sources), np.empty((5, 0), np.int64), np.empty(0, np.uint64), columns)


def neuron_rows(
    deployment: Deployment, groups: Sequence[Sequence[tuple[int, NDArray[np.integer]]]], flat: FlatNetwork | None = None
) -> FaultBatch:
    """Return faults that silence neurons: for each fault its (number of the layer, neurons in public order), each layer once."""
    layers = chain_of(deployment)
    return edit_rows(
        deployment,
        [
            [Silence(layers[layer].population.name, np.unique(np.asarray(neurons, np.int64))) for layer, neurons in group]
            for group in groups
        ],
        flat,
    )


def accepts(deployment: Deployment, edits: Sequence[Edit]) -> bool:
    """Say whether a fault made of these edits, on top of a chain, can be a row: all of them act for good."""
    for edit in edits:
        match edit:
            case LearningDefect() | Detour():
                pass
            case Silence(when=when):
                if not when.always:
                    return False
            case Force(when=when, population=population):
                if not when.always or population == deployment.readout.population:
                    return False
            case SetSynapses(when=when, connection=connection, values=values):
                dense = deployment.connection(connection).synapses
                if not when.always or int(np.abs(values.astype(np.int64)).max(initial=0)) >= _MOST_WEIGHT:
                    return False
                if isinstance(dense, Dense) and dense.delay is not None:
                    return False
            case _:
                return False
    return True


def edit_rows(
    deployment: Deployment, faults: Sequence[Sequence[Edit]], flat: FlatNetwork | None = None, *, whole: bool = False
) -> FaultBatch:
    """Return faults given by their edits, in the order in which they act, on top of the deployment's own damage.

    Args:
        deployment: the healthy side, a chain.
        faults: the edits of each.
        flat: the network if it is laid out already.
        whole: whether single synapses are followed like everything else, so that spikes can be counted.

    Raises:
        UsageError: an edit that :func:`accepts` refuses, or that names a neuron that does not exist.
    """
    laid, layers = flat or flatten(deployment), chain_of(deployment)
    units: list[NDArray[np.int64]] = []
    trains: list[NDArray[np.uint64]] = []
    weights: list[NDArray[np.int64]] = []
    for row, edits in enumerate(faults):
        if not accepts(deployment, edits):
            raise UsageError("the incremental engine takes only dead and stuck neurons and changed weights that last for good")
        for link in layers:
            layer, place = link.index, laid.place_of[link.index]
            named = [edit for edit in edits if isinstance(edit, Silence | Force) and edit.population == link.population.name]
            changed = [
                edit
                for edit in edits
                if isinstance(edit, SetSynapses) and link.connection is not None and edit.connection == link.connection.name
            ]
            if not named and not changed:
                continue
            fixed = _fixed_trains(deployment, link.population, named)
            own = np.array(sorted(fixed), np.int64)
            units.append(np.stack([np.full(len(own), row), np.full(len(own), layer), place[own]]))
            trains.append(np.array([fixed[neuron] for neuron in own.tolist()], np.uint64))
            if changed:
                found = edits_of(_with_edits(deployment, link.incoming.name, changed), link.incoming.name)
                delta = found.values - _weights_at(deployment, link.incoming, found.sources, found.targets)
                among = (delta != 0) & ~np.isin(found.targets, own)
                sources, targets, delta = found.sources[among], found.targets[among], delta[among]
                columns = [
                    np.full(len(delta), row),
                    np.full(len(delta), layer),
                    place[targets],
                    laid.place_of[layer - 1][sources],
                    delta,
                ]
                weights.append(np.stack(columns))
    fixed_units = np.concatenate([np.empty((3, 0), np.int64), *units], axis=1)
    columns5 = np.concatenate([np.empty((5, 0), np.int64), *weights], axis=1)
    return _batch(deployment, laid, len(faults), fixed_units, np.concatenate([np.empty(0, np.uint64), *trains]), columns5, whole)


def _with_edits(deployment: Deployment, connection: str, edits: Sequence[SetSynapses]) -> Deployment:
    return deployment.with_damage(Damage((*deployment.damage.synapse_edits(connection), *edits)))


def _fixed_trains(deployment: Deployment, population: ChipPopulation, edits: Sequence[Silence | Force]) -> dict[int, int]:
    """Neuron → train of the neurons of a population whose spikes no longer depend on what arrives."""
    fixed: dict[int, int] = {}
    for edit in edits:
        if isinstance(edit, Force):
            spikes = edit.spikes(deployment.timesteps)
            word = sum(1 << step for step in range(deployment.timesteps) if spikes[step])
            fixed.update(dict.fromkeys(edit.neurons.tolist(), word))
    for edit in edits:  # nothing can make a silent neuron fire
        if isinstance(edit, Silence):
            fixed.update(dict.fromkeys(edit.neurons.tolist(), 0))
    size = population.size
    if fixed:
        dead = deployment.damage.silent(population.name, size)
        fixed = {neuron: 0 if neuron < dead.size and dead[neuron] else word for neuron, word in fixed.items()}
    if fixed and not 0 <= min(fixed) <= max(fixed) < size:
        raise UsageError(f"layer {population.name!r}: an edit names neuron {max(fixed)}, allowed are 0…{size - 1}")
    return fixed


def _batch(
    deployment: Deployment,
    laid: FlatNetwork,
    count: int,
    fixed: NDArray[np.int64],
    trains: NDArray[np.uint64],
    weights: NDArray[np.int64],
    whole: bool = False,
) -> FaultBatch:
    """Sort units and single synapses into rows.

    Args:
        deployment: the healthy side.
        laid: its network.
        count: F.
        fixed: int64 [3, k]: row, layer, neuron.
        trains: uint64 [k], of the fixed neurons.
        weights: int64 [5, m]: row, layer, target, source, delta.
        whole: whether no fault is taken as a single synapse.
    """
    per_row = np.bincount(weights[0], minlength=count)
    has_fixed = np.zeros(count, bool)
    has_fixed[fixed[0]] = True
    single_row = (per_row == 1) & ~has_fixed & (not whole)
    single = single_row[weights[0]]
    alone = weights[:, single & (weights[4] != 0)]
    net = laid.net
    starts = np.concatenate([[0], np.cumsum(net.size[:-1])]).astype(np.int64)
    source = starts[alone[1] - 1] + alone[3] - net.base[alone[1] - 1]
    order = np.lexsort((alone[2], source))
    alone, source = alone[:, order], source[order]
    first = np.searchsorted(source, np.arange(starts[-1] + 1)).astype(np.int64)
    rest = weights[:, ~single]
    rest = rest[:, np.lexsort((rest[2], rest[1], rest[0]))]
    heads = np.flatnonzero(np.any(np.diff(rest[:3], axis=1, prepend=-1) != 0, axis=0)) if rest.shape[1] else np.empty(0, np.int64)
    ends = np.append(heads, rest.shape[1])
    n_units = len(heads) + fixed.shape[1]
    unit_row = np.concatenate([rest[0, heads], fixed[0]])
    unit_layer = np.concatenate([rest[1, heads], fixed[1]])
    unit_neuron = np.concatenate([rest[2, heads], fixed[2]])
    unit_fixed = np.repeat(np.array([0, 1], np.uint8), [len(heads), fixed.shape[1]])
    unit_train = np.concatenate([np.zeros(len(heads), np.uint64), trains])
    by_row = np.lexsort((unit_neuron, unit_layer, unit_row))
    lengths = np.concatenate([np.diff(ends), np.zeros(fixed.shape[1], np.int64)])[by_row]
    begin = np.concatenate([heads, np.zeros(fixed.shape[1], np.int64)])[by_row]
    edits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    pick = np.repeat(begin - edits[:-1], lengths) + np.arange(edits[-1]) if n_units else np.empty(0, np.int64)
    others = np.unique(unit_row)
    windows = np.append(np.searchsorted(unit_row[by_row], others), n_units).astype(np.int64)
    rows = FaultTable(
        count, windows, others.astype(np.int64), unit_layer[by_row], unit_neuron[by_row], unit_fixed[by_row], unit_train[by_row],
        edits, rest[3][pick], rest[4][pick].astype(np.int32), starts, first, alone[0], alone[2], alone[4].astype(np.int32),
    )  # fmt: skip
    return FaultBatch(deployment, rows)
