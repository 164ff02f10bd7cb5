"""Faults of what serves learning only: the error neurons of `delta`, `dfa` and `emstdp`, and their feedback synapses."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.damage import LearningDefect
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.support import support_cores
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.places import Block, neuron_blocks
from neurofault.faults.sites import Ids, Pairs
from neurofault.graph import Dense

_FEEDBACK = "Nøkland 2016, arXiv 1609.01596 (direct feedback alignment)"


@final
class ErrorDead(Fault):
    """An error neuron of an on-chip learner is dead: the error of its class is always 0. Inference is untouched."""

    kind: ClassVar[str] = "error_dead"
    site: ClassVar[str] = "error neurons"
    list_field: ClassVar[str] = "errors"
    equation: ClassVar[str] = "e_c = 0 (of emstdp both the exciting and the inhibiting neuron)"
    mechanism: ClassVar[str] = "defect in the neuron's update or state"
    sources: ClassVar[tuple[str, ...]] = ("Shrestha et al. 2021, arXiv 2105.03649 (in-hardware learning)", _FEEDBACK)

    errors: Ids | None = Field(default=None, description="classes whose error neuron it is")
    layer: str | None = Field(default="output", description="always output: an error neuron for each output neuron")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        deployment, out = context.deployment, FaultOutcome()
        output = deployment.output
        if context.populations(self) != (output.name,):
            raise FaultError(f"error neurons stand behind layer 'output', not {self.layer!r}")
        classes = output.size
        homes = support_cores(deployment, classes)
        groups: list[tuple[When, NDArray[np.int64]]] = []
        if self.sites is not None:
            rows = listed_array(self.sites, 1)
            if rows.size and int(rows.max()) >= classes:
                raise FaultError(f"no error neuron {int(rows.max())}; error neurons: 0 to {classes - 1}")
            groups = [(when, np.sort(part)) for when, part in context.in_time(self, rows)]
        else:
            blocks = [
                Block(output.name, int(core), np.flatnonzero(homes == core), int((homes == core).sum()))
                for core in np.unique(homes)
            ]
            gone = {
                c
                for edit in context.done(self).edits
                if isinstance(edit, LearningDefect) and edit.part == "error"
                for c in edit.neurons
            }
            for when, picked in context.choose(self, blocks, gone=lambda _, block: np.isin(block.neurons, [*gone])):
                groups.append((when, np.sort(np.concatenate([block.neurons[sites] for block, sites in picked]))))
        for when, neurons in groups:
            out.edits += [LearningDefect(one.name, "error", neurons, when=when) for one in deployment.into(output.name)]
            out.cores.update(map(int, homes[neurons]))
            out.name(f"core {homes[c]}: error neuron {c}" for c in neurons)
        return out


@final
class FeedbackDead(Fault):
    """A feedback synapse, from an error neuron to a hidden neuron, is dead: it reads 0. Inference is untouched."""

    kind: ClassVar[str] = "feedback_dead"
    site: ClassVar[str] = "feedback synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "b_jc = 0 (of emstdp in both phases)"
    mechanism: ClassVar[str] = "memory cell that reads 0 in all bits"
    sources: ClassVar[tuple[str, ...]] = (_FEEDBACK,)

    synapses: Pairs | None = Field(
        default=None, description="[class of the error neuron, neuron] into the one hidden layer that layer names"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        deployment, out = context.deployment, FaultOutcome()
        classes, reached = deployment.output.size, _reached(deployment)
        if self.sites is not None:
            name = deployment.connection(context.into_one(self)[0]).target
            rows, size = listed_array(self.sites, 2), deployment.population(name).size
            if name not in reached:
                raise FaultError(f"no feedback reaches layer {self.layers!r}")
            if rows.size and not (rows.min() >= 0 and rows[:, 0].max() < classes and rows[:, 1].max() < size):
                raise FaultError(
                    f"feedback synapses are [class 0 to {classes - 1}, neuron 0 to {size - 1}] in layer {self.layers!r}"
                )
            for when, order in context.in_time(self, np.arange(len(rows))):
                self._add(context, out, name, when, rows[order])
            return out
        named = [name for name in context.populations(self) if name in reached]
        blocks = [replace(block, size=block.size * classes) for block in neuron_blocks(deployment, named)]
        done = [edit for edit in context.done(self).edits if isinstance(edit, LearningDefect) and edit.part == "feedback"]

        def gone(_: object, block: Block) -> NDArray[np.bool_]:
            mask = np.zeros((classes, len(block.neurons)), bool)
            for edit in done:
                if deployment.connection(edit.connection).target == block.population:
                    mask[edit.value] |= np.isin(block.neurons, edit.neurons)
            return mask.reshape(-1)

        for when, picked in context.choose(self, blocks, gone=gone):
            hit = {block.population for block, _ in picked}
            for name in (name for name in named if name in hit):
                chosen = [
                    np.stack([sites // len(block.neurons), block.neurons[sites % len(block.neurons)]], axis=1)
                    for block, sites in picked
                    if block.population == name
                ]
                self._add(context, out, name, when, np.concatenate(chosen))
        return out

    def _add(self, context: Context, out: FaultOutcome, name: str, when: When, rows: NDArray[np.int64]) -> None:
        into, home = context.deployment.into(name), context.deployment.placement.core_of[name]
        for c in np.unique(rows[:, 0]).tolist():
            neurons = np.unique(rows[rows[:, 0] == c, 1])
            out.edits += [LearningDefect(one.name, "feedback", neurons, value=c, when=when) for one in into]
        out.cores.update(map(int, np.unique(home[rows[:, 1]])))
        out.count(out.synapses, into[0].name, len(rows))
        out.name(f"core {home[j]}: error neuron {c} → {name}[{j}]" for c, j in rows.tolist())


def _reached(deployment: Deployment) -> set[str]:
    """Return the hidden populations that feedback reaches: what drives them, and every hidden one that they reach, is dense."""
    hidden = {one.name for one in deployment.populations if deployment.into(one.name)} - {deployment.output.name}
    dense = {name for name in hidden if all(isinstance(one.synapses, Dense) for one in deployment.into(name))}
    return {name for name in dense if deployment.wiring.downstream({name}) & hidden <= dense}
