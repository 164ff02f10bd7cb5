from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from placed_networks import deployment, mlp, profile_with

from neurofault.deploy.routing import Link, Mesh, topology, topology_of
from neurofault.errors import UsageError

LOIHI = Mesh(8, 4, 4, 128)


def test_the_mesh_comes_from_the_profile_and_the_chips_in_use():
    assert topology_of(profile_with("loihi1"), 3) == Mesh(8, 4, 4, 128, 3)
    assert topology(deployment(mlp(2, 2), profile_with(), [[0, 0], [130, 130]], chips=2)) == Mesh(8, 4, 4, 128, 2)


def test_cores_fill_tiles_row_by_row_and_chips_from_the_west():
    x, y = Mesh(8, 4, 4, 128, 2).tiles(np.array([0, 3, 4, 31, 32, 127, 128, 165]))
    assert list(zip(x.tolist(), y.tolist(), strict=True)) == [(0, 0), (0, 0), (1, 0), (7, 0), (0, 1), (7, 3), (8, 0), (9, 1)]


def test_hops_by_hand():
    hops = LOIHI.hops(np.array([0, 0, 0, 127]), np.array([3, 31, 127, 32]))
    assert hops.east_west.tolist() == [0, 7, 7, 7]
    assert hops.north_south.tolist() == [0, 0, 3, 2]
    assert hops.inter_chip.tolist() == [0, 0, 0, 0]
    assert hops.total.tolist() == [0, 7, 10, 9]


def test_steps_between_chips_are_counted_apart():
    hops = Mesh(8, 4, 4, 128, 3).hops(np.array([0, 300]), np.array([256 + 36, 0]))
    assert hops.east_west.tolist() == [15, 17]
    assert hops.north_south.tolist() == [1, 1]
    assert hops.inter_chip.tolist() == [2, 2]


def test_a_message_goes_along_its_row_first():
    assert LOIHI.path(0, 4 * (2 * 8 + 2)) == (Link(0, 0, "E"), Link(1, 0, "E"), Link(2, 0, "S"), Link(2, 1, "S"))
    assert LOIHI.path(4 * (2 * 8 + 2), 0) == (Link(2, 2, "W"), Link(1, 2, "W"), Link(0, 2, "N"), Link(0, 1, "N"))
    assert LOIHI.path(0, 3) == ()


def joins_chips(shape, link):
    """Whether a link of a mesh joins two chips."""
    beyond = {"E": link.x + 1, "W": link.x - 1}.get(link.direction, link.x)
    return beyond // shape.columns != link.x // shape.columns


MESHES = st.builds(lambda c, r, k, n: Mesh(c, r, k, c * r * k, n), *(st.integers(1, 4) for _ in range(4)))


@given(shape=MESHES, data=st.data())
def test_a_path_is_connected_lies_on_the_mesh_and_is_as_long_as_its_hops(shape, data):
    cores = st.integers(0, shape.chips * shape.cores_per_chip - 1)
    source, destination = data.draw(cores), data.draw(cores)
    path = shape.path(source, destination)
    hops = shape.hops(np.array(source), np.array(destination))
    assert sum(joins_chips(shape, link) for link in path) == int(hops.inter_chip)
    assert sum(link.direction in "NS" for link in path) == int(hops.north_south)
    assert len(path) == int(hops.total)
    assert set(path) <= set(shape.links())
    x, y = (int(axis) for axis in shape.tiles(np.array(source)))
    step = {"E": (1, 0), "W": (-1, 0), "N": (0, -1), "S": (0, 1)}
    for link in path:
        assert (link.x, link.y) == (x, y)
        x, y = x + step[link.direction][0], y + step[link.direction][1]
    assert (x, y) == tuple(int(axis) for axis in shape.tiles(np.array(destination)))


@given(shape=MESHES)
def test_every_tile_has_a_link_to_each_neighbour_and_back(shape):
    width = shape.columns * shape.chips
    links = shape.links()
    assert len(set(links)) == len(links) == 2 * ((width - 1) * shape.rows + width * (shape.rows - 1))
    assert sum(joins_chips(shape, link) for link in links if link.direction in "EW") == 2 * (shape.chips - 1) * shape.rows
    assert not any(joins_chips(shape, link) for link in links if link.direction in "NS")


@pytest.mark.parametrize("core", [-1, 128])
def test_a_core_that_does_not_exist_is_refused(core):
    with pytest.raises(UsageError) as caught:
        LOIHI.tiles(np.array([0, core]))
    assert str(caught.value) == f"core {core} does not exist; cores are 0 to 127"
