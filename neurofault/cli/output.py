"""How numbers and JSON leave the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from neurofault.errors import UsageError


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


def write_json(answer: dict[str, Any], target: str) -> None:
    """Write JSON to a file, whole or not at all, or to stdout (``-``).

    Raises:
        UsageError: the file cannot be written.
    """
    text = json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"--json {target}: {error.strerror}") from error
