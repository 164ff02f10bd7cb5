"""Edits: what may be broken in a population or a connection, each one thing, with the steps in which it acts. What they come to together: ``fold.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.when import ALWAYS, Clock, When
from neurofault.streams import counter_hash, standard_normal

FORCE_UNIT = 65536
"""A forced rate is stored in 1/65536 spikes a step."""

Field = Literal["vth", "du", "dv", "bias_mantissa"]
EnginePart = Literal["frozen", "stuck_trace", "third_factor", "rounding"]
"""What can break of a core's learning engine."""
Part = Literal[EnginePart, "error", "feedback"]
"""The same, or what serves a learner: its error neurons, its feedback synapses."""


@dataclass(frozen=True, eq=False)
class Silence:
    """Dead neurons: u = v = 0 and no spike; as outputs they score lowest if they are dead in step T − 1.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps.
    """

    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Force:
    """Neurons whose output is stuck at a rate: a spike in step t of the sample iff ⌊(t + 1)·rate/65536⌋ > ⌊t·rate/65536⌋.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        rate: spikes a step in 1/65536, 0 to 65536 (saturated: one in each step).
        when: active steps.
    """

    population: str
    neurons: NDArray[np.int64]
    rate: int
    when: When = ALWAYS

    def spikes(self, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [T]: what leaves the neurons in the steps of a sample."""
        t = np.arange(timesteps + 1, dtype=np.int64)
        return np.diff(t * self.rate // FORCE_UNIT) > 0


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


@dataclass(frozen=True, eq=False)
class Upset:
    """Bits of the state that flip once, at the beginning of a step; the 24-bit result is read as two's complement.

    Attributes:
        population: its name.
        state: ``u`` or ``v``.
        neurons: int64 [k], sorted, without duplicates.
        masks: int32 [k], bits that flip, 1 to 2**24 − 1.
        at: the step.
        clock: whose step.
    """

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


@dataclass(frozen=True, eq=False)
class StuckCounter:
    """Refractory counters that hold one number, whatever fires: at 0 the neuron is never refractory, above 0 it never leaves refractoriness.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        value: what the counter reads at the beginning of each active step, 0 or 1.
        when: active steps.
    """

    population: str
    neurons: NDArray[np.int64]
    value: int
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class LostReset:
    """Neurons whose potential stays as it is after a spike; refractory steps follow as ever.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps, those in which the reset would act.
    """

    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class KeptState:
    """Neurons that are not cleared when a sample begins: u, v and the refractory counter go on from what the sample before left.

    What is on its way ends with its sample as ever. The first sample of a run begins clean: nothing stands before it.

    Attributes:
        population: its name.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps; what counts is a sample's first.
    """

    population: str
    neurons: NDArray[np.int64]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class SetSynapses:
    """Synapses of which the chip reads another weight.

    What it does is one of these, by what is given; all arrays are [k]:

    - ``flips``: these bits of the stored field flip (an upset).
    - ``factor``, ``offset``: the stored field becomes the one nearest to factor · weight + offset (drift).
    - ``of_sources``, ``of_targets``, without ``keep``: a corrupt header; the chip reads what those synapses hold.
    - ``of_sources``, ``of_targets``, with ``keep``: an axon entry that points at another row of the core.
    - ``keep``, ``force``: stuck bits: whatever field f is stored, the chip reads (f & keep) | force.
    - none of them: ``values`` is stored (an upset by hand, or of a plan that an earlier version saved).

    Attributes:
        connection: its name.
        sources, targets: int64, neuron indices (C, H, W order); each pair once.
        values: int32, the weight that the chip read when the edit was worked out, on top of what was broken for good (same unit as the
            connection's stored weights). Where the other fields say what happens, it is for the reader, but for synapses wholly stuck, which
            read it.
        when: active steps of the target population.
        keep, force: int32, bits of the stored field that a later write can still change, and bits that are stuck at 1. None: gone with
            the next write.
        flips: int32, bits of the stored field.
        factor, offset: float64.
        of_sources, of_targets: int64, whose weight and delay are read; −1 in both: none, the weight is 0.
    """

    connection: str
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int32]
    when: When = ALWAYS
    keep: NDArray[np.int32] | None = None
    force: NDArray[np.int32] | None = None
    flips: NDArray[np.int32] | None = None
    factor: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    of_sources: NDArray[np.int64] | None = None
    of_targets: NDArray[np.int64] | None = None

    @property
    def mended(self) -> bool:
        """Whether the next write mends it, where it has happened for good."""
        return self.keep is None


@dataclass(frozen=True, eq=False)
class SetDelays:
    """Synapses whose delay field holds another value: ``flips`` of its bits, or else ``delays`` itself.

    Attributes:
        connection: its name.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        delays: int64 [k], extra steps, at least 0; with ``flips``: what it left when it was worked out, for the reader.
        when: active steps of the target population (a spike's delay is read when it arrives).
        flips: int64 [k], bits of the stored delay.
        longest: with ``flips``, the most steps that are read.
    """

    connection: str
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    delays: NDArray[np.int64]
    when: When = ALWAYS
    flips: NDArray[np.int64] | None = None
    longest: int | None = None


@dataclass(frozen=True, eq=False)
class Drop:
    """Messages from some neurons to one core that get lost.

    The message of source j in step t of sample k (its index in the whole data set) is lost iff
    ``counter_hash(key, k, t, j, core) < probability · 2**64``; in that step none of the core's neurons receives that spike.

    Attributes:
        connection: its name.
        core: id of the destination core.
        sources: int64 [k], sorted, neurons of the source population.
        targets: int64 [m], sorted, all neurons of the target population on this core.
        probability: of each message, (0, 1]; 1: every message.
        key: of the random stream.
        when: active steps of the target population.
    """

    connection: str
    core: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    probability: float = 1.0
    key: int = 0
    when: When = ALWAYS

    def lost(self, phase: int, first_sample: int, samples: int, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [N, T, k]: which messages are lost; ``phase``: of the target population."""
        active = self.when.grid(phase, first_sample, samples, timesteps)[:, :, None]
        sample = (first_sample + np.arange(samples, dtype=np.int64))[:, None, None]
        step = np.arange(timesteps, dtype=np.int64)[:, None]
        return np.asarray(active & self.chance(sample, step, self.sources))

    def chance(self, sample: NDArray[np.int64], step: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool, broadcast: whether chance takes these messages while the fault is active."""
        if self.probability >= 1.0:
            return np.ones(np.broadcast_shapes(sample.shape, step.shape, source.shape), bool)
        bits = counter_hash(self.key, sample, step, source, self.core)
        return np.asarray(bits < np.uint64(int(self.probability * 2.0**64)))


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


@dataclass(frozen=True, eq=False)
class Stall:
    """Cores that hang: in a mesh with barrier synchronisation the whole chip stops in the first active step.

    Attributes:
        cores: ids, sorted.
        when: active steps.
    """

    cores: tuple[int, ...]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class LearningDefect:
    """A broken part of a core's learning engine. Inference does not see it.

    Attributes:
        connection: name of the connection whose synapses learn there.
        part: ``frozen`` (no update), ``stuck_trace``, ``third_factor`` (reads 0), ``rounding`` (always draws ``value``), ``error`` (the
            error neurons of these outputs are dead), ``feedback`` (synapses from error neuron ``value`` read 0).
        neurons: int64 [k], sorted: target neurons whose synapses are concerned.
        trace: for ``stuck_trace``: ``x1`` … ``y3``.
        value: what a stuck trace or rounding generator reads; of ``feedback`` the error neuron.
        when: active steps.
    """

    connection: str
    part: Part
    neurons: NDArray[np.int64]
    trace: str = ""
    value: int = 0
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Detour:
    """Messages that arrive by a longer way. They arrive in the same step; only energy and time are charged.

    Attributes:
        sources, destinations: int64 [k], core ids of each flow.
        extra_hops: int64 [k], tiles more than by the direct way.
        when: active steps.
    """

    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    extra_hops: NDArray[np.int64]
    when: When = ALWAYS


NeuronEdit = Silence | Force | SetField | Upset | StuckCounter | LostReset | KeptState | InputNoise
"""Edits of a population's neurons."""
SynapseEdit = SetSynapses | SetDelays | Drop | LearningDefect
"""Edits of a connection's synapses, or of what it carries."""
Edit = NeuronEdit | SynapseEdit | Stall | Detour

_Any = TypeVar("_Any", bound=Edit)


def only(edit: _Any, chosen: NDArray[np.bool_]) -> _Any:
    """Return an edit with some of its sites: bool [k]."""
    arrays = {
        name: value[chosen] for name, value in vars(edit).items() if isinstance(value, np.ndarray) and value.shape == chosen.shape
    }
    return replace(edit, **arrays)  # type: ignore[arg-type]  # each field keeps its type
