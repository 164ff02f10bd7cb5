"""The figures of a campaign's report: curves with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurofault.errors import UsageError, nearest
from neurofault.plotting import COLOURS, axes_or_new
from neurofault.study.campaign.charts import WAYS, groups_of, is_number, wants_log
from neurofault.study.campaign.summary import metric_in
from neurofault.study.campaign.tested import axis_words
from neurofault.study.drawing import STYLE, as_svg, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X"
_STYLES = ("-", "--", "-.", ":")


def draw_curves(answer: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], within: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG: accuracy in percent, or a mean squared error, over the axis that the curves run along; bands are 95 % intervals.

    Args:
        answer: of a campaign.
        curves: that are drawn.
        within: all curves along that axis: figures of parts of them share the scale of values.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure((7.2, 4.4 + 0.2 * len(curves)), layout="constrained")
        curves_on(figure.add_subplot(), answer, curves, within)
        figure.legend(loc="outside lower left", frameon=False, fontsize=9)  # below the axes, where it covers no point
        return as_svg(figure)


def plot_curves(answer: Mapping[str, Any], over: str | None, axes: Axes | None) -> Axes:
    """Draw the curves of a campaign that run along one axis; see :meth:`neurofault.study.campaign.api.CampaignResults.plot`."""
    groups = {axis or WAYS: curves for axis, curves in groups_of(answer).items()}
    if not groups:
        raise UsageError("nothing to draw: no trial has a result yet")
    named = " or ".join(f"over={name!r}" for name in groups)
    if over is None and len(groups) > 1:
        raise UsageError(f"the curves of this campaign run along {len(groups)} axes, and one picture shows one: give {named}")
    if over is not None and over not in groups:
        raise UsageError(f"no curve of this campaign runs over {over!r}{nearest(over, groups)}; there is: {named}")
    curves = next(iter(groups.values())) if over is None else groups[over]
    axes = axes_or_new(axes, 4.2 + 0.2 * len(curves))
    curves_on(axes, answer, curves, curves)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), frameon=False, fontsize=9)  # below the axes, where it covers no point
    return axes


def curves_on(
    axes: Axes, answer: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], within: Sequence[Mapping[str, Any]]
) -> None:
    """Draw curves into axes, as :func:`draw_curves` takes them; without a legend."""
    metric = metric_in(answer)
    times = 1 if metric.lower else 100
    values = [point["x"] for curve in curves for point in curve["points"]]
    numeric = all(map(is_number, values))
    names = list(dict.fromkeys(map(str, values)))
    for index, curve in enumerate(curves):
        points = [point for point in curve["points"] if point["mean"] is not None]
        look: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}
        middle = [times * point["mean"] for point in points]
        low = [times * (point["mean"] if point["low"] is None else point["low"]) for point in points]
        high = [times * (point["mean"] if point["high"] is None else point["high"]) for point in points]
        if numeric:
            x = [float(point["x"]) for point in points]
            axes.plot(x, middle, label=plain(curve["label"]), linestyle=_STYLES[index % len(_STYLES)], **look)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
        else:
            shift = (index - (len(curves) - 1) / 2) * 0.6 / len(curves)
            x = [names.index(str(point["x"])) + shift for point in points]
            ends = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
            axes.errorbar(x, middle, ends, label=plain(curve["label"]), linestyle="none", capsize=3, **look)
    if numeric:
        known = sorted({float(value) for value in values})
        if wants_log(known):
            axes.set_xscale("log")
        elif all(value.is_integer() for value in known) and len(known) <= 12:
            axes.set_xticks(known)
    else:
        axes.set_xticks(range(len(names)), ["" if name == "None" else plain(name) for name in names])
    for value, text, style in ((answer["healthy"], "healthy", (0, (6, 2))), (answer["chance"], "chance", (0, (1, 2)))):
        if value is not None:
            axes.axhline(times * value, color="#555555", linewidth=1, linestyle=style)
            axes.annotate(text, (1, times * value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#444444")
    axes.set_xlabel(plain(axis_words(answer["plans"], curves[0]["axis"])))
    axes.set_ylabel(metric.words + ("" if metric.lower else " (%)"))
    ends_of = ("mean", "low", "high")
    shown = [times * point[end] for curve in within for point in curve["points"] for end in ends_of if point[end] is not None]
    shown += [times * value for value in (answer["healthy"], answer["chance"]) if value is not None]
    flat = max(shown) - min(shown) <= 1e-9 * max(map(abs, shown))
    room = ((0.05 * abs(max(shown)) or 1) if metric.lower else 1) if flat else 0.05 * (max(shown) - min(shown))
    axes.set_ylim(min(shown) - room, max(shown) + room)
    axes.ticklabel_format(axis="y", useOffset=False)
