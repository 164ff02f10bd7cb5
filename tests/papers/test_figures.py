"""The four figures on digits, made as small as they can be."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.float_declines import conditions
from neurofault.papers.rescue2019.float_setting import FULL, QUICK
from neurofault.papers.rescue2019.network import fresh
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.parts import parts_of, subject_of
from neurofault.papers.rescue2019.run import FIGURES, ON_FLOATS, paper
from neurofault.papers.rescue2019.summary import lines
from neurofault.papers.rescue2019.units import Units, trial_of
from neurofault.progress import silent

TINY = replace(
    QUICK, name="tiny", networks=((12,), (24,), (8, 8)), bases=2, orders=3, study=(24,), repair_orders=2, step=4, deaths=(4, 12),
    barrier_deaths=(4, 12), cap=3, step_cap=1, epochs=8, alphas=5, perplexity=5.0, curve_epochs=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict, Path]:
    """One run of all figures, in a cache of its own."""
    out, cache = tmp_path_factory.mktemp("paper"), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROFAULT_CACHE", str(cache))
        paper(["all"], out, setting=TINY)
    return out, {name: json.loads((out / f"{name}.json").read_text()) for name in ("fig1", "fig2", "fig3", "fig4", "curves")}, cache


def test_a_run_elsewhere_by_two_workers_writes_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path / "cache"))
    paper(["all"], tmp_path / "again", setting=TINY, jobs=2)
    names = sorted(path.name for path in made[0].iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert {Path(name).suffix for name in names} == {".json", ".csv", ".png", ".svg", ".jsonl"}
    for name in names:
        one, other = ((folder / name).read_bytes() for folder in (made[0], tmp_path / "again"))
        if name == "units.jsonl":  # in the order in which they were finished
            one, other = (b"\n".join(sorted(each.splitlines())) for each in (one, other))
        assert one == other, name


def test_the_parts_of_a_figure_are_all_that_it_asks_for(made, monkeypatch):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(made[2]))
    units, asked = Units(made[0] / "units.jsonl"), set()

    class Recorder:
        def once(self, key, compute):
            asked.add(trial_of(key))
            return units[trial_of(key)]

    with one_thread():
        subject = subject_of(TINY, Recorder(), None, silent)
        for one in conditions(subject.study):
            subject.study.weights(one.hidden, one.dropout)  # digests of what is trained, which no worker is needed for
        weights = set(asked)
        own = {name: partial(figure, subject.study) for name, figure in ON_FLOATS.items()}
        for name, figure in {**{name: partial(each, subject) for name, each in FIGURES.items()}, **own}.items():
            asked.clear()
            for part in chain.from_iterable(parts_of(subject, name)):
                pickle.loads(pickle.dumps(part))(subject)
            apart = set(asked)
            asked.clear()
            figure()
            assert apart <= asked, name
            assert asked - apart <= weights, name


def test_what_is_done_is_not_done_again(made, tmp_path, monkeypatch):
    folder = tmp_path / "resumed"
    folder.mkdir()
    lines = (made[0] / "units.jsonl").read_text().splitlines()
    left = [line for line in lines if '"act": "wait"' not in line]
    start = "\n".join(left) + "\n" + lines[-1][:20]  # broken off in the middle of a line
    (folder / "units.jsonl").write_text(start)
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path / "cache"))
    paper(["fig2", "fig3"], folder, setting=TINY)
    after = (folder / "units.jsonl").read_text()
    kept = "\n".join(left) + "\n"
    assert after.startswith(kept)  # what was broken off is cut off
    added = after[len(kept) :].splitlines()
    assert sorted(added) == sorted(set(lines) - set(left))
    assert added
    for name in ("fig2.json", "fig3.json", "fig3_pairs.csv"):
        assert (made[0] / name).read_bytes() == (folder / name).read_bytes()


def test_figure_1_has_its_curves_marks_and_verdicts(made):
    answer = made[1]["fig1"]
    names = {"64-12-10", "64-24-10", "64-8-8-10"}
    more = {"64-8-8-10 layer 1", "64-8-8-10 layer 2", "64-24-10 least important first", "64-24-10 most important first"}
    assert set(answer["curves"]) == names | more | {"64-24-10 dropout"} == set(answer["thresholds"]) == set(answer["change_point"])
    curve = answer["curves"]["64-12-10"]
    assert {"fraction", "mean", "sd", "low", "high", "orders"} <= set(curve)
    assert (len(curve["fraction"]), curve["fraction"][-1], curve["orders"]) == (13, 1.0, 6)
    assert curve["mean"][0] > 0.8 > 0.3 > curve["mean"][-1]
    assert all(low <= mean <= high for low, mean, high in zip(curve["low"], curve["mean"], curve["high"], strict=True))
    assert {"minus1pp", "minus5pp", "half", "width", "auc"} <= set(answer["thresholds"]["64-12-10"])
    assert {"hinge_wins", "slope_ratio", "knot_sd", "verdict"} <= set(answer["change_point"]["64-12-10"])
    least, most = (answer["thresholds"][f"64-24-10 {first} important first"]["auc"] for first in ("least", "most"))
    assert least > answer["thresholds"]["64-24-10"]["auc"] > most


def test_figures_name_the_weights_of_their_bases(made):
    answers = made[1]
    weights = answers["fig1"]["weights"]
    assert set(weights) == {"64-12-10", "64-24-10", "64-8-8-10", "64-24-10 dropout"}
    digests = [digest for each in weights.values() for digest in each.values()]
    assert len(set(digests)) == len(digests) == 8
    assert all(answers[name]["weights"] == weights["64-24-10"] for name in ("fig2", "fig3", "fig4", "curves"))
    one = fresh((64, 24, 10), 1)
    assert one.digest == one.copy().digest != fresh((64, 24, 10), 2).digest
    first = next(lines(Figure("fig2", answers["fig2"], {})))
    assert first == f"fig2 weights: base 0 {weights['64-24-10']['0']}, base 1 {weights['64-24-10']['1']}"


def test_figure_2_has_every_strategy_and_control(made):
    rows = made[1]["fig2"]["recovery"]
    assert all({"strategy", "m", "tolerance", "cycles", "best"} <= set(row) for row in rows)
    assert {row["strategy"] for row in rows} == {
        "batch", "embryonic", "embryonic-8", "fresh-subnetwork", "batch-dropout", "sham", "fresh-network"
    }  # fmt: skip
    assert all(row["cycles"] == ">3" or 0 <= row["cycles"] <= 3 for row in rows)
    assert all((row["cycles"] == ">3") == (2 * row["reached"] < row["pairs"]) for row in rows)
    assert made[1]["fig2"]["controls"]["cycles"] == 3
    assert any("under two standard errors" in text for text in made[1]["fig2"]["warnings"])


def test_figure_3_pairs_the_same_masks_at_equal_budgets(made):
    answer = made[1]["fig3"]
    assert [row["m"] for row in answer["paired"]] == [4, 12]
    for row in answer["paired"]:
        assert row["pairs"] == 4
        assert row["difference_total"] == pytest.approx(row["iterative"] - row["batch_total"], abs=1e-6)
        assert row["low"] <= row["difference_total"] <= row["high"]
    one_step = answer["paired"][0]
    assert one_step["iterative"] == one_step["batch_total"] == one_step["batch_last_step"]  # one step is batch repair
    books = {(row["m"], row["strategy"]): row for row in answer["accounting"]}
    assert books[12, "iterative"]["cycles_total"] == books[12, "batch"]["cycles_total"] == 3
    assert books[12, "iterative"]["cycles_since_last_damage"] == 1
    assert books[12, "batch"]["gradient_steps"] == 3 * (1097 // 20)
    served = answer["served"][1]
    assert served["iterative"] > served["wait_then_batch"] > served["no_repair"]


def test_figure_4_has_returns_exits_and_barriers(made):
    answer = made[1]["fig4"]
    assert set(answer["return_rate"]) == set(answer["first_exit"]) == {"0.01", "0.005", "0.0025"}
    kinds = ("same trajectory", "same base, other order", "other base", "other base, aligned")
    assert tuple(answer["barriers"]) == kinds
    for one in answer["barriers"].values():
        assert one["max"] >= one["mean"] >= 0
        assert len(one["end_points"]) == 2
    assert answer["barriers"]["other base"]["loss_mean"] > answer["barriers"]["other base, aligned"]["loss_mean"]
    with (made[0] / "fig4_embedding.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"repair", "walk"}
    assert len(rows) == 2 * 4 * (1 + 2 * 3)


def test_the_figure_of_curves_has_lines_and_curves_between_the_same_ends(made):
    answer = made[1]["curves"]
    kinds = [(row["pair_type"], row["m"], row["pairs"]) for row in answer["rows"]]
    same, other = "same damage, iterative and batch", "same training, other order"
    assert kinds == [(same, 4, 4), (same, 12, 4), (other, 4, 2), (other, 12, 2), ("other training", 0, 1)]
    with (made[0] / "curves_points.csv").open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == 13 * 2 * 5
    for t in ("0.0", "1.0"):
        line, curve = (
            [float(row["accuracy"]) for row in points if (row["path"], row["t"]) == (path, t)] for path in ("line", "curve")
        )
        assert line == curve
    with (made[0] / "curves_pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    wide = answer["rows"][-1]
    assert wide["line"]["mean"] == pytest.approx(float(pairs[-1]["barrier_line"]))
    assert float(pairs[-1]["loss_barrier_curve"]) < float(pairs[-1]["loss_barrier_line"])  # what fitting is for
    for row in answer["rows"]:
        for counts in row["inside"].values():
            assert max(counts["line"], counts["curve"]) <= counts["ends_inside"] <= row["pairs"]


def test_the_command_writes_one_figure(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("neurofault.papers.rescue2019.float_setting.QUICK", TINY)
    code, out, err = cli("paper", "fig1", "--quick", "--out", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    assert "fig1 64-12-10: half-way at " in out
    assert (tmp_path / "out" / "fig1.json").exists()


def test_mistakes_of_the_command_line_are_named(cli, tmp_path, monkeypatch):
    code, _, err = cli("paper", "fig5", "--quick", "--out", str(tmp_path))
    assert code == 2
    assert err == "neurofault: no figure 'fig5'; figures: fig1, fig2, fig3, fig4, curves, all, cnn (did you mean 'fig4'?)\n"
    taken = tmp_path / "file"
    taken.touch()
    code, _, err = cli("paper", "fig1", "--quick", "--out", str(taken))
    assert code == 2
    assert err.startswith(f"neurofault: --out {taken}: ")
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path / "empty"))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"no images")
    code, _, err = cli("paper", "fig1", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "train-images-idx3-ubyte" in err


def test_the_full_setting_is_what_the_paper_reproduction_asks_for():
    assert FULL.networks == ((25,), (50,), (100,), (200,), (400,), (100, 100))
    assert FULL.bases >= 3
    assert FULL.orders >= 20
    assert FULL.bases * FULL.repair_orders >= 8
    assert all(m % FULL.step == 0 for m in (*FULL.deaths, *FULL.barrier_deaths))


def test_an_unknown_figure_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(UsageError, match="no figure 'fig9'"):
        paper(["fig1", "fig9"], tmp_path / "none", setting=TINY)
    assert not (tmp_path / "none").exists()
