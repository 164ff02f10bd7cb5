"""Bootstrap intervals over draws, of any statistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neurofault.errors import UsageError
from neurofault.streams import generator
from neurofault.study.statistics import Interval, Values, check_confidence, check_equal_lengths, draws_of

Statistic = Callable[..., NDArray[np.float64]]

_BLOCK = 1 << 20


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis."""
    return np.asarray(values.mean(axis=-1), np.float64)


def bootstrap_interval(
    *samples: Values,
    statistic: Statistic = _mean,
    method: Literal["bca", "percentile"] = "bca",
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval over draws (Efron & Tibshirani 1993, chapters 13 and 14).

    Whole draws are resampled: several samples stay paired. One draw gives low = high = None; a statistic that is the same in every
    resample gives zero width. The same arguments give the same interval.

    Args:
        samples: one or more arrays [n], one finite number a draw.
        statistic: from arrays [..., n] (as many as samples) to [...], over the last axis; the default is the mean. For example
            ``lambda gained, lost: gained.mean(-1) / lost.mean(-1)``.
        method: ``bca`` (bias-corrected and accelerated) or ``percentile``.
        confidence: nominal coverage, in (0, 1).
        resamples: number of resamples, at least 100.
        seed: of the resampling, a stream of its own.

    Raises:
        UsageError: no samples, unequal lengths, a value that is not finite, or an argument out of range; the statistic is not
            finite for some resample.

    >>> interval = bootstrap_interval([0.7, 0.8, 0.9, 0.6], seed=1)
    >>> 0.6 <= interval.low < interval.mean < interval.high <= 0.9
    True
    """
    if not samples:
        raise UsageError("samples: none given, expected at least one array of draws")
    data = [draws_of(f"samples[{position}]", sample) for position, sample in enumerate(samples)]
    for other in data[1:]:
        check_equal_lengths(data[0], other)
    check_confidence(confidence)
    if method not in ("bca", "percentile"):
        raise UsageError(f"method: {method!r}, expected 'bca' or 'percentile'")
    if resamples < 100:
        raise UsageError(f"resamples: {resamples}, expected at least 100")
    n = len(data[0])
    estimate = float(_finite(statistic(*data)))
    if n == 1:
        return Interval(estimate, None, None, 1, method, confidence)
    random = generator(seed, "bootstrap")
    replicates = np.empty(resamples)
    rows = max(1, _BLOCK // n)
    for start in range(0, resamples, rows):
        picks = random.integers(0, n, (min(rows, resamples - start), n))
        replicates[start : start + rows] = _finite(statistic(*(sample[picks] for sample in data)))
    if replicates.min() == replicates.max():
        return Interval(estimate, estimate, estimate, n, method, confidence)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(tails, estimate, replicates, data, statistic)
    low, high = np.quantile(replicates, tails)
    return Interval(estimate, float(low), float(high), n, method, confidence)


def _bca_tails(
    tails: NDArray[np.float64],
    estimate: float,
    replicates: NDArray[np.float64],
    data: list[NDArray[np.float64]],
    statistic: Statistic,
) -> NDArray[np.float64]:
    """Return the percentiles that correct for bias (share of replicates under the estimate) and skew (from the jackknife)."""
    n = len(data[0])
    below = (np.count_nonzero(replicates < estimate) + np.count_nonzero(replicates <= estimate)) / (2 * len(replicates))
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(replicates), 1 - 0.5 / len(replicates)))
    without = np.array([_finite(statistic(*(np.delete(sample, draw) for sample in data))) for draw in range(n)])
    influence = without.mean() - without
    spread = float((influence**2).sum())
    skew = float((influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + stats.norm.ppf(tails)
    return np.asarray(stats.norm.cdf(bias + shifted / (1 - skew * shifted)), np.float64)


def _finite(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the statistic, refusing what no interval can be made of."""
    array = np.asarray(value, np.float64)
    if not np.isfinite(array).all():
        raise UsageError("statistic: not finite for some resample of the draws (a denominator near zero?)")
    return array
