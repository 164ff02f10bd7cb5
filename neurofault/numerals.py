"""Numbers as users write them: ASCII digits within 64 bits. ``int("²")``, ``int("٣")`` and ``int("1_000")`` are Python's own ideas."""

from __future__ import annotations

import operator
import re

from neurofault.errors import UsageError

_WHOLE = re.compile(r"[0-9]{1,18}")
_SIGNED = re.compile(r"[-+]?[0-9]{1,40}")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?")

INT64 = range(-(1 << 63), 1 << 63)
"""The whole numbers of 64 bits."""


def natural(text: str) -> int | None:
    """Return the whole number from 0 that a text writes, blanks around it allowed; None: it writes none, or one of over 18 digits.

    >>> natural(" 12 "), natural("²"), natural("-1")
    (12, None, None)
    """
    return int(text) if _WHOLE.fullmatch(text := text.strip(" ")) else None


def integer(text: str) -> int | None:
    """Return the whole number of 64 bits that a text writes; None: it writes none.

    >>> integer("-3"), integer("1_000"), integer("9" * 30)
    (-3, None, None)
    """
    number = int(text) if _SIGNED.fullmatch(text) else None
    return number if number is not None and number in INT64 else None


def real(text: str) -> float | None:
    """Return the finite number that a text writes; None: it writes none, or one that 64 bits cannot hold.

    >>> real("1e-3"), real("nan"), real("1e400")
    (0.001, None, None)
    """
    number = float(text) if _REAL.fullmatch(text) else None
    return number if number is not None and abs(number) < float("inf") else None


def whole_number(value: object, what: str) -> int:
    """Return a number of any whole type (Python's, NumPy's, a tensor's) as Python's own: seeds and draws name random streams, which another type must not change.

    Args:
        value: what was given.
        what: its name, for the message.

    Raises:
        UsageError: it is of another type: a truth value, a float, a text.

    >>> import numpy as np
    >>> whole_number(np.uint8(7), "seed")
    7
    >>> whole_number(True, "draw")
    Traceback (most recent call last):
    neurofault.errors.UsageError: draw must be a whole number, such as 0, not True (bool)
    """
    dtype = str(getattr(value, "dtype", ""))
    if not isinstance(value, bool) and "bool" not in dtype:
        try:
            return operator.index(value)  # type: ignore[arg-type]  # what has no index is refused
        except (TypeError, ValueError, RuntimeError):
            pass
    raise UsageError(f"{what} must be a whole number, such as 0, not {value!r} ({type(value).__name__})")


def plural(number: float, one: str, more: str | None = None, form: str = ",") -> str:
    """Return a number with what it counts, in the singular where the number is shown as 1.

    >>> plural(1, "draw"), plural(10_000, "draw"), plural(2, "trial has", "trials have"), plural(1.0, "cycle", form=".3g")
    ('1 draw', '10,000 draws', '2 trials have', '1 cycle')

    Args:
        number: how many.
        one: what it counts, in the singular.
        more: the same in the plural; None: with an s.
        form: how the number is written, as of :func:`format`.
    """
    text = format(number, form)
    return f"{text} {one if text == '1' else f'{one}s' if more is None else more}"


def names_hint(what: str) -> str:
    """Return how names become the whole numbers that labels are, for the end of a message; of anything but labels nothing.

    >>> names_hint("mine.npz: train_labels")
    '; labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names'
    >>> names_hint("images")
    ''

    Args:
        what: the name of what holds texts.
    """
    how = "labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names"
    return f"; {how}" if what.endswith("labels") else ""
