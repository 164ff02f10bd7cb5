"""The decline of a convolutional network, on digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from neurofault.papers.rescue2019.cnn import CnnSetting, Lesioned, cnn
from neurofault.papers.rescue2019.float_setting import Separate
from neurofault.papers.rescue2019.units import Units
from neurofault.progress import silent
from neurofault.zoo import RECIPES, Recipe, trained, weights_digest

TINY = Recipe("digits-cnn", "digits", (12,), (8, 10), epochs=6, batch=20, learning_rate=1e-2, optimiser="adamw")
SETTING = CnnSetting("digits-cnn", orders=3, points=9, images=120)


@pytest.fixture(scope="module", autouse=True)
def _recipe(tmp_path_factory):
    """A network of the zoo that is trained once, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "digits-cnn", TINY)
        patch.setenv("NEUROFAULT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_a_deleted_unit_gives_nothing_to_the_next_layer():
    model, data = trained("digits-cnn")
    images, labels = data.test.images[:100], data.test.labels[:100]
    lesioned = Lesioned(model, (8, 10, 12))
    x = torch.from_numpy(images.astype(np.float32) / 255)
    healthy = model(x)
    dead = np.array([1, 8 + 2, 8 + 10 + 5])
    found = lesioned.correct(images, labels, dead)
    hurt, _ = trained("digits-cnn")
    with torch.no_grad():
        hurt[3].weight[:, 1] = 0  # the second convolution reads channel 1 of the first
        first = hurt[9].weight.view(12, 10, -1)
        first[:, 2] = 0  # the fully connected layer reads channel 2 of the second
        hurt[12].weight[:, 5] = 0
        assert int((hurt(x).argmax(1).numpy() == labels).sum()) == found
    assert lesioned.correct(images, labels, np.empty(0, np.int64)) == int((healthy.argmax(1).numpy() == labels).sum())
    assert lesioned.correct(images, labels, np.arange(30)) <= 20


def test_curves_of_all_units_and_of_each_layer_and_a_second_run_from_the_journal(tmp_path):
    with Units(tmp_path / "units.jsonl") as units:
        figure = cnn(Separate(units, silent, None), SETTING)
    curves = figure.answer["curves"]
    assert list(curves) == ["all units", "convolution 1", "convolution 2", "fully connected 3"]
    assert [curve["dead"][-1] for curve in curves.values()] == [30, 8, 10, 12]
    assert all(curve["mean"][0] == curves["all units"]["mean"][0] > 0.3 for curve in curves.values())
    assert curves["all units"]["mean"][-1] < 0.2
    again = cnn(Separate(Units(tmp_path / "units.jsonl"), silent, None), SETTING)
    assert json.dumps(again.answer) == json.dumps(figure.answer)
    assert figure.answer["weights"] == weights_digest(trained("digits-cnn")[0])


def test_the_command_refuses_a_quick_version(cli, tmp_path):
    code, out, err = cli("paper", "cnn", "--quick", "--out", str(tmp_path))
    assert (code, out) == (2, "")
    assert err == "neurofault: cnn has no quick version: it needs a network that takes its time to train\n"
