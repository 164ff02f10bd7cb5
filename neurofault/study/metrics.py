"""What is measured, by the form of the labels: accuracy, top-k, accuracy a step, mean squared error; each with its chance.

===================  ======================  =========================================================================
labels               ``metric``              what counts
===================  ======================  =========================================================================
[N], of samples      ``accuracy``            samples whose highest score is their label's (the default)
..                   ``top-K``               samples whose label is among the K highest scores
[N, T], of steps     ``accuracy-step``       steps whose answer is their label; steps without a label (−1) do not count (the default, and the only one)
targets [N, K]       ``mean-squared-error``  the mean over samples and outputs of (answer − target)², in the targets' unit squared (the only one)
===================  ======================  =========================================================================

Chance is what the best constant answer reaches on the same labels: the most frequent class, or the K most frequent ones. Of targets it is the error of
answering the mean of the training targets, always.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, counted
from neurofault.data.splits import Split
from neurofault.deploy.units import values_of
from neurofault.errors import UsageError, nearest
from neurofault.graph.readout import Readout


@dataclass(frozen=True)
class Metric:
    """A share of labels that are answered right.

    Attributes:
        name: ``accuracy``, ``top-3`` …, ``accuracy-step``.
        k: how many answers a sample may give.
    """

    name: str
    k: int = 1

    @property
    def words(self) -> str:
        """See :func:`words_of`."""
        return words_of(self.name)

    @property
    def of_steps(self) -> bool:
        """Whether it is of labels of steps."""
        return self.name == "accuracy-step"

    def correct(self, activity: Activity, labels: NDArray[np.integer]) -> int:
        """Return how many labels are answered right."""
        return activity.correct(labels) if self.k == 1 else activity.within(labels, self.k)

    def measured(self, activity: Activity, test: Split) -> float:
        """Return the share that :meth:`correct` is of all labels that count."""
        return self.correct(activity, test.labels) / counted(test.labels)

    def chance(self, labels: NDArray[np.integer]) -> float:
        """Return the share of the best constant answer."""
        sizes = np.bincount(labels[labels >= 0])  # −1: not known
        return float(np.sort(sizes)[::-1][: self.k].sum() / counted(labels))


@dataclass(frozen=True)
class SquaredError:
    """A mean squared error, of answers in the targets' unit; lower is better.

    Attributes:
        readout: of the chip.
        unit: target for one of its score (:func:`neurofault.deploy.units.unit_of`, by the steps of a sample where rates are summed).
        guess: the mean of the training targets, one an output.
        name: of the metric.
    """

    readout: Readout
    unit: float
    guess: tuple[float, ...]
    name: str = "mean-squared-error"

    @property
    def words(self) -> str:
        """See :func:`words_of`."""
        return words_of(self.name)

    def answers(self, activity: Activity) -> NDArray[np.float64]:
        """Return the answers in the targets' unit, float64 [N, K]; a dead output neuron answers 0."""
        return values_of(activity.scores, self.readout, self.unit)

    def measured(self, activity: Activity, test: Split) -> float:
        """Return the error."""
        return squared_error(self.answers(activity), test)

    def chance(self, test: Split) -> float:
        """Return the error of answering the mean of the training targets."""
        return squared_error(np.array([self.guess]), test)


Measure = Metric | SquaredError
"""What is measured."""


def squared_error(answers: NDArray[np.float64], test: Split) -> float:
    """Return the mean over samples and outputs of (answer − target)².

    Args:
        answers: [N, K], or [1, K] for all samples.
        test: with targets.
    """
    assert test.targets is not None
    return float(np.mean((answers - test.targets) ** 2))


def words_of(name: str) -> str:
    """Return a metric's name in words.

    >>> [words_of(name) for name in ("accuracy", "top-3", "accuracy-step", "mean-squared-error")]
    ['accuracy', 'top-3 accuracy', 'accuracy a step', 'mean squared error']
    """
    known = {"accuracy": "accuracy", "accuracy-step": "accuracy a step", SQUARED: "mean squared error"}
    return known.get(name, f"{name} accuracy")


SQUARED = "mean-squared-error"
ACCURACY = Metric("accuracy")
STEPS = Metric("accuracy-step")


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
    if asked == SQUARED:
        raise UsageError(
            f"metric {asked}: data {data} has classes as labels (whole numbers), for which there is {'accuracy-step' if of_steps else 'accuracy and top-K'}; "
            "numbers to be answered are named targets, in the place of labels"
        )
    found = re.fullmatch(r"top-([1-9][0-9]{0,5})", asked)
    if found is None and asked not in (ACCURACY.name, STEPS.name):
        raise UsageError(
            f"unknown metric {asked!r}; metrics: accuracy, top-K (such as top-3), accuracy-step, {SQUARED}{nearest(asked, (ACCURACY.name, STEPS.name, 'top-3', SQUARED))}"
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


def check_targets(asked: str | None, data: str) -> None:
    """Refuse a metric of classes where there are targets.

    Raises:
        UsageError: it is one.
    """
    if asked not in (None, SQUARED):
        raise UsageError(f"metric {asked}: data {data} has targets, real numbers to be answered, for which there is {SQUARED}")
