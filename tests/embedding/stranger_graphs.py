"""Lava graphs as other people build them by hand: nothing of neurofault's but the import shim and the names under test."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from neurofault.engines.on_lava.shim import require_lava

require_lava()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402

import neurofault.lava as nl  # noqa: E402
from neurofault.errors import NeurofaultError  # noqa: E402

STEPS = 24


def fixed_pt() -> Any:
    return Loihi2SimCfg(select_tag="fixed_pt")


def stranger() -> list[Any]:
    """LIF – Dense – LIF – Conv – LIF: a driven population, an image of 5 × 4 pixels and 3 channels, a convolution of it."""
    rng = np.random.default_rng(5)
    source = LIF(shape=(12,), du=4095, dv=100, vth=300, bias_mant=rng.integers(1500, 9000, 12), name="source")
    dense = Dense(weights=rng.integers(-120, 200, (60, 12)), weight_exp=1, num_weight_bits=7)
    image = LIF(shape=(5, 4, 3), du=2000, dv=64, vth=800, bias_mant=70, bias_exp=3, name="image")
    conv = Conv(
        weight=rng.integers(-100, 128, (2, 3, 2, 3)), input_shape=(5, 4, 3), padding=(1, 0), stride=(2, 1), weight_exp=3
    )  # Lava's Conv ignores weight_exp
    out = LIF(shape=conv.output_shape, du=3000, dv=10, vth=400, bias_mant=30, name="out")
    source.s_out.connect(dense.s_in)
    dense.a_out.reshape((5, 4, 3)).connect(image.a_in)
    image.s_out.connect(conv.s_in)
    conv.a_out.connect(out.a_in)
    return [source, dense, image, conv, out]


def break_run_restore(faults: Any, seed: int) -> tuple[Any, ...]:
    """The same processes, run healthy, broken and restored."""
    processes = stranger()
    first = nl.record(processes, STEPS, fixed_pt())
    handle = nl.inject(processes, faults, timesteps=STEPS, seed=seed, neurons_per_core=8)
    middle = nl.record(processes, STEPS, handle.run_config(fixed_pt()))
    handle.restore()
    last = nl.record(processes, STEPS, handle.run_config(fixed_pt()))
    return first, middle, last


BETWEEN = [
    {"kind": "synapse_dead", "count": 150, "layer": "image"},
    {"kind": "neuron_bias", "neurons": [3, 17, 40], "layer": "image", "factor": 3.0},
    {"kind": "synapse_stuck", "count": 6, "layer": "out", "value": 200},
]


def break_between_runs() -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """One Lava run in three parts: healthy, broken through Vars, restored: spikes [3 · STEPS, n] in Lava's order, and Vars."""
    processes = stranger()
    source, dense, image, conv, out = processes
    monitors = {}
    for neurons in (source, image, out):
        monitors[neurons.name] = Monitor()
        monitors[neurons.name].probe(neurons.s_out, 3 * STEPS)
    out.run(condition=RunSteps(num_steps=STEPS), run_cfg=fixed_pt())
    before = [dense.weights.get(), conv.weight.get(), image.bias_mant.get()]
    handle = nl.inject(processes, BETWEEN, timesteps=3 * STEPS, seed=4, steps_run=STEPS)
    out.run(condition=RunSteps(num_steps=STEPS))
    during = [dense.weights.get(), conv.weight.get(), image.bias_mant.get()]
    handle.restore()
    after = [dense.weights.get(), conv.weight.get(), image.bias_mant.get()]
    out.run(condition=RunSteps(num_steps=STEPS))
    spikes = {}
    for name, monitor in monitors.items():
        ((data,),) = (each.values() for each in monitor.get_data().values())
        spikes[name] = data.reshape(3 * STEPS, -1) != 0
    out.stop()
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    other = [not np.array_equal(a, b) for a, b in zip(before, during, strict=True)]
    return spikes, [np.array(same), np.array(other), np.array([edit.when.start for edit in handle.deployment.damage.edits])]


def with_sparse() -> list[Any]:
    """Recorded spikes – Dense of graded messages – LIF – Sparse – LIF, without names of its own."""
    rng = np.random.default_rng(6)
    source = Source(data=(rng.random((10, 7)) < 0.4).astype(int))
    dense = Dense(weights=rng.integers(0, 90, (8, 10)), num_message_bits=8)
    hidden = LIF(shape=(8,), du=3000, dv=0, vth=150)
    sparse = Sparse(
        weights=scipy.sparse.random(9, 8, 0.5, "csr", rng=1, data_rvs=lambda k: rng.integers(1, 200, k)), sign_mode=SignMode.MIXED
    )
    out = LIF(shape=(9,), du=4095, dv=30, vth=300)
    source.s_out.connect(dense.s_in)
    dense.a_out.connect(hidden.a_in)
    hidden.s_out.connect(sparse.s_in)
    sparse.a_out.connect(out.a_in)
    return [out, sparse, hidden, dense, source]


def refused_between_runs() -> list[str]:
    """What running graphs say to faults that they cannot take on; then each does one more step, to show that it still goes."""
    processes = [*stranger()]
    processes[1].name, processes[3].name = "dense", "conv"
    out = processes[-1]
    out.run(condition=RunSteps(num_steps=3), run_cfg=fixed_pt())
    sparse = with_sparse()
    sparse[1].name = "wires"
    sparse[0].run(condition=RunSteps(num_steps=3), run_cfg=fixed_pt())
    single = {"kind": "synapse_stuck", "synapses": [[0, 0]], "layer": "out", "value": 254}
    asked: list[tuple[list[Any], dict[str, Any], dict[str, Any]]] = [
        (processes, {"kind": "neuron_dead", "count": 1}, {}),
        (processes, {"kind": "neuron_dead", "count": 1, "layer": "image"}, {"steps_run": 3}),
        (processes, {"kind": "neuron_threshold", "count": 1, "layer": "image", "factor": 2.0}, {"steps_run": 3}),
        (processes, {"kind": "neuron_leak", "count": 1, "layer": "image", "factor": 2.0}, {"steps_run": 3}),
        (sparse, {"kind": "synapse_dead", "count": 1, "layer": "output"}, {"steps_run": 3}),
        (processes, {"kind": "synapse_dead", "count": 1, "layer": "image", "when": {"kind": "death", "at": 4}}, {"steps_run": 3}),
        (processes, single, {"steps_run": 3, "neurons_per_core": 5}),
    ]
    messages = []
    for members, fault, more in asked:
        try:
            nl.inject(members, fault, timesteps=9, **more)
            messages.append("taken")
        except NeurofaultError as error:
            messages.append(str(error))
    try:
        nl.record(processes, 5)
    except NeurofaultError as error:
        messages.append(str(error))
    broken = with_sparse()
    handle = nl.inject(broken, {"kind": "neuron_dead", "count": 1}, timesteps=9)
    broken[0].run(condition=RunSteps(num_steps=3), run_cfg=handle.run_config(fixed_pt()))
    try:
        handle.restore()
    except NeurofaultError as error:
        messages.append(str(error))
    for last in (out, sparse[0], broken[0]):
        last.run(condition=RunSteps(num_steps=1))
        last.stop()
    return messages


def joined(out: Any, wires: Any, into: Any) -> Any:
    """Join two populations by a connection, which is returned; flat where shapes differ."""
    (out.s_out if out.s_out.shape == wires.s_in.shape else out.s_out.reshape(wires.s_in.shape)).connect(wires.s_in)
    (wires.a_out if wires.a_out.shape == into.a_in.shape else wires.a_out.reshape(into.a_in.shape)).connect(into.a_in)
    return wires


def looped(seed: int) -> list[Any]:
    """Two inputs, a branch that meets again after unequal ways, a population that drives itself with delays, feedback over two, an island."""
    rng = np.random.default_rng(seed)

    def weights(n_out: int, n_in: int) -> np.ndarray:
        return rng.integers(-90, 140, (n_out, n_in))

    def cells(shape: Any, name: str, **more: Any) -> Any:
        du, dv = (int(one) for one in rng.integers(200, 4096, 2))
        return LIF(shape=shape, du=du, dv=dv // 8, vth=int(rng.integers(150, 400)), name=name, **more)

    eyes = Source(data=(rng.random((8, 9)) < 0.4).astype(int))
    eyes.name = "eyes"
    ears = cells((6,), "ears", bias_mant=rng.integers(1500, 9000, 6))
    left = cells((2, 2, 3), "left", bias_mant=rng.integers(0, 400, (2, 2, 3)), v=rng.integers(-900, 900, (2, 2, 3)))
    right, meet, own, out = cells((5,), "right"), cells((7,), "meet"), cells((4,), "own", bias_mant=5000), cells((3,), "out")
    image = Conv(weight=rng.integers(-60, 100, (2, 2, 1, 3)), input_shape=(2, 2, 3), name="image")
    turn = scipy.sparse.csr_matrix(weights(5, 8) * (rng.random((5, 8)) < 0.6))
    populations = [eyes, ears, left, right, meet, own, out]
    connections = [
        joined(eyes, Dense(weights=weights(12, 8)), left),
        joined(ears, Dense(weights=weights(12, 6), weight_exp=1), left),
        joined(eyes, Sparse(weights=turn, sign_mode=SignMode.MIXED), right),
        joined(left, Dense(weights=weights(5, 12)), right),
        joined(right, DelayDense(weights=weights(5, 5), delays=rng.integers(0, 4, (5, 5)), name="again"), right),
        joined(left, image, cells(image.output_shape, "seen")),
        joined(right, Dense(weights=weights(7, 5), num_weight_bits=5), meet),
        joined(ears, Dense(weights=weights(7, 6)), meet),
        joined(meet, Dense(weights=weights(12, 7) - 60, weight_exp=-1), left),
        joined(own, Dense(weights=weights(4, 4)), own),
        joined(own, Dense(weights=weights(3, 4)), out),
        joined(meet, Dense(weights=weights(3, 7)), out),
    ]
    seen = connections[5].a_out.get_dst_ports()[0].process
    connections.append(joined(seen, Dense(weights=weights(3, int(np.prod(seen.s_out.shape)))), out))
    return [*populations, seen, *connections]


def looped_runs(seeds: list[int], steps: int) -> list[Any]:
    """What every neuron of such graphs does in Lava, healthy."""
    return [nl.record(looped(seed), steps, fixed_pt()) for seed in seeds]


def looped_broken(faults: Any, steps: int) -> Any:
    """The same, broken in place, of one graph."""
    processes = looped(1)
    handle = nl.inject(processes, faults, timesteps=steps, seed=2, neurons_per_core=4)
    return nl.record(processes, steps, handle.run_config(fixed_pt()))


def imaged() -> list[Any]:
    """Recorded spikes of an image – Conv (groups, dilation, padding) – LIF – DelayDense – LIF – Conv of one sign, flat neurons – LIF."""
    rng = np.random.default_rng(8)
    source = Source(data=(rng.random((5, 4, 4, 9)) < 0.4).astype(int))
    conv = Conv(
        weight=8 * rng.integers(-60, 70, (6, 2, 3, 2)),
        input_shape=(5, 4, 4),
        padding=(1, 2),
        dilation=(2, 1),
        groups=2,
        num_weight_bits=3,
    )
    maps = LIF(shape=conv.output_shape, du=3500, dv=20, vth=2000)
    size = int(np.prod(conv.output_shape))
    delayed = DelayDense(
        weights=rng.integers(-90, 0, (12, size)) * (rng.random((12, size)) < 0.04),
        delays=rng.integers(0, 4, (12, size)),
        num_weight_bits=5,
        weight_exp=-1,
    )
    flat = LIF(shape=(12,), du=4095, dv=0, vth=500, bias_mant=4000, v=-300)
    odd = Conv(weight=rng.integers(0, 256, (3, 2, 1, 2)), input_shape=(3, 2, 2), num_message_bits=4)
    out = LIF(shape=odd.output_shape, du=2000, dv=0, vth=700)
    source.s_out.connect(conv.s_in)
    conv.a_out.connect(maps.a_in)
    maps.s_out.flatten().connect(delayed.s_in)
    delayed.a_out.connect(flat.a_in)
    flat.s_out.reshape((3, 2, 2)).connect(odd.s_in)
    odd.a_out.connect(out.a_in)
    return [source, conv, maps, delayed, flat, odd, out]
