"""From a network's neurons to what a chip's neurons are: decays as it stores them, resets, floors and refractory steps that it has, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import CapacityError, ConversionError, UnsupportedError
from neurofault.graph import CubaLif, Network, Population, Source
from neurofault.graph.arithmetic import LOIHI, Arithmetic, Register
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.law import Law
from neurofault.numerals import plural


def stored_decays(population: Population, profile: HardwareProfile) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return du and dv of a population's neurons as the chip stores them, int32 [n]: those whose lost share is nearest.

    A population that carries the integers of a chip is taken to carry that chip's.

    Raises:
        ConversionError: a decay is no whole number from 0 to 4095, or beyond what the chip stores.
        UnsupportedError: the chip's neurons have no such state, or nothing would be left of what arrives.
    """
    neuron, chip = population.neuron, profile.law
    if chip == LOIHI or isinstance(neuron, Source):
        for field, decay in (("du", neuron.du), ("dv", neuron.dv)):
            _check_whole(population.name, field, decay, 4095)
        return _array(neuron.du, population.size), _array(neuron.dv, population.size)
    if neuron.bias_exponent is not None:
        return _carried(population.name, "du", neuron.du, chip.u, population.size), _carried(
            population.name, "dv", neuron.dv, chip.v, population.size
        )
    _check_whole(population.name, "du", neuron.du, 4095)
    _check_whole(population.name, "dv", neuron.dv, 4095)
    lost_u, lost_v = _lost(neuron, population.size)
    where, what = f"population {population.name!r}", f"chip {profile.name!r}"
    if chip.u is None:
        if np.any(lost_u < 1):
            raise UnsupportedError(
                f"{where}: its synaptic current remembers (du {int(np.min(neuron.du))}); neurons of {what} have no such state: what arrives "
                "goes into v at once; allowed: du 4095"
            )
        du = np.zeros(population.size, np.int64)
    else:
        du = chip.u.decay.nearest(lost_u)
        if chip.sums == "before_decay" and np.any(lost_u >= 1):
            raise UnsupportedError(
                f"{where}: its synaptic current has no memory (du 4095); on {what} a current loses its share before it counts, so that nothing "
                "would be left; train it with a synaptic current that remembers (du 2047 keeps half)"
            )
    if chip.v.decay.kind in ("none", "linear") and np.any(lost_v > 0):
        raise UnsupportedError(
            f"{where}: its potential leaks by a share of itself (dv {int(np.max(neuron.dv))}); neurons of {what} have no such leak "
            f"({chip.v.decay.kind}); allowed: dv 0"
        )
    return du.astype(np.int32), chip.v.decay.nearest(lost_v).astype(np.int32)


def kept_of_arrivals(chip: Arithmetic, du: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return float64 [n]: which share of what arrives counts: 1, or less where sums join u before it decays."""
    if chip.u is None or chip.sums == "after_decay":
        return np.ones(len(du))
    return 1 - chip.u.decay.share(du)


def approximated(network: Network, populations: Sequence[ChipPopulation], profile: HardwareProfile) -> list[str]:
    """Return which decays the chip stores otherwise than the network has them, one text for each population and state."""
    found: list[str] = []
    if profile.law == LOIHI:
        return found
    for chip in populations:
        neuron = network.population(chip.name).neuron
        if isinstance(neuron, Source) or neuron.bias_exponent is not None:
            continue
        registers = (("du", profile.law.u, chip.du), ("dv", profile.law.v, chip.dv))
        for (field, register, stored), lost in zip(registers, _lost(neuron, chip.size), strict=True):
            if register is None:
                continue
            share = register.decay.share(stored)
            tail = register.decay.tail & (share < 1)
            off = np.abs(share - lost) > 1e-9
            if not np.any(off):
                continue
            worst = int(np.argmax(np.abs(share - lost)))
            least = " and at least 1 a step" if np.ndim(tail) and tail[worst] else ""
            found.append(
                f"population {chip.name!r}: {field} loses {lost[worst]:.4g} of itself a step in the network, {share[worst]:.4g}{least} on chip "
                f"{profile.name!r}, the nearest that it stores{_of_small_states(register, int(stored[worst]))}"
            )
    return found


def _of_small_states(register: Register, stored: int) -> str:
    """Return what a shift does to states that are smaller than one part of it; nothing where all lose their share."""
    if register.decay.kind != "shift" or stored == 0:
        return ""
    law = f" (a shift by {stored}"
    if register.decay.tail:
        return f"{law})"
    small = f"{law}: from 0 to {min((1 << stored) - 1, register.high)} it loses nothing"
    return f"{small}, below 0 it comes back by at least 1 a step)" if register.signed else f"{small})"


def law_of(population: Population, neuron: CubaLif, unit: float, profile: HardwareProfile) -> Law:
    """Return the law in the chip's integers; ``unit``: of v for 1.0 of the threshold's unit.

    Raises:
        CapacityError: more refractory steps than it counts.
        UnsupportedError: the chip's neurons have no such reset, floor or refractory steps; the text says which they have.
    """
    size, longest, chip = population.size, int(np.max(neuron.refractory)), profile.law
    most = profile.facts.get("refractory_max")
    if longest and most is not None and most.value is not None and longest + 1 > most.value:
        raise CapacityError(
            f"layer {population.name!r}: {longest} refractory steps; a neuron of {profile.name!r} counts {most.value:g}, that of the spike included: "
            f"0 to {most.value - 1:g}"
        )
    where, what = f"population {population.name!r}", f"neurons of chip {profile.name!r}"
    if longest > chip.refractory:
        raise UnsupportedError(f"{where}: {longest} refractory steps; {what} count {chip.refractory or 'none'}")
    if neuron.floor is not None and not chip.floor:
        raise UnsupportedError(f"{where}: a floor of v; {what} have none of their own (v ends at {chip.v.low})")
    fires = neuron.threshold is not None
    if neuron.at_floor == "reset" and not chip.floor_resets:
        raise UnsupportedError(f"{where}: a reset below its floor; {what} have none; allowed: at_floor hold")
    reset = neuron.reset if fires else chip.resets[-1] if neuron.reset not in chip.resets else neuron.reset
    if reset not in chip.resets:
        how = " (of a torch module: --calibrate subtract, from_torch(…, calibrate='subtract'))" if "subtract" in chip.resets else ""
        raise UnsupportedError(
            f"{where}: reset {reset!r}; {what} reset by {' or '.join(chip.resets)}: train or convert it with such a reset{how}"
        )
    delay = neuron.reset_delay if neuron.reset_delay in chip.reset_delays or not fires else _same_spikes(neuron, chip, where, what)
    delay = delay if delay in chip.reset_delays else chip.reset_delays[0]
    refractory = _array(neuron.refractory, size) if longest else None
    floor = None
    if neuron.floor is not None:
        lowest = np.rint(np.asarray(neuron.floor, np.float64) * unit)
        floor = _array(np.maximum(lowest, max(chip.v.low, 1 - (1 << 23))), size)  # v saturates there of itself
    law = Law(reset, bool(delay), refractory, floor, chip, _reset_to(neuron, unit, size, profile, where), neuron.at_floor)
    if chip == LOIHI and law.features != neuron.features:
        raise UnsupportedError(f"{neuron.unusual} has no integers on the chip, which would follow: {law or 'the usual law'}")
    return law


def _reset_to(neuron: CubaLif, unit: float, size: int, profile: HardwareProfile, where: str) -> NDArray[np.int32] | None:
    """Return what a reset leaves v at, where that is not 0.

    Raises:
        UnsupportedError: the chip's neurons have no such number.
        CapacityError: it is beyond what v holds.
    """
    left = np.rint(np.asarray(neuron.reset_to, np.float64) * unit)
    if not np.any(left):
        return None
    chip = profile.law
    if not chip.reset_to:
        raise UnsupportedError(
            f"{where}: a reset to {float(np.asarray(neuron.reset_to).flat[0]):g}; neurons of chip {profile.name!r} reset to 0; allowed: reset_to 0"
        )
    most = min(chip.v.high, (1 << 23) - 1)
    if np.max(np.abs(left)) > most:
        raise CapacityError(
            f"{where}: a reset to {int(left.flat[np.argmax(np.abs(left))])}; v of {profile.name!r} holds −{most} to {most}"
        )
    return _array(left, size)


def check_carried(name: str, vth: object, mantissa: object, exponent: int, most: int, profile: HardwareProfile) -> None:
    """Refuse thresholds and biases of a population's own integers that a chip of another arithmetic than Loihi's cannot hold.

    Raises:
        CapacityError: naming the population, the field and its range.
    """
    if profile.law == LOIHI:
        return
    own = profile.neuron
    bias = (own.bias_mantissa_min.value, own.bias_mantissa_max.value)
    for what, value, low, high in (
        ("threshold", vth, None, most),
        ("bias", mantissa, *bias),
        ("bias exponent", exponent, 0, own.bias_exponent_max.value),
    ):
        values = np.asarray(value, np.float64)
        if (low is not None and values.min() < low) or (high is not None and values.max() > high):
            raise CapacityError(
                f"population {name!r} carries a {what} of {values.min():g} to {values.max():g}; neurons of chip {profile.name!r} hold "
                f"{'any' if low is None else low} to {'any' if high is None else high}"
            )


def _same_spikes(neuron: CubaLif, chip: Arithmetic, where: str, what: str) -> int:
    """Return the chip's delay of a reset where it makes no difference to spikes: without leak, floor and refractory steps.

    Raises:
        UnsupportedError: it does.
    """
    if np.any(np.asarray(neuron.dv)) or neuron.floor is not None or neuron.reset == "none":
        raise UnsupportedError(
            f"{where}: a reset {plural(neuron.reset_delay, 'step')} after the spike; {what} reset {chip.reset_delays[0]} after it, which is not the same "
            f"where v leaks or has a floor; train it with reset_delay {chip.reset_delays[0]}"
        )
    return chip.reset_delays[0]


def _lost(neuron: CubaLif, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which share of u and v a network's neurons lose in a step, float64 [n]."""
    return (_array(neuron.du, size) + 1) / 4096, _array(neuron.dv, size) / 4096


def _carried(name: str, field: str, decay: object, register: Register | None, size: int) -> NDArray[np.int32]:
    """Return decays that are a chip's own."""
    _check_whole(name, field, decay, 0 if register is None else register.decay.most)
    return _array(decay, size)


def _check_whole(name: str, field: str, decay: object, most: int) -> None:
    values = np.asarray(decay, np.float64)
    wrong = values[~((values >= 0) & (values <= most) & (np.rint(values) == values))]
    if wrong.size:
        raise ConversionError(f"population {name!r}: {field} {wrong.flat[0]:g} is no whole number from 0 to {most}")


def _array(value: object, size: int) -> NDArray[np.int32]:
    """Return a field of every neuron as int32 [size]."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value), (size,))).astype(np.int32)
