"""Figure 2 on the chip: cycles until a damaged chip is as good as before, by way of healing and number of dead, beside controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.chip_repairs import ChipHistory, ChipRepair, history
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.output import Figure
from neurofault.study.statistics import t_interval


@dataclass(frozen=True)
class Way:
    """One strategy of the figure.

    Attributes:
        name: as the rows name it.
        act: a name of :data:`neurofault.papers.rescue2019.chip_repairs.ACTS`.
        dropout: a network that was trained with dropout.
        hurts: whether something dies.
        learns: whether a learner is at work.
        spares: whether it needs a spare core for each dead one.
        control: a control of a repair is looked at for the learner of figure 4 and the largest damage alone.
        text: what it is.
    """

    name: str
    act: str
    dropout: bool = False
    hurts: bool = True
    learns: bool = True
    spares: bool = False
    control: bool = False
    text: str = ""


WAYS = (
    Way("batch", "batch", text="strategy 1: all damage, then what is left learns"),
    Way("embryonic", "embryonic", spares=True, text="strategy 2: fresh neurons on spare cores in the place of dead ones learn"),
    Way("remap", "remap", learns=False, spares=True, text="no learning: what sat on dead cores moves to spare cores"),
    Way("fresh-subnetwork", "fresh-subnetwork", control=True, text="control: the same damage, fresh weights"),
    Way("batch-dropout", "batch", dropout=True, control=True, text="control: strategy 1 on a network trained with dropout"),
    Way("sham", "sham", hurts=False, text="control: no damage, the same learning"),
)


_ONE_RATE = ("emstdp",)
"""Learners that cannot hold old synapses back while those of fresh neurons learn."""


def repair(study: ChipStudy, way: Way, loss: Loss, learner: str | None, dead: int, draw: int) -> ChipRepair:
    """Return a repair until it has recovered at every tolerance or the cap is met; the sham learns on to the cap."""
    setting = study.setting
    return ChipRepair(
        draw, way.act, learner, loss.name, dead, setting.adapt, study.bits, cycles=setting.cap if way.learns else 0.0, dropout=way.dropout,
        stops=True, looks=setting.looks,
    )  # fmt: skip


def fig2(study: ChipStudy) -> Figure:
    """Compute figure 2.

    JSON: ``recovery`` rows {strategy, learner, loss, m, tolerance, cycles (median over draws), low, high (quartiles), best (mean over draws of the
    best test accuracy seen), reached, pairs (draws), writes, energy_joule (mean up to the end of the repair, default table)}, with ``">cap"`` for a number that is
    beyond it; ``damaged`` {loss → {m → accuracy}}; ``healthy``; ``controls`` {learner → sham_gain with its interval}.
    """
    setting = study.setting
    jobs = [
        (way, loss, m, learner)
        for way in WAYS
        for loss in (setting.losses if way.hurts else setting.losses[:1])
        for m in (loss.recovery[-1:] if way.control else loss.recovery if way.hurts else (0,))
        for learner in ((setting.way_learner,) if way.control else setting.learners if way.learns else (None,))
        if not way.spares or (loss.name == "cores" and m <= setting.spare_cores and learner not in _ONE_RATE)
    ]
    rows, pair_rows = [], []
    damaged: dict[str, dict[str, float]] = {loss.name: {} for loss in setting.losses}
    controls: dict[str, Any] = {}
    for done, (way, loss, m, learner) in enumerate(jobs):
        study.progress("figure 2", done, len(jobs), f"{way.name}, {m} dead {loss.name}, {learner or 'no learner'}")
        seen = [history(study, repair(study, way, loss, learner, m, draw)) for draw in study.draws]
        place = {"strategy": way.name, "learner": learner, "loss": loss.name if m else "none", "m": m}
        rows += [{**place, **_row(study, tolerance, seen)} for tolerance in setting.tolerances]
        for draw, one in enumerate(seen):
            at = {f"cycles_{tolerance:g}": _cycles(study, one, tolerance) for tolerance in setting.tolerances}
            pair_rows.append(
                {**place, "draw": draw, "healthy": one.seen.healthy, "damaged": _damaged(one), **at, "best": _best(one), "writes": one.writes}
            )  # fmt: skip
        if way.name == "batch":
            damaged[loss.name][str(m)] = float(np.mean([_damaged(one) for one in seen]))
        if way.name == "sham" and learner is not None:
            gain = t_interval([one.final - one.seen.healthy for one in seen])
            controls[learner] = {"sham_gain": gain.mean, "low": gain.low, "high": gain.high, "cycles": setting.cap, "draws": gain.n}
    answer: dict[str, Any] = {
        "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile, "cap": setting.cap, "headline": setting.headline,
        "sustained": setting.sustained, "cycle_samples": setting.adapt, "looks": list(setting.looks),
        "strategies": {way.name: way.text for way in WAYS}, "recovery": rows, "damaged": damaged,
        "healthy": pair_rows[0]["healthy"], "controls": controls,
    }  # fmt: skip
    study.progress("figure 2", len(jobs), len(jobs), "")
    return Figure("chip_fig2", answer, {"recovery": rows, "pairs": pair_rows})


def _damaged(one: ChipHistory) -> float:
    struck = [count for count, what in zip(one.seen.test, one.seen.what, strict=True) if what == "strike"]
    return (struck[-1] if struck else one.seen.test[0]) / one.seen.n_test


def _best(one: ChipHistory) -> float:
    return max(one.seen.test[one.seen.began :]) / one.seen.n_test


def _cycles(study: ChipStudy, one: ChipHistory, tolerance: float) -> float | None:
    """Return the cycles after which a chip was as good as before; where nothing learns one look says it, for nothing changes any more."""
    at = one.seen.recovered(tolerance, study.setting.sustained if one.seen.steps[-1] else 1)
    return None if at is None else one.seen.cycles_at(at)


def _row(study: ChipStudy, tolerance: float, seen: list[ChipHistory]) -> dict[str, Any]:
    setting = study.setting
    table = study.chip().deployment.profile.default_energy
    found = [_cycles(study, one, tolerance) for one in seen]
    cycles = np.array([np.inf if value is None else value for value in found])

    def shown(value: float) -> float | str:
        return f">{setting.cap:g}" if np.isinf(value) else float(value)

    low, middle, high = (np.quantile(cycles, share, method="inverted_cdf") for share in (0.25, 0.5, 0.75))
    return {
        "tolerance": tolerance, "cycles": shown(middle), "low": shown(low), "high": shown(high), "best": float(np.mean([_best(one) for one in seen])),
        "reached": sum(value is not None for value in found), "pairs": len(seen), "writes": float(np.mean([one.writes for one in seen])),
        "energy_joule": float(np.mean([one.energy[table] for one in seen])),
    }  # fmt: skip
