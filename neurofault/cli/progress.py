"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from neurofault.progress import when_compiling, when_told

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY_SECONDS = 30.0


class StderrProgress:
    """A ``progress(stage, done, total, text)`` callable and context manager.

    Args:
        verbose: whether :meth:`part` says what was chosen, and where what the work rests on came from (:func:`neurofault.progress.told`).
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._bars = _bars() if sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}
        self._said = self._since = 0.0
        self._verbose = verbose

    def __enter__(self) -> StderrProgress:
        if self._bars is not None:
            self._bars.start()
        if self._bars is not None or self._verbose:
            when_compiling(lambda: self._say("compiling kernels, once"))
        if self._verbose:
            when_told(self._say)
        self._said = self._since = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        when_compiling(None)
        when_told(None)
        if self._bars is not None:
            self._bars.stop()

    def part(self, name: str, lines: Callable[[], Iterable[str]] = tuple) -> None:
        """With ``--verbose``: say that a part of the work has ended, how long it took, and what was chosen in it.

        Args:
            name: of the part.
            lines: what there is to say of it; not asked for without ``--verbose``.
        """
        if not self._verbose:
            return
        self._say(f"{name}: {time.monotonic() - self._since:.2f} s")
        for line in lines():
            self._say(f"  {line}")
        self._since = time.monotonic()

    def _say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, emoji=False)
        else:
            print(text, file=sys.stderr, flush=True)

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
