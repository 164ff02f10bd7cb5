"""Own networks on own data, from every verb."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

CODE = """
import numpy as np
import neurofault as nf
from neurofault.graph import Encoding
from torch import nn

def mlp():
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))

def pixels():
    return ready(Encoding.for_pixels(1.0, 0.5, 5))

def carried():
    eyes, hands = nf.Population("eyes", (6,), nf.Source()), nf.Population("hands", (3,), nf.CubaLif(20, bias_exponent=0))
    stored = [nf.graph.synapses.Stored()]
    return nf.chain("carried", [eyes, hands], [nf.Dense(np.ones((3, 6), int) * 8)], timesteps=5, how="count", stored=stored)

def ready(encoding=None):
    eyes, brain = nf.Population("eyes", (6,), nf.Source(encoding)), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (3,), nf.CubaLif(1.0))
    pairs = np.repeat(np.eye(3), 2, axis=1) * 2
    return nf.chain("ready", [eyes, brain, hands], [nf.Dense(np.eye(6) * 2), nf.Dense(pairs)], timesteps=5, how="count")
"""
RANDOM = np.random.default_rng(2)
LABELS = np.arange(90) % 3
VALUES = (RANDOM.normal(0, 0.4, (90, 6)) + np.repeat(np.eye(3), 2, axis=1)[LABELS] * 4 - 2).astype(np.float32)
EVENTS = RANDOM.random((90, 5, 6)) < np.repeat(np.eye(3), 2, axis=1)[LABELS][:, None] * 0.5 + 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A module with two networks, a trained state dict, and data of both kinds."""
    path = tmp_path_factory.mktemp("own")
    (path / "own_networks.py").write_text(CODE)
    np.savez(path / "values.npz", images=VALUES, labels=LABELS)
    np.savez(path / "events.npz", events=EVENTS, labels=LABELS)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(torch.tensor(VALUES)), torch.tensor(LABELS)).backward()
        optimiser.step()
    torch.save(model.state_dict(), path / "weights.pt")
    return path


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    monkeypatch.syspath_prepend(str(folder))


MLP = (
    "--network",
    "own_networks:mlp",
    "--weights",
    "weights.pt",
    "--data",
    "values.npz",
    "--neurons-per-core",
    "3",
    "--timesteps",
    "16",
)
READY = ("--network", "own_networks:ready", "--data", "events.npz", "--neurons-per-core", "2")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("signed", ["bias", "lines"])
def test_signed_values_and_an_own_module(cli, signed):
    code, out, err = cli("inject", *MLP, "--signed", signed, "--kill-cores", "3", "--draws", "2", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert found["ann_accuracy"] > 0.95
    assert found["healthy_accuracy"] > 0.9 > found["damaged_accuracy"]["mean"]
    assert found["samples"] == 36
    assert found["data"] == "values.npz"
    assert found["encoding"]["signed"] == signed
    assert found["encoding"]["low"] == pytest.approx(VALUES.min(), abs=1)
    assert found["cores_by_layer"]["input"] == {"bias": 2, "lines": 4}[signed]


@pytest.mark.usefixtures("here")
def test_the_encoding_is_said_and_the_command_repeats_the_run(cli):
    code, out, err = cli("inject", *MLP, "--kill-cores", "1", "--draws", "2")
    assert code == 0, err
    assert "36 test samples of values.npz, 16 time steps" in out
    assert "(the training samples') in 256 levels, rounded by at most" in out
    assert "--data values.npz --signed bias --samples 36" in out
    assert "values.npz has no train_… samples: 54 of its 90 calibrate and are not reported on, 36 are reported on" in err


@pytest.mark.usefixtures("here")
def test_a_network_by_hand_on_events_runs_from_every_verb(cli):
    code, out, err = cli("inject", *READY, "--kill-cores", "1", "--draws", "2", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert found["ann_accuracy"] is None
    assert found["healthy_accuracy"] > 0.9 > found["damaged_accuracy"]["mean"]
    assert found["timesteps"] == 5
    code, out, err = cli("atlas", *READY, "--fault", "neuron_dead", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] == found["healthy_accuracy"]
    code, out, err = cli("map", *READY)
    assert code == 0, err
    assert "eyes" in out
    code, out, err = cli(
        "rescue",
        *READY,
        "--kill-cores",
        "1",
        "--draws",
        "2",
        "--strategy",
        "none,batch",
        "--learner",
        "delta",
        "--control",
        "none",
        "--json",
        "-",
    )
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] == found["healthy_accuracy"]
    code, out, err = cli("convert", "own_networks:ready", "ready.nir", "--data", "events.npz")
    assert code == 0, err
    code, out, err = cli(
        "inject", "--network", "ready.nir", "--data", "events.npz", "--kill-cores", "0", "--draws", "1", "--json", "-"
    )
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] == found["healthy_accuracy"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--network", "own_networks:mlp", "--data", "events.npz"), "network 'own_networks:mlp' is a torch module without spiking neurons, which takes values, but data events.npz holds events (5 steps of 6 lines); give it values, or a network of spiking neurons: snnTorch, NIR or neurofault.Network"),
        (("--network", "digits-mlp", "--data", "events.npz"), "network 'digits-mlp' is a torch module without spiking neurons, which takes values, but data events.npz holds events (5 steps of 6 lines); give it values, or a network of spiking neurons: snnTorch, NIR or neurofault.Network"),
        (("--network", "own_networks:ready", "--data", "digits"), "network 'ready' takes events (its input 'eyes' has no encoding), but digits/test holds values: uint8 of shape (1, 8, 8); give it events, or give its Source an Encoding"),
        (("--network", "own_networks:pixels", "--data", "values.npz"), "], but network 'ready' is spiking already and takes values in [0, 1]; scale the data by what the network was trained on"),
        (("--network", "own_networks:ready", "--data", "events.npz", "--timesteps", "9"), "network 'own_networks:ready' is made for 5 time steps, and 9 are asked for; its factory sets them"),
        (("--network", "own_networks:ready", "--data", "events.npz", "--weights", "weights.pt"), "network 'own_networks:ready': ready() returned a Network, which has its weights; --weights goes with a torch module"),
        (("--network", "own_networks:mlp", "--data", "four.npz"), "four.npz/test: label 3 at sample 3, but network 'own_networks:mlp' has 3 outputs; allowed: 0 to 2"),
        (("--network", "own_networks:mlp", "--data", "wide.npz"), "the network takes no samples of 7 values; does it belong to another data set?"),
        (("--network", "own_networks:mlp", "--data", "values.npz", "--signed", "both"), "signed: 'both'; allowed: bias, lines"),
        (("--network", "own_networks:ready", "--data", "more.npz"), "more.npz/test: events of 6 steps, but network 'ready' shows a sample for 5"),
        (("--network", "own_networks:ready", "--data", "lines.npz"), "lines.npz/test: events of 4 lines, but input 'eyes' of network 'ready' has 6 neurons"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(cli, folder, arguments, message):
    np.savez(folder / "four.npz", images=VALUES, labels=np.arange(90) % 4, train_images=VALUES, train_labels=LABELS)
    np.savez(folder / "wide.npz", images=RANDOM.normal(0, 1, (90, 7)), labels=LABELS)
    np.savez(folder / "more.npz", events=np.zeros((90, 6, 6)), labels=LABELS)
    np.savez(folder / "lines.npz", events=np.zeros((90, 5, 4)), labels=LABELS)
    code, out, err = cli("inject", *arguments, "--kill-cores", "1", "--draws", "2")
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert message in last
    assert last.startswith("neurofault: ")
    assert "Traceback" not in err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*MLP[:2], *MLP[4:]), r"network 'own_networks:mlp' itself classifies \S+% of 45 calibration images \(chance: 33\.3%\): is it untrained \(no weights are given, --weights: it has those that its factory made\), or was it trained on other values than these, which lie in -\S+ … \S+\? A normalisation \(transforms\.Normalize\) belongs into its forward, in front of its first layer"),
        ((*MLP[:5], "swapped.npz", *MLP[6:]), r"itself classifies .*: is it untrained, or was it trained on other values than these, which lie in .*"),
        ((*MLP[:5], "pixels.npz", *MLP[6:]), r"itself classifies .*: is it untrained, or was it trained on other values than these, which lie in \d … 2\d\d \(of pixels, on x/255 in \[0, 1\]\)\? A normalisation .*"),
        ((*MLP[:5], "bytes.npz", *MLP[6:]), r"itself classifies .*: is it untrained, or was it trained on another scale than x/255 in \[0, 1\]\? A normalisation .*"),
        ((*READY[:3], "turned.npz"), r"itself classifies \S+% of 45 calibration samples .*: is it untrained, or was it trained on events of other steps than these 5 a sample, or of lines in another order than \(polarity·height \+ y\)·width \+ x\?"),
    ],
)  # fmt: skip
def test_a_network_that_fails_is_asked_about_the_data_that_it_is_given(cli, folder, arguments, message):
    grey = np.rint((VALUES - VALUES.min()) / np.ptp(VALUES) * 250)
    wrong = (LABELS + 1) % 3
    np.savez(folder / "swapped.npz", images=VALUES, labels=wrong)
    np.savez(folder / "pixels.npz", images=grey, labels=wrong)
    np.savez(folder / "bytes.npz", images=grey.astype(np.uint8), labels=wrong)
    np.savez(folder / "turned.npz", events=EVENTS, labels=wrong)
    code, _, err = cli("inject", *arguments, "--kill-cores", "1", "--draws", "2", "--quiet")
    assert code == 0, err
    said = [line for line in err.splitlines() if "itself classifies" in line]
    assert len(said) == 1
    assert re.search(f"{message}$", said[0]), said[0]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("mynet", "; one of your own: file.py:function or package.module:function, which makes it, or a file .nir or .net"),
        ("digits-mpl", "no network 'digits-mpl' in the zoo (did you mean 'digits-mlp'?); there are: "),
        ("own_networks", "; one of your own: there is own_networks.py, so write own_networks.py:function"),
        ("own_networks.py", "; of a Python file say which of its functions makes the network: own_networks.py:function"),
    ],
)
def test_the_name_of_a_network_of_ones_own_says_how_it_is_written(cli, network, message):
    code, out, err = cli("inject", "--network", network, "--kill-cores", "1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(("signed", "neurons"), [("bias", 6), ("lines", 12)])
def test_a_check_shows_negative_values_as_asked(cli, here, signed, neurons):
    code, out, _ = cli("convert", *MLP[1:6], "--timesteps", "8", "--check", "--signed", signed)
    assert code == 0
    assert f"input: {neurons} neurons" in out


def test_integers_are_not_called_real_numbers(cli, here):
    code, out, _ = cli("convert", "own_networks:carried", "carried.nir", "--data", "events.npz")
    assert (code, out) == (0, "carried.nir: carried, a chip's integers, 5 time steps, dt 0.0001\n")


def test_a_check_takes_events(cli, here):
    code, out, _ = cli("convert", "own_networks:ready", "--check", "--data", "events.npz")
    assert code == 0
    assert out.startswith("on 45 calibration samples: chip ")
