"""Quantisation against the formulas, and integers that are carried over bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault.deploy.profile import load_profile
from neurofault.deploy.quantise import POTENTIAL_LIMIT, quantise, truncate_weights, weight_range
from neurofault.errors import CapacityError, UsageError
from neurofault.graph import CubaLif, Dense, Encoding, Network, Population, Source, chain
from neurofault.graph.synapses import Stored

PROFILE = load_profile("loihi2")


def network(weight, *, bias=0.0, threshold: float | None = 1.0, stored=None, exponent=None, peak=None) -> Network:
    weight = np.atleast_2d(weight)
    neuron = CubaLif(threshold, np.broadcast_to(bias, weight.shape[0]), bias_exponent=exponent)
    populations = [
        Population("input", (weight.shape[1],), Source(Encoding.for_pixels(1.0, 0.5, 16))),
        Population("hidden1", (weight.shape[0],), neuron),
    ]
    return chain("test", populations, [Dense(weight)], timesteps=16, stored=[stored], peak_potential=peak)


def quantised(net, profile=PROFILE, **options):
    """The second population of a chain and the connection into it."""
    populations, [connection] = quantise(net, profile, **options)
    return populations[1], connection


@settings(max_examples=200, deadline=None)
@given(
    scale=st.floats(1e-4, 1e4), theta=st.floats(0.2, 60), bias=st.floats(-20, 20), bits=st.sampled_from([2, 4, 6, 8]),
    seed=st.integers(0, 10_000),
)  # fmt: skip
def test_integers_stand_for_the_real_numbers(scale, theta, bias, bits, seed):
    weight = np.random.default_rng(seed).normal(0, scale, (3, 5))
    top = np.abs(weight).max()
    layer, into = quantised(network(weight, bias=bias * top, threshold=theta * top), weight_bits=bits)
    integers = into.synapses.weight
    low, high, step = weight_range(bits, "mixed")
    assert integers.min() >= low
    assert integers.max() <= high
    assert np.all(integers % step == 0)
    assert np.array_equal(truncate_weights(integers, bits, "mixed"), integers)
    unit = layer.vth[0] / (theta * top)  # σ, from the threshold
    error = np.abs(integers * 2.0**into.weight_exponent / unit - weight).max()
    assert error <= (step * 0.51 * 2.0**into.weight_exponent + top * unit / layer.vth[0]) / unit
    stored_bias = layer.bias_mantissa * 2.0**layer.bias_exponent
    assert (
        np.abs(stored_bias / (64 * unit) - bias * top).max()
        <= (2.0**layer.bias_exponent) / (64 * unit) + abs(bias) * top / layer.vth[0]
    )
    assert np.abs(layer.bias_mantissa).max() <= 4096


def test_a_large_bias_lowers_the_exponent_instead_of_failing():
    _, gentle = quantised(network(np.ones((1, 4)), bias=1.0, threshold=100.0))
    strong, into = quantised(network(np.ones((1, 4)), bias=60.0, threshold=100.0))
    assert into.weight_exponent < gentle.weight_exponent
    assert strong.bias_mantissa[0] * 2**strong.bias_exponent / (64 * strong.vth[0]) == pytest.approx(0.6, rel=0.01)


def test_a_potential_that_is_never_reset_stays_below_saturation():
    layer, into = quantised(network(np.ones((2, 4)), threshold=None, peak=1e5))
    assert not layer.fires
    per_spike = into.synapses.weight[0, 0] * 2.0**into.weight_exponent * 64
    assert per_spike * 1e5 <= 0.51 * POTENTIAL_LIMIT
    assert per_spike * 1e5 >= 0.2 * POTENTIAL_LIMIT


@given(
    st.lists(st.integers(-400, 400), min_size=1, max_size=20),
    st.integers(1, 8),
    st.sampled_from(["mixed", "excitatory", "inhibitory"]),
)
def test_truncation_is_lavas(values, bits, sign_mode):
    kept = truncate_weights(np.array(values), bits, sign_mode)
    for value, result in zip(values, kept.tolist(), strict=True):
        low, high = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}[sign_mode]
        value = min(max(value, low), high)
        step = 2 ** (8 - bits + (sign_mode == "mixed"))
        expected = -(-value // step) * step if sign_mode == "inhibitory" else value // step * step
        assert result == (expected if sign_mode != "inhibitory" else -((-value) // step * step))


def test_carried_integers_are_kept_bit_for_bit():
    weight = np.array([[-256, 254, 2], [0, -2, 100]])
    stored = Stored(weight_exponent=-3, weight_bits=8, sign_mode="mixed")
    layer, into = quantised(network(weight, bias=7, threshold=300, stored=stored, exponent=2))
    assert np.array_equal(into.synapses.weight, weight)
    assert (into.weight_exponent, layer.bias_exponent, layer.vth.tolist(), layer.bias_mantissa.tolist()) == (
        -3,
        2,
        [300, 300],
        [7, 7],
    )


def test_carried_integers_that_do_not_fit_are_refused():
    stored = Stored()
    with pytest.raises(CapacityError) as refusal:
        quantise(network(np.array([[3, 2], [300, 4]]), threshold=300, stored=stored, exponent=0), PROFILE)
    assert str(refusal.value) == (
        "layer 'hidden1': 2 of 4 carried weights do not fit 8 mixed bits bit for bit; truncate them first (quantise.truncate_weights)"
    )


def test_a_width_that_the_profile_does_not_store_is_refused():
    with pytest.raises(UsageError) as refusal:
        quantise(network(np.ones((1, 2))), load_profile("loihi1"), weight_bits=7)
    assert str(refusal.value) == "profile 'loihi1' stores no 7-bit weights; allowed: 1, 2, 3, 4, 5, 6, 8"


def test_a_profile_without_room_for_a_bias_or_a_threshold_says_so():
    def limited(**values):
        neuron = PROFILE.neuron
        changed = {name: getattr(neuron, name).model_copy(update={"value": value}) for name, value in values.items()}
        return PROFILE.model_copy(update={"neuron": neuron.model_copy(update=changed)})

    unsigned = limited(bias_mantissa_min=0)
    layer, into = quantised(network(np.ones((1, 2))), unsigned)
    assert layer.bias_mantissa.tolist() == [0]
    np.testing.assert_array_equal(into.synapses.weight, quantised(network(np.ones((1, 2))))[1].synapses.weight)
    with pytest.raises(
        CapacityError, match=r"^layer 'hidden1' has a bias, for which the mantissas 0…4095 of loihi2 leave no room$"
    ):
        quantise(network(np.ones((1, 2)), bias=0.5), unsigned)
    with pytest.raises(CapacityError, match=r"^layer 'hidden1' has thresholds, and the largest that loihi2 stores is 0$"):
        quantise(network(np.ones((1, 2))), limited(threshold_max=0))
