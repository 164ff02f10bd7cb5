"""The command line: one small file a verb. Mistakes of the user end in one clear text on stderr and exit code 2."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, TextIO

import typer

from neurofault.cli.output import forgiving_streams
from neurofault.cli.verbs import STYLE, Verbs
from neurofault.cli.words import check_numbers
from neurofault.errors import NeurofaultError, NeurofaultWarning

app = typer.Typer(name="neurofault", no_args_is_help=True, cls=Verbs, **{**STYLE, "add_completion": True})


def _say_version(asked: bool) -> None:
    if asked:
        from neurofault.study.campaign.rows import SEMANTICS

        try:
            number = version("neurofault")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"neurofault {number}\nsemantics {SEMANTICS}")
        raise typer.Exit


@app.callback()
def options(
    version_: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version, and that of what trials mean, and exit."
        ),
    ] = False,
) -> None:
    """Break a simulated neuromorphic chip, see what it costs, and heal it."""


_WRONG_WORDS: Final[Any] = typer.BadParameter.__mro__[2]
"""Typer's root of what is wrong with the words of a command line; it comes from click or from Typer's own copy of it."""


_AGAIN: Final = 5.0
"""Seconds after which a signal is raised once more: code of others may catch whatever is raised while it runs."""

_SOON, _PATIENCE = 0.05, 10.0
"""Seconds after which a signal that came where nothing may be raised is looked at again, and after which it is raised all the same."""

_CALLED_BACK: Final = str(Path("llvmlite", "binding", "executionengine.py"))


class _Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP came."""


def main() -> None:
    """Run the command line and end the process with its exit code.

    0; 2 for a mistake that the user can mend, or an output that cannot be written; 130, 143, 129 after Ctrl-C, SIGTERM, SIGHUP; verbs name others.
    """
    forgiving_streams()
    gc.set_threshold(100_000, 20, 20)  # what is loaded makes many objects, and next to none of it is garbage
    with warnings.catch_warnings(), _signals():
        warnings.simplefilter("always", NeurofaultWarning)
        warnings.showwarning = _show_warning
        code = _run()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _give_up(sys.stdout)
        except OSError as error:
            code = _unwritable(error)
    sys.exit(code)


@contextmanager
def _signals() -> Iterator[None]:
    """Let signals that end a process raise; what `nohup` ignores stays ignored, and only the main thread can take signals."""
    before = {}
    unraisable = sys.unraisablehook

    def show(lost: sys.UnraisableHookArgs) -> None:
        # A signal that came in a destructor, or in C's call of Python, is raised again by the timer.
        if not issubclass(lost.exc_type, _Stopped):
            unraisable(lost)

    sys.unraisablehook = show
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _run() -> int:
    """Run the verb and return the exit code."""
    stdout = sys.stdout
    try:
        check_numbers(sys.argv[1:])
        done = app(standalone_mode=False)
        return done if isinstance(done, int) else 0
    except NeurofaultError as error:
        return _say(str(error), 2)
    except _WRONG_WORDS as error:
        with suppress(OSError):
            error.show()
        return int(error.exit_code)
    except typer.Abort:
        return _say("stopped", 130)
    except _Stopped as stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        code = _say("stopped", 128 + int(stopped.args[0]))
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)  # everything is put away by now; threads that compile or compute could only be waited for
    except SystemExit:
        if sys.stdout is stdout:
            raise
        sys.stdout = stdout  # Typer puts another one there where the reader of our output went away, as `head` does
        _give_up(stdout)
        return 0
    except OSError as error:
        return _unwritable(error) if error.filename is None else _say(f"{error.filename}: {error.strerror}", 2)


def _say(text: str, code: int) -> int:
    with suppress(OSError):  # the terminal may be gone
        print(f"neurofault: {text}", file=sys.stderr, flush=True)
    return code


def _unwritable(error: OSError) -> int:
    """Say that stdout takes nothing (a full disk, a terminal that is gone)."""
    _give_up(sys.stdout)
    return _say(f"the output could not be written: {error.strerror or error}", 2)


def _give_up(stream: Any) -> None:
    """Send what is still to come to nowhere, so that the end of the process does not try once more to write it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _stop(number: int, frame: FrameType | None) -> None:
    def again(_: int, frame: FrameType | None) -> None:
        if not _must_not_raise(frame) or time.monotonic() - came > _PATIENCE:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
            raise _Stopped(number)

    came = time.monotonic()
    signal.signal(signal.SIGALRM, again)
    if _must_not_raise(frame):
        signal.setitimer(signal.ITIMER_REAL, _SOON, _SOON)
    else:
        again(number, frame)


def _must_not_raise(frame: FrameType | None) -> bool:
    """Whether a frame, or one that called it, is in the middle of what must come to its end.

    An import: torch's ends the process where Python raises in its C++. What LLVM calls back: numba finds nothing then where it needs a compiled kernel.
    """
    while frame is not None:
        place = frame.f_code.co_filename
        if place.startswith("<frozen importlib") or place.endswith(_CALLED_BACK):
            return True
        frame = frame.f_back
    return False


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    """Show what neurofault warns of as one line, and what others warn of as Python does."""
    text = str(message) if issubclass(category, NeurofaultWarning) else f"{category.__name__}: {message} ({filename}:{lineno})"
    _say(f"warning: {text}", 0)
