"""Static figures, as SVG that equal numbers give equal bytes of: their style, and a chip as a map."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from neurofault.study.chip_map import figure_of, placed

STYLE: Any = {
    "svg.hashsalt": "neurofault",
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_map(cores: Sequence[Mapping[str, Any]], most: float, times: float, label: str) -> str:
    """Return an SVG: the tiles of a chip that are in use, in each its cores, shaded by what they cost.

    Args:
        cores: each with ``core``, ``column``, ``row``, ``layer`` (None: a spare) and ``loss`` (None: not known).
        most: loss of the darkest shade, above 0.
        times: 100 where losses are shares, shown as points with one decimal; 1: with two digits.
        label: what a loss is.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    shade = Normalize(0, most * times)
    colours = colormaps["cividis_r"]
    columns, rows = ([core[name] for core in cores] for name in ("column", "row"))
    wide, high = 1 + max(columns) - min(columns), 1 + max(rows) - min(rows)
    with rc_context(STYLE):
        figure = Figure((max(4.5, 0.9 * wide + 1.5), max(2.5, 0.9 * high + 1)), layout="constrained")
        axes = figure.add_subplot()
        for core, x, y, side in placed(cores):
            loss = core["loss"]
            face = "#ffffff" if loss is None else colours(shade(times * loss))
            hatch = ("..." if core["layer"] is None else "////") if loss is None else None
            axes.add_patch(Rectangle((x, y), side, side, facecolor=face, edgecolor="#666666", hatch=hatch, linewidth=0.6))
            dark = loss is not None and shade(times * loss) > 0.5
            figures = "" if loss is None else f"\n{figure_of(loss, times)}"
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
        figure.colorbar(ScalarMappable(shade, colours), ax=axes, label=label, shrink=0.8)
        return as_svg(figure)


def plain(text: str) -> str:
    """Return text in which no dollar begins a formula."""
    return text.replace("$", r"\$")


def as_svg(figure: Any) -> str:
    """Return a figure of matplotlib as SVG without a date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("<svg ", '<svg role="img" ', 1)
