"""`falling`: `dfa` in phases whose steps get smaller; each phase is checked against plain error learning, one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_learners import LEARNING, SAMPLES, broken, healthy, plain_reference, samples
from test_stable_learning import chip, examples

import neurofault as nf
from neurofault.deploy.memory import stored_weights
from neurofault.errors import UsageError
from neurofault.rescue.learners import gain
from neurofault.rescue.learners.errors import dfa, hidden_gain, readout_gain
from neurofault.rescue.learners.falling import CONFIGURATION, OVERSHOOT, Falling, falling
from neurofault.rescue.lesson import Lesson


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_each_quarter_of_a_cycle_learns_as_plain_error_learning_with_its_own_steps(seed):
    chip, (x, y) = broken(seed), samples()
    learner = falling(healthy(), x, y, hidden_exponent=-4, readout_exponent=-3, feedback_shift=6)
    lesson = Lesson(x[:12], y[:12], cycle=12, seed=seed)
    fast, plain = learner.teach(chip, lesson).deployment, chip
    for number, phase in enumerate(learner.phases):
        plain = plain_reference(plain, phase, lesson.part(slice(3 * number, 3 * number + 3)))
    one_size = dfa(healthy(), x, y, hidden_exponent=-4, readout_exponent=-3, feedback_shift=6).teach(chip, lesson).deployment
    for layer in LEARNING:
        assert np.array_equal(stored_weights(fast, layer), stored_weights(plain, layer))
    assert any(not np.array_equal(stored_weights(fast, layer), stored_weights(one_size, layer)) for layer in LEARNING)


def test_after_its_cycles_the_smallest_steps_stay():
    (x, y), chip = samples(), broken(3)
    learner = falling(healthy(), x, y, cycles=0.5)
    late = Lesson(x, y, first=SAMPLES // 2, cycle=SAMPLES, seed=3)
    one, other = learner.teach(chip, late), learner.phases[-1].teach(chip, late)
    assert all(np.array_equal(stored_weights(one.deployment, layer), stored_weights(other.deployment, layer)) for layer in LEARNING)
    assert one.spent == other.spent


def test_hidden_steps_begin_eight_times_as_large_and_those_of_the_readout_end_at_a_quarter():
    adapt = examples(chip())
    base, learner = (make(chip(), adapt.inputs, adapt.labels, scaled=False) for make in (dfa, falling))
    seen = gain.seen(chip(), adapt.inputs, base.trainable(chip()))
    for how, expected in ((hidden_gain, (8, 4, 2, 1)), (readout_gain, (1, 1, 0.5, 0.25))):
        assert [how(phase, seen) / how(base, seen) for phase in learner.phases] == pytest.approx(expected, rel=0.05)


def test_where_large_steps_would_overshoot_they_begin_smaller():
    adapt, wide = examples(chip()), {"feedback_shift": 7}  # feedback that is read at eight times its usual size
    usual, scaled = (falling(chip(), adapt.inputs, adapt.labels, scaled=each, **wide) for each in (False, True))
    seen = gain.seen(chip(), adapt.inputs, ["hidden1", "output"])
    gains = [hidden_gain(phase, seen) for phase in scaled.phases]
    assert hidden_gain(usual.phases[0], seen) > OVERSHOOT >= gains[0] > OVERSHOOT / 2
    assert gains == sorted(gains, reverse=True)
    assert scaled.phases[-1].feedback_shift == usual.phases[-1].feedback_shift == 7


def test_each_change_of_steps_costs_bytes_of_every_core_that_learns():
    (x, y), chip = samples(), broken(1)
    learner = falling(healthy(), x, y)
    spent = learner.teach(chip, Lesson(x, y, cycle=SAMPLES)).spent
    cores = {core for layer in LEARNING for core in chip.placement.cores_of(layer)}
    assert spent.host_bytes == SAMPLES + 3 * CONFIGURATION * len(cores)
    assert spent.samples == SAMPLES


@pytest.mark.parametrize(("phases", "cycles", "text"), [((), 1.0, "no phases"), ((1,), 0.0, "cycles is 0; allowed: above 0")])
def test_phases_and_cycles_that_make_no_sense_are_refused(phases, cycles, text):
    with pytest.raises(UsageError, match=text):
        Falling(phases, cycles)


def test_a_graph_that_is_no_chain_is_refused_by_name():
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    ways = [nf.Connection(name, "eyes", "hands", nf.Dense(np.eye(2))) for name in ("one", "other")]
    net = nf.Network("two ways", (eyes, hands), tuple(ways), 4, nf.Readout("hands", "count"))
    seen = nf.Spikes.dense(np.ones((2, 4, 2), bool))
    with pytest.raises(nf.errors.UnsupportedError, match=r"falling takes chains only.*learners that can: delta"):
        nf.rescue(
            nf.inject(nf.deploy(net), nf.faults.NeuronDead(count=1, layer="hands")), seen, np.array([0, 1]), learner="falling"
        )
