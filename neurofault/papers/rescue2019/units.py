"""Finished parts of a long computation, kept so that none is computed twice: rows of a campaign's journal, named by what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, final

from neurofault.study.campaign.journal import Journal, read_rows


class Results(Protocol):
    """Where the results of units come from: a journal, or in a worker the process that has it (:mod:`neurofault.papers.rescue2019.crew`)."""

    def once(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """Return the result of a key; compute it where it is not known."""


def trial_of(key: dict[str, Any]) -> str:
    """Return the digest of a key, 32 hexadecimal digits.

    >>> trial_of({"a": 1, "b": 2}) == trial_of({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16).hexdigest()


@final
class Units:
    """Results by key, in a journal that only grows (:mod:`neurofault.study.campaign.journal`).

    A row is ``{trial, key, value}``; ``trial`` is a digest of the key. Results are JSON values and come back as JSON gives them.

    Args:
        path: the file; it is made, with its folder, at the first result, and nobody else may write to it from then on until :meth:`close`.

    Raises:
        UsageError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Any] = {row["trial"]: row["value"] for row in read_rows(path).rows if "value" in row}
        self._journal: Journal | None = None

    def __enter__(self) -> Units:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def once(self, key: dict[str, Any], compute: Callable[[], Any]) -> Any:
        """Return the result of a key; compute it and write it down where it is not known.

        Args:
            key: everything that the result depends on, as JSON values.
            compute: gives the result, a JSON value.

        Raises:
            UsageError: the file cannot be written, or another run writes to it.
        """
        trial = trial_of(key)
        if trial not in self._known:
            self.add(trial, key, compute())
        return self._known[trial]

    def __contains__(self, trial: str) -> bool:
        """Whether the result of a digest is known."""
        return trial in self._known

    def __getitem__(self, trial: str) -> Any:
        """Return the result of a digest that is known."""
        return self._known[trial]

    def add(self, trial: str, key: dict[str, Any], value: Any) -> None:
        """Write a result down.

        Args:
            trial: digest of the key.
            key: as :meth:`once` takes it.
            value: a JSON value.

        Raises:
            UsageError: as :meth:`once`.
        """
        self._journal = self._journal or Journal(self.path)
        self._journal.add({"trial": trial, "key": key, "value": value})
        self._known[trial] = json.loads(json.dumps(value))

    def close(self) -> None:
        """Bring everything to the disk and let others write.

        Raises:
            UsageError: the disk is full or gone.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal = None
