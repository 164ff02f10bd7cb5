"""How cost and memory grow: following single synapses and running whole, against neurons, synapses, depth, steps, samples, faults and workers.

python experiments/bench/scale.py --json docs/data/bench/scale.json --page docs/data/bench/scale.txt

Random networks 784-256-…-10 of weights ±, thresholds that leave about a tenth of the hidden neurons firing a step, random events of rate 0.1. One thing grows at
a time, by factors of two; its exponent is the slope of a straight line through the logarithms, with its 95 % interval (least squares). ``check`` measures a network twice as wide as
the widest that was fitted, and sets it beside what the fit says. ``billion`` is what every single synapse of a layer of 10⁹ would take, by the fit, on the machines that are assumed.
``--page`` writes the tables of docs/scale.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, parser_of
from scipy.stats import linregress, t

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import synapse_rows
from neurofault.engines.incremental.fault_table import room_for
from neurofault.engines.incremental.golden import effects, golden
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs

NODES, CORES = 100, 64
SIDE, SAMPLES, STEPS = 31_623, 1000, 32
"""The layer of 10⁹ synapses, and what is shown to it."""
WHAT = ("full", "golden", "follow", "memory")
WORDS = {
    "full": "a run of the exact engine", "golden": "the healthy run that is kept", "follow": "following all faults", "memory": "memory",
    "hidden": "neurons of a layer", "inputs": "synapses of a neuron", "layers": "hidden layers", "steps": "steps", "samples": "samples",
    "faults": "faults",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """What is measured: inputs, hidden neurons a layer, hidden layers, steps, samples, faults, threads."""

    inputs: int = 784
    hidden: int = 256
    layers: int = 1
    steps: int = 32
    samples: int = 400
    faults: int = 20_000
    threads: int = 1


@dataclass(frozen=True)
class Cost:
    """What was measured: seconds of a whole run, of the healthy run that is kept, of following all faults; bytes; spikes a hidden neuron and step.

    Bytes of the network (as it is deployed, and as both engines read it), of a sample of the healthy run, of a fault and of a worker; ``memory``: of all together.
    """

    full: float
    golden: float
    follow: float
    network: int
    sample: float
    fault: float
    worker: int
    memory: int
    rate: float


def network(size: Size) -> Deployment:
    """Return a random chip of a size, without a profile's limits on cores."""
    rng = np.random.default_rng(size.hidden + size.layers)
    widths = [size.inputs, *[size.hidden] * size.layers, 10]
    weights = [(rng.integers(-20, 24, (after, before)) * 2).astype(np.int32) for before, after in pairwise(widths)]
    names = [*(f"hidden{number + 1}" for number in range(size.layers)), "output"]
    populations = [
        nf.Population(name, (width,), nf.CubaLif(8 * int(math.sqrt(before) * 10), du=4095, dv=0, bias_exponent=0))
        for name, before, width in zip(names, widths[:-1], widths[1:], strict=True)
    ]
    made = nf.chain(
        "scale", [nf.Population("input", (size.inputs,), nf.Source()), *populations], [nf.Dense(one) for one in weights], timesteps=size.steps,
        how="count", stored=[Stored()] * len(weights),
    )  # fmt: skip
    return nf.deploy(made, neurons_per_core=1024)


def measure(size: Size, repeats: int) -> Cost:
    """Return the least seconds of some repeats of each, and the bytes."""
    chip, rng = network(size), np.random.default_rng(7)
    inputs = Inputs(events=rng.random((size.samples, size.steps, size.inputs)) < 0.1)
    engine = ExactEngine(size.threads)
    activity = engine.run(chip, inputs)
    whole = golden(chip, inputs, threads=size.threads, keep_bytes=4 << 30)
    places = rng.integers(0, size.inputs, size.faults), rng.integers(0, size.hidden, size.faults)
    batch = synapse_rows(whole, "hidden1", *places, np.zeros(size.faults, int))
    effects(synapse_rows(whole, "hidden1", places[0][:50], places[1][:50], np.zeros(50, int)), threads=size.threads)
    spikes = sum(int(activity.spike_counts[one.name].sum()) for one in chip.populations[1:-1])
    packed = tuple(whole.flat.packed.wires.values()), tuple(whole.plan.packed.wires.values())
    deployed = tuple(np.asarray(one.synapses.weight) for one in chip.connections)
    net, rows, worker = (
        nbytes(part)
        for part in (
            (whole.flat.net, packed, deployed),
            batch.rows,
            room_for(whole.flat.net, int(np.diff(batch.rows.targets["first"]).max(initial=0))),
        )
    )
    return Cost(
        least(lambda: engine.run(chip, inputs), repeats),
        least(lambda: golden(chip, inputs, threads=size.threads), repeats),
        least(lambda: effects(batch, threads=size.threads), repeats),
        net,
        whole.nbytes / size.samples,
        rows / size.faults,
        worker,
        net + whole.nbytes + rows + worker * size.threads,
        spikes / (size.samples * size.steps * size.hidden * size.layers),
    )


def nbytes(part: object) -> int:
    """Return the bytes of all arrays in nested tuples."""
    if isinstance(part, tuple):
        return sum(map(nbytes, part))
    return part.nbytes if isinstance(part, np.ndarray) else 0


def least(work: Callable[[], object], repeats: int) -> float:
    """Return the least seconds of some repeats."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def fitted(sizes: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """Return the slope of log(value) against log(size), ``exponent``, with its 95 % interval ``low`` to ``high``."""
    line = linregress(np.log(sizes), np.log(values))
    half = float(t.ppf(0.975, max(1, len(sizes) - 2)) * line.stderr)
    return {"exponent": float(line.slope), "low": float(line.slope - half), "high": float(line.slope + half)}


def main() -> None:
    """Measure, fit and print."""
    parser = parser_of(__doc__ or "")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables of docs/scale.md")
    options = parser.parse_args()
    steps = 3 if options.quick else 5
    base = Size(hidden=64, samples=50, faults=2000) if options.quick else Size()
    first = {"hidden": 64, "inputs": 196, "layers": 1, "steps": 16, "samples": 50, "faults": 1000}
    count = {"layers": min(steps, 4), "faults": steps + 3}
    answer: dict[str, Any] = {"quick": options.quick, "base": vars(base)}
    rows: list[tuple[str, str]] = []
    for axis, begin in first.items():
        values = [begin << number for number in range(count.get(axis, steps))]
        costs = [measure(replace(base, **{axis: value}), options.repeats) for value in values]
        answer[axis] = {"values": values, "costs": [vars(cost) for cost in costs]}
        answer[axis] |= {what: fitted(values, [getattr(cost, what) for cost in costs]) for what in WHAT}
        rows.append(
            (f"{WORDS[axis]} {values[0]:,} … {values[-1]:,}", ", ".join(f"{what} {shown(answer[axis][what])}" for what in WHAT))
        )
    alone, both = (measure(replace(base, threads=threads), options.repeats) for threads in (1, 2))
    answer["workers"] = {what: getattr(alone, what) / getattr(both, what) for what in ("full", "golden", "follow")}
    answer["workers"]["bytes"] = alone.worker
    rows.append(
        ("two workers, times as fast", ", ".join(f"{what} {answer['workers'][what]:.2f}" for what in ("full", "golden", "follow")))
    )
    answer["check"] = checked(answer["hidden"], base, options.repeats)
    rows += [(f"{WORDS[what]}, {answer['check']['hidden']:,} neurons", f"{value:.2f} of what the fit says") for what, value in answer["check"].items() if what != "hidden"]  # fmt: skip
    answer["billion"] = billion(answer, alone, base)
    rows += [(f"10⁹ synapses: {name}", f"{value:,.4g}") for name, value in answer["billion"].items()]
    if options.page is not None:
        options.page.write_text(page(answer), encoding="utf-8")
    finish("how cost grows (exponents of seconds and bytes)", rows, answer, options.json)


def checked(found: dict[str, Any], base: Size, repeats: int) -> dict[str, float]:
    """Return the measured seconds of a network twice as wide as the widest, by what the fit says."""
    wide = 2 * found["values"][-1]
    cost = measure(replace(base, hidden=wide), repeats)
    ratios: dict[str, float] = {"hidden": wide}
    for what in ("full", "golden", "follow"):
        sizes, own = np.log(found["values"]), np.log([one[what] for one in found["costs"]])
        ratios[what] = getattr(cost, what) / math.exp(own.mean() + found[what]["exponent"] * (math.log(wide) - sizes.mean()))
    return ratios


def billion(answer: dict[str, Any], alone: Cost, base: Size) -> dict[str, float]:
    """Return what every single synapse of a layer of 31,623 × 31,623 would take, on all samples.

    Each node takes a hundredth of the synapses, and all samples, which its cores share; each keeps the network and a healthy run. What a fault-sample takes is that of ``alone`` times
    the growth with neurons and with synapses of a neuron, an exponent below 0 counted as 0; ``_at_most`` takes the upper ends of both intervals.
    """

    def grown(what: str, end: str) -> float:
        growth = [max(0.0, answer[axis][what][end]) for axis in ("hidden", "inputs")]
        return float((SIDE / base.hidden) ** growth[0] * (SIDE / base.inputs) ** growth[1])

    pairs = SIDE**2 * SAMPLES
    each, healthy = alone.follow / (base.faults * base.samples), alone.golden / base.samples * STEPS / base.steps
    minutes = {
        end: (pairs / NODES * each * grown("follow", end) + SAMPLES * healthy * grown("golden", end)) / CORES / 60
        for end in ("exponent", "high")
    }
    largest = answer["inputs"]["costs"][-1]
    synapses = answer["inputs"]["values"][-1] * base.hidden
    return {
        "fault_samples": pairs, "nodes": NODES, "cores_a_node": CORES, "core_seconds_a_fault_sample": each * grown("follow", "exponent"),
        "minutes": minutes["exponent"], "minutes_at_most": minutes["high"],
        "healthy_run_minutes": SAMPLES * healthy * grown("golden", "exponent") / CORES / 60,
        "network_bytes_a_node": largest["network"] / synapses * SIDE**2,
        "healthy_bytes_a_node": alone.sample / (base.hidden * base.steps) * SIDE * STEPS * SAMPLES,
        "fault_bytes_a_node": alone.fault * SIDE**2 / NODES,
    }  # fmt: skip


def shown(fit: dict[str, float]) -> str:
    """Return an exponent with its interval."""
    return f"{fit['exponent']:+.2f} ({fit['low']:+.2f} to {fit['high']:+.2f})".replace("-", "−")


def page(answer: dict[str, Any]) -> str:
    """Return the tables of the page, in Markdown."""
    first, base = answer["hidden"]["costs"], Size(**answer["base"])
    lines = ["| grows | from … to | " + " | ".join(WORDS[what] for what in WHAT) + " |", "|---" * (2 + len(WHAT)) + "|"]
    for axis in ("hidden", "inputs", "layers", "steps", "samples", "faults"):
        values = answer[axis]["values"]
        lines.append(
            f"| {WORDS[axis]} | {values[0]:,} … {values[-1]:,} | " + " | ".join(shown(answer[axis][what]) for what in WHAT) + " |"
        )
    workers, check, far = answer["workers"], answer["check"], answer["billion"]
    fault = answer["faults"]["costs"][-1]
    lines += [
        "",
        f"Where nothing grows: {base.inputs}-{base.hidden}-10, {base.steps} steps, {base.samples} samples, {base.faults:,} faults, one worker; the hidden neurons fire "
        f"{min(one['rate'] for one in first):.2f} to {max(one['rate'] for one in first):.2f} times a step. A fault takes {fault['fault']:.0f} bytes, a sample of the healthy run "
        f"{first[2 if len(first) > 2 else -1]['sample']:,.0f}, a worker {workers['bytes'] / 1e6:.2f} MB. Two workers are {workers['full']:.2f} (exact), {workers['golden']:.2f} (healthy run) and "
        f"{workers['follow']:.2f} (following) times as fast as one.",
        "",
        f"Beyond the fit: with {check['hidden']:,} hidden neurons, twice the widest that was fitted, following took {check['follow']:.2f} of what the fit says, the healthy run "
        f"{check['golden']:.2f}, the exact engine {check['full']:.2f}.",
        "",
        f"| every synapse of {SIDE:,} × {SIDE:,}, {SAMPLES:,} samples × {STEPS} steps | {NODES} nodes of {CORES} cores |",
        "|---|---|",
        f"| fault-samples | {far['fault_samples']:.2e} |",
        f"| core seconds a fault-sample | {far['core_seconds_a_fault_sample']:.2e} |",
        f"| minutes in all (upper end of the intervals) | {far['minutes']:,.2g} ({far['minutes_at_most']:,.2g}) |",
        f"| of these, the healthy run of each node | {far['healthy_run_minutes']:,.2g} |",
        f"| memory of a node: network, healthy run, its faults | {far['network_bytes_a_node'] / 1e9:,.1f} + {far['healthy_bytes_a_node'] / 1e9:,.1f} + {far['fault_bytes_a_node'] / 1e9:,.2f} GB |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
