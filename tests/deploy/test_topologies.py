"""Ways over hexagonal and tree links, and over a mesh, against a plain breadth-first search over the graph of links as the sources draw it."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_places import SPIN5, hexagonal, layered, made, tree
from placed_networks import small_chip

from neurofault.deploy.routing import Link, Mesh, topology_of
from neurofault.errors import UsageError

SIX = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
"""Steps over SpiNNaker's links 0 to 5 (SpiNNMachine, ``LINK_ADD_TABLE``)."""
TRIAD = ((0, 0), (4, 8), (8, 4))
"""Boards of a torus of three (SpiNNMachine, ``spinnaker_triad_geometry``)."""


def spin5(origins, wrap):
    """Chips of SpiNN-5 boards, as ``version_5.py`` lists them."""
    found = []
    for dx, dy in origins:
        for x, rows in enumerate(SPIN5):
            low, high = map(int, rows.split("-"))
            found += [(x + dx, y + dy) for y in range(low, high + 1)]
    return found if wrap is None else [(x % wrap[0], y % wrap[1]) for x, y in found]


def distances(start, neighbours):
    """Steps from a node to every other one that can be reached."""
    found, queue = {start: 0}, deque([start])
    while queue:
        here = queue.popleft()
        for there in neighbours(here):
            if there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return found


def hexagon_graph(places, wrap, dead=(), closed=()):
    """Neighbours of a chip past dead chips and closed links, which are closed both ways."""
    there = set(places) - set(dead)

    def step(place, way):
        x, y = place[0] + SIX[way][0], place[1] + SIX[way][1]
        return (x, y) if wrap is None else (x % wrap[0], y % wrap[1])

    shut = {(place, way) for place, way in closed} | {(step(place, way), (way + 3) % 6) for place, way in closed}
    return lambda place: [step(place, way) for way in range(6) if step(place, way) in there and (place, way) not in shut]


def tree_graph(branches, leaves):
    """Neighbours of a router (number, level) of a tree."""
    widths = [leaves]
    while widths[-1] > 1:
        widths.append(-(-widths[-1] // branches))

    def neighbours(node):
        x, y = node
        up = [(x // branches, y + 1)] if y + 1 < len(widths) else []
        down = [(child, y - 1) for child in range(x * branches, (x + 1) * branches) if y > 0 and child < widths[y - 1]]
        return up + down

    return neighbours


def follow(grid, start, path):
    """The router at which a way ends; each of its links leaves the one before."""
    for link in path:
        assert (link.x, link.y) == start
        assert link in grid.out_of(start)
        start = grid.over(link)
    return start


@pytest.mark.parametrize(
    ("origins", "wrap"), [(((0, 0),), None), (TRIAD, (12, 12)), (TRIAD, None)], ids=["board", "torus", "three"]
)
def test_hexagonal_ways_are_as_long_as_the_shortest(origins, wrap):
    grid = topology_of(hexagonal(origins=origins, wrap=wrap))
    places = spin5(origins, wrap)
    assert list(grid.places) == places
    ids = np.arange(len(places)) * 4
    hops = grid.hops(ids[:, None], ids)
    neighbours = hexagon_graph(places, wrap)
    for chip, place in enumerate(places):
        wanted = distances(place, neighbours)
        assert hops.inter_chip[chip].tolist() == [wanted[there] for there in places]
    assert not hops.east_west.any()
    assert not hops.north_south.any()
    for a, b in ((0, 47), (47, 0), (13, 30), (5, len(places) - 1)):
        path = grid.path(a * 4, b * 4 + 3)
        assert len(path) == int(hops.total[a, b])
        assert follow(grid, places[a], path) == places[b]


def test_a_way_takes_the_longer_axis_first():
    grid = topology_of(hexagonal())
    core = {place: 4 * chip for chip, place in enumerate(grid.places)}
    assert grid.path(core[0, 0], core[6, 2]) == (
        *(Link(x, 0, "E") for x in range(4)), Link(4, 0, "NE"), Link(5, 1, "NE"),
    )  # fmt: skip
    assert grid.path(core[6, 7], core[4, 0]) == (*(Link(6, y, "S") for y in range(7, 2, -1)), Link(6, 2, "SW"), Link(5, 1, "SW"))
    assert grid.path(core[0, 0], core[0, 0] + 3) == ()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_ways_go_round_what_the_profile_lists_as_down(data):
    places = spin5(((0, 0),), None)
    dead = data.draw(st.lists(st.sampled_from(places), max_size=8, unique=True))
    closed = data.draw(st.lists(st.tuples(st.sampled_from(places), st.integers(0, 5)), max_size=12, unique=True))
    profile = hexagonal(
        dead_chips=[f"{x},{y}" for x, y in dead], dead_links=[f"{x},{y},{way}" for (x, y), way in closed], dead_cores=["4,7,3"]
    )
    grid = topology_of(profile)
    sound = [place for place in places if place not in dead]
    reached = distances(sound[0], hexagon_graph(places, None, dead, closed))
    bad = {chip for chip, place in enumerate(places) if place not in reached}
    assert set(grid.cut_off) == bad
    assert set(profile.dead_core_ids) == {chip * 4 + p for chip in bad for p in range(4)} | {4 * places.index((4, 7)) + 3}
    chips = [chip for chip in range(len(places)) if chip not in bad]
    first = data.draw(st.sampled_from(chips))
    wanted = distances(places[first], hexagon_graph(places, None, dead, closed))
    assert grid.hops(np.array(first * 4), np.array(chips) * 4).total.tolist() == [wanted[places[chip]] for chip in chips]


@settings(max_examples=50, deadline=None)
@given(branches=st.integers(2, 4), depth=st.integers(0, 3), per_tile=st.integers(1, 2), chips=st.integers(1, 5))
def test_tree_ways_climb_to_the_common_ancestor(branches, depth, per_tile, chips):
    tiles = branches**depth
    grid = topology_of(tree(tiles, branches, per_tile), chips)
    leaves = np.arange(chips * tiles)
    hops = grid.hops(leaves[:, None] * per_tile, leaves * per_tile + per_tile - 1)
    neighbours = tree_graph(branches, chips * tiles)
    for leaf in leaves.tolist()[:: max(1, len(leaves) // 4)]:
        wanted = distances((leaf, 0), neighbours)
        assert hops.total[leaf].tolist() == [wanted[other, 0] for other in leaves.tolist()]
    assert (hops.inter_chip > 0).tolist() == (leaves[:, None] // tiles != leaves // tiles).tolist()
    assert int(np.max(hops.tree)) <= 2 * depth
    path = grid.path(0, int(leaves[-1]) * per_tile)
    assert len(path) == int(hops.total[0, -1])
    assert follow(grid, (0, 0), path) == (int(leaves[-1]), 0)


@settings(max_examples=50, deadline=None)
@given(columns=st.integers(1, 4), rows=st.integers(1, 4), chips=st.integers(1, 3))
def test_mesh_ways_are_as_long_as_the_shortest(columns, rows, chips):
    grid = topology_of(small_chip(columns, rows, 1), chips)
    width = columns * chips

    def neighbours(place):
        around = [(place[0] + dx, place[1] + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        return [(x, y) for x, y in around if 0 <= x < width and 0 <= y < rows]

    cores = np.arange(width * rows)
    x, y = grid.tiles(cores)
    found = grid.hops(cores[:, None], cores).total
    for core in cores.tolist():
        wanted = distances((int(x[core]), int(y[core])), neighbours)
        assert found[core].tolist() == [wanted[a, b] for a, b in zip(x.tolist(), y.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("profile", "chips"),
    [
        (hexagonal(origins=TRIAD, wrap=(12, 12)), 144),
        (hexagonal(), 48),
        (tree(), 3),
        (small_chip(3, 2, 2), 2),
        (layered([4], [64]), 1),
    ],
    ids=["torus", "board", "tree", "mesh", "none"],
)
def test_every_link_has_one_back_and_both_ends_are_routers(profile, chips):
    grid = topology_of(profile, chips)
    links, routers = grid.links(), set(grid.routers())
    assert len(set(links)) == len(links)
    for link in links:
        back = grid.opposite(link)
        assert grid.opposite(back) == link
        assert grid.over(link) in routers
        assert (back.x, back.y) == grid.over(link)
        assert grid.over(back) == (link.x, link.y)
        assert {link, back} <= set(links)
    cores = np.arange(chips * profile.chip.cores.known)
    for tile in routers:
        x, y = (int(axis) for axis in grid.tiles(np.array(grid.core_at(tile))))
        assert (x, y) == tile or y < tile[1]
    assert grid.hops(cores, cores).total.tolist() == [0] * len(cores)


def test_chips_of_other_topologies_keep_what_a_core_is():
    grid = topology_of(hexagonal())
    assert [int(axis) for axis in grid.tiles(np.array(4 * 9 + 3))] == [2, 0]
    for other, last in ((grid, 4 * 48 - 1), (topology_of(tree(), 2), 31), (topology_of(layered([4, 4], [64, 64])), 1)):
        with pytest.raises(UsageError) as caught:
            other.tiles(np.array([last + 1]))
        assert str(caught.value) == f"core {last + 1} does not exist; cores are 0 to {last}"


def test_no_way_past_what_is_down_is_said():
    grid = topology_of(hexagonal(columns=("0-1", "0-1"), dead_links=["0,0,0", "0,0,1", "0,0,2"]))
    assert grid.cut_off == {1, 2, 3}
    with pytest.raises(UsageError) as caught:
        grid.path(0, 4)
    assert str(caught.value) == "no way leads from chip 0,0 to chip 0,1 past what is known bad"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"dead_cores": ["4,7,9"]}, "chip 4,7 has no core 9; cores: 0 to 3"),
        ({"dead_cores": ["9,9,1"]}, "no chip 9,9"),
        ({"dead_cores": ["4,7,1,10.11.12.13"]}, "'4,7,1,10.11.12.13' counts from the board at 10.11.12.13; write x and y of the whole machine, and no address"),
        ({"dead_cores": ["4,7,3-2"]}, "'4,7,3-2' is no range: the lower end comes first"),
        ({"dead_cores": ["4,x,3"]}, "'4,x,3' is not a core; write x,y,p such as 4,7,3 or 2,3,2-17"),
        ({"dead_chips": ["4"]}, "'4' is not a chip; write x,y such as 4,7"),
        ({"dead_chips": ["0,4"]}, "no chip 0,4"),
        ({"dead_links": ["4,7,6"]}, "'4,7,6' is not a link; write x,y,link such as 4,7,3, link 0 to 5 (E, NE, N, W, SW, S)"),
    ],
)  # fmt: skip
def test_what_the_machine_does_not_have_is_refused(sections, message):
    with pytest.raises(ValueError, match="validation error") as caught:
        hexagonal(**sections)
    assert message in str(caught.value)


def test_a_mesh_may_be_named():
    named, left_out = made(links={"topology": "mesh"}), made()
    assert topology_of(named, 2) == topology_of(left_out, 2)
    assert isinstance(topology_of(named), Mesh)
    assert named.joined


def test_other_chips_have_no_dead_chips():
    with pytest.raises(ValueError, match="validation error") as caught:
        made(dead_chips=["0,0"])
    assert "only a profile with links: {topology: hexagonal} lists dead chips and links; list its dead_cores" in str(caught.value)


def test_down_cores_of_spinnmachine_are_read():
    """``IgnoreCore``: several by colons, ranges, and physical numbers through its typical map (10 is the monitor, 0)."""
    profile = hexagonal(cores=18, dead_cores=["4,7,3:2,3,2-17", "6,5,-2", "0,0,-10", 7])
    at = {place: 18 * chip for chip, place in enumerate(topology_of(profile).places)}
    wanted = {at[4, 7] + 3, *range(at[2, 3] + 2, at[2, 3] + 18), at[6, 5] + 3, 0, 7}
    assert set(profile.dead_core_ids) == wanted


def test_boards_must_not_overlap():
    with pytest.raises(ValueError, match=r"two chips at 3,3: origins let boards overlap"):
        hexagonal(origins=((0, 0), (3, 3)))
    with pytest.raises(ValueError, match=r"'3-1' is no range of rows; write the first and the last, such as '0-3'"):
        hexagonal(columns=("3-1",))


def test_a_profile_of_other_places_survives_its_file():
    for profile in (hexagonal(dead_chips=["4,7"]), tree(), layered([4, 8], [64, 64], padded=True)):
        assert type(profile).model_validate_json(profile.model_dump_json()) == profile


def test_a_path_of_pairs_is_connected():
    """Consecutive tiles of a way are neighbours, seen from the links alone."""
    grid = topology_of(tree(16, 4), 2)
    tiles = [(0, 0)]
    for link in grid.path(0, 31):
        tiles.append(grid.over(link))
    assert all(abs(a[1] - b[1]) == 1 for a, b in pairwise(tiles))
    assert tiles[-1] == (31, 0)
