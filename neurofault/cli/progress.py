"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from neurofault.progress import when_compiling

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY_SECONDS = 30.0


class StderrProgress:
    """A ``progress(stage, done, total, text)`` callable and context manager."""

    def __init__(self) -> None:
        self._bars = _bars() if sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> StderrProgress:
        if self._bars is not None:
            self._bars.start()
            when_compiling(lambda: self._bars.console.print("compiling kernels, once") if self._bars is not None else None)
        self._said = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            when_compiling(None)
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Show that ``done`` of ``total`` parts of a stage are done."""
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, text=text)
            self._bars.update(self._tasks[stage], completed=done, total=total, text=text)
        elif time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            print(f"{stage} {done}/{total} {text}", file=sys.stderr, flush=True)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=Console(stderr=True), transient=True,
    )  # fmt: skip
