"""Intervals of rates, ratios and means of what shares draws: the draw stays the unit.

Steps of one trajectory, lines between the chips of two draws and the two sides of a recovered share are not independent of each other.
Each function here takes draws (trajectories) as what is drawn; what they cover is simulated in ``tests/study/test_clustered.py``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError
from neurofault.numerals import plural
from neurofault.streams import generator
from neurofault.study.statistics import (
    SHARE,
    Interval,
    Values,
    check_confidence,
    check_equal_lengths,
    cut,
    draws_of,
    skewed,
    t_quantile,
)

_RESAMPLES = 1999
_FLOOR = 0.03
"""Least standard error of a resample, in that of the draws: resamples of one repeated draw would have none."""
_FEW = 2.0
"""Weight of the skewness of pseudo-values."""


def recovered_interval(healthy: Values, damaged: Values, final: Values, confidence: float = 0.95) -> Interval | None:
    """Return the recovered share, mean(final − damaged) / mean(healthy − damaged), with its :func:`ratio_interval`.

    Args:
        healthy: accuracies (or correct answers out of equally many), one a draw.
        damaged: of the same draws, before repair.
        final: of the same draws, after it.
        confidence: nominal coverage.

    Returns:
        None where nothing was lost, or less than two standard errors of the loss.

    Raises:
        UsageError: unequal numbers of draws.
    """
    whole, broken, healed = (draws_of(*each) for each in (("healthy", healthy), ("damaged", damaged), ("final", final)))
    check_equal_lengths(whole, broken)
    check_equal_lengths(whole, healed)
    lost = whole - broken
    error = float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else 0.0
    if lost.mean() <= 0 or lost.mean() <= 2 * error:
        return None
    return ratio_interval(healed - broken, lost, confidence)


def ratio_interval(top: Values, bottom: Values, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Interval of a ratio of means over the same draws, mean(top) / mean(bottom).

    Each end is the further one of Fieller's (1954, the ratios r for which a t test does not tell the mean of top − r·bottom from 0) and of a
    bootstrap of the studentised ratio (Efron & Tibshirani 1993, chapter 12; 1,999 resamples of whole draws). The first is right where
    the rest, top − r·bottom, is about normal, however skewed both are; the second follows a skewed rest. Simulated (``experiments/interval_coverage.py``), 8 to 50
    draws: 94 to 98 % where the ratio varies from draw to draw, losses skewed or not; 89 to 95 % where one repair in twenty fails; as little as
    :func:`ratio_covers` says where what is not recovered grows with the loss and sits in a few heavy draws, of which so few draws say little.

    Args:
        top: [n], one finite number a draw.
        bottom: [n], of the same draws, with a mean above 0.
        confidence: nominal coverage, in (0, 1).
        seed: of the resamples.

    Returns:
        Both ends None for one draw, and where the mean of ``bottom`` is not told from 0 (Fieller's set is unbounded then).

    Raises:
        UsageError: unequal lengths, a value that is not finite, or a mean of ``bottom`` that is not above 0.

    >>> ratio_interval([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    Interval(mean=0.5, low=0.5, high=0.5, n=3, method='ratio', confidence=0.95)
    """
    a, b = draws_of("top", top), draws_of("bottom", bottom)
    check_equal_lengths(a, b)
    check_confidence(confidence)
    n, above, below = len(a), float(a.mean()), float(b.mean())
    if below <= 0:
        raise UsageError(f"bottom: its mean is {below}, expected above 0")
    ratio = above / below
    if n == 1:
        return Interval(ratio, None, None, 1, "ratio", confidence)
    if np.allclose(a, ratio * b, rtol=0, atol=1e-12 * np.abs(b).max()):
        return Interval(ratio, ratio, ratio, n, "ratio", confidence)
    t = t_quantile(confidence, n - 1)
    apart, other, scale = a - above, b - below, t * t / (n - 1) / n  # sums and no product of matrices, whose last bit is not fixed
    vaa, vab, vbb = (scale * float(product.sum()) for product in (apart * apart, apart * other, other * other))
    room = below**2 - vbb
    if room <= 0:
        return Interval(ratio, None, None, n, "ratio", confidence)
    middle = above * below - vab
    reach = float(np.sqrt(max(0.0, middle**2 - room * (above**2 - vaa))))
    low, high = _studentised(a, b, ratio, confidence, seed)
    return Interval(ratio, min(low, float(middle - reach) / room), max(high, float(middle + reach) / room), n, "ratio", confidence)


_COVERS = ((50, 0.94), (30, 0.90), (20, 0.88), (12, 0.84), (10, 0.80), (8, 0.70), (5, 0.45))


def ratio_covers(draws: int) -> float | None:
    """Return in what share of studies a nominal 95 % interval of a ratio holds the truth at the least, simulated over kinds of damage and repair.

    It is 0.93 or more where repairs bring back a share that does not depend on the loss; this is for the worst kind that was tried: what is
    not brought back grows with the square of the loss, and losses vary tenfold (log-normal, σ 1.2).

    Args:
        draws: number of draws.

    Returns:
        For the largest number of draws that was simulated (``experiments/interval_coverage.py``, rounded down) and is not above ``draws``; None
        below 5 draws.

    >>> ratio_covers(8), ratio_covers(25), ratio_covers(3)
    (0.7, 0.88, None)
    """
    return next((least for number, least in _COVERS if draws >= number), None)


def _studentised(a: NDArray[np.float64], b: NDArray[np.float64], ratio: float, confidence: float, seed: int) -> tuple[float, float]:
    """Return the ends of the bootstrap-t interval of a ratio of means."""
    picks = generator(seed, "ratio").integers(0, len(a), (_RESAMPLES, len(a)))
    tops, bottoms = a[picks], b[picks]
    below = bottoms.mean(1)
    kept = below > 0
    tops, bottoms, below = tops[kept], bottoms[kept], below[kept]
    again = tops.mean(1) / below

    def error(top: NDArray[np.float64], bottom: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = top - of[:, None] * bottom
        return np.asarray(rest.std(1, ddof=1) / np.sqrt(len(a)) / bottom.mean(1), np.float64)

    own = float(error(a[None], b[None], np.array([ratio]))[0])
    distances = (again - ratio) / np.hypot(error(tops, bottoms, again), _FLOOR * own)
    first, last = np.quantile(distances, [(1 - confidence) / 2, (1 + confidence) / 2])
    return ratio - float(last) * own, ratio - float(first) * own


def clustered_rate(hits: Values, trials: Values, confidence: float = 0.95) -> Interval:
    """Interval of a rate of events that come in clusters: sum(hits) / sum(trials) over draws (trajectories).

    Clopper and Pearson's interval of as many independent trials as the events are worth (Korn & Graubard 1998, "Confidence intervals for
    proportions with small expected number of positive counts", Survey Methodology 24): the number is divided by how much wider than
    independent ones the draws are spread (never multiplied), and by the ratio of squared t quantiles, for few draws. Where all or none
    are hits there is no spread to see, and each draw counts as one trial: 0 of 8 is [0 %, 37 %]. Simulated: 94 to 99 %; counts
    are discrete, and the method does not fall short.

    Args:
        hits: [n], events that happened, by draw.
        trials: [n], events that could, at least as many; draws with none say nothing.
        confidence: nominal coverage, in (0, 1).

    Returns:
        ``n`` is the number of draws with trials; one draw alone gives the interval of a single trial.

    Raises:
        UsageError: unequal lengths, hits beyond their trials, or no trials at all.

    >>> found = clustered_rate([0] * 8, [1] * 8)
    >>> found.low, round(found.high, 3)
    (0.0, 0.369)
    """
    x, n = draws_of("hits", hits), draws_of("trials", trials)
    check_equal_lengths(x, n)
    check_confidence(confidence)
    if (x < 0).any() or (x > n).any():
        raise UsageError("hits: expected 0 to as many as the trials of the same draw")
    x, n = x[n > 0], n[n > 0]
    if not n.size:
        raise UsageError("trials: none at all")
    draws, total = len(n), float(n.sum())
    rate = float(x.sum()) / total
    worth = float(draws)  # where all or none are hits: no spread to see
    if draws > 1 and 0 < rate < 1:
        between = draws / (draws - 1) * float(((x - rate * n) ** 2).sum()) / total**2
        quantiles = t_quantile(confidence, total - 1), t_quantile(confidence, draws - 1)
        worth = total / max(1.0, between / (rate * (1 - rate) / (total - 1))) * (quantiles[0] / quantiles[1]) ** 2
    from scipy import stats

    yes, no, tail = rate * worth, (1 - rate) * worth, (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, yes, no + 1)) if yes > 0 else 0.0
    high = float(stats.beta.isf(tail, yes + 1, no)) if no > 0 else 1.0
    return Interval(rate, low, high, draws, "clustered", confidence)


def jackknife_interval(
    values: Values, draws: Sequence[Sequence[Hashable]], confidence: float = 0.95, within: tuple[float, float] | None = SHARE
) -> Interval:
    """Interval of the mean of values that share draws, such as one for each pair of draws: leave out one draw after the other.

    t interval over the jackknife's pseudo-values n·m − (n − 1)·mᵢ, mᵢ the mean of the values that draw i has no part in (Arvesen 1969, "Jackknifing
    U-statistics", Annals of Mathematical Statistics 40), widened for skew (:func:`neurofault.study.statistics.skewed`, with twice the adjusted
    skewness √(n(n − 1))/(n − 2) · g: that of few pseudo-values falls short). Where each value belongs
    to one draw and all draws have as many, this is the t interval over the means of the draws. Simulated with 8 draws and all their 28
    pairs: 93 to 98 %, also where draws are strongly skewed, 99 % where they do not differ at all.

    Args:
        values: [k], finite.
        draws: for each value the draws that it depends on, one or two.
        confidence: nominal coverage, in (0, 1).
        within: least and largest value that there can be; None: any.

    Returns:
        ``n`` is the number of draws; both ends None where leaving one out leaves nothing.

    Raises:
        UsageError: unequal lengths, or a value that is not finite.

    >>> jackknife_interval([0.1, 0.3, 0.2, 0.4], [["a"], ["a"], ["b"], ["b"]]).n
    2
    """
    array = draws_of("values", values)
    check_confidence(confidence)
    if len(draws) != len(array):
        raise UsageError(f"{plural(len(array), 'value')}, but draws of {len(draws)}")
    names = list(dict.fromkeys(name for each in draws for name in each))
    without = [array[[name not in each for each in draws]] for name in names]
    mean, n = float(array.mean()), len(names)
    if n < 2 or not all(part.size for part in without):
        return Interval(mean, None, None, n, "jackknife", confidence)
    pseudo = n * mean - (n - 1) * np.array([part.mean() for part in without])
    below, above = skewed(pseudo, confidence, _FEW * float(np.sqrt(n * (n - 1)) / (n - 2)) if n > 2 else 1.0)
    return cut(Interval(mean, mean - below, mean + above, n, "jackknife", confidence), within)


def slope_interval(x: Values, y: Values, draws: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Interval of the slope of the least-squares line through the means of draws, each of which gave one point or several.

    Student's t interval of a regression (n − 2 degrees of freedom, n draws): points of one draw are not independent of each other. Simulated
    with 15 draws of 20 points: 94 to 96 %.

    Args:
        x: [k], finite; not the same in all draws.
        y: [k], finite.
        draws: for each point the draw that it is of.
        confidence: nominal coverage, in (0, 1).

    Returns:
        ``mean`` is the slope, ``n`` the number of draws; both ends None for two draws.

    Raises:
        UsageError: unequal lengths, a value that is not finite, or draws that are all at one x.

    >>> slope_interval([1.0, 1.0, 2.0, 3.0], [0.0, 2.0, 3.0, 5.0], ["a", "a", "b", "c"])
    Interval(mean=2.0, low=2.0, high=2.0, n=3, method='slope', confidence=0.95)
    """
    across, up = draws_of("x", x), draws_of("y", y)
    check_equal_lengths(across, up)
    check_confidence(confidence)
    if len(draws) != len(across):
        raise UsageError(f"{plural(len(across), 'point')}, but draws of {len(draws)}")
    names = list(dict.fromkeys(draws))
    place = {name: index for index, name in enumerate(names)}
    at = np.array([place[name] for name in draws])
    number = np.bincount(at)
    across, up = (np.bincount(at, one) / number for one in (across, up))
    apart, n = across - across.mean(), len(names)
    spread = float((apart**2).sum())
    if not spread > 1e-24 * float((across**2).sum()):
        raise UsageError("x: the same in every draw, expected at least two places")
    slope = float((apart * up).sum()) / spread
    if n == 2:
        return Interval(slope, None, None, n, "slope", confidence)
    rest = up - up.mean() - slope * apart
    half = t_quantile(confidence, n - 2) * float(np.sqrt((rest**2).sum() / (n - 2) / spread))
    return Interval(slope, slope - half, slope + half, n, "slope", confidence)
