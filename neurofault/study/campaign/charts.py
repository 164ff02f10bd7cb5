"""The curves and the maps of a campaign as the explorer draws them: numbers and the words that a reader finds at each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurofault.metrics import Metric
from neurofault.numerals import plural
from neurofault.study.campaign.summary import metric_in
from neurofault.study.campaign.tested import axis_words
from neurofault.study.chip_map import figure_of, grid_chart, holds, placed

WAYS = "ways of healing"
"""What curves of one point each are compared over."""


def is_number(value: Any) -> bool:
    """Return whether a value of an axis lies on a scale."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def wants_log(values: Sequence[float]) -> bool:
    """Return whether the values of an axis spread so far that they are shown by their logarithms."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 100


def groups_of(answer: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the curves that have a point, by the axis that they run along, in words; empty: none."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for curve in answer["curves"]:
        if any(point["mean"] is not None for point in curve["points"]):
            groups.setdefault(axis_words(answer["plans"], curve["axis"]), []).append(curve)
    return groups


def curves_chart(answer: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """Return curves that run along one axis as a chart of :mod:`neurofault.study.explorer`.

    Args:
        answer: of the campaign.
        curves: of it.
        title: of the chart.
    """
    metric, axis = metric_in(answer), axis_words(answer["plans"], curves[0]["axis"])
    times = 1 if metric.lower else 100
    values = [point["x"] for curve in curves for point in curve["points"] if point["mean"] is not None]
    numeric = all(map(is_number, values))
    names = None if numeric else list(dict.fromkeys(map(_name, values)))
    lines = [(answer["healthy"], "healthy"), (answer["chance"], "chance")]
    return {
        "kind": "curves", "title": title, "x": axis, "y": metric.words + ("" if metric.lower else " (%)"),
        "log": numeric and wants_log(values), "names": names, "joined": numeric,
        "lines": [{"y": times * value, "text": text} for value, text in lines if value is not None],
        "curves": [
            {
                "label": curve["label"],
                "points": [
                    {
                        "x": point["x"] if names is None else names.index(_name(point["x"])), "y": times * point["mean"],
                        "low": times * (point["mean"] if point["low"] is None else point["low"]),
                        "high": times * (point["mean"] if point["high"] is None else point["high"]),
                        "say": _point_words(curve["label"], axis, point, metric),
                    }
                    for point in curve["points"]
                    if point["mean"] is not None
                ],
            }
            for curve in curves
        ],
    }  # fmt: skip


def map_chart(cores: Sequence[Mapping[str, Any]], most: float, title: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cores of a chip as a chart of :mod:`neurofault.study.explorer`.

    Args:
        cores: of one of ``maps`` of an answer.
        most: loss of the darkest shade.
        title: of the chart.
        answer: of the campaign.
    """
    metric = metric_in(answer)
    return grid_chart(
        [
            {
                "id": core["core"], "x": x, "y": y, "side": side,
                "loss": None if core["loss"] is None else core["loss"] * (1 if metric.lower else 100),
                "text": "" if core["loss"] is None else _bare(core["loss"], metric),
                "say": f"core {core['core']}: {holds(core)}; {_mean_words(core, metric)}",
                "detail": _detail(core, metric, answer["plans"]),
            }
            for core, x, y, side in placed(cores)
        ],
        cores, title=title, what="core", unit=f"{metric.words} added" if metric.lower else "points of accuracy lost", most=most if metric.lower else 100 * most,
        axes=("tile column", "tile row"), ask="what sits there, which faults hit it, and the worst draws",
    )  # fmt: skip


def _bare(loss: float, metric: Metric) -> str:
    return figure_of(loss, 1 if metric.lower else 100)


def _loss(loss: float, metric: Metric) -> str:
    return f"{loss:.4g} of {metric.words} added" if metric.lower else f"{100 * loss:.2f} points lost"


def _mean_words(core: Mapping[str, Any], metric: Metric) -> str:
    if core["loss"] is None:
        return "never hit"
    return f"{_loss(core['loss'], metric)} in the mean of {plural(core['trials'], 'trial')} that hit it"


def _detail(core: Mapping[str, Any], metric: Metric, plans: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return what the explorer shows of a core: headings, and lines below each."""
    detail = [("What sits there", [holds(core)]), ("What it cost", [_mean_words(core, metric)])]
    if core["trials"]:
        detail.append(("Faults that hit it", [f"{kinds}: {plural(count, 'trial')}" for kinds, count in core["faults"].items()]))
        worst = []
        for hit in core["worst"]:
            at = "" if hit["axis"] is None else f", {axis_words(plans, hit['axis'])}: {hit['x']}"
            others = ", ".join(map(str, hit["with"][:8])) + (" …" if len(hit["with"]) > 8 else "")
            together = f" (together with {'core' if len(hit['with']) == 1 else 'cores'} {others})" if others else ""
            worst.append(f"draw {hit['draw']}, {hit['faults']}{at}: {_loss(hit['loss'], metric)}{together}")
        detail.append(("Worst draws, before healing", worst))
    return detail


def _name(value: Any) -> str:
    return "" if value is None else str(value)


def _point_words(label: str, axis: str, point: Mapping[str, Any], metric: Metric) -> str:
    """Return what a reader is told at a point."""
    at = f"{axis}: {point['x']}\n" if axis else ""
    ends = "" if point["low"] is None else f" [{metric.figures(point['low'])}, {metric.figures(point['high'])}]"
    damaged = point["damaged"]
    before = "" if damaged is None or point["cycles"] is None else f"\nbefore healing {metric.shown(damaged['mean'])}"
    back = "" if point["recovered"] is None else f", recovered {100 * point['recovered']['mean']:.0f} %"
    return f"{label}\n{at}{metric.words} {metric.shown(point['mean'])}{ends}, {plural(point['draws'], 'draw')}{before}{back}"
