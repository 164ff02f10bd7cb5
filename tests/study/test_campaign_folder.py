"""A run folder: nobody's files are replaced, nothing is lost, and half of one is one line."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from campaigns import SMALL, made_ready, ran, rows_in, written

from neurofault.errors import NeurofaultError, UsageError
from neurofault.study.campaign.folder import CHIPS, JOURNAL, PLANNED, RESOLVED, WRITTEN, check_folder, whose
from neurofault.study.campaign.identity import settings_of
from neurofault.study.campaign.journal import Journal, line_of, read_rows
from neurofault.study.campaign.rows import SEMANTICS, best
from neurofault.study.campaign.run import merge, planned_of
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.summary import found_in
from neurofault.study.campaign.tables import write_csv, write_parquet

PLAIN = SMALL.replace("\n  - {strategy: batch, learner: delta}", "").replace("draws: 3", "draws: 2")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return made_ready(tmp_path_factory.mktemp("spec"), PLAIN)


@pytest.fixture(scope="module")
def calm(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm") / "run"
    assert ran(folder, state).ran == 6
    return folder


def copied(source, target, without=()):
    target.mkdir()
    for file in source.iterdir():
        if file.is_file() and file.name not in without:
            (target / file.name).write_bytes(file.read_bytes())
    return target


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def test_a_writer_that_is_refused_has_changed_nothing(state, calm, tmp_path):
    folder = copied(calm, tmp_path / "run")
    other = made_ready(tmp_path, PLAIN.replace("[1, 3]", "[2]"))
    with Journal(folder / JOURNAL):
        before = contents(folder)
        with pytest.raises(UsageError, match="another run writes to it"):
            ran(folder, other)
        with pytest.raises(UsageError, match="another run writes to it"):
            check_folder(folder, other.campaign, named=True)
        with pytest.raises(UsageError, match="another run writes to it"):
            merge(folder, [calm])
        assert contents(folder) == before


def test_a_folder_belongs_to_the_file_that_ran_there(state, calm, tmp_path):
    (tmp_path / "other").mkdir()
    same, changed = written(tmp_path / "other", PLAIN), PLAIN.replace("[1, 3]", "[2]")
    assert whose(calm, load_campaign(same)) is None  # the same, written elsewhere
    written(tmp_path / "other", changed)
    with pytest.raises(UsageError, match=r"holds another campaign of the name small, that of .*/campaign.yaml; give .*--out"):
        whose(calm, load_campaign(same))
    with pytest.raises(UsageError, match="holds another campaign"):
        check_folder(calm, load_campaign(same), named=False)
    check_folder(calm, load_campaign(same), named=True)
    own = load_campaign(state.campaign.path, ["repeats.seed=9"])
    assert "was run with other settings than" in (whose(calm, own) or "")
    assert whose(calm, load_campaign(calm / RESOLVED)) is None
    assert whose(tmp_path / "nothing", own) is None


def test_limits_and_how_it_is_written_are_no_other_settings(state, tmp_path):
    base = settings_of(state.campaign)
    for same in (PLAIN + "limits: {seconds: 5}\n", PLAIN.replace("1e-2", "0.01")):
        assert settings_of(load_campaign(written(tmp_path, same))) == base
    assert settings_of(load_campaign(written(tmp_path, PLAIN.replace("1e-2", "2e-2")))) != base


def test_shards_that_differ_in_limits_are_merged_and_a_good_row_wins_in_every_order(calm, tmp_path):
    rows = list(read_rows(calm / JOURNAL).rows)
    bad = [{**row, "status": "timeout", "message": "slow", "correct": None, "damaged_correct": None} for row in rows]
    folders = {name: copied(calm, tmp_path / name, (JOURNAL,)) for name in ("good", "bad", "both", "late")}
    for name, lines in (("good", rows[:4]), ("bad", bad), ("both", rows + bad), ("late", bad[:2] + rows[:2])):
        (folders[name] / JOURNAL).write_bytes(b"".join(map(line_of, lines)))
    data = json.loads((folders["bad"] / RESOLVED).read_text())
    (folders["bad"] / RESOLVED).write_text(json.dumps({**data, "limits": {"seconds": 1}}))
    for name, order in (("a", ("good", "bad")), ("b", ("bad", "good"))):
        merge(tmp_path / name, [folders[one] for one in order])
        assert [row["status"] for row in rows_in(tmp_path / name)].count("timeout") == 2
    assert merge(tmp_path / "b", [folders["both"]]) == (2, 4)
    assert rows_in(tmp_path / "b") == rows_in(calm)
    assert {row["status"] for row in found_in(folders["both"]).rows} == {"ok"}
    assert [row["status"] for row in best(read_rows(folders["late"] / JOURNAL).rows).values()] == ["ok", "ok"]


def test_rows_of_an_earlier_version_are_kept_and_run_again(state, calm, tmp_path):
    folder = copied(calm, tmp_path / "run")
    old = [
        {key: value for key, value in row.items() if key not in ("semantics", "engine", "bits")}
        for row in read_rows(calm / JOURNAL).rows
    ]
    (folder / JOURNAL).write_bytes(b"".join(map(line_of, old)))
    assert found_in(folder).earlier == 6
    outcome = ran(folder, state)
    assert (outcome.ran, outcome.kept, outcome.earlier) == (6, 0, 6)
    assert len(read_rows(folder / JOURNAL).rows) == 12
    assert len(found_in(folder).rows) == 6


def test_rows_that_no_trial_makes_are_not_used(state, calm, tmp_path):
    folder = copied(calm, tmp_path / "run")
    first, *rest = read_rows(calm / JOURNAL).rows
    for wrong in (
        {"samples": 0},
        {"correct": "many"},
        {"cores": None},
        {"status": "fine"},
        {"correct": 61},
        {"draw": None},
        {"worst": True},
    ):
        (folder / JOURNAL).write_bytes(b"".join(map(line_of, [{**first, **wrong}, *rest])))
        assert len(found_in(folder).rows) == 5
    assert first["semantics"] == SEMANTICS


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda folder: (folder / RESOLVED).unlink(), "half a run folder: resolved.json is missing"),
        (lambda folder: (folder / PLANNED).unlink(), "planned.json: cannot be read"),
        (lambda folder: (folder / PLANNED).write_text("[]"), "planned.json: damaged"),
        (lambda folder: (folder / PLANNED).write_text("{"), "planned.json: damaged"),
        (lambda folder: (folder / PLANNED).write_bytes(b"\xff\x00"), "planned.json: damaged"),
        (lambda folder: edit(folder / PLANNED, lambda data: data.pop("digests")), "planned.json: damaged (digests: "),
        (lambda folder: edit(folder / PLANNED, lambda data: data["chip_of"].pop("0")), "are not of one run"),
        (lambda folder: edit(folder / PLANNED, lambda data: data["chip_of"].update({"0": "chip9"})), "are not of one run"),
        (lambda folder: edit(folder / RESOLVED, lambda data: data["faults"][0]["count"]["sweep"].append(2)), "are not of one run"),
        (lambda folder: edit(folder / RESOLVED, lambda data: data["repeats"].update({"seed": 8})), "are not of one run"),
        (lambda folder: (folder / RESOLVED).write_text("{"), "resolved.json:1:2: not YAML"),
        (lambda folder: (folder / RESOLVED).write_text("[1]"), "resolved.json:1:1: the top level must be a mapping"),
        (lambda folder: (folder / JOURNAL).unlink(), "no journal there"),
    ],
)  # fmt: skip
def test_half_a_run_folder_is_one_line(calm, tmp_path, broken, message):
    folder = copied(calm, tmp_path / "run")
    broken(folder)
    with pytest.raises(NeurofaultError) as caught:
        found_in(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    if not (folder / RESOLVED).exists() or not (folder / JOURNAL).exists():
        with pytest.raises(UsageError, match=r"half a run folder|no journal there"):
            merge(tmp_path / "whole", [folder])
        assert not (tmp_path / "whole").exists()


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_run_makes_a_half_folder_whole_and_keeps_its_rows(state, calm, tmp_path):
    folder = copied(calm, tmp_path / "run", (RESOLVED, PLANNED, WRITTEN))
    assert ran(folder, state).kept == 6
    assert len(found_in(folder).rows) == 6


def test_what_killed_runs_left_behind_is_cleared_away(state, calm, tmp_path):
    folder = copied(calm, tmp_path / "run")
    dead = 4_000_000  # above the largest process id of Linux's default
    (folder / "figures").mkdir()
    for file in (folder / f"planned.json.{dead}.part", folder / "figures" / f"a.svg.{dead}.part", folder / CHIPS):
        file.write_text("left")
    (folder / f"b.json.{os.getppid()}.part").write_text("at work")
    ran(folder, state)
    assert [file.name for file in sorted(folder.rglob("*.part"))] == [f"b.json.{os.getppid()}.part"]
    assert not (folder / CHIPS).exists()


def test_a_campaign_through_a_pipe_is_stored_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    threading.Thread(target=lambda: (os.write(writer, PLAIN.encode()), os.close(writer))).start()
    campaign = load_campaign(Path(f"/dev/fd/{reader}"))
    assert campaign.source.decode() == PLAIN
    assert campaign.base == tmp_path


def test_a_table_without_rows_has_its_columns_and_their_types(state, calm, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = copied(calm, tmp_path / "run")
    write_parquet(found_in(folder), tmp_path / "full.parquet")
    write_csv(found_in(folder), tmp_path / "full.csv")
    (folder / JOURNAL).write_bytes(b"")
    write_parquet(found_in(folder), tmp_path / "none.parquet")
    write_csv(found_in(folder), tmp_path / "none.csv")
    full, none = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("full", "none"))
    assert full.schema == none.schema
    assert (full.num_rows, none.num_rows) == (6, 0)
    assert (tmp_path / "none.csv").read_text() == (tmp_path / "full.csv").read_text().split("\n")[0] + "\n"
    types = {name: str(full.schema.field(name).type) for name in full.column_names}
    assert types["axis.faults.0.count"] == types["fault.0.count"] == types["correct"] == types["bits"] == "int64"
    assert types["fault.0.rate"] == types["rescue.cycles"] == "double"
    assert types["fault.0.kind"] == types["fault.0.where"] == types["curve"] == "string"
    rows = full.to_pylist()
    assert [row["fault.0.count"] for row in rows] == [1, 1, 3, 3, None, None]
    assert [row["fault.0.rate"] for row in rows] == [None] * 4 + [0.01] * 2
    assert all(row["bits"] > 0 for row in rows[4:])


def test_what_a_report_needs_of_a_chip_is_what_it_reads(state, calm):
    assert json.loads((calm / PLANNED).read_text())["chips"] == planned_of(state)["chips"]
