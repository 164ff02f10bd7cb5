"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores that the process may run on, at least 1: its affinity and the quota of its control group (Linux)."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def _quota(membership: Path, mounted: Path) -> float | None:
    """Return how many cores' time the control group has, the smallest on the way to the top (version 2); None: no limit."""
    try:
        own = next(line[3:] for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder, found = mounted / own.lstrip("/"), []
    for place in (folder, *folder.parents):
        try:
            share, period = (place / "cpu.max").read_text().split()
            found.append(int(share) / int(period))
        except (OSError, ValueError):  # none there, or "max"
            pass
        if place == mounted:
            break
    return min(found, default=None)
