"""Deployments that together visit every corner of the arithmetic, many cases packed as neurons of one graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from chips import Driven, chip, conv, dense, population, random_weights

from neurofault.damage.damage import Drop, Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs

Case = tuple[Deployment, Inputs]

DECAYS = (0, 1, 37, 2048, 4094, 4095)
THRESHOLDS = (-1, 0, 1, 60, 5000, 131071, 131072)


def _drive(rng: np.random.Generator, samples: int, size: int) -> Inputs:
    """Biases of all sizes: quiet, useful, beyond 13 bits, beyond 16 bits."""
    scale = rng.choice([10, 1000, 4095, 32767, 70000], (samples, size))
    return Inputs(bias=(scale * rng.uniform(-0.2, 1, (samples, size))).astype(np.int32))


def _grid(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One neuron for each du × dv × vth."""
    du, dv, vth = np.array(list(itertools.product(DECAYS, DECAYS, THRESHOLDS))).T
    return {"du": du, "dv": dv, "vth": vth, "bias": rng.integers(-40000, 40000, du.size)}


def neuron_grid() -> Case:
    """Every du × dv × vth, at bias exponents from a floor shift to an overflow of 32 bits."""
    rng = np.random.default_rng(1)
    grid = _grid(rng)
    size = grid["du"].size
    layers = [population("input", (size,), **{**grid, "du": 4095}, v_init=777)]
    for index, exponent in enumerate((-15, -5, -1, 0, 3, 9, 15, 17)):
        weights = random_weights(rng, (size, size)) * (rng.random((size, size)) < 0.05)
        grid["bias"] = rng.integers(-40000, 40000, size)
        layers.append(
            population(
                f"e{exponent}", (size,), Dense(weights), **grid, exponent=-2, bias_exponent=exponent, v_init=(-1) ** index * 500
            )
        )
    return chip(layers, 20), _drive(rng, 2, size)


def weight_exponents() -> Case:
    """Every exponent from −8 to 16, side by side in the effects: floor of negative sums, u that wraps once and more, 32-bit overflow."""
    rng = np.random.default_rng(2)
    layers = [population("input", (160,), vth=200)]
    for exponent in (-8, -3, -1, 0, 2, 5, 8, 10, 12, 14, 16):
        du = rng.choice([4095, 4095, 2000, 0], 160)
        synapses = dense(rng, 160, layers[-1].size)
        bias = rng.integers(100, 4000, 160)
        layers.append(
            population(f"e{exponent}", (160,), synapses, exponent=exponent, du=du, dv=rng.choice([0, 300], 160), vth=500, bias=bias)
        )
    return chip(layers, 24), _drive(rng, 2, 160)


def edge_of_u() -> Case:
    """Sums that hit u = ±2**23 exactly, one beyond, and three times as much: only one wrap, and +2**23 is kept."""
    reach = np.array([128, -128, 130, -130, 254, -256, 2, -2])
    weights = np.repeat(reach[:, None], 3, axis=1).astype(np.int32)
    layers = [
        population("input", (3,)),
        population("edge", (8,), Dense(weights), exponent=10, vth=[131072, 0] * 4, bias=1),
        population(
            "leaky", (8,), Dense(np.diag(reach).astype(np.int32)), exponent=12, du=[0, 0, 1, 1, 9, 9, 4000, 4000], bias=3000
        ),
    ]
    events = np.zeros((1, 12, 3), bool)
    events[0, :, 0], events[0, ::2, 1], events[0, ::3, 2] = True, True, True
    return chip(layers, 12), Inputs(events=events)


def saturation() -> Case:
    """v driven to both limits, where it stays (v saturates, u wraps)."""
    rng = np.random.default_rng(4)
    bias = rng.choice([-32768, 32767, 20000, -20000], 24)
    layers = [population("input", (24,), vth=100, v_init=5)]
    layers += [
        population(
            "limit", (24,), dense(rng, 24, 24), exponent=8, bias=bias, bias_exponent=7, dv=rng.choice([0, 1, 4095], 24), vth=131072
        )
    ]
    layers += [population("over", (24,), dense(rng, 24, 24), exponent=9, bias=bias, bias_exponent=8, vth=131071)]
    return chip(layers, 30), _drive(rng, 2, 24)


def _stored(sign_mode: str, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    layers = [population("input", (40,), vth=100)]
    for bits in range(1, 9):
        synapses = Dense(random_weights(rng, (40, 40), bits, sign_mode))
        bias = rng.integers(500, 3000, 40) if sign_mode == "excitatory" else rng.integers(3000, 9000, 40)
        exponent = -2 if sign_mode == "excitatory" else -4
        stored = {"bits": bits, "sign_mode": sign_mode}
        layers.append(population(f"bits{bits}", (40,), synapses, exponent=exponent, bias=bias, vth=400, **stored))
    return chip(layers, 16), _drive(rng, 1, 40)


def stored_mixed() -> Case:
    """Mixed weights of 1 to 8 stored bits."""
    return _stored("mixed", 5)


def stored_excitatory() -> Case:
    """Excitatory weights of 1 to 8 stored bits."""
    return _stored("excitatory", 6)


def stored_inhibitory() -> Case:
    """Inhibitory weights of 1 to 8 stored bits."""
    return _stored("inhibitory", 7)


def delays() -> Case:
    """Delays up to beyond the presentation; samples follow each other while spikes are on their way; the floor is taken for each delay."""
    rng = np.random.default_rng(8)
    layers = [population("input", (20,), vth=150)]
    for index, (longest, exponent) in enumerate(((1, 0), (5, -3), (12, -1), (63, 2))):
        synapses = dense(rng, 20, 20, delays=longest)
        layers.append(
            population(f"d{longest}", (20,), synapses, exponent=exponent, du=rng.choice([4095, 500], 20), bias=300 * index, vth=300)
        )
    edits = [
        Silence("d1", np.array([0, 7])),
        SetSynapses("d5", np.arange(20), np.arange(20)[::-1].copy(), np.full(20, 254, np.int32)),
    ]
    return chip(layers, 9, edits), _drive(rng, 4, 20)


def _images(edits: bool) -> Case:
    rng = np.random.default_rng(9)
    layers = [population("input", (4, 9, 8), vth=rng.choice([100, 150], 288))]
    geometries: tuple[tuple[int, tuple[int, int], dict[str, object]], ...] = (
        (6, (3, 3), {"padding": (1, 1)}),
        (6, (2, 3), {"stride": (1, 2), "padding": (1, 0), "groups": 3}),
        (8, (3, 2), {"padding": (2, 1), "dilation": (2, 1), "groups": 2}),
        (4, (3, 3), {"stride": (2, 2), "padding": (2, 2), "dilation": (2, 3)}),
        (4, (2, 2), {"stride": (3, 2), "padding": (1, 2), "dilation": (2, 1), "groups": 4}),
    )
    for index, (c_out, kernel, geometry) in enumerate(geometries):
        synapses = conv(rng, layers[-1].population.shape, c_out, kernel, **geometry)
        layers.append(
            population(
                f"conv{index}",
                synapses.out_shape,
                synapses,
                exponent=(-1, 0, -2, 1, 3)[index],
                bias=rng.integers(0, 4000, synapses.n_out),
            )
        )
    layers.append(population("output", (5,), dense(rng, 5, layers[-1].size), vth=131072, fires=False))
    damage = []
    if edits:
        for index, layer in enumerate(layers):
            damage.append(Silence(layer.name, np.unique(rng.integers(0, layer.size, 1 + layer.size // 10))))
            if index:
                pairs = rng.choice(layer.size * layers[index - 1].size, 30, replace=False)
                targets, sources = np.divmod(pairs, layers[index - 1].size)
                near = _joined_sources(layer.synapses, targets[:20])
                sources[:20] = near
                keys = np.unique(targets * layers[index - 1].size + sources)
                targets, sources = np.divmod(keys, layers[index - 1].size)
                damage.append(SetSynapses(layer.name, sources, targets, random_weights(rng, targets.shape)))
    return chip(layers, 12, damage, readout="potential"), _drive(rng, 2, 288)


def _joined_sources(synapses: object, targets: np.ndarray) -> np.ndarray:
    """For each target a source that the kernel really joins to it (through its middle tap)."""
    if not isinstance(synapses, Conv):
        return np.zeros(targets.size, np.int64)
    channel, y, x = np.unravel_index(targets, synapses.out_shape)
    group = channel // (synapses.out_shape[0] // synapses.groups)
    y = np.clip(y * synapses.stride[0] - synapses.padding[0] + synapses.dilation[0], 0, synapses.in_shape[1] - 1)
    x = np.clip(x * synapses.stride[1] - synapses.padding[1] + synapses.dilation[1], 0, synapses.in_shape[2] - 1)
    return np.ravel_multi_index((group * synapses.weight.shape[1], y, x), synapses.in_shape)


def convolutions() -> Case:
    """Strides, padding, dilation, groups, alone and together."""
    return _images(edits=False)


def damaged_convolutions() -> Case:
    """The same, with dead neurons in every layer and single synapses changed, inside the kernel and outside of it."""
    return _images(edits=True)


def damaged() -> Case:
    """Dead input, hidden and output neurons and changed synapses; a later edit overrules an earlier one."""
    rng = np.random.default_rng(10)
    layers = [
        population("input", (30,), vth=100, v_init=3000),
        population("hidden", (20,), dense(rng, 20, 30), exponent=-1, du=1000, dv=100, bias=200, v_init=100),
        population("output", (6,), dense(rng, 6, 20), bias=-20, v_init=-50),
    ]
    edits = [
        SetSynapses("hidden", np.arange(20), np.arange(20), np.full(20, 254, np.int32)),
        Silence("input", np.array([0, 3, 29])),
        SetSynapses("hidden", np.arange(10), np.arange(10), np.full(10, -256, np.int32)),
        Silence("hidden", np.arange(0, 20, 4)),
        SetSynapses("output", np.full(6, 1), np.arange(6), np.zeros(6, np.int32)),
        Silence("output", np.array([2])),
        Silence("hidden", np.array([1, 4])),
    ]
    return chip(layers, 25, edits), _drive(rng, 3, 30)


def given_events() -> Case:
    """Given events in place of an input population's own spikes, some of them of dead neurons."""
    rng = np.random.default_rng(11)
    layers = [population("input", (25,)), population("hidden", (15,), dense(rng, 15, 25), du=3000)]
    layers.append(population("output", (4,), dense(rng, 4, 15, delays=3), vth=131072, fires=False))
    return chip(layers, 10, [Silence("input", np.array([1, 2]))], readout="potential"), Inputs(events=rng.random((5, 10, 25)) < 0.3)


WHENS = (
    ALWAYS,
    When(start=3),
    When(start=1, stop=5),
    When(start=1, period=3, on=2),
    When(start=30, stop=39, clock="chip"),
    When(start=5, period=7, on=3, clock="chip"),
)
"""Windows on both clocks; samples start at the data set's third, T = 8."""


def _in_time(rng: np.random.Generator, layers: list[Driven], *, delayed: bool) -> Deployment:
    """Every kind of edit in every window, on neurons and synapses of its own."""
    edits: list[Edit] = []
    for index, layer in enumerate(layers):
        ids = rng.permutation(layer.size)[: len(WHENS) * 9].reshape(len(WHENS), 9)
        for number, (when, hit) in enumerate(zip(WHENS, ids, strict=True)):
            edits.append(Silence(layer.name, np.sort(hit[:2]), when))
            edits.append(Force(layer.name, np.sort(hit[1:3]), (65536, 0, 20000)[number % 3], when))
            for place, (field, value) in enumerate((("vth", 5), ("du", 100), ("dv", 900), ("bias_mantissa", 3000))):
                edits.append(SetField(layer.name, field, hit[3 + place : 4 + place], np.array([value], np.int32), when))
            at, clock = (when.start, when.clock) if when.clock == "chip" else (number + 1, when.clock)
            edits.append(Upset(layer.name, "v", np.sort(hit[7:9]), np.array([1 << 13, 1 << 23 | 5], np.int32), at, clock))
            edits.append(Upset(layer.name, "u", np.sort(hit[6:8]), np.array([1 << 12, 1 << 23], np.int32), at, clock))
            if index:
                pairs = rng.choice(layer.size * layers[index - 1].size, 20, replace=False)
                targets, sources = np.divmod(pairs, layers[index - 1].size)
                edits.append(SetSynapses(layer.name, sources, targets, random_weights(rng, (20,)), when))
                if delayed:
                    edits.append(SetDelays(layer.name, sources[10:], targets[10:], rng.integers(0, 6, 10), when))
                some = np.sort(rng.choice(layers[index - 1].size, 6, replace=False))
                edits.append(
                    Drop(layer.name, 2 * index, some, np.arange(layer.size // 2), (1.0, 0.5)[number % 2], 77 + number, when)
                )
    for number, when in enumerate(WHENS):
        some = np.sort(rng.choice(layers[0].size, 4, replace=False))
        edits.append(InputNoise("input", some, 900.0, 5 + number, ("sample", "step")[number % 2], when))
    return chip(layers, 8, edits)


def faults_in_time() -> Case:
    """Every kind of edit, permanent, late, for a while, periodic, on both clocks; dense layers, with delays and without."""
    rng = np.random.default_rng(12)
    layers = [
        population("input", (80,), vth=120, v_init=900),
        population("hidden", (70,), dense(rng, 70, 80, delays=3), exponent=-1, du=1500, dv=60, bias=150),
        population("output", (60,), dense(rng, 60, 70), exponent=-2, du=3000, vth=300, bias=90),
    ]
    return _in_time(rng, layers, delayed=True), _drive(rng, 4, 80).counted_from(3)


def faults_in_time_of_convolutions() -> Case:
    """The same on a convolution, with given events; no changed delays, which a kernel does not have."""
    rng = np.random.default_rng(13)
    synapses = conv(rng, (2, 6, 6), 4, (3, 3), padding=(1, 1), stride=(1, 2))
    layers = [
        population("input", (2, 6, 6)),
        population("hidden", synapses.out_shape, synapses, exponent=-1, bias=400),
        population("output", (60,), dense(rng, 60, synapses.n_out), exponent=-1, vth=131072, fires=False),
    ]
    return _in_time(rng, layers, delayed=False), Inputs(events=rng.random((4, 8, 72)) < 0.2, first_sample=3)


CASES: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        neuron_grid,
        weight_exponents,
        edge_of_u,
        saturation,
        stored_mixed,
        stored_excitatory,
        stored_inhibitory,
        delays,
        convolutions,
        damaged_convolutions,
        damaged,
        given_events,
        faults_in_time,
        faults_in_time_of_convolutions,
    )
}
