"""Worker processes that compute parts of figures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.crew import Crew
from neurofault.papers.rescue2019.float_setting import QUICK
from neurofault.papers.rescue2019.run import paper
from neurofault.papers.rescue2019.units import Units
from neurofault.progress import silent
from neurofault.study.campaign.journal import line_of, read_rows

SMALL = replace(
    QUICK, name="small", networks=((8,),), bases=2, orders=4, study=(8,), repair_orders=1, step=4, deaths=(4,), barrier_deaths=(4,), epochs=2
)  # fmt: skip

RUN = """
from test_crew import SMALL
from neurofault.papers.rescue2019.run import paper
import sys
paper(["fig1", "fig2"], sys.argv[1], setting=SMALL, jobs=2)
"""


def work(tmp_path: Path, *parts) -> None:
    with Units(tmp_path / "units.jsonl") as units, Crew(2, SMALL, units, None, silent) as crew:
        crew.work("figure", [parts])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_part_that_fails_ends_the_run_with_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match=r"a worker failed:\n(.|\n)*no attribute 'nothing'"):
        work(tmp_path, attrgetter("study.nothing"))


def a_refusal(subject) -> None:
    raise UsageError("not on a Sunday")


def an_end(subject) -> None:
    os._exit(7)


def test_what_a_part_is_refused_for_is_said_as_it_is(tmp_path):
    with pytest.raises(UsageError, match=r"^not on a Sunday$"):
        work(tmp_path, a_refusal)


def test_a_worker_that_ends_ends_the_run_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"^a worker process ended with exit code 7 .* with fewer --jobs if memory is short$"):
        work(tmp_path, an_end)


def test_a_run_that_is_killed_goes_on_where_it_stopped(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    running = subprocess.Popen(
        [sys.executable, "-c", RUN.replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])"), str(killed)], env=environment
    )
    while len(read_rows(killed / "units.jsonl").rows) < 3:
        assert running.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = read_rows(killed / "units.jsonl").rows
    with (killed / "units.jsonl").open("ab") as journal:
        journal.write(line_of(before[0])[:40])  # what a kill in the middle of a line leaves
    paper(["fig1", "fig2"], killed, setting=SMALL)
    paper(["fig1", "fig2"], whole, setting=SMALL)
    rows = read_rows(killed / "units.jsonl")
    assert (rows.rows[: len(before)], rows.torn) == (before, 0)
    assert len({row["trial"] for row in rows.rows}) == len(rows.rows) == len(read_rows(whole / "units.jsonl").rows)
    for path in whole.glob("fig*.csv"):
        assert path.read_bytes() == (killed / path.name).read_bytes(), path.name
    assert children
    assert not any(running_on(child) for child in children)  # no worker outlives the run


def running_on(process: str) -> bool:
    """Whether a process still runs this code."""
    try:
        return "spawn_main" in Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_numbers_of_workers_that_cannot_be_are_refused(cli, tmp_path):
    for jobs in ("0", "-1", "257"):
        code, out, err = cli("paper", "fig1", "--quick", "--jobs", jobs, "--out", str(tmp_path))
        assert (code, out, err) == (2, "", f"neurofault: --jobs must be from 1 to 256, is {jobs}\n")


def test_a_figure_without_parts_refuses_workers(cli, tmp_path):
    code, out, err = cli("paper", "cnn", "--jobs", "2", "--out", str(tmp_path))
    assert (code, out) == (2, "")
    assert err == "neurofault: cnn has no parts that several processes could compute: leave --jobs out\n"
