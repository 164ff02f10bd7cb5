"""Ranges of ids as texts, such as ``"4-7"``: both ends are meant, and the first is the lower one."""

from __future__ import annotations

import re

_RANGE = re.compile(r"\s*([0-9]{1,40})\s*-\s*([0-9]{1,40})\s*")


def turned(text: object) -> str | None:
    """Return the right form of a range whose ends stand the wrong way round; None for anything else.

    >>> turned("12-9")
    '9-12'
    """
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    return f"{found[2]}-{found[1]}" if found and int(found[1]) > int(found[2]) else None
