"""Small lively chips with spare cores, and plain counts and memories that a remap is compared with."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st

import neurofault as nf
from neurofault.graph import Conv, Dense, Network, Population
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
    layers, before = [Layer("input", (sizes[0],) if conv is None else conv.in_shape, None, 20.0, stored=Stored())], sizes[0]
    names = [*(f"hidden{index}" for index in range(1, len(sizes) - 1)), "output"]
    for name, size in zip(names, sizes[1:], strict=True):
        if conv is not None and name == "hidden1":
            synapses, shape, size = conv, conv.out_shape, conv.n_out
        else:
            synapses, shape = Dense(even(rng, (size, before))), (size,)
        layers.append(
            Layer(
                name,
                shape,
                synapses,
                rng.integers(20, 120, size),
                rng.integers(0, 2000, size),
                rng.choice([1500, 4095], size),
                rng.choice([0, 300], size),
                stored=Stored(),
            )
        )
        before = size
    return Network("random", tuple(layers), STEPS, None, "count")


def even(rng, shape):
    return (rng.integers(-100, 128, shape) * 2).astype(np.int32)


def mlp(*sizes, seed=0, spare_cores=4, neurons_per_core=3, chip=None, **options):
    return nf.deploy(network(sizes, seed), chip or profile(), neurons_per_core=neurons_per_core, spare_cores=spare_cores, **options)


def cnn(*, shared=True, seed=0, spare_cores=4, neurons_per_core=9, **options):
    conv = Conv(even(np.random.default_rng(seed), (3, 2, 3, 2)), (2, 4, 4), (1, 1), (1, 0))
    net = network((32, conv.n_out, 5), seed, conv)
    return nf.deploy(net, profile(shared=shared), neurons_per_core=neurons_per_core, spare_cores=spare_cores, **options)


def events(chip, samples=4, seed=1):
    rng = np.random.default_rng(seed)
    return Inputs(events=rng.random((samples, chip.timesteps, chip.layers[0].size)) < 0.4)


def seen(chip, samples=4, seed=1):
    """Everything that a run gives: scores, and u, v and spikes of every neuron in every step."""
    activity = nf.run(chip, events(chip, samples, seed), record=("u", "v", "spikes")).activity
    traces = [
        getattr(trace, name).astype(np.int64).reshape(-1) for trace in activity.traces.values() for name in ("u", "v", "spikes")
    ]
    return np.concatenate([activity.scores.reshape(-1), *traces])


def same(one, other, **keys):
    return np.array_equal(seen(one, **keys), seen(other, **keys))


def pairs(chip, layer):
    """Every synapse into a layer as (source, target), by plain loops."""
    synapses = chip.layers[layer].synapses
    if isinstance(synapses, Dense):
        return [(source, target) for target in range(synapses.n_out) for source in range(synapses.n_in)]
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
    """A chip with spare cores, dense or convolutional, placed in any way."""
    seed, spare = draw(st.integers(0, 99)), draw(st.integers(1, 5))
    strategy = draw(st.sampled_from(["pack", "spread", "random"]))
    if draw(st.booleans()):
        return cnn(shared=draw(st.booleans()), seed=seed, spare_cores=spare, strategy=strategy)
    return mlp(7, 8, 6, 4, seed=seed, spare_cores=spare, strategy=strategy, neurons_per_core=draw(st.integers(2, 4)))
