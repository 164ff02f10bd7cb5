"""Studies of graphs: what follows names works on them as on chains, and what needs a chain says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import neurofault as nf
from neurofault.data.splits import Split
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import NeurofaultError
from neurofault.graph import Connection, CubaLif, Dense, Encoding, Network, Population, Readout, Source
from neurofault.study.atlas import atlas
from neurofault.study.campaign.hit import changed_bits
from neurofault.study.campaign.trial import Task, TrialChip, WorkerBench
from neurofault.study.campaign.ways import Rescue
from neurofault.study.chip_map import tiles_of
from neurofault.study.lesion import lesion
from neurofault.study.outcomes import possible

STEPS = 12


def made(seed: int = 3) -> nf.Deployment:
    """A chip of a network with a population that drives itself, and a skip past it."""
    rng = np.random.default_rng(seed)
    populations = (
        Population("input", (9,), Source(Encoding.for_pixels(0.8, 0.5, STEPS))),
        Population("hidden1", (6,), CubaLif(1.0)),
        Population("output", (3,), CubaLif(None)),
    )
    connections = (
        Connection("hidden1", "input", "hidden1", Dense(rng.normal(0.2, 0.5, (6, 9)))),
        Connection("again", "hidden1", "hidden1", Dense(rng.normal(0, 0.4, (6, 6))), delay=2),
        Connection("output", "hidden1", "output", Dense(rng.normal(0, 1, (3, 6)))),
        Connection("skip", "input", "output", Dense(rng.normal(0, 0.3, (3, 9)))),
    )
    return nf.deploy(Network("looped", populations, connections, STEPS, Readout("output")), neurons_per_core=2)


CHIP = made()
TEST = Split(np.random.default_rng(1).integers(0, 256, (20, 1, 3, 3), np.uint8), np.arange(20) % 3, np.arange(20), "made/test")
INPUTS = CHIP.encode(TEST.images)


def exact(chip: nf.Deployment) -> float:
    return ExactEngine().run(chip, INPUTS).correct(TEST.labels) / len(TEST.labels)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "core_dead", "count": 1, "layer": "any"},
        {"kind": "synapse_dead", "count": 12, "layer": "any"},
        {"kind": "neuron_dead", "count": 2, "when": {"kind": "transient", "start": 2, "stop": 7}},
    ],
)
def test_a_lesion_of_a_graph_is_each_broken_chip_run_by_itself(fault):
    kind = nf.faults.fault_from_mapping(fault)
    found = lesion(CHIP, TEST, [kind], draws=3, seed=2)
    assert found.healthy.accuracy == exact(CHIP)
    for draw in found.draws:
        assert draw.measured.accuracy == exact(nf.inject(CHIP, kind, seed=2, draw=draw.draw))


def test_the_outcomes_of_one_dead_core_of_a_graph_are_its_cores():
    found = possible(CHIP, [nf.faults.CoreDead(count=1, layer="hidden")])
    cores = CHIP.placement.cores_of("hidden1").tolist()
    assert [plan.hits[0].cores for plan, _ in found] == [(core,) for core in cores]
    assert [chance for _, chance in found] == pytest.approx([1 / len(cores)] * len(cores))


def test_flipped_bits_of_every_connection_count():
    flips = [nf.faults.SynapseBitFlip(count=5, layer="hidden"), nf.faults.SynapseBitFlip(count=4, layer="output")]
    assert changed_bits(nf.inject(CHIP, flips, seed=1)) == 9


def test_the_map_of_a_graphs_chip_names_its_populations():
    layers = [core["layer"] for core in tiles_of(CHIP)["cores"].values()]
    assert layers == ["input"] * 5 + ["hidden1"] * 3 + ["output"] * 2


def test_a_trial_of_a_graph_is_a_row():
    bench = WorkerBench({"chip0": TrialChip(CHIP, INPUTS, TEST.labels, None, None)})
    faults = (nf.faults.NeuronDead(count=2),)
    row = bench.row(Task("t", 1, "chip0", faults, Rescue(strategy="none"), 4, "exact"))
    broken = nf.inject(CHIP, faults, seed=4, draw=1)
    assert (row["status"], row["message"]) == ("ok", "")
    assert row["damaged_correct"] / row["samples"] == exact(broken)
    assert row["neurons"] == 2


@pytest.mark.parametrize(
    ("kind", "layer", "of"),
    [("neuron_dead", "hidden1", "hidden1"), ("core_dead", "any", None), ("synapse_dead", "again", "again"), ("synapse_dead", "output", "output")],
)  # fmt: skip
def test_an_atlas_of_a_graph_is_every_site_by_itself(kind, layer, of):
    found = atlas(CHIP, INPUTS, TEST.labels, kind, layer=layer)
    healthy = nf.run(CHIP, INPUTS, TEST.labels)
    assert found.healthy_total == healthy.correct
    for row in range(0, len(found), 5):
        at = {name: int(column[row]) for name, column in found.sites.items()}
        match kind:
            case "neuron_dead":
                fault = {"layer": of, "neurons": [at["target"]]}
            case "core_dead":
                fault = {"layer": "any", "cores": [at["core"]]}
            case _:
                fault = {"connection": of, "synapses": [[at["source"], at["target"]]]}
        hurt = nf.run(nf.inject(CHIP, nf.faults.fault_from_mapping({"kind": kind, **fault})), INPUTS, TEST.labels)
        assert at["correct"] == hurt.correct - healthy.correct
        assert at["changed"] == np.count_nonzero(hurt.activity.predictions != healthy.activity.predictions)
    assert found.sites["changed"].any()


def test_an_atlas_of_a_graph_names_its_places():
    for kind, layer, text in (
        (
            "synapse_dead",
            "agian",
            "no layer 'agian' (did you mean 'any'?); layers: input, hidden1, output, any, hidden; connections: hidden1, again, output, skip",
        ),
        ("synapse_dead", "input", "layer 'input' has no synapses"),
        ("neuron_dead", "again", "no layer 'again' (did you mean 'any'?); layers: input, hidden1, output, any, hidden"),
    ):
        with pytest.raises(NeurofaultError) as error:
            atlas(CHIP, INPUTS, TEST.labels, kind, layer=layer)
        assert str(error.value) == text


def test_a_chip_of_several_inputs_says_that_images_are_for_one():
    first = replace(CHIP.population("input"), name="other")
    core_of = {**CHIP.placement.core_of, "other": CHIP.placement.core_of["input"] + 64}
    two = replace(CHIP, populations=(*CHIP.populations, first), placement=replace(CHIP.placement, core_of=core_of))
    with pytest.raises(
        nf.errors.UsageError,
        match=r"^network 'looped' has 2 inputs: input, other; a data set is for one: run it from Python, with nf.run$",
    ):
        lesion(two, TEST, [nf.faults.CoreDead(count=1)], draws=1, seed=1)
