"""Small deployments, built by hand, for the tests of the fault library."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import Chip, Core, HardwareProfile, Learning, NeuronRanges, Quantity, Synapse
from neurofault.faults import KINDS
from neurofault.graph import Conv, Dense, Encoding, Readout, Sparse
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.inputs import Bias, Inputs, Spikes

EVERYWHERE = {kind: model for kind, model in KINDS.items() if model.needs not in ("chips", "boards", "shared_memory", "crossbar")}
"""The kinds whose places the small chip has: ``test_shared_parts.py`` and ``test_crossbar_faults.py`` are about the others."""


def quantity(value, unit="1"):
    return Quantity.model_construct(value=value, unit=unit, evidence="assumed", source="test", note=None)


def small_profile(*, shared_kernels=False, columns=4, rows=3, cores_per_tile=2, word_bits=16, block=3):
    """A chip of columns × rows tiles; only what the fault library asks for."""
    cores = columns * rows * cores_per_tile
    chip = Chip.model_construct(
        cores=quantity(cores, "cores"),
        usable_cores=quantity(cores, "cores"),
        tile_columns=quantity(columns, "tiles"),
        tile_rows=quantity(rows, "tiles"),
        cores_per_tile=quantity(cores_per_tile, "cores"),
        max_chips=quantity(None, "chips"),
    )
    synapse = Synapse.model_construct(
        shared_kernels=quantity(shared_kernels, "flag"),
        delay_bits=quantity(3, "bits"),
        delay_max=quantity(5, "steps"),
        block_synapses=quantity(block, "synapses"),
        word_bits=quantity(word_bits, "bits"),
    )
    neuron = NeuronRanges.model_construct(
        threshold_max=quantity(2**17 - 1),
        bias_mantissa_min=quantity(-(2**12)),
        bias_mantissa_max=quantity(2**12 - 1),
        decay_max=quantity(4095),
    )
    core = Core.model_construct(
        neurons=quantity(16, "neurons"), synapse_bits=quantity(None, "bits"), in_axons=quantity(None), out_axons=quantity(None)
    )
    learning = Learning.model_construct(available=True)
    parts = {"chip": chip, "core": core, "synapse": synapse, "neuron": neuron, "learning": learning}
    return HardwareProfile.model_construct(name="small", arithmetic="loihi", **parts)


TABLE = Encoding(np.arange(256, dtype=np.int32), 100, 0, 1.0)


def neurons(name, shape, *, vth=100, fires=True, is_source=False):
    """A population; a source takes pixels."""
    size = int(np.prod(shape))
    return ChipPopulation(
        name=name,
        shape=tuple(shape),
        du=np.full(size, 4095, np.int32),
        dv=np.zeros(size, np.int32),
        vth=np.full(size, vth, np.int32),
        bias_mantissa=np.zeros(size, np.int32),
        bias_exponent=0,
        v_init=0,
        fires=fires,
        is_source=is_source,
        encoding=TABLE if is_source else None,
    )


def wire(name, source, target, synapses, *, delay=1):
    """A connection of 8-bit mixed weights."""
    return ChipConnection(name, source, target, synapses, 0, 8, "mixed", delay)


def consecutive(populations, neurons_per_core):
    """Place the populations one after the other, ``neurons_per_core`` to a core, a core never shared by two of them."""
    core_of, first = {}, 0
    for one in populations:
        core_of[one.name] = (first + np.arange(one.size) // neurons_per_core).astype(np.int32)
        first = int(core_of[one.name][-1]) + 1
    return core_of


def deployment(populations, connections, *, neurons_per_core=4, core_of=None, profile=None, timesteps=8, readout=None):
    """Populations, the last of which is read unless another is named, and connections on a small chip."""
    profile = profile or small_profile()
    cores = profile.chip.cores.value
    core_of = core_of or consecutive(populations, neurons_per_core)
    chips = int(max(part.max() for part in core_of.values())) // cores + 1
    return Deployment(
        name="small",
        profile=profile,
        populations=tuple(populations),
        connections=tuple(connections),
        placement=Placement(chips, cores, core_of),
        timesteps=timesteps,
        readout=Readout(readout or populations[-1].name),
    )


def chain(populations, synapses, **options):
    """Populations of which each drives the next one."""
    connections = [
        wire(target.name, source.name, target.name, own)
        for source, target, own in zip(populations[:-1], populations[1:], synapses, strict=True)
    ]
    return deployment(populations, connections, **options)


def even(rng, shape):
    """Random stored weights as Lava reads 8-bit MIXED ones: even, −256 to 254."""
    return (rng.integers(-128, 128, shape) * 2).astype(np.int32)


def mlp(*sizes, neurons_per_core=4, seed=0, **options):
    """A dense chain called input, hidden1, …, output."""
    rng = np.random.default_rng(seed)
    names = ["input", *(f"hidden{index}" for index in range(1, len(sizes) - 1)), "output"]
    populations = [
        neurons(name, (size,), fires=name != "output" or len(sizes) == 1, is_source=name == "input")
        for name, size in zip(names, sizes, strict=False)
    ]
    synapses = [Dense(even(rng, (size, before))) for before, size in pairwise(sizes)]
    return chain(populations, synapses, neurons_per_core=neurons_per_core, **options)


def cnn(conv: Conv, *, neurons_per_core=5, classes=3, seed=0, **options):
    """input → one convolution → output."""
    rng = np.random.default_rng(seed)
    populations = [
        neurons("input", conv.in_shape, is_source=True),
        neurons("conv1", conv.out_shape),
        neurons("output", (classes,), fires=False),
    ]
    return chain(populations, [conv, Dense(even(rng, (classes, conv.n_out)))], neurons_per_core=neurons_per_core, **options)


def with_synapses(chip, connection, synapses, **fields):
    """The same chip with other synapses in a connection."""
    return chip.with_connection(replace(chip.connection(connection), synapses=synapses, **fields))


def encoded(chip, table):
    """The same chip with another pixel table of its inputs; None: they take events."""
    for name in chip.inputs:
        one = chip.population(name)
        chip = chip.with_population(replace(one, encoding=None if table is None else replace(TABLE, table=table)))
    return chip


def from_sample(inputs, first):
    """The same samples, counted from another number."""
    bias, events = ({name: part for name, part in inputs.parts.items() if isinstance(part, kind)} for kind in (Bias, Spikes))
    return Inputs(bias, events, first)


def pairs_of(synapses):
    """Every synapse by plain loops: (source, target) → (weight, delay)."""
    if isinstance(synapses, Conv):
        weight, delay = (
            None if words is None else words.reshape(synapses.weight.shape[0], -1) for words in (synapses.weight, synapses.delay)
        )
        return {pair: (int(weight[at]), 0 if delay is None else int(delay[at])) for pair, at in expanded(synapses).items()}
    delay = np.zeros(synapses.weight.shape, np.int64) if synapses.delay is None else synapses.delay
    if isinstance(synapses, Sparse):
        return {
            (int(synapses.sources[at]), target): (int(synapses.weight[at]), int(delay[at]))
            for target in range(synapses.n_out)
            for at in range(synapses.starts[target], synapses.starts[target + 1])
        }
    return {
        (source, target): (int(synapses.weight[target, source]), int(delay[target, source]))
        for source in range(synapses.n_in)
        for target in range(synapses.n_out)
    }


def expanded(conv: Conv):
    """Every synapse of a convolution by plain loops: (source, target) → (output channel, kernel word)."""
    c_out, c_in, k_h, k_w = conv.weight.shape
    _, height, width = conv.in_shape
    _, out_h, out_w = conv.out_shape
    found = {}
    for out in range(c_out):
        group = out // (c_out // conv.groups)
        for y in range(out_h):
            for x in range(out_w):
                for channel in range(c_in):
                    for i in range(k_h):
                        for j in range(k_w):
                            row = y * conv.stride[0] - conv.padding[0] + i * conv.dilation[0]
                            column = x * conv.stride[1] - conv.padding[1] + j * conv.dilation[1]
                            if 0 <= row < height and 0 <= column < width:
                                source = ((group * c_in + channel) * height + row) * width + column
                                target = (out * out_h + y) * out_w + x
                                found[source, target] = (out, (channel * k_h + i) * k_w + j)
    return found
