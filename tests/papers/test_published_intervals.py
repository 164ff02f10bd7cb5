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
    assert len(out.splitlines()) == 9


def test_the_figures_of_the_page_of_speed_are_those_that_were_measured(checked, monkeypatch):
    code, out = checked("bench/page.py")
    assert (code, out) == (0, "0 lines of speed.md are not what the data say\n")
    read = Path.read_text  # a page that says otherwise
    monkeypatch.setattr(Path, "read_text", lambda path, **words: read(path, **words).replace(" MB |", " GB |"))
    code, out = checked("bench/page.py")
    assert code == 1
    assert out.endswith("\n4 lines of speed.md are not what the data say\n")
