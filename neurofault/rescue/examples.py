"""Samples with what they are to be answered with, labels or targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Result, expected_of, run
from neurofault.inputs import Inputs
from neurofault.metrics import Expected, Metric


@dataclass(frozen=True, eq=False)
class Examples:
    """Samples and what they are to be answered with.

    Attributes:
        inputs: N encoded samples.
        labels: int64 [N], or [N, T] of steps; or targets, float64 [N, K] or [N, T, K].
        unit: of targets: what one of a score is in their unit, as of :func:`neurofault.run`; None: of labels.
    """

    inputs: Inputs
    labels: Expected
    unit: float | None = None

    __repr__ = brief

    def metric(self, deployment: Deployment) -> Metric:
        """Return what is measured."""
        found = expected_of(deployment, self.labels, self.unit)[1]
        assert found is not None
        return found

    def seen(self, deployment: Deployment) -> Result:
        """Show the samples to a chip."""
        return run(deployment, self.inputs, self.labels, unit=self.unit)

    def accuracy(self, deployment: Deployment) -> float:
        """Return the fraction that a chip answers right, or its mean squared error."""
        found = self.seen(deployment).value
        assert found is not None
        return found

    def take(self, index: NDArray[np.int64]) -> Examples:
        """Return some of them, in this order."""
        return Examples(self.inputs.take(index), self.labels[index], self.unit)
