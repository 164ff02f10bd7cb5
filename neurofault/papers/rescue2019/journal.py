"""Finished parts of a long computation, kept so that none is computed twice: one JSON line each in a file that only grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from neurofault.errors import UsageError


@final
class Journal:
    """An append-only file of results by key.

    A line that a broken-off run left unfinished is passed over. Results are JSON values and come back as JSON gives them.

    Args:
        path: the file; it is made, with its folder, at the first result.

    Raises:
        UsageError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Any] = {}
        self._torn = False
        if not path.exists():
            return
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read as a journal: {error}") from error
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._known[_text(entry["key"])] = entry["value"]
            except (ValueError, TypeError, KeyError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    def once(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """Return the result of a key; compute it and write it down where it is not known.

        Args:
            key: everything that the result depends on, as JSON values.
            compute: gives the result, a JSON value.

        Raises:
            UsageError: the file cannot be written.
        """
        text = _text(key)
        if text not in self._known:
            value = compute()
            line = json.dumps({"key": key, "value": value}, sort_keys=True, allow_nan=False) + "\n"
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("\n" + line if self._torn else line)
            except OSError as error:
                raise UsageError(f"{self.path}: {error.strerror}") from error
            self._torn = False
            self._known[text] = json.loads(json.dumps(value))
        return self._known[text]


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
