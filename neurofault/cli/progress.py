"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_EVERY_SECONDS = 30.0


class StderrProgress:
    """A ``progress(stage, done, total, text)`` callable and context manager."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> StderrProgress:
        if self._live:
            self._bars.start()
        self._said = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Show that ``done`` of ``total`` parts of a stage are done."""
        if self._live:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, text=text)
            self._bars.update(self._tasks[stage], completed=done, total=total, text=text)
        elif time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            print(f"{stage} {done}/{total} {text}", file=sys.stderr, flush=True)
