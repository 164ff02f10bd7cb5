"""Somebody else's Lava graph: imported, broken in place, run, restored, run; broken between runs; refused by name."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from neurofault.activity import TRACES
from neurofault.damage.damage import Damage
from neurofault.damage.when import When
from neurofault.deploy import deploy
from neurofault.engines import run
from neurofault.errors import EngineError, FaultError, UnsupportedError, UsageError
from neurofault.faults import inject

if importlib.util.find_spec("lava") is None:
    pytest.skip("lava-nc is not installed", allow_module_level=True)

import hanging
import stranger_graphs as graphs
from stranger_graphs import BETWEEN, STEPS, fixed_pt, stranger

import neurofault.lava as nl

SEVERAL = [
    {"kind": "core_dead", "count": 1},
    {"kind": "synapse_bit_flip", "count": 6, "layer": "any"},
    {"kind": "neuron_stuck", "count": 2, "layer": "out"},
    {"kind": "neuron_threshold", "count": 3, "layer": "image", "factor": 0.5, "when": {"kind": "periodic", "period": 2}},
    {"kind": "state_upset", "count": 3, "layer": "source", "when": {"kind": "once", "at": 3}},
    {"kind": "synapse_delay", "count": 20, "layer": "image"},
    {"kind": "synapse_dead", "count": 20, "layer": "out"},
]


def test_broken_in_place_run_restored_run():
    first, middle, last = nl.watched(graphs.break_run_restore, SEVERAL, 3, timeout=600)
    handle = nl.inject(stranger(), SEVERAL, timesteps=STEPS, seed=3, neurons_per_core=8)
    healthy = handle.deployment.with_damage(Damage())
    expected = run(handle.deployment, handle.graph.inputs, record=TRACES).activity.traces
    imported = run(healthy, handle.graph.inputs, record=TRACES).activity.traces
    assert list(first) == ["source", "image", "out"]
    for name in first:
        for state in TRACES:
            here = [getattr(traces[name], state) for traces in (first, middle, last, imported, expected)]
            np.testing.assert_array_equal(here[2], here[0], f"{name} {state}: the last equals the first")
            np.testing.assert_array_equal(here[0], here[3], f"{name} {state}: the first equals our engine")
            np.testing.assert_array_equal(here[1], here[4], f"{name} {state}: the middle equals our engine")
            if name != "source" or state != "u":  # nothing drives the source's u
                assert np.mean(here[1] != here[0]) > 0.01, (name, state)


def test_broken_between_runs():
    spikes, (restored, changed, starts) = nl.watched(graphs.break_between_runs, timeout=600)
    assert restored.all()
    assert changed.all()
    assert starts.tolist() == [STEPS, STEPS - 1, STEPS - 1]
    graph = nl.read_graph(stranger(), timesteps=3 * STEPS)
    broken = inject(deploy(graph.network), BETWEEN, seed=4)
    windows = tuple(
        replace(edit, when=When(start, start + STEPS)) for edit, start in zip(broken.damage.edits, starts.tolist(), strict=True)
    )
    timed = broken.with_damage(replace(broken.damage, edits=windows))
    expected = run(timed, graph.inputs, record=("spikes",)).activity.traces
    healthy = run(deploy(graph.network), graph.inputs, record=("spikes",)).activity.traces
    for depth, (name, order) in enumerate(zip(spikes, graph.orders, strict=True)):
        ours = expected[name].spikes[0, : 3 * STEPS - depth]
        np.testing.assert_array_equal(spikes[name][depth:, order], ours, name)
        assert depth == 0 or np.mean(ours != healthy[name].spikes[0, : 3 * STEPS - depth]) > 0.01


def test_a_running_graph_refuses_what_lava_cannot_take_on_by_name():
    messages = nl.watched(graphs.refused_between_runs, timeout=600)
    remedy = "; inject before the first run, and pass handle.run_config(…) to it"
    assert messages == [
        "the graph is running: say with steps_run how many steps it has done (at least 1)",
        "neuron_dead: in a running graph, no Var of Lava's can cause it" + remedy,
        "neuron_threshold: in a running graph, LIF 'image': Lava reads vth once, at its first step" + remedy,
        "neuron_leak: in a running graph, LIF 'image': setting dv crashes Lava's model" + remedy,
        "synapse_dead: in a running graph, Sparse 'wires': setting its weights crashes Lava's model" + remedy,
        "synapse_dead: in a running graph, Dense 'dense': nothing can change with time" + remedy,
        "in a running graph, Conv 'conv' has one Var for its kernel, and these faults hit single synapses of it" + remedy,
        "the graph is running; record() runs one from its beginning",
        "the graph has been compiled with broken models, and Lava keeps them; build it anew, or run it through record()",
    ]


def test_before_the_first_run_mistakes_are_told():
    processes = stranger()
    with pytest.raises(UsageError, match=r"^the graph has not run yet: leave steps_run out$"):
        nl.inject(processes, {"kind": "neuron_dead", "count": 1}, timesteps=9, steps_run=3)
    with pytest.raises(FaultError, match=r"^neuron_dead: no layer 'imagine' \(did you mean 'image'\?\)"):
        nl.inject(processes, {"kind": "neuron_dead", "count": 1, "layer": "imagine"}, timesteps=9)
    with pytest.raises(UnsupportedError, match=r"^core_hung: core \d+ would hang Lava for ever; run it on an engine$"):
        nl.inject(processes, {"kind": "core_hung", "count": 1}, timesteps=9)
    handle = nl.inject(processes, {"kind": "neuron_dead", "count": 1, "layer": "image"}, timesteps=9)
    assert [process.name for process in handle.models] == ["image"]
    with pytest.raises(UsageError, match=r"^LIF 'image' is broken already; restore it first, or inject all faults at once$"):
        nl.inject(processes, {"kind": "neuron_dead", "count": 1}, timesteps=9)


def test_run_configurations():
    processes = stranger()
    handle = nl.inject(processes, {"kind": "neuron_dead", "count": 1, "layer": "image"}, timesteps=9)
    base = fixed_pt()
    broken = handle.run_config(base)
    assert base.exception_proc_model_map == {}
    assert [(process.name, model.__name__) for process, model in broken.exception_proc_model_map.items()] == [
        ("image", "BrokenLif")
    ]
    floating = type(base)(select_tag="floating_pt")
    with pytest.raises(UnsupportedError) as error:
        handle.run_config(floating)
    assert str(error.value) == (
        "Loihi2SimCfg with select_tag='floating_pt' does not run fixed_pt models; faults need Loihi2SimCfg(select_tag=\"fixed_pt\")"
    )
    own = type(base)(select_tag="fixed_pt", exception_proc_model_map={type(processes[2]): object})
    with pytest.raises(UnsupportedError) as error:
        handle.run_config(own)
    assert str(error.value) == (
        "LIF 'image': the run configuration already replaces its model in exception_proc_model_map; leave this process out there"
    )
    handle.restore()
    handle.restore()
    assert handle.run_config(base) is base
    again = nl.inject(processes, {"kind": "neuron_dead", "count": 1, "layer": "out"}, timesteps=9)
    assert [process.name for process in again.models] == ["out"]


def test_a_graph_that_hangs_is_ended_in_time():
    with pytest.raises(EngineError) as error:
        nl.run_watched(hanging.never_ready, 5, timeout=10)
    assert str(error.value).startswith("never_ready was not ready after 10 seconds; last words:\nstill building")


def test_a_graph_that_fails_gives_its_last_words():
    with pytest.raises(EngineError) as error:
        nl.watched(hanging.fails, timeout=600)
    assert str(error.value).startswith("fails ended with exit code 1; last words:\nTraceback")
    assert str(error.value).endswith("ZeroDivisionError: division by zero")
    with pytest.raises(UsageError, match=r"^timeout must be above 0, is 0$"):
        nl.watched(hanging.fails, timeout=0)
    with pytest.raises(UsageError, match=r"cannot be imported by a new process; define it at the top of a module of its own$"):
        nl.watched(lambda: 1)


def test_run_watched_breaks_and_runs():
    fault = {"kind": "neuron_saturated", "neurons": [0, 5], "layer": "hidden1"}
    broken = nl.run_watched(graphs.with_sparse, 8, timeout=600, faults=fault, states=("spikes",))
    handle = nl.inject(graphs.with_sparse(), fault, timesteps=8)
    expected = run(handle.deployment, handle.graph.inputs, record=("spikes",)).activity.traces
    assert list(broken) == ["input", "hidden1", "output"]
    for name, traces in broken.items():
        np.testing.assert_array_equal(traces.spikes, expected[name].spikes)
    assert broken["hidden1"].spikes[0, :, [0, 5]].all()
    assert 0 < broken["output"].spikes.mean() < 0.9
