"""Mistakes that other fault injectors make (what they are is in docs/faults.md), each shown to be absent here."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fault_chips import EVERYWHERE, chain, neurons, small_profile
from kinds_page import kinds_table
from test_every_kind import CHIPS, EXTRA, WHENS

from neurofault import faults
from neurofault.damage.damage import Damage, Drop, LearningDefect, NeuronEdit
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError
from neurofault.graph import Dense

ROOT = Path(__file__).parents[2]


def test_a_thousand_injections_leave_nothing_behind():
    chip = CHIPS["dense"]
    for draw in range(1000):
        hurt = faults.inject(chip, faults.NeuronDead(count=1), draw=draw)
        assert len(hurt.damage.edits) == 1
    assert chip.damage == Damage()


def huge(sources, targets):
    """A hidden layer of sources · targets synapses whose weights take no memory."""
    zeros = {size: np.broadcast_to(np.zeros(1, np.int32), size) for size in ((targets, sources), (2, targets))}
    populations = [
        neurons("input", (sources,), is_source=True),
        neurons("hidden1", (targets,)),
        neurons("output", (2,), fires=False),
    ]
    profile = small_profile(columns=8, rows=8, cores_per_tile=4)
    return chain(populations, [Dense(weight) for weight in zeros.values()], neurons_per_core=256, profile=profile)


@pytest.mark.parametrize("fault", [faults.SynapseDead(count=1), faults.SynapseBitFlip(count=1000), faults.MemoryWordDead(count=10)])
def test_sites_are_chosen_without_a_list_of_the_population(fault):
    chip = huge(20_000, 10_000)  # 2·10⁸ synapses, 1.6·10⁹ bits
    faults.plan(chip, fault)
    tracemalloc.start()
    faults.plan(chip, fault, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


def test_rows_of_a_huge_memory_are_reached_everywhere():
    chip = huge(20_000, 10_000)
    edit = faults.plan(chip, faults.SynapseDead(count=4000, layer="hidden1")).faults[0].edits[0]
    assert len(set(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True))) == 4000
    for index, size in ((edit.sources, 20_000), (edit.targets, 10_000)):
        assert abs(index.mean() / size - 0.5) < 4 * np.sqrt(1 / 12 / 4000)
        assert abs(index.std() / size - np.sqrt(1 / 12)) < 0.02


@pytest.mark.parametrize(
    "kind",
    sorted(set(EVERYWHERE) - {"link_dead", "link_lossy", "router_dead", "core_hung", "error_dead", "feedback_dead"}),
)
@pytest.mark.parametrize("net", CHIPS)
def test_the_echo_is_what_was_hit(kind, net):
    chip = CHIPS[net]
    spec = {"kind": kind, "rate": 0.5, **EXTRA.get(kind, {})}
    if faults.KINDS[kind].whens == ("once",):
        spec["when"] = WHENS["once"]
    (planned,) = faults.plan(chip, spec, seed=2).faults
    cores, hurt, synapses = set(), {}, {}
    for edit in planned.edits:
        name = edit.population if isinstance(edit, NeuronEdit) else chip.connection(edit.connection).target
        homes = chip.placement.core_of[name]
        if isinstance(edit, Drop):
            before = chip.connection(edit.connection).source
            hurt[before] = hurt.get(before, 0) + len(edit.sources)
            cores |= {edit.core, *chip.placement.core_of[before][edit.sources].tolist()}
        elif hasattr(edit, "targets"):
            cores |= set(homes[edit.targets].tolist())
            if net == "dense":
                synapses[name] = synapses.get(name, 0) + len({*zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)})
        else:
            cores |= set(homes[edit.neurons].tolist())
            hurt[name] = hurt.get(name, 0) + len(edit.neurons)
    hit = planned.hit
    if kind == "axon_misrouted":
        assert cores <= set(hit.cores)
        return
    assert cores <= set(hit.cores) if net == "shared" else cores == set(hit.cores)
    if not any(isinstance(edit, LearningDefect) for edit in planned.edits):
        assert hit.neurons == hurt
        if synapses and not kind.startswith("core"):
            assert hit.synapses == synapses


def test_a_layer_hit_is_the_layer_named():
    for layer in ("input", "hidden1", "hidden2", "output"):
        hit = faults.plan(CHIPS["dense"], faults.NeuronDead(count=2, layer=layer)).hits[0]
        assert set(hit.neurons) == {layer}


def test_a_dead_neuron_is_dead_inside_not_only_unheard():
    chip = CHIPS["dense"]
    hurt = faults.inject(chip, faults.NeuronDead(neurons=[2], layer="hidden1"))
    trace = ExactEngine().run(hurt, chip.encode(np.full((1, 6), 255, np.uint8)), record=("u", "v", "spikes")).traces["hidden1"]
    assert not trace.u[..., 2].any()
    assert not trace.v[..., 2].any()
    assert not trace.spikes[..., 2].any()


def test_a_saturated_neuron_sends_plain_spikes():
    chip = CHIPS["dense"]
    hurt = faults.inject(chip, faults.NeuronSaturated(neurons=[2], layer="hidden1"))
    spikes = ExactEngine().run(hurt, chip.encode(np.zeros((1, 6), np.uint8)), record=("spikes",)).traces["hidden1"].spikes
    assert spikes.dtype == bool
    assert spikes[..., 2].all()


def test_a_stuck_bit_is_not_a_flip():
    chip = CHIPS["dense"]
    twice = [faults.SynapseBitStuck(synapse_bits=[(0, 0, 3)], level=1, layer="hidden1")] * 2
    once, again = faults.plan(chip, twice).faults
    assert once.edits[0].values.tolist() == again.edits[0].values.tolist()


def test_a_transient_fault_ends():
    chip = CHIPS["dense"]
    hurt = faults.inject(chip, faults.NeuronSaturated(neurons=[2], layer="output", when=faults.transient(1, 3)))
    spikes = ExactEngine().run(hurt, chip.encode(np.zeros((2, 6), np.uint8)), record=("spikes",)).traces["output"].spikes
    healthy = ExactEngine().run(chip, chip.encode(np.zeros((2, 6), np.uint8)), record=("spikes",)).traces["output"].spikes
    assert spikes[:, 1:3, 2].all()
    np.testing.assert_array_equal(spikes[:, [0, 3, 4]], healthy[:, [0, 3, 4]])


def test_the_page_of_faults_shows_every_kind_as_it_is():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert kinds_table() in page


def test_the_benchmark_of_fault_sites_runs():
    script = ROOT / "experiments" / "bench" / "fault_sites.py"
    run = subprocess.run([sys.executable, str(script), "--quick", "--json", "-"], capture_output=True, text=True, check=True)
    rows = json.loads(run.stdout)
    assert [row["bits"] for row in rows] == [10**6, 10**8]
    assert all(row["peak_bytes"] < 3e6 for row in rows)


@pytest.mark.parametrize(
    ("given", "said"), [("core_dead:count=1", "'core_dead:count=1'"), (None, "None"), (3, "3"), ([None], "None")]
)
def test_what_is_no_fault_is_said_once(given, said):
    with pytest.raises(FaultError) as error:
        faults.inject(CHIPS["dense"], given)
    assert str(error.value) == f"a fault must be a mapping such as {{kind: core_dead, count: 3}}, is {said}"
