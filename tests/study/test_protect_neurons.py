"""`nf.protect` of neurons: copies that are voted on and bounded potentials, on the exact engine and against plain references."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protected_chips import chain_of

import neurofault as nf
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults import CoreDead, NeuronDead, SynapseBitFlip
from neurofault.inputs import Bias
from neurofault.study.protect.charge import charge


def chip_of(sizes, *, seed=0, timesteps=8):
    return nf.deploy(chain_of(sizes, seed=seed, timesteps=timesteps), neurons_per_core=5)


def inputs_of(chip, n=6, seed=0):
    return Bias(np.random.default_rng(seed).integers(0, 4000, (n, chip.population(chip.inputs[0]).size)).astype(np.int32))


def traces(chip, x):
    return nf.run(chip, x, record=("spikes", "v")).activity.traces


CHIP = chip_of((20, 12, 9, 5), timesteps=8)
X = inputs_of(CHIP)
LABELS = np.arange(6) % 5


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000), share=st.sampled_from([None, 0.6, 0.8]), unit=st.sampled_from(["neuron", "core"]),
    voters=st.sampled_from(["target", "own"]), layer=st.sampled_from(["mid0", "mid1", "hidden"]),
)  # fmt: skip
def test_a_healthy_chip_with_copies_spikes_as_before(seed, share, unit, voters, layer):
    chip = chip_of((20, 12, 9, 5), seed=seed, timesteps=8)
    safe = nf.protect(
        chip, {"kind": "tmr", "layer": layer, "share": share, "by": "random", "unit": unit, "voters": voters}, seed=seed
    )
    x = inputs_of(chip, seed=seed)
    before, after = traces(chip, x), traces(safe, x)
    for name in ("eyes", "mid0", "mid1", "hands"):
        assert np.array_equal(before[name].spikes, after[name].spikes)
    assert np.array_equal(before["hands"].v, after["hands"].v)


def test_the_network_spikes_at_all_so_that_equality_says_something():
    assert 0 < traces(CHIP, X)["mid1"].spikes.mean() < 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.sampled_from([0.01, 0.1, 0.3]))
def test_voters_give_the_majority_of_three_copies_that_break_apart(seed, rate):
    safe = nf.protect(CHIP, {"kind": "tmr", "layer": "mid0"})
    faults = [SynapseBitFlip(rate=rate, layer=name) for name in ("mid0.1", "mid0.2", "mid0.3")]
    seen = traces(nf.inject(safe, faults, seed=seed), X)
    votes = sum(seen[f"mid0.{number}"].spikes.astype(int) for number in (1, 2, 3))
    assert np.array_equal(seen["mid0"].spikes, votes >= 2)


def test_any_one_dead_core_of_copies_changes_nothing_and_two_may():
    safe = nf.protect(CHIP, "tmr")
    healthy = traces(CHIP, X)["hands"].v
    copies = np.unique(np.concatenate([safe.placement.cores_of(f"{name}.{at}") for name in ("mid0", "mid1") for at in (1, 2, 3)]))
    for core in copies.tolist():
        assert np.array_equal(traces(nf.inject(safe, CoreDead(cores=[core])), X)["hands"].v, healthy)
    both = [int(safe.placement.core_of[f"mid0.{at}"][0]) for at in (1, 2)]
    gone = traces(nf.inject(safe, CoreDead(cores=both)), X)["mid0"].spikes
    assert not gone[..., :5].any()
    assert traces(CHIP, X)["mid0"].spikes[..., :5].any()


def test_copies_sit_apart_and_voters_where_what_they_drive_sits():
    safe = nf.protect(CHIP, {"kind": "tmr", "layer": "mid1"})
    place = safe.placement
    for neuron in range(9):
        assert len({int(place.core_of[f"mid1.{at}"][neuron]) for at in (1, 2, 3)}) == 3
    assert set(place.cores_of("mid1")) <= set(place.cores_of("hands"))
    assert np.array_equal(place.core_of["mid1.1"], CHIP.placement.core_of["mid1"])
    own = nf.protect(CHIP, {"kind": "tmr", "layer": "mid1", "voters": "own"}).placement
    assert not set(own.cores_of("mid1")) & (set(own.cores_of("hands")) | set(own.cores_of("mid1.1")))


def test_neurons_that_are_not_copied_die_with_their_core_and_the_others_live():
    safe = nf.protect(CHIP, {"kind": "tmr", "layer": "mid0", "share": 0.5, "by": "random"}, seed=3)
    chosen = safe.protection.copies[0].neurons
    assert len(chosen) == 6
    hurt = traces(nf.inject(safe, NeuronDead(count=12, layer="mid0.1")), X)["mid0"].spikes
    healthy = traces(CHIP, X)["mid0"].spikes
    rest = np.setdiff1d(np.arange(12), chosen)
    assert np.array_equal(hurt[..., chosen], healthy[..., chosen])
    assert not hurt[..., rest].any()
    assert healthy[..., rest].any()


def answers_of(chip):
    return nf.run(chip, X).activity.scores.argmax(axis=1)


def test_the_atlas_takes_the_neurons_whose_death_changes_most():
    safe = nf.protect(CHIP, {"kind": "tmr", "layer": "mid1", "share": 0.34, "by": "atlas"}, X, LABELS)
    answers = answers_of(CHIP)
    changed = []
    for neuron in range(9):
        dead = nf.inject(CHIP, NeuronDead(neurons=[neuron], layer="mid1"))
        changed.append(int((answers_of(dead) != answers).sum()))
    chosen = safe.protection.copies[0].neurons
    assert len(chosen) == 3
    assert min(changed[one] for one in chosen) >= max(changed[one] for one in range(9) if one not in chosen)
    assert max(changed) > 0


def test_cores_are_a_budget():
    for most in (2, 3, 4):
        safe = nf.protect(CHIP, {"kind": "tmr", "cores": most, "by": "random", "unit": "core"})
        assert sum(len(one.cores) for one in safe.protection.copies) == most // 2 * 2


def test_copies_are_charged_in_bits_cores_and_operations():
    safe = nf.protect(CHIP, {"kind": "tmr", "layer": "mid1"})
    activity = nf.run(safe, X).activity
    cost = charge(safe, activity.spike_counts, len(X))
    assert cost.stored_bits == 8 * (20 * 12 + 12 * 9 + 9 * 5)
    assert cost.copied_bits == 8 * (2 * 12 * 9 + 3 * 9)
    assert cost.cores == 4
    sent = activity.spike_counts
    operations = 2 * 9 * sent["mid0"].sum() + sum(sent[f"mid1.{at}"].sum() for at in (1, 2, 3))
    assert cost.bits_read == pytest.approx(8 * operations / len(X))
    assert cost.added == pytest.approx(cost.copied_bits / cost.stored_bits)


def test_codes_guard_copies_too():
    safe = nf.protect(CHIP, ["secded", {"kind": "tmr", "layer": "mid0"}])
    assert {one.connection for one in safe.protection.words} >= {"mid0", "mid0.mid0.2", "mid0.1.vote"}


def test_engines_agree_on_copies_and_floors():
    safe = nf.protect(CHIP, ["tmr", "potentials"], X, LABELS)
    hurt = nf.inject(safe, SynapseBitFlip(rate=0.02, layer="any"), seed=1)
    one, other = traces(hurt, X), nf.run(hurt, X, engine="brian2", record=("spikes", "v")).activity.traces
    for name in one:
        assert np.array_equal(one[name].spikes, other[name].spikes)
        assert np.array_equal(one[name].v, other[name].v)


def test_no_potential_falls_below_what_healthy_samples_showed():
    safe = nf.protect(CHIP, "potentials", X, LABELS)
    before, after = traces(CHIP, X), traces(safe, X)
    for name in ("mid0", "mid1", "hands"):
        floor = safe.population(name).law.floor
        assert np.array_equal(floor, np.minimum(0, before[name].v.min(axis=(0, 1))))
        assert np.array_equal(before[name].v, after[name].v)
    fault = SynapseBitFlip(rate=0.2, layer="any")
    held, free = traces(nf.inject(safe, fault), X), traces(nf.inject(CHIP, fault), X)
    for name in ("mid0", "mid1", "hands"):
        assert (held[name].v >= safe.population(name).law.floor).all()
    assert (free["hands"].v < safe.population("hands").law.floor).any()
    assert charge(safe, nf.run(safe, X).activity.spike_counts, len(X)).map_bits == 24 * (12 + 9 + 5)


def test_floors_look_at_the_first_samples_alone():
    few = nf.protect(CHIP, {"kind": "potentials", "samples": 1, "layer": "mid0"}, X, LABELS)
    floor = few.population("mid0").law.floor
    assert np.array_equal(floor, np.minimum(0, traces(CHIP, X[:1])["mid0"].v.min(axis=(0, 1))))
    assert few.population("hands").law.floor is None


def test_a_convolution_is_copied_whole():
    rng = np.random.default_rng(1)
    shapes = [(2, 5, 5), (4, 3, 3)]
    populations = [
        nf.Population("eyes", shapes[0], nf.Source()),
        nf.Population("mid", shapes[1], nf.CubaLif(1.0)),
        nf.Population("hands", (3,), nf.CubaLif(1.0)),
    ]
    links = [nf.Conv(rng.normal(size=(4, 2, 3, 3)), shapes[0]), nf.Dense(rng.normal(size=(3, 36)))]
    chip = nf.deploy(nf.chain("conv", populations, links, timesteps=6), neurons_per_core=18)
    x = inputs_of(chip)
    safe = nf.protect(chip, "tmr")
    assert np.array_equal(traces(chip, x)["hands"].v, traces(safe, x)["hands"].v)
    with pytest.raises(
        UnsupportedError, match=r"^protect tmr: neurons of a convolution share kernels; copy the whole layer \(no share\)$"
    ):
        nf.protect(chip, "tmr:0.5:random")


def skip_chip():
    rng = np.random.default_rng(0)
    shape = {"eyes": nf.Source(), "mid": nf.CubaLif(1.0), "hands": nf.CubaLif(1.0)}
    populations = tuple(nf.Population(name, (4,), neuron) for name, neuron in shape.items())
    ways = [("a", "eyes", "mid", 1), ("b", "mid", "hands", 1), ("c", "eyes", "hands", 2)]
    links = tuple(
        nf.Connection(name, one, other, nf.Dense(rng.normal(size=(4, 4))), delay=delay) for name, one, other, delay in ways
    )
    return nf.deploy(nf.Network("skip", populations, links, 4, nf.Readout("hands")))


@pytest.mark.parametrize(
    ("make", "what", "error", "text"),
    [
        (lambda: CHIP, "tmr:0.5", UsageError, "protect: by importance looks at samples; give inputs and labels (of training or validation, never those that are reported on)"),
        (lambda: CHIP, "potentials", UsageError, "protect: potentials look at samples; give inputs and labels (of training or validation, never those that are reported on)"),
        (lambda: CHIP, {"kind": "tmr", "layer": "eyes"}, UsageError, "protect tmr: 'eyes' is an input: its spikes come from outside, and copies would have none of their own"),
        (lambda: CHIP, {"kind": "tmr", "layer": "hands"}, UsageError, "protect tmr: 'hands' is read by its potentials or counts, which a voter does not have; protect hidden layers"),
        (lambda: CHIP, {"kind": "tmr", "cores": 1, "by": "random"}, UsageError, "protect tmr:1 cores:random: 1 core is too few; the neurons of one core take 2 more for their copies"),
        (lambda: CHIP, {"kind": "tmr", "share": 0.01, "by": "random"}, UsageError, "protect tmr:0.01:random: 0.01 of 21 neurons is less than one neuron"),
        (lambda: CHIP, "potential", UsageError, "protect: unknown kind 'potential' (did you mean 'potentials'?); kinds: secded, parity, bounds, remap_bits, potentials, tmr, mute"),
        (skip_chip, {"kind": "tmr", "layer": "mid"}, UnsupportedError, "protect tmr: a voter takes a step, by which spikes over connection 'b' would come in another step than those on ways without voters; protect layers on all ways of the same length, or none"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_message(make, what, error, text):
    with pytest.raises(error) as raised:
        nf.protect(make(), what)
    assert str(raised.value) == text


def test_the_command_compares_with_the_chip_without_copies(cli):
    code, out, err = cli(
        "inject", "--protect", "tmr", "--fault", "core_dead", "--count", "1", "--neurons-per-core", "25", "--layer", "any", "--draws", "4",
        "--samples", "50", "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["protection"]["copied_bits"] == 8 * (2 * 64 * 100 + 3 * 100)
    assert found["protection"]["cores"] == 8
    assert found["protection"]["unprotected_accuracy"]["mean"] < found["healthy_accuracy"]


def test_a_dead_core_of_copies_is_remapped_to_a_spare_one():
    chip = nf.deploy(chain_of((20, 12, 9, 5)), neurons_per_core=5, spare_cores=2)
    safe = nf.protect(chip, "tmr")
    core = int(safe.placement.core_of["mid0.2"][0])
    assert core not in safe.placement.spare_cores
    healed = nf.rescue(nf.inject(safe, CoreDead(cores=[core])), X, LABELS, strategy="remap").deployment
    assert int(healed.placement.core_of["mid0.2"][0]) in safe.placement.spare_cores
    assert np.array_equal(traces(healed, X)["mid0.2"].spikes, traces(safe, X)["mid0.2"].spikes)


@pytest.mark.parametrize("strategy", ["remap", "remap+learn", "embryonic"])
@pytest.mark.parametrize("guard", ["secded", "bounds"])
def test_guarded_words_are_not_moved(guard, strategy):
    chip = nf.deploy(chain_of((20, 12, 5)), neurons_per_core=5, spare_cores=2)
    hurt = nf.inject(nf.protect(chip, guard), CoreDead(count=1))
    with pytest.raises(
        UsageError, match=f"^strategy '{strategy[:5]}.*moves stored weights away from their code words, ranges and orders of bits"
    ):
        nf.rescue(hurt, X, LABELS, strategy=strategy)
