"""Faults of single neurons: their output, the stored parameters, the state; and of the sensors that drive input neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.damage import FORCE_UNIT, Edit, Force, InputNoise, SetField, Silence, Upset
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.damage.neuron_edits import Field as Stored
from neurofault.damage.when import When
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.mistakes import MOST, Mistake
from neurofault.faults.places import neuron_blocks
from neurofault.faults.sites import Ids
from neurofault.graph.arithmetic import Register
from neurofault.numerals import plural
from neurofault.streams import stream_key

SPIKEFI = "Spyrou et al. 2024, SpikeFI, arXiv 2412.06795"
_NEURONS = "indices in the one layer that layer names (C, H, W order)"

_FAR = 1 << 40
"""Beyond the range of every stored field: numbers of that size saturate it."""


def _chosen(
    context: Context, fault: Fault, populations: Sequence[str] | None = None
) -> list[tuple[When, dict[str, NDArray[np.int64]]]]:
    """Choose neurons: population → sorted indices, in groups that share their active steps."""
    deployment = context.deployment
    if fault.sites is not None:
        name = populations[0] if populations is not None and len(populations) == 1 else context.one_population(fault)
        neurons, size = listed_array(fault.sites, 1), deployment.population(name).size
        if np.any(neurons >= size):
            raise FaultError(f"no neuron {int(neurons.max())} in layer {name!r}; neurons: 0 to {size - 1}")
        return [(when, {name: np.sort(part)}) for when, part in context.in_time(fault, neurons)]
    chosen = []
    named = context.populations(fault) if populations is None else populations
    for when, picked in context.choose(fault, neuron_blocks(deployment, named)):
        found: dict[str, list[NDArray[np.int64]]] = {}
        for block, sites in picked:
            found.setdefault(block.population, []).append(block.neurons[sites])
        chosen.append((when, {name: np.sort(np.concatenate(found[name])) for name in named if name in found}))
    return chosen


def _note(context: Context, out: FaultOutcome, name: str, neurons: NDArray[np.int64]) -> None:
    """Add neurons to the echo."""
    home = context.deployment.placement.core_of[name][neurons]
    out.count(out.neurons, name, len(neurons))
    out.cores.update(map(int, home))
    out.name(f"core {core}: {name}[{neuron}]" for core, neuron in zip(home, neurons, strict=True))


def each_neuron(
    context: Context, fault: Fault, populations: Sequence[str] | None = None
) -> tuple[FaultOutcome, list[tuple[When, str, NDArray[np.int64]]]]:
    """Choose neurons and echo them; return them population by population."""
    out, groups = FaultOutcome(), []
    for when, chosen in _chosen(context, fault, populations):
        for name, neurons in chosen.items():
            _note(context, out, name, neurons)
            groups.append((when, name, neurons))
    return out, groups


@final
class NeuronDead(Fault):
    """A neuron (compartment) is dead: it takes nothing in and never spikes; as an output it scores lowest."""

    kind: ClassVar[str] = "neuron_dead"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "u = v = 0, s = 0"
    mechanism: ClassVar[str] = "defect in the neuron's update or state; threshold beyond reach"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI DeadNeuron"

    neurons: Ids | None = Field(default=None, description=_NEURONS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = each_neuron(context, self)
        out.edits += [Silence(name, neurons, when) for when, name, neurons in groups]
        return out


@final
class NeuronSaturated(Fault):
    """A neuron sends a spike in every step, whatever its state."""

    kind: ClassVar[str] = "neuron_saturated"
    breaks: ClassVar[str] = "rate"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "s = 1; u and v as if nothing were wrong"
    mechanism: ClassVar[str] = "output stuck at 1; threshold register below zero"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI SaturatedNeuron"

    neurons: Ids | None = Field(default=None, description=_NEURONS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = each_neuron(context, self)
        out.edits += [Force(name, neurons, FORCE_UNIT, when) for when, name, neurons in groups]
        return out


@final
class NeuronStuck(Fault):
    """A neuron fires at a fixed rate, evenly spaced, whatever its state."""

    kind: ClassVar[str] = "neuron_stuck"
    breaks: ClassVar[str] = "rate"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "s[t] = ⌊(t + 1)·r⌋ − ⌊t·r⌋, r in 1/65536"
    mechanism: ClassVar[str] = "output logic that cycles by itself"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI,)
    neighbours: ClassVar[str] = "SpikeFI StuckNeuron"

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    spike_rate: float = Field(default=0.5, description="spikes a step", ge=0, le=1, json_schema_extra={"unit": "1/step"})

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = each_neuron(context, self)
        rate = round(self.spike_rate * FORCE_UNIT)
        out.edits += [Force(name, neurons, rate, when) for when, name, neurons in groups]
        return out


def _sees(context: Context, fault: Fault) -> bool:
    """Whether pixels drive any of the populations that a fault is about."""
    return any(context.deployment.population(name).encoding is not None for name in context.populations(fault))


def _altered(context: Context, fault: NeuronThreshold | NeuronLeak | NeuronBias, field: Stored) -> FaultOutcome:
    """Change a stored parameter by factor, offset or bit flip; the result stays in the field's range."""
    profile = context.deployment.profile
    limits, chip = profile.neuron, profile.law
    wide = True  # whether it is known how many bits the field has; of a decay the law says it
    match field:
        case "vth":
            low, high = 0, limits.threshold_max.value or chip.v.high >> chip.shift
            wide = limits.threshold_max.value is not None
        case "bias_mantissa":
            low, high = limits.bias_mantissas
            wide = limits.bias_mantissa_min.value is not None and limits.bias_mantissa_max.value is not None
        case "du" | "dv":
            register = chip.u if field == "du" else chip.v
            low, high = 0, 0 if register is None else register.decay.most
            if not high:
                raise FaultError(f"neurons of chip {profile.name!r} store no {field}: {_no_decay(register)}")
            high = min(high, limits.decay_max.value or high)
    if fault.bit is not None and not wide:
        raise FaultError(f"bit: how many bits {field} has is not known of chip {profile.name!r}; give factor or offset")
    bits = (high - low).bit_length()
    if fault.bit is not None and fault.bit >= bits:
        raise FaultError(f"bit must lie in [0, {bits - 1}]: the stored field has {plural(bits, 'bit')}, is {fault.bit}")
    if field == "bias_mantissa" and _sees(context, fault):
        raise FaultError("the bias of input neurons comes with each sample; use sensor_dead or sensor_noisy for them")
    out, groups = each_neuron(context, fault)
    for when, name, neurons in groups:
        blank = np.zeros(len(neurons), np.int32)
        edit = SetField(name, field, neurons, blank, when, low, high, fault.bit, fault.factor, fault.offset)
        earlier = [one for one in context.deployment.damage.edits if isinstance(one, SetField) and one.when.always]
        fold = NeuronFold(context.deployment.population(name), [*earlier, edit])
        held = getattr(fold.at(np.ones(len(fold.edits), bool)), field)[neurons]
        out.edits.append(replace(edit, values=held.astype(np.int32)))
    return out


def _no_decay(register: Register | None) -> str:
    return "they have no current of their own" if register is None else "their potential does not decay"


def _one_change(given: Mapping[str, Any]) -> list[Mistake]:
    changed = [name for name, default in (("factor", 1.0), ("offset", 0), ("bit", None)) if given[name] != default]
    if not changed:
        return [Mistake("give factor, offset or bit")]
    both = "bit" in changed and len(changed) > 1
    return [Mistake("give bit, or factor and offset, not both", ("bit",))] if both else []


_FACTOR = "the stored value is multiplied by it and rounded"
_OFFSET = "added to the stored value"
_BIT = "this bit of the stored field flips; 0 is the lowest"


@final
class NeuronThreshold(Fault):
    """A neuron's stored threshold is another one."""

    kind: ClassVar[str] = "neuron_threshold"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "vth ← clip(round(vth·factor) + offset, 0, max), or vth ^ 2**bit"
    mechanism: ClassVar[str] = "upset or stuck bit in the parameter memory; variation in analog neurons"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI, "loihi field width: profile neuron.threshold_max")
    neighbours: ClassVar[str] = "SpikeFI ParametricNeuron(threshold), SpikingJET threshold"
    stored: ClassVar[bool] = True

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    factor: float = Field(default=1.0, description=_FACTOR, ge=0)
    offset: int = Field(default=0, description=_OFFSET, ge=-MOST, le=MOST, json_schema_extra={"unit": "vth"})
    bit: int | None = Field(default=None, description=_BIT, ge=0, le=31)

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> list[Mistake]:
        """See :meth:`Fault.contradictions`."""
        return super().contradictions(given) + _one_change(given)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _altered(context, self, "vth")


@final
class NeuronLeak(Fault):
    """A neuron's stored decay of current or voltage is another one."""

    kind: ClassVar[str] = "neuron_leak"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "d ← clip(round(d·factor) + offset, 0, max), or d ^ 2**bit; d is du or dv"
    mechanism: ClassVar[str] = "upset or stuck bit in the parameter memory"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI, "loihi field width: profile neuron.decay_max")
    neighbours: ClassVar[str] = "SpikeFI IntegrationFault, SpikingJET beta"
    stored: ClassVar[bool] = True

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    decay: Literal["du", "dv"] = Field(default="dv", description="which decay")
    factor: float = Field(default=1.0, description=_FACTOR, ge=0)
    offset: int = Field(default=0, description=_OFFSET, ge=-MOST, le=MOST, json_schema_extra={"unit": "1/4096"})
    bit: int | None = Field(default=None, description=_BIT, ge=0, le=31)

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> list[Mistake]:
        """See :meth:`Fault.contradictions`."""
        return super().contradictions(given) + _one_change(given)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _altered(context, self, self.decay)


@final
class NeuronBias(Fault):
    """A neuron's stored bias mantissa is another one."""

    kind: ClassVar[str] = "neuron_bias"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "m ← clip(round(m·factor) + offset, min, max), or m ^ 2**bit (two's complement)"
    mechanism: ClassVar[str] = "upset or stuck bit in the parameter memory"
    sources: ClassVar[tuple[str, ...]] = ("loihi field width: profile neuron.bias_mantissa_min, bias_mantissa_max",)
    stored: ClassVar[bool] = True

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    factor: float = Field(default=1.0, description=_FACTOR, ge=0)
    offset: int = Field(default=0, description=_OFFSET, ge=-MOST, le=MOST, json_schema_extra={"unit": "bias mantissa"})
    bit: int | None = Field(default=None, description=_BIT, ge=0, le=31)

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> list[Mistake]:
        """See :meth:`Fault.contradictions`."""
        return super().contradictions(given) + _one_change(given)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _altered(context, self, "bias_mantissa")


@final
class StateUpset(Fault):
    """A bit of a neuron's current or voltage flips once, at the beginning of a step, and washes out."""

    kind: ClassVar[str] = "state_upset"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "u or v ^= 2**bit before the step's update (two's complement of the register's width; Loihi: 24 bits)"
    mechanism: ClassVar[str] = "single event upset in the state memory"
    sources: ClassVar[tuple[str, ...]] = ("Lava 0.10 LIF fixed_pt: 24-bit u and v",)
    neighbours: ClassVar[str] = "SpikingJET potential flip"
    whens: ClassVar[tuple[str, ...]] = ("once",)

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    state: Literal["u", "v"] = Field(default="v", description="which state")
    bit: int = Field(default=22, description="which bit flips; the highest of the register (Loihi: 23) is the sign", ge=0, le=23)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        register = getattr(context.deployment.profile.law, self.state)
        what = f"chip {context.deployment.profile.name!r}"
        if register is None:
            raise FaultError(f"neurons of {what} have no state u: what arrives goes into v at once; allowed: state v")
        if self.bit >= register.bits:
            raise FaultError(
                f"bit must lie in [0, {register.bits - 1}]: {self.state} of {what} has {plural(register.bits, 'bit')}, is {self.bit}"
            )
        out, groups = each_neuron(context, self)
        assert self.when.at is not None
        for _, name, neurons in groups:
            masks = np.full(len(neurons), 1 << self.bit, np.int32)
            out.edits.append(Upset(name, self.state, neurons, masks, self.when.at, self.when.clock))
        return out


def _sensors(context: Context, fault: Fault) -> tuple[FaultOutcome, list[tuple[When, str, NDArray[np.int64]]]]:
    """Choose sensors, of the inputs that pixels drive."""
    deployment = context.deployment
    if all(one.encoding is None for one in deployment.populations):
        raise FaultError("sensors need pixels, and this network takes events; use neuron_dead with layer='input'")
    if fault.layer not in ("input", *deployment.inputs):
        raise FaultError(f"sensors drive layer 'input', not {fault.layer!r}")
    seen = [name for name in context.populations(fault) if deployment.population(name).encoding is not None]
    if not seen:
        raise FaultError(f"sensors need pixels, and layer {fault.layer!r} takes events; use neuron_dead")
    return each_neuron(context, fault, seen)


def _pixels(context: Context, population: str) -> NDArray[np.int32]:
    """Return int32 [256]: the bias mantissa of each pixel value."""
    encoding = context.deployment.population(population).encoding
    assert encoding is not None
    return encoding.table


@final
class SensorDead(Fault):
    """A sensor line always reads one pixel value; its input neuron is sound."""

    kind: ClassVar[str] = "sensor_dead"
    breaks: ClassVar[str] = "bias"
    site: ClassVar[str] = "sensors"
    list_field: ClassVar[str] = "pixels"
    equation: ClassVar[str] = "bias mantissa = table[value]"
    mechanism: ClassVar[str] = "dead or hot pixel, broken line from the sensor"
    sources: ClassVar[tuple[str, ...]] = ("Hendrycks & Dietterich 2019, arXiv 1903.12261 (corruptions of images)",)

    pixels: Ids | None = Field(default=None, description="indices of the input neurons (C, H, W order)")
    layer: str | None = Field(default="input", description="input, or the name of an input")
    value: int = Field(default=0, description="what it reads", ge=0, le=255, json_schema_extra={"unit": "8-bit pixel"})

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = _sensors(context, self)
        edits: list[Edit] = [
            SetField(name, "bias_mantissa", neurons, np.full(len(neurons), _pixels(context, name)[self.value], np.int32), when)
            for when, name, neurons in groups
        ]
        out.edits += edits
        return out


@final
class SensorNoisy(Fault):
    """A sensor line adds normal noise to the current of its input neuron."""

    kind: ClassVar[str] = "sensor_noisy"
    breaks: ClassVar[str] = "bias"
    site: ClassVar[str] = "sensors"
    list_field: ClassVar[str] = "pixels"
    equation: ClassVar[str] = "bias mantissa += round(σ·table[255]·g), within 16 bits; g ~ N(0, 1) from (sample, step, neuron)"
    mechanism: ClassVar[str] = "noise of the sensor or its line"
    sources: ClassVar[tuple[str, ...]] = ("Hendrycks & Dietterich 2019, arXiv 1903.12261 (Gaussian noise)",)

    pixels: Ids | None = Field(default=None, description="indices of the input neurons (C, H, W order)")
    layer: str | None = Field(default="input", description="input, or the name of an input")
    sigma: float = Field(default=0.1, description="standard deviation, as a fraction of the current of a pixel of 255", ge=0)
    each: Literal["sample", "step"] = Field(default="sample", description="a new number for each")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out, groups = _sensors(context, self)
        key = context.key(self, "noise")
        for when, name, neurons in groups:
            sigma = min(self.sigma * float(_pixels(context, name)[255]), float(_FAR))
            own = key if name == context.deployment.inputs[0] else stream_key(key, name)  # numbers are counted by neuron only
            out.edits.append(InputNoise(name, neurons, sigma, own, self.each, when))
        return out
