"""A test in JSON: what is exposed by kind, layer and core, what is not and why, what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.study.patterns.choose import ChosenPatterns
from neurofault.study.patterns.masked import WHYS
from neurofault.study.statistics import Interval, wilson


def interval_json(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval as JSON; None where there is none."""
    if interval is None:
        return None
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n, "interval": interval.method}


def report(found: ChosenPatterns) -> dict[str, Any]:
    """Return what is known of a test as JSON."""
    patterns, choice, cost = found.patterns, found.choice, found.cost
    number = len(patterns)
    twice = found.doubles
    kinds, layers, cores = (
        np.array(found.faults.kinds)[found.faults.kind],
        np.array(found.faults.layers()),
        found.faults.column("core"),
    )
    energy, time = cost.energy, cost.time
    return {
        "aim": found.aim, "observe": patterns.observe, "faults": list(found.faults.kinds), "single_faults": len(found.faults),
        "matter": int(found.matters.sum()), "reached": int(found.reached.sum()), "exposed": int((found.exposed & found.reached).sum()),
        "coverage": found.coverage, "exposed_of_all": int(found.exposed.sum()),
        "candidates": found.candidates, "made": found.made, "made_chosen": int((patterns.indices < 0).sum()), "reference": found.reference,
        "size": number, "samples": patterns.indices.tolist(), "exposed_by_first": list(choice.exposed),
        "least": choice.least, "proved_least": choice.exact, "most": choice.most, "greedy": found.greedy,
        "unseen_faults": interval_json(found.unseen_coverage),
        "doubles": None if twice is None else {"draws": twice.draws, "critical": twice.critical, "exposed": twice.exposed, "coverage": interval_json(twice.coverage)},
        "checked": found.checked,
        "by_kind": _groups(found, kinds), "by_layer": _groups(found, layers), "by_core": _groups(found, cores),
        "hidden": {WHYS[at]: int((found.why == at).sum()) for at in range(len(WHYS))},
        "hidden_faults": [found.faults.says(int(at)) for at in np.flatnonzero(found.why >= 0)[:20]],
        "time_seconds": None if time.value is None else time.value * number, "time_evidence": time.evidence,
        "energy_joule": None if energy.value is None else energy.value * number, "energy_evidence": energy.evidence,
    }  # fmt: skip


def _groups(found: ChosenPatterns, of: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the coverage of faults that matter, group by group; of those that another choice did not see, with its interval."""
    rows = []
    for name in np.unique(of[found.matters]):
        own = of == name
        unseen = int((own & found.held_out).sum())
        rows.append({
            "of": name.item(), "faults": int(own.sum()), "matter": int((own & found.matters).sum()), "reached": int((own & found.reached).sum()),
            "exposed": int((own & found.reached & found.exposed).sum()),
            "unseen_faults": interval_json(wilson(int((own & found.unseen).sum()), unseen)) if unseen else None,
        })  # fmt: skip
    return rows
