"""Do faults compose as documented? Random plans of two to five faults, with writes in between, in every engine.

    python experiments/compose.py --plans 50000 [--joined 20] [--workers 2] [--json docs/data/bench/compose.json]

Each plan is run by the exact and by the incremental engine and by a slow chip that is worked out bit by bit from `docs/faults.md`
(`tests/faults/bit_chip.py`): u, v and spikes of every neuron in every step, scores and counts. `--joined` times ten plans of each shape of
network are put side by side in one chip and run by Lava and Brian2, against the exact engine. What is counted are plans with a difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from neurofault.activity import TRACES
from neurofault.engines import get_engine
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental import engine as incremental

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / name) for name in ("faults", "")]

from composed import SHAPES, case_of, differences, side_by_side_case  # noqa: E402  # beside the tests

CHUNK, COPIES = 250, 10
OTHERS = ("lava", "brian2")
followed: list[object] = []


def begin() -> None:
    """Let the incremental engine of a worker follow whatever it can, and count it."""
    follow = incremental.IncrementalEngine._activities
    incremental.touched_share = lambda *_: 0.0
    incremental.IncrementalEngine._activities = lambda self, whole, chips: followed.extend(chips) or follow(self, whole, chips)


def run_chunk(first: int) -> tuple[Counter[str], list[int]]:
    """Run some plans; return what happened, and the numbers of those with a difference."""
    counts, wrong, engine = Counter[str](), [], incremental.IncrementalEngine(threads=1)
    for seed in range(first, first + CHUNK):
        case = case_of(seed)
        wanted = case.slow.present(case.inputs)
        exact = ExactEngine(threads=1).run(case.chip, case.inputs, record=TRACES)
        followed.clear()
        found = differences(case.slow, exact, wanted)
        other = differences(case.slow, engine.run(case.chip, case.inputs), wanted, traces=False)
        counts += Counter(
            plans=1, faults=len(case.kinds), writes=case.writes, followed=len(followed), exact=bool(found), incremental=bool(other)
        )
        counts.update(f"kind {kind}" for kind in case.kinds)
        if found or other:
            wrong.append(seed)
    return counts, wrong


def joined(rounds: int) -> Iterator[tuple[str, int]]:
    """Yield the engine and the number of states that differ, for each chip of plans side by side."""
    for batch in range(rounds):
        for number, shape in enumerate(SHAPES):
            whole, inputs = side_by_side_case(4 * batch + number, shape, COPIES)
            exact = ExactEngine().run(whole, inputs, record=TRACES)
            for name in OTHERS:
                engine = get_engine(name)
                assert engine.supports(whole) is None
                other = engine.run(whole, inputs, record=TRACES)
                states = [(layer, state) for layer in exact.traces for state in TRACES]
                pairs = [(getattr(one.traces[layer], state)) for layer, state in states for one in (exact, other)]
                yield name, sum(int(np.count_nonzero(a != b)) for a, b in zip(pairs[::2], pairs[1::2], strict=True))


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plans", type=int, default=50_000)
    parser.add_argument("--joined", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts, wrong = Counter[str](), list[int]()
    with Pool(options.workers, begin) as pool:
        for done, (part, found) in enumerate(pool.imap_unordered(run_chunk, range(0, options.plans, CHUNK)), 1):
            counts, wrong = counts + part, wrong + found
            if done % 20 == 0:
                print(f"{counts['plans']} plans, {len(wrong)} differ", flush=True)
    result = {
        "plans": counts["plans"],
        "faults": counts["faults"],
        "writes": counts["writes"],
        "followed_by_incremental": counts["followed"],
        "differ": {"exact": counts["exact"], "incremental": counts["incremental"]},
        "kinds": {name[5:]: number for name, number in sorted(counts.items()) if name.startswith("kind ")},
        "wrong": sorted(wrong),
        "joined": {name: {"plans": 0, "states_that_differ": 0} for name in OTHERS},
    }
    for name, differ in joined(options.joined):
        result["joined"][name]["plans"] += COPIES
        result["joined"][name]["states_that_differ"] += differ
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
