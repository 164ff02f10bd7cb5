"""Ids of cores and ranges of them, as profiles write them: ``5``, ``"12-15"``."""

from __future__ import annotations

import re

_CORES = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?")


def core_range(entry: int | str) -> range:
    """Return the ids of an entry (both ends of a range included).

    >>> list(core_range("12-15")), list(core_range(5))
    ([12, 13, 14, 15], [5])
    """
    first, _, last = str(entry).partition("-")
    return range(int(first), int(last or first) + 1)


def core_problem(entry: int | str) -> str | None:
    """Return why an entry names no cores; None: it does.

    >>> core_problem("7-3")
    "'7-3' is no range: the lower end comes first (did you mean '3-7'?)"
    >>> core_problem("left")
    "'left' is not a core; write an id such as 5 or a range such as 12-15"
    """
    if not _CORES.fullmatch(str(entry)):
        return f"{entry!r} is not a core; write an id such as 5 or a range such as 12-15"
    if not core_range(entry):
        first, _, last = str(entry).partition("-")
        return f"{entry!r} is no range: the lower end comes first (did you mean '{last}-{first}'?)"
    return None
