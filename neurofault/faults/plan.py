"""From a fault model to a plan: exactly which cores, neurons and synapses, as edits of a deployment's data.

Sites are drawn from streams keyed by (seed, kind, place, draw): neither the count nor the rate nor what is already broken is part
of the key, so k faults are the first k of one order, and injecting 2 and then 4 dead cores with one seed leaves 4 dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.damage import Edit, Hit, SetSynapses, Silence
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.models import CoreDead, Fault, NeuronDead, SynapseDead, fault_from_mapping
from neurofault.faults.places import (
    Block,
    core_blocks,
    how_many,
    layers_named,
    neuron_blocks,
    pick,
    stored_synapses,
    synapse_blocks,
    synapses_at,
)
from neurofault.network import Conv, Dense
from neurofault.streams import stream_key

_SHOWN = 8
"""Sites that a `Hit` names one by one."""


@dataclass(frozen=True, eq=False)
class PlannedFault:
    """One resolved fault.

    Attributes:
        fault: the model.
        edits: what it changes.
        hit: its echo.
        dead_cores: ids of the cores that it kills.
    """

    fault: Fault
    edits: tuple[Edit, ...]
    hit: Hit
    dead_cores: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class FaultPlan:
    """Exactly what breaks, for one draw.

    Attributes:
        faults: in the order in which they act.
        seed, draw: what it was drawn with.
    """

    faults: tuple[PlannedFault, ...]
    seed: int
    draw: int

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The echo of each fault."""
        return tuple(planned.hit for planned in self.faults)


Faults = Fault | Mapping[str, Any] | Sequence[Fault | Mapping[str, Any]]
"""One fault or several, as models or as mappings."""


def plan(deployment: Deployment, faults: Faults, *, seed: int = 0, draw: int = 0) -> FaultPlan:
    """Resolve faults on a deployment, through its placement.

    Args:
        deployment: the chip; what is already broken on it plays no part.
        faults: one model (or its mapping), or several that act in order.
        seed: key of the random streams, with
        draw: which draw of this seed.

    Raises:
        FaultError: everything that does not exist or is out of range, a line each.
    """
    listed = [faults] if isinstance(faults, Fault | Mapping) else list(faults)
    planned: list[PlannedFault] = []
    mistakes: list[str] = []
    for item in listed:
        try:
            planned.append(_resolve(deployment, item if isinstance(item, Fault) else fault_from_mapping(item), seed, draw))
        except FaultError as error:
            mistakes.append(str(error))
    if mistakes:
        raise FaultError("\n".join(mistakes))
    return FaultPlan(tuple(planned), seed, draw)


def _resolve(deployment: Deployment, fault: Fault, seed: int, draw: int) -> PlannedFault:
    try:
        match fault:
            case CoreDead():
                return _core_dead(deployment, fault, seed, draw)
            case NeuronDead():
                return _neuron_dead(deployment, fault, seed, draw)
            case SynapseDead():
                return _synapse_dead(deployment, fault, seed, draw)
    except FaultError as error:
        raise FaultError(f"{fault.kind}: {error}") from None
    raise AssertionError(f"no rule for {fault.kind}")


def _draw_sites(
    deployment: Deployment, fault: Fault, blocks: Sequence[Block], noun: str, seed: int, draw: int
) -> list[tuple[Block, NDArray[np.int64]]]:
    """Choose the sites of a model without an explicit list."""
    population = sum(block.size for block in blocks)
    if not population:
        raise FaultError(f"layer {fault.layer!r} has no {noun}")
    names = ",".join(deployment.layers[layer].name for layer in layers_named(deployment, fault.layer))
    key = stream_key(seed, fault.kind, f"{fault.where}:{names}", draw)
    count = how_many(fault.count, fault.rate, population, key)
    if count > population:
        widen = "" if fault.layer == "any" else "; layer='any' takes all layers"
        raise FaultError(f"{count} {noun} asked for, but layer {fault.layer!r} has only {population}{widen}")
    return pick(blocks, key, count, fault.where, deployment)


def _core_dead(deployment: Deployment, fault: CoreDead, seed: int, draw: int) -> PlannedFault:
    if fault.cores is not None:
        cores = sorted(map(int, fault.cores))
        end = deployment.placement.chips * deployment.placement.cores_per_chip
        beyond = [core for core in cores if core >= end]
        if beyond:
            raise FaultError(f"no core {', '.join(map(str, beyond))}; cores: 0 to {end - 1}")
    else:
        blocks = core_blocks(deployment, layers_named(deployment, fault.layer))
        cores = sorted(block.core for block, _ in _draw_sites(deployment, fault, blocks, "used cores", seed, draw))
    edits: list[Edit] = []
    neurons: dict[str, int] = {}
    synapses: dict[str, int] = {}
    for index, layer in enumerate(deployment.layers):
        lost = np.flatnonzero(np.isin(deployment.placement.core_of[index], cores)).astype(np.int64)
        if lost.size:
            edits.append(Silence(index, lost))
            neurons[layer.name] = len(lost)
            if layer.synapses is not None:
                synapses[layer.name] = stored_synapses(deployment, index, lost)
    return PlannedFault(fault, tuple(edits), Hit(fault.kind, tuple(cores), neurons, synapses), tuple(cores))


def _one_layer(deployment: Deployment, fault: Fault, lowest: int) -> int:
    """Return the one layer that an explicit list is about."""
    layers = layers_named(deployment, fault.layer)
    if len(layers) != 1:
        raise FaultError(f"{fault.listed} are listed, so layer must name one layer, not {fault.layer!r}")
    if layers[0] < lowest:
        raise FaultError(f"layer {fault.layer!r} has no synapses")
    return layers[0]


def _neuron_dead(deployment: Deployment, fault: NeuronDead, seed: int, draw: int) -> PlannedFault:
    chosen: dict[int, list[NDArray[np.int64]]] = {}
    if fault.neurons is not None:
        index = _one_layer(deployment, fault, 0)
        listed = np.array(fault.neurons, np.int64)
        size = deployment.layers[index].size
        if np.any(listed >= size):
            raise FaultError(f"no neuron {int(listed.max())} in layer {deployment.layers[index].name!r}; neurons: 0 to {size - 1}")
        chosen[index] = [listed]
    else:
        blocks = neuron_blocks(deployment, layers_named(deployment, fault.layer))
        for block, sites in _draw_sites(deployment, fault, blocks, "neurons", seed, draw):
            chosen.setdefault(block.layer, []).append(block.neurons[sites])
    edits: list[Edit] = []
    neurons: dict[str, int] = {}
    cores: set[int] = set()
    texts: list[str] = []
    for index in sorted(chosen):
        lost = np.sort(np.concatenate(chosen[index]))
        if lost.size:
            home = deployment.placement.core_of[index][lost]
            name = deployment.layers[index].name
            edits.append(Silence(index, lost))
            neurons[name] = len(lost)
            cores.update(map(int, home))
            texts += [f"core {core}: {name}[{neuron}]" for core, neuron in zip(home[:_SHOWN], lost[:_SHOWN], strict=True)]
    return PlannedFault(fault, tuple(edits), Hit(fault.kind, tuple(sorted(cores)), neurons, {}, tuple(texts[:_SHOWN])))


def _synapse_dead(deployment: Deployment, fault: SynapseDead, seed: int, draw: int) -> PlannedFault:
    chosen: dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    stored: dict[str, int] = {}
    if fault.synapses is not None:
        index = _one_layer(deployment, fault, 1)
        sources, targets = np.array(fault.synapses, np.int64).reshape(-1, 2).T
        missing = ~_exists(deployment, index, sources, targets)
        if missing.any():
            first = int(np.argmax(missing))
            raise FaultError(
                f"no synapse {int(sources[first])} → {int(targets[first])} into layer {deployment.layers[index].name!r}"
            )
        chosen[index] = [(sources, targets)]
        stored[deployment.layers[index].name] = len(sources)
    else:
        blocks = synapse_blocks(deployment, layers_named(deployment, fault.layer))
        for block, sites in _draw_sites(deployment, fault, blocks, "stored synapses", seed, draw):
            chosen.setdefault(block.layer, []).append(synapses_at(deployment, block, sites)[1:])
            name = deployment.layers[block.layer].name
            stored[name] = stored.get(name, 0) + len(sites)
    edits: list[Edit] = []
    cores: set[int] = set()
    texts: list[str] = []
    for index in sorted(chosen):
        sources, targets = (np.concatenate(part) for part in zip(*chosen[index], strict=True))
        home = deployment.placement.core_of[index][targets]
        name = deployment.layers[index].name
        edits.append(SetSynapses(index, sources, targets, np.zeros(len(sources), np.int32)))
        cores.update(map(int, home))
        shown = zip(home[:_SHOWN], sources[:_SHOWN], targets[:_SHOWN], strict=True)
        texts += [f"core {core}: {source} → {name}[{target}]" for core, source, target in shown]
    return PlannedFault(fault, tuple(edits), Hit(fault.kind, tuple(sorted(cores)), {}, stored, tuple(texts[:_SHOWN])))


def _exists(deployment: Deployment, layer: int, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return bool [k]: whether each (source, target) pair has a synapse."""
    synapses = deployment.layers[layer].synapses
    assert isinstance(synapses, Dense | Conv)
    inside = (sources >= 0) & (sources < synapses.n_in) & (targets >= 0) & (targets < synapses.n_out)
    if isinstance(synapses, Dense):
        return inside
    channel, row, column = np.unravel_index(np.where(inside, sources, 0), synapses.in_shape)
    channel_out, y, x = np.unravel_index(np.where(inside, targets, 0), synapses.out_shape)
    same = channel // synapses.weight.shape[1] == channel_out // (synapses.weight.shape[0] // synapses.groups)
    for axis, (position, out) in enumerate(((row, y), (column, x))):
        tap, rest = np.divmod(position - out * synapses.stride[axis] + synapses.padding[axis], synapses.dilation[axis])
        same &= (rest == 0) & (tap >= 0) & (tap < synapses.weight.shape[2 + axis])
    return np.asarray(inside & same)
