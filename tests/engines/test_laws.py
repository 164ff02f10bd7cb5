"""Laws of neurons (resets, refractory steps, floors, starts of single neurons) against a chip in plain integers, in every engine that takes them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from chips import chip, connection, dense, graph_chip, neurons, population
from random_graphs import random_edit, random_graph, random_law
from reference import present

from neurofault.activity import TRACES
from neurofault.damage.damage import Damage, LostReset, StuckCounter
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import UsageError
from neurofault.graph import Dense
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.law import Law
from neurofault.inputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing


def lawful(seed: int, most_steps: int = 24) -> tuple[Deployment, Inputs, np.random.Generator]:
    """A random graph in which most populations have a law of their own, and starts of single neurons."""
    made, inputs, rng = random_graph(seed, most_steps)

    def own(one: ChipPopulation) -> ChipPopulation:
        if rng.random() < 0.2:
            return one
        return replace(one, law=random_law(rng, one.size), v_init=rng.integers(-9000, 9000, one.size).astype(np.int32))

    return replace(made, populations=tuple(map(own, made.populations))), inputs, rng


def with_damage(made: Deployment, rng: np.random.Generator) -> Deployment:
    """Lost resets and stuck counters in time, among other edits."""
    edits = [random_edit(rng, made) for _ in range(int(rng.integers(0, 3)))]
    for _ in range(3):
        one = made.populations[int(rng.integers(0, len(made.populations)))]
        some = np.sort(rng.choice(one.size, 2, replace=False))
        start = int(rng.integers(0, made.timesteps + 1))
        when = (ALWAYS, When(start), When(start, start + 2, clock="chip"))[int(rng.integers(0, 3))]
        lost = LostReset(one.name, some, when)
        edits.append(lost if rng.random() < 0.5 else StuckCounter(one.name, some, int(rng.integers(0, 2)), when))
    return made.with_damage(Damage(tuple(edits)))


def assert_equal(made: Deployment, inputs: Inputs, *engines: object) -> None:
    expected = present(made, inputs)
    for engine in engines:
        activity = engine.run(made, inputs, record=TRACES)
        for name, own in expected.items():
            for state in TRACES:
                np.testing.assert_array_equal(getattr(activity.traces[name], state), own[state], f"{engine} {name} {state}")


@pytest.mark.parametrize("seed", range(12))
def test_laws_equal_a_chip_with_one_clock(seed: int) -> None:
    made, inputs, _ = lawful(seed)
    assert_equal(made, inputs, ExactEngine(batch=2), StepwiseEngine())


@pytest.mark.parametrize("seed", range(100, 112))
def test_broken_counters_and_lost_resets_equal_a_chip_with_one_clock(seed: int) -> None:
    made, inputs, rng = lawful(seed)
    assert_equal(with_damage(made, rng), inputs, ExactEngine())


@pytest.mark.parametrize("engine", ["lava", "brian2"])
@pytest.mark.parametrize("seed", range(200, 204))
def test_laws_elsewhere_equal_a_chip_with_one_clock(engine: str, seed: int) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    made, inputs, rng = lawful(seed, 12)
    assert_equal(with_damage(made, rng) if seed % 2 else made, inputs, get_engine(engine))


LAWS = [
    Law("subtract"), Law("none"), Law("zero", True), Law("subtract", True), Law("none", True),
    Law(refractory=np.full(5, 2, np.int32)), Law(floor=np.full(5, -100, np.int32)),
]  # fmt: skip


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_each_part_of_a_law_is_seen(law: Law) -> None:
    """Each part changes what a population does, alone, in the kernel for wholes and in that for loops."""
    rng = np.random.default_rng(4)
    source, hidden = neurons("in", (6,), is_source=True), neurons("h", (5,), vth=150, du=3000, dv=300)
    for synapses in ([], [connection("hh", "h", "h", dense(rng, 5, 5))]):
        made = graph_chip([source, hidden], [connection("ih", "in", "h", dense(rng, 5, 6)), *synapses], 30)
        inputs = Inputs(bias=rng.integers(2000, 8000, (3, 6)).astype(np.int32))
        other = replace(made, populations=(source, replace(hidden, law=law)))
        assert_equal(other, inputs, ExactEngine(), StepwiseEngine())
        one, two = (ExactEngine().run(each, inputs, record=("v",)).traces["h"].v for each in (made, other))
        assert one is not None
        assert two is not None
        assert not np.array_equal(one, two)


def test_subtracting_keeps_what_is_above_the_threshold() -> None:
    made = chip([population("in", (1,), bias=0), population("out", (1,), Dense(np.array([[100]])), vth=40)], 5)
    made = replace(made, populations=(made.populations[0], replace(made.populations[1], law=Law("subtract"))))
    events = Inputs(events=np.array([[[1], [0], [0], [0], [0]]], bool))
    activity = ExactEngine().run(made, events, record=("v", "spikes"))
    v, spikes = activity.traces["out"].v, activity.traces["out"].spikes
    assert v is not None
    assert spikes is not None
    assert (v[0, :, 0] // 64).tolist() == [60, 20, 20, 20, 20]
    assert spikes[0, :, 0].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("seed", range(300, 304))
def test_a_run_of_refractory_neurons_goes_on_where_it_was_cut(seed: int) -> None:
    made, inputs, rng = lawful(seed)
    made = with_damage(made, rng)
    whole = ExactEngine().run(made, inputs, record=("spikes",))
    state, first = None, 0
    for cut in sorted({*rng.integers(1, made.timesteps + 1, 3).tolist(), made.timesteps}):
        part = ExactEngine().run(made, inputs, record=("spikes",), state=state, stop=cut)
        for name, traces in part.traces.items():
            wanted = whole.traces[name].spikes
            assert wanted is not None
            np.testing.assert_array_equal(traces.spikes, wanted[:, first:cut])
        state, first = part.state, cut
    np.testing.assert_array_equal(part.scores, whole.scores)


def test_a_state_without_counters_is_refused() -> None:
    law = Law(refractory=np.full(4, 2, np.int32))
    made = chip([population("in", (3,)), population("out", (4,), dense(np.random.default_rng(0), 4, 3))], 6)
    made = replace(made, populations=(made.populations[0], replace(made.populations[1], law=law)))
    inputs = Inputs(bias=np.full((2, 3), 5000))
    state = run(made, inputs, stop=3).activity.state
    assert state is not None
    assert {name: set(own) for name, own in state.own.items()} == {"out": {"waiting"}}
    with pytest.raises(UsageError) as error:
        run(made, inputs, state=replace(state, own={}))
    assert str(error.value) == ("the state's own 'waiting' of population 'out': it lacks it, but 2 samples need (2, 4)")


@pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")
@pytest.mark.parametrize("law", [Law("subtract", True), Law("zero", True), Law("none"), Law("zero")], ids=str)
def test_snntorch_has_its_own_resets(law: Law) -> None:
    rng = np.random.default_rng(9)
    made = graph_chip(
        [neurons("in", (6,), is_source=True), replace(neurons("h", (5,), vth=150), law=law), neurons("out", (3,))],
        [connection("ih", "in", "h", dense(rng, 5, 6)), connection("hh", "h", "h", dense(rng, 5, 5)), connection("ho", "h", "out", dense(rng, 3, 5))],
        20,
    )  # fmt: skip
    inputs = Inputs(bias=rng.integers(0, 8000, (4, 6)).astype(np.int32))
    one, other = (run(made, inputs, engine=name, record=TRACES).activity for name in ("exact", "snntorch"))
    for name, trace in one.traces.items():
        np.testing.assert_array_equal(trace.spikes, other.traces[name].spikes)
        np.testing.assert_array_equal(trace.v, other.traces[name].v)
    assert one.spike_counts["h"].any()


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        (LAWS[5], "layer 'out': snnTorch's Leaky has no refractory steps and no floor of the potential"),
        (
            Law("subtract"),
            "layer 'out': with reset_delay=False snnTorch takes the threshold off again from a neuron that is still above it; reset_delay 1 is taken",
        ),
    ],
    ids=["refractory", "subtract"],
)
def test_what_snntorch_has_not_is_said(law: Law, reason: str) -> None:
    made = chip([population("in", (3,)), population("out", (5,), dense(np.random.default_rng(0), 5, 3))], 6)
    made = replace(made, populations=(made.populations[0], replace(made.populations[1], law=law)))
    assert get_engine("snntorch").supports(made) == reason
