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

from neurofault.arrays import only
from neurofault.damage.damage import Damage
from neurofault.damage.edits import Edit
from neurofault.damage.fold import SynapseFold
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.synapse_edits import SetTerms, SingleSynapses, Write
from neurofault.damage.when import ALWAYS
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph.chip import ChipConnection
from neurofault.graph.schedule import title
from neurofault.graph.synapses import Dense


@dataclass(frozen=True, eq=False)
class WriteGate:
    """What every write to a connection's synapses passes: stored width, sign, stuck bits, dead cores.

    Attributes:
        connection: in the chip's integers.
        keep, force: int64 [n_out, n_in], bits of each stored field that can change, and bits that are stuck at 1.
        alive: bool [n_out], targets whose core and neuron are alive; nothing can be written to the others.
    """

    connection: ChipConnection
    keep: NDArray[np.int64]
    force: NDArray[np.int64]
    alive: NDArray[np.bool_]

    def admit(self, weights: NDArray[np.integer], present: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return what the memory holds after a write.

        Args:
            weights: int [n_out, n_in], asked for; clipped to the field's range and truncated as Lava does.
            present: int [n_out, n_in], what it holds now.
        """
        bits, sign = self.connection.weight_bits, self.connection.sign_mode
        low, high = (int(from_field(np.array(edge), bits, sign)) for edge in _edges(bits, sign))
        asked = to_field(np.clip(weights, min(low, high), max(low, high)), bits, sign)
        written = from_field((asked & self.keep) | self.force, bits, sign)
        return np.where(self.alive[:, None], written, present.astype(np.int32))


def _edges(bits: int, sign_mode: str) -> tuple[int, int]:
    return (1 << (bits - 1), (1 << (bits - 1)) - 1) if sign_mode in ("mixed", "signed") else (0, (1 << bits) - 1)


def write_gate(deployment: Deployment, connection: str) -> WriteGate:
    """Return the write gate of a dense connection.

    Raises:
        UsageError: the connection is not dense.
        UnsupportedError: bits of its weights count for other numbers than the healthy crossbar's.
    """
    own, synapses = _dense(deployment, connection)
    if any(isinstance(edit, SetTerms) and edit.connection == connection for edit in deployment.damage.edits):
        raise UnsupportedError(
            f"{title(own)}: bits of its weights count for other numbers (axon_type_flip, table_flip), for which no write is worked out"
        )
    shape, whole = synapses.weight.shape, (1 << own.weight_bits) - 1
    keep, force = np.full(shape, whole, np.int64), np.zeros(shape, np.int64)
    fold = _permanent(deployment, own)
    keep[fold.targets, fold.sources], force[fold.targets, fold.sources] = fold.stuck(fold.always)
    return WriteGate(own, keep, force, ~deployment.damage.silent(own.target, synapses.n_out))


def _dense(deployment: Deployment, connection: str) -> tuple[ChipConnection, Dense]:
    own = deployment.connection(connection)
    if not isinstance(own.synapses, Dense):
        kind = "layers" if own.name == own.target else "connections"
        raise UsageError(f"{title(own)} is not dense: only dense {kind} can be written")
    return own, own.synapses


def _permanent(deployment: Deployment, connection: ChipConnection) -> SynapseFold:
    return SynapseFold(connection, deployment.damage.synapse_edits(connection.name))


def stored_weights(deployment: Deployment, connection: str) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]: what the memory of a dense connection holds, permanent damage included.

    Raises:
        UsageError: the connection is not dense.
    """
    own, synapses = _dense(deployment, connection)
    weights, fold = synapses.weight.astype(np.int32), _permanent(deployment, own)
    weights[fold.targets, fold.sources] = fold.at(fold.always).weights
    return weights


def settled(deployment: Deployment, now: int) -> Deployment:
    """Return the chip as it is after its step ``now``: upsets of the synapse memory that have happened by then are there for good.

    These are the edits of synapses and delays on the chip's clock that a write would mend, without an end or a cycle, that have begun.
    """
    return _for_good(deployment, lambda edit: edit.when.start <= now)


def begun(deployment: Deployment, sample: int) -> Deployment:
    """Return the chip as a sample begins, with the upsets that fall in it, or fell before it, there for good; see :func:`settled`."""
    return _for_good(deployment, lambda edit: _sample_of(deployment, edit) <= sample)


def next_upset(deployment: Deployment, sample: int) -> int | None:
    """Return the first sample after ``sample`` in which an upset of the synapse memory falls that will stay; None: there is none."""
    coming = [_sample_of(deployment, edit) for edit in deployment.damage.edits if _stays(edit)]
    return min((one for one in coming if one > sample), default=None)


def _stays(edit: Edit) -> TypeGuard[SingleSynapses]:
    """Whether an edit is an upset that happens at a step of the chip's clock and stays until it is written over."""
    if not isinstance(edit, SingleSynapses) or edit.mended_by is None:
        return False
    return edit.when.clock == "chip" and edit.when.lasts and not edit.when.always


def _sample_of(deployment: Deployment, edit: SingleSynapses) -> int:
    phase = deployment.schedule.phase[deployment.connection(edit.connection).target]
    return (edit.when.start - phase - 1) // deployment.timesteps


def _for_good(deployment: Deployment, happened: Callable[[SingleSynapses], bool]) -> Deployment:
    before = deployment.damage.edits
    edits = tuple(replace(edit, when=ALWAYS) if _stays(edit) and happened(edit) else edit for edit in before)
    if all(one is other for one, other in zip(edits, before, strict=True)):
        return deployment
    return deployment.with_damage(replace(deployment.damage, edits=edits))


def write(
    deployment: Deployment,
    connection: str,
    weights: NDArray[np.integer],
    written: NDArray[np.bool_] | None = None,
    *,
    now: int = 0,
) -> Deployment:
    """Write a dense connection through its gate and return the deployment that results.

    Upsets (flipped bits) of written synapses that have happened are gone, those to come are not; stuck bits and dead targets keep what
    they had. A synapse that an axon entry leads past accepts nothing.

    Args:
        deployment: the chip.
        connection: name of a dense connection.
        weights: int [n_out, n_in], asked for.
        written: bool [n_out, n_in], which synapses are written; None: all.
        now: the chip's step after which it is written; 0: before its first.

    Raises:
        UsageError: the connection is not dense.
    """
    deployment = settled(deployment, now)
    gate, present = write_gate(deployment, connection), stored_weights(deployment, connection)
    chosen = gate.alive[:, None] & (np.ones(present.shape, bool) if written is None else written)
    own, synapses = _dense(deployment, connection)
    fold = _permanent(deployment, own)
    past = fold.elsewhere(fold.always)
    chosen[fold.targets[past], fold.sources[past]] = False
    held = np.where(chosen, gate.admit(weights, present), present)
    stored = replace(synapses, weight=np.where(chosen, held, synapses.weight).astype(np.int32))
    return deployment.with_connection(replace(own, synapses=stored)).with_damage(
        _after_write(deployment, connection, "weights", chosen)
    )


def _after_write(deployment: Deployment, connection: str, what: Write, chosen: NDArray[np.bool_]) -> Damage:
    """Return the damage, also that of the cells of a protected chip, without what a write of the chosen synapses mends."""

    def left(edit: Edit) -> Edit:
        if isinstance(edit, SingleSynapses) and edit.connection == connection and edit.when.always and edit.mended_by == what:
            return only(edit, ~chosen[edit.targets, edit.sources])
        return edit

    def mended(damage: Damage) -> Damage:
        return replace(damage, edits=tuple(map(left, damage.edits)), under=None if damage.under is None else mended(damage.under))

    return mended(deployment.damage)


def write_delays(deployment: Deployment, connection: str, delays: NDArray[np.integer], *, now: int = 0) -> Deployment:
    """Write the delays of a dense connection that differ from what is stored; upsets of those that have happened are gone.

    Args:
        deployment: the chip.
        connection: name of a dense connection.
        delays: int [n_out, n_in].
        now: see :func:`write`.

    Raises:
        UsageError: the connection is not dense.
    """
    deployment = settled(deployment, now)
    own, synapses = _dense(deployment, connection)
    before = np.zeros(synapses.weight.shape, np.int64) if synapses.delay is None else synapses.delay
    chosen = np.asarray(before != delays)
    stored = replace(synapses, delay=delays.astype(np.int64))
    return deployment.with_connection(replace(own, synapses=stored)).with_damage(
        _after_write(deployment, connection, "delays", chosen)
    )
