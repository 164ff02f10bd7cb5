"""Tutorials: their files are written and their sessions happen as they stand on the page."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def files_of(page: str, folder: Path) -> None:
    """Write the files of a page: fenced blocks that begin with ``# file: NAME``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, content in re.findall(r"^```\w+\n# file: (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "examples"), [("recurrent.md", 24), ("extend.md", 19), ("snntorch_network.md", 30), ("nir_file.md", 27)]
)
def test_a_session_happens_as_it_is_written(page, examples, tmp_path, monkeypatch):
    for needed in {"extend.md": ["lava", "brian2", "snntorch"], "snntorch_network.md": ["snntorch"], "nir_file.md": ["nir"]}.get(
        page, ()
    ):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    files_of(page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for file in tmp_path.glob("*.py"):  # another test's module of that name
        sys.modules.pop(file.stem, None)
    before = set(sys.modules)
    try:
        assert doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE) == (0, examples)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize(("page", "commands"), [("rescue.md", 1), ("campaigns.md", 2), ("events.md", 2), ("protection.md", 3)])
def test_a_first_answer_is_the_one_that_stands_on_the_page(cli, page, commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files_of(page, tmp_path)
    part = re.split(r"^## ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    assert part.startswith("A first ")
    block = re.search(r"^```console\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    ran = 0
    for command, shown in re.findall(r"^\$ neurofault (.*)\n((?:[^$].*\n)*)", block[1], re.MULTILINE):
        code, out, err = cli(*shlex.split(command))
        assert code == 0, err
        lines = [line.rstrip() for line in out.splitlines()]
        assert [line for line in shown.splitlines() if line != "…" and line not in lines] == [], out
        ran += 1
    assert ran == commands


def test_the_cluster_of_one_machine_runs_the_campaign_through_the_scheduler_file(tmp_path):
    pytest.importorskip("distributed")
    files_of("slurm.md", tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", "here.sh"], cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    from neurofault.study.campaign.journal import read_rows

    rows = [row for row in read_rows(tmp_path / "runs" / "cores" / "journal.jsonl").rows if row.get("status") == "ok"]
    assert len(rows) == 6
    assert all(row["worker"].startswith("tcp://") or "-" in row["worker"] for row in rows)  # of Dask, not of this process


def test_the_job_of_the_cluster_differs_from_the_one_here_in_who_starts_the_workers_alone(tmp_path):
    files_of("slurm.md", tmp_path)
    subprocess.run(["bash", "-n", tmp_path / "campaign.sh"], check=True)
    whole, here = (set((tmp_path / name).read_text().splitlines()) for name in ("campaign.sh", "here.sh"))
    assert "neurofault campaign run cores.yaml --out runs/cores --dask scheduler.json" in whole & here


def test_a_scheduler_file_that_is_none_is_refused_in_a_line(cli, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    files_of("slurm.md", tmp_path)
    for content, said in ((None, "No such file or directory; a scheduler writes it"), ("[]", "not the file of a scheduler")):
        if content is not None:
            (tmp_path / "scheduler.json").write_text(content)
        code, _, err = cli("campaign", "run", "cores.yaml", "--dask", "scheduler.json")
        assert code == 2
        assert f"--dask scheduler.json: {said}" in err
