from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from chips import connection, neurons
from placed_networks import dense, deployment, graph_deployment, layer, mlp, place_chain, profile_with, small_chip
from rich.console import Console

from neurofault.damage.damage import Damage, Silence
from neurofault.deploy.grid import draw_grid, grid_html, grid_renderable


def placed(sizes, profile, damage=None, **options):
    layers = mlp(*sizes)
    return deployment(layers, profile, placement=place_chain(layers, profile, **options), damage=damage)


def test_mnist_mlp_on_loihi_2_with_dead_and_spare_cores():
    """Every mark, the legend and the utilisation, exactly."""
    profile = profile_with("loihi2", dead_cores=(9,))
    damage = Damage((Silence("input", np.array([0, 1, 2])),), dead_cores=(100, 104))
    drawing = draw_grid(placed((784, 100, 10), profile, damage, neurons_per_core=8, spare_cores=2))
    assert drawing == "\n".join(
        [
            "chip 0",
            "  iiii  iiii  i#ii  iiii  iiii  iiii  iiii  ii+i",
            "  iiii  iiii  iiii  iiii  iiii  iiii  iiii  iiii",
            "  iiii  iiii  iiii  iiii  iiii  iiii  ii+i  iiii",
            "  iiii  ✗111  ✗111  1111  11oo  ····  ----  ----",
            "",
            "i input    784 neurons on 98 cores, 11 dead",
            "1 hidden1  100 neurons on 13 cores, 8 dead",
            "o output   10 neurons on 2 cores",
            "✗ 2 cores dead: 100, 104",
            "+ 2 cores spare: 30, 90",
            "# 1 core known bad, never used: 9",
            "- 8 cores not for users",
            "· 4 cores free",
            "",
            "of a core in use     largest        mean           limit  largest/limit",
            "neurons                    8         7.9           8,192           0.1%",
            "synapse bits         100,352    11,270.8       1,572,864           6.4%",
            "in-axons                 784        92.0     not checked",
            "out-axons                104        92.0     not checked",
        ]
    )


def test_a_core_that_took_over_neurons_of_another_layer_is_marked():
    layers = mlp(2, 2, 1)
    drawing = draw_grid(deployment(layers, small_chip(3, 1, 1), [[0, 0], [1, 2], [2]]))
    assert drawing.splitlines()[:2] == ["chip 0", "  i  1  &"]
    assert "& 1 core with neurons of several populations: 2" in drawing.splitlines()


def test_each_chip_is_drawn_with_its_own_cores():
    drawing = draw_grid(placed((5, 2), small_chip(2, 2, 2), neurons_per_core=1, chips=2, strategy="pack"))
    assert drawing.splitlines()[:6] == ["chip 0", "  ii  ii", "  io  o·", "chip 1", "  ··  ··", "  ··  ··"]


def test_a_chip_with_fewer_cores_than_places_leaves_the_last_ones_blank():
    drawing = draw_grid(placed((3, 2), small_chip(2, 2, 2, chip__cores=5, chip__usable_cores=4), neurons_per_core=2))
    assert drawing.splitlines()[:3] == ["chip 0", "  ii  o·", "  -"]


def test_many_chips_take_one_line_for_neighbours_that_are_alike():
    profile = small_chip(2, 2, 2, chip__usable_cores=7)
    drawing = draw_grid(placed((64, 10), profile, Damage(dead_cores=(0,)), neurons_per_core=1))
    assert drawing.splitlines()[:5] == [
        "chip 0              ✗ × 1     i × 6     - × 1",
        "chips 1-8           i × 7     - × 1",
        "chip 9              i × 1     o × 6     - × 1",
        "chip 10             o × 4     · × 3     - × 1",
        "",
    ]


def test_long_lists_of_cores_are_cut_short():
    dead = Damage(dead_cores=tuple(range(0, 40, 2)))
    lines = draw_grid(placed((100, 10), profile_with("loihi1"), dead, neurons_per_core=1)).splitlines()
    assert "✗ 20 cores dead: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, …" in lines


def test_hidden_layers_have_letters_after_nine():
    lines = draw_grid(placed([2] * 13, small_chip(4, 4, 1))).splitlines()
    assert lines[1:5] == ["  i  1  2  3", "  4  5  6  7", "  8  9  A  B", "  o  ·  ·  ·"]
    assert "B hidden11  2 neurons on 1 core" in lines


def test_a_network_of_the_input_alone():
    layers = [layer("input", (3,))]
    assert draw_grid(deployment(layers, small_chip(2, 1, 1), [[0, 0, 1]])).splitlines()[:2] == ["chip 0", "  i  i"]


@pytest.mark.parametrize("colour", [False, True])
def test_the_rich_drawing_says_the_same_and_colours_it(colour):
    here = placed((784, 100, 10), profile_with("loihi2"), Damage(dead_cores=(100,)), neurons_per_core=8, spare_cores=2)
    out = StringIO()
    Console(file=out, width=100, force_terminal=colour, color_system="truecolor" if colour else None).print(grid_renderable(here))
    assert grid_renderable(here).plain == draw_grid(here)
    assert ("\x1b[" in out.getvalue()) == colour
    assert "\x1b" not in draw_grid(here)
    styles = {str(span.style) for span in grid_renderable(here).spans}
    assert len(styles & {"#56B4E9", "#E69F00", "#D55E00"}) == 3, "the three layers have three colours"


def test_a_graph_has_a_letter_for_each_input_and_o_for_what_is_read():
    populations = [
        neurons("eye", (2,), is_source=True), neurons("answer", (1,)), neurons("ear", (1,), is_source=True), neurons("loop <1>", (1,)),
    ]  # fmt: skip
    connections = [
        connection("a", "eye", "loop <1>", dense(1, 2)), connection("b", "ear", "loop <1>", dense(1, 1)),
        connection("c", "loop <1>", "loop <1>", dense(1, 1)), connection("d", "loop <1>", "answer", dense(1, 1)),
    ]  # fmt: skip
    here = graph_deployment(populations, connections, small_chip(5, 1, 1), [[0, 1], [2], [3], [4]], readout="answer")
    assert draw_grid(here).splitlines()[:7] == [
        "chip 0", "  i  i  o  j  1", "", "i eye       2 neurons on 2 cores", "o answer    1 neuron on 1 core",
        "j ear       1 neuron on 1 core", "1 loop <1>  1 neuron on 1 core",
    ]  # fmt: skip
    assert "loop &lt;1&gt;  1 neuron on 1 core" in grid_html(here)
