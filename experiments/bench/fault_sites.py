"""How long it takes, and how much memory, to choose random bit sites in a network of 10⁸ stored bits.

    python experiments/bench/fault_sites.py [--json FILE|-] [--quick]

The weights are a broadcast zero, so that the memory measured is that of choosing. Before anything is printed, the sites are checked:
distinct, inside the memory, and those of a smaller number among them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

import neurofault as nf
from neurofault.deploy.deployment import ChipLayer, Deployment, Placement
from neurofault.graph import Dense

_NEURONS_PER_CORE = 16


def layer(name: str, size: int, before: int | None) -> ChipLayer:
    """Return a population with all-zero synapses that take no memory."""
    weight = None if before is None else Dense(np.broadcast_to(np.zeros(1, np.int32), (size, before)))
    fields = [np.zeros(size, np.int32)] * 4
    return ChipLayer(name, (size,), weight, 0, 8, "mixed", *fields, 0, 0)


def chip(sources: int, targets: int) -> Deployment:
    """Return a chip with sources · targets stored weights of 8 bits in its one hidden layer."""
    layers = (layer("input", sources, None), layer("hidden1", targets, sources), layer("output", 2, targets))
    first, core_of = 0, []
    for one in layers:
        core_of.append((first + np.arange(one.size) // _NEURONS_PER_CORE).astype(np.int32))
        first = int(core_of[-1][-1]) + 1
    profile = nf.load_profile("loihi2")
    per_chip = profile.chip.cores.known
    placement = Placement(-(-first // per_chip), per_chip, tuple(core_of))
    return Deployment("bench", profile, layers, placement, 8, None, "count")


def pairs(deployment: Deployment, count: int, seed: int) -> set[tuple[int, int]]:
    """Return the synapses that ``count`` flips hit."""
    found = set()
    for edit in nf.faults.plan(deployment, nf.faults.SynapseBitFlip(count=count), seed=seed).faults[0].edits:
        found |= set(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=None)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    options = parser.parse_args()
    rows = []
    for sources, targets in ((500, 250), (5000, 2500)):
        deployment = chip(sources, targets)
        bits = sources * targets * 8
        some, more = pairs(deployment, 500, 1), pairs(deployment, 1000, 1)
        assert some <= more, "500 sites are not among 1,000"
        assert all(source < sources and target < targets for source, target in more), "a site lies outside"
        seconds = []
        for repeat in range(1 if options.quick else 5):
            begin = time.perf_counter()
            nf.faults.plan(deployment, nf.faults.SynapseBitFlip(count=1000), seed=repeat)
            seconds.append(time.perf_counter() - begin)
        tracemalloc.start()
        nf.faults.plan(deployment, nf.faults.SynapseBitFlip(count=1000), seed=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append({"bits": bits, "sites": 1000, "milliseconds": 1e3 * statistics.median(seconds), "peak_bytes": peak})
    for row in rows:
        print(
            f"{row['bits']:>12,} bits  {row['sites']:,} sites  {row['milliseconds']:8.1f} ms  {row['peak_bytes'] / 1e6:6.2f} MB",
            file=sys.stderr,
        )
    if options.json == "-":
        print(json.dumps(rows))
    elif options.json:
        Path(options.json).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
