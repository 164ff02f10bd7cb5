"""Statistical fault injection: how many sites must be tried, and when enough have been.

Sample size for a finite population: Leveugle, Calvez, Maistri & Vanhauwaert 2009, "Statistical fault injection: quantified error and
confidence", DATE'09, equation 4. Interval: Wilson 1927, JASA 22, with the finite population correction.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from neurofault.errors import FaultError


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise FaultError(f"confidence must lie between 0 and 1, is {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def sample_size(population: int, margin: float, confidence: float = 0.95, share: float = 0.5) -> int:
    """Return how many of ``population`` sites must be tried: n = N / (1 + e²·(N − 1) / (z²·p·(1 − p))).

    Args:
        population: number of sites N, at least 1.
        margin: half-width e of the interval of the share, in (0, 1).
        confidence: of the interval, in (0, 1).
        share: expected share p of sites that matter; 0.5 is the worst case.

    Raises:
        FaultError: a number is out of range.

    >>> sample_size(1_000_000, 0.01)
    9513
    """
    if population < 1:
        raise FaultError(f"population must be at least 1, is {population}")
    if not 0 < margin < 1:
        raise FaultError(f"margin must lie between 0 and 1, is {margin}")
    if not 0 < share < 1:
        raise FaultError(f"share must lie between 0 and 1, is {share}")
    spread = _z(confidence) ** 2 * share * (1 - share)
    return min(population, math.ceil(population / (1 + margin**2 * (population - 1) / spread)))


def share_interval(critical: int, tried: int, population: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the share of critical sites after some were tried without replacement.

    Args:
        critical: sites that mattered, 0 to ``tried``.
        tried: distinct sites, 0 to ``population``.
        population: number of sites, at least 1.
        confidence: of the interval, in (0, 1).

    Raises:
        FaultError: a number is out of range.
    """
    if not 0 <= critical <= tried <= population or population < 1:
        raise FaultError(f"need 0 ≤ critical ≤ tried ≤ population, are {critical}, {tried}, {population}")
    if tried == population:
        return critical / tried, critical / tried
    if tried == 0:
        return 0.0, 1.0
    z2 = _z(confidence) ** 2 * (population - tried) / max(1, population - 1)
    share = critical / tried
    centre = (share + z2 / (2 * tried)) / (1 + z2 / tried)
    half = math.sqrt(z2 * (share * (1 - share) / tried + z2 / (4 * tried**2))) / (1 + z2 / tried)
    return max(0.0, centre - half), min(1.0, centre + half)


def enough(critical: int, tried: int, population: int, margin: float, confidence: float = 0.95, *, at_least: int = 30) -> bool:
    """Return whether sequential sampling may stop: the interval's half-width is within ``margin``.

    Look only at fixed batches of sites (every 1,000, say): looking after each site makes the interval too optimistic.

    Args:
        critical: sites that mattered.
        tried: distinct sites so far.
        population: number of sites.
        margin: half-width that is wanted, in (0, 1).
        confidence: of the interval, in (0, 1).
        at_least: sites before any stop (or all of them).
    """
    low, high = share_interval(critical, tried, population, confidence)
    return tried >= min(at_least, population) and (high - low) / 2 <= margin
