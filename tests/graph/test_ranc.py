"""TrueNorth's law: engine exact against RANC's simulator in plain numbers, 10⁶ neuron-steps, and RANC's own example network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranc
import yaml

import neurofault as nf
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.errors import CapacityError, SpecError, UnsupportedError
from neurofault.graph.synapses import Stored

TRUENORTH = {
    "name": "truenorth", "v": {"bits": 20}, "u": None, "threshold": ">=", "resets": ["zero", "subtract", "none"], "floor": True,
    "floor_resets": True, "reset_to": True,
}  # fmt: skip
SIZE, STEPS, SAMPLES, AXONS, TYPES = 400, 125, 5, 64, 4


def profile(folder: Path, **changed: Any) -> HardwareProfile:
    """Loihi 2's places with TrueNorth's law and plain 8-bit weights: what a crossbar bit of any axon type may add to a neuron."""
    text = yaml.safe_load((Path(__file__).parents[2] / "hardware_profiles" / "loihi2.yaml").read_text())
    text |= {"name": "other", "arithmetic": TRUENORTH | {"source": "lava", "evidence": "documented"} | changed}
    text["synapse"] |= {"format": "signed"}
    text["synapse"]["weight_exponent_min"]["value"] = 0
    text["synapse"]["weight_bits"]["value"] = [8]
    for key in ("threshold_max", "decay_max", "bias_mantissa_min", "bias_mantissa_max"):  # Loihi's own
        del text["neuron"][key]
    file = folder / "other.yaml"
    file.write_text(yaml.safe_dump(text))
    return load_profile(file)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_million_steps_of_cores(tmp_path: Path, symmetric: bool, absolute: bool) -> None:
    """A quarter of them for each reset mode and type: 400 neurons, 125 ticks, 5 runs."""
    rng = np.random.default_rng(10 + 2 * symmetric + absolute)
    types, bits = rng.integers(0, TYPES, AXONS), rng.random((SIZE, AXONS)) < rng.uniform(0, 0.6, (SIZE, 1))
    table = rng.integers(-128, 128, (SIZE, TYPES))
    cells = [
        ranc.Cell(int(rng.integers(1, 900)), -int(rng.integers(0, 500)), int(rng.integers(-60, 120)), int(rng.integers(-30, 31)),
                  absolute, symmetric)
        for _ in range(SIZE)
    ]  # fmt: skip
    weight = np.where(bits, table[:, types], 0)
    populations = (nf.Population("in", (AXONS,), nf.Source()), nf.Population("out", (SIZE,), ranc.neurons(cells)))
    wires = nf.Connection("wires", "in", "out", nf.Dense(weight), stored=Stored(0, 8, "signed"))
    network = nf.Network("cores", populations, (wires,), STEPS, nf.Readout("out", "count"))
    chip = nf.deploy(network, profile(tmp_path, below="<=" if symmetric else "<"))
    events = rng.random((SAMPLES, STEPS, AXONS)) < rng.uniform(0, 0.3, (SAMPLES, 1, 1))
    traces = nf.engines.get_engine("exact").run(chip, nf.Inputs(events=events), record=("v", "spikes")).traces["out"]
    below = 0
    for neuron, cell in enumerate(cells):
        rows = [[int(table[neuron, types[axon]]) for axon in range(AXONS) if bits[neuron, axon]]]
        reached = np.flatnonzero(bits[neuron])
        drives = events[:, :, reached] @ np.array(rows[0], np.int64) if reached.size else np.zeros((SAMPLES, STEPS), np.int64)
        for sample in range(SAMPLES):
            potential, expected = 0, []
            for drive in drives[sample].tolist():
                below += potential + drive + cell.leak <= cell.negative
                potential, fires = ranc.tick(cell, potential, drive)
                expected.append((potential, fires))
            np.testing.assert_array_equal(traces.v[sample, :, neuron], [v for v, _ in expected], f"v of {neuron} in {sample}")
            np.testing.assert_array_equal(traces.spikes[sample, :, neuron], [s for _, s in expected], f"spikes of {neuron}")
    assert 0.02 < traces.spikes.mean() < 0.7  # the case says something
    assert below > SIZE * STEPS * SAMPLES // 50


@pytest.fixture
def example() -> Path:
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    path = root / "UA-RCL__RANC" / "simulator" / "data" / "example" / "input.json"
    if not path.is_file():
        pytest.skip(f"no file at {path}; NEUROFAULT_FIELD names the folder that holds it")
    return path


TICKS = 32


def bus(grid: ranc.Grid, chip: nf.Deployment, inputs: nf.Inputs) -> list[list[int]]:
    """The lines of the output bus on which engine exact says that a spike comes in each tick."""
    (last,) = (core for core in grid.cores if all(to == grid.bus for *_, (to, _, _) in core.rows))
    name = f"core{last.place[0]},{last.place[1]}"
    spikes = nf.engines.get_engine("exact").run(chip, inputs, record=("spikes",)).traces[name].spikes
    lines = [axon for *_, (_, axon, _) in last.rows]
    return [sorted(lines[neuron] for neuron in np.flatnonzero(row)) for row in spikes[0]]


def test_the_example_of_ranc(tmp_path: Path, example: Path) -> None:
    grid = ranc.read(example)
    network, inputs = ranc.network(grid, TICKS)
    expected = ranc.simulated(grid, TICKS)
    assert bus(grid, nf.deploy(network, profile(tmp_path)), inputs) == expected
    assert sum(map(len, expected)) > 3  # it answers


def test_other_packets_and_delays_in_the_example(tmp_path: Path, example: Path) -> None:
    """The example with random packets for 40 ticks, leaks, thresholds and destination ticks of its own."""
    rng, grid = np.random.default_rng(5), ranc.read(example)
    packets = sorted({(int(rng.integers(0, 30)), (0, 0), int(rng.integers(0, 6)), int(rng.integers(0, 8))) for _ in range(90)})
    cores = []
    for core in grid.cores:
        rows = [
            (
                cell._replace(threshold=int(rng.integers(1, 4)), leak=int(rng.integers(-1, 2)), negative=-int(rng.integers(0, 3))),
                table, connected, (to, axon, 0 if to == grid.bus else int(rng.integers(0, 6))),
            )
            for cell, table, connected, (to, axon, _) in core.rows
        ]  # fmt: skip
        cores.append(replace(core, rows=rows))
    grid = replace(grid, cores=cores, packets=packets)
    network, inputs = ranc.network(grid, 40)
    expected = ranc.simulated(grid, 40)
    assert bus(grid, nf.deploy(network, profile(tmp_path)), inputs) == expected
    assert 20 < sum(map(len, expected)) < 140


def one(neuron: nf.CubaLif) -> nf.Network:
    populations = (nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), neuron))
    wires = nf.Connection("hands", "eyes", "hands", nf.Dense(np.eye(2) * 2))
    return nf.Network("reflex", populations, (wires,), 4, nf.Readout("hands", "count"))


@pytest.mark.parametrize(
    ("neuron", "changed", "kind", "message"),
    [
        (
            nf.CubaLif(1.0, reset_to=0.25), {"reset_to": False}, UnsupportedError,
            "population 'hands': a reset to 0.25; neurons of chip 'other' reset to 0; allowed: reset_to 0",
        ),
        (
            nf.CubaLif(1.0, floor=-1.0, at_floor="reset"), {"floor_resets": False}, UnsupportedError,
            "population 'hands': a reset below its floor; neurons of chip 'other' have none; allowed: at_floor hold",
        ),
        (
            nf.CubaLif(1.0, reset_to=1e6), {}, CapacityError,
            "population 'hands': a reset to 1016000000; v of 'other' holds −524287 to 524287",
        ),
    ],
)  # fmt: skip
def test_what_a_chip_has_not_is_refused(
    tmp_path: Path, neuron: nf.CubaLif, changed: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        nf.deploy(one(neuron), profile(tmp_path, **changed))
    assert str(error.value) == message


def test_loihi_has_neither() -> None:
    with pytest.raises(UnsupportedError, match="neurons of chip 'loihi2' reset to 0; allowed: reset_to 0"):
        nf.deploy(one(nf.CubaLif(1.0, reset_to=0.25)), "loihi2")
    with pytest.raises(UnsupportedError, match="neurons of chip 'loihi2' have none; allowed: at_floor hold"):
        nf.deploy(one(nf.CubaLif(1.0, floor=-1.0, at_floor="reset")), "loihi2")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"floor": False}, "floor_resets is about a floor, and neurons have none (floor: false)"),
        ({"floor_resets": False, "below": "<="}, "below: <= is about resets at a floor, and there are none (floor_resets: false)"),
        ({"resets": ["subtract"]}, "reset_to is about the reset zero, and resets are subtract"),
    ],
)
def test_an_arithmetic_that_contradicts_itself_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        profile(tmp_path, **changed)
    (line,) = str(error.value).splitlines()
    assert line.endswith(f"arithmetic: {message}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reset": "subtract", "reset_to": 1.0}, "reset_to is what a reset 'zero' leaves v at; reset is 'subtract'"),
        ({"at_floor": "reset"}, "at_floor 'reset' needs a floor, below which v is reset"),
        ({"floor": -1.0, "at_floor": "wrap"}, "at_floor must be hold or reset, is 'wrap'"),
        ({"reset_to": np.zeros(3)}, "reset_to has the shape (3,); allowed: a number, or [2]"),
    ],
)
def test_bad_numbers(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match="population 'hands'") as error:
        one(nf.CubaLif(1.0, **given))
    assert message in str(error.value)


def test_it_is_scaled_saved_and_kept(tmp_path: Path) -> None:
    """R and the floor stand to the threshold as they did; a saved chip runs as before; a NIR file does not say it."""
    chip = nf.deploy(one(nf.CubaLif(8.0, floor=-2.0, at_floor="reset", reset_to=np.array([4.0, -1.0]))), profile(tmp_path))
    own = chip.population("hands")
    np.testing.assert_allclose(own.law.reset_to / own.vth, [0.5, -0.125], atol=0.01)
    np.testing.assert_allclose(own.law.floor / own.vth, [-0.25, -0.25], atol=0.01)
    nf.save(chip, tmp_path / "chip.npz")
    again = nf.load(tmp_path / "chip.npz")
    assert again.population("hands").law.features == {"arithmetic", "floor", "at_floor reset", "reset_to"}
    inputs = nf.Inputs(events=np.ones((1, 4, 2), bool))
    exact = nf.engines.get_engine("exact")
    np.testing.assert_array_equal(
        exact.run(again, inputs, record=("v",)).traces["hands"].v, exact.run(chip, inputs, record=("v",)).traces["hands"].v
    )
    with pytest.raises(UnsupportedError, match="its neurons have reset_to, which a NIR file does not say"):
        nf.to_nir(one(nf.CubaLif(8.0, reset_to=1.0)), tmp_path / "net.nir")
