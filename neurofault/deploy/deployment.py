"""`Deployment`: a network on a chip — where it sits, in which integers, and what is broken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.deploy.damage import Damage
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import UsageError
from neurofault.network import Encoding, Inputs, Readout, SignMode, Synapses


@dataclass(frozen=True, eq=False)
class ChipLayer:
    """One population in the chip's integers (Lava 0.10 ``fixed_pt`` names and units).

    Attributes:
        name, shape: as in the network.
        synapses: :class:`Dense` or :class:`Conv` with int32 weights as Lava reads them (MIXED −256…255, already truncated to the stored
            width); None for layer 0.
        weight_exponent: e; Σ w·s is shifted left by e (right, floor, if negative), then by 6 into ``u``.
        weight_bits: stored bits a weight, 1 to 8.
        sign_mode: mixed, excitatory or inhibitory.
        du, dv, vth, bias_mantissa: int32 [n].
        bias_exponent: bias = mantissa ≪ exponent (≫ if negative).
        v_init: int, ``v`` before a sample's first step.
        fires: False for an output layer that is read by its potential (its threshold is out of reach).
    """

    name: str
    shape: tuple[int, ...]
    synapses: Synapses | None
    weight_exponent: int
    weight_bits: int
    sign_mode: SignMode
    du: NDArray[np.int32]
    dv: NDArray[np.int32]
    vth: NDArray[np.int32]
    bias_mantissa: NDArray[np.int32]
    bias_exponent: int
    v_init: int
    fires: bool = True

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Placement:
    """Which core each neuron sits on. Core ids count through the chips: ``chip · cores_per_chip + local``.

    Attributes:
        chips: number of chips in use.
        cores_per_chip: cores a chip has, usable or not (from the profile).
        core_of: for each layer, int32 [n].
        spare_cores: ids kept free for repair, sorted.
        bad_cores: ids known bad before deployment (profile), sorted; never used.
        strategy: ``pack``, ``spread`` or ``random``.
    """

    chips: int
    cores_per_chip: int
    core_of: tuple[NDArray[np.int32], ...]
    spare_cores: tuple[int, ...] = ()
    bad_cores: tuple[int, ...] = ()
    strategy: str = "pack"

    @property
    def used_cores(self) -> NDArray[np.int64]:
        """Sorted ids of the cores that hold at least one neuron."""
        return np.unique(np.concatenate(self.core_of)).astype(np.int64)

    def cores_of_layer(self, layer: int) -> NDArray[np.int64]:
        """Sorted ids of the cores that hold neurons of a layer."""
        return np.unique(self.core_of[layer]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Deployment:
    """A placed, quantised, possibly damaged network. Frozen: ``inject`` and ``rescue`` return new ones.

    Attributes:
        name: the network's name.
        profile: the chip.
        layers: layer 0 is the input population.
        placement: core of each neuron.
        timesteps: T, steps a sample is shown.
        encoding: pixel → bias table; None where inputs are events.
        readout: ``potential`` or ``count``.
        damage: what is broken.
    """

    name: str
    profile: HardwareProfile
    layers: tuple[ChipLayer, ...]
    placement: Placement
    timesteps: int
    encoding: Encoding | None
    readout: Readout
    damage: Damage = field(default_factory=Damage)

    def layer_index(self, name: str) -> int:
        """Return the index of the layer called ``name``.

        Raises:
            UsageError: if there is none.
        """
        for index, layer in enumerate(self.layers):
            if layer.name == name:
                return index
        raise UsageError(f"no layer {name!r}; layers: {', '.join(layer.name for layer in self.layers)}")

    def with_damage(self, damage: Damage) -> Deployment:
        """Return the same chip with another damage; ``Damage()`` restores it exactly."""
        return replace(self, damage=damage)

    def _repr_html_(self) -> str:
        """Return the grid of cores, as notebooks show it."""
        from neurofault.deploy.grid import grid_html

        return grid_html(self)

    def encode(self, images: NDArray[np.generic]) -> Inputs:
        """Turn images into bias currents of the input neurons.

        Args:
            images: array or torch tensor [N, …] with as many values a sample as there are input neurons; uint8 (0–255) or float in [0, 1].

        Raises:
            UsageError: wrong shape, type or range, or a deployment that takes events.
        """
        if self.encoding is None:
            raise UsageError(f"network {self.name!r} takes events, not images: pass Inputs(events=…)")
        images = as_array(images, "images")
        flat = images.reshape(len(images), math.prod(images.shape[1:]))
        if flat.shape[1] != self.layers[0].size:
            raise UsageError(f"a sample has {flat.shape[1]} values, but the input layer has {self.layers[0].size} neurons")
        if flat.dtype != np.uint8:
            if not np.issubdtype(flat.dtype, np.floating):
                raise UsageError(f"images must be uint8 or float in [0, 1], not {flat.dtype}")
            if (problem := not_finite(flat)) is not None:
                raise UsageError(f"images: {problem}")
            if flat.size and not (float(flat.min()) >= 0.0 and float(flat.max()) <= 1.0):
                raise UsageError(f"float images must lie in [0, 1], not [{flat.min()}, {flat.max()}]")
            flat = np.rint(flat * 255).astype(np.uint8)
        return Inputs(bias=self.encoding.table[flat])
