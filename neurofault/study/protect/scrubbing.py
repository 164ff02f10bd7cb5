"""Scrubbing by its formula: how often upsets that come one after the other defeat a code word in spite of it."""

from __future__ import annotations

import math

from neurofault.errors import UsageError


def defeated(probability: float, bits: int, passes: int) -> float:
    """Return the probability that two upsets of a SECDED word fall between the same two scrubbing passes.

    Each bit is upset once with some probability, at a uniform time, independently of the others. Of m upsets none share one of J intervals with probability
    Π (1 − i/J), i < m, so a word is defeated with Σ_m B(m; n, p) · (1 − Π_{i<m} (1 − i/J)), for small p about n(n − 1)p²/2J: scrubbing J times as often
    leaves a J-th (Saleh, Serrano & Patel 1990, IEEE Trans. Reliability 39(1), with Poisson arrivals).

    >>> round(defeated(0.01, 72, 1), 4), round(defeated(0.01, 72, 100), 4)
    (0.1623, 0.0025)

    Args:
        probability: of each bit to be upset in all, 0 to 1.
        bits: of the word, check bits too, at least 1.
        passes: equal intervals, each of which ends with a scrubbing, at least 1.

    Raises:
        UsageError: a number is out of range.
    """
    if not 0 <= probability <= 1 or bits < 1 or passes < 1:
        raise UsageError(f"probability must lie in [0, 1], bits and passes be at least 1; are {probability}, {bits} and {passes}")
    apart, whole = 1.0, 0.0
    for upsets in range(min(bits, passes) + 1):
        if upsets:
            apart *= 1 - (upsets - 1) / passes
        whole += math.comb(bits, upsets) * probability**upsets * (1 - probability) ** (bits - upsets) * apart
    return 1 - whole
