"""How few watchers see that a chip breaks while it works, how late, and how often for nothing? Watchers of mnist-mlp.

    python experiments/alarms.py --data-dir DIR [--network mnist-mlp] [--window 10] [--draws 60] [--json docs/data/alarms.json]

For each window of W samples: watchers chosen greedily by dead cores and neurons, 1 to 16 of them, and as many at random; thresholds by 20,000 training samples, stated for at most
10 false alarms per 10,000 samples. Single faults strike at a keyed sample and stay; the horizon is 1,000 validation samples. False alarms are counted on the 10,000 test samples, shuffled
and class by class, also with thresholds that were vouched for class by class. Windows that are run replace their rows in the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.streams import generator, permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import AlarmSet
from neurofault.study.alarms.choose import ChosenAlarms, choose_alarms
from neurofault.study.alarms.on_chip import with_alarms
from neurofault.study.alarms.thresholds import order_of, vouched
from neurofault.study.alarms.tried import TriedFaults, alarm_cost, false_alarms, tried_together
from neurofault.study.patterns.report import interval_json
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown

SIZES = (1, 2, 4, 8, 16)
STATED = 10.0
TRAINING, HORIZON = 20_000, 1_000
RANDOM = 3
FAULTS = ("core_dead", "neuron_dead", "synapse_dead")


def sets(prepared: Prepared, window: int, by_class: bool) -> Iterator[tuple[str, int, AlarmSet, ChosenAlarms]]:
    """Yield alarms by how they were placed and how many there are."""
    chip, train, stream = prepared.deployment, prepared.data.train.first(TRAINING), prepared.data.validation.first(HORIZON)
    samples, labels = shown(chip, train), train.labels if by_class else None
    found = choose_alarms(
        chip,
        samples,
        shown(chip, stream),
        size=max(SIZES),
        window=window,
        false_alarms=STATED,
        labels=labels,
        windows=5,
        data=train.name,
    )
    order = order_of(len(train), 1, labels, window)
    vouching = samples.take(order[len(order) // (2 * window) * window :])
    for size in SIZES:
        if by_class and size != 8:
            continue
        for draw in range(RANDOM + 1 if not by_class and size in (8, 16) else 1):
            picked = list(found.picked[:size])
            if draw:
                picked = permutation_prefix(stream_key(draw, "random watchers"), len(found.candidates), size).tolist()
            own = found.candidates.taken(picked)
            q, _ = vouched(chip, vouching, own, window, STATED, None)
            yield ("random" if draw else "greedy"), draw, replace(found.alarms, watchers=own.watchers(q)), found


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
    every = shown(chip, test)
    mixed = every.take(generator(1, "alarms", "test").permutation(len(test)))
    sorted_ = every.take(np.argsort(test.labels, kind="stable"))
    made = list(sets(prepared, window, by_class=False))
    heart = replace(made[0][2], watchers=made[0][2].watchers[:1], heartbeat="all")
    made.append(("heartbeats", 0, heart, made[0][3]))
    on_chip = [(with_alarms(chip, alarms), alarms) for _, _, alarms, _ in made]
    results = tried_together(on_chip, faults=FAULTS, draws=draws)
    by_class = list(sets(prepared, window, by_class=True))
    for (placed, draw, alarms, found), (watched, _), result in zip(
        [*made, *((f"{placed}, by class", draw, alarms, found) for placed, draw, alarms, found in by_class)],
        [*on_chip, *((with_alarms(chip, alarms), alarms) for _, _, alarms, _ in by_class)],
        [*results, *(() for _ in by_class)],
        strict=True,
    ):
        cost = alarm_cost(watched, alarms)
        step = cost.watched.step.value
        row = {
            "network": network, "window": window, "placement": placed, "set": draw, "watchers": [str(one) for one in alarms.watchers], "size": len(alarms),
            "candidates": len(found.candidates), "vouched": alarms.vouched, "stated": alarms.stated,
            "false_alarms": false_alarms(watched, alarms, mixed).per_samples, "false_alarms_sorted": false_alarms(watched, alarms, sorted_).per_samples,
            "faults": [tried(one, chip.timesteps, step) for one in result],
            "neurons": cost.neurons, "synapses": cost.synapses, "cores": cost.cores, "compartments": cost.compartments, "energy_joule": cost.energy,
            "energy_plain": cost.plain.energy.value, "energy_evidence": cost.watched.energy.evidence, "step_seconds": step, "time_evidence": cost.watched.step.evidence,
        }  # fmt: skip
        said = "; ".join(
            f"{one.kind} {one.seen.mean:.0%}, critical {one.critical_seen and one.critical_seen.mean}" for one in result
        )
        print(
            f"W {window} {placed} {draw} {len(alarms)}: false {row['false_alarms'][0]:.1f}, sorted {row['false_alarms_sorted'][0]:.1f}; {said}",
            flush=True,
        )
        yield row


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--network", default="mnist-mlp")
    parser.add_argument("--window", type=int, action="append", help="samples; default: 1, 10 and 100")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepared = prepare(Setup(network=options.network, data_dir=options.data_dir), lambda *_: None)
    for window in options.window or (10, 100, 1):
        began, used = time.perf_counter(), time.process_time()
        found = list(rows(options.network, prepared, window, options.draws))
        print(f"W {window}: {time.perf_counter() - began:.0f} s, {time.process_time() - used:.0f} s of processor", flush=True)
        if options.json is not None:
            kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else []
            others = [row for row in kept if (row["network"], row["window"]) != (options.network, window)]
            options.json.write_text(json.dumps(others + found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
