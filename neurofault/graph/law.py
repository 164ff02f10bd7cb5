"""What a neuron does at its threshold and below: reset, refractory steps, floor. Once, for networks, chips and engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Reset = Literal["zero", "subtract", "none"]
"""What a spike does to ``v``: it becomes 0, loses the threshold, or stays."""
RESETS: tuple[Reset, ...] = ("zero", "subtract", "none")

MOST_REFRACTORY = 1 << 20
"""Refractory steps that a counter of neurofault holds, inclusive (no chip holds as many: Loihi 1 to 63, nengo-loihi)."""


@dataclass(frozen=True, eq=False)
class Law:
    """A population's law in the chip's integers; the defaults are Lava 0.10's ``LIF``.

    With c the refractory counter (0 at a sample's first step), θ = vth · 64, and v' what leak, current and bias make of v (clipped to 24 bits)::

        c > 0:  v stays, no spike, c ← c − 1
        c = 0:  v ← max(v', floor), s = [v > θ]; where s: v ← 0 (zero), v − θ (subtract), v (none), and c ← refractory

    u goes on in refractory steps: only the membrane is held (Davies et al. 2018, IEEE Micro 38(1), section on the neuron model; nengo-loihi
    ``emulator/interface.py``). With ``delayed`` the spike resets nothing in its own step; in the next one a neuron that begins above its threshold
    is reset, to zero before the leak, or by θ after it (snnTorch ``Leaky``, ``reset_delay=True``)::

        zero:  v' from v = 0        subtract:  v' − θ

    Attributes:
        reset: ``zero``, ``subtract`` or ``none``.
        delayed: whether the reset acts in the step after the spike.
        refractory: int32 [n], steps, 0 to 2**20; None: none. Not with ``delayed``.
        floor: int32 [n], in the unit of v, 1 − 2**23 to 0; None: none.
    """

    reset: Reset = "zero"
    delayed: bool = False
    refractory: NDArray[np.int32] | None = None
    floor: NDArray[np.int32] | None = None

    @property
    def usual(self) -> bool:
        """Whether it is Lava's."""
        return self.reset == "zero" and not self.delayed and self.refractory is None and self.floor is None

    def __str__(self) -> str:
        return said(self.reset, delayed=self.delayed, refractory=self.refractory is not None, floor=self.floor is not None)


def said(reset: Reset, *, delayed: bool, refractory: bool, floor: bool) -> str:
    """Return in words what a law has that Lava's has not; nothing: ``""``.

    >>> said("subtract", delayed=True, refractory=False, floor=False)
    "reset 'subtract', a reset one step after the spike"
    """
    parts = [f"reset {reset!r}"] if reset != "zero" else []
    parts += ["a reset one step after the spike"] if delayed else []
    parts += ["refractory steps"] if refractory else []
    parts += ["a floor of v"] if floor else []
    return ", ".join(parts)


USUAL = Law()
"""The law of Lava 0.10's ``LIF``."""
