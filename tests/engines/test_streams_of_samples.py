"""Streams: a chip whose state is never reset, against a chip with one clock that never clears; cut anywhere, and broken anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import connection, dense, graph_chip, neurons
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_edit, random_graph
from reference import check, present

import neurofault as nf
from neurofault.activity import TRACES
from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.golden import golden
from neurofault.errors import ConversionError, UnsupportedError, UsageError
from neurofault.inputs import Inputs, State
from neurofault.study.atlas import atlas

SEEDS = st.integers(0, 1 << 20)


def _stream(seed: int, edits: int, most_steps: int = 12) -> tuple[Deployment, Inputs, np.random.Generator]:
    """A random graph that is never reset, with some damage and a few more samples."""
    chip, inputs, rng = random_graph(seed, most_steps)
    more = np.arange(int(rng.integers(2, 7))) % len(inputs)
    chip = replace(chip.with_damage(Damage(tuple(random_edit(rng, chip) for _ in range(edits)))), reset="never")
    return chip, inputs.take(more), rng


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, 5))
def test_a_stream_equals_a_chip_with_one_clock_that_never_clears(seed: int, edits: int) -> None:
    chip, inputs, _ = _stream(seed, edits)
    check(chip, run(chip, inputs, record=TRACES).activity, present(chip, inputs))


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(0, 5))
def test_windows_of_a_stream_do_not_show(seed: int, edits: int) -> None:
    chip, inputs, _ = _stream(seed, edits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurofault.engines.exact.stepwise._BATCH_STATES", 1)
        check(chip, run(chip, inputs, record=TRACES).activity, present(chip, inputs))


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, 5))
def test_a_stream_cut_anywhere_goes_on_as_if_it_were_whole(seed: int, edits: int) -> None:
    chip, inputs, rng = _stream(seed, edits)
    inputs = inputs.counted_from(int(rng.integers(0, 3)))
    whole = run(chip, inputs, record=TRACES).activity
    steps = chip.timesteps
    cuts = sorted({*rng.integers(1, len(inputs) * steps, 4).tolist(), len(inputs) * steps})
    parts: dict[str, list[np.ndarray]] = {f"{name} {trace}": [] for name in whole.traces for trace in TRACES}
    state, scores, spikes, at = None, np.zeros_like(whole.scores), np.zeros_like(whole.sample_spikes), 0
    for cut in cuts:
        while at < cut:  # what is left of a sample, whole samples, the beginning of one
            first, own = divmod(at, steps)
            last = first + 1 if own or cut < (first + 1) * steps else cut // steps
            stop = min(cut - (last - 1) * steps, steps)
            found = run(chip, inputs[first:last], record=TRACES, state=state, stop=stop).activity
            for name, traces in found.traces.items():
                for trace in TRACES:
                    parts[f"{name} {trace}"].append(getattr(traces, trace).reshape(-1, getattr(traces, trace).shape[2]))
            scores[first:last] = found.scores
            spikes[first:last] += found.sample_spikes
            state, at = found.state, (last - 1) * steps + stop
            assert state is not None
            assert (state.sample, state.step) == (last - 1 + inputs.first_sample, stop)
    for name, traces in whole.traces.items():
        for trace in TRACES:
            expected = getattr(traces, trace)
            np.testing.assert_array_equal(np.concatenate(parts[f"{name} {trace}"]), expected.reshape(-1, expected.shape[2]))
    np.testing.assert_array_equal(scores, whole.scores)
    np.testing.assert_array_equal(spikes, whole.sample_spikes)


def _relay(reset: str = "never") -> tuple[Deployment, Inputs]:
    """One input neuron, a neuron that keeps half of a threshold, and spikes that cross the border of samples."""
    rng = np.random.default_rng(3)
    populations = [
        neurons("in", (3,), is_source=True),
        neurons("a", (4,), du=2000, dv=100, vth=200),
        neurons("out", (2,), dv=50, vth=300),
    ]
    connections = [
        connection("ia", "in", "a", dense(rng, 4, 3, delays=3)),
        connection("aa", "a", "a", dense(rng, 4, 4), delay=3),
        connection("ao", "a", "out", dense(rng, 2, 4), exponent=1),
    ]
    chip = replace(graph_chip(populations, connections, 5), reset=reset)
    return chip, Inputs(events=rng.random((6, 5, 3)) < 0.5)


def test_what_a_sample_leaves_reaches_the_next() -> None:
    chip, inputs = _relay()
    apart = run(replace(chip, reset="sample"), inputs, record=TRACES).activity
    stream = run(chip, inputs, record=TRACES).activity
    for trace in TRACES:
        one, other = getattr(stream.traces["a"], trace), getattr(apart.traces["a"], trace)
        np.testing.assert_array_equal(one[0], other[0])
        assert (one[1:] != other[1:]).any()
    turned = run(chip, inputs.take(np.arange(6)[::-1])).activity.scores[::-1]
    assert (turned != stream.scores).any()


def test_samples_after_a_state_are_counted_on() -> None:
    chip, inputs = _relay()
    whole = run(chip, inputs).activity
    state = run(chip, inputs[:2]).activity.state
    events = inputs.of("").to_dense()
    np.testing.assert_array_equal(run(chip, events[2:], state=state).activity.scores, whole.scores[2:])
    np.testing.assert_array_equal(run(chip, inputs[2:], state=state).activity.scores, whole.scores[2:])


def test_what_does_not_follow_is_said() -> None:
    chip, inputs = _relay()
    state = run(chip, inputs[:2]).activity.state
    within = run(chip, inputs[:1], stop=2).activity.state
    assert isinstance(state, State)
    for given_, arguments, message in (
        (inputs[3:], {"state": state}, "the state is that after step 5 of sample 1, so sample 2 comes next, not 3"),
        (inputs[1:2], {"state": within}, "the state is that after step 2 of sample 0, so sample 0 comes next, not 1"),
        (
            inputs,
            {"stop": 2},
            "a run of a stream (reset: never) that starts or ends within a sample is of that sample alone, not of 6",
        ),
        (
            inputs,
            {"state": within},
            "a run of a stream (reset: never) that starts or ends within a sample is of that sample alone, not of 6",
        ),
        (
            inputs[2:],
            {"state": replace(state, u={**state.u, "a": np.zeros((4, 4), np.int32)})},
            "the state's u of population 'a' has the shape (4, 4), but 1 sample needs (1, 4)",
        ),
    ):
        with pytest.raises(UsageError) as error:
            run(chip, given_, **arguments)
        assert str(error.value) == message


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_other_engines_refuse_streams_by_name(engine: str) -> None:
    pytest.importorskip(engine)
    chip, inputs = _relay()
    with pytest.raises(UnsupportedError) as error:
        run(chip, inputs, engine=engine)
    assert str(error.value) == (
        f"engine {engine!r} cannot run a network that keeps its state between samples (reset: never); engines that can: exact"
    )


def test_threads_and_batches_of_the_engine_do_not_show() -> None:
    chip, inputs = _relay()
    np.testing.assert_array_equal(ExactEngine(1, 1).run(chip, inputs).scores, run(chip, inputs).activity.scores)


def test_what_takes_samples_apart_refuses_streams_by_name() -> None:
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    reflex = nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count").with_reset("never")
    chip, inputs = nf.deploy(reflex, spare_cores=1), Inputs(events=np.ones((2, 4, 2), bool))
    labels = np.array([0, 1])
    assert chip.reset == "never"
    rest = (
        "takes samples that start anew (reset: sample), and this network keeps its state between them (reset: never); "
        "--reset sample, or convert: {reset: sample}, shows it such samples"
    )
    for what, call in (
        ("what learns", lambda: nf.rescue(chip, inputs, labels, strategy="batch", learner="delta")),
        ("an atlas", lambda: atlas(chip, inputs, labels, "neuron_dead")),
        ("the export to NIR", lambda: nf.to_nir(chip)),
        ("the export to NIR", lambda: nf.to_nir(reflex)),
    ):
        with pytest.raises(UnsupportedError) as error:
            call()
        assert str(error.value) == f"{what} {rest}"
    with pytest.raises(UnsupportedError, match="engine 'incremental' cannot run a network that keeps its state between samples"):
        golden(chip, inputs)
    np.testing.assert_array_equal(IncrementalEngine().run(chip, inputs).scores, run(chip, inputs).activity.scores)
    with pytest.raises(ConversionError) as wrong:
        reflex.with_reset("nevr")
    assert str(wrong.value) == "network 'reflex': reset must be sample or never, is 'nevr' (did you mean 'never'?)"
