"""How fast the learning engine is against Lava 0.10's LearningDense: samples a second on 784 → 100.

    python experiments/bench/learning.py [--json FILE|-] [--quick]

One rule (the three-factor error rule), one epoch a step, sources that spike in 10 % of the steps; a sample is 32 steps. Both sides get
the same weights, spikes and third factors and run in turn; what Lava needs to start, and reading weights out, is not timed. Before a
ratio is printed, the weights of both after all steps are compared: they must be equal in every bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.engines.on_lava.shim import require_lava
from neurofault.learning.rule import learning_rule
from neurofault.learning.setup import lava_engine

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


def our_seconds(arrays: dict[str, NDArray[np.generic]], repeats: int) -> tuple[float, NDArray[np.int32]]:
    """Run the learning engine; return the median seconds for all steps, and the weights at the end."""
    rule = learning_rule(**RULE, third_factor=True)
    engine = lava_engine(rule, arrays["weight"], seed=SEED)
    third = {name: arrays[name] for name in ("y1", "y2")}
    engine.learn(engine.start, arrays["pre"][:1], third={name: values[:1] for name, values in third.items()})  # compile
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = engine.learn(engine.start, arrays["pre"], third=third)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), result.state.weight


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=None)
    parser.add_argument("--quick", action="store_true", help="4 samples, once")
    options = parser.parse_args()
    samples, rounds = (4, 1) if options.quick else (64, 3)
    steps, first = samples * STEPS_A_SAMPLE, 2
    arrays = given(first + steps)
    lava, ours = [], []
    for _ in range(rounds):
        seconds, expected = lava_seconds(arrays, first, steps)
        lava.append(seconds / steps * STEPS_A_SAMPLE)
        seconds, weight = our_seconds(arrays, 9)
        ours.append(seconds / (first + steps) * STEPS_A_SAMPLE)
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
    }
    print(
        f"784 → 100, {STEPS_A_SAMPLE} steps a sample, epoch 1, rate {RATE}: weights equal\n"
        f"Lava       {row['lava_samples_a_second']:10.2f} samples/s\n"
        f"neurofault {row['samples_a_second']:10.2f} samples/s\n"
        f"speedup_lava {row['speedup_lava']:8.0f}",
        file=sys.stderr if options.json == "-" else sys.stdout,
    )
    if options.json == "-":
        print(json.dumps(row))
    elif options.json:
        Path(options.json).write_text(json.dumps(row))


if __name__ == "__main__":
    main()
