"""A study of ways of healing as JSON: each row with its intervals, its means over draws and its draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neurofault.rescue.detection import Detection
from neurofault.rescue.outcome import Point, Rescued
from neurofault.study.clustered import ratio_covers
from neurofault.study.rescue_study import RescueStudy, Row, name_of
from neurofault.study.statistics import Interval


def _interval(found: Interval | None) -> dict[str, float | None] | None:
    return None if found is None else {"mean": found.mean, "low": found.low, "high": found.high}


def to_json(study: RescueStudy) -> dict[str, Any]:
    """Return a study as JSON-ready types; equal runs give equal bytes. Of targets ``mean_squared_error`` stands in the place of ``accuracy``."""
    found = {
        "samples": study.samples,
        "cycle_samples": study.cycle,
        "held_back_samples": study.held_back,
        "seed": study.seed,
        "healthy_accuracy": study.healthy,
        "warnings": study.warnings(),
        "rows": [row_to_json(row) for row in study.rows],
        "paired": [
            {
                "a": name_of(a),
                "b": name_of(b),
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "draws": found.n,
            }
            for a, b, found in study.paired()
        ],
    }
    return dict(study.metric.named(found))


def row_to_json(row: Row) -> dict[str, Any]:
    """Return a row; accuracies as ``{mean, low, high}``, what was used as a mean over draws (energy and time null where the profile does not know them)."""

    def mean(value: Callable[[Rescued], float]) -> float:
        return float(np.mean([value(draw.rescued) for draw in row.draws]))

    def known(value: Callable[[Rescued], float | None]) -> float | None:
        return _known_mean([value(draw.rescued) for draw in row.draws])

    first_draw = row.draws[0].rescued
    table = first_draw.deployment.profile.default_energy
    tables = first_draw.deployment.profile.energy_tables
    provision = first_draw.provision
    return {
        "strategy": row.treatment.label,
        "learner": row.treatment.learner,
        "control": row.treatment.control,
        "healthy": _interval(row.interval(lambda draw: draw.healthy)),
        "damaged": _interval(row.interval(lambda draw: draw.damaged)),
        "final": _interval(row.interval(lambda draw: draw.final)),
        "worst": _interval(row.interval(lambda draw: draw.rescued.worst)),
        "mean_served": _interval(row.interval(lambda draw: draw.mean_served)),
        "recovered_fraction": _recovered(row.recovered),
        "steps": row.treatment.plan.steps,
        **({} if row.treatment.plan.spend == "greedy" else {"spend": row.treatment.plan.spend}),
        "cycles_per_step": mean(lambda done: done.cycles_per_step),
        "cycles_total": mean(lambda done: done.cycles_total),
        "cycles_after_last_damage": mean(lambda done: done.cycles_after_last_damage),
        "samples_learned": mean(lambda done: done.samples_learned),
        "writes": mean(lambda done: done.spent.writes),
        "updates": mean(lambda done: done.spent.updates),
        "axon_updates": mean(lambda done: done.spent.axon_updates),
        "synaptic_operations": mean(lambda done: done.spent.synaptic_operations),
        "spikes": mean(lambda done: done.spent.spikes),
        "host_bytes": mean(lambda done: done.spent.host_bytes),
        "energy_joule": known(lambda done: done.spent.joules(table)),
        "time_second": known(lambda done: done.spent.seconds(table)),
        "energy_joule_by_table": {name: known(lambda done, name=name: done.spent.joules(name)) for name in tables},  # type: ignore[misc]  # a lambda with a default has no type of its own
        "time_second_by_table": {name: known(lambda done, name=name: done.spent.seconds(name)) for name in tables},  # type: ignore[misc]  # a lambda with a default has no type of its own
        "learning_memory": None
        if provision is None
        else {
            "synapse_bits": provision.synapse_bits,
            "in_axons": provision.in_axons,
            "neurons": provision.neurons,
            "cores": sorted({core for each in provision.support for core in each.cores}),
        },
        "guard": _guard(row),
        **_detection(row),
        "notes": sorted({note for draw in row.draws for note in draw.rescued.notes}),
        "n_draws": len(row.draws),
        "draws": [
            {
                "draw": draw.draw,
                "accuracy": draw.final,
                "damaged": draw.damaged,
                "worst": draw.rescued.worst,
                "mean_served": draw.mean_served,
                "spikes": draw.rescued.spent.spikes,
                "writes": draw.rescued.spent.writes,
                "energy_joule": None if table is None else draw.rescued.spent.energy.get(table),
                "faults": [{"kind": hit.kind, "cores": list(hit.cores)} for hit in draw.rescued.deployment.damage.hits],
                **({} if draw.rescued.detection is None else {"detection": _detected(draw.rescued.detection)}),
                "time_line": [_point(point) for point in draw.rescued.points],
            }
            for draw in row.draws
        ],
    }


def _known_mean(values: list[float | None]) -> float | None:
    """Return a mean; None where one of the values is not known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _recovered(interval: Interval | None) -> dict[str, float | None] | None:
    """Return a recovered share, and in what share of studies such an interval holds the truth at the least."""
    found = _interval(interval)
    return found if found is None or interval is None else {**found, "covers_at_least": ratio_covers(interval.n)}


def _guard(row: Row) -> dict[str, Any] | None:
    """Return what the guard did and took, a mean over draws; None: nothing was held back."""
    found = [draw.rescued.guarded for draw in row.draws if draw.rescued.guarded is not None]
    if not found:
        return None
    table = row.draws[0].rescued.deployment.profile.default_energy
    spells = [spell for each in found for spell in each.spells]
    return {
        "held_back": found[0].held_back,
        "checks": float(np.mean([each.checks for each in found])),
        "writes": float(np.mean([each.spent.writes for each in found])),
        "host_bytes": float(np.mean([each.spent.host_bytes for each in found])),
        "energy_joule": _known_mean([each.spent.joules(table) for each in found]),
        "time_second": _known_mean([each.spent.seconds(table) for each in found]),
        "begun": float(np.mean([spell.begun for spell in spells])) if spells else None,
        "lowest": row.metric.worst(spell.lowest for spell in spells) if spells else None,
        "kept": float(np.mean([spell.kept for spell in spells])) if spells else None,
        "spells": len(spells),
        "stopped": sum(spell.stopped for spell in spells),
        "stayed": {name: sum(spell.stayed == name for spell in spells) for name in ("last", "best", "first")},
    }


def _detection(row: Row) -> dict[str, Any]:
    """Return ``detection``: what testing, moving and testing again came to over the draws; nothing where the strategy does not test."""
    found = [draw.rescued.detection for draw in row.draws if draw.rescued.detection is not None]
    if not found:
        return {}
    delays = [each.delay for each in found if each.delay is not None]
    made = {
        "noticed": len(delays),
        "delay": float(np.mean(delays)) if delays else None,
        "tests": float(np.mean([each.tests for each in found])),
        "samples": float(np.mean([each.samples for each in found])),
        "moves": float(np.mean([len(each.tries) for each in found])),
        "taken_back": float(np.mean([sum(not one.stays for one in each.tries) for each in found])),
        "passed": sum(each.passed for each in found),
    }
    return {"detection": made}


def _detected(found: Detection) -> dict[str, Any]:
    return {
        "delay": found.delay, "tests": found.tests, "samples": found.samples, "passed": found.passed,
        "tries": [{"named": list(one.named), "left": list(one.left), "taken": list(one.taken), "stays": one.stays} for one in found.tries],
    }  # fmt: skip


def _point(point: Point) -> dict[str, Any]:
    return {
        "samples": point.samples,
        "strikes": point.strikes,
        "what": point.what,
        "accuracy": point.accuracy,
        "writes": point.spent.writes,
    }
