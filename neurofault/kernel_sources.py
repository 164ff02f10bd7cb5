"""What compiled kernels are made of: a digest of their sources, without loading a compiler."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

SOURCES = (
    "compiled.py",
    "deploy/annealed/kernel.py",
    "engines/exact/*.py",
    "engines/incremental/*.py",
    "learning/*.py",
    "rescue/learners/*.py",
    "graph/arithmetic.py",
    "vector_code.py",
    "activity.py",
    "zoo/surrogate_kernels.py",
)
"""Where kernels, what they inline and the constants that they take in stand."""


@functools.cache
def sources_digest() -> str:
    """Return 32 hexadecimal digits of every source that a kernel may hold code of."""
    digest = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parent
    for path in (each for pattern in SOURCES for each in sorted(package.glob(pattern))):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
