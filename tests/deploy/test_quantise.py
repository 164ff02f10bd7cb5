"""Quantisation against the formulas, and integers that are carried over bit for bit."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault.deploy import deploy
from neurofault.deploy.profile import load_profile
from neurofault.deploy.quantise import quantise
from neurofault.deploy.weight_fields import truncate_weights, weight_range
from neurofault.errors import CapacityError, ConversionError, UsageError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Encoding, Network, Population, Readout, Source, Sparse, chain
from neurofault.graph.arithmetic import LOIHI
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
    assert per_spike * 1e5 <= 0.51 * LOIHI.v.high
    assert per_spike * 1e5 >= 0.2 * LOIHI.v.high


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
        "layer 'hidden1': 2 of 4 carried weights do not fit 8 mixed bits bit for bit; truncate them first (deploy.weight_fields.truncate_weights)"
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
        CapacityError, match=r"^population 'hidden1' has a bias, for which the mantissas 0…4095 of loihi2 leave no room$"
    ):
        quantise(network(np.ones((1, 2)), bias=0.5), unsigned)
    with pytest.raises(CapacityError, match=r"^population 'hidden1' has thresholds, and the largest that loihi2 stores is 0$"):
        quantise(network(np.ones((1, 2))), limited(threshold_max=0))


# --- graphs -----------------------------------------------------------------------------------------------------------------------


def joined(weights, *, threshold=1.0, bias=0.0, delays=None) -> Network:
    """Several inputs, a connection from each into the readout."""
    inputs = [Population(f"in{place}", (weight.shape[1],), Source()) for place, weight in enumerate(weights)]
    connections = [
        Connection(f"c{place}", f"in{place}", "output", Dense(weight), 1 if delays is None else delays[place])
        for place, weight in enumerate(weights)
    ]
    output = Population("output", (len(weights[0]),), CubaLif(threshold, bias))
    return Network("joined", (*inputs, output), tuple(connections), 16, Readout("output", "count"))


@settings(max_examples=200, deadline=None)
@given(
    scales=st.lists(st.floats(-4, 4), min_size=1, max_size=4), theta=st.floats(0.2, 60), bits=st.sampled_from([2, 4, 6, 8]),
    seed=st.integers(0, 10_000),
)  # fmt: skip
def test_connections_into_a_population_share_its_unit_and_each_uses_its_range(scales, theta, bits, seed):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 10.0**scale, (3, 5)) for scale in scales]
    top = max(np.abs(weight).max() for weight in weights)
    populations, connections = quantise(joined(weights, threshold=theta * top), PROFILE, weight_bits=bits)
    unit = populations[-1].vth[0] / (theta * top)  # σ, from the threshold
    low, high, step = weight_range(bits, "mixed")
    loose = 0.5 / populations[-1].vth[0]  # the threshold is rounded too
    for weight, one in zip(weights, connections, strict=True):
        integers = one.synapses.weight
        assert np.array_equal(truncate_weights(integers, bits, "mixed"), integers)
        error = np.abs(integers * 2.0**one.weight_exponent / unit - weight).max()
        assert error <= step * 0.51 * 2.0**one.weight_exponent / unit + 1.01 * loose * np.abs(weight).max()
        used = max(integers.max() / high, integers.min() / low)
        assert used >= 0.5 - step / high or one.weight_exponent == PROFILE.synapse.weight_exponent_min.known
    assert max(max(one.synapses.weight.max() / high, one.synapses.weight.min() / low) for one in connections) == 1.0


def test_a_connection_much_weaker_than_its_neighbour_has_a_smaller_exponent_and_keeps_its_weights():
    strong, weak = np.full((1, 2), 64.0), np.array([[0.5, -0.25]])
    _, (first, second) = quantise(joined([strong, weak], threshold=100.0), PROFILE)
    assert second.weight_exponent == first.weight_exponent - 7
    assert (first.synapses.weight.tolist(), second.synapses.weight.tolist()) == ([[254, 254]], [[254, -128]])


def test_weights_of_zero_take_part_in_nothing():
    populations, (first, second) = quantise(joined([np.ones((1, 2)), np.zeros((1, 3))]), PROFILE)
    alone, (only,) = quantise(joined([np.ones((1, 2))]), PROFILE)
    assert np.array_equal(first.synapses.weight, only.synapses.weight)
    assert (first.weight_exponent, populations[-1].vth[0]) == (only.weight_exponent, alone[-1].vth[0])
    assert not second.synapses.weight.any()


@pytest.mark.parametrize("seed", range(10))
def test_a_connection_cut_into_two_is_quantised_as_it_was(seed):
    """The same weights over two connections from the same source give the same integers, where both reach the largest."""
    weight = np.random.default_rng(seed).normal(0, 3, (4, 6))
    weight[0, 0] = weight[0, 3] = 20.0
    whole, [one] = quantise(joined([weight], threshold=50.0, bias=0.3), PROFILE)
    parts, (left, right) = quantise(joined([weight[:, :3], weight[:, 3:]], threshold=50.0, bias=0.3), PROFILE)
    assert np.array_equal(np.hstack([left.synapses.weight, right.synapses.weight]), one.synapses.weight)
    assert left.weight_exponent == right.weight_exponent == one.weight_exponent
    for field in ("vth", "bias_mantissa"):
        assert np.array_equal(getattr(whole[-1], field), getattr(parts[-1], field))
    assert whole[-1].bias_exponent == parts[-1].bias_exponent


def test_a_population_that_only_a_bias_drives_fires_at_the_same_steps():
    clock = Population("clock", (2,), CubaLif(1.0, np.array([0.25, 0.5])))
    output = Population("output", (1,), CubaLif(1.5))
    net = Network(
        "clock", (clock, output), (Connection("c", "clock", "output", Dense(np.ones((1, 2)))),), 9, Readout("output", "count")
    )
    (chip, _), _ = quantise(net, PROFILE)
    bias = chip.bias_mantissa * 2.0**chip.bias_exponent
    assert (bias / (chip.vth * 64)).tolist() == pytest.approx([0.25, 0.5], rel=2e-3)
    assert not chip.is_source


def test_loops_skips_sparse_synapses_and_several_inputs_keep_their_names_ends_and_delays():
    rng = np.random.default_rng(3)
    populations = (
        Population("pixels", (1, 4, 4), Source(Encoding.for_pixels(1.0, 0.0, 8))), Population("events", (5,), Source()),
        Population("map", (2, 4, 4), CubaLif(1.0)), Population("ring", (6,), CubaLif(np.linspace(1, 2, 6))),
        Population("output", (3,), CubaLif(None)),
    )  # fmt: skip
    listed = Sparse.of(6, 6, np.arange(6), (np.arange(6) + 1) % 6, rng.normal(0, 1, 6), rng.integers(0, 4, 6))
    kernel = Conv(rng.normal(0, 1, (2, 1, 3, 3)), (1, 4, 4), padding=(1, 1), delay=rng.integers(0, 3, (2, 1, 3, 3)))
    connections = (
        Connection("see", "pixels", "map", kernel), Connection("hear", "events", "ring", Dense(rng.normal(0, 1, (6, 5))), 2),
        Connection("round", "ring", "ring", listed, 3), Connection("mix", "map", "ring", Dense(rng.normal(0, 1, (6, 32)))),
        Connection("read", "ring", "output", Dense(rng.normal(0, 1, (3, 6)))), Connection("skip", "events", "output", Dense(rng.normal(0, 1, (3, 5))), 4),
    )  # fmt: skip
    chips, edges = quantise(Network("graph", populations, connections, 8, Readout("output")), PROFILE)
    assert [(one.name, one.shape, one.is_source, one.fires) for one in chips] == [
        ("pixels", (1, 4, 4), True, True), ("events", (5,), True, True), ("map", (2, 4, 4), False, True), ("ring", (6,), False, True),
        ("output", (3,), False, False),
    ]  # fmt: skip
    assert [(one.name, one.source, one.target, one.delay) for one in edges] == [
        (one.name, one.source, one.target, one.delay) for one in connections
    ]
    assert [type(one.synapses) for one in edges] == [type(one.synapses) for one in connections]
    assert all(one.synapses.weight.dtype == np.int32 for one in edges)
    assert np.array_equal(edges[2].synapses.delay, listed.delay)
    assert np.array_equal(edges[0].synapses.delay, kernel.delay)
    assert (chips[0].encoding, chips[1].encoding) == (populations[0].neuron.encoding, None)


@pytest.mark.parametrize(
    ("delay", "extra", "text"),
    [
        (
            65, 0,
            "connection 'c0' ('in0' → 'output') takes 65 steps; a synapse of 'loihi2' holds delays of 1 to 64 steps; put a relay population, "
            "a copy of 'in0' with one synapse a neuron and a threshold below its weight, between them, to take up 1 of the steps",
        ),
        (
            4, 62,
            "connection 'c0' ('in0' → 'output') takes 66 steps (4 its own, 62 of a synapse); a synapse of 'loihi2' holds delays of 1 to 64 "
            "steps; put a relay population, a copy of 'in0' with one synapse a neuron and a threshold below its weight, between them, to take up 2 of "
            "the steps",
        ),
        (
            200, 0,
            "connection 'c0' ('in0' → 'output') takes 200 steps; a synapse of 'loihi2' holds delays of 1 to 64 steps; put 3 relay populations, "
            "copies of 'in0' with one synapse a neuron and a threshold below its weight, between them, to take up 136 of the steps",
        ),
    ],
)  # fmt: skip
def test_delays_that_no_synapse_of_the_chip_holds_are_refused_with_what_would_do(delay, extra, text):
    net = joined([np.ones((2, 2))], delays=[delay])
    own = Dense(np.ones((2, 2)), np.full((2, 2), extra)) if extra else net.connections[0].synapses
    net = Network(net.name, net.populations, (Connection("c0", "in0", "output", own, delay),), 16, net.readout)
    with pytest.raises(CapacityError) as refused:
        quantise(net, PROFILE)
    assert str(refused.value) == text
    quantise(joined([np.ones((2, 2))], delays=[64]), PROFILE)
    with pytest.raises(CapacityError, match="holds delays of 1 to 63 steps"):
        quantise(joined([np.ones((2, 2))], delays=[64]), load_profile("loihi1"))


@pytest.mark.parametrize(("share", "said"), [(1e-9, True), (0.01, False)])
def test_a_connection_whose_weights_become_nothing_is_said(share, said):
    network = Network(
        "net",
        (Population("input", (2,), Source()), Population("output", (1,), CubaLif(1.0))),
        (
            Connection("output", "input", "output", Dense(np.array([[1.0, 0.5]]))),
            Connection("faint", "input", "output", Dense(np.array([[share, share]]))),
        ),
        4,
        Readout("output", "count"),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chip = deploy(network)
    assert bool(chip.connection("faint").synapses.weight.any()) is not said
    texts = [str(one.message) for one in caught if "become 0" in str(one.message)]
    assert texts == (
        [
            "connection 'faint' ('input' → 'output'): all its weights become 0: the largest, 1e-09, is too small beside the other weights into "
            "'output' for the 8 bits and exponents of the chip"
        ]
        if said
        else []
    )


def test_a_readout_with_nothing_but_a_bias_that_rounds_to_0_is_refused():
    populations = (
        Population("input", (2,), Source()),
        Population("hidden", (1,), CubaLif(1.0)),
        Population("output", (1,), CubaLif(1.0, bias=1e-9)),
    )
    connections = (Connection("hidden", "input", "hidden", Dense(np.array([[1.0, 0.5]]))),)
    network = Network("net", populations, connections, 4, Readout("output", "count"))
    with pytest.raises(ConversionError) as caught:
        deploy(network)
    assert str(caught.value) == "network 'net': its readout 'output' has a bias alone, which rounds to 0 beside the threshold"
    lively = replace(network, populations=(*populations[:2], Population("output", (1,), CubaLif(1.0, bias=0.1))))
    assert deploy(lively).output.bias_mantissa.any()


def test_laws_are_rounded_to_the_unit_of_v_and_thresholds_stay_exact():
    neuron = CubaLif(
        np.array([1.0, 2.0]),
        reset="subtract",
        refractory=np.array([1, 0]),
        floor=np.array([-1.0, -0.25]),
        start=np.array([0.5, -0.5]),
    )
    populations = [Population("input", (2,), Source()), Population("out", (2,), neuron)]
    chip, _ = quantised(chain("laws", populations, [Dense(np.eye(2))], timesteps=4, how="count"))
    unit = chip.vth[0] * 64
    assert chip.vth.tolist() == [chip.vth[0], 2 * chip.vth[0]]
    assert (chip.law.reset, chip.law.delayed, chip.law.refractory.tolist()) == ("subtract", False, [1, 0])
    assert chip.law.floor.tolist() == [-unit, -unit // 4]
    assert chip.v_init.tolist() == [unit // 2, -unit]


def test_integers_of_a_law_are_kept():
    neuron = CubaLif(100, 0, bias_exponent=0, start=np.array([3, -4]), floor=-77, reset_delay=1, reset="none")
    populations = [Population("input", (2,), Source()), Population("out", (2,), neuron)]
    chip, _ = quantised(chain("laws", populations, [Dense(np.eye(2, dtype=int) * 2)], timesteps=4, how="count", stored=[Stored()]))
    assert (chip.law.reset, chip.law.delayed, chip.law.refractory, chip.law.floor.tolist()) == ("none", True, None, [-77, -77])
    assert chip.v_init.tolist() == [3, -4]
    with pytest.raises(CapacityError, match="population 'out' carries a floor that is no whole number of 32 bits"):
        quantised(
            chain("laws", [populations[0], Population("out", (2,), replace(neuron, floor=-0.5))], [Dense(np.eye(2, dtype=int) * 2)],
                  timesteps=4, how="count", stored=[Stored()])
        )  # fmt: skip


def test_refractory_steps_beyond_the_chips_counter_are_refused():
    def made(steps):
        populations = [Population("input", (2,), Source()), Population("out", (2,), CubaLif(1.0, refractory=np.array([0, steps])))]
        return chain("slow", populations, [Dense(np.eye(2))], timesteps=4, how="count")

    assert deploy(made(62), "loihi1").output.law.refractory.tolist() == [0, 62]
    assert deploy(made(63), "loihi2").output.law.refractory.tolist() == [0, 63]  # not known, not checked
    with pytest.raises(CapacityError) as caught:
        deploy(made(63), "loihi1")
    assert str(caught.value) == (
        "layer 'out': 63 refractory steps; a neuron of 'loihi1' counts 63, that of the spike included: 0 to 62"
    )
