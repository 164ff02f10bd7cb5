from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from chips import connection
from hypothesis import example, given, settings
from hypothesis import strategies as st
from placed_networks import (
    convolutions,
    dense,
    deployment,
    expand,
    graph_deployment,
    layer,
    mlp,
    profile_with,
    random_graph,
    small_chip,
)

from neurofault.deploy.resources import RESOURCES, demand, row_bits, stored_words, usage
from neurofault.errors import UsageError
from neurofault.graph import Conv, Dense, Sparse


def everything(n):
    return np.ones(n, bool)


@pytest.mark.parametrize(
    ("n_in", "n_out", "bits", "learns", "expected"),
    [
        (784, 128, 8, False, 903_168),  # 2 blocks of 64·8 + 10 = 522 → 576 bits, 784 rows
        (784, 128, 8, True, 1_304_576),  # 4 tag bits: 2 · 832 · 784
        (784, 512, 4, False, 2_007_040),  # 8 blocks of 64·4 + 10 = 266 → 320 bits
        (784, 10, 8, False, 784 * 128),  # 90 → 128 bits
        (512, 65, 8, False, 512 * (576 + 64)),  # the second block holds one synapse: 18 → 64 bits
    ],
)
def test_dense_synapse_memory_follows_the_published_formula(n_in, n_out, bits, learns, expected):
    target = layer("output", (n_out,), dense(n_out, n_in), bits=bits)
    assert demand(target.after("input"), everything(n_out), profile_with(), learns).synapse_bits == expected


def test_delays_take_their_bits_only_where_a_layer_has_them():
    delayed = layer("output", (16,), dense(16, 3, np.zeros((16, 3), np.int64)))
    assert demand(delayed.after("input"), everything(16), profile_with()).synapse_bits == 3 * 256  # 16·(8 + 6) + 10 = 234
    assert (
        demand(layer("output", (16,), dense(16, 3)).after("input"), everything(16), profile_with()).synapse_bits == 3 * 192
    )  # 138


def test_a_profile_that_does_not_know_blocks_and_headers_counts_plain_bits():
    unknown = profile_with(synapse__block_synapses=None, synapse__block_header_bits=None, synapse__word_bits=None)
    assert row_bits(np.array([0, 1, 200]), 8, unknown).tolist() == [0, 8, 1600]


def test_kernels_are_stored_once_a_core_where_they_are_shared():
    target = layer("hidden1", (4, 6, 6), Conv(np.zeros((4, 2, 3, 3), np.int32), (2, 8, 8)))
    two_channels = np.arange(144) // 36 < 2
    shared = demand(target.after("input"), two_channels, profile_with(synapse__shared_kernels=True))
    assert shared.synapse_bits == 2 * 192  # a row of 18 words: 144 + 10 = 154 → 192 bits, for each channel
    assert shared.in_axons == 128
    part_of_two = (np.arange(144) >= 30) & (np.arange(144) < 40)
    assert demand(target.after("input"), part_of_two, profile_with()).synapse_bits == 2 * 192


def test_an_expanded_convolution_stores_a_sparse_row_for_each_source():
    target = layer("hidden1", (1, 1, 3), Conv(np.zeros((1, 1, 1, 2), np.int32), (1, 1, 4)))
    expanded = demand(target.after("input"), everything(3), profile_with(synapse__shared_kernels=False))
    # sources reach 1, 2, 2, 1 targets; 3 targets take an index of 6 bits: 14 + 10 and 28 + 10 fill one word each
    assert (expanded.synapse_bits, expanded.in_axons, expanded.fan_out.tolist()) == (4 * 64, 4, [1, 2, 2, 1])


def test_usage_of_a_small_network_by_hand():
    placed = deployment(mlp(3, 4, 2), profile_with(), [[0, 0, 1], [2, 2, 5, 5], [6, 6]])
    counted = usage(placed)
    assert counted.cores.tolist() == [0, 1, 2, 5, 6]
    assert counted.used["neurons"].tolist() == [2, 1, 2, 2, 2]
    assert counted.used["in_axons"].tolist() == [0, 0, 3, 3, 4]
    assert counted.used["out_axons"].tolist() == [4, 2, 2, 2, 0]  # each input neuron reaches cores 2 and 5
    assert counted.used["synapse_bits"].tolist() == [0, 0, 3 * 64, 3 * 64, 4 * 64]
    assert counted.of(5) == {"neurons": (2, 1024), "synapse_bits": (192, 1_048_576), "in_axons": (3, 4096), "out_axons": (2, 4096)}
    assert counted.of(99) == {name: (0, counted.limits[name]) for name in RESOURCES}


def test_unknown_limits_are_none():
    assert usage(deployment(mlp(2, 2), small_chip(2, 2, 1), [[0, 0], [1, 1]])).limits == dict.fromkeys(RESOURCES)


def test_learning_layers_store_tags_and_take_more_in_axons():
    placed = deployment(mlp(3, 16), profile_with(), [[0, 0, 0], [1] * 16])
    assert usage(placed).of(1)["in_axons"] == (3, 4096)
    learning = usage(placed, learning=["output"])
    assert learning.of(1)["in_axons"] == (6, 4096)
    assert learning.of(1)["synapse_bits"] == (3 * 256, 1_048_576)  # 16·(8 + 4) + 10 = 202


@pytest.mark.parametrize("name", ["input", "hidden", "out"])
def test_learning_in_a_connection_that_is_not_there_is_refused(name):
    placed = deployment(mlp(3, 4), profile_with(), [[0, 0, 0], [1] * 4])
    with pytest.raises(UsageError) as caught:
        usage(placed, learning=[name])
    assert str(caught.value).startswith(f"learning: no connection {name!r}")
    assert str(caught.value).endswith("; connections: output")


def _plain_row(counts, bits):
    total = 0
    for count in counts:
        while count > 0:
            total += -(-(min(count, 64) * bits + 10) // 64) * 64
            count -= 64
    return total


def _index_bits(targets):
    """Loihi's widths of an index that tells targets of a core apart: none, or 6 to 12 bits."""
    return next(width for width in (0, 6, 7, 8, 9, 10, 11, 12) if 2**width >= targets)


@settings(max_examples=60, deadline=None)
@given(conv=convolutions(), shared=st.booleans(), cores=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@example(
    conv=Conv(np.zeros((2, 1, 2, 2), np.int32), (1, 6, 2), padding=(0, 3)), shared=False, cores=1, seed=0
)  # 70 targets: 7 bits
def test_usage_and_stored_words_equal_a_plain_expansion(conv, shared, cores, seed):
    """Neurons scattered over the cores without any order, several layers to a core."""
    rng = np.random.default_rng(seed)
    layers = [layer("input", conv.in_shape), layer("hidden1", conv.out_shape, conv), layer("output", (3,), dense(3, conv.n_out))]
    core_of = [rng.integers(0, cores, part.size) for part in layers]
    placed = deployment(layers, small_chip(3, 2, 1, synapse__shared_kernels=shared), core_of)
    bits, sources, cores_reached = defaultdict(int), defaultdict(set), defaultdict(set)
    for index in (1, 2):
        rows, words = defaultdict(int), defaultdict(set)
        for source, target, word in expand(layers[index].synapses):
            core = int(core_of[index][target])
            rows[core, source] += 1
            words[core].add((source, target) if index == 2 or not shared else word)
            sources[core].add((index, source))
            cores_reached[index, source].add(core)
        for core in set(core_of[index].tolist()):
            held = core_of[index] == core
            if index == 1 and shared:
                channels = len(set((np.flatnonzero(held) // (conv.n_out // len(conv.weight))).tolist()))
                kernel = conv.weight[0].size
                bits[core] += channels * _plain_row([kernel], 8)
                words[core] = range(channels * kernel)
            else:
                width = 8 + (_index_bits(int(held.sum())) if index == 1 else 0)
                bits[core] += _plain_row([count for (where, _), count in rows.items() if where == core], width)
        stored = {int(core): len(words[int(core)]) for core in placed.placement.cores_of(layers[index].name)}
        assert dict(zip(stored, stored_words(placed, layers[index].name).tolist(), strict=True)) == stored
    out = defaultdict(int)
    for (index, source), reached in cores_reached.items():
        out[int(core_of[index - 1][source])] += len(reached)
    counted = usage(placed)
    for core in range(cores):
        expected = {
            "neurons": sum(int((where == core).sum()) for where in core_of),
            "synapse_bits": bits[core],
            "in_axons": len(sources[core]),
            "out_axons": out[core],
        }
        assert {name: used for name, (used, _) in counted.of(core).items()} == expected


def test_an_input_population_stores_nothing():
    placed = deployment(mlp(3, 4), profile_with(), [[0, 0, 1], [2] * 4])
    assert usage(placed).used["synapse_bits"].tolist() == [0, 0, 3 * 64]
    assert stored_words(placed, "output").tolist() == [12]
    with pytest.raises(UsageError, match="no connection 'input'"):
        stored_words(placed, "input")


# --- graphs -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shared=st.booleans(), cores=st.integers(1, 6))
def test_usage_and_stored_words_of_a_graph_equal_a_plain_expansion(seed, shared, cores):
    """Every connection counts for itself; what several need of a core adds up."""
    rng = np.random.default_rng(seed)
    populations, connections = random_graph(rng)
    core_of = {one.name: rng.integers(0, cores, one.size) for one in populations}
    placed = graph_deployment(populations, connections, small_chip(3, 2, 1, synapse__shared_kernels=shared), core_of.values())
    bits, in_axons, out_axons = defaultdict(int), defaultdict(int), defaultdict(int)
    for one in connections:
        rows, words, reached = defaultdict(int), defaultdict(set), set()
        for source, target, word in expand(one.synapses):
            core = int(core_of[one.target][target])
            rows[core, source] += 1
            words[core].add(word if shared and isinstance(one.synapses, Conv) else (source, target))
            reached.add((source, core))
        for source, core in reached:
            in_axons[core] += 1
            out_axons[int(core_of[one.source][source])] += 1
        width = 8 + (6 if one.delay > 1 or one.synapses.delay is not None else 0)
        for core in set(core_of[one.target].tolist()):
            held = core_of[one.target] == core
            if shared and isinstance(one.synapses, Conv):
                channels = len(set((np.flatnonzero(held) // (len(held) // len(one.synapses.weight))).tolist()))
                bits[core] += channels * _plain_row([one.synapses.weight[0].size], width)
                words[core] = range(channels * one.synapses.weight[0].size)
            else:
                index = 0 if isinstance(one.synapses, Dense) else _index_bits(int(held.sum()))
                bits[core] += _plain_row([count for (where, _), count in rows.items() if where == core], width + index)
        stored = [len(words[int(core)]) for core in placed.placement.cores_of(one.target)]
        assert stored_words(placed, one.name).tolist() == stored
    counted = usage(placed)
    for core in range(cores):
        neurons = sum(int((where == core).sum()) for where in core_of.values())
        expected = {"neurons": neurons, "synapse_bits": bits[core], "in_axons": in_axons[core], "out_axons": out_axons[core]}
        assert {name: used for name, (used, _) in counted.of(core).items()} == expected


def test_a_connection_that_takes_more_than_a_step_stores_delays():
    slow = connection("slow", "a", "b", dense(16, 3), delay=2)
    assert demand(slow, everything(16), profile_with()).synapse_bits == 3 * 256  # 16·(8 + 6) + 10 = 234


def test_synapses_that_are_listed_store_a_target_index_each_and_only_those_that_are_there():
    listed = Sparse.of(3, 4, np.array([0, 2, 2]), np.array([1, 1, 3]), np.zeros(3, np.int32))
    need = demand(connection("listed", "a", "b", listed), everything(3), profile_with())
    assert (need.synapse_bits, need.in_axons, need.fan_out.tolist()) == (2 * 64, 2, [0, 2, 0, 1])  # 2·14 + 10, 14 + 10


def test_only_the_connections_that_learn_store_tags():
    rng = np.random.default_rng(1)
    populations, connections = random_graph(rng)
    core_of = [[place] * one.size for place, one in enumerate(populations)]
    placed = graph_deployment(populations, connections, small_chip(3, 3, 1), core_of)
    for one in connections:
        place = [population.name for population in populations].index(one.target)
        (before, _), (after, _) = usage(placed).of(place)["in_axons"], usage(placed, [one.name]).of(place)["in_axons"]
        assert after - before == demand(one, everything(one.synapses.n_out), placed.profile).in_axons
