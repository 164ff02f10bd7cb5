"""The answer of a campaign: rows by cell, intervals over draws, curves, paired differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from neurofault.faults import describe
from neurofault.metrics import ACCURACY, Metric, metric_named
from neurofault.numerals import plural
from neurofault.study.campaign.files import shown
from neurofault.study.campaign.folder import ENVIRONMENT, RESOLVED, rows_in
from neurofault.study.campaign.identity import document_digest, trial_id
from neurofault.study.campaign.labels import labels_of, lines_of, words, x_axis
from neurofault.study.campaign.maps import CoreHit, maps_of
from neurofault.study.campaign.planned import Planned, read_planned
from neurofault.study.campaign.rows import SEMANTICS, Row, best, failed, total_of, usable, value_of
from neurofault.study.campaign.spec import Campaign, Cell, load_campaign
from neurofault.study.campaign.tested import tested
from neurofault.study.clustered import ratio_covers, recovered_interval
from neurofault.study.outcomes import cores_drawn_from, interval_of_few
from neurofault.study.statistics import Interval, holm, methods_in_words, paired_difference, paired_p, t_interval, wilson


@dataclass(frozen=True, eq=False)
class Found:
    """What a run folder holds.

    Attributes:
        folder: the run folder.
        campaign: as it was resolved.
        rows: one a trial of each cell, by cell and draw, found by identity: cells that ask for the same trial share its row.
        planned: what ``planned.json`` says.
        trials: that it takes in all: fewer than planned where a cell's stop rule has ended its draws.
        damaged_lines: lines of the journal that are not what was written.
        others: rows of the journal that belong to other settings of this campaign, or to draws after a stop.
        earlier: rows that an earlier version computed, under which the same trial could give another result; they are not used.
    """

    folder: Path
    campaign: Campaign
    rows: tuple[Row, ...]
    planned: Planned
    trials: int
    damaged_lines: int
    others: int
    earlier: int

    @property
    def metric(self) -> Metric:
        """What was measured."""
        return metric_named(self.planned.metric)

    def _repr_html_(self) -> str:
        """Return the table of accuracies, as notebooks show it."""
        answer, metric = answer_of(self), self.metric
        heads = ("what", "at", metric.words if metric.lower else "accuracy (%)", "95 % interval", "draws", "failed")
        rows = [
            (
                curve["label"], "–" if point["x"] is None else str(point["x"]),
                "–" if point["mean"] is None else metric.figures(point["mean"]),
                "–" if point["low"] is None else f"{metric.figures(point['low'])} … {metric.figures(point['high'])}",
                str(point["draws"]), str(point["failed"]),
            )
            for curve in answer["curves"]
            for point in curve["points"]
        ]  # fmt: skip
        lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
        head = "".join(f"<th>{name}</th>" for name in heads)
        how = methods_in_words(
            point["method"] for curve in answer["curves"] for point in curve["points"] if point["low"] is not None
        )
        caption = f"{escape(answer['name'])}: {len(self.rows):,} of {plural(self.trials, 'trial')}" + (
            f"; 95 % intervals: {escape(how, quote=False)}" if how else ""
        )
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def found_in(folder: Path) -> Found:
    """Read a run folder.

    Raises:
        UsageError: there is no run in it, or half of one.
        SpecError: its resolved campaign was edited and no longer reads.
    """
    read = rows_in(folder)
    campaign = load_campaign(folder / RESOLVED)  # JSON is YAML
    planned = read_planned(folder, campaign, document_digest(campaign.root.value))
    last = best(usable(read.rows, SEMANTICS))
    earlier = len({row["trial"] for row in read.rows if row.get("semantics", 1) != SEMANTICS})
    rows: list[Row] = []
    trials = 0
    for cell in campaign.cells():
        digests, repeats = planned.digests[planned.chip_of[str(cell.index)]], cell.spec.repeats
        ids = [trial_id(cell, draw, *digests, metric=planned.metric) for draw in range(repeats.draws)]
        if repeats.stop is not None:
            first = [value_of(last[trial]) for trial in takewhile(last.__contains__, ids)]
            ids = ids[: repeats.stop.rule.last_draw(first)]
        trials += len(ids)
        stop = None if repeats.stop is None else str(repeats.stop)
        rows += [{**last[trial], "cell": cell.index, "stop": stop} for trial in ids if trial in last]
    others = len(set(last) - {row["trial"] for row in rows})
    return Found(folder, campaign, tuple(rows), planned, trials, read.damaged, others, earlier)


def answer_of(found: Found) -> dict[str, Any]:
    """Return the answer as JSON-ready types: what :func:`neurofault.study.campaign.report.write_report` takes.

    Accuracies are fractions, errors in the targets' unit squared (``metric`` says which, ``metric_name`` by its name); intervals are 95 % intervals over draws, by the method that a point names (``exact`` where every outcome was
    drawn, ``cautious`` under a stop rule); those of the recovered share are of a ratio over the same draws and cover 95 % of
    studies or less, ``covers_at_least`` (:func:`neurofault.study.clustered.ratio_covers`).
    """
    campaign, spec = found.campaign, found.campaign.spec
    by_cell: dict[int, list[Row]] = {}
    for row in found.rows:
        by_cell.setdefault(row["cell"], []).append(row)
    cells = list(campaign.cells())
    metric = found.metric
    points = {cell.index: _point(cell, by_cell.get(cell.index, []), _layers(found, cell), metric) for cell in cells}
    labels = labels_of(campaign, cells)
    curves = [
        {"label": labels[members[0].index], "axis": x_axis(members[0]), "points": [points[cell.index] for cell in members]}
        for members in lines_of(cells).values()
    ]
    plans = {cell.plan: cell.faults for cell in cells}
    healthy = [value for row in found.rows if (value := value_of(row, "healthy_")) is not None]
    lost = [row for row in found.rows if failed(row)]
    again = found.planned.data_dir
    return {
        "name": spec.name,
        "notes": _notes(found, cells, labels, by_cell),
        "command": f"neurofault campaign run {RESOLVED} --out ." + ("" if again is None else f" --data-dir {quote(again)}"),
        "network": shown(spec.network.zoo or spec.network.torch or spec.network.nir or spec.network.netx),
        "data": found.planned.data,
        "profile": shown(spec.profile),
        "samples": found.planned.samples,
        **({} if metric == ACCURACY else {"metric": metric.words, "metric_name": metric.name}),
        "timesteps": found.planned.timesteps,
        "seed": spec.repeats.seed,
        "healthy": float(np.mean(healthy)) if len(set(healthy)) == 1 else None,
        "chance": next(iter(found.planned.chance.values())),
        "plans": [" + ".join(fault.kind for fault in plan) for plan in plans.values()],
        "tested": _tested(found, cells),
        "stop": None if spec.repeats.stop is None else spec.repeats.stop.model_dump(exclude_none=True),
        "kinds": {fault.kind: describe(fault.kind).summary for plan in plans.values() for fault in plan},
        "curves": curves,
        "paired": _paired(labels, cells, by_cell),
        "failures": [{key: row[key] for key in ("trial", "cell", "draw", "status", "message")} for row in lost],
        "trials": {"planned": found.trials, "done": len(found.rows), "failed": len(lost), "others": found.others},
        **maps_of(cells, found.planned, [hit for row in found.rows if (hit := _hit(row, metric)) is not None]),
        "provenance": _provenance(found),
    }


def _tested(found: Found, cells: Sequence[Cell]) -> dict[str, Any]:
    chip = next(iter(found.planned.chips.values()))
    layers = [core.layer for core in chip.cores.values() if core.layer is not None]
    cores = {layer: layers.count(layer) for layer in dict.fromkeys(layers)}
    return tested(found.campaign.spec, cells, cores, [len(row["cores"]) for row in found.rows if row["cores"]])


_HARM = 0.003
"""Accuracy that learning on a healthy chip may cost before the report says so at its top; of errors, as a share of chance."""


def _notes(found: Found, cells: Sequence[Cell], labels: Mapping[int, str], by_cell: Mapping[int, Sequence[Row]]) -> list[str]:
    """Return what must be known before the numbers are read."""
    notes, metric = [], found.metric
    for cell in cells:
        rows = [row for row in by_cell.get(cell.index, []) if total_of(row) is not None]
        if not rows:
            continue
        label = labels[cell.index]
        lost = float(np.mean([_lost(row, metric) for row in rows]))
        chance = found.planned.chance[found.planned.chip_of[str(cell.index)]]
        if cell.rescue.strategy == "sham" and lost > _HARM * (chance if metric.lower else 1):
            cost = f"adds {lost:.4g} to the {metric.words}" if metric.lower else f"costs {100 * lost:.2f} points of accuracy"
            notes.append(f"{label}: on a healthy chip this learning alone {cost}; what it does to a broken one is not repair alone")
        asked = any(fault.count != 0 and fault.rate != 0 for fault in cell.faults)
        if asked and not any(row["cores"] or row["neurons"] or row["synapses"] for row in rows):
            x = x_axis(cell)
            at = "" if x is None else f" at {words(cell.axes[x])}"
            notes.append(f"{label}{at}: no draw hit anything")
    if found.earlier:
        notes.append(earlier_words(found.earlier))
    return list(dict.fromkeys(notes))


def earlier_words(count: int) -> str:
    """Return the line that says why rows of an earlier version are not used."""
    return (
        f"{plural(count, 'trial of the journal was', 'trials of the journal were')} run by an earlier version, in which the same trial could give another result "
        f"(semantics is {SEMANTICS} now): the rows are kept and not used, and run again"
    )


def _value(row: Row, when: str = "") -> float:
    """Return what a row holds that has a result."""
    found = value_of(row, when)
    assert found is not None
    return found


def _lost(row: Row, metric: Metric, when: str = "") -> float:
    """Return how much worse than the healthy chip a trial is, which has a result."""
    totals = [total_of(row, each) or 0 for each in ("healthy_", when)]
    return metric.loss(*totals) / row[metric.counts]  # type: ignore[no-any-return]  # a number


def metric_in(answer: Mapping[str, Any]) -> Metric:
    """Return what an answer measures."""
    return metric_named(answer.get("metric_name", ACCURACY.name))


def _hit(row: Row, metric: Metric) -> CoreHit | None:
    """Return what a trial hit and cost before healing; None: no result."""
    damaged = total_of(row, "damaged_")
    return (
        None if damaged is None else CoreHit(row["cell"], row["draw"], tuple(row["cores"]), damaged, _lost(row, metric, "damaged_"))
    )


def _layers(found: Found, cell: Cell) -> dict[int, str]:
    """Return which layer each core in use holds, of the chip of a cell."""
    cores = found.planned.chips[found.planned.chip_of[str(cell.index)]].cores
    return {int(core): place.layer for core, place in cores.items() if place.layer is not None}


def _interval(cell: Cell, rows: Sequence[Row], layers: Mapping[int, str], metric: Metric, when: str = "") -> Interval | None:
    """Return the mean of what was measured over rows, with the interval that the cell's way of drawing allows."""
    values = [_value(row, when) for row in rows]
    if not values:
        return None
    few = cores_drawn_from(cell.faults, layers)
    if few is not None and len(values) > 1:
        found = interval_of_few(values, [tuple(row["cores"]) for row in rows], *few, within=metric.within)
        if found.method == "exact" or cell.spec.repeats.stop is None:
            return found
    return (
        t_interval(values, within=metric.within) if cell.spec.repeats.stop is None else cell.spec.repeats.stop.rule.interval(values)
    )


def _ends(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}


def points_x(cell: Cell) -> int | float | str | None:
    """Return the value of the axis that a cell's curve runs along."""
    x = x_axis(cell)
    value = None if x is None else cell.axes[x]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if x is None else value if number else words(value)


def _point(cell: Cell, rows: Sequence[Row], layers: Mapping[int, str], metric: Metric) -> dict[str, Any]:
    done = [row for row in rows if total_of(row) is not None]
    alone = len(done) == 1 and not (
        metric.of_steps or metric.lower
    )  # steps of a recording are not answered independently of each other
    final = wilson(done[0]["correct"], done[0]["samples"]) if alone else _interval(cell, done, layers, metric)
    stop = cell.spec.repeats.stop
    finals = [_value(row) for row in done]
    broken = [_value(row, "damaged_") for row in done]

    def mean(column: str) -> float | None:
        known = [row[column] for row in done if row[column] is not None]
        return float(np.mean(known)) if known else None

    return {
        "cell": cell.index,
        "x": points_x(cell),
        "mean": None if final is None else final.mean,
        "low": None if final is None else final.low,
        "high": None if final is None else final.high,
        "method": None if final is None else final.method,
        "narrow": None if stop is None else stop.rule.last_draw([value_of(row) for row in rows]) is not None,
        "lowest": min(finals, default=None),
        "median": float(np.median(finals)) if finals else None,
        "highest": max(finals, default=None),
        "draws": len(done),
        "failed": sum(map(failed, rows)),
        "stalled": sum(row["status"] == "stalled" for row in rows),
        "healthy": _value(done[0], "healthy_") if done else None,
        "damaged": None
        if not broken
        else {**(_ends(_interval(cell, done, layers, metric, "damaged_")) or {}), metric.worst_end: metric.worst(broken)},
        "recovered": None if cell.rescue.strategy == "none" else _with_covers(_recovered(done, metric)),
        "cycles": mean("cycles_total"),
        "writes": mean("writes"),
        "energy_joule": mean("repair_energy_joule"),
    }


def points_of(curves: Sequence[Mapping[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    """Return curves of an answer as one flat row a point: what the CSV beside a figure holds.

    Args:
        curves: of an answer.
        metric: what was measured.
    """
    return [
        {
            "label": curve["label"],
            "axis": curve["axis"],
            **{key: value for key, value in point.items() if key not in ("damaged", "recovered")},
        }
        | {f"damaged_{end}": (point["damaged"] or {}).get(end) for end in ("mean", "low", "high", metric.worst_end)}
        | {f"recovered_{end}": (point["recovered"] or {}).get(end) for end in ("mean", "low", "high")}
        for curve in curves
        for point in curve["points"]
    ]


def _recovered(rows: Sequence[Row], metric: Metric) -> Interval | None:
    """Return mean(final − damaged) / mean(healthy − damaged); None where the loss is under two standard errors."""
    if len(rows) < 2:
        return None
    healthy, damaged, final = ([metric.merit(total_of(row, when) or 0) for row in rows] for when in ("healthy_", "damaged_", ""))
    return recovered_interval(healthy, damaged, final)


def _with_covers(interval: Interval | None) -> dict[str, float | None] | None:
    ends = _ends(interval)
    return ends if ends is None or interval is None else {**ends, "covers_at_least": ratio_covers(interval.n)}


def _paired(labels: Mapping[int, str], cells: Sequence[Cell], by_cell: Mapping[int, Sequence[Row]]) -> list[dict[str, Any]]:
    """Compare ways of healing on the same draws of the same damage; p values corrected together (Holm 1979)."""
    same: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.plan, tuple((name, repr(value)) for name, value in cell.axes.items() if not name.startswith("rescue.")))
        same.setdefault(key, []).append(cell)
    rows: list[dict[str, Any]] = []
    for members in same.values():
        for position, first in enumerate(members):
            for second in members[position + 1 :]:
                a = {row["draw"]: value_of(row) for row in by_cell.get(first.index, []) if total_of(row) is not None}
                b = {row["draw"]: value_of(row) for row in by_cell.get(second.index, []) if total_of(row) is not None}
                both = sorted(set(a) & set(b))
                if len(both) < 2:
                    continue
                left, right = [a[draw] or 0.0 for draw in both], [b[draw] or 0.0 for draw in both]
                interval = paired_difference(left, right)
                p = paired_p(left, right)
                x = points_x(first)
                rows.append(
                    {
                        "a": labels[first.index], "b": labels[second.index], "x": x,
                        "bare": "none" in (first.rescue.strategy, second.rescue.strategy), "difference": interval.mean, "low": interval.low, "high": interval.high, "draws": len(both), "p": p,
                    }
                )  # fmt: skip
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = corrected
    return rows


def _provenance(found: Found) -> dict[str, str]:
    try:
        environment = json.loads((found.folder / ENVIRONMENT).read_text(encoding="utf-8"))
        versions, machine = environment["versions"], environment["machine"]
        return {
            "neurofault": f"{versions['neurofault']} ({environment['commit'] or 'no commit known'})",
            "python": str(environment["python"]),
            "libraries": ", ".join(f"{name} {number}" for name, number in versions.items() if name != "neurofault"),
            "machine": f"{machine['system']} {machine['release']}, {machine['processor']}, {plural(machine['cores'], 'core')}",
            "chip and data": "; ".join(f"{key}: {' '.join(each)}" for key, each in found.planned.digests.items()),
            "weights": "; ".join(f"{key}: {digest}" for key, digest in found.planned.weights.items()) or "not known",
            "unreadable journal lines": str(found.damaged_lines),
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # missing or damaged: nothing is claimed
        return {}
