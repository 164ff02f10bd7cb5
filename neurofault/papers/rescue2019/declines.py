"""Figure 1 for more networks and trainings on the chip: how accuracy declines as what is broken becomes more, and whether it has a change point.

Marks are means over the draws of a training, their intervals Student's t over trainings; a change point is judged over all draws of all trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.papers.rescue2019.cases import Case
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.chips import counts_of, decline
from neurofault.papers.rescue2019.fig1 import MARKS
from neurofault.papers.rescue2019.networks import trainings
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Row
from neurofault.study.changepoint import change_point, fit_all, thresholds
from neurofault.study.statistics import SHARE, t_interval

Curves = list[NDArray[np.float64]]
"""Test accuracy at each number of dead, [points]; one a draw."""


DYING = ("cores", "neurons")
"""What dies in the figure of declines."""


def dying(case: Case, kinds: Sequence[str] = DYING) -> tuple[str, ...]:
    """Return what dies of a network: of its kinds of damage those that are asked for."""
    return tuple(harm.loss for harm in case.harms if harm.loss in kinds)


def declines(study: ChipStudy) -> Figure:
    """Compute the figure.

    JSON: ``rows`` and ``curves``, as :func:`declined` gives them. Tables: ``rows``; ``curves``; ``draws``, marks and fits of each.
    """
    answer, tables = declined(study, "declines", study.setting.cases, DYING)
    return Figure(
        "chip_declines", {"setting": study.setting.name, "profile": study.setting.profile, "unit": "training", **answer}, tables
    )


def declined(
    study: ChipStudy, name: str, cases: Sequence[Case], kinds: Sequence[str]
) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """Compute how the accuracy of networks declines.

    Args:
        study: the setting at work.
        name: of the figure, for its progress.
        cases: of the setting.
        kinds: of damage that count.

    Returns:
        ``rows`` {network, loss, healthy, for each of minus1pp, minus5pp, half and width its mean, ``_low`` and ``_high``, as shares of what can die (null where
        a training never passes it), hinge_wins, logistic_wins, slope_ratio, knot, knot_sd, verdict, trainings, draws (of each)} and ``curves`` {network → loss → fraction,
        mean, low, high}; and tables ``rows``, ``curves``, ``draws``.
    """
    rows, curve_rows, draw_rows = list[Row](), list[Row](), list[Row]()
    curves: dict[str, dict[str, Row]] = {}
    seen: dict[tuple[str, str], tuple[NDArray[np.float64], list[Curves]]] = {}
    listed = trainings(study.setting, cases)
    for done, training in enumerate(listed):
        case, seed = training.case, training.case.seeds[training.number]
        study.progress(name, done, len(listed), training.name)
        own, engine = training.at_work(study), IncrementalEngine()
        for loss in dying(case, kinds):
            dead = counts_of(own, loss)
            values = [decline(own, loss, own.bits, False, draw, engine) for draw in training.draws]
            fraction = dead / dead[-1]
            seen.setdefault((case.network, loss), (fraction, []))[1].append(values)
            for draw, one in zip(training.draws, values, strict=True):
                fits = fit_all(fraction, one)
                draw_rows.append(
                    {"network": case.network, "loss": loss, "training": "own" if seed is None else str(seed), "draw": draw,
                     "healthy": float(one[0]), **asdict(thresholds(fraction, one)), "best": fits.best, "knot": fits.knot,
                     "slope_ratio": fits.slope_ratio}
                )  # fmt: skip
    study.progress(name, len(listed), len(listed), "")
    for (network, loss), (fraction, each) in seen.items():
        place = {"network": network, "loss": loss}
        rows.append({**place, **_row(fraction, each)})
        spread = [t_interval(point, within=SHARE) for point in np.mean(each, axis=1).T]
        curve: Row = {
            "fraction": fraction.tolist(),
            **{end: [getattr(one, end) for one in spread] for end in ("mean", "low", "high")},
        }
        curves.setdefault(network, {})[loss] = curve
        curve_rows += [{**place, **{name: values[k] for name, values in curve.items()}} for k in range(len(fraction))]
    return {"rows": rows, "curves": curves}, {"rows": rows, "curves": curve_rows, "draws": draw_rows}


def _row(fraction: NDArray[np.float64], each: list[Curves]) -> Row:
    """Return what is said of a network's decline."""
    found = change_point([(fraction, one) for training in each for one in training])
    marks: Row = {}
    for name in (mark for mark in MARKS if mark != "auc"):
        means = [np.mean([getattr(thresholds(fraction, one), name) for one in training]) for training in each]
        interval = None if np.isnan(means).any() else t_interval(means, within=SHARE)
        marks |= {
            name: None if interval is None else interval.mean,
            f"{name}_low": None if interval is None else interval.low,
            f"{name}_high": None if interval is None else interval.high,
        }
    return {
        "healthy": float(np.mean([one[0] for training in each for one in training])), **marks, "hinge_wins": found.hinge_wins,
        "logistic_wins": found.wins["logistic"], "slope_ratio": found.slope_ratio, "knot": found.knot, "knot_sd": found.knot_sd,
        "verdict": found.verdict, "trainings": len(each), "draws": len(each[0]),
    }  # fmt: skip
