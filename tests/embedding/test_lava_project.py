"""The little project next door depends on neurofault and runs the examples of docs/lava.md; here it is run from outside."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("lava") is None:
    pytest.skip("lava-nc is not installed", allow_module_level=True)

TESTS = Path(__file__).parents[1]


def test_a_project_of_its_own_runs_the_docs_examples(tmp_path):
    project = shutil.copytree(TESTS / "lava_project", tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    found = {**os.environ, "LAVA_DOCS": str(TESTS.parent / "docs" / "lava.md")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=project, env=found, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
