"""How long work says where it stands, whoever listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""Called as ``progress(stage, done, total, text)``: what is being done, how many of how many parts are, and what else there is to say."""


def silent(stage: str, done: int, total: int, text: str) -> None:
    """Say nothing."""
