"""Choose, on validation images, among the candidates that the conversion proposes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neurofault.convert.balance import Candidate
from neurofault.convert.torch_model import candidates, proposals
from neurofault.datasets import DataSet, Split
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.network import SpikingNetwork
from neurofault.rescue.error_learning import usual_gain
from neurofault.rescue.gain import first_stable

CALIBRATION_IMAGES = 512
"""Training images whose activations set the thresholds."""

STABLE_WITHIN = 0.003
"""Accuracy that a chip which is to learn may give up for a conversion on which the usual steps of learning are stable."""

_SCREEN = 500
_FINALISTS = 4
_FINAL_WORK = 4_000_000_000
"""Images are taken in the final comparison up to this many neuron · steps · images (all 5,000 for an MLP)."""


@dataclass(frozen=True)
class Trial:
    """What one candidate reached.

    Attributes:
        candidate: what was tried.
        accuracy: on chip, on ``samples`` validation images.
        samples: how many images.
    """

    candidate: Candidate
    accuracy: float
    samples: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """The chosen network and every candidate that was measured.

    Attributes:
        network: of the best candidate.
        trials: in the order of measurement; the chosen one is the best of those with the most images, or one near it.
    """

    network: SpikingNetwork
    trials: tuple[Trial, ...]


def choose(
    model: nn.Module,
    data: DataSet,
    place: Callable[[SpikingNetwork], Deployment],
    *,
    timesteps: int,
    name: str,
    learns: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Calibration:
    """Convert a model with every candidate, run each on the chip, and keep the most accurate.

    All candidates are screened on the first validation images, the best few compared on more; ties go to the earlier candidate. Test
    images are never seen.

    Args:
        model: torch module.
        data: its data set; thresholds come from the training split, the choice from the validation split.
        place: how a network is deployed (profile, width, placement).
        timesteps: T.
        name: for display.
        learns: the chip is to learn: of the best few, those within :data:`STABLE_WITHIN` of the best are taken in order until the gain of
            the usual steps (:mod:`neurofault.rescue.gain`) is small enough on one; where it is on none, that of the smallest gain.
        progress: called as ``progress(done, total, text)`` after each candidate.
    """
    images = data.train.images[:CALIBRATION_IMAGES]
    tried = candidates(model)
    networks = list(proposals(model, images, tried, timesteps=timesteps, name=name))
    size = sum(layer.size for layer in networks[0].layers)
    final = max(_SCREEN, min(len(data.validation.labels), _FINAL_WORK // (size * timesteps)))
    screened = min(_SCREEN, len(data.validation.labels))
    trials: list[Trial] = []
    total = len(tried) + (_FINALISTS if final > screened else 0)

    def measure(index: int, samples: int) -> Trial:
        accuracy = _accuracy(place(networks[index]), data.validation, samples)
        trials.append(Trial(tried[index], accuracy, samples))
        if progress is not None:
            progress(len(trials), total, f"best {max(trial.accuracy for trial in trials if trial.samples == samples):.2%}")
        return trials[-1]

    ranking = sorted(range(len(tried)), key=lambda index: -measure(index, screened).accuracy)
    if final > screened:
        ranking = sorted(sorted(ranking[:_FINALISTS]), key=lambda index: -measure(index, final).accuracy)
    if learns:
        best = {index: next(t.accuracy for t in reversed(trials) if t.candidate == tried[index]) for index in ranking[:_FINALISTS]}
        near = [index for index in best if best[index] >= best[ranking[0]] - STABLE_WITHIN]
        labels = data.train.labels[: len(images)].astype(np.int64)
        ranking = [first_stable((index, _gain(place(networks[index]), images, labels)) for index in near)]
    return Calibration(networks[ranking[0]], tuple(trials))


def _gain(deployment: Deployment, images: NDArray[np.generic], labels: NDArray[np.int64]) -> float:
    return usual_gain(deployment, deployment.encode(images), labels)


def _accuracy(deployment: Deployment, split: Split, samples: int) -> float:
    result = run(deployment, split.images[:samples], split.labels[:samples])
    assert result.accuracy is not None
    return result.accuracy
