"""Learning that heals and does not harm: steps that follow from the chip, and a guard that keeps the best weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_learners import assert_broken_bits_hold, broken, samples

import neurofault as nf
from neurofault.convert.asked import Candidate
from neurofault.convert.torch_model import candidates, proposals
from neurofault.data.datasets import load
from neurofault.deploy.memory import stored_weights, write
from neurofault.errors import UsageError
from neurofault.graph import Readout
from neurofault.rescue.budget import Spent
from neurofault.rescue.examples import Examples
from neurofault.rescue.learners import gain
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.learners.emstdp import emstdp
from neurofault.rescue.learners.errors import delta, dfa, readout_gain, usual_gain, with_readout_steps
from neurofault.rescue.learners.host import host, host_gain
from neurofault.rescue.lesson import Lesson, Taught
from neurofault.rescue.outcome import sham_warning
from neurofault.rescue.provision import Provision
from neurofault.study.calibrate import STABLE_WITHIN, choose
from neurofault.study.rescue_study import rescue_study, treatments
from neurofault.zoo import trained

FAST = Candidate(1.8, 0.3, 1.0)
"""A conversion of high rates: the usual steps overshoot on it."""

few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def digits():
    return load("digits")


@cache
def chip(candidate=None):
    """The zoo's network on digits; None: as it was published."""
    model, _ = trained("digits-mlp")
    return place(
        next(iter(proposals(model, digits().train.images[:512], [candidate or Candidate(0.3, 0.3, 0.5)], timesteps=32, name="d")))
    )


def place(network):
    return nf.deploy(network, "loihi2", neurons_per_core=8)


def examples(deployment, split="train", count=600):
    part = digits().split(split).first(count)
    return Examples(deployment.encode(part.images), part.labels.astype(np.int64))


# ------------------------------------------------------------------------------------------------ steps


@pytest.mark.parametrize("name", ["delta", "dfa", "emstdp", "host"])
def test_the_usual_steps_are_a_fixed_point_where_they_were_tuned(name):
    adapt = examples(chip())
    learner, usual = (learner_named(name, chip(), adapt.inputs, adapt.labels, scaled=scaled) for scaled in (True, False))
    for field in (
        "margin",
        "tie",
        "readout_exponent",
        "readout_impulse",
        "hidden_exponent",
        "feedback_shift",
        "feedback_exponent",
        "rate",
    ):
        assert vars(learner).get(field) == vars(usual).get(field)


def test_steps_get_smaller_until_their_gain_is_small_enough():
    fast, adapt = chip(FAST), examples(chip(FAST))
    seen = gain.seen(fast, adapt.inputs, ["output"])
    usual, scaled = (delta(fast, adapt.inputs, adapt.labels, scaled=each) for each in (False, True))
    assert usual_gain(fast, adapt.inputs, adapt.labels) == readout_gain(usual, seen) > gain.LIMIT
    assert readout_gain(scaled, seen) <= gain.LIMIT
    assert readout_gain(scaled, seen) > gain.LIMIT / 2  # no smaller than needed
    assert delta(fast, adapt.inputs, adapt.labels, readout_exponent=-3).readout_exponent == -3  # what is asked for stands
    assert with_readout_steps(replace(usual, margin=usual.margin >> 5), seen).tie < usual.tie  # the last rungs of the ladder


@pytest.mark.parametrize(("maker", "field"), [(dfa, "readout_exponent"), (emstdp, "feedback_exponent")])
def test_other_learners_take_smaller_steps_there_too(maker, field):
    adapt = examples(chip(FAST))
    usual, scaled = (maker(chip(FAST), adapt.inputs, adapt.labels, scaled=each) for each in (False, True))
    assert getattr(scaled, field) < getattr(usual, field)


def test_the_host_halves_its_rate_where_a_step_would_move_scores_too_far():
    deployment, adapt = chip(), examples(chip())
    seen = gain.seen(deployment, adapt.inputs, ["output"])
    usual = host(deployment, adapt.inputs, adapt.labels)
    assert host_gain(usual, seen) <= 10
    assert host(deployment, adapt.inputs, adapt.labels, rate=1e6).rate == 1e6  # what is asked for stands
    assert host_gain(replace(usual, margin=usual.margin / 4), seen) == pytest.approx(16 * host_gain(usual, seen))


def test_the_gain_is_how_far_a_step_moves_the_score():
    """Predicted and seen: how far the right class's score rises when the chip learns from one sample, for samples with an error."""
    deployment = chip(FAST)
    adapt = examples(deployment)
    learner = replace(delta(deployment, adapt.inputs, adapt.labels), margin=1 << 19)
    moved, predicted = 0.0, 0.0
    for k in range(24):
        one, label = adapt.inputs[k : k + 1], adapt.labels[k : k + 1]
        before = nf.run(deployment, one).activity.scores[0]
        taught = learner.teach(deployment, Lesson(one, label, first=k)).deployment
        excess = np.maximum(0, np.delete(before - before[label[0]] + learner.margin, label[0]))
        error = min(127, int(np.minimum(127, learner.tie * excess // learner.margin).sum()))
        moved += float(nf.run(taught, one).activity.scores[0, label[0]] - before[label[0]])
        predicted += readout_gain(learner, gain.seen(deployment, one, ["output"])) * learner.margin * error / learner.tie
    assert moved == pytest.approx(predicted, rel=0.15)


@pytest.mark.parametrize("readout", ["potential", "count"])
def test_gain_of_leaky_and_counted_readouts_is_finite(readout):
    hurt, (x, y) = broken(3), samples()
    deployment = replace(hurt.with_damage(nf.inject(hurt, []).damage), readout=Readout("output", readout))
    for name in ("delta", "dfa", "emstdp"):
        assert learner_named(name, deployment, x, y).margin >= 1
    assert 0 <= usual_gain(deployment, x, y) < np.inf


def test_a_chip_that_is_to_learn_gets_a_stable_conversion_near_the_best():
    model, _ = trained("digits-mlp")
    few = replace(digits(), validation=digits().validation.first(80))
    plain, steady = (choose(model, few, place, timesteps=32, name="d", learns=learns) for learns in (False, True))
    chosen = max(plain.trials, key=lambda trial: (trial.samples, trial.accuracy)).candidate
    assert chosen in candidates(model)
    gains = [usual_gain(place(each.network), examples(chip()).inputs, examples(chip()).labels) for each in (plain, steady)]
    accuracies = [
        nf.run(place(each.network), digits().validation.images, digits().validation.labels).accuracy for each in (plain, steady)
    ]
    assert gains[0] <= gain.LIMIT  # the published choice is stable and stays
    assert all(
        np.array_equal(a.synapses.weight, b.synapses.weight)
        for a, b in zip(plain.network.connections, steady.network.connections, strict=True)
    )
    assert accuracies[1] >= accuracies[0] - STABLE_WITHIN


# ------------------------------------------------------------------------------------------------ guard


@dataclass(frozen=True)
class Scripted:
    """A learner that does as it is told: for each lesson the share of the readout's weights that it sets to 0, or None to mend them."""

    script: tuple[float | None, ...]
    name: str = "scripted"
    on_chip: bool = True

    def provide(self, deployment, plasticity):
        return Provision()

    def teach(self, deployment, lesson, memory=None):
        at = memory or 0
        share, held = self.script[min(at, len(self.script) - 1)], stored_weights(deployment, "output")
        wanted = (
            chip().connection("output").synapses.weight
            if share is None
            else np.where(np.arange(held.size).reshape(held.shape) < share * held.size, 0, held)
        )
        changed = wanted != held
        if lesson.writes is not None:
            changed &= np.cumsum(changed).reshape(changed.shape) <= lesson.writes
        return Taught(
            write(deployment, "output", wanted, changed), Spent(samples=len(lesson.labels), writes=int(changed.sum())), at + 1
        )

    def written_back(self, memory, differing):
        return memory


def scripted(script, *, strategy="sham", hurt=None, guard=nf.Guard(), **options):  # noqa: B008
    adapt, test = examples(chip()), examples(chip(), "validation", 200)
    return nf.rescue(
        hurt or chip(), adapt.inputs, adapt.labels, strategy=strategy, learner=Scripted(script), test=(test.inputs, test.labels),
        guard=guard, fine=False, **options,
    )  # fmt: skip


def readout(deployment):
    return stored_weights(deployment, "output")


def test_weights_from_before_are_written_back_where_learning_destroys():
    done = scripted((1.0,))
    assert np.array_equal(readout(done.deployment), readout(chip()))
    assert done.final == done.points[0].accuracy
    (spell,) = done.guarded.spells
    assert (spell.stayed, spell.stopped) == ("first", True)
    assert spell.lowest < 0.3 < spell.kept == spell.begun
    lost = int(np.count_nonzero(readout(chip())))
    assert done.guarded.spent.writes == lost
    assert done.spent.writes == 2 * lost  # destroying and writing back
    assert done.guarded.held_back == 120
    assert done.guarded.spent.samples == done.guarded.checks * 120
    assert done.guarded.spent.energy["davies2018"] > 0
    assert done.samples_learned < done.cycle == 480  # ended early
    assert done.points[-1].what == "restore"
    assert any("weights from before learning were written back" in note for note in done.notes)


def test_the_best_weights_seen_stay_where_learning_helps_and_then_destroys():
    harmed = write(
        chip(),
        "output",
        np.where(np.arange(readout(chip()).size).reshape(readout(chip()).shape) % 2, 0, readout(chip())),
    )
    done = scripted((None, 1.0), hurt=harmed, strategy="batch")
    assert np.array_equal(readout(done.deployment), readout(chip()))
    assert done.guarded.spells[0].stayed == "best"
    assert done.guarded.spells[0].kept > done.guarded.spells[0].begun


def test_what_was_learned_last_stays_where_it_is_best():
    harmed = write(chip(), "output", np.zeros_like(readout(chip())))
    done = scripted((0.0, 0.0, None), hurt=harmed, strategy="batch")
    assert done.guarded.spells[0].stayed == "last"
    assert done.guarded.spent.writes == 0
    assert np.array_equal(readout(done.deployment), readout(chip()))


def test_writes_that_were_kept_for_the_way_back_are_used_where_learning_helps():
    harmed = write(chip(), "output", np.zeros_like(readout(chip())))
    needed = int(np.count_nonzero(readout(chip())))
    done = scripted((None,), hurt=harmed, strategy="batch", budget=nf.Budget(cycles=1, writes=needed))
    assert 0.8 * needed < done.spent.writes <= needed
    assert done.guarded.spells[0].stayed == "last"


def test_without_a_guard_the_destruction_stays_and_is_said():
    done = scripted((1.0,), guard=None)
    assert done.guarded is None
    assert done.cycle == 600
    healthy, final = 100 * done.points[0].accuracy, 100 * done.final
    assert done.notes == (
        f"sham: a healthy chip loses {healthy - final:.1f} points ({healthy:.2f} % to {final:.2f} %) by learning alone",
    )


def test_a_sham_that_loses_three_tenths_of_a_point_is_not_said():
    assert sham_warning(0.95, 0.947) == ()
    assert sham_warning(0.95, 0.9469, "dfa") == (
        "learner 'dfa' harms a healthy chip: its sham control loses 0.3 points (95.00 % to 94.69 %)",
    )


def test_a_sham_that_gains_more_than_a_point_is_no_repair():
    assert sham_warning(0.925, 0.935) == ()
    assert sham_warning(0.925, 0.9783, "delta") == (
        "learner 'delta' improves a healthy chip, too: its sham control gains 5.3 points (92.50 % to 97.83 %); so much of what it brings back is no repair",
    )
    assert sham_warning(0.925, 0.9783) == (
        "sham: a healthy chip gains 5.3 points (92.50 % to 97.83 %) by learning alone; so much of what a repair brings back is no repair",
    )


@pytest.mark.parametrize("writes", [0, 1, 50, 500])
def test_a_budget_of_writes_pays_for_the_way_back(writes):
    done = scripted((1.0,), budget=nf.Budget(cycles=1, writes=writes))
    assert done.spent.writes <= writes
    assert writes < 50 or done.spent.writes > 0
    assert done.guarded.spells[0].kept >= done.guarded.spells[0].begun
    assert done.guarded.spells[0].stayed == "last" or np.array_equal(readout(done.deployment), readout(chip()))


@few
@given(
    seed=st.integers(0, 1000),
    learner=st.sampled_from(["delta", "dfa", "emstdp", "host", "homeostasis"]),
    strategy=st.sampled_from(["batch", "iterative", "sham"]),
    limits=st.sampled_from([{}, {"writes": 40}, {"writes_per_synapse": 2}, {"energy": 3e-6}, {"time": 2e-3}]),
)
def test_held_back_samples_never_get_worse_and_budgets_hold(seed, learner, strategy, limits):
    hurt, (x, y) = broken(seed, learner), samples()
    budget = nf.Budget(cycles=2, **limits)
    done = nf.rescue(hurt, x, y, strategy=strategy, learner=learner, budget=budget, plan=nf.Plan(steps=2 if strategy == "iterative" else 1), seed=seed,
                     guard=nf.Guard(0.5))  # fmt: skip
    for spell in done.guarded.spells:
        assert spell.kept >= spell.begun
        assert spell.lowest <= spell.begun
    if budget.writes is not None:
        assert done.spent.writes <= budget.writes
    for name in ("energy", "time"):
        if getattr(budget, name) is not None:
            assert getattr(done.spent, name)["davies2018"] <= getattr(budget, name)
    assert_broken_bits_hold(done.deployment)


def test_the_same_samples_are_held_back_from_every_strategy_and_learner():
    labels = np.array([0, 1, -1, 2] * 50)
    held = nf.Guard(0.2).held_back(labels, seed=3)
    assert len(held) == 30
    assert (labels[held] >= 0).all()
    assert np.array_equal(held, nf.Guard(0.2).held_back(labels, seed=3))
    assert not np.array_equal(held, nf.Guard(0.2).held_back(labels, seed=4))
    assert len(nf.Guard(0.5, most=7).held_back(labels, seed=3)) == 7


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"budget": nf.Budget(labels=0.0)}, "guard: off, for there are too few labelled samples to hold one back"),
        (
            {"budget": nf.Budget(writes_per_synapse=1)},
            "guard: off, for a synapse that stands fewer than 2 writes cannot be written back",
        ),
    ],
)
def test_where_nothing_can_be_held_back_it_is_said(options, note):
    done = scripted((0.0,), **options)
    assert done.guarded is None
    assert note in done.notes


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0,), "guard: share is 0.0; allowed: above 0, at most 0.5"),
        ((0.6,), "guard: share is 0.6"),
        ((0.1, 0), "guard: most is 0"),
    ],
)
def test_a_guard_of_nothing_is_refused(values, text):
    with pytest.raises(UsageError, match=text):
        nf.Guard(*values)


# ------------------------------------------------------------------------------------------------ both


@pytest.mark.parametrize("learner", ["delta", "dfa", "emstdp"])
def test_on_a_conversion_of_high_rates_sham_keeps_the_accuracy_and_repair_helps(learner):
    fast = chip(FAST)
    study = rescue_study(
        fast, [nf.faults.NeuronDead(rate=0.3, layer="hidden")], examples(fast), examples(fast, "validation", 200),
        treatments(["batch", "sham"], [learner], nf.Budget(), nf.Plan()), draws=1, seed=2, fine=False, workers=1,
    )  # fmt: skip
    batch, sham = study.rows
    assert sham.draws[0].final >= study.healthy - 0.003
    assert batch.draws[0].final >= batch.draws[0].damaged
    assert study.warnings() == []
    assert (study.cycle, study.held_back) == (480, 120)


def test_a_study_says_first_what_a_learner_harms():
    fast = chip(FAST)
    study = rescue_study(
        fast, [nf.faults.NeuronDead(rate=0.1, layer="hidden")], examples(fast), examples(fast, "validation", 200),
        treatments(["batch", "sham"], ["delta"], nf.Budget(), nf.Plan(), {"delta": {"tie": 127, "readout_exponent": 0, "scaled": False}}),
        draws=1, seed=2, fine=False, workers=1, guard=None,
    )  # fmt: skip
    texts = study.warnings()
    assert any(text.startswith("learner 'delta' harms a healthy chip: its sham control loses ") for text in texts)
    assert any(text.startswith("batch · delta ends below the damaged accuracy: ") for text in texts)
