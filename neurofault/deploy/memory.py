"""The synapse memory of a damaged chip: what it holds now, and what happens when something is written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.damage import Edit, SetSynapses
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.deploy.stored import from_field, to_field
from neurofault.errors import UsageError
from neurofault.network import Dense


@dataclass(frozen=True, eq=False)
class Cells:
    """Stored fields of some synapses.

    Attributes:
        field: int64 [k], the bits that they hold now.
        keep: int64 [k], bits that a write can change.
        force: int64 [k], bits that are stuck at 1.
    """

    field: NDArray[np.int64]
    keep: NDArray[np.int64]
    force: NDArray[np.int64]


def cells_at(
    layer: ChipLayer,
    edits: Sequence[SetSynapses],
    healthy: NDArray[np.integer],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> Cells:
    """Return what some synapses hold after edits.

    Args:
        layer: the target layer.
        edits: of this layer, in order, taken as active.
        healthy: [k], their healthy weights.
        sources: int64 [k], of each synapse, and
        targets: int64 [k], each pair once.
    """
    whole = (1 << layer.weight_bits) - 1
    field = to_field(healthy, layer.weight_bits, layer.sign_mode)
    keep, force = np.full(len(field), whole, np.int64), np.zeros(len(field), np.int64)
    width = int(max([0, *(int(part.max()) for part in (sources, *(edit.sources for edit in edits)) if part.size)])) + 1
    keys = targets * width + sources
    order = np.argsort(keys)
    for edit in edits:
        own = edit.targets * width + edit.sources
        at = np.searchsorted(keys, own, sorter=order)
        found = (at < len(keys)) & (keys[order[np.minimum(at, len(keys) - 1)]] == own) if len(keys) else np.zeros(len(own), bool)
        here = order[at[found]]
        field[here] = to_field(edit.values[found], layer.weight_bits, layer.sign_mode)
        if edit.keep is not None and edit.force is not None:
            keep[here], force[here] = edit.keep[found], edit.force[found]
    return Cells(field, keep, force)


@dataclass(frozen=True, eq=False)
class WriteGate:
    """What every write to a layer's synapses passes: stored width, sign, stuck bits, dead cores.

    Attributes:
        layer: the target layer's integers.
        keep, force: int64 [n_out, n_in], bits of each stored field that can change, and bits that are stuck at 1.
        alive: bool [n_out], targets whose core and neuron are alive; nothing can be written to the others.
    """

    layer: ChipLayer
    keep: NDArray[np.int64]
    force: NDArray[np.int64]
    alive: NDArray[np.bool_]

    def admit(self, weights: NDArray[np.integer], present: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return what the memory holds after a write.

        Args:
            weights: int [n_out, n_in], asked for; clipped to the field's range and truncated as Lava does.
            present: int [n_out, n_in], what it holds now.
        """
        bits, sign = self.layer.weight_bits, self.layer.sign_mode
        low, high = (int(from_field(np.array(edge), bits, sign)) for edge in _edges(bits, sign))
        asked = to_field(np.clip(weights, min(low, high), max(low, high)), bits, sign)
        written = from_field((asked & self.keep) | self.force, bits, sign)
        return np.where(self.alive[:, None], written, present.astype(np.int32))


def _edges(bits: int, sign_mode: str) -> tuple[int, int]:
    return (1 << (bits - 1), (1 << (bits - 1)) - 1) if sign_mode == "mixed" else (0, (1 << bits) - 1)


def write_gate(deployment: Deployment, layer: int) -> WriteGate:
    """Return the write gate of a dense layer.

    Raises:
        UsageError: the layer is not dense.
    """
    chip = deployment.layers[layer]
    if not isinstance(chip.synapses, Dense):
        raise UsageError(f"layer {chip.name!r} is not dense: only dense layers can be written")
    shape, whole = chip.synapses.weight.shape, (1 << chip.weight_bits) - 1
    keep, force = np.full(shape, whole, np.int64), np.zeros(shape, np.int64)
    for edit in deployment.damage.synapse_edits(layer):
        if edit.keep is not None and edit.force is not None:
            keep[edit.targets, edit.sources] = edit.keep
            force[edit.targets, edit.sources] = edit.force
    return WriteGate(chip, keep, force, ~deployment.damage.silent(layer, chip.size))


def stored_weights(deployment: Deployment, layer: int) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]: what the memory of a dense layer holds, permanent damage included.

    Raises:
        UsageError: the layer is not dense.
    """
    chip = deployment.layers[layer]
    if not isinstance(chip.synapses, Dense):
        raise UsageError(f"layer {chip.name!r} is not dense: only dense layers can be written")
    weights = chip.synapses.weight.astype(np.int32)
    for edit in deployment.damage.synapse_edits(layer):
        weights[edit.targets, edit.sources] = edit.values
    return weights


def write(deployment: Deployment, layer: int, weights: NDArray[np.integer], written: NDArray[np.bool_] | None = None) -> Deployment:
    """Write a dense layer through its gate and return the deployment that results.

    Upsets (flipped bits) of written synapses are gone; stuck bits and dead targets keep what they had.

    Args:
        deployment: the chip.
        layer: index of a dense layer.
        weights: int [n_out, n_in], asked for.
        written: bool [n_out, n_in], which synapses are written; None: all.
    """
    gate, present = write_gate(deployment, layer), stored_weights(deployment, layer)
    chosen = gate.alive[:, None] & (np.ones(present.shape, bool) if written is None else written)
    held = np.where(chosen, gate.admit(weights, present), present)
    chip = deployment.layers[layer]
    assert isinstance(chip.synapses, Dense)
    edits: list[Edit] = []
    for edit in deployment.damage.edits:
        if not isinstance(edit, SetSynapses) or edit.layer != layer or not edit.when.always:
            edits.append(edit)
            continue
        lasting = ~chosen[edit.targets, edit.sources] if edit.keep is None else np.ones(len(edit.targets), bool)
        sources, targets = edit.sources[lasting], edit.targets[lasting]
        masks = (None, None) if edit.keep is None or edit.force is None else (edit.keep[lasting], edit.force[lasting])
        edits.append(replace(edit, sources=sources, targets=targets, values=held[targets, sources], keep=masks[0], force=masks[1]))
    synapses = replace(chip.synapses, weight=np.where(chosen, held, chip.synapses.weight).astype(np.int32))
    layers = (*deployment.layers[:layer], replace(chip, synapses=synapses), *deployment.layers[layer + 1 :])
    return replace(deployment, layers=layers, damage=replace(deployment.damage, edits=tuple(edits)))
