"""Compiled steps of neurons whose chip computes otherwise than Loihi: registers, decays, thresholds and spikes a step as its profile has them.

:mod:`neurofault.graph.law` says the same with NumPy, and tests hold them to each other. One kernel takes every law, as numbers: each pass over the
neurons does one thing in vector code, chosen once a pass, so that a kernel compiled for a law alone is little faster and costs a second for each law.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.engines.exact.event_lists import collect
from neurofault.engines.exact.neuron_steps import FEATURES
from neurofault.graph.arithmetic import RESETS, Arithmetic, Decay, Register
from neurofault.graph.law import Law

EVERY_FEATURE = FEATURES | {"arithmetic"}
"""What laws the exact engine's kernels know, these and those of Loihi's arithmetic."""

HELD = np.dtype([
    (name, np.int64)
    for name in (
        "remembers", "joins", "decay_u", "bits_u", "low_u", "high_u", "saturates_u",
        "decay_v", "bits_v", "low_v", "high_v", "saturates_v",
        "strict", "reset", "delayed", "partly", "spikes", "once",
    )
])  # fmt: skip
"""A law as numbers. ``remembers``: there is a u; ``joins``: sums join it before it decays; ``strict``: 1 where a threshold must be passed, not
only reached; ``once``: of a neuron's spikes of a step one leaves (inputs); the rest: :class:`neurofault.graph.arithmetic.Arithmetic`, decays as
:data:`DECAYS`, resets as in :data:`neurofault.graph.arithmetic.RESETS`."""

NO_DECAY, TOWARDS_ZERO, TO_FLOOR, SHIFTS, SHIFTS_WITH_TAIL, LINEAR = range(6)
OUT_OF_REACH = 1 << 62
"""A threshold that no v reaches."""


class InRegisters(NamedTuple):
    """Parameters of neurons in registers, padded as those of :class:`neurofault.engines.exact.neuron_steps.Neurons`.

    Attributes:
        law: :data:`HELD` [1], or [P] of the populations of a loop.
        keep_u, keep_v: int64 [n_padded], what u and v are multiplied with, or their decay's stored number.
        limit: int64 [n_padded], the lowest v that fires.
        floor: int64 [n_padded], or empty.
        refractory: int64 [n_padded], steps, or empty.
    """

    law: NDArray[np.void]
    keep_u: NDArray[np.int64]
    keep_v: NDArray[np.int64]
    limit: NDArray[np.int64]
    floor: NDArray[np.int64]
    refractory: NDArray[np.int64]


def law_in_numbers(law: Law, *, once: bool) -> NDArray[np.void]:
    """Return :data:`HELD` [1]; ``once``: see there."""
    chip = law.arithmetic
    u = Register(32) if chip.u is None else chip.u
    out = np.zeros(1, HELD)
    out["remembers"], out["joins"] = chip.u is not None, chip.sums == "before_decay"
    for name, register in (("u", u), ("v", chip.v)):
        out[f"decay_{name}"], out[f"bits_{name}"] = _kind(register.decay), register.decay.bits
        out[f"low_{name}"], out[f"high_{name}"] = register.low, register.high
        out[f"saturates_{name}"] = register.overflow == "saturate"
    out["strict"], out["reset"], out["delayed"] = chip.threshold == ">", RESETS.index(law.reset), law.delayed
    out["partly"], out["spikes"], out["once"] = chip.partly, chip.spikes, once
    return out


def _kind(decay: Decay) -> int:
    match decay.kind:
        case "multiply":
            return TO_FLOOR if decay.rounding == "floor" else TOWARDS_ZERO
        case "shift":
            return SHIFTS_WITH_TAIL if decay.tail else SHIFTS
        case "linear":
            return LINEAR
        case "none":
            return NO_DECAY


def kept(register: Register | None, stored: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return what :class:`InRegisters` has of stored decays: factors where the register's decay multiplies, else the numbers themselves."""
    if register is None or register.decay.kind != "multiply":
        return stored.astype(np.int64)
    return (1 << register.decay.bits) - register.decay.more - stored.astype(np.int64)


def held_together(own: Sequence[InRegisters]) -> InRegisters | None:
    """Return the registers of several populations, one after the other, all with floors and refractory steps; None: there are none."""
    if not own:
        return None

    def each(name: str, missing: int) -> NDArray[np.int64]:
        found = [(getattr(one, name), one.limit.size) for one in own]
        return np.concatenate([array if array.size else np.full(size, missing, np.int64) for array, size in found])

    law = np.concatenate([one.law for one in own])
    return InRegisters(
        law, each("keep_u", 0), each("keep_v", 0), each("limit", 0), each("floor", -OUT_OF_REACH), each("refractory", 0)
    )


def most_spikes(chip: Arithmetic, vth: NDArray[np.integer]) -> int:
    """Return the most spikes of a neuron in a step: how often the lowest of the thresholds fits into its register."""
    least = max(int(vth.min(initial=1)) << chip.shift, 1)
    return max(1, min(chip.spikes, chip.v.high // least))


@part
def _decay(kind: int, bits: int, stored: NDArray[np.int64], state: NDArray[np.int64]) -> None:
    """Let a state decay."""
    if kind == TOWARDS_ZERO:
        for j in range(state.shape[0]):
            left = (abs(state[j]) * stored[j]) >> bits
            state[j] = -left if state[j] < 0 else left
    elif kind == TO_FLOOR:
        for j in range(state.shape[0]):
            state[j] = (state[j] * stored[j]) >> bits
    elif kind == SHIFTS:
        for j in range(state.shape[0]):
            state[j] -= state[j] >> stored[j]
    elif kind == SHIFTS_WITH_TAIL:
        for j in range(state.shape[0]):
            loss = state[j] >> stored[j]
            least = np.int64(state[j] > 0) - np.int64(state[j] < 0)
            state[j] -= least if loss == 0 else loss
    elif kind == LINEAR:
        for j in range(state.shape[0]):
            left = max(abs(state[j]) - stored[j], 0)
            state[j] = -left if state[j] < 0 else left


@part
def _gain(
    saturates: int, low: int, high: int, state: NDArray[np.int64], first: NDArray[Any], second: NDArray[Any], sign: int
) -> None:
    """Add one array, and another ``sign`` times, to a state, and bring it back to what its register holds."""
    if saturates:
        for j in range(state.shape[0]):
            state[j] = min(max(state[j] + first[j] + sign * second[j], low), high)
    else:
        for j in range(state.shape[0]):
            state[j] = ((state[j] + first[j] + sign * second[j] - low) & (high - low)) + low


@part
def _hold(saturates: int, low: int, high: int, state: NDArray[np.int64]) -> None:
    """Bring a state back to what its register holds."""
    if saturates:
        for j in range(state.shape[0]):
            state[j] = min(max(state[j], low), high)
    else:
        for j in range(state.shape[0]):
            state[j] = ((state[j] - low) & (high - low)) + low


@part
def step_held(
    law: Any,
    held: InRegisters,
    bias: NDArray[np.int32],
    drive: NDArray[np.int64],
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    before: NDArray[np.int64],
    waiting: NDArray[np.int64],
    fired: NDArray[np.uint8],
    sources: NDArray[np.int32],
    end: int,
) -> int:
    """Advance every neuron by one step; append those that fire to ``sources`` at ``end``, each as often as it does; return the new end.

    ``law`` is an element of :data:`HELD`; ``drive`` is read and set to zero; ``waiting`` holds the refractory counters, or is empty; ``before``
    and ``fired`` are overwritten.
    """
    current = drive
    if law.remembers:
        current = u
        if not law.joins:
            _decay(law.decay_u, law.bits_u, held.keep_u, u)
        _gain(law.saturates_u, law.low_u, law.high_u, u, drive, drive, 0)
        if law.joins:
            _decay(law.decay_u, law.bits_u, held.keep_u, u)
    if law.partly or waiting.shape[0]:
        for j in range(v.shape[0]):
            before[j] = v[j]
    if law.delayed and law.reset < 2:
        _reset_late(law, held, v)
    else:
        _decay(law.decay_v, law.bits_v, held.keep_v, v)
    if law.partly:
        _gain(law.saturates_v, law.low_v, law.high_v, v, current, before, -1)
        _gain(law.saturates_v, law.low_v, law.high_v, v, bias, bias, 0)
        _gain(law.saturates_v, law.low_v, law.high_v, v, before, before, 0)
    else:
        _gain(law.saturates_v, law.low_v, law.high_v, v, current, bias, 1)
    for j in range(held.floor.shape[0]):
        v[j] = max(v[j], held.floor[j])
    for j in range(v.shape[0]):
        drive[j] = 0
        fired[j] = v[j] >= held.limit[j]
    for j in range(waiting.shape[0]):
        if waiting[j] > 0:
            waiting[j] -= 1
            v[j] = before[j]
            fired[j] = 0
    return _fire(law, held, v, waiting, fired, sources, end)


@part
def _reset_late(law: Any, held: InRegisters, v: NDArray[np.int64]) -> None:
    """Let v decay, and reset who is at its threshold since the step before: to zero before that, or by the threshold after it."""
    for j in range(v.shape[0]):  # rare enough: one neuron after the other
        above = v[j] >= held.limit[j]
        if above and law.reset == 0:
            v[j] = 0
        _decay(law.decay_v, law.bits_v, held.keep_v[j : j + 1], v[j : j + 1])
        if above and law.reset == 1:
            v[j] -= held.limit[j] - law.strict


@part
def _fire(
    law: Any,
    held: InRegisters,
    v: NDArray[np.int64],
    waiting: NDArray[np.int64],
    fired: NDArray[np.uint8],
    sources: NDArray[np.int32],
    end: int,
) -> int:
    """Reset who fires at once and append them to ``sources``; return the new end. Up to 8 places beyond it are overwritten."""
    limit, strict = held.limit, law.strict
    for j in range(waiting.shape[0]):
        waiting[j] = held.refractory[j] if fired[j] else waiting[j]
    again = 0
    if law.spikes > 1:
        for j in range(v.shape[0]):
            again += fired[j] and v[j] - strict >= 2 * (limit[j] - strict)
    if again:
        return _fire_often(law, held, v, fired, sources, end)
    if law.reset == 0 and not law.delayed:
        for j in range(v.shape[0]):
            v[j] = 0 if fired[j] else v[j]
    elif law.reset == 1 and not law.delayed:
        for j in range(v.shape[0]):
            v[j] -= limit[j] - strict if fired[j] else 0
        _hold(law.saturates_v, law.low_v, law.high_v, v)
    return collect(fired, sources, end)


@part
def _fire_often(
    law: Any, held: InRegisters, v: NDArray[np.int64], fired: NDArray[np.uint8], sources: NDArray[np.int32], end: int
) -> int:
    """:func:`_fire` where someone fires several times: their resets subtract, at once."""
    bytes8 = fired.view(np.uint64)
    for word in range(bytes8.shape[0]):
        if bytes8[word] == 0:
            continue
        for j in range(8 * word, 8 * word + 8):
            if fired[j]:
                theta = held.limit[j] - law.strict
                times = min(max((v[j] - law.strict) // max(theta, 1), 1), law.spikes)
                v[j] -= times * theta
                for _ in range(np.int64(1) if law.once else times):
                    sources[end] = j
                    end += 1
    _hold(law.saturates_v, law.low_v, law.high_v, v)
    return end
