"""Detect, name, move, test again: nobody tells the chip what is broken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.rescue.remap.remap import remap

STEPS = 10


def brain(spares=2):
    """Eight inputs, eight hidden neurons, four outputs, two neurons a core, all of them heard."""
    rng = np.random.default_rng(2)
    layers = [
        nf.Population("eyes", (8,), nf.Source()),
        nf.Population("mind", (8,), nf.CubaLif(1.0)),
        nf.Population("hands", (4,), nf.CubaLif(1.0)),
    ]
    wires = [nf.Dense(rng.normal(0.25, 0.4, (8, 8))), nf.Dense(rng.normal(0.25, 0.4, (4, 8)))]
    return nf.deploy(nf.chain("brain", layers, wires, timesteps=STEPS).with_readout("count"), "loihi2", neurons_per_core=2, spare_cores=spares)  # fmt: skip


def seen(number=40, seed=1):
    return nf.Inputs(events=np.random.default_rng(seed).random((number, STEPS, 8)) < 0.3)


def book(chip, observe="potential", **kept):
    test = nf.choose_patterns(
        chip, seen(), faults=["core_dead", "neuron_dead"], observe=observe, aim="detectable", draws=0
    ).patterns
    return nf.fault_dictionary(chip, test, ["core_dead"], **kept)


def healed(hurt, tester, strategy="diagnose", **kept):
    return nf.rescue(hurt, seen(30, 2), np.zeros(30, np.int64), strategy=strategy, tester=tester, **kept)


def spikes(chip):
    activity = nf.run(chip, seen(60, 3)).activity
    return activity.scores.tobytes(), activity.sample_spikes.tobytes()


def test_every_dead_core_is_named_and_its_spikes_come_back():
    chip = brain(spares=1)
    tester, whole = book(chip), spikes(chip)
    for core in chip.placement.used_cores.tolist():
        hurt = nf.inject(chip, nf.faults.CoreDead(cores=(core,)))
        done = healed(hurt, tester, plan=nf.Plan(watchdog=7))
        found = done.detection
        assert found.tries[-1].left == (core,)
        assert found.tries[-1].stays
        assert found.passed
        assert f"core_dead core {core}" in found.mended
        assert found.delay == 7 + len(tester.patterns)
        assert found.samples == found.tests * len(tester.patterns) == done.points[-1].samples - 7
        assert spikes(done.deployment) == whole


def test_every_pair_of_dead_cores_is_found_one_after_the_other():
    chip = brain(spares=2)
    tester, whole, moves = book(chip), spikes(chip), []
    for pair in itertools.combinations(chip.placement.used_cores.tolist(), 2):
        done = healed(nf.inject(chip, nf.faults.CoreDead(cores=pair)), tester)
        assert done.detection.passed, pair
        assert spikes(done.deployment) == whole
        moves.append(len(done.detection.tries))
    assert min(moves) == 2
    paired = book(chip, pairs=True)
    both = [healed(nf.inject(chip, nf.faults.CoreDead(cores=pair)), paired).detection for pair in ((0, 5), (3, 8), (4, 6))]
    assert [(one.passed, len(one.tries), len(one.tries[0].left)) for one in both] == [(True, 1, 2)] * 3


def test_nothing_is_told_that_the_answers_do_not_tell():
    """Neurons that are dead, on a core that nobody lists as dead, are named as that core, and left behind by the move."""
    chip = brain(spares=1)
    core = int(chip.placement.core_of["mind"][2])
    hurt = nf.inject(
        chip, nf.faults.NeuronDead(layer="mind", neurons=tuple(np.flatnonzero(chip.placement.core_of["mind"] == core).tolist()))
    )
    assert not hurt.damage.dead_cores
    done = healed(hurt, book(chip))
    assert done.detection.mended == (f"core_dead core {core}",)
    assert spikes(done.deployment) == spikes(chip)


def reflex(spares):
    """Two inputs that each drive one output: a dead input and a dead output answer alike."""
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    return nf.deploy(
        nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"), "loihi2", neurons_per_core=1, spare_cores=spares
    )  # fmt: skip


def both(chip):
    shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]]]), (1, 4, 1)))
    test = nf.choose_patterns(chip, shown, faults=["core_dead"], observe="counts", aim="detectable", draws=0).patterns
    return nf.fault_dictionary(chip, test, ["core_dead"]), shown


def test_of_a_class_one_after_the_other_is_tried_and_the_wrong_one_taken_back():
    chip = reflex(spares=1)
    tester, shown = both(chip)
    assert tester.classes[1] == ("core_dead core 0", "core_dead core 2")
    (spare,) = chip.placement.spare_cores
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(2,)))
    done = nf.rescue(hurt, shown, np.array([0, 1]), strategy="diagnose", tester=tester, test=(shown, np.array([0, 1])))
    first, second = done.detection.tries
    assert (first.named, first.left, first.taken, first.stays) == (("core_dead core 0",), (0,), (spare,), False)
    assert (second.named, second.left, second.taken, second.stays) == (("core_dead core 2",), (2,), (spare,), True)
    assert [(point.what, point.accuracy) for point in done.points] == [
        ("healthy", 1.0), ("strike", 0.5), ("test", 0.5), ("remap", 0.5), ("test", 0.5), ("put back", 0.5), ("remap", 1.0), ("test", 1.0),
    ]  # fmt: skip
    assert np.array_equal(done.deployment.placement.core_of["eyes"], chip.placement.core_of["eyes"])
    wrong, right = remap(hurt, cores=[0]), remap(hurt, cores=[2])
    assert done.spent.writes == wrong.writes + right.writes
    assert done.spent.axon_updates == 2 * wrong.axon_updates + right.axon_updates
    answers = 3 * 2 * 2 * 8
    assert done.spent.host_bytes == wrong.host_bytes + 8 * wrong.axon_updates + right.host_bytes + answers
    shows = [point for point in done.points if point.what == "test"]
    assert [point.samples for point in shows] == [2, 4, 6]
    assert shows[0].spent.joules("davies2018") > 0


def test_a_class_can_move_at_once_where_spare_cores_reach():
    chip = reflex(spares=2)
    tester, _ = both(chip)
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(2,)))
    (only,) = healed_reflex(hurt, tester, nf.Plan(together=True)).detection.tries
    assert (only.named, only.left, only.stays) == (("core_dead core 0", "core_dead core 2"), (0, 2), True)
    short = reflex(spares=1)
    tester, _ = both(short)
    done = healed_reflex(nf.inject(short, nf.faults.CoreDead(cores=(2,))), tester, nf.Plan(together=True)).detection
    assert [(one.left, one.stays) for one in done.tries] == [((0,), False), ((2,), True)]


def healed_reflex(hurt, tester, plan=None):
    _, shown = both(hurt.with_damage(type(hurt.damage)()))
    return nf.rescue(hurt, shown, np.array([0, 1]), strategy="diagnose", tester=tester, plan=plan)


def test_a_spare_core_that_is_dead_is_found_out():
    chip = reflex(spares=2)
    tester, _ = both(chip)
    for dead in chip.placement.spare_cores:
        hurt = nf.inject(chip, [nf.faults.CoreDead(cores=(2,)), nf.faults.CoreDead(cores=(dead,))])
        done = healed_reflex(hurt, tester)
        (sound,) = set(chip.placement.spare_cores) - {dead}
        assert done.detection.passed
        assert done.detection.tries[-1].taken == (sound,)
        assert sum(one.stays for one in done.detection.tries) == 1


def test_without_room_it_says_so_and_what_is_left_is_learned():
    chip = brain(spares=1)
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(4, 5)))
    done = healed(hurt, book(chip))
    assert not done.detection.passed
    assert [one.stays for one in done.detection.tries].count(True) == 1
    assert done.notes == ("the test fails, and no suspect is left that a move to the spare cores could mend",)
    learned = healed(hurt, book(chip), "diagnose+learn", learner="delta", guard=None)
    assert learned.detection == done.detection
    assert learned.samples_learned == 30
    mended = healed(nf.inject(chip, nf.faults.CoreDead(cores=(4,))), book(chip), "diagnose+learn", learner="delta", guard=None)
    assert mended.detection.passed
    assert mended.samples_learned == 0
    few = healed(hurt, book(chip), plan=nf.Plan(tries=1))
    assert len(few.detection.tries) == 1
    assert few.notes == ("the test still fails after 1 move, as many as the plan allows",)


def test_what_the_test_does_not_show_is_not_noticed():
    chip = brain()
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(chip.placement.spare_cores[0],)))
    done = healed(hurt, book(chip))
    assert (done.detection.delay, done.detection.tests, done.detection.tries, done.detection.passed) == (None, 1, (), True)
    assert done.deployment.placement is chip.placement


def test_a_link_is_named_but_no_move_mends_it():
    chip = brain()
    test = book(chip).patterns
    tester = nf.fault_dictionary(chip, test, ["link_dead"])
    link = tester.classes[1][0].removeprefix("link_dead ")
    done = healed(nf.inject(chip, nf.faults.LinkDead(links=(link,))), tester)
    assert (done.detection.tries, done.detection.passed) == ((), False)
    assert done.notes == ("the test fails, and no suspect is left that a move to the spare cores could mend",)


def test_a_chip_that_stalls_answers_nothing():
    chip = brain()
    done = healed(nf.inject(chip, nf.faults.CoreHung(cores=(3,))), book(chip))
    assert (done.detection.tries, done.detection.passed) == ((), False)
    assert done.notes[0] == "the chip stalls: it answers no test, so nothing can be named"


def test_mistakes_get_one_message():
    chip = brain()
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(3,)))
    with pytest.raises(
        UsageError,
        match=r"^strategy 'diagnose' tests the chip: give a tester, such as nf.fault_dictionary\(chip, patterns\) of the healthy chip$",
    ):
        healed(hurt, None)
    with pytest.raises(UsageError, match=r"^the test was made for network 'reflex' with other weights"):
        healed(hurt, both(reflex(1))[0])
    with pytest.raises(UsageError, match=r"^tries must be at least 1, is 0$"):
        nf.Plan(tries=0)


def test_a_sound_core_can_be_left_and_nothing_changes():
    chip = brain()
    first, second = chip.placement.spare_cores
    done = remap(chip, cores=[4], avoid=[first])
    assert {move.destination for move in done.moves} == {second}
    assert spikes(done.deployment) == spikes(chip)
    assert done.writes > 0
    told = remap(nf.inject(chip, nf.faults.CoreDead(cores=(4,))), avoid=[first])
    assert told.host_bytes == done.host_bytes + 8 * len(chip.placement.used_cores)
    blind = remap(nf.inject(chip, nf.faults.CoreDead(cores=(second,))), cores=[4], avoid=[first])
    assert {move.destination for move in blind.moves} == {second}
    assert spikes(blind.deployment) == spikes(nf.inject(chip, nf.faults.CoreDead(cores=(4,))))
