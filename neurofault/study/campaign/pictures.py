"""The figures of a campaign's report: curves with bands, and the chip as a map of what its cores are worth."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from neurofault.metrics import Metric
from neurofault.study.campaign.charts import is_number, placed, wants_log
from neurofault.study.campaign.summary import metric_in
from neurofault.study.campaign.tested import axis_words

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette, which the colour-blind can tell apart (yellow left out: too pale on white)."""
_MARKERS = "osD^vP*X"
_STYLES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "svg.hashsalt": "neurofault",
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_curves(answer: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], within: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG: accuracy in percent, or a mean squared error, over the axis that the curves run along; bands are 95 % intervals.

    Args:
        answer: of a campaign.
        curves: that are drawn.
        within: all curves along that axis: figures of parts of them share the scale of values.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure((7.2, 4.4 + 0.2 * len(curves)), layout="constrained")
        axes = figure.add_subplot()
        metric = metric_in(answer)
        times = 1 if metric.lower else 100
        values = [point["x"] for curve in curves for point in curve["points"]]
        numeric = all(map(is_number, values))
        names = list(dict.fromkeys(map(str, values)))
        for index, curve in enumerate(curves):
            points = [point for point in curve["points"] if point["mean"] is not None]
            look: dict[str, Any] = {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}
            middle = [times * point["mean"] for point in points]
            low = [times * (point["mean"] if point["low"] is None else point["low"]) for point in points]
            high = [times * (point["mean"] if point["high"] is None else point["high"]) for point in points]
            if numeric:
                x = [float(point["x"]) for point in points]
                axes.plot(x, middle, label=_plain(curve["label"]), linestyle=_STYLES[index % len(_STYLES)], **look)
                axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
            else:
                shift = (index - (len(curves) - 1) / 2) * 0.6 / len(curves)
                x = [names.index(str(point["x"])) + shift for point in points]
                ends = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
                axes.errorbar(x, middle, ends, label=_plain(curve["label"]), linestyle="none", capsize=3, **look)
        if numeric:
            known = sorted({float(value) for value in values})
            if wants_log(known):
                axes.set_xscale("log")
            elif all(value.is_integer() for value in known) and len(known) <= 12:
                axes.set_xticks(known)
        else:
            axes.set_xticks(range(len(names)), ["" if name == "None" else _plain(name) for name in names])
        for value, text, style in ((answer["healthy"], "healthy", (0, (6, 2))), (answer["chance"], "chance", (0, (1, 2)))):
            if value is not None:
                axes.axhline(times * value, color="#555555", linewidth=1, linestyle=style)
                axes.annotate(
                    text, (1, times * value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#444444"
                )
        axes.set_xlabel(_plain(axis_words(answer["plans"], curves[0]["axis"])))
        axes.set_ylabel(metric.words + ("" if metric.lower else " (%)"))
        ends_of = ("mean", "low", "high")
        shown = [times * point[end] for curve in within for point in curve["points"] for end in ends_of if point[end] is not None]
        shown += [times * value for value in (answer["healthy"], answer["chance"]) if value is not None]
        room = 0.05 * (max(shown) - min(shown)) or 1
        axes.set_ylim(min(shown) - room, max(shown) + room)
        figure.legend(loc="outside lower left", frameon=False, fontsize=9)  # below the axes, where it covers no point
        return _svg(figure)


def draw_map(cores: Sequence[Mapping[str, Any]], most: float, metric: Metric) -> str:
    """Return an SVG: the tiles of a chip that are in use, in each its cores, shaded by the mean loss in trials that hit them.

    Args:
        cores: of one of ``maps`` of an answer.
        most: loss of the darkest shade, above 0.
        metric: what was measured.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    times = 1 if metric.lower else 100
    shade = Normalize(0, most * times)
    colours = colormaps["cividis_r"]
    columns, rows = ([core[name] for core in cores] for name in ("column", "row"))
    wide, high = 1 + max(columns) - min(columns), 1 + max(rows) - min(rows)
    with rc_context(_STYLE):
        figure = Figure((max(4.5, 0.9 * wide + 1.5), max(2.5, 0.9 * high + 1)), layout="constrained")
        axes = figure.add_subplot()
        for core, x, y, side in placed(cores):
            loss = core["loss"]
            face = "#ffffff" if loss is None else colours(shade(times * loss))
            hatch = ("..." if core["layer"] is None else "////") if loss is None else None
            axes.add_patch(Rectangle((x, y), side, side, facecolor=face, edgecolor="#666666", hatch=hatch, linewidth=0.6))
            dark = loss is not None and shade(times * loss) > 0.5
            figures = "" if loss is None else f"\n{f'{loss:.2g}' if metric.lower else f'{100 * loss:.1f}'}"
            axes.text(
                x + side / 2, y + side / 2, f"{core['core']}{figures}", ha="center", va="center",
                fontsize=9 if side > 0.6 else 6.5, color="white" if dark else "black",
            )  # fmt: skip
        axes.set_xlim(min(columns), max(columns) + 1)
        axes.set_ylim(max(rows) + 1, min(rows))
        axes.set_aspect("equal")
        axes.set_xlabel("tile column")
        axes.set_ylabel("tile row")
        axes.set_xticks([column + 0.5 for column in sorted(set(columns))], list(map(str, sorted(set(columns)))))
        axes.set_yticks([row + 0.5 for row in sorted(set(rows))], list(map(str, sorted(set(rows)))))
        label = f"{metric.words} added" if metric.lower else "points of accuracy lost"
        figure.colorbar(ScalarMappable(shade, colours), ax=axes, label=label, shrink=0.8)
        return _svg(figure)


def _plain(text: str) -> str:
    """Return text in which no dollar begins a formula."""
    return text.replace("$", r"\$")


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("<svg ", '<svg role="img" ', 1)
