"""Graphs as NIR files and back: random ones integer for integer, broken ones spike for spike, and what a reader without our metadata makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_graphs import random_graph

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.nir_written import matrix_of
from neurofault.deploy.nir_export import to_nir
from neurofault.errors import DataError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Source, Sparse

nir = pytest.importorskip("nir")
VERSION1 = Path(__file__).parents[1] / "convert" / "data" / "version1.nir"
T = 10


def delays_of(name, synapses):
    """Delays of synapses whose weight is not 0, as a matrix."""
    if synapses.delay is None:
        return 0
    late = type(synapses)(**vars(synapses) | {"weight": synapses.delay, "delay": None})
    return np.where(matrix_of(name, synapses) != 0, matrix_of(name, late), 0)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_random_graph_comes_back_integer_for_integer(seed):
    chip, _, _ = random_graph(seed, most_steps=12)
    back = from_nir(to_nir(chip))
    assert (back.timesteps, back.readout, back.inputs) == (chip.timesteps, chip.readout, chip.inputs)
    assert back.schedule == chip.schedule
    for one, two in zip(chip.populations, back.populations, strict=True):
        neuron = two.neuron
        assert (one.name, one.shape, one.is_source) == (two.name, two.shape, two.is_source)
        threshold = 131071 if neuron.threshold is None else neuron.threshold
        assert one.fires == (neuron.threshold is not None)
        for mine, own in ((one.du, neuron.du), (one.dv, neuron.dv), *([(one.vth, threshold)] if one.fires else [])):
            assert np.array_equal(mine, np.broadcast_to(own, one.size))
        bias = np.floor(one.bias_mantissa * 2.0**one.bias_exponent)
        assert np.array_equal(bias, np.broadcast_to(neuron.bias * 2.0**neuron.bias_exponent, one.size))
        assert np.array_equal(one.v_init, neuron.start)
    for one, two in zip(chip.connections, back.connections, strict=True):
        assert (one.name, one.source, one.target, one.delay, type(one.synapses)) == (
            two.name, two.source, two.target, two.delay, type(two.synapses),
        )  # fmt: skip
        assert (one.weight_exponent, one.weight_bits, one.sign_mode) == tuple(vars(two.stored).values())
        assert np.array_equal(matrix_of(one.name, one.synapses), matrix_of(two.name, two.synapses))
        assert np.array_equal(delays_of(one.name, one.synapses), delays_of(two.name, two.synapses))


def whole(rng, *shape):
    """Weights that the chip holds as they are: even, and the largest, 254, fills its field."""
    weight = 2.0 * rng.integers(-20, 50, shape)
    weight.flat[int(rng.integers(0, weight.size))] = 254
    return weight


def graph(**law):
    """Two inputs, a convolution, a skip with a delay, synapses of several delays, loops over one and two populations."""
    rng = np.random.default_rng(3)
    neuron = CubaLif(700.0, 20.0, **law)
    populations = (
        Population("eyes", (2, 4, 4), Source()), Population("ears", (5,), Source()), Population("a", (3, 3, 3), neuron), Population("b", (6,), neuron),
        Population("c", (4,), neuron),
    )  # fmt: skip
    pairs = np.nonzero(rng.random((6, 5)) < 0.7)
    some = whole(rng, len(pairs[0]))
    connections = (
        Connection("a", "eyes", "a", Conv(whole(rng, 3, 2, 2, 2), (2, 4, 4))),
        Connection("ab", "a", "b", Dense(whole(rng, 6, 27), rng.integers(0, 3, (6, 27)))),
        Connection("eb", "ears", "b", Sparse.of(6, 5, *pairs, some), 2),
        Connection("bb", "b", "b", Dense(whole(rng, 6, 6))),
        Connection("bc", "b", "c", Dense(whole(rng, 4, 6))),
        Connection("cb", "c", "b", Dense(whole(rng, 6, 4)), 2),
        Connection("skip", "ears", "c", Dense(whole(rng, 4, 5)), 4),
    )
    return Network("graph", populations, connections, T, Readout("c", "count"))


def events(samples=5):
    rng = np.random.default_rng(4)
    return nf.Inputs(events={name: rng.random((samples, T, n)) < 0.4 for name, n in (("eyes", 32), ("ears", 5))})


def spikes_of(chip):
    traces = nf.run(chip, events(), record=["spikes"]).activity.traces
    return {name: traces[name].spikes for name in ("a", "b", "c")}


FAULTS = [
    {"kind": "neuron_dead", "count": 3, "layer": "hidden"}, {"kind": "synapse_dead", "rate": 0.2, "layer": "any"},
    {"kind": "synapse_bit_flip", "rate": 0.02, "layer": "any"}, {"kind": "core_dead", "count": 1, "layer": "hidden"},
]  # fmt: skip


@pytest.mark.parametrize("fault", [None, *FAULTS], ids=lambda fault: "healthy" if fault is None else fault["kind"])
def test_a_broken_graph_comes_back_with_the_same_spikes(tmp_path, fault):
    chip = nf.deploy(graph(), neurons_per_core=5)
    if fault is not None:
        chip = nf.inject(chip, nf.faults.fault_from_mapping(fault), seed=3)
        assert len(chip.damage.edits)
    to_nir(chip, tmp_path / "graph.nir")
    mine, back = spikes_of(chip), spikes_of(nf.deploy(from_nir(tmp_path / "graph.nir")))
    assert all(np.array_equal(mine[name], back[name]) for name in mine)
    assert mine["c"].any() or fault is not None


def test_a_reader_that_knows_only_nirs_equations_gets_the_same_spikes():
    """Delays, loops and joins stand in the nodes; without the metadata the names are lost."""
    network = graph()
    mine = spikes_of(nf.deploy(network))
    written = to_nir(network, dt=1.0)
    kinds = {name: type(node).__name__ for name, node in written.nodes.items()}
    assert kinds["ears"] == "Input"
    assert sorted(kinds.values()).count("Delay") == sum(name.split("_")[1].startswith("delay") for name in kinds if "_" in name) > 3
    del written.metadata["neurofault"]
    other = from_nir(written)
    names = dict(
        part.split(" is node ") for note in other.notes if note.startswith("populations: ") for part in note[13:].split(", ")
    )
    theirs = {node.strip("'"): name for name, node in names.items()}
    traces = nf.run(nf.deploy(other), events(), record=["spikes"]).activity.traces
    for name in mine:
        assert np.array_equal(mine[name], traces[theirs[f"{name}_neurons"]].spikes), name


@pytest.mark.parametrize(
    ("law", "word"),
    [
        ({"reset": "subtract"}, "subtract"), ({"reset": "none"}, "none"), ({"reset": "subtract", "reset_delay": 1}, "snntorch-subtract"),
        ({"refractory": 2, "floor": -300.0}, None),
    ],
)  # fmt: skip
def test_laws_of_neurons_come_back(law, word):
    network = graph(**law)
    for one in (network, nf.deploy(network)):
        written = to_nir(one)
        assert written.nodes["b_neurons"].metadata.get("reset") == word
        back = from_nir(written)
        neuron = back.population("b").neuron
        assert (neuron.reset, neuron.reset_delay) == (law.get("reset", "zero"), law.get("reset_delay", 0))
        assert np.all(np.asarray(neuron.refractory) == law.get("refractory", 0))
        assert (neuron.floor is None) == ("floor" not in law)
    mine, theirs = spikes_of(nf.deploy(network)), spikes_of(nf.deploy(back))
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_files_of_before_graphs_are_read():
    """Written by version 1 of the metadata: a convolution in two groups, a pixel table, a start, 8 steps."""
    network = from_nir(VERSION1)
    assert [(one.name, one.source, one.target, one.delay) for one in network.connections] == [
        ("hidden1", "input", "hidden1", 1),
        ("output", "hidden1", "output", 1),
    ]
    conv, neuron = network.connection("hidden1").synapses, network.population("hidden1").neuron
    assert (conv.groups, conv.weight.shape, conv.in_shape, network.timesteps) == (2, (2, 1, 2, 2), (2, 4, 4), 8)
    assert (neuron.du, neuron.dv, network.encoding.full_rate) == (1500, 300, 0.5)
    again = from_nir(to_nir(nf.deploy(network)))
    assert np.array_equal(again.connection("hidden1").synapses.weight, conv.weight)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("connections", 0, "delay"), 0, "connections[0].delay: must be at least 1, is 0"),
        (("connections", 0, "kind"), "dense", "connections[0]: window: goes with kind conv"),
        (("connections", 0, "parts"), [], "connections[0].parts: needs at least 1, has 0"),
        (("populations", 0, "refractory"), -1, "populations[0].refractory"),
        (("readout", "how"), "vote", "readout.how: text 'vote' is not allowed"),
        (("connections", 1, "parts", 0, "node"), "nowhere", "and the nodes do not belong together"),
    ],
)  # fmt: skip
def test_metadata_of_graphs_that_describe_none(place, value, said):
    written = to_nir(graph())
    data = json.loads(written.metadata["neurofault"])
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    written.metadata["neurofault"] = json.dumps(data)
    with pytest.raises(DataError) as refused:
        from_nir(written)
    assert said in str(refused.value)
