"""A plain log of what happens, as JSON lines: what is told to whoever has no service for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.errors import UsageError


def to_log(path: str | Path) -> Callable[[object], None]:
    """Return a hook that adds what it is handed to a file, one JSON object a line.

    For ``on_row`` of a campaign's ``run`` (the row of each trial) and ``on_point`` of :func:`neurofault.rescue` (each look at the chip). A line is written whole as soon as it is known, so
    that ``tail -f`` shows how far the work is; a file that is there is added to. Any other function of one argument is as good a hook.

    >>> import json, tempfile
    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = nf.rescue(hurt, x, y, strategy="none", test=(x, y), on_point=nf.to_log(f"{folder}/log.jsonl"))
    ...     lines = [json.loads(line) for line in open(f"{folder}/log.jsonl")]
    >>> [(line["what"], line["accuracy"]) for line in lines]
    [('healthy', 1.0), ('strike', 0.5)]

    Args:
        path: the file; its folder must be there.

    Returns:
        A function of a mapping or a dataclass. NumPy numbers are written as numbers, arrays as lists, numbers that are not finite as null, and what else JSON does not know as text.

    Raises:
        UsageError: the file cannot be written, when this is called or later.
    """
    file = Path(path)

    def add(text: str) -> None:
        try:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise UsageError(f"{file}: cannot be written ({error.strerror})") from None

    def write(what: object) -> None:
        add(json.dumps(_plain(what), ensure_ascii=False, allow_nan=False) + "\n")

    add("")
    return write


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    match value:
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _plain(asdict(value))
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case float():
            return value if np.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
