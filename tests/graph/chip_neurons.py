"""Neurons of other chips in plain numbers, one neuron and one step at a time, written from their sources alone.

* Xylo: Rockpool's ``XyloIAFNeuron`` (decay by shift, sums that saturate, up to 31 spikes), its documentation of devices.
* ODIN: ``lif_neuron_state.v`` (8 bits without a sign, leakage events, events of one weight).
* ReckOn: ``srnn.v``, hidden neurons (16 bits, α with 15 fractional bits, the spike decided before the leak).
* Speck: sinabs' ``IAF`` with ``SingleSpike`` (threshold reached, reset by subtraction, lower clamp) in 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LOW16, HIGH16 = -(1 << 15), (1 << 15) - 1


class Numbers(NamedTuple):
    """A neuron's own: decays of u and v, threshold, bias and floor (None: there is none)."""

    du: int
    dv: int
    threshold: int
    bias: int
    floor: int | None = None


def held16(value: int) -> int:
    return max(LOW16, min(HIGH16, value))


def xylo(own: Numbers, drives: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (current, membrane, spikes) after each step."""

    def lost(value: int, dash: int) -> int:
        shifted = value >> dash
        return shifted if shifted else (value > 0) - (value < 0)

    current, membrane, found = 0, 0, []
    for drive in drives:
        current = held16(current + drive)
        current -= lost(current, own.du)
        change = held16(-lost(membrane, own.dv) + current)
        change = held16(change + own.bias)
        membrane = held16(membrane + change)
        spikes = 0
        while membrane >= own.threshold and spikes < 31:
            spikes += 1
            membrane -= own.threshold
        found.append((current, membrane, spikes))
    return found


def odin(own: Numbers, drives: Sequence[int]) -> list[tuple[int, int, int]]:
    """One leakage event, then one event of a weight, in each step."""
    membrane, found = 0, []
    for drive in drives:
        membrane = membrane - own.dv if membrane >= own.dv else 0
        membrane = min(255, membrane + drive) if drive >= 0 else max(0, membrane + drive)
        spike = int(membrane >= own.threshold)
        membrane = 0 if spike else membrane
        found.append((0, membrane, spike))
    return found


def reckon(own: Numbers, drives: Sequence[int], *, to_zero: bool) -> list[tuple[int, int, int]]:
    """The membrane is that which the threshold is compared with: after the events, before the leak and the reset of the step's end."""
    alpha, membrane, found = (1 << 15) - own.dv, 0, []
    for drive in drives:
        membrane = held16(membrane + drive)
        spike = int(membrane >= own.threshold)
        found.append((0, membrane, spike))
        leaked = membrane * alpha >> 15
        membrane = (0 if to_zero else leaked - own.threshold) if spike else leaked
    return found


def speck(own: Numbers, drives: Sequence[int], *, to_zero: bool) -> list[tuple[int, int, int]]:
    membrane, found = 0, []
    for drive in drives:
        membrane = held16(membrane + drive + own.bias)
        spike = int(membrane >= own.threshold)
        if spike:
            membrane = 0 if to_zero else membrane - own.threshold
        if own.floor is not None:
            membrane = max(membrane, own.floor)
        found.append((0, membrane, spike))
    return found
