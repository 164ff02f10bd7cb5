"""A graph in the integers of a chip: what every engine computes with, before it is placed on cores (Lava 0.10 ``fixed_pt`` names and units)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.graph.law import USUAL, Law
from neurofault.graph.neurons import Encoding
from neurofault.graph.schedule import Wiring
from neurofault.graph.synapses import SignMode, Synapses


@dataclass(frozen=True, eq=False)
class ChipPopulation:
    """One population in the chip's integers.

    Attributes:
        name, shape: as in the network.
        du, dv, vth, bias_mantissa: int32 [n].
        bias_exponent: bias = mantissa ≪ exponent (≫ if negative).
        v_init: ``v`` before a sample's first step, of all or int32 [n].
        fires: False for a readout by its potential (its threshold is out of reach).
        is_source: whether it is driven from outside: by biases in place of its own, or by events, which are its spikes.
        encoding: of a source, pixel → bias table; None where inputs are events, or biases as they are.
        law: reset, refractory steps and floor.
    """

    name: str
    shape: tuple[int, ...]
    du: NDArray[np.int32]
    dv: NDArray[np.int32]
    vth: NDArray[np.int32]
    bias_mantissa: NDArray[np.int32]
    bias_exponent: int
    v_init: int | NDArray[np.int32]
    fires: bool = True
    is_source: bool = False
    encoding: Encoding | None = None
    law: Law = USUAL

    __repr__ = brief

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


def unusual_law(populations: Iterable[ChipPopulation]) -> str | None:
    """Return which population has another law than Lava's ``LIF``, and what is other; None: none."""
    return next((f"layer {one.name!r}: {one.law}" for one in populations if not one.law.usual), None)


@dataclass(frozen=True, eq=False)
class ChipConnection:
    """One connection in the chip's integers.

    Attributes:
        name, source, target: as in the network.
        synapses: int32 weights as Lava reads them (mixed: −256 … 255, already truncated to the stored width).
        weight_exponent: e; Σ w·s over this connection is shifted left by e (right, floor, if negative), then by 6 into ``u``.
        weight_bits: stored bits a weight, 1 to 8.
        sign_mode: mixed, excitatory or inhibitory.
        delay: chip steps from firing to arrival, at least 1; delays of synapses come on top.
    """

    name: str
    source: str
    target: str
    synapses: Synapses
    weight_exponent: int
    weight_bits: int
    sign_mode: SignMode
    delay: int = 1

    __repr__ = brief


def reached(populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection]) -> set[str]:
    """Return the populations in which anything can happen: names of those that an input, a bias, a start or a threshold below 0 reaches."""
    driving = {
        one.name for one in populations if one.is_source or np.any(one.bias_mantissa) or np.any(one.v_init) or np.any(one.vth < 0)
    }
    return Wiring(tuple(populations), tuple(connections)).downstream(driving)
