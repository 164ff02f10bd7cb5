"""Figure 2: cycles until what was damaged is as good as before, by strategy and number of dead, beside controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.history import History
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Recovery, Row, Subject


def fig2(subject: Subject) -> Figure:
    """Compute figure 2.

    JSON: ``recovery`` rows {strategy, m, tolerance, cycles (median over units), best (mean over units of the best test accuracy seen), low, high
    (quartiles of cycles), reached, pairs (units), and what it took}, with ``">cap"`` for a number that is beyond it: on networks of floats
    gradient_steps, updates and test (mean test accuracy) where it had recovered; on chips by learner and loss, with writes and energy_joule
    (mean up to the end of the repair, default table). ``damaged`` {m → accuracy before repair} (on chips by loss); ``healthy``; ``controls``.
    """
    rows, pair_rows, seen = list[Row](), list[Row](), list[Recovery]()
    for one in subject.recoveries():
        seen.append(one)
        rows += [{**one.place, "tolerance": tolerance, **_row(subject, tolerance, one.seen)} for tolerance in subject.tolerances]
        pair_rows += subject.recovery_pairs(one)
    answer: dict[str, Any] = {**subject.heading("fig2"), "recovery": rows, **subject.of_recoveries(seen)}
    return Figure(f"{subject.layout.prefix}fig2", answer, {"recovery": rows, "pairs": pair_rows})


def recovered(one: History, tolerance: float, sustained: int) -> int | None:
    """Return where a repair had recovered; where nothing learns one look says it, for nothing changes any more."""
    return one.recovered(tolerance, sustained if one.steps[-1] else 1)


def _row(subject: Subject, tolerance: float, seen: Sequence[History]) -> Row:
    at = [recovered(one, tolerance, subject.sustained) for one in seen]
    cycles = np.array([np.inf if i is None else one.cycles_at(i) for one, i in zip(seen, at, strict=True)])

    def shown(value: float) -> float | str:
        return f">{subject.cap:g}" if np.isinf(value) else float(value)

    low, middle, high = (shown(np.quantile(cycles, share, method="inverted_cdf")) for share in (0.25, 0.5, 0.75))
    whole = {
        "cycles": middle, "low": low, "high": high, "best": float(np.mean([one.best for one in seen])),
        "reached": sum(i is not None for i in at), "pairs": len(seen), **subject.recovery_costs(seen, at),
    }  # fmt: skip
    return {name: whole[name] for name in subject.layout.recovery}
