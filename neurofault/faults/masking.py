"""Analytic masking: which parts of a plan cannot change any spike or score, said before anything is simulated.

Given what the healthy chip does on the very samples that are asked about, a fault has no effect on them where

- the weight or parameter that is read is the one that was there (a stuck bit that already had its level, a word that nothing reads),
- the source of a synapse or message never spikes on these samples,
- the target is dead anyway, or
- a current is upset that the next step forgets (du = 4095).

A source counts as quiet only if nothing in the plan touches its population or one that it is reached from, also through loops. A bit below the weight exponent's right
shift is *not* masked: Lava shifts after the sum, where such bits still carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import only
from neurofault.damage.damage import (
    Damage,
    Detour,
    Drop,
    Edit,
    LearningDefect,
    NeuronEdit,
    SetDelays,
    SetField,
    SetSynapses,
    Stall,
    SynapseEdit,
    Upset,
)
from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import weights_at
from neurofault.faults.plan import FaultPlan
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.neurons import NO_MEMORY


@dataclass(frozen=True)
class Masked:
    """How much of a plan matters.

    Attributes:
        plan: what is left to simulate; equal to the whole on the samples that were looked at.
        sites: synapses, neurons and messages that the plan changes.
        masked: how many of them cannot matter.
    """

    plan: FaultPlan
    sites: int
    masked: int


def prune(deployment: Deployment, plan: FaultPlan, spike_counts: Mapping[str, NDArray[np.integer]]) -> Masked:
    """Take out of a plan what cannot matter on the samples of a run.

    The pruned plan is for simulating these samples. Keep the whole one for everything else: stuck bits that it leaves out still mask
    later writes.

    Args:
        deployment: the chip that the plan was made on; nothing is pruned on one that is damaged already, or protected (each wrong bit
            of a code word counts, whoever reads it).
        plan: what is to be injected.
        spike_counts: of the healthy run on the same samples (``Activity.spike_counts``): population → [n].
    """
    sites = sum(_size(edit) for planned in plan.faults for edit in planned.edits)
    if deployment.damage.edits or deployment.protection.reads_otherwise:
        return Masked(plan, sites, 0)
    facts = _Facts.of(deployment, plan, spike_counts)
    faults = tuple(
        replace(planned, edits=tuple(left for edit in planned.edits if (left := _left(facts, edit)) is not None))
        for planned in plan.faults
    )
    return Masked(replace(plan, faults=faults), sites, sites - sum(_size(edit) for planned in faults for edit in planned.edits))


@dataclass(frozen=True, eq=False)
class _Facts:
    """What decides whether an edit matters.

    Attributes:
        deployment: the chip.
        quiet: of each population bool [n]: neurons that never spike, whatever the plan does (all False in those that it may alter).
        dead: of each population bool [n]: neurons that the plan silences for good.
        changed: (population or connection, what of it) → number of edits that change it; with several, a later one may depend on an earlier one.
        rows: (connection, source) of synapses that corrupt headers and axon entries read in place of others.
    """

    deployment: Deployment
    quiet: Mapping[str, NDArray[np.bool_]]
    dead: Mapping[str, NDArray[np.bool_]]
    changed: Counter[tuple[str, str]]
    rows: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, deployment: Deployment, plan: FaultPlan, counts: Mapping[str, NDArray[np.integer]]) -> _Facts:
        edits = [edit for planned in plan.faults for edit in planned.edits if not isinstance(edit, LearningDefect)]
        altered = _altered(deployment, edits)
        quiet = {
            one.name: np.zeros(one.size, bool) if one.name in altered else counts[one.name] == 0 for one in deployment.populations
        }
        whole = Damage(tuple(edits))
        dead = {one.name: whole.silent(one.name, one.size) for one in deployment.populations}
        changed = Counter((_place(edit), what) for edit in edits for what in _changes(edit))
        rows = frozenset(
            (edit.connection, source)
            for edit in edits
            if isinstance(edit, SetSynapses) and edit.of_sources is not None
            for source in np.unique(edit.of_sources).tolist()
        )
        return cls(deployment, quiet, dead, changed, rows)

    def delays(self, connection: str) -> bool:
        """Whether synapses of a connection may differ in their delay."""
        return bool(self.changed[connection, "delays"]) or self.deployment.connection(connection).synapses.delay is not None

    def silent_sources(self, edit: SetSynapses | SetDelays | Drop) -> NDArray[np.bool_]:
        """Return bool [k]: whose sources never spike."""
        return self.quiet[self.deployment.connection(edit.connection).source][edit.sources]

    def read(self, edit: SetSynapses | SetDelays) -> NDArray[np.bool_]:
        """Return bool [k]: whose sources may spike, or are read for others that may, and whose targets live."""
        elsewhere = np.array([(edit.connection, source) in self.rows for source in edit.sources.tolist()], bool)
        dead = self.dead[self.deployment.connection(edit.connection).target][edit.targets]
        return np.asarray(~((self.silent_sources(edit) & ~elsewhere) | dead))


def _place(edit: Edit) -> str:
    """Return the population or connection of an edit; of one that has neither, nothing."""
    return edit.population if isinstance(edit, NeuronEdit) else edit.connection if isinstance(edit, SynapseEdit) else ""


def _changes(edit: Edit) -> Collection[str]:
    """Return what an edit changes, as its class says; of a parameter, which."""
    if isinstance(edit, SetField):
        return (edit.field,)
    return edit.does if isinstance(edit, NeuronEdit | SynapseEdit) else ()


def _altered(deployment: Deployment, edits: Sequence[Edit]) -> set[str]:
    """Return the populations whose spikes some edits may change: all that what they touch reaches."""
    if any(isinstance(edit, Stall | Detour) for edit in edits):
        return {one.name for one in deployment.populations}
    touched = {edit.population for edit in edits if isinstance(edit, NeuronEdit)}
    touched |= {deployment.connection(edit.connection).target for edit in edits if isinstance(edit, SynapseEdit)}
    return deployment.wiring.downstream(touched)


def _size(edit: Edit) -> int:
    if isinstance(edit, NeuronEdit | LearningDefect):
        return len(edit.neurons)
    return len(edit.cores) if isinstance(edit, Stall) else len(edit.sources)


def _left(facts: _Facts, edit: Edit) -> Edit | None:
    """Return the part of an edit that can matter, None if there is none."""
    match edit:
        case Drop():
            keep = ~facts.silent_sources(edit)
            left: Edit = replace(edit, sources=edit.sources[keep])
        case SetSynapses():
            keep = facts.read(edit)
            if facts.changed[edit.connection, "weights"] == 1 and not (
                edit.of_sources is not None and facts.delays(edit.connection)
            ):
                keep &= weights_at(facts.deployment, edit.connection, edit.sources, edit.targets) != edit.values
            left = only(edit, keep)
        case SetDelays():
            keep = facts.read(edit)
            left = only(edit, keep)
        case SetField():
            own = facts.deployment.population(edit.population)
            keep = ~facts.dead[own.name][edit.neurons]
            if facts.changed[own.name, edit.field] == 1 and not (own.is_source and edit.field == "bias_mantissa"):
                keep &= getattr(own, edit.field)[edit.neurons] != edit.values
            left = only(edit, keep)
        case Upset():
            own = facts.deployment.population(edit.population)
            keep = ~facts.dead[own.name][edit.neurons]
            if edit.state == "u" and own.law.arithmetic == LOIHI and not facts.changed[own.name, "du"]:
                keep &= own.du[edit.neurons] != NO_MEMORY
            left = only(edit, keep)
        case _:
            return edit
    return left if keep.any() else None
