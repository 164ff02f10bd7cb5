"""Answers in one sentence: the first line of what a verb prints, and all of it with `--quiet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurofault.cli.output import percent
from neurofault.numerals import plural

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


def of_tests(row: dict[str, Any]) -> str:
    """Return in words what a strategy found that tests the chip, as a line below the table."""
    found = row["detection"]
    delay = "" if found["delay"] is None else f", {plural(found['delay'], 'sample', form=',.0f')} after the strike"
    return (
        f"\n{row['strategy']} {row['learner'] or ''}".rstrip()
        + f": the test noticed {found['noticed']} of {plural(row['n_draws'], 'draw')}{delay}; {found['moves']:.1f} moves ({found['taken_back']:.1f} of them taken back), "
        f"{found['tests']:.1f} tests; in the end it passes in {found['passed']}"
    )


def of_testset(answer: dict[str, Any]) -> str:
    """Return the answer in one sentence: how many samples expose how many of the faults that can be exposed."""
    fewest = ", proved the fewest" if answer["proved_least"] else ""
    source = answer["chosen_from"]
    return (
        f"{plural(answer['size'], f'sample of {source} exposes', f'samples of {source} expose')} {answer['exposed']:,} of {plural(answer['reached'], 'single fault')} that any candidate exposes "
        f"({percent(answer['coverage'])}){fewest}"
    )


def of_alarms(answer: dict[str, Any]) -> str:
    """Return the answer in one sentence: which share of the draws of each kind of fault the watchers see, and how often they cry wolf."""
    seen = ", ".join(
        f"{one['kind']} in {'none' if one['seen'] is None else percent(one['seen']['mean'])} of {plural(one['draws'], 'draw')}"
        for one in answer["tried"]
    )
    return f"{plural(answer['size'], 'watcher sees', 'watchers see')} {seen}; {answer['false_alarms']['per_10000']:.3g} false alarms per 10,000 samples"


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
        f"{percent(found.named.mean)} of {plural(found.draws, 'draw')} of {plural(found.cores, 'dead core')}" for found in measured
    )
    return f"The dead cores are named in {shares}"


def of_doctor(answer: Mapping[str, Any]) -> str:
    """Return the answer in one sentence: which engines are there, which of them failed their test, and which extras lack something."""
    there = [one["engine"] for one in answer["engines"] if one["there"]]
    wrong = [one["engine"] for one in answer["engines"] if one["there"] and one["self_test"] not in (None, "same spikes as exact")]
    tried = any(one["self_test"] is not None for one in answer["engines"])
    test = (
        ""
        if not tried
        else f"; {_listed(wrong)} fail{'s' if len(wrong) == 1 else ''} the test"
        if wrong
        else ", with the same spikes"
    )
    lacking = [one["extra"] for one in answer["extras"] if one["lacks"]]
    extras = "every extra is there" if not lacking else f"extra{'' if len(lacking) == 1 else 's'} {_listed(lacking)} not whole"
    return f"Engine{'' if len(there) == 1 else 's'} {_listed(there)} on Python {answer['python']}{test}; {extras}"


def of_profiles(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer in one sentence: how many chips there are, and of how many the own integers are simulated."""
    own = sum(one["law"].startswith("exact") for one in found)
    return f"{plural(len(found), 'hardware profile')}; the chip's own integers are simulated of {own:,}"


def of_paper(names: Sequence[str], said: Sequence[str], out: Path) -> str:
    """Return the answer in one sentence: where the figures are, and the first thing that they say.

    Args:
        names: of the figures.
        said: their lines.
        out: the folder.
    """
    first = next((line for line in said if " weights: " not in line), "")
    return f"{_listed(names)} in {out}" + (f"; {first}" if first else "")


def _listed(names: Sequence[str]) -> str:
    """Return names as one reads them: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
