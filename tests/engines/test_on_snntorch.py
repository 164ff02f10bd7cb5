"""The snnTorch engine: equal to the exact one wherever it says that it can; and the twin that learns."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from cases import CASES
from chips import chip, conv, dense, population
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault.activity import TRACES, Activity
from neurofault.damage.damage import Detour, Force, LearningDefect, SetSynapses, Silence
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.errors import UnsupportedError
from neurofault.graph import Dense
from neurofault.inputs import Inputs

pytestmark = pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")

RUNS = {"stored_mixed", "stored_excitatory", "stored_inhibitory", "convolutions", "damaged_convolutions"}


def reason(deployment: Deployment) -> str | None:
    return get_engine("snntorch").supports(deployment)


def assert_equal_to_exact(deployment: Deployment, inputs: Inputs) -> Activity:
    exact, snntorch = (run(deployment, inputs, engine=name, record=TRACES).activity for name in ("exact", "snntorch"))
    for name, trace in exact.traces.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(snntorch.traces[name], state), getattr(trace, state), f"{name} {state}")
        np.testing.assert_array_equal(snntorch.spike_counts[name], exact.spike_counts[name])
    np.testing.assert_array_equal(snntorch.scores, exact.scores)
    np.testing.assert_array_equal(snntorch.sample_spikes, exact.sample_spikes)
    return exact


@pytest.mark.parametrize("name", CASES)
def test_snntorch_equals_exact_at_every_step_or_refuses(name: str) -> None:
    deployment, inputs = CASES[name]()
    assert (reason(deployment) is None) == (name in RUNS)
    if name in RUNS:
        assert_equal_to_exact(deployment, inputs)


def random_chip(rng: np.random.Generator, readout: str = "count", damage: bool = True) -> Deployment:
    """An image, a convolution, two dense layers; some neurons dead, some synapses stuck, some upset."""
    geometry = {"stride": (2, 1), "padding": (1, 0), "groups": 2} if rng.random() < 0.5 else {"dilation": (1, 2)}
    kernel = conv(rng, (2, 6, 5), 4, (3, 2), **geometry)
    exponents = rng.integers(-4, 3, 3)
    layers = [population("input", (2, 6, 5), vth=rng.integers(10, 70, 60), v_init=640, bias_exponent=int(rng.integers(-3, 3)))]
    for name, synapses, exponent in zip(
        ("h1", "h2", "o"), (kernel, dense(rng, 9, kernel.n_out), dense(rng, 5, 9)), exponents, strict=True
    ):
        size = synapses.n_out
        layers.append(
            population(
                name, (size,), synapses, exponent=int(exponent), vth=rng.integers(0, 300, size), bias=rng.integers(-999, 999, size),
                v_init=-int(rng.integers(0, 999)),
            )
        )  # fmt: skip
    if readout == "potential":
        output = replace(layers[-1].population, vth=np.full(5, 131071, np.int32), fires=False)
        layers[-1] = replace(layers[-1], population=output)
    edits = []
    for index in (1, 2, 3) if damage else ():
        name, size, n_in = layers[index].name, layers[index].size, layers[index - 1].size
        targets, sources = np.divmod(np.sort(rng.choice(size * n_in, 12, replace=False)), n_in)
        stuck, upset = np.arange(12) < 6, np.arange(12) >= 6
        none, values = np.zeros(6, np.int32), rng.integers(-256, 256, 12).astype(np.int32)
        edits += [
            SetSynapses(name, sources[stuck], targets[stuck], values[stuck], keep=none, force=none),
            SetSynapses(name, sources[upset], targets[upset], values[upset]),
            Silence(name, rng.choice(size, 1)),
        ]
    return chip(layers, 7, edits, readout)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["count", "potential"]), st.booleans())
def test_random_damaged_networks_equal_exact(seed: int, readout: str, by_bias: bool) -> None:
    rng = np.random.default_rng(seed)
    deployment = random_chip(rng, readout)
    assert reason(deployment) is None
    bias = rng.integers(-40000, 40000, (3, 60)).astype(np.int32)
    assert_equal_to_exact(deployment, Inputs(bias=bias) if by_bias else Inputs(events=rng.random((3, 7, 60)) < 0.5))


def test_batches_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    deployment, inputs = random_chip(rng), Inputs(bias=rng.integers(0, 4000, (5, 60)).astype(np.int32))
    monkeypatch.setattr("neurofault.engines.on_snntorch.twin._BATCH_VALUES", 500)
    assert_equal_to_exact(deployment, inputs)


def edge(total: int, exponent: int = 0, bias: int = 0, vth: int = 131072) -> Deployment:
    """A neuron whose weights, all of one sign, add up to ``total``."""
    weights = np.full(abs(total) // 128, 128)
    weights = np.sign(total) * np.append(weights, abs(total) % 128)
    layers = [population("input", (weights.size,))]
    layers.append(population("o", (1,), Dense(weights[None].astype(np.int32)), exponent=exponent, bias=bias, vth=vth))
    return chip(layers, 6)


@pytest.mark.parametrize(
    ("total", "exponent", "bias"), [(131071, 0, 0), (131071, 0, 63), (-131071, 0, -63), (32767, 2, 255), (1, -4, 0)]
)
def test_largest_proven_sums_are_exact_and_saturate_as_on_the_chip(total: int, exponent: int, bias: int) -> None:
    deployment = edge(total, exponent, bias)
    exact = assert_equal_to_exact(deployment, Inputs(events=np.ones((1, 6, deployment.populations[0].size), bool)))
    assert total == 1 or abs(int(exact.traces["o"].v[0, -1, 0])) == 2**23 - 1


def test_one_more_is_refused() -> None:
    beyond = "not below 2**23: u may wrap, float32 may round"
    assert reason(edge(131072)) == f"layer 'o': current and bias of one step may reach 8388608, {beyond}"
    assert reason(edge(131071, bias=64)) == f"layer 'o': current and bias of one step may reach 8388608, {beyond}"
    assert reason(edge(-32768, exponent=2)) == f"layer 'o': current and bias of one step may reach 8388608, {beyond}"
    assert reason(edge(2**24 + 1, exponent=-8)) == "layer 'o': weights of one sign sum to 16777217, above 2**24: float32 may round"


def test_what_snntorch_cannot_express_is_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    inputs = Inputs(bias=np.zeros((1, 3), np.int32))
    first = population("input", (3,))

    def refusal(*edits: object, **fields: object) -> str | None:
        return reason(chip([first, population("o", (2,), fields.pop("synapses", dense(rng, 2, 3)), **fields)], 3, edits))

    assert refusal() is None
    assert refusal(du=[4095, 4094]) == "layer 'o': snnTorch's Leaky needs du = 4095 and dv = 0 (its decays do not round)"
    assert refusal(dv=1) == "layer 'o': snnTorch's Leaky needs du = 4095 and dv = 0 (its decays do not round)"
    assert refusal(synapses=dense(rng, 2, 3, delays=9)) == "layer 'o': snnTorch has no synaptic delays"
    high = "layer 'o': snnTorch's reset needs thresholds of at least 0 and an initial potential below them"
    assert refusal(vth=-1) == high
    assert refusal(vth=1, v_init=65) == high
    assert refusal(vth=131072, v_init=2**23) == "layer 'o': initial potential 8388608 is outside ±(2**23 − 1)"
    takes = "layer 'o': snnTorch takes permanent Silence and SetSynapses, not"
    assert refusal(Force("o", np.array([0]), 65536)) == f"{takes} Force"
    assert refusal(Silence("o", np.array([0]), When(start=1))) == f"{takes} Silence in a time window"
    assert refusal(Detour(*(np.array([0]),) * 3), LearningDefect("o", "frozen", np.array([0]))) is None
    loud = chip([population("input", (3,), bias_exponent=8), population("o", (2,), dense(rng, 2, 3))], 3)
    assert reason(loud) == "layer 'input': bias exponent 8 is above 7: a bias may reach 2**23"
    with pytest.raises(UnsupportedError) as error:
        run(loud, inputs, engine="snntorch")
    assert str(error.value).startswith("engine 'snntorch' cannot run layer 'input': bias exponent 8 is above 7")
    assert "exact" in str(error.value).rsplit("engines that can: ", 1)[1]


def test_without_snntorch_the_error_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as error:
        get_engine("snntorch")
    assert str(error.value) == "engine 'snntorch' needs snntorch, which is not installed: pip install \"neurofault[snntorch]\""


def test_twin_answers_as_the_engine() -> None:
    from neurofault.engines.on_snntorch.engine import twin

    rng = np.random.default_rng(1)
    deployment, inputs = random_chip(rng), Inputs(bias=rng.integers(0, 4000, (4, 60)).astype(np.int32))
    activity = run(deployment, inputs, record=TRACES).activity
    answer = twin(deployment)(inputs)
    np.testing.assert_array_equal(answer.potential.detach().numpy(), activity.traces["o"].v[:, -1])
    np.testing.assert_array_equal(answer.counts.detach().numpy(), activity.traces["o"].spikes.sum(axis=1))
    for rate, trace in zip(answer.rates, activity.traces.values(), strict=True):
        np.testing.assert_allclose(rate.detach().numpy(), trace.spikes.mean(axis=1), rtol=1e-6)


def test_twin_learns_through_every_layer() -> None:
    import torch

    from neurofault.engines.on_snntorch.engine import twin

    rng = np.random.default_rng(2)
    deployment, inputs = random_chip(rng, "potential"), Inputs(bias=rng.integers(0, 4000, (16, 60)).astype(np.int32))
    module, labels = twin(deployment), torch.arange(16) % 4
    optimiser = torch.optim.Adam(module.parameters(), lr=2.0)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(module(inputs).potential / 2**14, labels)
        optimiser.zero_grad()
        loss.backward()
        assert all(float(parameter.grad.abs().sum()) > 0 for parameter in module.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_dead_synapses_and_neurons_stay_dead_whatever_is_learned() -> None:
    import torch

    from neurofault.engines.on_snntorch.engine import twin

    rng = np.random.default_rng(3)
    kernel = conv(rng, (1, 4, 4), 2, (2, 2))
    layers = [
        population("input", (1, 4, 4)),
        population("h", kernel.out_shape, kernel, vth=20),
        population("o", (3,), dense(rng, 3, 18)),
    ]
    sources, none = np.flatnonzero(np.ones(16)), np.zeros(16, np.int32)
    cut = SetSynapses("h", sources, np.zeros(16, np.int64), none, keep=none, force=none)
    row = SetSynapses(
        "o", np.arange(18), np.full(18, 1), np.full(18, 2, np.int32), keep=np.zeros(18, np.int32), force=np.zeros(18, np.int32)
    )
    deployment = chip(layers, 5, [cut, row, Silence("h", np.array([4]))])
    inputs = Inputs(events=rng.random((3, 5, 16)) < 0.6)
    module = twin(deployment)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(60)
    states = list(module.steps(inputs))
    assert all(float(state[1].u[:, 0].detach().abs().max()) == 0 for state in states)  # all its synapses are cut
    assert all(float(state[1].spikes[:, 4].detach().max()) == 0 for state in states)  # silent
    for _, hidden, output in states:  # stuck at 2
        assert torch.equal(output.u[:, 1], 128 * hidden.spikes.sum(dim=1))
    assert max(float(state[1].u[:, 5].detach().abs().max()) for state in states) > 0


def test_twin_refuses_what_it_cannot_hold_and_leaves_nothing_behind() -> None:
    import snntorch

    from neurofault.engines.on_snntorch.engine import twin

    before = len(snntorch.SpikingNeuron.instances)
    twin(edge(100))
    assert len(snntorch.SpikingNeuron.instances) == before
    with pytest.raises(UnsupportedError) as error:
        twin(edge(131072))
    assert str(error.value) == (
        "engine 'snntorch' cannot run layer 'o': current and bias of one step may reach 8388608, "
        "not below 2**23: u may wrap, float32 may round"
    )
