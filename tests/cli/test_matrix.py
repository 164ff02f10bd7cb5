"""Each verb on each kind of network and data, at tiny sizes: it works, or one line says what stands in the way and what would do."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

import neurofault as nf
from neurofault.convert.torch_model import candidates
from neurofault.errors import UsageError
from neurofault.study import calibrate
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.trial import WorkerBench

CODE = """
import numpy as np
import torch
from torch import nn
import neurofault as nf
from neurofault.zoo.residual import residual_network

def residual():
    torch.manual_seed(0)
    return residual_network(1, (4, 6), 3, [nn.ReLU() for _ in range(5)]).eval()

def signal():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

def events():
    eyes, brain = nf.Population("eyes", (6,), nf.Source()), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    hands = nf.Population("output", (3,), nf.CubaLif(1.0))
    pairs = np.repeat(np.eye(3), 2, axis=1) * 2
    return nf.chain("events", [eyes, brain, hands], [nf.Dense(np.eye(6) * 2), nf.Dense(pairs)], timesteps=5, how="count")

def recurrent(**law):
    chain = events()
    eyes, brain, hands = chain.populations
    brain = nf.Population("hidden1", (6,), nf.CubaLif(1.0, **law))
    loop = nf.Connection("hidden1.rec", "hidden1", "hidden1", nf.Dense(np.roll(np.eye(6), 1, axis=1) * 0.5))
    return nf.Network("recurrent", (eyes, brain, hands), (*chain.connections, loop), 5, chain.readout)

def regression():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

def summing():
    eyes, brain = nf.Population("eyes", (6,), nf.Source()), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    return nf.chain("summing", [eyes, brain, nf.Population("output", (2,), nf.CubaLif(None))], [nf.Dense(np.eye(6) * 2), nf.Dense(np.tile(np.eye(2), (1, 3)) / 4)], timesteps=5)

def subtracting():
    return recurrent(reset="subtract")
"""
LABELS = np.arange(60) % 3
NETWORKS = {
    "residual": ("matrix_nets:residual", "pictures.npz"),
    "signal": ("matrix_nets:signal", "signals.npz"),
    "recurrent": ("matrix_nets:recurrent", "events.npz"),
    "subtract": ("matrix_nets:subtracting", "events.npz"),
    "nir": ("recurrent.nir", "events.npz"),
    "netx": ("events.net", "events.npz"),
    "regression": ("matrix_nets:regression", "numbers.npz"),
    "targets": ("matrix_nets:summing", "sums.npz"),
    "labels of steps": ("matrix_nets:events", "steps.npz"),
    "targets of steps": ("matrix_nets:summing", "moving.npz"),
}
VALUES = ("pictures.npz", "signals.npz", "numbers.npz")
"""Data that hold no steps."""
DRAWS = ("--kill-cores", "1", "--draws", "2")
HEAL = ("rescue", "{net}", *DRAWS, "--control", "none", "--adapt", "20", "--cycles", "0.5", "--coarse")
VERBS = {
    "inject": ("inject", "{net}", *DRAWS),
    "remap": (*HEAL, "--strategy", "remap"),
    **{each: (*HEAL, "--strategy", "batch", "--learner", each) for each in ("delta", "dfa", "emstdp", "homeostasis", "host")},
    "atlas": ("atlas", "{net}"),
    "map": ("map", "{net}"),
    "check": ("convert", "{in}", "--check"),
    "to nir": ("convert", "{in}", "out.nir"),
    "chip to nir": ("convert", "{in}", "out.nir", "--profile", "loihi2", "--fault", "core_dead", "--count", "1"),
    "to netx": ("convert", "{in}", "out.net", "--profile", "loihi2"),
}


def make(folder):
    """Write the networks and data of the matrix into a folder, which is the current one and on Python's path."""
    (folder / "matrix_nets.py").write_text(CODE)
    random = np.random.default_rng(2)
    classes = np.repeat(np.eye(3), 2, axis=1)[LABELS]
    events = random.random((60, 5, 6)) < classes[:, None] * 0.5 + 0.1
    np.savez(folder / "events.npz", events=events, labels=LABELS)
    np.savez(folder / "steps.npz", events=events, labels=np.where(np.arange(5) == 0, -1, LABELS[:, None]))
    so_far = np.cumsum(events, axis=1) @ np.tile(np.eye(2), (3, 1)) / 4
    np.savez(folder / "sums.npz", events=events, targets=so_far[:, -1])
    np.savez(folder / "moving.npz", events=events, targets=so_far)
    np.savez(folder / "signals.npz", images=(classes - 0.5 + random.normal(0, 0.2, (60, 6))).astype(np.float32), labels=LABELS)
    np.savez(folder / "pictures.npz", images=random.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8), labels=LABELS)
    made = import_module("matrix_nets")
    numbers = random.normal(0, 1, (60, 6)).astype(np.float32)
    with torch.no_grad():
        np.savez(folder / "numbers.npz", images=numbers, targets=made.regression()(torch.from_numpy(numbers)).numpy())
    nf.to_nir(made.recurrent(), folder / "recurrent.nir")
    nf.to_netx(nf.deploy(made.events()), folder / "events.net")


def words(network, verb):
    """Return the command line of a cell."""
    name, data = NETWORKS[network]
    size = ("--timesteps", "4") if data in VALUES else ()
    given = {"{net}": ("--network", name), "{in}": (name,)}
    each = [word for part in VERBS[verb] for word in given.get(part, (part,))]
    spread = () if verb in ("check", "to nir") else ("--neurons-per-core", "16" if network == "residual" else "2")
    return (*each, "--data", data, *size, *spread)


CAMPAIGN = """
name: cell
network: {NETWORK}
data: {npz: DATA, samples: 12, adapt: 20}
place: {neurons_per_core: SIZE, spare_cores: 2}
faults: [{kind: core_dead, count: 1}]
rescue: [{strategy: none}, {strategy: remap}LEARNS]
repeats: {draws: 2, seed: 3}
"""


def campaign(network, learner=None):
    """Return the campaign of a network, healed by a remap and, if one is named, by a learner."""
    name, data = NETWORKS[network]
    kind = name.rpartition(".")[2] if name.endswith((".nir", ".net")) else "torch"
    kind = {"net": "netx"}.get(kind, kind)
    said = f'{kind}: "{name.replace("matrix_nets:", "matrix_nets.py:")}"' + ("}\nconvert: {timesteps: 4" if data in VALUES else "")
    learns = "" if learner is None else f", {{strategy: batch, learner: {learner}, cycles: 0.5}}"
    text = CAMPAIGN.replace("NETWORK", said).replace("DATA", data).replace("LEARNS", learns)
    return text.replace("SIZE", "16" if network == "residual" else "2")


ALL = tuple(VERBS)
CELLS = {
    "residual": ALL,
    "recurrent": ALL,
    "subtract": ("delta", "dfa", "host", "atlas", "chip to nir", "to netx"),
    "signal": ("dfa", "emstdp", "host", "to nir", "to netx"),
    "nir": ("inject", "delta", "to nir"),
    "netx": ("inject", "delta", "to netx"),
    "regression": ("inject", "remap", "delta", "dfa", "emstdp", "homeostasis", "host", "atlas", "map", "check"),
    "targets": ("inject", "delta", "host", "atlas", "check"),
    "labels of steps": ("inject", "remap", "delta", "atlas", "map", "check"),
    "targets of steps": ("inject", "remap", "delta", "atlas", "map", "check"),
}
LOOP = "takes chains only, and connection 'hidden1.rec' drives itself; learners that can: delta, homeostasis"
SKIP = "takes chains only, and connection 'hidden3.hidden1' goes from 'hidden1' to 'hidden3'; learners that can: delta, homeostasis"
WINDOWS = "; cut into windows it has one label each (neurofault.data.windows.in_windows; ecg-qtdb-windows)"
STEPS = "What takes {} of every step: inject, atlas, map, convert --check, and what learns nothing: campaigns and rescue --strategy none,remap"
REFUSED = {
    ("labels of steps", "delta"): f"data steps.npz has 5 labels a sample; what learns takes one. {STEPS.format('a label')}{WINDOWS}",
    ("targets of steps", "delta"): f"data moving.npz has targets of 5 steps; what learns takes those of one answer. {STEPS.format('targets')}",
    ("residual", "dfa"): f"dfa {SKIP}",
    ("residual", "emstdp"): f"emstdp {SKIP}",
    ("residual", "host"): "engine 'snntorch' cannot run layer 'hidden3': snnTorch's reset needs thresholds of at least 0 and an initial potential below them; learners that can: delta, homeostasis",
    ("recurrent", "dfa"): f"dfa {LOOP}, host",
    ("recurrent", "emstdp"): f"emstdp {LOOP}, host",
    ("subtract", "dfa"): f"dfa {LOOP}",
    ("subtract", "host"): "engine 'snntorch' cannot run layer 'hidden1': with reset_delay=False snnTorch takes the threshold off again from a neuron that is still above it; reset_delay 1 is taken; learners that can: delta, homeostasis",
    ("subtract", "to netx"): "population 'hidden1': reset 'subtract', which a netx file does not say; a NIR file (nf.to_nir, OUT.nir) holds more, nf.save a chip with all its damage",
}  # fmt: skip
"""Cells that do not work, and their one line."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "matrix_nets", raising=False)
    monkeypatch.setattr(calibrate, "candidates", lambda model, way: candidates(model, way)[:1])
    make(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("network", CELLS)
def test_each_verb_works_or_says_in_one_line_what_would_do(cli, network):
    for verb in CELLS[network]:
        code, out, err = cli(*words(network, verb))
        expected = REFUSED.get((network, verb))
        if expected is None:
            assert (verb, code, out != "") == (verb, 0, True), err
        else:
            assert (verb, code, out, err.splitlines()[-1]) == (verb, 2, "", f"neurofault: {expected}")


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize("network", [name for name in CELLS if (name, "delta") not in REFUSED])
def test_campaigns_heal_each_network_or_refuse_before_a_trial_runs(here, network):
    path = here / "cell.yaml"
    path.write_text(campaign(network, "delta"))
    state = ready(load_campaign(path), None, lambda *_: None)
    bench = WorkerBench(state.chips)
    rows = [bench.row(task) for cell in state.campaign.cells() for task in state.tasks_of(cell)]
    assert [(row["status"], row["message"]) for row in rows] == [("ok", "")] * 6
    assert all(row["writes"] > 0 for row in rows[2:4])
    if (network, "dfa") in REFUSED:
        path.write_text(campaign(network, "dfa"))
        with pytest.raises(UsageError) as error:
            ready(load_campaign(path), None, lambda *_: None)
        assert str(error.value) == f"rescue batch: {REFUSED[network, 'dfa']}"


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize("network", ["labels of steps", "targets of steps"])
def test_campaigns_remap_where_every_step_is_answered_and_refuse_what_learns(here, network):
    path = here / "cell.yaml"
    path.write_text(campaign(network))
    state = ready(load_campaign(path), None, lambda *_: None)
    bench = WorkerBench(state.chips)
    rows = [bench.row(task) for cell in state.campaign.cells() for task in state.tasks_of(cell)]
    assert [(row["status"], row["message"]) for row in rows] == [("ok", "")] * 4
    path.write_text(campaign(network, "delta"))
    with pytest.raises(UsageError) as error:
        ready(load_campaign(path), None, lambda *_: None)
    assert str(error.value) == REFUSED[network, "delta"]


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
def test_a_campaign_over_a_recurrent_network_runs_and_is_reported(cli, here):
    (here / "cell.yaml").write_text(campaign("recurrent"))
    code, _, err = cli("campaign", "run", "cell.yaml", "--out", "run", "--workers", "1")
    assert code == 0, err
    code, out, err = cli("campaign", "report", "run", "--json", "-")
    assert code == 0, err
    assert (here / "run" / "report.html").is_file()
    assert [[point["failed"] for point in curve["points"]] for curve in json.loads(out)["curves"]] == [[0], [0]]
