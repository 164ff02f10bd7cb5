"""How long work says where it stands, whoever listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""Called as ``progress(stage, done, total, text)``: what is being done, how many of how many parts are, and what else there is to say."""


def silent(stage: str, done: int, total: int, text: str) -> None:
    """Say nothing."""


_waiting: list[Callable[[], object]] = []


def when_compiling(say: Callable[[], object] | None) -> None:
    """Call ``say`` when this process compiles its next kernel, once; None: nobody wants to know any more."""
    _waiting[:] = [] if say is None else [say]


def compiling() -> None:
    """Tell whoever waits for it (:func:`when_compiling`) that a kernel is compiled."""
    while _waiting:
        _waiting.pop()()
