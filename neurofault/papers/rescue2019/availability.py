"""Availability over a mission: which accuracy is served while cores die and bits flip, for each way of maintenance, and what it costs in energy and spare cores.

Damage comes evenly over an epoch and maintenance at its end, so what is served in an epoch lies half-way between the accuracy after the last maintenance and that right before the next; energies
likewise. The training is the unit of every interval: means over its draws, Student's t over trainings, and differences to ``nothing`` paired by training. Nothing is tested for being different.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.faults.environment import upset_probability
from neurofault.numerals import plural
from neurofault.papers.rescue2019.cases import YEAR, Mission
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.missions import (
    ALL,
    ARMS,
    NOTHING,
    PROTECT,
    Arm,
    arms,
    at_work,
    flown,
    missions_of,
    protected,
)
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Row
from neurofault.study.protect.charge import charge
from neurofault.study.statistics import SHARE, Interval, Values, t_interval

NEAR = {"within_1": 0.01, "within_5": 0.05}
"""Name → how far below the healthy accuracy still counts as available."""

ENERGIES = ("serving", "static", "protection", "repair")
"""Parts of a mission's energy: events of serving, static power while it serves and is repaired, reading and scrubbing a code, repairs."""


def served(values: Values, other: Values) -> NDArray[np.float64]:
    """Return what holds in each epoch, half-way between its two ends.

    Args:
        values: after the maintenance at the end of each epoch, the first before any.
        other: before it, likewise.

    >>> served([1.0, 0.9, 0.9], [1.0, 0.5, 0.7]).tolist()
    [0.75, 0.8]
    """
    begun, ended = np.asarray(values, np.float64), np.asarray(other, np.float64)
    return np.asarray((begun[:-1] + ended[1:]) / 2)


def of_draw(study: ChipStudy, mission: Mission, arm: Arm, draw: int) -> Row:
    """Return what a draw of a mission comes to: shares of samples and of the mission, and joules of the whole mission."""
    found, samples = flown(study, mission, arm, draw), len(study.chip().test.labels)
    before, after = (np.array(found[name]) / samples for name in ("before", "after"))
    presented = mission.rate * mission.seconds
    joules = {name: float(served(*(np.array(found[name])[:, at] for at in (1, 0))).sum() * presented) for name in ENERGIES[:3]}
    joules["static"] += float(np.sum(found["repair_static"]))
    joules["protection"] += _scrubbing(study, mission) if arm.name in (PROTECT, ALL) else 0.0
    ends = np.stack([after[:-1], before[1:]])
    return {
        "served": float(served(after, before).mean()), "worst": float(min(before.min(), after.min())), "final": float(after[-1]),
        **{name: float((ends >= before[0] - near - 1e-9).mean()) for name, near in NEAR.items()},
        **joules, "repair": float(np.sum(found["repair"])), "dead": found["dead"][-1], "upsets": found["upsets"][-1], "healthy": float(before[0]),
        "before": before.tolist(), "after": after.tolist(),
    }  # fmt: skip


def _scrubbing(study: ChipStudy, mission: Mission) -> float:
    """Return the joules of all scrubbing passes, each of which reads and writes every bit of every word."""
    chip = protected(study)
    table = chip.profile.default_energy
    joule = None if table is None else chip.profile.energy_tables[table].energy.synaptic_operation.value
    bits = sum(
        2.0 * float((one.data_bits + one.check_bits).sum()) / chip.connection(one.connection).weight_bits
        for one in chip.protection.words
    )
    return mission.passes * mission.epochs * bits * (joule or 0.0)


def availability(study: ChipStudy) -> Figure:
    """Compute the figure.

    JSON: ``missions`` {name → network, environment, upsets_per_bit_day, wrong_at_end (share of the stored bits), deaths_per_core_year, years, epochs, passes, lesson, samples_a_second, cores (that hold neurons), stored_bits, upsets, dead (means over all draws, spare cores too)};
    ``rows`` {mission, arm, spares, cores (in use and spare), added_bits (share of the stored ones), healthy, served, worst, final, within_1, within_5 (shares of the mission), difference (served, less that of nothing), energy (of the whole mission by that of
    nothing), each with ``_low`` and ``_high``; serving, static, protection, repair (joules of the mission), trainings, draws (of each)}; ``curves`` {mission → arm and spares → year, before, after, served of the epoch that ends then (null for the
    first), low, high}; ``verdicts`` {mission, arm, spares, text}; ``weights`` {network → training → digest}.
    Tables: ``rows``; ``curves``; ``trainings``, the means of each; ``draws``.
    """
    setting = study.setting
    draw_rows, about = list[Row](), dict[str, Row]()
    weights: dict[str, dict[str, str]] = {}
    curves: dict[str, dict[Arm, list[tuple[NDArray[np.float64], NDArray[np.float64]]]]] = {}
    listed = missions_of(study)
    for done, (mission, training) in enumerate(listed):
        seed = training.case.seeds[training.number]
        study.progress("availability", done, len(listed), f"{mission.name}, {training.name}")
        own, name = at_work(study, mission, training), "own" if seed is None else str(seed)
        weights.setdefault(mission.case.network, {})[name] = own.chip().prepared.weights
        about.setdefault(mission.name, _about(own, mission))
        for arm in arms(mission):
            seen = [of_draw(own, mission, arm, draw) for draw in training.draws]
            place = {"mission": mission.name, "arm": arm.name, "spares": arm.spares, "training": name}
            draw_rows += [
                {**place, "draw": draw, **{key: value for key, value in one.items() if not isinstance(value, list)}}
                for draw, one in zip(training.draws, seen, strict=True)
            ]
            before, after = (np.mean([one[end] for one in seen], axis=0) for end in ("before", "after"))
            curves.setdefault(mission.name, {}).setdefault(arm, []).append((before, after))
    study.progress("availability", len(listed), len(listed), "")
    means = _means(draw_rows)
    rows = [_row(mission, about[mission.name], means, arm) for mission in setting.missions for arm in arms(mission)]
    for mission in setting.missions:
        own_draws = [row for row in draw_rows if (row["mission"], row["arm"]) == (mission.name, NOTHING)]
        about[mission.name] |= {name: float(np.mean([row[name] for row in own_draws])) for name in ("upsets", "dead")}
        about[mission.name].pop("added_bits")
    lines = {
        mission.name: {_label(arm): _curve(mission, each) for arm, each in curves[mission.name].items()}
        for mission in setting.missions
    }
    answer: dict[str, Any] = {
        "setting": setting.name, "weights": weights, "profile": setting.profile, "unit": "training", "arms": ARMS, "missions": about, "rows": rows, "curves": lines,
        "verdicts": [_verdict(row) for row in rows if row["arm"] != NOTHING],
    }  # fmt: skip
    curve_rows = [
        {"mission": mission, "way": way, **{name: values[k] for name, values in curve.items()}}
        for mission, own_lines in lines.items()
        for way, curve in own_lines.items()
        for k in range(len(curve["year"]))
    ]
    return Figure("chip_availability", answer, {"rows": rows, "curves": curve_rows, "trainings": means, "draws": draw_rows})


def _about(study: ChipStudy, mission: Mission) -> Row:
    """Return what a mission is, and what its chip has."""
    chip, bare = protected(study), study.chip().deployment
    nothing = {one.name: np.zeros(one.size, np.int64) for one in chip.populations}
    cost = charge(chip, nothing, 1)
    return {
        "network": mission.case.network, "environment": mission.environment, "upsets_per_bit_day": mission.weather.upsets_per_bit_second * 86400,
        "wrong_at_end": upset_probability(mission.weather, mission.years * YEAR),
        "deaths_per_core_year": mission.deaths, "years": mission.years, "epochs": mission.epochs, "passes": mission.passes, "lesson": mission.lesson,
        "samples_a_second": mission.rate, "cores": len(bare.placement.used_cores), "stored_bits": cost.stored_bits, "added_bits": cost.added,
    }  # fmt: skip


def _means(draws: Sequence[Row]) -> list[Row]:
    """Return the mean of each training over its draws."""
    names = ("mission", "arm", "spares", "training")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in draws:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return [
        {**dict(zip(names, place, strict=True)), **{key: float(np.mean([row[key] for row in own])) for key in own[0] if key not in (*names, "draw")},
         "draws": len(own)}
        for place, own in groups.items()
    ]  # fmt: skip


def _row(mission: Mission, about: Row, means: Sequence[Row], arm: Arm) -> Row:
    """Return a way of maintenance over the means of trainings."""
    own, bare = (
        [row for row in means if (row["mission"], row["arm"], row["spares"]) == (mission.name, *place)]
        for place in ((arm.name, arm.spares), (NOTHING, 0))
    )
    energy = [[sum(row[name] for name in ENERGIES) for row in each] for each in (own, bare)]
    row: Row = {
        "mission": mission.name, "arm": arm.name, "spares": arm.spares, "cores": about["cores"] + arm.spares,
        "added_bits": about["added_bits"] if arm.name in (PROTECT, ALL) else 0.0, "healthy": float(np.mean([one["healthy"] for one in own])),
    }  # fmt: skip
    for name in ("served", "worst", "final", *NEAR):
        row |= _spread(name, t_interval([one[name] for one in own], within=SHARE))
    row |= _spread("difference", t_interval([one["served"] - other["served"] for one, other in zip(own, bare, strict=True)]))
    row |= _spread("energy", t_interval(np.divide(energy[0], energy[1])))
    return {
        **row, **{name: float(np.mean([one[name] for one in own])) for name in ENERGIES}, "trainings": len(own), "draws": own[0]["draws"]
    }  # fmt: skip


def _spread(name: str, found: Interval) -> Row:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _label(arm: Arm) -> str:
    """Return a way of maintenance in words.

    >>> _label(Arm("remap", 2)), _label(Arm("learn"))
    ('remap, 2 spare cores', 'learn')
    """
    return f"{arm.name}, {plural(arm.spares, 'spare core')}" if arm.spares else arm.name


def _curve(mission: Mission, each: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> Row:
    """Return the accuracies of a way of maintenance over the years: means over trainings, and the interval of what each epoch serves."""
    spread = [t_interval(point, within=SHARE) for point in np.array([served(after, before) for before, after in each]).T]
    return {
        "year": [mission.years * k / mission.epochs for k in range(mission.epochs + 1)],
        **{name: np.mean([one[at] for one in each], axis=0).tolist() for at, name in enumerate(("before", "after"))},
        "served": [None, *(one.mean for one in spread)],
        **{end: [None, *(getattr(one, end) for one in spread)] for end in ("low", "high")},
    }


def _verdict(row: Row) -> Row:
    """Return a way of maintenance in words."""
    better = "not told apart from nothing" if row["difference_low"] is None or row["difference_low"] <= 0 <= row["difference_high"] else "better than nothing" if row["difference"] > 0 else "worse than nothing"  # fmt: skip
    ends = "" if row["difference_low"] is None else f" [{100 * row['difference_low']:+.2f}, {100 * row['difference_high']:+.2f}]"
    label = _label(Arm(row["arm"], row["spares"]))
    text = (
        f"{row['mission']}, {label}: {better}; serves {100 * row['served']:.2f} % of {100 * row['healthy']:.2f} % healthy, {100 * row['difference']:+.2f}{ends} points, "
        f"within 1 point {100 * row['within_1']:.0f} % of the mission, {round(100 * (row['energy'] - 1), 1) + 0.0:+.1f} % energy, {plural(row['trainings'], 'training')} of {plural(row['draws'], 'draw')} each"
    )
    return {**{name: row[name] for name in ("mission", "arm", "spares")}, "text": text.replace(" -", " −").replace("[-", "[−")}


def verdicts(figure: Figure) -> Iterator[str]:
    """Yield the verdicts of the figure, one line each."""
    for one in figure.answer["verdicts"]:
        yield f"{figure.name} {one['text']}"
