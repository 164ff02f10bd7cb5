"""How fast the learning engine is against Lava 0.10's LearningDense: samples a second on 784 → 100.

    python experiments/bench/learning.py [--json FILE|-] [--quick]

One rule (the three-factor error rule), one epoch a step, sources that spike in 10 % of the steps; a sample is 32 steps. Both sides get
the same weights, spikes and third factors and run in turn; what Lava needs to start, and reading weights out, is not timed. Before a
ratio is printed, the weights of both after all steps are compared: they must be equal in every bit.

``strict_…``: the same in ``hardware_strict``, where every synapse that changes draws a 64-bit number of its own. Lava has no such mode: the
weights after each of some steps are compared with the rule in NumPy, and the ratio is to Lava's LearningDense.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from machine import machine
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import load_profile
from neurofault.engines.on_lava.shim import require_lava
from neurofault.graph import Dense, Readout
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.learning.engine import LearningEngine
from neurofault.learning.rule import learning_rule
from neurofault.learning.setup import lava_engine, strict_engine
from neurofault.streams import counter_hash, stream_key

N_IN, N_OUT, STEPS_A_SAMPLE, RATE, SEED = 784, 100, 32, 0.1, 3
RULE = {"dw": "2^-4*u0*x1*y1 - 2^-4*u0*x1*y2", "x1_impulse": 16, "x1_tau": 8, "t_epoch": 1}


def given(steps: int) -> dict[str, NDArray[np.generic]]:
    """Return weights, spikes and third factors."""
    rng = np.random.default_rng(SEED)
    return {
        "weight": rng.integers(-256, 256, (N_OUT, N_IN)),
        "pre": rng.random((steps, N_IN)) < RATE,
        "y1": rng.integers(0, 128, (steps, N_OUT)),
        "y2": rng.integers(0, 128, (steps, N_OUT)),
    }


def lava_seconds(arrays: dict[str, NDArray[np.generic]], first: int, steps: int) -> tuple[float, NDArray[np.int64]]:
    """Run Lava; return the seconds for ``steps`` steps after ``first``, and the weights at the end."""
    require_lava()
    from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import LearningDense
    from lava.proc.io.source import RingBuffer

    dense = LearningDense(weights=arrays["weight"], learning_rule=Loihi3FLearningRule(**RULE, rng_seed=SEED))
    for name, port in (("pre", dense.s_in), ("y1", dense.s_in_y1), ("y2", dense.s_in_y2)):
        RingBuffer(data=arrays[name].T.astype(int)).s_out.connect(port)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    try:
        dense.run(condition=RunSteps(num_steps=first), run_cfg=config)
        begin = time.perf_counter()
        dense.run(condition=RunSteps(num_steps=steps), run_cfg=config)
        seconds = time.perf_counter() - begin
        return seconds, np.array(dense.weights.get()).astype(np.int64)
    finally:
        dense.stop()


def our_seconds(engine: LearningEngine, arrays: dict[str, NDArray[np.generic]], repeats: int) -> tuple[float, NDArray[np.int32]]:
    """Run a learning engine; return the median seconds for all steps, and the weights at the end."""
    third = {name: arrays[name] for name in ("y1", "y2")}
    engine.learn(engine.start, arrays["pre"][:1], third={name: values[:1] for name, values in third.items()})  # compile
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = engine.learn(engine.start, arrays["pre"], third=third)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), result.state.weight


def strict(arrays: dict[str, NDArray[np.generic]]) -> LearningEngine:
    """Return the engine in ``hardware_strict``, on a chip that holds the even part of the weights."""
    none, high = np.zeros(N_OUT, np.int32), np.full(N_OUT, 131071, np.int32)
    zero = np.zeros(N_IN, np.int32)
    populations = (
        ChipPopulation("input", (N_IN,), zero, zero, zero, zero, 0, 0, is_source=True),
        ChipPopulation("output", (N_OUT,), none, none, high, none, 0, 0),
    )
    synapses = ChipConnection("output", "input", "output", Dense((arrays["weight"] & ~1).astype(np.int32)), 0, 8, "mixed")
    placement = Placement(1, 128, {"input": zero, "output": none + 1})
    profile = load_profile("loihi2")
    chip = Deployment("learning", profile, populations, (synapses,), placement, STEPS_A_SAMPLE, Readout("output", "count"))
    return strict_engine(chip, "output", learning_rule(**RULE, third_factor=True), seed=SEED)


def check_strict(engine: LearningEngine, arrays: dict[str, NDArray[np.generic]], steps: int) -> None:
    """Compare the weights after each of some steps with the rule in NumPy, which is given the traces; end if they differ."""
    third = {name: arrays[name][:steps] for name in ("y1", "y2")}
    found = engine.learn(engine.start, arrays["pre"][:steps], third=third, record=("x1", "weight")).records
    weight, key = engine.start.weight.astype(np.int64), stream_key(SEED, "learning", "output", "w")
    for step in range(steps):
        total = weight << 7
        for name, sign in (("y1", 1), ("y2", -1)):  # factors of 7 bits, a mantissa of 4: three bits more than an accumulator holds
            product = sign * arrays[name][step].astype(np.int64)[:, None] * found["x1"][step].astype(np.int64)
            total = np.clip(total + (product >> 3 << 3), -(1 << 15) - 1, (1 << 15) - 1)
        drawn = counter_hash(key, step + 1, np.arange(N_IN)[None], np.arange(N_OUT)[:, None]) >> np.uint64(56)
        new = np.clip((total + 255 - drawn.astype(np.int64)) >> 8 << 1, -256, 254)
        weight = np.where(total == weight << 7, weight, new)
        if not np.array_equal(weight, found["weight"][step]):
            sys.exit(f"the weights of hardware_strict are not those of the rule in step {step}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=None)
    parser.add_argument("--quick", action="store_true", help="4 samples, once")
    options = parser.parse_args()
    samples, rounds = (4, 1) if options.quick else (64, 3)
    steps, first = samples * STEPS_A_SAMPLE, 2
    arrays = given(first + steps)
    engine = lava_engine(learning_rule(**RULE, third_factor=True), arrays["weight"], seed=SEED)
    hardware = strict(arrays)
    check_strict(hardware, arrays, 16 if options.quick else 96)
    lava, ours, own = [], [], []
    for _ in range(rounds):
        seconds, expected = lava_seconds(arrays, first, steps)
        lava.append(seconds / steps * STEPS_A_SAMPLE)
        seconds, weight = our_seconds(engine, arrays, 9)
        ours.append(seconds / (first + steps) * STEPS_A_SAMPLE)
        seconds, _ = our_seconds(hardware, arrays, 3)
        own.append(seconds / (first + steps) * STEPS_A_SAMPLE)
        if not np.array_equal(weight, expected):
            sys.exit("the weights are not those of Lava")
    row = {
        "shape": [N_IN, N_OUT],
        "rule": RULE["dw"],
        "steps_a_sample": STEPS_A_SAMPLE,
        "epoch": RULE["t_epoch"],
        "input_rate": RATE,
        "weights_equal": True,
        "lava_samples_a_second": 1 / statistics.median(lava),
        "samples_a_second": 1 / statistics.median(ours),
        "speedup_lava": statistics.median(one / other for one, other in zip(lava, ours, strict=True)),
        "strict_samples_a_second": 1 / statistics.median(own),
        "strict_speedup_lava": statistics.median(one / other for one, other in zip(lava, own, strict=True)),
        "machine": machine(),
    }
    print(
        f"784 → 100, {STEPS_A_SAMPLE} steps a sample, epoch 1, rate {RATE}: weights equal\n"
        f"Lava       {row['lava_samples_a_second']:10.2f} samples/s\n"
        f"neurofault {row['samples_a_second']:10.2f} samples/s\n"
        f"speedup_lava {row['speedup_lava']:8.0f}\n"
        f"hardware_strict {row['strict_samples_a_second']:6.0f} samples/s, {row['strict_speedup_lava']:.0f} × Lava's LearningDense",
        file=sys.stderr if options.json == "-" else sys.stdout,
    )
    if options.json == "-":
        print(json.dumps(row, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(row, indent=2) + "\n")


if __name__ == "__main__":
    main()
