"""Is there a knot? Curves with one, and curves without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault.errors import UsageError
from neurofault.study.changepoint import change_point, fit_all, thresholds

X = np.linspace(0, 1, 101)


def noisy(curve, seed: int, orders: int = 8, sd: float = 0.003):
    random = np.random.default_rng(seed)
    return [(X, curve(X) + random.normal(0, sd, len(X))) for _ in range(orders)]


@settings(max_examples=8, deadline=None)
@given(knot=st.floats(0.25, 0.75), slow=st.floats(0.15, 0.3), ratio=st.floats(3, 8), seed=st.integers(0, 1000))
def test_a_steepening_hinge_is_a_change_point(knot, slow, ratio, seed):
    judged = change_point(noisy(lambda x: 1 - slow * x - slow * (ratio - 1) * np.maximum(x - knot, 0), seed))
    assert judged.verdict == "change point"
    assert judged.hinge_wins >= 0.8
    assert judged.slope_ratio == pytest.approx(ratio, rel=0.2)
    assert judged.knot == pytest.approx(knot, abs=0.03)
    assert judged.knot_sd <= 0.05


@pytest.mark.parametrize("seed", range(3))  # any seed would fail now and then: which model wins is chance
@pytest.mark.parametrize("kind", ["line", "cubic", "logistic"])
def test_curves_without_a_knot_have_no_change_point(kind, seed):
    curve = {
        "line": lambda x: 1 - 0.5 * x,
        "cubic": lambda x: 1 - 0.2 * x - 0.6 * x**3,
        "logistic": lambda x: 0.1 + 0.9 / (1 + np.exp((x - 0.6) / 0.08)),
    }[kind]
    judged = change_point(noisy(curve, seed))
    assert judged.wins[kind] >= 0.5
    assert judged.hinge_wins < 0.8
    assert judged.verdict.startswith("no change point: the hinge wins in ")


def test_a_decline_that_slows_down_or_a_knot_that_wanders_is_none():
    flattening = change_point(noisy(lambda x: 1 - x + 0.8 * np.maximum(x - 0.5, 0), 1))
    assert flattening.hinge_wins >= 0.8
    assert flattening.verdict == f"no change point: the slope ratio is {flattening.slope_ratio:.2g} (2 needed)"
    wandering = [
        curve for knot in (0.2, 0.4, 0.6, 0.8) for curve in noisy(lambda x, k=knot: 1 - 0.1 * x - 0.6 * np.maximum(x - k, 0), 2, 2)
    ]
    assert change_point(wandering).verdict.startswith("no change point: the knot's sd is 0.2")


def test_models_without_noise_fit_exactly():
    hinge = fit_all(X, 1 - 0.1 * X - 0.5 * np.maximum(X - 0.43, 0))
    assert hinge.best == "hinge"
    assert (hinge.knot, hinge.before, hinge.after) == pytest.approx((0.43, -0.1, -0.6), abs=1e-5)
    assert fit_all(X, 0.1 + 0.9 / (1 + np.exp((X - 0.6) / 0.08))).best == "logistic"


def test_thresholds_by_hand():
    y = np.array([0.98, 0.97, 0.9, 0.5, 0.1])
    found = thresholds(np.linspace(0, 1, 5), y)
    assert found.minus1pp == pytest.approx(0.25)
    assert found.minus5pp == pytest.approx(0.25 + 0.25 * 0.04 / 0.07)
    assert found.half == pytest.approx(0.5 + 0.25 * (0.9 - 0.54) / 0.4)
    assert found.width == pytest.approx((0.75 + 0.25 * (0.5 - 0.188) / 0.4) - (0.5 + 0.25 * (0.9 - 0.892) / 0.4))
    assert found.auc == pytest.approx((0.49 + 0.97 + 0.9 + 0.5 + 0.05) / 4)
    assert np.isnan(thresholds(X, np.full(101, 0.9)).minus1pp)


def test_mistakes_are_named():
    with pytest.raises(UsageError, match=r"shapes \(101,\) and \(100,\)"):
        fit_all(X, X[:-1])
    with pytest.raises(UsageError, match="expected at least 8, with x strictly increasing"):
        fit_all(X[::-1], X)
    with pytest.raises(UsageError, match="1 curve; a change point needs at least two orders"):
        change_point([(X, X)])
