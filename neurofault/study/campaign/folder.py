"""The run folder: the campaign as written and as resolved, where it ran, its journal, and what is made of it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neurofault.deploy.profile_file import whole_profile
from neurofault.errors import UsageError
from neurofault.files import write_whole
from neurofault.study.campaign.files import INPUTS, piped, portable
from neurofault.study.campaign.identity import document_digest, settings_of
from neurofault.study.campaign.journal import Read, read_rows
from neurofault.study.campaign.planned import PLANNED
from neurofault.study.campaign.spec import Campaign

JOURNAL = "journal.jsonl"
RESOLVED = "resolved.json"
WRITTEN = "campaign.yaml"
ENVIRONMENT = "environment.json"
CHIPS = ".chips.pkl"

_PROBE = 1 << 16
"""Bytes that a disk must have room for before any work begins."""


def default_folder(campaign: Campaign) -> Path:
    """Return ``runs/<name>``, from where the command runs; for a run folder's own ``resolved.json`` that folder."""
    if campaign.path.name == RESOLVED and (campaign.path.parent / JOURNAL).exists():
        return campaign.path.parent
    return Path("runs") / campaign.spec.name


def check_folder(folder: Path, campaign: Campaign, *, named: bool) -> None:
    """Refuse, before any work, a run folder that this campaign cannot or should not write to. Nothing in it changes.

    Args:
        folder: run folder; it need not be there.
        campaign: what is to run.
        named: whether the user gave this folder, so that it may hold the run of another file.

    Raises:
        UsageError: it cannot be written, another run writes to it, or it holds the run of another file.
    """
    if not named:
        whose(folder, campaign)
    try:
        with (folder / JOURNAL).open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{folder / JOURNAL}: another run writes to it; wait for it to end, or stop it") from None
    except OSError:  # not there yet, or not to be read: the probe says why
        pass
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    probe = above / f".{os.getpid()}.part"
    try:
        if not above.is_dir():
            raise NotADirectoryError(0, "Not a directory")
        with probe.open("wb") as file:
            file.write(bytes(_PROBE))
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            probe.unlink()


def whose(folder: Path, campaign: Campaign) -> str | None:
    """Compare a campaign with what a run folder holds.

    Returns:
        A line that says that the folder's run had other settings; None: they are the same, or there is no run yet.

    Raises:
        UsageError: the folder holds the run of another file.
    """
    try:
        planned = json.loads((folder / PLANNED).read_text(encoding="utf-8"))
        file, settings = planned["file"], planned["settings"]
    except (OSError, ValueError, LookupError, TypeError):  # none, of an earlier version, or damaged: whoever reads it says so
        return None
    here = str(campaign.path.absolute())
    if settings == settings_of(campaign) or (campaign.path.name == RESOLVED and campaign.path.parent.resolve() == folder.resolve()):
        return None
    if file == here and not piped(campaign.path):
        return f"{folder} was run with other settings than {campaign.path} has now (edited since, or --set); these are its own"
    raise UsageError(
        f"{folder} holds another campaign of the name {campaign.spec.name}, that of {file}; give a folder of its own with --out, or another name"
    )


def save(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all: the one that a link points to; through a device or a FIFO, which stays what it is.

    Raises:
        UsageError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return path


def begin(folder: Path, campaign: Campaign, planned: dict[str, Any]) -> None:
    """Write everything but the journal, and clear away what a run that was killed left behind.

    Args:
        folder: is there, and its journal is locked by this process.
        campaign: what runs.
        planned: what :func:`neurofault.study.campaign.planned.planned_json` gives.

    Raises:
        UsageError: something cannot be written.
    """
    clear(folder)

    def copy(name: str, file: Path, profile: bool) -> None:
        if (folder / INPUTS / name).resolve() != file:
            save(folder / INPUTS / name, whole_profile(file) if profile else file.read_bytes())

    data = portable(campaign.root, campaign.base, copy)
    again = campaign.path.resolve() == (folder / RESOLVED).resolve()
    if again:
        with suppress(OSError, ValueError, KeyError, TypeError):
            planned = {**planned, "file": json.loads((folder / PLANNED).read_text(encoding="utf-8"))["file"]}
    else:
        save(folder / WRITTEN, campaign.source)
    save(folder / RESOLVED, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    save(folder / ENVIRONMENT, json.dumps(environment(), indent=1) + "\n")
    save(folder / PLANNED, json.dumps({**planned, "resolved": document_digest(data)}, indent=1) + "\n")


def clear(folder: Path) -> None:
    """Take away the chips and half-written files of processes that are no more."""
    for place in (folder, folder / "figures", folder / INPUTS):
        for part in place.glob("*.part"):
            number = re.fullmatch(r".*\.([0-9]{1,9})\.part", part.name)
            if number is not None and not _lives(int(number[1])):
                part.unlink(missing_ok=True)
    (folder / CHIPS).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process != os.getpid()


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
    try:
        command = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git
        commit = ""
    return {
        "versions": found,
        "python": platform.python_version(),
        "commit": commit or None,
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
    if not (folder / RESOLVED).exists():
        raise UsageError(
            f"{folder}: half a run folder: {RESOLVED} is missing; `neurofault campaign run FILE --out {folder}` writes it anew and keeps the rows"
        )
    return read_rows(folder / JOURNAL)
