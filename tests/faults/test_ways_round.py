"""Ways round broken links and routers, through several faults: against shortest ways worked out here from the definition."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from fault_chips import mlp, small_profile
from test_every_kind import lively

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import Damage, Detour, Drop
from neurofault.deploy.routing import topology
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError

CHIP = mlp(16, 16, 16, 4, neurons_per_core=2, profile=small_profile(columns=4, rows=4, cores_per_tile=2))
GRID = topology(CHIP)
STEP = {"E": (1, 0), "W": (-1, 0), "N": (0, -1), "S": (0, 1)}
BACK = {"E": "W", "W": "E", "N": "S", "S": "N"}
TILES = [(x, y) for x in range(4) for y in range(4)]


def tile(core):
    x, y = GRID.tiles(np.array([core]))
    return int(x[0]), int(y[0])


FLOWS = {
    (int(source), int(core))
    for one in CHIP.connections
    for source in CHIP.placement.cores_of(one.source)
    for core in CHIP.placement.cores_of(one.target)
    if source != core
}


def far(links_shut, start):
    """Steps from a tile to each that can be reached: a table that is relaxed until nothing changes."""
    found = {start: 0}
    while True:
        more = {
            (x + dx, y + dy): length + 1
            for (x, y), length in found.items()
            for way, (dx, dy) in STEP.items()
            if (x + dx, y + dy) in TILES and (x, y, way) not in links_shut and length + 1 < found.get((x + dx, y + dy), 99)
        }
        if not more:
            return found
        found |= more


def wanted(records):
    """Flow → extra hops, or None where its messages are lost, from what is closed: (links, routers, reroute) each."""
    links, dead, taking = set(), set(), set()
    for own, routers, reroute in records:
        own = own | {
            (x, y, way) for x, y in TILES for way, (dx, dy) in STEP.items() if (x, y) in routers or (x + dx, y + dy) in routers
        }
        links |= own
        dead |= routers
        taking |= set() if reroute else own
    found = {}
    for source, core in FLOWS:
        start, end = tile(source), tile(core)
        direct = {tuple(link) for link in GRID.path(source, core)}
        if {start, end} & dead or direct & taking:
            found[source, core] = None
        elif direct & links:
            length = far(links, start).get(end)
            found[source, core] = None if length is None else length - len(direct)
        else:
            found[source, core] = 0
    return found


def got(damage, step):
    """The same from the edits that are active in a step of the presentation."""
    active = [edit for edit in damage.edits if edit.when.active(np.array([step]))[0]]
    found = dict.fromkeys(FLOWS, 0)
    for edit in active:
        if isinstance(edit, Detour):
            for source, core, extra in zip(
                edit.sources.tolist(), edit.destinations.tolist(), edit.extra_hops.tolist(), strict=True
            ):
                found[source, core] += extra
    for edit in active:
        if isinstance(edit, Drop):
            for source in np.unique(CHIP.placement.core_of[CHIP.connection(edit.connection).source][edit.sources]).tolist():
                found[source, edit.core] = None
    return found


def closures(rng, number, timed):
    """Random faults of the mesh, and what each closes in which steps."""
    specs, records = [], []
    for _ in range(number):
        reroute = bool(rng.random() < 0.7)
        when = [(0, None, {"kind": "permanent"})]
        if timed:
            start = int(rng.integers(0, 6))
            stop = start + int(rng.integers(1, 4))
            when += [
                (start, stop, {"kind": "transient", "start": start, "stop": stop}),
                (start, None, {"kind": "death", "at": start, "clock": "presentation"}),
            ]
        first, end, timing = when[int(rng.integers(len(when)))]
        if rng.random() < 0.3:
            x, y = TILES[int(rng.integers(16))]
            specs.append({"kind": "router_dead", "routers": [f"{x},{y}"], "reroute": reroute, "when": timing})
            records.append((first, end, (set(), {(x, y)}, reroute)))
        else:
            link = GRID.links()[int(rng.integers(len(GRID.links())))]
            x, y, way = link
            dx, dy = STEP[way]
            both = bool(rng.random() < 0.5)
            closed = {(x, y, way)} | ({(x + dx, y + dy, BACK[way])} if both else set())
            specs.append({
                "kind": "link_dead", "links": [f"{x},{y}:{way}"], "reroute": reroute, "direction": "both" if both else "one",
                "when": timing,
            })  # fmt: skip
            records.append((first, end, (closed, set(), reroute)))
    return specs, records


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_ways_avoid_all_that_is_closed_through_faults_of_a_plan_and_later_ones(seed, timed):
    rng = np.random.default_rng([seed, timed])
    specs, records = closures(rng, int(rng.integers(2, 7)), timed)
    split = int(rng.integers(len(specs)))
    hurt = faults.inject(CHIP, specs[:split])
    for spec in specs[split : split + 1]:
        hurt = faults.inject(hurt, spec)
    hurt = faults.inject(hurt, specs[split + 1 :])
    for step in range(8 if timed else 1):
        active = [record for start, stop, record in records if step >= start and (stop is None or step < stop)]
        assert got(hurt.damage, step) == wanted(active), (specs, step)


def test_a_fault_alone_is_as_if_there_were_no_others():
    one = faults.plan(CHIP, faults.LinkDead(links=["1,0:E"], reroute=True))
    (edit,) = one.faults[0].edits
    assert isinstance(edit, Detour)
    assert edit.when.always
    length = wanted([({(1, 0, "E"), (2, 0, "W")}, set(), True)])
    assert dict(
        zip(zip(edit.sources.tolist(), edit.destinations.tolist(), strict=True), edit.extra_hops.tolist(), strict=True)
    ) == {flow: length[flow] for flow in FLOWS if {tuple(link) for link in GRID.path(*flow)} & {(1, 0, "E"), (2, 0, "W")}}


def test_cycles_and_the_other_clock_are_avoided_in_every_step():
    for when in ({"kind": "periodic", "period": 3}, {"kind": "transient", "start": 40, "stop": 60, "clock": "chip"}):
        hurt = faults.inject(
            CHIP, [
                {"kind": "link_dead", "links": ["0,1:E", "0,2:E"], "when": when},
                {"kind": "link_dead", "links": ["0,0:E"], "reroute": True, "when": {"kind": "transient", "start": 2, "stop": 5}},
            ],
        )  # fmt: skip
        links = {(0, 0, "E"), (1, 0, "W")}, {(x, y, way) for y in (1, 2) for x, way in ((0, "E"), (1, "W"))}
        avoiding = wanted([(links[0], set(), True), (links[1], set(), False)])
        own = [edit for edit in hurt.damage.edits[-hurt.damage.hits[-1].n_edits :] if isinstance(edit, Detour)]
        assert own
        for edit in own:
            for source, core, extra in zip(
                edit.sources.tolist(), edit.destinations.tolist(), edit.extra_hops.tolist(), strict=True
            ):
                assert avoiding[source, core] == extra


def test_a_lossy_link_takes_messages_by_the_way_that_they_go():
    hurt = faults.inject(CHIP, faults.LinkDead(links=["0,0:E"], reroute=True))
    lossy = faults.inject(hurt, faults.LinkLossy(links=["0,1:E"], probability=0.5))
    met = defaultdict(set)
    for edit in lossy.damage.edits:
        if isinstance(edit, Drop):
            for source in np.unique(CHIP.placement.core_of[CHIP.connection(edit.connection).source][edit.sources]).tolist():
                met[tile(source)].add(tile(edit.core))
    assert any(start[1] == 0 and start[0] == 0 for start in met)  # turned south round 0,0:E, then east over the lossy link
    healthy = faults.inject(CHIP, faults.LinkLossy(links=["0,1:E"], probability=0.5))
    assert not any(
        isinstance(edit, Drop)
        and any(tile(core) == (0, 0) for core in CHIP.placement.core_of[CHIP.connection(edit.connection).source][edit.sources])
        for edit in healthy.damage.edits
    )


CROWDED = lively(mlp(8, 8, 4, neurons_per_core=4, profile=small_profile(columns=2, rows=2, cores_per_tile=4)))
"""Cores 0 and 1 (input), 2 and 3 (hidden) on tile 0,0; core 4 (output) on tile 1,0."""


@pytest.mark.parametrize("reroute", [False, True])
def test_a_dead_router_cuts_the_cores_of_its_tile_off_from_each_other(reroute):
    hurt = faults.inject(CROWDED, faults.RouterDead(routers=["0,0"], reroute=reroute))
    lost = {
        (int(source), edit.core)
        for edit in hurt.damage.edits
        if isinstance(edit, Drop)
        for source in np.unique(CROWDED.placement.core_of[CROWDED.connection(edit.connection).source][edit.sources])
    }
    assert lost == {(0, 2), (0, 3), (1, 2), (1, 3), (2, 4), (3, 4)}
    assert not any(isinstance(edit, Detour) for edit in hurt.damage.edits)
    images = np.full((2, 8), 255, np.uint8)
    by_hand = CROWDED.with_damage(
        Damage(tuple(Drop(name, core, np.arange(8), np.flatnonzero(CROWDED.placement.core_of[name] == core))
                     for name in ("hidden1", "output") for core in CROWDED.placement.cores_of(name).tolist()))
    )  # fmt: skip
    runs = [ExactEngine().run(chip, CROWDED.encode(images), record=("v",)) for chip in (hurt, by_hand, CROWDED)]
    for name in ("hidden1", "output"):
        np.testing.assert_array_equal(runs[0].traces[name].v, runs[1].traces[name].v)
    assert (runs[0].traces["hidden1"].v != runs[2].traces["hidden1"].v).any()


def test_a_core_still_reaches_its_own_neurons_past_a_dead_router():
    core_of = {"input": np.zeros(8, np.int32), "hidden1": np.zeros(8, np.int32), "output": np.full(4, 1, np.int32)}
    chip = replace(CROWDED, placement=replace(CROWDED.placement, core_of=core_of))
    hurt = faults.inject(chip, faults.RouterDead(routers=["0,0"], reroute=True))
    assert [(edit.connection, edit.core) for edit in hurt.damage.edits] == [("output", 1)]


def test_faults_that_decide_a_way_together_are_undone_from_the_last():
    pair = [faults.LinkDead(links=["0,0:E"], reroute=True), faults.LinkDead(links=["0,1:E"])]
    hurt = nf.inject(CHIP, pair)
    with pytest.raises(UsageError) as error:
        hurt.damage.without(0)
    assert str(error.value) == (
        "fault 0 (link_dead) and a later one decide together which way messages go; undo the later one first"
    )
    assert [hit.kind for hit in hurt.damage.without(1).hits] == ["link_dead"]
    assert hurt.damage.without(1).without(0) == Damage()
    plain = nf.inject(CHIP, [fault.replace(reroute=False) for fault in pair])
    assert len(plain.damage.without(0).hits) == 1
