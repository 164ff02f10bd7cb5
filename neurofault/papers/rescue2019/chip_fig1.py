"""Figure 1 on the chip: accuracy against dead cores and dead neurons, without repair, and the test for a change point."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.fig1 import marks_of
from neurofault.papers.rescue2019.output import Figure
from neurofault.study.changepoint import change_point, fit_all, thresholds
from neurofault.study.statistics import SHARE, t_interval

POINTS = 25
"""Most points of a curve."""


def counts_of(study: ChipStudy, loss: Loss) -> NDArray[np.int64]:
    """Return the numbers of dead of a curve: 0 to all, as evenly as whole numbers allow; all of them where there are few."""
    whole = study.whole(loss.name)
    return np.unique(np.rint(np.linspace(0, whole, min(POINTS, whole + 1))).astype(np.int64))


def decline(study: ChipStudy, loss: Loss, bits: int, dropout: bool, draw: int, engine: IncrementalEngine) -> NDArray[np.float64]:
    """Return the test accuracy at each number of dead of a draw, [points]."""
    chip, counts = study.chip(bits, dropout), counts_of(study, loss)

    def compute() -> list[int]:
        broken = [study.hurt(chip.deployment, loss.name, int(count), draw) for count in counts]
        return [one.correct(chip.test.labels) for one in engine.run_many(broken, chip.test.inputs)]

    key = {
        "unit": "chip decline", "chip": chip.digest, "seed": study.setting.seed, "loss": loss.name, "counts": counts.tolist(), "draw": draw
    }  # fmt: skip
    return np.asarray(study.journal.once(key, compute)) / len(chip.test.labels)


def fig1(study: ChipStudy) -> Figure:
    """Compute figure 1.

    JSON: ``curves`` {name → fraction (of what can die), dead, mean, sd, low, high, orders (draws)}; ``thresholds`` {name → minus1pp, minus5pp,
    half, width, auc, and the interval of each}; ``change_point`` {name → hinge_wins, slope_ratio, knot_sd, verdict}, as on networks of
    floats. Names: ``cores, 8 bits``, ``neurons, 8 bits, dropout-trained``.
    """
    setting = study.setting
    answer: dict[str, Any] = {
        "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile, "neurons_per_core": setting.neurons_per_core,
        "test_images": len(study.chip().test.labels), "curves": {}, "thresholds": {}, "change_point": {},
    }  # fmt: skip
    rows, draw_rows = [], []
    jobs = [(loss, bits, dropout) for loss in setting.losses for bits in setting.decline_bits for dropout in (False, True)]
    jobs = [job for job in jobs if job[1] == study.bits or not job[2]]
    for done, (loss, bits, dropout) in enumerate(jobs):
        name = f"{loss.name}, {bits} bits" + (", dropout-trained" if dropout else "")
        study.progress("figure 1", done, len(jobs), name)
        engine = IncrementalEngine()
        dead = counts_of(study, loss)
        fraction = dead / dead[-1]
        values = np.stack([decline(study, loss, bits, dropout, draw, engine) for draw in range(setting.decline_draws)])
        intervals = [t_interval(column, within=SHARE) for column in values.T]
        answer["curves"][name] = curve = {
            "fraction": fraction.tolist(), "dead": dead.tolist(), "mean": values.mean(0).tolist(), "sd": values.std(0, ddof=1).tolist(),
            "low": [i.low for i in intervals], "high": [i.high for i in intervals], "orders": len(values),
        }  # fmt: skip
        each = [thresholds(fraction, one) for one in values]
        answer["thresholds"][name] = marks_of(each)
        answer["change_point"][name] = asdict(change_point([(fraction, one) for one in values]))
        columns = ("fraction", "dead", "mean", "sd", "low", "high")
        rows += [{"curve": name, "draws": len(values), **{key: curve[key][k] for key in columns}} for k in range(len(dead))]
        for draw, (one, mark) in enumerate(zip(values, each, strict=True)):
            fits = fit_all(fraction, one)
            draw_rows.append(
                {"curve": name, "draw": draw, "healthy": float(one[0]), **asdict(mark), "best": fits.best, "knot": fits.knot,
                 "slope_ratio": fits.slope_ratio, **{f"bic_{model}": bic for model, bic in fits.bic.items()}}
            )  # fmt: skip
    study.progress("figure 1", len(jobs), len(jobs), "")
    return Figure("chip_fig1", answer, {"curves": rows, "draws": draw_rows})
