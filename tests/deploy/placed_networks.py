"""Small placed networks and profiles with chosen limits, and the plain expansion that the counts are compared with."""

from __future__ import annotations

from functools import cache

import numpy as np
from chips import Driven, chain_parts, connection, neurons, population, sparse
from hypothesis import strategies as st

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.placement import place
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.quantity import Quantity
from neurofault.graph import Conv, Dense, Readout, Sparse

bundled = cache(load_profile)


def profile_with(base="loihi1", **changes) -> HardwareProfile:
    """A bundled profile with other values, e.g. ``core__neurons=16`` or ``dead_cores=(3,)``."""

    def changed(record, path, value):
        head, *rest = path
        if isinstance(record, Quantity):
            return record.model_copy(update={"value": value} if head == "value" else {head: value})
        if isinstance(record, dict):
            return {**record, head: changed(record[head], rest, value)}
        part = getattr(record, head)
        new = value if not rest and not isinstance(part, Quantity) else changed(part, rest or ["value"], value)
        return record.model_copy(update={head: new})

    profile = bundled(base)
    for name, value in changes.items():
        profile = changed(profile, name.split("__"), value)
    return profile


def small_chip(columns, rows, cores_per_tile, **changes) -> HardwareProfile:
    """Loihi's profile on a mesh of another size, without limits but for the given ones."""
    cores = columns * rows * cores_per_tile
    unlimited = {f"core__{name}": None for name in ("neurons", "synapse_bits", "in_axons", "out_axons")}
    geometry = {"tile_columns": columns, "tile_rows": rows, "cores_per_tile": cores_per_tile, "cores": cores, "usable_cores": cores}
    return profile_with(**unlimited | {f"chip__{name}": value for name, value in geometry.items()} | changes)


def layer(name, shape, synapses=None, *, bits=8) -> Driven:
    return population(name, tuple(shape), synapses, bits=bits, du=0, vth=0)


def dense(n_out, n_in, delay=None) -> Dense:
    return Dense(np.zeros((n_out, n_in), np.int32), delay)


def mlp(*sizes, bits=8) -> list[Driven]:
    """A dense chain called input, hidden1, …, output."""
    names = ["input", *(f"hidden{index}" for index in range(1, len(sizes) - 1)), "output"]
    layers = [layer("input", (sizes[0],))]
    for name, before, size in zip(names[1:], sizes, sizes[1:], strict=False):
        layers.append(layer(name, (size,), dense(size, before), bits=bits))
    return layers


def place_chain(layers, profile, **options) -> Placement:
    """Where the populations of a chain sit."""
    return place(*chain_parts(layers), profile, **options)


def deployment(layers, profile, core_of=None, *, timesteps=4, chips=1, placement=None, damage=None) -> Deployment:
    """A chain on given cores: those of each layer's neurons."""
    return graph_deployment(
        *chain_parts(layers), profile, core_of, timesteps=timesteps, chips=chips, placement=placement, damage=damage
    )


def graph_deployment(
    populations, connections, profile, core_of=None, *, readout=None, timesteps=4, chips=1, placement=None, damage=None
) -> Deployment:
    """A graph on given cores: those of each population's neurons; it is read at the last one."""
    if placement is None:
        cores = {one.name: np.asarray(own, np.int32) for one, own in zip(populations, core_of, strict=True)}
        placement = Placement(chips, profile.chip.cores.known, cores)
    read = Readout(populations[-1].name if readout is None else readout, "potential")
    placed = Deployment("small", profile, tuple(populations), tuple(connections), placement, timesteps, read)
    return placed if damage is None else placed.with_damage(damage)


def activity(layers, counts) -> Activity:
    """A run with the given spikes of each neuron of each layer."""
    spikes = {part.name: np.asarray(values, np.int64) for part, values in zip(layers, counts, strict=True)}
    return Activity(np.zeros((1, layers[-1].size), np.int64), spikes, np.zeros(1, np.int64))


def expand(synapses) -> list[tuple[int, int, tuple[int, ...]]]:
    """Every synapse as (source, target, index of its weight), by plain loops."""
    if isinstance(synapses, Dense):
        return [(source, target, (target, source)) for target in range(synapses.n_out) for source in range(synapses.n_in)]
    if isinstance(synapses, Sparse):
        return [
            (int(synapses.sources[word]), target, (word,))
            for target in range(synapses.n_out)
            for word in range(int(synapses.starts[target]), int(synapses.starts[target + 1]))
        ]
    channels, height, width = synapses.in_shape
    out_channels, out_height, out_width = synapses.out_shape
    _, per_group, k_height, k_width = synapses.weight.shape
    found = []
    for co in range(out_channels):
        for oy in range(out_height):
            for ox in range(out_width):
                for k in range(per_group):
                    for ky in range(k_height):
                        for kx in range(k_width):
                            y = oy * synapses.stride[0] - synapses.padding[0] + ky * synapses.dilation[0]
                            x = ox * synapses.stride[1] - synapses.padding[1] + kx * synapses.dilation[1]
                            ci = co // (out_channels // synapses.groups) * per_group + k
                            if 0 <= y < height and 0 <= x < width:
                                source = (ci * height + y) * width + x
                                found.append((source, (co * out_height + oy) * out_width + ox, (co, k, ky, kx)))
    assert channels == per_group * synapses.groups
    return found


@st.composite
def convolutions(draw) -> Conv:
    """Small convolutions of any geometry."""
    groups = draw(st.integers(1, 2))
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    axes = []
    for _ in range(2):
        kernel, stride, padding, dilation = (draw(st.integers(low, 3)) for low in (1, 1, 0, 1))
        least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
        axes.append((kernel, stride, padding, dilation, draw(st.integers(least, least + 4))))
    kernel, stride, padding, dilation, size = zip(*axes, strict=True)
    return Conv(np.zeros((c_out, c_in // groups, *kernel), np.int32), (c_in, *size), stride, padding, dilation, groups)


def random_graph(rng):
    """Populations and connections of a small graph: several inputs, branches, skips, loops, delays, and synapses of every kind."""
    populations = [neurons(f"in{place}", _shape(rng), is_source=True) for place in range(int(rng.integers(1, 3)))]
    hidden = [neurons(f"h{place}", _shape(rng), vth=int(rng.integers(1, 400))) for place in range(int(rng.integers(1, 5)))]
    everyone, connections = populations + hidden, []
    for target in hidden:
        for source in rng.permutation(len(everyone))[: int(rng.integers(1, 4))]:
            kind = ("dense", "sparse", "conv")[int(rng.integers(3))]
            synapses = _between(rng, everyone[source], target, kind)
            name = f"{everyone[source].name}>{target.name}"
            delay = int(rng.integers(1, 4))
            connections.append(
                connection(name, everyone[source].name, target.name, synapses, delay=delay, exponent=int(rng.integers(-2, 3)))
            )
    return everyone, connections


def _shape(rng):
    return (int(rng.integers(1, 9)),) if rng.random() < 0.5 else (int(rng.integers(1, 3)), 3, 4)


def _between(rng, source, target, kind):
    if kind == "conv" and len(source.shape) == len(target.shape) == 3:
        weight = rng.integers(-128, 128, (target.shape[0], source.shape[0], 3, 3)) * 2
        return Conv(weight.astype(np.int32), source.shape, padding=(1, 1))
    if kind == "sparse":
        return sparse(rng, target.size, source.size, delays=int(rng.integers(0, 3)))
    weight = (rng.integers(-128, 128, (target.size, source.size)) * 2).astype(np.int32)
    return Dense(weight, rng.integers(0, 3, weight.shape) if rng.random() < 0.3 else None)
