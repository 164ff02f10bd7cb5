"""Code that runs Lava in an operating-system process of its own, which is ended when it takes too long."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from neurofault.activity import TRACES, Traces
from neurofault.errors import EngineError, NeurofaultError, UsageError
from neurofault.faults.plan import Faults
from neurofault.numerals import whole_number

Result = TypeVar("Result")

_LAST_WORDS = 2000
_CHILD = "import sys; sys.path[:] = {path!r}\nfrom neurofault.lava.watching import main\nmain({folder!r})"


def watched(function: Callable[..., Result], *arguments: Any, timeout: float = 60.0) -> Result:
    """Call a function in a new Python process; end it, with all that it started, when the time is over.

    Args:
        function: importable by name (defined at the top of a module, not in ``__main__``).
        arguments: what it is called with; they and its result go through pickle.
        timeout: seconds, > 0.

    Returns:
        what the function returned.

    Raises:
        NeurofaultError: the function raised it.
        EngineError: it failed otherwise, or it took too long; the text ends with its last words.
        UsageError: ``timeout`` is out of range, or the function cannot be imported by name.
    """
    return _call(function, arguments, timeout, _importable(function))


def _importable(function: Callable[..., Any]) -> str:
    """Return a function's name, if a new process can import it."""
    label: str = getattr(function, "__qualname__", repr(function))
    if getattr(function, "__module__", "") == "__main__" or "<" in label:
        raise UsageError(f"{label} cannot be imported by a new process; define it at the top of a module of its own")
    return label


def _call(function: Callable[..., Result], arguments: tuple[Any, ...], timeout: float, label: str) -> Result:
    """See :func:`watched`; ``label`` is what messages call the function."""
    if not timeout > 0:
        raise UsageError(f"timeout must be above 0, is {timeout}")
    with tempfile.TemporaryDirectory(prefix="neurofault-lava-") as name:
        folder = Path(name)
        (folder / "job").write_bytes(pickle.dumps((function, arguments)))
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD.format(path=sys.path, folder=name)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise EngineError(_report(f"{label} was not ready after {timeout:g} seconds", folder)) from None
        finally:
            _end(child)
        if not (folder / "result").exists():
            raise EngineError(_report(f"{label} ended with exit code {child.returncode}", folder))
        kind, value = pickle.loads((folder / "result").read_bytes())
        if kind == "raised":
            raise value
        result: Result = value
        return result


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started: Lava's processes are in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()


def _report(what: str, folder: Path) -> str:
    words = (folder / "log").read_text(errors="replace")[-_LAST_WORDS:].strip() or "(none)"
    return f"{what}; last words:\n{words}"


def main(place: str) -> None:
    """Do the job in the folder ``place``; leave its result, or the error that is the caller's to mend, in a file."""
    folder = Path(place)
    function, arguments = pickle.loads((folder / "job").read_bytes())
    try:
        answer = ("returned", function(*arguments))
    except NeurofaultError as error:
        answer = ("raised", error)
    (folder / "part").write_bytes(pickle.dumps(answer))
    (folder / "part").rename(folder / "result")


def run_watched(
    build: Callable[[], Any],
    steps: int,
    timeout: float = 60.0,
    *,
    faults: Faults | None = None,
    seed: int = 0,
    draw: int = 0,
    states: Collection[str] = TRACES,
    **options: Any,
) -> dict[str, Traces]:
    """Build somebody's Lava graph in a new process, break it if asked to, run it there, and return what its neurons did.

    Args:
        build: importable by name; makes the graph and returns its processes, see :func:`neurofault.lava.from_lava`.
        steps: T of each population.
        timeout: seconds after which the process is ended.
        faults: see :func:`neurofault.lava.inject`, which gets also
        seed: key of the random streams,
        draw: which draw, and
        options: such as ``profile`` or ``neurons_per_core``.
        states: which of ``u``, ``v``, ``spikes``.

    Returns:
        see :func:`neurofault.lava.record`.

    Raises:
        EngineError: Lava failed or was not ready in time.
        NeurofaultError: what :func:`neurofault.lava.inject` and :func:`neurofault.lava.record` raise.
    """
    seed, draw = whole_number(seed, "seed"), whole_number(draw, "draw")
    return _call(_build_and_run, (build, steps, faults, seed, draw, tuple(states), options), timeout, _importable(build))


def _build_and_run(
    build: Callable[[], Any],
    steps: int,
    faults: Faults | None,
    seed: int,
    draw: int,
    states: tuple[str, ...],
    options: dict[str, Any],
) -> dict[str, Traces]:
    processes = build()
    processes = list(processes) if isinstance(processes, Iterable) else processes

    from neurofault.lava.recording import record

    if faults is None:
        return record(processes, steps, states=states)

    from lava.magma.core.run_configs import Loihi2SimCfg

    from neurofault.lava.injection import inject

    handle = inject(processes, faults, timesteps=steps, seed=seed, draw=draw, **options)
    return record(processes, steps, handle.run_config(Loihi2SimCfg(select_tag="fixed_pt")), states=states)
