"""The bound of the synaptic current: no input wraps u, or it is said which one does."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from chips import connection, neurons, sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.deploy.bound import CURRENT_LIMIT, largest_current, wraps
from neurofault.errors import CapacityError, ConversionError, NeurofaultWarning
from neurofault.graph import Connection, Conv, CubaLif, Dense, Encoding, Network, Population, Readout, Source, chain
from neurofault.graph.synapses import Stored

STEPS = 10


def network(
    synapses,
    *,
    threshold: float | None = 1.0,
    du=4095,
    dv=410,
    shape=None,
    pixels=False,
    bias=0.0,
    start=0.0,
    stored=None,
    exponent=0,
):
    first = Population("input", shape or (synapses.n_in,), Source(Encoding.for_pixels(1.0, 0.0, STEPS) if pixels else None))
    neuron = CubaLif(threshold, bias, du, dv, start, None if stored is None else exponent)
    last = Population("output", (synapses.n_out,), neuron)
    how = "potential" if threshold is None else "count"
    return chain("test", [first, last], [synapses], timesteps=STEPS, how=how, stored=[stored])


def everything_on(net):
    size = net.populations[0].size
    if net.encoding is not None:
        return np.ones((1, size))
    return nf.Inputs(events=np.ones((1, STEPS, size), bool))


def fires_at_every_step(net):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NeurofaultWarning)
        chip = nf.deploy(net)
    result = nf.run(chip, everything_on(net), record=["u"])
    assert result.activity.traces["output"].u.min() >= 0
    return result.activity.spike_counts["output"].tolist() == [STEPS] * net.populations[1].size


@pytest.mark.parametrize("inputs", [500, 520, 784, 4000])
@pytest.mark.parametrize("pixels", [False, True])
def test_strong_excitation_stays_excitation(inputs, pixels):
    assert fires_at_every_step(network(Dense(np.full((1, inputs), 0.01)), pixels=pixels))


def test_so_it_does_with_a_current_that_remembers_in_a_convolution_and_beside_a_bias():
    assert fires_at_every_step(network(Dense(np.full((1, 200), 0.02)), du=409))
    assert fires_at_every_step(network(Dense(np.full((1, 520), 0.01)), bias=0.5))
    kernel = Conv(np.full((2, 30, 3, 3), 0.01), (30, 8, 8), padding=(1, 1))
    assert fires_at_every_step(network(kernel, du=1364, shape=(30, 8, 8)))


def test_strong_inhibition_stays_inhibition_and_a_readout_that_never_fires_keeps_its_sign():
    weight = np.full((2, 900), -0.01)
    weight[1] *= -1
    chip = nf.deploy(network(Dense(weight)))
    assert nf.run(chip, nf.Inputs(events=np.ones((1, STEPS, 900), bool))).activity.spike_counts["output"].tolist() == [0, STEPS]
    chip = nf.deploy(network(Dense(weight), threshold=None))
    u = nf.run(chip, nf.Inputs(events=np.ones((1, STEPS, 900), bool)), record=["u"]).activity.traces["output"].u
    assert u[..., 0].max() < 0 < u[..., 1].min()


def test_what_only_a_chosen_set_of_pixels_wraps_keeps_its_integers_and_is_said_with_that_set():
    """Half of the weights are inhibitory, so no image of noise comes near the limit."""
    weight = np.full((1, 1200), 0.01)
    weight[0, ::2] *= -1
    net = network(Dense(weight), pixels=True)
    with pytest.warns(NeurofaultWarning) as said:
        chip = nf.deploy(net)
    assert chip.connection("output").weight_exponent == 0
    assert str(said[0].message) == (
        "population 'output': where 517 excitatory inputs of neuron 0 (1, 3, 5, 7, 9, 11 …) fire together in one step, its current u passes 2**23, "
        "wraps and becomes inhibition; smaller weights beside the threshold, or fewer inputs, keep it below"
    )
    [wrap] = wraps(chip.populations, chip.connections, STEPS)
    image = np.zeros((1, 1200))
    image[0, wrap.sources] = 1
    u = nf.run(chip, image, record=["u"]).activity.traces["output"].u
    assert (u < 0).all()
    image[0, wrap.sources[-1]] = 0
    u = nf.run(chip, image, record=["u"]).activity.traces["output"].u
    assert (u >= 0).all()


def test_integers_that_a_network_carries_are_kept_and_what_wraps_them_is_said():
    weight = np.full((1, 600), 254)
    net = network(Dense(weight), threshold=1000, stored=Stored())
    with pytest.warns(NeurofaultWarning, match="population 'output': where 517 excitatory inputs of neuron 0 "):
        chip = nf.deploy(net)
    assert np.array_equal(chip.connection("output").synapses.weight, weight)
    assert chip.connection("output").weight_exponent == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), exponent=st.integers(-3, 6), du=st.sampled_from([4095, 2047, 1364, 200]), conv=st.booleans(),
    delayed=st.booleans(), steps=st.integers(1, 12),
)  # fmt: skip
def test_no_input_exceeds_the_bound_and_the_named_input_reaches_it(seed, exponent, du, conv, delayed, steps):
    rng = np.random.default_rng(seed)
    if conv:
        groups = int(rng.choice([1, 2]))
        synapses = Conv(
            rng.integers(-128, 128, (4, 6 // groups, 3, 2)) * 2, (6, 5, 5), (2, 1), (1, 0), (1, 2), groups,
        )  # fmt: skip
    else:
        weight = rng.integers(-128, 128, (3, 150)) * 2
        synapses = Dense(weight, rng.integers(0, 4, weight.shape) if delayed else None)
    n = synapses.n_out
    layer, into = neurons("layer", (n,), du=du, vth=1000), connection("layer", "input", "layer", synapses, exponent=exponent)
    columns = matrix(synapses)
    for spikes in (
        rng.random((steps, synapses.n_in)) < 0.5,
        *(np.tile(columns[j] * sign > 0, (steps, 1)) for j in (0, n - 1) for sign in (1, -1)),
    ):
        u = currents(layer.du, exponent, columns, synapses.delay if delayed else None, spikes)
        assert np.all(u <= largest_current(layer, [into], steps, 1))
        assert np.all(-u <= largest_current(layer, [into], steps, -1))
    for wrap in wraps([layer], [into], steps):
        spikes = np.zeros((steps, synapses.n_in), bool)
        spikes[: wrap.steps, wrap.sources] = True
        reached = np.abs(currents(layer.du, exponent, columns, None, spikes)).max(axis=0)[wrap.neuron]
        assert reached >= CURRENT_LIMIT * 0.999  # decays round, and delays part


def matrix(synapses):
    if isinstance(synapses, Dense):
        return np.asarray(synapses.weight)
    torch = pytest.importorskip("torch")
    images = torch.eye(synapses.n_in, dtype=torch.float64).reshape(-1, *synapses.in_shape)
    kernel = torch.from_numpy(np.array(synapses.weight, np.float64))
    shape = (synapses.stride, synapses.padding, synapses.dilation, synapses.groups)
    return torch.nn.functional.conv2d(images, kernel, None, *shape).flatten(1).T.numpy().astype(np.int64)


def currents(du, exponent, weight, delay, spikes):
    """The current of every neuron at every step [T, n], in integers of any size."""
    delay = np.zeros_like(weight) if delay is None else delay
    u, found = np.zeros(len(weight), np.int64), []
    for t in range(len(spikes)):
        drive = np.zeros(len(weight), np.int64)
        for each in np.unique(delay):
            if t >= each:
                total = np.where(delay == each, weight, 0) @ spikes[t - each].astype(np.int64)
                drive += np.floor(total * 2.0**exponent).astype(np.int64)
        u = np.trunc(u * (4095 - du) / 4096).astype(np.int64) + drive * 64
        found.append(u)
    return np.array(found)


# --- several connections ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), exponents=st.lists(st.integers(-3, 6), min_size=1, max_size=3), du=st.sampled_from([4095, 2047, 200]),
    steps=st.integers(1, 12),
)  # fmt: skip
def test_what_comes_over_several_connections_adds_up(seed, exponents, du, steps):
    rng = np.random.default_rng(seed)
    n = 3
    layer, into = neurons("layer", (n,), du=du, vth=1000), []
    for place, exponent in enumerate(exponents):
        synapses = sparse(rng, n, 90, 0.8, 3) if rng.random() < 0.5 else Dense(rng.integers(-128, 128, (n, 90)) * 2)
        into.append(connection(f"c{place}", f"in{place}", "layer", synapses, exponent=exponent))
    matrices = {one.name: as_matrix(one.synapses) for one in into}

    def current(spikes, delayed=True):
        return total_current(
            du, [(one.weight_exponent, *matrices[one.name]) for one in into], [spikes[one.name] for one in into], delayed
        )

    for sign in (1, -1):
        for chosen in range(n):
            spikes = {name: np.tile(weight[chosen] * sign > 0, (steps, 1)) for name, (weight, _) in matrices.items()}
            u = current(spikes)
            assert np.all(u <= largest_current(layer, into, steps, 1))
            assert np.all(-u <= largest_current(layer, into, steps, -1))
    for wrap in wraps([layer], into, steps):
        spikes = {one.name: np.zeros((steps, 90), bool) for one in into}
        for name, source in zip(wrap.connections, wrap.sources, strict=True):
            spikes[name][: wrap.steps, source] = True
        reached = np.abs(current(spikes, delayed=False)).max(axis=0)[wrap.neuron]
        assert reached >= CURRENT_LIMIT * 0.999


def as_matrix(synapses):
    """Weights and delays [n_out, n_in]."""
    if isinstance(synapses, Dense):
        return np.asarray(synapses.weight), np.zeros_like(synapses.weight)
    weight, delay = np.zeros((2, synapses.n_out, synapses.n_in), np.int64)
    weight[synapses.targets, synapses.sources] = synapses.weight
    delay[synapses.targets, synapses.sources] = synapses.delay
    return weight, delay


def total_current(du, parts, spikes, delayed):
    """The current at every step [T, n] of what comes over several connections (exponent, weights, delays)."""
    u, found = 0, []
    for t in range(len(spikes[0])):
        drive = 0
        for (exponent, weight, delay), own in zip(parts, spikes, strict=True):
            delay = delay if delayed else np.zeros_like(delay)
            for each in np.unique(delay)[np.unique(delay) <= t]:
                drive = drive + np.floor(
                    np.where(delay == each, weight, 0) @ own[t - each].astype(np.int64) * 2.0**exponent
                ).astype(np.int64)
        u = np.trunc(u * (4095 - du) / 4096).astype(np.int64) + drive * 64
        found.append(u)
    return np.array(found)


@pytest.mark.parametrize("lag", [1, 4])
def test_excitation_over_two_connections_and_a_loop_stays_excitation(lag):
    inputs = [Population(name, (400,), Source()) for name in ("left", "right")]
    output = Population("output", (3,), CubaLif(1.0, dv=410))
    connections = (
        Connection("l", "left", "output", Dense(np.full((3, 400), 0.01))), Connection("r", "right", "output", Dense(np.full((3, 400), 0.001)), lag),
        Connection("own", "output", "output", Dense(np.full((3, 3), 0.5))),
    )  # fmt: skip
    net = Network("test", (*inputs, output), connections, STEPS, Readout("output", "count"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NeurofaultWarning)
        chip = nf.deploy(net)
    on = np.ones((1, STEPS, 400), bool)
    result = nf.run(chip, nf.Inputs(events={"left": on, "right": on}), record=["u"])
    assert result.activity.traces["output"].u.min() >= 0
    assert result.activity.spike_counts["output"].tolist() == [STEPS] * 3


def test_what_wraps_over_several_connections_is_said_with_their_names():
    inputs = [Population(name, (400,), Source()) for name in ("left", "right")]
    output = Population("output", (1,), CubaLif(1000, bias_exponent=0))
    connections = tuple(
        Connection(name[0], name, "output", Dense(np.full((1, 400), 254)), stored=Stored()) for name in ("left", "right")
    )
    with pytest.warns(NeurofaultWarning) as said:
        nf.deploy(Network("test", (*inputs, output), connections, STEPS, Readout("output", "count")))
    assert str(said[0].message) == (
        "population 'output': where 517 excitatory inputs of neuron 0 (0 of 'l', 1 of 'l', 2 of 'l', 3 of 'l', 4 of 'l', 5 of 'l' …) fire together in "
        "one step, its current u passes 2**23, wraps and becomes inhibition; smaller weights beside the threshold, or fewer inputs, keep it below"
    )


# --- numbers that are none --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"synapses": Dense(np.array([[np.nan, 1.0, np.inf]]))},
            "connection 'output' ('input' → 'output'): weight: 2 of 3 values are not finite (the first: nan at [0, 0]); did training diverge?",
        ),
        (
            {"threshold": np.nan},
            "population 'output': threshold: 1 of 1 values are not finite (the first: nan); did training diverge?",
        ),
        (
            {"threshold": np.inf},
            "population 'output': threshold: 1 of 1 values are not finite (the first: inf); did training diverge?",
        ),
        (
            {"bias": np.array([-np.inf])},
            "population 'output': bias: 1 of 1 values are not finite (the first: -inf at [0]); did training diverge?",
        ),
        ({"start": np.nan}, "population 'output': start: 1 of 1 values are not finite (the first: nan); did training diverge?"),
        ({"dv": np.nan}, "population 'output': dv nan is no whole number from 0 to 4095"),
        ({"du": np.array([4096])}, "population 'output': du 4096 is no whole number from 0 to 4095"),
        ({"dv": 0.5}, "population 'output': dv 0.5 is no whole number from 0 to 4095"),
    ],
)
def test_numbers_that_are_not_finite_are_refused_by_the_name_of_their_layer(change, message):
    with pytest.raises(ConversionError) as refused:
        nf.deploy(network(**{"synapses": Dense(np.ones((1, 3))), **change}))
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("change", "field"), [({"threshold": 20.5}, "threshold"), ({"bias": 2.0**40}, "bias"), ({"start": 0.5}, "start")]
)
def test_carried_numbers_that_are_no_integers_are_refused(change, field):
    net = network(Dense(np.array([[2, 4, 6]])), stored=Stored(), **{"threshold": 20, **change})
    with pytest.raises(CapacityError) as refused:
        nf.deploy(net)
    assert str(refused.value) == f"population 'output' carries a {field} that is no whole number of 32 bits"


def test_a_carried_bias_that_would_wrap_is_refused():
    net = network(Dense(np.array([[2, 4, 6]])), threshold=20, bias=4000, stored=Stored(), exponent=20)
    with pytest.raises(CapacityError) as refused:
        nf.deploy(net)
    assert str(refused.value) == "population 'output': carried bias of 4.19e+09 (mantissa · 2**20) exceeds 32 bits, where it wraps"
