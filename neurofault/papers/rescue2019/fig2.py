"""Figure 2: cycles until a damaged network is as good as before, by strategy and number of dead nodes, beside controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.repairs import History, Repair, history
from neurofault.papers.rescue2019.setting import Pair, Setting, Study
from neurofault.rescue.plans import Plan
from neurofault.study.statistics import t_interval


@dataclass(frozen=True)
class Way:
    """One strategy of the figure.

    Attributes:
        name: as the rows name it.
        act: a name of :data:`neurofault.papers.rescue2019.repairs.ACTS`.
        old_shift: embryonic: halvings of the rate of old weights; None: they stay.
        dropout: of the base's training.
        hurts: whether nodes die.
        control: a control takes one order of each base.
        text: what it is.
    """

    name: str
    act: str
    old_shift: int | None = None
    dropout: float = 0.0
    hurts: bool = True
    control: bool = False
    text: str = ""

    def pairs(self, study: Study) -> tuple[Pair, ...]:
        """Return the pairs that the strategy repairs."""
        return tuple(pair for pair in study.pairs if not (self.control and pair.order))


WAYS = (
    Way("batch", "batch", text="strategy 1: all damage, then the functioning sub-network learns"),
    Way("embryonic", "embryonic", text="strategy 2: fresh nodes in the place of the dead ones, only these learn"),
    Way("embryonic-8", "embryonic", 3, text="strategy 2: fresh nodes learn, old ones at an eighth of their rate"),
    Way("fresh-subnetwork", "fresh-subnetwork", control=True, text="control: the same mask, fresh weights"),
    Way("batch-dropout", "batch", dropout=0.5, control=True, text="control: strategy 1 on a network trained with dropout"),
    Way("sham", "sham", hurts=False, control=True, text="control: no damage, the same learning"),
    Way("fresh-network", "fresh-network", hurts=False, control=True, text="control: no damage, fresh weights"),
)


def repair(setting: Setting, way: Way, pair: Pair, dead: int) -> Repair:
    """Return the repair of a pair by a strategy, until it has recovered at every tolerance or the cap is met.

    The sham learns on to the cap.
    """
    tolerance = None if way.act == "sham" else min(setting.tolerances)
    plan = Plan(tolerance=tolerance, old_shift=way.old_shift)
    return Repair(pair, way.act, dead if way.hurts else 0, setting.cap, plan, setting.sustained, way.dropout)


def fig2(study: Study) -> Figure:
    """Compute figure 2.

    JSON: ``recovery`` rows {strategy, m, tolerance, cycles (median over pairs), best (mean over pairs of the best test accuracy seen),
    low, high (quartiles of cycles), reached, pairs, gradient_steps, updates, test (mean test accuracy where it had recovered)}, with
    ``">cap"`` for a number that is beyond it; ``damaged`` {m → accuracy before repair}; ``controls``; ``warnings``.
    """
    setting = study.setting
    jobs = [(way, m, pair) for way in WAYS for m in (setting.deaths if way.hurts else (0,)) for pair in way.pairs(study)]
    found: dict[tuple[str, int], list[tuple[Pair, History]]] = {}
    for done, (way, m, pair) in enumerate(jobs):
        study.progress("figure 2", done, len(jobs), f"{way.name}, {m} dead")
        found.setdefault((way.name, m), []).append((pair, history(study, repair(setting, way, pair, m))))
    rows, pair_rows = [], []
    for (name, m), seen in found.items():
        for tolerance in setting.tolerances:
            rows.append(_row(setting, name, m, tolerance, [one for _, one in seen]))
            for pair, one in seen:
                at = one.recovered(tolerance, setting.sustained)
                pair_rows.append(
                    {"strategy": name, "m": m, "tolerance": tolerance, "base": pair.base, "order": pair.order, "healthy": one.healthy,
                     "damaged": one.test[one.began] / one.n_test, "cycles": None if at is None else one.cycles_at(at),
                     "test": None if at is None else one.test[at] / one.n_test, "best": max(one.test[one.began :]) / one.n_test}
                )  # fmt: skip
    shams = [one for _, one in found["sham", 0]]
    gain = t_interval([one.final - one.healthy for one in shams])
    answer: dict[str, Any] = {
        "setting": setting.name, "network": study.name(setting.study), "cap": setting.cap, "headline": setting.headline, "sustained": setting.sustained,
        "cycle_samples": len(study.roles.train), "strategies": {way.name: way.text for way in WAYS}, "recovery": rows,
        "damaged": {
            str(m): _mean([one.test[one.began] / one.n_test for _, one in found["batch", m]]) for m in setting.deaths
        },
        "healthy": _mean([one.healthy for _, one in found["batch", setting.deaths[0]]]),
        "controls": {"sham_gain": gain.mean, "low": gain.low, "high": gain.high, "cycles": setting.cap, "bases": gain.n},
        "warnings": _warnings(study, shams),
    }  # fmt: skip
    study.progress("figure 2", len(jobs), len(jobs), "")
    return Figure("fig2", answer, {"recovery": rows, "pairs": pair_rows})


def _row(setting: Setting, name: str, m: int, tolerance: float, seen: list[History]) -> dict[str, Any]:
    at = [one.recovered(tolerance, setting.sustained) for one in seen]
    cycles = np.array([np.inf if i is None else one.cycles_at(i) for one, i in zip(seen, at, strict=True)])
    reached = [(one, i) for one, i in zip(seen, at, strict=True) if i is not None]

    def shown(value: float) -> float | str:
        return f">{setting.cap}" if np.isinf(value) else float(value)

    low, middle, high = (np.quantile(cycles, share, method="inverted_cdf") for share in (0.25, 0.5, 0.75))
    return {
        "strategy": name, "m": m, "tolerance": tolerance, "cycles": shown(middle),
        "best": _mean([max(one.test[one.began :]) / one.n_test for one in seen]),
        "low": shown(low), "high": shown(high), "reached": len(reached), "pairs": len(seen),
        "gradient_steps": _mean([one.steps[i] - one.steps[one.began] for one, i in reached]),
        "updates": _mean([one.updates[i] - one.updates[one.began] for one, i in reached]),
        "test": _mean([one.test[i] / one.n_test for one, i in reached]),
    }  # fmt: skip


def _mean(values: list[float] | list[int]) -> float | None:
    return float(np.mean(values)) if values else None


def _warnings(study: Study, seen: list[History]) -> list[str]:
    """Return a line for each tolerance that lies under two standard errors of the validation accuracy."""
    n = len(study.roles.validation)
    share = float(np.mean([one.validation[0] / n for one in seen]))
    two = 2 * (share * (1 - share) / n) ** 0.5
    return [
        f"tolerance {100 * tolerance:g} points is under two standard errors ({100 * two:.2f} points) of {n} validation images"
        for tolerance in study.setting.tolerances
        if tolerance < two
    ]
