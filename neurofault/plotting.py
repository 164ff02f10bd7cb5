"""Axes of matplotlib for what is drawn from Python; matplotlib is imported when a picture is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurofault.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette, which the colour-blind can tell apart (yellow left out: too pale on white)."""


def axes_or_new(axes: Axes | None, height: float = 4.2) -> Axes:
    """Return axes as they are, or those of a new figure, which belongs to nobody else (``axes.figure``).

    Args:
        axes: to draw into; None: new ones.
        height: of a new figure, in inches, of 7 in width.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("pictures are drawn with matplotlib, which is not installed: pip install matplotlib") from None
    return Figure(figsize=(7, height), layout="constrained").add_subplot() if axes is None else axes


def band(
    axes: Axes,
    x: Sequence[float],
    low: Sequence[float],
    middle: Sequence[float],
    high: Sequence[float],
    label: str,
    number: int = 0,
) -> None:
    """Draw a curve with its band.

    Args:
        axes: to draw into.
        x: of each point.
        low: end of its interval; ``middle`` where there is none.
        middle: of each point.
        high: the other end.
        label: of the curve; a dollar begins no formula.
        number: of the curve, which gives its colour.
    """
    colour = COLOURS[number % len(COLOURS)]
    axes.plot(x, middle, marker="o", color=colour, label=label.replace("$", r"\$"))
    axes.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=colour, alpha=0.18, linewidth=0)
