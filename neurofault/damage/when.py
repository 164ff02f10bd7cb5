"""`When`: in which steps a fault acts, on one of two clocks.

The ``presentation`` clock counts a population's own steps of a sample, 0 … T − 1, and starts again with each sample. The ``chip`` clock
counts all steps of the chip from 1: a population handles step t of sample k in the chip's step kT + phase + t + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Clock = Literal["presentation", "chip"]
MOST_STEPS = 1 << 62
"""No step of a chip is as late."""


@dataclass(frozen=True)
class When:
    """Steps from ``start`` up to, not including, ``stop``; of each ``period`` steps the first ``on``.

    Attributes:
        start: first step, at least 0.
        stop: first step after it, above ``start``; None: for good.
        period: length of a cycle, counted from ``start``; None: no cycle.
        on: active steps at the beginning of each cycle, 1 to ``period``.
        clock: which steps are meant.
    """

    start: int = 0
    stop: int | None = None
    period: int | None = None
    on: int = 1
    clock: Clock = "presentation"

    @property
    def always(self) -> bool:
        """Whether it is active in every step."""
        return self.lasts and self.start <= (0 if self.clock == "presentation" else 1)

    @property
    def lasts(self) -> bool:
        """Whether it stays active once its clock has come to its start."""
        return self.stop is None and self.period in (None, self.on)

    def active(self, steps: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return bool, of the shape of ``steps``: whether it is active in these steps of its clock.

        >>> When(start=2, period=4, on=1).active(np.arange(8)).astype(int).tolist()
        [0, 0, 1, 0, 0, 0, 1, 0]
        """
        now = steps >= self.start
        if self.stop is not None:
            now &= steps < self.stop
        if self.period is not None:
            now &= (steps - self.start) % self.period < self.on
        return np.asarray(now)

    def grid(self, phase: int, first_sample: int, samples: int, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [N, T]: in which steps of which samples it is active for a population.

        Args:
            phase: of the population (:class:`neurofault.graph.Schedule`).
            first_sample: index of the first of the samples in the whole data set.
            samples: N.
            timesteps: T.
        """
        return self.active(clock_steps(self.clock, phase, first_sample, samples, timesteps))


ALWAYS = When()
"""Permanent."""


def clock_steps(clock: Clock, phase: int, first_sample: int, samples: int, timesteps: int) -> NDArray[np.int64]:
    """Return int64 [N, T]: what a clock shows in each step of each sample, for a population of some phase."""
    own = np.arange(timesteps, dtype=np.int64)
    if clock == "presentation":
        return np.broadcast_to(own, (samples, timesteps))
    return (first_sample + np.arange(samples, dtype=np.int64))[:, None] * timesteps + phase + 1 + own
