"""The answer of a campaign: rows by cell, intervals over draws, curves, paired differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.errors import UsageError
from neurofault.faults import describe
from neurofault.study.campaign.agenda import outcome_of
from neurofault.study.campaign.folder import ENVIRONMENT, PLANNED, RESOLVED, rows_in
from neurofault.study.campaign.identity import trial_id
from neurofault.study.campaign.journal import Row
from neurofault.study.campaign.spec import Campaign, Cell, load_campaign
from neurofault.study.campaign.tested import tested
from neurofault.study.statistics import Interval, bootstrap_interval, holm, paired_difference, paired_p, t_interval, wilson


@dataclass(frozen=True, eq=False)
class Found:
    """What a run folder holds.

    Attributes:
        folder: the run folder.
        campaign: as it was resolved.
        rows: one a trial of each cell, by cell and draw, found by identity: cells that ask for the same trial share its row.
        planned: see :func:`neurofault.study.campaign.run.planned_json`.
        trials: that it takes in all: fewer than planned where a cell's stop rule has ended its draws.
        damaged_lines: lines of the journal that are not what was written.
        others: rows of the journal that belong to other settings of this campaign, or to draws after a stop.
    """

    folder: Path
    campaign: Campaign
    rows: tuple[Row, ...]
    planned: Mapping[str, Any]
    trials: int
    damaged_lines: int
    others: int

    def _repr_html_(self) -> str:
        """Return the table of accuracies, as notebooks show it."""
        answer = answer_of(self)
        heads = ("what", "at", "accuracy (%)", "95 % interval", "draws", "failed")
        rows = [
            (
                curve["label"], "–" if point["x"] is None else str(point["x"]),
                "–" if point["mean"] is None else f"{100 * point['mean']:.2f}",
                "–" if point["low"] is None else f"{100 * point['low']:.2f} … {100 * point['high']:.2f}",
                str(point["draws"]), str(point["failed"]),
            )
            for curve in answer["curves"]
            for point in curve["points"]
        ]  # fmt: skip
        lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
        head = "".join(f"<th>{name}</th>" for name in heads)
        caption = f"{escape(answer['name'])}: {len(self.rows):,} of {self.trials:,} trials"
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def found_in(folder: Path) -> Found:
    """Read a run folder.

    Raises:
        UsageError: there is no run in it.
        SpecError: its resolved campaign was edited and no longer reads.
    """
    read = rows_in(folder)
    campaign = load_campaign(folder / RESOLVED)  # JSON is YAML
    try:
        planned = json.loads((folder / PLANNED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / PLANNED}: cannot be read ({error})") from None
    last = {row["trial"]: row for row in read.rows}
    rows: list[Row] = []
    trials = 0
    for cell in campaign.cells():
        digests, repeats = planned["digests"][planned["chip_of"][str(cell.index)]], cell.spec.repeats
        ids = [trial_id(cell, draw, *digests) for draw in range(repeats.draws)]
        if repeats.stop is not None:
            first = [outcome_of(last[trial]) for trial in takewhile(last.__contains__, ids)]
            ids = ids[: repeats.stop.rule.last_draw(first)]
        trials += len(ids)
        rows += [{**last[trial], "cell": cell.index} for trial in ids if trial in last]
    return Found(folder, campaign, tuple(rows), planned, trials, read.damaged, len(set(last) - {row["trial"] for row in rows}))


def answer_of(found: Found) -> dict[str, Any]:
    """Return the answer as JSON-ready types: what :func:`neurofault.study.campaign.report.write_report` takes.

    Accuracies are fractions; intervals are 95 % t intervals over draws, those of the recovered share bootstrap intervals.
    """
    campaign, spec = found.campaign, found.campaign.spec
    by_cell: dict[int, list[Row]] = {}
    for row in found.rows:
        by_cell.setdefault(row["cell"], []).append(row)
    cells = list(campaign.cells())
    points = {cell.index: _point(cell, by_cell.get(cell.index, [])) for cell in cells}
    lines: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        lines.setdefault(_line(cell), []).append(cell)
    curves = [
        {"label": _label(campaign, members[0]), "axis": _x_axis(members[0]), "points": [points[cell.index] for cell in members]}
        for members in lines.values()
    ]
    plans = {cell.plan: cell.faults for cell in cells}
    healthy = [row["healthy_correct"] / row["samples"] for row in found.rows if row["healthy_correct"] is not None]
    failed = [row for row in found.rows if row["status"] not in ("ok", "stalled")]
    return {
        "name": spec.name,
        "command": f"neurofault campaign run {RESOLVED} --out .",
        "network": spec.network.zoo or spec.network.torch or spec.network.nir,
        "data": found.planned["data"],
        "profile": spec.profile,
        "samples": found.planned["samples"],
        "timesteps": found.planned["timesteps"],
        "seed": spec.repeats.seed,
        "healthy": float(np.mean(healthy)) if len(set(healthy)) == 1 else None,
        "chance": next(iter(found.planned["chance"].values())),
        "plans": [" + ".join(fault.kind for fault in plan) for plan in plans.values()],
        "tested": _tested(found, cells),
        "stop": None if spec.repeats.stop is None else spec.repeats.stop.model_dump(),
        "kinds": {fault.kind: describe(fault.kind).summary for plan in plans.values() for fault in plan},
        "curves": curves,
        "paired": _paired(campaign, cells, by_cell),
        "failures": [{key: row[key] for key in ("trial", "cell", "draw", "status", "message")} for row in failed],
        "trials": {"planned": found.trials, "done": len(found.rows), "failed": len(failed), "others": found.others},
        **_criticality(found),
        "provenance": _provenance(found),
    }


def _tested(found: Found, cells: Sequence[Cell]) -> dict[str, Any]:
    chip = found.planned["chips"][next(iter(found.planned["chips"]))]
    layers = [core["layer"] for core in chip["cores"].values() if core["layer"] is not None]
    cores = {layer: layers.count(layer) for layer in dict.fromkeys(layers)}
    return tested(found.campaign.spec, cells, cores, [len(row["cores"]) for row in found.rows if row["cores"]])


def _x_axis(cell: Cell) -> str | None:
    """Return the axis that a curve runs along: the first one of the faults, else the first one that varies."""
    names = list(cell.axes)
    own = [name for name in names if name.startswith("faults.") and name.rsplit(".", 1)[-1] in ("count", "rate")]
    return next(iter([*own, *[name for name in names if not name.startswith("rescue.")]]), None)


def _line(cell: Cell) -> tuple[Any, ...]:
    """Return what cells of one curve share: all but the value of the axis that it runs along."""
    x = _x_axis(cell)
    return cell.plan, cell.way, tuple((name, repr(value)) for name, value in cell.axes.items() if name != x)


def _label(campaign: Campaign, cell: Cell) -> str:
    x = _x_axis(cell)
    kinds = " + ".join(fault.kind for fault in cell.faults)
    named = ("strategy", "learner")  # said by the label of the rescue
    varied = {
        name.rsplit(".", 1)[-1]: value for name, value in cell.axes.items() if name != x and name.rsplit(".", 1)[-1] not in named
    }
    others = ", ".join(f"{name} {json.dumps(value).replace(chr(34), '')}" for name, value in varied.items())
    many = len(campaign.spec.faults) > 1 or len(campaign.spec.rescue) == 1
    own = ", ".join(f"{name} {value:g}" for name, value in _budget_of(campaign, cell).items() if name not in varied)
    return " · ".join(part for part in (kinds if many else "", others, cell.rescue.label, own) if part)


def _budget_of(campaign: Campaign, cell: Cell) -> dict[str, float]:
    """Return what tells a cell's way of healing from the others of the same strategy: the limits that it sets and some do not."""
    ways = [way for way in campaign.spec.rescue if way.strategy == cell.rescue.strategy]
    fields = ("cycles", "writes", "writes_per_synapse", "energy", "time", "labels", "steps", "watchdog", "guard")
    differing = [name for name in fields if len({getattr(way, name) for way in ways}) > 1]
    usual = type(cell.rescue).model_fields
    return {name: getattr(cell.rescue, name) for name in differing if getattr(cell.rescue, name) != usual[name].default}


def _accuracy(row: Row, column: str = "correct") -> float | None:
    return None if row[column] is None else float(row[column] / row["samples"])


def _interval(values: Sequence[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return t_interval(known) if known else None


def _ends(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _point(cell: Cell, rows: Sequence[Row]) -> dict[str, Any]:
    done = [row for row in rows if row["correct"] is not None]
    final = wilson(done[0]["correct"], done[0]["samples"]) if len(done) == 1 else _interval([_accuracy(row) for row in done])

    stop = cell.spec.repeats.stop
    finals = [row["correct"] / row["samples"] for row in done]
    broken = [row["damaged_correct"] / row["samples"] for row in done]

    def mean(column: str) -> float | None:
        known = [row[column] for row in done if row[column] is not None]
        return float(np.mean(known)) if known else None

    x = _x_axis(cell)
    return {
        "cell": cell.index,
        "x": None if x is None else cell.axes[x] if isinstance(cell.axes[x], int | float | str) else json.dumps(cell.axes[x]),
        "mean": None if final is None else final.mean,
        "low": None if final is None else final.low,
        "high": None if final is None else final.high,
        "method": None if final is None else final.method,
        "narrow": None if stop is None else stop.rule.last_draw([outcome_of(row) for row in rows]) is not None,
        "lowest": min(finals, default=None),
        "median": float(np.median(finals)) if finals else None,
        "highest": max(finals, default=None),
        "draws": len(done),
        "failed": len(rows) - len(done),
        "healthy": _accuracy(done[0], "healthy_correct") if done else None,
        "damaged": None if not broken else {**(_ends(_interval(broken)) or {}), "lowest": min(broken)},
        "recovered": None if cell.rescue.strategy == "none" else _ends(_recovered(done)),
        "cycles": mean("cycles_total"),
        "writes": mean("writes"),
        "energy_joule": mean("repair_energy_joule"),
    }


def _recovered(rows: Sequence[Row]) -> Interval | None:
    """Return mean(final − damaged) / mean(healthy − damaged); None where the loss is under two standard errors."""
    if len(rows) < 2:
        return None
    gained = np.array([row["correct"] - row["damaged_correct"] for row in rows], float)
    lost = np.array([row["healthy_correct"] - row["damaged_correct"] for row in rows], float)
    if lost.mean() <= 0 or lost.mean() <= 2 * lost.std(ddof=1) / np.sqrt(len(lost)):
        return None
    try:
        return bootstrap_interval(gained, lost, statistic=lambda a, b: a.mean(-1) / b.mean(-1), method="percentile", resamples=2000)
    except UsageError:  # a resample without any loss
        return None


def _paired(campaign: Campaign, cells: Sequence[Cell], by_cell: Mapping[int, Sequence[Row]]) -> list[dict[str, Any]]:
    """Compare ways of healing on the same draws of the same damage; p values corrected together (Holm 1979)."""
    same: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.plan, tuple((name, repr(value)) for name, value in cell.axes.items() if not name.startswith("rescue.")))
        same.setdefault(key, []).append(cell)
    rows: list[dict[str, Any]] = []
    for members in same.values():
        for position, first in enumerate(members):
            for second in members[position + 1 :]:
                a = {row["draw"]: _accuracy(row) for row in by_cell.get(first.index, []) if row["correct"] is not None}
                b = {row["draw"]: _accuracy(row) for row in by_cell.get(second.index, []) if row["correct"] is not None}
                both = sorted(set(a) & set(b))
                if len(both) < 2:
                    continue
                left, right = [a[draw] or 0.0 for draw in both], [b[draw] or 0.0 for draw in both]
                interval = paired_difference(left, right)
                p = paired_p(left, right)
                x = _x_axis(first)
                rows.append(
                    {
                        "a": _label(campaign, first), "b": _label(campaign, second), "x": None if x is None else first.axes[x],
                        "difference": interval.mean, "low": interval.low, "high": interval.high, "draws": len(both), "p": p,
                    }
                )  # fmt: skip
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = corrected
    return rows


def _criticality(found: Found) -> dict[str, Any]:
    """Return, for each core of the first chip, the mean accuracy lost in trials that hit it (without repair)."""
    chip = next(iter(found.planned["chips"]))
    grid = found.planned["chips"][chip]
    losses: dict[str, list[float]] = {core: [] for core in grid["cores"]}
    seen: set[tuple[Any, ...]] = set()
    for row in found.rows:
        key = (row["draw"], tuple(row["cores"]), row["damaged_correct"])
        if row["damaged_correct"] is None or found.planned["chip_of"][str(row["cell"])] != chip or key in seen:
            continue
        seen.add(key)
        for core in row["cores"]:
            if str(core) in losses:
                losses[str(core)].append((row["healthy_correct"] - row["damaged_correct"]) / row["samples"])
    if not any(losses.values()):
        return {"criticality": [], "grid": None}
    return {
        "criticality": [
            {
                "core": int(core), "column": grid["cores"][core]["column"], "row": grid["cores"][core]["row"],
                "layer": grid["cores"][core]["layer"], "loss": float(np.mean(each)) if each else None, "trials": len(each),
            }
            for core, each in losses.items()
        ],
        "grid": {"columns": grid["columns"], "rows": grid["rows"]},
    }  # fmt: skip


def _provenance(found: Found) -> dict[str, str]:
    try:
        environment = json.loads((found.folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    versions = environment["versions"]
    machine = environment["machine"]
    return {
        "neurofault": f"{versions['neurofault']} ({environment['commit'] or 'no commit known'})",
        "python": str(environment["python"]),
        "libraries": ", ".join(f"{name} {number}" for name, number in versions.items() if name != "neurofault"),
        "machine": f"{machine['system']} {machine['release']}, {machine['processor']}, {machine['cores']} cores",
        "chip and data": "; ".join(f"{key}: {' '.join(each)}" for key, each in found.planned["digests"].items()),
        "unreadable journal lines": str(found.damaged_lines),
    }
