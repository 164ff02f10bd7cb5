"""A lava-dl `.net` file (netx, HDF5) as a list of layers whose fields are checked: everything that can be wrong with them ends in one text.

The format: ``layer/<i>/`` with ``type``, ``shape`` and more, in order from the input (lava-dl, ``src/lava/lib/dl/netx/README.md``); what is
written there: ``slayer/block/base.py``, ``export_hdf5``. A file is opened by a process of its own (:mod:`neurofault.hdf5_file`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_fields import MAX_NEURONS, MAX_SIZE
from neurofault.errors import ConversionError, DataError, UnsupportedError, nearest
from neurofault.hdf5_file import read_tree
from neurofault.numerals import plural

LAYERS = ("input", "dense", "recurrent", "conv", "pool", "flatten", "concat", "average")
"""Types of layers that are read."""
NEURONS = ("LOIHI", "CUBA", "CUBA-LIF")
"""Types of neurons that are read."""
MAX_LAYERS = 4096
"""Layers of a file."""
MAX_STEPS = 100_000
"""Steps a sample that a file may ask for."""

_REFUSED = {
    "SDNN": "sigma-delta neurons send graded values, not spikes",
    "RF": "resonate-and-fire neurons have a complex state",
    "RF_PHASE": "resonate-and-fire neurons have a complex state",
    "RF_IZ": "resonate-and-fire neurons have a complex state",
    "ALIF": "its threshold adapts",
}


@dataclass(frozen=True, eq=False)
class NetxLayer:
    """One layer of a file.

    Attributes:
        where: file, number and type, for messages.
        kind: its ``type``.
        fields: the rest, as ``h5py`` gives them.
    """

    where: str
    kind: str
    fields: Mapping[str, Any]

    @property
    def neuron(self) -> NetxLayer | None:
        """Its ``neuron``; None: it has none."""
        found = self.fields.get("neuron")
        if found is None:
            return None
        if not isinstance(found, dict):
            raise DataError(f"{self.where}: neuron is no group")
        return NetxLayer(f"{self.where}: neuron", text_of(f"{self.where}: neuron", found, "type", "CUBA-LIF"), found)

    def numbers(self, field: str) -> NDArray[np.float64]:
        """Return a field of finite numbers, of any shape.

        Raises:
            DataError: it is missing, empty, no numbers, or not finite.
        """
        if field not in self.fields:
            raise DataError(f"{self.where}: {field} is missing")
        value = self.fields[field]
        if isinstance(value, str | bytes | dict) or np.asarray(value).dtype.kind not in "iuf":
            raise DataError(f"{self.where}: {field} holds no numbers")
        array = np.asarray(value, np.float64)
        if not array.size:
            raise DataError(f"{self.where}: {field} is empty")
        wrong = np.flatnonzero(~np.isfinite(array))
        if wrong.size:
            raise DataError(f"{self.where}: {field} holds {array.reshape(-1)[wrong[0]]:g} at position {wrong[0]}")
        return array

    def whole(self, field: str, low: int, high: int) -> NDArray[np.int64]:
        """Return a field of whole numbers from ``low`` to ``high``, of any shape.

        Raises:
            DataError: as for :meth:`numbers`, or one is no whole number or out of range.
        """
        array = self.numbers(field)
        wrong = np.flatnonzero((np.rint(array) != array) | (array < low) | (array > high))
        if wrong.size:
            raise DataError(
                f"{self.where}: {field} holds {array.reshape(-1)[wrong[0]]:g} at position {wrong[0]}; taken: whole numbers from {low:,} to {high:,}"
            )
        return array.astype(np.int64)

    def one(self, field: str, low: int, high: int, default: int) -> int:
        """Return one whole number; ``default`` where the field is missing."""
        if field not in self.fields:
            return default
        array = self.whole(field, low, high)
        if array.size != 1:
            raise DataError(f"{self.where}: {field} holds {array.size} numbers; one is taken")
        return int(array.reshape(-1)[0])

    def pair(self, field: str, low: int, default: int) -> tuple[int, int]:
        """Return (vertical, horizontal) of one or two whole numbers from ``low`` on."""
        if field not in self.fields:
            return default, default
        array = self.whole(field, low, MAX_SIZE).reshape(-1)
        if array.size > 2:
            raise DataError(f"{self.where}: {field} holds {array.size} numbers; one or two are taken")
        return int(array[0]), int(array[-1])

    def shape(self) -> tuple[int, ...]:
        """Return its ``shape``, (n,) or (channels, height, width); sides of 1 behind n are left out."""
        sides = tuple(int(side) for side in self.whole("shape", 1, MAX_SIZE).reshape(-1))
        if len(sides) == 2:
            sides = (1, *sides)
        if len(sides) > 3 or math.prod(sides) > MAX_NEURONS:
            raise DataError(f"{self.where}: shape {sides}: (n,) or (channels, height, width) of at most {MAX_NEURONS:,} neurons")
        return sides


@dataclass(frozen=True, eq=False)
class NetxFile:
    """A file.

    Attributes:
        where: its name.
        layers: in order.
        timesteps: ``simulation/tSample`` in steps of ``simulation/Ts``; None: it does not say.
    """

    where: str
    layers: tuple[NetxLayer, ...]
    timesteps: int | None


def text_of(where: str, fields: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """Return a field that is one text (DataError: it is missing or something else)."""
    value = fields.get(field, default)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if not isinstance(value, str):
        raise DataError(f"{where}: {field} is {'missing' if value is None else 'no text'}")
    return value


def import_h5py() -> Any:
    """Return the ``h5py`` package.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import h5py  # type: ignore[import-untyped]  # ships no type information
    except ImportError as error:
        raise UnsupportedError("netx files need h5py, which is not installed; pip install 'neurofault[nir]'") from error
    return h5py


def read_netx(path: Path) -> NetxFile:
    """Read a file.

    Raises:
        DataError: it is missing, damaged, no netx file, or a field is not what its layer needs.
        ConversionError: a type of layer or neuron that has no counterpart here.
        UnsupportedError: h5py is not installed.
    """
    import_h5py()
    tree = read_tree(path, "netx")
    found = tree.get("layer")
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: not a netx file: it has no group 'layer' with layers 0, 1 …")
    if len(found) > MAX_LAYERS:
        raise DataError(f"{path}: {plural(len(found), 'layer')}; at most {MAX_LAYERS:,} are read")
    if set(found) != {str(index) for index in range(len(found))}:
        raise DataError(f"{path}: layers must be numbered 0 to {len(found) - 1}, are {', '.join(sorted(found)[:8])}")
    layers = []
    for index in range(len(found)):
        fields = found[str(index)]
        if not isinstance(fields, dict):
            raise DataError(f"{path}: layer {index} is no group")
        layers.append(_layer(f"{path}: layer {index}", fields))
    return NetxFile(str(path), tuple(layers), _timesteps(str(path), tree.get("simulation")))


def _layer(where: str, fields: Mapping[str, Any]) -> NetxLayer:
    kind = text_of(where, fields, "type")
    if kind not in LAYERS:
        raise ConversionError(f"{where}: type {kind!r:.60} is not taken{nearest(kind, LAYERS)}; taken: {', '.join(LAYERS)}")
    layer = NetxLayer(f"{where} ({kind})", kind, fields)
    neuron = layer.neuron
    if neuron is not None:
        _check_neuron(neuron)
    return layer


def _check_neuron(neuron: NetxLayer) -> None:
    """Refuse neurons that do something else than a LIF neuron of the chip."""
    if neuron.kind not in NEURONS:
        why = f" ({_REFUSED[neuron.kind]})" if neuron.kind in _REFUSED else ""
        raise ConversionError(f"{neuron.where} of type {neuron.kind!r:.60}{why} is not taken; taken: {', '.join(NEURONS)}")
    for field, why in (("gradedSpike", "graded spikes"), ("messageBits", "graded spikes"), ("weight_exp", "scaled weights")):
        value = np.asarray(neuron.fields.get(field, 0))
        if value.dtype.kind not in "biuf" or np.any(value != 0):
            raise ConversionError(f"{neuron.where}: {field} {value.tolist()!s:.40}: {why} have no counterpart here; 0 is taken")


def _timesteps(where: str, simulation: Any) -> int | None:
    if not isinstance(simulation, dict) or "tSample" not in simulation:
        return None
    layer = NetxLayer(f"{where}: simulation", "simulation", simulation)
    length, step = (float(layer.numbers(field).reshape(-1)[0]) if field in simulation else 1.0 for field in ("tSample", "Ts"))
    steps = length / step if step > 0 else 0.0
    if not 1 <= steps <= MAX_STEPS or abs(steps - round(steps)) > 1e-6:
        raise DataError(
            f"{where}: simulation: tSample {length:g} in steps of Ts {step:g}; 1 to {MAX_STEPS:,} whole steps are taken"
        )
    return round(steps)
