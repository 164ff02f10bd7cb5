"""How numbers, JSON and other results leave the command line: nothing replaced that is not ours, nothing computed lost."""

from __future__ import annotations

import codecs
import io
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from neurofault.errors import UsageError
from neurofault.files import write_whole

if TYPE_CHECKING:
    from neurofault.deploy.cost import Estimate

_ROOM = 1 << 16
"""Bytes that a folder must take before the work begins."""


def percent(value: float) -> str:
    """Return ``97.55 %``."""
    return f"{100 * value:.2f} %"


def scientific(value: float | None, unit: str) -> str:
    """Return a value with an engineering prefix, ``12.3 µJ``; ``unknown`` for None."""
    if value is None:
        return f"unknown {unit}"
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")):
        if abs(value) >= factor or factor == 1e-12:
            return f"{value / factor:.3g} {prefix}{unit}"
    raise AssertionError("unreachable")


def estimated(each: Estimate, unit: str, more: str = "") -> str:
    """Return an estimate with its evidence, ``12.3 µJ (simulated)``; of one that is not known, what it is at least.

    Args:
        each: the estimate.
        unit: its unit.
        more: what else is said of it, within the brackets.
    """
    from neurofault.deploy.cost_table import ESSENTIAL

    least = each.at_least
    if least is None:
        return f"{scientific(each.value, unit)} ({each.evidence}{more})"
    gaps = ", ".join(name for name in each.missing if name in ESSENTIAL)
    return (
        f"at least {scientific(least.value, unit)} ({least.evidence}, of {', '.join(least.events)} alone; {gaps} not known{more})"
    )


def check_file(option: str, target: str | Path | None, endings: Sequence[str] = ()) -> None:
    """Refuse an output file that could not be written, before any work is done.

    A device, a FIFO or a socket that is there is taken as it is. For a file, its folder is made if there is none, and a little is written
    there and removed again, so that a read-only folder and a full disk show now.

    Args:
        option: how the user named it, ``--json``.
        target: the file; None and ``-`` (stdout) are always right.
        endings: with which the name of a file must end, such as ``.json``; none: any.

    Raises:
        UsageError: it cannot be written.
    """
    if target is None or str(target) == "-":
        return
    path = Path(target)
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        raise UsageError(f"{option} {target}: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the name
        raise UsageError(f"{option} {str(target)!r}: {error}") from error
    if stat.S_ISDIR(kind):
        raise UsageError(f"{option} {target}: is a folder, not a file")
    if not stat.S_ISREG(kind):
        return
    if endings and path.suffix.lower() not in endings:
        wanted = " or ".join(endings)
        stdout = "; - is stdout" if ".json" in endings else ""
        raise UsageError(f"{option} {target}: the name of the file must end in {wanted}{stdout}")
    check_folder(option, path.resolve().parent, target)


def check_folder(option: str, folder: Path | None, target: str | Path | None = None) -> None:
    """Refuse an output folder that could not be made or written, before any work is done; a missing one is made.

    Args:
        option: how the user named it, ``--out``.
        folder: the folder; None: none was asked for.
        target: what the user named, if it is not the folder itself.

    Raises:
        UsageError: it is a file, or nothing can be written there.
    """
    if folder is None:
        return
    probe = folder / f".neurofault-{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_ROOM))
        finally:
            probe.unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(f"{option} {target or folder}: {folder} is a file, not a folder") from None
    except OSError as error:
        raise UsageError(f"{option} {target or folder}: {error.strerror}") from error


def write_text(option: str, target: str | Path, text: str) -> None:
    """Write text: to a file whole or not at all, the one that a link points to; through a device or FIFO.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        write_whole(Path(target), text.encode())
    except OSError as error:
        raise UsageError(f"{option} {target}: {error.strerror}") from error


class JsonOut:
    """Where ``--json`` goes. With ``-``, stdout carries the JSON and nothing else: whatever is printed meanwhile goes to stderr.

    Args:
        target: a file, ``-``, or None for no JSON.

    Attributes:
        alone: whether nothing but the JSON may be printed.
    """

    def __init__(self, target: str | None) -> None:
        check_file("--json", target, (".json",))
        self.alone = target == "-"
        self._target = target

    @contextmanager
    def working(self) -> Iterator[None]:
        """While the work is done: with ``-``, prints of anybody (a user's module, a library, a child process) go to stderr."""
        if not self.alone:
            yield
            return
        sys.stdout.flush()
        number = saved = -1
        with suppress(io.UnsupportedOperation, OSError):  # stdout may be no file of the system, as in a notebook or a test
            number = sys.stdout.fileno()
            saved = os.dup(number)
            os.dup2(sys.stderr.fileno(), number)
        try:
            with redirect_stdout(sys.stderr):
                yield
        finally:
            if saved >= 0:
                os.dup2(saved, number)
                os.close(saved)

    def write(self, answer: dict[str, Any]) -> None:
        """Write the answer. A file that cannot be written any more costs nothing: the JSON is printed to stdout, and the error follows.

        Raises:
            UsageError: the file cannot be written.
        """
        if self._target is None:
            return
        plain = self.alone and not _unicode(sys.stdout)
        text = json.dumps(answer, indent=2, ensure_ascii=plain, allow_nan=False) + "\n"
        if self.alone:
            sys.stdout.write(text)
            return
        try:
            write_text("--json", self._target, text)
        except UsageError as error:
            sys.stdout.write(text)
            raise UsageError(f"{error}; the JSON was printed instead") from error


_PLAIN = str.maketrans({"…": "...", "–": "-", "−": "-", "×": "x", "·": ".", "µ": "u", "✗": "x", "→": "->", "≤": "<=", "≥": ">=", "†": "+", "σ": "s", "█": "#"})  # fmt: skip


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an encoding lacks: the nearest plain ones, else a backslash escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(
        plain if plain != letter else letter.encode("ascii", "backslashreplace").decode()
        for letter, plain in zip(lost, (letter.translate(_PLAIN) for letter in lost), strict=True)
    ), error.end


def _unicode(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def forgiving_streams() -> None:
    """Let stdout and stderr take every character, whatever the terminal's encoding, and be there even if the caller closed them."""
    codecs.register_error("neurofault", _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="neurofault")
