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
from itertools import pairwise
from pathlib import Path

import numpy as np

import neurofault as nf
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.graph import Dense, Readout
from neurofault.graph.chip import ChipConnection, ChipPopulation

_NEURONS_PER_CORE = 16


def population(name: str, size: int) -> ChipPopulation:
    """Return a population; what its neurons do does not matter."""
    return ChipPopulation(name, (size,), *[np.zeros(size, np.int32)] * 4, 0, 0, is_source=name == "input")


def connection(source: ChipPopulation, target: ChipPopulation) -> ChipConnection:
    """Return all-zero synapses that take no memory."""
    synapses = Dense(np.broadcast_to(np.zeros(1, np.int32), (target.size, source.size)))
    return ChipConnection(target.name, source.name, target.name, synapses, 0, 8, "mixed")


def chip(sources: int, targets: int) -> Deployment:
    """Return a chip with sources · targets stored weights of 8 bits in its one hidden layer."""
    populations = (population("input", sources), population("hidden1", targets), population("output", 2))
    first, core_of = 0, {}
    for one in populations:
        core_of[one.name] = (first + np.arange(one.size) // _NEURONS_PER_CORE).astype(np.int32)
        first = int(core_of[one.name][-1]) + 1
    profile = nf.load_profile("loihi2")
    per_chip = profile.chip.cores.known
    placement = Placement(-(-first // per_chip), per_chip, core_of)
    connections = tuple(connection(source, target) for source, target in pairwise(populations))
    return Deployment("bench", profile, populations, connections, placement, 8, Readout("output", "count"))


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
