"""Local processes that run trials: one that hangs, eats memory or dies costs one row, not the campaign."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from neurofault.cores import usable_cores
from neurofault.errors import UsageError
from neurofault.study.campaign.interrupts import without_interrupts
from neurofault.study.campaign.records import Limits
from neurofault.study.campaign.rows import Row
from neurofault.study.campaign.trial import Task, WorkerBench, blank

_AHEAD = 4
"""Tasks that a worker has in hand, so that it never waits for the next."""
_TRIES = 3
"""Workers of a run that may end before they are ready."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    name: str
    tasks: list[Task] = field(default_factory=list)
    since: float = 0.0
    ready: bool = False


def _serve(pipe: Connection, chips: Path, threads: int, megabytes: int) -> None:
    """Run a worker process: tasks in, rows out, until the pipe closes."""
    end_with_parent()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    bench = WorkerBench(pickle.loads(chips.read_bytes()), threads)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 0
    pipe.send(None)
    limited = False
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        if held and not limited:
            resource.setrlimit(resource.RLIMIT_AS, (held + (megabytes << 20), resource.getrlimit(resource.RLIMIT_AS)[1]))
            limited = True
        try:
            row = bench.row(task)
        except MemoryError:
            row = {**blank(task), "status": "memory", "message": f"needs more than the limit of {megabytes:,} megabytes"}
            bench = WorkerBench(bench.chips, threads)
        try:
            pipe.send(row)
        except (BrokenPipeError, ConnectionResetError):
            return


@contextmanager
def without_main() -> Iterator[None]:
    """Start processes in this block that do not run the user's script again: nothing that they are told is defined in it."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def end_with_parent() -> None:
    """See to it that this process ends when its parent does, however that ends: on Linux at once, elsewhere between two kernels."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent.pid:  # it ended before this line
        os._exit(1)

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end(code: int | None, megabytes: int) -> str:
    """Say how a process ended."""
    text = f"its process ended with exit code {code}"
    if code == -signal.SIGKILL:
        return f"{text}: killed, by hand or by a system that had no memory left"
    if code in (-signal.SIGABRT, 127):
        return f"{text}: a library gave up, mostly for want of memory (the limit is {megabytes:,} megabytes a trial)"
    return text


def run_local(
    tasks: Iterator[Task | None], chips: Path, limits: Limits, workers: int, *, patience: Callable[[], bool] = lambda: False
) -> Generator[Row, None, None]:
    """Yield a row for each task, in the order in which they end.

    Args:
        tasks: what to do; None: nothing until the next row is out.
        chips: file with the pickled chips, written by this run.
        limits: of one trial.
        workers: processes, at least 1.
        patience: asked between rows; True: end what is being run, and no more.

    Raises:
        UsageError: workers end before they are ready.
    """
    try:
        tasks = chain([next(tasks)], tasks)
    except StopIteration:
        return  # nothing to do: nobody is hired
    context = multiprocessing.get_context("spawn")
    threads = max(1, usable_cores() // workers)
    crew: list[_Worker] = []
    host, number = socket.gethostname(), 0

    def hire() -> _Worker:
        nonlocal number
        ours, its = context.Pipe()
        process = context.Process(target=_serve, args=(its, chips, threads, limits.megabytes), daemon=True)
        with without_interrupts(), without_main():  # Ctrl-C is the parent's to handle
            process.start()
        its.close()
        number += 1
        crew.append(made := _Worker(process, ours, f"w{number}", since=time.monotonic()))
        return made

    def dismiss(worker: _Worker) -> list[Task]:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        crew.remove(worker)
        return worker.tasks

    waiting: list[Task] = []
    drained, unborn = False, 0

    def fill(worker: _Worker) -> None:
        nonlocal drained
        while worker.ready and len(worker.tasks) < _AHEAD:
            if waiting:
                task = waiting.pop(0)
            else:
                drained = drained or patience()
                following = None
                if not drained:
                    try:
                        following = next(tasks)
                    except StopIteration:
                        drained = True
                if following is None:
                    return
                task = following
            if not worker.tasks:
                worker.since = time.monotonic()
            worker.tasks.append(task)
            try:
                worker.pipe.send(task)
            except (BrokenPipeError, ConnectionResetError):
                return  # it died; its end of the pipe says so next

    def lost(worker: _Worker, status: str, message: str) -> Row | None:
        """End a worker; its first task becomes a row, the others wait for the next one."""
        nonlocal unborn
        ready = worker.ready
        left = dismiss(worker)
        waiting[:0] = left[1:]
        if not ready:
            unborn += 1
            if unborn > _TRIES:
                raise UsageError(f"worker processes do not start: {message}")
        if not patience():
            hire()
        if not left:
            return None
        return {**blank(left[0]), "status": status, "message": message, "host": host, "worker": worker.name}

    try:
        for _ in range(workers):
            hire()
        while True:
            if patience():
                drained = True
                waiting.clear()
                for worker in [worker for worker in crew if not worker.tasks]:
                    dismiss(worker)
            busy = [worker for worker in crew if worker.tasks or not worker.ready]
            if not any(worker.tasks for worker in crew) and drained and not waiting:
                return
            ends: list[Any] = [worker.pipe for worker in busy]
            now = time.monotonic()
            due = min((worker.since + limits.seconds - now for worker in crew if worker.tasks), default=1.0)
            heard = wait(ends, timeout=max(0.0, min(due, 1.0)))
            for worker in list(busy):
                if worker.pipe not in heard:
                    if worker.tasks and time.monotonic() - worker.since > limits.seconds:
                        row = lost(worker, "timeout", f"ran longer than the limit of {limits.seconds:g} seconds")
                        if row is not None:
                            yield row
                    continue
                try:
                    row = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join(1)
                    row = lost(worker, "died", _end(worker.process.exitcode, limits.megabytes))
                    if row is not None:
                        yield row
                    continue
                if row is None:
                    worker.ready = True
                else:
                    worker.tasks.pop(0)
                    worker.since = time.monotonic()
                    yield {**row, "host": host, "worker": worker.name}
                    if patience():
                        dismiss(worker)  # with the tasks that it had in hand
                        continue
                fill(worker)
            for worker in list(crew):
                fill(worker)
    finally:
        for worker in list(crew):
            dismiss(worker)
