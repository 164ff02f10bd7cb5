"""How the samples of a stepwise run lie in its arrays: one row each, or one after the other in one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True)
class SampleLayout:
    """Arrays of a run are [rows, steps, …]: N rows of T steps where samples start anew, one row of N · T where they are one stream.

    Attributes:
        first_sample: index of the first sample in the whole data set.
        samples: N.
        timesteps: T.
        stream: whether they are one.
    """

    first_sample: int
    samples: int
    timesteps: int
    stream: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and steps."""
        return (1, self.samples * self.timesteps) if self.stream else (self.samples, self.timesteps)

    def laid(self, array: NDArray[_Kind]) -> NDArray[_Kind]:
        """Return [N, T, …] as [rows, steps, …]."""
        return array.reshape(*self.shape, *array.shape[2:])

    def place(self, row: NDArray[np.int64], step: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the index in the whole data set of the samples at some places in the arrays, and their steps of the sample."""
        sample, own = np.divmod(row * self.timesteps + step, self.timesteps)
        return sample + self.first_sample, own
