"""Golden vectors: deployments, inputs and what Lava made of them, in one .npz that needs neither Lava nor a random generator.

``python tests/engines/make_golden.py`` writes the file anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from cases import Case
from chips import chip

from neurofault.activity import TRACES, Traces
from neurofault.damage.damage import SetSynapses, Silence
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs

FILE = Path(__file__).with_name("golden.npz")

_PLAIN = ("name", "shape", "weight_exponent", "weight_bits", "sign_mode", "bias_exponent", "v_init", "fires")
_ARRAYS = ("du", "dv", "vth", "bias_mantissa")
_GEOMETRY = ("in_shape", "stride", "padding", "dilation", "groups")


def write(results: Mapping[str, tuple[Case, Mapping[str, Traces]]]) -> None:
    """Write cases with Lava's traces."""
    arrays: dict[str, np.ndarray] = {}
    index = {}
    for name, ((deployment, inputs), traces) in results.items():
        layers = []
        for number, layer in enumerate(deployment.layers):
            place = f"{name}/{number}"
            arrays |= {f"{place}/{field}": getattr(layer, field) for field in _ARRAYS}
            arrays |= {f"{place}/trace-{state}": getattr(traces[layer.name], state) for state in TRACES}
            synapses = layer.synapses
            if synapses is not None:
                arrays[f"{place}/weight"] = synapses.weight.astype(np.int16)
            if isinstance(synapses, Dense) and synapses.delay is not None:
                arrays[f"{place}/delay"] = synapses.delay.astype(np.uint8)
            geometry = {key: getattr(synapses, key) for key in _GEOMETRY} if isinstance(synapses, Conv) else None
            layers.append({"plain": {key: getattr(layer, key) for key in _PLAIN}, "conv": geometry})
        edits = []
        for edit in deployment.damage.edits:
            fields = {"layer": edit.layer}
            fields |= {
                key: getattr(edit, key).tolist() for key in ("neurons", "sources", "targets", "values") if hasattr(edit, key)
            }
            edits.append(fields)
        arrays |= {f"{name}/{key}": getattr(inputs, key) for key in ("bias", "events") if getattr(inputs, key) is not None}
        index[name] = {"layers": layers, "edits": edits, "timesteps": deployment.timesteps, "readout": deployment.readout}
    np.savez_compressed(FILE, index=np.array(json.dumps(index)), **arrays)


def names() -> list[str]:
    """The cases in the file."""
    with np.load(FILE) as file:
        return list(json.loads(str(file["index"])))


def read(name: str) -> tuple[Deployment, Inputs, dict[str, Traces]]:
    """One case, as it was when Lava ran it, and Lava's traces."""
    with np.load(FILE) as file:
        index = json.loads(str(file["index"]))[name]
        stored = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
    layers, traces = [], {}
    for number, record in enumerate(index["layers"]):
        own = {key.removeprefix(f"{number}/"): array for key, array in stored.items() if key.startswith(f"{number}/")}
        plain = {**record["plain"], "shape": tuple(record["plain"]["shape"])}
        synapses: Dense | Conv | None = None
        if record["conv"] is not None:
            geometry = {key: tuple(value) if isinstance(value, list) else value for key, value in record["conv"].items()}
            synapses = Conv(own["weight"].astype(np.int32), **geometry)
        elif "weight" in own:
            synapses = Dense(own["weight"].astype(np.int32), own["delay"].astype(np.int64) if "delay" in own else None)
        layers.append(ChipLayer(synapses=synapses, **{field: own[field] for field in _ARRAYS}, **plain))
        traces[plain["name"]] = Traces(*(own[f"trace-{state}"] for state in TRACES))
    edits = []
    for fields in index["edits"]:
        ids = {key: np.array(value, np.int32 if key == "values" else np.int64) for key, value in fields.items() if key != "layer"}
        edits.append((SetSynapses if "values" in ids else Silence)(layer=fields["layer"], **ids))
    return chip(layers, index["timesteps"], edits, index["readout"]), Inputs(stored.get("bias"), stored.get("events")), traces
