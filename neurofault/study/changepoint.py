"""Is there a change point in a curve of accuracy against damage? Line, hinge, cubic and logistic compared by BIC, order by order.

The founding paper speaks of a phase transition: past a critical number of deletions the decline steepens. A change point is spoken of
here only if, over many orders of deletion, the hinge has the lowest BIC in at least 80 %, the slope behind its knot is at least twice
that before it, and the knot stays in place (standard deviation at most 0.05 of all nodes). BIC = n ln(RSS / n) + p ln n with p free
parameters of the curve (Schwarz 1978); points of one curve are not independent (each deletion keeps the ones before), which favours the
richer models alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from neurofault.errors import UsageError
from neurofault.numerals import plural

Curve = NDArray[np.float64]

MODELS = ("line", "hinge", "cubic", "logistic")
PARAMETERS = {"line": 2, "hinge": 4, "cubic": 4, "logistic": 4}
WINS, RATIO, SPREAD = 0.8, 2.0, 0.05
"""What a change point needs: the share of orders in which the hinge wins and its slope ratio at least, the standard deviation of its knot at most."""
STEEPEST = 1000.0
"""Largest slope ratio that is reported: a curve that is flat before its knot has none."""


@dataclass(frozen=True)
class Fits:
    """The four models on one curve.

    Attributes:
        bic: by model.
        best: the model of lowest BIC.
        knot: where the hinge bends, in the curve's x.
        before, after: slopes of the hinge.
    """

    bic: dict[str, float]
    best: str
    knot: float
    before: float
    after: float

    @property
    def slope_ratio(self) -> float:
        """Decline behind the knot over that before it, 0 to :data:`STEEPEST`; 0 where the curve rises behind the knot."""
        if self.after >= 0:
            return 0.0
        return STEEPEST if self.before >= self.after / STEEPEST else self.after / self.before


@dataclass(frozen=True)
class ChangePoint:
    """The verdict over many orders.

    Attributes:
        hinge_wins: share of orders in which the hinge has the lowest BIC, 0 to 1.
        slope_ratio: median over orders.
        knot_sd: standard deviation of the hinge's knot over orders, as a share of all nodes.
        knot: mean of the hinge's knot, likewise.
        wins: share of orders that each model wins.
        orders: how many.
        verdict: ``change point`` or ``no change point``, with what fails.
    """

    hinge_wins: float
    slope_ratio: float
    knot_sd: float
    knot: float
    wins: dict[str, float]
    orders: int
    verdict: str


def fit_all(x: Curve, y: Curve) -> Fits:
    """Fit line, hinge (continuous, free knot), cubic and 4-parameter logistic by least squares.

    Args:
        x: float [n], strictly increasing, n at least 8: share of deleted nodes.
        y: float [n]: accuracy.

    Raises:
        UsageError: shapes that differ, too few points, or x that does not increase.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UsageError(f"a curve needs as many x as y: shapes {x.shape} and {y.shape}")
    if len(x) < 8 or not (np.diff(x) > 0).all():
        raise UsageError(f"a curve of {plural(len(x), 'point')}; expected at least 8, with x strictly increasing")
    rss = {"line": _residual(np.vander(x, 2), y), "cubic": _residual(np.vander(x, 4), y)}
    rss["hinge"], knot, before, after = _hinge(x, y)
    rss["logistic"] = _logistic(x, y)
    n, floor = len(x), 1e-24 * max(float((y**2).sum()), 1e-300)
    bic = {name: n * float(np.log(max(rss[name], floor) / n)) + PARAMETERS[name] * float(np.log(n)) for name in MODELS}
    return Fits(bic, min(MODELS, key=lambda name: bic[name]), knot, before, after)


def change_point(curves: Sequence[tuple[Curve, Curve]]) -> ChangePoint:
    """Judge many curves, one an order of deletion.

    Args:
        curves: (x, y) of each order, x as a share of all nodes; at least two.

    Raises:
        UsageError: fewer than two curves, and as :func:`fit_all`.
    """
    if len(curves) < 2:
        raise UsageError(f"{plural(len(curves), 'curve')}; a change point needs at least two orders")
    fits = [fit_all(x, y) for x, y in curves]
    wins = {name: sum(fit.best == name for fit in fits) / len(fits) for name in MODELS}
    ratio = float(np.median([fit.slope_ratio for fit in fits]))
    knots = np.array([fit.knot for fit in fits])
    spread = float(knots.std(ddof=1))
    failing = [
        text
        for text, fails in (
            (f"the hinge wins in {100 * wins['hinge']:.0f} % of orders ({100 * WINS:.0f} % needed)", wins["hinge"] < WINS),
            (f"the slope ratio is {ratio:.2g} ({RATIO:.2g} needed)", ratio < RATIO),
            (f"the knot's sd is {spread:.3f} of N (at most {SPREAD})", spread > SPREAD),
        )
        if fails
    ]
    verdict = "change point" if not failing else "no change point: " + "; ".join(failing)
    return ChangePoint(wins["hinge"], ratio, spread, float(knots.mean()), wins, len(fits), verdict)


@dataclass(frozen=True)
class Thresholds:
    """Where a decline passes given marks, in x; NaN where it does not.

    Attributes:
        minus1pp, minus5pp: first x at which 1 and 5 points are lost.
        half: first x at which half of all that is lost in the end is lost.
        width: from the first x at which 10 % of that is lost to the first at which 90 % is.
        auc: mean accuracy over x (trapezoids).
    """

    minus1pp: float
    minus5pp: float
    half: float
    width: float
    auc: float


def thresholds(x: Curve, y: Curve) -> Thresholds:
    """Return where a curve of accuracy (0 to 1) passes its marks, linear between points.

    Args:
        x: float [n], increasing.
        y: float [n].
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    lost = float(y[0] - y[-1])

    def first(level: float) -> float:
        under = np.flatnonzero(y <= level + 1e-12)
        if not under.size:
            return float("nan")
        at = int(under[0])
        if at == 0:
            return float(x[0])
        share = (y[at - 1] - level) / (y[at - 1] - y[at])
        return float(x[at - 1] + share * (x[at] - x[at - 1]))

    return Thresholds(
        first(y[0] - 0.01), first(y[0] - 0.05), first(y[0] - lost / 2), first(y[0] - 0.9 * lost) - first(y[0] - 0.1 * lost),
        float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / (x[-1] - x[0])),
    )  # fmt: skip


def _residual(design: NDArray[np.floating], y: Curve) -> float:
    """Return the residual sum of squares of a linear fit."""
    weights = np.linalg.lstsq(design, y, rcond=None)[0]
    return float(((design @ weights - y) ** 2).sum())


def _hinge(x: Curve, y: Curve) -> tuple[float, float, float, float]:
    """Return (RSS, knot, slope before, slope after): the best knot among the inner points, then between its neighbours."""

    def design(knot: float) -> NDArray[np.float64]:
        return np.stack([np.ones_like(x), x, np.maximum(x - knot, 0)], 1)

    def rss(knot: float) -> float:
        return _residual(design(knot), y)

    inner = np.arange(1, len(x) - 1)
    ramps = np.maximum(x[None] - x[inner][:, None], 0)
    line = np.linalg.qr(np.vander(x, 2))[0]
    ramps = ramps - (ramps @ line) @ line.T  # what a ramp adds to a line
    rest = y - line @ (line.T @ y)
    gained = (ramps @ rest) ** 2 / np.maximum((ramps**2).sum(1), 1e-300)
    best = int(inner[np.argmax(gained)])
    found = optimize.minimize_scalar(rss, bounds=(x[best - 1], x[best + 1]), method="bounded", options={"xatol": 1e-6})
    knot = float(found.x) if found.fun < rss(float(x[best])) else float(x[best])
    _, before, bend = np.linalg.lstsq(design(knot), y, rcond=None)[0]
    return rss(knot), knot, float(before), float(before + bend)


def _logistic(x: Curve, y: Curve) -> float:
    """Return the RSS of d + (a − d) / (1 + exp((x − c) / s)); a and d are solved for, c and s searched from several starts."""
    span = float(x[-1] - x[0])

    def design(at: NDArray[np.float64]) -> NDArray[np.float64]:
        rise = np.clip((x - at[0]) / np.exp(at[1]), -500, 500)
        return np.stack([np.ones_like(x), 1 / (1 + np.exp(rise))], 1)

    def residuals(at: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = design(at)
        fitted: NDArray[np.float64] = shape @ np.linalg.lstsq(shape, y, rcond=None)[0] - y
        return fitted

    best = np.inf
    for middle in (0.4, 0.7, 0.9):
        start = np.array([x[0] + middle * span, np.log(span / 10)])
        low, high = [x[0] - span, np.log(span / 1000)], [x[-1] + span, np.log(span * 10)]
        found = optimize.least_squares(residuals, start, bounds=(low, high), x_scale=[span / 10, 0.5], max_nfev=60)
        best = min(best, 2 * float(found.cost))
    return best
