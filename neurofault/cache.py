"""The one folder outside the project that neurofault writes to on its own: downloaded data sets, trained networks, compiled kernels.

Nothing depends on it: what cannot be kept is worked out again.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from neurofault.errors import NeurofaultWarning


def cache_dir() -> Path:
    """Return the cache folder (which need not exist yet): ``$NEUROFAULT_CACHE``, else the system's own place for caches."""
    named = os.environ.get("NEUROFAULT_CACHE")
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("neurofault"))


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Put a file into the cache, whole or not at all. If it cannot be written, that is said and nothing else is lost.

    Args:
        path: in the cache folder; folders are made.
        write: writes the file at the path that it is given, which ends as ``path`` does.
    """
    part = path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where a file cannot be opened or written
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        warnings.warn(
            f"{path.name} is not kept and will be made again next time: {path.parent}: {reason}; NEUROFAULT_CACHE names another folder",
            NeurofaultWarning,
            stacklevel=2,
        )


@cache
def compiled_kernels_have_a_place() -> None:
    """Let numba keep compiled kernels where it can: beside the package, else in the cache folder, else for this process alone.

    To be called before the first function is compiled; with neither place, numba would refuse to compile at all.
    """
    import numba

    if numba.config.CACHE_DIR or _writable(Path(__file__).parent):
        return
    folder = cache_dir() / "numba"
    if not _writable(folder):
        folder = Path(tempfile.mkdtemp(prefix="neurofault-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = str(folder)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
