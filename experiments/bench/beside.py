"""This checkout beside an earlier one, measurement by measurement in one run: our own figures of throughput.py and incremental.py, as ratios.

python experiments/bench/beside.py --before ../before --data-dir ../shared/data --json beside.json

``--before`` is a checkout of an earlier commit (``git worktree add ../before COMMIT``). Both run each benchmark at the same time, each in a
process of its own with the same interpreter and cache; before each single repeat of a measurement they wait for each other, and then repeat it
one after the other, the first one last in the next repeat. So what the machine does meanwhile meets both alike. Left out is what other simulators
do, which is the same on both sides, and the comparison of what was found with the full engine, which each benchmark makes when it runs alone. A
process is lucky or not with its memory for as long as it lives (by up to a fifth), so all of it is done in several rounds, with processes of their
own. A ratio is ours over theirs, of the medians over the repeats of a round, and of these the median over the rounds; every rate counts work a
second, so 1 and more is no slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from common import finish

HERE = Path(__file__).resolve().parents[2]
OWN = """
import os, statistics, sys, time
sys.path.insert(0, {bench!r})
import {name} as bench
for other in ("lava", "snntorch_times"):
    if hasattr(bench, other):
        setattr(bench, other, lambda *_: iter(()))
if hasattr(bench, "brian2_time"):
    def nothing(*_):
        raise RuntimeError("left out")
    bench.brian2_time = nothing
def in_turn(work, repeats):
    seconds = []
    for _ in range(max(1, repeats)):
        os.write({say}, b".")
        os.read({hear}, 1)
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
        os.write({say}, b".")
    return statistics.median(seconds), result
bench.median_time = in_turn
if hasattr(bench, "check"):
    bench.check = lambda *_: None
sys.argv = {argv!r}
bench.main()
"""


class Side:
    """One checkout's benchmark, which waits before each repeat of a measurement until it is told to go on.

    Attributes:
        waits: whether it waits for :meth:`step`; False: it has ended.
    """

    def __init__(self, checkout: Path, name: str, options: argparse.Namespace, folder: Path) -> None:
        self.checkout, self.name, self.target = checkout, name, folder / "own.json"
        argv = [name, "--json", str(self.target), "--repeats", str(options.repeats)]
        argv += ["--quick"] if options.quick else []
        argv += ["--data-dir", str(options.data_dir.resolve())] if options.data_dir else []
        self._from, say = os.pipe()
        hear, self._to = os.pipe()
        code = OWN.format(bench=str(checkout / "experiments" / "bench"), name=name, argv=argv, say=say, hear=hear)
        self._errors = (folder / "errors.txt").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(checkout)}, cwd=folder, stdout=subprocess.DEVNULL,
            stderr=self._errors, pass_fds=(say, hear),
        )  # fmt: skip
        os.close(say)
        os.close(hear)
        self.waits = self._hears()

    def _hears(self) -> bool:
        return os.read(self._from, 1) == b"."

    def step(self) -> None:
        """Let it measure once, and wait until it has."""
        os.write(self._to, b".")
        self._hears()

    def reach(self) -> None:
        """Wait until it wants to measure again, or ends."""
        self.waits = self._hears()

    def rates(self) -> dict[str, float]:
        """Return its rates, work a second."""
        self._process.wait()
        if not self.target.exists():
            self._errors.seek(0)
            sys.exit(f"{self.name} of {self.checkout}: {self._errors.read()[-2000:]}")
        found = json.loads(self.target.read_text(encoding="utf-8"))
        rates = {
            key: float(found[key])
            for key in found
            if ("samples_a_second" in key and "snntorch" not in key) or ("_rate" in key and key != "input_rate")
        }
        return rates | {
            f"{key.replace('seconds', 'runs_a_second')}": 1 / float(found[key])
            for key in found
            if key.startswith(("full_seconds", "golden_seconds"))
        }


def measured(checkouts: Mapping[str, Path], name: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Run one benchmark of all checkouts in turn; return the rates of each."""
    with ExitStack() as stack:
        sides = {
            side: Side(checkout, name, options, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            for side, checkout in checkouts.items()
        }
        order = list(sides.values())
        while any(side.waits for side in order):
            going = [side for side in order if side.waits]
            for side in going:
                side.step()
            for side in going:
                side.reach()
            order.reverse()
        return {name: side.rates() for name, side in sides.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--bench", action="append", choices=("throughput", "incremental"), help="default: both")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", metavar="FILE|-")
    options = parser.parse_args()
    sides = {"before": options.before.resolve(), "ours": HERE}
    answer: dict[str, object] = {"quick": options.quick, "repeats": options.repeats, "rounds": options.rounds}
    for side, checkout in sides.items():
        answer[f"commit_{side}"] = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    rows: list[tuple[str, str]] = []
    for name in options.bench or ("throughput", "incremental"):
        rounds = [measured(sides, name, options) for _ in range(options.rounds)]
        ratios = {
            key: statistics.median(rates["ours"][key] / rates["before"][key] for rates in rounds)
            for key in rounds[0]["before"]
            if key in rounds[0]["ours"]
        }
        answer[name] = {"ratios": ratios, "worst_ratio": min(ratios.values()), "rounds": rounds}
        rows += [(f"{name}: {key}", f"{ratio:.3f} ×") for key, ratio in ratios.items()]
    finish("this checkout beside the one before: work a second, ours over theirs", rows, answer, options.json)


if __name__ == "__main__":
    main()
