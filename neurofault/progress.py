"""How long work says where it stands, whoever listens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any, Protocol

Progress = Callable[[str, int, int, str], None]
"""Called as ``progress(stage, done, total, text)``: what is being done, how many of how many parts are, and what else there is to say."""

Asked = Progress | bool | None
"""What the argument ``progress`` of a public function takes: what is called; True: a bar, in a notebook or on stderr; False: nothing; None: a bar where Python is
used interactively (a notebook, a prompt), else nothing."""

_EVERY_LINE = 30.0
_EVERY_BAR = 0.1


def silent(stage: str, done: int, total: int, text: str) -> None:
    """Say nothing."""


class _Bar(Protocol):
    """One line that changes, and goes away in the end."""

    def show(self, stage: str, done: int, total: int, text: str) -> None:
        """Show it anew."""

    def clear(self) -> None:
        """Take it away."""


@contextmanager
def listening(asked: Asked) -> Iterator[Progress]:
    """Give what is called as work goes on; a bar goes away when the work has ended, however it ends.

    >>> with listening(None) as progress:
    ...     progress("trials", 1, 2, "")  # a script: nothing is shown

    Args:
        asked: see :data:`Asked`.
    """
    if asked is not None and not isinstance(asked, bool):
        yield asked
        return
    if asked is False or (asked is None and getattr(sys, "ps1", None) is None):
        yield silent
        return
    bar: _Bar = _InNotebook() if _notebook() else _OnStderr()
    last = [0.0]

    def show(stage: str, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if now - last[0] >= _EVERY_BAR or done == total:
            last[0] = now
            bar.show(stage, done, total, text)

    try:
        yield show
    finally:
        bar.clear()


def _notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    module: Any = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class _InNotebook:
    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, stage: str, done: int, total: int, text: str) -> None:
        shown: Any = import_module("IPython.display")  # a notebook's kernel has it
        made = shown.HTML(
            f'<progress value="{done}" max="{total}" aria-label="{escape(stage)}"></progress> {escape(f"{stage} {done:,} of {total:,} {text}")}'
        )
        if self._handle is None:
            self._handle = shown.display(made, display_id=True)
        else:
            self._handle.update(made)

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.update(import_module("IPython.display").HTML(""))


class _OnStderr:
    def __init__(self) -> None:
        self._live, self._width, self._said = sys.stderr.isatty(), 0, time.monotonic()

    def show(self, stage: str, done: int, total: int, text: str) -> None:
        line = f"{stage} {done:,} of {total:,} {text}".rstrip()
        if self._live:
            print(f"\r{line[:100]:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = min(len(line), 100)
        elif time.monotonic() - self._said >= _EVERY_LINE:
            self._said = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._live:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)


_waiting: list[Callable[[], object]] = []


def when_compiling(say: Callable[[], object] | None) -> None:
    """Call ``say`` when this process compiles its next kernel, once; None: nobody wants to know any more."""
    _waiting[:] = [] if say is None else [say]


def compiling() -> None:
    """Tell whoever waits for it (:func:`when_compiling`) that a kernel is compiled."""
    while _waiting:
        _waiting.pop()()


_listeners: list[Callable[[str], object]] = []


def when_told(say: Callable[[str], object] | None) -> None:
    """Call ``say`` with whatever this process is told of where things came from (:func:`told`); None: nobody wants to know any more."""
    _listeners[:] = [] if say is None else [say]


def told(text: str) -> None:
    """Tell whoever wants to know (:func:`when_told`) where something came from: shipped, kept from before, made now."""
    for say in _listeners:
        say(text)
