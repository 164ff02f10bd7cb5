"""The figures on the chip as pictures, drawn from their data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurofault.numerals import plural
from neurofault.papers.rescue2019.availability_picture import availability
from neurofault.papers.rescue2019.networks import BROKEN
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.pictures import COLOURS, Painter, band


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
    canvas.suptitle(f"{answer['network']} on {answer['profile']}, {plural(answer['draws'], 'draw')}, 95 % intervals")


def _fig1(canvas: Any, figure: Figure) -> None:
    curves, marks = figure.answer["curves"], figure.answer["change_point"]
    axes = canvas.subplots(1, 3)
    for place, loss in zip(axes, ("cores", "neurons"), strict=False):
        for number, name in enumerate(name for name in curves if name.startswith(loss)):
            one = curves[name]
            x, *spread = (100 * np.array(one[key], float) for key in ("fraction", "mean", "low", "high"))
            band(place, x, spread, number, name.split(", ", 1)[1])
        place.set(
            xlabel=f"dead hidden {loss} (%)", ylabel="test accuracy (%)", ylim=(0, 100), title=f"{loss} (band: 95 % interval)"
        )
        place.legend(fontsize=7)
    names, start = list(marks), np.zeros(len(marks))
    for number, model in enumerate(("line", "hinge", "cubic", "logistic")):
        share = np.array([100 * marks[name]["wins"][model] for name in names])
        axes[2].barh(names, share, left=start, color=COLOURS[number], label=model)
        start += share
    axes[2].axvline(80, color="black", lw=0.5, ls=":")
    axes[2].set(xlabel="draws in which a model has the lowest BIC (%)", title="a change point needs the hinge in 80 %")
    axes[2].invert_yaxis()
    axes[2].legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    canvas.suptitle(f"{figure.answer['network']} on {figure.answer['profile']}, no repair")


def _fig2(canvas: Any, figure: Figure) -> None:
    answer = figure.answer
    losses = list(answer["damaged"])
    tolerances = sorted({row["tolerance"] for row in answer["recovery"]}, reverse=True)
    grid = canvas.subplots(len(losses), len(tolerances) + 1, squeeze=False)
    for loss, places in zip(losses, grid, strict=True):
        rows = [row for row in answer["recovery"] if row["loss"] == loss]
        lines = list(
            dict.fromkeys((row["strategy"], row["learner"]) for row in rows if row["strategy"] in ("batch", "embryonic", "remap"))
        )
        for place, tolerance in zip(places, tolerances, strict=False):
            for number, line in enumerate(lines):
                own = [row for row in rows if (row["strategy"], row["learner"]) == line and row["tolerance"] == tolerance]
                cycles = [answer["cap"] if isinstance(row["cycles"], str) else row["cycles"] for row in own]
                label = " · ".join(part for part in line if part)
                place.plot([row["m"] for row in own], cycles, marker="o", ms=3, color=COLOURS[number % len(COLOURS)], label=label)
            place.axhline(answer["cap"], color="black", lw=0.5, ls=":")
            place.set(xlabel=f"dead {loss}", ylabel="cycles until recovered", title=f"within {100 * tolerance:g} points")
            place.set_yscale("symlog", linthresh=0.01)
            place.set_ylim(0, answer["cap"] * 1.3)
        for number, line in enumerate(lines):
            own = [row for row in rows if (row["strategy"], row["learner"]) == line and row["tolerance"] == tolerances[0]]
            best = [100 * row["best"] for row in own]
            places[-1].plot([row["m"] for row in own], best, marker="o", ms=3, color=COLOURS[number % len(COLOURS)])
        places[-1].axhline(100 * answer["healthy"], color="black", lw=0.5, ls=":")
        places[-1].set(xlabel=f"dead {loss}", ylabel="best test accuracy (%)", title="best on the way")
    grid[0][0].legend(fontsize=6)
    canvas.suptitle(
        f"{answer['network']} on {answer['profile']}: median over draws; the dotted line is the cap of {answer['cap']:g} cycles"
    )


def _fig4(canvas: Any, figure: Figure) -> None:
    answer = figure.answer
    losses = list(answer["steps"])
    grid = canvas.subplots(len(losses), 3, squeeze=False)
    for loss, (survival, heights, shapes) in zip(losses, grid, strict=True):
        for number, (epsilon, one) in enumerate(answer["first_exit"][loss].items()):
            back = answer["return_rate"][loss][epsilon]
            label = f"ε = {100 * float(epsilon):g} points, {back['returned']} of {back['left']} returned"
            survival.step([0, *one["m"]], [1, *one["survival"]], where="post", color=COLOURS[number], label=label)
        survival.set(xlabel=f"dead {loss}", ylabel="share of ways still inside U", title="first exit from U", ylim=(0, 1.05))
        survival.legend(fontsize=6)
        kinds = list(answer["barriers"][loss])
        for number, kind in enumerate(kinds):
            rows = [row for row in figure.tables["barriers"] if (row["loss"], row["pair_type"]) == (loss, kind)]
            values = [100 * row["barrier"] for row in rows]
            heights.scatter(
                values, np.full(len(values), number) + np.linspace(-0.25, 0.25, len(values)), s=5, color=COLOURS[number]
            )
        heights.set_yticks(range(len(kinds)), kinds)
        heights.set(xlabel="barrier (points of accuracy)", title="lines between chips")
        for number, (kind, one) in enumerate(answer["embedding"][loss].items()):
            parts = [one[name] for name in ("first_component", "second_component", "arc")]
            spread = [[part["mean"] - part["low"] for part in parts], [part["high"] - part["mean"] for part in parts]]
            at = [place + 0.15 * number for place in range(3)]
            shapes.errorbar(
                at, [part["mean"] for part in parts], yerr=spread, fmt="o", ms=3, capsize=2, color=COLOURS[number], label=kind
            )
        shapes.set_xticks(range(3), ["first\ncomponent", "second\ncomponent", "arc (R²)"])
        shapes.set(ylabel="share", title="shape of the way,\nbeside a random walk", ylim=(0, 1.05))
        shapes.legend(fontsize=7)
    canvas.suptitle(f"{answer['network']} on {answer['profile']}, iterative repair with {answer['learner']}")


def _ranking(canvas: Any, figure: Figure) -> None:
    answer = figure.answer
    learners = list(dict.fromkeys(row["learner"] for row in answer["rows"]))
    grid = canvas.subplots(1, len(learners), squeeze=False)[0]
    for number, (learner, axes) in enumerate(zip(learners, grid, strict=True)):
        rows = [row for row in answer["rows"] if row["learner"] == learner]
        _whiskers(axes, list(range(len(rows))), rows, number, learner)
        axes.axvline(0, color="black", lw=0.5)
        axes.set_yticks(range(len(rows)), [f"{row['change']} {row['value']}".strip() for row in rows], fontsize=6)
        axes.invert_yaxis()
        axes.set(xlabel="iterative − batch (points)", title=learner)
    canvas.suptitle(
        f"{answer['dead_cores']} dead cores, equal cycles in all, {plural(answer['draws'], 'draw')}: one thing changed at a time"
    )


def _networks(canvas: Any, figure: Figure) -> None:
    answer = figure.answer
    names, accountings, losses = (
        list(dict.fromkeys(row[key] for row in answer["rows"])) for key in ("network", "accounting", "loss")
    )
    grid = canvas.subplots(1, len(names), squeeze=False)[0]
    for name, axes in zip(names, grid, strict=True):
        own = [row for row in answer["rows"] if row["network"] == name]
        for number, accounting in enumerate(accountings):
            rows = [row for row in own if row["accounting"] == accounting]
            _whiskers(axes, [losses.index(row["loss"]) + 0.24 * (number - 1) for row in rows], rows, number, accounting)
        axes.axvline(0, color="black", lw=0.5)
        axes.set_yticks(
            range(len(losses)),
            [BROKEN[loss].replace("recurrent", "\nrecurrent") for loss in losses] if axes is grid[0] else [""] * len(losses),
        )
        axes.set_ylim(len(losses) - 0.5, -0.5)
        axes.set_xlabel("points")
        axes.set_title(f"{name}\n{own[0]['learner']}", fontsize=8)
    handles, labels = grid[0].get_legend_handles_labels()
    canvas.legend(handles, labels, fontsize=7, ncols=len(accountings), loc="outside lower center")
    canvas.suptitle(f"{answer['profile']}: iterative − batch repair, 95 % intervals over trainings", fontsize=10)


def _declines(canvas: Any, figure: Figure) -> None:
    curves = figure.answer["curves"]
    losses = list(dict.fromkeys(loss for own in curves.values() for loss in own))
    for loss, axes in zip(losses, canvas.subplots(1, len(losses), squeeze=False)[0], strict=True):
        for number, network in enumerate(name for name in curves if loss in curves[name]):
            x, *spread = (100 * np.array(curves[network][loss][key], float) for key in ("fraction", "mean", "low", "high"))
            band(axes, x, spread, number, network)
        axes.set(xlabel=f"dead hidden {loss} (%)", ylabel="test accuracy (%)", ylim=(0, 100), title=BROKEN[loss])
        axes.legend(fontsize=7)
    canvas.suptitle(f"{figure.answer['profile']}, no repair; bands: 95 % intervals over trainings")


def _whole(canvas: Any, figure: Figure) -> None:
    above, below = canvas.subfigures(2, 1)
    _declines(above, figure)
    _networks(below, figure)


PAINTERS: Mapping[str, tuple[Painter, float]] = {
    "chip_fig1": (_fig1, 4),
    "chip_fig2": (_fig2, 6),
    "chip_fig3": (_fig3, 6),
    "chip_fig4": (_fig4, 6),
    "chip_ranking": (_ranking, 5),
    "chip_networks": (_networks, 4),
    "chip_damages": (_networks, 3),
    "chip_heartbeats": (_whole, 7),
    "chip_maps": (_whole, 7),
    "chip_declines": (_declines, 4),
    "chip_availability": (availability, 7),
}
"""Figure → what draws it, and how high it is in inches."""
