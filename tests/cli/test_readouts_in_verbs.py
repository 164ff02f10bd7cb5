"""`--readout` in every verb and in campaigns: what is read, and what is refused with what would do."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import neurofault as nf
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.prepare import Setup, prepare

CODE = """
import numpy as np
import neurofault as nf
from torch import nn

def ready():
    eyes, brain = nf.Population("eyes", (6,), nf.Source()), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (3,), nf.CubaLif(3.0, dv=900))
    pairs = np.repeat(np.eye(3), 2, axis=1) * 2
    return nf.chain("ready", [eyes, brain, hands], [nf.Dense(np.eye(6) * 2), nf.Dense(pairs)], timesteps=5, how="count")

def module():
    return nn.Linear(6, 3)

def membrane():
    import snntorch, torch
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 3), snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism="subtract"))
"""
LABELS = np.arange(90) % 3
EVENTS = np.random.default_rng(2).random((90, 5, 6)) < np.repeat(np.eye(3), 2, axis=1)[LABELS][:, None] * 0.5 + 0.1
WORDS = ("--network", "readout_networks:ready", "--data", "samples.npz")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "readout_networks.py").write_text(CODE)
    np.savez(tmp_path / "samples.npz", events=EVENTS, labels=LABELS)
    np.savez(tmp_path / "values.npz", images=np.random.default_rng(1).random((90, 6)), labels=LABELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "readout_networks", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_inject_reads_as_asked_and_says_it_again(cli, folder):
    found = {}
    for readout in ("count", "largest", "mean:1:4"):
        code, out, err = cli("inject", *WORDS, "--readout", readout, "--kill-cores", "1", "--draws", "2", "--neurons-per-core", "2")
        assert code == 0, err
        assert f"--readout {readout}" in out
        chip = prepare(Setup("readout_networks:ready", data="samples.npz", readout=readout), lambda *_: None).deployment
        assert str(chip.readout) == readout
        found[readout] = nf.run(chip, nf.Spikes.dense(EVENTS)).activity.scores.tolist()
    assert len({str(scores) for scores in found.values()}) == 3


def test_an_atlas_reads_as_asked(cli, folder):
    code, out, err = cli("atlas", *WORDS, "--readout", "largest", "--fault", "neuron_dead", "--layer", "hidden1", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["sites"] == 6


def test_a_module_of_snntorch_is_read_by_its_own_reader(folder):
    pytest.importorskip("snntorch")
    fires = prepare(Setup("readout_networks:membrane", data="samples.npz", readout="mean:2:5"), lambda *_: None).network
    silent = prepare(Setup("readout_networks:membrane", data="samples.npz", readout="potential"), lambda *_: None).network
    assert (fires.readout.how, fires.readout.when, fires.population("output").neuron.threshold is None) == ("mean", (2, 5), False)
    assert (silent.readout.how, silent.population("output").neuron.threshold) == ("potential", None)


def test_a_written_network_keeps_its_readout(cli, folder):
    pytest.importorskip("nir")
    code, _, err = cli("convert", "readout_networks:ready", "a.nir", "--data", "samples.npz", "--readout", "mean:1:3")
    assert code == 0, err
    assert str(nf.from_nir("a.nir").readout) == "mean:1:3"
    code, _, err = cli("convert", "a.nir", "b.nir", "--readout", "largest")
    assert code == 2
    assert "--readout: a copy of a NIR file has the nodes of the file, which say nothing of a readout" in " ".join(err.split())
    code, _, err = cli("convert", "a.nir", "b.nir", "--readout", "largest", "--profile", "loihi2")
    assert code == 0, err
    assert str(nf.from_nir("b.nir").readout) == "largest"


REFUSED = [
    (("inject", *WORDS, "--readout", "larges"), "readout is count, largest, mean or potential, or one of them with the first step that is read and the first that is not, mean:10:50; not 'larges' (did you mean 'largest'?)"),
    (("inject", *WORDS, "--readout", "mean:3:9"), "network 'ready': its readout 'hands' reads steps 3 to 8, but a sample has steps 0 to 4"),
    (("inject", *WORDS, "--readout", "potential"), "population 'hands' fires, and potential is of neurons that never fire; use count, largest or mean"),
    (("inject", "--network", "readout_networks:module", "--data", "values.npz", "--readout", "mean"), "readout mean: network 'readout_networks:module' is a torch module without spiking neurons, whose chip is read by the potential after the last step; readouts are of snnTorch, NIR and netx networks and of neurofault.Network"),
    (("rescue", *WORDS, "--readout", "largest", "--strategy", "batch", "--kill-cores", "1"), "what learns takes the potential after a sample's last step or the spikes of all its steps; here population 'hands' is read by largest of all steps"),
    (("convert", "readout_networks:ready", "a.net", "--data", "samples.npz", "--readout", "largest", "--profile", "loihi2"), "the export to netx takes the potential after a sample's last step or the spikes of all its steps; here population 'hands' is read by largest of all steps"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), REFUSED)
def test_what_cannot_be_read_so_is_said(cli, folder, words, text):
    code, _, err = cli(*words)
    assert code == 2
    assert text in " ".join(err.split())


def test_campaigns_read_as_asked(folder):
    document = "name: c\nnetwork: {torch: 'readout_networks:ready', readout: 'mean:1:4'}\ndata: {npz: samples.npz}\nfaults: [{kind: core_dead, count: 1}]\nrepeats: {draws: 2}\n"
    (folder / "c.yaml").write_text(document)
    state = ready(load_campaign(folder / "c.yaml"), None, lambda *_: None)
    (chip,) = state.chips.values()
    assert str(chip.deployment.readout) == "mean:1:4"
    (folder / "bad.yaml").write_text(document.replace("mean:1:4", "maen"))
    with pytest.raises(nf.errors.NeurofaultError, match=r"readout is count, largest, mean or potential"):
        load_campaign(folder / "bad.yaml")
