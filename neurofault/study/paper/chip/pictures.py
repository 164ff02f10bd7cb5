"""The figures on the chip as pictures, drawn from their data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurofault.study.paper.output import Figure
from neurofault.study.paper.pictures import COLOURS, Painter


def _whiskers(axes: Any, places: Sequence[float], rows: Sequence[dict[str, Any]], number: int, label: str) -> None:
    """Draw differences in points with their intervals, each at its place on the y axis."""
    means = np.array([100 * row["difference"] for row in rows])
    ends = np.array([[100 * (row["difference"] - row["low"]), 100 * (row["high"] - row["difference"])] for row in rows])
    axes.errorbar(means, places, xerr=ends.T, fmt="o", ms=3, color=COLOURS[number % len(COLOURS)], label=label, capsize=2)


def _fig3(canvas: Any, figure: Figure) -> None:
    answer = figure.answer
    losses = list(answer["steps"])
    accountings = list(dict.fromkeys(row["accounting"] for row in answer["comparisons"]))
    learners = list(dict.fromkeys(row["learner"] for row in answer["comparisons"]))
    grid = canvas.subplots(len(losses), 3, squeeze=False)
    for loss, places in zip(losses, grid, strict=True):
        numbers = list(dict.fromkeys(row["m"] for row in answer["comparisons"] if row["loss"] == loss))
        for m, axes in zip(numbers, places, strict=False):
            for number, learner in enumerate(learners):
                rows = [r for r in answer["comparisons"] if (r["loss"], r["m"], r["learner"]) == (loss, m, learner)]
                _whiskers(axes, [at + 0.2 * (number - 1) for at in range(len(rows))], rows, number, learner)
            axes.axvline(0, color="black", lw=0.5)
            axes.set_yticks(range(len(accountings)), accountings if axes is places[0] else [""] * len(accountings))
            axes.invert_yaxis()
            axes.set(xlabel="iterative − batch (points)", title=f"{m} dead {loss}")
    grid[0][0].legend(fontsize=7)
    canvas.suptitle(f"{answer['network']} on {answer['profile']}, {answer['draws']} draws, 95 % intervals")


PAINTERS: Mapping[str, tuple[Painter, float]] = {"chip_fig3": (_fig3, 6)}
"""Figure → what draws it, and how high it is in inches."""
