"""A figure on the chip in a few lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neurofault.study.paper.output import Figure


def lines(figure: Figure) -> Iterator[str]:
    """Yield what a figure says, in plain text."""
    answer = figure.answer
    match figure.name:
        case "chip_fig3":
            for row in answer["comparisons"]:
                yield (
                    f"{figure.name} {row['m']} dead {row['loss']}, {row['learner']}, {row['accounting']}: iterative − batch "
                    f"{_points(row)}; {row['better']}"
                )
            for row in answer["controls"]:
                who = "" if row["learner"] is None else f", {row['learner']}"
                yield f"{figure.name} control {row['control']}{who}, {row['m']} dead {row['loss']}: {100 * row['accuracy']:.2f} %"
        case _:
            return


def _points(row: dict[str, Any]) -> str:
    span = "" if row["low"] is None else f" [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
    return f"{100 * row['difference']:+.2f}{span} points, {row['pairs']} draws"
