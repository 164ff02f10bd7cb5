"""The published intervals are those that the published draws give."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

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


def test_numbers_in_sentences_are_those_of_the_published_tables(checked):
    code, out = checked("paper_claims.py")
    assert code == 0, out
    assert len(out.splitlines()) == 72


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
