"""The figures of networks of floats as pictures, drawn from their data alone: PNG and SVG, the same bytes for the same data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.errors import UsageError
from neurofault.numerals import plural
from neurofault.papers.rescue2019.output import Figure, save

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette, which colour-blind readers tell apart."""

LABELS = {"minus1pp": "−1 point", "minus5pp": "−5 points", "half": "half-way", "width": "10–90 % width"}


def check_drawing() -> None:
    """Say so before anything is computed if nothing can be drawn.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("pictures are drawn with matplotlib, which is not installed: pip install matplotlib")


Painter = Callable[[Any, Figure], None]
"""Draws a figure on a matplotlib canvas."""


def draw(figure: Figure, folder: Path, painters: Mapping[str, tuple[Painter, float]]) -> list[Path]:
    """Write ``<figure>.png`` and ``<figure>.svg`` and return their paths.

    Args:
        figure: what to draw.
        folder: where to.
        painters: figure's name → what draws it, and how high it is in inches.

    Raises:
        UsageError: the folder cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    paint, height = painters[figure.name]
    style: Any = {
        "svg.hashsalt": "neurofault",
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=(10, height), layout="constrained")
        FigureCanvasAgg(canvas)
        paint(canvas, figure)
        written = []
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            content = io.BytesIO()
            canvas.savefig(content, format=kind, dpi=110, metadata=metadata)
            written.append(save(folder / f"{figure.name}.{kind}", content.getvalue()))
    return written


def band(axes: Any, x: Any, spread: Sequence[Any], number: int, label: str) -> None:
    """Draw a line with its interval as a band: (means, lows, highs); undefined intervals have none."""
    mean, low, high = spread
    colour = COLOURS[number % len(COLOURS)]
    axes.plot(x, mean, color=colour, label=label, linestyle="-" if number < len(COLOURS) else "--")
    known = [k for k in range(len(low)) if low[k] is not None]
    if known:
        axes.fill_between([x[k] for k in known], [low[k] for k in known], [high[k] for k in known], color=colour, alpha=0.2, lw=0)


def _fig1(canvas: Any, figure: Figure) -> None:
    curves, marks = figure.answer["curves"], figure.answer["thresholds"]
    plain = [name for name in curves if " " not in name]
    groups = (
        (plain, "all networks, nodes deleted at random"),
        ([name for name in curves if " " in name], "by layer, by importance, trained with dropout"),
    )
    axes = canvas.subplots(2, 2)
    for place, (names, title) in zip(axes[0], groups, strict=True):
        for number, name in enumerate(names):
            one = curves[name]
            x, *spread = (100 * np.array(one[key], float) for key in ("fraction", "mean", "low", "high"))
            band(place, x, spread, number, name)
        place.set(
            xlabel="deleted nodes (%)",
            ylabel="test accuracy (%)",
            title=f"{title}\n(band: 95 % interval of the mean)",
            ylim=(0, 100),
        )
        place.legend(fontsize=7)
    widths = [name for name in plain if name.count("-") == 2]
    for number, mark in enumerate(("minus1pp", "minus5pp", "half", "width")):
        spans = [marks[name][f"{mark}_interval"] or [None, None] for name in widths]
        marked = [in_percent(each) for each in ([marks[name][mark] for name in widths], *zip(*spans, strict=True))]
        band(axes[1, 0], [int(name.split("-")[1]) for name in widths], marked, number, LABELS[mark])
    axes[1, 0].set(
        xscale="log",
        xlabel="hidden nodes (log scale)",
        ylabel="share of deleted nodes (%)",
        title="where the decline passes its marks",
    )
    axes[1, 0].set_xticks([int(name.split("-")[1]) for name in widths], [name.split("-")[1] for name in widths])
    axes[1, 0].minorticks_off()
    axes[1, 0].legend(fontsize=7)
    names = list(figure.answer["change_point"])
    start = np.zeros(len(names))
    for number, model in enumerate(("line", "hinge", "cubic", "logistic")):
        share = np.array([100 * figure.answer["change_point"][name]["wins"][model] for name in names])
        axes[1, 1].barh(names, share, left=start, color=COLOURS[number], label=model)
        start += share
    axes[1, 1].axvline(80, color="black", lw=0.5, ls=":")
    axes[1, 1].set(xlabel="orders in which a model has the lowest BIC (%)", title="a change point needs the hinge in 80 %")
    axes[1, 1].invert_yaxis()
    axes[1, 1].legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.15))


def _cnn(canvas: Any, figure: Figure) -> None:
    curves = figure.answer["curves"]
    axes = canvas.subplots()
    for number, (name, one) in enumerate(curves.items()):
        x, *spread = (100 * np.array(one[key], float) for key in ("fraction", "mean", "low", "high"))
        band(axes, x, spread, number, f"{name} ({one['dead'][-1]})")
    title = f"{figure.answer['network']}, {figure.answer['orders']} orders (band: 95 % interval of the mean)"
    axes.set(xlabel="deleted units (%)", ylabel="test accuracy (%)", title=title, ylim=(0, 100))
    axes.legend(fontsize=7)


def in_percent(shares: Sequence[float | None]) -> list[float | None]:
    """Return shares in percent; None stays."""
    return [None if share is None else 100 * share for share in shares]


def _number(value: float | str | None, cap: float) -> float:
    """Return cycles as a number; what never happened lies at the cap."""
    return cap if value is None or isinstance(value, str) else float(value)


def _fig2(canvas: Any, figure: Figure) -> None:
    answer, cap = figure.answer, figure.answer["cap"]
    tolerances = sorted({row["tolerance"] for row in answer["recovery"]}, reverse=True)
    axes = canvas.subplots(1, len(tolerances) + 1)
    hurt = [name for name in answer["strategies"] if any(row["strategy"] == name and row["m"] for row in answer["recovery"])]
    for place, tolerance in zip(axes, tolerances, strict=False):
        for number, name in enumerate(hurt):
            rows = [row for row in answer["recovery"] if row["strategy"] == name and row["tolerance"] == tolerance]
            spread = [[_number(row[key], cap) for row in rows] for key in ("cycles", "low", "high")]
            band(place, [row["m"] for row in rows], spread, number, name)
        place.axhline(cap, color="black", lw=0.5, ls=":")
        place.set(xlabel="dead nodes", ylabel="cycles until recovered", title=f"within {100 * tolerance:g} points")
        place.set_yscale("symlog", linthresh=0.01)
        place.set_ylim(0, cap * 1.3)
    for number, name in enumerate(hurt):
        rows = [row for row in answer["recovery"] if row["strategy"] == name and row["tolerance"] == tolerances[0]]
        axes[-1].plot(
            [row["m"] for row in rows], [100 * row["best"] for row in rows], color=COLOURS[number], marker="o", ms=3, label=name
        )
    axes[-1].axhline(100 * answer["healthy"], color="black", lw=0.5, ls=":")
    axes[-1].set(xlabel="dead nodes", ylabel="best test accuracy (%)", title="best on the way")
    axes[-1].legend(fontsize=7)
    canvas.suptitle(f"{answer['network']}: median over pairs, band: quartiles; the dotted line is the cap of {cap} cycles")


def _fig3(canvas: Any, figure: Figure) -> None:
    paired, answer = figure.answer["paired"], figure.answer
    x = [row["m"] for row in paired]
    axes = canvas.subplots(1, 3)
    for number, (key, low, high, label) in enumerate(
        (
            ("difference_total", "low", "high", "equal total budget"),
            ("difference_last", "low_last", "high_last", "equal last-step budget"),
        )
    ):
        band(axes[0], x, [in_percent([row[name] for row in paired]) for name in (key, low, high)], number, label)
    axes[0].axhline(0, color="black", lw=0.5)
    axes[0].set(
        xlabel="dead nodes", ylabel="iterative − batch (points)", title=f"paired difference, {plural(paired[0]['pairs'], 'pair')}"
    )
    for number, name in enumerate(("iterative", "batch_total", "batch_last_step", "fresh_subnetwork", "sham")):
        axes[1].plot(x, [100 * row[name] for row in paired], color=COLOURS[number], marker="o", ms=3, label=name.replace("_", " "))
    axes[1].set(xlabel="dead nodes", ylabel="test accuracy (%)", title="after repair")
    for number, name in enumerate(("iterative", "batch", "wait_then_batch", "no_repair")):
        axes[2].plot(
            x, [100 * row[name] for row in answer["served"]], color=COLOURS[number], marker="o", ms=3, label=name.replace("_", " ")
        )
    axes[2].set(xlabel="dead nodes", ylabel="mean test accuracy (%)", title="served in twice the damage's time")
    for place in axes:
        place.legend(fontsize=7)
    canvas.suptitle(
        f"{answer['network']}, {plural(answer['nodes_a_step'], 'node')} a step, {plural(answer['cycles_a_step'], 'cycle', form='g')} after each"
    )


def _fig4(canvas: Any, figure: Figure) -> None:
    answer, rows = figure.answer, figure.tables["embedding"]
    grid = canvas.add_gridspec(2, 3)
    survival = canvas.add_subplot(grid[0, 0])
    for number, (epsilon, one) in enumerate(answer["first_exit"].items()):
        survival.step(
            [0, *one["m"]], [1, *one["survival"]], where="post", color=COLOURS[number], label=f"ε = {100 * float(epsilon):g} points"
        )
    survival.set(xlabel="dead nodes", ylabel="share of ways still inside U", title="first exit from U", ylim=(0, 1.05))
    survival.legend(fontsize=7)
    heights = canvas.add_subplot(grid[0, 1])
    kinds = list(answer["barriers"])
    for number, kind in enumerate(kinds):
        one = answer["barriers"][kind]
        values = [100 * row["barrier"] for row in figure.tables["barriers"] if row["pair_type"] == kind]
        heights.scatter(values, np.full(len(values), number) + np.linspace(-0.25, 0.25, len(values)), s=5, color=COLOURS[number])
        heights.plot([100 * one["mean"]] * 2, [number - 0.35, number + 0.35], color="black")
    heights.set_yticks(range(len(kinds)), kinds)
    heights.invert_yaxis()
    heights.set(xlabel="barrier (points of accuracy)", title="lines between networks")
    returned = canvas.add_subplot(grid[0, 2])
    for number, one in enumerate(answer["return_rate"].values()):
        if one["rate"] is not None:
            returned.bar(number, 100 * one["rate"], color=COLOURS[number])
            returned.plot([number] * 2, [100 * one["low"], 100 * one["high"]], color="black")
            returned.text(number, 2, f"{one['returned']}/{one['left']}", ha="center", color="white")
    returned.set_xticks(range(len(answer["return_rate"])), [f"{100 * float(epsilon):g}" for epsilon in answer["return_rate"]])
    returned.set(xlabel="ε (points)", ylabel="returned (%)", title="returned to U, of those that left", ylim=(0, 105))
    for place, (kind, x, y, title) in enumerate(
        (
            ("repair", "tsne_x", "tsne_y", "t-SNE of repaired networks,\nheight: log₁₀ loss"),
            ("walk", "tsne_x", "tsne_y", "t-SNE of random walks,\nheight: log₁₀ loss"),
        )
    ):
        axes: Any = canvas.add_subplot(grid[1, place], projection="3d")
        chosen = [row for row in rows if row["kind"] == kind]
        height = np.log10([row["loss"] for row in chosen])
        axes.scatter([row[x] for row in chosen], [row[y] for row in chosen], height, c=height, cmap="cividis", s=6)
        axes.set(title=title)
        axes.set_xticklabels([])
        axes.set_yticklabels([])
    plane = canvas.add_subplot(grid[1, 2])
    for number, kind in enumerate(("repair", "walk")):
        chosen = [row for row in rows if row["kind"] == kind and (row["base"], row["order"]) == (0, 0)]
        label = f"{kind}, R² of the arc {answer['embedding'][kind]['arc']['mean']:.3f}"
        plane.plot(
            [row["own_pc1"] for row in chosen], [row["own_pc2"] for row in chosen], "o-", ms=3, color=COLOURS[number], label=label
        )
    plane.set(xlabel="first principal component", ylabel="second", title="PCA of one way and of its walk")
    plane.legend(fontsize=7)


def _curves(canvas: Any, figure: Figure) -> None:
    rows, axes = figure.answer["rows"], canvas.subplots(1, 2)
    for number, row in enumerate(rows):
        own, way = (
            [each for each in figure.tables[name] if (each["pair_type"], each["m"]) == (row["pair_type"], row["m"])]
            for name in ("pairs", "points")
        )
        for shift, name, mark, style in ((-0.17, "line", "x", "--"), (0.17, "curve", "o", "-")):
            values = [100 * each[f"barrier_{name}"] for each in own]
            axes[0].scatter(values, np.full(len(values), number + shift), s=9, marker=mark, color=COLOURS[number])
            axes[0].plot([100 * row[name]["mean"]] * 2, [number + shift - 0.14, number + shift + 0.14], color="black")
            steps = sorted({each["t"] for each in way})
            means = [100 * np.mean([each["accuracy"] for each in way if each["path"] == name and each["t"] == t]) for t in steps]
            axes[1].plot(
                steps,
                means,
                style,
                color=COLOURS[number],
                label=f"{row['pair_type']}, {row['m']} dead" if name == "curve" else None,
            )
    axes[0].set_yticks(range(len(rows)), [f"{row['pair_type']},\n{row['m']} dead" for row in rows])
    axes[0].invert_yaxis()
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(left=-0.1)
    axes[0].set(xlabel="barrier (points of accuracy)", title="straight line (×) and curve (•), mean as a bar")
    axes[1].set(
        xlabel="t, from one network to the other", ylabel="test accuracy (%)", title="on the way, mean over pairs (line dashed)"
    )
    axes[1].legend(fontsize=6, loc="lower left")
    canvas.suptitle(
        f"{figure.answer['network']}: paths between networks, curves fitted in {plural(figure.answer['epochs'], 'epoch')}"
    )


PAINTERS: Mapping[str, tuple[Painter, float]] = {
    "fig1": (_fig1, 7),
    "fig2": (_fig2, 4),
    "fig3": (_fig3, 4),
    "fig4": (_fig4, 7),
    "fig1_cnn": (_cnn, 4),
    "curves": (_curves, 4.5),
}
"""Figure → what draws it, and how high it is in inches."""
