"""u, v and spikes of every neuron at every step: the Brian2 engine against the exact one."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from cases import CASES
from chips import chip, conv, dense, population
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from neurofault.activity import TRACES, Activity
from neurofault.damage.damage import Drop, Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Stall, Upset
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.errors import StalledError, UnsupportedError
from neurofault.inputs import Inputs

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("brian2") is None, reason="brian2 is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Brian2's, of pyparsing
]
STEPS = 6


def assert_equal(one: Activity, other: Activity) -> None:
    for name, trace in one.traces.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(other.traces[name], state), getattr(trace, state), f"{name} {state}")
        np.testing.assert_array_equal(other.spike_counts[name], one.spike_counts[name])
    np.testing.assert_array_equal(other.scores, one.scores)
    np.testing.assert_array_equal(other.sample_spikes, one.sample_spikes)


def assert_equal_to_exact(deployment: Deployment, inputs: Inputs) -> Activity:
    exact, brian2 = (run(deployment, inputs, engine=name, record=TRACES).activity for name in ("exact", "brian2"))
    assert_equal(exact, brian2)
    return exact


@pytest.mark.parametrize("name", CASES)
def test_brian2_equals_exact_at_every_step(name: str) -> None:
    assert_equal_to_exact(*CASES[name]())


@pytest.mark.parametrize("weight", [32, -32, 96, 34])
def test_sums_beyond_32_bits_wrap_where_lava_wraps(weight: int) -> None:
    layers = [population("input", (1,))]
    layers.append(population("h", (1,), dense(np.random.default_rng(0), 1, 1), exponent=20, du=2000, vth=131071))
    layers[1].synapses.weight[:] = weight
    exact = assert_equal_to_exact(chip(layers, 4), Inputs(events=np.array([[[1], [0], [1], [0]]], bool)))
    assert exact.traces["h"].u[0, 0, 0] == (weight << 26) % 2**32 - 2**32 + 2**24 * (1 if weight % 64 in (32, 34) else 0)


@pytest.mark.parametrize(
    "edit",
    [
        Force("o", np.array([0, 2]), 30000),
        SetField("o", "vth", np.array([0, 2]), np.array([3, 9], np.int32)),
        InputNoise("input", np.arange(3), 500.0, 4, "step"),
        Drop("o", 1, np.arange(3), np.arange(4), 0.5, 9),
        SetDelays("o", np.arange(3), np.arange(3), np.array([1, 2, 4])),
    ],
    ids=lambda edit: type(edit).__name__,
)
def test_one_permanent_edit_alone_equals_exact(edit: Edit) -> None:
    rng = np.random.default_rng(6)
    layers = [population("input", (5,), vth=90), population("o", (4,), dense(rng, 4, 5), vth=40, bias=300)]
    inputs = Inputs(bias=rng.integers(1000, 8000, (3, 5)).astype(np.int32))
    hurt = assert_equal_to_exact(chip(layers, 9, [edit]), inputs)
    healthy = run(chip(layers, 9), inputs, record=TRACES).activity
    one, other = hurt.traces["o"], healthy.traces["o"]
    assert not (np.array_equal(one.v, other.v) and np.array_equal(one.spikes, other.spikes))


def windows() -> st.SearchStrategy[When]:
    start, some = st.integers(0, 2 * STEPS), st.integers(1, 4)
    clock = st.sampled_from(["presentation", "chip"])
    return st.one_of(
        st.just(When()),
        st.builds(When, start, clock=clock),
        st.builds(lambda a, n, c: When(a, a + n, clock=c), start, some, clock),
        st.builds(lambda a, p, on, c: When(a, None, p, min(p, on), c), start, some, some, clock),
    )


@st.composite
def edits(draw: st.DrawFn, layers: list, rng: np.random.Generator) -> Edit:
    when, index = draw(windows()), draw(st.integers(1, 2))
    size, n_in = layers[index].size, layers[index - 1].size
    name, previous = layers[index].name, layers[index - 1].name
    some, before = (np.sort(rng.choice(number, 2, replace=False)) for number in (size, n_in))
    targets, sources = np.divmod(np.sort(rng.choice(size * n_in, 6, replace=False)), n_in)
    match draw(st.sampled_from(["silence", "force", "field", "upset", "weights", "delays", "drop", "noise"])):
        case "silence":
            return Silence(name, some, when)
        case "force":
            return Force(previous, before, int(rng.choice([0, 30000, 65536])), when)
        case "field":
            field = draw(st.sampled_from(["vth", "du", "dv", "bias_mantissa"]))
            return SetField(previous, field, before, rng.integers(0, 4096, 2).astype(np.int32), when)
        case "upset":
            state, clock = draw(st.sampled_from(["u", "v"])), draw(st.sampled_from(["presentation", "chip"]))
            return Upset(name, state, some, (1 << rng.integers(0, 24, 2)).astype(np.int32), draw(st.integers(0, 9)), clock)
        case "weights":
            return SetSynapses(name, sources, targets, rng.integers(-256, 256, 6).astype(np.int32), when)
        case "delays":
            return SetDelays(name, sources, targets, rng.integers(0, 5, 6), when)
        case "drop":
            return Drop(
                name, index, np.arange(3), np.arange(size), draw(st.sampled_from([1.0, 0.4])), draw(st.integers(0, 9)), when
            )
        case _:
            return InputNoise(
                "input", np.arange(3), 300.0, draw(st.integers(0, 9)), draw(st.sampled_from(["sample", "step"])), when
            )


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a run takes half a second
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_any_damage_in_any_number_of_copies_equals_exact(data: st.DataObject, seed: int, samples: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    synapses = conv(rng, (1, 3, 3), 2, (2, 2), padding=(1, 1), stride=(2, 1)) if rng.random() < 0.5 else dense(rng, 5, 9, delays=3)
    layers = [population("input", (9,), vth=rng.integers(20, 90, 9), v_init=200)]
    for name, into, size in (("h", synapses, synapses.n_out), ("o", dense(rng, 4, synapses.n_out), 4)):
        layers.append(
            population(
                name, (size,), into, exponent=int(rng.integers(-3, 3)), vth=rng.integers(5, 200, size), bias=rng.integers(-99, 999, size),
                du=rng.choice([0, 1500, 4095], size), dv=rng.choice([0, 300], size), v_init=int(rng.integers(-500, 500)),
            )
        )  # fmt: skip
    damage = data.draw(st.lists(edits(layers, rng), min_size=1, max_size=4))
    inputs = Inputs(bias=rng.integers(0, 8000, (samples, 9)).astype(np.int32), first_sample=int(rng.integers(0, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurofault.engines.on_brian2.chip._MOST_NEURONS", copies * sum(layer.size for layer in layers))
        assert_equal_to_exact(chip(layers, STEPS, damage), inputs)


def test_brian2_leaves_no_trace_in_the_process() -> None:
    import brian2

    hook, before = sys.excepthook, brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "cython"
    try:
        deployment, inputs = CASES["edge_of_u"]()
        run(deployment, inputs, engine="brian2")
        assert brian2.prefs.codegen.target == "cython"
        assert sys.excepthook is hook
    finally:
        brian2.prefs.codegen.target = before


def test_a_hung_core_stalls_the_chip() -> None:
    layers = [population("input", (2,)), population("o", (2,), dense(np.random.default_rng(0), 2, 2))]
    with pytest.raises(StalledError, match=r"^the chip stalls: core 1 hangs and the mesh waits for it$"):
        run(chip(layers, 3, [Stall((1,))]), Inputs(bias=np.zeros((1, 2), np.int32)), engine="brian2")


def test_without_brian2_the_error_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as error:
        get_engine("brian2")
    assert str(error.value) == "engine 'brian2' needs brian2, which is not installed: pip install \"neurofault[brian2]\""
