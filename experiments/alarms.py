"""How few watchers see that a chip breaks while it works, how late, and how often for nothing? Watchers of mnist-mlp.

    python experiments/alarms.py --data-dir DIR [--network mnist-mlp] [--window 10] [--draws 24] [--json docs/data/alarms.json]

For each window of W samples: watchers chosen greedily by dead cores and neurons, 1 to 16 of them, and 8 at random; thresholds by 20,000 training samples, stated for at most
10 false alarms per 10,000 samples. Single faults strike at a keyed sample and stay; each draw is shown a stretch of its own, 500 of the 5,000 validation samples. False alarms are counted on the 10,000 test samples, shuffled
and class by class, also with thresholds that were vouched for class by class. Windows that are run replace their rows in the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.streams import generator, permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import AlarmSet
from neurofault.study.alarms.choose import choose_alarms
from neurofault.study.alarms.on_chip import with_alarms
from neurofault.study.alarms.recorded import recorded
from neurofault.study.alarms.thresholds import order_of, vouched
from neurofault.study.alarms.tried import FalseAlarms, TriedFaults, alarm_cost, tried_together
from neurofault.study.alarms.watch import Watched, watched
from neurofault.study.patterns.report import interval_json
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown
from neurofault.study.statistics import wilson

SIZES = (1, 2, 4, 8, 16)
STATED = 10.0
TRAINING, HORIZON = 20_000, 500
RANDOM = 2
FAULTS = ("core_dead", "neuron_dead", "synapse_dead")


def sets(prepared: Prepared, window: int) -> Iterator[tuple[str, int, AlarmSet]]:
    """Yield alarms by how they were placed; the first by greedy choice, then controls."""
    chip, train, stream = prepared.deployment, prepared.data.train.first(TRAINING), prepared.data.validation.first(HORIZON)
    samples = shown(chip, train)
    found = choose_alarms(
        chip, samples, shown(chip, stream), size=max(SIZES), window=window, false_alarms=STATED, windows=5, data=train.name
    )
    order = order_of(len(train), 1, None, window)
    held = order[len(order) // (2 * window) * window :]
    labels = train.labels[held]
    by_class = held[order_of(len(held), 1, labels, window)]

    def made(picked: Sequence[int], vouching: NDArray[np.int64]) -> AlarmSet:
        own = found.candidates.taken(picked)
        q, windows = vouched(chip, samples.take(vouching), own, window, STATED, None)
        return replace(found.alarms, watchers=own.watchers(q), vouched=windows)

    for size in SIZES:
        yield "greedy", 0, made(found.picked[:size], held)
    for draw in range(RANDOM):
        picked = permutation_prefix(stream_key(draw, "random watchers"), len(found.candidates), 8).tolist()
        yield "random", draw, made(picked, held)
    yield "greedy, vouched class by class", 0, made(found.picked[:8], by_class)
    yield "heartbeat on every core, and one watcher", 0, replace(made(found.picked[:1], held), heartbeat="all")


def tried(found: TriedFaults, timesteps: int, step: float | None) -> dict[str, Any]:
    """Return what became of the draws of a kind as JSON."""
    delays = {name: found.delay(share) for name, share in (("half", 0.5), ("nine_tenths", 0.9))}
    return {
        "kind": found.kind, "draws": found.draws, "critical": found.critical, "seen": interval_json(found.seen), "critical_seen": interval_json(found.critical_seen),
        "delay_samples": {name: None if steps is None else steps / timesteps for name, steps in delays.items()},
        "delay_seconds": {name: None if steps is None or step is None else steps * step for name, steps in delays.items()},
    }  # fmt: skip


def rows(network: str, prepared: Prepared, window: int, draws: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each set of watchers of a window."""
    chip, test = prepared.deployment, prepared.test
    made = list(sets(prepared, window))
    on_chip = [(with_alarms(chip, alarms), alarms) for _, _, alarms in made]
    results = tried_together(on_chip, shown(chip, prepared.data.validation), faults=FAULTS, draws=draws, horizon=HORIZON)
    names = {name for _, _, alarms in made for name in alarms.watched()}
    neurons = {
        name: np.unique(np.concatenate([alarms.watched()[name] for _, _, alarms in made if name in alarms.watched()]))
        for name in names
    }
    trains = recorded(chip, shown(chip, test), neurons, {name for _, _, alarms in made for name in alarms.potentials})
    mixed = trains.taken(generator(1, "alarms", "test").permutation(len(test)))
    sorted_ = trains.taken(np.argsort(test.labels, kind="stable"))
    for (placed, draw, alarms), (whole, _), result in zip(made, on_chip, results, strict=True):
        cost = alarm_cost(whole, alarms)
        step = cost.watched.step.value
        false, by_class = (counted(watched(whole, alarms, shown_as), alarms).per_samples for shown_as in (mixed, sorted_))
        row = {
            "network": network, "window": window, "placement": placed, "set": draw, "watchers": [str(one) for one in alarms.watchers], "size": len(alarms),
            "vouched": alarms.vouched, "stated": alarms.stated, "false_alarms": false, "false_alarms_sorted": by_class,
            "faults": [tried(one, chip.timesteps, step) for one in result],
            "neurons": cost.neurons, "synapses": cost.synapses, "cores": cost.cores, "compartments": cost.compartments, "energy_joule": cost.energy,
            "energy_plain": cost.plain.energy.value, "energy_evidence": cost.watched.energy.evidence, "step_seconds": step, "time_evidence": cost.watched.step.evidence,
        }  # fmt: skip
        said = "; ".join(
            f"{one.kind} {one.seen.mean:.0%}, critical {one.critical_seen and one.critical_seen.mean}" for one in result
        )
        print(f"W {window} {placed} {draw} {len(alarms)}: false {false[0]:.1f}, sorted {by_class[0]:.1f}; {said}", flush=True)
        yield row


def counted(run: Watched, alarms: AlarmSet) -> FalseAlarms:
    """Return the false alarms of a healthy run."""
    found = int(run.alarmed.sum())
    return FalseAlarms(len(run.alarmed), found, wilson(found, len(run.alarmed)), alarms.window)


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--network", default="mnist-mlp")
    parser.add_argument("--window", type=int, action="append", help="samples; default: 100 and 10")
    parser.add_argument("--draws", type=int, default=24)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepared = prepare(Setup(network=options.network, data_dir=options.data_dir), lambda *_: None)
    for window in options.window or (100, 10):
        began, used = time.perf_counter(), time.process_time()
        found = list(rows(options.network, prepared, window, options.draws))
        print(f"W {window}: {time.perf_counter() - began:.0f} s, {time.process_time() - used:.0f} s of processor", flush=True)
        if options.json is not None:
            kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else []
            others = [row for row in kept if (row["network"], row["window"]) != (options.network, window)]
            options.json.write_text(json.dumps(others + found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
