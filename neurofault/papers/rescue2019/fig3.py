"""Figure 3: iterative against batch repair of the same damage, at equal total and at equal last-step budget, and what was served."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Match, Row, Subject
from neurofault.study.statistics import paired_difference


def fig3(subject: Subject) -> Figure:
    """Compute figure 3.

    JSON: ``paired`` rows {m, iterative, batch_total, batch_last_step, difference_total, difference_last (accuracies after repair and their
    paired differences, iterative minus batch), low, high (95 % interval of difference_total), low_last, high_last, pairs, healthy, damaged};
    ``served`` rows {m, horizon_cycles, iterative, batch, wait_then_batch, no_repair, difference (iterative − wait_then_batch), low, high}: mean
    accuracy from the first strike on, to twice the time that the damage takes; ``accounting`` rows, what each repair used. On networks of
    floats ``recovery`` rows: cycles of the last step and of all steps of an iterative repair that ends each step once recovered, beside those
    of batch repair. On chips, by loss and learner, ``comparisons`` rows {accounting, iterative, batch, difference, low, high, p, p_holm (Holm
    over all rows), better, pairs}, where "stopped at its best look" takes the look since the last death that validation images liked best,
    and ``controls`` rows {control, learner, loss, m, accuracy, low, high, healthy, draws}.
    """
    layout = subject.layout
    tables: dict[str, list[Row]] = {name: [] for name in layout.compared}
    for match in subject.matches():
        tables["paired"].append({**match.place, **_paired(subject, match)})
        tables["served"].append({**match.place, **_served(subject, match)})
        for name, rows in match.tables.items():
            tables[name] += rows
    subject.matched(tables)
    answer: dict[str, Any] = {**subject.heading("fig3"), **{name: tables[name] for name in layout.compared[:-1]}}
    return Figure(f"{layout.prefix}fig3", answer, tables)


def _paired(subject: Subject, match: Match) -> Row:
    own, whole = [one.final for one in match.iterative], [one.final for one in match.batch]
    after_one = [one.at_cycle(subject.cycles) for one in match.batch]
    total, last = paired_difference(own, whole), paired_difference(own, after_one)
    row = {
        "iterative": float(np.mean(own)), "batch_total": float(np.mean(whole)), "batch_last_step": float(np.mean(after_one)),
        "difference_total": total.mean, "difference_last": last.mean, "low": total.low, "high": total.high, "low_last": last.low,
        "high_last": last.high, "pairs": total.n, "healthy": float(np.mean([one.healthy for one in match.iterative])),
        "damaged": float(np.mean([one.changed for one in match.batch])), **match.more,
    }  # fmt: skip
    return {name: row[name] for name in subject.layout.paired}


def _served(subject: Subject, match: Match) -> Row:
    """Return the mean accuracy from the first strike to twice the time that the strikes take."""
    horizon = 2 * match.steps * subject.cycles
    own = [one.mean_served(horizon) for one in match.iterative]
    later = [still.then(one).mean_served(horizon) for still, one in zip(match.still, match.batch, strict=True)]
    difference = paired_difference(own, later)
    row = {
        "horizon_cycles": horizon, "iterative": float(np.mean(own)),
        "batch": float(np.mean([one.mean_served(horizon) for one in match.batch])), "wait_then_batch": float(np.mean(later)),
        "no_repair": float(np.mean([one.mean_served(horizon) for one in match.still])), "difference": difference.mean,
        "low": difference.low, "high": difference.high, "pairs": difference.n,
        "worst_iterative": float(np.mean([one.worst for one in match.iterative])),
        "worst_batch": float(np.mean([one.worst for one in match.batch])),
    }  # fmt: skip
    return {name: row[name] for name in subject.layout.served}
