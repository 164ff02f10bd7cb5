"""Enumerated outcomes beside draws: plans of one fault and of several, of cores, links, chips and crossbars, come as often as they say."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from crossbars import profile as crossbar_profile
from other_places import made, quantity

import neurofault as nf
from neurofault.data.splits import Split
from neurofault.faults import FaultPlan, fault_from_mapping, plan
from neurofault.graph import Encoding
from neurofault.graph.synapses import Stored
from neurofault.study.lesion import lesion
from neurofault.study.outcomes import possible

STEPS = 6


def deployed(profile: nf.HardwareProfile, inputs: int = 4, most: float = 1.0) -> nf.Deployment:
    """input → hidden1 (6) → output (2), two neurons on a core."""
    rng = np.random.default_rng(2)
    populations = (
        nf.Population("input", (inputs,), nf.Source(Encoding.for_pixels(0.8, 0.5, STEPS))),
        nf.Population("hidden1", (6,), nf.CubaLif(1.0)),
        nf.Population("output", (2,), nf.CubaLif(None)),
    )
    wires = [nf.Dense(rng.uniform(-0.5 * most, most, (6, inputs))), nf.Dense(rng.uniform(-most, most, (2, 6)))]
    return nf.deploy(nf.chain("small", list(populations), wires, timesteps=STEPS), profile, neurons_per_core=2)


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Four chips of 2 × 1 tiles of 1 core, and one of crossbars."""
    sizes = {"cores": 2, "usable_cores": 2, "tile_columns": 2, "tile_rows": 1, "cores_per_tile": 1}
    sections = {"board": {"chips": quantity(2, "chips")}, "shared_memory": {"cores": quantity(2, "cores")}}
    joined = made(changes={f"chip__{name}": value for name, value in sizes.items()}, **sections)
    rng = np.random.default_rng(4)
    stored = Stored(0, 2, "mixed")
    neuron = nf.CubaLif(150, du=0, bias_exponent=0)
    populations = (
        nf.Population("in", (2,), nf.Source()),
        nf.Population("hidden1", (3,), neuron),
        nf.Population("out", (2,), neuron),
    )
    wires = (
        nf.Connection("a", "in", "hidden1", nf.Dense(rng.choice([-2, -1, 1], (3, 2)) * 128), stored=stored),
        nf.Connection("b", "hidden1", "out", nf.Dense(rng.choice([-2, -1, 1], (2, 3)) * 128), stored=stored),
    )
    network = nf.Network("crossed", populations, wires, STEPS, nf.Readout("out", "count"))
    crossed = nf.deploy(network, crossbar_profile(tmp_path_factory.mktemp("chip")), neurons_per_core=2)
    return {"joined": deployed(joined), "crossed": crossed}


def said(planned: FaultPlan) -> tuple[tuple[str, ...], ...]:
    """The sites of each fault of a plan."""
    return tuple((*hit.sites, str(hit.cores), str(hit.neurons)) for hit in planned.hits)


def shown(chip: nf.Deployment) -> tuple[np.ndarray, Split]:
    """Images, and what the healthy chip answers to them as their labels."""
    images = np.random.default_rng(1).integers(0, 256, (30, 1, 2, 2), np.uint8)
    return images, Split(images, nf.run(chip, chip.encode(images)).activity.predictions, np.arange(30), "made/test")


CORE, LINK = {"kind": "core_dead", "count": 1}, {"kind": "link_dead", "count": 1}
PLANS = {
    "one link": ("joined", [LINK | {"layer": "any"}]),
    "two links one way": ("joined", [LINK | {"count": 2, "direction": "one"}]),
    "links by rate": ("joined", [{"kind": "link_dead", "rate": 0.3, "layer": "output"}]),
    "a router": ("joined", [{"kind": "router_dead", "count": 1, "layer": "any"}]),
    "two chips": ("joined", [{"kind": "chip_dead", "count": 2, "layer": "any"}]),
    "chips by rate": ("joined", [{"kind": "chip_dead", "rate": 0.4, "layer": "any"}]),
    "a board": ("joined", [{"kind": "board_dead", "count": 1, "layer": "any"}]),
    "a memory": ("joined", [{"kind": "memory_dead", "count": 1, "layer": "any"}]),
    "a core after a core": ("joined", [CORE, CORE]),
    "a core after any core": ("joined", [CORE | {"layer": "any"}, CORE]),
    "a core drawn again": ("joined", [CORE, CORE | {"again": "always"}]),
    "cores by rate, then one": ("joined", [{"kind": "core_dead", "rate": 0.3}, {"kind": "core_dead", "rate": 0.5}]),
    "a neuron after a core": ("joined", [CORE, {"kind": "neuron_dead", "count": 1, "again": "never"}]),
    "a link after a link": ("joined", [LINK | {"layer": "any"}, LINK | {"layer": "any"}]),
    "a chip after a listed one": ("joined", [{"kind": "chip_dead", "chips": [1]}, {"kind": "chip_dead", "count": 1, "layer": "any"}]),
    "two neurons of two layers": ("joined", [{"kind": "neuron_stuck", "count": 1, "layer": "any"}]),
    "a row": ("crossed", [{"kind": "crossbar_line_dead", "count": 1}]),
    "columns by rate": ("crossed", [{"kind": "crossbar_line_dead", "rate": 0.3, "line": "column"}]),
    "a row after a column": (
        "crossed",
        [{"kind": "crossbar_line_dead", "count": 1, "line": "column"}, {"kind": "crossbar_line_dead", "count": 1, "layer": "any"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_outcomes_come_as_often_as_they_say(chips, name):
    which, specs = PLANS[name]
    chip, faults = chips[which], [fault_from_mapping(spec) for spec in specs]
    found = possible(chip, faults)
    assert found is not None
    assert sum(chance for _, chance in found) == pytest.approx(1)
    expected: dict[tuple, float] = {}
    for outcome, chance in found:
        expected[said(outcome)] = expected.get(said(outcome), 0) + chance
    assert len(expected) == len(found)
    draws = 100
    drawn = Counter(said(plan(chip, faults, seed=8, draw=draw)) for draw in range(draws))
    assert set(drawn) <= set(expected)
    if len(expected) > 1:
        chances = np.array(list(expected.values()))
        statistic = float(sum((drawn[each] - draws * chance) ** 2 / (draws * chance) for each, chance in expected.items()))
        variance = 2 * (len(chances) - 1) + float((1 / chances).sum() - len(chances) ** 2 - 2 * len(chances) + 2) / draws
        assert abs(statistic - (len(chances) - 1)) < 4 * variance**0.5  # mean and variance of Pearson's statistic are exact


def test_two_faults_of_one_kind_do_not_hit_one_core_twice(chips):
    chip = chips["joined"]
    images, test = shown(chip)
    cores = chip.placement.cores_of("hidden1").tolist()
    inputs = chip.encode(images)
    alone = {
        pair: nf.run(nf.inject(chip, nf.faults.CoreDead(cores=pair)), inputs, test.labels).accuracy
        for pair in combinations(cores, 2)
    }
    assert len(set(alone.values())) > 1
    found = lesion(chip, test, [nf.faults.CoreDead(count=1), nf.faults.CoreDead(count=1)], draws=2, seed=0)
    mean = pytest.approx(np.mean(list(alone.values())))
    assert (found.exact.mean, found.exact.low, found.exact.high, found.exact.n) == (mean, mean, mean, 6)


def test_one_dead_chip_costs_the_mean_over_the_chips_in_use(chips):
    chip = chips["joined"]
    images, test = shown(chip)
    each = [nf.run(nf.inject(chip, nf.faults.ChipDead(chips=[one])), chip.encode(images), test.labels).accuracy for one in range(3)]
    found = lesion(chip, test, [nf.faults.ChipDead(count=1, layer="any")], draws=2, seed=0)
    assert (found.exact.n, found.exact.mean) == (3, pytest.approx(np.mean(each)))


@pytest.mark.parametrize(
    "specs",
    [
        [{"kind": "core_dead", "rate": 0.5}, {"kind": "core_dead", "count": 2}],  # of some draws fewer than two are left
        [{"kind": "link_lossy", "count": 1}],  # which messages are lost is left to chance too
        [CORE, {"kind": "synapse_dead", "count": 1}],
        [{"kind": "chip_dead", "count": 1, "layer": "any", "when": {"kind": "ageing", "start": 0, "stop": 4}}],
    ],
    ids=str,
)
def test_what_is_not_known_is_not_enumerated(chips, specs):
    assert possible(chips["joined"], [fault_from_mapping(spec) for spec in specs]) is None
