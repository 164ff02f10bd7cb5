"""Mode ``lava_compat`` against Lava: weights, delays, tags and traces after every step, bit for bit."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from lava_learning import FILE, GOLDEN, drive, in_runtime
from learning_cases import CASES, DELTA, RECORDS, TRACES, Case

from neurofault.errors import LearningRuleError, UsageError
from neurofault.learning.rule import learning_rule
from neurofault.learning.setup import lava_engine

needs_lava = pytest.mark.skipif(
    importlib.util.find_spec("lava") is None, reason="lava-nc is not installed; golden vectors stand in"
)


def engine_of(case: Case):
    arrays = case.arrays()
    rule = learning_rule(**case.rule, third_factor=case.third)
    stored = {"sign_mode": case.sign_mode, "weight_bits": case.weight_bits, "seed": case.seed}
    return lava_engine(rule, arrays["weight"], delay=arrays["delay"], tag=arrays["tag"], **stored)


def learned(case: Case, cuts=()):
    """Records of a case, run in one call or in several."""
    engine, arrays = engine_of(case), case.arrays()
    state, parts = engine.start, []
    for first, end in zip((0, *cuts), (*cuts, case.steps), strict=True):
        third = {name: arrays[name][first:end] for name in ("y1", "y2", "y3")} if case.third else None
        result = engine.learn(state, arrays["pre"][first:end], arrays["post"][first:end], third, record=RECORDS)
        state = result.state
        parts.append(result.records)
    return {name: np.concatenate([part[name] for part in parts]) for name in RECORDS}, state


def assert_equal(case: Case, ours, lava) -> None:
    for name in RECORDS:
        if ours[name].size:
            np.testing.assert_array_equal(ours[name], lava[name], name)
        else:  # the rule has no delays or tags, so they never change
            assert (lava[name] == case.arrays()[name]).all()


@needs_lava
@pytest.mark.parametrize("name", CASES)
def test_every_step_equals_lavas_model(name):
    lava = drive(CASES[name])
    assert_equal(CASES[name], learned(CASES[name])[0], lava)
    assert np.any(lava["weight"] != lava["weight"][0]) or np.any(lava["tag"] != lava["tag"][0])


@needs_lava
@pytest.mark.parametrize("name", ["stdp_epoch_3", "three_factor_epoch_2"])
def test_every_step_equals_a_graph_that_lava_runs(name):
    assert_equal(CASES[name], learned(CASES[name])[0], in_runtime(CASES[name]))


@pytest.mark.parametrize("name", GOLDEN)
def test_every_step_equals_golden_vectors_of_lava(name):
    with np.load(FILE) as file:
        lava = {record: file[f"{name}/{record}"] for record in RECORDS}
    assert_equal(CASES[name], learned(CASES[name])[0], lava)


@pytest.mark.parametrize("name", CASES)
def test_a_sequence_can_be_cut_anywhere(name):
    whole, end = learned(CASES[name])
    parts, last = learned(CASES[name], cuts=(1, 2, 7, 7, 20, 41))
    for record in RECORDS:
        np.testing.assert_array_equal(whole[record], parts[record], record)
    assert end.step == last.step == CASES[name].steps
    np.testing.assert_array_equal(end.weight, last.weight)


def test_cases_visit_the_corners_that_they_are_for():
    assert learned(CASES["saturation"])[0]["weight"].max() == 255
    assert min(learned(CASES[name])[0]["weight"][8:].min() for name in ("wild_weights", "wild_plain", "overflow")) == -256
    assert learned(CASES["delays"])[0]["tag"].min() == -256
    odd = learned(CASES["few_bits"])[0]["weight"]
    assert np.any(odd[-1] % 8)  # Lava lets weights leave the grid of the stored width
    assert learned(CASES["three_factor_at_spikes"])[0]["y1"].min() < 0
    first, later = learned(CASES["wild_weights"])[0]["weight"][[0, 4]]
    assert np.abs(first).max() > 600
    assert np.abs(later).max() <= 256
    overflowing = CASES["overflow"].rule["dw"]
    assert overflowing.count("x") + overflowing.count("y1") > 3


def test_what_lava_cannot_scale_is_refused():
    rule = learning_rule(dw="9*x0*y1 - 2^-8*x0*y2")
    with pytest.raises(LearningRuleError) as error:
        lava_engine(rule, np.zeros((2, 2), np.int64))
    assert error.value.mistakes == (
        "learning rule dw, product 1 '9*x0*y1': scale 9·2^0: mantissa 9; Lava allows -8 to 7",
        "learning rule dw, product 2 '-2^-8*x0*y2': scale -1·2^-8: exponent -8; Lava allows -7 to 8",
    )


def test_arrays_that_do_not_fit_are_refused():
    engine = lava_engine(learning_rule(dw=DELTA, **TRACES), np.zeros((3, 4), np.int64))
    pre = np.zeros((5, 4), bool)
    for call, text in (
        (lambda: engine.learn(engine.start, pre[:, :3]), "pre has the shape (5, 3), but 4 sources need [S, 4] or [N, T, 4]"),
        (lambda: engine.learn(engine.start, pre, pre), "post has the shape (5, 4), but must have (5, 3)"),
        (lambda: engine.learn(engine.start, pre.astype(int)), "pre must be bool, not int64"),
        (lambda: engine.learn(engine.start, pre, third={}), "the rule has no third factor, so its targets cannot write y1, y2, y3"),
        (
            lambda: engine.learn(engine.start, pre, record=("x3",)),
            f"no record 'x3'; records: {', '.join(RECORDS)} (did you mean 'y3'?)",
        ),
        (lambda: engine.learn(engine.start, pre, clear=True), "clear needs samples: pre of the shape [N, T, n_in]"),
        (
            lambda: lava_engine(engine.rule, np.zeros((3, 4), int), tag=np.zeros((4, 3))),
            "tag has the shape (4, 3), but there are (3, 4) weights",
        ),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == text


@pytest.mark.parametrize(
    "dw", ["2^-4*u0*x1*y1 - 2^-4*u0*x1*y2", "2^-2*x0*y1 - 2^-3*u0*x1*y2", "2^-3*u0*x1*y1", "2^-4*u0*x1*y1 + 2^-3*u0*x1*y2"]
)
def test_wide_connections_are_narrow_ones_side_by_side(dw: str) -> None:
    """Targets know nothing of each other; 170 are a block of 128 synapses and two of 32, 9 are less than one."""
    rng = np.random.default_rng(5)
    rule = learning_rule(dw=dw, x1_impulse=21, x1_tau=6, t_epoch=1, third_factor=True)
    weight, pre = rng.integers(-256, 256, (170, 33)), rng.random((40, 33)) < 0.3
    third = {name: rng.integers(-200, 200, (40, 170)) for name in ("y1", "y2")}
    engine = lava_engine(rule, weight, seed=4)
    whole = engine.learn(engine.start, pre, third=third).state
    assert np.mean(whole.weight != weight) > 0.9
    for threads in (2, 7):
        np.testing.assert_array_equal(engine.learn(engine.start, pre, third=third, threads=threads).state.weight, whole.weight)
    for first in range(0, 170, 9):
        own = slice(first, first + 9)
        part = lava_engine(rule, weight[own], seed=4)
        found = part.learn(part.start, pre, third={name: values[:, own] for name, values in third.items()}).state
        np.testing.assert_array_equal(found.weight, whole.weight[own])
