"""Small deployments built from their records, for tests of engines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurofault.damage.damage import Damage, Edit
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import HardwareProfile, Synapse
from neurofault.deploy.weight_fields import truncate_weights
from neurofault.graph import Conv, Dense, Readout, Sparse
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.readout import How
from neurofault.graph.synapses import SignMode, Synapses


@dataclass(frozen=True, eq=False)
class Driven:
    """A population of a chain and the synapses into it.

    Attributes:
        population: the record.
        synapses, exponent, bits, sign_mode: of the connection into it; no synapses for an input.
    """

    population: ChipPopulation
    synapses: Synapses | None
    exponent: int
    bits: int
    sign_mode: SignMode

    @property
    def name(self) -> str:
        return self.population.name

    @property
    def size(self) -> int:
        return self.population.size

    def after(self, source: str) -> ChipConnection:
        """The connection into it, from a population called ``source``."""
        assert self.synapses is not None
        return ChipConnection(self.name, source, self.name, self.synapses, self.exponent, self.bits, self.sign_mode)


def neurons(
    name: str,
    shape: tuple[int, ...],
    *,
    du: object = 4095,
    dv: object = 0,
    vth: object = 100,
    bias: object = 0,
    bias_exponent: int = 0,
    v_init: int = 0,
    fires: bool = True,
    is_source: bool = False,
) -> ChipPopulation:
    """A population; scalars are spread over its neurons."""
    size = int(np.prod(shape))
    du, dv, vth, bias = (np.broadcast_to(np.asarray(value, np.int32), size).copy() for value in (du, dv, vth, bias))
    return ChipPopulation(name, shape, du, dv, vth, bias, bias_exponent, v_init, fires, is_source)


def connection(
    name: str,
    source: str,
    target: str,
    synapses: Synapses,
    *,
    exponent: int = 0,
    bits: int = 8,
    sign_mode: SignMode = "mixed",
    delay: int = 1,
) -> ChipConnection:
    """A connection in the chip's integers."""
    return ChipConnection(name, source, target, synapses, exponent, bits, sign_mode, delay)


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
) -> Driven:
    """A population of a chain with the synapses into it; scalars are spread over its neurons."""
    own = neurons(
        name, shape, du=du, dv=dv, vth=vth, bias=bias, bias_exponent=bias_exponent, v_init=v_init, fires=fires,
        is_source=synapses is None,
    )  # fmt: skip
    return Driven(own, synapses, exponent, bits, sign_mode)


def chain_parts(layers: Sequence[Driven]) -> tuple[tuple[ChipPopulation, ...], tuple[ChipConnection, ...]]:
    """Populations and connections of a chain."""
    connections = tuple(after.after(before.name) for before, after in itertools.pairwise(layers))
    return tuple(one.population for one in layers), connections


def chip(
    layers: Sequence[Driven], timesteps: int, edits: Sequence[Edit] = (), readout: How = "count", name: str = "test"
) -> Deployment:
    """A deployment of a chain with every population on a core of its own."""
    populations, connections = chain_parts(layers)
    return graph_chip(populations, connections, timesteps, edits, how=readout, name=name)


def graph_chip(
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    timesteps: int,
    edits: Sequence[Edit] = (),
    readout: str | None = None,
    how: How = "count",
    name: str = "test",
) -> Deployment:
    """A deployment of any graph with every population on a core of its own; ``readout``: of the last population if it is not named."""
    cores = {one.name: np.full(one.size, core, np.int32) for core, one in enumerate(populations)}
    placement = Placement(1, 128, cores)
    profile = HardwareProfile.model_construct(
        name="test", arithmetic="lava", synapse=Synapse.model_construct()
    )  # engines take nothing of it
    read = Readout(populations[-1].name if readout is None else readout, how)
    return Deployment(name, profile, tuple(populations), tuple(connections), placement, timesteps, read, Damage(tuple(edits)))


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int = 8, sign_mode: SignMode = "mixed") -> np.ndarray:
    """Stored weights of any size that the field can hold."""
    low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[sign_mode]
    return truncate_weights(rng.integers(low, high, shape), bits, sign_mode)


def dense(rng: np.random.Generator, n_out: int, n_in: int, delays: int = 0, **stored: object) -> Dense:
    """Random dense synapses, delayed by up to ``delays`` steps."""
    weight = random_weights(rng, (n_out, n_in), **stored)
    return Dense(weight, rng.integers(0, delays + 1, weight.shape) if delays else None)


def conv(rng: np.random.Generator, in_shape: tuple[int, int, int], c_out: int, kernel: tuple[int, int], **geometry: object) -> Conv:
    """A random convolution."""
    groups = int(geometry.get("groups", 1))
    return Conv(random_weights(rng, (c_out, in_shape[0] // groups, *kernel)), in_shape, **geometry)


def delayed(rng: np.random.Generator, conv: Conv, delays: int) -> Conv:
    """The same convolution, each word of its kernel delayed by up to ``delays`` steps."""
    return replace(conv, delay=rng.integers(0, delays + 1, conv.weight.shape))


def sparse(rng: np.random.Generator, n_out: int, n_in: int, density: float = 0.4, delays: int = 0) -> Sparse:
    """Random synapses one by one, delayed by up to ``delays`` steps."""
    targets, sources = np.nonzero(rng.random((n_out, n_in)) < density)
    weight = random_weights(rng, targets.shape)
    return Sparse.of(n_out, n_in, targets, sources, weight, rng.integers(0, delays + 1, weight.shape) if delays else None)
