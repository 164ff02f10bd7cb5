"""The zoo's networks: the same bits for everybody, known by a digest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from neurofault.zoo import RECIPES, torch_accuracy, trained, weights_digest
from neurofault.zoo.shipped import FOLDER, arrays_digest, load_shipped, save_shipped

SHIPPED = {
    "digits-mlp": "26e398c5d12a99b3",
    "digits-mlp-dropout": "0201f154f9b9d808",
    "mnist-mlp": "6850ee84035f0b15",
    "mnist-mlp-dropout": "9dfe13a508200ecd",
}
"""Published figures name these digests: weights that change make them wrong."""


def test_what_is_shipped_is_listed_here():
    of_events = {"ecg-rnn", "digits-events-mlp"}  # tests/zoo/test_events.py
    assert {file.name.rsplit("-", 2)[0] for file in FOLDER.glob("*.npz")} == set(SHIPPED) | of_events


@pytest.mark.parametrize("name", [name for name in SHIPPED if RECIPES[name].dataset == "digits"])
def test_a_shipped_network_has_its_bits_without_training(name, offline):
    told = []
    model, data = trained(name, progress=lambda *at: told.append(at))
    assert weights_digest(model) == SHIPPED[name]
    assert told == []
    assert not (offline / "zoo").exists()
    assert torch_accuracy(model, data.test.images, data.test.labels) > 0.95


@pytest.mark.parametrize("name", [name for name in SHIPPED if RECIPES[name].dataset == "mnist"])
def test_a_shipped_network_of_mnist_has_its_bits(name, data_dir):
    model, _ = trained(name, data_dir=data_dir)
    assert weights_digest(model) == SHIPPED[name]


def test_training_gives_the_same_bits_on_any_number_of_threads(offline, monkeypatch):
    monkeypatch.setattr("neurofault.zoo.shipped.load_shipped", lambda key: None)
    found = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            found.append(weights_digest(trained("digits-mlp")[0]))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        for file in (offline / "zoo").iterdir():
            file.unlink()
    assert found[0] == found[1]


def test_a_digest_tells_one_bit_and_a_name_and_takes_every_dtype():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other = copy.deepcopy(model)
    assert weights_digest(other) == weights_digest(model)
    with torch.no_grad():
        other[0].weight.view(torch.int32)[0, 0] ^= 1
    assert weights_digest(other) != weights_digest(model)
    assert weights_digest(nn.Sequential(*model, nn.ReLU())) == weights_digest(model)
    assert weights_digest(nn.ModuleList([nn.Identity(), *model])) != weights_digest(model)
    assert weights_digest(model.bfloat16()) != weights_digest(copy.deepcopy(model).float())


def test_shipped_weights_go_round(monkeypatch, tmp_path):
    monkeypatch.setattr("neurofault.zoo.shipped.FOLDER", tmp_path / "weights")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    save_shipped("a-b-c", model.state_dict())
    again = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    arrays = load_shipped("a-b-c")
    assert arrays is not None
    assert arrays_digest(arrays) == weights_digest(model)
    again.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    assert weights_digest(again) == weights_digest(model)
    assert load_shipped("a-b-d") is None
