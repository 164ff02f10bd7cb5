"""Test patterns of small networks: every claim against the exact engine, fault by fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import chip, connection, dense, graph_chip, neurons, population

import neurofault as nf
from neurofault.damage.damage import Damage
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.faults.masking import prune
from neurofault.faults.plan import FaultPlan, PlannedFault
from neurofault.study.patterns.candidates import candidates
from neurofault.study.patterns.choose import choose_patterns
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.patterns.masked import WHYS
from neurofault.study.patterns.matrix import Prober, unpacked
from neurofault.study.patterns.seen import seen_of

KINDS = ("synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead")


def placed(made: nf.Deployment) -> nf.Deployment:
    """The same with the costs of a real chip."""
    return replace(made, profile=nf.load_profile("loihi2"))


def small(readout="potential", seed=8):
    rng = np.random.default_rng(seed)
    layers = [population("input", (9,)), population("hidden", (6,), dense(rng, 6, 9), vth=200)]
    layers.append(population("output", (3,), dense(rng, 3, 6), vth=131072 if readout == "potential" else 300))
    events = rng.random((24, 10, 9)) < 0.3
    events[:, :, 0] = False
    return placed(chip(layers, 10, readout=readout)), nf.Inputs(events=events)


def looped():
    """A network of which a part is a loop: no fault that reaches it is followed from a healthy run."""
    rng = np.random.default_rng(5)
    parts = [neurons("in", (4,), is_source=True), neurons("rec", (4,), vth=150), neurons("out", (3,), vth=131072)]
    wires = [
        connection(*ends, dense(rng, n, 4)) for *ends, n in (("a", "in", "rec", 4), ("b", "rec", "rec", 4), ("c", "rec", "out", 3))
    ]
    return placed(graph_chip(parts, wires, 6, how="potential")), nf.Inputs(events=rng.random((12, 6, 4)) < 0.4)


def by_hand(made, inputs, observe, faults):
    """Which samples expose each fault, one run a fault."""
    healthy = seen_of(observe, ExactEngine(1).run(made, inputs))
    runs = (ExactEngine(1).run(made.with_damage(Damage(faults.edits(at))), inputs) for at in range(len(faults)))
    return np.array([(seen_of(observe, run) != healthy).any(axis=1) for run in runs])


@pytest.mark.parametrize(
    ("readout", "observe"),
    [
        ("potential", "class"),
        ("potential", "potential"),
        ("potential", "spikes"),
        ("count", "class"),
        ("count", "counts"),
        ("count", "potential"),
    ],
)
def test_the_matrix_is_that_of_one_run_a_fault(readout, observe):
    made, inputs = small(readout)
    faults = single_faults(made, ("synapse_dead", "neuron_dead", "core_dead"))
    tester, every = Prober(made, inputs, observe, 1), np.arange(len(faults))
    rows = tester.exposed(faults, every)
    plain = by_hand(made, inputs, observe, faults)
    assert plain.any()
    assert not plain.all()
    assert np.array_equal(rows.faults, np.flatnonzero(plain.any(axis=1)))
    assert np.array_equal(unpacked(rows.bits, len(inputs)), plain[rows.faults])
    assert np.array_equal(tester.exposing(faults, every), plain.sum(axis=1))
    some = every[1::3]
    assert np.array_equal(tester.exposing(faults, some), plain.sum(axis=1)[some])
    together = tester.of_edits([faults.edits(at) for at in some])
    assert np.array_equal(unpacked(together, len(inputs)), plain[some])


def test_faults_that_reach_a_loop_are_run_whole():
    made, inputs = looped()
    faults = single_faults(made, KINDS[::2])
    rows = Prober(made, inputs, "potential", 1).exposed(faults, np.arange(len(faults)))
    plain = by_hand(made, inputs, "potential", faults)
    assert np.array_equal(unpacked(rows.bits, len(inputs)), plain[rows.faults])
    assert np.array_equal(rows.faults, np.flatnonzero(plain.any(axis=1)))


@pytest.mark.parametrize("aim", ["critical", "detectable"])
@pytest.mark.parametrize("observe", ["class", "potential"])
def test_what_is_claimed_is_what_the_exact_engine_says(aim, observe):
    made, inputs = small()
    shown, reference = inputs[:16], inputs[16:]
    found = choose_patterns(made, shown, reference, faults=KINDS, observe=observe, aim=aim, check=None, draws=40, threads=1)
    faults = found.faults
    harm = by_hand(made, reference, "class", faults).any(axis=1)
    plain = by_hand(made, shown, observe, faults)
    matters = harm if aim == "critical" else plain.any(axis=1)
    assert np.array_equal(found.matters, matters)
    assert np.array_equal(found.reached, matters & plain.any(axis=1))
    own = plain[:, found.patterns.indices]
    assert np.array_equal(found.exposed, own.any(axis=1))
    assert found.coverage == 1
    assert found.choice.exact
    assert found.greedy >= len(found.patterns) == found.choice.least
    assert found.choice.exposed[-1] == found.reached.sum()
    assert found.checked == len(faults)
    assert found.doubles.exposed <= found.doubles.critical == found.doubles.coverage.n <= found.doubles.draws == 40
    assert found.held_out.sum() == int(0.2 * found.reached.sum())
    assert (found.unseen_coverage is None) == (not found.held_out.any())
    assert not (found.unseen & ~found.held_out).any()


def test_few_samples_expose_the_most_and_say_what_none_can_beat():
    made, inputs = small()
    found = choose_patterns(made, inputs, observe="potential", aim="detectable", size=1, threads=1)
    plain = by_hand(made, inputs, "potential", found.faults)
    assert len(found.patterns) == 1
    assert found.exposed.sum() == plain.sum(axis=0).max() <= found.choice.most
    half = choose_patterns(made, inputs, observe="potential", aim="detectable", coverage=0.5, threads=1)
    assert half.coverage >= 0.5
    assert half.choice.exposed[-1] >= 0.5 * half.reached.sum() > ([0, *half.choice.exposed])[-2]


def test_faults_that_the_candidates_leave_are_searched_in_all_samples():
    made, inputs = small()
    few = choose_patterns(made, inputs, faults=KINDS, most=1, threads=1)
    every = choose_patterns(made, inputs, faults=KINDS, threads=1)
    assert np.array_equal(few.reached, every.reached)
    assert few.coverage == 1
    assert len(few.patterns) >= len(every.patterns) > 1


def test_a_fault_is_critical_by_as_many_samples_as_are_asked_for():
    made, inputs = small()
    found = choose_patterns(made, inputs, faults=KINDS, critical=5, threads=1)
    harm = by_hand(made, inputs, "class", found.faults).sum(axis=1)
    assert np.array_equal(found.harm, harm)
    assert np.array_equal(found.matters, harm >= 5)
    assert 0 < found.matters.sum() < (harm > 0).sum()


def test_what_is_said_to_change_nothing_is_masked():
    made, inputs = small()
    found = choose_patterns(made, inputs, faults=KINDS, observe="potential", aim="detectable", threads=1)
    healthy = ExactEngine(1).run(made, inputs)
    assert np.array_equal(found.why >= 0, ~found.reached)
    reasons = {WHYS[at] for at in found.why[found.why >= 0]}
    assert {"source never fires", "neurons never fire", "redundant"} <= reasons
    empty = FaultPlan((), 1, 0)
    for at in np.flatnonzero((found.why >= 0) & (found.faults.kind < 2)).tolist():
        one = replace(empty, faults=(PlannedFault(None, found.faults.edits(at), None),))
        masked = not any(each.edits for each in prune(made, one, healthy.spike_counts).plan.faults)
        assert masked == (WHYS[found.why[at]] != "redundant"), found.faults.says(at)


def test_candidates_are_the_narrow_ones_and_the_first():
    scores = np.array([[9, 0], [5, 4], [8, 0], [7, 0], [3, 3], [6, 0]])
    assert candidates(scores, 4).tolist() == [0, 1, 2, 4]
    assert candidates(scores, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_choice_does_not_depend_on_threads():
    made, inputs = small()
    one, two = (choose_patterns(made, inputs, observe="potential", threads=threads) for threads in (1, 2))
    assert np.array_equal(one.patterns.indices, two.patterns.indices)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"observe": "clas"}, r"no observation 'clas' \(did you mean 'class'\?\); there are: class, counts, potential, spikes"),
        ({"observe": "counts"}, "observe counts: network 'test' is read by its outputs' potential, their spikes are not counted; observe class, potential or spikes"),
        ({"faults": ["synapse_daed"]}, r"no test for single faults of kind 'synapse_daed' \(did you mean 'synapse_dead'\?\); kinds: .*"),
        ({"faults": ["core_dead", "core_dead"]}, "kind 'core_dead' is named twice"),
        ({"faults": []}, "no kind of fault is named; kinds: .*"),
        ({"aim": "all"}, "no aim 'all'; there are: critical, detectable"),
        ({"size": 0}, "size must be at least 1, is 0"),
        ({"coverage": 1.5}, "coverage must be above 0 and at most 1, is 1.5"),
        ({"most": 0}, "candidates must be at least 1, is 0"),
        ({"draws": -1}, "draws must be at least 0, is -1"),
        ({"critical": 25}, r"nothing to expose: none of 93 single faults \(.*\) changes the class of 25 or more of 24 reference samples; aim detectable .*"),
        ({"size": 1, "coverage": 1}, r"size 1 is too small to expose 100 % of \d+ faults: \d+ samples are needed, the fewest that do"),
    ],
)  # fmt: skip
def test_mistakes_get_one_message(asked, message):
    made, inputs = small()
    with pytest.raises(UsageError, match=f"^{message}$"):
        choose_patterns(made, inputs, **asked)


def test_nothing_detectable_is_said():
    made, inputs = small()
    quiet = nf.Inputs(events=np.zeros((3, 10, 9), bool))
    with pytest.raises(
        UsageError,
        match=r"^nothing detectable: none of the 3 candidates exposes any of 54 single faults \(synapse_dead\) by potential; .*$",
    ):
        choose_patterns(made, quiet, inputs, faults=["synapse_dead"], layer="hidden", observe="potential", aim="detectable")
    hurt = made.with_damage(Damage(single_faults(made, ["neuron_dead"]).edits(0)))
    with pytest.raises(UsageError, match=r"^a test is made on a healthy chip; this one is damaged already \(1 edit\)$"):
        choose_patterns(hurt, inputs)
