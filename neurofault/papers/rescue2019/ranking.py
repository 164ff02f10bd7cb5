"""Where does the ranking of batch and iterative repair flip on the chip? One thing is changed at a time, at equal cycles in all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from neurofault.papers.rescue2019.chip_repairs import ChipRepair, history
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.compare import compared, judged
from neurofault.papers.rescue2019.output import Figure
from neurofault.rescue.lesson import Plasticity

USUAL = "nothing changed"


def changes(study: ChipStudy, learner: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what is changed, to what, and the fields of a repair that say so."""
    sweep = study.setting.sweep
    yield USUAL, "", {}
    for bits in sweep.bits:
        yield "weight bits", str(bits), {"bits": bits}
    for labels in sweep.labels:
        yield "labels known", f"{labels:g}", {"labels": labels}
    for name, value in sweep.roundings:
        yield "rounding", name, {"rounding": value}
    usual: Any = study.learner(learner, study.bits, sweep.adapt)
    for more in sweep.exponents:
        exponents = {name: getattr(usual, name) + more for name in ("readout_exponent", "hidden_exponent")}
        yield "exponent of the rule", f"{more:+d}", {"options": tuple(exponents.items())}
    chip = study.chip().deployment
    trained = usual.provide(chip, Plasticity()).plastic
    if len(trained) > 1:
        for name in trained:
            yield "plastic layer", f"{name} alone", {"plastic": (name,)}


@final
@dataclass(frozen=True)
class RankingCell:
    """One row of the figure.

    Attributes:
        learner: its name.
        change, value: what is changed, to what.
        batch, iterative: repairs of the same damage, one a draw.
    """

    learner: str
    change: str
    value: str
    batch: tuple[ChipRepair, ...]
    iterative: tuple[ChipRepair, ...]


def cells(study: ChipStudy) -> list[RankingCell]:
    """Return the rows of the figure, with the repairs that they compare."""
    setting, sweep = study.setting, study.setting.sweep
    steps, found = sweep.dead // setting.losses[0].step, list[RankingCell]()
    for learner in setting.learners:
        for change, value, fields in changes(study, learner):
            whole = tuple(
                replace(
                    ChipRepair(draw, "batch", learner, "cores", sweep.dead, sweep.adapt, study.bits, cycles=sweep.cycles), **fields
                )
                for draw in study.draws
            )
            found.append(
                RankingCell(learner, change, value, whole, tuple(replace(one, act="iterative", steps=steps) for one in whole))
            )
    return found


def ranking(study: ChipStudy) -> Figure:
    """Compute the ranking.

    JSON: ``rows`` {change, value, learner, iterative, batch, difference, low, high, p, p_holm (over all rows), better, pairs, damaged, healthy};
    ``flips``: rows whose ``better`` is the opposite of that where nothing is changed.
    """
    setting = study.setting
    sweep = setting.sweep
    cores = setting.losses[0]
    jobs = cells(study)
    rows, draw_rows = [], []
    for done, cell in enumerate(jobs):
        study.progress("ranking", done, len(jobs), f"{cell.learner}, {cell.change} {cell.value}")
        batch, iterative = ([history(study, one) for one in each] for each in (cell.batch, cell.iterative))
        place = {"change": cell.change, "value": cell.value, "learner": cell.learner}
        rows.append(
            {**place, **compared([one.final for one in iterative], [one.final for one in batch]),
             "damaged": float(np.mean([one.test[1] / one.n_test for one in batch])), "healthy": batch[0].healthy}
        )  # fmt: skip
        draw_rows += [
            {**place, "draw": draw, "iterative": iterative[draw].final, "batch": batch[draw].final} for draw in study.draws
        ]
    study.progress("ranking", len(jobs), len(jobs), "")
    found = judged(rows)
    usual = {row["learner"]: row["better"] for row in found if row["change"] == USUAL}
    opposite = {"iterative": "batch", "batch": "iterative", "undecided": None}
    answer: dict[str, Any] = {
        "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile, "dead_cores": sweep.dead, "cores_a_step": cores.step,
        "cycle_samples": sweep.adapt, "cycles": sweep.cycles, "draws": setting.draws, "rows": found,
        "flips": [row for row in found if row["better"] == opposite[usual[row["learner"]]]],
    }  # fmt: skip
    return Figure("chip_ranking", answer, {"rows": found, "draws": draw_rows})
