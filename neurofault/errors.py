"""Every exception that neurofault raises on purpose, as one tree.

A :class:`NeurofaultError` is the user's to mend: its text says where, what, what is allowed and the nearest match. The command
line prints it without a traceback and exits with code 2. Anything else that escapes is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

MAX_LINE = 2000
"""Longest line of a message: what it repeats of a file or a word may be of any length."""


class NeurofaultError(Exception):
    """Root of the tree: a mistake that the caller can mend. Lines of its text beyond :data:`MAX_LINE` characters are cut."""

    def __str__(self) -> str:
        lines = super().__str__().split("\n")
        return "\n".join(line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…" for line in lines)


class SpecError(NeurofaultError):
    """One or more mistakes in a YAML document; all of them are listed.

    Args:
        mistakes: one line each, ``file:line:column: what is wrong (what is allowed; nearest match)``.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class DataError(NeurofaultError):
    """A data set is missing, truncated or not what its format says."""


class ConversionError(NeurofaultError):
    """A network holds something that cannot become spiking neurons and synapses."""


class CapacityError(NeurofaultError):
    """A network does not fit: the text names the core or layer, the resource, used and available, and what to change."""


class FaultError(NeurofaultError):
    """A fault asks for something that does not exist or is out of range."""


class UnsupportedError(NeurofaultError):
    """An engine or profile cannot run this deployment; the text names the layer and the engines that can."""


class EngineError(NeurofaultError):
    """Another program that an engine runs failed or hung (the text ends with its last words), or a device computes otherwise than the CPU."""


class LearningRuleError(NeurofaultError):
    """A learning rule cannot be read, or a chip cannot express it; all mistakes are listed.

    Args:
        mistakes: one line each: which target, which product, which factor, and what is allowed.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class StalledError(NeurofaultError):
    """A hung core stops the chip: there is no result; a trial records status ``stalled`` and no accuracy."""


class UsageError(NeurofaultError):
    """An argument is out of range or two arguments contradict each other."""


class NeurofaultWarning(UserWarning):
    """Something was taken that is worth a word: what was assumed or left out, and what to do if that is not meant."""


@contextmanager
def with_remedy(remedy: str) -> Iterator[None]:
    """Add to a refusal (:class:`UnsupportedError`) inside what would do.

    >>> with with_remedy("use a larger one"):
    ...     raise UnsupportedError("it does not fit")
    Traceback (most recent call last):
    neurofault.errors.UnsupportedError: it does not fit; use a larger one
    """
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}; {remedy}") from error


def unforeseen(value: NoReturn) -> NoReturn:
    """Stop at what a table of all cases leaves out (mypy finds it before): a bug of ours.

    Raises:
        AssertionError: always.
    """
    raise AssertionError(f"no case for {type(value).__name__}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest allowed name, or an empty string.

    >>> nearest("loihi3", ["loihi1", "loihi2"])
    " (did you mean 'loihi2'?)"
    >>> nearest("zebra", ["loihi1"])
    ''
    """
    match = difflib.get_close_matches(name, sorted(allowed, reverse=True), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
