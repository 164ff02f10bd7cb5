"""`neurofault inject`, end to end through the command line."""

from __future__ import annotations

import json
import pickle
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

from neurofault.study import lesion

KEYS = {
    "profile", "network", "data", "samples", "timesteps", "seed", "engine", "cores_used", "ann_accuracy", "spiking_accuracy",
    "healthy_accuracy", "chance_accuracy", "damaged_accuracy", "n_draws", "draws", "spikes_healthy", "energy_joule_per_inference",
    "energy_evidence", "time_second_per_inference", "time_evidence",
}  # fmt: skip


def answer(cli, *arguments: str) -> dict:
    code, out, err = cli("inject", *arguments, "--json", "-")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--kill-cores 1 --samples 500", "Losing 1 of 13 hidden cores costs 1.25 points of accuracy [exact: all 13 outcomes], 96.40 % → 95.15 %"),
        ("--kill-cores 2 --draws 1", "Losing 2 of 13 hidden cores costs 0.80 points of accuracy [one draw, no interval], 96.40 % → 95.60 %"),
        ("--fault core_hung --count 1", "core_hung (count 1) stalls the chip in every draw: nothing is answered"),
    ],
)  # fmt: skip
def test_the_first_line_is_the_answer_and_quiet_prints_it_alone(cli, words, said):
    code, out, err = cli("inject", *words.split(), "--quiet")
    assert (code, out, err) == (0, said + "\n", "")
    assert cli("inject", *words.split())[1].splitlines()[0] == said


def test_the_interval_of_a_loss_is_that_of_the_damaged_accuracy_taken_from_the_healthy_one(cli, tmp_path):
    code, out, _ = cli("inject", "--kill-cores", "4", "-q", "--json", str(tmp_path / "a.json"))
    result = json.loads((tmp_path / "a.json").read_text())
    healthy, found = result["healthy_accuracy"], result["damaged_accuracy"]
    lost = [f"{100 * (healthy - found[end]):.2f}" for end in ("mean", "high", "low")]
    assert code == 0
    assert out.startswith("Losing 4 of 13 hidden cores costs {} points of accuracy [{}, {}], ".format(*lost))


def test_a_large_conversion_gap_is_said_with_what_may_mend_it(cli):
    def gaps(*words):
        code, out, err = cli("inject", "--kill-cores", "1", "--samples", "100", *words)
        assert code == 0, err
        return [line for line in out.splitlines() if "before anything breaks" in line]

    (said,) = gaps("--timesteps", "1")
    assert said.startswith("note: conversion costs ")
    assert said.endswith(" points before anything breaks; --calibrate subtract or more --timesteps may cost less")
    assert gaps() == []


def test_default_kills_hidden_cores_until_the_effect_shows(cli, tmp_path):
    code, out, err = cli("inject", "--json", str(tmp_path / "a.json"))
    assert code == 0, err
    result = json.loads((tmp_path / "a.json").read_text())
    assert result.keys() >= KEYS
    damaged = result["damaged_accuracy"]
    half_width = (damaged["high"] - damaged["low"]) / 2
    assert damaged["mean"] < result["healthy_accuracy"] - 3 * half_width
    assert result["ann_accuracy"] > 0.95
    assert result["healthy_accuracy"] > result["ann_accuracy"] - 0.02
    assert all(set(hit["cores"]) <= set(range(8, 21)) for draw in result["draws"] for hit in draw["faults"])
    for text in (
        "ANN",
        "spiking",
        "healthy chip",
        "damaged",
        "chance",
        "conversion gap",
        "what was hit",
        "per inference",
        "✗",
        "to repeat:",
    ):
        assert text in out


def test_printed_command_repeats_the_run(cli):
    code, out, err = cli("inject", "--kill-cores", "2", "--draws", "3", "--samples", "100")
    assert code == 0, err
    command = shlex.split(out.split("to repeat: neurofault ")[1])
    first = answer(cli, "--kill-cores", "2", "--draws", "3", "--samples", "100")
    again = answer(cli, *command[1:])
    assert again == first


def test_two_runs_with_empty_caches_give_the_same_bytes(cli, tmp_path, monkeypatch):
    texts = []
    for folder in ("one", "two"):
        monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path / folder))
        code, out, err = cli("inject", "--kill-cores", "3", "--draws", "4", "--json", "-")
        assert code == 0, err
        texts.append(out)
    assert texts[0] == texts[1]


def test_no_cores_killed_is_exactly_healthy(cli):
    result = answer(cli, "--kill-cores", "0", "--draws", "2")
    for draw in result["draws"]:
        assert draw["accuracy"] == result["healthy_accuracy"]
        assert draw["spikes"] == result["spikes_healthy"]


def test_the_places_at_which_damage_costs_or_saves_energy_add_up(cli):
    spread = ("--neurons-per-core", "16", "--samples", "40", "--draws", "2")
    key, healthy, damaged = "energy_change_joule_per_inference", "energy_joule_per_inference", "energy_joule_per_inference_damaged"
    stuck = ("--fault", "{kind: neuron_saturated, count: 2}", *spread)
    costly, saving = answer(cli, *stuck), answer(cli, "--kill-cores", "1", *spread)
    for result in (costly, saving):
        for split in result[key].values():
            assert sum(split.values()) == pytest.approx(result[damaged] - result[healthy], rel=1e-9)
        for draw in result["draws"]:
            assert sum(draw[key]["by_core"].values()) == pytest.approx(draw[healthy] - result[healthy], rel=1e-9)
    assert costly[key]["by_population"]["output"] > 0
    assert min(saving["draws"][0][key]["by_core"].items(), key=lambda each: each[1])[0] == str(
        saving["draws"][0]["faults"][0]["cores"][0]
    )
    code, out, err = cli("inject", *stuck)
    assert code == 0, err
    (line,) = [each for each in out.splitlines() if each.startswith("energy a sample: ")]
    assert " J → " not in line
    assert " of it on core " in line
    assert line.endswith(" (means of 2 draws)")
    untouched = answer(cli, "--kill-cores", "0", *spread)
    assert key not in untouched
    assert key not in untouched["draws"][0]


def test_dead_cores_are_told_from_those_that_lose_messages(cli, tmp_path):
    row = tmp_path / "row.yaml"
    row.write_text(
        "name: row\ntitle: Boards in a row\nextends: loihi1\n"
        'board: {chips: {value: 1, unit: chips, evidence: assumed, note: "a test"}}\n'
    )
    on = ("--profile", str(row), "--samples", "10", "--draws", "1")
    three = (*on, "--chips", "3", "--place", "spread", "--neurons-per-core", "2")
    file = tmp_path / "a.json"
    code, out, err = cli("inject", *three, "--fault", "{kind: board_dead, boards: [1]}", "--json", str(file))
    assert code == 0, err
    (hit,) = json.loads(file.read_text())["draws"][0]["faults"]
    assert hit["dead_cores"] == list(range(128, 256))
    assert not set(hit["cores"]) <= set(hit["dead_cores"])
    (line,) = [
        each for each in " ".join(out.split()).split("note:")[0].split("what was hit") if "board_dead" in each and "dead 1" in each
    ]
    assert "; alive, lost messages " in line
    window = "when: {kind: transient, start: 2, stop: 9}"
    code, out, err = cli("inject", *three, "--fault", f"{{kind: board_dead, boards: [1], {window}}}", "--json", str(file))
    assert code == 0, err
    (late,) = json.loads(file.read_text())["draws"][0]["faults"]
    assert "dead_cores" not in late
    assert late["dead_for_a_time"] == [core for core in hit["dead_cores"] if core in hit["cores"]]
    assert late["cores"] == hit["cores"]
    text = " ".join(out.split())
    assert "dead for a time 1" in text
    assert "; alive, lost messages " in text
    code, out, err = cli(
        "inject", *on, "--neurons-per-core", "8", "--fault", f"{{kind: neuron_dead, count: 9, {window}}}", "--json", str(file)
    )
    assert code == 0, err
    assert "dead_for_a_time" not in json.loads(file.read_text())["draws"][0]["faults"][0]
    code, out, err = cli(
        "inject", *on, "--neurons-per-core", "8", "--fault", "{kind: router_dead, routers: ['0,0']}", "--json", str(file)
    )
    assert code == 0, err
    (hit,) = json.loads(file.read_text())["draws"][0]["faults"]
    assert hit["cores"]
    assert "dead_cores" not in hit
    assert "router_dead  alive, lost messages " in out


def test_all_cores_killed_is_a_constant_answer_without_spikes(cli):
    result = answer(cli, "--kill-cores", "23", "--layer", "any", "--draws", "1")
    assert result["cores_used"] == 23
    assert result["draws"][0]["spikes"] == 0
    assert result["draws"][0]["energy_joule_per_inference"] == 0
    assert result["draws"][0]["accuracy"] == pytest.approx(0.1, abs=0.01)
    assert result["damaged_accuracy"]["low"] is None


@pytest.mark.parametrize("where", ["random", "clustered"])
def test_fewer_dead_cores_are_among_more(cli, where):
    few, many = (answer(cli, "--kill-cores", count, "--where", where, "--draws", "5", "--samples", "50") for count in "24")
    for small, large in zip(few["draws"], many["draws"], strict=True):
        assert set(small["faults"][0]["cores"]) < set(large["faults"][0]["cores"])


@pytest.mark.parametrize("fault", ["neuron_dead", "synapse_dead"])
def test_rates_of_neurons_and_synapses(cli, fault):
    gentle, harsh = (answer(cli, "--fault", fault, "--rate", rate, "--draws", "4") for rate in ("0.01", "0.6"))
    assert harsh["damaged_accuracy"]["mean"] < gentle["damaged_accuracy"]["mean"] - 0.05
    unit = fault.removesuffix("_dead") + "s"
    lost = [draw["faults"][0][unit] for draw in harsh["draws"]]
    population = {"neurons": 100, "synapses": 64 * 100}[unit]
    assert all(0.4 * population < number < 0.8 * population for number in lost)


def test_a_users_own_module_with_its_weights(cli, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def factory():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.2), nn.Linear(30, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Dropout(0.2), nn.Linear(30, 10))
    from neurofault.data.datasets import load

    train = load("digits").train
    images, labels = torch.tensor(train.images).float() / 255, torch.tensor(train.labels)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(module.state_dict(), tmp_path / "model.pt")
    arguments = ("--network", "mine:factory", "--data", "digits", "--neurons-per-core", "5", "--kill-cores", "3", "--draws", "3")
    trained = answer(cli, *arguments, "--weights", "model.pt")
    _, out, err = cli("inject", *arguments, "--json", "-")
    untrained = json.loads(out)
    assert "neurofault: warning: network 'mine:factory' itself classifies " in err
    assert " of 512 calibration images (chance: " in err
    assert trained["ann_accuracy"] > 0.9
    assert trained["healthy_accuracy"] > 0.88
    assert untrained["ann_accuracy"] < 0.4
    assert trained["damaged_accuracy"]["mean"] < trained["healthy_accuracy"]


class _Executes:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_a_pickle_that_executes_code_is_refused(cli, tmp_path, monkeypatch):
    (tmp_path / "plain.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    trap = tmp_path / "trap"
    torch.save({"1.weight": _Executes(trap)}, tmp_path / "evil.pt")
    pickle.loads(pickle.dumps(_Executes(trap)))  # the trap does work
    assert trap.read_text() == "executed"
    trap.unlink()
    code, out, err = cli("inject", "--network", "plain:Net", "--weights", "evil.pt", "--kill-cores", "0")
    assert (code, out) == (2, "")
    assert err == (
        "neurofault: evil.pt: refused: it holds more than tensors and could execute code when loaded; "
        "save the weights alone: torch.save(model.state_dict(), path)\n"
    )
    assert not trap.exists()


UNSPIKING = (
    "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))\n"
)

REFUSALS = {
    "unknown profile": (
        ["--profile", "loihi3.yaml"],
        "no profile 'loihi3.yaml' (did you mean 'loihi2'?): neither a file nor a bundled profile (darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2)",
    ),
    "unknown network": (
        ["--network", "mnist-mpl"],
        "no network 'mnist-mpl' in the zoo (did you mean 'mnist-mlp'?); there are: digits-mlp, digits-mlp-dropout, mnist-mlp, mnist-mlp-dropout, mnist-mlp-400, mnist-mlp2, "
        "fashion-mlp-400, cifar10-cnn, cifar10-cnn-relu, cifar10-resnet",
    ),
    "no samples": (["--samples", "0"], "samples: 0 asked for, digits/test holds 500 images (allowed: 1 to 500)"),
    "no timesteps": (["--timesteps", "0"], "timesteps must be at least 1, is 0"),
    "timesteps without end": (["--timesteps", "1000000000"], "timesteps must be at most 4096, is 1000000000"),
    "no draws": (["--draws", "0", "--kill-cores", "1"], "draws must be at least 1, is 0"),
    "one draw": (
        ["--draws", "1"],
        "one draw has no interval, so nothing says when an effect shows; give --draws 2 or more, or --kill-cores",
    ),
    "negative rate": (["--fault", "core_dead", "--rate", "-0.1"], "core_dead: rate must lie in [0, 1], is -0.1"),
    "two numbers": (["--kill-cores", "1", "--count", "1"], "--kill-cores N is short for --fault core_dead --count N; give one of the two"),
    "place without kind": (
        ["--at", "core:0-7"],
        "--at goes with --fault KIND or --kill-cores N; write it inside a whole --fault '{kind: …}'",
    ),
    "rate without kind": (["--rate", "0.1"], "--count and --rate go with --fault KIND"),
    "too many cores": (
        ["--kill-cores", "99"],
        "core_dead: 99 used cores asked for, but layer 'hidden' has only 13; layer='any' takes all layers; fewer neurons a core (--neurons-per-core) spread a network over more cores",
    ),
    "does not fit": (
        ["--neurons-per-core", "1", "--chips", "1"],
        "the network does not fit: it takes 174 cores (input 64, hidden1 100, output 10, spare 0), but 1 × 'loihi2' ",
    ),
    "weights of the zoo": (
        ["--weights", "x.pt"],
        "--weights goes with a network of your own (package.module:factory), not with 'digits-mlp' of the zoo",
    ),
    "other data": (
        ["--network", "mine2:net", "--data", "nothing"],
        "unknown data set 'nothing'; known: digits, mnist, fashion-mnist, cifar10",
    ),
    "cannot spike": (["--network", "mine2:net"], "layer '2': Tanh cannot become spiking; use ReLU"),
    "missing weights": (["--network", "mine2:net", "--weights", "no.pt"], "no.pt: no such weights file"),
    "missing module": (["--network", "nowhere:net"], "network 'nowhere:net': No module named 'nowhere'; run where Python finds nowhere, or set PYTHONPATH"),
    "unknown engine": (["--engine", "exakt"], "no engine 'exakt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_input_gets_one_message_and_exit_code_2(cli, tmp_path, monkeypatch, case):
    (tmp_path / "mine2.py").write_text(UNSPIKING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments, message = REFUSALS[case]
    code, out, err = cli("inject", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"neurofault: {message}")
    assert err.count("\n") == 1


def test_missing_and_truncated_data(cli, tmp_path, data_dir, offline):
    code, _, err = cli("inject", "--network", "mnist-mlp", "--data-dir", str(tmp_path / "no"))
    assert code == 2
    assert f"data folder {tmp_path / 'no'} (--data-dir) does not exist" in err
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in (data_dir / "mnist").iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[:5000])
    code, _, err = cli("inject", "--network", "mnist-mlp", "--data-dir", str(tmp_path))
    assert code == 2
    assert "Traceback" not in err
    assert "-ubyte.gz" in err


def test_a_profile_with_several_mistakes(cli, tmp_path):
    profile = tmp_path / "p.yaml"
    text = (Path(__file__).parents[2] / "hardware_profiles/loihi2.yaml").read_text()
    assert text.startswith("name:") or "\nname:" in text
    profile.write_text(text.replace("\ntitle:", "\ntitel:", 1))
    code, out, err = cli("inject", "--profile", str(profile))
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert any("unknown key 'titel' (did you mean 'title'?)" in line and f"{profile}:" in line for line in lines)
    assert any("missing key 'title'" in line for line in lines)


def test_mnist_on_loihi2_keeps_the_accuracy(cli, data_dir):
    result = answer(
        cli, "--profile", "loihi2.yaml", "--network", "mnist-mlp", "--data", "mnist", "--data-dir", str(data_dir),
        "--neurons-per-core", "8", "--kill-cores", "4", "--draws", "2", "--seed", "1",
    )  # fmt: skip
    assert result["samples"] == 10_000
    assert result["cores_by_layer"] == {"input": 98, "hidden1": 13, "output": 2}
    assert result["ann_accuracy"] >= 0.975
    assert abs(result["healthy_accuracy"] - result["ann_accuracy"]) <= 0.005
    assert result["damaged_accuracy"]["mean"] < 0.95
    assert result["chance_accuracy"] == 0.1135


def test_samples_as_one_stream(cli):
    asked = ("--kill-cores", "2", "--draws", "1", "--samples", "20")
    stream, apart = answer(cli, *asked, "--reset", "never"), answer(cli, *asked)
    assert stream["reset"] == "never"
    assert "reset" not in apart
    assert stream["spikes_healthy"] != apart["spikes_healthy"]
    code, out, err = cli("inject", *asked, "--reset", "never")
    assert code == 0, err
    assert "one stream (reset: never)" in out
    assert "--reset never" in out.split("to repeat: ")[1]


def test_a_settled_conversion_is_said_and_repeated(cli):
    asked = ("--kill-cores", "2", "--draws", "1", "--samples", "20")
    settled, usual = answer(cli, *asked, "--calibrate", "settled"), answer(cli, *asked)
    assert settled["calibrate"] == "settled"
    assert "calibrate" not in usual
    assert settled["spikes_healthy"] != usual["spikes_healthy"]
    assert "--calibrate settled" in cli("inject", *asked, "--calibrate", "settled")[1].split("to repeat: ")[1]


def test_a_conversion_by_subtraction_is_said(cli):
    asked = ("--kill-cores", "2", "--draws", "1", "--samples", "20")
    code, out, err = cli("inject", *asked, "--calibrate", "subtract")
    assert code == 0, err
    assert "neurons of reset subtract, weights not yet rounded" in out
    code, out, err = cli("inject", *asked, "--calibrate", "subtract", "--engine", "snntorch")
    assert (code, out) == (2, "")
    assert "engine 'snntorch' cannot run layer 'input': with reset_delay=False snnTorch takes the threshold off again" in err


def test_a_network_that_keeps_its_state_is_not_reset_unless_asked(cli, tmp_path, monkeypatch):
    (tmp_path / "kept.py").write_text(
        "import numpy as np, neurofault as nf\n"
        "from neurofault.graph import Encoding\n"
        "def net():\n"
        "    eyes = nf.Population('eyes', (1, 8, 8), nf.Source(Encoding.for_pixels(0.8, 0.5, 4)))\n"
        "    hands = nf.Population('hands', (10,), nf.CubaLif(2.0))\n"
        "    synapses = [nf.Dense(np.random.default_rng(0).normal(size=(10, 64)))]\n"
        "    return nf.chain('kept', [eyes, hands], synapses, timesteps=4, how='count').with_reset('never')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = (
        "--network",
        "kept:net",
        "--fault",
        "neuron_dead",
        "--count",
        "1",
        "--layer",
        "output",
        "--draws",
        "1",
        "--samples",
        "5",
    )
    assert answer(cli, *asked)["reset"] == "never"
    assert "reset" not in answer(cli, *asked, "--reset", "sample")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--calibrate", "setled"), "neurofault: calibrate is usual, settled or subtract, not 'setled' (did you mean 'settled'?)"),
        (("--reset", "nevr"), "neurofault: reset is sample or never, not 'nevr' (did you mean 'never'?)"),
        (
            ("--reset", "never", "--engine", "snntorch", "--samples", "5", "--kill-cores", "1"),
            "neurofault: engine 'snntorch' cannot run a network that keeps its state between samples (reset: never); engines that can: exact",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(cli, asked, message):
    code, _, err = cli("inject", *asked)
    assert code == 2
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_explain_says_which_draws_were_followed_and_why_not_the_others(cli, monkeypatch):
    words = ("--samples", "40", "--draws", "3", "--explain")
    assert answer(cli, *words, "--kill-cores", "1")["explained"] == {"whole: little work, it takes no longer": [0, 1, 2]}
    monkeypatch.setattr(lesion, "_LITTLE", 0)
    assert answer(cli, *words, "--kill-cores", "1")["explained"] == {"followed": [0, 1, 2]}
    whole = "whole: layer 'input': noise of inputs"
    noisy = ("--fault", "{kind: sensor_noisy, count: 3, sigma: 20}")
    assert answer(cli, *words, *noisy)["explained"] == {whole: [0, 1, 2]}
    code, out, err = cli("inject", *words, *noisy)
    assert code == 0, err
    assert out.endswith(f"how the draws were run\n  {whole}: draw 0, 1, 2\n")
    assert "explained" not in answer(cli, "--samples", "40", "--draws", "3", "--kill-cores", "1")
