"""A neuron's step in a chip's own arithmetic, in plain Python integers: the text of :mod:`neurofault.graph.arithmetic`, without its code.

Nothing is shared with the package but the records that are read.
"""

from __future__ import annotations

from neurofault.graph.arithmetic import Decay, Register
from neurofault.graph.law import Law


def held(register: Register, value: int) -> int:
    """What fits a register: cut off at its ends, or modulo 2**bits."""
    low, high = (-(2 ** (register.bits - 1)), 2 ** (register.bits - 1) - 1) if register.signed else (0, 2**register.bits - 1)
    if register.overflow == "saturate":
        return low if value < low else high if value > high else value
    value %= 2**register.bits
    return value - 2**register.bits if value > high else value


def decayed(decay: Decay, value: int, stored: int) -> int:
    """What is left of a state."""
    size, sign = abs(value), -1 if value < 0 else 1
    if decay.kind == "multiply":
        factor = 2**decay.bits - stored - decay.more
        return value * factor // 2**decay.bits if decay.rounding == "floor" else sign * (size * factor // 2**decay.bits)
    if decay.kind == "shift":
        loss = value // 2**stored
        if loss == 0 and decay.tail and value:
            loss = sign
        return value - loss
    if decay.kind == "linear":
        return sign * (size - stored) if size > stored else 0
    return value


def step(
    law: Law, n: int, u: int, v: int, arrived: int, numbers: dict[str, int], bias: int, *, waits: bool, lost: bool
) -> tuple[int, int, int | None]:
    """Return u, v and how often neuron ``n`` fires; None: it waits. ``numbers``: du, dv, vth; ``lost``: its reset is."""
    chip = law.arithmetic
    theta, sums = numbers["vth"] * 2**chip.shift, arrived * 2**chip.shift

    def reaches(value: int) -> bool:
        return value > theta if chip.threshold == ">" else value >= theta

    current = sums
    if chip.u is not None and chip.sums == "after_decay":
        u = current = held(chip.u, decayed(chip.u.decay, u, numbers["du"]) + sums)
    elif chip.u is not None:
        u = current = decayed(chip.u.decay, held(chip.u, u + sums), numbers["du"])
    if waits:
        return u, v, None
    start, owed = v, 0
    if law.delayed and reaches(v) and not lost:
        start, owed = (0, 0) if law.reset == "zero" else (v, theta if law.reset == "subtract" else 0)
    moved = decayed(chip.v.decay, start, numbers["dv"])
    if chip.partly:
        change = held(chip.v, moved - start + current)
        change = held(chip.v, change + bias)
        moved = held(chip.v, start + change)
    else:
        moved = held(chip.v, moved - owed + current + bias)
    if law.floor is not None and moved < law.floor[n]:
        moved = int(law.floor[n])
    if not reaches(moved):
        return u, moved, 0
    times, left = 1, moved
    if chip.spikes > 1:
        left -= max(theta, 1)
        while times < chip.spikes and (left - max(theta, 1) >= 0 if chip.threshold == ">=" else left - max(theta, 1) > 0):
            times, left = times + 1, left - max(theta, 1)
    if not law.delayed and not lost:
        moved = {"zero": 0, "subtract": held(chip.v, moved - times * theta), "none": moved}[law.reset]
    return u, moved, times
