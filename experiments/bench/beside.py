"""This checkout beside an earlier one, alternately in one run: our own figures of throughput.py and incremental.py, as ratios.

python experiments/bench/beside.py --before ../before --data-dir ../shared/data --json beside.json

``--before`` is a checkout of an earlier commit (``git worktree add ../before COMMIT``). Each round runs its benchmark and ours, each in a
process of its own with the same interpreter and cache; in the next round the order is turned round. What other simulators do is left out:
they are the same on both sides. A ratio is ours over theirs, of the medians over the rounds; every rate counts work a second, so 1 and more
is no slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import finish

HERE = Path(__file__).resolve().parents[2]
OWN = """
import sys
sys.path.insert(0, {bench!r})
import {name} as bench
for other in ("lava", "snntorch_times"):
    if hasattr(bench, other):
        setattr(bench, other, lambda *_: iter(()))
if hasattr(bench, "brian2_time"):
    def nothing(*_):
        raise RuntimeError("left out")
    bench.brian2_time = nothing
sys.argv = {argv!r}
bench.main()
"""


def measured(checkout: Path, name: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one benchmark of one checkout; return its rates, work a second."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "own.json"
        argv = [name, "--json", str(target), "--repeats", str(options.repeats)]
        argv += ["--quick"] if options.quick else []
        argv += ["--data-dir", str(options.data_dir.resolve())] if options.data_dir else []
        code = OWN.format(bench=str(checkout / "experiments" / "bench"), name=name, argv=argv)
        env = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run([sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, check=False)
        if not target.exists():
            sys.exit(f"{name} of {checkout}: {done.stderr[-2000:]}")
        found = json.loads(target.read_text(encoding="utf-8"))
    rates = {
        key: float(found[key])
        for key in found
        if ("samples_a_second" in key and "snntorch" not in key) or ("_rate" in key and key != "input_rate")
    }
    rates |= {
        f"{key.replace('seconds', 'runs_a_second')}": 1 / float(found[key])
        for key in found
        if key.startswith(("full_seconds", "golden_seconds"))
    }
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--bench", action="append", choices=("throughput", "incremental"), help="default: both")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", metavar="FILE|-")
    options = parser.parse_args()
    sides = {"before": options.before.resolve(), "ours": HERE}
    answer: dict[str, object] = {"quick": options.quick, "rounds": options.rounds}
    for side, checkout in sides.items():
        answer[f"commit_{side}"] = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    rows: list[tuple[str, str]] = []
    for name in options.bench or ("throughput", "incremental"):
        rates: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
        for turn in range(options.rounds):
            for side in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                for key, rate in measured(sides[side], name, options).items():
                    rates[side].setdefault(key, []).append(rate)
        ratios = {
            key: statistics.median(rates["ours"][key]) / statistics.median(of)
            for key, of in rates["before"].items()
            if key in rates["ours"]
        }
        answer[name] = {"ratios": ratios, "worst_ratio": min(ratios.values()), "rates": rates}
        rows += [(f"{name}: {key}", f"{ratio:.3f} ×") for key, ratio in ratios.items()]
    finish("this checkout beside the one before: work a second, ours over theirs", rows, answer, options.json)


if __name__ == "__main__":
    main()
