"""Verbs on a network of events and on a residual network, at tiny sizes."""

from __future__ import annotations

import pytest

from neurofault.convert.torch_model import candidates
from neurofault.study import calibrate

RESIDUAL = """\
import torch
from torch import nn
from neurofault.zoo.residual import residual_network

def net():
    torch.manual_seed(0)
    return residual_network(1, (4, 6), 10, [nn.ReLU() for _ in range(5)]).eval()
"""
SMALL = ("--timesteps", "4", "--neurons-per-core", "16", "--samples", "5")
BROKEN = ("--kill-cores", "1", "--draws", "1")
VERBS = {
    "inject": (*SMALL, *BROKEN),
    "map": SMALL[:4],
}


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize("verb", [*VERBS, "atlas"])
def test_a_residual_network_goes_through_the_verbs(cli, tmp_path, monkeypatch, verb):
    (tmp_path / "small.py").write_text(RESIDUAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(calibrate, "candidates", lambda model, way: candidates(model, way)[:1])
    if verb == "atlas":
        code, _, err = cli("atlas", "--network", "small:net", "--timesteps", "4", "--samples", "5", "--fault", "neuron_dead")
        assert code == 2
        said = " ".join(err.split())
        assert (
            "an atlas takes chains only, and connection 'hidden3.hidden1' goes from 'hidden1' to 'hidden3'; for other graphs: inject --fault neuron_dead"
            in said
        )
        return
    code, out, err = cli(verb, "--network", "small:net", *VERBS[verb])
    assert code == 0, err
    assert "hidden5" in out


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize("verb", ["inject", "atlas"])
def test_a_network_of_events_goes_through_the_verbs_without_training(cli, offline, verb):
    words = ("--samples", "5", *(BROKEN if verb == "inject" else ("--fault", "core_dead", "--layer", "output")))
    code, out, err = cli(verb, "--network", "digits-events-mlp", *words)
    assert code == 0, err
    assert "output" in out
    assert not (offline / "zoo").exists()
