"""Neuron models of a network in real numbers, and the sources that drive it from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.errors import nearest
from neurofault.graph.arithmetic import AT_FLOOR, RESETS, AtFloor, Reset
from neurofault.graph.law import MOST_REFRACTORY, said

NO_MEMORY = 4095
"""The ``du`` for which the current has no memory: ``u`` is this step's input (Davies 2018; Lava ``LIF``, du + 1 = 4096)."""


FIRST = ("threshold", "bias", "du", "dv", "start", "bias_exponent")
"""What a neuron of Lava's ``LIF`` is described by; its other fields make a law of their own."""
_IN_LAW = {"reset_delay": "delayed"}

INPUT_RESETS: tuple[Reset, ...] = ("zero", "subtract")
"""What a spike may do to the potential of neurons that are driven from outside."""


@dataclass(frozen=True, eq=False)
class CubaLif:
    """Current-based leaky integrate-and-fire neurons; by default those of Lava 0.10's ``LIF``.

    Each step::

        u ← u·(4096 − du − 1)/4096 + Σ w·s        v ← v·(4096 − dv)/4096 + u + bias        s = [v > threshold], v ← 0 where s

    where s are the spikes that arrive in this step. Other resets, refractory steps and a floor: :class:`neurofault.graph.law.Law`. The chip's
    integers do the same by :func:`neurofault.graph.law.step`.

    >>> import neurofault as nf
    >>> nf.CubaLif(threshold=1.0, refractory=2).features
    frozenset({'refractory'})

    Attributes:
        threshold: in units of weight · spikes, > 0, scalar or [n]; None for neurons that never fire (potential readout).
        bias: [n] or scalar, added to ``v`` each step, in the threshold's unit.
        du, dv: decays in 1/4096, 0 to 4095, scalar or [n].
        start: ``v`` at a sample's first step, as a fraction of the threshold (of 1 where the threshold is None), scalar or [n]; rounded.
        bias_exponent: None for real numbers; else threshold (Lava ``vth``) and bias (Lava ``bias_mant``) are the chip's own integers, the bias
            is ``bias · 2**bias_exponent`` (an arithmetic right shift if negative), and ``start``, ``floor`` and ``reset_to`` are ``v`` itself.
        reset: what a spike does to ``v``: ``zero``, ``subtract`` (the threshold is taken off, exactly) or ``none``.
        reset_delay: steps from a spike to its reset, 0 or 1 (snnTorch's default).
        refractory: steps after a spike in which ``v`` is held and nothing fires, 0 to 2**20, scalar or [n]; 0 with ``reset_delay`` 1.
        floor: ``v`` does not go below it, at most 0, in the threshold's unit, scalar or [n]; rounded. None: no floor.
        reset_to: what a reset ``zero`` leaves v at, in the threshold's unit, scalar or [n]; rounded. Chips with such a number alone (TrueNorth).
        at_floor: ``hold``: v is held at its floor; ``reset``: where it is below and no spike comes, v is reset as by a spike of the other sign: to
            −``reset_to`` (zero), or the floor is taken off (subtract). Chips with such a threshold alone (TrueNorth).
    """

    threshold: float | NDArray[np.generic] | None
    bias: float | NDArray[np.generic] = 0.0
    du: int | NDArray[np.generic] = NO_MEMORY
    dv: int | NDArray[np.generic] = 0
    start: float | NDArray[np.generic] = 0.0
    bias_exponent: int | None = None
    reset: Reset = "zero"
    reset_delay: int = 0
    refractory: int | NDArray[np.generic] = 0
    floor: float | NDArray[np.generic] | None = None
    reset_to: float | NDArray[np.generic] = 0.0
    at_floor: AtFloor = "hold"

    __repr__ = brief

    @property
    def features(self) -> frozenset[str]:
        """What its law has that Lava's ``LIF`` has not, as :attr:`neurofault.graph.law.Law.features` says it."""
        found = set[str]()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in FIRST or value is None or not np.any(np.asarray(value) != field.default):
                continue
            found.add(f"{field.name} {value}" if field.name in ("reset", "at_floor") else _IN_LAW.get(field.name, field.name))
        return frozenset(found)

    @property
    def unusual(self) -> str:
        """In words, what its law has that Lava's ``LIF`` has not; nothing: ``""``."""
        return said(self.features)

    def mistake(self, size: int) -> str | None:
        """Return what is wrong with resets, refractory steps, floor and start for ``size`` neurons; None: nothing.

        >>> import neurofault as nf
        >>> nf.CubaLif(1.0, reset_delay=2).mistake(3)
        'reset_delay must be 0 or 1, is 2'
        """
        if (wrong := _not_among(self.reset, RESETS)) is not None:
            return wrong
        if not isinstance(self.reset_delay, Integral) or self.reset_delay not in (0, 1):
            return f"reset_delay must be 0 or 1, is {self.reset_delay!r:.80}"
        fields_of_each = {"start": self.start, "refractory": self.refractory, "floor": self.floor, "reset_to": self.reset_to}
        for what, value in fields_of_each.items():
            if value is not None and np.shape(value) not in ((), (size,)):
                return f"{what} has the shape {np.shape(value)}; allowed: a number, or [{size}]"
        steps = np.asarray(self.refractory)
        if steps.dtype.kind not in "iu" or np.any(steps < 0) or np.any(steps > MOST_REFRACTORY):
            return f"refractory must be whole steps from 0 to {MOST_REFRACTORY}, is {self.refractory!r:.80}"
        if self.reset_delay and np.any(steps):
            return "reset_delay 1 beside refractory steps: a neuron is held before it is reset; allowed: one of them"
        if self.floor is not None and np.any(np.asarray(self.floor, np.float64) > 0):
            return f"floor must be at most 0, where v rests, is {np.max(np.asarray(self.floor)):g}"
        if self.reset != "zero" and np.any(np.asarray(self.reset_to) != 0):
            return f"reset_to is what a reset 'zero' leaves v at; reset is {self.reset!r}"
        if self.at_floor not in AT_FLOOR:
            return f"at_floor must be {' or '.join(AT_FLOOR)}, is {self.at_floor!r:.80}"
        if self.at_floor == "reset" and self.floor is None:
            return "at_floor 'reset' needs a floor, below which v is reset"
        return None


def _not_among(reset: Reset, allowed: Sequence[Reset]) -> str | None:
    """Return that a reset is none of those that are allowed; None: it is one."""
    if reset in allowed:
        return None
    said = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
    return f"reset must be {said}, is {reset!r:.80}{nearest(str(reset), allowed)}"


@dataclass(frozen=True, eq=False)
class Encoding:
    """From a pixel to the bias current of its input neuron, a constant for the whole presentation.

    Attributes:
        table: int32 [256], bias mantissa of each 8-bit pixel value.
        threshold: Lava ``vth`` of the input neurons, 1 to 131071.
        start: ``v`` of the input neurons at a sample's first step, in the unit of ``v`` (64 a threshold unit).
        full_rate: spike rate (spikes a step) that stands for a pixel of 255; (0, 1].
    """

    table: NDArray[np.int32]
    threshold: int
    start: int
    full_rate: float

    __repr__ = brief

    @staticmethod
    def for_pixels(full_rate: float, start: float, timesteps: int, reset: Reset = "zero") -> Encoding:
        """Return the table whose spike counts in ``timesteps`` come nearest to ``full_rate · timesteps · pixel / 255``.

        A reset-to-zero neuron under a constant bias fires at one of the rates 1, ½, ⅓ …, so its table is a search, not a line. One that resets by
        subtraction fires at every rate, T + 1 counts in T steps: its table is the line itself, and from a start of ½ its counts are rounded.

        >>> [len(set(Encoding.for_pixels(1.0, 0.5, 32, reset).rates(32, reset))) for reset in ("zero", "subtract")]
        [11, 33]

        Args:
            full_rate: spikes a step for a pixel of 255, in (0, 1].
            start: ``v`` at a sample's first step as a fraction of the threshold, [0, 1].
            timesteps: T, at least 1.
            reset: of the input neurons, ``zero`` or ``subtract``; that of their :class:`Source`.
        """
        threshold, mantissas = 63, np.arange(4096, dtype=np.int32)  # 13-bit signed mantissa; 4033 fires at every step
        begin = int(start * (threshold << 6))
        if reset == "subtract":
            return Encoding(
                np.rint(np.arange(256) / 255 * full_rate * (threshold << 6)).astype(np.int32), threshold, begin, full_rate
            )
        counts = _constant_drive_counts(mantissas, threshold, begin, timesteps)
        target = np.arange(256) / 255 * full_rate * timesteps
        first = np.sort(np.unique(counts, return_index=True)[1])  # of each count the smallest mantissa
        chosen = first[np.abs(counts[first] - target[:, None]).argmin(axis=1)]
        return Encoding(mantissas[chosen], threshold, begin, full_rate)

    def rates(self, timesteps: int, reset: Reset = "zero") -> NDArray[np.float64]:
        """Return [256]: the exact spike rate (spikes / ``timesteps``) of an input neuron with a reset for each pixel value."""
        return _constant_drive_counts(self.table, self.threshold, self.start, timesteps, reset) / timesteps


def _constant_drive_counts(
    bias: NDArray[np.int32], threshold: int, start: int, timesteps: int, reset: Reset = "zero"
) -> NDArray[np.int64]:
    """Return the spikes in ``timesteps`` of a leak-free neuron for each constant bias."""
    v = np.full(bias.shape, start, np.int64)
    count = np.zeros(bias.shape, np.int64)
    for _ in range(timesteps):
        v = np.minimum(v + bias, 2**23 - 1)
        fired = v > threshold << 6
        count += fired
        v = np.where(fired, v - (threshold << 6) if reset == "subtract" else 0, v)
    return count


@dataclass(frozen=True, eq=False)
class Source:
    """What is driven from outside: by a bias current of each neuron (of a pixel, or given), or by events, which are its spikes.

    Under a bias, its neurons are those of :class:`CubaLif`.

    >>> import neurofault as nf
    >>> nf.Source().encoding is None  # it takes events
    True

    Attributes:
        encoding: pixel table; None for a source that takes events, or biases as they are.
        du, dv: decays in 1/4096, 0 to 4095, scalar or [n] (u is 0: nothing arrives over synapses).
        threshold: Lava ``vth``, 0 to 131071, scalar or [n]; None: the encoding's, or 1.
        bias_exponent: the bias is ``mantissa · 2**bias_exponent``.
        start: ``v`` at a sample's first step; None: the encoding's, or 0.
        bias: mantissa that is stored beside what a sample brings, scalar or [n]: what a fault of this field starts from.
        reset: what a spike does to ``v``, ``zero`` or ``subtract``. Under a constant current a neuron that resets to zero fires at one of the
            rates 1, ½, ⅓ …, one that resets by subtraction at every rate.
    """

    encoding: Encoding | None = None
    du: int | NDArray[np.generic] = NO_MEMORY
    dv: int | NDArray[np.generic] = 0
    threshold: int | NDArray[np.generic] | None = None
    bias_exponent: int = 0
    start: int | None = None
    bias: int | NDArray[np.generic] = 0
    reset: Reset = "zero"

    __repr__ = brief

    def mistake(self) -> str | None:
        """Return what is wrong with its reset; None: nothing.

        >>> import neurofault as nf
        >>> nf.Source().mistake() is None
        True
        """
        return _not_among(self.reset, INPUT_RESETS)
