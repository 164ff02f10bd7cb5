"""Kernels that numba compiles once and keeps: what is kept is used only for the very sources that it was made of.

By itself numba compares a kept kernel with the file that the kernel stands in. A kernel that inlines another of another file would go on with the
other's old code, and one whose arguments are of a record that was renamed since could not even be looked up.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache

from neurofault.cache import compiled_kernels_have_a_place

_Function = TypeVar("_Function", bound=Callable[..., Any])

SOURCES = (
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

compiled_kernels_have_a_place()


@functools.cache
def sources_digest() -> str:
    """Return 32 hexadecimal digits of every source that a kernel may hold code of."""
    digest = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parent
    for path in (each for pattern in SOURCES for each in sorted(package.glob(pattern))):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _KeptKernels(FunctionCache):
    """Numba's cache of one function, keyed by all sources, without what nobody can read any more."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), sources_digest())  # type: ignore[no-untyped-call]  # numba has no types

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba has no types
        except (AttributeError, ImportError):  # it holds records of an earlier version
            self.flush()  # type: ignore[no-untyped-call]  # numba has no types
            return None


def jit(function: _Function, **options: Any) -> _Function:
    """Compile a function without the interpreter's lock, with NumPy's division, and keep what was compiled.

    Args:
        function: what numba takes.
        options: further ones of ``numba.njit``.
    """
    made: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    made._cache = _KeptKernels(function)  # type: ignore[no-untyped-call]  # numba has no types
    return made  # type: ignore[no-any-return]  # numba has no types
