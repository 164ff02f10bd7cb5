"""The figure of availability as a picture: accuracy over the mission, and what it costs in energy and spare cores."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.numerals import plural
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.pictures import COLOURS

ALIKE = 0.25
"""Lines that are nowhere further apart, in points, are drawn as one that is named by all of them."""

MARKERS = "osD^vP"
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))


def alike(curves: dict[str, list[float]], within: float = ALIKE) -> list[list[str]]:
    """Return the names of curves in groups whose members nowhere differ by more from the first of them.

    >>> alike({"a": [90.0, 80.0], "b": [90.0, 80.02], "c": [90.0, 85.0]})
    [['a', 'b'], ['c']]
    """
    groups: list[list[str]] = []
    for name, values in curves.items():
        near = (group for group in groups if np.max(np.abs(np.subtract(curves[group[0]], values))) <= within)
        group = next(near, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return groups


def availability(canvas: Any, figure: Figure) -> None:
    """Draw it: a row for each mission."""
    answer = figure.answer
    names = list(answer["arms"])
    for mission, (left, right) in zip(answer["missions"], canvas.subplots(len(answer["missions"]), 2, squeeze=False), strict=True):
        about, curves = answer["missions"][mission], answer["curves"][mission]
        rows = [row for row in answer["rows"] if row["mission"] == mission]
        shown: dict[str, str] = {}
        for way in curves:  # of several numbers of spare cores the middle one
            own = [other for other in curves if other.split(",")[0] == way.split(",")[0]]
            shown[way.split(",")[0]] = own[len(own) // 2]
        lines = {way: [100 * value for value in curves[way]["served"][1:]] for way in shown.values()}
        for group in alike(lines):
            number = names.index(group[0].split(",")[0])
            years = np.array(curves[group[0]]["year"])
            label = " ≈ ".join(dict.fromkeys(group))
            left.plot(
                (years[:-1] + years[1:]) / 2,
                lines[group[0]],
                color=COLOURS[number],
                ls=DASHES[number],
                marker=MARKERS[number],
                ms=3,
                label=label,
            )
        left.axhline(100 * rows[0]["healthy"], color="black", lw=0.5, ls=":")
        left.set(
            xlabel="year of the mission", ylabel="accuracy served (%)",
            title=f"{mission}: {100 * about['wrong_at_end']:.2g} % of the bits upset in all, {about['dead']:.1f} cores die",
        )  # fmt: skip
        left.legend(fontsize=6)
        for number, name in enumerate(names):
            own_rows = [row for row in rows if row["arm"] == name]
            x, y = ([100 * row[key] for row in own_rows] for key in ("energy", "served"))
            spread = [[[0.0 if row[f"{key}_low"] is None else 100 * abs(row[key] - row[f"{key}_{end}"]) for row in own_rows] for end in ("low", "high")] for key in ("energy", "served")]  # fmt: skip
            right.errorbar(
                x,
                y,
                xerr=spread[0],
                yerr=spread[1],
                fmt=MARKERS[number],
                ms=7 if name == "nothing" else 4,
                mfc="none" if name == "nothing" else None,
                lw=0.6,
                capsize=2,
                color=COLOURS[number],
                label=name,
            )
            if len(own_rows) > 1 or own_rows[0]["spares"]:
                for row, at, height in zip(own_rows, x, y, strict=True):
                    right.annotate(
                        str(row["spares"]),
                        (at, height),
                        xytext=(4, 3),
                        textcoords="offset points",
                        fontsize=6,
                        color=COLOURS[number],
                    )
        right.axhline(100 * rows[0]["healthy"], color="black", lw=0.5, ls=":")
        right.set(
            xlabel="energy of the mission (% of nothing's)",
            ylabel="accuracy served, mean (%)",
            title="numbers: spare cores; bars: 95 % intervals over trainings",
        )
        right.legend(fontsize=6)
    first = answer["rows"][0]
    canvas.suptitle(
        f"{answer['profile']}: what is served over a mission, {plural(first['trainings'], 'training')} of {plural(first['draws'], 'draw')} each; dotted: healthy"
    )
