"""What is measured, by the form of the labels: accuracy, top-k, accuracy a step; each with its chance.

===================  ===================  ============================================================================
labels               ``metric``           what counts
===================  ===================  ============================================================================
[N], of samples      ``accuracy``         samples whose highest score is their label's (the default)
..                   ``top-K``            samples whose label is among the K highest scores
[N, T], of steps     ``accuracy-step``    steps whose answer is their label; steps without a label (−1) do not count (the default, and the only one)
===================  ===================  ============================================================================

Chance is what the best constant answer reaches on the same labels: the most frequent class, or the K most frequent ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, counted
from neurofault.errors import UsageError, nearest


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

    def share(self, activity: Activity, labels: NDArray[np.integer]) -> float:
        """Return the share that :meth:`correct` is of all labels that count."""
        return self.correct(activity, labels) / counted(labels)

    def chance(self, labels: NDArray[np.integer]) -> float:
        """Return the share of the best constant answer."""
        sizes = np.bincount(labels[labels >= 0])  # −1: not known
        return float(np.sort(sizes)[::-1][: self.k].sum() / counted(labels))


def words_of(name: str) -> str:
    """Return a metric's name in words.

    >>> [words_of(name) for name in ("accuracy", "top-3", "accuracy-step")]
    ['accuracy', 'top-3 accuracy', 'accuracy a step']
    """
    return {"accuracy": "accuracy", "accuracy-step": "accuracy a step"}.get(name, f"{name} accuracy")


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
    found = re.fullmatch(r"top-([1-9][0-9]{0,5})", asked)
    if found is None and asked not in (ACCURACY.name, STEPS.name):
        raise UsageError(
            f"unknown metric {asked!r}; metrics: accuracy, top-K (such as top-3), accuracy-step{nearest(asked, (ACCURACY.name, STEPS.name, 'top-3'))}"
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
