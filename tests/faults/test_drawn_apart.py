"""Faults of one kind drawn apart: what dies for good dies once, and what several faults hit is counted once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import EVERYWHERE, cnn, mlp, small_profile
from test_every_kind import CONV, lively

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import SetSynapses, Silence
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError
from neurofault.graph import CubaLif, Dense, Population, Source
from neurofault.graph import chain as network
from neurofault.graph.synapses import Stored

CHIP = lively(mlp(6, 24, 18, 4, neurons_per_core=3, profile=small_profile(columns=4, rows=4)))
SPARE = replace(CHIP, placement=replace(CHIP.placement, spare_cores=(28, 29, 30, 31)))

DEADLY = {
    "core_dead": {},
    "core_hung": {"on_core_death": "silent"},
    "learning_frozen": {},
    "trace_stuck": {"trace": "y1"},
    "third_factor_dead": {},
    "rounding_stuck": {},
    "neuron_dead": {},
    "neuron_saturated": {},
    "neuron_stuck": {},
    "sensor_dead": {"layer": "input"},
    "synapse_dead": {},
    "synapse_stuck": {"value": 20},
    "synapse_saturated": {},
    "synapse_bit_stuck": {},
    "memory_word_dead": {},
    "axon_lost": {},
    "link_dead": {"direction": "one"},
    "router_dead": {},
}
"""Kinds whose sites have nothing left to break once they are hit, with what they need."""


def tiny_network():
    weight = np.full((4, 6), 2, np.int32)
    populations = [
        Population("input", (6,), Source(threshold=60)),
        Population("hidden1", (4,), CubaLif(60, bias_exponent=0)),
        Population("output", (2,), CubaLif(None, bias_exponent=0)),
    ]
    return network("tiny", populations, [Dense(weight), Dense(weight[:2, :4])], timesteps=8, stored=[Stored()] * 2)


def sites(plan, chip):
    """The physical sites of each fault of a plan, from what its edits name."""
    found = []
    for planned in plan.faults:
        own = set()
        for place in planned.hit.broken:
            own |= {("link", name) for name in getattr(place, "links", ())} | {
                ("router", name) for name in getattr(place, "routers", ())
            }
        if planned.fault.site == "used cores":
            own = set(planned.hit.cores)
        elif not own:
            for edit in planned.edits:
                if isinstance(edit, SetSynapses):
                    whole = (1 << chip.connection(edit.connection).weight_bits) - 1
                    for source, target, keep in zip(edit.sources.tolist(), edit.targets.tolist(), edit.keep.tolist(), strict=True):
                        own |= {(edit.connection, source, target, bit) for bit in range(8) if (whole & ~keep) >> bit & 1}
                elif hasattr(edit, "core"):
                    own |= {(edit.connection, edit.core, int(source)) for source in edit.sources}
                else:
                    own |= {(edit.population, int(neuron)) for neuron in edit.neurons}
        found.append(own)
    return found


@pytest.mark.parametrize("where", ["random", "clustered"])
@pytest.mark.parametrize("kind", DEADLY)
def test_two_faults_of_a_kind_in_one_plan_hit_different_sites(kind, where):
    spec = {"kind": kind, "count": 3, "where": where, **DEADLY[kind]}
    other = spec | ({} if "layer" in spec else {"layer": "any"})
    for draw in range(8):
        plan = faults.plan(CHIP, [spec, other], seed=2, draw=draw)
        first, second = sites(plan, CHIP)
        if kind == "synapse_bit_stuck":  # an edit repeats what was stuck in the word before
            assert len(first | second) == 6
        else:
            assert not first & second, (draw, first & second)


def test_dead_cores_of_several_faults_add_up_and_are_counted_once():
    for draw in range(20):
        hurt = faults.inject(CHIP, [{"kind": "core_dead", "count": 3}, {"kind": "core_dead", "count": 4}], seed=1, draw=draw)
        assert len(hurt.damage.dead_cores) == 7
    with pytest.raises(FaultError) as error:
        faults.inject(CHIP, [{"kind": "core_dead", "count": 9}, {"kind": "core_dead", "count": 6}])
    assert str(error.value) == (
        "core_dead: 6 used cores asked for, but layer 'hidden' has only 14, 5 of them not broken for good already; "
        "again='always' draws those too"
    )
    assert len(faults.inject(CHIP, [{"kind": "core_dead", "count": 9}, {"kind": "core_dead", "count": 5}]).damage.dead_cores) == 14


def test_a_rate_is_of_what_is_still_sound():
    both = [{"kind": "neuron_dead", "rate": 0.5, "layer": "hidden1"}, {"kind": "neuron_dead", "rate": 1.0, "layer": "hidden1"}]
    hurt = faults.inject(CHIP, both)
    assert sum(hit.neurons.get("hidden1", 0) for hit in hurt.damage.hits) == 24


def test_later_injections_of_one_seed_contain_each_other_unless_told_otherwise():
    two = faults.inject(CHIP, {"kind": "core_dead", "count": 2}, seed=4)
    four = faults.inject(two, {"kind": "core_dead", "count": 4}, seed=4)
    assert len(four.damage.dead_cores) == 4
    six = faults.inject(two, {"kind": "core_dead", "count": 4, "again": "never"}, seed=4)
    assert len(six.damage.dead_cores) == 6
    assert set(four.damage.dead_cores) < set(six.damage.dead_cores)
    seeds = [faults.inject(two, {"kind": "core_dead", "count": 4, "again": "never"}, seed=seed) for seed in range(12)]
    assert {len(hurt.damage.dead_cores) for hurt in seeds} == {6}
    as_in_nature = [
        faults.inject(CHIP, [{"kind": "core_dead", "count": 7}, {"kind": "core_dead", "count": 7, "again": "always"}], draw=draw)
        for draw in range(8)
    ]
    assert min(len(hurt.damage.dead_cores) for hurt in as_in_nature) < 14


@pytest.mark.parametrize("kind", sorted(set(DEADLY) - {"link_dead", "router_dead", "sensor_dead", "axon_lost"}))
def test_never_passes_over_what_died_with_another_fault(kind):
    cores = CHIP.placement.cores_of("hidden1").tolist()
    hurt = faults.inject(CHIP, faults.CoreDead(cores=cores[1:]))
    spec = {"kind": kind, "count": 1, "layer": "hidden1", "again": "never", **DEADLY[kind]}
    for draw in range(6):
        after = faults.inject(hurt, spec, draw=draw)
        assert after.damage.hits[-1].cores == (cores[0],)


def test_upsets_may_hit_a_bit_twice_and_then_it_is_as_it_was():
    flips = [{"kind": "synapse_bit_flip", "rate": 1.0, "layer": "hidden1"}] * 2
    hurt = faults.inject(CHIP, flips)
    weight = CHIP.connection("hidden1").synapses.weight
    edit = hurt.damage.edits[-1]
    assert (edit.values == weight[edit.targets, edit.sources]).all()


@pytest.mark.parametrize("again", ["later", "never", "always"])
@pytest.mark.parametrize("kind", sorted(EVERYWHERE))
def test_a_fault_alone_on_a_healthy_chip_is_the_same_whatever_again_says(kind, again):
    spec = {"kind": kind, "count": 2, **{"sensor_noisy": {"sigma": 1}, "neuron_threshold": {"bit": 1}, "neuron_leak": {"bit": 1}}.get(
        kind, {"bit": 1} if kind == "neuron_bias" else {})}  # fmt: skip
    if faults.KINDS[kind].whens == ("once",):
        spec["when"] = {"kind": "once", "at": 1}
    one, other = (faults.plan(CHIP, each, seed=3, draw=2) for each in (spec, spec | {"again": again}))
    assert faults.plan_hash(one) == faults.plan_hash(other)


def test_spare_cores_and_their_memory_break_once():
    for spec in ({"kind": "core_dead", "count": 2}, {"kind": "learning_frozen", "count": 2}):
        plan = faults.plan(SPARE, [spec | {"layer": "spare"}] * 2)
        assert len({core for hit in plan.hits for core in hit.cores}) == 4


@pytest.mark.parametrize("kind", ["memory_word_dead", "synapse_bit_stuck"])
def test_words_and_bits_of_spare_memory_break_once(kind):
    digits = nf.deploy(tiny_network(), "loihi2", neurons_per_core=2, spare_cores=2)
    core = digits.placement.spare_cores[0]
    bits = kind == "synapse_bit_stuck"
    spec = {"kind": kind, "layer": "spare", "at": {"all_of": [f"core:{core}", "word:0-3"]} if bits else f"core:{core}"}
    sites = 4 * 64 if bits else digits.profile.core.synapse_bits.known // 64
    plan = faults.plan(digits, [spec | {"count": sites // 2}] * 2)
    found = [
        {(w, b) for place in hit.broken for w, b in zip(place.words, place.bits or place.words, strict=True)} for hit in plan.hits
    ]
    assert not found[0] & found[1]
    assert len(found[0] | found[1]) == sites
    with pytest.raises(FaultError, match="again='always' draws those too"):
        faults.plan(digits, [spec | {"count": sites}, spec | {"count": 1}])


def test_shared_kernel_words_die_once():
    chip = lively(cnn(CONV, neurons_per_core=3, profile=small_profile(shared_kernels=True)))
    words = faults.plan(chip, faults.SynapseDead(rate=1.0, layer="conv1")).hits[0].synapses["conv1"]
    half = [{"kind": "synapse_dead", "layer": "conv1", "count": words // 2}] * 2
    plan = faults.plan(chip, half)
    pairs = [
        {(s, t) for e in one.edits for s, t in zip(e.sources.tolist(), e.targets.tolist(), strict=True)} for one in plan.faults
    ]
    assert not pairs[0] & pairs[1]


def test_what_several_faults_hit_is_counted_once():
    core = int(CHIP.placement.core_of["hidden1"][0])
    on_core = np.flatnonzero(CHIP.placement.core_of["hidden1"] == core)
    hurt = faults.inject(CHIP, [
        faults.CoreDead(cores=[core]),
        faults.NeuronDead(neurons=[0, 1, 23], layer="hidden1"),
        faults.NeuronThreshold(neurons=[23, 22], layer="hidden1", factor=2.0),
        faults.SynapseDead(synapses=[(0, 0), (0, 23)], layer="hidden1"),
        faults.SynapseBitFlip(synapse_bits=[(0, 23, 1), (1, 23, 1)], layer="hidden1"),
    ])  # fmt: skip
    assert len(on_core) == 3
    found = faults.struck(hurt)
    assert found.neurons == {"hidden1": 5}
    assert found.synapses == {"hidden1": 3 * 6 + 2}
    assert sum(hit.neurons.get("hidden1", 0) for hit in hurt.damage.hits) == 8
    assert found.cores == (core, int(CHIP.placement.core_of["hidden1"][23]))
    silent = {int(n) for edit in hurt.damage.edits if isinstance(edit, Silence) for n in edit.neurons}
    assert silent == {0, 1, 2, 23}


@pytest.mark.parametrize("kind", sorted(EVERYWHERE))
def test_of_one_fault_the_count_is_its_own(kind):
    spec = {
        "kind": kind,
        "count": 2,
        **{"neuron_threshold": {"bit": 1}, "neuron_leak": {"bit": 1}, "neuron_bias": {"bit": 1}}.get(kind, {}),
    }
    if faults.KINDS[kind].whens == ("once",):
        spec["when"] = {"kind": "once", "at": 1}
    hurt = faults.inject(CHIP, spec)
    (hit,) = hurt.damage.hits
    found = faults.struck(hurt)
    assert (found.cores, found.neurons, found.synapses) == (hit.cores, hit.neurons, hit.synapses)
    if kind not in ("axon_lost", "axon_misrouted", "link_dead", "link_lossy", "router_dead"):
        twice = faults.struck(hurt.with_damage(hurt.damage.plus(hurt.damage.edits, hit)))
        assert (twice.neurons, twice.synapses) == (hit.neurons, hit.synapses)


def test_a_chip_with_everything_drawn_twice_runs_as_with_everything_once():
    images = np.random.default_rng(0).integers(0, 256, (3, 6)).astype(np.uint8)
    once = faults.inject(CHIP, {"kind": "core_dead", "count": 14})
    twice = faults.inject(CHIP, [{"kind": "core_dead", "count": 7}, {"kind": "core_dead", "count": 7}])
    runs = [ExactEngine().run(chip, CHIP.encode(images)).scores for chip in (once, twice)]
    np.testing.assert_array_equal(*runs)
