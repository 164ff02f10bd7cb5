"""Graphs of any shape against a chip with one clock in plain integers: skips, loops, self-loops, several inputs, delays, damage, cuts."""

from __future__ import annotations

import os
import tracemalloc
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from chips import connection, conv, dense, graph_chip, neurons, random_weights, sparse
from random_graphs import random_edit, random_graph
from reference import check, present

from neurofault.activity import TRACES
from neurofault.damage.damage import Damage, SetSynapses, Silence
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.base import whole_runs_only
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.states import window_of
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Encoding
from neurofault.graph.synapses import Conv, Dense, Sparse
from neurofault.inputs import Bias, Inputs, Spikes

GRAPHS = int(os.environ.get("NEUROFAULT_TEST_GRAPHS", "25"))
"""Random graphs that each of the properties is tried on."""


def test_random_graphs_hold_what_they_are_for() -> None:
    found: dict[str, int] = defaultdict(int)
    for seed in range(60):
        chip, inputs, _ = random_graph(seed)
        schedule = chip.schedule
        within = [names for names, loops in zip(schedule.islands, schedule.loops, strict=True) if loops]
        looped = [one for one in chip.connections if any({one.source, one.target} <= set(names) for names in within)]
        found["loops"] += bool(looped)
        found["loops of several"] += any(len(names) > 1 for names in within)
        found["lags"] += any(schedule.lag.values())
        found["inputs"] += len(chip.inputs) > 1
        found["convolutions in loops"] += any(isinstance(one.synapses, Conv) and one.synapses.delay is None for one in looped)
        found["delayed convolutions"] += any(isinstance(one.synapses, Conv) and one.synapses.delay is not None for one in looped)
        found["exponents"] += any(len({one.weight_exponent for one in chip.into(name)}) > 1 for name in schedule.phase)
        found["undriven"] += any(not one.is_source and not chip.into(one.name) for one in chip.populations)
        found["read in the middle"] += bool(chip.out_of(chip.readout.population))
        spikes = ExactEngine().run(chip, inputs).spike_counts
        found["spikes"] += any(spikes[one.name].any() for one in chip.populations if not one.is_source)
    assert min(found.values()) >= 5, dict(found)


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_exact_equals_a_chip_with_one_clock(seed: int) -> None:
    chip, inputs, rng = random_graph(seed)
    chip = chip.with_damage(Damage(tuple(random_edit(rng, chip, plain=True) for _ in range(int(rng.integers(0, 4))))))
    expected = present(chip, inputs)
    check(chip, ExactEngine(batch=2).run(chip, inputs, record=TRACES), expected)
    check(chip, StepwiseEngine().run(chip, inputs, record=TRACES), expected)


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_any_damage_of_a_graph_equals_a_chip_with_one_clock(seed: int) -> None:
    chip, inputs, rng = random_graph(1000 + seed)
    chip = chip.with_damage(Damage(tuple(random_edit(rng, chip) for _ in range(int(rng.integers(1, 7))))))
    expected = present(chip, inputs)
    check(chip, StepwiseEngine().run(chip, inputs, record=TRACES), expected)
    check(chip, ExactEngine().run(chip, inputs, record=TRACES), expected)


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_a_run_cut_anywhere_goes_on_as_if_it_were_whole(seed: int) -> None:
    chip, inputs, rng = random_graph(2000 + seed)
    chip = chip.with_damage(Damage(tuple(random_edit(rng, chip) for _ in range(int(rng.integers(0, 5))))))
    whole = ExactEngine().run(chip, inputs, record=TRACES)
    cuts = range(1, chip.timesteps + 1) if seed % 2 else sorted({*rng.integers(1, chip.timesteps + 1, 3).tolist(), chip.timesteps})
    state, first = None, 0
    for cut in cuts:
        part = ExactEngine().run(chip, inputs, record=TRACES, state=state, stop=cut)
        for name, traces in part.traces.items():
            for trace in TRACES:
                np.testing.assert_array_equal(
                    getattr(traces, trace), getattr(whole.traces[name], trace)[:, first:cut], f"{name} {trace}"
                )
        state, first = part.state, cut
        assert state is not None
        assert state.step == cut
        for name, traces in whole.traces.items():
            np.testing.assert_array_equal(state.u[name], traces.u[:, cut - 1])
            np.testing.assert_array_equal(state.v[name], traces.v[:, cut - 1])
    np.testing.assert_array_equal(part.scores, whole.scores)


def _looped() -> tuple[Deployment, Inputs]:
    """Two inputs, one of pixels and one of events, a loop of two populations, and a readout that drives it."""
    rng = np.random.default_rng(5)
    encoding = Encoding((np.arange(256) * 20).astype(np.int32), 100, 0, 0.5)
    populations = [
        replace(neurons("pixels", (6,), is_source=True), encoding=encoding),
        neurons("events", (5,), is_source=True),
        neurons("a", (4,), du=3000, vth=100, bias=2500),
        neurons("b", (3,), dv=100, vth=100, bias=1500),
    ]
    connections = [
        connection("pa", "pixels", "a", dense(rng, 4, 6)),
        connection("ea", "events", "a", sparse(rng, 4, 5, delays=3)),
        connection("ab", "a", "b", dense(rng, 3, 4)),
        connection("ba", "b", "a", dense(rng, 4, 3), delay=2),
    ]
    chip = graph_chip(populations, connections, 8)
    bias = encoding.table[rng.integers(0, 256, (5, 6))]
    return chip, Inputs({"pixels": bias}, {"events": rng.random((5, 8, 5)) < 0.3})


def test_run_takes_an_input_of_each_name() -> None:
    chip, inputs = _looped()
    images = np.random.default_rng(1).integers(0, 256, (5, 1, 2, 3)).astype(np.uint8)
    events = inputs.of("events")
    assert isinstance(events, Spikes)
    bias = Bias(chip.encode({"pixels": images}).of("pixels").mantissa)
    wanted = run(chip, Inputs({"pixels": bias}, {"events": events})).activity.scores
    assert len(np.unique(wanted)) > 2
    for given in (
        {"pixels": images, "events": events},
        {"pixels": images / 255, "events": events.to_dense()},
        {"events": events.to_dense().astype(np.uint8), "pixels": bias},
    ):
        np.testing.assert_array_equal(run(chip, given).activity.scores, wanted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((1, 6), np.uint8), "network 'test' has 2 inputs: pixels, events; pass {name: images}"),
        ({"pixels": np.zeros((1, 6), np.uint8)}, "input 'events' gets nothing: pass bias or events for it"),
        ({"pixel": np.zeros((1, 6), np.uint8)}, "no input 'pixel' (did you mean 'pixels'?); inputs: pixels, events"),
        (
            {"pixels": np.zeros((1, 6), np.uint8), "events": np.zeros((1, 9, 5))},
            "events have the shape (1, 9, 5), but 8 steps of 5 neurons of input 'events' are [N, 8, 5]",
        ),
        (
            {"pixels": Bias(np.zeros((1, 7), np.int32)), "events": np.zeros((1, 8, 5))},
            "bias has the shape (1, 7), but input 'pixels' needs [N, 6]",
        ),
        (
            {"pixels": np.zeros((2, 6), np.uint8), "events": np.zeros((1, 8, 5))},
            "inputs have different numbers of samples: 'pixels' 2, 'events' 1",
        ),
        (Spikes.dense(np.zeros((1, 8, 5))), "there are 2 inputs: pixels, events; say whose each is: {name: array}"),
    ],
)
def test_what_does_not_fit_the_inputs_is_said(given: object, message: str) -> None:
    with pytest.raises(UsageError) as error:
        run(_looped()[0], given)
    assert str(error.value) == message


def test_states_of_batches_are_those_of_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    chip, inputs = _looped()
    whole = run(chip, inputs, record=TRACES)
    monkeypatch.setattr("neurofault.engines.exact.stepwise._BATCH_STATES", 2 * 6 * 8)
    first = run(chip, inputs, stop=3, record=("v",))
    state = first.activity.state
    assert state is not None
    assert first.notes == ()
    assert {name: flying.shape for name, flying in state.flying.items()} == {"ea": (5, 3, 5), "ba": (5, 3, 3)}
    rest = run(chip, inputs, state=state, record=("v",))
    np.testing.assert_array_equal(rest.activity.scores, whole.activity.scores)
    np.testing.assert_array_equal(rest.activity.sample_spikes + first.activity.sample_spikes, whole.activity.sample_spikes)
    both = [first.activity.traces["a"].v, rest.activity.traces["a"].v]
    np.testing.assert_array_equal(np.concatenate(both, axis=1), whole.activity.traces["a"].v)
    assert whole.activity.state is None
    assert rest.activity.state is not None
    assert rest.activity.state.step == 8
    one = run(chip, inputs[3:5], state=window_of(state, slice(3, 5))).activity
    np.testing.assert_array_equal(one.scores, whole.activity.scores[3:5])


def test_what_breaks_between_two_parts_of_a_run_breaks_there() -> None:
    chip, inputs = _looped()
    dead = chip.with_damage(Damage((Silence("a", np.array([0, 2]), When(4)),)))
    state = run(chip, inputs, stop=4).activity.state
    hurt = chip.with_damage(Damage((Silence("a", np.array([0, 2])),)))
    scores = run(hurt, inputs, state=state).activity.scores
    np.testing.assert_array_equal(scores, run(dead, inputs).activity.scores)
    assert (scores != run(chip, inputs).activity.scores).any()


def test_states_and_stops_that_do_not_fit_are_said() -> None:
    chip, inputs = _looped()
    state = run(chip, inputs, stop=3).activity.state
    assert state is not None
    end = run(chip, inputs, state=state).activity.state
    wrong = replace(state, u={**state.u, "a": state.u["a"][:, :2]})
    for given, message in (
        ({"stop": 0}, "stop is 0; allowed: 1 to 8"),
        ({"state": state, "stop": 3}, "stop is 3; allowed: 4 to 8"),
        ({"stop": 9}, "stop is 9; allowed: 1 to 8"),
        ({"state": end}, "the state is that after step 8, but a sample has 8 steps: nothing is left to run"),
        ({"state": wrong}, "the state's u of population 'a' has the shape (5, 2), but 5 samples need (5, 4)"),
        ({"state": replace(state, v={})}, "the state's v of population 'pixels' lacks it, but 5 samples need (5, 6)"),
    ):
        with pytest.raises(UsageError) as error:
            run(chip, inputs, **given)
        assert str(error.value) == message
    with pytest.raises(UsageError, match="the state's u of population 'pixels' has the shape"):
        run(chip, inputs[:2], state=state)
    with pytest.raises(UnsupportedError) as refused:
        whole_runs_only("lava", None, 3)
    assert str(refused.value) == "engine 'lava' runs samples as a whole: it takes no state and no stop; engines that do: exact"


def test_recordings_of_events_are_never_dense_as_a_whole() -> None:
    rng = np.random.default_rng(2)
    samples, steps, size, each = 300, 300, 2312, 400
    which = np.repeat(np.arange(samples), each)
    times, lines = rng.integers(0, steps, which.size), rng.integers(0, size, which.size)
    spikes = Spikes.of(which, times, lines, samples=samples, timesteps=steps, size=size)
    populations = [neurons("input", (size,), is_source=True), neurons("h", (20,), vth=300), neurons("o", (3,))]
    connections = [
        connection("h", "input", "h", sparse(rng, 20, size, 0.05)),
        connection("hh", "h", "h", dense(rng, 20, 20)),
        connection("o", "h", "o", dense(rng, 3, 20)),
    ]
    chip = graph_chip(populations, connections, steps)
    expected = run(chip, spikes[:3]).activity.scores
    tracemalloc.start()
    found = run(chip, spikes, engine=ExactEngine(threads=1)).activity
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found.scores[:3], expected)
    assert peak < samples * steps * size / 4  # bytes; one for each line and step would be four times as much


def test_a_population_that_two_convolutions_see_in_different_shapes() -> None:
    rng = np.random.default_rng(6)
    first = conv(rng, (2, 3, 2), 2, (3, 3), padding=(1, 1))
    second = conv(rng, (3, 2, 2), 3, (1, 3), padding=(0, 1))
    populations = [
        neurons("input", (2, 3, 2), is_source=True),
        neurons("p", (2, 3, 2), vth=200, bias=800),
        neurons("q", (3, 2, 2), vth=200),
    ]
    connections = [
        connection("ip", "input", "p", first),
        connection("pp", "p", "p", second, exponent=-1),
        connection("pq", "p", "q", second),
        connection("iq", "input", "q", first, exponent=-2),
    ]
    edit = SetSynapses("pq", np.arange(6), np.arange(6), random_weights(rng, (6,)))
    chip = graph_chip(populations, connections, 12, [edit])
    inputs = Inputs(events=rng.random((3, 12, 12)) < 0.3)
    check(chip, ExactEngine().run(chip, inputs, record=TRACES), present(chip, inputs))


@pytest.mark.parametrize(("weight", "exponent"), [(254, 0), (-256, 2), (40000, -1), (3_000_000, 0), (-3_000_000, -2)])
def test_sums_of_many_large_weights_are_exact_beside_others_and_in_loops(weight: int, exponent: int) -> None:
    n_in = 1500
    weights = np.full((3, n_in), weight, np.int32)
    weights[1, ::2] = 2
    back = Dense(np.full((n_in, 3), 254, np.int32))
    populations = [neurons("input", (n_in,), is_source=True), neurons("p", (3,), du=9, vth=5), neurons("q", (n_in,), vth=3)]
    connections = [
        connection("ip", "input", "p", Dense(weights), exponent=exponent),
        connection("iq", "input", "q", Sparse.of(n_in, n_in, np.arange(n_in), np.arange(n_in), np.full(n_in, 200))),
        connection("qp", "q", "p", Dense(weights), exponent=exponent),
        connection("pq", "p", "q", back),
    ]
    inputs = Inputs(events=np.ones((1, 4, n_in), bool))
    for chosen in (connections, connections[:3]):
        chip = graph_chip(populations, chosen, 4)
        activity = ExactEngine().run(chip, inputs, record=TRACES)
        check(chip, activity, present(chip, inputs))
        assert activity.spike_counts["q"].all()
