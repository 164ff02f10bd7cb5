"""Populations without memory of u or leak of v, whose rows are summed and whose neurons step in registers, against integers of 64 bits."""

from __future__ import annotations

import numpy as np
import pytest
from chips import chip, conv, population, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import present

from neurofault.damage.damage import Silence
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.graph import Dense
from neurofault.inputs import Inputs

LIMIT = 1 << 23


def _expected(weights: np.ndarray, deployment: Deployment, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """v and spikes after each step, int64 and bool [N, T, n], by the equations of Lava 0.10's ``LIF`` (``fixed_pt``)."""
    own = deployment.output
    places = 6 + deployment.connections[0].weight_exponent
    silent = deployment.damage.silent(own.name, own.size)
    sums = events.astype(np.float64) @ weights.T.astype(np.float64)
    currents = sums.astype(np.int64)
    currents = currents << places if places >= 6 else (currents >> (6 - places)) << 6
    currents = currents.astype(np.int32).astype(np.int64)  # wraps
    u = np.where(currents > LIMIT, currents - 2 * LIMIT, np.where(currents <= -LIMIT, currents + 2 * LIMIT, currents))
    v = np.broadcast_to(np.int64(own.v_init), sums.shape[::2]).copy()
    potentials, spikes = np.empty(sums.shape, np.int64), np.empty(sums.shape, bool)
    for t in range(sums.shape[1]):
        moved = (v + u[:, t] + (own.bias_mantissa.astype(np.int64) << own.bias_exponent)).astype(np.int32).astype(np.int64)
        moved = np.clip(moved, 1 - LIMIT, LIMIT - 1)
        spikes[:, t] = (moved > own.vth.astype(np.int64) << 6) & ~silent
        v = np.where(spikes[:, t] | silent, 0, moved)
        potentials[:, t] = v
    return potentials, spikes


def _check(weights: np.ndarray, events: np.ndarray, *, exponent: int = 0, silent: tuple[int, ...] = (), **neurons: object) -> None:
    n_out, n_in = weights.shape
    layers = [population("input", (n_in,)), population("output", (n_out,), Dense(weights), exponent=exponent, **neurons)]
    deployment = chip(layers, events.shape[1], [Silence("output", np.array(silent, np.int64))] if silent else [])
    potentials, spikes = _expected(weights, deployment, events)
    found = ExactEngine(1, batch=2).run(deployment, Inputs(events=events), record=("v", "spikes"))
    np.testing.assert_array_equal(found.traces["output"].v, potentials)
    np.testing.assert_array_equal(found.traces["output"].spikes, spikes)
    np.testing.assert_array_equal(found.spike_counts["output"], spikes.sum(axis=(0, 1)))
    np.testing.assert_array_equal(found.spike_counts["input"], events.sum(axis=(0, 1)))
    np.testing.assert_array_equal(found.sample_spikes, spikes.sum(axis=(1, 2)) + events.sum(axis=(1, 2)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 330),
    st.integers(1, 500),
    st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0]),
    st.sampled_from(["bytes", "excitatory", "words", "long"]),
)
def test_equals_integers_of_64_bits(seed: int, n_out: int, n_in: int, rate: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    match kind:
        case "bytes":
            weights = random_weights(rng, (n_out, n_in))
        case "excitatory":
            weights = random_weights(rng, (n_out, n_in), sign_mode="excitatory")
        case "words":
            weights = rng.integers(-4000, 4000, (n_out, n_in)).astype(np.int32)
        case _:
            weights = rng.integers(-(1 << 20), 1 << 20, (n_out, n_in)).astype(np.int32)
    neurons = {
        "exponent": int(rng.integers(-3, 12)),
        "vth": rng.choice([-2, 0, 50, 500, 2000, 131071], n_out),
        "bias": rng.integers(-3000, 30000, n_out),
        "v_init": int(rng.integers(-100, 5000)),
        "silent": tuple(np.unique(rng.integers(0, n_out, int(rng.integers(0, 4)))).tolist()),
    }
    _check(weights, rng.random((3, 5, n_in)) < rate, **neurons)


@pytest.mark.parametrize(
    ("weight", "sources"),
    [
        (254, 258),  # 258 · 127 = 32,766: the last that fits 16 bits
        (254, 259),
        (-256, 255),
        (-256, 256),  # 256 · −128 = −32,768 fits too, but is added in two runs
        (-256, 257),
        (254, 517),
        (255, 128),  # not even: 16-bit rows, 128 · 255 = 32,640
        (255, 129),
        (-4095, 8),
        (-4095, 9),
        (-4096, 8),  # 8 · 4096 needs more than 16 bits: 32-bit rows
    ],
)
def test_sums_at_the_edge_of_16_bits(weight: int, sources: int) -> None:
    weights = np.full((130, sources), weight, np.int32)
    weights[::7] //= -2
    events = np.ones((1, 3, sources), bool)
    events[0, 1, -1] = False
    _check(weights, events, vth=131071, bias=np.arange(130) - 60, exponent=-6)
    _check(weights, events, vth=2000)


@pytest.mark.parametrize("weight", [126, 128, -126, -128, 254, -256])
@pytest.mark.parametrize("exponent", [9, 10, 15, 24])
def test_current_at_the_edge_of_24_bits(weight: int, exponent: int) -> None:
    """128 · 2**(6 + 10) is 2**23, which u can be; −2**23 wraps to it."""
    weights = np.zeros((70, 3), np.int32)
    weights[:, 1] = weight
    events = np.zeros((2, 4, 3), bool)
    events[:, 1:3, 1] = True
    _check(weights, events, vth=131071, exponent=exponent)
    _check(weights, events, vth=40, exponent=exponent, bias=-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 40))
def test_events_with_empty_steps_and_silent_sources_are_those_that_were_given(seed: int, steps: int, n_in: int) -> None:
    rng = np.random.default_rng(seed)
    events = (rng.random((4, steps, n_in)) < rng.choice([0.02, 0.5, 1.0])) & (rng.random((4, steps, 1)) < 0.6)
    silent = np.unique(rng.integers(0, n_in, int(rng.integers(0, 4))))
    layers = [population("input", (n_in,)), population("output", (2,), Dense(random_weights(rng, (2, n_in))))]
    deployment = chip(layers, steps, [Silence("input", silent)] if silent.size else [])
    events_left = events.copy()
    events_left[:, :, silent] = False
    found = ExactEngine(1).run(deployment, Inputs(events=events), record=("spikes",))
    np.testing.assert_array_equal(found.traces["input"].spikes, events_left)
    np.testing.assert_array_equal(found.spike_counts["input"], events_left.sum(axis=(0, 1)))


@pytest.mark.parametrize("channels", [9, 40, 48, 130])
@pytest.mark.parametrize("rate", [0.02, 0.2, 0.7])
def test_convolutions_of_any_number_of_channels(channels: int, rate: float) -> None:
    """Runs of 128, 32 and 8 words and single ones; sources of one place come together."""
    rng = np.random.default_rng(channels)
    synapses = conv(rng, (4, 3, 4), channels, (3, 3), padding=(1, 1))
    layers = [population("input", (4, 3, 4)), population("output", synapses.out_shape, synapses, vth=300, exponent=-1, dv=9)]
    deployment = chip(layers, 3, [Silence("input", np.array([7]))])
    inputs = Inputs(events=rng.random((2, 3, 48)) < rate)
    expected = present(deployment, inputs)
    found = ExactEngine(1).run(deployment, inputs, record=("v", "spikes"))
    for name in ("input", "output"):
        np.testing.assert_array_equal(found.traces[name].spikes, expected[name]["spikes"])
    np.testing.assert_array_equal(found.traces["output"].v, expected["output"]["v"])
