from __future__ import annotations

import numpy as np
import pytest
from chips import chain_parts, connection, neurons
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placed_networks import (
    convolutions,
    dense,
    deployment,
    graph_deployment,
    layer,
    mlp,
    place_chain,
    profile_with,
    random_graph,
    small_chip,
)

from neurofault.deploy.placement import STRATEGIES, place, slice_sizes
from neurofault.deploy.resources import RESOURCES, usage
from neurofault.deploy.routing import topology_of
from neurofault.errors import CapacityError, UsageError
from neurofault.graph import Conv


def cores_by_layer(placement):
    return [len(placement.cores_of(name)) for name in placement.core_of]


def slices(layers, profile, **options):
    """Neurons a core of each layer of a chain."""
    return list(slice_sizes(*chain_parts(layers), profile, **options).values())


def sizes_of(placement, name):
    """Neurons on each core of a population, in the order of the neurons."""
    cores = placement.core_of[name]
    _, first, counts = np.unique(cores, return_index=True, return_counts=True)
    return counts[np.argsort(first)].tolist()


def slice_order(placement):
    """Cores in the order of the slices."""
    return [core for cores in placement.core_of.values() for core in dict.fromkeys(cores.tolist())]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_mnist_mlp_at_8_neurons_a_core_takes_98_input_13_hidden_and_2_output_cores(strategy):
    placement = place_chain(mlp(784, 100, 10), profile_with("loihi2"), strategy=strategy, neurons_per_core=8)
    assert cores_by_layer(placement) == [98, 13, 2]
    assert sizes_of(placement, "hidden1") == [8] * 12 + [4]
    assert (placement.chips, placement.cores_per_chip, placement.strategy) == (1, 128, strategy)


def test_as_few_equal_slices_as_the_memory_allows():
    """784→512 dense at 8 bits takes 3.45 Loihi cores, so 4 of 128 neurons; 784→128 takes 0.86."""
    assert slices(mlp(784, 512, 10), profile_with("loihi1")) == [784, 128, 10]
    assert slices(mlp(784, 128, 10), profile_with("loihi1")) == [784, 128, 10]
    assert slices(mlp(784, 128, 10), profile_with("loihi1"), learning=["hidden1"]) == [784, 64, 10]
    assert slices(mlp(784, 512, 10, bits=4), profile_with("loihi1")) == [784, 256, 10]


def test_slices_are_equal_where_the_neurons_limit_cuts():
    assert slices(mlp(2500, 3), profile_with("loihi1")) == [834, 3]  # 3 · 834, not 1024 + 1024 + 452


def test_neurons_per_core_gives_way_to_a_limit():
    assert slices(mlp(20, 3), small_chip(2, 2, 4, core__neurons=6), neurons_per_core=8) == [5, 3]
    assert slices(mlp(20, 3), small_chip(2, 2, 4, core__neurons=6), neurons_per_core=6) == [6, 3]


def test_out_axons_count_the_cores_of_the_next_layer_whose_cut_is_known():
    """Each of 30 sources reaches 4 cores; 40 out-axons a core allow 10 sources."""
    assert slices(mlp(30, 20), small_chip(4, 2, 2, core__out_axons=40), neurons_per_core=5) == [5, 5]
    assert slices(mlp(30, 8), small_chip(4, 2, 2, core__neurons=2, core__out_axons=7)) == [1, 2]
    assert slices(mlp(30, 8), small_chip(4, 2, 2, core__out_axons=7)) == [6, 8]


def test_in_axons_of_a_convolution_cut_it_finer_than_its_neurons_would():
    conv = Conv(np.zeros((1, 1, 1, 3), np.int32), (1, 1, 14))
    layers = [layer("input", (1, 1, 14)), layer("hidden1", (1, 1, 12), conv)]
    assert slices(layers, small_chip(2, 2, 4)) == [14, 12]
    assert slices(layers, small_chip(2, 2, 4, core__in_axons=6)) == [14, 4]  # 4 targets read 6 sources
    assert slices(layers, small_chip(2, 2, 4, core__in_axons=3)) == [14, 1]


def test_pack_takes_consecutive_cores_from_0_on_as_few_chips_as_hold_them():
    placement = place_chain(mlp(784, 100, 10), profile_with("loihi2"), neurons_per_core=8)
    assert slice_order(placement) == list(range(113))
    two = place_chain(mlp(784, 200, 10), profile_with("loihi2"), neurons_per_core=8)
    assert two.chips == 2
    assert slice_order(two) == [*range(120), *range(128, 133)]  # local ids 120 to 127 are not usable


def test_spare_and_bad_cores_stay_free():
    profile = profile_with("loihi2", dead_cores=(5, "9-10", 500))
    placement = place_chain(mlp(784, 100, 10), profile, neurons_per_core=8, spare_cores=2)
    assert placement.bad_cores == (5, 9, 10)
    assert placement.spare_cores == (32, 90)  # a quarter and three quarters through the 117 healthy ones
    assert slice_order(placement) == [core for core in range(118) if core not in (5, 9, 10, 32, 90)]


def test_bad_cores_of_a_later_chip_count_there():
    profile = small_chip(2, 1, 2, dead_cores=(4, 6), chip__max_chips=3)
    assert slice_order(place_chain(mlp(5, 2), profile, neurons_per_core=1, chips=3)) == [0, 1, 2, 3, 5, 7, 8]


def test_spare_cores_are_spread_over_chips_and_tiles():
    placement = place_chain(mlp(784, 10), profile_with("loihi1"), chips=2, spare_cores=4)
    assert placement.spare_cores == (32, 96, 160, 224)
    x, y = topology_of(profile_with("loihi1"), 2).tiles(np.array(placement.spare_cores))
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == 4


def test_more_chips_on_request():
    placement = place_chain(mlp(784, 100, 10), profile_with("loihi1"), strategy="spread", neurons_per_core=8, chips=2)
    on_chip = np.bincount(placement.used_cores // 128)
    assert placement.chips == 2
    assert abs(on_chip[0] - on_chip[1]) <= 4


@pytest.mark.parametrize("sizes", [(784, 100, 10), (400, 10), (64, 32, 10), (32, 10)])
def test_spread_puts_consecutive_slices_far_apart(sizes):
    shape = topology_of(profile_with("loihi1"))
    order = np.array(slice_order(place_chain(mlp(*sizes), profile_with("loihi1"), strategy="spread", neurons_per_core=8)))
    packed = np.array(slice_order(place_chain(mlp(*sizes), profile_with("loihi1"), neurons_per_core=8)))
    apart = shape.hops(order[:-1], order[1:]).total
    assert apart.min() >= 2
    assert apart.mean() >= 3 + shape.hops(packed[:-1], packed[1:]).total.mean()


def test_spread_uses_every_tile_before_it_uses_one_twice():
    placement = place_chain(mlp(200, 10), profile_with("loihi1"), strategy="spread", neurons_per_core=5)
    x, y = topology_of(profile_with("loihi1")).tiles(np.array(slice_order(placement)))
    per_tile = np.bincount(y * 8 + x, minlength=32)
    assert len(slice_order(placement)) == 42
    assert sorted(per_tile.tolist()) == [1] * 22 + [2] * 10
    columns, rows = np.bincount(x, minlength=8), np.bincount(y, minlength=4)
    assert columns.max() - columns.min() <= 2
    assert rows.max() - rows.min() <= 2


def test_random_placement_is_keyed_and_its_first_slices_do_not_depend_on_their_number():
    def order(sizes, seed):
        return slice_order(place_chain(mlp(*sizes), profile_with("loihi1"), strategy="random", neurons_per_core=8, seed=seed))

    assert order((784, 100, 10), 1) == order((784, 100, 10), 1)
    assert order((784, 100, 10), 1) != order((784, 100, 10), 2)
    assert order((400, 16), 1) == order((784, 100, 10), 1)[:52]


@settings(max_examples=60, deadline=None)
@given(conv=convolutions(), data=st.data())
def test_every_neuron_has_a_healthy_core_and_no_known_limit_is_exceeded(conv, data):
    bounds = {
        "core__neurons": data.draw(st.none() | st.integers(1, 40)),
        "core__synapse_bits": data.draw(st.none() | st.integers(4_000, 30_000)),
        "core__in_axons": data.draw(st.none() | st.integers(conv.n_out, conv.n_out + 40)),
        "core__out_axons": data.draw(st.none() | st.integers(40, 200)),
        "synapse__shared_kernels": data.draw(st.booleans()),
        "dead_cores": tuple(data.draw(st.sets(st.integers(0, 40), max_size=6))),
        "chip__usable_cores": data.draw(st.integers(20, 24)),
    }
    profile = small_chip(4, 3, 2, **bounds)
    layers = [layer("input", conv.in_shape), layer("hidden1", conv.out_shape, conv), layer("output", (3,), dense(3, conv.n_out))]
    options = {
        "strategy": data.draw(st.sampled_from(STRATEGIES)),
        "neurons_per_core": data.draw(st.none() | st.integers(1, 9)),
        "spare_cores": data.draw(st.integers(0, 5)),
        "seed": data.draw(st.integers(0, 99)),
    }
    try:
        placement = place_chain(layers, profile, **options)
    except CapacityError:
        assume(False)
    assert [cores.shape for cores in placement.core_of.values()] == [(part.size,) for part in layers]
    used = placement.used_cores
    assert ((used >= 0) & (used < placement.chips * 24)).all()
    assert (used % 24 < profile.chip.usable_cores.known).all()
    assert not set(used.tolist()) & ({*placement.spare_cores} | {*profile.dead_core_ids})
    assert len(placement.spare_cores) == options["spare_cores"] == len(set(placement.spare_cores) - set(profile.dead_core_ids))
    assert sum(cores_by_layer(placement)) == len(used), "two layers share a core"
    for name in placement.core_of:
        sizes = sizes_of(placement, name)
        assert sizes[-1] <= sizes[0] == max(sizes)
        assert len(set(sizes[:-1])) <= 1
        assert sizes[0] <= (options["neurons_per_core"] or sizes[0])
        assert (np.diff(placement.core_of[name]) != 0).sum() == len(sizes) - 1, "a slice is not a run of consecutive neurons"
    counted = usage(deployment(layers, profile, placement=placement))
    for name in RESOURCES:
        limit = counted.limits[name]
        assert limit is None or counted.used[name].max() <= limit


@settings(max_examples=40, deadline=None)
@given(n_in=st.integers(1, 30), n_out=st.integers(1, 40), limit=st.integers(64 * 30, 6000))
def test_no_coarser_equal_cut_would_fit(n_in, n_out, limit):
    profile = small_chip(4, 3, 2, core__synapse_bits=limit)
    size = slices(mlp(n_in, n_out), profile)[1]
    cuts = -(-n_out // size)

    def memory(neurons):
        return n_in * (neurons // 64 * 576 + -(-(neurons % 64 * 8 + 10) // 64) * 64 * (neurons % 64 > 0))

    assert memory(size) <= limit
    assert size == -(-n_out // cuts)
    for fewer in range(1, cuts):
        assert memory(-(-n_out // fewer)) > limit


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "packed"}, "unknown placement strategy 'packed' (did you mean 'pack'?): pack, spread, random"),
        ({"neurons_per_core": 0}, "neurons_per_core must be at least 1, is 0"),
        ({"spare_cores": -1}, "spare_cores must be at least 0, is -1"),
        ({"chips": 0}, "chips must be at least 1, is 0"),
        ({"learning": ["pixels"]}, "learning: no connection 'pixels'; connections: hidden1, output"),
        ({"learning": ["hiden1"]}, "learning: no connection 'hiden1' (did you mean 'hidden1'?); connections: hidden1, output"),
    ],
)
def test_arguments_out_of_range_are_refused(options, text):
    with pytest.raises(UsageError) as caught:
        place_chain(mlp(8, 4, 2), profile_with(), **options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("sizes", "changes", "options", "text"),
    [
        (
            (784, 100, 10),
            {"chip__max_chips": 1},
            {"neurons_per_core": 4, "spare_cores": 2},
            "the network does not fit: it takes 226 cores (input 196, hidden1 25, output 3, spare 2), but 1 × 'loihi1' offers 128 "
            "healthy usable cores; raise neurons_per_core (4), lower spare_cores (2), or use a profile with more chip.usable_cores",
        ),
        (
            (784, 100, 10),
            {"dead_cores": ("0-99",)},
            {"neurons_per_core": 8, "chips": 1},
            "the network does not fit: it takes 113 cores (input 98, hidden1 13, output 2, spare 0), but 1 × 'loihi1' offers 28 "
            "healthy usable cores; raise neurons_per_core (8), raise chips (1, at most 16384), or use a profile with more "
            "chip.usable_cores",
        ),
        (
            (300_000, 2),
            {"chip__max_chips": 2, "core__in_axons": None, "core__synapse_bits": None},
            {},
            "the network does not fit: it takes 294 cores (input 293, output 1, spare 0), but 2 × 'loihi1' offers 256 healthy "
            "usable cores; shrink the network, or use a profile with more chip.usable_cores",
        ),
        (
            (8, 2),
            {"chip__max_chips": 2},
            {"chips": 3},
            "chips is 3, but at most 2 of 'loihi1' can be joined; lower chips",
        ),
        (
            (5000, 100, 10),
            {},
            {},
            "population 'hidden1' does not fit: one neuron takes 5000 in_axons, a core of 'loihi1' has 4096; give its neurons fewer "
            "inputs, or use a profile with more core.in_axons",
        ),
        (
            (3000, 10),
            {},
            {"learning": ["output"]},
            "population 'output' does not fit: one neuron takes 6000 in_axons, a core of 'loihi1' has 4096; give its neurons fewer "
            "inputs, or use a profile with more core.in_axons",
        ),
        (
            (100, 10),
            {"core__synapse_bits": 5000},
            {},
            "population 'output' does not fit: one neuron takes 6400 synapse_bits, a core of 'loihi1' has 5000; give its neurons "
            "fewer inputs or its weights fewer bits, or use a profile with more core.synapse_bits",
        ),
        (
            (100, 10),
            {"core__out_axons": 4},
            {"neurons_per_core": 2},
            "population 'input' does not fit: one neuron takes 5 out_axons, a core of 'loihi1' has 4; let 'output' take "
            "fewer cores: raise neurons_per_core (2), or use a profile with more core.out_axons",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_change(sizes, changes, options, text):
    with pytest.raises(CapacityError) as caught:
        place_chain(mlp(*sizes), profile_with("loihi1", **changes), **options)
    assert str(caught.value) == text


def test_a_shared_kernel_that_no_core_can_hold_is_refused():
    conv = Conv(np.zeros((2, 8, 3, 3), np.int32), (8, 5, 5))
    layers = [layer("input", (8, 5, 5)), layer("hidden1", conv.out_shape, conv)]
    with pytest.raises(CapacityError) as caught:
        place_chain(layers, small_chip(2, 2, 1, core__synapse_bits=600))
    assert str(caught.value) == (
        "population 'hidden1' does not fit: one neuron takes 704 synapse_bits, a core of 'loihi1' has 600; give its neurons fewer "
        "inputs or its weights fewer bits, or use a profile with more core.synapse_bits"
    )


# --- graphs -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_a_graph_is_cut_so_that_no_known_limit_is_exceeded(seed, data):
    populations, connections = random_graph(np.random.default_rng(seed))
    bounds = {
        "core__neurons": data.draw(st.none() | st.integers(1, 12)),
        "core__synapse_bits": data.draw(st.none() | st.integers(2_000, 20_000)),
        "core__in_axons": data.draw(st.none() | st.integers(20, 90)),
        "core__out_axons": data.draw(st.none() | st.integers(4, 60)),
        "synapse__shared_kernels": data.draw(st.booleans()),
    }
    profile = small_chip(8, 8, 4, **bounds)
    learning = [one.name for one in connections if data.draw(st.booleans())]
    options = {"neurons_per_core": data.draw(st.none() | st.integers(1, 9)), "learning": learning}
    try:
        placement = place(populations, connections, profile, **options)
    except CapacityError:
        assume(False)
    assert list(placement.core_of) == [one.name for one in populations]
    assert sum(cores_by_layer(placement)) == len(placement.used_cores), "two populations share a core"
    counted = usage(graph_deployment(populations, connections, profile, placement=placement), learning)
    for name in RESOURCES:
        assert counted.limits[name] is None or counted.used[name].max() <= counted.limits[name]


def test_a_chain_is_cut_the_same_whatever_the_order_of_its_populations():
    populations, connections = chain_parts(mlp(40, 30, 20, 10))
    profile = small_chip(4, 4, 2, core__out_axons=50, core__in_axons=45, core__neurons=12)
    forward = slice_sizes(populations, connections, profile)
    assert forward == slice_sizes(populations[::-1], connections[::-1], profile)
    assert list(forward.values()) == slices(mlp(40, 30, 20, 10), profile)


def test_what_a_neuron_reaches_in_a_loop_depends_on_its_own_cut():
    """Each of 12 neurons reaches every core of its own population: k cores of 12/k neurons take 12 out-axons each, whatever k is."""
    ring = [neurons("input", (4,), is_source=True), neurons("ring", (12,))]
    into, own = connection("ring", "input", "ring", dense(12, 4)), connection("own", "ring", "ring", dense(12, 12))
    assert slice_sizes(ring, [into, own], small_chip(4, 4, 2, core__out_axons=12)) == {"input": 4, "ring": 12}
    assert slice_sizes(ring, [into, own], small_chip(4, 4, 2, core__out_axons=12, core__neurons=5)) == {"input": 4, "ring": 4}
    with pytest.raises(CapacityError) as caught:
        place(ring, [into, own], small_chip(4, 4, 2, core__out_axons=11))
    assert str(caught.value) == (
        "population 'ring' does not fit: one neuron takes 12 out_axons, a core of 'loihi1' has 11; let 'ring' take fewer cores: "
        "shrink it, or use a profile with more core.out_axons"
    )


def test_several_connections_into_a_population_share_the_memory_and_the_axons_of_its_cores():
    populations = [neurons("left", (6,), is_source=True), neurons("right", (5,), is_source=True), neurons("both", (8,))]
    connections = [connection("a", "left", "both", dense(8, 6)), connection("b", "right", "both", dense(8, 5))]
    row = 128  # 8·8 + 10 bits in words of 64
    assert slice_sizes(populations, connections, small_chip(4, 4, 2, core__synapse_bits=11 * row))["both"] == 8
    assert slice_sizes(populations, connections, small_chip(4, 4, 2, core__synapse_bits=11 * row - 1))["both"] == 4
    assert slice_sizes(populations, connections, small_chip(4, 4, 2, core__in_axons=11))["both"] == 8
    with pytest.raises(CapacityError) as caught:
        slice_sizes(populations, connections, small_chip(4, 4, 2, core__in_axons=10))
    assert str(caught.value) == (
        "population 'both' does not fit: one neuron takes 11 in_axons, a core of 'loihi1' has 10; give its neurons fewer inputs, or use a "
        "profile with more core.in_axons"
    )


def test_a_neuron_that_reaches_two_populations_names_both():
    populations = [neurons("input", (2,), is_source=True), neurons("a", (4,)), neurons("b", (4,))]
    connections = [connection("a", "input", "a", dense(4, 2)), connection("b", "input", "b", dense(4, 2))]
    profile = small_chip(4, 4, 2, core__out_axons=3)
    assert slice_sizes(populations, connections, profile, neurons_per_core=4) == {"input": 1, "a": 4, "b": 4}
    with pytest.raises(CapacityError, match=r"one neuron takes 4 out_axons.*let 'a' and 'b' take fewer cores: raise neurons_per"):
        slice_sizes(populations, connections, profile, neurons_per_core=2)
