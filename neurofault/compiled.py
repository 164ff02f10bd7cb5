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
from llvmlite.binding import Linkage
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from neurofault.cache import compiled_kernels_have_a_place
from neurofault.progress import compiling

_Function = TypeVar("_Function", bound=Callable[..., Any])

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

compiled_kernels_have_a_place()

_njit: Any = functools.partial(numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)


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

    def save_overload(self, sig: Any, data: Any) -> None:
        for environment in data._find_referenced_environments():  # those of its parts
            data.codegen.set_env(environment.env_name, environment)
        super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # numba has no types

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba has no types
        except (AttributeError, ImportError):  # it holds records of an earlier version
            self.flush()  # type: ignore[no-untyped-call]  # numba has no types
            found = None
        if found is None:
            compiling()
        return found


class _PartLibrary(JITCodeLibrary):
    """The code of a part with that of the parts that it calls, as it was lowered: no machine code, so nothing that Python could call."""

    class _NoEngine:
        """Takes the environment of a function that has no machine code: the kernel that it goes into sets it (:meth:`_KeptKernels.save_overload`)."""

        def set_env(self, name: str, environment: Any) -> None:
            """Set nothing."""

    @property
    def codegen(self) -> Any:
        """What would make machine code."""
        return self._NoEngine()

    def finalize(self) -> None:
        """Put the code of other parts beside that of this one."""
        self._raise_if_finalized()  # type: ignore[no-untyped-call]  # numba has no types
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]  # numba has no types
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is none."""
        self._ensure_finalized()  # type: ignore[no-untyped-call]  # numba has no types
        return 0


class _KernelLibrary(JITCodeLibrary):
    """The code of a kernel that Python calls, with its own copy of all parts: what they are not asked for is left out, arguments too."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        super()._optimize_final_module()  # type: ignore[no-untyped-call]  # numba has no types


class _PartCompiler(Compiler):
    """Numba's compiler, of a part."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        own = _PartLibrary(targetctx.codegen(), "part") if library is None else library  # type: ignore[no-untyped-call]  # numba has no types
        super().__init__(typingctx, targetctx, own, *rest)  # type: ignore[no-untyped-call]  # numba has no types


class _KernelCompiler(Compiler):
    """Numba's compiler, of a kernel that Python calls."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = _KernelLibrary(targetctx.codegen(), "kernel")  # type: ignore[no-untyped-call]  # numba has no types
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *rest)  # type: ignore[no-untyped-call]  # numba has no types


def jit(function: _Function, **options: Any) -> _Function:
    """Compile a kernel that Python calls, without the interpreter's lock, with NumPy's division, and keep what was compiled.

    Args:
        function: what numba takes.
        options: further ones of ``numba.njit``.
    """
    made: Any = _njit(pipeline_class=_KernelCompiler, **options)(function)
    made._cache = _KeptKernels(function)  # type: ignore[no-untyped-call]  # numba has no types
    return made  # type: ignore[no-any-return]  # numba has no types


def part(function: _Function) -> _Function:
    """Compile what only kernels call, as a part of each of them, without reference counts: it may not make arrays, and a call costs little.

    To count references to a dozen arrays would cost as much as a step of a small population; to unpack them from Python takes longer to
    compile than most kernels.
    """
    made: _Function = _njit(pipeline_class=_PartCompiler, no_cpython_wrapper=True, _nrt=False)(function)
    return made
