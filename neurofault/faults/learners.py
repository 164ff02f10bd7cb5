"""Faults of what serves learning only: the error neurons of `delta`, `dfa` and `emstdp`, and their feedback synapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import LearningDefect
from neurofault.deploy.support import support_cores
from neurofault.damage.when import When
from neurofault.errors import FaultError
from neurofault.faults.base import Fault, listed, param
from neurofault.faults.context import Context, Outcome, listed_array
from neurofault.faults.places import Block, neuron_blocks
from neurofault.graph import Dense

_FEEDBACK = "Nøkland 2016, arXiv 1609.01596 (direct feedback alignment)"


@final
@dataclass(frozen=True, kw_only=True)
class ErrorDead(Fault):
    """An error neuron of an on-chip learner is dead: the error of its class is always 0. Inference is untouched."""

    kind: ClassVar[str] = "error_dead"
    site: ClassVar[str] = "error neurons"
    list_field: ClassVar[str] = "errors"
    equation: ClassVar[str] = "e_c = 0 (of emstdp both the exciting and the inhibiting neuron)"
    mechanism: ClassVar[str] = "defect in the neuron's update or state"
    sources: ClassVar[tuple[str, ...]] = ("Shrestha et al. 2021, arXiv 2105.03649 (in-hardware learning)", _FEEDBACK)

    errors: Sequence[int | str] | None = listed("classes whose error neuron it is")
    layer: str | None = param("output", "always output: an error neuron for each output neuron")

    def resolve(self, context: Context) -> Outcome:
        """See :meth:`Fault.resolve`."""
        deployment, out = context.deployment, Outcome()
        last = len(deployment.layers) - 1
        if context.layers(self) != (last,):
            raise FaultError(f"error neurons stand behind layer 'output', not {self.layer!r}")
        classes = deployment.layers[last].size
        homes = support_cores(deployment, classes)
        groups: list[tuple[When, NDArray[np.int64]]] = []
        if self.sites is not None:
            rows = listed_array(self.sites, 1)
            if rows.size and int(rows.max()) >= classes:
                raise FaultError(f"no error neuron {int(rows.max())}; error neurons: 0 to {classes - 1}")
            groups = [(when, np.sort(part)) for when, part in context.in_time(self, rows)]
        else:
            blocks = [
                Block(last, int(core), np.flatnonzero(homes == core), int((homes == core).sum())) for core in np.unique(homes)
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
            out.edits.append(LearningDefect(last, "error", neurons, when=when))
            out.cores.update(map(int, homes[neurons]))
            out.name(f"core {homes[c]}: error neuron {c}" for c in neurons)
        return out


@final
@dataclass(frozen=True, kw_only=True)
class FeedbackDead(Fault):
    """A feedback synapse, from an error neuron to a hidden neuron, is dead: it reads 0. Inference is untouched."""

    kind: ClassVar[str] = "feedback_dead"
    site: ClassVar[str] = "feedback synapses"
    list_field: ClassVar[str] = "synapses"
    equation: ClassVar[str] = "b_jc = 0 (of emstdp in both phases)"
    mechanism: ClassVar[str] = "memory cell that reads 0 in all bits"
    sources: ClassVar[tuple[str, ...]] = (_FEEDBACK,)

    synapses: Sequence[Sequence[int]] | None = listed(
        "[class of the error neuron, neuron] into the one hidden layer that layer names", 2
    )

    def resolve(self, context: Context) -> Outcome:
        """See :meth:`Fault.resolve`."""
        deployment, out = context.deployment, Outcome()
        classes, last = deployment.layers[-1].size, len(deployment.layers) - 1
        first = last
        while first > 1 and isinstance(deployment.layers[first - 1].synapses, Dense):
            first -= 1
        if self.sites is not None:
            layer = context.one_layer(self, 1)
            rows, size = listed_array(self.sites, 2), deployment.layers[layer].size
            if not first <= layer < last:
                raise FaultError(f"no feedback reaches layer {self.layers!r}")
            if rows.size and not (rows.min() >= 0 and rows[:, 0].max() < classes and rows[:, 1].max() < size):
                raise FaultError(
                    f"feedback synapses are [class 0 to {classes - 1}, neuron 0 to {size - 1}] in layer {self.layers!r}"
                )
            for when, order in context.in_time(self, np.arange(len(rows))):
                self._add(context, out, layer, when, rows[order])
            return out
        layers = [layer for layer in context.layers(self) if first <= layer < last]
        blocks = [
            Block(block.layer, block.core, block.neurons, len(block.neurons) * classes)
            for block in neuron_blocks(deployment, layers)
        ]
        done = [edit for edit in context.done(self).edits if isinstance(edit, LearningDefect) and edit.part == "feedback"]

        def gone(_: object, block: Block) -> NDArray[np.bool_]:
            mask = np.zeros((classes, len(block.neurons)), bool)
            for edit in done:
                if edit.layer == block.layer:
                    mask[edit.value] |= np.isin(block.neurons, edit.neurons)
            return mask.reshape(-1)

        for when, picked in context.choose(self, blocks, gone=gone):
            for layer in sorted({block.layer for block, _ in picked}):
                chosen = [
                    np.stack([sites // len(block.neurons), block.neurons[sites % len(block.neurons)]], axis=1)
                    for block, sites in picked
                    if block.layer == layer
                ]
                self._add(context, out, layer, when, np.concatenate(chosen))
        return out

    def _add(self, context: Context, out: Outcome, layer: int, when: When, rows: NDArray[np.int64]) -> None:
        chip, home = context.deployment.layers[layer], context.deployment.placement.core_of[layer]
        for c in np.unique(rows[:, 0]).tolist():
            out.edits.append(LearningDefect(layer, "feedback", np.unique(rows[rows[:, 0] == c, 1]), value=c, when=when))
        out.cores.update(map(int, np.unique(home[rows[:, 1]])))
        out.count(out.synapses, chip.name, len(rows))
        out.name(f"core {home[j]}: error neuron {c} → {chip.name}[{j}]" for c, j in rows.tolist())
