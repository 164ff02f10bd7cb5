"""Figure 1: accuracy against deleted nodes, without repair; is there a change point, and how does it move with width?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.papers.rescue2019.damage import by_importance, decline, random_order
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.setting import Study
from neurofault.streams import stream_key
from neurofault.study.changepoint import Thresholds, change_point, fit_all, thresholds
from neurofault.study.statistics import SHARE, bootstrap_interval, t_interval

MARKS = ("minus1pp", "minus5pp", "half", "width", "auc")


@dataclass(frozen=True)
class Condition:
    """One curve of the figure.

    Attributes:
        name: the network's, and how nodes are chosen where it is not at random from all.
        hidden: widths.
        layer: the only layer that is hit; None: all.
        importance: ``least`` or ``most`` important first; None: random.
        dropout: of the base's training.
    """

    name: str
    hidden: tuple[int, ...]
    layer: int | None = None
    importance: str | None = None
    dropout: float = 0.0


def conditions(study: Study) -> Iterator[Condition]:
    """Yield the curves: every network at random, then by layer, by importance, and trained with dropout."""
    setting = study.setting
    for hidden in setting.networks:
        yield Condition(study.name(hidden), hidden)
    for hidden in setting.networks:
        if len(hidden) > 1:
            for layer in range(len(hidden)):
                yield Condition(f"{study.name(hidden)} layer {layer + 1}", hidden, layer=layer)
    for first in ("least", "most"):
        yield Condition(f"{study.name(setting.study)} {first} important first", setting.study, importance=first)
    yield Condition(f"{study.name(setting.study)} dropout", setting.study, dropout=0.5)


def curves(study: Study, condition: Condition) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return accuracy after the first k deletions, k = 0 … K, by (base, order)."""
    setting = study.setting
    found: dict[tuple[int, int], NDArray[np.float64]] = {}
    for number in range(setting.bases):
        base = study.base(condition.hidden, number, condition.dropout)
        for order in range(1 if condition.importance else setting.orders):

            def compute(number: int = number, order: int = order) -> list[int]:
                network = study.network(study.base(condition.hidden, number, condition.dropout))
                if condition.importance:
                    nodes = by_importance(network, study.roles.validation, condition.importance)
                else:
                    nodes = random_order(network, stream_key(setting.seed, "decline", number, order), layer=condition.layer)
                counts: list[int] = decline(network, nodes, study.roles.test).tolist()
                return counts

            key = {
                "unit": "decline", "base": base.digest, "seed": setting.seed, "number": number, "order": order,
                "layer": condition.layer, "importance": condition.importance,
            }  # fmt: skip
            counts = study.journal.once(key, compute)
            found[number, order] = np.array(counts) / len(study.roles.test)
    return found


def fig1(study: Study) -> Figure:
    """Compute figure 1.

    JSON: ``curves`` {network → fraction, mean, sd, low, high (95 % t interval over (base, order)), orders, least, most};
    ``thresholds`` {network → minus1pp, minus5pp, half, width, auc, and the interval of each}, as shares of the nodes that die;
    ``change_point`` {network → hinge_wins, slope_ratio, knot_sd, verdict, knot, wins, orders}; ``width_scaling`` {mark → change for each
    doubling of the width, with its interval}; ``bases`` {network → test accuracies}.
    """
    answer: dict[str, Any] = {"setting": study.setting.name, "curves": {}, "thresholds": {}, "change_point": {}, "bases": {}}
    rows, order_rows = [], []
    marks: dict[str, list[tuple[int, Thresholds]]] = {}
    listed = list(conditions(study))
    for done, condition in enumerate(listed):
        study.progress("figure 1", done, len(listed), condition.name)
        found = curves(study, condition)
        fraction = np.linspace(0, 1, len(next(iter(found.values()))))
        values = np.stack(list(found.values()))
        intervals = [t_interval(column, within=SHARE) for column in values.T]
        answer["curves"][condition.name] = curve = {
            "fraction": fraction.tolist(), "mean": values.mean(0).tolist(), "sd": values.std(0, ddof=1).tolist(),
            "low": [i.low for i in intervals], "high": [i.high for i in intervals], "orders": len(values),
            "least": values.min(0).tolist(), "most": values.max(0).tolist(),
        }  # fmt: skip
        answer["bases"][condition.name] = {str(base): float(curve[0]) for (base, order), curve in found.items() if not order}
        each = [thresholds(fraction, one) for one in values]
        if condition == Condition(condition.name, condition.hidden) and len(condition.hidden) == 1:
            marks[condition.name] = [(condition.hidden[0], one) for one in each]
        answer["thresholds"][condition.name] = marks_of(each)
        judged = change_point([(fraction, one) for one in values])
        answer["change_point"][condition.name] = asdict(judged)
        columns = ("fraction", "mean", "sd", "low", "high")
        rows += [
            {"network": condition.name, "orders": len(values), **{name: curve[name][k] for name in columns}}
            for k in range(len(fraction))
        ]
        for (base, order), one, mark in zip(found, values, each, strict=True):
            fits = fit_all(fraction, one)
            order_rows.append(
                {"network": condition.name, "base": base, "order": order, "healthy": float(one[0]), **asdict(mark), "best": fits.best,
                 "knot": fits.knot, "slope_ratio": fits.slope_ratio, **{f"bic_{name}": bic for name, bic in fits.bic.items()}}
            )  # fmt: skip
    answer["width_scaling"] = _scaling([pair for pairs in marks.values() for pair in pairs])
    study.progress("figure 1", len(listed), len(listed), "")
    return Figure("fig1", answer, {"curves": rows, "orders": order_rows})


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


def _scaling(marks: list[tuple[int, Thresholds]]) -> dict[str, Any]:
    """Return for each mark how it changes with each doubling of the width: a least-squares slope, bootstrap over (base, order)."""
    if len({width for width, _ in marks}) < 2:
        return {}

    def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        x = x - x.mean(-1, keepdims=True)
        return np.asarray((x * y).sum(-1) / (x * x).sum(-1), np.float64)

    found = {}
    for name in MARKS:
        known = [(np.log2(width), getattr(one, name)) for width, one in marks if not np.isnan(getattr(one, name))]
        widths, values = (np.array(column) for column in zip(*known, strict=True))
        interval = bootstrap_interval(widths, values, statistic=slope, method="percentile", resamples=2000)
        found[name] = {"per_doubling": interval.mean, "low": interval.low, "high": interval.high, "curves": interval.n}
    return found
