from __future__ import annotations

import itertools

import numpy as np
import pytest
from fault_chips import cnn, even, expanded, mlp, small_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault import faults
from neurofault.damage.damage import Damage, SetSynapses, Silence
from neurofault.errors import FaultError
from neurofault.faults.places import synapse_blocks, synapses_at
from neurofault.graph import Conv


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2]))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    size = [draw(st.integers((k - 1) * d + 1, 7)) for k, d in zip(kernel, dilation, strict=True)]
    shape = (groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)), *kernel)
    return Conv(
        even(np.random.default_rng(0), shape),
        in_shape=(shape[1] * groups, *size),
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 3))),
        padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        dilation=dilation,
        groups=groups,
    )


def all_stored(chip, connection):
    """Every stored synapse of a connection: (core, its (source, target) pairs)."""
    stored = []
    for block in synapse_blocks(chip, [connection]):
        which, sources, targets = synapses_at(chip, block, np.arange(block.size))
        for site in range(block.size):
            stored.append((block.core, {(int(s), int(t)) for w, s, t in zip(which, sources, targets, strict=True) if w == site}))
    return stored


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(1, 9))
def test_expanded_convolution_stores_each_synapse_once_on_its_target_core(conv, per_core):
    chip = cnn(conv, neurons_per_core=per_core)
    stored = all_stored(chip, "conv1")
    pairs = [pair for _, found in stored for pair in found]
    assert all(len(found) == 1 for _, found in stored)
    assert sorted(pairs) == sorted(expanded(conv))
    assert all(chip.placement.core_of["conv1"][target] == core for core, found in stored for _, target in found)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(1, 9))
def test_a_shared_kernel_word_is_every_position_of_its_core_that_reads_it(conv, per_core):
    chip = cnn(conv, neurons_per_core=per_core, profile=small_profile(shared_kernels=True))
    synapses = expanded(conv)
    wanted: dict = {}
    for (source, target), word in synapses.items():
        wanted.setdefault((int(chip.placement.core_of["conv1"][target]), *word), set()).add((source, target))
    stored = all_stored(chip, "conv1")
    assert sorted(map(sorted, (found for _, found in stored if found))) == sorted(map(sorted, wanted.values()))
    _, out_h, out_w = conv.out_shape
    channels = {(int(core), target // (out_h * out_w)) for target, core in enumerate(chip.placement.core_of["conv1"])}
    assert len(stored) == len(channels) * np.prod(conv.weight.shape[1:])


def test_dense_synapses_are_stored_axon_by_axon():
    chip = mlp(3, 5, 2, neurons_per_core=4)
    first, second = synapse_blocks(chip, ["hidden1"])
    assert (first.size, second.size) == (12, 3)
    _, sources, targets = synapses_at(chip, first, np.arange(12))
    assert sources.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert targets.tolist() == [0, 1, 2, 3] * 3


def test_a_dead_core_takes_its_neurons_and_the_synapses_stored_there():
    chip = mlp(6, 8, 3, neurons_per_core=4)  # cores 0–1 input, 2–3 hidden1, 4 output
    hurt = faults.inject(chip, faults.CoreDead(cores=[0, 3]))
    (pixels, hidden) = hurt.damage.edits
    assert isinstance(pixels, Silence)
    assert isinstance(hidden, Silence)
    assert (pixels.population, pixels.neurons.tolist()) == ("input", [0, 1, 2, 3])
    assert (hidden.population, hidden.neurons.tolist()) == ("hidden1", [4, 5, 6, 7])
    (hit,) = hurt.damage.hits
    assert hit.cores == (0, 3)
    assert hit.neurons == {"input": 4, "hidden1": 4}
    assert hit.synapses == {"hidden1": 24}
    assert hurt.damage.dead_cores == (0, 3)
    assert chip.damage.edits == ()
    assert hurt.populations is chip.populations
    assert hurt.connections is chip.connections


def test_a_core_that_two_layers_share_takes_neurons_of_both():
    homes = {"input": [0, 0], "hidden1": [1, 1, 2, 2], "output": [2, 2]}
    chip = mlp(2, 4, 2, core_of={name: np.array(part, np.int32) for name, part in homes.items()})
    hit = faults.inject(chip, faults.CoreDead(cores=[2])).damage.hits[0]
    assert hit.neurons == {"hidden1": 2, "output": 2}
    assert hit.synapses == {"hidden1": 4, "output": 8}


@pytest.mark.parametrize("shared", [False, True])
def test_synapses_lost_with_a_core_are_those_stored_on_it(shared):
    conv = Conv(even(np.random.default_rng(1), (2, 1, 3, 3)), in_shape=(1, 4, 4), padding=(1, 1))
    chip = cnn(conv, neurons_per_core=5, profile=small_profile(shared_kernels=shared))
    core = int(chip.placement.core_of["conv1"][16])  # neurons 15…19: one of channel 0, four of channel 1
    synapses = sum(1 for _, target in expanded(conv) if chip.placement.core_of["conv1"][target] == core)
    assert faults.plan(chip, faults.CoreDead(cores=[core])).hits[0].synapses == {"conv1": 18 if shared else synapses}


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 50), st.integers(0, 5), st.sampled_from(["random", "clustered"]))
def test_fewer_faults_are_among_more(seed, draw, where):
    chip = mlp(20, 40, 12, 8, neurons_per_core=4)
    for model, most in ((faults.CoreDead, 13), (faults.NeuronDead, 52), (faults.SynapseDead, 40)):
        hit = [sites_of(faults.plan(chip, model(count=k, where=where), seed=seed, draw=draw)) for k in range(most + 1)]
        assert [len(found) for found in hit] == list(range(most + 1))
        assert all(a < b for a, b in itertools.pairwise(hit))


def sites_of(plan):
    """Cores, (population, neuron) or (connection, source, target): whatever the plan's one fault is about."""
    (planned,) = plan.faults
    if planned.fault.kind == "core_dead":
        return set(planned.dead_cores)
    found = set()
    for edit in planned.edits:
        if isinstance(edit, Silence):
            found |= {(edit.population, int(neuron)) for neuron in edit.neurons}
        else:
            assert isinstance(edit, SetSynapses)
            assert not edit.values.any()
            found |= {(edit.connection, int(s), int(t)) for s, t in zip(edit.sources, edit.targets, strict=True)}
    return found


def test_a_lower_rate_is_among_a_higher_one_and_rates_are_met_on_average():
    chip = mlp(10, 200, 50, 5, neurons_per_core=16)
    numbers = []
    for draw in range(200):
        low, high = (sites_of(faults.plan(chip, faults.NeuronDead(rate=rate), draw=draw)) for rate in (0.1, 0.3))
        assert low <= high
        numbers.append(len(low))
    assert abs(np.mean(numbers) - 25) < 4 * np.sqrt(250 * 0.09 / 200)
    assert np.std(numbers) > 2
    assert sites_of(faults.plan(chip, faults.NeuronDead(rate=0.0))) == set()
    assert len(sites_of(faults.plan(chip, faults.NeuronDead(rate=1.0)))) == 250


def test_draws_seeds_kinds_and_places_are_different_streams_and_runs_repeat():
    chip = mlp(20, 400, 8, neurons_per_core=16)
    asked = [
        (faults.NeuronDead(count=20), 0, 0),
        (faults.NeuronDead(count=20), 0, 1),
        (faults.NeuronDead(count=20), 1, 0),
        (faults.NeuronDead(count=20, layer="any"), 0, 0),
        (faults.NeuronDead(count=20, where="clustered"), 0, 0),
    ]
    once, again = ([frozenset(sites_of(faults.plan(chip, f, seed=s, draw=d))) for f, s, d in asked] for _ in range(2))
    assert once == again
    assert len(set(once)) == len(asked)


def test_names_of_one_layer_share_a_stream():
    chip = mlp(8, 64, 4)
    plans = [sites_of(faults.plan(chip, faults.CoreDead(count=3, layer=name))) for name in ("hidden", "hidden1")]
    assert plans[0] == plans[1]


def test_random_choice_is_uniform_over_cores():
    chip = mlp(8, 40, 4)
    seen = np.zeros(13)
    for draw in range(400):
        seen[list(faults.plan(chip, faults.CoreDead(count=2), draw=draw).faults[0].dead_cores)] += 1
    assert (seen[:2] == 0).all()
    assert (seen[12:] == 0).all()
    assert np.abs(seen[2:12] - 80).max() < 4 * np.sqrt(400 * 0.2 * 0.8)


def test_clusters_grow_over_the_mesh_from_any_core():
    chip = mlp(4, 96, 4, neurons_per_core=4, profile=small_profile(columns=5, rows=6, cores_per_tile=1))
    seeds = set()
    for draw in range(15):
        order: list[int] = []
        for count in range(1, 25):
            (new,) = set(faults.plan(chip, faults.CoreDead(count=count, where="clustered"), draw=draw).faults[0].dead_cores) - set(
                order
            )
            order.append(new)
        steps = [abs(core % 5 - order[0] % 5) + abs(core // 5 - order[0] // 5) for core in order]
        assert steps == sorted(steps)
        seeds.add(order[0])
    assert len(seeds) > 6


def test_a_cluster_of_neurons_fills_a_core_before_the_next():
    chip = mlp(8, 40, 4)
    hit = faults.plan(chip, faults.NeuronDead(count=10, where="clustered")).hits[0]
    assert len(hit.cores) == 3
    assert sum(hit.neurons.values()) == 10


def test_hidden_is_the_default_and_any_reaches_everything():
    chip = mlp(8, 12, 12, 4)
    assert set(sites_of(faults.plan(chip, faults.CoreDead(count=6)))) == {2, 3, 4, 5, 6, 7}
    assert set(sites_of(faults.plan(chip, faults.CoreDead(count=3, layer="hidden2")))) == {5, 6, 7}
    assert set(sites_of(faults.plan(chip, faults.CoreDead(count=9, layer="any")))) == set(range(9))
    assert {name for name, _ in sites_of(faults.plan(chip, faults.NeuronDead(rate=1.0, layer="input")))} == {"input"}


def test_all_used_cores_silence_every_neuron_and_zero_faults_leave_no_edit():
    chip = mlp(8, 12, 4)
    hurt = faults.inject(chip, faults.CoreDead(rate=1.0, layer="any"))
    for one in chip.populations:
        assert hurt.damage.silent(one.name, one.size).all()
    for model in (faults.CoreDead, faults.NeuronDead, faults.SynapseDead):
        assert faults.inject(chip, model(count=0)).damage.edits == ()


def test_several_faults_act_in_order_and_earlier_damage_stays():
    chip = mlp(8, 12, 4)
    both = faults.inject(chip, [faults.NeuronDead(neurons=[1], layer="output"), {"kind": "core_dead", "count": 1}], seed=3)
    assert [hit.kind for hit in both.damage.hits] == ["neuron_dead", "core_dead"]
    later = faults.inject(both, faults.SynapseDead(synapses=[(0, 2)], layer="output"))
    assert [hit.kind for hit in later.damage.hits] == ["neuron_dead", "core_dead", "synapse_dead"]
    assert later.damage.edits[:-1] == both.damage.edits
    assert later.damage.hits[-1].synapses == {"output": 1}
    assert later.damage.hits[-1].sites == ("core 5: 0 → output[2]",)
    assert later.with_damage(Damage()).damage.edits == ()


def test_a_plan_injects_the_same_as_its_models():
    chip = mlp(8, 40, 4)
    plan = faults.plan(chip, faults.CoreDead(count=3), seed=5, draw=2)
    assert (
        faults.inject(chip, plan).damage.dead_cores
        == faults.inject(chip, faults.CoreDead(count=3), seed=5, draw=2).damage.dead_cores
    )


def test_a_shared_kernel_word_counts_as_one_stored_synapse():
    conv = Conv(even(np.random.default_rng(1), (1, 1, 1, 1)), in_shape=(1, 3, 3))
    chip = cnn(conv, neurons_per_core=9, profile=small_profile(shared_kernels=True))
    plan = faults.plan(chip, faults.SynapseDead(count=1))
    assert plan.hits[0].synapses == {"conv1": 1}
    assert sites_of(plan) == {("conv1", pixel, pixel) for pixel in range(9)}


CASES = [
    (lambda: faults.CoreDead(), "core_dead: say how many in one way: count, rate or cores; none is given"),
    (lambda: faults.CoreDead(count=1, rate=0.5), "core_dead: say how many in one way: count, rate or cores; not count and rate"),
    (lambda: faults.CoreDead(count=-1), "core_dead: count must be at least 0, is -1"),
    (lambda: faults.NeuronDead(rate=-0.1), "neuron_dead: rate must lie in [0, 1], is -0.1"),
    (lambda: faults.NeuronDead(rate=1.5), "neuron_dead: rate must lie in [0, 1], is 1.5"),
    (lambda: faults.NeuronDead(rate=float("nan")), "neuron_dead: rate must lie in [0, 1], is nan"),
    (lambda: faults.CoreDead(count=True), "core_dead: count must be a whole number, is True"),
    (
        lambda: faults.CoreDead(count=1, where="clusterd"),
        "core_dead: where must be random or clustered or least_important or most_important, "
        "is 'clusterd' (did you mean 'clustered'?)",
    ),
    (lambda: faults.CoreDead(cores=["x"]), "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is ['x']"),
    (lambda: faults.CoreDead(cores=[-1]), "core_dead: cores must be at least 0, not -1"),
    (
        lambda: faults.SynapseDead(synapses=[(1, 2), (1, 2)]),
        "synapse_dead: synapses names the same one twice",
    ),
    (
        lambda: faults.fault_from_mapping({"kind": "core_ded", "count": 1}),
        f"unknown kind 'core_ded' (did you mean 'core_dead'?); kinds: {', '.join(faults.KINDS)}",
    ),
    (
        lambda: faults.fault_from_mapping({"count": 1}),
        f"a fault needs a kind; kinds: {', '.join(faults.KINDS)}",
    ),
    (
        lambda: faults.fault_from_mapping({"kind": "core_dead", "cuont": 1, "rate": 2}),
        "core_dead: unknown key 'cuont' (did you mean 'count'?); allowed: count, rate, where, layer, at, when, again, cores\n"
        "core_dead: rate must lie in [0, 1], is 2",
    ),
]


@pytest.mark.parametrize(("make", "message"), CASES)
def test_models_refuse_what_cannot_be(make, message):
    with pytest.raises(FaultError) as error:
        make()
    assert str(error.value) == message


PLANS = [
    (
        faults.CoreDead(count=9),
        "core_dead: 9 used cores asked for, but layer 'hidden' has only 3; layer='any' takes all layers; fewer neurons a core (--neurons-per-core) spread a network over more cores",
    ),
    (
        faults.CoreDead(count=99, layer="any"),
        "core_dead: 99 used cores asked for, but layer 'any' has only 6; fewer neurons a core (--neurons-per-core) spread a network over more cores",
    ),
    (faults.CoreDead(cores=[0, 24, 30]), "core_dead: no core 24, 30; cores: 0 to 23"),
    (
        faults.CoreDead(count=1, layer="hiden1"),
        "core_dead: no layer 'hiden1' (did you mean 'hidden1'?); layers: input, hidden1, output, any, hidden",
    ),
    (faults.NeuronDead(neurons=[12], layer="hidden1"), "neuron_dead: no neuron 12 in layer 'hidden1'; neurons: 0 to 11"),
    (faults.NeuronDead(neurons=[1], layer="any"), "neuron_dead: neurons are listed, so layer must name one layer, not 'any'"),
    (faults.SynapseDead(count=1, layer="input"), "synapse_dead: layer 'input' has no stored synapses"),
    (faults.SynapseDead(synapses=[(8, 0)]), "synapse_dead: no synapse 8 → 0 into layer 'hidden1'"),
    (faults.SynapseDead(synapses=[(0, 0)], layer="input"), "synapse_dead: layer 'input' has no synapses"),
]


@pytest.mark.parametrize(("fault", "message"), PLANS)
def test_plans_refuse_what_does_not_exist(fault, message):
    with pytest.raises(FaultError) as error:
        faults.plan(mlp(8, 12, 4), fault)
    assert str(error.value) == message


def test_all_mistakes_of_all_faults_come_at_once():
    with pytest.raises(FaultError) as error:
        faults.plan(mlp(8, 12, 4), [{"kind": "core_dead", "count": 9}, {"kind": "neuron_dead", "rate": 3}])
    assert str(error.value) == (
        "core_dead: 9 used cores asked for, but layer 'hidden' has only 3; layer='any' takes all layers; fewer neurons a core (--neurons-per-core) spread a network over more cores\n"
        "neuron_dead: rate must lie in [0, 1], is 3"
    )


def test_a_network_without_hidden_layers_says_so():
    with pytest.raises(FaultError) as error:
        faults.plan(mlp(8, 4), faults.CoreDead(count=1))
    assert str(error.value) == "core_dead: layer 'hidden': the network has no hidden layer; layers: input, output, any"


def test_a_convolution_has_no_synapse_outside_its_kernel():
    conv = Conv(
        even(np.random.default_rng(1), (2, 1, 3, 2)), in_shape=(2, 5, 5), padding=(1, 0), stride=(2, 1), dilation=(1, 2), groups=2
    )
    chip = cnn(conv)
    synapses = expanded(conv)
    for source in range(conv.n_in):
        for target in range(conv.n_out):
            fault = faults.SynapseDead(synapses=[(source, target)])
            if (source, target) in synapses:
                assert sites_of(faults.plan(chip, fault)) == {("conv1", source, target)}
            else:
                with pytest.raises(FaultError, match="no synapse"):
                    faults.plan(chip, fault)


@pytest.mark.parametrize(
    "fault",
    [
        faults.CoreDead(cores=[3, "5-7"]),
        faults.NeuronDead(rate=0.25, layer="any", where="clustered"),
        faults.SynapseDead(synapses=[[1, 2]], layer="output"),
    ],
)
def test_a_model_survives_its_mapping(fault):
    assert faults.fault_from_mapping(faults.fault_to_mapping(fault)) == fault


def test_lists_take_ranges():
    assert faults.CoreDead(cores=["5-7", 3]).cores == (3, 5, 6, 7)
