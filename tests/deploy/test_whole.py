"""Cores that hold one whole population each: every placement meets every core's own limits, and one is found where there is one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from chips import chain_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from other_places import hexagonal, layered
from placed_networks import deployment, layer, mlp, place_chain

from neurofault.deploy.grid import draw_grid
from neurofault.deploy.placement import STRATEGIES, place
from neurofault.deploy.resources import usage
from neurofault.errors import CapacityError, UsageError
from neurofault.graph import Conv


def up(number):
    """The next power of two."""
    return 1 << math.ceil(math.log2(number))


def takes(sizes, padded):
    """(neurons, bits) of each population of a dense chain of 8-bit weights, by sinabs' formulas."""
    found = [(sizes[0], 0)]
    for before, size in itertools.pairwise(sizes):
        found.append((size, 8 * before * (up(size) if padded else size)))
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data(), padded=st.booleans(), strategy=st.sampled_from(STRATEGIES))
def test_a_placement_meets_every_core_s_limits_and_is_found_where_there_is_one(data, padded, strategy):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    cores = data.draw(st.integers(len(sizes) - 1, 5))
    neurons = data.draw(st.lists(st.integers(1, 9), min_size=cores, max_size=cores))
    bits = data.draw(st.lists(st.integers(1, 80).map(lambda words: 8 * words), min_size=cores, max_size=cores))
    profile = layered(neurons, bits, padded=padded)
    needs = takes(sizes, padded)

    def fits(need, core):
        return need[0] <= neurons[core] and need[1] <= bits[core]

    there_is_one = any(all(map(fits, needs, chosen)) for chosen in itertools.permutations(range(cores), len(sizes)))
    if not there_is_one:
        with pytest.raises(CapacityError, match="does not fit"):
            place_chain(mlp(*sizes), profile, strategy=strategy, seed=3)
        return
    placement = place_chain(mlp(*sizes), profile, strategy=strategy, seed=3)
    chosen = [set(placement.core_of[name].tolist()) for name in placement.core_of]
    assert all(len(own) == 1 for own in chosen)
    chosen = [own.pop() for own in chosen]
    assert len(set(chosen)) == len(sizes)
    assert all(map(fits, needs, chosen))
    counted = usage(deployment(mlp(*sizes), profile, placement=placement))
    for core, (used, wanted) in zip(chosen, needs, strict=True):
        assert counted.of(core)["neurons"] == (used, neurons[core])
        assert counted.of(core)["synapse_bits"] == (wanted, bits[core])


def test_convolutions_take_what_sinabs_counts():
    conv = Conv(np.ones((5, 2, 3, 3), np.int32), in_shape=(2, 6, 10))  # 5 × 4 × 8 neurons
    layers = [layer("input", (2, 6, 10)), layer("conv1", conv.out_shape, conv), *mlp(160, 10)[1:]]
    chip = deployment(
        layers,
        layered([4096] * 3, [1 << 20] * 3, padded=True),
        placement=place_chain(layers, layered([4096] * 3, [1 << 20] * 3, padded=True)),
    )
    counted = usage(chip)
    assert counted.used["neurons"].tolist() == [2 * 8 * 16, 5 * 4 * 8, 10]
    assert counted.used["synapse_bits"].tolist() == [0, 8 * 2 * 16 * 8, 8 * 5 * 32 * 16]
    drawn = draw_grid(chip)
    assert "   1  conv1" in drawn
    assert "2,048 of 1,048,576" in drawn


def test_a_population_takes_another_s_core_only_where_that_one_has_a_second():
    placement = place_chain(mlp(8, 4, 2), layered([8, 8, 2], [512] * 3))
    assert {name: own[0] for name, own in placement.core_of.items()} == {"input": 0, "hidden1": 1, "output": 2}
    placement = place_chain(mlp(2, 4, 8), layered([8, 8, 2], [512] * 3))
    assert sorted(int(own[0]) for own in placement.core_of.values()) == [0, 1, 2]
    assert placement.core_of["input"][0] == 2


@pytest.mark.parametrize(
    ("sizes", "profile", "message"),
    [
        (
            (4, 12, 2),
            layered([8, 10, 4], [1024, 64, 1024]),
            "population 'hidden1' does not fit: it takes 12 neurons, 384 synapse_bits of one core; on core 0 of 'odd', the nearest, neurons needs 12 and "
            "has 8; cores of this chip have at most 10 neurons, 1,024 synapse_bits (not all on one core): shrink it or split it into two populations",
        ),
        (
            (4, 4, 4, 4),
            layered([8, 8, 8], [1024] * 3),
            "the network does not fit: 4 populations (input, hidden1, hidden2, output) take a core each, 'odd' has 3 that are free; use fewer or lower "
            "spare_cores",
        ),
        (
            (8, 8, 2),
            layered([8, 4, 4], [1024] * 3),
            "population 'hidden1' does not fit: the cores of 'odd' that have room for its 8 neurons, 512 synapse_bits are taken (0 input) and those "
            "populations fit nowhere else; shrink one of them",
        ),
    ],
)  # fmt: skip
def test_what_is_short_is_said(sizes, profile, message):
    with pytest.raises(CapacityError) as caught:
        place_chain(mlp(*sizes), profile)
    assert str(caught.value) == message


def test_biases_and_destinations_count():
    parts = mlp(2, 4, 2)
    biased = [*parts[:1], layer("hidden1", (4,), parts[1].synapses), parts[2]]
    populations, connections = chain_parts(biased)
    populations[1].bias_mantissa[:] = [1, 2, 3, 4]
    profile = layered([8] * 3, [1024] * 3, biases=[3, 3, 3])

    with pytest.raises(
        CapacityError, match=r"on core 0 of 'odd', the nearest, biases needs 4 and has 3; cores of this chip have at most 8 neurons"
    ):
        place(populations, connections, profile)
    assert place(populations, connections, layered([8] * 3, [1024] * 3, biases=[3, 4, 3])).core_of["hidden1"][0] == 1


def test_slices_are_not_asked_of_such_a_chip_nor_chips_of_a_machine():
    with pytest.raises(UsageError) as caught:
        place_chain(mlp(4, 4, 2), layered([8] * 3, [1024] * 3), neurons_per_core=2)
    assert str(caught.value) == "neurons_per_core is 2, but a core of 'odd' holds one whole population; leave neurons_per_core out"
    with pytest.raises(UsageError) as caught:
        place_chain(mlp(4, 4, 2), hexagonal(), chips=3)
    assert str(caught.value) == "chips is 3, but 'odd' is a machine of 48 chips; leave chips out"


def test_spares_of_such_a_chip_stay_free():
    placement = place_chain(mlp(4, 4, 2), layered([8] * 5, [1024] * 5), spare_cores=2)
    assert len(placement.spare_cores) == 2
    assert not set(placement.spare_cores) & {int(own[0]) for own in placement.core_of.values()}


def test_cores_that_the_system_takes_are_the_first_and_not_used():
    """SpiNNaker's monitor is core 0 of each chip."""
    placement = place_chain(mlp(24, 8, 4), hexagonal(cores=4, reserved=1, dead_cores=["0,0,2"]), strategy="pack")
    assert sorted({int(core) for own in placement.core_of.values() for core in own}) == [1, 3, 5, 6, 7]
    with pytest.raises(ValueError, match="usable_cores 4 and 1 reserved is more than cores 4"):
        hexagonal(cores=4, reserved=1, usable=4)
