"""How a campaign scales: seconds a trial, and the memory of the process that coordinates, at growing numbers of small trials.

    python experiments/bench/campaign.py [--sizes 100 1000 10000 100000] [--json docs/data/bench/campaign.json]

One run a size, in a process of its own, one worker. The trials: digits-mlp, 10 images, one dead core. Time a trial is that from the
first row to the last, without start-up, given as its ratio to that at the smallest size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

from neurofault.study.campaign.run import Executor, ready, run_campaign
from neurofault.study.campaign.spec import load_campaign

SPEC = """
name: scale
network: {{zoo: digits-mlp}}
data: {{samples: 10}}
faults: [{{kind: core_dead, count: 1}}]
repeats: {{draws: {draws}, seed: 1}}
"""


def one(draws: int) -> None:
    """Run one size and print its measurements."""
    work = Path(tempfile.mkdtemp())
    (work / "scale.yaml").write_text(SPEC.format(draws=draws))
    state = ready(load_campaign(work / "scale.yaml"), None, lambda *_: None)
    moments = [0.0, 0.0]

    def clock(stage: str, done: int, total: int, text: str) -> None:
        moments[done > 1] = time.perf_counter()

    done = run_campaign(work / "run", state, Executor(), clock)
    assert (done.ran, done.failed) == (draws, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"trials": draws, "each": (moments[1] - moments[0]) / (draws - 1), "coordinator_megabytes": round(peak)}))


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--one", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return
    found = []
    for size in options.sizes:
        print(size, file=sys.stderr)
        done = subprocess.run([sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    rows = [
        {
            "trials": row["trials"], "time_a_trial_ratio": round(row["each"] / found[0]["each"], 2),
            "milliseconds_a_trial": round(1000 * row["each"], 2), "coordinator_megabytes": row["coordinator_megabytes"],
        }
        for row in found
    ]  # fmt: skip
    answer = {"sizes": rows, "machine": machine()}
    print(json.dumps(answer, indent=1))
    if options.json:
        options.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
