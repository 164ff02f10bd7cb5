from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from cases import CASES
from chips import Driven, chip, conv, dense, population, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import present

from neurofault.activity import DEAD_SCORE, TRACES, Activity
from neurofault.damage.damage import SetSynapses, Silence
from neurofault.deploy.deployment import Deployment
from neurofault.engines import ENGINES, Engine, get_engine, run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Conv, Dense, Encoding, Sparse
from neurofault.inputs import Inputs


def _neurons(rng: np.random.Generator, size: int) -> dict[str, object]:
    return {
        "exponent": int(rng.choice([-8, -3, -1, 0, 1, 2, 6, 12, 16])),
        "du": rng.choice([0, 1, 500, 4094, 4095], size) if rng.random() < 0.6 else 4095,
        "dv": rng.choice([0, 3, 700, 4095], size) if rng.random() < 0.6 else 0,
        "vth": rng.choice([-2, 0, 50, 500, 2000, 131071], size),
        "bias": rng.integers(-3000, 40000, size),
        "bias_exponent": int(rng.integers(-6, 18)),
        "v_init": int(rng.integers(-100, 5000)),
    }


def _damage(rng: np.random.Generator, layers: list[Driven]) -> list[Silence | SetSynapses]:
    edits: list[Silence | SetSynapses] = []
    for index, layer in enumerate(layers):
        edits.append(Silence(layer.name, np.unique(rng.integers(0, layer.size, int(rng.integers(0, 3))))))
        for _ in range(2 if index else 0):
            pairs = rng.choice(layer.size * layers[index - 1].size, min(5, layer.size * layers[index - 1].size), replace=False)
            targets, sources = np.divmod(pairs, layers[index - 1].size)
            edits.append(SetSynapses(layer.name, sources, targets, random_weights(rng, pairs.shape)))
    return edits


def _random_chip(seed: int) -> tuple[Deployment, Inputs]:
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2, 4]))
    image = (4, int(rng.integers(4, 8)), int(rng.integers(4, 7)))
    geometry = {key: (int(rng.integers(1, 4)), int(rng.integers(1, 3))) for key in ("stride", "dilation")}
    padding = (int(rng.integers(0, 3)), int(rng.integers(0, 3)))
    kernel = (int(rng.integers(1, 3)), int(rng.integers(1, 4)))
    first = conv(rng, image, 4 * int(rng.integers(1, 3)), kernel, groups=groups, padding=padding, **geometry)
    layers = [population("input", image, **{**_neurons(rng, first.n_in), "du": 4095})]
    shape = image
    if min(first.out_shape) > 0:
        layers.append(population("conv", first.out_shape, first, **_neurons(rng, first.n_out)))
        shape = first.out_shape
    layers.append(
        population("dense", (6,), dense(rng, 6, int(np.prod(shape)), delays=3 * int(rng.integers(0, 2))), **_neurons(rng, 6))
    )
    layers.append(population("output", (3,), dense(rng, 3, 6), **_neurons(rng, 3)))
    steps, samples = int(rng.integers(1, 8)), int(rng.integers(1, 4))
    deployment = chip(
        layers, steps, _damage(rng, layers) if rng.random() < 0.7 else (), "count" if rng.random() < 0.5 else "potential"
    )
    if rng.random() < 0.5:
        return deployment, Inputs(bias=rng.integers(-30000, 70000, (samples, layers[0].size)).astype(np.int32))
    return deployment, Inputs(events=rng.random((samples, steps, layers[0].size)) < 0.3)


def _assert_equal(first: Activity, second: Activity) -> None:
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.sample_spikes, second.sample_spikes)
    assert first.spike_counts.keys() == second.spike_counts.keys()
    for name, counts in first.spike_counts.items():
        np.testing.assert_array_equal(counts, second.spike_counts[name])
    assert first.traces.keys() == second.traces.keys()
    for name, traces in first.traces.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(traces, state), getattr(second.traces[name], state))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_equals_plain_integers(seed: int) -> None:
    deployment, inputs = _random_chip(seed)
    activity = ExactEngine(batch=2).run(deployment, inputs, record=TRACES)
    expected = present(deployment, inputs)
    assert list(activity.traces) == [population.name for population in deployment.populations]
    for name, own in expected.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(activity.traces[name], state), own[state], f"{name} {state}")
        np.testing.assert_array_equal(activity.spike_counts[name], own["spikes"].sum(axis=(0, 1)))
    np.testing.assert_array_equal(activity.sample_spikes, sum(own["spikes"].sum(axis=(1, 2)) for own in expected.values()))
    scores = expected["output"]["v"][:, -1].copy()
    if deployment.readout.how == "count":
        scores += expected["output"]["spikes"].sum(axis=1) * 2**24
    scores[:, deployment.damage.silent("output", 3)] = DEAD_SCORE
    np.testing.assert_array_equal(activity.scores, scores)


@pytest.mark.parametrize("name", ["damaged_convolutions", "delays", "given_events"])
def test_result_does_not_depend_on_batches_or_threads(name: str) -> None:
    deployment, inputs = CASES[name]()
    expected = ExactEngine(threads=1, batch=len(inputs)).run(deployment, inputs, record=TRACES)
    for threads in (1, 3):
        for batch in (1, 2, None):
            _assert_equal(ExactEngine(threads, batch).run(deployment, inputs, record=TRACES), expected)


def test_recording_changes_nothing_and_keeps_only_what_is_asked_for() -> None:
    deployment, inputs = CASES["damaged"]()
    bare, full = ExactEngine().run(deployment, inputs), ExactEngine().run(deployment, inputs, record=("v",))
    np.testing.assert_array_equal(bare.scores, full.scores)
    assert bare.traces == {}
    assert full.traces["hidden"].u is None
    assert full.traces["hidden"].spikes is None
    assert full.traces["hidden"].v.shape == (3, 25, 20)


def test_input_of_few_kinds_and_of_many_kinds_of_neurons() -> None:
    """A few kinds share looked-up trains; many kinds are run neuron by neuron."""
    rng = np.random.default_rng(0)
    inputs = Inputs(bias=rng.integers(-3000, 70000, (5, 60)).astype(np.int32))
    for kinds in (1, 3, 60):
        layers = [population("input", (60,), vth=np.arange(60) % kinds * 50, dv=7, bias_exponent=-1, v_init=99)]
        layers.append(population("output", (2,), dense(rng, 2, 60)))
        deployment = chip(layers, 9, [Silence("input", np.array([5]))])
        activity = ExactEngine(batch=2).run(deployment, inputs, record=TRACES)
        for state, values in present(deployment, inputs)["input"].items():
            np.testing.assert_array_equal(getattr(activity.traces["input"], state), values)


@pytest.mark.parametrize(("weight", "exponent"), [(254, 0), (254, -3), (-256, 2), (40000, -1), (-3_000_000, 0), (3_000_000, -2)])
def test_sums_of_many_large_weights_are_exact(weight: int, exponent: int) -> None:
    """More spikes in a step than the narrow types of the inner loops could hold."""
    n_in = 1500
    weights = np.full((3, n_in), weight, np.int32)
    weights[1, ::2] = 2
    deployment = chip(
        [population("input", (n_in,)), population("output", (3,), Dense(weights), exponent=exponent, du=9, vth=131072)], 3
    )
    inputs = Inputs(events=np.ones((1, 3, n_in), bool))
    expected = present(deployment, inputs)["output"]
    activity = ExactEngine().run(deployment, inputs, record=TRACES)
    np.testing.assert_array_equal(activity.traces["output"].u, expected["u"])
    np.testing.assert_array_equal(activity.traces["output"].v, expected["v"])


def test_convolution_whose_sums_need_more_than_16_bits() -> None:
    rng = np.random.default_rng(1)
    wide = Conv(np.full((2, 40, 3, 3), 254, np.int32), (40, 5, 5), padding=(1, 1))
    deployment = chip([population("input", (40, 5, 5)), population("output", wide.out_shape, wide, exponent=-2, vth=131072)], 3)
    inputs = Inputs(events=rng.random((2, 3, 1000)) < 0.9)
    activity = ExactEngine().run(deployment, inputs, record=TRACES)
    np.testing.assert_array_equal(activity.traces["output"].v, present(deployment, inputs)["output"]["v"])
    assert activity.traces["output"].u.max() > 64 * 2**14


def test_dead_output_never_wins() -> None:
    rng = np.random.default_rng(2)
    layers = [population("input", (8,)), population("output", (3,), dense(rng, 3, 8), bias=[-9000, 9000, -9000], vth=131072)]
    inputs = Inputs(events=np.zeros((4, 5, 8), bool))
    assert ExactEngine().run(chip(layers, 5, readout="potential"), inputs).predictions.tolist() == [1] * 4
    dead = ExactEngine().run(chip(layers, 5, [Silence("output", np.array([1]))], "potential"), inputs)
    assert dead.predictions.tolist() == [0] * 4
    assert (dead.scores[:, 1] == DEAD_SCORE).all()


def test_run_gives_accuracy_from_images() -> None:
    layers = [
        population("input", (4,), vth=100),
        population("output", (2,), Dense(np.array([[200, 0, 0, 0], [0, 0, 0, 200]], np.int32)), vth=131072),
    ]
    blank = chip(layers, 8, readout="potential")
    encoding = Encoding((np.arange(256) * 20).astype(np.int32), 100, 0, 0.5)
    deployment = blank.with_population(replace(blank.population("input"), encoding=encoding))
    images = np.zeros((3, 1, 2, 2), np.uint8)
    images[[0, 2], 0, 0, 0], images[1, 0, 1, 1] = 255, 255
    result = run(deployment, images, np.array([0, 1, 1]))
    assert (result.n, result.correct, result.accuracy) == (3, 2, 2 / 3)
    assert run(deployment, images).accuracy is None
    as_float = run(deployment, images / 255, np.array([0, 1, 1]), engine=ExactEngine(threads=1))
    np.testing.assert_array_equal(as_float.activity.scores, result.activity.scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "exakt"}, "no engine 'exakt'; engines: {engines} (did you mean 'exact'?)"),
        ({"record": ("spike",)}, "no trace 'spike'; traces: u, v, spikes (did you mean 'spikes'?)"),
        ({"x": Inputs(bias=np.zeros((0, 30), np.int32))}, "no samples: a run needs at least one"),
        ({"x": Inputs(bias=np.zeros((2, 7), np.int32))}, "bias has the shape (2, 7), but the input layer needs [N, 30]"),
        (
            {"x": Inputs(events=np.zeros((2, 24, 30), bool))},
            "events have the shape (2, 24, 30), but 25 steps of 30 input neurons are [N, 25, 30]",
        ),
        ({"y": np.zeros(2, np.int64)}, "labels have the shape (2,), but there are 3 samples"),
    ],
)
def test_bad_arguments_get_one_clear_message(arguments: dict[str, object], message: str) -> None:
    deployment, inputs = CASES["damaged"]()
    with pytest.raises(UsageError) as error:
        run(deployment, **{"x": inputs, **arguments})
    assert str(error.value) == message.format(engines=", ".join(ENGINES))


def test_exponent_out_of_range_is_refused_before_the_run() -> None:
    rng = np.random.default_rng(4)
    deployment = chip([population("input", (2,)), population("output", (2,), dense(rng, 2, 2), exponent=25)], 3)
    with pytest.raises(UnsupportedError) as error:
        run(deployment, Inputs(events=np.zeros((1, 3, 2), bool)))
    assert str(error.value).startswith(
        "engine 'exact' cannot run layer 'output': weight exponent 25 is outside −31…24; engines that can: "
    )


def test_synapse_edit_of_a_neuron_that_does_not_exist() -> None:
    rng = np.random.default_rng(5)
    bad = SetSynapses("output", np.array([2]), np.array([0]), np.array([0], np.int32))
    deployment = chip([population("input", (2,)), population("output", (2,), dense(rng, 2, 2))], 3, [bad])
    with pytest.raises(UsageError) as error:
        run(deployment, Inputs(events=np.zeros((1, 3, 2), bool)))
    assert str(error.value) == "connection 'output': a synapse edit names source 2…2, allowed are 0…1"


def test_engines_keep_the_protocol() -> None:
    engine: Engine = get_engine("exact")
    assert engine.name == "exact"
    assert engine.supports(CASES["delays"]()[0]) is None
    assert "neurofault.engines.exact.engine" in sys.modules


@pytest.mark.parametrize("threads", [1, 2])
def test_a_connection_that_has_lost_all_its_synapses_brings_nothing(threads):
    rng, events = np.random.default_rng(1), np.random.default_rng(2).random((300, 12, 9)) < 0.5
    none = Sparse(9, np.zeros(7, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))
    layers = [
        population("input", (9,)),
        population("hidden", (6,), none, vth=0),
        population("output", (3,), dense(rng, 3, 6), vth=0),
    ]
    made = replace(chip(layers, 12), readout=replace(chip(layers, 12).readout, how="count"))
    found = ExactEngine(threads).run(made, Inputs(events=events))
    assert found.spike_counts["input"].sum() == events.sum()
    assert not found.spike_counts["hidden"].any()
    assert not found.spike_counts["output"].any()
