"""Intervals for what a study reports.

The draw (one random placement of the faults) is the statistical unit: :func:`t_interval` over draws, :func:`paired_difference` between
two treatments of the same draws, :func:`cautious_interval` where the number of draws depends on the draws. What is counted or compared
inside draws and pairs of draws is in :mod:`neurofault.study.clustered`, what can be enumerated in :mod:`neurofault.study.outcomes`.
:func:`wilson` is only for the samples inside one draw: pooled over draws it ignores what differs between them, and its intervals are far
too narrow.

Intervals of accuracies and shares are cut at 0 and 1, beyond which nothing can lie; differences are not cut. A t interval takes the mean
of the draws as normal: it covers 93 to 97 % where losses are spread, and less where a loss that is heavy and rare may not have been drawn.
``tests/study/test_statistics.py`` simulates what each covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError
from neurofault.numerals import plural

Values = Sequence[float] | NDArray[np.floating] | NDArray[np.integer]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
        mean: the estimate.
        low, high: ends of the interval; both None where it is undefined (one draw says nothing about the spread).
        n: number of units behind it: draws; samples for Wilson; outcomes for ``exact``.
        method: ``t``, ``paired-t``, ``cautious``, ``exact``, ``ratio``, ``clustered``, ``jackknife``, ``slope``, ``wilson``.
        confidence: nominal coverage, in (0, 1).
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    method: str
    confidence: float = 0.95

    @property
    def half_width(self) -> float | None:
        """Half of high − low; None where the interval is undefined."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


METHODS = {
    "t": "Student's t over draws",
    "exact": "exact: every outcome that there is was run",
    "cautious": "Student's t over draws, widened for skew and for outcomes that no draw has shown",
    "wilson": "Wilson's over the samples of the one draw, which says nothing about other draws",
}
"""How intervals of what a chip answers are made, in words, by :attr:`Interval.method`."""


def methods_in_words(methods: Iterable[str | None]) -> str:
    """Return by which methods the intervals of a table are made, in words; empty: there is none.

    Args:
        methods: of :data:`METHODS`, one an interval, in any order; None: there is no interval.

    >>> methods_in_words(["t", None, "t"]), methods_in_words([None])
    ("Student's t over draws", '')
    >>> methods_in_words(["exact", "t"])
    "t: Student's t over draws; exact: every outcome that there is was run"
    """
    there = set(methods)
    known = {name: words for name, words in METHODS.items() if name in there}
    if len(known) == 1:
        return next(iter(known.values()))
    return "; ".join(f"{name}: {words.removeprefix(f'{name}: ')}" for name, words in known.items())


SHARE = (0.0, 1.0)
"""Between what an accuracy or a share lies: the ``within`` of its interval."""


def t_interval(values: Values, confidence: float = 0.95, within: tuple[float, float] | None = None) -> Interval:
    """Student's t interval of the mean over draws: mean ± t(n − 1) · s/√n, s with n − 1.

    One value gives low = high = None; identical values give an interval of exactly zero width.

    Args:
        values: [n], one finite number a draw, n at least 1.
        confidence: nominal coverage, in (0, 1).
        within: least and largest value that there can be; the interval is cut there, which takes nothing from what it covers.

    Raises:
        UsageError: no values, a value that is not finite, or a confidence outside (0, 1).

    >>> t_interval([0.5, 0.5, 0.5])
    Interval(mean=0.5, low=0.5, high=0.5, n=3, method='t', confidence=0.95)
    >>> t_interval([0.9, 1.0], within=SHARE).high
    1.0
    """
    draws = draws_of("values", values)
    check_confidence(confidence)
    n = len(draws)
    if n == 1:
        return Interval(float(draws[0]), None, None, 1, "t", confidence)
    if draws.min() == draws.max():
        return Interval(float(draws[0]), float(draws[0]), float(draws[0]), n, "t", confidence)
    mean = float(draws.mean())
    half = float(t_quantile(confidence, n - 1) * draws.std(ddof=1) / np.sqrt(n))
    return cut(Interval(mean, mean - half, mean + half, n, "t", confidence), within)


def cut(interval: Interval, within: tuple[float, float] | None) -> Interval:
    """Return an interval without what lies beyond the values that there can be; ``within`` None: as it is."""
    if within is None or interval.low is None or interval.high is None:
        return interval
    return replace(
        interval, low=max(interval.low, min(within[0], interval.mean)), high=min(interval.high, max(within[1], interval.mean))
    )


def skewed(values: NDArray[np.float64], confidence: float, weight: float = 1.0) -> tuple[float, float]:
    """Return how far an interval of the mean reaches below and above it, with an eye to skew.

    Each end is the further one of Student's t interval and of its correction by the third moment: both ends moved by
    s/√n · g/√n · (1 + 2t²)/6, g the skewness (Johnson 1978, "Modified t tests and confidence intervals for asymmetrical populations", JASA 73).

    Args:
        values: float64 [n], n at least 2.
        confidence: nominal coverage.
        weight: of the skewness, at least 1: that of few values lies nearer to 0 than that of what they are drawn from.

    Returns:
        Both at least 0; 0 and 0 for identical values.
    """
    n, spread = len(values), values.std(ddof=1)
    if not spread > 0:
        return 0.0, 0.0
    t, apart = t_quantile(confidence, n - 1), (values - values.mean()) / spread
    skewness = (apart**3).mean() / (apart**2).mean() ** 1.5
    error = spread / np.sqrt(n)
    move = float(weight * error * skewness / np.sqrt(n) * (1 + 2 * t * t) / 6)
    return float(t * error) + max(0.0, -move), float(t * error) + max(0.0, move)


def cautious_interval(values: Values, confidence: float = 0.95, within: tuple[float, float] = SHARE) -> Interval:
    """Interval of the mean over draws that allows for skew, and for a rare heavy loss that no draw showed.

    A share q of all outcomes stays out of n draws with probability (1 − q)ⁿ; with the largest q for which this is (1 − confidence)/2
    (as the "rule of three" has it: about 3.7/n), low is at most what the mean would be if that share had the least value there can be, high at least
    what it would be with the largest. Other than that the ends are those of :func:`skewed`. One value gives low = high = None.

    Args:
        values: [n], one finite number a draw, n at least 1.
        confidence: nominal coverage, in (0, 1).
        within: least and largest value that there can be.

    Raises:
        UsageError: as :func:`t_interval`.

    >>> found = cautious_interval([0.9] * 59)
    >>> round(found.low, 3), round(found.high, 3)
    (0.845, 0.906)
    """
    draws = draws_of("values", values)
    check_confidence(confidence)
    n, mean = len(draws), float(draws.mean())
    if n == 1:
        return Interval(mean, None, None, 1, "cautious", confidence)
    below, above = skewed(draws, confidence)
    unseen = 1 - ((1 - confidence) / 2) ** (1 / n)
    low = mean - max(below, unseen * (mean - within[0]))
    high = mean + max(above, unseen * (within[1] - mean))
    return cut(Interval(mean, low, high, n, "cautious", confidence), within)


def paired_difference(a: Values, b: Values, confidence: float = 0.95) -> Interval:
    """T interval of the mean of a − b, where a[i] and b[i] come from the same draw.

    Args:
        a: [n], one finite number a draw.
        b: [n], the same draws under the other treatment.
        confidence: nominal coverage, in (0, 1).

    Raises:
        UsageError: unequal lengths, and as :func:`t_interval`.

    >>> paired_difference([0.75, 0.5], [0.5, 0.25]).mean
    0.25
    """
    left, right = draws_of("a", a), draws_of("b", b)
    check_equal_lengths(left, right)
    return replace(t_interval(left - right, confidence), method="paired-t")


def paired_p(a: Values, b: Values) -> float:
    """Return the two-sided p value, 0 to 1, of Student's paired t test of equal means.

    Pairs that all differ by the same amount leave no spread to test against: 1 where they do not differ at all, else 0.

    Args:
        a: [n], one finite number a draw, n at least 2 where the differences vary.
        b: [n], the same draws under the other treatment.

    Raises:
        UsageError: unequal lengths, and as :func:`t_interval`.

    >>> paired_p([0.5, 0.5], [0.5, 0.5]), round(paired_p([0.5, 0.7, 0.9], [0.4, 0.5, 0.6]), 4)
    (1.0, 0.0742)
    """
    left, right = draws_of("a", a), draws_of("b", b)
    check_equal_lengths(left, right)
    differences = left - right
    if not differences.std() > 0:
        return 0.0 if differences.any() else 1.0
    from scipy import stats

    return float(stats.ttest_rel(left, right).pvalue)


LEAST_FIRST = 10
"""Draws at the first look of a stop rule, at least: earlier the spread of too few draws decides."""


@dataclass(frozen=True)
class StopRule:
    """When enough draws are done: at the first look at which the interval is narrow enough.

    Fixed-width sequential sampling (Chow and Robbins 1965), looked at in groups. Which draw is the last depends on the draws alone, in
    their order, not on who ran them. The interval is :meth:`interval`: Student's would cover 78 to 86 % after such stopping, because the
    spread happened to look small, and as little as 10 % where a heavy loss is rare, because it had not been drawn. A rule therefore never stops
    before about 1.8/half_width draws.

    Attributes:
        half_width: of the interval, in the values' unit, above 0.
        first: draws at the first look, at least 10.
        every: draws between looks, at least 1.
        within: least and largest value that there can be, or is allowed for: a value beyond it widens the interval.

    Raises:
        UsageError: a number outside its range.
    """

    half_width: float
    first: int = 10
    every: int = 10
    within: tuple[float, float] = SHARE

    def __post_init__(self) -> None:
        if not 0 < self.half_width < np.inf:
            raise UsageError(f"half_width must be above 0, is {self.half_width}")
        if self.first < LEAST_FIRST:
            raise UsageError(
                f"first must be at least {LEAST_FIRST}, is {self.first}: intervals that are looked at earlier cover less than they say"
            )
        if self.every < 1:
            raise UsageError(f"every must be at least 1, is {self.every}")

    def interval(self, values: Values, confidence: float = 0.95) -> Interval:
        """Return the interval that the rule looks at, and that belongs to what it stopped: see :func:`cautious_interval`."""
        low, high = self.within
        return cautious_interval(values, confidence, (min([low, *values]), max([high, *values])))

    def last_draw(self, values: Sequence[float | None], confidence: float = 0.95) -> int | None:
        """Return after how many of the draws to stop; None: not yet.

        Args:
            values: one a draw, in their order; None: a draw without a result, which counts as a draw but not in the interval.
            confidence: of the interval, in (0, 1).

        >>> StopRule(0.1, first=10, every=1).last_draw([0.5] * 40)
        17
        """
        for look in range(self.first, len(values) + 1, self.every):
            known = [value for value in values[:look] if value is not None]
            half = self.interval(known, confidence).half_width if known else None
            if half is not None and half <= self.half_width:
                return look
        return None

    def next_look(self, draws: int) -> int:
        """Return the number of draws at the first look after so many draws."""
        return self.first + max(0, -(-(draws + 1 - self.first) // self.every)) * self.every


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values of several comparisons so that the chance of any false positive stays below the level (Holm 1979).

    Args:
        p_values: in any order, each 0 to 1.

    Raises:
        UsageError: a value outside 0 to 1.

    >>> holm([0.01, 0.5, 0.02])
    [0.03, 0.5, 0.04]
    """
    for value in p_values:
        if not 0 <= value <= 1:
            raise UsageError(f"p_values: {value}, expected 0 to 1")
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927, without continuity correction); for the samples of one draw.

    Args:
        correct: successes, 0 to n.
        n: samples, at least 1.
        confidence: nominal coverage, in (0, 1).

    Raises:
        UsageError: a count outside its range, or a confidence outside (0, 1).

    >>> wilson(0, 10).low, round(wilson(0, 10).high, 4)
    (0.0, 0.2775)
    """
    if n < 1:
        raise UsageError(f"n: {plural(n, 'sample')}, expected at least 1")
    if not 0 <= correct <= n:
        raise UsageError(f"correct: {correct} of {plural(n, 'sample')}, expected 0 to {n}")
    check_confidence(confidence)
    from scipy import stats

    ends = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return Interval(correct / n, float(ends.low), float(ends.high), n, "wilson", confidence)


def t_quantile(confidence: float, freedom: float) -> float:
    """Return how many standard errors Student's t interval reaches to either side, with so many degrees of freedom."""
    from scipy import special  # without scipy.stats, which takes a second to import

    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def draws_of(name: str, values: Values) -> NDArray[np.float64]:
    """Return the values as float64 [n], n at least 1, all finite.

    Raises:
        UsageError: they are not; ``name`` is how the message calls them.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise UsageError(f"{name}: shape {array.shape}, expected one number a draw and at least one draw")
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise UsageError(f"{name}: draw {wrong[0]} is {array[wrong[0]]}, expected a finite number")
    return array


def check_equal_lengths(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    """Refuse paired values of which one side has more."""
    if len(a) != len(b):
        raise UsageError(f"{plural(len(a), 'draw')} against {len(b)}, expected as many: paired values come from the same draws")


def check_confidence(confidence: float) -> None:
    """Refuse what is no nominal coverage."""
    if not 0 < confidence < 1:
        raise UsageError(f"confidence: {confidence}, expected a number between 0 and 1, both excluded")
