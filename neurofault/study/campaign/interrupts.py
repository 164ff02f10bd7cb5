"""Ctrl-C during a run: the first one asks it to end, the second ends it; workers never see one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, final


@final
class Interrupts:
    """Turns the first Ctrl-C into a request to end; the second ends at once.

    Attributes:
        asked: whether there was one.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes and threads in this block that Ctrl-C on the terminal does not reach: they inherit that it is held back."""
    resource_tracker.ensure_running()  # its start lets the signal through again, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
