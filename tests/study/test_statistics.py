from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurofault.errors import UsageError
from neurofault.study.statistics import (
    SHARE,
    Interval,
    StopRule,
    cautious_interval,
    paired_difference,
    t_interval,
    wilson,
)

T_975 = {2: 12.7062047, 3: 4.30265273, 5: 2.77644511, 20: 2.09302405}
"""Quantiles of Student's t at 0.975 for n − 1 degrees of freedom, by n (printed tables)."""

numbers = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def covered(interval: Interval, truth: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def ends(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


# ── t over draws ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", T_975)
def test_t_interval_is_the_textbook_formula(n: int) -> None:
    values = np.random.default_rng(n).normal(0.8, 0.05, n)
    mean = sum(values) / n
    half = T_975[n] * math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1)) / math.sqrt(n)
    interval = t_interval(values)
    assert (interval.n, interval.method, interval.confidence) == (n, "t", 0.95)
    np.testing.assert_allclose(
        [interval.mean, *ends(interval), interval.half_width], [mean, mean - half, mean + half, half], rtol=1e-7
    )


def test_one_draw_has_a_mean_and_no_interval() -> None:
    assert t_interval([0.5]) == Interval(0.5, None, None, 1, "t")
    assert t_interval([0.5]).half_width is None
    assert paired_difference([0.5], [0.25]) == Interval(0.25, None, None, 1, "paired-t")


@given(value=st.floats(-10, 10), n=st.integers(2, 40))
def test_identical_draws_have_exactly_zero_width(value: float, n: int) -> None:
    assert t_interval([value] * n) == Interval(value, value, value, n, "t")


def test_t_interval_is_cut_where_nothing_can_lie() -> None:
    low, high = ends(t_interval([0.9, 1.0]))
    assert high > 1
    assert low < 0.4
    assert ends(t_interval([0.9, 1.0], within=SHARE)) == (low, 1.0)
    assert ends(t_interval([0.1, 0.0], within=SHARE)) == (0.0, pytest.approx(1 - low))
    assert ends(t_interval([-0.9, 1.0], within=(-1, 1))) == (-1, 1)
    assert ends(t_interval([0.5, 0.51], within=SHARE)) == ends(t_interval([0.5, 0.51]))
    assert ends(t_interval([1.5, 1.5, 1.5], within=SHARE)) == (1.5, 1.5)


@given(values=numbers)
def test_more_confidence_is_wider(values: list[float]) -> None:
    narrow, wide = ends(t_interval(values, 0.8)), ends(t_interval(values, 0.99))
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


# ── Wilson in one draw ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_ends_solve_the_score_equation(n: int, share: float) -> None:
    correct = round(share * n)
    z = 1.959963984540054
    interval = wilson(correct, n)
    assert (interval.mean, interval.n, interval.method) == (correct / n, n, "wilson")
    for end in ends(interval):
        assert 0 <= end <= 1
        assert (correct / n - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, rel=1e-6, abs=1e-12)


# ── paired ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(pairs=st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=2, max_size=30))
def test_paired_difference_is_the_interval_of_the_differences(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    interval, expected = paired_difference(a, b), t_interval([left - right for left, right in pairs])
    assert (interval.mean, *ends(interval), interval.n) == (expected.mean, *ends(expected), expected.n)
    assert interval.method == "paired-t"


def test_pairing_sees_what_the_spread_over_draws_hides() -> None:
    random = np.random.default_rng(6)
    damaged = random.uniform(0.3, 0.9, 20)
    healed = damaged + random.normal(0.02, 0.005, 20)
    assert ends(t_interval(healed))[0] < ends(t_interval(damaged))[1]
    assert ends(paired_difference(healed, damaged))[0] > 0


# ── coverage: the draw is the unit ─────────────────────────────────────────────────────────────────────────────────────


def test_t_over_draws_covers_what_it_claims_and_pooled_wilson_does_not() -> None:
    random = np.random.default_rng(2026)
    samples, draws, studies, truth, spread = 1000, 20, 1500, 0.8, 0.05
    accuracy = random.normal(truth, spread, (studies, draws)).clip(0, 1)
    correct = random.binomial(samples, accuracy)
    by_draw = np.mean([covered(t_interval(row / samples), truth) for row in correct])
    pooled = np.mean([covered(wilson(int(row.sum()), samples * draws), truth) for row in correct])
    assert 0.935 < by_draw < 0.965
    assert pooled < 0.5


def test_wilson_covers_inside_one_draw() -> None:
    correct = np.random.default_rng(7).binomial(200, 0.9, 1500)
    assert 0.93 < np.mean([covered(wilson(int(count), 200), 0.9) for count in correct]) < 0.97


# ── what no draw showed ────────────────────────────────────────────────────────────────────────────────────────────────


@given(value=st.floats(0, 1), n=st.integers(2, 500))
def test_equal_draws_leave_room_for_an_outcome_that_none_of_them_was(value: float, n: int) -> None:
    interval = cautious_interval([value] * n)
    unseen = 1 - 0.025 ** (1 / n)
    assert interval.method == "cautious"
    np.testing.assert_allclose(ends(interval), [value * (1 - unseen), value + unseen * (1 - value)], atol=1e-12)


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_cautious_interval_holds_the_t_interval(values: list[float]) -> None:
    (low, high), (inner_low, inner_high) = ends(cautious_interval(values)), ends(t_interval(values, within=SHARE))
    assert low <= inner_low + 1e-12
    assert high >= inner_high - 1e-12
    assert 0 <= low <= high <= 1


def test_a_cautious_interval_reaches_further_to_the_side_of_the_tail() -> None:
    values = [0.95] * 190 + [0.6] * 10
    low, plain = ends(cautious_interval(values))[0], ends(t_interval(values))
    assert low < plain[0] - 0.002
    assert cautious_interval([0.5]) == Interval(0.5, None, None, 1, "cautious")


# ── sequential stopping ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_stops_at_the_first_look_that_is_narrow_enough() -> None:
    rule = StopRule(0.1, first=10, every=3)
    assert [rule.next_look(draws) for draws in (0, 9, 10, 12, 13, 15)] == [10, 10, 13, 13, 16, 16]
    assert rule.last_draw([0.5] * 9) is None
    assert rule.last_draw([0.5] * 40) == 19  # 1 − 0.025^(1/19) = 0.18: half of it is under 0.1; of 16 draws it is not
    assert rule.last_draw([*[0.0, 1.0] * 4, *[0.5] * 500]) not in (None, 19)
    assert rule.last_draw([None] * 6 + [0.5] * 19) == 25
    assert rule.last_draw([None] * 200) is None
    found = rule.interval([0.5] * 19)
    assert found == cautious_interval([0.5] * 19)
    assert found.half_width is not None
    assert found.half_width <= 0.1


Draws = Callable[[np.random.Generator, int], NDArray[np.float64]]

SPREADS: dict[str, tuple[Draws, float]] = {
    "narrow": (lambda random, n: random.normal(0.8, 0.02, n), 0.8),
    "wide": (lambda random, n: random.normal(0.8, 0.1, n), 0.8),
    "skewed": (lambda random, n: 0.95 - random.exponential(0.1, n), 0.85),
    "one in 50 loses all": (lambda random, n: 0.95 - 0.85 * (random.random(n) < 0.02) - 0.01 * random.random(n), 0.928),
    "one in 100 loses all": (lambda random, n: 0.95 - 0.85 * (random.random(n) < 0.01), 0.9415),
    "one in 10 loses all": (lambda random, n: 0.95 - 0.85 * (random.random(n) < 0.1), 0.865),
    "one in 20 loses a fifth": (lambda random, n: 0.95 - 0.2 * (random.random(n) < 0.05), 0.94),
}


@pytest.mark.parametrize("name", SPREADS)
def test_intervals_after_stopping_cover_what_they_claim(name: str) -> None:
    draw, truth = SPREADS[name]
    random = np.random.default_rng(11)
    rule, hits = StopRule(0.02), []
    for _ in range(300):
        values = draw(random, 1000)
        last = rule.last_draw(values.tolist())
        assert last is not None
        assert last > 60
        hits.append(covered(rule.interval(values[:last]), truth))
    assert np.mean(hits) > 0.93


def test_t_intervals_after_stopping_would_not() -> None:
    draw, truth = SPREADS["one in 100 loses all"]
    random, hits = np.random.default_rng(12), []
    for _ in range(300):
        values = draw(random, 600)
        looks = (t_interval(values[:n]) for n in range(2, 600))
        hits.append(covered(next(each for each in looks if (each.half_width or 0) <= 0.02), truth))
    assert np.mean(hits) < 0.76


# ── bad input ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: t_interval([]), "values: shape (0,), expected one number a draw and at least one draw"),
        (lambda: t_interval(np.zeros((2, 3))), "values: shape (2, 3), expected one number a draw and at least one draw"),
        (lambda: t_interval([0.5, math.nan]), "values: draw 1 is nan, expected a finite number"),
        (lambda: t_interval([0.5, 0.6], 95), "confidence: 95, expected a number between 0 and 1, both excluded"),
        (
            lambda: paired_difference([1, 2, 3], [1, 2]),
            "3 draws against 2, expected as many: paired values come from the same draws",
        ),
        (lambda: paired_difference([1], [math.inf]), "b: draw 0 is inf, expected a finite number"),
        (lambda: StopRule(0), "half_width must be above 0, is 0"),
        (
            lambda: StopRule(0.1, first=2),
            "first must be at least 10, is 2: intervals that are looked at earlier cover less than they say",
        ),
        (lambda: cautious_interval([]), "values: shape (0,), expected one number a draw and at least one draw"),
        (lambda: StopRule(0.1, every=0), "every must be at least 1, is 0"),
        (lambda: wilson(0, 0), "n: 0 samples, expected at least 1"),
        (lambda: wilson(11, 10), "correct: 11 of 10 samples, expected 0 to 10"),
        (lambda: wilson(-1, 10), "correct: -1 of 10 samples, expected 0 to 10"),
        (lambda: wilson(1, 10, 1.0), "confidence: 1.0, expected a number between 0 and 1, both excluded"),
    ],
)
def test_bad_input(call: object, expected: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == expected
