"""Every kind of fault at every time, at random places of random graphs, against a chip in plain integers with one global clock.

``NEUROFAULT_TEST_GRAPHS=300`` tries each on so many graphs (``experiments/graphs.py`` counts what it finds, in Lava and Brian2 too).
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import count

import numpy as np
import pytest
from bit_chip import BitChip, chance, phases
from composed import differences
from random_graphs import random_graph
from struck_graphs import COMBINATIONS, struck, struck_graph

from neurofault import faults
from neurofault.activity import TRACES
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import StalledError
from neurofault.streams import counter_hash

GRAPHS = int(os.environ.get("NEUROFAULT_TEST_GRAPHS", "0"))
"""Graphs that each combination is tried on; 0: each on one."""


def kinds_by_graph():
    """The combinations that one graph is struck by: a few each in the suite."""
    if GRAPHS:
        return [(seed, list(COMBINATIONS)) for seed in range(GRAPHS)]
    return [(seed, list(COMBINATIONS[seed::16])) for seed in range(16)]


@pytest.mark.parametrize(("seed", "combinations"), kinds_by_graph(), ids=lambda value: value if isinstance(value, int) else "")
def test_every_kind_at_every_time_on_random_graphs(seed, combinations):
    """Where a graph has no place for a fault the next one is taken."""
    engine, met, most = ExactEngine(threads=1), Counter(), 200 if GRAPHS else 16
    for number in count(seed, 1000):
        chip, inputs, rng = struck_graph(number, most)
        slow, left = BitChip(chip), []
        assert differences(slow, engine.run(chip, inputs, record=TRACES), slow.present(inputs)) == [], number
        for kind, when, clock in combinations:
            found = struck(rng, chip, slow, len(inputs), kind, when, clock)
            if isinstance(found, str):
                left.append((kind, when, clock))
                continue
            plan, other = found
            hurt = faults.inject(chip, plan)
            if other.stalls(inputs):
                with pytest.raises(StalledError):
                    engine.run(hurt, inputs)
            else:
                wanted = other.present(inputs)
                assert differences(other, engine.run(hurt, inputs, record=TRACES), wanted) == [], (number, plan.faults[0].fault)
            met["struck"] += 1
        combinations = left
        if not combinations or GRAPHS:
            break
        assert number < 20_000, combinations
    assert met["struck"]


def test_the_slow_chip_has_the_chance_and_the_phases_of_the_package():
    rng = np.random.default_rng(0)
    for _ in range(20):
        key, *counters = (int(n) for n in rng.integers(0, 2**62, 5))
        assert chance(key, *counters) == int(counter_hash(key, *counters))
    for seed in range(200):
        chip = random_graph(seed)[0]
        assert phases(chip) == dict(chip.schedule.phase)
