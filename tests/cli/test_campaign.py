"""`neurofault campaign`, end to end through the command line, on digits."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = """\
name: tiny
network: {zoo: digits-mlp}
data: {samples: 40, adapt: 40}
faults:
  - {kind: core_dead, count: {sweep: [1, 3]}}
rescue:
  - {strategy: none}
  - {strategy: batch, learner: delta}
repeats: {draws: 2, seed: 7}
"""


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "{kind: synapse_dead, connection: hiden1, count: 1}",
            "synapse_dead: no connection 'hiden1' (did you mean 'hidden1'?); connections: hidden1, output",
        ),
        (
            "{kind: core_dead, layer: {sweep: [hiden1, hidden1]}, count: 1}",
            "core_dead: no layer 'hiden1' (did you mean 'hidden1'?); layers: input, hidden1, output, any, hidden",
        ),
    ],
)
def test_a_name_that_no_network_has_is_refused_before_anything_runs(cli, at_work, verb, fault, message):
    (at_work / "tiny.yaml").write_text(TINY.replace("{kind: core_dead, count: {sweep: [1, 3]}}", fault))
    assert cli("campaign", verb, "tiny.yaml") == (2, "", f"neurofault: {message}\n")
    assert not (at_work / "runs").exists()


def test_from_a_file_to_a_report(cli, at_work):
    code, out, err = cli("campaign", "check", "tiny.yaml")
    assert (code, out, err) == (0, "tiny.yaml: 4 cells, 8 trials; axes: faults.0.count (2)\n", "")

    code, out, err = cli("campaign", "plan", "tiny.yaml")
    assert code == 0, err
    assert "4 cells, 8 trials; about " in out
    assert "measured here with one trial of each of 4 cells" in out

    code, out, err = cli("campaign", "run", "tiny.yaml", "--workers", "1")
    assert code == 0, err
    assert out.split("\n", 1)[1].startswith("runs/tiny: 8 trials run, 0 kept from before, 0 failed\n")
    assert "core_dead · batch · delta" in out or "batch · delta" in out
    assert {path.name for path in (at_work / "runs" / "tiny").iterdir()} >= {
        "campaign.yaml", "resolved.json", "environment.json", "planned.json", "journal.jsonl", "trials.parquet", "report.html", "figures",
    }  # fmt: skip
    assert (at_work / "runs/tiny/campaign.yaml").read_text() == TINY

    code, out, err = cli("campaign", "run", "tiny.yaml", "--workers", "1")
    assert code == 0, err
    assert out.split("\n", 1)[1].startswith("runs/tiny: 0 trials run, 8 kept from before, 0 failed\n")

    assert cli("campaign", "status", "tiny.yaml") == (0, "runs/tiny: 8 of 8 trials have a row: 8 ok\n", "")
    assert cli("campaign", "status", "runs/tiny")[1] == cli("campaign", "status", "tiny.yaml")[1]

    code, out, err = cli("campaign", "export", "tiny.yaml", "rows.csv")
    assert (code, out) == (0, "wrote 8 rows to rows.csv\n"), err
    with (at_work / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["axis.faults.0.count"] for row in rows] == ["1"] * 4 + ["3"] * 4

    code, out, err = cli("campaign", "report", "runs/tiny", "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["trials"] == {"planned": 8, "done": 8, "failed": 0, "others": 0}
    assert [len(curve["points"]) for curve in answer["curves"]] == [2, 2]


def test_shards_run_apart_and_are_merged(cli, at_work):
    for number in (1, 2):
        code, _, err = cli("campaign", "run", "tiny.yaml", "--workers", "1", "--shard", f"{number}/2", "--out", f"part{number}")
        assert code == 0, err
    assert cli("campaign", "merge", "whole", "part1", "part2")[:2] == (0, "whole: 8 rows added, 0 were there already\n")
    assert cli("campaign", "status", "whole")[1] == "whole: 8 of 8 trials have a row: 8 ok\n"


def test_the_command_of_the_report_runs_the_same_again(cli, at_work, monkeypatch):
    (at_work / "wide.yaml").write_text("include: tiny.yaml\nname: wide\n")
    code, _, err = cli("campaign", "run", "wide.yaml", "--workers", "1", "--set", "repeats.draws=1")
    assert code == 0, err
    before = {path.name: path.read_bytes() for path in (at_work / "runs/wide").iterdir() if path.is_file()}
    monkeypatch.chdir(at_work / "runs/wide")
    command = json.loads(cli("campaign", "report", ".", "--json", "-")[1])["command"].split()
    code, out, err = cli(*command[1:], "--workers", "1")
    assert code == 0, err
    assert out.split("\n", 1)[1].startswith(".: 0 trials run, 4 kept from before, 0 failed\n")
    assert before == {path.name: path.read_bytes() for path in (at_work / "runs/wide").iterdir() if path.is_file()}


def test_what_the_report_needs_is_asked_for_before_anything_runs(cli, at_work, monkeypatch):
    from neurofault.study import page

    monkeypatch.setattr(page, "find_spec", lambda name: None if name in ("jinja2", "pyarrow") else name)
    code, out, err = cli("campaign", "run", "tiny.yaml", "--workers", "1")
    assert (code, out) == (2, "")
    assert err == "neurofault: the report needs jinja2 and pyarrow: pip install 'neurofault[campaign]'\n"
    assert not (at_work / "runs").exists()


def test_failed_trials_end_in_exit_code_1_with_their_reasons(cli, at_work):
    change = ("--set", "faults.0.count={sweep: [1, 99]}", "--set", "rescue=[{strategy: none}]", "--workers", "1")
    code, out, err = cli("campaign", "run", "tiny.yaml", *change)
    assert code == 1
    assert "4 trials run, 0 kept from before, 2 failed" in out
    assert re.search(r"^2 × error: core_dead: .*99", err, re.MULTILINE)
    code, out, err = cli(
        "campaign", "run", "tiny.yaml", "--workers", "1", "--set", "faults.0.count=3", "--set", "rescue=[{strategy: none}]"
    )
    assert code == 0
    assert "4 rows of other settings are kept in the journal and not shown" in out


def test_ctrl_c_while_workers_start_ends_cleanly(at_work):
    command = [sys.executable, "-m", "neurofault", "campaign", "run", "tiny.yaml", "--workers", "2"]
    process = subprocess.Popen(
        command, cwd=at_work, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (at_work / "runs/tiny/.chips.pkl").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: everyone in the group gets it
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "stopped; what is done is kept, and the same command goes on" in err
    assert "Traceback" not in err
    assert out.startswith("runs/tiny: ")


def test_the_schema_is_json(cli):
    code, out, _ = cli("campaign", "schema")
    assert code == 0
    assert json.loads(out)["anyOf"] == [{"required": ["name", "network", "faults"]}, {"required": ["include"]}]
    assert set(json.loads(out)["properties"]) >= {"name", "network", "faults", "rescue", "repeats", "include"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "none.yaml"], "none.yaml: "),
        (["run", "tiny.yaml", "--shard", "1of2"], "--shard 1of2: expected i/n, such as 1/8"),
        (["run", "tiny.yaml", "--shard", "3/2"], "shard 3/2: the first number goes from 1 to the second"),
        (["run", "tiny.yaml", "--workers", "0"], "workers must be at least 1, is 0"),
        (["run", "tiny.yaml", "--dask", "tcp://nowhere.invalid:1"], "--dask tcp://nowhere.invalid:1: no scheduler answers"),
        (["run", "tiny.yaml", "--set", "data.name=mnistt"], "mnistt"),
        (["check", "tiny.yaml", "--set", "repeats.draws=0"], "--set repeats.draws=0: repeats.draws: must be at least 1, is 0"),
        (["check", "tiny.yaml", "--set", "repeats.stop={half_width: 2}"], "repeats.stop: half_width must be below 1, is 2"),
        (["check", "tiny.yaml", "--set", "repeats.stop={half_width: 0.1}"], "repeats: stop.first must be at most draws (2), is 10"),
        (
            ["check", "tiny.yaml", "--set", "faults.0.count={swep: [1, 2]}"],
            "faults.0.count: unknown key 'swep' (did you mean 'sweep'?)",
        ),
        (["status", "tiny.yaml"], "runs/tiny: no journal there; `neurofault campaign run FILE` makes one"),
        (["report", "."], ".: no journal there"),
        (["export", "tiny.yaml", "rows.xlsx"], "rows.xlsx: rows are written as .parquet or .csv"),
        (["merge", "whole", "part1"], "part1: no journal there"),
    ],
)
def test_bad_input_gets_one_message(cli, at_work, arguments, message):
    code, out, err = cli("campaign", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_every_mistake_of_a_file_is_told_at_once(cli, at_work):
    (at_work / "bad.yaml").write_text(
        TINY.replace("digits-mlp", "digits-mpl").replace("draws: 2", "drawss: 2").replace("none}", "nun}")
    )
    code, out, err = cli("campaign", "check", "bad.yaml")
    assert (code, out) == (2, "")
    assert "bad.yaml:9:11: unknown key 'drawss' in repeats (did you mean 'draws'?); allowed: draws, seed, stop" in err
    assert "bad.yaml:7:16: rescue[0].strategy: no strategy 'nun'" in err


def test_a_second_writer_is_refused(cli, at_work):
    from neurofault.study.campaign.journal import Journal

    (at_work / "runs" / "tiny").mkdir(parents=True)
    with Journal(at_work / "runs" / "tiny" / "journal.jsonl"):
        code, out, err = cli("campaign", "run", "tiny.yaml", "--workers", "1")
    assert (code, out) == (2, "")
    assert "another run writes to it" in err
