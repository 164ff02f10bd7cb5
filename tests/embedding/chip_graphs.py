"""Graphs around a deployment's Lava process."""

from __future__ import annotations

from typing import Any

import numpy as np
from chips import chip, connection, conv, delayed, dense, graph_chip, neurons, population, random_weights, sparse

from neurofault.damage.damage import Drop, Edit, Force, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.inputs import Inputs

SAMPLES, STEPS = 3, 9

WHENS = (ALWAYS, When(start=3), When(start=1, stop=5), When(start=1, period=3, on=2), When(start=9, stop=21, clock="chip"))


def broken_chip() -> tuple[Deployment, Inputs]:
    """Dense with delays, a convolution, a dense output; every kind of edit in every window, on both clocks."""
    rng = np.random.default_rng(21)
    kernel = conv(rng, (2, 5, 4), 3, (3, 2), padding=(1, 1), stride=(2, 1))
    layers = [
        population("input", (20,)),
        population("image", (2, 5, 4), dense(rng, 40, 20, delays=3), exponent=-1, du=1500, dv=60, bias=250, v_init=40),
        population("conv", kernel.out_shape, kernel, exponent=-1, bias=900, du=3500),
        population("out", (30,), dense(rng, 30, kernel.n_out), exponent=-1, du=3000, dv=9, vth=200, bias=90, v_init=-7),
    ]
    edits: list[Edit] = []
    for number, when in enumerate(WHENS):
        for index, layer in enumerate(layers):
            hit = rng.permutation(layer.size)[:12]
            edits.append(Silence(layer.name, np.sort(hit[:1]), when))
            edits.append(Force(layer.name, np.sort(hit[1:3]), (65536, 0, 20000)[number % 3], when))
            if not index:
                continue
            for place, (field, value) in enumerate((("vth", 5), ("du", 100), ("dv", 900), ("bias_mantissa", 3000))):
                edits.append(SetField(layer.name, field, hit[3 + place : 4 + place], np.array([value], np.int32), when))
            at = 1 + number if when.clock == "presentation" else 12
            edits.append(Upset(layer.name, "v", np.sort(hit[7:9]), np.array([1 << 13, 1 << 23 | 5], np.int32), at, when.clock))
            edits.append(Upset(layer.name, "u", np.sort(hit[8:10]), np.array([1 << 12, 1 << 23], np.int32), at, when.clock))
            before = layers[index - 1].size
            targets, sources = np.divmod(rng.choice(layer.size * before, 20, replace=False), before)
            edits.append(SetSynapses(layer.name, sources, targets, random_weights(rng, (20,)), when))
            if layer.name != "conv":
                edits.append(SetDelays(layer.name, sources[10:], targets[10:], rng.integers(0, 6, 10), when))
            some = np.sort(rng.choice(before, 6, replace=False))
            edits.append(Drop(layer.name, 2 * index, some, np.arange(layer.size // 2), (1.0, 0.5)[number % 2], 77 + number, when))
    return chip(layers, STEPS, edits), Inputs(events=rng.random((SAMPLES, STEPS, 20)) < 0.3)


def broken_graph() -> tuple[Deployment, Inputs]:
    """A loop, a self-loop, a late skip, single synapses with delays and a convolution of delays; edits in every window, on both clocks."""
    rng = np.random.default_rng(22)
    kernel = delayed(rng, conv(rng, (2, 5, 2), 3, (3, 2), padding=(1, 1)), 2)
    populations = [
        neurons("input", (2, 5, 2), is_source=True),
        neurons("conv", kernel.out_shape, bias=400, du=3500, vth=150),
        neurons("memory", (12,), vth=200, bias=300, dv=100, v_init=-50),
        neurons("out", (30,), vth=200, bias=90, du=3000),
    ]
    connections = [
        connection("conv", "input", "conv", kernel, exponent=-1),
        connection("into", "conv", "memory", sparse(rng, 12, kernel.n_out, delays=3), exponent=-2),
        connection("own", "memory", "memory", dense(rng, 12, 12), exponent=-1, delay=2),
        connection("back", "memory", "conv", sparse(rng, kernel.n_out, 12), exponent=-1),
        connection("out", "memory", "out", dense(rng, 30, 12), exponent=-1),
        connection("skip", "input", "out", dense(rng, 30, 20), exponent=-2, delay=3),
    ]
    edits: list[Edit] = []
    for number, when in enumerate(WHENS):
        for own in populations:
            hit = rng.permutation(own.size)[:4]
            edits += [Silence(own.name, hit[:1], when), Force(own.name, np.sort(hit[1:3]), (65536, 0, 20000)[number % 3], when)]
        for one in connections:
            n_in, n_out = one.synapses.n_in, one.synapses.n_out
            targets, sources = np.divmod(rng.choice(n_in * n_out, 12, replace=False), n_in)
            edits.append(SetSynapses(one.name, sources, targets, random_weights(rng, (12,)), when))
            edits.append(SetDelays(one.name, sources[6:], targets[6:], rng.integers(0, 4, 6), when))
            some = np.sort(rng.choice(n_in, 4, replace=False))
            edits.append(Drop(one.name, 3, some, np.arange(n_out // 2), (1.0, 0.5)[number % 2], 7 + number, when))
    return graph_chip(populations, connections, STEPS, edits), Inputs(events=rng.random((SAMPLES, STEPS, 20)) < 0.3)


def embed_broken_chip() -> tuple[np.ndarray, np.ndarray]:
    """See :func:`_embed`."""
    return _embed(*broken_chip())


def embed_broken_graph() -> tuple[np.ndarray, np.ndarray]:
    """See :func:`_embed`."""
    return _embed(*broken_graph())


def _embed(deployment: Deployment, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Source → Dense that passes spikes on → LIF that repeats them → the chip → sink: spikes [steps, n], and v at the end."""
    import neurofault.lava as nl

    nl.require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF

    events = inputs.events
    assert events is not None
    depth = deployment.schedule.phase["out"]
    spikes = np.concatenate([events.reshape(-1, events.shape[2]), np.zeros((depth + 1, events.shape[2]))])
    source = Source(data=spikes.T.astype(np.int32))
    wires = Dense(weights=2 * np.eye(20, dtype=int))
    repeat = LIF(shape=(20,), du=4095, dv=4095, vth=1)
    part = nl.process(deployment, first_step=2, name="chip")
    sink: Any = Sink(shape=(30,), buffer=len(spikes))
    source.s_out.connect(wires.s_in)
    wires.a_out.connect(repeat.a_in)
    repeat.s_out.connect(part.s_in)
    part.s_out.connect(sink.a_in)
    part.run(condition=RunSteps(num_steps=SAMPLES * STEPS + depth + 1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    left, v = sink.data.get(), part.v.get()
    part.stop()
    return left.T[depth + 1 :].astype(bool), v
