"""Profiles of chips whose places are no mesh: Loihi's limits and integers on other links."""

from __future__ import annotations

import json

from neurofault.deploy.profile import HardwareProfile, load_profile

SPIN5 = ("0-3", "0-4", "0-5", "0-6", "0-7", "1-7", "2-7", "3-7")
"""Columns of a SpiNN-5 board."""


def quantity(value, unit="1"):
    return {"value": value, "unit": unit, "source": "lava", "evidence": "assumed", "note": "for a test"}


def made(base="loihi1", changes=None, **sections) -> HardwareProfile:
    """A bundled profile with other values (``core__neurons=8``) and further sections, as its file would give them."""
    document = json.loads(load_profile(base).model_dump_json())
    for name, value in (changes or {}).items():
        section, key = name.split("__")
        document[section][key]["value"] = value
    return HardwareProfile.model_validate_json(json.dumps({**document, "name": "odd", **sections}))


def hexagonal(
    columns=SPIN5, cores=4, neurons=8, origins=((0, 0),), wrap=None, reserved=0, usable=None, **sections
) -> HardwareProfile:
    """Chips of so many cores on hexagonal links."""
    sizes = {
        "cores": cores,
        "usable_cores": usable or cores - reserved,
        "tile_columns": 1,
        "tile_rows": 1,
        "cores_per_tile": cores,
        "max_chips": None,
    }
    changes = {f"chip__{name}": value for name, value in sizes.items()} | {"core__neurons": neurons}
    links = {"topology": "hexagonal", "board_columns": list(columns), "origins": [list(one) for one in origins], "wrap": wrap}
    document = json.loads(made(changes=changes | {"chip__usable_cores": 1}, links=links).model_dump_json())
    document["chip"]["usable_cores"]["value"] = sizes["usable_cores"]
    document["chip"]["reserved_cores"] = quantity(reserved, "cores") if reserved else None
    return HardwareProfile.model_validate_json(json.dumps({**document, **sections}))


def tree(tiles=16, branches=4, cores_per_tile=1, neurons=8, **sections) -> HardwareProfile:
    """Chips whose tiles are the leaves of a tree."""
    sizes = {"cores": tiles * cores_per_tile, "usable_cores": tiles * cores_per_tile, "tile_columns": tiles, "tile_rows": 1}
    sizes |= {"cores_per_tile": cores_per_tile, "max_chips": None}
    changes = {f"chip__{name}": value for name, value in sizes.items()} | {"core__neurons": neurons}
    return made(changes=changes, links={"topology": "tree", "branches": quantity(branches)}, **sections)


def layered(neurons, synapse_bits, biases=None, destinations=None, padded=False, **sections) -> HardwareProfile:
    """A chip without links whose cores hold one whole population each."""
    cores = len(neurons)
    sizes = {"cores": cores, "usable_cores": cores, "tile_columns": 1, "tile_rows": 1, "cores_per_tile": cores, "max_chips": 1}
    changes = {f"chip__{name}": value for name, value in sizes.items()}
    changes |= {f"core__{name}": None for name in ("neurons", "synapse_bits", "in_axons", "out_axons")}
    changes |= {"synapse__block_header_bits": 0, "synapse__word_bits": None, "synapse__block_synapses": None}
    layers = {
        "neurons": quantity(list(neurons), "neurons"),
        "synapse_bits": quantity(list(synapse_bits), "bits"),
        "biases": quantity(None if biases is None else list(biases), "biases"),
        "destinations": quantity(destinations, "cores"),
        "padded": quantity(padded, "flag"),
    }
    profile = made(changes=changes, links={"topology": "none"}, **sections)
    document = json.loads(profile.model_dump_json())
    document["core"]["layers"] = layers
    return HardwareProfile.model_validate_json(json.dumps(document))
