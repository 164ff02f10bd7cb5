"""Mode ``hardware_strict``: against a plain Python reference, and what no rule may ever do to a damaged chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import connection, neurons, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_cases import DELTA, POSTS, TRACES
from reference_learning import Reference

import neurofault as nf
from neurofault import faults
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.memory import stored_weights, write_gate
from neurofault.errors import UsageError
from neurofault.graph import Dense, Readout
from neurofault.learning.rule import learning_rule
from neurofault.learning.setup import lava_engine, strict_engine, write_back

N_IN, N_OUT, T = 7, 6, 6
PROFILE = nf.load_profile("loihi2")
RULES = {
    "stdp": {"dw": "2^1*y0*x1 - 2^2*x0*y1", "t_epoch": 2, **TRACES, **POSTS},
    "delta": {
        "dw": "2^-5*u0*x1*y1 - 2^-5*u0*x1*y2",
        "t_epoch": 3,
        "x1_impulse": 40.5,
        "x1_tau": float("inf"),
        "third_factor": True,
    },
    "plain": {"dw": "2^0*u0*x1*y1 - 2^1*x0*y3*x2 + 2^-3*u0*y2", "t_epoch": 2, **TRACES, **POSTS},
    "tags": dict(
        dw="2^-1*u1*t*x1 + 2^1*x0*(w+3)*y1", dt="2^-1*x0*y1 - 2^-1*u1*t", dd="x0*y1*sgn(w) - 2^-2*u1*d", **TRACES, **POSTS
    ),
}


def chip(seed=0, bits=8, sign_mode="mixed") -> Deployment:
    """7 sources on core 0, 6 targets on cores 1 to 3."""
    weight = random_weights(np.random.default_rng(seed), (N_OUT, N_IN), bits, sign_mode)
    populations = neurons("input", (N_IN,), vth=0, is_source=True), neurons("hidden1", (N_OUT,), vth=0)
    synapses = connection("hidden1", "input", "hidden1", Dense(weight), bits=bits, sign_mode=sign_mode)
    cores = {"input": np.zeros(N_IN, np.int32), "hidden1": (1 + np.arange(N_OUT) // 2).astype(np.int32)}
    return Deployment("test", PROFILE, populations, (synapses,), Placement(1, 128, cores), T, Readout("hidden1", "count"))


def activity(seed, samples=4):
    rng = np.random.default_rng(seed)
    third = {name: rng.integers(-40, 200, (samples, T, N_OUT)) for name in ("y1", "y2", "y3")}
    return rng.random((samples, T, N_IN)) < 0.4, rng.random((samples, T, N_OUT)) < 0.3, third


def learn(deployment, rule, seed=0, samples=4, record=(), **limits):
    pre, post, third = activity(seed, samples)
    engine = strict_engine(deployment, "hidden1", rule, seed=seed, **limits)
    return engine, engine.learn(engine.start, pre, post, third if rule.third_factor else None, record=record)


FAULTS = {
    "none": [],
    "core": [faults.CoreDead(cores=[2])],
    "synapses": [faults.SynapseDead(count=9, layer="hidden1"), faults.SynapseBitStuck(rate=0.1, level=1, layer="hidden1")],
    "stuck": [faults.SynapseBitStuck(rate=0.2, level=0, layer="hidden1"), faults.SynapseBitFlip(rate=0.1, layer="hidden1")],
    "frozen": [faults.LearningFrozen(cores=[1])],
    "x_trace": [faults.TraceStuck(cores=[1], trace="x1", value=90), faults.TraceStuck(cores=[2], trace="x2", value=3)],
    "y_trace": [faults.TraceStuck(cores=[3], trace="y1", value=60)],
    "third": [faults.ThirdFactorDead(cores=[1, 3])],
    "rounding": [faults.RoundingStuck(cores=[1], value=0), faults.RoundingStuck(cores=[2], value=127)],
    "now_and_then": [faults.LearningFrozen(cores=[1], when={"kind": "intermittent", "on": 2, "off": 1})],
}


def same_as_reference(deployment, rule, seed=0):
    pre, post, third = activity(seed)
    reference = Reference(deployment, "hidden1", rule, seed)
    _, result = learn(deployment, rule, seed, record=("weight", "tag", "delay", "x1", "x2", "y1", "y2", "y3"))
    for k, t in np.ndindex(pre.shape[:2]):
        reference.step(pre[k, t], post[k, t], {name: values[k, t] for name, values in third.items()})
        np.testing.assert_array_equal(result.records["weight"][k, t], reference.w)
        for name, values in reference.trace.items():
            np.testing.assert_array_equal(result.records[name][k, t], values, name)
        for name, values in (("tag", reference.t), ("delay", reference.d)):
            if result.records[name].size:
                np.testing.assert_array_equal(result.records[name][k, t], values, name)
    return result


@pytest.mark.parametrize("damage", FAULTS)
@pytest.mark.parametrize("name", RULES)
def test_every_step_equals_the_plain_reference(name, damage):
    deployment = faults.inject(chip(), FAULTS[damage], seed=3) if FAULTS[damage] else chip()
    result = same_as_reference(deployment, learning_rule(**RULES[name]), seed=5)
    assert np.any(result.state.weight != stored_weights(deployment, "hidden1"))


@pytest.mark.parametrize(
    ("bits", "sign_mode"), [(8, "excitatory"), (8, "inhibitory"), (5, "mixed"), (4, "inhibitory"), (1, "mixed")]
)
def test_every_stored_width_equals_the_plain_reference(bits, sign_mode):
    base = chip(2, bits, sign_mode)
    damaged = faults.inject(base, faults.SynapseBitStuck(rate=0.15, level=1, layer="hidden1"), seed=1)
    for deployment in (base, damaged):
        same_as_reference(deployment, learning_rule(**RULES["stdp"]), seed=1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(RULES)), st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=3))
def test_nothing_dead_comes_back_and_stuck_bits_survive(seed, name, damages):
    dead = faults.SynapseDead(count=5, layer="hidden1")
    damaged = faults.inject(chip(seed), [dead, *(fault for damage in damages for fault in FAULTS[damage])], seed=seed)
    engine, result = learn(damaged, learning_rule(**RULES[name]), seed)
    healed = write_back(damaged, "hidden1", engine, result.state)
    np.testing.assert_array_equal(stored_weights(healed, "hidden1"), result.state.weight)  # the gate had nothing left to change
    before, after, gate = stored_weights(damaged, "hidden1"), stored_weights(healed, "hidden1"), write_gate(damaged, "hidden1")
    gone = (gate.keep == 0) & (gate.force == 0) & gate.alive[:, None]
    assert gone.sum() >= 1 or not gate.alive.all()
    assert not after[gone].any()
    np.testing.assert_array_equal(after[~gate.alive], before[~gate.alive])
    field = after[gate.alive].astype(np.int64) >> 1
    changed = after[gate.alive] != before[gate.alive]
    assert not ((field & gate.force[gate.alive]) != gate.force[gate.alive])[changed].any()
    assert not (field & ~(gate.keep | gate.force)[gate.alive] & 0xFF)[changed].any()


def test_defects_of_the_learning_engine_take_effect():
    rule = learning_rule(**RULES["delta"])
    healthy = learn(chip(), rule)[1].state.weight
    for damage, cores in (("frozen", [1]), ("third", [1, 3]), ("x_trace", [1]), ("y_trace", [3]), ("rounding", [1, 2])):
        damaged = faults.inject(chip(), FAULTS[damage])
        weight = learn(damaged, rule)[1].state.weight
        rows = np.isin(chip().placement.core_of["hidden1"], cores)
        assert np.any(weight[rows] != healthy[rows]), damage
        np.testing.assert_array_equal(weight[~rows], healthy[~rows])
        if damage in ("frozen", "third"):
            np.testing.assert_array_equal(weight[rows], stored_weights(chip(), "hidden1")[rows])


def test_steps_smaller_than_the_stored_width_are_kept_on_average():
    rule = learning_rule(dw="u0*x1", x1_impulse=1)  # 1, where the stored width is 2
    deployment = chip()
    zero = replace(deployment.connection("hidden1"), synapses=Dense(np.zeros((N_OUT, N_IN), np.int32)))
    engine = strict_engine(deployment.with_connection(zero), "hidden1", rule)
    end = engine.learn(engine.start, np.ones((100, N_IN), bool)).state
    assert abs(end.weight.mean() - 100) < 6
    assert np.unique(end.weight).size > 3  # each synapse draws a number of its own
    assert not (end.weight % 2).any()


def test_writes_are_counted_and_limited():
    rule = learning_rule(**RULES["delta"])
    _, free = learn(chip(), rule, samples=6, record=("weight",))
    steps = np.concatenate([stored_weights(chip(), "hidden1")[None], free.records["weight"].reshape(-1, N_OUT, N_IN)])
    np.testing.assert_array_equal(free.state.writes, (np.diff(steps, axis=0) != 0).sum(axis=0))
    total = int(free.state.writes.sum())
    assert free.state.writes.max() > 2
    assert learn(chip(), rule, samples=6, write_limit=2)[1].state.writes.max() == 2
    for budget in (0, 1, total // 2, total):
        assert learn(chip(), rule, samples=6, write_budget=budget)[1].state.writes.sum() == budget
    assert not np.any(learn(chip(), rule, write_budget=0)[1].state.weight != stored_weights(chip(), "hidden1"))


def test_samples_can_begin_with_cleared_traces():
    rule = learning_rule(**RULES["delta"])
    pre, post, third = activity(1)
    engine = strict_engine(chip(), "hidden1", rule)
    together = engine.learn(engine.start, pre, post, third, clear=True).state
    state = engine.start
    for k in range(len(pre)):
        state = engine.learn(state.cleared(), pre[k], post[k], {name: values[k] for name, values in third.items()}).state
    np.testing.assert_array_equal(together.weight, state.weight)
    assert np.any(together.weight != engine.learn(engine.start, pre, post, third).state.weight)
    assert engine.start.step == 0
    np.testing.assert_array_equal(engine.start.weight, stored_weights(chip(), "hidden1"))  # a state is never changed


def test_learned_delays_reach_the_chip():
    engine, result = learn(chip(), learning_rule(**RULES["tags"]))
    healed = write_back(chip(), "hidden1", engine, result.state)
    np.testing.assert_array_equal(healed.connection("hidden1").synapses.delay, result.state.delay)
    assert result.state.delay.any()


def test_modes_are_never_mixed():
    rule = learning_rule(dw=DELTA, third_factor=True, **TRACES)
    strict, lava = strict_engine(chip(), "hidden1", rule), lava_engine(rule, np.zeros((N_OUT, N_IN), int))
    for call, text in (
        (
            lambda: strict.learn(lava.start, np.zeros((1, N_IN), bool)),
            "the state is of mode 'lava_compat', the engine of 'hardware_strict'; the two are never mixed",
        ),
        (
            lambda: write_back(chip(), "hidden1", lava, lava.start),
            "only what was learned in mode 'hardware_strict' can be written to a chip",
        ),
        (lambda: strict_engine(chip(), "hidden", rule), "no connection 'hidden' (did you mean 'hidden1'?); connections: hidden1"),
        (lambda: strict_engine(chip(), "hidden1", rule, write_limit=-1), "write_limit is -1; allowed: 0 or more"),
        (
            lambda: strict.learn(strict.start, np.zeros((1, N_IN), bool), third={"y4": np.zeros((1, N_OUT), int)}),
            "no third factor 'y4'; third factors: y1, y2, y3 (did you mean 'y3'?)",
        ),
        (
            lambda: strict.learn(strict.start, np.zeros((1, N_IN), bool), third={"y1": np.zeros((1, N_OUT))}),
            "y1 must be of an integer type, not float64",
        ),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == text


def wide_chip(seed: int, n_in: int = 41, n_out: int = 23, bits: int = 8) -> Deployment:
    """41 sources, 23 targets: whole vectors of synapses and what is left of them."""
    weight = random_weights(np.random.default_rng(seed), (n_out, n_in), bits)
    populations = neurons("input", (n_in,), vth=0, is_source=True), neurons("hidden1", (n_out,), vth=0)
    cores = {"input": np.zeros(n_in, np.int32), "hidden1": (1 + np.arange(n_out) // 2).astype(np.int32)}
    synapses = connection("hidden1", "input", "hidden1", Dense(weight), bits=bits)
    return Deployment("test", PROFILE, populations, (synapses,), Placement(1, 128, cores), T, Readout("hidden1", "count"))


@pytest.mark.parametrize(
    "damage", [[], FAULTS["core"], FAULTS["stuck"], FAULTS["rounding"]], ids=["none", "core", "stuck", "rounding"]
)
@pytest.mark.parametrize("name", ["delta", "plain", "stdp"])
def test_whole_vectors_of_synapses_equal_the_plain_reference_on_any_number_of_threads(name: str, damage: list[object]) -> None:
    rng = np.random.default_rng(7)
    deployment = faults.inject(wide_chip(3), damage, seed=3) if damage else wide_chip(3)
    rule = learning_rule(**RULES[name])
    pre, post = rng.random((2, T, 41)) < 0.4, rng.random((2, T, 23)) < 0.3
    third = {one: rng.integers(-40, 200, (2, T, 23)) for one in ("y1", "y2", "y3")} if rule.third_factor else None
    reference = Reference(deployment, "hidden1", rule, 2)
    for k, t in np.ndindex(2, T):
        reference.step(pre[k, t], post[k, t], {one: values[k, t] for one, values in (third or {}).items()})
    engine = strict_engine(deployment, "hidden1", rule, seed=2)
    first = engine.learn(engine.start, pre, post, third, threads=1).state
    np.testing.assert_array_equal(first.weight, reference.w)
    assert first.writes.sum() > 100
    for threads in (2, 5):
        again = engine.learn(engine.start, pre, post, third, threads=threads).state
        for one, other in zip(first.memory, again.memory, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_budget_of_writes_that_may_end_serves_sources_in_order_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(8)
    deployment, rule = wide_chip(4), learning_rule(**RULES["stdp"])
    pre, post = rng.random((2, T, 41)) < 0.4, rng.random((2, T, 23)) < 0.3
    free = strict_engine(deployment, "hidden1", rule)
    needed = int(free.learn(free.start, pre, post).state.writes.sum())
    for budget, spent in ((needed // 2, needed // 2), (needed + 1, needed)):
        engine = strict_engine(deployment, "hidden1", rule, write_budget=budget)
        found = [engine.learn(engine.start, pre, post, threads=threads).state for threads in (1, 3)]
        np.testing.assert_array_equal(found[0].weight, found[1].weight)
        assert [int(state.writes.sum()) for state in found] == [spent, spent]
        assert [int(state.memory.left[0]) for state in found] == [budget - spent] * 2


SATURATING = {
    "both": "2^3*u0*x1*y1 - 2^3*u0*x1*y2 + 2^1*u0*x1*y3",
    "above": "2^4*u0*x1*y1 - 2^1*u0*x1*y2",
    "below": "2^1*x0*y3 - 2^4*u0*x1*y1 + 2^1*u0*y2",
}
"""By which end of the accumulator a sum may have passed before it comes back."""


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("end", SATURATING)
def test_sums_that_pass_the_accumulators_ends_are_rounded_as_in_the_plain_reference(end: str, bits: int) -> None:
    rng = np.random.default_rng(11)
    deployment = faults.inject(wide_chip(5, 12, 70, bits), [faults.LearningFrozen(cores=[2, 20])])
    rule = learning_rule(dw=SATURATING[end], x1_impulse=100, x1_tau=2, third_factor=True, t_epoch=1)
    pre, third = rng.random((6, 12)) < 0.5, {one: rng.integers(-40, 200, (6, 70)) for one in ("y1", "y2", "y3")}
    reference, engine = Reference(deployment, "hidden1", rule, 2), strict_engine(deployment, "hidden1", rule, seed=2)
    found = engine.learn(engine.start, pre, third=third, record=("weight",))
    for t in range(6):
        reference.step(pre[t], np.zeros(70, bool), {one: values[t] for one, values in third.items()})
        np.testing.assert_array_equal(found.records["weight"][t], reference.w)
    assert np.isin(found.state.weight, (engine.cells.low[0], engine.cells.high[0])).mean() > 0.1
    assert np.unique(found.state.weight).size > 1 << min(bits, 4) >> 1


def test_weights_that_their_field_cannot_hold_are_rounded_as_they_are() -> None:
    rule = learning_rule(**RULES["delta"])
    engine = strict_engine(wide_chip(6), "hidden1", rule)
    odd = engine.start.memory._replace(weight=np.minimum(engine.start.memory.weight | 1, 253))
    rng = np.random.default_rng(3)
    pre, third = rng.random((T, 41)) < 0.4, {one: rng.integers(0, 128, (T, 23)) for one in ("y1", "y2")}
    end = engine.learn(replace(engine.start, memory=odd), pre, third=third).state
    kept = end.writes == 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(end.weight[kept], odd.weight.T[kept])
    assert not (end.weight[~kept] & 1).any()


def test_writes_of_more_epochs_than_16_bits_count_are_counted() -> None:
    rule = learning_rule(dw="2^7*u0*x1*y1 - 2^7*u0*x1*y2", x1_impulse=127, third_factor=True)
    engine, steps = strict_engine(wide_chip(7, 2, 9), "hidden1", rule), 70_000
    pre, up = np.ones((steps, 2), bool), np.arange(steps)[:, None] % 2 == np.zeros((1, 9))
    end = engine.learn(engine.start, pre, third={"y1": 127 * up, "y2": 127 * ~up}).state
    assert (end.writes >= steps - 1).all()
    assert int(engine.start.memory.left[0] - end.memory.left[0]) == int(end.writes.sum())
