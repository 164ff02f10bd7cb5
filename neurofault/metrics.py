"""What is measured, by the form of what is to be answered: accuracy, top-k, accuracy a step, mean squared error, the same a step; each with its chance.

====================  ===========================  =========================================================================
what is given         ``metric``                   what counts
====================  ===========================  =========================================================================
labels [N]            ``accuracy``                 samples whose highest score is their label's (the default)
..                    ``top-K``                    samples whose label is among the K highest scores
labels [N, T]         ``accuracy-step``            steps whose answer is their label; steps without a label (−1) do not count
targets [N, K]        ``mean-squared-error``       the mean over samples and outputs of (answer − target)², in the targets' unit squared
targets [N, T, K]     ``mean-squared-error-step``  the same over samples, steps and outputs
====================  ===========================  =========================================================================

Whatever is measured is a total by a number: right answers by labels, or the sum of squared errors (float64) by the number of values. Totals are stored, and
shares and means are derived. Chance is what the best constant answer reaches on the same labels: the most frequent class, or the K most frequent ones.
Of targets it is the error of answering the mean of the training targets, always.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE, Activity, counted, counts_from
from neurofault.errors import UsageError, nearest
from neurofault.graph.readout import How

Expected = NDArray[np.integer] | NDArray[np.floating]
"""What is to be answered: labels, int [N] or [N, T], or targets, float [N, K] or [N, T, K]."""

SQUARED = "mean-squared-error"
_OF_STEPS = "-step"
_WORDS = {
    "accuracy": "accuracy", "accuracy-step": "accuracy a step", SQUARED: "mean squared error", SQUARED + _OF_STEPS: "mean squared error a step",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """What is measured: a share of labels that are answered right, or a mean squared error.

    Attributes:
        name: ``accuracy``, ``top-3`` …, ``accuracy-step``, ``mean-squared-error``, ``mean-squared-error-step``.
        k: how many answers a sample may give.
        unit: of errors: target for one of a score (:func:`neurofault.deploy.units.unit_of`, by the steps of a sample where rates are summed), above 0;
            None: of labels, or not known.
        how: of errors: what scores are, as of :class:`neurofault.graph.Readout`.
        guess: of errors: the mean of the training targets, one an output; empty: that of the targets that are shown.
    """

    name: str
    k: int = 1
    unit: float | None = None
    how: How = "potential"
    guess: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        """The name in words.

        >>> [Metric(name).words for name in ("accuracy", "top-3", "accuracy-step", "mean-squared-error")]
        ['accuracy', 'top-3 accuracy', 'accuracy a step', 'mean squared error']
        """
        return _WORDS.get(self.name, f"{self.name} accuracy")

    @property
    def of_steps(self) -> bool:
        """Whether every step is to be answered."""
        return self.name.endswith(_OF_STEPS)

    @property
    def lower(self) -> bool:
        """Whether lower is better: of errors."""
        return self.name.startswith(SQUARED)

    @property
    def key(self) -> str:
        """How values are called in results: ``accuracy``, or ``mean_squared_error``."""
        return "mean_squared_error" if self.lower else "accuracy"

    @property
    def stored(self) -> str:
        """Name of the total that is stored: ``correct``, or ``squared_error``."""
        return "squared_error" if self.lower else "correct"

    @property
    def counts(self) -> str:
        """Name of the number that it is divided by: ``samples`` (of labels of steps: the steps that have one), or ``values``."""
        return "values" if self.lower else "samples"

    @property
    def within(self) -> tuple[float, float]:
        """Least and largest value that there can be."""
        return (0.0, inf) if self.lower else (0.0, 1.0)

    @property
    def worst_end(self) -> str:
        """Which end of several values is the worst one: ``lowest``, or ``highest``."""
        return "highest" if self.lower else "lowest"

    def number(self, expected: Expected) -> int:
        """Return by how many answers a total is divided."""
        return int(expected.size) if self.lower else counted(expected)  # type: ignore[arg-type]  # labels, by the name

    def values(self, activity: Activity) -> NDArray[np.float64]:
        """Return the answers in the targets' unit, float64 [N, K], or [N, T, K] of steps; a dead output neuron answers 0."""
        assert self.unit is not None
        if not self.of_steps:
            return values_of(activity.scores, self.how, self.unit)
        assert activity.step_scores is not None
        found = values_of(activity.step_scores, self.how, self.unit)
        if self.how == "mean":  # whose scores are sums, and whose unit counts all steps
            steps = found.shape[1]
            found *= (steps / np.arange(1, steps + 1))[:, None]
        return found

    def merits(self, activity: Activity, expected: Expected) -> NDArray[np.float64]:
        """Return float64 [N], what each sample adds to the total: its right answers, or less its squared errors; more is better."""
        if self.lower:
            squares: NDArray[np.float64] = (self.values(activity) - expected) ** 2
            return -np.asarray(squares.reshape(len(expected), -1).sum(axis=1), np.float64)
        if self.of_steps:
            assert activity.answers is not None
            return np.asarray((activity.answers == expected).sum(axis=1), np.float64)
        right = activity.predictions == expected if self.k == 1 else activity.among(expected, self.k)  # type: ignore[arg-type]  # labels, by the name
        return right.astype(np.float64)

    def total(self, activity: Activity, expected: Expected) -> int | float:
        """Return what is stored: how many labels are answered right, or the sum of squared errors."""
        found = float(self.merits(activity, expected).sum())
        return -found if self.lower else int(found)

    def value(self, activity: Activity, expected: Expected) -> float:
        """Return the share of right answers, or the mean squared error."""
        return self.total(activity, expected) / self.number(expected)

    def of_answers(self, answers: NDArray[np.float64], targets: NDArray[np.floating]) -> float:
        """Return the mean squared error of answers in the targets' unit, which may stand for all samples alike."""
        return float(np.mean((answers - targets) ** 2))

    def chance(self, expected: Expected) -> float:
        """Return what the best constant answer reaches."""
        if self.lower:
            axes = tuple(range(expected.ndim - 1))
            return self.of_answers(np.array(self.guess or expected.mean(axis=axes)), np.asarray(expected, np.float64))
        sizes = np.bincount(expected[expected >= 0])  # −1: not known
        return float(np.sort(sizes)[::-1][: self.k].sum() / counted(expected))  # type: ignore[arg-type]  # labels, by the name

    def scale(self, expected: Expected) -> float:
        """Return beside what a loss is small or large: 1 of shares, and of errors :meth:`chance`."""
        return self.chance(expected) if self.lower else 1.0

    def loss(self, healthy: float, value: float) -> float:
        """Return how much worse a value is than that of the healthy chip; below 0: it is better."""
        return value - healthy if self.lower else healthy - value

    def merit(self, value: float) -> float:
        """Return a value, or a total, as a number of which more is better."""
        return -value if self.lower else value

    def worst(self, values: Iterable[float]) -> float:
        """Return the worst of some values, of which there is at least one."""
        return max(values) if self.lower else min(values)

    def figures(self, value: float) -> str:
        """Return a value as text without its unit: percent with two digits, or an error with four."""
        return f"{value:.4g}" if self.lower else f"{100 * value:.2f}"

    def shown(self, value: float) -> str:
        """Return a value as text.

        >>> Metric("accuracy").shown(0.97555), Metric("mean-squared-error").shown(0.012345)
        ('97.56 %', '0.01235')
        """
        return self.figures(value) + ("" if self.lower else " %")

    def named(self, found: Any) -> Any:
        """Return JSON in which ``…accuracy`` is named by what was measured: ``…mean_squared_error`` of errors."""
        match found:
            case dict():
                return {key.replace("accuracy", self.key): self.named(value) for key, value in found.items()}
            case list():
                return [self.named(value) for value in found]
            case _:
                return found

    def differing(self, difference: float) -> str:
        """Return a difference of two values as text, with its sign: points of accuracy, or an error."""
        return f"{difference:+.4g}" if self.lower else f"{100 * difference:+.2f}"


ACCURACY = Metric("accuracy")
STEPS = Metric("accuracy-step")


def metric_named(name: str) -> Metric:
    """Return a metric by its name, as results hold it; of errors in the unit of what they hold."""
    return Metric(name, int(name.removeprefix("top-"))) if name.startswith("top-") else Metric(name)


def values_of(scores: NDArray[np.int64], how: How, unit: float) -> NDArray[np.float64]:
    """Return scores in the network's unit, float64 of their shape; a dead neuron, which sends nothing, has 0.

    Args:
        scores: of a run.
        how: what they are, as of :class:`neurofault.graph.Readout`.
        unit: of one of them.
    """
    plain = counts_from(scores) if how == "count" else scores
    return np.where(scores == DEAD_SCORE, 0.0, plain * unit)


def metric_of(labels: NDArray[np.integer], classes: int, asked: str | None, data: str) -> Metric:
    """Return the metric of labels.

    Args:
        labels: [N] or [N, T].
        classes: how many there are.
        asked: by name; None: the default of the labels' form.
        data: name of the data set, for messages.

    Raises:
        UsageError: unknown, or one that does not go with these labels.
    """
    of_steps = labels.ndim == 2
    default = STEPS if of_steps else ACCURACY
    if asked is None or asked == default.name:
        return default
    if asked in (SQUARED, SQUARED + _OF_STEPS):
        raise UsageError(
            f"metric {asked}: data {data} has classes as labels (whole numbers), for which there is {'accuracy-step' if of_steps else 'accuracy and top-K'}; "
            "numbers to be answered are named targets, in the place of labels"
        )
    found = re.fullmatch(r"top-([1-9][0-9]{0,5})", asked)
    known = (ACCURACY.name, STEPS.name, SQUARED, SQUARED + _OF_STEPS)
    if found is None and asked not in known:
        raise UsageError(
            f"unknown metric {asked!r}; metrics: accuracy, top-K (such as top-3), {', '.join(known[1:])}{nearest(asked, (*known, 'top-3'))}"
        )
    if of_steps or found is None:
        form = f"a label of each of {labels.shape[1]} steps" if of_steps else "one label a sample"
        able = STEPS.name if of_steps else "accuracy and top-K"
        raise UsageError(f"metric {asked}: data {data} has {form}, for which there is {able}")
    k = int(found[1])
    if not 1 < k < classes:
        raise UsageError(
            f"metric {asked}: data {data} has {classes} classes; allowed: top-2 to top-{classes - 1}"
            if classes > 2
            else f"metric {asked}: data {data} has {classes} classes, of which no top-K says anything"
        )
    return Metric(asked, k)


def metric_of_targets(targets: NDArray[np.floating], asked: str | None, data: str) -> Metric:
    """Return the metric of targets, in the unit of scores.

    Args:
        targets: [N, K] or [N, T, K].
        asked: by name; None: the one that there is.
        data: name of the data set, for messages.

    Raises:
        UsageError: another one is asked for.
    """
    name = SQUARED + (_OF_STEPS if targets.ndim == 3 else "")
    if asked not in (None, name):
        of_steps = f" of each of {targets.shape[1]} steps" if targets.ndim == 3 else ""
        raise UsageError(
            f"metric {asked}: data {data} has targets{of_steps}, real numbers to be answered, for which there is {name}"
        )
    return Metric(name)
