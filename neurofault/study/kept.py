"""What takes long and comes out the same is kept in the cache: which conversion of a zoo network is best, and what the torch network itself reaches.

What is kept is used only for the very weights, data, settings, sources of neurofault and versions of NumPy and torch that it was made with.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

from neurofault.cache import cache_dir, keep
from neurofault.digest import digest_of
from neurofault.errors import NeurofaultWarning
from neurofault.progress import told

_Value = TypeVar("_Value")


def once(what: str, key: object, make: Callable[[], _Value]) -> _Value:
    """Return what is kept, or make it and keep it.

    Args:
        what: its name, for people and for the file: one word.
        key: all that it depends on beside sources and versions, as :func:`neurofault.digest.digest_of` takes it.
        make: makes it; what it returns can be pickled.
    """
    path = cache_dir() / "kept" / f"{what}-{digest_of([key, _made_with()])}.pickle"
    found = _read(path)
    if found is not None:
        told(f"{what}: from the cache, {path.parent}")
        return cast(_Value, found[0])
    made = make()
    written = pickle.dumps([made], protocol=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurofaultWarning)  # where nothing can be kept, weights and kernels say so already
        keep(path, lambda part: part.write_bytes(hashlib.blake2b(written).digest() + written))
    return made


def _read(path: Path) -> list[Any] | None:
    """Return what stands in a file, in a list; None: nothing, or not what was written."""
    size = hashlib.blake2b().digest_size
    try:
        read = path.read_bytes()
        if hashlib.blake2b(read[size:]).digest() != read[:size]:
            return None
        return cast(list[Any], pickle.loads(read[size:]))
    except (OSError, pickle.UnpicklingError, ImportError, AttributeError):  # of another Python, or of another version of a library
        return None


@functools.cache
def _made_with() -> list[str]:
    """Return a digest of every source of neurofault, and the versions of what it counts with."""
    digest, package = hashlib.blake2b(digest_size=16), Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return [digest.hexdigest(), version("numpy"), version("torch")]
