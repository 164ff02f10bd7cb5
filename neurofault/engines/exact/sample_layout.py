"""How the samples of a stepwise run lie in its arrays: one row each, or one after the other in one row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Kind = TypeVar("_Kind", bound=np.generic)
_Steps = TypeVar("_Steps", int, NDArray[np.int64])


@dataclass(frozen=True)
class SampleLayout:
    """Arrays of a run are [rows, steps, …]: N rows of T steps where samples start anew, one row of N · T where one follows the other.

    Attributes:
        first_sample: index of the first sample in the whole data set.
        samples: N.
        timesteps: T.
        stream: whether they are one row.
        cleared: whether what is on its way ends with its sample, also where samples are one row.
    """

    first_sample: int
    samples: int
    timesteps: int
    stream: bool
    cleared: bool = True

    @property
    def in_a_row(self) -> SampleLayout:
        """The same samples as one row."""
        return replace(self, stream=True)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and steps."""
        return (1, self.samples * self.timesteps) if self.stream else (self.samples, self.timesteps)

    def laid(self, array: NDArray[_Kind]) -> NDArray[_Kind]:
        """Return [N, T, …] as [rows, steps, …]."""
        return array.reshape(*self.shape, *array.shape[2:])

    def reach(self, step: _Steps) -> _Steps:
        """Return how many steps before some step a spike may have been sent that arrives in it."""
        return step % self.timesteps if self.cleared else step

    def place(self, row: NDArray[np.int64], step: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the index in the whole data set of the samples at some places in the arrays, and their steps of the sample."""
        sample, own = np.divmod(row * self.timesteps + step, self.timesteps)
        return sample + self.first_sample, own
