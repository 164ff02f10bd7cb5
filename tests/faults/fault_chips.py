"""Small deployments, built by hand, for the tests of the fault library."""

from __future__ import annotations

import numpy as np

from neurofault.deploy.deployment import ChipLayer, Deployment, Placement
from neurofault.deploy.profile import Chip, Core, HardwareProfile, Neuron, Quantity, Synapse
from neurofault.graph import Conv, Dense, Encoding


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
    neuron = Neuron.model_construct(
        threshold_max=quantity(2**17 - 1),
        bias_mantissa_min=quantity(-(2**12)),
        bias_mantissa_max=quantity(2**12 - 1),
        decay_max=quantity(4095),
    )
    core = Core.model_construct(
        neurons=quantity(16, "neurons"), synapse_bits=quantity(None, "bits"), in_axons=quantity(None), out_axons=quantity(None)
    )
    return HardwareProfile.model_construct(name="small", chip=chip, core=core, synapse=synapse, neuron=neuron)


def chip_layer(name, shape, synapses=None, *, vth=100, fires=True):
    size = int(np.prod(shape))
    return ChipLayer(
        name=name,
        shape=tuple(shape),
        synapses=synapses,
        weight_exponent=0,
        weight_bits=8,
        sign_mode="mixed",
        du=np.full(size, 4095, np.int32),
        dv=np.zeros(size, np.int32),
        vth=np.full(size, vth, np.int32),
        bias_mantissa=np.zeros(size, np.int32),
        bias_exponent=0,
        v_init=0,
        fires=fires,
    )


def consecutive(layers, neurons_per_core):
    """Place the layers one after the other, ``neurons_per_core`` to a core, a core never shared by two layers."""
    core_of, first = [], 0
    for layer in layers:
        core_of.append((first + np.arange(layer.size) // neurons_per_core).astype(np.int32))
        first = int(core_of[-1][-1]) + 1
    return tuple(core_of)


def deployment(layers, *, neurons_per_core=4, core_of=None, profile=None, timesteps=8):
    profile = profile or small_profile()
    cores = profile.chip.cores.value
    core_of = core_of or consecutive(layers, neurons_per_core)
    chips = int(max(part.max() for part in core_of)) // cores + 1
    return Deployment(
        name="small",
        profile=profile,
        layers=tuple(layers),
        placement=Placement(chips, cores, tuple(core_of)),
        timesteps=timesteps,
        encoding=Encoding(np.arange(256, dtype=np.int32), 100, 0, 1.0),
        readout="potential",
    )


def even(rng, shape):
    """Random stored weights as Lava reads 8-bit MIXED ones: even, −256 to 254."""
    return (rng.integers(-128, 128, shape) * 2).astype(np.int32)


def mlp(*sizes, neurons_per_core=4, seed=0, **options):
    """A dense chain called input, hidden1, …, output."""
    rng = np.random.default_rng(seed)
    names = ["input", *(f"hidden{index}" for index in range(1, len(sizes) - 1)), "output"]
    layers = [chip_layer("input", (sizes[0],))]
    for before, size, name in zip(sizes, sizes[1:], names[1:], strict=False):
        layers.append(chip_layer(name, (size,), Dense(even(rng, (size, before))), fires=name != "output"))
    return deployment(layers, neurons_per_core=neurons_per_core, **options)


def cnn(conv: Conv, *, neurons_per_core=5, classes=3, seed=0, **options):
    """input → one convolution → output."""
    rng = np.random.default_rng(seed)
    layers = [
        chip_layer("input", conv.in_shape),
        chip_layer("conv1", conv.out_shape, conv),
        chip_layer("output", (classes,), Dense(even(rng, (classes, conv.n_out))), fires=False),
    ]
    return deployment(layers, neurons_per_core=neurons_per_core, **options)


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
