"""The run folder: the campaign as written and as resolved, where it ran, its journal, and what is made of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError
from neurofault.specfile import read_bytes
from neurofault.study.campaign.journal import Read, read_rows
from neurofault.study.campaign.spec import Campaign

JOURNAL = "journal.jsonl"
RESOLVED = "resolved.json"
WRITTEN = "campaign.yaml"
ENVIRONMENT = "environment.json"
PLANNED = "planned.json"


def default_folder(campaign: Campaign) -> Path:
    """Return ``runs/<name>``, from where the command runs."""
    return Path("runs") / campaign.spec.name


def save(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return path


def begin(folder: Path, campaign: Campaign, planned: dict[str, Any]) -> None:
    """Write everything but the journal.

    Args:
        folder: is made.
        campaign: what runs.
        planned: what :func:`neurofault.study.campaign.run.planned_json` gives.
    """
    if campaign.path.resolve() != (folder / RESOLVED).resolve():
        save(folder / WRITTEN, read_bytes(campaign.path))
    save(folder / RESOLVED, json.dumps(campaign.root.value, indent=1, ensure_ascii=False) + "\n")
    save(folder / ENVIRONMENT, json.dumps(environment(), indent=1) + "\n")
    save(folder / PLANNED, json.dumps(planned, indent=1) + "\n")


def environment() -> dict[str, Any]:
    """Return versions, commit and machine."""
    names = ("neurofault", "numpy", "scipy", "numba", "torch", "pydantic", "pyyaml")
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    here = Path(__file__).parent
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False)
    return {
        "versions": found,
        "python": platform.python_version(),
        "commit": git.stdout.strip() or None,
        "machine": {
            "system": platform.system(), "release": platform.release(), "processor": platform.machine(), "cores": os.cpu_count(),
        },
    }  # fmt: skip


def rows_in(folder: Path) -> Read:
    """Return what a run folder's journal holds.

    Raises:
        UsageError: there is no such folder, or no journal in it.
    """
    if not (folder / JOURNAL).exists():
        raise UsageError(f"{folder}: no journal there; `neurofault campaign run FILE` makes one")
    return read_rows(folder / JOURNAL)
