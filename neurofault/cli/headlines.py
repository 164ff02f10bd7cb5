"""Answers in one sentence: the first line of what a verb prints, and all of it with `--quiet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neurofault.cli.output import percent

if TYPE_CHECKING:
    from neurofault.metrics import Metric
    from neurofault.study.patterns.diagnose import Naming, Suspect


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
    if best["strategy"] == "none":
        return f"No way of healing ends better than no repair: {metric.words} {value(final['mean'])}{around} of {value(healthy)}"
    share = best["recovered_fraction"]
    part = "" if share is None else f" {100 * share['mean']:.0f} % of the loss"
    return f"{name} brings back{part or ' the most'}: {metric.words} {value(best['damaged']['mean'])} → {value(final['mean'])}{around}, healthy {value(healthy)}"


def of_testset(answer: dict[str, Any]) -> str:
    """Return the answer in one sentence: how many samples expose how many of the faults that can be exposed."""
    fewest = ", proved the fewest" if answer["proved_least"] else ""
    few = "1 sample" if answer["size"] == 1 else f"{answer['size']:,} samples"
    return (
        f"{few} of {answer['chosen_from']} expose{'s' if answer['size'] == 1 else ''} {answer['exposed']:,} of {answer['reached']:,} single faults that any candidate exposes "
        f"({percent(answer['coverage'])}){fewest}"
    )


def of_alarms(answer: dict[str, Any]) -> str:
    """Return the answer in one sentence: which share of the draws of each kind of fault the watchers see, and how often they cry wolf."""
    seen = ", ".join(
        f"{one['kind']} in {'none' if one['seen'] is None else percent(one['seen']['mean'])} of {one['draws']:,} draws"
        for one in answer["tried"]
    )
    few = "1 watcher sees" if answer["size"] == 1 else f"{answer['size']:,} watchers see"
    return f"{few} {seen}; {answer['false_alarms']['per_10000']:.3g} false alarms per 10,000 samples"


def of_diagnosis(suspects: Sequence[Suspect], measured: Sequence[Naming]) -> str:
    """Return the answer in one sentence: the first suspect; where nothing was diagnosed, how often dead cores are named."""
    if suspects:
        first = suspects[0]
        more = f", or one of {len(first.faults) - 1:,} more that no answer tells apart" if len(first.faults) > 1 else ""
        how = (
            "These are the answers of"
            if not first.distance
            else f"No suspect gives these answers; nearest (distance {first.distance:,.0f}) is"
        )
        name = "the healthy chip" if first.faults[0] == "healthy" else first.faults[0]
        return f"{how} {name}{more}"
    shares = ", ".join(
        f"{percent(found.named.mean)} of {found.draws:,} draws of {found.cores} dead core{'' if found.cores == 1 else 's'}"
        for found in measured
    )
    return f"The dead cores are named in {shares}"
