"""Numbers far beyond a field saturate it, in every arithmetic; ranges the wrong way round are refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import yaml
from fault_chips import mlp
from reference import present
from test_every_kind import lively

import neurofault as nf
from neurofault import faults
from neurofault.deploy.profile import load_profile
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError, SpecError

CHIP = lively(mlp(6, 8, 4, neurons_per_core=2))
FAR = [1e9, 1e30, 1e300, 1e308]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tried(spec):
    """The edits of a fault, or None where its number is refused by name."""
    try:
        return faults.plan(CHIP, {"count": 6, **spec}).faults[0].edits
    except FaultError:
        return None


@pytest.mark.parametrize("factor", FAR)
@pytest.mark.parametrize(("kind", "most"), [("neuron_threshold", 2**17 - 1), ("neuron_leak", 4095), ("neuron_bias", 4095)])
def test_a_factor_beyond_the_field_is_its_maximum(kind, most, factor):
    for edit in tried({"kind": kind, "factor": factor}) or ():
        stored = getattr(CHIP.population(edit.population), edit.field)[edit.neurons]
        assert edit.values.tolist() == [most if value else 0 for value in stored.tolist()]


@pytest.mark.parametrize("offset", [2**31 - 1, 2**62, 99999999999999999999, -(2**31) + 1, -(2**62), -99999999999999999999])
@pytest.mark.parametrize(
    ("kind", "low", "high"), [("neuron_threshold", 0, 2**17 - 1), ("neuron_leak", 0, 4095), ("neuron_bias", -4096, 4095)]
)
def test_an_offset_beyond_the_field_is_its_end(kind, low, high, offset):
    for factor in (1.0, 1e9):
        for edit in tried({"kind": kind, "offset": offset, "factor": factor}) or ():
            if factor == 1.0:
                assert set(edit.values.tolist()) == {high if offset > 0 else low}
            assert edit.values.min() >= low
            assert edit.values.max() <= high


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("sigma", FAR)
def test_a_drift_beyond_the_field_is_one_of_its_ends(sigma, relative):
    for edit in tried({"kind": "synapse_perturbed", "sigma": sigma, "relative": relative, "layer": "hidden1", "count": 40}) or ():
        healthy = CHIP.connection(edit.connection).synapses.weight[edit.targets, edit.sources]
        moved = edit.values[healthy != 0] if relative else edit.values
        assert set(moved.tolist()) == {-256, 254}
        assert not relative or not edit.values[healthy == 0].any()


@pytest.mark.parametrize("each", ["sample", "step"])
@pytest.mark.parametrize("sigma", [1e3, *FAR])
def test_noise_beyond_the_bias_saturates_in_the_engine_too(sigma, each):
    two = [{"kind": "sensor_noisy", "count": 6, "sigma": sigma, "each": each}] * 2
    if sigma > 1e3 and tried(two[0]) is None:
        return
    hurt = faults.inject(CHIP, [two[0], two[1] | {"sigma": 0.5, "count": 2}])
    inputs = CHIP.encode(np.random.default_rng(0).integers(0, 256, (4, 6)).astype(np.uint8))
    activity = ExactEngine().run(hurt, inputs, record=("u", "v", "spikes"))
    for name, traces in present(hurt, inputs).items():
        np.testing.assert_array_equal(activity.traces[name].v, traces["v"])
    noise = hurt.damage.edits[0].mantissas(0, 0, 4, CHIP.timesteps)
    fires = activity.traces["input"].spikes
    up = (noise > 40000) if each == "sample" else np.zeros_like(noise, bool)
    assert fires[np.broadcast_to(up, fires.shape)].all()  # a bias at its maximum fires in every step


def test_noise_of_any_size_leaves_nothing_healthy():
    inputs = CHIP.encode(np.full((40, 6), 128, np.uint8))
    healthy = ExactEngine().run(CHIP, inputs).spike_counts["input"]
    for sigma in (10.0, 1e9):
        hurt = faults.inject(CHIP, {"kind": "sensor_noisy", "rate": 1.0, "sigma": sigma})
        assert (ExactEngine().run(hurt, inputs).spike_counts["input"] != healthy).all()


RANGED = [
    ({"kind": "core_dead", "cores": ["12-9"]}, "cores: '12-9' hits nothing: the lower end comes first (did you mean '9-12'?)"),
    ({"kind": "core_dead", "cores": [1, "7 - 4"]}, "cores: '7 - 4' hits nothing: the lower end comes first (did you mean '4-7'?)"),
    ({"kind": "neuron_dead", "neurons": ["3-0"]}, "neurons: '3-0' hits nothing: the lower end comes first (did you mean '0-3'?)"),
    ({"kind": "sensor_dead", "pixels": ["5-2"]}, "pixels: '5-2' hits nothing: the lower end comes first (did you mean '2-5'?)"),
    *(
        ({"kind": kind, "count": 1, "at": f"{unit}:7-4"}, f"at: '{unit}:7-4': '7-4' means nothing: the lower end comes first (did you mean '{unit}:4-7'?)")
        for kind, unit in (("core_dead", "core"), ("core_dead", "tile"), ("core_dead", "chip"), ("synapse_dead", "word"), ("link_dead", "core"))
    ),
    (
        {"kind": "synapse_bit_flip", "rate": 0.5, "at": {"all_of": ["core:0-3", "word:1,9-8"]}},
        "at: 'word:1,9-8': '9-8' means nothing: the lower end comes first (did you mean 'word:1,8-9'?)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), RANGED)
def test_a_range_the_wrong_way_round_is_refused_with_the_right_one(spec, message):
    with pytest.raises(FaultError) as error:
        faults.plan(CHIP, spec)
    assert str(error.value) == f"{spec['kind']}: {message}"


def test_a_profile_and_a_defect_map_refuse_it_too(tmp_path):
    profile = load_profile("loihi2").model_dump(mode="json") | {"dead_cores": ["15-12"]}
    (tmp_path / "chip.yaml").write_text(yaml.safe_dump(profile))
    with pytest.raises(SpecError, match=r"'15-12' is no range: the lower end comes first \(did you mean '12-15'\?\)"):
        load_profile(tmp_path / "chip.yaml")
    (tmp_path / "map.yaml").write_text('defects: [{kind: core_dead, cores: ["5-3"]}]')
    with pytest.raises(FaultError, match=r"did you mean '3-5'\?"):
        faults.load_defects(tmp_path / "map.yaml")


@pytest.mark.parametrize("step", [2**31, 2**40 - 10])
@pytest.mark.parametrize("kind", ["periodic", "intermittent", "transient", "death", "ageing", "once"])
def test_steps_far_away_never_come(kind, step):
    when = {
        "periodic": {"period": 3, "start": step}, "intermittent": {"on": 1, "off": 2, "start": step},
        "transient": {"start": step, "stop": step + 1}, "death": {"at": step}, "ageing": {"start": step, "stop": step + 9},
        "once": {"at": step},
    }[kind]  # fmt: skip
    inputs = CHIP.encode(np.full((2, 6), 255, np.uint8))
    hurt = nf.inject(CHIP, {"kind": "neuron_dead", "count": 2, "when": {"kind": kind, "clock": "chip", **when}})
    runs = [ExactEngine().run(chip, inputs).scores for chip in (CHIP, hurt)]
    np.testing.assert_array_equal(*runs)
