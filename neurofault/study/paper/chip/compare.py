"""Paired comparisons over draws, with what many of them at once do to chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from neurofault.study.statistics import holm, paired_difference

Values = Sequence[float]


def compared(iterative: Values, batch: Values) -> dict[str, Any]:
    """Return means, the paired difference iterative − batch with its 95 % interval, and the p value of a paired t test.

    Args:
        iterative: accuracies, one a draw.
        batch: of the same draws.
    """
    found = paired_difference(iterative, batch)
    differences = np.asarray(iterative) - np.asarray(batch)
    p = 1.0 if not differences.any() else 0.0
    if float(differences.std()) > 0:
        p = float(stats.ttest_rel(iterative, batch).pvalue)
    return {
        "iterative": float(np.mean(iterative)), "batch": float(np.mean(batch)), "difference": found.mean, "low": found.low,
        "high": found.high, "p": p, "pairs": found.n,
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
