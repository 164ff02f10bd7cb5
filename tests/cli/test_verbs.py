"""The smaller verbs, and the README's own commands."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from neurofault.cli import options
from neurofault.cli.atlas import atlas
from neurofault.cli.convert import convert
from neurofault.cli.inject import inject
from neurofault.cli.map_ import map_
from neurofault.cli.rescue import rescue
from neurofault.data.datasets import NAMES
from neurofault.faults import KINDS

ROOT = Path(__file__).parents[2]


def test_hung_cores_stall_the_chip_and_leave_rows_without_accuracy(cli):
    code, out, err = cli("inject", "--fault", "{kind: core_hung, count: 1}", "--draws", "2", "--samples", "20", "--json", "-")
    assert code == 0, err
    result = json.loads(out)
    assert [draw["status"] for draw in result["draws"]] == ["stalled", "stalled"]
    assert all(draw["accuracy"] is None and draw["spikes"] is None for draw in result["draws"])
    assert result["damaged_accuracy"] == {"mean": None, "low": None, "high": None, "interval": None, "outcomes": None}
    code, out, err = cli("inject", "--fault", "{kind: core_hung, count: 1}", "--draws", "2", "--samples", "20")
    assert code == 0, err
    assert "no accuracy is left: every draw stalled" in out


def test_several_faults_and_a_defect_map_act_together(cli, tmp_path):
    (tmp_path / "defects.yaml").write_text("defects:\n  - {kind: core_dead, cores: [9]}\n")
    code, out, err = cli(
        "inject", "--defects", str(tmp_path / "defects.yaml"), "--fault", "{kind: synapse_bit_flip, rate: 1e-2, bits: msb}",
        "--fault", "neuron_dead", "--count", "2", "--draws", "2", "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    first = json.loads(out)["draws"][0]["faults"]
    assert [hit["kind"] for hit in first] == ["core_dead", "synapse_bit_flip", "neuron_dead"]
    assert first[0]["cores"] == [9]
    assert first[2]["neurons"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "{kind: core_dead, cuont: 1}"], "core_dead: unknown key 'cuont' (did you mean 'count'?)"),
        (["--fault", "{kind: core_dead, count: 1"], "--fault:1:"),
        (["--defects", "no.yaml"], "no.yaml"),
        (["--fault", "{kind: synapse_dead, count: 1, when: {kind: transient, start: 5, stop: 2}}"], "synapse_dead: "),
        (["--fault", "core_dead", "--count", "1", "--at", "core:0-7", "--layer", "hidden"], "core_dead: "),
    ],
)
def test_bad_faults_get_one_message(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("inject", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_map_draws_every_used_core(cli):
    code, out, err = cli("map", "--neurons-per-core", "10", "--place", "spread", "--spare-cores", "3")
    assert code == 0, err
    grid = out.split("chip 0\n")[1].split("\n\n")[0]
    assert [grid.count(mark) for mark in "i1o"] == [7, 10, 1]
    assert "100 neurons on 10 cores" in out
    assert re.search(r"3 .*spare", out)


def test_train_says_how_good_the_network_is(cli):
    code, out, err = cli("train", "digits-mlp")
    assert code == 0, err
    _, first, *lines = out.splitlines()
    assert first == "digits-mlp weights 26e398c5d12a99b3"
    assert [line.split()[1] for line in lines] == ["digits/train", "digits/validation", "digits/test"]
    assert float(lines[0].split()[2]) > float(lines[2].split()[2]) > 95


def test_faults_are_listed_and_described(cli):
    code, out, _ = cli("faults", "list")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines() if line.startswith("  ")} == set(KINDS)
    for kind in KINDS:
        code, out, _ = cli("faults", "describe", kind)
        assert code == 0
        for part in ("equation", "mechanism", "parameters", "example"):
            assert part in out
    code, _, err = cli("faults", "describe", "core_ded")
    assert code == 2
    assert err.startswith("neurofault: unknown kind 'core_ded' (did you mean 'core_dead'?)")


def test_loihi1_runs_too(cli):
    code, out, err = cli("inject", "--profile", "loihi1", "--kill-cores", "1", "--draws", "2", "--json", "-")
    assert code == 0, err
    result = json.loads(out)
    assert result["profile"] == "loihi1"
    assert result["energy_evidence"] == "simulated"


def test_the_readmes_python_runs(capsys):
    block = re.search(r"## In Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {})
    healthy, broken = map(float, capsys.readouterr().out.splitlines()[:2])
    assert healthy > 0.94
    assert broken < healthy


def test_the_readme_names_every_verb(cli):
    _, out, _ = cli("--help")
    verbs = re.findall(r"^  (\w+)  ", out, re.MULTILINE)
    assert len(verbs) >= 7
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in verbs if f"neurofault {verb}" not in text] == []


SHARED = {
    "weights",
    "data",
    "data_dir",
    "signed",
    "binning",
    "timesteps",
    "calibrate",
    "reset",
    "dt",
    "nir_reset",
    "readout",
    "neurons_per_core",
}


@pytest.mark.parametrize("verb", [inject, rescue, atlas, map_, convert])
def test_the_verbs_read_networks_and_data_by_the_same_options(verb):
    assert set(inspect.signature(verb).parameters) >= SHARED


def test_the_help_of_data_names_every_data_set():
    (option,) = get_args(options.Data)[1:]
    assert [name for name in NAMES if f" {name}," not in option.help.replace(";", ",")] == []


def test_a_second_fault_of_the_same_kind_is_another_draw(cli):
    code, out, err = cli(
        "inject", "--fault", "{kind: core_dead, count: 1}", "--fault", "{kind: core_dead, count: 1}",
        "--draws", "8", "--samples", "10", "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    pairs = [tuple(hit["cores"][0] for hit in draw["faults"]) for draw in json.loads(out)["draws"]]
    assert any(first != second for first, second in pairs)


def test_notes_say_what_a_figure_hides(cli):
    code, out, err = cli(
        "inject", "--neurons-per-core", "100", "--fault", "learning_frozen", "--count", "1", "--draws", "2", "--samples", "10"
    )
    assert code == 0, err
    assert "note: all of hidden1 sits on one core, so losing that core loses it; --neurons-per-core spreads it" in " ".join(
        out.split()
    )
    assert "note: faults of the learning engine act only while a chip learns; inference is untouched" in " ".join(out.split())
    _, out, _ = cli("inject", "--kill-cores", "1", "--draws", "2", "--samples", "10")
    assert "note:" not in out


def test_one_bit_weights_run(cli):
    code, out, err = cli("inject", "--weight-bits", "1", "--kill-cores", "1", "--draws", "2", "--samples", "10", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["healthy_accuracy"] <= 1
