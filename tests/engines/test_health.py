"""A healthy chip that cannot tell anything apart is said to be so, in the API and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neurofault as nf
from neurofault.graph import CubaLif, Dense, Encoding, Population, Source, chain

LABELS = np.arange(20) % 4


def chip(hidden=1.0, output: float | None = 1.0, bias=0.0):
    """Four pixels that each have their own hidden and output neuron."""
    eye = np.eye(4)
    populations = (
        Population("input", (4,), Source(Encoding.for_pixels(0.5, 0.0, 8))),
        Population("hidden1", (4,), CubaLif(hidden, bias)),
        Population("output", (4,), CubaLif(output)),
    )
    how = "potential" if output is None else "count"
    return nf.deploy(chain("four", populations, (Dense(eye), Dense(eye)), timesteps=8, how=how, peak_potential=10.0))


IMAGES = np.eye(4)[LABELS]


@pytest.mark.parametrize("output", [0.5, None])
def test_a_network_that_works_gets_no_note(output):
    result = nf.run(chip(0.5, output), IMAGES, LABELS)
    assert result.accuracy == 1
    assert result.notes == ()


def test_a_silent_population_and_a_constant_answer_are_named():
    result = nf.run(chip(hidden=1000.0), IMAGES, LABELS)
    advice = "try a lower threshold or larger weights, more time steps, and check the time step and the scale of the inputs"
    assert result.notes == (
        f"layer 'hidden1' never fires on 20 samples, so nothing passes through it; {advice}",
        f"layer 'output' never fires on 20 samples, so nothing passes through it; {advice}",
        "the readout answers 0 for all 20 samples of 4 classes; check that the network belongs to this data, how its inputs are scaled, and the time step",
    )
    assert nf.run(chip(0.5), np.zeros((20, 4)), LABELS).notes[0] == (
        "layer 'input' never fires on 20 samples, so nothing passes through it; are the samples empty, or of another scale?"
    )


def test_a_population_that_always_fires_is_named():
    notes = nf.run(chip(bias=3.0), IMAGES, LABELS).notes
    assert notes[0] == (
        "every neuron of layer 'hidden1' fires at every step on 20 samples, so it tells nothing apart; try a higher threshold or smaller weights, and check "
        "the time step"
    )


def test_few_samples_one_class_and_damage_are_no_reason_for_a_note():
    broken = nf.inject(chip(0.5), nf.faults.fault_from_mapping({"kind": "neuron_dead", "layer": "hidden1", "count": 4}), seed=1)
    assert nf.run(broken, IMAGES, LABELS).notes == ()
    one = np.zeros(20, int)
    assert nf.run(chip(0.5), IMAGES[one], one).notes == ()
    assert nf.run(chip(0.5), IMAGES[:1], LABELS[:1]).notes == ()


SILENT = """
import torch, snntorch as snn
from torch import nn
def make():
    torch.manual_seed(0)
    fc = nn.Linear(64, 10)
    with torch.no_grad(): fc.weight.mul_(SCALE); fc.bias.zero_()
    return nn.Sequential(nn.Flatten(), fc, snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"))
"""


def test_every_verb_says_it_and_json_holds_it(cli, tmp_path, monkeypatch):
    pytest.importorskip("snntorch")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "silent_net.py").write_text(SILENT.replace("SCALE", "1e-3"))
    expected = "layer 'output' never fires on 512 samples"
    code, out, err = cli(
        "inject",
        "--network",
        "silent_net:make",
        "--fault",
        "neuron_dead",
        "--layer",
        "output",
        "--count",
        "1",
        "--draws",
        "1",
        "--samples",
        "20",
        "--json",
        "-",
    )
    assert code == 0, err
    assert f"neurofault: warning: {expected}" in err
    notes = json.loads(out)["notes"]
    assert notes[0].startswith(expected)
    code, _, err = cli("map", "--network", "silent_net:make")
    assert code == 0, err
    assert f"neurofault: warning: {expected}" in err
