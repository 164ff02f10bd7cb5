"""Diagnosis of small networks: what each fault answers, against the exact engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import chip, dense, population

import neurofault as nf
from neurofault.damage.damage import Damage
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.study.patterns.diagnose import HEALTHY, naming
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.patterns.seen import seen_of


def made(seed=8):
    """Twelve hidden neurons on six cores, one core for the inputs and one for the outputs."""
    rng = np.random.default_rng(seed)
    layers = [population("input", (9,)), population("hidden", (12,), dense(rng, 12, 9), vth=200)]
    layers.append(population("output", (3,), dense(rng, 3, 12), vth=131072))
    whole = replace(chip(layers, 10, readout="potential"), profile=nf.load_profile("loihi2"))
    cores = {"input": np.zeros(9, np.int32), "hidden": np.arange(12, dtype=np.int32) // 2 + 1, "output": np.full(3, 7, np.int32)}
    return replace(whole, placement=replace(whole.placement, core_of=cores))


def patterns(own, observe="potential"):
    events = np.random.default_rng(3).random((12, 10, 9)) < 0.3
    return nf.choose_patterns(
        own, nf.Inputs(events=events), faults=["core_dead", "neuron_dead"], observe=observe, aim="detectable", draws=0
    ).patterns


@pytest.mark.parametrize("observe", ["class", "potential", "spikes"])
def test_a_class_is_all_faults_that_answer_alike(observe):
    own = made()
    test = patterns(own, observe)
    book = nf.fault_dictionary(own, test, pairs=True)
    listed = single_faults(own, ["core_dead", "neuron_dead"])
    assert sorted(len(names) for names in book.classes)[-1] > 1
    assert len({answers.tobytes() for answers in book.answers}) == len(book.classes)
    assert book.class_of(HEALTHY) == 0
    assert np.array_equal(book.answers[0], test.answers)
    assert sum(map(len, book.classes)) == 1 + len(listed) + 8 * 7 // 2
    for at in range(len(listed)):
        run = ExactEngine(1).run(own.with_damage(Damage(listed.edits(at))), test.inputs)
        assert np.array_equal(book.answers[book.class_of(listed.says(at))], seen_of(observe, run))
    twice = nf.inject(own, nf.faults.CoreDead(cores=(2, 4), layer="any"))
    answers = seen_of(observe, ExactEngine(1).run(twice, test.inputs))
    assert np.array_equal(book.answers[book.class_of("core_dead core 2 and core 4")], answers)


def test_the_very_answers_come_first_and_the_others_by_distance():
    own = made()
    test = patterns(own)
    book = nf.fault_dictionary(own, test)
    hurt = nf.inject(own, nf.faults.CoreDead(cores=(3,), layer="any"))
    answers = seen_of("potential", ExactEngine(1).run(hurt, test.inputs))
    suspects = nf.diagnose(book, answers, 4)
    assert "core_dead core 3" in suspects[0].faults
    assert suspects[0].distance == 0
    assert len(suspects) == 4
    assert [one.distance for one in suspects] == sorted(one.distance for one in suspects)
    second = book.answers[book.class_of(suspects[1].faults[0])]
    assert suspects[1].distance == np.abs(second - answers).sum()
    near = nf.diagnose(book, answers + 1, 1)[0]
    assert (near.faults, near.distance) == (suspects[0].faults, answers.size)
    assert nf.diagnose(book, test.answers, 1)[0].faults[0] == HEALTHY


def test_an_output_that_is_dead_on_one_side_only_is_further_than_any_number():
    own = made()
    test = patterns(own)
    book = nf.fault_dictionary(own, test, ["neuron_dead"])
    number = book.class_of("neuron_dead output 1 (core 7)")
    nearer = nf.diagnose(book, test.answers, len(book.classes))
    assert nearer[-1].faults[0].startswith("neuron_dead output")
    assert nf.diagnose(book, book.answers[number], 1)[0].faults == book.classes[number]


def test_one_dead_core_is_named_and_two_are_where_pairs_are_suspected():
    own = made()
    test = patterns(own)
    single, both = (nf.fault_dictionary(own, test, ["core_dead"], pairs=pairs) for pairs in (False, True))
    one = naming(own, single, 1, 30)
    sizes = {core: len(single.classes[single.class_of(f"core_dead core {core}")]) for core in range(8)}
    assert set(sizes.values()) == {1}
    assert (one.named.mean, one.part.mean, one.named.n, one.draws) == (1.0, 1.0, 30, 30)
    alone, paired = naming(own, single, 2, 30), naming(own, both, 2, 30)
    assert alone.named.mean == 0.0
    assert paired.named.mean > 0.5
    assert paired.part.mean >= paired.named.mean
    assert naming(own, both, 2, 30) == paired


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda own, book: nf.diagnose(book, book.answers[0], 0), "most must be at least 1, is 0"),
        (lambda own, book: nf.diagnose(book, np.zeros((1, 9), np.int64)), r"answers have the shape \(1, 9\), but the test has .*"),
        (lambda own, book: naming(own, book, 3), "cores must be 1 or 2, is 3"),
        (lambda own, book: naming(own, book, 1, 0), "draws must be at least 1, is 0"),
        (
            lambda own, book: naming(own, nf.fault_dictionary(own, book.patterns, ["neuron_dead"]), 1),
            "naming is measured on dead cores, and the dictionary knows none: let it suspect core_dead, too",
        ),
        (lambda own, book: book.class_of("gnat"), "the dictionary has no fault 'gnat'"),
        (
            lambda own, book: nf.fault_dictionary(made(9), book.patterns),
            "the test was made for network 'test' with other weights, .*",
        ),
        (
            lambda own, book: nf.fault_dictionary(own, book.patterns, ["gnat"]),
            "a dictionary has no faults of kind 'gnat'; kinds: .*router_dead",
        ),
    ],
)
def test_mistakes_get_one_message(asked, message):
    own = made()
    book = nf.fault_dictionary(own, patterns(own), ["core_dead"])
    with pytest.raises(UsageError, match=f"^{message}$"):
        asked(own, book)
