"""An atlas of what the incremental pass does not follow: the network runs once for each site, and what it answers is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines.answers import run_with_answers
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.golden import Changes
from neurofault.engines.on_torch.engine import exact_on
from neurofault.inputs import Inputs
from neurofault.metrics import Expected, Metric
from neurofault.study.atlas_sites import Sites


def by_runs(
    deployment: Deployment,
    inputs: Inputs,
    expected: Expected,
    metric: Metric,
    sites: Sites,
    *,
    changes: bool,
    threads: int | None,
    device: str,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, NDArray[np.generic]], Changes | None, Activity, int]:
    """Run a network once for each site.

    Args:
        deployment: the healthy chip.
        inputs: N encoded samples.
        expected: labels or targets.
        metric: what is measured.
        sites: which.
        changes: whether to keep which answers change.
        threads: worker threads; None: one for each usable core.
        device: where engine exact runs.
        progress: called as ``progress(done, all)`` after each site.

    Returns:
        The columns ``changed`` and that of the metric's total, [F]; every changed answer; the healthy run; for how many sites engine exact ran all of the network.
    """
    follower = None if metric.of_steps else IncrementalEngine(threads, device=device)

    def run(chip: Deployment) -> Activity:
        if follower is not None:
            return follower.run(chip, inputs)
        return run_with_answers(exact_on(device, threads), chip, inputs, scores=metric.lower)

    healthy = run(deployment)
    before, total = answers_of(healthy, expected, metric), metric.total(healthy, expected)
    at_first = 0 if follower is None else follower.whole
    changed, moved = np.zeros(len(sites.edits), np.int64), np.zeros(len(sites.edits), np.float64 if metric.lower else np.int64)
    found: list[tuple[int, tuple[NDArray[np.int64], ...], NDArray[np.generic]]] = []
    for number, edits in enumerate(sites.edits):
        hurt = run(deployment.with_damage(Damage((*deployment.damage.edits, *edits))))
        after = answers_of(hurt, expected, metric)
        where = np.nonzero(after != before)
        changed[number], moved[number] = len(where[0]), metric.total(hurt, expected) - total
        if changes:
            found.append((number, where, after[where]))
        if progress is not None:
            progress(number + 1, len(sites.edits))
    columns: dict[str, NDArray[np.generic]] = {"changed": changed, metric.stored: moved}
    whole = len(sites.edits) if follower is None else follower.whole - at_first
    return columns, _joined(found, metric) if changes else None, healthy, whole


def answers_of(activity: Activity, expected: Expected, metric: Metric) -> NDArray[np.generic]:
    """Return what is compared: the class of each sample, int64 [N], or of each step, [N, T]; of targets the squared error of each sample, float64 [N]."""
    if metric.lower:
        return -metric.merits(activity, expected)
    if metric.of_steps:
        assert activity.answers is not None
        return activity.answers
    return activity.predictions


def _joined(found: list[tuple[int, tuple[NDArray[np.int64], ...], NDArray[np.generic]]], metric: Metric) -> Changes:
    answers = np.concatenate([after for _, _, after in found])
    of_steps = metric.of_steps and not metric.lower
    return Changes(
        np.repeat([number for number, _, _ in found], [len(where[0]) for _, where, _ in found]).astype(np.int32),
        np.concatenate([where[0] for _, where, _ in found]).astype(np.int32),
        answers.astype(np.float64 if metric.lower else np.int16),
        np.concatenate([where[1] for _, where, _ in found]).astype(np.int32) if of_steps else None,
    )
