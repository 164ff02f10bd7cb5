"""Functions that do not come to a good end; nothing slow to import."""

from __future__ import annotations

import time


def never_ready() -> list[object]:
    print("still building", flush=True)
    time.sleep(600)
    return []


def fails() -> float:
    return 1 / 0
