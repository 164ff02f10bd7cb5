"""Paired comparisons over draws, with what many of them at once do to chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurofault.study.statistics import holm, paired_difference, paired_p

Values = Sequence[float]


def compared(iterative: Values, batch: Values) -> dict[str, Any]:
    """Return means, the paired difference iterative − batch with its 95 % interval, and the p value of a paired t test.

    Args:
        iterative: accuracies as fractions, one a draw, two draws at least.
        batch: of the same draws.

    Raises:
        UsageError: unequal numbers of draws.
    """
    found = paired_difference(iterative, batch)
    return {
        "iterative": float(np.mean(iterative)), "batch": float(np.mean(batch)), "difference": found.mean, "low": found.low,
        "high": found.high, "p": paired_p(iterative, batch), "pairs": found.n,
    }  # fmt: skip


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of :func:`compared` with ``p_holm``, corrected over all of them, and ``better``: iterative, batch or undecided."""
    corrected = holm([row["p"] for row in rows])
    return [
        {
            **row,
            "p_holm": p,
            "better": "undecided" if p >= 0.05 else "iterative" if row["difference"] > 0 else "batch",
        }
        for row, p in zip(rows, corrected, strict=True)
    ]
