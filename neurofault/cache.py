"""The one folder outside the project that neurofault writes to on its own: downloaded data sets, trained zoo networks."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder (which need not exist yet): ``$NEUROFAULT_CACHE``, else the system's own place for caches."""
    named = os.environ.get("NEUROFAULT_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("neurofault"))
