"""How cost and memory grow: following single synapses and running whole, against neurons, samples, steps, depth, faults and threads.

python experiments/bench/scale.py --json docs/data/bench/scale.json

Random networks 784-n-…-10 of weights ±, thresholds that leave about a tenth of the hidden neurons firing a step, on random events of rate 0.1. One thing grows
at a time, by factors of two; ``exponent`` is the slope of a straight line through the logarithms, with its 95 % interval (least squares). From the rate of one core and the
bytes of one process follows what 10⁹ synapses would take (``billion``), on 100 nodes of ``cores_a_node`` cores.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from common import arguments, finish
from scipy.stats import linregress, t

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import synapse_rows
from neurofault.engines.incremental.golden import bytes_kept, effects, golden
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs

CORES = 64
NODES = 100


@dataclass(frozen=True)
class Size:
    """What is measured: hidden neurons a layer, hidden layers, steps, samples, faults, threads."""

    hidden: int = 256
    layers: int = 1
    steps: int = 32
    samples: int = 400
    faults: int = 20_000
    threads: int = 1


def network(size: Size) -> Deployment:
    """Return a random chip of a size, without a profile's limits on cores."""
    rng = np.random.default_rng(size.hidden + size.layers)
    widths = [784, *[size.hidden] * size.layers, 10]
    weights = [(rng.integers(-20, 24, (after, before)) * 2).astype(np.int32) for before, after in pairwise(widths)]
    names = [*(f"hidden{number + 1}" for number in range(size.layers)), "output"]
    thresholds = [8 * int(math.sqrt(before) * 10) for before in widths[:-1]]
    populations = [
        nf.Population(name, (width,), nf.CubaLif(threshold, du=4095, dv=0, bias_exponent=0))
        for name, width, threshold in zip(names, widths[1:], thresholds, strict=True)
    ]
    made = nf.chain(
        "scale", [nf.Population("input", (784,), nf.Source()), *populations], [nf.Dense(one) for one in weights], timesteps=size.steps, how="count",
        stored=[Stored()] * len(weights),
    )  # fmt: skip
    return nf.deploy(made, neurons_per_core=1024)


@dataclass(frozen=True)
class Cost:
    """What was measured: seconds of a whole run, of the healthy run that is kept, of following all faults; bytes that are kept; spikes a neuron and step."""

    full: float
    golden: float
    follow: float
    kept: int
    rate: float


def measure(size: Size, repeats: int) -> Cost:
    """Return the least of some repeats of each."""
    chip, rng = network(size), np.random.default_rng(7)
    inputs = Inputs(events=rng.random((size.samples, size.steps, 784)) < 0.1)
    engine = ExactEngine(size.threads)
    activity = engine.run(chip, inputs)
    whole = golden(chip, inputs, threads=size.threads)
    places = rng.integers(0, 784, size.faults), rng.integers(0, size.hidden, size.faults)
    batch = synapse_rows(whole, "hidden1", *places, np.zeros(size.faults, int))
    effects(synapse_rows(whole, "hidden1", places[0][:50], places[1][:50], np.zeros(50, int)), threads=size.threads)
    hidden = sum(int(activity.spike_counts[one.name].sum()) for one in chip.populations[1:-1])
    return Cost(
        least(lambda: engine.run(chip, inputs), repeats),
        least(lambda: golden(chip, inputs, threads=size.threads), repeats),
        least(lambda: effects(batch, threads=size.threads), repeats),
        bytes_kept(whole.flat) * size.samples,
        hidden / (size.samples * size.steps * size.hidden * size.layers),
    )


def least(work: Callable[[], object], repeats: int) -> float:
    """Return the least seconds of some repeats."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Return the slope of log(value) against log(size) with its 95 % interval."""
    line = linregress(np.log(sizes), np.log(values))
    half = float(t.ppf(0.975, max(1, len(sizes) - 2)) * line.stderr)
    return {"exponent": float(line.slope), "low": float(line.slope - half), "high": float(line.slope + half)}


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    steps = 3 if options.quick else 5
    base = Size(hidden=64, samples=50, faults=2000) if options.quick else Size()

    def growing(first: int, count: int = steps) -> list[int]:
        return [first << number for number in range(count)]

    axes: dict[str, list[Size]] = {
        "hidden": [Size(n, base.layers, base.steps, base.samples, base.faults) for n in growing(64)],
        "layers": [Size(base.hidden, n, base.steps, base.samples, base.faults) for n in growing(1, min(steps, 4))],
        "steps": [Size(base.hidden, base.layers, n, base.samples, base.faults) for n in growing(16)],
        "samples": [Size(base.hidden, base.layers, base.steps, n, base.faults) for n in growing(50)],
        "faults": [Size(base.hidden, base.layers, base.steps, base.samples, n) for n in growing(1000, steps + 3)],
        "threads": [Size(base.hidden, base.layers, base.steps, base.samples, base.faults, n) for n in (1, 2)],
    }
    rows, answer = [], {"quick": options.quick, "base": vars(base)}
    for axis, sizes in axes.items():
        costs = [measure(size, options.repeats) for size in sizes]
        values = [getattr(size, axis) for size in sizes]
        found: dict[str, object] = {"values": values, "spikes_a_neuron_and_step": [cost.rate for cost in costs]}
        for what in ("full", "golden", "follow", "kept"):
            own = [float(getattr(cost, what)) for cost in costs]
            found[what] = {
                "measured": own,
                **(exponent(values, own) if axis != "threads" and own[0] != own[-1] else {"exponent": 0.0}),
            }
        answer[axis] = found
        shown = ", ".join(f"{what} {found[what]['exponent']:+.2f}" for what in ("full", "golden", "follow", "kept"))
        if axis == "threads":
            shown = f"full {costs[0].full / costs[1].full:.2f} ×, follow {costs[0].follow / costs[1].follow:.2f} × as fast"
        rows.append((f"{axis} {values[0]} … {values[-1]}", shown))
    answer["billion"] = billion(answer, base)
    rows += [(f"10⁹ synapses: {name}", f"{value:.3g}") for name, value in answer["billion"].items()]
    finish("how cost grows (exponents of seconds and bytes)", rows, answer, options.json)


def billion(answer: dict[str, object], base: Size) -> dict[str, float]:
    """Return what every synapse of a layer of 31,623 × 31,623, 1,000 samples × 32 steps, would take, by the rate of one core and the measured exponent of hidden neurons (and, ``hours_at_most``, the end of its interval)."""
    side, samples, steps = 31_623, 1000, 32
    hidden, grown = answer["hidden"], side / base.hidden
    a_fault_sample = answer["faults"]["follow"]["measured"][-1] / (answer["faults"]["values"][-1] * base.samples)
    growth, most = (max(0.0, hidden["follow"][name]) for name in ("exponent", "high"))
    cores = CORES * NODES
    return {
        "fault_samples": float(side) ** 2 * samples, "core_seconds_a_fault_sample": a_fault_sample * grown**growth,
        "hours_on_all_cores": side**2 * samples * a_fault_sample * grown**growth / cores / 3600, "hours_at_most": side**2 * samples * a_fault_sample * grown**most / cores / 3600, "cores_a_node": CORES, "nodes": NODES,
        "weight_bytes_a_process": 2.0 * side**2, "healthy_bytes_a_sample": 4.0 * steps * side,
        "site_table_bytes_a_node": 56.0 * side**2 / NODES,
    }  # fmt: skip


if __name__ == "__main__":
    main()
