"""The chip's integer law of a CUBA LIF neuron, once: by default equal bit for bit to Lava 0.10 ``fixed_pt`` (``PyLifModelBitAcc``).

What differs between laws is what a neuron does at its threshold and below: reset, refractory steps, floor. Engines that step with NumPy call
:func:`step`; compiled kernels are checked against it, and an engine that does not know a feature of a law says so (:func:`unknown_feature`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import within
from neurofault.errors import unforeseen
from neurofault.graph.arithmetic import AT_FLOOR, LOIHI, RESETS, STATE_LIMIT, Arithmetic, AtFloor, Reset, decayed, wrap32

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

    With ``reset_to`` R a reset ``zero`` leaves v at R. With ``at_floor`` ``reset`` v is not held at its floor f, but reset where it is below and no
    spike comes (TrueNorth, Cassidy et al. 2013, IJCNN, six reset modes; RANC ``neuronblock.cpp``)::

        v' < f:  v ← −R (zero), v' − f (subtract), v' (none)

    Attributes:
        reset: ``zero``, ``subtract`` or ``none``.
        delayed: whether the reset acts in the step after the spike.
        refractory: int32 [n], steps, 0 to 2**20; None: none. Not with ``delayed``.
        floor: int32 [n], in the unit of v, 1 − 2**23 to 0; None: none.
        reset_to: int32 [n], R in the unit of v, 1 − 2**23 to 2**23 − 1; None: 0. With ``zero`` alone.
        at_floor: ``hold`` or ``reset``; ``reset`` with a floor alone.
        arithmetic: the chip's; c, θ, v' and the floor are then in its widths, and θ = vth · 2**shift.
    """

    reset: Reset = "zero"
    delayed: bool = False
    refractory: NDArray[np.int32] | None = None
    floor: NDArray[np.int32] | None = None
    arithmetic: Arithmetic = LOIHI
    reset_to: NDArray[np.int32] | None = None
    at_floor: AtFloor = "hold"

    @property
    def features(self) -> frozenset[str]:
        """What it has that Lava's has not: names of its attributes; of the reset ``reset subtract`` or ``reset none``."""
        found = set[str]()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) or value != field.default:
                found.add(f"{field.name} {value}" if isinstance(value, str) else field.name)
        return frozenset(found)

    @property
    def states(self) -> tuple[str, ...]:
        """What its neurons keep from step to step besides u and v, each int64, 0 at a sample's first step: ``waiting``, the refractory counter."""
        return () if self.refractory is None else ("waiting",)

    @property
    def usual(self) -> bool:
        """Whether it is Lava's."""
        return not self.features

    def mistake(self, size: int) -> str | None:
        """Return what is wrong with it for n neurons; None: nothing."""
        if self.reset not in RESETS:
            return f"reset is {self.reset!r:.40}"
        if self.at_floor not in AT_FLOOR:
            return f"at_floor is {self.at_floor!r:.40}"
        v = STATE_LIMIT - 1
        for name, low, high in (("refractory", 0, MOST_REFRACTORY), ("floor", -v, 0), ("reset_to", -v, v)):
            held = getattr(self, name)
            if held is not None and (held.shape != (size,) or not within(held, low, high)):
                return f"{name} must lie in [{low}, {high}], one for each of {size} neurons"
        if self.delayed and self.refractory is not None:
            return "a delayed reset beside refractory steps"
        own = self.arithmetic
        if (wrong := own.mistake()) is not None:
            return f"arithmetic {own.name!r:.40}: {wrong}"
        if self.reset not in own.resets or int(self.delayed) not in own.reset_delays:
            return f"arithmetic {own.name!r:.40} has no reset {self.reset!r} {int(self.delayed)} steps after a spike"
        if self.reset_to is not None and not (own.reset_to and self.reset == "zero"):
            return f"arithmetic {own.name!r:.40} with reset {self.reset!r} leaves v at no number of a neuron's own (reset_to)"
        if self.at_floor == "reset" and not (own.floor_resets and self.floor is not None):
            return f"arithmetic {own.name!r:.40} resets nothing at a floor, or there is none (at_floor)"
        return None

    def __str__(self) -> str:
        return said(self.features)


_WORDS = {
    "reset subtract": "reset 'subtract'",
    "reset none": "reset 'none'",
    "delayed": "a reset one step after the spike",
    "refractory": "refractory steps",
    "floor": "a floor of v",
    "reset_to": "a reset to another number than 0",
    "at_floor reset": "a reset below its floor",
    "arithmetic": "another arithmetic than Loihi's",
}


def said(features: Collection[str]) -> str:
    """Return in words what a law has that Lava's has not; nothing: ``""``.

    >>> said({"delayed", "reset subtract"})
    "reset 'subtract', a reset one step after the spike"
    """
    known = [text for feature, text in _WORDS.items() if feature in features]
    return ", ".join(known + sorted(set(features) - set(_WORDS)))


USUAL = Law()
"""The law of Lava 0.10's ``LIF``."""


def unknown_feature(law: Law, known: Collection[str]) -> str | None:
    """Return a feature of a law that is not among the known ones, in words; None: all are."""
    unknown = sorted(law.features - set(known))
    return f"{unknown[0]} (of {law})" if unknown else None


def step(
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    drive: NDArray[np.int64],
    du: NDArray[np.int64],
    dv: NDArray[np.int64],
    vth: NDArray[np.int64],
    bias: NDArray[np.integer],
    law: Law = USUAL,
    own: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | NDArray[np.uint8]:
    """Advance u and v in place by one step; return bool: who fires; uint8, how often, where the arithmetic has several spikes a step.

    All arrays are of one shape, or broadcast to it.

    Args:
        u: int64, state: the synaptic current, 24 bits.
        v: int64, state: the membrane.
        drive: int64, Σ over incoming connections of Σ w·s shifted by the connection's exponent, before the shift by 6.
        du: decay of u, 0 to 4095, or as the arithmetic stores it.
        dv: decay of v, likewise.
        vth: threshold in units of 64, or of 2**shift.
        bias: :func:`bias_of` the mantissa.
        law: reset, refractory steps, floor.
        own: int64, state: the law's own ones by name (:attr:`Law.states`); ``waiting`` also where a refractory counter is stuck.
        kept: bool, who is not reset: its reset is lost. None: nobody.
    """
    if law.arithmetic != LOIHI:
        return _step_of(law.arithmetic, u, v, drive, du, dv, vth, bias, law, own, kept)
    waiting = own.get("waiting")
    current = wrap32(decayed(u, du + 1) + wrap32(drive << 6))
    u[:] = np.where(
        current > STATE_LIMIT, current - 2 * STATE_LIMIT, np.where(current <= -STATE_LIMIT, current + 2 * STATE_LIMIT, current)
    )
    if law.usual and not own and kept is None:
        moved = wrap32(decayed(v, dv) + u + bias)
        v[:] = np.clip(moved, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        fired = v > vth << 6
        v[fired] = 0
        return np.asarray(fired)
    theta = np.clip(vth << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT)
    resets = np.asarray(True) if kept is None else ~kept
    above = resets & (v > theta) if law.delayed else np.asarray(False)
    before = np.where(above, 0, v) if law.reset == "zero" else v
    leaked = decayed(before, dv) - (np.where(above, theta, 0) if law.reset == "subtract" else 0)
    moved = np.clip(wrap32(leaked + u + bias), 1 - STATE_LIMIT, STATE_LIMIT - 1)
    if law.floor is not None:
        moved = np.maximum(moved, law.floor)
    live = np.asarray(True) if waiting is None else waiting == 0
    fired = live & (moved > theta)
    if not law.delayed:
        match law.reset:
            case "zero":
                moved = np.where(fired & resets, 0, moved)
            case "subtract":
                moved = np.where(fired & resets, np.minimum(moved - theta, STATE_LIMIT - 1), moved)
            case "none":
                pass
            case _:
                unforeseen(law.reset)
    v[:] = np.where(live, moved, v)
    if waiting is not None:
        waiting[:] = np.where(live, np.where(fired, 0 if law.refractory is None else law.refractory, 0), waiting - 1)
    return np.asarray(fired)


def _step_of(
    chip: Arithmetic,
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    drive: NDArray[np.int64],
    du: NDArray[np.int64],
    dv: NDArray[np.int64],
    vth: NDArray[np.int64],
    bias: NDArray[np.integer],
    law: Law,
    own: Mapping[str, NDArray[np.int64]],
    kept: NDArray[np.bool_] | None,
) -> NDArray[np.bool_] | NDArray[np.uint8]:
    """:func:`step` in an arithmetic that is data."""
    waiting, sums, theta = own.get("waiting"), drive << chip.shift, vth.astype(np.int64) << chip.shift
    if chip.u is None:
        current = sums
    elif chip.sums == "after_decay":
        u[:] = current = chip.u.held(chip.u.decay(u, du) + sums)
    else:
        u[:] = current = chip.u.decay(chip.u.held(u + sums), du)
    resets = np.asarray(True) if kept is None else ~kept
    above = resets & _reaches(chip, v, theta) if law.delayed else np.asarray(False)
    rest = np.asarray(0) if law.reset_to is None else law.reset_to
    before = np.where(above, rest, v) if law.reset == "zero" else v
    leaked = chip.v.decay(before, dv)
    if chip.partly:
        change = chip.v.held(chip.v.held(leaked - before + current) + bias)
        moved = chip.v.held(before + change)
    else:
        moved = chip.v.held(leaked - (np.where(above, theta, 0) if law.reset == "subtract" else 0) + current + bias)
    if law.floor is not None and law.at_floor == "hold":
        moved = np.maximum(moved, law.floor)
    live = np.asarray(True) if waiting is None else waiting == 0
    fired = live & _reaches(chip, moved, theta)
    times = fired.astype(np.int64)
    if chip.spikes > 1:
        fit = (moved if chip.threshold == ">=" else moved - 1) // np.maximum(theta, 1)
        times = np.where(fired, np.clip(fit, 1, chip.spikes), 0)
    if law.floor is not None and law.at_floor == "reset" and law.reset != "none":
        under = ~fired & (moved < law.floor if chip.below == "<" else moved <= law.floor)
        moved = np.where(under, -rest if law.reset == "zero" else moved - law.floor, moved)
    if not law.delayed and law.reset == "zero":
        moved = np.where(fired & resets, rest, moved)
    elif not law.delayed and law.reset == "subtract":
        moved = np.where(fired & resets, chip.v.held(moved - times * theta), moved)
    v[:] = np.where(live, moved, v)
    if waiting is not None:
        waiting[:] = np.where(live, np.where(fired, 0 if law.refractory is None else law.refractory, 0), waiting - 1)
    return np.asarray(times, np.uint8) if chip.spikes > 1 else np.asarray(fired)


def _reaches(chip: Arithmetic, v: NDArray[np.int64], theta: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return who is at a threshold, or above it, as the arithmetic compares."""
    return np.asarray(v > theta if chip.threshold == ">" else v >= theta)
