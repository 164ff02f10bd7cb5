"""Random graphs, healthy and with every kind of fault at every time: does each engine give what a chip with one clock gives?

    python experiments/graphs.py --graphs 300 [--elsewhere 60] [--workers 2] [--parts FILE] [--json docs/data/bench/graphs.json]

A graph has one or two inputs (pixels or events) and up to five other populations, joined by skips, loops, self-loops, delays, exponents,
dense, sparse and convolutional connections in any stored format, on the cores of a small chip; T is 1 to 200, log-uniform
(`tests/random_graphs.py`, `tests/faults/struck_graphs.py`). Each is run healthy, cut at every step, and with each kind of fault at each of
its times, its sites listed or drawn by population, connection, cores or words; one damaged run in four is cut at a step. What must come out
is worked out apart, from the list of faults, by a chip in plain Python with one global clock (`tests/faults/bit_chip.py`): u, v and
spikes of every neuron in every step, scores and counts. `--elsewhere`: so many graphs, healthy and damaged, in Lava and in Brian2 too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from neurofault import faults
from neurofault.activity import TRACES, Activity
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import StalledError
from neurofault.graph import Conv, Sparse
from neurofault.inputs import Bias, Inputs

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / name) for name in ("faults", "")]

from bit_chip import BitChip  # noqa: E402  # beside the tests
from composed import differences  # noqa: E402
from struck_graphs import COMBINATIONS, struck, struck_graph  # noqa: E402

KINDS_AND_TIMES = tuple(dict.fromkeys((kind, when) for kind, when, _ in COMBINATIONS))
OTHERS = ("lava", "brian2")
EXACT = ExactEngine(threads=1)


def features(chip: Deployment, inputs: Inputs) -> Counter[str]:
    """Return what a graph holds, each as 1."""
    schedule = chip.schedule
    own = [one.synapses for one in chip.connections]
    held = {
        "loops": any(schedule.loops),
        "loops_of_several_populations": any(len(island) > 1 for island in schedule.islands),
        "self_loops": any(one.source == one.target for one in chip.connections),
        "skips": any(schedule.lag[one.name] and one.source != one.target for one in chip.connections),
        "two_inputs": len(chip.inputs) > 1,
        "delays_of_connections": any(one.delay > 1 for one in chip.connections),
        "delays_of_synapses": any(one.delay is not None for one in own),
        "different_exponents_into_one_population": any(
            len({one.weight_exponent for one in chip.into(name)}) > 1 for name in schedule.phase
        ),
        "convolutions": any(isinstance(one, Conv) for one in own),
        "sparse": any(isinstance(one, Sparse) for one in own),
        "dense": any(not isinstance(one, Conv | Sparse) for one in own),
        "bias": any(isinstance(inputs.of(name), Bias) for name in chip.inputs),
        "events": any(not isinstance(inputs.of(name), Bias) for name in chip.inputs),
    }
    return Counter(name for name, holds in held.items() if holds)


def in_parts(chip: Deployment, inputs: Inputs, cuts: list[int]) -> Activity:
    """Run to each cut, and go on from there; return the whole, traces joined."""
    state, parts = None, []
    for cut in cuts:
        parts.append(EXACT.run(chip, inputs, record=TRACES, state=state, stop=cut))
        state = parts[-1].state
    traces = {
        name: type(own)(*(np.concatenate([getattr(part.traces[name], trace) for part in parts], axis=1) for trace in TRACES))
        for name, own in parts[0].traces.items()
    }
    counts = {name: np.sum([part.spike_counts[name] for part in parts], axis=0) for name in traces}
    return Activity(parts[-1].scores, counts, np.sum([part.sample_spikes for part in parts], axis=0), traces)


def run_graph(seed: int) -> tuple[int, Counter[str], list[str]]:
    """Run one graph in every way; return its seed, what was counted, and the ways in which something differs."""
    chip, inputs, rng = struck_graph(seed)
    slow = BitChip(chip)
    wanted, wrong = slow.present(inputs), []
    steps = len(inputs) * chip.timesteps * len(chip.populations)
    counts = Counter[str](
        graphs=1, runs=3, population_steps=3 * steps, spikes=sum(int(own["spikes"].sum()) for own in wanted.values())
    )
    counts.update(f"held {name}" for name in features(chip, inputs))
    counts["T 1 to 9" if chip.timesteps < 10 else "T 10 to 99" if chip.timesteps < 100 else "T 100 to 200"] += 1
    healthy = {
        "exact": EXACT.run(chip, inputs, record=TRACES),
        "step by step": StepwiseEngine().run(chip, inputs, record=TRACES),
        "cut at every step": in_parts(chip, inputs, [*range(1, chip.timesteps + 1)]),
    }
    wrong += [f"{seed} healthy, {way}: {found}" for way, own in healthy.items() if (found := differences(slow, own, wanted))]
    for kind, when in KINDS_AND_TIMES:
        clock = "presentation" if when == "permanent" or rng.random() < 0.5 else "chip"
        if (kind, when, clock) not in COMBINATIONS:
            clock = "chip"  # what acts between samples
        found = struck(rng, chip, slow, len(inputs), kind, when, clock)
        if isinstance(found, str):
            counts[f"no place {kind}"] += 1
            continue
        plan, other = found
        hurt = faults.inject(chip, plan)
        counts.update([f"struck {kind} {when}", f"clock {clock}", "faults"])
        if other.stalls(inputs):
            counts["stalled"] += 1
            try:
                EXACT.run(hurt, inputs)
                wrong.append(f"{seed} {plan.faults[0].fault}: does not stall")
            except StalledError:
                continue
        expected = other.present(inputs) if other.wrong else wanted
        whole = rng.random() < 0.75 or (hurt.damage.joining is not None and len(inputs) > 1)  # kept states: one sample alone is cut
        cuts = [chip.timesteps] if whole else sorted({int(rng.integers(1, chip.timesteps + 1)), chip.timesteps})
        ways = (
            {"exact": EXACT.run(hurt, inputs, record=TRACES)}
            if len(cuts) == 1
            else {f"cut at {cuts[0]}": in_parts(hurt, inputs, cuts)}
        )
        for way, own in ways.items():
            counts += Counter(runs=1, cut=len(cuts) - 1, population_steps=steps)
            if found := differences(other, own, expected):
                wrong.append(f"{seed} {plan.faults[0].fault}, {way}: {found}")
    return seed, counts, wrong


def elsewhere(seed: int, name: str) -> tuple[Counter[str], list[str]]:
    """Run one graph in another engine, healthy and with one fault; return likewise."""
    chip, inputs, _ = struck_graph(seed)
    slow, rng, counts, wrong = BitChip(chip), np.random.default_rng([seed, 1]), Counter[str](graphs=1), list[str]()
    kind, when, clock = COMBINATIONS[int(rng.integers(len(COMBINATIONS)))]
    found = struck(rng, chip, slow, len(inputs), kind, when, clock)
    cases = [("healthy", chip, slow)]
    if not isinstance(found, str) and not found[1].stalls(inputs):
        cases.append((f"{found[0].faults[0].fault}", faults.inject(chip, found[0]), found[1]))
    for title, own, other in cases:
        engine = get_engine(name)
        refused = engine.supports(own)
        counts["healthy" if title == "healthy" else "damaged"] += refused is None
        counts["refused"] += refused is not None
        if refused is None and (differ := differences(other, engine.run(own, inputs, record=TRACES), other.present(inputs))):
            wrong.append(f"{seed} {title}: {differ}")
    return counts, wrong


def named(counts: Counter[str], prefix: str) -> dict[str, int]:
    """Return the counts whose names begin with a word, without it."""
    return {name[len(prefix) + 1 :]: number for name, number in sorted(counts.items()) if name.startswith(f"{prefix} ")}


def summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Put what the graphs gave together; a part is of one graph in one engine."""
    counts = {engine: Counter[str]() for engine in ("exact", *OTHERS)}
    wrong: dict[str, list[str]] = {engine: [] for engine in counts}
    for part in parts:
        counts[part["engine"]].update(part["counts"])
        wrong[part["engine"]] += part["wrong"]
    own = counts["exact"]
    struck_by = named(own, "struck")
    return {
        "graphs": own["graphs"],
        "with": named(own, "held"),
        "steps_of_a_sample": named(own, "T"),
        "faults": own["faults"],
        "kinds": len({name.split()[0] for name in struck_by}),
        "kinds_and_times": {"all": len(KINDS_AND_TIMES), "met": len(struck_by), "least_often": min(struck_by.values(), default=0)},
        "clocks": named(own, "clock"),
        "stalled": own["stalled"],
        "no_place_for": named(own, "no place"),
        "runs": own["runs"],
        "cut": own["cut"],
        "steps_compared": own["population_steps"],
        "differ": len(wrong["exact"]),
        "wrong": sorted(wrong["exact"]),
        "elsewhere": {
            name: {key: counts[name][key] for key in ("graphs", "healthy", "damaged", "refused")}
            | {"differ": len(wrong[name]), "wrong": sorted(wrong[name])}
            for name in OTHERS
        },
    }


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--elsewhere", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", type=Path, help="what each graph gave, a line each; a run that was broken off goes on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parts = (
        [json.loads(line) for line in options.parts.read_text().splitlines()] if options.parts and options.parts.exists() else []
    )
    done = {(part["engine"], part["seed"]) for part in parts}

    def keep(engine: str, seed: int, counts: Counter[str], wrong: list[str]) -> None:
        parts.append({"engine": engine, "seed": seed, "counts": dict(counts), "wrong": wrong})
        print(f"{engine}: graph {seed}, {len(wrong)} differ", *wrong, sep="\n", flush=True)
        if options.parts:
            with options.parts.open("a") as stream:
                stream.write(json.dumps(parts[-1]) + "\n")

    with Pool(options.workers) as pool:
        for seed, counts, wrong in pool.imap_unordered(run_graph, [n for n in range(options.graphs) if ("exact", n) not in done]):
            keep("exact", seed, counts, wrong)
    for name in OTHERS:
        for seed in range(options.elsewhere):
            if (name, seed) not in done:
                keep(name, seed, *elsewhere(seed, name))
    result = summary(parts)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
