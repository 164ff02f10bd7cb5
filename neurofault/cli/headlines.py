"""Answers in one sentence: the first line of what a verb prints, and all of it with `--quiet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurofault.metrics import Metric


def of_rescue(answer: dict[str, Any], metric: Metric) -> str:
    """Return the answer in one sentence: what the best way of healing brings back, by its mean over draws; of none, what the damage leaves."""
    value, healthy = metric.shown, answer[f"healthy_{metric.key}"]
    ways = [row for row in answer["rows"] if not row["control"]]
    if not ways:
        return f"No way of healing was asked for; healthy {metric.words} {value(healthy)}"
    best = (min if metric.lower else max)(ways, key=lambda row: row["final"]["mean"])
    final, name = best["final"], " · ".join(filter(None, (best["strategy"], best["learner"])))
    around = "" if final["low"] is None else f" [{value(final['low'])}, {value(final['high'])}]"
    if all(row["strategy"] == "none" for row in ways):
        return f"The damage leaves {metric.words} {value(final['mean'])}{around} of {value(healthy)}"
    share = best["recovered_fraction"]
    part = "" if share is None else f" {100 * share['mean']:.0f} % of the loss"
    return f"{name} brings back{part or ' the most'}: {metric.words} {value(best['damaged']['mean'])} → {value(final['mean'])}{around}, healthy {value(healthy)}"
