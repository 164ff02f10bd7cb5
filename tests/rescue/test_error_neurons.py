"""Error neurons and feedback synapses break: what a learner then learns equals what it learns without them, by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_learners import LEARNING, healthy, rescued, samples

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import Damage, Hit, LearningDefect
from neurofault.deploy.memory import stored_weights
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.lesson import Lesson

CLASSES = 4


def learned(chip, learner="dfa"):
    """The stored weights of every layer after one cycle."""
    done = rescued(chip, "batch", learner, budget=nf.Budget(cycles=1), seed=3, guard=None).deployment
    return [stored_weights(done, layer) for layer in LEARNING]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def frozen(chip, classes):
    """The chip with output neurons whose synapses never learn."""
    edit = LearningDefect("output", "frozen", np.array(classes))
    return chip.with_damage(Damage().plus([edit], Hit("learning_frozen", (), {}, {})))


def error_cores(chip, learner):
    provided = learner_named(learner, healthy(), *samples()).provide(chip, Lesson(*samples()).plasticity)
    return [core for each in provided.support for core in each.cores]


@pytest.mark.parametrize("classes", [[0], [1, 3], [0, 1, 2, 3]])
def test_a_dead_error_neuron_makes_its_error_0_in_delta(classes):
    chip = healthy()
    dead = learned(nf.inject(chip, faults.ErrorDead(errors=classes)), "delta")
    assert equal(dead, learned(frozen(chip, classes), "delta"))
    assert not equal(dead, learned(chip, "delta"))
    start = [stored_weights(chip, layer) for layer in LEARNING]
    assert equal(dead, start) == (len(classes) == CLASSES)


@pytest.mark.parametrize("classes", [[2], [0, 1]])
def test_in_dfa_hidden_layers_miss_it_too(classes):
    chip = healthy()
    x, y = samples()
    dead = learned(nf.inject(chip, faults.ErrorDead(errors=classes)))
    usual = learner_named("dfa", chip, x, y)
    cut = tuple(
        (layer, np.where(np.isin(np.arange(CLASSES), classes)[:, None], 0, weight).astype(np.int32))
        for layer, weight in usual.feedback_weights
    )
    assert equal(dead, learned(frozen(chip, classes), replace(usual, feedback_weights=cut)))
    assert not equal(dead, learned(frozen(chip, classes)))


@pytest.mark.parametrize("learner", ["delta", "dfa", "emstdp"])
def test_a_dead_core_that_holds_error_neurons_silences_them(learner):
    chip = healthy()
    (core,) = error_cores(chip, learner)
    hurt = nf.inject(chip, faults.CoreDead(cores=[core]))
    assert error_cores(hurt, learner) == [core]
    start = [stored_weights(chip, layer) for layer in LEARNING]
    assert equal(learned(hurt, learner), start)
    assert not equal(learned(chip, learner), start)
    other = nf.inject(chip, faults.CoreDead(cores=[core + 1]))
    assert equal(learned(other, learner), learned(chip, learner))
    x, _ = samples()
    np.testing.assert_array_equal(*(ExactEngine().run(each, x).scores for each in (chip, hurt)))
    hung = nf.inject(chip, faults.CoreHung(cores=[core], on_core_death="silent"))
    assert equal(learned(hung, learner), start)


def test_error_neurons_on_two_cores_die_apart():
    chip = healthy()
    core = chip.profile.core
    room = core.model_copy(update={"neurons": core.neurons.model_copy(update={"value": 4})})
    tight = replace(chip, profile=chip.profile.model_copy(update={"core": room}))
    low, high = error_cores(tight, "emstdp")
    start = [stored_weights(chip, layer) for layer in LEARNING]
    up, down, both = (learned(nf.inject(tight, faults.CoreDead(cores=cores)), "emstdp") for cores in ([low], [high], [low, high]))
    assert equal(both, start)
    assert not equal(up, down)
    assert not equal(up, learned(tight, "emstdp"))
    assert equal(learned(nf.inject(tight, faults.ErrorDead(errors=range(4))), "emstdp"), start)


def test_dead_feedback_synapses_read_0():
    chip = healthy()
    x, y = samples()
    usual = learner_named("dfa", chip, x, y)
    rows = [(c, j) for c in (0, 2) for j in range(16)]
    weights = dict(usual.feedback_weights)
    weights["hidden1"] = weights["hidden1"].copy()
    for c, j in rows:
        weights["hidden1"][c, j] = 0
    by_hand = learned(chip, replace(usual, feedback_weights=tuple(weights.items())))
    hurt = nf.inject(chip, faults.FeedbackDead(synapses=rows, layer="hidden1"))
    assert hurt.damage.hits[0].synapses == {"hidden1": 32}
    assert equal(learned(hurt), by_hand)
    assert not equal(by_hand, learned(chip))
    assert equal(learned(hurt, "delta"), learned(chip, "delta"))
    for learner in ("dfa", "emstdp"):
        everything = nf.inject(chip, faults.FeedbackDead(rate=1.0))
        hidden = learned(everything, learner)[:-1]
        assert equal(hidden, [stored_weights(chip, layer) for layer in LEARNING[:-1]])


@pytest.mark.parametrize("kind", ["error_dead", "feedback_dead"])
def test_in_time_they_break_from_their_step_on(kind):
    chip = healthy()
    last = chip.timesteps * len(samples()[1]) + len(chip.populations)
    whole = {"kind": kind, "rate": 1.0}

    def after(step):
        return learned(nf.inject(chip, whole | {"when": {"kind": "death", "at": step, "clock": "chip"}}))

    assert equal(after(1), learned(nf.inject(chip, whole)))
    assert equal(after(last + 1), learned(chip))
    half = after(last // 2)
    assert not equal(half, after(1))
    assert not equal(half, learned(chip))


def test_sites_are_drawn_named_and_refused():
    chip = healthy()
    (hit,) = nf.inject(chip, {"kind": "error_dead", "count": 2}).damage.hits
    assert hit.cores == tuple(error_cores(chip, "dfa"))
    assert all(text.startswith(f"core {hit.cores[0]}: error neuron ") for text in hit.sites)
    both = nf.inject(chip, [{"kind": "error_dead", "count": 2}] * 2).damage.edits
    assert sorted(c for edit in both for c in edit.neurons.tolist()) == [0, 1, 2, 3]
    drawn = nf.inject(chip, [{"kind": "feedback_dead", "count": 20, "layer": "hidden1"}] * 2).damage.edits
    pairs = [(edit.value, j) for edit in drawn for j in edit.neurons.tolist()]
    assert len(set(pairs)) == len(pairs) == 40
    for spec, message in (
        ({"kind": "error_dead", "errors": [4]}, "error_dead: no error neuron 4; error neurons: 0 to 3"),
        ({"kind": "error_dead", "count": 1, "layer": "hidden1"}, "error_dead: error neurons stand behind layer 'output', not 'hidden1'"),
        ({"kind": "feedback_dead", "synapses": [[0, 1]], "layer": "output"}, "feedback_dead: no feedback reaches layer 'output'"),
        (
            {"kind": "feedback_dead", "synapses": [[4, 1]], "layer": "hidden1"},
            "feedback_dead: feedback synapses are [class 0 to 3, neuron 0 to 15] in layer 'hidden1'",
        ),
        ({"kind": "error_dead", "count": 5}, "error_dead: 5 error neurons asked for, but layer 'output' has only 4; layer='any' takes all layers"),
    ):  # fmt: skip
        with pytest.raises(FaultError) as error:
            nf.inject(chip, spec)
        assert str(error.value) == message


def test_a_remap_leaves_error_neurons_dead(tmp_path):
    chip = healthy()
    cores = chip.placement.cores_of("output").tolist()
    hurt = nf.inject(chip, [faults.CoreDead(cores=cores), faults.ErrorDead(errors=[0, 1, 2, 3])])
    done = rescued(hurt, "remap+learn", "delta", budget=nf.Budget(cycles=1)).deployment
    assert any(isinstance(edit, LearningDefect) and edit.part == "error" and edit.neurons.size == 4 for edit in done.damage.edits)
    for layer in LEARNING:
        np.testing.assert_array_equal(stored_weights(done, layer), stored_weights(chip, layer))
    nf.save(done, tmp_path / "chip.npz")
    assert nf.load(tmp_path / "chip.npz").damage.hits == done.damage.hits
