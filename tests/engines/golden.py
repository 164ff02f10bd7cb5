"""Golden vectors: deployments, inputs and what Lava made of them, in one .npz that needs neither Lava nor a random generator.

``python tests/engines/make_golden.py`` writes the file anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from cases import Case
from chips import Driven, chip

from neurofault.activity import TRACES, Traces
from neurofault.damage.damage import SetSynapses, Silence
from neurofault.deploy.deployment import Deployment
from neurofault.graph import Conv, Dense
from neurofault.graph.chains import links
from neurofault.graph.chip import ChipPopulation
from neurofault.inputs import Inputs

FILE = Path(__file__).with_name("golden.npz")

_NEURONS = ("name", "shape", "bias_exponent", "v_init", "fires")
_STORED = ("weight_exponent", "weight_bits", "sign_mode")
_ARRAYS = ("du", "dv", "vth", "bias_mantissa")
_GEOMETRY = ("in_shape", "stride", "padding", "dilation", "groups")


def write(results: Mapping[str, tuple[Case, Mapping[str, Traces]]]) -> None:
    """Write cases with Lava's traces."""
    arrays: dict[str, np.ndarray] = {}
    index = {}
    for name, ((deployment, inputs), traces) in results.items():
        layers, chain = [], links(deployment, "the file of golden vectors")
        number_of = {link.population.name: link.index for link in chain}
        for link in chain:
            place, population = f"{name}/{link.index}", link.population
            arrays |= {f"{place}/{field}": getattr(population, field) for field in _ARRAYS}
            arrays |= {f"{place}/trace-{state}": getattr(traces[population.name], state) for state in TRACES}
            synapses = None if link.connection is None else link.connection.synapses
            if synapses is not None:
                arrays[f"{place}/weight"] = synapses.weight.astype(np.int16)
            if isinstance(synapses, Dense) and synapses.delay is not None:
                arrays[f"{place}/delay"] = synapses.delay.astype(np.uint8)
            geometry = {key: getattr(synapses, key) for key in _GEOMETRY} if isinstance(synapses, Conv) else None
            plain = {key: getattr(population, key) for key in _NEURONS}
            plain |= {"weight_exponent": 0, "weight_bits": 8, "sign_mode": "mixed"}
            plain |= {key: getattr(link.connection, key) for key in _STORED if link.connection is not None}
            layers.append({"plain": plain, "conv": geometry})
        edits = []
        for edit in deployment.damage.edits:
            fields = {
                "layer": number_of[edit.population if isinstance(edit, Silence) else deployment.connection(edit.connection).target]
            }
            fields |= {
                key: getattr(edit, key).tolist() for key in ("neurons", "sources", "targets", "values") if hasattr(edit, key)
            }
            edits.append(fields)
        arrays |= {f"{name}/{key}": getattr(inputs, key) for key in ("bias", "events") if getattr(inputs, key) is not None}
        index[name] = {"layers": layers, "edits": edits, "timesteps": deployment.timesteps, "readout": deployment.readout.how}
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
    layers: list[Driven] = []
    traces = {}
    for number, record in enumerate(index["layers"]):
        own = {key.removeprefix(f"{number}/"): array for key, array in stored.items() if key.startswith(f"{number}/")}
        plain = {**record["plain"], "shape": tuple(record["plain"]["shape"])}
        synapses: Dense | Conv | None = None
        if record["conv"] is not None:
            geometry = {key: tuple(value) if isinstance(value, list) else value for key, value in record["conv"].items()}
            synapses = Conv(own["weight"].astype(np.int32), **geometry)
        elif "weight" in own:
            synapses = Dense(own["weight"].astype(np.int32), own["delay"].astype(np.int64) if "delay" in own else None)
        fields = {field: own[field] for field in _ARRAYS} | {key: plain[key] for key in _NEURONS}
        population = ChipPopulation(**fields, is_source=not number)
        layers.append(Driven(population, synapses, *(plain[key] for key in _STORED)))
        traces[plain["name"]] = Traces(*(own[f"trace-{state}"] for state in TRACES))
    edits = []
    for fields in index["edits"]:
        ids = {key: np.array(value, np.int32 if key == "values" else np.int64) for key, value in fields.items() if key != "layer"}
        edits.append((SetSynapses if "values" in ids else Silence)(layers[fields["layer"]].name, **ids))
    return chip(layers, index["timesteps"], edits, index["readout"]), Inputs(stored.get("bias"), stored.get("events")), traces
