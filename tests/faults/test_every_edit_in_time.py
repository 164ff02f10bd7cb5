"""Every edit × every kind of time window, against plain integers, on dense and convolutional chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import chain, even, expanded, neurons
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import acts, present

from neurofault.activity import DEAD_SCORE
from neurofault.damage.damage import Damage, Drop, Force, Hit, InputNoise, SetDelays, SetField, SetSynapses, Silence, Stall, Upset
from neurofault.damage.when import ALWAYS, When
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import StalledError
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs

STEPS = 6
NO_HIT = Hit("test", (), {}, {})


def whens():
    clock = st.sampled_from(["presentation", "chip"])
    start = st.integers(0, 2 * STEPS)
    return st.one_of(
        st.just(ALWAYS),
        st.builds(When, start, clock=clock),
        st.builds(lambda a, n, c: When(a, a + n, clock=c), start, st.integers(1, STEPS), clock),
        st.builds(lambda a, p, on, c: When(a, None, p, min(on, p), c), start, st.integers(1, 5), st.integers(1, 5), clock),
    )


@st.composite
def chips(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        delay = rng.integers(0, 4, (5, 6)) if draw(st.booleans()) else None
        shapes, synapses = [(6,), (5,), (4,)], [Dense(even(rng, (5, 6)), delay)]
    else:
        conv = Conv(even(rng, (2, 1, 2, 2)), in_shape=(1, 3, 3), padding=(draw(st.integers(0, 1)),) * 2, stride=(2, 1))
        shapes, synapses = [conv.in_shape, conv.out_shape, (4,)], [conv]
    synapses.append(Dense(even(rng, (4, synapses[0].n_out))))
    populations = [
        neurons(name, shape, is_source=name == "input") for name, shape in zip(("input", "hidden1", "output"), shapes, strict=True)
    ]
    populations = [
        replace(
            one,
            du=rng.choice([0, 1500, 4095], one.size).astype(np.int32),
            dv=rng.choice([0, 300], one.size).astype(np.int32),
            vth=rng.integers(20, 300, one.size).astype(np.int32),
            bias_mantissa=rng.integers(-500, 2000, one.size).astype(np.int32),
            v_init=int(rng.integers(0, 1000)),
        )
        for one in populations
    ]
    chip = chain(populations, synapses, neurons_per_core=3, timesteps=STEPS)
    for connection in chip.connections:
        chip = chip.with_connection(replace(connection, weight_exponent=draw(st.integers(-2, 3))))
    chip = replace(chip, readout=replace(chip.readout, how=draw(st.sampled_from(["potential", "count"]))))
    edits = tuple(draw(edit_of(chip, rng, kind)) for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5)))
    return chip.with_damage(Damage(edits)), rng


KINDS = ["silence", "force", "field", "upset", "weights", "delays", "drop", "noise"]


def edit_of(chip, rng, kind):
    @st.composite
    def build(draw):
        when = draw(whens())
        layer = draw(st.integers(0 if kind in ("silence", "force", "field", "upset") else 1, 2))
        one = chip.populations[layer]
        name, size = one.name, one.size
        some = np.sort(rng.choice(size, rng.integers(1, size), replace=False)).astype(np.int64)
        match kind:
            case "silence":
                return Silence(name, some, when)
            case "force":
                return Force(name, some, int(rng.choice([0, 20000, 40000, 65536])), when)
            case "field":
                field = draw(st.sampled_from(["vth", "du", "dv", "bias_mantissa"]))
                top = 4096 if field in ("du", "dv") else 3000
                return SetField(name, field, some, rng.integers(0, top, len(some)).astype(np.int32), when)
            case "upset":
                masks = (1 << rng.integers(0, 24, len(some))).astype(np.int32)
                clock = draw(st.sampled_from(["presentation", "chip"]))
                return Upset(name, draw(st.sampled_from(["u", "v"])), some, masks, draw(st.integers(0, 2 * STEPS)), clock)
            case "weights" | "delays":
                synapses = chip.connection(name).synapses
                pairs = (
                    sorted(expanded(synapses)) if isinstance(synapses, Conv) else list(np.ndindex(synapses.n_in, synapses.n_out))
                )
                chosen = np.array([pairs[i] for i in rng.choice(len(pairs), min(8, len(pairs)), replace=False)], np.int64)
                values = rng.integers(-256, 255, len(chosen)).astype(np.int32)
                if kind == "weights":
                    return SetSynapses(name, chosen[:, 0], chosen[:, 1], values, when)
                return SetDelays(name, chosen[:, 0], chosen[:, 1], rng.integers(0, 5, len(chosen)), when)
            case "drop":
                core = int(rng.choice(chip.placement.cores_of(name)))
                targets = np.flatnonzero(chip.placement.core_of[name] == core).astype(np.int64)
                sources = np.sort(rng.choice(chip.populations[layer - 1].size, 3, replace=False)).astype(np.int64)
                return Drop(name, core, sources, targets, draw(st.sampled_from([1.0, 0.3])), draw(st.integers(0, 99)), when)
            case _:
                some = np.arange(3, dtype=np.int64)
                return InputNoise("input", some, 300.0, draw(st.integers(0, 99)), draw(st.sampled_from(["sample", "step"])), when)

    return build()


def check(chip, inputs, engine):
    activity = engine.run(chip, inputs, record=("u", "v", "spikes"))
    slow = present(chip, inputs)
    for population, wanted in slow.items():
        trace = activity.traces[population]
        for name in ("u", "v", "spikes"):
            np.testing.assert_array_equal(getattr(trace, name), wanted[name], err_msg=f"{population} {name}")
        np.testing.assert_array_equal(activity.spike_counts[population], wanted["spikes"].sum(axis=(0, 1)))
    counts, potential = slow["output"]["spikes"].sum(axis=1), slow["output"]["v"][:, -1]
    dead = np.array(
        [
            [
                any(
                    isinstance(e, Silence)
                    and e.population == "output"
                    and n in e.neurons
                    and acts(e.when, STEPS - 1, (inputs.first_sample + row + 1) * STEPS + 2)
                    for e in chip.damage.edits
                )
                for n in range(4)
            ]
            for row in range(len(inputs))
        ]
    )
    scores = potential + (counts << 24 if chip.readout.how == "count" else 0)
    np.testing.assert_array_equal(activity.scores, np.where(dead, DEAD_SCORE, scores))


@settings(max_examples=80, deadline=None)
@given(chips(), st.integers(0, 2))
def test_engines_equal_plain_integers_for_any_damage(made, first):
    chip, rng = made
    inputs = Inputs(bias=rng.integers(0, 8000, (2, chip.populations[0].size)).astype(np.int32), first_sample=first)
    check(chip, inputs, StepwiseEngine())
    check(chip, inputs, ExactEngine())


@settings(max_examples=25, deadline=None)
@given(chips())
def test_stepwise_equals_plain_integers_for_given_spikes(made):
    chip, rng = made
    edits = tuple(edit for edit in chip.damage.edits if not isinstance(edit, InputNoise))
    inputs = Inputs(events=rng.random((2, STEPS, chip.populations[0].size)) < 0.4)
    check(chip.with_damage(Damage(edits)), inputs, ExactEngine())


@settings(max_examples=40, deadline=None)
@given(chips())
def test_stepwise_equals_exact_where_both_run(made):
    chip, rng = made
    plain = tuple(edit for edit in chip.damage.edits if isinstance(edit, Silence | SetSynapses) and edit.when.always)
    chip = chip.with_damage(Damage(plain))
    assert chip.damage.plain
    inputs = Inputs(bias=rng.integers(0, 8000, (3, chip.populations[0].size)).astype(np.int32))
    one, other = (engine.run(chip, inputs, record=("v",)) for engine in (StepwiseEngine(), ExactEngine()))
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.sample_spikes, other.sample_spikes)
    for name, trace in one.traces.items():
        np.testing.assert_array_equal(trace.v, other.traces[name].v)


def test_batches_of_samples_do_not_change_random_faults(monkeypatch):
    rng = np.random.default_rng(3)
    chip = chain([neurons("input", (6,), is_source=True), neurons("output", (4,))], [Dense(even(rng, (4, 6)))], timesteps=STEPS)
    drop = Drop("output", 2, np.arange(6), np.arange(4), 0.5, 7, When(2, clock="chip"))
    chip = chip.with_damage(Damage((drop, InputNoise("input", np.arange(6), 100.0, 3, "step"))))
    inputs = Inputs(bias=rng.integers(0, 8000, (9, 6)).astype(np.int32))
    whole = StepwiseEngine().run(chip, inputs, record=("u",))
    monkeypatch.setattr("neurofault.engines.exact.stepwise._BATCH_STATES", 2 * 6 * STEPS)
    parts = StepwiseEngine().run(chip, inputs, record=("u",))
    np.testing.assert_array_equal(whole.scores, parts.scores)
    np.testing.assert_array_equal(whole.traces["output"].u, parts.traces["output"].u)
    split = [StepwiseEngine().run(chip, inputs[part]).scores for part in (slice(0, 4), slice(4, 9))]
    np.testing.assert_array_equal(whole.scores, np.concatenate(split))


@pytest.mark.parametrize(
    ("when", "samples", "stalls"),
    [
        (ALWAYS, 1, True),
        (When(40, clock="chip"), 6, False),
        (When(40, clock="chip"), 7, True),
        (When(STEPS), 9, False),
    ],
)
def test_a_hung_core_stalls_the_chip_once_it_acts(when, samples, stalls):
    rng = np.random.default_rng(3)
    chip = chain([neurons("input", (2,), is_source=True), neurons("output", (2,))], [Dense(even(rng, (2, 2)))], timesteps=STEPS)
    hung = chip.with_damage(Damage().plus([Stall((1,), when)], NO_HIT))
    inputs = Inputs(bias=np.zeros((samples, 2), np.int32))
    if stalls:
        with pytest.raises(StalledError) as error:
            StepwiseEngine().run(hung, inputs)
        assert str(error.value) == "the chip stalls: core 1 hangs and the mesh waits for it"
    else:
        StepwiseEngine().run(hung, inputs)
