"""Writing to the synapses of a graph: one connection of several, in the steps that its target counts."""

from __future__ import annotations

import numpy as np
import pytest
from chips import connection, conv, dense, graph_chip, neurons, sparse

from neurofault.damage.damage import SetDelays, SetSynapses, Silence
from neurofault.damage.when import When
from neurofault.deploy.memory import begun, next_upset, settled, stored_weights, write, write_delays, write_gate
from neurofault.errors import UsageError

RNG = np.random.default_rng(2)
ONE = np.array([1]), np.array([2])
"""A synapse: source 1, target 2."""


def ring(*edits):
    """An input drives a ring by two connections, the ring drives itself."""
    populations = [neurons("input", (4,), is_source=True), neurons("ring", (3,)), neurons("output", (2,))]
    connections = [
        connection("in", "input", "ring", dense(RNG, 3, 4)), connection("late", "input", "ring", dense(RNG, 3, 4), delay=3, bits=4),
        connection("own", "ring", "ring", dense(RNG, 3, 3)), connection("output", "ring", "output", dense(RNG, 2, 3), delay=2),
    ]  # fmt: skip
    return graph_chip(populations, connections, 10, edits)


def flip(name, when=When()):  # noqa: B008  (frozen)
    return SetSynapses(name, *ONE, np.zeros(1, np.int32), when, flips=np.array([64], np.int32))


@pytest.mark.parametrize("name", ["in", "late", "own"])
def test_a_write_changes_the_named_connection_and_no_other(name):
    chip = ring(Silence("ring", np.array([0])))
    before = {one.name: stored_weights(chip, one.name) for one in chip.connections}
    wanted = np.full(before[name].shape, 96)
    after = write(chip, name, wanted)
    for one in chip.connections:
        expected = np.where(np.arange(3)[:, None] == 0, before[name], wanted) if one.name == name else before[one.name]
        assert np.array_equal(stored_weights(after, one.name), expected)


def test_a_write_mends_the_upset_of_its_own_connection_only():
    chip = ring(flip("in"), flip("own"))
    healthy = {name: chip.connection(name).synapses.weight for name in ("in", "own")}
    assert all(stored_weights(chip, name)[2, 1] != healthy[name][2, 1] for name in healthy)
    after = write(chip, "own", healthy["own"])
    assert np.array_equal(stored_weights(after, "own"), healthy["own"])
    assert stored_weights(after, "in")[2, 1] == stored_weights(chip, "in")[2, 1]


def test_each_connection_has_the_width_that_it_stores():
    chip = ring()
    asked = np.full((3, 4), 254)
    assert np.unique(write_gate(chip, "in").admit(asked, asked)).tolist() == [254]
    assert np.unique(write_gate(chip, "late").admit(asked, asked)).tolist() == [224]  # 7 · 32


def test_when_an_upset_has_happened_is_told_by_the_phase_of_the_target():
    """The ring handles step t of sample k in the chip's step 10k + 1 + 1 + t, the output in 10k + 3 + 1 + t."""
    chip = ring(flip("own", When(12, clock="chip")), flip("output", When(23, clock="chip")), flip("late", When(31, clock="chip")))
    chip = chip.with_damage(type(chip.damage)(tuple(
        edit if edit.connection != "output" else SetDelays("output", np.array([0]), np.array([1]), np.array([3]), edit.when)
        for edit in chip.damage.edits
    )))  # fmt: skip
    assert [next_upset(chip, sample) for sample in (-1, 0, 1, 2)] == [1, 1, 2, None]
    assert next_upset(begun(chip, 1), 1) == 2
    assert [edit.when.always for edit in settled(chip, 12).damage.edits] == [True, False, False]
    assert [edit.when.always for edit in begun(chip, 1).damage.edits] == [True, True, False]


def test_delays_are_written_to_the_named_connection():
    chip = ring(SetDelays("in", *ONE, np.array([5])), SetDelays("late", *ONE, np.array([5])))
    delays = np.zeros((3, 4), np.int64)
    delays[2, 1] = 4
    after = write_delays(chip, "in", delays)
    assert np.array_equal(after.connection("in").synapses.delay, delays)
    assert after.connection("late").synapses.delay is None
    assert [edit.sources.size for edit in after.damage.edits] == [0, 1]


def test_what_is_not_dense_or_not_there_is_refused_by_name():
    populations = [neurons("input", (1, 4, 4), is_source=True), neurons("map", (2, 2, 2))]
    connections = [
        connection("map", "input", "map", conv(RNG, (1, 4, 4), 2, (3, 3))), connection("listed", "map", "map", sparse(RNG, 8, 8)),
    ]  # fmt: skip
    chip = graph_chip(populations, connections, 10)
    for name, text in (
        ("map", "layer 'map' is not dense: only dense layers can be written"),
        ("listed", "connection 'listed' is not dense: only dense connections can be written"),
        ("lsted", "no connection 'lsted' (did you mean 'listed'?); connections: map, listed"),
    ):
        for call in (write_gate, stored_weights, lambda chip, name: write(chip, name, np.zeros((8, 8)))):
            with pytest.raises(UsageError) as refused:
                call(chip, name)
            assert str(refused.value) == text
