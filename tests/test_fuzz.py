"""Every reader against 3,000 spoiled files and words; `experiments/bench/fuzz.py` reads 100,000."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "experiments" / "bench" / "fuzz.py"


def test_no_reader_is_surprised(tmp_path):
    answers = tmp_path / "fuzz.json"
    words = [sys.executable, str(BENCH), "--mutants", "3000", "--seed", "11", "--json", str(answers)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(answers.read_text())
    whole = found["whole"]
    assert found["mutants"] >= 3000
    assert (found["executed"], whole["tracebacks"], whole["hangs_over_5_s"], whole["crashes"]) == (False, 0, 0, 0)
    assert whole["memory_growth_megabytes"] < 1024
    for name, reader in found["readers"].items():
        assert reader["refused"] > 0 or name == "journals", name  # a journal passes over what is no row
        assert reader["accepted"] > 0, name
