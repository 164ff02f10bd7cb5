"""Whether a healthy chip works at all: populations that are silent or always on, a readout that always answers the same.

Losses of such a chip say nothing, so whoever measures it is told first: :func:`neurofault.engines.run` in its result, and every verb of the command
line, whose chip comes from :func:`neurofault.study.prepare.prepare`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.numerals import plural

_FEW = 10
"""Samples below which one and the same answer may be chance."""


def suspicions(deployment: Deployment, activity: Activity, labels: NDArray[np.integer] | None = None) -> tuple[str, ...]:
    """Return what makes a healthy chip suspect, one text each: which population, what it does, what to try.

    Args:
        deployment: the healthy chip.
        activity: of it, on calibration or validation samples.
        labels: int [N] of these samples, or [N, T] of their steps; None: unknown.
    """
    samples = len(activity.scores)
    found: list[str] = []
    found += cut_off(deployment, activity)
    for layer in deployment.populations:
        if not layer.fires:
            continue
        spikes = int(activity.spike_counts[layer.name].sum())
        if spikes == 0:
            found.append(
                f"layer {layer.name!r} never fires on {plural(samples, 'sample')}, so nothing passes through it; {_silent(deployment, layer.name)}"
            )
        elif spikes == samples * deployment.timesteps * layer.size:
            found.append(
                f"every neuron of layer {layer.name!r} fires at every step on {plural(samples, 'sample')}, so it tells nothing apart; try a higher threshold or "
                "smaller weights, and check the time step"
            )
    of_steps = labels is not None and labels.ndim == 2
    answers = np.unique(activity.predictions if activity.answers is None else activity.answers)
    classes = activity.scores.shape[1] if labels is None else len(np.unique(labels[labels >= 0] if of_steps else labels))
    if samples >= _FEW and len(answers) == 1 and classes > 1:
        found.append(
            f"the readout answers {int(answers[0])} {'in every step of' if of_steps else 'for'} all {samples} samples"
            + ("" if labels is None else f" of {plural(classes, 'class', 'classes')}")
            + "; check that the network belongs to this data, how its inputs are scaled, and the time step"
        )
    return tuple(found)


def cut_off(deployment: Deployment, activity: Activity) -> tuple[str, ...]:
    """Return which populations without a threshold have passed the largest threshold that the chip stores, where a neuron fires and is reset all the same."""
    return tuple(
        f"layer {one.name!r} never fires by design, but its potential passes the largest threshold that the chip stores {spikes} times on {plural(len(activity.scores), 'sample')}, where "
        "it fires and is reset all the same, so its answers are wrong; try fewer time steps, smaller weights into it, or another readout"
        for one in deployment.populations
        if not one.fires and (spikes := int(activity.spike_counts[one.name].sum()))
    )


def _silent(deployment: Deployment, name: str) -> str:
    if deployment.population(name).is_source:
        return "are the samples empty, or of another scale?"
    return "try a lower threshold or larger weights, more time steps, and check the time step and the scale of the inputs"
