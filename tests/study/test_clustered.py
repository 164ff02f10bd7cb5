"""Ratios, rates and means of what shares draws: against hand counts, and how often their intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from neurofault.errors import UsageError
from neurofault.study.clustered import (
    clustered_rate,
    jackknife_interval,
    ratio_covers,
    ratio_interval,
    recovered_interval,
    slope_interval,
)
from neurofault.study.statistics import Interval, t_interval

Array = NDArray[np.float64]


def ends(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def holds(interval: Interval, truth: float) -> bool:
    """Whether an interval holds the truth; one without ends holds everything."""
    return interval.low is None or interval.high is None or interval.low <= truth <= interval.high


# ── recovered share ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ratio_holds_fiellers_set() -> None:
    random = np.random.default_rng(1)
    bottom = random.normal(0.2, 0.05, 8)
    top = 0.9 * bottom + random.normal(0, 0.01, 8)
    interval = ratio_interval(top, bottom)
    low, high = ends(interval)
    assert (interval.mean, interval.n, interval.method) == (pytest.approx(top.mean() / bottom.mean()), 8, "ratio")

    def told_apart(ratio: float) -> bool:
        return bool(stats.ttest_1samp(top - ratio * bottom, 0).pvalue < 0.05)

    inside = [ratio for ratio in np.linspace(low - 0.05, high + 0.05, 400) if not told_apart(ratio)]
    assert low <= inside[0] + 1e-9
    assert high >= inside[-1] - 1e-9
    assert high - low < 1.5 * (inside[-1] - inside[0])
    assert interval == ratio_interval(top, bottom)
    assert ends(ratio_interval(top, bottom, 0.8))[1] < high


def test_a_ratio_that_is_the_same_in_every_draw_has_no_width() -> None:
    lost = np.random.default_rng(2).random(8) + 0.1
    assert ends(ratio_interval(lost, lost)) == (1.0, 1.0)
    assert ends(ratio_interval(0 * lost, lost)) == (0.0, 0.0)
    low, high = ends(ratio_interval(0.3 * lost, lost))
    assert low == high == pytest.approx(0.3)


def test_a_ratio_to_what_is_not_told_from_zero_has_no_interval() -> None:
    assert ratio_interval([0.1, 0.2, 0.3], [0.0, 0.0, 0.9]) == Interval(pytest.approx(2 / 3), None, None, 3, "ratio")
    assert ratio_interval([0.1], [0.4]) == Interval(0.25, None, None, 1, "ratio")


def test_the_recovered_share_is_undefined_where_nothing_was_lost() -> None:
    healthy = [0.9, 0.9, 0.9]
    assert recovered_interval(healthy, healthy, healthy) is None
    assert recovered_interval(healthy, [0.95, 0.92, 0.91], healthy) is None
    assert recovered_interval(healthy, [0.9, 0.9, 0.4], healthy) is None  # less than two standard errors
    found = recovered_interval(healthy, [0.5, 0.4, 0.6], [0.9, 0.9, 0.9])
    assert found is not None
    assert ends(found) == (1.0, 1.0)


def test_draws_of_which_one_failed_reach_far_down() -> None:
    healthy, damaged = np.full(8, 0.97), np.linspace(0.7, 0.8, 8)
    final = np.where(np.arange(8) == 3, damaged, 0.96)
    found = recovered_interval(healthy, damaged, final)
    assert found is not None
    low, high = ends(found)
    assert low < 0.4
    assert high > 0.96
    assert np.isfinite([low, high]).all()


Study = Callable[[np.random.Generator, int], tuple[Array, Array]]


def _beta(random: np.random.Generator, lost: Array, a: float, b: float) -> tuple[Array, Array]:
    return lost * random.beta(a, b, lost.shape), lost


RECOVERIES: dict[str, tuple[Study, float, float]] = {
    "normal": (lambda r, n: (lambda lost: (0.9 * lost + r.normal(0, 0.01, n), lost))(r.normal(0.2, 0.05, n)), 0.9, 0.93),
    "skewed losses": (lambda r, n: _beta(r, r.lognormal(np.log(0.1), 0.8, n), 8, 2), 0.8, 0.93),
    "very skewed losses": (lambda r, n: _beta(r, r.lognormal(np.log(0.05), 1.2, n), 2, 1), 2 / 3, 0.93),
    "skewed rest": (lambda r, n: (lambda lost: (lost - r.exponential(0.02, n), lost))(r.exponential(0.1, n)), 0.8, 0.93),
    "skewed shares": (lambda r, n: _beta(r, r.gamma(2, 0.1, n), 4, 0.4), 4 / 4.4, 0.92),
    "few fail": (lambda r, n: _beta(r, r.gamma(2, 0.1, n), 2, 0.1), 2 / 2.1, 0.88),
}
"""Draws of (gained, lost), the true share, and what at least is covered: 95 %, or as the docstring says."""


def share_held(study: Study, truth: float, draws: int, studies: int) -> float:
    """How often the interval of the recovered share holds the truth, where it has one."""
    random, hits = np.random.default_rng(3), []
    while len(hits) < studies:
        gained, lost = study(random, draws)
        found = recovered_interval(lost, np.zeros(draws), gained)
        if found is not None and found.low is not None:
            hits.append(holds(found, truth))
    return float(np.mean(hits))


@pytest.mark.parametrize("draws", [8, 20])
@pytest.mark.parametrize("name", RECOVERIES)
def test_recovered_shares_cover_what_they_claim(name: str, draws: int) -> None:
    study, truth, least = RECOVERIES[name]
    assert share_held(study, truth, draws, 300) >= least


def heavy(random: np.random.Generator, draws: int) -> tuple[Array, Array]:
    """What is not brought back grows with the square of the loss."""
    lost = np.minimum(1, random.lognormal(np.log(0.1), 1.2, draws))
    return lost - lost**2, lost


@pytest.mark.parametrize("draws", [5, 8, 12, 20])
def test_where_heavy_losses_stay_recovered_shares_cover_what_is_said_of_them(draws: int) -> None:
    gained, lost = heavy(np.random.default_rng(1), 2_000_000)
    said = ratio_covers(draws)
    assert said is not None
    assert share_held(heavy, float(gained.mean() / lost.mean()), draws, 600) == pytest.approx(said, abs=0.06)


def test_the_percentile_bootstrap_would_not() -> None:
    random, hits = np.random.default_rng(4), []
    study, truth, _ = RECOVERIES["few fail"]
    for _ in range(300):
        gained, lost = study(random, 8)
        picks = random.integers(0, 8, (500, 8))
        low, high = np.quantile(gained[picks].mean(1) / lost[picks].mean(1), [0.025, 0.975])
        hits.append(low <= truth <= high)
    assert np.mean(hits) < 0.75


# ── rates ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hits", range(9))
def test_single_trials_have_clopper_and_pearsons_interval(hits: int) -> None:
    interval = clustered_rate([1] * hits + [0] * (8 - hits), [1] * 8)
    exact = stats.binomtest(hits, 8).proportion_ci(method="exact")
    assert (interval.mean, interval.n, interval.method) == (hits / 8, 8, "clustered")
    np.testing.assert_allclose(ends(interval), [exact.low, exact.high], rtol=1e-9, atol=1e-12)


def test_none_of_many_is_worth_a_trial_a_draw() -> None:
    assert ends(clustered_rate([0] * 8, [5] * 8)) == pytest.approx((0, 0.36942), abs=1e-5)
    assert ends(clustered_rate([5] * 8, [5] * 8)) == pytest.approx((1 - 0.36942, 1), abs=1e-5)
    assert ends(clustered_rate([0], [1])) == pytest.approx((0, 0.975))


def test_events_that_come_together_are_worth_less() -> None:
    apart, together = clustered_rate([5] * 8, [10] * 8), clustered_rate([10, 0] * 4, [10] * 8)
    assert apart.mean == together.mean == 0.5
    assert together.half_width is not None
    assert apart.half_width is not None
    assert together.half_width > 2 * apart.half_width
    assert clustered_rate([0, 1, 2, 0], [0, 2, 3, 0]) == clustered_rate([1, 2], [2, 3])


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("alike", [0.01, 0.3])
@pytest.mark.parametrize("truth", [0.1, 0.35, 0.5, 0.8])
def test_rates_cover_what_they_claim(truth: float, alike: float, steps: int) -> None:
    random = np.random.default_rng(5)
    trials = 1 + random.binomial(steps - 1, 0.8, (500, 8))
    own = random.beta(truth * (1 / alike - 1), (1 - truth) * (1 / alike - 1), (500, 8))
    hits = random.binomial(trials, own)
    covered = np.mean([holds(clustered_rate(x, n), truth) for x, n in zip(hits, trials, strict=True)])
    assert covered > 0.93


# ── pairs of draws ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_values_of_single_draws_have_the_t_interval_over_the_means_of_draws() -> None:
    random = np.random.default_rng(6)
    values = random.normal(0.5, 0.01, (8, 3)) + random.normal(0, 0.05, (8, 1))
    interval = jackknife_interval(values.ravel(), [[draw] for draw in range(8) for _ in range(3)], within=None)
    plain = t_interval(values.mean(1))
    assert (interval.mean, interval.n, interval.method) == (pytest.approx(plain.mean), 8, "jackknife")
    (low, high), (inner_low, inner_high) = ends(interval), ends(plain)
    assert low <= inner_low + 1e-12
    assert high >= inner_high - 1e-12
    adjusted = 2 * stats.skew(values.mean(1), bias=False)  # twice: that of few draws falls short
    skew = adjusted / np.sqrt(8) * values.mean(1).std(ddof=1) / np.sqrt(8) * (1 + 2 * 2.36462425**2) / 6
    np.testing.assert_allclose([low, high], [inner_low + min(0, skew), inner_high + max(0, skew)], rtol=1e-6)


def test_one_draw_or_one_pair_has_no_interval() -> None:
    assert jackknife_interval([0.1, 0.2], [["a"], ["a"]]).low is None
    assert jackknife_interval([0.1], [["a", "b"]]).low is None


PAIRS = list(combinations(range(8), 2))
LINES: dict[str, tuple[Callable[[Array, Array, Array], Array], float]] = {
    "draws differ": (lambda a, b, e: 1 + 0.3 * a + 0.3 * b + 0.2 * e, 0.93),
    "draws differ a little": (lambda a, b, e: 1 + 0.1 * a + 0.1 * b + 0.2 * e, 0.93),
    "never below zero": (lambda a, b, e: np.maximum(0, 0.5 + 0.4 * a + 0.4 * b + 0.3 * e), 0.93),
    "skewed": (lambda a, b, e: np.exp(0.4 * a + 0.4 * b + 0.2 * e), 0.92),
    "distances": (lambda a, b, e: np.abs(a - b), 0.93),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_between_draws_cover_what_they_claim_and_as_if_independent_they_would_not(name: str) -> None:
    line, least = LINES[name]
    random = np.random.default_rng(7)
    truth = float(line(*random.normal(size=(3, 1_000_000))).mean())
    first, second = np.array(PAIRS).T
    jackknife, independent = [], []
    for _ in range(400):
        draws = random.normal(size=8)
        values = line(draws[first], draws[second], random.normal(size=len(PAIRS)))
        jackknife.append(holds(jackknife_interval(values, PAIRS, within=None), truth))
        independent.append(holds(t_interval(values), truth))
    assert np.mean(jackknife) > least
    assert np.mean(independent) < 0.88


# ── slopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slope_is_the_textbook_regression_over_the_means_of_draws() -> None:
    random = np.random.default_rng(8)
    x, draws = np.repeat([1.0, 1.0, 2.0, 4.0, 5.0], 3), np.repeat(np.arange(5), 3)
    y = 2 * x + random.normal(0, 1, 5)[draws] + random.normal(0, 0.1, 15)
    found = slope_interval(x, y, draws.tolist())
    line = stats.linregress([1, 1, 2, 4, 5], y.reshape(5, 3).mean(1))
    half = stats.t.ppf(0.975, 3) * line.stderr
    assert (found.mean, found.n, found.method) == (pytest.approx(line.slope), 5, "slope")
    np.testing.assert_allclose(ends(found), [line.slope - half, line.slope + half], rtol=1e-9)
    assert slope_interval([1, 2], [3, 5], ["a", "b"]) == Interval(2.0, None, None, 2, "slope")


def test_slopes_cover_what_they_claim_and_as_if_points_were_draws_they_would_not() -> None:
    random, by_draw, by_point = np.random.default_rng(9), [], []
    x, draws = np.repeat(np.arange(5.0), 60), np.repeat(np.arange(15), 20)
    for _ in range(400):
        y = 0.1 * x + random.normal(0, 0.05, 15)[draws] + random.normal(0, 0.1, 300)
        by_draw.append(holds(slope_interval(x, y, draws.tolist()), 0.1))
        by_point.append(holds(slope_interval(x, y, list(range(300))), 0.1))
    assert 0.93 < np.mean(by_draw) < 0.97
    assert np.mean(by_point) < 0.8


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ratio_interval([1, 2], [1, 0, 2]), "2 draws against 3, expected as many: paired values come from the same draws"),
        (lambda: ratio_interval([1, 2], [1, -1]), "bottom: its mean is 0.0, expected above 0"),
        (lambda: ratio_interval([1, np.nan], [1, 1]), "top: draw 1 is nan, expected a finite number"),
        (lambda: ratio_interval([1, 2], [1, 1], 2), "confidence: 2, expected a number between 0 and 1, both excluded"),
        (
            lambda: recovered_interval([1], [0, 0], [1]),
            "1 draw against 2, expected as many: paired values come from the same draws",
        ),
        (lambda: clustered_rate([2], [1]), "hits: expected 0 to as many as the trials of the same draw"),
        (lambda: clustered_rate([-1], [1]), "hits: expected 0 to as many as the trials of the same draw"),
        (lambda: clustered_rate([0, 0], [0, 0]), "trials: none at all"),
        (lambda: jackknife_interval([1, 2], [["a"]]), "2 values, but draws of 1"),
        (
            lambda: slope_interval([1, 2], [1], ["a", "b"]),
            "2 draws against 1, expected as many: paired values come from the same draws",
        ),
        (lambda: slope_interval([1, 2], [1, 2], ["a"]), "2 points, but draws of 1"),
        (lambda: slope_interval([2, 2], [1, 2], ["a", "b"]), "x: the same in every draw, expected at least two places"),
        (lambda: jackknife_interval([], []), "values: shape (0,), expected one number a draw and at least one draw"),
    ],
)
def test_bad_input(call: object, expected: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == expected
