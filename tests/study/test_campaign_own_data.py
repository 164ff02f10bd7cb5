"""Campaigns over own networks and data: found beside the file, known by their numbers, made again from the run folder."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from neurofault.errors import SpecError, UsageError
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign

NETWORK = """
import numpy as np
import neurofault as nf

def ready():
    eyes, brain = nf.Population("eyes", (6,), nf.Source()), nf.Population("hidden1", (6,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (3,), nf.CubaLif(1.0))
    pairs = np.repeat(np.eye(3), 2, axis=1) * 2
    return nf.chain("ready", [eyes, brain, hands], [nf.Dense(np.eye(6) * 2), nf.Dense(pairs)], timesteps=5, how="count")
"""
DATA = """
import numpy as np

def datasets():
    with np.load({path!r}) as file:
        return dict(file)
"""
PLAIN = """
name: own
network: {torch: "nets/own_campaign_network.py:ready"}
data: {npz: data/events.npz, samples: 20, adapt: 30}
place: {neurons_per_core: 2}
faults: [{kind: core_dead, count: 1}]
rescue: [{strategy: none}, {strategy: batch, learner: delta}]
repeats: {draws: 2, seed: 3}
"""
LABELS = np.arange(90) % 3


def events(seed: int):
    return np.random.default_rng(seed).random((90, 5, 6)) < np.repeat(np.eye(3), 2, axis=1)[LABELS][:, None] * 0.5 + 0.1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "nets" / "own_campaign_network.py").write_text(NETWORK)
    np.savez(tmp_path / "data" / "events.npz", events=events(1), labels=LABELS)
    (tmp_path / "own_campaign_data.py").write_text(DATA.format(path=str(tmp_path / "data" / "events.npz")))
    (tmp_path / "own.yaml").write_text(PLAIN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_campaign_network", "own_campaign_data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def trials(path) -> set[str]:
    state = ready(load_campaign(path), None, lambda *_: None)
    return {task.trial for cell in state.campaign.cells() for task in state.tasks_of(cell)}


def test_trials_are_known_by_the_numbers_of_the_data_wherever_they_come_from(folder):
    path = folder / "own.yaml"
    asked = trials(path)
    assert len(asked) == 4
    (folder / "data" / "other.npz").write_bytes((folder / "data" / "events.npz").read_bytes())
    for text in (
        PLAIN.replace("data/events.npz", "data/other.npz"),
        PLAIN.replace("npz: data/events.npz", 'python: "own_campaign_data:datasets"'),
        PLAIN.replace("npz: data/events.npz", 'python: "own_campaign_data.py:datasets"'),
    ):
        path.write_text(text)
        assert trials(path) == asked
    np.savez(folder / "data" / "events.npz", events=events(2), labels=LABELS)
    path.write_text(PLAIN)
    assert trials(path).isdisjoint(asked)


def test_a_campaign_runs_and_its_folder_runs_again(cli, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "own.yaml").write_text(PLAIN.replace(", {strategy: batch, learner: delta}", ""))
    code, _, err = cli("campaign", "run", "own.yaml", "--out", "runs/own")
    assert code == 0, err
    (folder / "data" / "events.npz").unlink()
    monkeypatch.chdir(folder / "runs" / "own")
    code, out, err = cli("campaign", "run", "resolved.json", "--out", ".")
    assert code == 0, err
    resolved = json.loads((folder / "runs" / "own" / "resolved.json").read_text())
    assert resolved["data"] == {"npz": "inputs/events.npz", "samples": 20, "adapt": 30}
    code, out, err = cli("campaign", "report", ".", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["data"] == "events.npz"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{npz: data/events.npz, name: digits}", "own.yaml:4:7: data: give one of name, npz, events and python, not name and npz"),
        ("{npz: own_campaign_data.py}", "own.yaml:4:7: data: npz names a file *.npz, not 'own_campaign_data.py'"),
        ("{python: datasets}", "own.yaml:4:7: data: python is package.module:factory, not 'datasets'"),
        ("{folder: nets}", "own.yaml:4:7: data: folder goes with python"),
        (
            "{name: mine.npz}",
            "own.yaml:4:14: data.name: name is that of a data set, not 'mine.npz'; a file is npz, recordings are events, a factory is python",
        ),
        ("{npz: gone.npz}", "own.yaml:4:13: data.npz: no file {}/gone.npz"),
        ('{python: "gone.py:datasets"}', "own.yaml:4:16: data.python: no file {}/gone.py"),
    ],
)
def test_mistakes_are_told_at_their_place(folder, given, message):
    path = folder / "own.yaml"
    path.write_text(PLAIN.replace("{npz: data/events.npz, samples: 20, adapt: 30}", given))
    with pytest.raises(SpecError) as caught:
        load_campaign(path, files=True)
    assert list(caught.value.mistakes) == [f"{folder}/{message.format(folder)}"]


def test_modules_of_a_campaign_are_in_one_folder(folder):
    path = folder / "own.yaml"
    path.write_text(
        PLAIN.replace('"nets/own_campaign_network.py:ready"', '"own_campaign_network:ready", folder: nets').replace(
            "npz: data/events.npz", 'python: "own_campaign_data:datasets"'
        )
    )
    with pytest.raises(
        UsageError, match=r"^network\.folder, data\.folder: modules of a campaign are found in one folder, not in 2$"
    ):
        trials(path)
