"""Figure 3: iterative against batch repair on the same final mask, at equal total and at equal last-step budget, and what was served."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.papers.rescue2019.fig2 import WAYS
from neurofault.papers.rescue2019.fig2 import repair as until_recovered
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.repairs import History, Repair, history, iterative
from neurofault.papers.rescue2019.setting import Pair, Setting, Study
from neurofault.rescue.plans import Plan
from neurofault.study.statistics import paired_difference


def _batch(setting: Setting, pair: Pair, dead: int, act: str) -> Repair:
    """Return a repair with the total budget of an iterative one to the same mask."""
    return Repair(pair, act, 0 if act == "sham" else dead, dead // setting.step * setting.cycles, Plan())


def _waiting(study: Study, pair: Pair, dead: int) -> Repair:
    """Return what lets damage happen at the pace of the iterative repair, and repairs nothing."""
    setting, steps = study.setting, dead // study.setting.step
    watchdog = setting.cycles * (len(study.roles.train) // setting.batch) * setting.batch
    return Repair(pair, "wait", dead, 0, Plan(steps=steps, watchdog=watchdog))


def fig3(study: Study) -> Figure:
    """Compute figure 3.

    JSON: ``paired`` rows {m, iterative, batch_total, batch_last_step, difference_total, difference_last (accuracies after repair and their
    paired differences, iterative minus batch), low, high (95 % interval of difference_total), low_last, high_last, pairs, sham,
    fresh_subnetwork, cycles_total, cycles_last}; ``served`` rows {m, horizon_cycles, iterative, batch, wait_then_batch, no_repair,
    difference (iterative − wait_then_batch), low, high}: mean accuracy from the first strike on; ``recovery`` rows: cycles of the last step
    and of all steps of an iterative repair that ends each step once recovered, beside those of batch repair; ``accounting`` rows.
    """
    setting, pairs = study.setting, study.pairs
    done, total = 0, len(pairs) * len(setting.deaths)
    paired, served, recovery, accounting, pair_rows = [], [], [], [], []
    for m in setting.deaths:
        columns: dict[str, list[float]] = {}
        books: dict[str, list[dict[str, float]]] = {}
        recovered: list[tuple[float, float, float]] = []
        for pair in pairs:
            study.progress("figure 3", done, total, f"{m} dead")
            done += 1
            row, book = _measure(study, pair, m)
            pair_rows.append({"m": m, "base": pair.base, "order": pair.order, **row})
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
            for name, one in book.items():
                books.setdefault(name, []).append(one)
            recovered.append(_recovery(study, pair, m))
        steps = m // setting.step
        fresh = _fresh(study, m)
        paired.append(
            {
                "m": m,
                **_paired(columns),
                "fresh_subnetwork": fresh,
                "cycles_total": steps * setting.cycles,
                "cycles_last": setting.cycles,
            }
        )
        served.append({"m": m, "horizon_cycles": 2 * steps * setting.cycles, **_served(columns)})
        recovery.append({"m": m, **_recovered(setting, recovered)})
        accounting += [
            {"m": m, "strategy": name, **{key: float(np.mean([one[key] for one in each])) for key in each[0]}}
            for name, each in books.items()
        ]
    study.progress("figure 3", total, total, "")
    answer: dict[str, Any] = {
        "setting": setting.name, "network": study.name(setting.study), "nodes_a_step": setting.step, "cycles_a_step": setting.cycles,
        "cycle_samples": len(study.roles.train), "paired": paired, "served": served, "recovery": recovery, "accounting": accounting,
    }  # fmt: skip
    return Figure(
        "fig3", answer, {"paired": paired, "served": served, "recovery": recovery, "accounting": accounting, "pairs": pair_rows}
    )


def _measure(study: Study, pair: Pair, m: int) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return what one pair gives at one mask, and the books of each strategy."""
    setting = study.setting
    steps, horizon = m // setting.step, 2 * (m // setting.step) * setting.cycles
    way = history(study, iterative(setting, pair, max(setting.deaths))).until(steps)
    batch = history(study, _batch(setting, pair, m, "batch"))
    unrepaired = history(study, _waiting(study, pair, m))
    waiting = unrepaired.then(batch)
    sham = history(study, _batch(setting, pair, max(setting.deaths), "sham"))
    row = {
        "healthy": way.healthy, "damaged": batch.test[batch.began] / batch.n_test, "iterative": way.final, "batch_total": batch.final,
        "batch_last_step": batch.at_cycle(setting.cycles), "sham": sham.at_cycle(steps * setting.cycles),
        "served_iterative": way.mean_served(horizon), "served_batch": batch.mean_served(horizon),
        "served_wait_then_batch": waiting.mean_served(horizon), "served_no_repair": unrepaired.mean_served(horizon),
    }  # fmt: skip
    books = {
        name: _book(one, count, one.mean_served(horizon))
        for name, one, count in (("iterative", way, steps), ("batch", batch, 1), ("wait then batch", waiting, 1))
    }
    return row, books


def _fresh(study: Study, m: int) -> float:
    """Return the mean accuracy of fresh sub-networks with the same masks after the total budget (or where figure 2 stopped them)."""
    way = next(way for way in WAYS if way.name == "fresh-subnetwork")
    seen = [history(study, until_recovered(study.setting, way, pair, m)) for pair in way.pairs(study)]
    return float(np.mean([one.at_cycle(m // study.setting.step * study.setting.cycles) for one in seen]))


def _book(one: History, repairs: int, served: float) -> dict[str, float]:
    total = one.steps[-1]
    return {
        "cycles_per_step": total / one.cycle / repairs, "cycles_since_last_damage": one.cycles_at(-1), "cycles_total": total / one.cycle,
        "gradient_steps": total, "updates": one.updates[-1], "final": one.final, "worst": one.worst, "served": served,
    }  # fmt: skip


def _recovery(study: Study, pair: Pair, m: int) -> tuple[float, float, float]:
    """Return cycles until recovered: the iterative repair's last step, all its steps, batch repair; infinite where never."""
    setting = study.setting
    way = history(study, iterative(setting, pair, max(setting.deaths), until_recovered=True)).until(m // setting.step)
    at = way.recovered(setting.headline, setting.sustained)
    batch = history(study, until_recovered(setting, WAYS[0], pair, m))
    other = batch.recovered(setting.headline, setting.sustained)
    last = np.inf if at is None else way.cycles_at(at)
    spent = np.inf if at is None else way.steps[at] / way.cycle
    return last, spent, np.inf if other is None else batch.cycles_at(other)


def _recovered(setting: Setting, each: list[tuple[float, float, float]]) -> dict[str, Any]:
    last, spent, batch = (np.array(column) for column in zip(*each, strict=True))

    def median(values: Any, cap: int) -> float | str:
        value = float(np.quantile(values, 0.5, method="inverted_cdf"))
        return f">{cap}" if np.isinf(value) else value

    return {
        "tolerance": setting.headline, "iterative_last_step": median(last, setting.step_cap),
        "iterative_total": "not recovered" if np.isinf(np.quantile(spent, 0.5, method="inverted_cdf")) else median(spent, 0),
        "batch": median(batch, setting.cap), "iterative_reached": int(np.isfinite(last).sum()),
        "batch_reached": int(np.isfinite(batch).sum()), "pairs": len(each),
    }  # fmt: skip


def _paired(columns: dict[str, list[float]]) -> dict[str, Any]:
    total = paired_difference(columns["iterative"], columns["batch_total"])
    last = paired_difference(columns["iterative"], columns["batch_last_step"])

    def mean(name: str) -> float:
        return float(np.mean(columns[name]))

    return {
        "iterative": mean("iterative"), "batch_total": mean("batch_total"), "batch_last_step": mean("batch_last_step"),
        "difference_total": total.mean, "difference_last": last.mean, "low": total.low, "high": total.high, "low_last": last.low,
        "high_last": last.high, "pairs": total.n, "healthy": mean("healthy"), "damaged": mean("damaged"), "sham": mean("sham"),
    }  # fmt: skip


def _served(columns: dict[str, list[float]]) -> dict[str, Any]:
    difference = paired_difference(columns["served_iterative"], columns["served_wait_then_batch"])
    means = {name: float(np.mean(columns[f"served_{name}"])) for name in ("iterative", "batch", "wait_then_batch", "no_repair")}
    return {**means, "difference": difference.mean, "low": difference.low, "high": difference.high, "pairs": difference.n}
