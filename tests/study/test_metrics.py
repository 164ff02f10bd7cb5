"""Accuracy, top-k and accuracy a step: which goes with which labels, their chance, and the same figures from `inject` and from a campaign."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

import neurofault as nf
from neurofault.data.datasets import load
from neurofault.errors import UsageError
from neurofault.metrics import ACCURACY, STEPS, Metric, metric_of
from neurofault.study.campaign.report import page_of
from neurofault.study.campaign.run import Executor, ready, run_campaign
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.summary import answer_of, found_in

CODE = """
import numpy as np
import neurofault as nf
from torch import nn

def ready():
    eyes, brain = nf.Population("eyes", (6,), nf.Source()), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (3,), nf.CubaLif(1.0))
    pairs = np.repeat(np.eye(3), 2, axis=1) * 2
    return nf.chain("ready", [eyes, brain, hands], [nf.Dense(np.eye(6) * 2), nf.Dense(pairs)], timesteps=5, how="count")

def module():
    return nn.Linear(6, 3)
"""
LABELS = np.arange(90) % 3
EVENTS = np.random.default_rng(2).random((90, 5, 6)) < np.repeat(np.eye(3), 2, axis=1)[LABELS][:, None] * 0.5 + 0.1
STEP_LABELS = np.where(np.arange(5) == 0, -1, LABELS[:, None])
INJECT = ("inject", "--network", "metric_networks:ready", "--neurons-per-core", "2", "--kill-cores", "1", "--draws", "4")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "metric_networks.py").write_text(CODE)
    np.savez(tmp_path / "samples.npz", events=EVENTS, labels=LABELS)
    np.savez(tmp_path / "steps.npz", events=EVENTS, labels=STEP_LABELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "metric_networks", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_the_form_of_the_labels_says_what_is_measured():
    assert metric_of(LABELS, 3, None, "mine") is ACCURACY
    assert metric_of(STEP_LABELS, 3, None, "mine") is STEPS
    assert metric_of(LABELS, 3, "top-2", "mine") == Metric("top-2", 2)


@pytest.mark.parametrize(
    ("labels", "asked", "message"),
    [
        (LABELS, "acuracy", r"unknown metric 'acuracy'; metrics: accuracy, top-K \(such as top-3\), accuracy-step, mean-squared-error, mean-squared-error-step \(did you mean 'accuracy'\?\)"),
        (LABELS, "accuracy-step", "metric accuracy-step: data mine has one label a sample, for which there is accuracy and top-K"),
        (STEP_LABELS, "top-2", "metric top-2: data mine has a label of each of 5 steps, for which there is accuracy-step"),
        (STEP_LABELS, "accuracy", "metric accuracy: data mine has a label of each of 5 steps"),
        (LABELS, "top-3", "metric top-3: data mine has 3 classes; allowed: top-2 to top-2"),
        (LABELS, "top-0", "unknown metric 'top-0'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_labels_is_refused(labels, asked, message):
    with pytest.raises(UsageError, match=message):
        metric_of(labels, 3, asked, "mine")


def test_chance_is_the_best_constant_answer():
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert ACCURACY.chance(labels) == 3 / 6
    assert Metric("top-2", 2).chance(labels) == 5 / 6
    assert STEPS.chance(np.array([[0, 0, -1], [1, -1, -1]])) == 2 / 3


def test_top_k_counts_labels_among_the_highest_scores():
    random = np.random.default_rng(1)
    scores, labels = random.integers(0, 4, (200, 5)), random.integers(0, 5, 200)
    activity = nf.Activity(scores, {}, np.zeros(200, np.int64))
    for k in range(1, 6):
        best = [sorted(range(5), key=lambda neuron, row=row: (-row[neuron], neuron))[:k] for row in scores]
        assert activity.among(labels, k).sum() == sum(label in row for label, row in zip(labels, best, strict=True))
    assert activity.among(labels, 1).sum() == activity.correct(labels)


def reported(steps: int) -> tuple[nf.Spikes, np.ndarray]:
    """Return the test samples of the two files, with labels of samples or steps."""
    test = load("steps.npz" if steps else "samples.npz").test
    return test.events, test.labels


@pytest.mark.usefixtures("folder")
def test_inject_measures_every_step(cli):
    code, out, err = cli(*INJECT, "--json", "-", "--data", "steps.npz")
    assert code == 0, err
    found = json.loads(out)
    chip = nf.deploy(sys.modules["metric_networks"].ready(), neurons_per_core=2)
    events, labels = reported(steps=True)
    assert (found["metric"], found["samples"], found["labels"]) == ("accuracy-step", 36, 36 * 4)
    assert found["chance_accuracy"] == pytest.approx(np.bincount(labels[labels >= 0]).max() / (36 * 4))
    assert found["healthy_accuracy"] == nf.run(chip, events, labels).accuracy
    assert found["healthy_accuracy"] > found["damaged_accuracy"]["mean"] > found["chance_accuracy"]
    code, out, err = cli(*INJECT, "--data", "steps.npz")
    assert code == 0, err
    assert "accuracy a step" in out


@pytest.mark.usefixtures("folder")
def test_inject_measures_top_k(cli):
    plain, best = (
        json.loads(cli(*INJECT, "--json", "-", "--data", "samples.npz", *more)[1]) for more in ((), ("--metric", "top-2"))
    )
    assert "metric" not in plain
    assert "labels" not in plain
    assert (best["metric"], best["chance_accuracy"]) == ("top-2", pytest.approx(24 / 36))
    assert best["damaged_accuracy"]["mean"] > plain["damaged_accuracy"]["mean"]
    out = cli(*INJECT, "--data", "samples.npz", "--metric", "top-2")[1]
    assert "always the 2 most frequent classes" in out
    assert "--metric top-2" in out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rescue", "--network", "metric_networks:ready", "--data", "steps.npz"), "data steps.npz has 5 labels a sample; what learns takes one"),
        (("inject", "--network", "metric_networks:module", "--data", "steps.npz"), "is a torch module without spiking neurons, which answers once"),
        (("inject", "--network", "metric_networks:ready", "--data", "steps.npz", "--metric", "top-2"), "for which there is accuracy-step"),
        (("inject", "--network", "metric_networks:ready", "--data", "steps.npz", "--timesteps", "4"), "is made for 5 time steps"),
    ],
)  # fmt: skip
def test_what_takes_one_label_a_sample_says_so(cli, words, message):
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.usefixtures("folder")
def test_a_remap_is_measured_a_step(cli):
    network = ("--network", "metric_networks:ready", "--data", "steps.npz", "--neurons-per-core", "2")
    words = (*network, "--kill-cores", "1", "--draws", "3", "--strategy", "none,remap", "--control", "none", "--json", "-")
    code, out, err = cli("rescue", *words)
    assert code == 0, err
    found = json.loads(out)
    chip = nf.deploy(sys.modules["metric_networks"].ready(), neurons_per_core=2)
    healthy = nf.run(chip, *reported(steps=True)).accuracy
    assert (found["metric"], found["healthy_accuracy"]) == ("accuracy-step", healthy)
    none, remap = (row["final"]["mean"] for row in found["rows"])
    assert none < remap == healthy
    code, out, err = cli("convert", "metric_networks:ready", "--data", "steps.npz", "--check")
    assert code == 0, err
    assert out.startswith("on 45 calibration samples: chip ")


PLAN = """
name: steps
network: {torch: "metric_networks.py:ready"}
data: {npz: FILE}
place: {neurons_per_core: 2, spare_cores: 2}
faults: [{kind: core_dead, count: {sweep: [1, 2]}}]
repeats: {draws: 3, seed: 3}
"""


def campaign(folder, file: str, more: str = ""):
    path = folder / "plan.yaml"
    path.write_text(PLAN.replace("FILE", file) + more)
    state = ready(load_campaign(path), None, lambda *_: None)
    run_campaign(folder / "out", state, Executor(), lambda *_: None)
    return found_in(folder / "out")


def test_a_campaign_counts_steps(folder):
    found = campaign(folder, "steps.npz")
    events, labels = reported(steps=True)
    healthy = nf.run(nf.deploy(sys.modules["metric_networks"].ready(), neurons_per_core=2), events, labels)
    assert {row["samples"] for row in found.rows} == {36 * 4}
    assert {row["healthy_correct"] for row in found.rows} == {healthy.correct}
    answer = answer_of(found)
    assert (answer["metric"], answer["samples"]) == ("accuracy a step", 36)
    assert answer["chance"] == pytest.approx(np.bincount(labels[labels >= 0]).max() / (36 * 4))
    assert all(point["low"] < point["mean"] < point["high"] for curve in answer["curves"] for point in curve["points"])
    assert "<strong>accuracy a step</strong>" in page_of(answer)


def test_a_campaign_that_remaps_counts_steps(folder):
    found = campaign(folder, "steps.npz", "rescue: [{strategy: remap}]")
    assert {row["samples"] for row in found.rows} == {36 * 4}
    assert all(row["correct"] == row["healthy_correct"] > row["damaged_correct"] for row in found.rows)


def test_a_campaign_measures_top_k_and_its_trials_are_others(folder):
    rows = {}
    for file in ("samples.npz", "samples.npz, metric: top-2"):
        found = campaign(folder, file)
        rows[file] = {row["trial"]: row for row in found.rows}
        shutil.rmtree(folder / "out")
    plain, best = rows.values()
    assert not set(plain) & set(best)
    assert all(b["correct"] >= a["correct"] for a, b in zip(plain.values(), best.values(), strict=True))
    assert sum(row["correct"] for row in best.values()) > sum(row["correct"] for row in plain.values())


def test_a_campaign_that_heals_or_measures_two_things_is_refused(folder):
    path = folder / "plan.yaml"
    for file, more, message in (
        ("steps.npz", "rescue: [{strategy: batch, learner: delta}]", "5 labels a sample; what learns takes one"),
        ("samples.npz, metric: top-2", "rescue: [{strategy: batch, learner: delta}]", "metric top-2: rescue measures accuracy"),
        ("samples.npz, metric: {sweep: [accuracy, top-2]}", "", "a campaign measures one thing, not accuracy and top-2"),
    ):
        path.write_text(PLAN.replace("FILE", file) + more)
        with pytest.raises(UsageError, match=message):
            ready(load_campaign(path), None, lambda *_: None)
