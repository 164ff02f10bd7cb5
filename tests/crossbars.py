"""A chip of crossbars, and its cores restated in plain numbers from what RANC's simulator of TrueNorth does.

Source: UA-RCL/RANC (MIT), ``simulator/src``: ``corecontroller.cpp`` (of the axons with a spike, those with a connection to the neuron, each with its
type), ``neuronblock.cpp`` (the potential gains the neuron's weight for that type). What a core stores is three things: a bit a crossing, a type an axon,
a table of signed weights a neuron.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile

LAW = {
    "name": "truenorth", "v": {"bits": 20}, "u": None, "threshold": ">=", "resets": ["zero", "subtract", "none"], "floor": True,
    "floor_resets": True, "reset_to": True, "source": "lava", "evidence": "documented",
}  # fmt: skip


def profile(folder: Path, **synapse: Any) -> HardwareProfile:
    """256 axons, 256 neurons, a crossbar between them and TrueNorth's law, on Loihi 2's mesh."""

    def known(value: Any, unit: str) -> dict[str, Any]:
        return {"value": value, "unit": unit, "source": "lava", "evidence": "documented"}

    text = yaml.safe_load((Path(__file__).parents[1] / "hardware_profiles" / "loihi2.yaml").read_text())
    text |= {"name": "cross", "arithmetic": LAW}
    text["core"] = {
        "neurons": known(256, "neurons"), "synapse_bits": known(65536, "bits"), "in_axons": known(256, "axons"), "out_axons": None,
    }  # fmt: skip
    text["synapse"] = {
        "format": "crossbar", "weight_bits": known([2, 3, 4], "bits"), "weight_exponent_min": known(0, "1"), "weight_exponent_max": known(0, "1"),
        "axon_types": known(4, "1"), "table_bits": known(9, "bits"),
    } | {name: known(*value) if isinstance(value, tuple) else value for name, value in synapse.items()}  # fmt: skip
    for key in ("threshold_max", "decay_max", "bias_mantissa_min", "bias_mantissa_max"):  # Loihi's own
        del text["neuron"][key]
    file = folder / "cross.yaml"
    file.write_text(yaml.safe_dump(text))
    return load_profile(file)


@dataclass
class PlainCore:
    """What one core stores.

    Attributes:
        crossings: (axon, neuron) pairs that are set; stuck: those that read 0 whatever is written.
        types: of each axon.
        tables: neuron → type → 9-bit two's complement.
        senders: of each axon the connection and the neuron whose spikes it carries.
        neurons: population and number of each neuron, in the order of the columns.
    """

    crossings: set[tuple[int, int]] = field(default_factory=set)
    stuck: set[tuple[int, int]] = field(default_factory=set)
    types: list[int] = field(default_factory=list)
    tables: list[list[int]] = field(default_factory=list)
    senders: list[tuple[str, int]] = field(default_factory=list)
    neurons: list[tuple[str, int]] = field(default_factory=list)

    def gains(self, axon: int, neuron: int) -> int:
        """What a spike of an axon adds to a neuron."""
        if (axon, neuron) not in self.crossings or (axon, neuron) in self.stuck:
            return 0
        value = self.tables[neuron][self.types[axon]]
        return value - 512 if value >= 256 else value


def plain_cores(chip: Deployment) -> dict[int, PlainCore]:
    """Return what the cores of a healthy chip store, weight by weight: bit i of a weight is a crossing with an axon of type i."""
    cores: dict[int, PlainCore] = {}
    for one in chip.populations:
        for neuron, home in enumerate(chip.placement.core_of[one.name].tolist()):
            core = cores.setdefault(home, PlainCore())
            core.neurons.append((one.name, neuron))
            bits = max((wire.weight_bits for wire in chip.into(one.name)), default=4)
            values = [2 ** (9 - bits) * 2**bit for bit in range(bits - 1)] + [-256] + [0] * (4 - bits)
            core.tables.append([value & 511 for value in values])
    for one in chip.populations:
        for wire in chip.into(one.name):
            matrix = dense(wire.synapses)
            for core in cores.values():
                columns = [(column, own[1]) for column, own in enumerate(core.neurons) if own[0] == one.name]
                for sender in range(matrix.shape[1]):
                    if not any((sender, neuron) in stored(wire.synapses) for _, neuron in columns):
                        continue
                    for bit in range(wire.weight_bits):
                        core.types.append(bit)
                        core.senders.append((wire.name, sender))
                        pattern = {column: int(matrix[neuron, sender]) // 2 ** (9 - wire.weight_bits) for column, neuron in columns}
                        core.crossings |= {
                            (len(core.types) - 1, column) for column, one_field in pattern.items() if one_field >> bit & 1
                        }
    return cores


def stored(synapses: nf.Dense | nf.Sparse) -> set[tuple[int, int]]:
    """The (source, target) pairs that have a synapse."""
    if isinstance(synapses, nf.Dense):
        return {(source, target) for target in range(synapses.n_out) for source in range(synapses.n_in)}
    return set(zip(synapses.sources.tolist(), synapses.targets.tolist(), strict=True))


def dense(synapses: nf.Dense | nf.Sparse) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The weights as [n_out, n_in], 0 where there is no synapse."""
    if isinstance(synapses, nf.Dense):
        return np.asarray(synapses.weight, np.int64)
    matrix = np.zeros((synapses.n_out, synapses.n_in), np.int64)
    matrix[synapses.targets, synapses.sources] = synapses.weight
    return matrix


def plain_weights(chip: Deployment, cores: dict[int, PlainCore]) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """What a spike of each source adds to each target, by connection, [n_out, n_in]."""
    found = {wire.name: np.zeros((wire.synapses.n_out, wire.synapses.n_in), np.int64) for wire in chip.connections}
    for core in cores.values():
        for axon, (wire, sender) in enumerate(core.senders):
            for column, (population, neuron) in enumerate(core.neurons):
                if chip.connection(wire).target == population:
                    found[wire][neuron, sender] += core.gains(axon, column)
    return found
