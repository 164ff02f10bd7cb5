"""What figures were measured on, when, and at which commit."""

from __future__ import annotations

import os
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return cores, load, NumPy's version, day and commit (``+`` behind it: files that are in no commit)."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return {"cores": cores, "load": load, "numpy": version("numpy"), "day": date.today().isoformat(), "commit": _commit()}


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (
        "+" if git("status", "--porcelain", "--", "../../neurofault") else ""
    )
