from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fault_chips import EVERYWHERE, mlp, small_profile, with_synapses

from neurofault import faults
from neurofault.damage.damage import Damage, Silence
from neurofault.damage.stored import to_field
from neurofault.damage.when import When
from neurofault.errors import FaultError, UsageError
from neurofault.graph import Dense

CHIP = mlp(8, 24, 12, 4, profile=small_profile(columns=2, rows=2, cores_per_tile=2))  # 12 cores on 2 chips of 8 cores


def cores_in(at, **options):
    return set(faults.plan(CHIP, faults.CoreDead(rate=1.0, at=at, **options)).faults[0].dead_cores)


@pytest.mark.parametrize(
    ("at", "cores"),
    [
        ("core:3", {3}),
        ("core:2-5,9", {2, 3, 4, 5, 9}),
        ("chip:0", set(range(8))),
        ("chip:1", {8, 9, 10, 11}),
        ("tile:0", {0, 1}),
        ("tile:3-4", {6, 7, 8, 9}),
        (["core:1", "tile:4"], {1, 8, 9}),
        ({"any_of": ["core:1", "tile:4"]}, {1, 8, 9}),
        ({"all_of": ["chip:0", "core:6-9"]}, {6, 7}),
        ({"all_of": ["chip:0", ["core:7", "chip:1"]]}, {7}),
    ],
)
def test_places_are_cores(at, cores):
    assert cores_in(at) == cores


def test_a_place_and_a_layer_are_both_kept():
    assert cores_in("chip:0", layer="hidden") == {2, 3, 4, 5, 6, 7}
    neurons = faults.plan(CHIP, faults.NeuronDead(rate=1.0, at="core:7-8")).hits[0]
    assert neurons.neurons == {"hidden1": 4, "hidden2": 4}


@pytest.mark.parametrize("words", [(0, 0), (2, 4), (5, 99)])
def test_word_ranges_cut_the_memory_of_each_core(words):
    low, high = words
    at = {"all_of": [f"word:{low}-{high}", "core:2-3"]}
    some = faults.plan(CHIP, faults.SynapseDead(rate=1.0, at=at)).faults[0].edits
    wanted = set()
    for core in (2, 3):
        targets = np.flatnonzero(CHIP.placement.core_of["hidden1"] == core)
        axons = [
            (source, targets[i : i + 2]) for source in range(8) for i in (0, 2)
        ]  # words of two weights, four targets on a core
        wanted |= {(source, int(target)) for source, pair in axons[low : high + 1] for target in pair}
    assert {(s, t) for edit in some for s, t in zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)} == wanted


def test_word_ranges_of_bits_and_their_union():
    at = {"all_of": [["word:0", "word:3"], "core:2"]}
    hit = faults.plan(CHIP, faults.SynapseBitFlip(rate=1.0, at=at)).hits[0]
    assert hit.synapses == {"hidden1": 4}
    assert faults.plan(CHIP, faults.SynapseBitFlip(count=32, at=at)).hits[0].synapses == {"hidden1": 4}


BAD = [
    (
        "cores:3",
        "core_dead: at: 'cores:3' is not a place (did you mean 'core'?); write board, chip, tile, core, word, a colon, and ids such as 0-3,7",
    ),
    ("core:16", "core_dead: at: there is no core 16; cores: 0 to 15"),
    ("chip:2", "core_dead: at: there is no chip 2; chips: 0 to 1; more chips: --chips N --place spread"),
    ("core:12-15", "core_dead: layer 'any' has no used cores at 'core:12-15'"),
    ({"al_of": []}, "core_dead: at must be a place such as \"core:0-7\", a list of places, or {all_of: […]}, is {'al_of': []}"),
]


@pytest.mark.parametrize(("at", "message"), BAD)
def test_bad_places_are_refused(at, message):
    with pytest.raises(FaultError) as error:
        faults.plan(CHIP, faults.CoreDead(count=1, at=at))
    assert str(error.value) == message


def test_words_are_places_of_memory_only():
    with pytest.raises(FaultError) as error:
        faults.plan(CHIP, faults.NeuronDead(count=1, at="word:0-3"))
    assert str(error.value) == "neuron_dead: neurons do not lie in memory words; name chips, tiles or cores"


def test_importance_orders_neurons_by_what_they_send():
    sent = np.abs(CHIP.connection("hidden2").synapses.weight).sum(axis=0)
    least = faults.plan(CHIP, faults.NeuronDead(count=5, layer="hidden1", where="least_important")).faults[0].edits[0].neurons
    most = faults.plan(CHIP, faults.NeuronDead(count=5, layer="hidden1", where="most_important")).faults[0].edits[0].neurons
    assert set(least) == set(np.argsort(sent, kind="stable")[:5])
    assert set(most) == set(np.argsort(-sent, kind="stable")[:5])


def test_importance_can_be_given():
    scores = {one.name: np.arange(one.size, dtype=float) for one in CHIP.populations}
    plan = faults.plan(CHIP, faults.NeuronDead(count=3, layer="hidden1", where="most_important"), importance=scores)
    assert plan.faults[0].edits[0].neurons.tolist() == [21, 22, 23]
    cores = faults.plan(CHIP, faults.CoreDead(count=2, layer="hidden1", where="least_important"), importance=scores)
    assert cores.faults[0].dead_cores == (2, 3)
    with pytest.raises(FaultError, match="importance of layer 'hidden1' must have 24 scores"):
        faults.plan(CHIP, faults.NeuronDead(count=3, where="most_important"), importance={"hidden1": np.zeros(3)})


def test_the_largest_weights_and_highest_bits_are_most_important():
    edit = faults.plan(CHIP, faults.SynapseDead(count=10, layer="hidden1", where="most_important")).faults[0].edits[0]
    weight = np.abs(CHIP.connection("hidden1").synapses.weight)
    assert sorted(weight[edit.targets, edit.sources]) == sorted(np.sort(weight.ravel())[-10:])
    flips = faults.plan(CHIP, faults.SynapseBitFlip(count=192, layer="hidden1", where="most_important")).faults[0].edits[0]
    assert (np.abs(flips.values - CHIP.connection("hidden1").synapses.weight[flips.targets, flips.sources]) == 256).all()


def of_width(chip, bits, mode="mixed"):
    """The same chip with its last layer stored in ``bits`` bits."""
    places = 8 - bits + (mode == "mixed")
    weight = chip.connection("output").synapses.weight >> places << places
    weight = {"mixed": weight, "excitatory": np.abs(weight) & 255, "inhibitory": -(np.abs(weight) & 255)}[mode]
    return with_synapses(chip, "output", Dense(weight.astype(np.int32)), weight_bits=bits, sign_mode=mode)


def moved_weights(chip, fault):
    """(connection, weight that one flipped bit moves) → number of bits, from the stored fields."""
    found = Counter()
    for edit in faults.plan(chip, fault).faults[0].edits:
        own = chip.connection(edit.connection)
        before, after = (
            to_field(weight, own.weight_bits, own.sign_mode)
            for weight in (own.synapses.weight[edit.targets, edit.sources], edit.values)
        )
        unit = 1 << (8 - own.weight_bits + (own.sign_mode == "mixed"))
        for bit in range(own.weight_bits):
            found[own.name, unit << bit] += int(((before ^ after) >> bit & 1).sum())
    return {key: number for key, number in found.items() if number}


@pytest.mark.parametrize("kind", ["synapse_bit_flip", "synapse_bit_stuck"])
@pytest.mark.parametrize("bits", ["3,0", "0,3", "0, 3", "3,0,3"])
def test_listed_bits_are_ordered_by_the_weight_that_they_move_not_as_written(kind, bits):
    chip = mlp(6, 8, 4)
    for where, bit in (("most_important", 3), ("least_important", 0)):
        spec = {"kind": kind, "layer": "hidden1", "bits": bits, "count": 48, "where": where}
        (edit,) = faults.plan(chip, spec).faults[0].edits
        if kind == "synapse_bit_stuck":
            assert set(edit.keep.tolist()) == {255 & ~(1 << bit)}
        else:
            assert moved_weights(chip, spec) == {("hidden1", 2 << bit): 48}


@pytest.mark.parametrize(("bits", "mode"), [(4, "mixed"), (1, "mixed"), (4, "excitatory"), (8, "inhibitory")])
def test_bits_of_layers_of_different_widths_are_ordered_by_the_weight_that_they_move(bits, mode):
    chip = of_width(mlp(6, 8, 4), bits, mode)
    moves = [2 << bit for bit in range(8)] * 48  # of hidden1, eight bits mixed
    moves += [(1 << (8 - bits + (mode == "mixed"))) << bit for bit in range(bits)] * 32
    for count in (48, 80, 200):
        for where in ("most_important", "least_important"):
            found = moved_weights(chip, {"kind": "synapse_bit_flip", "layer": "any", "count": count, "where": where})
            wanted = Counter(sorted(moves, reverse=where == "most_important")[:count])
            totals = Counter()
            for (_, move), number in found.items():
                totals[move] += number
            assert totals == wanted


def test_links_have_no_order_of_importance():
    with pytest.raises(FaultError, match="used links have no order of importance; where must be random or clustered"):
        faults.plan(CHIP, faults.LinkDead(count=1, where="most_important"))


@pytest.mark.parametrize(
    ("timing", "when"),
    [
        (faults.transient(3, 8), When(3, 8)),
        (faults.intermittent(2, 3, start=1), When(1, None, 5, 2)),
        (faults.periodic(4, start=2), When(2, None, 4, 1)),
        (faults.once(5), When(5, 6)),
        (faults.death(50), When(50, clock="chip")),
    ],
)
def test_times_become_windows(timing, when):
    (edit,) = faults.plan(CHIP, faults.NeuronDead(neurons=[1], layer="hidden1", when=timing)).faults[0].edits
    assert edit.when == when


def test_an_upset_of_stored_bits_lasts():
    (edit,) = faults.plan(CHIP, faults.SynapseBitFlip(count=1, when=faults.once(5))).faults[0].edits
    assert edit.when == When(5)


@pytest.mark.parametrize(("shape", "dead"), [(1.0, [0, 2, 5, 8, 10]), (2.0, [0, 0, 2, 6, 10])])
def test_ageing_kills_the_same_sites_one_after_the_other(shape, dead):
    fault = faults.NeuronDead(count=10, layer="hidden1", when=faults.ageing(100, 140, shape=shape))
    edits = faults.plan(CHIP, fault).faults[0].edits
    number = [sum(len(e.neurons) for e in edits if e.when.active(np.array(step))) for step in (99, 110, 120, 132, 140)]
    wanted = [
        sum(1 for n in range(1, 11) if step >= 100 and ((step - 100) / 40) ** shape >= n / 10 - 1e-9)
        for step in (99, 110, 120, 132, 140)
    ]
    assert number == wanted
    assert number == dead
    alive = faults.plan(CHIP, faults.NeuronDead(count=10, layer="hidden1")).faults[0].edits[0].neurons
    assert sorted(int(n) for edit in edits for n in edit.neurons) == alive.tolist()
    first = faults.plan(CHIP, faults.NeuronDead(count=1, layer="hidden1")).faults[0].edits[0].neurons
    assert int(first[0]) in edits[0].neurons


TIMES = [
    ({"kind": "transient", "start": 5, "stop": 5}, "neuron_dead: when: stop 5 must come after start 5"),
    ({"kind": "transient", "start": 5}, "neuron_dead: when: transient needs stop"),
    (
        {"kind": "transient", "start": -1, "stop": 2.5, "on": 3},
        "neuron_dead: when: start must be at least 0, is -1\n"
        "neuron_dead: when: stop must be a whole number of steps, is 2.5\n"
        "neuron_dead: when: transient takes no on; it takes start, stop, clock",
    ),
    ({"kind": "intermittent", "on": 0, "off": 2}, "neuron_dead: when: on must be at least 1, is 0"),
    (
        {"kind": "sometimes"},
        "neuron_dead: when: unknown kind 'sometimes'; kinds: permanent, transient, intermittent, periodic, once, death, ageing",
    ),
    (
        {"kind": "once", "att": 2},
        "neuron_dead: when: unknown key 'att' (did you mean 'at'?); allowed: kind, start, stop, on, off, period, at, shape, clock\n"
        "neuron_dead: when: once needs at",
    ),
    (3, "neuron_dead: when: must be a mapping such as {kind: transient, start: 3, stop: 8}, is 3"),
]


@pytest.mark.parametrize(("when", "message"), TIMES)
def test_contradictory_times_are_refused(when, message):
    with pytest.raises(FaultError) as error:
        faults.fault_from_mapping({"kind": "neuron_dead", "count": 1, "when": when})
    assert sorted(str(error.value).split("\n")) == sorted(message.split("\n"))


def test_a_step_that_never_comes_is_refused():
    with pytest.raises(FaultError) as error:
        faults.plan(CHIP, faults.NeuronDead(count=1, when=faults.once(8)))
    assert str(error.value) == "neuron_dead: when: a sample lasts 8 steps (0 to 7), so step 8 of the presentation never comes"


def test_state_upsets_happen_once():
    with pytest.raises(FaultError) as error:
        faults.StateUpset(count=1)
    assert str(error.value) == "state_upset: when: permanent is not possible here; once"


def test_faults_are_undone_one_by_one():
    several = [
        faults.CoreDead(count=1),
        faults.SynapseDead(count=5, layer="output"),
        faults.NeuronDead(count=3),
        faults.CoreDead(cores=[0]),
    ]
    hurt = faults.inject(CHIP, several, seed=2)
    for index in range(4):
        rest = [fault for place, fault in enumerate(several) if place != index]
        wanted, got = faults.inject(CHIP, rest, seed=2).damage, hurt.damage.without(index)
        assert got.hits == wanted.hits
        assert got.dead_cores == wanted.dead_cores
        assert [type(edit) for edit in got.edits] == [type(edit) for edit in wanted.edits]
        for one, other in zip(got.edits, wanted.edits, strict=True):
            for field in ("neurons", "sources", "targets", "values"):
                if hasattr(one, field):
                    np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    gone = hurt.damage
    while gone.hits:
        gone = gone.without(-1)
    assert gone == Damage()


def test_a_fault_under_another_cannot_be_undone_alone():
    pair = faults.SynapseDead(synapses=[(1, 2)], layer="hidden1")
    hurt = faults.inject(CHIP, [pair, faults.SynapseBitFlip(synapse_bits=[(1, 2, 0)], layer="hidden1")])
    with pytest.raises(UsageError) as error:
        hurt.damage.without(0)
    assert str(error.value) == "fault 0 (synapse_dead) and a later one hit the same synapse 1 → 2; undo the later one first"
    with pytest.raises(UsageError) as error:
        hurt.damage.without(2)
    assert str(error.value) == "no fault 2: there are 2"
    assert len(hurt.damage.without(1).without(0).edits) == 0


@pytest.mark.parametrize("kind", faults.KINDS)
def test_every_kind_describes_itself_and_its_example_works(kind):
    info = faults.describe(kind)
    assert info.summary
    assert info.equation
    assert info.mechanism
    assert info.sources
    names = [parameter.name for parameter in info.parameters]
    assert names[:6] == ["count", "rate", "where", "layer", "at", "when"]
    assert all(parameter.text for parameter in info.parameters)
    fault = faults.fault_from_mapping(info.example)
    assert fault.kind == kind
    assert faults.fault_from_mapping(faults.fault_to_mapping(fault)) == fault
    if kind in EVERYWHERE:
        faults.plan(CHIP, fault)


def test_an_unknown_kind_is_not_described():
    with pytest.raises(FaultError, match=r"unknown kind 'link_ded' \(did you mean 'link_dead'\?\); kinds: core_dead, "):
        faults.describe("link_ded")


def test_several_at_once_are_one_plan():
    spec = {"all": [{"kind": "core_dead", "count": 2}, {"kind": "neuron_dead", "count": 4, "when": {"kind": "once", "at": 1}}]}
    hurt = faults.inject(CHIP, spec, seed=9)
    assert [hit.kind for hit in hurt.damage.hits] == ["core_dead", "neuron_dead"]
    assert isinstance(hurt.damage.edits[-1], Silence)
    assert hurt.damage.hits[1].notes == ("acts: once (at 1 of the presentation)",)


def test_ageing_of_no_sites_at_all_breaks_nothing():
    assert faults.ageing(0, 8).onsets(0) == []
