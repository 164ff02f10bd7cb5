"""Random graphs, healthy and with every kind of fault at every time: does each engine give what a chip with one clock gives?

    python experiments/graphs.py --graphs 300 [--elsewhere 60] [--first 0] [--workers 2] [--json docs/data/bench/graphs.json]

A graph has one or two inputs (pixels or events) and up to five other populations, joined by skips, loops, self-loops, delays, exponents,
dense, sparse and convolutional connections in any stored format, on the cores of a small chip; T is 1 to 200, log-uniform
(`tests/random_graphs.py`, `tests/faults/struck_graphs.py`). Each is run healthy, cut at every step, and with each kind of fault at each of
its times, its sites listed or drawn by population, connection, cores or words; a damaged run is cut at one step as well. What must come
out is worked out apart, from the list of faults, by a chip in plain Python with one global clock (`tests/faults/bit_chip.py`): u, v and
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


def run_graph(seed: int) -> tuple[Counter[str], list[str]]:
    """Run one graph in every way; return what was counted, and the ways in which something differs."""
    chip, inputs, rng = struck_graph(seed)
    slow = BitChip(chip)
    wanted, wrong = slow.present(inputs), []
    steps = len(inputs) * chip.timesteps * len(chip.populations)
    counts = Counter[str](
        graphs=1, runs=3, population_steps=3 * steps, spikes=sum(int(own["spikes"].sum()) for own in wanted.values())
    )
    counts.update(f"held {name}" for name in features(chip, inputs))
    counts[f"T {len(str(chip.timesteps))}"] += 1
    healthy = {
        "exact": EXACT.run(chip, inputs, record=TRACES),
        "step by step": StepwiseEngine().run(chip, inputs, record=TRACES),
        "cut at every step": in_parts(chip, inputs, [*range(1, chip.timesteps + 1)]),
    }
    wrong += [f"{seed} healthy, {way}: {found}" for way, own in healthy.items() if (found := differences(slow, own, wanted))]
    for kind, when in KINDS_AND_TIMES:
        clock = "presentation" if when == "permanent" or rng.random() < 0.5 else "chip"
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
        wanted = other.present(inputs)
        cut = int(rng.integers(1, chip.timesteps + 1))
        for way, own in (
            ("exact", EXACT.run(hurt, inputs, record=TRACES)),
            (f"cut at {cut}", in_parts(hurt, inputs, list(dict.fromkeys([cut, chip.timesteps])))),
        ):
            counts += Counter(runs=1, population_steps=steps)
            if found := differences(other, own, wanted):
                wrong.append(f"{seed} {plan.faults[0].fault}, {way}: {found}")
    return counts, wrong


def elsewhere(seed: int, name: str) -> tuple[Counter[str], list[str]]:
    """Run one graph in another engine, healthy and with one fault; return likewise."""
    chip, inputs, _ = struck_graph(seed)
    slow, rng, counts, wrong = BitChip(chip), np.random.default_rng([seed, 1]), Counter[str](), []
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


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--elsewhere", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.graphs)
    counts, wrong = Counter[str](), list[str]()
    with Pool(options.workers) as pool:
        for done, (part, found) in enumerate(pool.imap_unordered(run_graph, seeds), 1):
            counts, wrong = counts + part, wrong + found
            if done % 10 == 0 or found:
                print(f"{done} graphs, {counts['faults']} faults, {len(wrong)} differ", *found, sep="\n", flush=True)
    struck_by = named(counts, "struck")
    steps = {f"{10 ** (int(digits) - 1)} to {min(10 ** int(digits) - 1, 200)}": n for digits, n in named(counts, "T").items()}
    result: dict[str, Any] = {
        "graphs": counts["graphs"],
        "with": named(counts, "held"),
        "steps_of_a_sample": steps,
        "faults": counts["faults"],
        "kinds": len({name.split()[0] for name in struck_by}),
        "kinds_and_times": {"all": len(KINDS_AND_TIMES), "met": len(struck_by), "least_often": min(struck_by.values(), default=0)},
        "clocks": named(counts, "clock"),
        "stalled": counts["stalled"],
        "no_place_for": named(counts, "no place"),
        "runs": counts["runs"],
        "steps_compared": counts["population_steps"],
        "differ": len(wrong),
        "wrong": sorted(wrong),
        "elsewhere": {},
    }
    for name in OTHERS if options.elsewhere else ():
        apart, differ = Counter[str](), list[str]()
        for seed in range(options.first, options.first + options.elsewhere):
            part, found = elsewhere(seed, name)
            apart, differ = apart + part, differ + found
            print(f"{name}: graph {seed}, {len(differ)} differ", *found, sep="\n", flush=True)
        result["elsewhere"][name] = {
            **{key: apart[key] for key in ("healthy", "damaged", "refused")},
            "differ": len(differ),
            "wrong": differ,
        }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
