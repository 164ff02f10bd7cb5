"""`nf.campaign`: the campaign verb from Python, through the public names only."""

from __future__ import annotations

import base64
import copy
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import NeurofaultWarning, SpecError, UsageError

pandas = pytest.importorskip("pandas")

SMALL = {
    "name": "small",
    "network": {"zoo": "digits-mlp"},
    "data": {"samples": 60, "adapt": 40},
    "faults": [{"kind": "core_dead", "count": {"sweep": [1, 3]}}, {"kind": "synapse_bit_flip", "rate": 1e-2}],
    "rescue": [{"strategy": "none"}, {"strategy": "batch", "learner": "delta"}],
    "repeats": {"draws": 3, "seed": 7},
}
"""What `campaigns.SMALL` says in YAML."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("api") / "run"


@pytest.fixture(scope="module")
def results(folder):
    said = []
    done = nf.campaign(SMALL, out=folder).run(workers=1, progress=lambda *what: said.append(what))
    assert said[-1][:3] == ("trials", 18, 18)
    return done


def test_a_campaign_says_what_it_is_before_it_runs(tmp_path):
    campaign = nf.campaign(SMALL, out=tmp_path / "run")
    assert (campaign.cells, campaign.trials, campaign.folder) == (6, 18, tmp_path / "run")
    assert repr(campaign) == f"small: 6 cells, 18 trials; {tmp_path / 'run'}"
    assert not campaign.folder.exists()
    with pytest.raises(AttributeError):
        campaign.folder = tmp_path  # frozen


def test_a_hook_is_handed_each_row_once_it_is_kept(tmp_path):
    one = {**SMALL, "faults": [{"kind": "core_dead", "count": 1}], "rescue": [{"strategy": "none"}]}
    kept, log = [], nf.to_log(tmp_path / "log.jsonl")

    def hook(row):
        kept.append((tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").count(row["trial"]))
        log(row)
        row.clear()  # a copy

    done = nf.campaign(one, out=tmp_path / "run").run(workers=1, on_row=hook)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert kept == [1, 1, 1]
    assert sorted(row["correct"] for row in logged) == sorted(done.table()["correct"])
    assert {row["trial"] for row in logged} == set(done.table()["trial"])


def test_it_runs_once_and_then_goes_on(results, folder):
    assert (results.ran, results.trials, results.planned, results.failed, results.folder) == (18, 18, 18, 0, folder)
    before = (folder / "journal.jsonl").read_bytes()
    again = nf.campaign(SMALL, out=folder).run(workers=2)
    assert (again.ran, again.trials) == (0, 18)
    assert (folder / "journal.jsonl").read_bytes() == before
    more = copy.deepcopy(SMALL)
    more["repeats"]["draws"] = 4
    longer = nf.campaign(more, out=folder).run(workers=2)
    assert (longer.ran, longer.trials) == (6, 24)
    back = nf.campaign(SMALL, out=folder).run(workers=1)  # the fixture's rows again, for the tests below
    pandas.testing.assert_frame_equal(back.table(), results.table())


def test_without_resume_a_folder_with_a_run_is_refused(results, folder):
    with pytest.raises(UsageError) as caught:
        nf.campaign(SMALL, out=folder).run(resume=False)
    assert str(caught.value) == f"{folder} holds a run already; give another folder with out=, or resume=True to go on with it"


def test_workers_below_one_are_refused(tmp_path):
    with pytest.raises(UsageError, match="workers must be at least 1, is 0"):
        nf.campaign(SMALL, out=tmp_path / "run").run(workers=0)
    assert not (tmp_path / "run").exists()


def test_results_are_read_without_running(results, folder, tmp_path):
    read = nf.campaign(SMALL, out=folder).results()
    assert (read.ran, read.trials) == (0, 18)
    with pytest.raises(UsageError, match="no journal there"):
        nf.campaign(SMALL, out=tmp_path / "none").results()


def test_the_table_has_one_row_a_trial_with_typed_columns(results):
    table = results.table()
    assert len(table) == 18
    types = {name: str(dtype) for name, dtype in table.dtypes.items()}
    expected = {
        "trial": "string", "draw": "Int64", "status": "string", "samples": "Int64", "correct": "Int64", "worst": "float64", "cores": "object",
        "cell": "Int64", "curve": "string", "axis.faults.0.count": "Int64", "fault.0.rate": "float64", "fault.0.kind": "string",
        "rescue.cycles": "float64", "strategy": "string", "learner": "string", "seconds": "float64",
    }  # fmt: skip
    assert {name: types[name] for name in expected} == expected
    assert set(types.values()) <= {"string", "Int64", "float64", "boolean", "object"}
    assert table["cell"].tolist() == [cell for cell in range(6) for _ in range(3)]
    assert table["draw"].tolist() == [0, 1, 2] * 6
    assert table["status"].unique().tolist() == ["ok"]
    assert table["axis.faults.0.count"].tolist() == [1] * 6 + [3] * 6 + [pandas.NA] * 6
    assert all(isinstance(core, int) for cores in table["cores"] for core in cores)


def test_the_table_is_what_the_verb_exports(results, folder, cli, tmp_path):
    code, _, _ = cli("campaign", "export", str(folder), str(tmp_path / "rows.csv"))
    assert code == 0
    table = results.table()
    with (tmp_path / "rows.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table)
    for name in table:
        for told, value in zip((row[name] for row in rows), table[name], strict=True):
            if isinstance(value, list):
                assert json.loads(told) == value
            elif pandas.isna(value):
                assert told == ""
            elif isinstance(value, float):
                assert float(told) == float(f"{value:.7g}")
            else:
                assert told == str(value)


def test_a_trial_is_what_the_pipeline_gives(results):
    row = results.table().query("cell == 2 and draw == 2").iloc[0]
    assert row["correct"] == row["damaged_correct"] <= row["healthy_correct"] <= row["samples"] == 60


def test_the_summary_is_the_csv_of_the_verb(results, folder, cli):
    assert cli("campaign", "report", str(folder))[0] == 0
    rows = {}
    for file in (folder / "figures").glob("accuracy*.csv"):
        with file.open(encoding="utf-8") as text:
            rows |= {int(row["cell"]): row for row in csv.DictReader(text)}
    summary = results.summary()
    assert summary["cell"].tolist() == sorted(rows) == list(range(6))
    assert {name.replace("mean", "best") for name in rows[0]} == set(summary)
    for _, told in summary.iterrows():
        row = rows[told["cell"]]
        for name, text in row.items():
            value = told[name.replace("mean", "best")]
            if text == "":
                assert pandas.isna(value), name
            elif isinstance(value, str):
                assert text == value
            else:
                assert float(text) == float(f"{value:.7g}"), name


def test_the_summary_has_one_row_a_cell_with_its_interval(results):
    summary, table = results.summary(), results.table()
    assert {name: str(summary[name].dtype) for name in ("cell", "label", "x", "low", "best", "high", "draws", "narrow", "cycles")} == {
        "cell": "Int64", "label": "string", "x": "Int64", "low": "float64", "best": "float64", "high": "float64", "draws": "Int64",
        "narrow": "boolean", "cycles": "float64",
    }  # fmt: skip
    by_hand = (table["correct"] / table["samples"]).groupby(table["cell"]).mean()
    assert np.allclose(summary["best"], by_hand.to_numpy(float))
    assert (summary["low"] <= summary["best"]).all()
    assert (summary["best"] <= summary["high"]).all()
    assert summary["draws"].tolist() == [3] * 6


def test_the_report_is_a_file_that_names_every_cell(results, folder, tmp_path):
    page = results.report(tmp_path / "far" / "page.html")
    assert page == tmp_path / "far" / "page.html"
    assert list((tmp_path / "far").iterdir()) == [page]
    text = page.read_text(encoding="utf-8")
    for label in results.summary()["label"].unique():
        assert label in text
    assert text.count("<svg") >= 1
    own = results.report()
    assert own == folder / "report.html"
    beside = re.compile(r'<a href="figures/([a-z0-9]+)\.(svg|csv)">')
    within = re.compile(r'<a href="data:[a-z+/]+;base64,([^"]+)" download="([a-z0-9]+)\.(svg|csv)">')
    apart = own.read_text(encoding="utf-8")
    assert beside.sub("", apart) == within.sub("", text)
    assert beside.findall(text) == []
    kept = {f"{name}.{suffix}": base64.b64decode(data) for data, name, suffix in within.findall(text)}
    assert kept == {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    assert set(kept) == {f"{name}.{suffix}" for name, suffix in beside.findall(apart)}
    assert (folder / "trials.parquet").exists()
    assert {file.suffix for file in (folder / "figures").iterdir()} == {".svg", ".csv"}


def test_a_notebook_shows_the_table(results):
    assert "18 of 18 trials" in results._repr_html_()
    assert repr(results) == f"small: 18 of 18 trials, 0 failed; {results.folder}"


def test_a_dict_and_a_file_ask_for_the_same_trials(results, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL), encoding="utf-8")
    file = nf.campaign("small.yaml")
    assert file.folder == Path("runs/small")
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "runs" / "small" / "journal.jsonl").write_bytes((results.folder / "journal.jsonl").read_bytes())
    assert file.run(workers=1).ran == 0
    code, out, _ = cli("campaign", "status", "small.yaml")
    assert (code, out.splitlines()[0]) == (0, "runs/small: 18 of 18 trials have a row: 18 ok")
    (tmp_path / "small.yaml").write_text(json.dumps({**SMALL, "repeats": {"draws": 2, "seed": 7}}), encoding="utf-8")
    with pytest.warns(NeurofaultWarning, match="was run with other settings than small.yaml has now"):
        assert nf.campaign(Path("small.yaml")).results().trials == 18


def test_a_dict_has_a_folder_of_its_own_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path))
    first, same = nf.campaign(SMALL), nf.campaign(copy.deepcopy(SMALL))
    assert first.folder == same.folder
    assert first.folder.parent == tmp_path / "campaigns"
    assert first.folder.name.startswith("small-")
    assert nf.campaign({**SMALL, "repeats": {"draws": 3, "seed": 8}}).folder != first.folder
    assert nf.campaign({**SMALL, "limits": {"seconds": 60}}).folder == first.folder


def test_a_dict_may_hold_what_python_has(tmp_path):
    mapping = {
        **SMALL,
        "faults": (nf.faults.CoreDead(count=2), {"kind": "synapse_dead", "rate": np.float64(0.1)}),
        "repeats": {"draws": np.int64(2), "seed": 7},
        "profile": Path("loihi2"),
    }
    assert nf.campaign(mapping, out=tmp_path).trials == 2 * 2 * 2


def mistakes(mapping) -> list[str]:
    with pytest.raises(SpecError) as caught:
        nf.campaign(mapping)
    return list(caught.value.mistakes)


def test_every_mistake_of_a_dict_is_told_at_its_place():
    found = mistakes(
        {
            "name": "small", "network": {"zoo": "digits-mlp", "nir": "x.nir"}, "data": {"sampels": 60},
            "faults": [{"kind": "core_dead", "count": {"sweep": [1, -3]}}, {"kind": "synapse_dead", "rat": 0.1}],
            "rescue": [{"strategy": "batch"}], "repeats": {"draws": "none"},
        }
    )  # fmt: skip
    assert found[:4] == [
        "<dict>: network: give one of zoo, torch, nir and netx, not zoo and nir",
        "<dict>: unknown key 'sampels' in data (did you mean 'samples'?); allowed: bins, dt, polarity, crop, down, rounding, sensor, name, npz, events, python, folder, split, samples, adapt, signed, metric",
        "<dict>: rescue[0]: strategy batch needs a learner",
        "<dict>: repeats.draws: expected a whole number, found text 'none'",
    ]
    assert [one.partition(";")[0] for one in found[4:]] == [
        "<dict>: faults[1]: synapse_dead: unknown key 'rat' (did you mean 'rate'?)",
        "<dict>: faults[1]: synapse_dead: say how many in one way: count, rate or synapses",
        "<dict>: faults[0]: core_dead: count must be at least 0, is -3",
        f"<dict>: network.nir: no file {Path.cwd() / 'x.nir'}",
    ]


def test_values_that_no_file_can_hold_are_told_at_their_place():
    endless: list = []
    endless.append(endless)
    assert mistakes({"name": {1}, "faults": [{"kind": "core_dead", "count": float("nan")}], 3: 4, "rescue": [{None: 1}]}) == [
        "<dict>: name: a campaign holds text, numbers, lists and mappings, not set",
        "<dict>: faults[0].count: expected a finite number, got nan",
        "<dict>: the top level: a key must be text, not 3",
        "<dict>: rescue[0]: a key must be text, not None",
    ]
    assert mistakes({"faults": endless}) == ["<dict>: nested deeper than 32 levels"]


def test_files_that_a_dict_names_are_looked_for_where_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mistakes({**SMALL, "network": {"nir": "x.nir"}, "profile": "loihi9"}) == [
        f"<dict>: profile 'loihi9': no file {tmp_path}/loihi9, and no bundled profile of that name (did you mean 'loihi2'?); "
        "bundled: darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2",
        f"<dict>: network.nir: no file {tmp_path}/x.nir",
    ]


def test_what_is_neither_a_file_nor_a_mapping_is_refused():
    with pytest.raises(UsageError, match=r"^a campaign is a YAML file or a mapping, not int$"):
        nf.campaign(3)
    with pytest.raises(SpecError, match=r"^missing\.yaml: "):
        nf.campaign("missing.yaml")


def test_trials_that_fail_are_rows(tmp_path):
    mapping = {
        **SMALL,
        "faults": [{"kind": "core_dead", "count": 99}],
        "rescue": [{"strategy": "none"}],
        "repeats": {"draws": 1, "seed": 7},
    }
    results = nf.campaign(mapping, out=tmp_path / "run").run(workers=1)
    assert (results.trials, results.failed) == (1, 1)
    row = results.table().iloc[0]
    assert row["status"] == "error"
    assert "core_dead" in row["message"]
    assert pandas.isna(row["correct"])
    assert results.summary()["best"].isna().tolist() == [True]
    assert nf.campaign(mapping, out=tmp_path / "run").run(workers=1).ran == 0
    assert nf.campaign(mapping, out=tmp_path / "run").run(workers=1, retry=True).ran == 1


def test_a_script_needs_no_guard_around_a_run(tmp_path):
    script = tmp_path / "script.py"
    one = {
        **SMALL,
        "faults": [{"kind": "core_dead", "count": 1}],
        "rescue": [{"strategy": "none"}],
        "repeats": {"draws": 2, "seed": 7},
    }
    script.write_text(
        f"import neurofault as nf\nprint(len(nf.campaign({one!r}, out='run').run(workers=2).table()))\n", encoding="utf-8"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
