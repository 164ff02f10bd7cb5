"""What a conversion loses, before anything is broken: `neurofault convert --check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.asked import CALIBRATION_IMAGES
from neurofault.convert.driven import Driven, Rectified, activations
from neurofault.convert.torch_model import as_taken, read, scores_of
from neurofault.engines import run
from neurofault.graph import Sparse
from neurofault.metrics import ACCURACY, Metric
from neurofault.numerals import plural
from neurofault.study.prepare import Prepared
from neurofault.study.shown import shown


@dataclass(frozen=True)
class Sent:
    """What one population sends on the calibration images.

    Attributes:
        name: of the population.
        neurons: how many.
        rate: spikes a step of a neuron, mean.
        silent: neurons that never fire.
        capped: share of the module's activations that lie at the population's cap; None where it has none.
    """

    name: str
    neurons: int
    rate: float
    silent: int
    capped: float | None = None


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion loses.

    Attributes:
        samples: calibration images, of the training split.
        original: accuracy of the module on them, or its mean squared error; None for a network that was spiking already.
        chip: the same of the chip.
        sent: of each population that can fire.
        skips: connections that take more than one step, as (connection, source, target, steps).
        single: connections whose synapses are listed one by one, as (connection, synapses).
        pooled: best accuracy on validation images of each way of max pooling that was tried, the chosen one first; empty without max pooling.
        notes: what else is suspect about the healthy chip.
        metric: what is measured.
    """

    samples: int
    original: float | None
    chip: float
    sent: tuple[Sent, ...]
    skips: tuple[tuple[str, str, str, int], ...]
    single: tuple[tuple[str, int], ...]
    pooled: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]
    metric: Metric = ACCURACY

    def lines(self) -> Iterator[str]:
        """Yield the report as text, one finding a line."""
        yield f"on {plural(self.samples, 'calibration sample')}: chip {self._value(self.chip)}" + (
            "" if self.original is None else self._gap(self.original)
        )
        for one in self.sent:
            silent = f", {one.silent} never fire" if one.silent else ""
            capped = "" if one.capped is None else f", {one.capped:.2%} of the original's activations at the cap"
            yield f"{one.name}: {plural(one.neurons, 'neuron')}, {one.rate:.3f} spikes a step{silent}{capped}"
        for name, source, target, steps in self.skips:
            yield f"{name}: {source} → {target} takes {plural(steps, 'step')}, so that its spikes arrive with those of the longest way"
        for name, synapses in self.single:
            yield f"{name}: {plural(synapses, 'synapse')}, one by one"
        if self.pooled:
            ways = ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in self.pooled)
            yield f"max pooling by {self.pooled[0][0]}; at best, on validation images: {ways}"
        yield from (f"note: {note}" for note in self.notes)

    def _value(self, value: float) -> str:
        return f"{self.metric.words} {value:.4g}" if self.metric.lower else f"{value:.2%}"

    def _gap(self, original: float) -> str:
        gap = self.metric.differing(self.metric.loss(original, self.chip))
        return (
            f", original {original:.4g}, conversion adds {gap}"
            if self.metric.lower
            else f", original {original:.2%}, gap {gap} points"
        )


def lost_by(prepared: Prepared) -> ConvertReport:
    """Measure what a conversion loses, on the calibration images of the training split.

    Args:
        prepared: from :func:`neurofault.study.prepare.prepare`.
    """
    train = prepared.data.train
    part = train.first(min(len(train), CALIBRATION_IMAGES))
    chip, network, model, calibration = prepared.deployment, prepared.network, prepared.levels_model(), prepared.calibration
    metric = prepared.metric
    result = run(chip, shown(chip, part), part.expected, unit=metric.unit)
    assert result.value is not None
    counts, original, capped = result.activity.spike_counts, None, {}
    if model is not None and calibration is not None:
        seen = as_taken(model, part.images)
        scores = scores_of(model, seen)
        right = scores.argmax(axis=1) == part.labels
        original = float(np.mean(right)) if part.targets is None else metric.of_answers(scores, part.targets)
        stages = read(model, seen, pooling=calibration.chosen.pooling).stages
        behind = [one.name for one in network.populations if not one.is_source]
        capped = dict(zip(behind, _capped(stages, seen), strict=True))
    shown_at = len(part.labels) * network.timesteps
    sent = tuple(
        Sent(
            one.name,
            one.size,
            float(counts[one.name].sum()) / (shown_at * one.size),
            int((counts[one.name] == 0).sum()),
            capped.get(one.name),
        )
        for one in chip.populations
        if one.fires
    )
    return ConvertReport(
        len(part.labels),
        original,
        result.value,
        sent,
        tuple((one.name, one.source, one.target, one.delay) for one in network.connections if one.delay > 1),
        tuple((one.name, len(one.synapses.weight)) for one in network.connections if isinstance(one.synapses, Sparse)),
        () if calibration is None else calibration.pooled,
        prepared.notes,
        metric,
    )


def _capped(stages: Sequence[Driven], images: NDArray[np.generic]) -> Iterator[float | None]:
    """Yield which share of each population's activations lies at its cap; None where it has none."""
    for stage, output in zip(stages, activations(stages, images), strict=True):
        match stage.activation:
            case Rectified(cap=float() as cap):
                yield float((output >= cap).double().mean())
            case _:
                yield None
