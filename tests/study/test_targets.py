"""Real-valued targets: own data that hold them, the mean squared error from `inject`, and who refuses it with what to do."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from neurofault.data.datasets import load
from neurofault.data.own import data_set_of
from neurofault.errors import DataError, UsageError
from neurofault.metrics import metric_of

CODE = """
import numpy as np
import torch
import neurofault as nf
from torch import nn

def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 2))

def ended():
    return nn.Sequential(mlp(), nn.Tanh())

def three():
    return nn.Linear(6, 3)

def summed():
    eyes, hands = nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(None))
    return nf.chain("summed", [eyes, hands], [nf.Dense(np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]))], timesteps=8)
"""
RANDOM = np.random.default_rng(3)
VALUES = RANDOM.normal(0, 1, (90, 6)).astype(np.float32)
TARGETS = RANDOM.normal(7, 2, (90, 2))
EVENTS = RANDOM.random((60, 8, 4)) < 0.4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "target_networks.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "target_networks", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 2))
    with torch.no_grad():
        answers = model(torch.from_numpy(VALUES)).double().numpy()
    np.savez("values.npz", images=VALUES, labels=answers + 0.01)
    np.savez("classes.npz", images=VALUES, labels=np.arange(90) % 2)
    sums = EVENTS.sum(1) @ np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]).T
    np.savez("sums.npz", events=EVENTS, targets=sums + np.array([0.5, 0.0]))
    so_far = np.cumsum(EVENTS, axis=1) @ np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]).T
    np.savez("steps.npz", events=EVENTS, targets=so_far + np.array([0.5, 0.0]))
    np.savez("short.npz", events=EVENTS, targets=so_far[:, 1:])
    return tmp_path


def test_targets_are_kept_in_their_roles():
    found = data_set_of({"images": VALUES, "labels": TARGETS}, "mine")
    assert found.classes == ()
    for split in (found.train, found.validation, found.test):
        assert np.array_equal(split.targets, TARGETS[split.indices])
        assert (split.labels == -1).all()
        assert np.array_equal(split.first(3).targets, split.targets[:3])
    assert data_set_of({"images": VALUES, "targets": TARGETS}, "mine").test.digest == found.test.digest
    assert data_set_of({"images": VALUES, "labels": TARGETS + 1}, "mine").test.digest != found.test.digest
    assert data_set_of({"images": VALUES, "targets": np.arange(90)}, "mine").test.targets.shape == (36, 1)


def test_numbers_without_fractions_are_classes_unless_they_are_named_targets():
    assert data_set_of({"images": VALUES, "labels": np.arange(90.0) % 3}, "mine").classes == ("0", "1", "2")


BAD = [
    ({"labels": TARGETS[:89]}, "mine: images: 90 samples, but 89 targets; expected one for each sample"),
    ({"labels": np.zeros((90, 4, 2, 1)) + 0.5}, "mine: labels: shape (90, 4, 2, 1); expected targets [N], or [N, K], K numbers a sample, or [N, T, K], K numbers a step"),
    ({"targets": np.where(TARGETS[5, 1] == TARGETS, np.nan, TARGETS)}, "mine: targets: 1 of 180 values are not finite (the first: nan at [5, 1])"),
    ({"labels": TARGETS, "targets": TARGETS}, "mine: labels and targets are there; expected classes, or real numbers to be answered"),
    ({"labels": TARGETS, "train_images": VALUES, "train_labels": TARGETS[:, 0]}, "mine: train samples are float32 of shape (6,), 1 targets each, but those of test are float32 of shape (6,), 2 targets each; expected the same"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "text"), BAD)
def test_what_are_no_targets_is_said(given, text):
    with pytest.raises(DataError) as error:
        data_set_of({"images": VALUES} | given, "mine")
    assert str(error.value) == text


def test_a_factory_may_give_targets(folder):
    (folder / "made_targets.py").write_text(
        "import numpy as np\nx = np.random.default_rng(1).normal(size=(30, 4))\ndef datasets():\n    return {'test': [(one, one[:1] * 2) for one in x]}\n"
    )
    found = load("made_targets:datasets")
    assert found.test.targets.shape == (12, 1)
    assert np.allclose(found.test.targets[:, 0], 2 * np.asarray(found.test.images)[:, 0])


def said(cli, *words: str) -> dict:
    code, out, err = cli(*words, "--json", "-")
    assert code == 0, err
    return json.loads(out)


INJECT = ("inject", "--neurons-per-core", "4", "--kill-cores", "1", "--draws", "3")


def test_a_torch_network_is_measured_in_the_targets_unit(cli, folder):
    found = said(cli, *INJECT, "--network", "target_networks:mlp", "--data", "values.npz", "--timesteps", "64")
    test = load("values.npz").test
    guess = np.mean((load("values.npz").train.targets.mean(0) - test.targets) ** 2)
    assert found["metric"] == "mean-squared-error"
    assert found["ann_mean_squared_error"] == pytest.approx(0.01**2, rel=1e-3)
    assert found["chance_mean_squared_error"] == pytest.approx(guess)
    assert found["ann_mean_squared_error"] < found["healthy_mean_squared_error"] < 0.3 * guess
    assert found["healthy_mean_squared_error"] < found["damaged_mean_squared_error"]["mean"]
    assert [set(one) & {"accuracy", "mean_squared_error"} for one in found["draws"]] == [{"mean_squared_error"}] * 3
    assert not [name for name in found if "accuracy" in name]


def test_a_spiking_network_answers_by_its_potential(cli, folder):
    """Weights that the chip stores exactly: what is left is what the targets were moved by."""
    found = said(
        cli,
        "inject",
        "--network",
        "target_networks:summed",
        "--data",
        "sums.npz",
        "--fault",
        "neuron_dead",
        "--layer",
        "output",
        "--count",
        "2",
        "--draws",
        "2",
    )
    test = load("sums.npz").test
    assert found["healthy_mean_squared_error"] == pytest.approx(0.125, rel=0.05)
    assert found["damaged_mean_squared_error"]["mean"] == pytest.approx(np.mean(test.targets**2))


def test_targets_of_steps_are_answered_by_the_potential_so_far(cli, folder):
    words = ("--network", "target_networks:summed", "--fault", "neuron_dead", "--layer", "output", "--count", "2", "--draws", "2")
    found = said(cli, "inject", *words, "--data", "steps.npz")
    test = load("steps.npz").test
    assert (found["metric"], found["values"]) == ("mean-squared-error-step", test.targets.size)
    assert found["healthy_mean_squared_error"] == pytest.approx(0.125, rel=0.05)
    assert found["damaged_mean_squared_error"]["mean"] == pytest.approx(np.mean(test.targets**2))
    guess = load("steps.npz").train.targets.mean((0, 1))
    assert found["chance_mean_squared_error"] == pytest.approx(np.mean((guess - test.targets) ** 2))


def test_the_page_says_what_an_error_is(cli, folder):
    page = cli(*INJECT, "--network", "target_networks:mlp", "--data", "values.npz")[1]
    for words in (
        "mean squared error  95 % interval",
        "always the mean of the training targets",
        "the damage adds ",
        "to the mean squared error",
        "draw  ",
    ):
        assert words in page
    assert "points" not in page
    assert "--metric mean-squared-error" in page


REFUSED = [
    (("inject", "--network", "target_networks:ended", "--data", "values.npz"), "network 'target_networks:ended' changes what its last layer gives (a Sigmoid, a Tanh, a scale at the end?), and the chip is read in front of that: its answers would not be in the targets' unit; end the module with its last linear layer, and give targets in that layer's unit"),
    (("inject", "--network", "target_networks:three", "--data", "values.npz"), "values.npz/train has 2 targets a sample, but network 'target_networks:three' has 3 outputs; expected as many"),
    (("inject", "--network", "target_networks:mlp", "--data", "values.npz", "--metric", "top-2"), "metric top-2: data values.npz has targets, real numbers to be answered, for which there is mean-squared-error"),
    (("inject", "--network", "target_networks:mlp", "--data", "classes.npz", "--metric", "mean-squared-error"), "metric mean-squared-error: data classes.npz has classes as labels (whole numbers), for which there is accuracy and top-K; numbers to be answered are named targets, in the place of labels"),
    (("inject", "--network", "target_networks:mlp", "--data", "steps.npz"), "data steps.npz has targets of each of 8 steps, but network 'target_networks:mlp' is a torch module without spiking neurons, which answers once for a sample"),
    (("inject", "--network", "target_networks:summed", "--data", "steps.npz", "--metric", "mean-squared-error"), "metric mean-squared-error: data steps.npz has targets of each of 8 steps, real numbers to be answered, for which there is mean-squared-error-step"),
    (("rescue", "--network", "target_networks:summed", "--data", "steps.npz"), "data steps.npz has targets of 8 steps; what learns takes those of one answer. What takes targets of every step: inject, atlas, map, convert --check, and what learns nothing: campaigns and rescue --strategy none,remap"),
    (("inject", "--network", "target_networks:summed", "--data", "short.npz"), "short.npz: targets: of 7 steps a sample, but its events have 8 steps; expected [N, 8, K], or [N, K]"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), REFUSED)
def test_what_targets_do_not_go_with_is_said(cli, folder, words, text):
    code, _, err = cli(*words)
    assert code == 2
    assert text in " ".join(err.split())


def test_a_metric_that_is_none_lists_them_all():
    with pytest.raises(UsageError, match=r"did you mean 'mean-squared-error'\?"):
        metric_of(np.arange(4), 4, "mean-square-error", "mine")
