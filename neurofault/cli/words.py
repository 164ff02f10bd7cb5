"""Words of the command line that Python would read as a number and a reader would not."""

from __future__ import annotations

from collections.abc import Sequence

from neurofault.errors import UsageError
from neurofault.numerals import INT64, real


def check_numbers(words: Sequence[str]) -> None:
    """Refuse ``--count ٣``, ``1_000``, ``nan``, ``1e400`` and whole numbers beyond 64 bits, whatever option they are for.

    Args:
        words: of the command line, without the program's name.

    Raises:
        UsageError: the text names the word and the option before it.
    """
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        text = value if equals or not word.startswith("--") else ""
        try:
            float(text)
        except ValueError:
            continue
        where = f"{option} {text}" if option.startswith("-") else text
        if real(text) is None:
            raise UsageError(f"{where}: not a number: write finite numbers with the digits 0 to 9, a point and an exponent")
        if text.lstrip("+-").isdigit() and int(text) not in INT64:
            raise UsageError(f"{where}: a whole number beyond 64 bits (−2⁶³ to 2⁶³ − 1)")
