"""Analytic masking: which parts of a plan cannot change any spike or score, said before anything is simulated.

Given what the healthy chip does on the very samples that are asked about, a fault has no effect on them where

- the weight or parameter that is read is the one that was there (a stuck bit that already had its level, a word that nothing reads),
- the source of a synapse or message never spikes on these samples,
- the target is dead anyway, or
- a current is upset that the next step forgets (du = 4095).

A source counts as quiet only if nothing in the plan touches its layer or one before it. A bit below the weight exponent's right
shift is *not* masked: Lava shifts after the sum, where such bits still carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage, Drop, Edit, LearningDefect, SetDelays, SetField, SetSynapses, Upset
from neurofault.deploy.deployment import Deployment
from neurofault.damage.edits import only
from neurofault.faults.places import weights_at
from neurofault.faults.plan import FaultPlan
from neurofault.graph import Dense
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
        deployment: the chip that the plan was made on; nothing is pruned on one that is damaged already.
        plan: what is to be injected.
        spike_counts: of the healthy run on the same samples (``Activity.spike_counts``): layer name → [n].
    """
    sites = sum(_size(edit) for planned in plan.faults for edit in planned.edits)
    if deployment.damage.edits:
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
        quiet: for each layer bool [n]: neurons that never spike, whatever the plan does (all False behind the first altered layer).
        dead: for each layer bool [n]: neurons that the plan silences for good.
        changed: (layer, what) → number of edits that change it; with several, a later one may depend on an earlier one.
        rows: (layer, source) of synapses that corrupt headers and axon entries read in place of others.
    """

    deployment: Deployment
    quiet: tuple[NDArray[np.bool_], ...]
    dead: tuple[NDArray[np.bool_], ...]
    changed: Mapping[tuple[int, str], int]
    rows: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, deployment: Deployment, plan: FaultPlan, counts: Mapping[str, NDArray[np.integer]]) -> _Facts:
        edits = [edit for planned in plan.faults for edit in planned.edits if not isinstance(edit, LearningDefect)]
        altered = min((getattr(edit, "layer", 0) for edit in edits), default=len(deployment.layers))
        quiet = tuple(
            counts[layer.name] == 0 if index < altered else np.zeros(layer.size, bool)
            for index, layer in enumerate(deployment.layers)
        )
        whole = Damage(tuple(edits))
        dead = tuple(whole.silent(index, layer.size) for index, layer in enumerate(deployment.layers))
        changed = Counter(
            (getattr(edit, "layer", -1), edit.field if isinstance(edit, SetField) else type(edit).__name__) for edit in edits
        )
        rows = frozenset(
            (edit.layer, source)
            for edit in edits
            if isinstance(edit, SetSynapses) and edit.of_sources is not None
            for source in np.unique(edit.of_sources).tolist()
        )
        return cls(deployment, quiet, dead, changed, rows)

    def delays(self, layer: int) -> bool:
        """Whether synapses of a layer may differ in their delay."""
        synapses = self.deployment.layers[layer].synapses
        return bool(self.changed[layer, "SetDelays"]) or (isinstance(synapses, Dense) and synapses.delay is not None)

    def read(self, edit: SetSynapses | SetDelays) -> NDArray[np.bool_]:
        """Return bool [k]: whose sources may spike, or are read for others that may, and whose targets live."""
        elsewhere = np.array([(edit.layer, source) in self.rows for source in edit.sources.tolist()], bool)
        quiet = self.quiet[edit.layer - 1][edit.sources] & ~elsewhere
        return np.asarray(~(quiet | self.dead[edit.layer][edit.targets]))


def _size(edit: Edit) -> int:
    for name in ("sources", "neurons", "cores"):
        if hasattr(edit, name):
            return len(getattr(edit, name))
    return 0


def _left(facts: _Facts, edit: Edit) -> Edit | None:
    """Return the part of an edit that can matter, None if there is none."""
    match edit:
        case Drop():
            keep = ~facts.quiet[edit.layer - 1][edit.sources]
            left: Edit = replace(edit, sources=edit.sources[keep])
        case SetSynapses():
            keep = facts.read(edit)
            if facts.changed[edit.layer, "SetSynapses"] == 1 and not (edit.of_sources is not None and facts.delays(edit.layer)):
                keep &= weights_at(facts.deployment, edit.layer, edit.sources, edit.targets) != edit.values
            left = only(edit, keep)
        case SetDelays():
            keep = facts.read(edit)
            left = only(edit, keep)
        case SetField():
            keep = ~facts.dead[edit.layer][edit.neurons]
            if facts.changed[edit.layer, edit.field] == 1 and not (edit.layer == 0 and edit.field == "bias_mantissa"):
                keep &= getattr(facts.deployment.layers[edit.layer], edit.field)[edit.neurons] != edit.values
            left = only(edit, keep)
        case Upset():
            keep = ~facts.dead[edit.layer][edit.neurons]
            if edit.state == "u" and not facts.changed.get((edit.layer, "du"), 0):
                keep &= facts.deployment.layers[edit.layer].du[edit.neurons] != NO_MEMORY
            left = only(edit, keep)
        case _:
            return edit
    return left if keep.any() else None
