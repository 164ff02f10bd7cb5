"""A deployment of a graph: by names, with several inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import connection, dense, neurons
from placed_networks import graph_deployment, small_chip

import neurofault as nf
from neurofault.damage.damage import Damage, Silence
from neurofault.deploy.support import support_cores
from neurofault.errors import UsageError
from neurofault.graph import Encoding

RNG = np.random.default_rng(6)


def two_eyes(name="two eyes"):
    populations = (
        nf.Population("left", (3,), nf.Source(Encoding.for_pixels(1.0, 0.0, 8))), nf.Population("right", (2,), nf.Source(Encoding.for_pixels(0.5, 0.0, 8))),
        nf.Population("bus", (4,), nf.Source()), nf.Population("output", (2,), nf.CubaLif(1.0)),
    )  # fmt: skip
    connections = tuple(
        nf.Connection(source, source, "output", nf.Dense(RNG.normal(0, 1, (2, size))))
        for source, size in (("left", 3), ("right", 2), ("bus", 4))
    )
    return nf.deploy(nf.Network(name, populations, connections, 8, nf.Readout("output", "count")))


def test_images_of_each_input_become_its_own_currents():
    chip = two_eyes()
    left, right = np.full((5, 3), 255, np.uint8), np.linspace(0, 1, 10).reshape(5, 2)
    inputs = chip.encode({"left": left, "right": right})
    assert np.array_equal(inputs.of("left").mantissa, chip.population("left").encoding.table[left])
    assert np.array_equal(
        inputs.of("right").mantissa, chip.population("right").encoding.table[np.rint(right * 255).astype(np.uint8)]
    )


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.zeros((1, 3), np.uint8), "network 'two eyes' has 3 inputs: left, right, bus; pass {name: images}"),
        ({"left": np.zeros((1, 4), np.uint8)}, "a sample has 4 values, but input 'left' has 3 neurons"),
        ({"bus": np.zeros((1, 4), np.uint8)}, "input 'bus' takes events, not images: pass Inputs(events=…)"),
        ({"output": np.zeros((1, 2), np.uint8)}, "'output' is no input; inputs: left, right, bus"),
        (
            {"rght": np.zeros((1, 2), np.uint8)},
            "no population 'rght' (did you mean 'right'?); populations: left, right, bus, output",
        ),
    ],
)
def test_images_that_fit_no_input_are_refused_by_its_name(images, text):
    with pytest.raises(UsageError) as refused:
        two_eyes().encode(images)
    assert str(refused.value) == text


def test_a_part_is_replaced_by_its_name_and_nothing_else_changes():
    chip = two_eyes()
    other = chip.with_connection(replace(chip.connection("right"), weight_exponent=3))
    assert [one.weight_exponent for one in other.connections] == [
        3 if one.name == "right" else one.weight_exponent for one in chip.connections
    ]
    other = chip.with_population(replace(chip.population("output"), v_init=7))
    assert [one.v_init for one in other.populations] == [*(one.v_init for one in chip.populations[:-1]), 7]
    assert chip.output.name == "output"
    assert chip.inputs == ("left", "right", "bus")
    assert chip.encoding is None


def test_supporting_neurons_sit_near_what_is_read_wherever_it_stands_in_the_list():
    populations = [neurons("input", (2,), is_source=True), neurons("output", (2,)), neurons("aside", (2,))]
    connections = [connection("o", "input", "output", dense(RNG, 2, 2)), connection("a", "input", "aside", dense(RNG, 2, 2))]
    chip = graph_deployment(populations, connections, small_chip(8, 1, 1), [[0, 0], [2, 2], [7, 7]], readout="output")
    assert support_cores(chip, 3).tolist() == [1, 1, 1]


def test_a_damaged_graph_is_healthy_without_its_damage():
    chip = two_eyes()
    hurt = chip.with_damage(Damage((Silence("output", np.array([1])),)))
    assert hurt.damage.silent("output", 2).tolist() == [False, True]
    assert hurt.with_damage(Damage()).connections is chip.connections
