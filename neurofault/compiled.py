"""Kernels that numba compiles once and keeps: what is kept is used only for the very sources that it was made of.

By itself numba compares a kept kernel with the file that the kernel stands in. A kernel that inlines another of another file would go on with the
other's old code, and one whose arguments are of a record that was renamed since could not even be looked up.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba
from llvmlite.binding import Linkage
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from neurofault.cache import compiled_kernels_have_a_place
from neurofault.kernel_sources import sources_digest
from neurofault.progress import compiling

if TYPE_CHECKING:
    from filelock import BaseFileLock

_Function = TypeVar("_Function", bound=Callable[..., Any])

compiled_kernels_have_a_place()

_njit: Any = functools.partial(numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)


_PATIENCE = 300.0
"""Seconds after which a kernel that another process is compiling is compiled here all the same."""


class _KeptKernels(FunctionCache):
    """Numba's cache of one function, keyed by all sources, without what nobody can read any more.

    What one process compiles others that want the same wait for. Numba's index of a function is read, changed and written again: two
    processes at once could give one file to two signatures, so here one after the other writes it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba has no types
        self._compiled_here: dict[Any, BaseFileLock] = {}

    def _lock(self, name: str, *, patience: float) -> BaseFileLock | None:
        """Return a lock that is held, beside what is kept; None: there is none to be had, or not in time."""
        from filelock import FileLock, Timeout  # where everything is kept already nothing is locked

        try:
            folder = Path(self._cache_path)
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{name}.lock")
            lock.acquire(timeout=patience, poll_interval=0.02)
        except (OSError, NotImplementedError, Timeout):
            return None
        return lock

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), sources_digest())  # type: ignore[no-untyped-call]  # numba has no types

    def save_overload(self, sig: Any, data: Any) -> None:
        for environment in data._find_referenced_environments():  # those of its parts
            data.codegen.set_env(environment.env_name, environment)
        index = self._lock(f"{self._impl.filename_base}.index", patience=_PATIENCE)
        if index is not None:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # numba has no types
            index.release()  # its file stays: of two processes one could wait for a file that is gone while the other locks the next
        _unlocked(self._compiled_here.pop(sig, None))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._loaded(sig, target_context)
        if found is not None:
            return found
        compiling()
        lock = self._lock(_short(self._impl.filename_base, self._index_key(sig, target_context.codegen())), patience=_PATIENCE)
        if lock is None:
            return None
        found = self._loaded(sig, target_context)  # another process may have compiled it by now
        if found is None:
            self._compiled_here[sig] = lock
        else:
            _unlocked(lock)
        return found

    def _loaded(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba has no types
        except (AttributeError, ImportError):  # it holds records of an earlier version
            self.flush()  # type: ignore[no-untyped-call]  # numba has no types
            return None


def _short(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _unlocked(lock: BaseFileLock | None) -> None:
    """Let a lock go and take its file away; who waits for the file that is gone compiles what he finds kept, or for himself."""
    if lock is not None:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


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
    made._cache = _KeptKernels(function)
    if _asked is not None:
        return functools.partial(_ask, _asked, made)  # type: ignore[return-value]  # it takes what the kernel takes
    return made  # type: ignore[no-any-return]  # numba has no types


_asked: list[tuple[Any, tuple[Any, ...]]] | None = None


def _ask(asked: list[tuple[Any, tuple[Any, ...]]], kernel: Any, *arguments: Any) -> None:
    signature = tuple(kernel.typeof_pyval(each) for each in arguments)
    if (kernel, signature) not in asked:
        asked.append((kernel, signature))


def rehearse() -> list[tuple[Any, tuple[Any, ...]]]:
    """Let kernels that are declared from now on, in this process, only write down that they are asked for, and of which types; nothing is run.

    Returns:
        The list that is written: kernel and the types of its arguments, each once, in the order in which they are first asked for.
    """
    global _asked
    _asked = []
    return _asked


def part(function: _Function) -> _Function:
    """Compile what only kernels call, as a part of each of them, without reference counts: it may not make arrays, and a call costs little.

    To count references to a dozen arrays would cost as much as a step of a small population; to unpack them from Python takes longer to
    compile than most kernels.
    """
    made: _Function = _njit(pipeline_class=_PartCompiler, no_cpython_wrapper=True, _nrt=False)(function)
    return made
