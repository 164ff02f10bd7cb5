"""Chips of any arithmetic in the exact engine: its kernels, NumPy step by step, and a chip with one clock in plain integers; who else refuses them."""

from __future__ import annotations

import importlib.util
from dataclasses import fields, replace

import numpy as np
import pytest
from chips import connection, conv, dense, graph_chip, neurons
from hypothesis import given, settings
from hypothesis import strategies as st
from random_arithmetics import computing_so, damaged, random_chip
from reference import check, present

import neurofault as nf
from neurofault.activity import TRACES, Activity
from neurofault.damage.damage import Damage, SetField, SetSynapses, Silence
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.graph import Readout
from neurofault.graph.arithmetic import LOIHI, Arithmetic, Decay, Register
from neurofault.graph.law import Law
from neurofault.graph.synapses import Conv
from neurofault.inputs import Inputs

SEEDS = st.integers(0, 1 << 20)
HALVES = Decay("shift", 15, tail=True)
XYLO = Arithmetic(
    "xylo",
    Register(16, decay=HALVES),
    Register(16, decay=HALVES),
    resets=("subtract",),
    spikes=31,
    sums="before_decay",
    partly=True,
)
SPECK = Arithmetic("speck", Register(16), resets=("subtract",), floor=True)


def assert_same(one: Activity, other: Activity) -> None:
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.sample_spikes, other.sample_spikes)
    for name, traces in one.traces.items():
        np.testing.assert_array_equal(one.spike_counts[name], other.spike_counts[name])
        for state in TRACES:
            mine, theirs = getattr(traces, state), getattr(other.traces[name], state)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs, f"{name} {state}")


def read_otherwise(chip: Deployment, rng: np.random.Generator) -> Deployment:
    how = ("potential", "count", "largest", "mean")[int(rng.integers(0, 4))]
    first = int(rng.integers(0, chip.timesteps))
    stop = first + 1 if how == "potential" else int(rng.integers(first + 1, chip.timesteps + 1))
    return replace(chip, readout=Readout(chip.readout.population, how, None if rng.random() < 0.4 else (first, stop)))


def test_random_chips_hold_what_they_are_for() -> None:
    found: dict[str, int] = {}
    for seed in range(150):
        made, inputs, _ = random_chip(seed, 12)
        activity = ExactEngine().run(made, inputs, record=("spikes",))
        seen = {f"{field.name} {getattr(chip, field.name)}" for chip in {one.law.arithmetic for one in made.populations if one.law.arithmetic != LOIHI}
                for field in fields(chip) if field.name not in ("v", "u", "spikes", "refractory", "name", "resets")}  # fmt: skip
        for one in made.populations:
            spikes, law = activity.traces[one.name].spikes, one.law
            assert spikes is not None
            if law.arithmetic != LOIHI:
                for register in filter(None, (law.arithmetic.u, law.arithmetic.v)):
                    seen |= {
                        register.decay.kind,
                        register.overflow,
                        f"signed {register.signed}",
                        f"{register.decay.kind} {register.decay.rounding}",
                    }
                    seen |= {f"tail {register.decay.tail}", f"more {register.decay.more}"}
                seen |= {
                    f"reset {law.reset}",
                    *(f"with {name}" for name in ("delayed", "refractory", "floor") if name in law.features),
                }
                seen |= {"spikes"} if spikes.any() and not one.is_source else set()
                seen |= {"several at once"} if int(spikes.max()) > 1 else set()
        kinds = {one.law.arithmetic for one in made.populations}
        seen |= {"loop"} if any(made.schedule.loops) else set()
        seen |= {"Loihi beside another"} if LOIHI in kinds and len(kinds) > 1 else set()
        seen |= {"convolution"} if any(isinstance(one.synapses, Conv) for one in made.connections) else set()
        for what in seen:
            found[what] = found.get(what, 0) + 1
    assert len(found) >= 40
    assert {what for what, times in found.items() if times < 5} == set()


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_kernels_equal_a_chip_with_one_clock(seed: int) -> None:
    made, inputs, rng = random_chip(seed, 12)
    made = read_otherwise(damaged(made, rng, plain=True), rng)
    one = ExactEngine(batch=2).run(made, inputs, record=TRACES)
    check(made, one, present(made, inputs))
    assert_same(one, StepwiseEngine().run(made, inputs, record=TRACES))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_damage_in_time_mixes_both_ways_and_equals_a_chip_with_one_clock(seed: int) -> None:
    made, inputs, rng = random_chip(seed, 12)
    made = read_otherwise(damaged(made, rng, plain=False), rng)
    one = ExactEngine(batch=2).run(made, inputs, record=TRACES)
    check(made, one, present(made, inputs))
    assert_same(one, StepwiseEngine().run(made, inputs, record=TRACES))


def wide_chip(chip: Arithmetic, *, loop: bool = False) -> tuple[Deployment, Inputs]:
    """More neurons than a block of the kernels holds, a convolution among what drives them."""
    rng = np.random.default_rng(3)
    shapes = {"in": (2, 10, 10), "conv": (3, 10, 10), "h": (150,), "out": (10,)}
    populations = [neurons("in", shapes["in"], is_source=True)]
    for name in ("conv", "h", "out"):
        own = computing_so(rng, neurons(name, shapes[name]), chip)
        populations.append(replace(own, vth=np.full(own.size, 150, np.int32)))
    connections = [
        connection("conv", "in", "conv", conv(rng, (2, 10, 10), 3, (3, 3), padding=(1, 1))),
        connection("h", "conv", "h", dense(rng, 150, 300), exponent=-2),
        connection("skip", "in", "h", dense(rng, 150, 200)),
        connection("out", "h", "out", dense(rng, 10, 150)),
        *([connection("hh", "h", "h", dense(rng, 150, 150))] if loop else []),
    ]
    return graph_chip(populations, connections, 12), Inputs(events=rng.random((5, 12, 200)) < 0.2)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("chip", [XYLO, SPECK], ids=lambda chip: chip.name)
def test_many_neurons(chip: Arithmetic, loop: bool) -> None:
    made, inputs = wide_chip(chip, loop=loop)
    one, other = ExactEngine(batch=2).run(made, inputs, record=TRACES), StepwiseEngine().run(made, inputs, record=TRACES)
    assert_same(one, other)
    spikes = one.traces["h"].spikes
    assert spikes is not None
    assert spikes.any(axis=(0, 1)).sum() > 70
    assert (spikes.max() > 1) == (chip == XYLO)


def test_kernels_are_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without damage in time nothing is stepped with NumPy; with it, only what it touches."""
    stepped: list[int] = []

    def counted(u: np.ndarray, *rest: object) -> np.ndarray:
        stepped.append(u.shape[-1])
        return law_step(u, *rest)

    from neurofault.engines.exact import stepwise
    from neurofault.graph.law import step as law_step

    monkeypatch.setattr(stepwise, "step_of_law", counted)
    made, inputs = wide_chip(XYLO, loop=True)
    whole = ExactEngine().run(made, inputs, record=TRACES)
    assert stepped == []
    later = made.with_damage(Damage((SetField("out", "vth", np.array([1]), np.array([5], np.int32), When(3)),)))
    mixed = ExactEngine().run(later, inputs, record=TRACES)
    assert set(stepped) == {10}
    np.testing.assert_array_equal(mixed.traces["h"].spikes, whole.traces["h"].spikes)
    first = made.with_damage(Damage((SetField("conv", "vth", np.array([1]), np.array([5], np.int32), When(3)),)))
    stepped.clear()
    part = ExactEngine().run(first, inputs, record=TRACES)
    assert set(stepped) == {300}
    assert_same(part, StepwiseEngine().run(first, inputs, record=TRACES))


def test_spikes_several_times_a_step_add_up_beyond_16_bits_and_beyond_32() -> None:
    """31 spikes a step of 200 neurons over the largest weights; sums in 32 bits would wrap."""
    chip = replace(XYLO, v=Register(32), u=Register(32), partly=False, sums="after_decay", shift=16)
    source = replace(neurons("in", (4,), is_source=True))
    once = replace(neurons("a", (200,), vth=1, bias=31 << 10, bias_exponent=6), law=Law("subtract", arithmetic=chip), dv=np.zeros(200, np.int32),
                   du=np.zeros(200, np.int32))  # fmt: skip
    target = replace(once, name="b", shape=(3,), bias_mantissa=np.zeros(3, np.int32), vth=np.full(3, 1 << 14, np.int32),
                     du=np.zeros(3, np.int32), dv=np.zeros(3, np.int32))  # fmt: skip
    weights = nf.Dense(np.array([[255] * 200, [-256] * 200, [1] * 200]))
    made = graph_chip(
        [source, once, target],
        [connection("ia", "in", "a", nf.Dense(np.zeros((200, 4), int))), connection("ab", "a", "b", weights, exponent=4)],
        4,
    )
    inputs = Inputs(events=np.zeros((1, 4, 4), bool))
    one = ExactEngine().run(made, inputs, record=TRACES)
    check(made, one, present(made, inputs))
    assert one.spike_counts["a"].sum() == 4 * 200 * 31
    assert one.traces["b"].v is not None
    assert one.traces["b"].v[0, 0].tolist() == [(1 << 30) - 1, -(1 << 31), (1 << 30) - 1]  # the ends of 32 bits; two fired once


def test_sums_beyond_64_bits_are_refused() -> None:
    made, inputs = wide_chip(replace(SPECK, shift=16))
    heavy = replace(
        made, connections=tuple(replace(one, weight_exponent=24) if one.name == "skip" else one for one in made.connections)
    )
    values = np.array([1 << 30], np.int32)
    heavy = heavy.with_damage(Damage((SetSynapses("skip", np.array([0]), np.array([0]), values),)))
    reason = "layer 'h': what arrives in a step may reach 2**78, beyond 60 bits; lower weight exponents"
    assert ExactEngine().supports(heavy) == StepwiseEngine().supports(heavy) == reason
    assert ExactEngine().supports(made) is None
    assert_same(ExactEngine().run(made, inputs, record=TRACES), StepwiseEngine().run(made, inputs, record=TRACES))


@pytest.mark.parametrize("what", ["u", "v"])
def test_registers_are_those_that_states_hold(what: str) -> None:
    found = replace(XYLO, **{what: Register(32, signed=False)}).mistake()
    assert found == f"{what}: 32 bits; allowed: 2 to 32, without a sign 2 to 31"
    assert replace(XYLO, **{what: Register(31, signed=False)}).mistake() is None


def plain_of_another_chip() -> Deployment:
    law = Law(arithmetic=replace(SPECK, resets=("zero",)))
    populations = [neurons("in", (4,), is_source=True), replace(neurons("h", (3,)), law=law)]
    return graph_chip(populations, [connection("h", "in", "h", dense(np.random.default_rng(0), 3, 4))], 6)


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_others_refuse_them_by_name(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    reason = get_engine(engine).supports(plain_of_another_chip())
    assert reason is not None
    assert reason.startswith("layer 'h': ")
    assert "another arithmetic than Loihi's" in reason


def test_the_incremental_engine_runs_them_whole_and_says_why() -> None:
    made = plain_of_another_chip()
    hurt, inputs = made.with_damage(Damage((Silence("h", np.array([1])),))), Inputs(bias=np.full((3, 4), 900, np.int32))
    assert IncrementalEngine().why_whole(hurt, 3, 1) == "layer 'h': arithmetic (of another arithmetic than Loihi's)"
    np.testing.assert_array_equal(IncrementalEngine().run(hurt, inputs).scores, ExactEngine().run(hurt, inputs).scores)
