"""The published intervals are those that the published draws give."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "paper_statistics.py"


def test_the_published_intervals_are_those_of_the_published_draws(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    assert ended.value.code == 0, out
    assert [line.split(": ")[1] for line in out.splitlines()] == ["0 ends of intervals differ"] * 7
