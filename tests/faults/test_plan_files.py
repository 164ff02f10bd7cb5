from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from fault_chips import EVERYWHERE, mlp, wire
from test_every_kind import CHIPS, EXTRA, WHENS, at_time

from neurofault import faults
from neurofault.errors import FaultError
from neurofault.graph import Dense

NEWER = ("refractory_stuck", "spike_reset_lost", "state_kept")
"""Kinds that there were not when edits numbered layers."""


def everything():
    """One fault of each kind, at varied times."""
    times = list(WHENS)
    specs = []
    for number, kind in enumerate([*(kind for kind in EVERYWHERE if kind not in NEWER), *NEWER]):
        specs.append({"kind": kind, "count": 2, "when": at_time(kind, times[number % len(times)]), **EXTRA.get(kind, {})})
    return specs


OF_LAYERS = Path(__file__).with_name("plan_of_layers.npz")
"""What the last version whose edits numbered layers wrote of the plan in the next test."""


def test_a_plan_survives_its_file(tmp_path):
    plan = faults.plan(CHIPS["dense"], everything(), seed=3, draw=1)
    faults.save_plan(plan, tmp_path / "plan.npz")
    check_same(faults.load_plan(tmp_path / "plan.npz"), plan)


def test_a_plan_that_numbers_layers_is_read_with_its_chip():
    check_same(
        faults.load_plan(OF_LAYERS, CHIPS["dense"]), faults.plan(CHIPS["dense"], everything()[: -len(NEWER)], seed=3, draw=1)
    )


def check_same(read, plan):
    assert (read.seed, read.draw) == (3, 1)
    assert [planned.fault for planned in read.faults] == [planned.fault for planned in plan.faults]
    assert read.hits == plan.hits
    assert [planned.dead_cores for planned in read.faults] == [planned.dead_cores for planned in plan.faults]
    for one, other in zip(plan.faults, read.faults, strict=True):
        for edit, again in zip(one.edits, other.edits, strict=True):
            assert type(edit) is type(again)
            for field in fields(edit):
                a, b = getattr(edit, field.name), getattr(again, field.name)
                if isinstance(a, np.ndarray):
                    np.testing.assert_array_equal(a, b)
                    assert a.dtype == b.dtype
                else:
                    assert a == b
    assert faults.plan_hash(read) == faults.plan_hash(plan)


def test_a_plan_that_numbers_layers_needs_the_chain_that_it_was_made_on():
    looped = mlp(6, 7, 5, 4)
    rec = wire("hidden1.rec", "hidden1", "hidden1", Dense(np.zeros((7, 7), np.int32)))
    looped = replace(looped, connections=(*looped.connections, rec))
    for chip, message in (
        (None, "this plan of an earlier version numbers layers; say which chip it was made on: load_plan(path, chip)"),
        (looped, "the plan numbers the layers of a chain, but of this chip connection 'hidden1.rec' drives itself"),
        (mlp(6, 7, 4), "the plan was made on another chip: it hits layer 3, but here there are 3 layers"),
    ):
        with pytest.raises(FaultError) as error:
            faults.load_plan(OF_LAYERS, chip)
        assert str(error.value) == f"{OF_LAYERS}: {message}"
    with pytest.raises(FaultError, match="made on another chip"):
        faults.inject(mlp(6, 7, 3, 4), faults.load_plan(OF_LAYERS, mlp(6, 7, 3, 4)))


@pytest.mark.parametrize(
    ("kind", "layer"), [("SetSynapses", 0), ("Silence", -1), ("Silence", True), ("Silence", "1"), ("Drop", None)]
)
def test_a_plan_that_numbers_what_is_no_layer_is_refused(tmp_path, kind, layer):
    with np.load(OF_LAYERS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    data = json.loads(arrays["plan"].tobytes())
    edit = next(edit for fault in data["faults"] for edit in fault["edits"] if edit["edit"] == kind)
    edit["layer"] = layer
    np.savez(tmp_path / "plan.npz", **(arrays | {"plan": np.frombuffer(json.dumps(data).encode(), np.uint8)}))
    with pytest.raises(FaultError, match="not a fault plan, or a damaged one"):
        faults.load_plan(tmp_path / "plan.npz", CHIPS["dense"])


def test_a_plan_whose_broken_places_are_an_array_is_refused(tmp_path):
    faults.save_plan(faults.plan(CHIPS["dense"], everything(), seed=3, draw=1), tmp_path / "plan.npz")
    with np.load(tmp_path / "plan.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    data = json.loads(arrays["plan"].tobytes())
    broken = next(fault["hit"] for fault in data["faults"] if fault["hit"].get("broken"))
    broken["broken"] = {"array": next(name for name in arrays if name != "plan")}
    np.savez(tmp_path / "plan.npz", **(arrays | {"plan": np.frombuffer(json.dumps(data).encode(), np.uint8)}))
    with pytest.raises(FaultError, match=r"not a fault plan, or a damaged one \(ValueError: .* is no broken\)"):
        faults.load_plan(tmp_path / "plan.npz")


def test_a_hash_tells_plans_apart():
    chip = mlp(8, 24, 4)
    made = [
        faults.plan(chip, fault, seed=seed, draw=draw)
        for fault in (faults.NeuronDead(count=3), faults.NeuronDead(count=4), faults.NeuronDead(count=3, when=faults.once(2)))
        for seed in (0, 1)
        for draw in (0, 1)
    ]
    assert len({faults.plan_hash(plan) for plan in made}) == len(made)
    again = faults.plan(chip, faults.NeuronDead(count=3))
    assert faults.plan_hash(again) == faults.plan_hash(made[0])
    assert faults.plan_hash(replace(again, seed=99)) == faults.plan_hash(made[0])


def test_a_hash_tells_a_dead_core_from_a_silent_one():
    chip = mlp(8, 24, 4)
    dead, silent = (
        faults.plan(chip, fault) for fault in (faults.CoreDead(cores=[3]), faults.CoreHung(cores=[3], on_core_death="silent"))
    )
    neurons = chip.placement.core_of["hidden1"]
    same = faults.plan(chip, faults.NeuronDead(neurons=np.flatnonzero(neurons == 3), layer="hidden1"))
    assert [len(plan.faults[0].edits) for plan in (dead, silent, same)] == [1, 1, 1]
    assert len({faults.plan_hash(plan) for plan in (dead, silent)}) == 2
    assert faults.plan_hash(same) == faults.plan_hash(silent)
    whole = faults.plan(chip, [faults.CoreDead(cores=[3]), faults.CoreDead(cores=[4])])
    apart = replace(whole, faults=(replace(whole.faults[0], dead_cores=(3, 4)), replace(whole.faults[1], dead_cores=())))
    assert faults.plan_hash(whole) != faults.plan_hash(apart)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not a fault plan, or a damaged one"),
        (b"PK\x03\x04rest", "not a fault plan, or a damaged one"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path, content, message):
    path = tmp_path / "plan.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FaultError, match=message):
        faults.load_plan(path)


def test_a_truncated_plan_and_a_pickle_are_refused(tmp_path):
    path = tmp_path / "plan.npz"
    faults.save_plan(faults.plan(CHIPS["dense"], everything()), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FaultError, match="damaged"):
        faults.load_plan(path)
    np.savez(path, plan=np.array([{"a": 1}], object))
    with pytest.raises(FaultError, match="damaged"):
        faults.load_plan(path)


def test_a_defect_map_survives_its_file(tmp_path):
    known = (
        faults.CoreDead(cores=[5, "12-15"]),
        faults.LinkDead(links=["1,0:E"], direction="one"),
        faults.SynapseBitStuck(synapse_bits=[(1, 2, 7)], level=1, layer="hidden1"),
        faults.NeuronDead(neurons=[3], layer="hidden1", when=faults.transient(2, 5)),
    )
    faults.save_defects(known, tmp_path / "chip.yaml")
    assert faults.load_defects(tmp_path / "chip.yaml") == known


def test_a_defect_map_written_by_hand(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text('defects:\n  - {kind: core_dead, cores: [1, "2-3"]}\n  - {kind: axon_lost, axons: [[0, 3]], layer: hidden1}\n')
    chip = mlp(8, 12, 4)
    hurt = faults.inject(chip, faults.load_defects(path))
    assert hurt.damage.dead_cores == (1, 2, 3)


def test_all_mistakes_of_a_defect_map_come_at_once(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text("defects:\n  - {kind: core_ded}\n  - {kind: core_dead, count: 2}\n  - 5\n")
    with pytest.raises(FaultError) as error:
        faults.load_defects(path)
    assert str(error.value) == (
        f"{path}:2:12: defect 1: unknown kind 'core_ded' (did you mean 'core_dead'?); kinds: {', '.join(faults.KINDS)}\n"
        f"{path}:3:30: defect 2: core_dead: a defect map names its sites: give cores, not count or rate\n"
        f"{path}:4:5: defect 3: must be a mapping such as {{kind: core_dead, cores: [5]}}"
    )
    path.write_text("cores: [1]\n")
    with pytest.raises(FaultError) as error:
        faults.load_defects(path)
    assert str(error.value) == f"{path}: a defect map holds one list, defects"
    with pytest.raises(FaultError) as error:
        faults.load_defects(tmp_path / "none.yaml")
    assert str(error.value) == f"{tmp_path / 'none.yaml'}: no such file"
    with pytest.raises(FaultError, match="core_dead: a defect map names its sites"):
        faults.save_defects([faults.CoreDead(count=1)], path)


def test_defect_maps_unite_and_intersect():
    first = (faults.CoreDead(cores=[1, 2]), faults.LinkDead(links=["0,0:E"]))
    second = (faults.CoreDead(cores=[2, 3]), faults.LinkDead(links=["0,0:E"], direction="one"))
    assert faults.defects.union(first, second) == (
        faults.CoreDead(cores=[1, 2, 3]),
        faults.LinkDead(links=["0,0:E"]),
        faults.LinkDead(links=["0,0:E"], direction="one"),
    )
    assert faults.defects.intersection(first, second) == (faults.CoreDead(cores=[2]),)


def test_a_plan_of_another_chip_is_refused():
    plan = faults.plan(mlp(8, 24, 4), faults.NeuronDead(neurons=[20], layer="hidden1"))
    with pytest.raises(FaultError) as error:
        faults.inject(mlp(8, 12, 4), plan)
    assert (
        str(error.value)
        == "neuron_dead: the plan was made on another chip: it hits neuron 20 of layer 'hidden1', but here that has 12 neurons, 0 to 11"
    )
    deep = faults.plan(mlp(8, 4, 4, 4), faults.SynapseDead(count=1, layer="hidden2"))
    with pytest.raises(FaultError) as error:
        faults.inject(mlp(8, 4, 4), deep)
    assert str(error.value) == (
        "synapse_dead: the plan was made on another chip: it hits connection 'hidden2', but here connections are hidden1, output"
    )
    everywhere = faults.plan(CHIPS["dense"], everything())
    assert len(faults.inject(CHIPS["dense"], everywhere).damage.hits) == len(EVERYWHERE)
