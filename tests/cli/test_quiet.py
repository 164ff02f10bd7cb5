"""`--quiet`: the answer alone, in one line, and the same line that the whole output begins with."""

from __future__ import annotations

import re

import pytest

FEW = ("--samples", "100")

CASES = {
    "rescue": (
        ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "none,remap", "--control", "none", "--adapt", "100", *FEW),
        r"remap brings back 100 % of the loss: accuracy (\d+\.\d\d) % → (\d+\.\d\d) % \[.*\], healthy \2 %",
    ),
    "rescue of nothing": (
        ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "none", "--control", "none", "--adapt", "100", *FEW),
        r"The damage leaves accuracy \d+\.\d\d % \[.*\] of \d+\.\d\d %",
    ),
    "atlas": (("atlas", "--fault", "core_dead", *FEW), r"core_dead: \d+ sites × 100 images; healthy .*; \d+ sites change no prediction"),
    "map": (("map",), r"digits-mlp takes 23 of 128 cores on 1 .* chip"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_one_line_and_the_first(case, cli):
    words, expected = CASES[case]
    code, out, err = cli(*words, "--quiet")
    assert code == 0, err
    (line,) = out.splitlines()
    assert re.fullmatch(expected, line), line
    if not case.startswith(("map", "rescue of")):
        assert cli(*words)[1].splitlines()[0] == line
