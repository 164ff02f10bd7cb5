"""Graphs come back from a file as they were: every kind of synapse and edit, several inputs, loops, delays."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from placed_networks import graph_deployment, random_graph, small_chip
from test_saved import put, rewritten, same

import neurofault as nf
from neurofault.damage.damage import (
    Damage,
    Detour,
    Drop,
    Force,
    Hit,
    InputNoise,
    LearningDefect,
    LostReset,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    Stall,
    StuckCounter,
    Upset,
)
from neurofault.damage.when import When
from neurofault.errors import UsageError
from neurofault.graph import Encoding, Readout
from neurofault.graph.chip import reached


def edits(populations, connections):
    """One of every kind."""
    first, last, one = populations[0], populations[-1], connections[-1]
    pair = np.array([0]), np.array([0])
    yield Silence(last.name, np.array([0]), When(2, 5))
    yield Force(first.name, np.array([0]), 7)
    yield SetField(last.name, "vth", np.array([0]), np.array([5], np.int32))
    yield Upset(last.name, "v", np.array([0]), np.array([8], np.int32), 3)
    yield InputNoise(first.name, np.array([0]), 2.5, 77)
    yield SetSynapses(one.name, *pair, np.array([6], np.int32), flips=np.array([2], np.int32))
    yield SetDelays(one.name, *pair, np.array([2]))
    yield Drop(one.name, 1, np.array([0]), np.arange(one.synapses.n_out), 0.5, 3)
    yield LearningDefect(one.name, "frozen", np.array([0]))
    yield Stall((1,), When(9, 10))
    yield Detour(np.array([0]), np.array([1]), np.array([4]))
    yield StuckCounter(last.name, np.array([0]), 1, When(2, 5))
    yield LostReset(last.name, np.array([0]))


def broken(seed):
    rng = np.random.default_rng(seed)
    populations, connections = random_graph(rng)
    core_of = [rng.integers(0, 6, one.size) for one in populations]
    made = tuple(edits(populations, connections))
    damage = Damage(made, (Hit("made up", (1,), {populations[-1].name: 1}, {connections[-1].name: 1}, n_edits=len(made)),))
    readout = str(rng.choice([one.name for one in populations if one.name in reached(populations, connections)]))
    return graph_deployment(populations, connections, small_chip(3, 2, 1), core_of, readout=readout, damage=damage)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_graph_comes_back_and_is_saved_to_the_same_bytes(seed, tmp_path):
    chip = broken(seed)
    nf.save(chip, tmp_path / "graph.npz")
    read = nf.load(tmp_path / "graph.npz")
    same(chip, read)
    assert list(read.placement.core_of) == [one.name for one in chip.populations]
    nf.save(read, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "graph.npz").read_bytes()


def test_each_input_has_its_own_table_of_pixels(tmp_path):
    populations = (
        nf.Population("left", (3,), nf.Source(Encoding.for_pixels(1.0, 0.0, 8))), nf.Population("right", (2,), nf.Source()),
        nf.Population("output", (2,), nf.CubaLif(1.0)),
    )  # fmt: skip
    connections = (
        nf.Connection("l", "left", "output", nf.Dense(np.ones((2, 3)))), nf.Connection("r", "right", "output", nf.Dense(np.ones((2, 2)))),
    )  # fmt: skip
    chip = nf.deploy(nf.Network("two eyes", populations, connections, 8, Readout("output", "count")))
    nf.save(chip, tmp_path / "chip.npz")
    same(chip, nf.load(tmp_path / "chip.npz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("connections", 0, "source", "nobody"), "('nobody' → 'h0'): no population 'nobody'; populations: in0, in1, h0"),
        (put("connections", 0, "synapses", "weight", 10**6), "array 1000000 is missing"),
        (put("populations", -1, "encoding", {"table": 0, "threshold": 1, "start": 0, "full_rate": 1.0}), "not int32 [256]"),
        (put("damage", "edits", 5, "connection", "nothing"), "connection 'nothing' is not there"),
        (put("damage", "edits", 4, "population", "h0"), "population 'h0' is no input"),
        (put("readout", "population", "h7"), "readout: no population 'h7' (did you mean 'h2'?); populations: "),
    ],
)
def test_what_no_chip_holds_is_refused_in_one_line(change, message, tmp_path):
    nf.save(broken(3), tmp_path / "graph.npz")
    rewritten(tmp_path / "graph.npz", change)
    with pytest.raises(UsageError) as error:
        nf.load(tmp_path / "graph.npz")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "array", "message"),
    [
        ("starts", [0, 3, 2, 4], "starts must rise from 0"),
        ("starts", [0, 1, 2, 3], "starts end at 3, but there are 4 sources"),
        ("sources", [0, 9, 0, 1], "sources lie in 0 … 9; allowed: 0 to 1"),
        ("sources", [1, 0, 0, 1], "sources must rise within a row"),
        ("delay", [0, 64, 0, 0], "delays must lie in [0, 63]"),
    ],
)
def test_listed_synapses_that_contradict_each_other_are_refused(field, array, message, tmp_path):
    listed = nf.Sparse.of(3, 2, np.array([0, 0, 1, 2]), np.array([0, 1, 0, 1]), np.array([2, 4, 6, 8]), np.zeros(4, np.int64))
    populations = (nf.Population("input", (2,), nf.Source()), nf.Population("output", (3,), nf.CubaLif(1.0)))
    chip = nf.deploy(nf.chain("listed", populations, [listed], timesteps=4, how="count"))
    own = chip.connections[0]
    object.__setattr__(own.synapses, field, np.array(array, np.int64))
    nf.save(chip, tmp_path / "chip.npz")
    with pytest.raises(UsageError) as error:
        nf.load(tmp_path / "chip.npz")
    assert message in str(error.value)


def lawful():
    neuron = nf.CubaLif(1.0, reset="subtract", refractory=np.array([0, 2]), floor=-0.5, start=np.array([0.0, 0.25]))
    populations = (nf.Population("input", (3,), nf.Source()), nf.Population("output", (2,), neuron))
    return nf.deploy(nf.chain("lawful", populations, [nf.Dense(np.ones((2, 3)))], timesteps=4, how="count"))


def test_laws_and_starts_of_single_neurons_come_back(tmp_path):
    chip = lawful()
    nf.save(chip, tmp_path / "chip.npz")
    back = nf.load(tmp_path / "chip.npz")
    same(chip, back)
    law, theta = back.populations[1].law, int(back.populations[1].vth[0]) << 6
    assert (law.reset, law.delayed, law.refractory.tolist(), law.floor.tolist()) == ("subtract", False, [0, 2], [-theta // 2] * 2)
    assert back.populations[1].v_init.tolist() == [0, theta // 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("populations", 1, "law", "reset", "twice"), "reset is 'twice', not zero or subtract or none"),
        (put("populations", 1, "law", "floor", {"array": 0}), "population 'output': floor is int32 [3], not int32 [2]"),
        (put("populations", 1, "law", "delayed", True), "population 'output': a delayed reset beside refractory steps"),
        (put("populations", 1, "v_init", "array", 10**6), "array 1000000 is missing"),
    ],
)
def test_laws_that_no_chip_has_are_refused_in_one_line(change, message, tmp_path):
    nf.save(lawful(), tmp_path / "chip.npz")
    rewritten(tmp_path / "chip.npz", change)
    with pytest.raises(UsageError) as error:
        nf.load(tmp_path / "chip.npz")
    assert message in str(error.value)


def test_a_chip_with_lavas_law_is_written_as_it_always_was(tmp_path):
    nf.save(broken(0), tmp_path / "chip.npz")
    with zipfile.ZipFile(tmp_path / "chip.npz") as archive, archive.open("deployment.npy") as member:
        text = json.loads(np.load(io.BytesIO(member.read())).tobytes())
    assert text["format"] == 2
    assert all("law" not in each and isinstance(each["v_init"], int) for each in text["populations"])
