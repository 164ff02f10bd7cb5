"""Weights stored as crossbar bits and axon types (TrueNorth): what they are, what they take, what a flipped bit does, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crossbars import profile

import neurofault as nf
from neurofault.deploy.resources import usage
from neurofault.errors import CapacityError, FaultError, SpecError, UnsupportedError
from neurofault.graph.synapses import Stored


def network(sources: int, neurons: int = 3, seed: int = 0, **neuron: Any) -> nf.Network:
    rng = np.random.default_rng(seed)
    populations = (nf.Population("in", (sources,), nf.Source()), nf.Population("out", (neurons,), nf.CubaLif(1.0, **neuron)))
    wires = nf.Connection("out", "in", "out", nf.Dense(rng.normal(0.1, 0.5, (neurons, sources))))
    return nf.Network("net", populations, (wires,), 6, nf.Readout("out", "count"))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_weight_is_a_sum_over_the_axons_of_its_source(tmp_path: Path, bits: int) -> None:
    """Every weight is Σ bit · table[type], the table that of RANC's example (1, 2, 4, −8) times 32; for 2 bits (1, −2) times 128."""
    chip = nf.deploy(network(20, 9), profile(tmp_path), weight_bits=bits)
    own = chip.connection("out")
    table = [2 ** (9 - bits + one) for one in range(bits - 1)] + [-256]
    sums = {sum(value for one, value in enumerate(table) if pattern >> one & 1) for pattern in range(1 << bits)}
    assert set(np.unique(own.synapses.weight).tolist()) <= sums
    assert np.abs(own.synapses.weight).max() >= 128  # the range is used
    assert own.weight_exponent == 0
    assert (own.weight_bits, own.sign_mode) == (bits, "mixed")


@pytest.mark.parametrize("bits", [2, 4])
def test_axons_and_crossings_are_counted(tmp_path: Path, bits: int) -> None:
    chip = nf.deploy(network(60, 9), profile(tmp_path), weight_bits=bits)
    (core,) = chip.placement.cores_of("out").tolist()
    used = usage(chip).of(core)
    assert used == {
        "neurons": (9, 256), "synapse_bits": (60 * 9 * bits, 65536), "in_axons": (60 * bits, 256), "out_axons": (0, None),
    }  # fmt: skip


def test_each_crossbar_bit_is_one_term(tmp_path: Path) -> None:
    """A flipped crossbar bit adds or takes away what its axon's type says, for one neuron; 4-bit fields, every bit."""
    chip = nf.deploy(network(6, 2), profile(tmp_path))
    healthy = chip.connection("out").synapses.weight.astype(np.int64)
    events = np.zeros((1, 6, 6), bool)
    events[0, 0, 4] = True
    exact, inputs = nf.engines.get_engine("exact"), nf.Inputs(events=events)
    before = exact.run(chip, inputs, record=("v",)).traces["out"].v[0, 0]
    for bit, value in enumerate((32, 64, 128, -256)):
        hurt = nf.inject(chip, nf.faults.SynapseBitFlip(synapse_bits=[(4, 1, bit)], layer="out"))
        there = ((healthy[1, 4] + 256) // 32 + 8) % 16 >> bit & 1
        reached = healthy[1, 4] + (-value if there else value)
        after = exact.run(hurt, inputs, record=("v", "spikes")).traces["out"]
        threshold = int(chip.population("out").vth[1])
        assert after.v[0, 0, 0] == before[0]
        assert after.v[0, 0, 1] == (0 if reached >= threshold else reached)


def test_too_many_sources_say_what_fits(tmp_path: Path) -> None:
    chip = profile(tmp_path)
    with pytest.raises(CapacityError) as error:
        nf.deploy(network(300), chip)
    assert str(error.value) == (
        "population 'out' does not fit: one neuron takes 1200 in_axons, a core of 'cross' has 256; each source takes an axon for each of the 4 bits of "
        "its weights: give its neurons at most 64 sources, or 128 with weight_bits 2, or use a profile with more core.in_axons"
    )
    assert nf.deploy(network(64), chip).connection("out").weight_bits == 4
    assert nf.deploy(network(128), chip, weight_bits=2).connection("out").weight_bits == 2
    with pytest.raises(CapacityError, match="give its neurons at most 128 sources, or use"):
        nf.deploy(network(129), chip, weight_bits=2)


def test_weights_of_several_widths_need_several_tables(tmp_path: Path) -> None:
    populations = (
        nf.Population("in", (2,), nf.Source()),
        nf.Population("out", (2,), nf.CubaLif(100, du=0, bias_exponent=0)),
    )
    four = nf.Connection("four", "in", "out", nf.Dense(np.eye(2, dtype=int) * 32), stored=Stored(0, 4, "mixed"))
    two = nf.Connection("two", "in", "out", nf.Dense(np.eye(2, dtype=int) * 128), stored=Stored(0, 2, "mixed"))
    with pytest.raises(CapacityError) as error:
        nf.deploy(nf.Network("net", populations, (four, two), 4, nf.Readout("out", "count")), profile(tmp_path))
    assert str(error.value) == (
        "population 'out': connections into it carry weights of 2 and 4 bits; a neuron of 'cross' has one table of values: give them one width"
    )
    signed = nf.Connection("four", "in", "out", nf.Dense(np.eye(2, dtype=int)), stored=Stored(0, 4, "signed"))
    with pytest.raises(CapacityError, match="carries signed weights with exponent 0; the crossbar of 'cross' has mixed ones"):
        nf.deploy(nf.Network("net", populations, (signed,), 4, nf.Readout("out", "count")), profile(tmp_path))


def test_an_axon_has_one_delay(tmp_path: Path) -> None:
    populations = (nf.Population("in", (2,), nf.Source()), nf.Population("out", (2,), nf.CubaLif(1.0)))
    late = nf.Connection("out", "in", "out", nf.Dense(np.eye(2), np.array([[0, 1], [2, 0]])))
    with pytest.raises(UnsupportedError, match="on the crossbar of 'cross' a spike comes to all neurons of a core at once"):
        nf.deploy(nf.Network("net", populations, (late,), 4, nf.Readout("out", "count")), profile(tmp_path))


@pytest.mark.parametrize("fault", [nf.faults.MemoryWordDead(count=1, layer="out"), nf.faults.WordHeader(count=1, layer="out")])
def test_a_crossbar_has_no_memory_words(tmp_path: Path, fault: nf.faults.Fault) -> None:
    with pytest.raises(FaultError) as error:
        nf.inject(nf.deploy(network(6), profile(tmp_path)), fault)
    assert f"the crossbar of 'cross' has no {fault.site}: its bits stand at crossings of axons and neurons" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"axon_types": None}, "a crossbar needs axon_types: a weight has a bit for each type at most"),
        ({"weight_bits": ([2, 5], "bits")}, "weights of a crossbar have 2 to axon_types (4) bits, one an axon, the last of them negative; weight_bits are [2, 5]"),
        ({"weight_bits": ([1, 2], "bits")}, "weights of a crossbar have 2 to axon_types (4) bits, one an axon, the last of them negative; weight_bits are [1, 2]"),
        ({"table_bits": (8, "bits")}, "table_bits: values of 9 bits are what weights are made of; it is 8"),
        ({"weight_exponent_max": (2, "1")}, "weights of a crossbar have no exponent: weight_exponent_min and weight_exponent_max must be 0"),
        ({"shared_kernels": (True, "flag")}, "a crossbar has a bit for each pair: shared_kernels must be false"),
        ({"format": "signed"}, "axon_types and table_bits are of a crossbar; format is signed"),
    ],
)  # fmt: skip
def test_a_format_that_contradicts_itself_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        profile(tmp_path, **changed)
    (line,) = str(error.value).splitlines()
    assert line.endswith(f"synapse: {message}")


def test_spare_cores_of_a_crossbar_have_no_words_either(tmp_path: Path) -> None:
    chip = nf.deploy(network(6), profile(tmp_path), spare_cores=1)
    for fault in (nf.faults.MemoryWordDead(count=1, layer="spare"), nf.faults.SynapseBitStuck(count=1, layer="spare")):
        with pytest.raises(FaultError, match="the crossbar of 'cross' has no"):
            nf.inject(chip, fault)
