"""Every example of docs/lava.md is run as a user would: files in a folder, ``python NAME``, and what it prints is compared.

``python check_docs.py`` prints what the examples really print.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

DOCS = Path(os.environ.get("LAVA_DOCS", Path(__file__).parents[2] / "docs" / "lava.md"))
BLOCK = re.compile(r"^```\{code-block\} (?:python|text)\n:caption: (.+?)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> dict[str, str]:
    return dict(BLOCK.findall(DOCS.read_text(encoding="utf-8")))


def written(folder: Path) -> Path:
    for name, text in blocks().items():
        if name.endswith(".py"):
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def printed(folder: Path, script: str) -> str:
    """Return what a script prints; it is ended, with all of Lava's processes, where it hangs."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        child = subprocess.Popen([sys.executable, script], cwd=folder, stdout=out, stderr=err, start_new_session=True)
    try:
        code = child.wait(180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert code == 0, (folder / "err").read_text(encoding="utf-8")
    return (folder / "out").read_text(encoding="utf-8")


SCRIPTS = [name.removesuffix(" prints") for name in blocks() if name.endswith(" prints")]


def test_there_are_examples() -> None:
    assert SCRIPTS == ["watch.py", "campaign.py", "in_place.py", "between_runs.py", "embed.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_prints_what_the_docs_say(script: str, tmp_path: Path) -> None:
    assert printed(written(tmp_path), script) == blocks()[f"{script} prints"]


if __name__ == "__main__":
    for each in sys.argv[1:] or SCRIPTS:
        with tempfile.TemporaryDirectory() as place:
            print(f"--- {each}\n{printed(written(Path(place)), each)}")
