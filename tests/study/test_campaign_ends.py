"""How a run ends: signals keep what is in hand, and nothing outlives its coordinator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from campaigns import SMALL, made_ready, ran, rows_in, written

from neurofault import cores
from neurofault.study.campaign.folder import CHIPS, JOURNAL
from neurofault.study.campaign.interrupts import Interrupts
from neurofault.study.campaign.journal import read_rows
from neurofault.study.campaign.run import Executor

LONG = SMALL.replace("draws: 3", "draws: 4000").replace("\n  - {strategy: batch, learner: delta}", "")


@pytest.fixture(autouse=True)
def _hangups():
    """Take hangups, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return made_ready(tmp_path_factory.mktemp("spec"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_keeps_what_is_done(state, tmp_path, number):
    before = signal.getsignal(number)

    def end(stage, done, total, text):
        if done == 2:
            os.kill(os.getpid(), number)

    outcome = ran(tmp_path / "run", state, Executor(1), end)
    assert (outcome.stopped, outcome.signal) == (True, number)
    assert 2 <= outcome.ran < 18
    assert {row["status"] for row in rows_in(tmp_path / "run")} == {"ok"}
    assert not (tmp_path / "run" / CHIPS).exists()
    assert signal.getsignal(number) is before


def test_a_hangup_that_nohup_ignores_stays_ignored_and_the_second_signal_ends_at_once():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_runs_outside_the_main_thread_too(state, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(ran(tmp_path / "run", state)))
    thread.start()
    thread.join()
    assert [outcome.ran for outcome in found] == [18]


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a long run of two workers in a session of its own, and wait until both have work."""
    command = [
        sys.executable,
        "-m",
        "neurofault",
        "campaign",
        "run",
        str(written(folder, LONG)),
        "--workers",
        "2",
        "--out",
        str(folder / "run"),
    ]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: run.poll() is not None or len({row["worker"] for row in read_rows(folder / "run" / JOURNAL).rows}) == 2)
    assert run.poll() is None, run.communicate()
    return run


def until(true, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def members(session: int) -> dict[int, str]:
    """Return the processes of a session that are alive, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, _, rest = (entry / "stat").read_text().rpartition(") ")
                if int(rest.split()[3]) == session and rest[0] != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):
                pass
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_a_run_with_its_code_and_its_rows(tmp_path, number):
    run = started(tmp_path)
    os.killpg(run.pid, number)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 128 + number, err
    assert err.endswith("stopped; what is done is kept, and the same command goes on\n")
    assert "Traceback" not in err
    assert " trials run, 0 kept from before, 0 failed\n" in out
    rows = read_rows(tmp_path / "run" / JOURNAL)
    assert (rows.torn, {row["status"] for row in rows.rows}) == (0, {"ok"})
    until(lambda: not members(run.pid), 60)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
def test_nothing_outlives_the_coordinator(tmp_path):
    run = started(tmp_path)
    assert len(members(run.pid)) >= 3
    os.kill(run.pid, signal.SIGKILL)  # it alone
    run.wait()
    until(lambda: not members(run.pid), 60)
    run.communicate()
    assert read_rows(tmp_path / "run" / JOURNAL).rows


@pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")
def test_a_run_outlives_each_other_process_of_it(tmp_path):
    run = started(tmp_path)
    for process in members(run.pid):
        if process != run.pid:
            os.kill(process, signal.SIGKILL)
    before = len(read_rows(tmp_path / "run" / JOURNAL).rows)
    until(lambda: run.poll() is not None or len(read_rows(tmp_path / "run" / JOURNAL).rows) > before + 10)
    os.kill(run.pid, signal.SIGTERM)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 143, err
    assert "Traceback" not in err
    statuses = [row["status"] for row in read_rows(tmp_path / "run" / JOURNAL).rows]
    assert set(statuses) <= {"ok", "died"}
    assert statuses.count("died") <= 2
    assert out.startswith(f"{tmp_path / 'run'}: ")
    until(lambda: not members(run.pid), 60)


def test_workers_are_as_many_as_cores_may_be_used(tmp_path, monkeypatch):
    if sys.platform == "linux":
        one = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); from neurofault.cores import usable_cores as u; print(u())"
        assert subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, check=True).stdout == "1\n"
    (tmp_path / "cgroup").write_text("0::/user/job\n")
    job = tmp_path / "fs" / "user" / "job"
    job.mkdir(parents=True)
    assert cores._quota(tmp_path / "cgroup", tmp_path / "fs") is None
    (job / "cpu.max").write_text("max 100000\n")
    (job.parent / "cpu.max").write_text("350000 100000\n")
    assert cores._quota(tmp_path / "cgroup", tmp_path / "fs") == 3.5
    assert cores._quota(tmp_path / "none", tmp_path / "fs") is None
    monkeypatch.setattr(cores, "_quota", lambda *_: 0.5)
    assert cores.usable_cores() == 1
    monkeypatch.setattr(cores, "_quota", lambda *_: 1e6)
    assert 1 <= cores.usable_cores() <= (os.cpu_count() or 1)
