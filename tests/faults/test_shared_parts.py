"""Boards and memories that cores share: a dead one is what its cores, routers and words are together; chips without them refuse by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import mlp, small_profile
from other_places import hexagonal, made, quantity, tree
from test_every_kind import lively

from neurofault import faults
from neurofault.deploy.profile import HardwareProfile, Learning
from neurofault.deploy.quantity import Quantity
from neurofault.deploy.routing import topology
from neurofault.deploy.topology import Board, NoLinks, SharedMemory
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError
from neurofault.graph import Dense
from neurofault.rescue.remap.remap import remap

RNG = np.random.default_rng(3)


def number(value, unit):
    return Quantity.model_construct(value=value, unit=unit, evidence="assumed", source=("test",), note=None)


def shared(profile: HardwareProfile, *, board=None, memory=None) -> HardwareProfile:
    """A profile with boards of so many chips and memories of so many cores."""
    parts = {
        "board": Board.model_construct(chips=number(board, "chips")) if board else None,
        "shared_memory": SharedMemory.model_construct(cores=number(memory, "cores")) if memory else None,
    }
    return profile.model_copy(update=parts)


# chips of 2 x 1 tiles of 1 core: input on cores 0 to 2, hidden1 on 3 to 5, hidden2 on 6 and 7, output on 8
CHIP = lively(mlp(12, 12, 8, 4, profile=shared(small_profile(columns=2, rows=1, cores_per_tile=1), board=2, memory=2)))
IMAGES = RNG.integers(0, 256, (6, 12)).astype(np.uint8)


def trains(chip):
    """What every neuron sends, of a few samples."""
    found = ExactEngine().run(chip, chip.encode(IMAGES), record=("spikes",)).traces
    return {name: own.spikes for name, own in found.items()}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_dead_board_is_its_cores_and_its_routers():
    chip = replace(CHIP, profile=shared(CHIP.profile, board=1))
    hurt = faults.inject(chip, faults.BoardDead(boards=[1]))
    by_hand = faults.inject(chip, [faults.CoreDead(cores=[2, 3]), faults.RouterDead(routers=["2,0", "3,0"])])
    assert same(trains(hurt), trains(by_hand))
    assert not same(trains(hurt), trains(faults.inject(chip, faults.CoreDead(cores=[2, 3]))))  # cores 0 and 1 reach 4 and 5 over it
    (hit,) = hurt.damage.hits
    assert hit.sites == ("board 1",)
    assert hit.dead_cores == (2, 3)
    assert hurt.damage.dead_cores == (2, 3)


def test_a_dead_chip_is_a_dead_board_of_one_chip():
    boards = replace(CHIP, profile=shared(CHIP.profile, board=1))
    for spec in ({}, {"reroute": True}, {"when": {"kind": "transient", "start": 2, "stop": 4}}):
        hurt = faults.inject(CHIP, {"kind": "chip_dead", "chips": [1, 3], **spec})
        board = faults.inject(boards, {"kind": "board_dead", "boards": [1, 3], **spec})
        assert same(trains(hurt), trains(board))
        assert hurt.damage.hits[0].sites == ("chip 1", "chip 3")
        assert hurt.damage.dead_cores == board.damage.dead_cores == (() if "when" in spec else (2, 3, 6, 7))
    plan = faults.plan(CHIP, [{"kind": "chip_dead", "count": 2, "layer": "any"}] * 2, seed=5)
    assert len({site for one in plan.faults for site in one.hit.sites}) == 4
    at = faults.inject(CHIP, {"kind": "chip_dead", "count": 1, "at": "chip:4"})
    assert at.damage.dead_cores == (8, 9)


def test_a_chip_is_refused_where_it_is_not_there_or_holds_everything():
    with pytest.raises(FaultError, match=r"^chip_dead: no chip 5; chip ids: 0 to 4$"):
        faults.plan(CHIP, faults.ChipDead(chips=[5]))
    alone = mlp(4, 4, 4, profile=small_profile())
    for spec in ({"chips": [0]}, {"count": 1}):
        with pytest.raises(
            FaultError,
            match=r"^chip_dead: the network sits on chip 0 alone, and nothing is left where that dies; more chips: --chips N --place spread$",
        ):
            faults.plan(alone, {"kind": "chip_dead", **spec})


def test_what_only_passes_goes_round_a_board_where_a_way_is_left():
    chip = lively(mlp(12, 12, 8, 4, profile=shared(small_profile(columns=2, rows=2, cores_per_tile=1), board=1)))
    # chips of 2 x 2 tiles; the board in the middle is both rows, so nothing can go round
    hurt = faults.inject(chip, faults.BoardDead(boards=[1], reroute=True))
    assert same(trains(hurt), trains(faults.inject(chip, faults.BoardDead(boards=[1]))))


def test_a_board_dies_at_a_time_and_boards_are_drawn_apart():
    late = faults.inject(CHIP, {"kind": "board_dead", "boards": [1], "when": {"kind": "transient", "start": 2, "stop": 4}})
    by_hand = [
        {"kind": kind, **own, "when": {"kind": "transient", "start": 2, "stop": 4}}
        for kind, own in (("core_dead", {"cores": [4, 5, 6, 7]}), ("router_dead", {"routers": ["4,0", "5,0", "6,0", "7,0"]}))
    ]
    assert same(trains(late), trains(faults.inject(CHIP, by_hand)))
    assert not late.damage.dead_cores
    plan = faults.plan(CHIP, [{"kind": "board_dead", "count": 1, "layer": "any"}] * 3, seed=5)
    assert sorted(site for one in plan.faults for site in one.hit.sites) == ["board 0", "board 1", "board 2"]
    at = faults.inject(CHIP, {"kind": "board_dead", "count": 1, "at": "board:2"})
    assert at.damage.hits[0].sites == ("board 2",)


def test_a_dead_memory_reads_no_synapse_and_leaves_neurons_alive():
    hurt = faults.inject(CHIP, faults.MemoryDead(memories=[2]))  # cores 4 and 5: neurons 4 to 11 of hidden1
    weight = CHIP.connection("hidden1").synapses.weight.copy()
    weight[4:] = 0
    silent_rows = CHIP.with_connection(replace(CHIP.connection("hidden1"), synapses=Dense(weight)))
    assert same(trains(hurt), trains(silent_rows))
    assert trains(hurt)["hidden1"][..., 4:].any()  # biases alone make them fire
    (hit,) = hurt.damage.hits
    assert hit.synapses == {"hidden1": 8 * 12}
    assert hit.cores == (4, 5)
    assert not hurt.damage.dead_cores


def test_memories_are_drawn_and_passed_over_when_dead():
    plan = faults.plan(CHIP, [{"kind": "memory_dead", "count": 1}, {"kind": "memory_dead", "count": 2}], seed=1)
    assert sorted(site for one in plan.faults for site in one.hit.sites) == ["memory 1", "memory 2", "memory 3"]
    with pytest.raises(FaultError, match=r"^memory_dead: no memory 9; memory ids: 0 to 4$"):
        faults.plan(CHIP, faults.MemoryDead(memories=[9]))
    with pytest.raises(FaultError, match=r"^board_dead: no board 3; board ids: 0 to 2$"):
        faults.plan(CHIP, faults.BoardDead(boards=[3]))


def test_a_repair_moves_neurons_off_a_board_and_none_onto_it():
    sizes = {"cores": 2, "usable_cores": 2, "tile_columns": 2, "tile_rows": 1, "cores_per_tile": 1}
    profile = made(changes={f"chip__{name}": value for name, value in sizes.items()}, board={"chips": quantity(1, "chips")})
    chip = replace(CHIP, profile=profile, placement=replace(CHIP.placement, spare_cores=(9,)))
    gone = remap(faults.inject(chip, faults.BoardDead(boards=[4])))  # cores 8, the output's, and 9
    assert not gone.moves
    assert gone.left_counts == {"output": 4}
    healed = remap(faults.inject(chip, faults.BoardDead(boards=[3])))  # cores 6 and 7: hidden2
    (move,) = healed.moves
    assert (move.population, move.destination) == ("hidden2", 9)
    spikes = trains(healed.deployment)["hidden2"].any(axis=(0, 1))
    assert spikes[move.neurons].any()
    assert not np.delete(spikes, move.neurons).any()


BARE = small_profile()
LEARNLESS = BARE.model_copy(update={"learning": Learning.model_construct(available=False)})
ALONE = BARE.model_copy(update={"chip": BARE.chip.model_copy(update={"max_chips": number(1, "chips")})})
UNLINKED = LEARNLESS.model_copy(
    update={"name": "speck2f", "chip": ALONE.chip, "links": NoLinks.model_construct(topology="none", source=(), note=None)}
)


@pytest.mark.parametrize(
    ("profile", "spec", "message"),
    [
        (UNLINKED, {"kind": "link_dead", "count": 1}, "link_dead: chip 'speck2f' has no links between tiles; places it has: cores, neurons, synapses"),
        (UNLINKED, {"kind": "link_lossy", "count": 1}, "link_lossy: chip 'speck2f' has no links between tiles; places it has: cores, neurons, synapses"),
        (UNLINKED, {"kind": "router_dead", "count": 1}, "router_dead: chip 'speck2f' has no routers of tiles; places it has: cores, neurons, synapses"),
        (UNLINKED, {"kind": "core_dead", "count": 1, "at": "tile:0"}, "core_dead: at: chip 'speck2f' has no tiles; write core or chip"),
        (ALONE, {"kind": "chip_dead", "count": 1}, "chip_dead: chip 'small' has no further chips (chip.max_chips); places it has: cores, neurons, synapses, links between tiles, routers of tiles, learning engine"),
        (BARE, {"kind": "board_dead", "count": 1}, "board_dead: chip 'small' has no boards (board.chips); places it has: cores, neurons, synapses, links between tiles, routers of tiles, further chips, learning engine"),
        (BARE, {"kind": "memory_dead", "count": 1}, "memory_dead: chip 'small' has no memory that cores share (shared_memory.cores); places it has: cores, neurons, synapses, links between tiles, routers of tiles, further chips, learning engine"),
        (BARE, {"kind": "core_dead", "count": 1, "at": "board:0"}, "core_dead: profile 'small' does not say how many chips share a board (board.chips)"),
        (LEARNLESS, {"kind": "trace_stuck", "count": 1}, "trace_stuck: chip 'small' has no learning engine; places it has: cores, neurons, synapses, links between tiles, routers of tiles, further chips"),
    ],
)  # fmt: skip
def test_a_place_that_a_chip_lacks_is_refused_by_its_name(profile, spec, message):
    chip = mlp(4, 8, 2, profile=profile)
    with pytest.raises(FaultError) as caught:
        faults.inject(chip, spec)
    assert str(caught.value) == message


def test_links_of_other_topologies_break():
    """On a tree there is one way: what hangs below a dead link is cut off. A router above the leaves holds no neuron and can die."""
    quad = mlp(8, 8, 4, profile=tree(4, 2))  # 5 cores: chip 0 has 4 leaves, chip 1 the output's
    way = topology(quad).path(0, 2)
    assert [f"{link.x},{link.y}:{link.direction}" for link in way] == ["0,0:U", "0,1:U", "0,2:D1", "1,1:D0"]
    cut = faults.inject(quad, faults.LinkDead(links=["0,1:U"]))
    (hit,) = cut.damage.hits
    assert set(hit.cores) == {0, 1, 2, 3}
    top = faults.inject(quad, faults.RouterDead(routers=["0,2"]))
    assert {(edit.connection, edit.core) for edit in top.damage.edits} == {("hidden1", 2), ("hidden1", 3), ("output", 4)}
    with pytest.raises(FaultError) as caught:
        faults.inject(quad, faults.LinkDead(links=["0,0:E"]))
    assert str(caught.value) == (
        'link_dead: no link \'0,0:E\'; write "x,y:U" for the way up from router x of level y, "x,y:D0" for that to its first child; '
        "y the level, 0 to 3, x 0 to 7 in level 0 and fewer above"
    )
    with pytest.raises(FaultError, match=r"^link_dead: no link '30,1:E'; write .* of the mesh; x 0 to \d+, y 0 to \d+$"):
        faults.inject(mlp(8, 8, 4), faults.LinkDead(links=["30,1:E"]))
    spin = mlp(8, 8, 4, profile=hexagonal(cores=2))
    assert topology(spin).path(0, 3) == topology(spin).path(1, 2)
    lost = faults.inject(spin, faults.LinkDead(links=["0,0:N"], direction="one"))
    round_it = faults.inject(spin, faults.LinkDead(links=["0,0:N"], direction="one", reroute=True))
    assert lost.damage.edits
    (note,) = [note for note in round_it.damage.hits[0].notes if "extra hops" in note]
    assert note == "4 flows go round it, 4 extra hops"
