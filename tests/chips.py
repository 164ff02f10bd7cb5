"""Small deployments built from their records, for tests of engines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurofault.damage.damage import Damage, Edit
from neurofault.deploy.deployment import ChipLayer, Deployment, Placement
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.quantise import truncate_weights
from neurofault.graph import Conv, Dense
from neurofault.graph.network import How
from neurofault.graph.synapses import SignMode, Synapses


def population(
    name: str,
    shape: tuple[int, ...],
    synapses: Synapses | None = None,
    *,
    exponent: int = 0,
    bits: int = 8,
    sign_mode: SignMode = "mixed",
    du: object = 4095,
    dv: object = 0,
    vth: object = 100,
    bias: object = 0,
    bias_exponent: int = 0,
    v_init: int = 0,
    fires: bool = True,
) -> ChipLayer:
    """A layer; scalars are spread over its neurons."""
    size = int(np.prod(shape))
    du, dv, vth, bias = (np.broadcast_to(np.asarray(value, np.int32), size).copy() for value in (du, dv, vth, bias))
    return ChipLayer(name, shape, synapses, exponent, bits, sign_mode, du, dv, vth, bias, bias_exponent, v_init, fires)


def chip(
    layers: Sequence[ChipLayer], timesteps: int, edits: Sequence[Edit] = (), readout: Readout = "count", name: str = "test"
) -> Deployment:
    """A deployment with every layer on a core of its own."""
    cores = tuple(np.full(layer.size, core, np.int32) for core, layer in enumerate(layers))
    placement = Placement(1, 128, cores)
    profile = HardwareProfile.model_construct(name="test", arithmetic="lava")  # engines take nothing from it
    return Deployment(name, profile, tuple(layers), placement, timesteps, None, readout, Damage(tuple(edits)))


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int = 8, sign_mode: SignMode = "mixed") -> np.ndarray:
    """Stored weights of any size that the field can hold."""
    low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[sign_mode]
    return truncate_weights(rng.integers(low, high, shape), bits, sign_mode)


def dense(rng: np.random.Generator, n_out: int, n_in: int, delays: int = 0, **stored: object) -> Dense:
    """Random dense synapses, delayed by up to ``delays`` steps."""
    weight = random_weights(rng, (n_out, n_in), **stored)  # type: ignore[arg-type]
    return Dense(weight, rng.integers(0, delays + 1, weight.shape) if delays else None)


def conv(rng: np.random.Generator, in_shape: tuple[int, int, int], c_out: int, kernel: tuple[int, int], **geometry: object) -> Conv:
    """A random convolution."""
    groups = int(geometry.get("groups", 1))  # type: ignore[call-overload]
    return Conv(random_weights(rng, (c_out, in_shape[0] // groups, *kernel)), in_shape, **geometry)  # type: ignore[arg-type]
