"""A picture of accuracy over the damage time line: what was served while a chip was broken and healed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UnsupportedError, UsageError
from neurofault.numerals import plural
from neurofault.plotting import COLOURS
from neurofault.study.rescue_study import RescueStudy, Row, name_of
from neurofault.study.statistics import t_interval

_DASHES = ("-", "--", "-.", ":")


def draw_time_line(study: RescueStudy, path: Path) -> None:
    """Draw the mean accuracy or error over draws, with 95 % bands, against cycles since the first strike.

    Args:
        study: what to draw.
        path: file; its ending says the format (png, svg, pdf).

    Raises:
        UnsupportedError: matplotlib is not installed.
        UsageError: an ending that matplotlib does not know, or a file that cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UnsupportedError("a picture needs matplotlib: pip install neurofault[atlas]") from None
    figure = Figure(figsize=(11, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    metric = study.metric
    times = 1 if metric.lower else 100
    damaged = [row for row in study.rows if any(draw.rescued.steps for draw in row.draws)]
    curves = [_curve(row, study.cycle) for row in damaged]
    end = max((float(x[-1]) for x, *_ in curves), default=0.0)
    for at, (row, curve) in enumerate(zip(damaged, curves, strict=True)):
        x, mean, low, high = (np.append(each, end if each is curve[0] else each[-1]) for each in curve)  # what is reached is kept
        colour, dash = COLOURS[at % len(COLOURS)], _DASHES[at // len(COLOURS) % len(_DASHES)]
        axes.plot(x, times * mean, dash, color=colour, label=name_of(row))
        axes.fill_between(x, times * low, times * high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(times * study.healthy, color="#777777", linewidth=1, linestyle=":")
    axes.annotate("healthy", (0, times * study.healthy), color="#555555", fontsize=8, va="bottom")
    axes.set_xlabel(f"cycles since the first strike (a cycle: {plural(study.cycle, 'sample')})")
    axes.set_ylabel(f"{metric.words} on test samples" if metric.lower else "accuracy on test images (%)")
    axes.set_title(
        f"{metric.words.capitalize() if metric.lower else 'Accuracy'} while the chip is broken and healed: mean and 95 % interval over {plural(len(study.rows[0].draws), 'draw')}"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    try:
        canvas.figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (ValueError, OSError) as error:
        raise UsageError(f"--picture {path}: {error}") from None


def _curve(row: Row, cycle: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return cycles, mean, low and high of the points that every draw has, from the first strike on."""
    lines = []
    for draw in row.draws:
        points = list(draw.rescued.points)
        start = next(at for at, point in enumerate(points) if point.what == "strike")
        lines.append([(point.samples, point.accuracy) for point in points[start:]])
    length = min(len(line) for line in lines)
    x = np.array([lines[0][at][0] for at in range(length)], float) / cycle
    found = [t_interval([line[at][1] or 0.0 for line in lines], within=row.metric.within) for at in range(length)]
    mean = np.array([each.mean for each in found])
    low = np.array([each.mean if each.low is None else each.low for each in found])
    high = np.array([each.mean if each.high is None else each.high for each in found])
    return x, mean, low, high
