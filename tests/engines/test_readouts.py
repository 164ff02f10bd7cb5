"""Readouts: v after the last step, its largest, its sum, spikes; of all steps or of some: every engine beside a chip with one clock, cut anywhere, and broken."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_edit, random_graph
from reference import answered, check, present
from test_graphs_elsewhere import as_leaky, random_case

import neurofault as nf
from neurofault.activity import DEAD_SCORE, TRACES
from neurofault.damage.damage import Damage, Silence
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.golden import golden
from neurofault.errors import ConversionError, UnsupportedError, UsageError
from neurofault.graph import Readout
from neurofault.graph.readout import readout_words
from neurofault.inputs import Inputs
from neurofault.study.atlas import atlas

SEEDS = st.integers(0, 1 << 20)
HOWS = ("potential", "count", "largest", "mean")


def read_otherwise(chip: Deployment, rng: np.random.Generator) -> Deployment:
    how = HOWS[int(rng.integers(0, 4))]
    first = int(rng.integers(0, chip.timesteps))
    stop = first + 1 if how == "potential" else int(rng.integers(first + 1, chip.timesteps + 1))
    when = None if rng.random() < 0.3 else (first, stop)
    return replace(chip, readout=Readout(chip.readout.population, how, when))


def read_graph(seed: int, edits: int, *, plain: bool = False) -> tuple[Deployment, Inputs, np.random.Generator]:
    chip, inputs, rng = random_graph(seed, 12)
    chip = chip.with_damage(Damage(tuple(random_edit(rng, chip, plain=plain) for _ in range(edits))))
    return read_otherwise(chip, rng), inputs, rng


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, 3))
def test_the_kernels_read_as_a_chip_with_one_clock(seed: int, edits: int) -> None:
    chip, inputs, _ = read_graph(seed, edits, plain=True)
    expected = present(chip, inputs)
    check(chip, ExactEngine(batch=2).run(chip, inputs, record=TRACES), expected)
    bare = ExactEngine().run(chip, inputs)
    alive = bare.scores != DEAD_SCORE
    np.testing.assert_array_equal(bare.scores[alive], answered(chip, expected)[alive])


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_broken_chips_are_read_as_a_chip_with_one_clock(seed: int, edits: int) -> None:
    chip, inputs, _ = read_graph(seed, edits)
    expected = present(chip, inputs)
    check(chip, ExactEngine().run(chip, inputs, record=TRACES), expected)
    check(chip, StepwiseEngine().run(chip, inputs, record=TRACES), expected)


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(0, 3), st.booleans())
def test_a_run_cut_anywhere_reads_as_if_it_were_whole(seed: int, edits: int, stream: bool) -> None:
    chip, inputs, rng = read_graph(seed, edits)
    if stream:
        chip = replace(chip, reset="never")
        inputs = inputs[:1]
    check(chip, run(chip, inputs, record=TRACES).activity, present(chip, inputs))
    whole, state = run(chip, inputs).activity, None
    for cut in sorted({*rng.integers(1, chip.timesteps + 1, 3).tolist(), chip.timesteps}):
        part = run(chip, inputs, state=state, stop=cut).activity
        state = part.state
    np.testing.assert_array_equal(part.scores, whole.scores)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_each_sample_of_a_stream_is_read_by_itself(seed: int) -> None:
    chip, inputs, _ = read_graph(seed, 1)
    chip, inputs = replace(chip, reset="never"), inputs.take(np.arange(5) % len(inputs))
    check(chip, run(chip, inputs, record=TRACES).activity, present(chip, inputs))


def equal_elsewhere(engine: str, chip: Deployment, inputs: Inputs) -> None:
    np.testing.assert_array_equal(run(chip, inputs, engine=engine).activity.scores, ExactEngine().run(chip, inputs).scores)


@pytest.mark.skipif(importlib.util.find_spec("brian2") is None, reason="brian2 is not installed")
@pytest.mark.parametrize("seed", range(2))
def test_brian2_reads_the_same(seed: int) -> None:
    chip, inputs = random_case(4100 + seed)
    rng = np.random.default_rng(seed)
    equal_elsewhere("brian2", read_otherwise(chip, rng), inputs)


@pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")
@pytest.mark.parametrize("seed", range(6))
def test_snntorch_reads_the_same(seed: int) -> None:
    chip, inputs = random_case(5100 + seed, plain=True)
    equal_elsewhere("snntorch", read_otherwise(as_leaky(chip), np.random.default_rng(seed)), inputs)


def small(how: str = "potential", when: tuple[int, int] | None = None, **options: object) -> Deployment:
    rng = np.random.default_rng(3)
    populations = (
        nf.Population("eyes", (5,), nf.Source()),
        nf.Population("mind", (6,), nf.CubaLif(1.0, dv=200)),
        nf.Population("hands", (3,), nf.CubaLif(1.0 if how == "count" else None, dv=300)),
    )
    connections = (
        nf.Connection("mind", "eyes", "mind", nf.Dense(rng.normal(0.4, 0.5, (6, 5)))),
        nf.Connection("hands", "mind", "hands", nf.Dense(rng.normal(0, 0.5, (3, 6)))),
    )
    return nf.deploy(nf.Network("reflex", populations, connections, 8, Readout("hands", how, when), **options))


SEEN = nf.Spikes.dense(np.random.default_rng(4).random((12, 8, 5)) < 0.4)


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
@pytest.mark.parametrize(("how", "when"), [("largest", (2, 6)), ("count", (3, 5))])
def test_lava_reads_the_same(how: str, when: tuple[int, int] | None) -> None:
    equal_elsewhere("lava", small(how, when), Inputs(events=SEEN[:2]))


def test_readouts_answer_differently() -> None:
    answers = [
        nf.run(small(*each), SEEN).activity.scores.tolist() for each in [("potential",), ("largest",), ("mean",), ("mean", (2, 6))]
    ]
    assert all(one != other for place, one in enumerate(answers) for other in answers[:place])
    assert nf.run(small("potential", (7, 8)), SEEN).activity.scores.tolist() == answers[0]


def test_a_mean_is_the_exact_sum() -> None:
    """In float32 both sums would be the same: they differ by 8 in 2**25."""
    chip = small("mean")
    v = np.array([(1 << 22) + 1, 1 << 22], np.int32)
    hands = replace(chip.population("hands"), v_init=np.array([*v, 0], np.int32), dv=np.zeros(3, np.int32))
    silent = Inputs(events=np.zeros((1, 8, 5), bool))
    scores = run(chip.with_population(hands), silent).activity.scores
    assert scores[0].tolist() == [8 * int(v[0]), 8 * int(v[1]), 0]


@pytest.mark.parametrize("how", ["largest", "mean", "count"])
def test_who_is_dead_in_the_last_step_that_is_read_scores_lowest(how: str) -> None:
    chip = small(how, (2, 5))
    early, late = Silence("hands", np.array([1]), When(4, 5)), Silence("hands", np.array([2]), When(6))
    scores = nf.run(chip.with_damage(Damage((early, late))), SEEN).activity.scores
    assert (scores[:, 1] == DEAD_SCORE).all()
    assert (scores[:, [0, 2]] == nf.run(chip, SEEN).activity.scores[:, [0, 2]]).all()


WRONG = [
    (("mode", None), "readout of 'hands': how is potential, count, largest, mean, not 'mode' (did you mean 'mean'?)"),
    (("larges", None), "readout of 'hands': how is potential, count, largest, mean, not 'larges' (did you mean 'largest'?)"),
    (
        ("mean", (3, 3)),
        "readout of 'hands': when is the steps that are read, two whole numbers (first, stop) with 0 <= first < stop, not (3, 3)",
    ),
    (
        ("count", (-1, 3)),
        "readout of 'hands': when is the steps that are read, two whole numbers (first, stop) with 0 <= first < stop, not (-1, 3)",
    ),
    (
        ("mean", (0.5, 3)),
        "readout of 'hands': when is the steps that are read, two whole numbers (first, stop) with 0 <= first < stop, not (0.5, 3)",
    ),
    (
        ("potential", (2, 5)),
        "readout of 'hands': potential is v after one step, but when has 3, 2 to 4; allowed: (4, 5), or how largest or mean",
    ),
]


@pytest.mark.parametrize(("given", "text"), WRONG)
def test_what_is_no_readout_is_said(given: tuple, text: str) -> None:
    with pytest.raises(ConversionError) as error:
        Readout("hands", *given)
    assert str(error.value) == text


def test_steps_that_a_sample_has_not_are_said() -> None:
    text = "network 'reflex': its readout 'hands' reads steps 4 to 8, but a sample has steps 0 to 7"
    with pytest.raises(ConversionError) as error:
        small("mean", (4, 9))
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("words", "found"), [("count", ("count", None)), ("mean:3:9", ("mean", (3, 9))), ("potential:4:5", ("potential", (4, 5)))]
)
def test_words_of_a_readout(words: str, found: tuple) -> None:
    assert readout_words(words) == found
    assert str(Readout("hands", *found)) == words


@pytest.mark.parametrize("words", ["", "mean:3", "mean:3:x", "mean:3:4:5", "mean:-1:4", "Mean", "mean:３:4"])
def test_words_that_are_no_readout(words: str) -> None:
    with pytest.raises(ConversionError, match=r"readout is count, largest, mean or potential, or one of them with the first step"):
        readout_words(words)


def test_what_knows_other_readouts_only_refuses_by_name() -> None:
    chip, inputs = small("largest", (2, 6)), Inputs(events=SEEN)
    labels = np.arange(12) % 3
    said = "population 'hands' is read by largest of steps 2 to 5"
    with pytest.raises(UnsupportedError, match=f"engine 'incremental' cannot run {said}"):
        golden(chip, inputs)
    np.testing.assert_array_equal(IncrementalEngine().run(chip, inputs).scores, ExactEngine().run(chip, inputs).scores)
    usual = f"takes the potential after a sample's last step or the spikes of all its steps; here {said}"
    found = atlas(chip, inputs, labels, "neuron_dead", layer="hands")
    for neuron in range(len(found)):
        hurt = nf.run(nf.inject(chip, nf.faults.NeuronDead(neurons=[neuron], layer="hands")), inputs, labels)
        assert found.sites["correct"][neuron] == hurt.correct - found.healthy_total
    for learner in ("delta", "host", "homeostasis"):
        with pytest.raises(UnsupportedError, match=f"^what learns {usual}; strategies that do not learn: none, remap$"):
            nf.rescue(chip, inputs, labels, learner=learner)
    assert nf.rescue(chip, inputs, labels, strategy="none").deployment.readout == chip.readout
    with pytest.raises(UnsupportedError, match=f"labels of every step: {said}, which answers in no other step; take all steps"):
        nf.run(chip, SEEN, np.zeros((12, 8), np.int64))


def test_a_state_without_what_was_read_is_said() -> None:
    chip, inputs = small("mean"), Inputs(events=SEEN)
    state = run(chip, inputs, stop=3).activity.state
    assert state is not None
    with pytest.raises(UsageError) as error:
        run(chip, inputs, state=replace(state, read=None))
    assert str(error.value) == "the state's read of the readout 'hands': it lacks it, but 12 samples need (12, 3)"
