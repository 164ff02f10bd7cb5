"""Worker processes that compute the parts of figures: the process that has the journal hands parts out, answers what is known and writes down what is found.

Nothing passes through files: a worker hears everything over its pipe, and asks there for each unit before it computes it. So no unit is computed
twice, whoever needs it, and a run that is killed keeps every unit that was finished.
"""

from __future__ import annotations

import json
import multiprocessing
import pickle
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, final

from neurofault.errors import NeurofaultError, NeurofaultWarning, UsageError
from neurofault.numerals import plural
from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.chip_setting import ChipSetting
from neurofault.papers.rescue2019.float_setting import FloatSetting
from neurofault.papers.rescue2019.parts import Part, Stages, subject_of
from neurofault.papers.rescue2019.units import Units, trial_of
from neurofault.progress import Progress, silent
from neurofault.study.campaign.interrupts import without_interrupts
from neurofault.study.campaign.workers import end_with_parent, without_main

_MOST = 256
"""Most workers."""


def check_jobs(jobs: int) -> None:
    """Refuse a number of workers that cannot be.

    Args:
        jobs: 1 to 256.

    Raises:
        UsageError: another number.
    """
    if not 1 <= jobs <= _MOST:
        raise UsageError(f"--jobs must be from 1 to {_MOST}, is {jobs}")


@final
class Asked:
    """Results of units in a worker: what the other end of a pipe knows, else computed here and sent there.

    Args:
        pipe: to the process that has the journal.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def once(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """Return the result of a key; compute it where nobody has; wait where another worker is at it."""
        self._pipe.send(("wanted", trial_of(key)))
        known, value = self._pipe.recv()
        if not known:
            value = json.loads(json.dumps(compute()))
            self._pipe.send(("found", key, value))
        return value


def _serve(pipe: Connection, setting: FloatSetting | ChipSetting, data_dir: Path | None) -> None:
    """Run a worker: parts in, units out, until the pipe closes."""
    end_with_parent()
    warnings.simplefilter("ignore", NeurofaultWarning)  # the process that draws says them
    try:
        with one_thread():
            subject = subject_of(setting, Asked(pipe), data_dir, silent)
            while True:
                pipe.send(("ready",))
                part: Part = pipe.recv()
                try:
                    part(subject)
                except NeurofaultError as error:
                    pipe.send(("refused", _as_sent(error)))
                except Exception:
                    pipe.send(("failed", traceback.format_exc()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _as_sent(error: NeurofaultError) -> NeurofaultError:
    """Return an error as it can be sent: as it is, or with its text alone."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:
        pass
    return UsageError(str(error))


@dataclass(eq=False)
class _Hand:
    process: BaseProcess
    pipe: Connection
    state: Literal["starting", "idle", "at work"] = "starting"
    computing: set[str] = field(default_factory=set)


@final
class Crew:
    """Worker processes of one setting; leaving the context ends them.

    Args:
        jobs: workers, 1 to 256.
        setting: of the figures.
        units: the journal; this process alone writes to it.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
        progress: told how many parts are done.

    Raises:
        UsageError: another number of workers.
    """

    def __init__(
        self, jobs: int, setting: FloatSetting | ChipSetting, units: Units, data_dir: Path | None, progress: Progress
    ) -> None:
        check_jobs(jobs)
        self._jobs, self._given, self._units, self._progress = jobs, (setting, data_dir), units, progress
        self._workers = list[_Hand]()
        self._waiting = dict[str, list[_Hand]]()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def work(self, figure: str, stages: Stages) -> None:
        """Let the workers compute parts, stage by stage, until all their units are in the journal.

        Args:
            figure: what they are of, for the progress.
            stages: of :func:`neurofault.papers.rescue2019.parts.parts_of`.

        Raises:
            NeurofaultError: what a part was refused for.
            UsageError: a worker ended, or the journal cannot be written.
            RuntimeError: a part failed in another way, with the worker's traceback.
        """
        total, done = sum(map(len, stages)), 0
        for stage in stages:
            left = list(reversed(stage))
            self._hire(min(self._jobs, len(left)) - len(self._workers))
            while True:
                for worker in self._workers:
                    if worker.state == "idle" and left:
                        self._tell(worker, left.pop())
                        worker.state = "at work"
                if not left and not any(worker.state == "at work" for worker in self._workers):
                    break
                self._progress(figure, done, total, f"{plural(len(self._units), 'unit')}, {plural(self._jobs, 'worker')}")
                for worker in self._heard():
                    before = worker.state
                    if self._is_ready(worker):
                        done, worker.state = done + (before == "at work"), "idle"
        self._progress(figure, total, total, "")

    def _hire(self, number: int) -> None:
        """Start more workers; each says when it is ready."""
        for _ in range(number):
            context = multiprocessing.get_context("spawn")
            ours, its = context.Pipe()
            process = context.Process(target=_serve, args=(its, *self._given), daemon=True)
            with without_interrupts(), without_main():  # Ctrl-C is this process's to handle
                process.start()
            its.close()
            self._workers.append(_Hand(process, ours))

    def _heard(self) -> list[_Hand]:
        """Return the workers that have said something, as soon as one has."""
        by_pipe = {worker.pipe: worker for worker in self._workers if worker.state != "idle"}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe)) if isinstance(pipe, Connection)]

    def _is_ready(self, worker: _Hand) -> bool:
        """Take a message; return whether it says that the worker is ready for another part."""
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._lost(worker) from None
        match message:
            case ("wanted", trial):
                self._answer(worker, trial)
            case ("found", key, value):
                trial = trial_of(key)
                self._units.add(trial, key, value)
                worker.computing.discard(trial)
                for other in self._waiting.pop(trial, []):
                    self._tell(other, (True, self._units[trial]))
            case ("refused", error):
                raise error
            case ("failed", text):
                raise RuntimeError(f"a worker failed:\n{text}")
            case _:
                return True
        return False

    def _answer(self, worker: _Hand, trial: str) -> None:
        """Say what is known of a unit: its result, or that it is the worker's to compute; where another is at it, later."""
        if trial in self._units:
            self._tell(worker, (True, self._units[trial]))
        elif any(trial in other.computing for other in self._workers):
            self._waiting.setdefault(trial, []).append(worker)
        else:
            worker.computing.add(trial)
            self._tell(worker, (False, None))

    def _tell(self, worker: _Hand, message: object) -> None:
        try:
            worker.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._lost(worker) from None

    def _lost(self, worker: _Hand) -> UsageError:
        worker.process.join(1)
        return UsageError(
            f"a worker process ended with exit code {worker.process.exitcode} (killed, or out of memory); what was done is kept: run it again, "
            "with fewer --jobs if memory is short"
        )
