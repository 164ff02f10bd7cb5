"""Alarms in JSON: who is watched, what it costs, what it sees."""

from __future__ import annotations

from typing import Any

from neurofault.study.alarms.choose import ChosenAlarms
from neurofault.study.alarms.tried import AlarmCost, FalseAlarms, TriedFaults
from neurofault.study.patterns.report import interval_json


def report(found: ChosenAlarms, cost: AlarmCost, false: FalseAlarms, tried: tuple[TriedFaults, ...]) -> dict[str, Any]:
    """Return what is known of alarms as JSON."""
    alarms, step = found.alarms, cost.watched.step.value
    mean, low, high = false.per_samples
    return {
        "window": alarms.window, "size": len(alarms), "heartbeat": alarms.heartbeat, "candidates": len(found.candidates),
        "watchers": [
            {"kind": one.kind, "population": one.population, "neurons": list(one.neurons), "threshold": one.threshold} for one in alarms.watchers
        ],
        "names": [str(one) for one in alarms.watchers],
        "faults": found.faults, "shown_by_first": list(found.shown), "windows_of_choice": found.windows,
        "stated_false_alarms": alarms.stated, "vouched_by_windows": alarms.vouched, "by_class": alarms.by_class,
        "false_alarms": {"per_10000": mean, "low": low, "high": high, "windows": false.windows, "alarmed": false.alarmed},
        "neurons": cost.neurons, "synapses": cost.synapses, "cores": cost.cores, "compartments": cost.compartments,
        "energy_joule": cost.energy, "energy_plain_joule": cost.plain.energy.value, "energy_evidence": cost.watched.energy.evidence,
        "step_seconds": step, "time_evidence": cost.watched.step.evidence,
        "tried": [_tried(one, alarms.timesteps, step) for one in tried],
    }  # fmt: skip


def _tried(found: TriedFaults, timesteps: int, step: float | None) -> dict[str, Any]:
    delays = {"half": found.delay(0.5), "nine_tenths": found.delay(0.9)}
    return {
        "kind": found.kind, "draws": found.draws, "critical": found.critical, "seen": interval_json(found.seen),
        "critical_seen": interval_json(found.critical_seen),
        "delay_samples": {name: None if steps is None else steps / timesteps for name, steps in delays.items()},
        "delay_seconds": {name: None if steps is None or step is None else steps * step for name, steps in delays.items()},
    }  # fmt: skip
