"""The published intervals are those that the published draws give."""

from __future__ import annotations

import csv
import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest

from neurofault.study.campaign.labels import labels_of
from neurofault.study.campaign.spec import load_campaign

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def checked(monkeypatch, capsys):
    """Return a function from a script to its exit code and what it prints with ``--check``."""

    def run(name):
        monkeypatch.setattr(sys, "argv", [name, "--check"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
        return ended.value.code, capsys.readouterr().out

    return run


def test_the_published_intervals_are_those_of_the_published_draws(checked):
    code, out = checked("paper_statistics.py")
    assert code == 0, out
    assert [line.split(": ")[1] for line in out.splitlines()] == ["0 ends of intervals differ"] * 7


def test_numbers_in_sentences_are_those_of_the_published_tables(checked, monkeypatch):
    code, out = checked("paper_claims.py")
    assert code == 0, out
    assert out.endswith(" claims, 0 are not on the page; 0 numbers of its prose are in no claim and no table\n")
    read = Path.read_text  # a page that says otherwise, and one number that nothing computes
    other = "what is served is 0.9 to 12.3 points better"
    monkeypatch.setattr(
        Path, "read_text", lambda path, **words: read(path, **words).replace("what is served is 0.9 to 13.9 points better", other)
    )
    code, out = checked("paper_claims.py")
    assert code == 1
    assert out.endswith(" claims, 1 are not on the page; 1 numbers of its prose are in no claim and no table\n12.3\n")


def test_what_the_page_says_of_learners_that_were_tried_follows_from_their_draws(checked, monkeypatch):
    code, out = checked("learner_claims.py")
    assert code == 0, out
    assert out.endswith(" claims, 0 are not on the page\n")
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, **words: read(path, **words).replace("rules stood beside", "rules stood behind")
    )
    code, out = checked("learner_claims.py")
    assert code == 1
    assert out.endswith(" claims, 1 are not on the page\n")


def test_tables_of_the_page_are_those_of_the_published_data(checked, monkeypatch):
    code, out = checked("paper_tables.py")
    assert (code, out) == (0, "34 tables, 0 lines of does_it_hold.md are not what the data say\n")
    read = Path.read_text  # a page that says otherwise
    monkeypatch.setattr(
        Path, "read_text", lambda path, **words: read(path, **words).replace("| 784-25-10 | 73 % |", "| 784-25-10 | 37 % |")
    )
    code, out = checked("paper_tables.py")
    assert code == 1
    assert out.endswith("\n34 tables, 1 lines of does_it_hold.md are not what the data say\n")


def test_every_test_of_the_page_is_corrected_over_its_figure_and_over_the_whole_page(checked):
    code, out = checked("paper_holm.py")
    assert code == 0, out
    with (EXPERIMENTS.parent / "docs" / "data" / "paper" / "page_tests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for figure, corrected, verdict in [
        (None, "p_page", "on_page"),
        *((name, "p_figure", "in_figure") for name in {row["figure"] for row in rows}),
    ]:
        own = [row for row in rows if figure in (None, row["figure"])]
        for row in own:
            less = [float(each["p"]) for each in own if float(each["p"]) <= float(row["p"])]
            least = max((len(own) - rank) * p for rank, p in enumerate(sorted(less)))
            assert float(row[corrected]) == pytest.approx(min(1.0, least), rel=1e-5)
            ahead = row["one"] if float(row["difference"]) > 0 else row["other"]
            assert row[verdict] == (ahead if min(1.0, least) < 0.05 else "undecided")
    assert len({(row["figure"], row["place"], row["compared"]) for row in rows}) == len(rows)


def test_both_texts_round_halves_up(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    words = importlib.import_module("paper_words")
    assert [words.percent(share, 0) for share in (0.575, 0.425, 0.125)] == ["58 %", "43 %", "13 %"]
    assert [words.points(half, 1) for half in (0.0025, -0.0025, 0.0004)] == ["+0.3", "−0.3", "0.0"]
    assert [words.significant(value) for value in (0.325, 3.34, 3.0, 11.5, 99.6, 0.0)] == ["0.33", "3.3", "3", "12", "100", "0"]
    for name in ("does_it_hold.md", "paper/preprint.md"):
        assert "| cores, 4 bits | 58 % |" in (EXPERIMENTS.parent / "docs" / name).read_text(encoding="utf-8")  # of 57.5 %


def test_the_figures_of_the_page_of_speed_are_those_that_were_measured(checked, monkeypatch):
    code, out = checked("bench/page.py")
    assert (code, out) == (0, "0 lines of speed.md are not what the data say\n")
    read = Path.read_text  # a page that says otherwise
    monkeypatch.setattr(Path, "read_text", lambda path, **words: read(path, **words).replace(" MB |", " GB |"))
    code, out = checked("bench/page.py")
    assert code == 1
    assert out.endswith("\n4 lines of speed.md are not what the data say\n")


def test_the_preprint_says_what_the_data_say(checked):
    code, out = checked("preprint.py")
    assert (code, out) == (
        0, "0 numbers are written by hand, 0 lines of preprint.md are not what the data say\npreprint.pdf is that of the text\n"
    )  # fmt: skip


def test_a_number_in_the_preprint_that_is_not_computed_is_found(checked, monkeypatch):
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, **words: read(path, **words).replace(
            "Nowhere (Table", "In 3 of {{ 43 }} and {{ '7' ~ cite('loihi') }} of them (Table"
        ),
    )
    code, out = checked("preprint.py")
    assert code == 1
    assert out.count("is written by hand") == 1
    assert out.count("an expression names no data") == 2
    assert out.endswith(
        "3 numbers are written by hand, 1 lines of preprint.md are not what the data say\npreprint.pdf is not that of the text\n"
    )


def test_a_sentence_of_the_preprint_ends_the_command_where_the_data_turn(checked, monkeypatch):
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, **words: read(path, **words).replace('"flips": []', '"flips": ["weight bits 2"]')
    )
    with pytest.raises(Exception, match="a sentence rests on what the data no longer say"):
        checked("preprint.py")


def test_the_file_of_hard_limits_asks_for_the_points_that_are_published():
    file = EXPERIMENTS / "paper" / "chip_budgets.yaml"
    published = json.loads((EXPERIMENTS.parent / "docs" / "data" / "paper" / "chip_budgets.json").read_text(encoding="utf-8"))
    campaign = load_campaign(file)
    cells = list(campaign.cells())
    labels = labels_of(campaign, cells)
    assert [labels[curve["points"][0]["cell"]] for curve in published["curves"]] == [
        curve["label"] for curve in published["curves"]
    ]
    assert len(labels) == len(published["curves"]) == 38
    spec = campaign.spec
    assert (spec.data.samples, spec.repeats.draws, spec.repeats.seed) == (published["samples"], 10, published["seed"])
    assert {cell.rescue.guard for cell in cells if cell.rescue.learner} == {
        0
    }  # what learning does, without the guard that users get


def test_draws_of_shared_limits_are_those_that_their_file_asks_for_and_lie_among_the_published_ones():
    data = EXPERIMENTS.parent / "docs" / "data" / "paper"
    campaign = load_campaign(EXPERIMENTS / "paper" / "chip_spending.yaml")
    with (data / "chip_spending_draws.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert len(rows) == len(list(campaign.cells())) * campaign.spec.repeats.draws
    assert {int(row["samples"]) for row in rows} == {campaign.spec.data.samples}
    curves = json.loads((data / "chip_budgets.json").read_text(encoding="utf-8"))["curves"]
    points = {curve["label"]: curve["points"][0] for curve in curves}
    for row in rows:
        if row["spend"] == "greedy":
            cap = f"writes {row['writes_cap']}" if row["writes_cap"] else f"energy {row['energy_cap']}"
            point = points[f"core_dead · {row['strategy']} · {row['learner']} · {cap}"]
            assert point["lowest"] <= int(row["correct"]) / int(row["samples"]) <= point["highest"]
