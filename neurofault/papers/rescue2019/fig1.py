"""Figure 1: accuracy against what has died, without repair; is there a change point?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Decline, Row, Subject
from neurofault.study.changepoint import Thresholds, change_point, fit_all, thresholds
from neurofault.study.statistics import SHARE, t_interval

MARKS = ("minus1pp", "minus5pp", "half", "width", "auc")


def fig1(subject: Subject) -> Figure:
    """Compute figure 1.

    JSON: ``curves`` {curve → fraction (of what can die), mean, sd, low, high (95 % t interval over units), orders (units), and as the subject
    has them dead, least, most}; ``thresholds`` {curve → minus1pp, minus5pp, half, width, auc, and the interval of each}, as shares of what can
    die; ``change_point`` {curve → hinge_wins, slope_ratio, knot_sd, verdict, knot, wins, orders}. On networks of floats also ``width_scaling``
    {mark → change for each doubling of the width, with its interval} ``bases`` {network → test accuracies} and
    ``weights`` {network → digest of the trained weights of each base}.
    """
    layout, seen = subject.layout, list[Decline]()
    answer: dict[str, Any] = {**subject.heading("fig1"), "curves": {}, "thresholds": {}, "change_point": {}}
    rows, unit_rows = list[Row](), list[Row]()
    for one in subject.declines():
        seen.append(one)
        rows += curve_rows({layout.curve: one.name, layout.units: len(one.values)}, into(answer, one, layout.curves))
        for unit, accuracies in zip(one.units, one.values, strict=True):
            fits, mark = fit_all(one.fraction, accuracies), thresholds(one.fraction, accuracies)
            unit_rows.append(
                {layout.curve: one.name, **unit, "healthy": float(accuracies[0]), **asdict(mark), "best": fits.best, "knot": fits.knot,
                 "slope_ratio": fits.slope_ratio, **{f"bic_{model}": bic for model, bic in fits.bic.items()}}
            )  # fmt: skip
    answer |= subject.of_declines(seen)
    return Figure(f"{layout.prefix}fig1", answer, {"curves": rows, layout.units: unit_rows})


def into(answer: Row, one: Decline, kept: Sequence[str]) -> Row:
    """Put a curve, its marks and its change point into a figure's JSON, and return the curve.

    Args:
        answer: has ``curves``, ``thresholds`` and ``change_point``.
        one: the curve.
        kept: what is said of it, in order.
    """
    values = one.values
    intervals = [t_interval(column, within=SHARE) for column in values.T]
    whole = {
        "fraction": one.fraction.tolist(), "dead": one.dead.tolist(), "mean": values.mean(0).tolist(), "sd": values.std(0, ddof=1).tolist(),
        "low": [i.low for i in intervals], "high": [i.high for i in intervals], "orders": len(values),
        "least": values.min(0).tolist(), "most": values.max(0).tolist(),
    }  # fmt: skip
    answer["curves"][one.name] = curve = {name: whole[name] for name in kept}
    answer["thresholds"][one.name] = marks_of([thresholds(one.fraction, each) for each in values])
    answer["change_point"][one.name] = asdict(change_point([(one.fraction, each) for each in values]))
    return curve


def curve_rows(place: Row, curve: Row) -> list[Row]:
    """Return a curve as rows of a table, one a point."""
    columns = list(curve)[: list(curve).index("high") + 1]
    return [{**place, **{name: curve[name][k] for name in columns}} for k in range(len(curve["mean"]))]


def marks_of(each: list[Thresholds]) -> dict[str, Any]:
    """Return each mark's mean over curves, its 95 % t interval, and the number of curves that never pass it."""
    found: dict[str, Any] = {}
    for name in MARKS:
        values = [getattr(one, name) for one in each]
        known = [value for value in values if not np.isnan(value)]
        interval = t_interval(known, within=SHARE) if known else None
        found[name] = interval.mean if interval else None
        found[f"{name}_interval"] = [interval.low, interval.high] if interval else None
        found[f"{name}_never"] = len(values) - len(known)
    return found
