"""Crossings, types and tables of a crossbar: every site of a small chip against cores in plain numbers, which know of no fields and no edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crossbars import PlainCore, plain_cores, profile
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import Damage, SetTerms
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import write
from neurofault.errors import FaultError, UnsupportedError
from neurofault.graph.synapses import Stored

EXACT = nf.engines.get_engine("exact")
STEPS, SAMPLES = 6, 4
EVENTS = np.random.default_rng(1).random((SAMPLES, STEPS, 3)) < 0.5
INPUTS = nf.Inputs(events=EVENTS)
Cores = dict[int, PlainCore]


def deployed(own: nf.HardwareProfile, bits: int = 4) -> Deployment:
    """in (3) → hid (3, on two cores) over a dense and a sparse connection, hid → out (2)."""
    rng, unit = np.random.default_rng(4), 2 ** (9 - bits)

    def weights(*shape: int) -> np.ndarray[Any, Any]:
        return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape) * unit

    stored = Stored(0, bits, "mixed")
    neuron = nf.CubaLif(150, du=0, bias_exponent=0)
    populations = (nf.Population("in", (3,), nf.Source()), nf.Population("hid", (3,), neuron), nf.Population("out", (2,), neuron))
    sparse = nf.Sparse.of(3, 3, np.array([0, 1, 2, 2]), np.array([1, 0, 0, 2]), weights(4))
    wires = (
        nf.Connection("a", "in", "hid", nf.Dense(weights(3, 3)), stored=stored),
        nf.Connection("b", "in", "hid", sparse, stored=stored),
        nf.Connection("c", "hid", "out", nf.Dense(weights(2, 3)), stored=stored),
    )
    return nf.deploy(nf.Network("net", populations, wires, STEPS, nf.Readout("out", "count")), own, neurons_per_core=2)


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed(profile(tmp_path_factory.mktemp("chip")))


def simulated(cores: Callable[[int], Cores]) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Potentials and spikes of hid and out, tick by tick; ``cores`` says what is stored in a step."""
    sizes = {"hid": 3, "out": 2}
    v = {name: np.zeros((SAMPLES, STEPS, size), int) for name, size in sizes.items()}
    spikes = {name: np.zeros((SAMPLES, STEPS, size), bool) for name, size in sizes.items()}
    for sample in range(SAMPLES):
        potential = {name: [0] * size for name, size in sizes.items()}
        for step in range(STEPS):
            for name, before in (("hid", "in"), ("out", "hid")):
                fired = EVENTS[sample, step] if before == "in" else spikes["hid"][sample, step]
                for core in cores(step).values():
                    for column, (population, neuron) in enumerate(core.neurons):
                        if population != name:
                            continue
                        for axon, (_, sender) in enumerate(core.senders):
                            if fired[sender]:
                                potential[name][neuron] += core.gains(axon, column)
                        if potential[name][neuron] >= 150:
                            spikes[name][sample, step, neuron], potential[name][neuron] = True, 0
                v[name][sample, step] = potential[name]
    return {name: (v[name], spikes[name]) for name in sizes}


HEALTHY: dict[int, Any] = {}


def check(hurt: Deployment, cores: Callable[[int], Cores] | Cores) -> bool:
    """Hold a chip against its cores in plain numbers; whether they differ from the healthy ones."""
    expected = simulated(cores if callable(cores) else lambda _: cores)
    traces = EXACT.run(hurt, INPUTS, record=("v", "spikes")).traces
    for name, (v, spikes) in expected.items():
        np.testing.assert_array_equal(traces[name].spikes, spikes, f"spikes of {name}")
        np.testing.assert_array_equal(traces[name].v, v, f"v of {name}")
    bits = hurt.connection("a").weight_bits
    if bits not in HEALTHY:
        HEALTHY[bits] = simulated(lambda _: plain_cores(hurt))
    healthy = HEALTHY[bits]
    return any((v != healthy[name][0]).any() for name, (v, _) in expected.items())


def test_the_cores_are_the_chip(chip: Deployment) -> None:
    assert not check(chip, plain_cores(chip))
    spikes = EXACT.run(chip, INPUTS, record=("spikes",)).traces
    assert all(0.05 < spikes[name].spikes.mean() < 0.8 for name in ("hid", "out"))  # the case says something


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_bit_of_every_type(tmp_path: Path, bits: int) -> None:
    chip = deployed(profile(tmp_path), bits)
    seen = 0
    for name, core, axon in axons(chip):
        for bit in range(2):
            cores = plain_cores(chip)
            cores[core].types[axon] ^= 1 << bit
            hurt = nf.inject(chip, faults.AxonTypeFlip(type_bits=[(core, axon, bit)], layer=name))
            seen += check(hurt, cores)
            kind = plain_cores(chip)[core].types[axon]
            assert hurt.damage.hits[0].sites == (f"core {core}: axon {axon}, type {kind} → {kind ^ 1 << bit}",)
    assert seen > 10


def axons(chip: Deployment) -> Iterator[tuple[str, int, int]]:
    for core, own in plain_cores(chip).items():
        for axon, (wire, _) in enumerate(own.senders):
            yield chip.connection(wire).target, core, axon


def column_of(cores: Cores, population: str, neuron: int) -> tuple[PlainCore, int, int]:
    return next(
        (core, core.neurons.index((population, neuron)), name)
        for name, core in cores.items()
        if (population, neuron) in core.neurons
    )


@pytest.mark.parametrize("bits", [2, 4])
def test_every_bit_of_every_table(tmp_path: Path, bits: int) -> None:
    chip = deployed(profile(tmp_path), bits)
    seen = 0
    for name, neuron in (("hid", 0), ("hid", 2), ("out", 1)):
        for kind in range(4):
            for bit in range(9):
                cores = plain_cores(chip)
                core, column, number = column_of(cores, name, neuron)
                core.tables[column][kind] ^= 1 << bit
                hurt = nf.inject(chip, faults.TableFlip(table_bits=[(neuron, kind, bit)], layer=name))
                differs = check(hurt, cores)
                seen += differs
                assert kind < bits or not differs  # no weight needs such a value
                assert hurt.damage.hits[0].cores == (number,)
                assert hurt.damage.hits[0].neurons == {name: 1}
    assert seen > 10


def test_every_line(chip: Deployment) -> None:
    seen = 0
    for name, core, axon in axons(chip):
        cores = plain_cores(chip)
        cores[core].stuck |= {(axon, column) for column in range(2)}
        hurt = nf.inject(chip, faults.CrossbarLineDead(lines=[(core, axon)], layer=name))
        seen += check(hurt, cores)
        assert hurt.damage.hits[0].sites == (f"core {core}: row {axon}",)
    for name, size in (("hid", 3), ("out", 2)):
        for neuron in range(size):
            cores = plain_cores(chip)
            own, column, core = column_of(cores, name, neuron)
            own.stuck |= {(axon, column) for axon in range(len(own.senders))}
            hurt = nf.inject(chip, faults.CrossbarLineDead(lines=[(core, column)], line="column", layer=name))
            seen += check(hurt, cores)
            assert hurt.damage.hits[0].sites == (f"core {core}: column {column}",)
    assert seen > 20


SITES = st.lists(
    st.tuples(st.sampled_from(["type", "table", "row", "column", "flip"]), st.integers(0, 1 << 30)), min_size=1, max_size=6
)


@given(SITES)
@settings(max_examples=40, deadline=None)
def test_faults_on_top_of_each_other(chip: Deployment, sites: list[tuple[str, int]]) -> None:
    """In whatever order: crossings, types and tables are three memories, and none knows of the others."""
    cores, hurt = plain_cores(chip), chip
    for kind, number in sites:
        rng = np.random.default_rng(number)
        wires = {"a": "hid", "c": "out"}
        wire = str(rng.choice(list(wires)))
        name = wires[wire]
        neuron, bit = int(rng.integers(chip.population(name).size)), int(rng.integers(9))
        own, column, core = column_of(cores, name, neuron)
        axon = int(rng.integers(len(own.senders)))
        sender = int(rng.integers(3))
        match kind:
            case "type":
                own.types[axon] ^= 1 << bit % 2
                fault = faults.AxonTypeFlip(type_bits=[(core, axon, bit % 2)], layer=name)
            case "table":
                own.tables[column][number % 4] ^= 1 << bit
                fault = faults.TableFlip(table_bits=[(neuron, number % 4, bit)], layer=name)
            case "row":
                own.stuck |= {(axon, each) for each in range(2)}
                fault = faults.CrossbarLineDead(lines=[(core, axon)], layer=name)
            case "column":
                own.stuck |= {(each, column) for each in range(len(own.senders))}
                fault = faults.CrossbarLineDead(lines=[(core, column)], line="column", layer=name)
            case _:
                row = [each for each, (of, by) in enumerate(own.senders) if (of, by) == (wire, sender)][bit % 4]
                own.crossings ^= {(row, column)}
                fault = faults.SynapseBitFlip(synapse_bits=[(sender, neuron, bit % 4)], connection=wire)
        hurt = nf.inject(hurt, fault)
    check(hurt, cores)


@pytest.mark.parametrize("clock", ["presentation", "chip"])
def test_in_a_window_of_time(chip: Deployment, clock: str) -> None:
    if clock == "presentation":
        when = {"kind": "transient", "start": 2, "stop": 4}
        broken = [False, False, True, True, False, False]
        cores = [plain_cores(chip), plain_cores(chip)]
        cores[1][2].types[5] ^= 2
        cores[1][2].tables[0][0] ^= 64
        hurt = nf.inject(
            chip,
            [
                faults.AxonTypeFlip(type_bits=[(2, 5, 1)], layer="hid", when=when),
                faults.TableFlip(table_bits=[(0, 0, 6)], layer="hid", when=when),
            ],
        )
        assert plain_cores(chip)[2].neurons == [("hid", 0), ("hid", 1)]
        assert check(hurt, lambda step: cores[broken[step]])
        return
    when = {"kind": "once", "at": 0, "clock": "chip"}  # an upset stays
    hurt = nf.inject(chip, faults.TableFlip(rate=0.2, layer="any", when=when), seed=2)
    lasting = nf.inject(chip, faults.TableFlip(rate=0.2, layer="any"), seed=2)
    assert (
        EXACT.run(hurt, INPUTS, record=("v",)).traces["out"].v == EXACT.run(lasting, INPUTS, record=("v",)).traces["out"].v
    ).all()


@pytest.mark.parametrize(
    "fault",
    [
        faults.AxonTypeFlip(rate=0.3, layer="any"),
        faults.TableFlip(rate=0.2, layer="hid"),
        faults.TableFlip(count=3, layer="any", bits="msb", where="clustered"),
        faults.CrossbarLineDead(count=4, layer="any"),
        faults.CrossbarLineDead(count=2, layer="any", line="column"),
    ],
    ids=str,
)
def test_drawn_sites_are_kept_saved_and_undone(chip: Deployment, tmp_path: Path, fault: faults.Fault) -> None:
    plan = faults.plan(chip, fault, seed=3)
    hurt = nf.inject(chip, plan)
    before = EXACT.run(hurt, INPUTS, record=("v",)).traces["out"].v
    assert (before != EXACT.run(chip, INPUTS, record=("v",)).traces["out"].v).any()
    faults.save_plan(plan, tmp_path / "plan.npz")
    again = faults.load_plan(tmp_path / "plan.npz")
    assert faults.plan_hash(again) == faults.plan_hash(plan)
    nf.save(hurt, tmp_path / "chip.npz")
    for other in (nf.inject(chip, again), nf.load(tmp_path / "chip.npz")):
        np.testing.assert_array_equal(EXACT.run(other, INPUTS, record=("v",)).traces["out"].v, before)
    assert hurt.damage.without(-1) == Damage()
    twice = nf.inject(hurt, fault.replace(again="always"), seed=3)
    assert faults.struck(twice).synapses == hurt.damage.hits[0].synapses  # the same ones


def test_flips_come_back_and_dead_lines_are_passed_over(chip: Deployment) -> None:
    flip = faults.TableFlip(rate=0.5, layer="any")
    twice = nf.inject(nf.inject(chip, flip, seed=1), flip, seed=1)
    assert not check(twice, plain_cores(chip))
    lines = sum(len(core.senders) for core in plain_cores(chip).values())
    both = [faults.CrossbarLineDead(count=lines - 5, layer="any"), faults.CrossbarLineDead(count=5, layer="any")]
    hurt = nf.inject(chip, both)
    assert not EXACT.run(hurt, INPUTS, record=("v",)).traces["hid"].v.any()
    with pytest.raises(FaultError, match=f"only {lines}, 0 of them not broken for good already"):
        nf.inject(hurt, faults.CrossbarLineDead(count=1, layer="any", again="never"))
    with pytest.raises(FaultError, match="only 5, 0 of them not broken for good already"):
        nf.inject(hurt, faults.CrossbarLineDead(count=1, layer="any", line="column", again="never"))
    dead = nf.inject(chip, faults.NeuronDead(neurons=["0-2"], layer="hid"))
    for kind, left in ((faults.AxonTypeFlip, 2 * 12), (faults.TableFlip, 2 * 36)):
        assert nf.inject(dead, kind(count=left, layer="any", again="never")).damage.hits[-1].cores == (4,)
        with pytest.raises(FaultError, match=f"{left} of them not broken"):
            nf.inject(dead, kind(count=left + 1, layer="any", again="never"))


def test_an_environment_says_the_rate(chip: Deployment) -> None:
    beam = {"environment": "neutron_beam", "hours": 1e5}
    for kind in ("axon_type_flip", "table_flip", "synapse_bit_flip"):
        assert nf.inject(chip, {"kind": kind, "rate": beam, "layer": "any"}, seed=1).damage.edits
    with pytest.raises(FaultError, match="stored bits only"):
        nf.inject(chip, {"kind": "crossbar_line_dead", "rate": beam})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.AxonTypeFlip(type_bits=[(2, 30, 0)], layer="hid"), "axon_type_flip: no axon 30 of layer 'hid' on core 2; there: 0 to 11, 12 to 19"),
        (faults.AxonTypeFlip(type_bits=[(2, 3, 2)], layer="hid"), "axon_type_flip: bit must lie in [0, 1]: a type of 'cross' has 2 bits"),
        (faults.AxonTypeFlip(count=1, layer="in"), "axon_type_flip: layer 'in' has no bits of axon types"),
        (faults.AxonTypeFlip(count=1, layer="hid", where="least_important"), "axon_type_flip: bits of axon types have no order of importance; where must be random or clustered"),
        (faults.TableFlip(table_bits=[(3, 0, 0)], layer="hid"), "table_flip: neuron must lie in [0, 2] in table_bits of layer 'hid'"),
        (faults.TableFlip(table_bits=[(0, 4, 0)], layer="hid"), "table_flip: type must lie in [0, 3] in table_bits of layer 'hid'"),
        (faults.TableFlip(table_bits=[(0, 0, 9)], layer="hid"), "table_flip: bit must lie in [0, 8] in table_bits of layer 'hid'"),
        (faults.TableFlip(count=1, bits="9"), "table_flip: bits must lie in [0, 8]: values of a table have 9 bits"),
        (faults.TableFlip(count=1, layer="in"), "table_flip: layer 'in' has no bits of neurons' tables"),
        (faults.CrossbarLineDead(lines=[(4, 12)], layer="out"), "crossbar_line_dead: no axon 12 of layer 'out' on core 4; there: 0 to 11"),
        (faults.CrossbarLineDead(lines=[(4, 2)], line="column", layer="out"), "crossbar_line_dead: no column 2 of layer 'out' on core 4; there: 0 to 1"),
        (faults.CrossbarLineDead(lines=[(4, 2)]), "crossbar_line_dead: no axon 2 of layer 'hidden' on core 4; there: none"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_there_is_refused(chip: Deployment, fault: faults.Fault, message: str) -> None:
    with pytest.raises(FaultError) as error:
        nf.inject(chip, fault)
    assert str(error.value) == message


KINDS = [kind for kind, model in faults.KINDS.items() if model.needs == "crossbar"]


def test_the_kinds_of_crossbars() -> None:
    assert KINDS == ["axon_type_flip", "table_flip", "crossbar_line_dead"]


@pytest.mark.parametrize("kind", KINDS)
def test_other_chips_have_no_crossbar(kind: str) -> None:
    network = nf.chain(
        "net",
        [nf.Population("in", (2,), nf.Source()), nf.Population("out", (2,), nf.CubaLif(1.0))],
        [nf.Dense(np.eye(2))],
        timesteps=4,
    )
    with pytest.raises(FaultError) as error:
        nf.inject(nf.deploy(network, "loihi2"), {"kind": kind, "count": 1, "layer": "any"})
    assert str(error.value).startswith(
        f"{kind}: chip 'loihi2' has no crossbar (synapse.format: crossbar); places it has: cores, neurons, synapses, links"
    )


def test_what_a_profile_leaves_open_is_refused(tmp_path: Path) -> None:
    odd = deployed(profile(tmp_path, axon_types=(5, "1")))
    with pytest.raises(FaultError) as error:
        nf.inject(odd, faults.AxonTypeFlip(count=1))
    assert (
        str(error.value)
        == "axon_type_flip: chip 'cross' has 5 axon types: what a flipped bit of one then names is said of powers of two up to 256 alone"
    )
    narrow = deployed(profile(tmp_path, table_bits=None))
    with pytest.raises(FaultError) as error:
        nf.inject(narrow, faults.TableFlip(count=1))
    assert (
        str(error.value)
        == "table_flip: chip 'cross': how wide the values of a neuron's table are is not known (synapse.table_bits)"
    )


def test_who_does_not_follow_terms_says_so(chip: Deployment, tmp_path: Path) -> None:
    """A weight of such terms fits no stored field: what counts on one refuses the chip."""
    hurt = nf.inject(chip, faults.TableFlip(table_bits=[(0, 3, 8)], layer="hid"))
    assert {type(edit) for edit in hurt.damage.edits} == {SetTerms}
    with pytest.raises(UnsupportedError, match="connection 'a': bits of its weights count for other numbers"):
        write(hurt, "a", np.zeros((3, 3), int))
    with pytest.raises(UnsupportedError, match="SetTerms"):
        nf.to_nir(hurt, tmp_path / "net.nir")


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_engines_of_stored_fields_refuse_terms(chip: Deployment, engine: str) -> None:
    """Were the neurons Loihi's, it would be for the terms alone."""
    plain = loihi(chip)
    assert nf.engines.get_engine(engine).supports(plain) is None
    reason = nf.engines.get_engine(engine).supports(nf.inject(plain, faults.AxonTypeFlip(count=1)))
    assert reason is not None
    assert "SetTerms" in reason


def loihi(chip: Deployment) -> Deployment:
    """The same chip with Loihi's neurons."""
    other = nf.deploy(
        nf.chain("net", [nf.Population("in", (2,), nf.Source()), nf.Population("hidden", (2,), nf.CubaLif(1.0)), nf.Population("out", (2,), nf.CubaLif(1.0))],
                 [nf.Dense(np.eye(2)), nf.Dense(np.eye(2))], timesteps=4),
        "loihi2", weight_bits=4,
    )  # fmt: skip
    return replace(other, profile=replace_profile(other.profile, chip.profile))


def replace_profile(own: nf.HardwareProfile, cross: nf.HardwareProfile) -> nf.HardwareProfile:
    return own.model_copy(update={"synapse": cross.synapse})
