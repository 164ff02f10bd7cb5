"""u, v and spikes of every neuron at every step: the exact engine against lava-nc 0.10, which really runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from chips import chip, dense, population

from neurofault.activity import TRACES
from neurofault.damage.damage import Damage, Drop, SetSynapses, Stall
from neurofault.damage.when import When
from neurofault.engines import get_engine, run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.on_lava.engine import LavaEngine
from neurofault.engines.on_lava.shim import INSTALL, require_lava
from neurofault.errors import EngineError, StalledError, UnsupportedError
from neurofault.graph import Dense
from neurofault.inputs import Inputs

needs_lava = pytest.mark.skipif(
    importlib.util.find_spec("lava") is None, reason="lava-nc is not installed; golden vectors stand in"
)


@needs_lava
@pytest.mark.parametrize("name", CASES)
def test_exact_engine_equals_lava_at_every_step(name: str) -> None:
    deployment, inputs = CASES[name]()
    lava = run(deployment, inputs, engine="lava", record=TRACES).activity
    exact = run(deployment, inputs, engine="exact", record=TRACES).activity
    for own in deployment.populations:
        for state in TRACES:
            np.testing.assert_array_equal(
                getattr(exact.traces[own.name], state), getattr(lava.traces[own.name], state), f"{own.name} {state}"
            )
        np.testing.assert_array_equal(exact.spike_counts[own.name], lava.spike_counts[own.name])
    np.testing.assert_array_equal(exact.scores, lava.scores)
    np.testing.assert_array_equal(exact.sample_spikes, lava.sample_spikes)


def _traces(name: str) -> dict[str, np.ndarray]:
    deployment, inputs = CASES[name]()
    traces = ExactEngine().run(deployment, inputs, record=TRACES).traces
    return {state: np.concatenate([getattr(trace, state).ravel() for trace in traces.values()]) for state in TRACES}


def test_cases_visit_the_corners_that_they_are_for() -> None:
    deployment, inputs = CASES["edge_of_u"]()
    u = ExactEngine().run(deployment, inputs, record=("u",)).traces["edge"].u
    assert u[0, 1, :2].tolist() == [2**23, 2**23]  # +2**23 is kept, −2**23 becomes +2**23
    assert u.max() > 2**23  # one wrap is not enough
    limits = _traces("saturation")["v"]
    assert limits.max() == 2**23 - 1
    assert limits.min() == 1 - 2**23
    assert np.abs(_traces("weight_exponents")["u"]).max() > 2**30  # 32-bit sums wrapped
    for name in CASES:
        spikes = _traces(name)["spikes"]
        assert 0.03 < spikes.mean() < 0.6, name


@needs_lava
def test_models_extended_for_samples_equal_untouched_lava_models(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    layers = [
        population("input", (12,), du=4095, dv=10, vth=90, bias=rng.integers(-100, 4000, 12), v_init=50),
        population("hidden", (9,), dense(rng, 9, 12, delays=4), exponent=-1, du=700, dv=128, vth=400, bias=77, bias_exponent=2),
        population("late", (5,), dense(rng, 5, 9), exponent=1, du=0, dv=0, vth=80, bias=50),
    ]
    deployment = chip(layers, 20)
    exact = ExactEngine().run(deployment, Inputs(bias=layers[0].population.bias_mantissa[None]), record=TRACES)
    arrays = {}
    for index, layer in enumerate(layers):
        for field in ("du", "dv", "vth", "bias_mantissa", "bias_exponent", "v_init"):
            arrays[f"{index}-{field}"] = np.asarray(getattr(layer.population, field))
        arrays[f"{index}-weight_exponent"] = np.asarray(layer.exponent)
        if isinstance(layer.synapses, Dense):
            arrays[f"{index}-weight"] = layer.synapses.weight
            arrays[f"{index}-delay"] = np.zeros(1) if layer.synapses.delay is None else layer.synapses.delay
    np.savez(tmp_path / "in.npz", steps=20, **arrays)
    script = Path(__file__).with_name("stock_lava.py")
    subprocess.run(
        [sys.executable, script, tmp_path / "in.npz", tmp_path / "out.npz"], check=True, timeout=600, stdout=subprocess.DEVNULL
    )
    with np.load(tmp_path / "out.npz") as out:
        for index, layer in enumerate(layers):
            for state in TRACES:
                np.testing.assert_array_equal(getattr(exact.traces[layer.name], state)[0], out[f"{index}-{state}"])
    assert min(int(exact.spike_counts[layer.name].sum()) for layer in layers) > 5


@needs_lava
def test_samples_of_one_run_are_separate() -> None:
    deployment, inputs = CASES["damaged"]()
    together = LavaEngine().run(deployment, inputs, record=TRACES)
    alone = LavaEngine().run(deployment, inputs[2:3], record=TRACES)
    for own in deployment.populations:
        np.testing.assert_array_equal(together.traces[own.name].v[2:3], alone.traces[own.name].v)


@needs_lava
def test_shim_leaves_dataclasses_as_they_were() -> None:
    before = dataclasses.dataclass
    require_lava()
    assert dataclasses.dataclass is before


def test_without_lava_the_error_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as error:
        get_engine("lava")
    assert str(error.value) == f"engine 'lava' needs lava-nc 0.10.0, which is not installed: {INSTALL}"


@needs_lava
def test_a_hang_is_ended_and_reported() -> None:
    deployment, inputs = CASES["given_events"]()
    with pytest.raises(EngineError) as error:
        LavaEngine(patience=0.01).run(deployment, inputs)
    assert str(error.value) == "engine 'lava': no progress for 0.01 seconds after 0 samples; last words:\n(none)"


@needs_lava
def test_lava_refuses_what_it_cannot_hold_before_it_runs() -> None:
    synapses = Dense(np.array([[2, 4]], np.int32))
    layers = [population("input", (2,)), population("output", (1,), synapses)]
    inputs = Inputs(bias=np.zeros((1, 2), np.int32))
    odd = SetSynapses("output", np.array([1]), np.array([0]), np.array([3], np.int32))
    with pytest.raises(UnsupportedError) as error:
        run(chip(layers, 3, [odd]), inputs, engine="lava")
    assert str(error.value).startswith(
        "engine 'lava' cannot run layer 'output': weight 3 is not one that Lava's stored field (8 bits, mixed) can hold; "
        "engines that can: exact"
    )
    late = [layers[0], population("output", (1,), Dense(synapses.weight, np.full((1, 2), 64)))]
    assert LavaEngine().supports(chip(late, 3)) == "layer 'output': delay 64 is above Lava's 63"
    wide = [population("input", (2100,)), population("output", (2000,), Dense(np.zeros((2000, 2100), np.int32)))]
    assert LavaEngine().supports(chip(wide, 3)) is None
    assert LavaEngine().supports(chip(wide, 3, [Drop("output", 1, np.array([0]), np.arange(9))])) == (
        "layer 'output': synapses that change in time are rewritten in each step, and 2100 × 2000 are too many for that"
    )


@needs_lava
def test_a_hung_core_stops_lava_too() -> None:
    deployment, inputs = CASES["damaged"]()
    hung = deployment.with_damage(Damage((Stall((2,), When(start=4)),)))
    for engine in ("exact", "lava"):
        with pytest.raises(StalledError) as error:
            run(hung, inputs, engine=engine)
        assert str(error.value) == "the chip stalls: core 2 hangs and the mesh waits for it"
