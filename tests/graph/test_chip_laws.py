"""Chips whose arithmetic is data: engine exact against their neurons in plain numbers, 10⁶ neuron-steps a law; and what a profile may not say."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import chip_neurons
import numpy as np
import pytest
import yaml
from chip_neurons import Numbers
from hypothesis import given
from hypothesis import strategies as st

import neurofault as nf
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.errors import ConversionError, FaultError, NeurofaultWarning, SpecError, UnsupportedError
from neurofault.graph.arithmetic import Decay, Register
from neurofault.graph.synapses import Stored

SHIFT = {"kind": "shift", "most": 15, "tail": True}
XYLO = {
    "name": "xylo", "v": {"bits": 16, "decay": SHIFT}, "u": {"bits": 16, "decay": SHIFT}, "threshold": ">=", "resets": ["subtract"],
    "spikes": 31, "sums": "before_decay", "partly": True,
}  # fmt: skip
ODIN = {
    "name": "odin", "v": {"bits": 8, "signed": False, "decay": {"kind": "linear", "most": 127}}, "u": None, "threshold": ">=",
    "resets": ["zero"],
}  # fmt: skip
RECKON = {
    "name": "reckon", "v": {"bits": 16, "decay": {"kind": "multiply", "bits": 15, "rounding": "floor", "most": 4096}}, "u": None,
    "threshold": ">=", "resets": ["zero", "subtract"], "reset_delays": [1],
}  # fmt: skip
SPECK = {"name": "speck", "v": {"bits": 16}, "u": None, "threshold": ">=", "resets": ["zero", "subtract"], "floor": True}


def profile(
    folder: Path, arithmetic: dict[str, Any], bits: tuple[int, ...] = (4, 8), source: str | list[str] = "lava"
) -> HardwareProfile:
    """Loihi 2's places with another arithmetic and plain signed weights."""
    text = yaml.safe_load((Path(__file__).parents[2] / "hardware_profiles" / "loihi2.yaml").read_text())
    text |= {"name": "other", "arithmetic": arithmetic | {"source": source, "evidence": "documented"}}
    text["synapse"] |= {"format": "signed"}
    text["synapse"]["weight_exponent_min"]["value"] = 0
    text["synapse"]["weight_bits"]["value"] = list(bits)
    for key in ("threshold_max", "decay_max", "bias_mantissa_min", "bias_mantissa_max"):  # Loihi's own
        del text["neuron"][key]
    file = folder / "other.yaml"
    file.write_text(yaml.safe_dump(text))
    return load_profile(file)


SIZE, STEPS, SAMPLES, SOURCES = 500, 200, 10, 40


def random_chip(
    rng: np.random.Generator, chip: HardwareProfile, neuron: nf.CubaLif, weight: Any, exponent: int
) -> tuple[nf.Deployment, nf.Inputs, Any]:
    """A population behind an input of events, in a chip's own integers; its drives, int64 [N, T, n]."""
    stored = Stored(exponent, 8, "signed")
    populations = (nf.Population("in", (SOURCES,), nf.Source()), nf.Population("out", (SIZE,), neuron))
    wires = nf.Connection("wires", "in", "out", nf.Dense(weight), stored=stored)
    network = nf.Network("one", populations, (wires,), STEPS, nf.Readout("out", "potential"))
    events = rng.random((SAMPLES, STEPS, SOURCES)) < rng.uniform(0, 0.2, (SAMPLES, 1, 1))
    return nf.deploy(network, chip), nf.Inputs(events=events), (events @ weight.T.astype(np.int64)) << exponent


def assert_as_in(
    reference: Callable[[Numbers, list[int]], list[tuple[int, int, int]]],
    chip: nf.Deployment,
    inputs: nf.Inputs,
    drives: Any,
    u: bool,
) -> None:
    own = chip.population("out")
    activity = nf.engines.get_engine("exact").run(chip, inputs, record=("u", "v", "spikes"))
    traces = activity.traces["out"]
    floor = own.law.floor
    for neuron in range(SIZE):
        numbers = Numbers(
            int(own.du[neuron]), int(own.dv[neuron]), int(own.vth[neuron]), int(own.bias_mantissa[neuron]),
            None if floor is None else int(floor[neuron]),
        )  # fmt: skip
        for sample in range(SAMPLES):
            expected = np.array(reference(numbers, drives[sample, :, neuron].tolist()))
            np.testing.assert_array_equal(traces.v[sample, :, neuron], expected[:, 1], f"v of {neuron} in {sample}")
            np.testing.assert_array_equal(traces.spikes[sample, :, neuron], expected[:, 2], f"spikes of {neuron} in {sample}")
            if u:
                np.testing.assert_array_equal(traces.u[sample, :, neuron], expected[:, 0], f"u of {neuron} in {sample}")
    assert 0.005 < traces.spikes.astype(bool).mean() < 0.7  # the case says something
    np.testing.assert_array_equal(activity.spike_counts["out"], traces.spikes.sum((0, 1), dtype=np.int64))


def test_a_million_steps_of_xylo(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    neuron = nf.CubaLif(
        rng.integers(1, 1500, SIZE), rng.integers(-40, 40, SIZE), du=rng.integers(0, 8, SIZE), dv=rng.integers(0, 8, SIZE),
        bias_exponent=0, reset="subtract",
    )  # fmt: skip
    weight = rng.integers(-128, 128, (SIZE, SOURCES)) + rng.integers(-60, 80, (SIZE, 1))
    made = random_chip(rng, profile(tmp_path, XYLO), neuron, np.clip(weight, -128, 127), 4)
    assert_as_in(chip_neurons.xylo, *made, u=True)


def test_a_million_steps_of_odin(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    neuron = nf.CubaLif(rng.integers(20, 256, SIZE), 0, du=0, dv=rng.integers(0, 6, SIZE), bias_exponent=0)
    weight = np.clip(rng.integers(-7, 8, (SIZE, SOURCES)) + rng.integers(0, 5, (SIZE, 1)), -7, 7)
    made = random_chip(rng, profile(tmp_path, ODIN, (4, 8)), neuron, weight, 1)
    assert_as_in(chip_neurons.odin, *made, u=False)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_a_million_steps_of_reckon(tmp_path: Path, reset: Any) -> None:
    rng = np.random.default_rng(3)
    neuron = nf.CubaLif(
        rng.integers(100, 9000, SIZE), 0, du=0, dv=rng.integers(0, 4097, SIZE), bias_exponent=0, reset=reset, reset_delay=1
    )  # fmt: skip
    weight = np.clip(rng.integers(-128, 128, (SIZE, SOURCES)) + rng.integers(0, 60, (SIZE, 1)), -128, 127)
    made = random_chip(rng, profile(tmp_path, RECKON), neuron, weight, 3)
    assert_as_in(partial(chip_neurons.reckon, to_zero=reset == "zero"), *made, u=False)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_a_million_steps_of_speck(tmp_path: Path, reset: Any) -> None:
    rng = np.random.default_rng(4)
    neuron = nf.CubaLif(
        rng.integers(60, 900, SIZE),
        rng.integers(-30, 30, SIZE),
        du=0,
        bias_exponent=0,
        reset=reset,
        floor=-rng.integers(0, 400, SIZE),
    )
    weight = np.clip(rng.integers(-128, 128, (SIZE, SOURCES)) + rng.integers(0, 40, (SIZE, 1)), -128, 127)
    made = random_chip(rng, profile(tmp_path, SPECK), neuron, weight, 2)
    assert_as_in(partial(chip_neurons.speck, to_zero=reset == "zero"), *made, u=False)


@pytest.mark.parametrize(
    ("decay", "before", "stored", "after"),
    [
        (Decay("multiply", 4095), [100, -100], [1024, 1024], [75, -75]),
        (Decay("multiply", 255, 8, "floor"), [-100, 3], [1, 1], [-100, 2]),
        (Decay("multiply", 4095, more=1), [100, 0], [4095, 7], [0, 0]),
        (Decay("shift", 15, tail=True), [1, -1, 100, -100], [3, 3, 3, 3], [0, 0, 88, -87]),
        (Decay("shift", 15), [1, -1, 100, -100], [3, 3, 3, 3], [1, 0, 88, -87]),
        (Decay("linear", 9), [5, -5, 2, -2], [3, 3, 3, 3], [2, -2, 0, 0]),
        (Decay(), [5, -5], [0, 0], [5, -5]),
    ],
)
def test_what_a_decay_leaves(decay: Decay, before: list[int], stored: list[int], after: list[int]) -> None:
    assert decay(np.array(before), np.array(stored)).tolist() == after


@given(
    kind=st.sampled_from(["multiply", "shift"]), lost=st.floats(0, 1), bits=st.integers(2, 15), more=st.integers(0, 1)
)  # fmt: skip
def test_the_nearest_decay_is_the_nearest(kind: Any, lost: float, bits: int, more: int) -> None:
    decay = Decay("multiply", (1 << bits) - more, bits, more=more) if kind == "multiply" else Decay("shift", 12)
    chosen = decay.nearest(np.array([lost]))[0]
    every = decay.share(np.arange(decay.most + 1))
    if kind == "multiply":
        assert abs(decay.share(np.array([chosen]))[0] - lost) <= np.abs(every - lost).min() + 1e-12
    else:  # nearest in the number of steps, which is what a time constant is
        wanted = -np.log2(max(lost, 2.0**-13))
        assert abs(chosen - wanted) <= np.abs(np.arange(13) - wanted).min() + 1e-12


@given(
    bits=st.integers(2, 32), signed=st.booleans(), overflow=st.sampled_from(["saturate", "wrap"]), value=st.integers(-(2**40), 2**40)
)  # fmt: skip
def test_a_register_holds_what_its_bits_say(bits: int, signed: bool, overflow: Any, value: int) -> None:
    register = Register(bits, signed, overflow)
    held = int(register.held(np.array([value]))[0])
    assert register.low <= held <= register.high
    assert register.high - register.low == 2**bits - 1
    if register.low <= value <= register.high:
        assert held == value
    elif overflow == "wrap":
        assert (held - value) % 2**bits == 0
    else:
        assert held == (register.high if value > register.high else register.low)


def reflex(neuron: nf.CubaLif) -> nf.Network:
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), neuron)
    whole = neuron.bias_exponent is not None
    synapses = nf.Dense(np.full((2, 2), 3) if whole else np.eye(2) * 2)
    wires = nf.Connection("hands", "eyes", "hands", synapses, stored=Stored(0, 8, "signed") if whole else None)
    return nf.Network("reflex", (eyes, hands), (wires,), 4, nf.Readout("hands", "count"))


@pytest.mark.parametrize(
    ("arithmetic", "neuron", "kind", "message"),
    [
        (
            SPECK, nf.CubaLif(1.0, du=2047), UnsupportedError,
            "population 'hands': its synaptic current remembers (du 2047); neurons of chip 'other' have no such state: what arrives goes into v at "
            "once; allowed: du 4095",
        ),
        (
            SPECK, nf.CubaLif(1.0, dv=128), UnsupportedError,
            "population 'hands': its potential leaks by a share of itself (dv 128); neurons of chip 'other' have no such leak (none); allowed: dv 0",
        ),
        (
            XYLO, nf.CubaLif(1.0, reset="subtract"), UnsupportedError,
            "population 'hands': its synaptic current has no memory (du 4095); on chip 'other' a current loses its share before it counts, so that "
            "nothing would be left; train it with a synaptic current that remembers (du 2047 keeps half)",
        ),
        (
            XYLO, nf.CubaLif(1.0, du=2047), UnsupportedError,
            "population 'hands': reset 'zero'; neurons of chip 'other' reset by subtract: train or convert it with such a reset (of a torch module: --calibrate subtract, "
            "from_torch(…, calibrate='subtract'))",
        ),
        (
            RECKON, nf.CubaLif(1.0, dv=64, reset="subtract"), UnsupportedError,
            "population 'hands': a reset 0 steps after the spike; neurons of chip 'other' reset 1 after it, which is not the same where v leaks or "
            "has a floor; train it with reset_delay 1",
        ),
        (
            ODIN, nf.CubaLif(1.0, floor=-1.0), UnsupportedError,
            "population 'hands': a floor of v; neurons of chip 'other' have none of their own (v ends at 0)",
        ),
        (
            ODIN, nf.CubaLif(1.0, refractory=3), UnsupportedError,
            "population 'hands': 3 refractory steps; neurons of chip 'other' count none",
        ),
        (
            ODIN, nf.CubaLif(20, du=0, dv=200, bias_exponent=0), ConversionError,
            "population 'hands': dv 200 is no whole number from 0 to 127",
        ),
    ],
)  # fmt: skip
def test_what_a_chip_has_not_is_refused(
    tmp_path: Path, arithmetic: dict[str, Any], neuron: nf.CubaLif, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        nf.deploy(reflex(neuron), profile(tmp_path, arithmetic))
    assert str(error.value) == message


def test_decays_that_are_not_stored_are_said(tmp_path: Path) -> None:
    with pytest.warns(NeurofaultWarning) as said:
        chip = nf.deploy(reflex(nf.CubaLif(1.0, du=2047, dv=100, reset="subtract")), profile(tmp_path, XYLO))
    assert [str(one.message) for one in said] == [
        "population 'hands': dv loses 0.02441 of itself a step in the network, 0.03125 and at least 1 a step on chip 'other', the nearest that it stores "
        "(a shift by 5)"
    ]
    assert chip.population("hands").du.tolist() == [1, 1]
    assert chip.population("hands").dv.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("signed", "said", "least"), [(True, "from 0 to 127 it loses nothing, below 0 it comes back by at least 1 a step", -1000), (False, "from 0 to 127 it loses nothing", 0)]
)  # fmt: skip
def test_what_a_shift_does_to_small_states_is_said_and_so(tmp_path: Path, signed: bool, said: str, least: int) -> None:
    law = ODIN | {"v": {"bits": 16, "signed": signed, "decay": {"kind": "shift", "most": 7}}}
    with pytest.warns(NeurofaultWarning) as warned:
        chip = nf.deploy(reflex(nf.CubaLif(1.0)), profile(tmp_path, law))
    assert [str(one.message) for one in warned] == [
        "population 'hands': dv loses 0 of itself a step in the network, 0.007812 on chip 'other', the nearest that it stores "
        f"(a shift by 7: {said})"
    ]
    states = np.arange(least, 1000)
    after = chip.population("hands").law.arithmetic.v.decay(states, np.int64(7))
    assert set(states[(after == states)]) == set(range(128))
    assert (after[states < 0] > states[states < 0]).all()


def test_what_arrives_before_the_decay_is_made_up_for(tmp_path: Path) -> None:
    """A current that keeps three quarters of what arrives before it counts needs weights a third larger beside the threshold."""
    network = reflex(nf.CubaLif(8.0, du=1023, dv=128, reset="subtract"))
    chip = nf.deploy(network, profile(tmp_path, XYLO))
    own, weight = chip.population("hands"), np.asarray(chip.connection("hands").synapses.weight).max()
    reach = weight * 2.0 ** chip.connection("hands").weight_exponent * 0.75
    assert abs(own.vth[0] / reach - 4) < 0.05  # as 8 stands to 2


def test_a_saved_chip_keeps_its_arithmetic(tmp_path: Path) -> None:
    chip = nf.deploy(reflex(nf.CubaLif(1.0, du=2047, dv=128, reset="subtract")), profile(tmp_path, XYLO))
    nf.save(chip, tmp_path / "chip.npz")
    again = nf.load(tmp_path / "chip.npz")
    assert again.population("hands").law.arithmetic == chip.population("hands").law.arithmetic
    assert again.population("hands").law.features == {"arithmetic", "reset subtract"}
    assert again.profile == chip.profile
    assert again.profile.law.spikes == 31
    inputs = nf.Inputs(events=np.ones((1, 4, 2), bool))
    exact = nf.engines.get_engine("exact")
    np.testing.assert_array_equal(exact.run(again, inputs).scores, exact.run(chip, inputs).scores)


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_other_engines_refuse_it_by_name(tmp_path: Path, engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    chip = nf.deploy(reflex(nf.CubaLif(1.0)), profile(tmp_path, SPECK))
    said = nf.engines.get_engine(engine).supports(chip)
    assert said is not None
    assert "layer 'hands'" in said
    assert "another arithmetic than Loihi's" in said or "needs du = 4095" in said


def test_a_flip_of_the_state_is_of_the_registers_width(tmp_path: Path) -> None:
    chip = nf.deploy(reflex(nf.CubaLif(1000, du=0, bias_exponent=0)), profile(tmp_path, SPECK))
    hurt = nf.inject(chip, nf.faults.StateUpset(state="v", bit=15, neurons=[0], layer="hands", when={"kind": "once", "at": 2}))
    events = nf.Inputs(events=np.ones((1, 4, 2), bool))
    v = nf.engines.get_engine("exact").run(hurt, events, record=("v",)).traces["hands"].v[0, :, 0]
    assert v.tolist() == [6, 12, 12 - 32768 + 6, 12 - 32768 + 12]
    with pytest.raises(FaultError, match=r"bit must lie in \[0, 15\]: v of chip 'other' has 16 bits, is 16"):
        nf.inject(chip, nf.faults.StateUpset(state="v", bit=16, neurons=[0], layer="hands", when={"kind": "once", "at": 2}))
    with pytest.raises(
        FaultError, match="neurons of chip 'other' have no state u: what arrives goes into v at once; allowed: state v"
    ):
        nf.inject(chip, nf.faults.StateUpset(state="u", bit=3, neurons=[0], layer="hands", when={"kind": "once", "at": 2}))
    with pytest.raises(FaultError, match="neurons of chip 'other' store no dv: their potential does not decay"):
        nf.inject(chip, nf.faults.NeuronLeak(decay="dv", factor=2.0, neurons=[0], layer="hands"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spikes": 3}, "arithmetic: spikes: more than one a step are what subtracting resets at once give; resets must be [subtract], reset_delays [0]"),
        ({"v": {"bits": 16, "decay": {"kind": "shift", "most": 40}}}, "arithmetic.v.decay.most: a decay shifts by at most 31, not 40"),
        ({"v": {"bits": 8, "signed": False}, "floor": True}, "arithmetic: v: a register without a sign ends at 0, so it has no floor of its own"),
        ({"sums": "before_decay"}, "arithmetic: sums: before_decay is about u, and there is no u"),
        ({"v": {"bits": 16, "decay": {"kind": "shift", "most": 3, "bits": 4}}}, "arithmetic.v.decay: a decay of kind shift has no bits; it has: tail"),
        ({"v": {"bits": 16, "decay": {"kind": "multiply", "bits": 4, "most": 17}}}, "arithmetic: v: a decay of 4 bits stores at most 16, not 17"),
        ({"v": {"bits": 16, "decay": {"kind": "linear"}}}, "arithmetic.v.decay: a decay of kind linear needs most, the largest number that is stored"),
        ({"source": []}, "arithmetic.source: the arithmetic has no source (add source: KEY, a key of sources; or evidence: assumed and a note that says why)"),
        ({"treshold": ">"}, "unknown key 'treshold' in arithmetic (did you mean 'threshold'?)"),
    ],
)  # fmt: skip
def test_an_arithmetic_that_contradicts_itself_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        profile(tmp_path, SPECK | changed, source=changed.get("source", "lava"))
    (line,) = str(error.value).splitlines()
    assert message in line
    assert line.startswith(f"{tmp_path / 'other.yaml'}:")
