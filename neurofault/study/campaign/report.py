"""The report of a campaign: one HTML file that needs nothing else, and each figure as SVG and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurofault.metrics import Metric
from neurofault.numerals import plural
from neurofault.progress import Progress, silent
from neurofault.study.campaign.charts import WAYS, curves_chart, groups_of, map_chart
from neurofault.study.campaign.folder import save
from neurofault.study.campaign.pictures import draw_curves
from neurofault.study.campaign.summary import metric_in, points_of
from neurofault.study.campaign.tested import axis_words
from neurofault.study.csv_table import table
from neurofault.study.drawing import draw_map
from neurofault.study.page import check_tools, page_from
from neurofault.study.statistics import methods_in_words

_CURVES_A_FIGURE = 7
_IN_CSV = ("core", "column", "row", "layer", "loss", "trials")


def write_report(folder: Path, answer: Mapping[str, Any], progress: Progress = silent) -> Path:
    """Write ``report.html`` and ``figures/*.svg``, ``figures/*.csv`` into a folder. Equal answers give equal bytes.

    Args:
        folder: run folder.
        answer: from :func:`neurofault.study.campaign.summary.answer_of`.
        progress: called as ``progress("report", done, total, text)`` after each figure.

    Raises:
        UsageError: jinja2 or matplotlib is missing, or the folder cannot be written.
    """
    check_tools()
    figures = _figures(answer, progress)
    page = _page(answer, figures, beside=True)
    for figure in figures:
        save(folder / "figures" / f"{figure['name']}.svg", figure["svg"])
        save(folder / "figures" / f"{figure['name']}.csv", table(figure["rows"]))
    _clear(folder / "figures", {figure["name"] for figure in figures})
    return save(folder / "report.html", page)


def page_of(answer: Mapping[str, Any]) -> str:
    """Return the report as one HTML page, with each figure's SVG and CSV in it.

    Args:
        answer: from :func:`neurofault.study.campaign.summary.answer_of`.

    Raises:
        UsageError: jinja2 or matplotlib is missing.
    """
    check_tools()
    return _page(answer, _figures(answer), beside=False)


def _page(answer: Mapping[str, Any], figures: Sequence[Mapping[str, Any]], *, beside: bool) -> str:
    metric = metric_in(answer)
    share = answer["healthy"]
    image_error = None if share is None or metric.lower else 1.96 * (share * (1 - share) / answer["samples"]) ** 0.5
    methods = {point["method"] for curve in answer["curves"] for point in curve["points"] if point["low"] is not None}
    bare = [row for row in answer["paired"] if row["bare"]]
    ways = [row for row in answer["paired"] if not row["bare"]]
    heads = {axis_words(answer["plans"], curve["axis"]) for curve in answer["curves"]} - {""}
    filters: dict[str, Callable[..., str]] = {
        "value": lambda value: _shown(value, metric), "interval": lambda point: _interval(point, metric), "differing": metric.differing,
        "share": _share, "number": _number,
    }  # fmt: skip
    return page_from(
        Path(__file__).with_name("report.html"),
        figures,
        filters,
        beside=beside,
        a=answer,
        metric=metric,
        answer=sentence(answer),
        details=details(answer),
        methods=methods_in_words(methods),
        several=len(methods) > 1,
        image_error=image_error,
        pairs=(bare, ways),
        head="at" if len(heads) != 1 else heads.pop(),
        at=at_words(answer),
    )


def at_words(answer: Mapping[str, Any]) -> list[str]:
    """Return, for each curve, what stands before the values of its axis in a table: nothing where all curves run along one."""
    words = [axis_words(answer["plans"], curve["axis"]) for curve in answer["curves"]]
    return [f"{word}: " if word and len(set(words) - {""}) > 1 else "" for word in words]


def _clear(folder: Path, names: set[str]) -> None:
    """Take away figures that an earlier report made and this one does not."""
    for file in folder.glob("*.*"):
        if re.fullmatch(r"(accuracy[0-9]+|chip[0-9]*)\.(svg|csv)", file.name) and file.stem not in names:
            file.unlink(missing_ok=True)


def sentence(answer: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: what the strongest damage costs, and how much of it the best way of healing brings back."""
    worst = _worst(answer)
    if worst is None:
        return "No trial has a result yet."
    metric, (curve, point) = metric_in(answer), worst
    place = "" if point["x"] is None else f" ({axis_words(answer['plans'], curve['axis'])}: {point['x']})"
    whole, damaged, ways = answer["healthy"], point["damaged"], _healed(answer, worst)
    before = "" if whole is None else f", healthy {metric.shown(whole)}"
    best = ""
    if ways:
        label, healed = ways[0]
        best = f"; {label} ends at {metric.shown(healed['mean'])}{_bracket(healed, metric)}"
    return f"The strongest damage{place} leaves {metric.words} at {metric.shown(damaged['mean'])}{_bracket(damaged, metric)}{before}{best}."


def details(answer: Mapping[str, Any]) -> str:
    """Return in words what stands below the answer: the worst draw, what healing took, and what is still to run; empty: nothing."""
    worst = _worst(answer)
    if worst is None:
        return ""
    metric, point = metric_in(answer), worst[1]
    said = []
    if point["draws"] > 1:
        said.append(
            f"The worst of {plural(point['draws'], 'draw')} leaves {metric.words} {metric.shown(point['damaged'][metric.worst_end])}."
        )
    ways = _healed(answer, worst)
    if ways:
        ends = (f"{label} ends at {metric.shown(one['mean'])}{_bracket(one, metric)}{_cost(one)}" for label, one in ways)
        said.append(f"With repair: {'; '.join(ends)}.")
    rest = answer["trials"]["planned"] - answer["trials"]["done"]
    if rest:
        said.append(f"{plural(rest, 'trial is', 'trials are')} still to run.")
    return " ".join(said)


def _worst(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the curve and the point of the strongest damage; None: no trial has a result."""
    metric = metric_in(answer)
    known = [(curve, point) for curve in answer["curves"] for point in curve["points"] if point["damaged"] is not None]
    return min(known, key=lambda pair: metric.merit(pair[1]["damaged"]["mean"]), default=None)


def _healed(answer: Mapping[str, Any], worst: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the labels and points of up to three ways that heal the strongest damage, the best first."""
    metric = metric_in(answer)
    same = [
        (curve["label"], point)
        for curve in answer["curves"]
        for point in curve["points"]
        if point["x"] == worst[1]["x"] and point["damaged"] and point["cycles"] is not None
    ]
    healing = [pair for pair in same if pair[1]["recovered"] is not None or pair[1]["mean"] != pair[1]["damaged"]["mean"]]
    return sorted(healing, key=lambda pair: -metric.merit(pair[1]["mean"]))[:3]


def _cost(point: Mapping[str, Any]) -> str:
    """Return what a repair took, in brackets."""
    if point["energy_joule"] is None:
        return ""
    cycles, writes = plural(point["cycles"], "cycle", form=".3g"), plural(point["writes"], "write", form=",.0f")
    return f" ({cycles} of learning, {writes}, {point['energy_joule']:.2g} J)"


def _figures(answer: Mapping[str, Any], progress: Progress = silent) -> list[dict[str, Any]]:
    metric = metric_in(answer)
    what_is = metric.words.capitalize() if metric.lower else "Accuracy"
    figures: list[dict[str, Any]] = []
    groups = groups_of(answer)
    total = sum(-(-len(curves) // _CURVES_A_FIGURE) for curves in groups.values()) + len(answer["maps"])
    progress("report", 0, total, "figures")
    for axis, curves in groups.items():
        explored = f"accuracy{len(figures) + 1}-explorer"
        for start in range(0, len(curves), _CURVES_A_FIGURE):
            part = curves[start : start + _CURVES_A_FIGURE]
            what = axis or WAYS
            some = f"Curves {start + 1} to {start + len(part)} of {len(curves)}. " if len(part) < len(curves) else ""
            figures.append(
                {
                    "name": f"accuracy{len(figures) + 1}", "title": f"{what_is} over {what}" if axis else what_is,
                    "alt": f"{what_is} over {what}: " + ", ".join(curve["label"] for curve in part) + "; all numbers are in the table",
                    "caption": f"{some}Mean over draws; bands or bars: 95 % interval. Lines: healthy chip, chance.",
                    "svg": draw_curves(answer, part, curves), "rows": points_of(part, metric), "drawn_by": explored,
                    "chart": curves_chart(answer, curves, f"{what_is} over {what}") if start == 0 else None,
                }
            )  # fmt: skip
            progress("report", len(figures), total, "figures")
    if answer["maps"]:
        few, many = answer["tested"]["cores_hit"]
        together = (
            "each trial hit one core"
            if many == 1
            else f"each trial hit {few if few == many else f'{few} to {many}'} cores together, so this is not the core's own effect alone"
        )
        losses = [core["loss"] for chip in answer["maps"] for core in chip["cores"] if core["loss"] is not None]
        most = max([*losses, 1e-3 * (answer["chance"] if metric.lower else 1)])
        for number, chip in enumerate(answer["maps"], 1):
            name = "chip" if number == 1 else f"chip{number}"
            title = "Mean loss in the trials that hit a core" + (f": {chip['label']}" if chip["label"] else "")
            figures.append(
                {
                    "name": name, "title": title,
                    "alt": f"Map of the chip{' with ' + chip['label'] if chip['label'] else ''}: {_points(metric)} in trials that hit each core; the CSV has the numbers",
                    "caption": f"Number of the core, and the {_points(metric)} before any repair, a mean over the trials that hit it ({together}). "
                    "Without a number, striped or dashed: never hit, for the faults aim elsewhere or by chance; dotted: spare.",
                    "svg": draw_map(chip["cores"], most, 1 if metric.lower else 100, _points(metric)), "drawn_by": f"{name}-explorer",
                    "rows": [{key: value for key, value in core.items() if key in _IN_CSV} for core in chip["cores"]],
                    "chart": map_chart(chip["cores"], most, title, answer),
                }
            )  # fmt: skip
            progress("report", len(figures), total, "figures")
    return figures


def _points(metric: Metric) -> str:
    """Return in words in what a loss is counted."""
    return f"{metric.words} added" if metric.lower else "points of accuracy lost"


def _shown(value: float | None, metric: Metric) -> str:
    return "–" if value is None else metric.shown(value)


def _bracket(interval: Mapping[str, Any], metric: Metric) -> str:
    return "" if interval["low"] is None else f" [{metric.figures(interval['low'])}, {metric.figures(interval['high'])}]"


def _interval(point: Mapping[str, Any], metric: Metric) -> str:
    return "–" if point["low"] is None else f"{metric.figures(point['low'])} … {metric.figures(point['high'])}"


def _share(interval: Mapping[str, Any] | None) -> str:
    return "–" if interval is None else f"{100 * interval['mean']:.0f} %"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
