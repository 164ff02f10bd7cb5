"""Upsets on the chip's clock in a repair: they strike as their sample begins, and what is learned after that mends them."""

from __future__ import annotations

import numpy as np
import pytest
from test_learners import SAMPLES, healthy, rescued, samples

import neurofault as nf
from neurofault.deploy.memory import stored_weights
from neurofault.errors import UsageError
from neurofault.rescue.budget import Spent
from neurofault.rescue.examples import Examples
from neurofault.rescue.lesson import Taught
from neurofault.rescue.plans import Plan
from neurofault.rescue.provision import Provision
from neurofault.rescue.workbench import Workbench

LAYER, PHASE = "output", 3


def upset(at=None):
    """Flips of the readout, for good or at a step of the chip."""
    when = {} if at is None else {"when": nf.faults.once(at, clock="chip")}
    return nf.inject(healthy(), nf.faults.SynapseBitFlip(rate=0.2, layer="output", **when), seed=4)


def in_sample(sample):
    """A step of the chip in which the readout is in the middle of a sample."""
    return sample * healthy().timesteps + PHASE + 1 + healthy().timesteps // 2


@pytest.mark.parametrize("learner", ["delta", "dfa"])
def test_an_upset_in_the_first_sample_is_repaired_like_one_that_was_there(learner):
    there, coming = (rescued(upset(at), learner=learner, budget=nf.Budget(cycles=2)) for at in (None, in_sample(0)))
    assert there.spent.writes == coming.spent.writes > 0
    for layer in ("hidden1", "hidden2", LAYER):
        np.testing.assert_array_equal(stored_weights(there.deployment, layer), stored_weights(coming.deployment, layer))
    x, _ = samples()
    np.testing.assert_array_equal(nf.run(there.deployment, x).activity.scores, nf.run(coming.deployment, x).activity.scores)


class Watching:
    """A learner that notes from which sample on its chip was broken."""

    name, on_chip = "watching", False

    def __init__(self):
        self.seen = []

    def provide(self, deployment, plasticity):
        return Provision()

    def teach(self, deployment, lesson, memory=None):
        broken = not np.array_equal(stored_weights(deployment, LAYER), stored_weights(healthy(), LAYER))
        self.seen.append((lesson.inputs.first_sample, len(lesson.labels), broken, lesson.fresh))
        return Taught(deployment, Spent(samples=len(lesson.labels)))


def test_a_lesson_ends_where_an_upset_strikes():
    x, y = samples()
    learner = Watching()
    bench = Workbench(upset(in_sample(7)), Examples(x, y), learner, nf.Budget(cycles=1), Plan(), fine=False)
    bench.strike()
    bench.learn()
    assert learner.seen == [(0, 7, False, True), (7, SAMPLES - 7, True, True)]
    assert all(edit.when.always for edit in bench.deployment.damage.edits)


def test_an_upset_of_each_sample_comes_again():
    hurt = nf.inject(healthy(), nf.faults.SynapseBitFlip(rate=0.2, layer="output", when=nf.faults.once(2)), seed=4)
    healed = rescued(hurt, learner="delta", budget=nf.Budget(cycles=1)).deployment
    (edit,) = healed.damage.edits
    assert edit.when == hurt.damage.edits[0].when
    np.testing.assert_array_equal(edit.flips, hurt.damage.edits[0].flips)


class Spendthrift(Watching):
    """A learner that writes more than its lesson allows."""

    name = "spendthrift"

    def teach(self, deployment, lesson, memory=None):
        return Taught(deployment, Spent(samples=len(lesson.labels), writes=lesson.writes + 1))


def test_a_learner_that_writes_more_than_it_may_is_refused_by_name():
    x, y = samples()
    bench = Workbench(healthy(), Examples(x, y), Spendthrift(), nf.Budget(cycles=1, writes=50), Plan(), fine=False)
    bench.strike()
    with pytest.raises(
        UsageError,
        match=r"^learner 'spendthrift' wrote 51 stored values in a lesson that allows 50: a learner keeps to lesson.writes$",
    ):
        bench.learn()
