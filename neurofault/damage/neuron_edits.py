"""Edits of a population's neurons: what may be broken in them, each one thing, with the steps in which it acts.

``does``: what an edit sets in a step, attributes of :class:`neurofault.damage.fold_neurons.NeuronsNow`, or the ``noise`` of input biases. An
engine that does not apply it refuses the edit (:func:`neurofault.damage.edits.not_applied`).
``holds``: what of its neurons it holds while it lasts, so that a fault that breaks the same (``breaks`` of its kind) finds nothing left there; what
is ``silent`` leaves nothing at all. ``of_core``: whether it is the core's, and stays behind when its neurons move to another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import beyond
from neurofault.damage.when import ALWAYS, MOST_STEPS, Clock, When
from neurofault.streams import counter_hash, standard_normal

FORCE_UNIT = 65536
"""A forced rate is stored in 1/65536 spikes a step."""
FIELD_RANGE = (-(1 << 31), (1 << 31) - 1)
"""Of the numbers that a neuron's field can hold on any chip: int32."""

Field = Literal["vth", "du", "dv", "bias_mantissa"]


@dataclass(frozen=True, eq=False)
class Silence:
    """Dead neurons: u = v = 0 and no spike; as outputs they score lowest if they are dead in step T − 1.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps.
    """

    does: ClassVar[frozenset[str]] = frozenset({"silent"})
    holds: ClassVar[frozenset[str]] = frozenset({"silent"})
    of_core: ClassVar[bool] = True
    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return None


@dataclass(frozen=True, eq=False)
class Force:
    """Neurons whose output is stuck at a rate: a spike in step t of the sample iff ⌊(t + 1)·rate/65536⌋ > ⌊t·rate/65536⌋.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        rate: spikes a step in 1/65536, 0 to 65536 (saturated: one in each step).
        when: active steps.
    """

    does: ClassVar[frozenset[str]] = frozenset({"rate"})
    holds: ClassVar[frozenset[str]] = frozenset({"rate"})
    of_core: ClassVar[bool] = True
    population: str
    neurons: NDArray[np.int64]
    rate: int
    when: When = ALWAYS

    def spikes(self, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [T]: what leaves the neurons in the steps of a sample."""
        t = np.arange(timesteps + 1, dtype=np.int64)
        return np.diff(t * self.rate // FORCE_UNIT) > 0

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, rate=(0, FORCE_UNIT))


@dataclass(frozen=True, eq=False)
class SetField:
    """Neuron parameters whose stored field holds another value.

    What it does to a field is said by ``bit`` or ``factor`` and ``offset``, within ``low`` … ``high``; without them it is set to ``values``.

    Attributes:
        population: its name.
        field: ``vth``, ``du``, ``dv`` or ``bias_mantissa`` (of an input: in place of what the sample gives).
        neurons: int64 [k], sorted, without duplicates.
        values: int32 [k]; of an edit with a change: what it left when it was worked out, for the reader.
        when: active steps.
        low, high: range of the stored field; None: the edit has no change.
        bit: this bit of the field flips, in two's complement where ``low`` is below 0; the result is clipped to the range.
        factor, offset: else the field is multiplied by the factor, rounded, the offset added, and clipped.
    """

    does: ClassVar[frozenset[str]] = frozenset({"du", "dv", "vth", "bias_mantissa", "own_bias"})
    of_core: ClassVar[bool] = True
    population: str
    field: Field
    neurons: NDArray[np.int64]
    values: NDArray[np.int32]
    when: When = ALWAYS
    low: int | None = None
    high: int | None = None
    bit: int | None = None
    factor: float = 1.0
    offset: int = 0

    @property
    def holds(self) -> frozenset[str]:
        """What of its neurons it holds for good."""
        return frozenset({"bias"}) if self.field == "bias_mantissa" else frozenset()

    def changed(self, stored: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return int64 [k]: what the fields of its neurons become, from what they hold."""
        if self.low is None or self.high is None:
            return self.values.astype(np.int64)
        held = np.clip(stored.astype(np.int64), self.low, self.high)
        if self.bit is None:
            with np.errstate(over="ignore"):  # what is beyond every number is beyond the field
                moved = np.rint(held * self.factor) + float(self.offset)
            return np.asarray(np.clip(moved, self.low, self.high), np.float64).astype(np.int64)
        bits = (self.high - self.low).bit_length()
        word = (held & ((1 << bits) - 1)) ^ (1 << self.bit)
        return np.clip(np.where(word > self.high, word - (1 << bits), word) if self.low < 0 else word, self.low, self.high)

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        if (self.low is None) != (self.high is None):
            return "low and high go together: give both, or neither"
        if self.low is not None and self.high is not None and self.low > self.high:
            return f"low must be at most high, {self.high}, is {self.low}"
        return beyond(self, low=FIELD_RANGE, high=FIELD_RANGE, bit=(0, 31)) or (
            None if math.isfinite(self.factor) else f"factor must be a finite number, is {self.factor}"
        )


@dataclass(frozen=True, eq=False)
class Upset:
    """Bits of the state that flip once, at the beginning of a step; the result is read as two's complement of the register's width (24 bits on Loihi).

    Attributes:
        population: its name.
        state: ``u`` or ``v``.
        neurons: int64 [k], sorted, without duplicates.
        masks: int32 [k], bits that flip, 1 to 2**24 − 1, of a narrower register to its highest.
        at: the step.
        clock: whose step.
    """

    does: ClassVar[frozenset[str]] = frozenset({"flips_u", "flips_v"})
    holds: ClassVar[frozenset[str]] = frozenset()
    of_core: ClassVar[bool] = True
    population: str
    state: Literal["u", "v"]
    neurons: NDArray[np.int64]
    masks: NDArray[np.int32]
    at: int
    clock: Clock = "presentation"

    @property
    def when(self) -> When:
        """The one step."""
        return When(self.at, self.at + 1, clock=self.clock)

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, at=(0, MOST_STEPS - 1), masks=(0, (1 << 24) - 1))


@dataclass(frozen=True, eq=False)
class StuckCounter:
    """Refractory counters that hold one number, whatever fires: at 0 the neuron is never refractory, above 0 it never leaves refractoriness.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        value: what the counter reads at the beginning of each active step, 0 or 1.
        when: active steps.
    """

    does: ClassVar[frozenset[str]] = frozenset({"counter"})
    holds: ClassVar[frozenset[str]] = frozenset({"counter"})
    of_core: ClassVar[bool] = True
    population: str
    neurons: NDArray[np.int64]
    value: int
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, value=(0, 1))


@dataclass(frozen=True, eq=False)
class LostReset:
    """Neurons whose potential stays as it is after a spike; refractory steps follow as ever.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps, those in which the reset would act.
    """

    does: ClassVar[frozenset[str]] = frozenset({"kept"})
    holds: ClassVar[frozenset[str]] = frozenset({"kept"})
    of_core: ClassVar[bool] = True
    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return None


@dataclass(frozen=True, eq=False)
class KeptState:
    """Neurons that are not cleared when a sample begins: u, v and the refractory counter go on from what the sample before left.

    What is on its way ends with its sample as ever. The first sample of a run begins clean: nothing stands before it.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps; what counts is a sample's first.
    """

    does: ClassVar[frozenset[str]] = frozenset({"goes_on"})
    holds: ClassVar[frozenset[str]] = frozenset({"goes_on"})
    of_core: ClassVar[bool] = True
    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return None


@dataclass(frozen=True, eq=False)
class InputNoise:
    """Noisy sensor lines: round(σ·g), g normal and keyed by (sample, step, neuron), is added to an input neuron's bias mantissa.

    Attributes:
        population: name of an input.
        neurons: int64 [k], sorted.
        sigma: in mantissa units, > 0.
        key: of the random stream.
        each: a new number for each ``sample``, or for each ``step``.
        when: active steps.
    """

    does: ClassVar[frozenset[str]] = frozenset({"noise"})
    holds: ClassVar[frozenset[str]] = frozenset()
    of_core: ClassVar[bool] = False
    population: str
    neurons: NDArray[np.int64]
    sigma: float
    key: int
    each: Literal["sample", "step"] = "sample"
    when: When = ALWAYS

    def mantissas(self, phase: int, first_sample: int, samples: int, timesteps: int) -> NDArray[np.int64]:
        """Return int64 [N, T, k]: what is added in each step of each sample (0 where inactive); ``phase``: of the input."""
        sample = (first_sample + np.arange(samples, dtype=np.int64))[:, None, None]
        step = np.arange(timesteps, dtype=np.int64)[:, None] if self.each == "step" else np.zeros((1, 1), np.int64)
        bits = counter_hash(self.key, sample, step, self.neurons)
        noise = np.clip(np.rint(self.sigma * standard_normal(bits)), -(1 << 17), 1 << 17).astype(np.int64)
        active = self.when.grid(phase, first_sample, samples, timesteps)[:, :, None]
        return np.asarray(noise * active, np.int64)

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, sigma=(0, 10**9), key=(0, (1 << 64) - 1))


NeuronEdit = Silence | Force | SetField | Upset | StuckCounter | LostReset | KeptState | InputNoise
"""Edits of a population's neurons."""
