"""Each bundled profile: every number has a source that is there, and a small network runs on it or is refused in one line that helps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from chips import chain_parts
from placed_networks import mlp
from pydantic import BaseModel

from neurofault.deploy.placement import place
from neurofault.deploy.profile import HardwareProfile, Quantity, bundled_profiles, load_profile
from neurofault.deploy.routing import topology_of
from neurofault.errors import CapacityError

BOARDS = {"kapoho_bay": (2, 2), "nahuku32": (32, 32), "pohoiki_springs": (768, 32), "hala_point": (1152, None)}
"""Loihi systems: chips, and chips of a board."""
REFUSED = {
    "xylo_audio2": "neurofault: population 'hidden1': its synaptic current has no memory (du 4095); on chip 'xylo_audio2' a current loses its share "
    "before it counts, so that nothing would be left; train it with a synaptic current that remembers (du 2047 keeps half)\n",
    "odin": "neurofault: population 'input': 64 of its 64 neurons drive synapses of both signs; a neuron of 'odin' has one sign for all its synapses: give "
    "each two copies, one with the positive weights and one with the negative ones\n",
    "truenorth": "neurofault: population 'output' does not fit: one neuron takes 400 in_axons, a core of 'truenorth' has 256; each source takes an axon "
    "for each of the 4 bits of its weights: give its neurons at most 64 sources, or 128 with weight_bits 2, or use a profile with more core.in_axons\n",
}  # fmt: skip
"""Profiles on which digits-mlp cannot run, and what is said."""


def quantities(record: BaseModel) -> list[Quantity]:
    found = []
    for _, value in record:
        for inner in value.values() if isinstance(value, dict) else [value]:
            if isinstance(inner, Quantity):
                found.append(inner)
            elif isinstance(inner, BaseModel):
                found += quantities(inner)
    return found


@pytest.mark.parametrize("name", bundled_profiles())
def test_every_number_says_where_it_is_from(name):
    profile = load_profile(name)
    assert profile.name == name
    known = [one for one in quantities(profile) if one.value is not None]
    assert len(known) > 8
    for one in known:
        assert one.source
        assert set(one.source) <= set(profile.sources)
        assert one.evidence != "assumed" or one.note
    assert HardwareProfile.model_validate_json(profile.model_dump_json()) == profile


@pytest.mark.parametrize("name", bundled_profiles())
def test_digits_run_on_it_or_one_line_says_why_not(cli, name):
    code, out, err = cli(
        "inject", "--profile", name, "--network", "digits-mlp", "--kill-cores", "1", "--draws", "1", "--samples", "8", "--json", "-"
    )  # fmt: skip
    if name in REFUSED:
        assert (code, err) == (2, REFUSED[name])
        return
    assert code == 0, err
    result = json.loads(out)
    assert result["n_draws"] == 1
    assert result["profile"] == name
    assert result["healthy_accuracy"] > 0.5
    assert result["draws"][0]["status"] == "ok"


@pytest.mark.parametrize("name", BOARDS)
def test_loihi_boards_are_loihi_s_cores_and_so_many_chips(name):
    profile = load_profile(name)
    base = load_profile("loihi2" if name == "hala_point" else "loihi1")
    chips, board = BOARDS[name]
    assert (profile.chip.max_chips.known, profile.board.chips.value) == (chips, board)
    assert (profile.core, profile.synapse, profile.neuron, profile.learning) == (
        base.core,
        base.synapse,
        base.neuron,
        base.learning,
    )
    assert profile.energy_tables == base.energy_tables


def test_spinnaker_is_a_board_of_version_5():
    profile = load_profile("spinnaker1")
    grid = topology_of(profile)
    assert len(grid.places) == 48
    assert (grid.places[0], grid.places[-1]) == ((0, 0), (7, 7))
    lacking = {(1, 1), (1, 3), (3, 1), (3, 3), (3, 5), (5, 2), (5, 4), (5, 6)}  # CHIPS_PER_BOARD: 17 cores
    assert {grid.places[core // 18] for core in profile.dead_core_ids} == lacking
    assert {core % 18 for core in profile.dead_core_ids} == {17}
    assert list(profile.chip.local_ids) == list(range(1, 18))


def test_speck_has_nine_cores_of_sinabs_sizes():
    layers = load_profile("speck2f").core.layers
    assert [size // 1024 for size in layers.neurons.known] == [64, 64, 64, 32, 32, 16, 16, 16, 16]
    assert [bits // 8 // 1024 for bits in layers.synapse_bits.known] == [16, 16, 16, 32, 32, 64, 64, 16, 16]
    assert set(layers.biases.known) == {1024}


def test_spinnaker2_has_152_processing_elements_where_its_quads_are():
    profile = load_profile("spinnaker2")
    grid = topology_of(profile)
    x, y = grid.tiles(np.array(profile.dead_core_ids))
    assert {(a + 1, 6 - b) for a, b in zip(x.tolist(), y.tolist(), strict=True)} == {
        (4, 3),
        (4, 4),
        (7, 3),
        (7, 4),
    }  # not in QUAD_MAP
    assert profile.chip.cores.known - len(profile.dead_core_ids) == 152


@pytest.mark.parametrize(
    ("sizes", "name", "message"),
    [
        ((17, 20, 4), "xylo_audio2", "the network does not fit: it takes 17 inputs (neurons: input 17, hidden1 20, output 4), the one core of 'xylo_audio2' has 16 "
         "(core.inputs); shrink it, or use a profile with more"),
        ((16, 20, 9), "xylo_audio2", "the network does not fit: it takes 9 outputs (neurons: input 16, hidden1 20, output 9), the one core of 'xylo_audio2' has 8 "
         "(core.outputs); shrink it, or use a profile with more"),
        ((100, 150, 10), "odin", "the network does not fit: it takes 260 neurons (neurons: input 100, hidden1 150, output 10), the one core of 'odin' has 256 "
         "(core.neurons); shrink it, or use a profile with more"),
    ],
)  # fmt: skip
def test_the_only_core_holds_all_or_says_what_is_short(sizes, name, message):
    populations, connections = chain_parts(mlp(*sizes))
    populations = (replace(populations[0], is_source=True), *populations[1:])
    with pytest.raises(CapacityError) as caught:
        place(populations, connections, load_profile(name))
    assert str(caught.value) == message
