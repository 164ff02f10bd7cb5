"""What is known of conversions that were compared, without torch; and what is said of a network that fails by itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.asked import Candidate
from neurofault.errors import NeurofaultWarning
from neurofault.graph import Network
from neurofault.inputs import Spikes
from neurofault.numerals import plural


@dataclass(frozen=True)
class Trial:
    """What one candidate reached.

    Attributes:
        candidate: what was tried.
        accuracy: on chip, on ``samples`` validation images; of ``settled`` and ``subtract`` how often the chip answers as the module does; of targets the
            share of their variance that the answers explain (R², of ``settled`` and ``subtract`` that of the module's answers).
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
        chosen: the candidate.
    """

    network: Network
    trials: tuple[Trial, ...]
    chosen: Candidate

    @property
    def pooled(self) -> tuple[tuple[str, float], ...]:
        """The best accuracy of each way of max pooling where all were measured, the chosen way first; empty where there is nothing to choose."""
        best: dict[str, float] = {}
        for trial in self.trials:
            if trial.samples == self.trials[0].samples:
                best[trial.candidate.pooling] = max(best.get(trial.candidate.pooling, 0.0), trial.accuracy)
        chosen = self.chosen.pooling
        return () if len(best) == 1 else ((chosen, best.pop(chosen)), *best.items())


def say_if_it_fails(
    answers: NDArray[np.integer],
    labels: NDArray[np.integer],
    name: str,
    samples: NDArray[np.generic] | Spikes,
    *,
    as_made: bool = False,
) -> None:
    """Warn of a network that itself classifies badly: less than half-way from chance (the most frequent label) to everything.

    Args:
        answers: the network's, int [N], or [N, T] of steps.
        labels: the true ones, of the same shape; −1: not known, and left out.
        name: of the network, for the message.
        samples: what it was shown, from which the message says what may be amiss.
        as_made: whether it has the weights that its factory made, for none were given.
    """
    known = labels >= 0
    if not known.any():
        return
    right = float(np.mean(answers[known] == labels[known]))
    chance = float(np.unique(labels[known], return_counts=True)[1].max() / known.sum())
    if right - chance < (1 - chance) / 2:
        what = "step" if labels.ndim == 2 else "sample" if isinstance(samples, Spikes) else "image"
        untrained = "untrained (no weights are given, --weights: it has those that its factory made)" if as_made else "untrained"
        warnings.warn(
            f"network {name!r} itself classifies {right:.1%} of {plural(int(known.sum()), f'calibration {what}')} (chance: {chance:.1%}): is it {untrained}, "
            f"or was it trained on {_otherwise(samples)}",
            NeurofaultWarning,
            stacklevel=3,
        )


def _otherwise(samples: NDArray[np.generic] | Spikes) -> str:
    """Return in words on what else a network may have been trained that fails on these samples."""
    if isinstance(samples, Spikes):
        return f"events of other steps than these {samples.timesteps} a sample, or of lines in another order than (polarity·height + y)·width + x?"
    inside = "A normalisation (transforms.Normalize) belongs into its forward, in front of its first layer"
    if samples.dtype == np.uint8:
        return f"another scale than x/255 in [0, 1]? {inside}"
    low, high = float(samples.min()), float(samples.max())
    pixels = low >= 0 and 1 < high <= 255 and bool(np.all(samples == np.rint(samples)))
    shown = f"other values than these, which lie in {low:.4g} … {high:.4g}"
    return f"{shown} (of pixels, on x/255 in [0, 1])? {inside}" if pixels else f"{shown}? {inside}"
