"""The synapse memory of a damaged chip: what it holds now, and what happens when something is written to it.

A write is between runs. It changes what is stored, and it mends what has happened to it for good: upsets (flips, drift, corrupt headers)
without an end that are permanent, or on the chip's clock by the step ``now``. Everything else is still to come, and acts on what is
stored then: an upset at a later step of the chip's clock flips the bit of the new weight; one on the presentation's clock does so in each
sample anew; a fault with an end acts in its steps. Stuck bits override whatever is read, written or not.

A run starts at the chip's step 1 (or where its ``Inputs.first_sample`` says), so ``now`` = 0, the default, is before all of it.
:func:`settled` is the chip after it has run for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit, SetDelays, SetSynapses
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.damage.edits import only
from neurofault.damage.fold import SynapseFold
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.when import ALWAYS
from neurofault.errors import UsageError
from neurofault.graph import Dense


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
    fold = _permanent(deployment, layer)
    keep[fold.targets, fold.sources], force[fold.targets, fold.sources] = fold.stuck(fold.always)
    return WriteGate(chip, keep, force, ~deployment.damage.silent(layer, chip.size))


def _permanent(deployment: Deployment, layer: int) -> SynapseFold:
    return SynapseFold(deployment, layer, deployment.damage.synapse_edits(layer))


def stored_weights(deployment: Deployment, layer: int) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]: what the memory of a dense layer holds, permanent damage included.

    Raises:
        UsageError: the layer is not dense.
    """
    chip = deployment.layers[layer]
    if not isinstance(chip.synapses, Dense):
        raise UsageError(f"layer {chip.name!r} is not dense: only dense layers can be written")
    weights, fold = chip.synapses.weight.astype(np.int32), _permanent(deployment, layer)
    weights[fold.targets, fold.sources] = fold.at(fold.always).weights
    return weights


def settled(deployment: Deployment, now: int) -> Deployment:
    """Return the chip as it is after its step ``now``: upsets of the synapse memory that have happened by then are there for good.

    These are the edits of synapses and delays on the chip's clock that a write would mend, without an end or a cycle, that have begun.
    """
    return _for_good(deployment, lambda edit: edit.when.start <= now)


def begun(deployment: Deployment, sample: int) -> Deployment:
    """Return the chip as a sample begins, with the upsets that fall in it, or fell before it, there for good; see :func:`settled`."""
    return _for_good(deployment, lambda edit: _sample_of(edit, deployment.timesteps) <= sample)


def next_upset(deployment: Deployment, sample: int) -> int | None:
    """Return the first sample after ``sample`` in which an upset of the synapse memory falls that will stay; None: there is none."""
    coming = [_sample_of(edit, deployment.timesteps) for edit in deployment.damage.edits if _stays(edit)]
    return min((one for one in coming if one > sample), default=None)


def _stays(edit: Edit) -> TypeGuard[SetSynapses | SetDelays]:
    """Whether an edit is an upset that happens at a step of the chip's clock and stays until it is written over."""
    if not isinstance(edit, SetDelays) and not (isinstance(edit, SetSynapses) and edit.mended):
        return False
    return edit.when.clock == "chip" and edit.when.lasts and not edit.when.always


def _sample_of(edit: SetSynapses | SetDelays, timesteps: int) -> int:
    return (edit.when.start - edit.layer - 1) // timesteps


def _for_good(deployment: Deployment, happened: Callable[[SetSynapses | SetDelays], bool]) -> Deployment:
    before = deployment.damage.edits
    edits = tuple(replace(edit, when=ALWAYS) if _stays(edit) and happened(edit) else edit for edit in before)
    if all(one is other for one, other in zip(edits, before, strict=True)):
        return deployment
    return deployment.with_damage(replace(deployment.damage, edits=edits))


def write(
    deployment: Deployment,
    layer: int,
    weights: NDArray[np.integer],
    written: NDArray[np.bool_] | None = None,
    *,
    now: int = 0,
) -> Deployment:
    """Write a dense layer through its gate and return the deployment that results.

    Upsets (flipped bits) of written synapses that have happened are gone, those to come are not; stuck bits and dead targets keep what
    they had. A synapse that an axon entry leads past accepts nothing.

    Args:
        deployment: the chip.
        layer: index of a dense layer.
        weights: int [n_out, n_in], asked for.
        written: bool [n_out, n_in], which synapses are written; None: all.
        now: the chip's step after which it is written; 0: before its first.
    """
    deployment = settled(deployment, now)
    gate, present = write_gate(deployment, layer), stored_weights(deployment, layer)
    chosen = gate.alive[:, None] & (np.ones(present.shape, bool) if written is None else written)
    fold = _permanent(deployment, layer)
    past = fold.elsewhere(fold.always)
    chosen[fold.targets[past], fold.sources[past]] = False
    held = np.where(chosen, gate.admit(weights, present), present)
    chip = deployment.layers[layer]
    assert isinstance(chip.synapses, Dense)
    edits = tuple(_after_write(edit, layer, chosen) for edit in deployment.damage.edits)
    synapses = replace(chip.synapses, weight=np.where(chosen, held, chip.synapses.weight).astype(np.int32))
    layers = (*deployment.layers[:layer], replace(chip, synapses=synapses), *deployment.layers[layer + 1 :])
    return replace(deployment, layers=layers, damage=replace(deployment.damage, edits=edits))


def _after_write(edit: Edit, layer: int, chosen: NDArray[np.bool_]) -> Edit:
    """Return what is left of an edit."""
    if isinstance(edit, SetSynapses) and edit.layer == layer and edit.when.always and edit.mended:
        return only(edit, ~chosen[edit.targets, edit.sources])
    return edit


def write_delays(deployment: Deployment, layer: int, delays: NDArray[np.integer], *, now: int = 0) -> Deployment:
    """Write the delays of a dense layer that differ from what is stored; upsets of those that have happened are gone.

    Args:
        deployment: the chip.
        layer: index of a dense layer.
        delays: int [n_out, n_in].
        now: see :func:`write`.

    Raises:
        UsageError: the layer is not dense.
    """
    deployment = settled(deployment, now)
    chip = deployment.layers[layer]
    if not isinstance(chip.synapses, Dense):
        raise UsageError(f"layer {chip.name!r} is not dense: only dense layers can be written")
    before = np.zeros(chip.synapses.weight.shape, np.int64) if chip.synapses.delay is None else chip.synapses.delay
    chosen = np.asarray(before != delays)
    edits = tuple(
        only(edit, ~chosen[edit.targets, edit.sources])
        if isinstance(edit, SetDelays) and edit.layer == layer and edit.when.always
        else edit
        for edit in deployment.damage.edits
    )
    synapses = replace(chip.synapses, delay=delays.astype(np.int64))
    layers = (*deployment.layers[:layer], replace(chip, synapses=synapses), *deployment.layers[layer + 1 :])
    return replace(deployment, layers=layers, damage=replace(deployment.damage, edits=edits))
