"""Metadata of NIR files that were written before graphs. Chains only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurofault.convert.spiking_neurons import pair


def of_a_chain(said: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata of version 1, which knew chains only, as those of a graph."""
    populations, connections, before = [], [], dict[str, Any]()
    for place, layer in enumerate(said["layers"]):
        stored = layer["stored"]
        exponent = None if stored is None else int(stored.get("bias_exponent", 0))
        populations.append({
            "name": layer["name"], "shape": layer["shape"], "input": None, "neuron": layer["neuron"], "encoding": None if place else said["encoding"],
            "source": not place, "start": layer["start"], "bias_exponent": exponent, "bare": None, "reset": "zero", "reset_delay": 0, "refractory": 0,
            "floor": None,
        })  # fmt: skip
        if place:
            node = nodes[layer["synapses"]]
            window = None
            if np.ndim(node.weight) == 4:
                window = {
                    "in_shape": before["shape"], "stride": pair(node.stride), "padding": pair(node.padding), "dilation": pair(node.dilation),
                    "groups": layer["groups"],
                }  # fmt: skip
            connections.append({
                "name": layer["name"], "source": before["name"], "target": layer["name"], "delay": 1, "kind": "dense" if window is None else "conv",
                "window": window, "parts": [{"node": layer["synapses"], "delay": 0}], "delayed": False,
                "stored": None if stored is None else {key: value for key, value in stored.items() if key != "bias_exponent"},
            })  # fmt: skip
        before = populations[-1]
    readout = {"population": before["name"], "how": said["readout"]}
    return {**said, "readout": readout, "populations": populations, "connections": connections}
