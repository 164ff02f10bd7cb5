"""Signals during a run: the first Ctrl-C, SIGTERM or SIGHUP asks it to end, the second ends it; workers never see one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, final

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run."""


@final
class Interrupts:
    """Turns the first signal that would end the process into a request to end; the second ends at once.

    A SIGHUP that is ignored (``nohup``) stays ignored. Only the main thread can take signals; elsewhere there are none.

    Attributes:
        signal: the number of the one that came; None: none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether there was one."""
        return self.signal is not None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not installed from Python

    def _ask(self, number: int, _: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes and threads in this block that such signals do not reach, sent to the whole group: they inherit that these are held back."""
    resource_tracker.ensure_running()  # its start lets the signals through again, so it comes first
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(ENDING))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
