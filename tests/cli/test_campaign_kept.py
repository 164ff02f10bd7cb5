"""`neurofault campaign` keeps what it promises: whose results they are, exit codes, labels, paths, terminals."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from neurofault.cli import campaign as verb
from neurofault.cli import tables
from neurofault.deploy.profile_file import profile_folder
from neurofault.study.campaign.folder import JOURNAL
from neurofault.study.campaign.journal import line_of, read_rows
from neurofault.study.campaign.report import write_report
from neurofault.study.campaign.summary import answer_of, found_in

PLAIN = """\
name: same
network: {zoo: digits-mlp}
data: {samples: 20}
faults: [{kind: core_dead, count: 2}]
repeats: {draws: 2, seed: 5}
"""
ONE = ("--workers", "1")


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(PLAIN)
    return tmp_path


def profile(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((profile_folder() / "loihi2.yaml").read_text(encoding="utf-8"), encoding="utf-8")


def test_failures_end_in_1_however_often_it_is_run_and_in_whatever_folder(cli, at_work):
    (at_work / "x.yaml").write_text(PLAIN.replace("count: 2", "count: 99"))
    for ran, kept in ((2, 0), (0, 2)):
        code, out, err = cli("campaign", "run", "x.yaml", *ONE)
        assert code == 1
        assert out.split("\n", 1)[1].startswith(f"runs/same: {ran} trials run, {kept} kept from before, 2 failed\n")
        assert "2 × error: core_dead: " in err
    code, out, _ = cli("campaign", "run", "x.yaml", *ONE, "--retry")
    assert (code, out.split("\n")[1]) == (1, "runs/same: 2 trials run, 0 kept from before, 2 failed")
    assert cli("campaign", "status", "x.yaml")[:2] == (0, "runs/same: 2 of 2 trials have a row: 2 error\n")
    mended = [{**row, "status": "ok", "message": ""} for row in read_rows(at_work / "runs/same" / JOURNAL).rows[:2]]
    (at_work / "runs/same" / JOURNAL).write_bytes(b"".join(map(line_of, mended)))
    assert cli("campaign", "run", "x.yaml", *ONE)[0] == 0  # what is in the folder decides


def test_a_folder_answers_for_its_own_file_alone(cli, at_work):
    (at_work / "b.yaml").write_text(PLAIN.replace("core_dead", "synapse_dead"))
    assert cli("campaign", "run", "a.yaml", *ONE)[0] == 0
    before = {file.name: file.read_bytes() for file in (at_work / "runs/same").iterdir() if file.is_file()}
    said = "runs/same holds another campaign of the name same, that of "
    for arguments in (("run", "b.yaml", *ONE), ("report", "b.yaml"), ("status", "b.yaml"), ("export", "b.yaml", "rows.csv")):
        code, out, err = cli("campaign", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"neurofault: {said}")
        assert "--out" in err
        assert err.count("\n") == 1
    assert {file.name: file.read_bytes() for file in (at_work / "runs/same").iterdir() if file.is_file()} == before
    assert cli("campaign", "run", "b.yaml", *ONE, "--out", "b")[0] == 0
    assert "synapse_dead · none" in cli("campaign", "report", "b.yaml", "--out", "b")[1]
    assert "core_dead · none" in cli("campaign", "report", "a.yaml")[1]
    assert cli("campaign", "status", "a.yaml", "--out", "b")[0] == 2
    assert cli("campaign", "run", "a.yaml", *ONE, "--set", "repeats.draws=1")[0] == 0
    code, _, err = cli("campaign", "status", "a.yaml")
    assert (code, err) == (
        0,
        "runs/same was run with other settings than a.yaml has now (edited since, or --set); these are its own\n",
    )


def test_paths_are_from_the_file_that_names_them_and_a_run_can_be_made_again_anywhere(cli, at_work, monkeypatch):
    project = at_work / "project"
    profile(project / "chips" / "mine.yaml")
    profile(project / "shared" / "chips" / "other.yaml")
    profile(at_work / "here.yaml")
    (project / "netsofmine.py").write_text(
        "from torch import nn, manual_seed\ndef net():\n manual_seed(1)\n return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))\n"
    )
    (project / "shared" / "base.yaml").write_text("profile: chips/other.yaml\n")
    text = (
        PLAIN.replace("{zoo: digits-mlp}", "{torch: netsofmine:net}")
        .replace("draws: 2", "draws: 1")
        .replace("count: 2", "count: 1")
    )
    (project / "own.yaml").write_text(text.replace("same", "own") + "profile: chips/mine.yaml\n")
    (project / "base.yaml").write_text("include: shared/base.yaml\n" + text)
    for arguments in (("project/own.yaml",), ("project/base.yaml",), ("project/base.yaml", "--set", "profile=here.yaml")):
        assert cli("campaign", "check", *arguments)[0] == 0
        code, _, err = cli("campaign", "run", *arguments, *ONE, "--out", "run")
        assert code == 0, err
    rows = read_rows(at_work / "run" / JOURNAL).rows
    assert len(rows) == 1  # the three profiles hold the same numbers
    resolved = json.loads((at_work / "run/resolved.json").read_text())
    assert resolved["profile"] == "inputs/here.yaml"
    assert resolved["network"] == {"torch": "netsofmine:net", "folder": str(project)}
    shutil.move(at_work / "run", at_work / "elsewhere")
    (at_work / "here.yaml").unlink()
    (at_work / "empty").mkdir()
    monkeypatch.chdir(at_work / "empty")
    code, out, err = cli("campaign", "run", "../elsewhere/resolved.json", *ONE)
    assert code == 0, err
    assert out.split("\n", 1)[1].startswith("../elsewhere: 0 trials run, 1 kept from before, 0 failed\n")
    assert (
        cli("campaign", "run", "../elsewhere/resolved.json", *ONE, "--out", "mine")[1]
        .splitlines()[1]
        .startswith("mine: 1 trial run")
    )
    assert answer_of(found_in(at_work / "elsewhere"))["profile"] == "here.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("profile: chips/mine.yaml\n", "a.yaml:6:10: profile 'chips/mine.yaml': no file {}/chips/mine.yaml, and no bundled profile of that name"),
        ("profile: loihi3\n", "(did you mean 'loihi2'?)"),
        ("network: {torch: 'a:b', weights: w.pt}\n", "a.yaml:6:34: network.weights: no file {}/w.pt"),
        ("network: {nir: x.nir}\n", "a.yaml:6:16: network.nir: no file {}/x.nir"),
        ("network: {sweep: [{zoo: digits-mlp}, {nir: x.nir}]}\n", "network.nir: no file {}/x.nir"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_said_at_its_place_before_anything_runs(cli, at_work, change, message):
    text = PLAIN.replace("network: {zoo: digits-mlp}\n", "\n") if change.startswith("network") else PLAIN
    (at_work / "a.yaml").write_text(text + change)
    for command in ("check", "run", "plan"):
        code, out, err = cli("campaign", command, "a.yaml")
        assert (code, out) == (2, "")
        assert message.format(at_work) in err
    assert not (at_work / "runs").exists()


def test_what_a_user_wrote_is_printed_as_it_is(cli, at_work):
    profile(at_work / "p [rev b]" / "old[/bold]" / "p[red].yaml")
    change = {
        "count: 2": "count: {sweep: [1, 2]}, at: {sweep: [['core:8-14'], ['core:15-20']]}",
        "repeats:": "profile: 'p [rev b]/old[/bold]/p[red].yaml'\nrepeats:",
    }
    text = PLAIN
    for old, new in change.items():
        text = text.replace(old, new)
    (at_work / "a.yaml").write_text(text)
    code, out, err = cli("campaign", "run", "a.yaml", *ONE)
    assert code == 0, err
    assert "digits-mlp on p[red].yaml, " in out
    assert len(re.findall(r"^core_dead · at \[core:8-14\] · none +[12] ", out, re.MULTILINE)) == 2
    assert len(re.findall(r"^core_dead · at \[core:15-20\] · none +[12] ", out, re.MULTILINE)) == 2
    code, out, err = cli("campaign", "plan", "a.yaml")
    assert code == 0, err
    assert 'faults.0.at = ["core:8-14"]' in out
    cli("campaign", "export", "a.yaml", "rows.csv")
    rows = list(csv.DictReader((at_work / "rows.csv").open()))
    assert [row["fault.0.at"] for row in rows] == ['["core:8-14"]', '["core:8-14"]', '["core:15-20"]', '["core:15-20"]'] * 2
    assert [row["axis.faults.0.count"] for row in rows] == ["1"] * 4 + ["2"] * 4
    assert len({row["curve"] for row in rows}) == 2


def test_the_table_says_by_which_method_its_intervals_are_made(cli, at_work):
    assert cli("campaign", "run", "a.yaml", *ONE)[0] == 0
    alike = cli("campaign", "report", "a.yaml")[1]
    assert re.search(r"; 95 % intervals: Student's t over draws$", alike, re.MULTILINE)
    assert "method" not in alike
    assert cli("campaign", "run", "a.yaml", *ONE, "--set", "faults.0.count={sweep: [2, 13]}", "--out", "both")[0] == 0
    both = cli("campaign", "report", "both")[1]
    assert re.search(
        r"; 95 % intervals: t: Student's t over draws; exact: every outcome that there is was run$", both, re.MULTILINE
    )
    rows = [re.split(r" {2,}", line) for line in both.splitlines() if line.startswith(("what ", "core_dead "))]
    assert [row[rows[0].index("method")] for row in rows] == ["method", "t", "exact"]
    page = (at_work / "both" / "report.html").read_text(encoding="utf-8")
    assert '<th scope="col">method</th>' in page
    assert "(t: Student&#39;s t over draws; exact: every outcome that there is was run)" in page


def test_one_draw_is_marked_and_a_terminal_of_40_columns_cuts_no_number(cli, at_work, monkeypatch):
    assert cli("campaign", "run", "a.yaml", *ONE, "--set", "repeats.draws=1")[0] == 0
    wide = cli("campaign", "report", "a.yaml")[1]
    assert "; 95 % intervals: Wilson's over the samples of the one draw, which says nothing about other draws\n" in wide
    assert re.search(r" 1 +0$", wide, re.MULTILINE)
    numbers = re.findall(r"[0-9]+\.[0-9]+ %", wide)
    for columns in (40, 20, 79):
        for module in (verb, tables):
            monkeypatch.setattr(module, "width", lambda columns=columns: columns)
        narrow = cli("campaign", "report", "a.yaml")[1]
        assert re.findall(r"[0-9]+\.[0-9]+ %", re.sub(r"\s+", " ", narrow)) == numbers
        assert "…  " not in narrow
        words = max(len(word) for word in narrow.split())
        assert all(len(line) <= max(columns, words + 4) for line in narrow.split("\n"))


def test_a_shard_is_two_numbers(cli, at_work):
    for text in ("²/3", "1/³", "٣/3", "1/", "/2", "-1/2", "1/2/3", " 1/2", "9" * 500 + "/3", "0x1/2"):
        code, out, err = cli("campaign", "run", "a.yaml", "--shard", text)
        assert (code, out, err) == (2, "", f"neurofault: --shard {text}: expected i/n, such as 1/8\n")
    assert (
        cli("campaign", "run", "a.yaml", "--shard", "0/2")[2]
        == "neurofault: shard 0/2: the first number goes from 1 to the second\n"
    )
    assert "faults.²" not in cli("campaign", "check", "a.yaml", "--set", "faults.0.count=1")[2]
    assert cli("campaign", "check", "a.yaml", "--set", "faults.².count=1")[0] == 2


def test_what_must_be_known_first_stands_first(cli, at_work):
    text = PLAIN.replace("count: 2}]", "count: 2}, {kind: synapse_bit_flip, rate: 1e-9}]")
    (at_work / "a.yaml").write_text(text + "rescue: [{strategy: none}, {strategy: sham, learner: delta}]\n")
    code, out, err = cli("campaign", "run", "a.yaml", *ONE)
    assert code == 0, err
    assert "note: synapse_bit_flip · none: no draw hit anything\n" in out
    found = found_in(at_work / "runs/same")
    bad = tuple({**row, "correct": row["correct"] - 1} if row["cell"] == 1 else row for row in found.rows)
    answer = answer_of(replace(found, rows=bad))
    assert next(note for note in answer["notes"] if "sham" in note).startswith(
        "core_dead · sham · delta: on a healthy chip this learning alone costs "
    )
    page = write_report(at_work / "page", answer).read_text()
    assert page.index("on a healthy chip this learning alone costs") < page.index("What was tested")


def test_a_folder_that_cannot_take_the_report_still_gets_the_table(cli, at_work):
    assert cli("campaign", "run", "a.yaml", *ONE)[0] == 0
    shutil.rmtree(at_work / "runs/same/figures")
    (at_work / "runs/same/figures").write_text("in the way")
    code, out, err = cli("campaign", "report", "a.yaml")
    assert code == 2
    assert "core_dead · none" in out
    assert err.startswith("neurofault: runs/same/figures/accuracy1.svg: ")
    assert err.count("\n") == 1


def test_figures_of_an_earlier_report_are_cleared_away_and_others_are_not(cli, at_work):
    both = ("--set", "faults=[{kind: core_dead, count: {sweep: [1, 2]}}, {kind: synapse_bit_flip, rate: {sweep: [1e-3, 1e-2]}}]")
    assert cli("campaign", "run", "a.yaml", *ONE, *both)[0] == 0
    figures = at_work / "runs/same/figures"
    (figures / "mine.svg").write_text("kept")
    assert (figures / "accuracy2.svg").exists()
    assert cli("campaign", "run", "a.yaml", *ONE)[0] == 0
    assert {file.name for file in figures.iterdir()} == {"accuracy1.svg", "accuracy1.csv", "chip.svg", "chip.csv", "mine.svg"}


def test_a_plan_looks_at_every_cell(cli, at_work):
    counts = [*range(1, 14), 99]
    code, out, err = cli("campaign", "plan", "a.yaml", "--set", f"faults.0.count={{sweep: {counts}}}", "--set", "repeats.draws=1")
    assert code == 0
    assert len(re.findall(r" [0-9,]+ of [0-9,]+$", out, re.MULTILINE)) == 13
    assert err.startswith("1 of 14 cells fail, the first is 13: core_dead: 99 used cores asked for")


def test_a_disk_without_room_and_a_file_in_the_way_are_said_before_the_work(cli, at_work):
    (at_work / "runs").write_text("in the way")
    code, out, err = cli("campaign", "run", "a.yaml", *ONE)
    assert (code, out, err) == (2, "", "neurofault: runs/same: Not a directory\n")
