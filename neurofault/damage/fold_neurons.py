"""The fold of all edits of a population's neurons: parameters, silence, forced spikes and flips of the state, in the order of ``damage.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    FORCE_UNIT,
    Edit,
    Force,
    InputNoise,
    KeptState,
    LostReset,
    NeuronEdit,
    OnChip,
    SetField,
    Silence,
    StuckCounter,
    Upset,
)
from neurofault.damage.moments import moments
from neurofault.errors import unforeseen
from neurofault.graph.arithmetic import LOIHI, Arithmetic
from neurofault.graph.chip import ChipPopulation


@dataclass(frozen=True, eq=False)
class NeuronsNow:
    """What holds in one step for the neurons of a population: [n], or [N, n] where samples differ.

    Attributes:
        du, dv, vth, bias_mantissa: int64, the population's stored fields as they are now.
        own_bias: bool, whose stored bias takes the place of what the sample gives (inputs only).
        silent: bool, who is dead.
        rate: int64, 1/65536 spikes a step that are forced; −1: not forced.
        flips_u, flips_v: int64, bits of the state that flip at the beginning of the step.
        counter: int64, what a stuck refractory counter reads; −1: it counts.
        kept: bool, whose reset is lost.
        goes_on: bool, who is not cleared if this is a sample's first step.
    """

    du: NDArray[np.int64]
    dv: NDArray[np.int64]
    vth: NDArray[np.int64]
    bias_mantissa: NDArray[np.int64]
    own_bias: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    rate: NDArray[np.int64]
    flips_u: NDArray[np.int64]
    flips_v: NDArray[np.int64]
    counter: NDArray[np.int64]
    kept: NDArray[np.bool_]
    goes_on: NDArray[np.bool_]

    def mantissa(self, given: NDArray[np.integer] | None) -> NDArray[np.int64]:
        """Return the bias mantissa that counts, from what the sample gives, noise included; None: nothing."""
        if given is None:
            return self.bias_mantissa
        wide = given.astype(np.int64)
        return np.where(self.own_bias, self.bias_mantissa, wide) if self.own_bias.any() else wide

    def let_out(self, spikes: NDArray[Any], step: int) -> NDArray[Any]:
        """Return the spikes that leave, from those that the neurons fire in a step of the sample: bool, or uint8 how many."""
        forced = (step + 1) * self.rate // FORCE_UNIT > step * self.rate // FORCE_UNIT
        return np.asarray(np.where(self.silent, False, np.where(self.rate < 0, spikes, forced)), spikes.dtype)

    def upset(self, u: NDArray[np.generic], v: NDArray[np.generic], chip: Arithmetic = LOIHI) -> None:
        """Flip bits of states, whole numbers [n] or [N, n], in place, in the registers of an arithmetic."""
        for state, flips, register in ((u, self.flips_u, chip.u), (v, self.flips_v, chip.v)):
            if register is not None and flips.any():
                turned = replace(register, overflow="wrap").held(state.astype(np.int64) ^ flips)
                state[...] = np.where(flips != 0, turned, state)


class NeuronFold:
    """The neurons of a population and their edits.

    Attributes:
        edits: all but `InputNoise`, in order.
    """

    def __init__(self, population: ChipPopulation, edits: Sequence[Edit]) -> None:
        own = [edit for edit in edits if isinstance(edit, NeuronEdit) and edit.population == population.name]
        self.edits = tuple(edit for edit in own if not isinstance(edit, InputNoise))
        self._stored = {name: getattr(population, name).astype(np.int64) for name in ("du", "dv", "vth", "bias_mantissa")}
        self._size = population.size

    def at(self, active: NDArray[np.bool_], stored: Mapping[str, NDArray[np.int64]] | None = None) -> NeuronsNow:
        """Return what holds while the edits of bool [E] act; ``stored``: the healthy fields, if not the population's own."""
        held = {name: values.copy() for name, values in (self._stored if stored is None else stored).items()}
        own, silent = np.zeros(self._size, bool), np.zeros(self._size, bool)
        counter, kept, goes_on = np.full(self._size, -1, np.int64), np.zeros(self._size, bool), np.zeros(self._size, bool)
        rate, flips = np.full(self._size, -1, np.int64), {"u": np.zeros(self._size, np.int64), "v": np.zeros(self._size, np.int64)}
        for edit, act in zip(self.edits, active, strict=True):
            match edit:
                case _ if not act:
                    pass
                case SetField(field=name, neurons=neurons):
                    held[name][neurons] = edit.changed(held[name][neurons])
                    if name == "bias_mantissa":
                        own[neurons] = True
                case Silence(neurons=neurons):
                    silent[neurons] = True
                case Force(neurons=neurons):
                    rate[neurons] = edit.rate
                case Upset(neurons=neurons):
                    flips[edit.state][neurons] ^= edit.masks
                case StuckCounter(neurons=neurons):
                    counter[neurons] = edit.value
                case LostReset(neurons=neurons):
                    kept[neurons] = True
                case KeptState(neurons=neurons):
                    goes_on[neurons] = True
                case _:
                    unforeseen(edit)
        stored_now = (held["du"], held["dv"], held["vth"], held["bias_mantissa"])
        return NeuronsNow(*stored_now, own, silent, rate, flips["u"], flips["v"], counter, kept, goes_on)


class NeuronsInTime:
    """What holds for the neurons of a population in every step of some samples.

    Args:
        chip: with its damage.
        population: its name.
        first_sample: index of the first of the samples in the whole data set.
        samples: N.
    """

    def __init__(self, chip: OnChip, population: str, first_sample: int, samples: int) -> None:
        edits, steps, phase = chip.damage.edits, chip.timesteps, chip.schedule.phase[population]
        self.fold = NeuronFold(chip.population(population), edits)
        self._moments = moments(self.fold.edits, phase, first_sample, samples, steps)
        self._sets: dict[int, NeuronsNow] = {}
        self._last: tuple[NDArray[np.int64], NeuronsNow] | None = None
        noisy = [edit for edit in edits if isinstance(edit, InputNoise) and edit.population == population]
        self._noise = [(edit.neurons, edit.mantissas(phase, first_sample, samples, steps)) for edit in noisy]

    @property
    def varies(self) -> bool:
        """Whether anything but forced spikes may differ from step to step."""
        return len(self._moments.active) > 1 or bool(self._noise)

    def noisy(self, given: NDArray[np.integer], step: int, sample: int | None = None) -> NDArray[np.int64]:
        """Return the bias mantissas of the input neurons with the noise of a step, within 16 bits: of all samples [N, n], or of one [n]."""
        out = given.astype(np.int64)
        for neurons, added in self._noise:
            out[..., neurons] += added[:, step] if sample is None else added[sample, step]
        for neurons, _ in self._noise:
            out[..., neurons] = np.clip(out[..., neurons], -(1 << 15), (1 << 15) - 1)
        return out

    def one(self, sample: int, step: int) -> NeuronsNow:
        """Return what holds in a step of a sample: [n]."""
        return self._set(int(self._moments.which[sample, step]))

    def at(self, step: int) -> NeuronsNow:
        """Return what holds in a step: [n] where it is the same for all samples, else [N, n]."""
        which = self._moments.which[:, step]
        if self._last is not None and np.array_equal(self._last[0], which):
            return self._last[1]
        numbers, row = np.unique(which, return_inverse=True)
        sets = [self._set(int(number)) for number in numbers]
        now = sets[0]
        if len(sets) > 1:
            now = NeuronsNow(*(np.stack([getattr(each, one.name) for each in sets])[row.reshape(-1)] for one in fields(NeuronsNow)))
        self._last = which, now
        return now

    def _set(self, number: int) -> NeuronsNow:
        if number not in self._sets:
            self._sets[number] = self.fold.at(self._moments.active[number])
        return self._sets[number]


def silent_at_the_end(chip: OnChip, first_sample: int, samples: int) -> NDArray[np.bool_]:
    """Return bool [N, n_out]: which neurons of the readout are dead in the last step of each sample that is read."""
    name, last = chip.readout.population, chip.readout.steps(chip.timesteps).stop - 1
    shape = (samples, chip.population(name).size)
    return np.broadcast_to(NeuronsInTime(chip, name, first_sample, samples).at(last).silent, shape)
