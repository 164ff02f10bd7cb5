"""Small lively chips with spare cores, and plain counts and memories that a remap is compared with."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st

import neurofault as nf
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Source, Sparse, chain
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs

STEPS = 6
bundled = cache(nf.load_profile)


def profile(*, columns=4, rows=3, cores_per_tile=2, shared=True, word_bits=64, **core):
    """Loihi's profile on a small mesh; ``core``: other limits of a core."""
    loihi = bundled("loihi1")
    cores = columns * rows * cores_per_tile
    geometry = {"tile_columns": columns, "tile_rows": rows, "cores_per_tile": cores_per_tile, "cores": cores, "usable_cores": cores}

    def changed(record, values):
        return record.model_copy(
            update={name: getattr(record, name).model_copy(update={"value": value}) for name, value in values.items()}
        )

    return loihi.model_copy(
        update={
            "chip": changed(loihi.chip, geometry),
            "core": changed(loihi.core, core),
            "synapse": changed(loihi.synapse, {"shared_kernels": shared, "word_bits": word_bits}),
        }
    )


def network(sizes, seed=0, conv=None):
    """Random integers that fire often; with ``conv`` the first hidden layer is that convolution."""
    rng = np.random.default_rng(seed)
    populations, driven = [Population("input", (sizes[0],) if conv is None else conv.in_shape, Source(threshold=20))], []
    before = sizes[0]
    names = [*(f"hidden{index}" for index in range(1, len(sizes) - 1)), "output"]
    for name, size in zip(names, sizes[1:], strict=True):
        if conv is not None and name == "hidden1":
            synapses, shape, size = conv, conv.out_shape, conv.n_out
        else:
            synapses, shape = Dense(even(rng, (size, before))), (size,)
        populations.append(Population(name, shape, lively(rng, size)))
        driven.append(synapses)
        before = size
    return chain("random", populations, driven, timesteps=STEPS, how="count", stored=[Stored()] * len(driven))


def lively(rng, size):
    """Neurons that fire often, some of them leaky."""
    return CubaLif(
        rng.integers(20, 120, size),
        rng.integers(0, 2000, size),
        rng.choice([1500, 4095], size),
        rng.choice([0, 300], size),
        bias_exponent=0,
    )


SIZES = {"input": 7, "other": 5, "hidden1": 8, "hidden2": 6, "output": 4}
LOOPS = (
    ("hidden1", "input", "hidden1", 1),
    ("hidden1.rec", "hidden1", "hidden1", 1),
    ("hidden2", "hidden1", "hidden2", 2),
    ("back", "hidden2", "hidden1", 1),
    ("output", "hidden2", "output", 1),
    ("skip", "input", "output", 1),
)
"""Two hidden populations, one of them recurrent and driven back, and a skip: name, source, target, delay."""


def graph(seed=0, ways=LOOPS, some=True):
    """Random dense connections between lively populations; with ``some`` also a sparse way to the output that takes three steps."""
    rng = np.random.default_rng(seed)
    used = {end for _, source, target, _ in ways for end in (source, target)}
    populations = [
        Population(name, (size,), Source(threshold=20) if name in ("input", "other") else lively(rng, size))
        for name, size in SIZES.items()
        if name in used
    ]
    connections = [
        Connection(name, source, target, Dense(even(rng, (SIZES[target], SIZES[source]))), delay, Stored())
        for name, source, target, delay in ways
    ]
    if some:
        joined = rng.random((4, 8)) < 0.4
        targets, sources = np.nonzero(joined)
        starts = np.concatenate([[0], np.cumsum(joined.sum(axis=1))]).astype(np.int64)
        listed = Sparse(8, starts, sources.astype(np.int64), even(rng, len(targets)))
        connections.append(Connection("some", "hidden1", "output", listed, 3, Stored()))
    return Network("random", tuple(populations), tuple(connections), STEPS, Readout("output", "count"))


def even(rng, shape):
    return (rng.integers(-100, 128, shape) * 2).astype(np.int32)


def mlp(*sizes, seed=0, spare_cores=4, neurons_per_core=3, chip=None, **options):
    return nf.deploy(network(sizes, seed), chip or profile(), neurons_per_core=neurons_per_core, spare_cores=spare_cores, **options)


def looped(*, seed=0, spare_cores=4, neurons_per_core=3, **options):
    return nf.deploy(graph(seed), profile(), neurons_per_core=neurons_per_core, spare_cores=spare_cores, **options)


def cnn(*, shared=True, seed=0, spare_cores=4, neurons_per_core=9, **options):
    conv = Conv(even(np.random.default_rng(seed), (3, 2, 3, 2)), (2, 4, 4), (1, 1), (1, 0))
    net = network((32, conv.n_out, 5), seed, conv)
    return nf.deploy(net, profile(shared=shared), neurons_per_core=neurons_per_core, spare_cores=spare_cores, **options)


def events(chip, samples=4, seed=1):
    rng = np.random.default_rng(seed)
    return Inputs(events=rng.random((samples, chip.timesteps, chip.population("input").size)) < 0.4)


def seen(chip, samples=4, seed=1):
    """Everything that a run gives: scores, and u, v and spikes of every neuron in every step."""
    activity = nf.run(chip, events(chip, samples, seed), record=("u", "v", "spikes")).activity
    traces = [
        getattr(trace, name).astype(np.int64).reshape(-1) for trace in activity.traces.values() for name in ("u", "v", "spikes")
    ]
    return np.concatenate([activity.scores.reshape(-1), *traces])


def same(one, other, **keys):
    return np.array_equal(seen(one, **keys), seen(other, **keys))


def pairs(chip, connection):
    """Every synapse of a connection as (source, target), by plain loops."""
    synapses = chip.connection(connection).synapses
    if isinstance(synapses, Dense):
        return [(source, target) for target in range(synapses.n_out) for source in range(synapses.n_in)]
    if isinstance(synapses, Sparse):
        return list(zip(synapses.sources.tolist(), synapses.targets.tolist(), strict=True))
    c_out, c_in, k_h, k_w = synapses.weight.shape
    _, height, width = synapses.in_shape
    _, out_h, out_w = synapses.out_shape
    found = []
    for out, y, x, channel, i, j in np.ndindex(c_out, out_h, out_w, c_in, k_h, k_w):
        row, column = y + i - synapses.padding[0], x + j - synapses.padding[1]
        if 0 <= row < height and 0 <= column < width:
            found.append(((channel * height + row) * width + column, (out * out_h + y) * out_w + x))
    return found


@st.composite
def chips(draw):
    """A chip with spare cores, dense, convolutional or with loops, placed in any way."""
    seed, spare = draw(st.integers(0, 99)), draw(st.integers(1, 5))
    strategy = draw(st.sampled_from(["pack", "spread", "random"]))
    kind = draw(st.sampled_from(["dense", "conv", "loops"]))
    if kind == "loops":
        return looped(seed=seed, spare_cores=spare, strategy=strategy, neurons_per_core=draw(st.integers(2, 4)))
    if kind == "conv":
        return cnn(shared=draw(st.booleans()), seed=seed, spare_cores=spare, strategy=strategy)
    return mlp(7, 8, 6, 4, seed=seed, spare_cores=spare, strategy=strategy, neurons_per_core=draw(st.integers(2, 4)))
