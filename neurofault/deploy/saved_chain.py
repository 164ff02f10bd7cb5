"""Saved deployments of format 1, chains of layers, as format 2 says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurofault.deploy.saved_parts import Parts

_OF_CONNECTIONS = ("SetSynapses", "SetDelays", "Drop", "LearningDefect")
_WITHOUT_PLACE = ("Stall", "Detour")
_WEIGHTS = ("weight_exponent", "weight_bits", "sign_mode")
_NEURONS = ("name", "shape", "du", "dv", "vth", "bias_mantissa", "bias_exponent", "v_init", "fires")


def as_graph(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON data of a chain as that of a graph: each connection has the name of the layer that it drives.

    Args:
        data: of a file of format 1.

    Raises:
        ValueError: a part is missing, of another type, or names a layer that is not there.
    """
    parts = Parts(data)
    layers = parts.listed("layers")
    names = [layer.of("name", str) for layer in layers]
    populations = [
        {name: layer.data.get(name) for name in _NEURONS}
        | {"is_source": not place, "encoding": None if place else data.get("encoding")}
        for place, layer in enumerate(layers)
    ]
    if layers and layers[0].data.get("synapses") is not None:
        raise ValueError("layer 0 has synapses")
    connections = [
        {name: layer.data.get(name) for name in _WEIGHTS}
        | {"name": target, "source": source, "target": target, "synapses": _synapses(layer.inner("synapses")), "delay": 1}
        for source, target, layer in zip(names[:-1], names[1:], layers[1:], strict=True)
    ]
    placement = parts.inner("placement")
    numbers = placement.of("core_of", list[int])
    if len(numbers) != len(layers):
        raise ValueError(f"{len(numbers)} layers are placed, there are {len(layers)}")
    damage = parts.inner("damage")
    return {
        **data,
        "populations": populations,
        "connections": connections,
        "placement": {**placement.data, "core_of": dict(zip(names, numbers, strict=True))},
        "readout": {"population": names[-1] if names else "", "how": parts.of("readout", str)},
        "damage": {**damage.data, "edits": [_edit(edit, names) for edit in damage.listed("edits")]},
    }


def _synapses(synapses: Parts) -> dict[str, Any]:
    if "dense" in synapses.data:
        return {"kind": "Dense", "weight": synapses.of("dense", int), "delay": synapses.data.get("delay")}
    return {"kind": "Conv", "delay": None, **synapses.data}


def _edit(edit: Parts, names: list[str]) -> dict[str, Any]:
    kind = edit.of("edit", str)
    if kind in _WITHOUT_PLACE:
        return dict(edit.data)
    place = 0 if kind == "InputNoise" else edit.of("layer", int)
    synaptic = kind in _OF_CONNECTIONS
    if not int(synaptic) <= place < len(names):
        raise ValueError(f"layer {place}: layers are 0 to {len(names) - 1}")
    return {name: value for name, value in edit.data.items() if name != "layer"} | {
        "connection" if synaptic else "population": names[place]
    }
