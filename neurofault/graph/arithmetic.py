"""Integers as a chip's neurons compute with them: widths, overflow, decays, thresholds. What a step does with them: ``law.py``.

:data:`LOIHI` is Lava 0.10's ``fixed_pt``, and the default. Other chips' are data of their profiles (``arithmetic:``), and are given here in the
words of what they were read from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.numerals import plural

STATE_LIMIT = 1 << 23
"""u wraps beyond this, v is clipped to one less (Lava 0.10 ``AbstractPyLifModelFixed``: uv_bitwidth = 24)."""

Reset = Literal["zero", "subtract", "none"]
"""What a spike does to ``v``: it becomes 0, loses the threshold, or stays."""
RESETS: tuple[Reset, ...] = ("zero", "subtract", "none")

AtFloor = Literal["hold", "reset"]
"""What becomes of ``v`` below its floor: it is held there, or reset as by a spike of the other sign."""
AT_FLOOR: tuple[AtFloor, ...] = ("hold", "reset")

DecayKind = Literal["multiply", "shift", "linear", "none"]
Rounding = Literal["zero", "floor"]
Overflow = Literal["saturate", "wrap"]

MOST_SPIKES = 255
"""Spikes of a neuron in a step, at most: they are counted in 8 bits."""


@dataclass(frozen=True)
class Decay:
    """What a state x of a neuron loses in a step, by a stored number d of each neuron (``du``, ``dv``).

    Equations::

        multiply   x ← x·(2**bits − d − more) / 2**bits, rounded
        shift      x ← x − l, l = x >> d (floor), or the sign of x where that is 0 and ``tail`` is set
        linear     x ← x − d towards 0, and not beyond it
        none       x stays; d must be 0

    Sources: multiply, Lava 0.10 ``lif`` and ReckOn ``srnn.v`` (floor); shift with a tail, Xylo (Rockpool ``XyloIAFNeuron::decay``); linear, ODIN
    ``lif_neuron_state.v``.

    Attributes:
        kind: which of them.
        most: the largest d that is stored, at least 0.
        bits: of ``multiply``, 1 to 16.
        rounding: of ``multiply``: towards 0, or to the lower number.
        more: of ``multiply``: 0, or 1 (Lava's current loses d + 1).
        tail: of ``shift``: what is not 0 loses at least 1.
    """

    kind: DecayKind = "none"
    most: int = 0
    bits: int = 12
    rounding: Rounding = "zero"
    more: int = 0
    tail: bool = False

    def __call__(self, state: NDArray[np.int64], stored: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what is left of int64 states after a step."""
        match self.kind:
            case "multiply":
                kept = (1 << self.bits) - stored - self.more
                if self.rounding == "floor":
                    return np.asarray(state * kept >> self.bits)
                return np.asarray(np.sign(state) * (np.abs(state) * kept >> self.bits))
            case "shift":
                loss = state >> stored
                return np.asarray(state - (np.where(loss == 0, np.sign(state), loss) if self.tail else loss))
            case "linear":
                return np.asarray(np.sign(state) * np.maximum(np.abs(state) - stored, 0))
            case "none":
                return np.asarray(state)

    def share(self, stored: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return which share of a large state is lost in a step; linear losses have none and count as 0."""
        values = np.asarray(stored, np.float64)
        match self.kind:
            case "multiply":
                return np.asarray((values + self.more) / 2.0**self.bits)
            case "shift":
                return np.asarray(2.0**-values)
            case _:
                return np.zeros(values.shape)

    def nearest(self, lost: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the stored numbers whose lost share of a step is nearest to some, in [0, 1]."""
        match self.kind:
            case "multiply":
                wanted = np.rint(lost * 2.0**self.bits) - self.more
            case "shift":
                wanted = np.rint(-np.log2(np.maximum(lost, 2.0 ** -(self.most + 1))))
            case _:
                wanted = np.zeros(lost.shape)
        return np.asarray(np.clip(wanted, 0, self.most), np.int64)


@dataclass(frozen=True)
class Register:
    """What holds a state of a neuron.

    Attributes:
        bits: width, 2 to 32; without a sign 2 to 31, since states are kept in 32 bits with one.
        signed: two's complement; else from 0 on.
        overflow: what becomes of numbers beyond: ``saturate`` or ``wrap``.
        decay: see :class:`Decay`.
    """

    bits: int
    signed: bool = True
    overflow: Overflow = "saturate"
    decay: Decay = field(default_factory=Decay)

    @property
    def low(self) -> int:
        """The lowest number that it holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The highest number that it holds."""
        return (1 << (self.bits - self.signed)) - 1

    def held(self, value: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what it holds of int64 numbers.

        >>> [Register(8, signed, overflow).held(np.array([-130, 300])).tolist() for signed in (True, False) for overflow in ("saturate", "wrap")]
        [[-128, 127], [126, 44], [0, 255], [126, 44]]
        """
        if self.overflow == "saturate":
            return np.asarray(np.clip(value, self.low, self.high))
        return np.asarray((value - self.low & (1 << self.bits) - 1) + self.low)


@dataclass(frozen=True)
class Arithmetic:
    """How the neurons of a chip compute.

    In each step, with s the sum of the weights that arrive, shifted by their connections' exponents::

        u ← decay(u) + s·2**shift        after_decay (Loihi)          u ← decay(u + s·2**shift)        before_decay (Xylo)
        v ← decay(v) + u + bias          where there is no u, s·2**shift takes its place

    and a spike where v reaches the threshold; ``reset``, refractory steps and the floor: :class:`neurofault.graph.law.Law`. Sums of a step are added up
    before a register holds them: a chip that holds each event by itself (ODIN, ReckOn, Xylo) differs where one within the step overflows.

    Attributes:
        name: for display and messages.
        v: the membrane's register.
        u: the synaptic current's register; None: there is none, and ``du`` must be 0.
        threshold: ``>``: above it a neuron fires; ``>=``: at it.
        resets: what a spike may do to v, of :data:`RESETS`.
        reset_delays: steps from a spike to its reset that neurons may have, 0 and 1.
        spikes: a neuron's in a step, at most, 1 to 255; above 1 it fires once for each time that its threshold fits into v.
        shift: of sums and thresholds, to the left, 0 to 16 (Loihi 6).
        sums: of the current, ``after_decay`` or ``before_decay``.
        partly: ``v`` loses, gains u, and gains the bias in steps that are each held in its width (Xylo).
        floor: whether neurons may have a lower bound of v.
        floor_resets: whether v may be reset below it, in place of held there (TrueNorth's negative threshold).
        below: ``<``: v is beyond its floor below it; ``<=``: at it (RANC's symmetric resets). Where v is held they are the same.
        reset_to: whether neurons may have a number of their own that a reset ``zero`` leaves v at.
        refractory: refractory steps that a neuron may count, 0: none.
    """

    name: str
    v: Register
    u: Register | None = None
    threshold: Literal[">", ">="] = ">="
    resets: tuple[Reset, ...] = ("zero",)
    reset_delays: tuple[int, ...] = (0,)
    spikes: int = 1
    shift: int = 0
    sums: Literal["after_decay", "before_decay"] = "after_decay"
    partly: bool = False
    floor: bool = False
    floor_resets: bool = False
    below: Literal["<", "<="] = "<"
    reset_to: bool = False
    refractory: int = 0

    def mistake(self) -> str | None:
        """Return what contradicts itself; None: nothing."""
        for what, register in (("v", self.v), ("u", self.u)):
            if register is None:
                continue
            if not 2 <= register.bits <= 31 + register.signed:
                return f"{what}: {plural(register.bits, 'bit')}; allowed: 2 to 32, without a sign 2 to 31"
            decay = register.decay
            if decay.kind == "none" and (decay.most or decay.tail or decay.more):
                return f"{what}: a decay of kind none that stores numbers up to {decay.most}"
            if decay.kind == "multiply" and not (1 <= decay.bits <= 16 and decay.more in (0, 1)):
                return f"{what}: a decay that multiplies has 1 to 16 bits and more 0 or 1; it has {decay.bits} and {decay.more}"
            if decay.kind == "multiply" and decay.most + decay.more > 1 << decay.bits:
                return f"{what}: a decay of {plural(decay.bits, 'bit')} stores at most {(1 << decay.bits) - decay.more}, not {decay.most}"
            if decay.kind == "shift" and decay.most >= 32:
                return f"{what}: a decay shifts by at most 31, not {decay.most}"
            if decay.most < 0:
                return f"{what}: most must be at least 0, is {decay.most}"
        if not self.v.signed and self.floor:
            return "v: a register without a sign ends at 0, so it has no floor of its own"
        if self.floor_resets and not self.floor:
            return "floor_resets is about a floor, and neurons have none (floor: false)"
        if self.below == "<=" and not self.floor_resets:
            return "below: <= is about resets at a floor, and there are none (floor_resets: false)"
        if self.reset_to and "zero" not in self.resets:
            return f"reset_to is about the reset zero, and resets are {', '.join(self.resets)}"
        if self.partly and self.reset_delays != (0,):
            return "partly: v that changes in steps is reset at once; reset_delays must be [0]"
        if self.u is None and self.sums == "before_decay":
            return "sums: before_decay is about u, and there is no u"
        if not self.resets or set(self.resets) - set(RESETS) or not self.reset_delays or set(self.reset_delays) - {0, 1}:
            return "resets are some of zero, subtract, none; reset_delays some of 0, 1"
        if not 1 <= self.spikes <= MOST_SPIKES:
            return f"spikes: {self.spikes} a step; allowed: 1 to {MOST_SPIKES}"
        if self.spikes > 1 and (set(self.resets) != {"subtract"} or self.reset_delays != (0,)):
            return (
                "spikes: more than one a step are what subtracting resets at once give; resets must be [subtract], reset_delays [0]"
            )
        if not 0 <= self.shift <= 16:
            return f"shift: {self.shift}; allowed: 0 to 16"
        return None


LOIHI = Arithmetic(
    name="loihi",
    v=Register(24, decay=Decay("multiply", 4095)),
    u=Register(24, overflow="wrap", decay=Decay("multiply", 4095, more=1)),
    threshold=">",
    resets=RESETS,
    reset_delays=(0, 1),
    shift=6,
    floor=True,
    refractory=1 << 20,
)
"""Lava 0.10's ``fixed_pt`` (``PyLifModelBitAcc``), with the resets, floor and refractory steps of :class:`neurofault.graph.law.Law`. Engines that
know nothing else compute it by paths of their own, in 32 bits; v is clipped to ±(2**23 − 1) and u wraps into −2**23 + 1 … 2**23 there."""


def wrap32(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers as 32 bits hold them."""
    return value.astype(np.int32).astype(np.int64)


def decayed(state: NDArray[np.int64], loss: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``state · (4096 − loss) / 4096``, rounded towards 0."""
    return np.asarray(np.sign(state) * ((np.abs(state) * (4096 - loss)) >> 12))


def bias_of(mantissa: NDArray[np.integer], exponent: int) -> NDArray[np.int32]:
    """Return the bias that is added to v: the mantissa kept in 16 bits, shifted (right: floor) in 32, as Lava does.

    >>> bias_of(np.array([40000, -3]), 0).tolist(), bias_of(np.array([-3]), -1).tolist()
    ([-25536, -3], [-2])
    """
    mantissa = mantissa.astype(np.int16).astype(np.int64)
    if exponent >= 32:
        mantissa = np.zeros_like(mantissa)
    return (mantissa << exponent if exponent >= 0 else mantissa >> min(-exponent, 31)).astype(np.int32)
