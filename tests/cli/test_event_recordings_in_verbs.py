"""Recordings from every verb and in campaigns: a folder of them, and Intel's N-MNIST network on the real ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from neurofault.data.binning import binning_named
from neurofault.data.event_sets import load_recordings
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign

CODE = """
import numpy as np
import neurofault as nf
from neurofault.graph.synapses import Stored

def ready():
    eyes, brain = nf.Population("eyes", (2, 3, 3), nf.Source()), nf.Population("hidden1", (18,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (3,), nf.CubaLif(1.0))
    rows = np.tile(np.repeat(np.eye(3), 3, axis=1), 2) * 2
    return nf.chain("ready", [eyes, brain, hands], [nf.Dense(np.eye(18) * 2), nf.Dense(rows)], timesteps=20, how="count")

def intel():
    import os
    trained = os.environ["INTEL_TRAINED"]
    files = (("NMNISTFc1.txt.gz", (512, 2312)), ("NMNISTFc2.txt", (10, 512)))
    weights = [np.loadtxt(f"{trained}/{file}").reshape(shape).astype(np.int32) for file, shape in files]
    neurons = [nf.Population(name, (n,), nf.CubaLif(80, 0, 1024, 128, bias_exponent=6)) for name, n in (("hidden1", 512), ("output", 10))]
    eyes = nf.Population("input", (2, 34, 34), nf.Source(threshold=60))
    return nf.chain("intel", [eyes, *neurons], [nf.Dense(one) for one in weights], timesteps=300, how="count", stored=[Stored()] * 2)
"""
CAMPAIGN = """
name: recorded
network: {torch: "recorded_networks.py:ready"}
data: {events: recorded, bins: 20, dt: 1e-3, down: 2, sensor: [2, 6, 6]}
place: {neurons_per_core: 2}
faults: [{kind: core_dead, count: 1}]
repeats: {draws: 2, seed: 3}
"""
BINNING = "bins: 20, dt: 1e-3, down: 2, sensor: [2, 6, 6]"
VERB = ("--network", "recorded_networks:ready", "--data", "recorded", "--binning", BINNING, "--neurons-per-core", "2")


def packed(random, label: int) -> bytes:
    """Return a recording of a 6 × 6 sensor, most of whose events lie in the rows of its class; some after 20 ms, some twice in a step."""
    events = []
    for _ in range(60):
        y = int(random.integers(0, 2)) + 2 * label if random.random() < 0.8 else int(random.integers(0, 6))
        events.append((int(random.integers(0, 6)), y, int(random.integers(0, 2)), int(random.integers(0, 22_000))))
    return b"".join(bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in sorted(events, key=lambda one: one[3]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    random = np.random.default_rng(8)
    for label, name in enumerate(("low", "middle", "up")):
        (tmp_path / "recorded" / name).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "recorded" / name / f"{number}.bin").write_bytes(packed(random, label))
    (tmp_path / "recorded_networks.py").write_text(CODE)
    (tmp_path / "recorded.yaml").write_text(CAMPAIGN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "recorded_networks", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_verb_reads_no_more_recordings_than_it_shows(cli, folder):
    words = ("inject", *VERB, "--kill-cores", "1", "--draws", "2", "--samples", "5", "--json", "-")
    whole = json.loads(cli(*words)[1])
    used = load_recordings(folder / "recorded", binning_named(BINNING, "--binning"))
    shown = {*used.train.indices.tolist(), used.validation.indices[0], *used.test.indices[:5].tolist()}
    files = [path for name in ("low", "middle", "up") for path in sorted((folder / "recorded" / name).iterdir())]
    for number, path in enumerate(files):
        if number not in shown:
            path.write_bytes(b"cut")
    code, out, err = cli(*words)
    assert code == 0, err
    assert json.loads(out) == whole
    code, _, err = cli("inject", *VERB, "--kill-cores", "1", "--draws", "2")
    assert code == 2
    assert ".bin: " in err.splitlines()[-1]


@pytest.mark.usefixtures("folder")
def test_a_folder_of_recordings_goes_with_every_verb(cli):
    code, out, err = cli("inject", *VERB, "--kill-cores", "1", "--draws", "2", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert (found["data"], found["timesteps"], found["samples"]) == ("recorded", 20, 24)
    assert found["healthy_accuracy"] > 0.8
    assert any(
        note.startswith("recorded: ") and note.endswith(" after step 19") and "events that were read are lost" in note
        for note in found["notes"]
    )
    code, out, err = cli("inject", *VERB, "--kill-cores", "1", "--draws", "2")
    assert code == 0, err
    assert f"--binning '{json.dumps({'bins': 20, 'dt': 0.001, 'down': 2, 'sensor': [2, 6, 6]})}'" in out
    code, out, err = cli("atlas", *VERB, "--fault", "neuron_dead", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] == found["healthy_accuracy"]
    code, out, err = cli("map", *VERB)
    assert code == 0, err
    code, out, err = cli(
        "rescue", *VERB, "--kill-cores", "1", "--draws", "2", "--strategy", "none", "--control", "none", "--json", "-"
    )
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] == found["healthy_accuracy"]
    code, out, err = cli("convert", "recorded_networks:ready", "--check", "--data", "recorded", "--binning", BINNING)
    assert code == 0, err


@pytest.mark.parametrize(
    ("binning", "data", "message"),
    [
        ("dt: 1e-3", "recorded", "data recorded are recordings: bins must be said, how many steps a recording has and how many seconds a step takes, such as bins: 300, dt: 1e-3"),
        ("bin: 3", "recorded", "--binning:1:2: unknown key 'bin' (did you mean 'bins'?)"),
        ("bins: 20, dt: 1e-3, sensor: [2, 5, 6]", "recorded", "; allowed: x below 6, y below 5, polarity below 2"),
        ("bins: 20, dt: 1e-3, sensor: [2, 6, 6], crop: [0, 0, 7, 7]", "recorded", "crop: (0, 0, 7, 7) does not lie within the sensor's 6×6 pixels"),
        ("bins: 20", "digits", "data 'digits' are not recordings in files: how they become steps cannot be chosen"),
        ("bins: 20, sensor: [2, 6, 6]", "digits-events", "sensor: data digits-events says its own; leave it out"),
        ("bins: 20, dt: 1e-3", "recorded/low/1.bin", "recorded/low/1.bin: one recording has no class; put recordings into a folder, one inner folder a class, and give that folder"),
        ("bins: 20, dt: 1e-3", "some.aedat4", "some.aedat4: AEDAT 4 is not read: convert it to AEDAT 3.1, or give its events from a factory, package.module:datasets (docs/events.md)"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_is_one_line(cli, binning, data, message):
    code, out, err = cli(
        "inject", "--network", "recorded_networks:ready", "--data", data, "--binning", binning, "--kill-cores", "1"
    )
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def trials(path: Path) -> set[str]:
    state = ready(load_campaign(path), None, lambda *_: None)
    return {task.trial for cell in state.campaign.cells() for task in state.tasks_of(cell)}


def test_a_campaign_over_a_folder_runs_again_from_its_run_folder(cli, folder, monkeypatch):
    code, _, err = cli("campaign", "run", "recorded.yaml", "--out", "runs/one")
    assert code == 0, err
    resolved = json.loads((folder / "runs" / "one" / "resolved.json").read_text())
    assert resolved["data"] == {"events": str(folder / "recorded"), "bins": 20, "dt": 0.001, "down": 2, "sensor": [2, 6, 6]}
    monkeypatch.chdir(folder / "runs" / "one")
    code, _, err = cli("campaign", "run", "resolved.json", "--out", ".")
    assert code == 0, err


def test_trials_are_known_by_the_spikes_that_are_shown(folder):
    asked = trials(folder / "recorded.yaml")
    shutil.copytree(folder / "recorded", folder / "copied")
    (folder / "recorded.yaml").write_text(CAMPAIGN.replace("events: recorded", "events: copied"))
    assert trials(folder / "recorded.yaml") == asked
    (folder / "recorded.yaml").write_text(CAMPAIGN.replace("dt: 1e-3", "dt: 2e-3"))
    assert trials(folder / "recorded.yaml").isdisjoint(asked)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{events: gone, bins: 3, dt: 1e-3}", "4:16: data.events: no file or folder {}/gone"),
        ("{events: recorded, bins: 3}", "4:7: data: events are recordings: dt must be said, such as bins: 300, dt: 1e-3"),
        ("{name: digits, bins: 3}", "4:7: data: bins goes with recordings: events, or name of digits-events, nmnist, dvs-gesture, shd, ssc"),
    ],
)  # fmt: skip
def test_mistakes_of_a_campaign_are_told_at_their_place(cli, folder, given, message):
    text = CAMPAIGN.replace("{events: recorded, bins: 20, dt: 1e-3, down: 2, sensor: [2, 6, 6]}", given)
    (folder / "recorded.yaml").write_text(text)
    code, _, err = cli("campaign", "run", "recorded.yaml", "--out", "runs/one")
    assert code == 2
    assert f"recorded.yaml:{message.format(folder)}" in err


def test_intels_nmnist_network_by_one_command_and_in_a_campaign(cli, folder, monkeypatch):
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    field = root / "bamsumit__slayerPytorch"
    recordings, trained = field / "test" / "test_files" / "NMNISTsmall", field / "exampleLoihi" / "02_NMNIST" / "TrainedFull"
    if not trained.is_dir():
        pytest.skip(f"no network at {trained}; NEUROFAULT_FIELD names the folder that holds it")
    monkeypatch.setenv("INTEL_TRAINED", str(trained))
    words = ("--network", "recorded_networks:intel", "--data", "nmnist", "--data-dir", str(recordings), "--profile", "loihi1")
    code, out, err = cli("inject", *words, "--neurons-per-core", "16", "--kill-cores", "8", "--draws", "2", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert (found["samples"], found["healthy_accuracy"]) == (100, 1.0)
    assert 0.9 < found["damaged_accuracy"]["mean"] <= 1
    (folder / "intel.yaml").write_text(
        'name: intel\nnetwork: {torch: "recorded_networks.py:intel"}\nprofile: loihi1\ndata: {name: nmnist, samples: 10}\n'
        "place: {neurons_per_core: 16}\nfaults: [{kind: core_dead, count: 8, layer: hidden}]\nrepeats: {draws: 2}\n"
    )
    code, _, err = cli("campaign", "run", "intel.yaml", "--out", "runs", "--data-dir", str(recordings), "--workers", "2")
    assert code == 0, err
    code, out, err = cli("campaign", "report", "runs", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["data"] == "nmnist"
