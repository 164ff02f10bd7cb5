"""A graph in a chip's integers as a netx file: the layers with lava-dl's names and types, and what only neurofault reads beside them.

Names, shapes and types are those of lava-dl's ``export_hdf5`` (``src/lava/lib/dl/slayer/block/base.py``): weights, biases and delays float32, fields
of neurons int64, ``type`` of a layer ten bytes. A pool is written as the grouped convolution, an average as the dense layer that it is: these
lava-dl's loader takes, pools and averages it does not. Fields that lava-dl does not know are written only where its own cannot say the same:

========================== ===============================================================================================================
``name``                   of a layer's population, where it is not ``input``, ``hidden1`` …, ``output``
``connections``            names of the connections into a layer, likewise
``steps``                  [k]: chip steps of the connections into a layer, where one takes more than 1
``stored``                 [k, 3]: exponent, bits and signs of their stored weights, where the reader would take others
``table``                  [256]: bias of an input neuron for each pixel, where no ``weight`` and ``bias`` give it
``neuron/biasExp``         exponent of biases, where it is not 6
``neuron/start``           v at a sample's first step, of all neurons or of each, where it is not 0
========================== ===============================================================================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.netx_file import import_h5py
from neurofault.convert.netx_graph import BIAS_EXPONENT, LEFT_OUT, MOST_REFDELAY, NEVER_FIRES
from neurofault.convert.netx_layout import LaidPopulation, layers_of, numbers, scale_of
from neurofault.convert.netx_synapses import SIGNS, natural
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.neurons import NO_MEMORY, Encoding
from neurofault.graph.readout import Readout, usual_readout
from neurofault.graph.synapses import Conv, Stored

Fields = dict[str, Any]
_UNDRIVEN = {"du": NO_MEMORY, "dv": 0, "vth": 1, "bias_mantissa": 0, "bias_exponent": 0, "v_init": 0}
"""What the fields of an input's neurons are where events are its spikes."""


def write_netx(
    populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], readout: Readout, timesteps: int, path: Path
) -> tuple[str, ...]:
    """Write a graph; return what lava-dl itself would not read as it is meant, one text each.

    Args:
        populations: in the chip's integers, whatever is broken in them, and
        connections: between them.
        readout: where the answer is read.
        timesteps: T.
        path: file, replaced as a whole.

    Raises:
        UnsupportedError: the format has no words for something; the text names the population or connection.
        UsageError: the file cannot be written.
    """
    laid = layers_of(populations, connections, readout)
    _check_readout(laid[-1].population, readout)
    layers, notes = _Layers(laid).all()
    _write(layers, timesteps, path)
    return notes


def _check_readout(last: ChipPopulation, readout: Readout) -> None:
    usual_readout(readout, "the export to netx")
    if last.fires != (readout.how == "count"):
        fires = "fire" if last.fires else "never fire"
        raise UnsupportedError(
            f"population {last.name!r}: neurons that {fires}, read by {readout.how}; a netx file is read by the potential of neurons that never "
            "fire, or by the spikes of those that do"
        )
    if last.fires and int(last.vth.min()) >= NEVER_FIRES:
        raise UnsupportedError(
            f"population {last.name!r}: thresholds of {NEVER_FIRES} and more, by which a netx file says that it is read by its potential"
        )


class _Layers:
    """One pass over the populations."""

    def __init__(self, laid: Sequence[LaidPopulation]) -> None:
        self.laid = laid
        self.images = {one.population.name for one in laid if one.is_image}
        self.sizes = {one.population.name: one.population for one in laid}
        self.beyond: dict[str, list[str]] = {}
        self.ids: dict[str, int] = {}
        first = laid[0].population
        self.without_input = (
            first.encoding is None
            and first.name == "input"
            and not laid[0].is_image
            and not any(each.source == first.name for one in laid[2:] for each in one.before)
            and len(laid[1].before) == 1
        )
        at = 0 if self.without_input else 1
        if not self.without_input:
            self.ids[first.name] = 0
        for place, one in enumerate(laid[1:]):
            at += self._joint(laid[place], one) is not None
            self.ids[one.population.name] = at
            at += 1

    def all(self) -> tuple[list[Fields], tuple[str, ...]]:
        """Return the layers, and what lava-dl would not read."""
        layers = [] if self.without_input else [self._input(self.laid[0].population)]
        for place, one in enumerate(self.laid[1:]):
            joint = self._joint(self.laid[place], one)
            layers += [] if joint is None else [joint]
            layers.append(self._layer(place, one))
        said = [f"{what} ({', '.join(dict.fromkeys(names))}): {LEFT_OUT}" for what, names in self.beyond.items()]
        return layers, tuple(said)

    def _joint(self, before: LaidPopulation, one: LaidPopulation) -> Fields | None:
        """Return the flatten or concat in front of a layer; None: nothing lies between."""
        others = one.before[1:]
        if others:
            channels = sum(self.sizes[each.source].shape[0] for each in one.before) if one.is_image else 0
            shape = (
                (channels, *self.sizes[others[0].source].shape[1:])
                if one.is_image
                else (sum(each.synapses.n_in for each in one.before),)
            )
            ids = [self.ids.get(each.source, -1) for each in others]  # all known once they are written
            return {"type": "concat", "shape": _shape(shape), "layers": np.array(ids, np.int64)}
        if before.is_image and not one.is_image:
            return {"type": "flatten", "shape": _shape((before.population.size, 1, 1))}
        return None

    def _say(self, what: str, name: str) -> None:
        self.beyond.setdefault(what, []).append(name)

    def _input(self, population: ChipPopulation) -> Fields:
        shape = population.shape if population.name in self.images else (population.size,)
        fields: Fields = {"type": "input", "shape": _shape(shape)}
        if population.name != "input":
            fields["name"] = population.name
        if population.encoding is None:
            if any(np.any(getattr(population, field) != usual) for field, usual in _UNDRIVEN.items()):
                raise UnsupportedError(
                    f"population {population.name!r}: an input that takes biases as they are; a netx file has inputs of events, or of pixels that "
                    "a table makes biases of"
                )
            return fields
        if np.any(population.bias_mantissa):
            raise UnsupportedError(
                f"population {population.name!r}: an input with a bias of its own beside the pixels', which a netx file has no field for"
            )
        if population.vth.min() != population.vth.max():
            raise UnsupportedError(
                f"population {population.name!r}: thresholds of input neurons that differ; a netx file has one for all"
            )
        line = _line(population.encoding)
        if line is None:
            fields["table"] = population.encoding.table.astype(np.int64)
            self._say("a table of pixels' biases", population.name)
        else:
            fields["weight"], fields["bias"] = (np.array([value], np.float32) for value in line)
        return fields | self._neuron(population, 0)

    def _layer(self, place: int, one: LaidPopulation) -> Fields:
        population, last = one.population, place == len(self.laid) - 2
        default = "output" if last else f"hidden{place + 1}"
        named: Fields = {} if population.name == default else {"name": population.name}
        every = (*one.before, *(() if one.recurrent is None else (one.recurrent,)))
        scale = scale_of(every)
        shape = population.shape if one.is_image else (population.size,)
        kind = "conv" if one.is_image else "dense" if one.recurrent is None else "recurrent"
        weight = np.concatenate([numbers(each, scale) for each in one.before], axis=1)
        fields: Fields = {"type": kind, "shape": _shape(shape), **named, **_sizes(one, weight), "weight": weight.astype(np.float32)}
        if one.recurrent is not None:
            fields["weight_rec"] = numbers(one.recurrent, scale).astype(np.float32)
            self._say("weight_rec", population.name)
        if len(one.before) > 1:
            self._say("a concat", population.name)
        fields |= self._formats(population.name, every, one.recurrent is not None, scale)
        if np.any(population.bias_mantissa):
            _within(population, "bias", population.bias_mantissa, -(1 << 15), (1 << 15) - 1)
            fields["bias"] = _by_channel(population.bias_mantissa, shape).astype(np.float32)
        if one.axons is not None:
            fields["delay"] = _by_channel(one.axons, shape).astype(np.float32)
        elif one.delay is not None:
            fields["delay"] = np.concatenate(one.delay, axis=1).astype(np.float32)
        if "delay" in fields:
            self._say("delay", population.name)
        if scale:
            self._say("wgtExp", population.name)
        return fields | self._neuron(population, scale)

    def _formats(self, name: str, every: Sequence[ChipConnection], recurrent: bool, scale: int) -> Fields:
        """Return names and formats of connections that the reader would not take of itself."""
        fields: Fields = {}
        titles = [name, *(f"{name}.{each.source}" for each in every[1:])]
        if recurrent:
            titles[-1] = f"{name}.rec"
        if [each.name for each in every] != titles:
            fields["connections"] = [each.name for each in every]
        if any(each.delay > 1 for each in every):
            fields["steps"] = np.array([each.delay for each in every], np.int64)
            self._say("steps of connections", name)
        for each in every:
            taken = natural(numbers(each, scale).astype(np.int64), scale)
            if taken is None or taken[1] != Stored(each.weight_exponent, each.weight_bits, each.sign_mode):
                rows = [(one.weight_exponent, one.weight_bits, SIGNS.index(one.sign_mode)) for one in every]
                fields["stored"] = np.array(rows, np.int64)
            if taken is None:
                self._say("weights beyond the 8 bits of a synapse", name)
        return fields

    def _neuron(self, population: ChipPopulation, scale: int) -> Fields:
        """Return the fields of a layer's neurons, numbers of all or of each (C, H, W)."""
        if not population.fires and population.name != self.laid[-1].population.name:
            raise UnsupportedError(f"population {population.name!r}: never fires and is no readout; a netx file has no such layer")
        threshold = population.vth if population.fires else np.array([NEVER_FIRES])
        _within(population, "threshold", threshold, 0, NEVER_FIRES)
        fields: Fields = {
            "neuron/type": "CUBA",
            "neuron/iDecay": _one_or_each(population.du.astype(np.int64) + 1),
            "neuron/vDecay": _one_or_each(population.dv),
            "neuron/vThMant": _one_or_each(threshold),
            "neuron/refDelay": self._refractory(population),
            "neuron/gradedSpike": np.bool_(False),
        }
        for field in ("iDecay", "vDecay", "vThMant"):
            if np.ndim(fields[f"neuron/{field}"]) and population.name in self.images:
                self._say(f"{field} of each neuron", population.name)
        if scale:
            fields["neuron/wgtExp"] = np.int64(scale)
        if population.bias_exponent != BIAS_EXPONENT:
            fields["neuron/biasExp"] = np.int64(population.bias_exponent)
            if np.any(population.bias_mantissa) or population.is_source:
                self._say("biasExp", population.name)
        if np.any(population.v_init):
            fields["neuron/start"] = _one_or_each(np.atleast_1d(population.v_init))
            self._say("start", population.name)
        return fields

    def _refractory(self, population: ChipPopulation) -> NDArray[np.int64]:
        """Return ``refDelay``, the only thing in which a netx file's law may differ from Lava's."""
        other = replace(population.law, refractory=None)
        if not other.usual:
            raise UnsupportedError(f"population {population.name!r}: {other}, which a netx file does not say")
        if population.law.refractory is None:
            return np.array(1)
        _within(population, "refractory", population.law.refractory, 0, MOST_REFDELAY - 1)
        self._say("refDelay", population.name)
        return _one_or_each(population.law.refractory + np.int64(1))


def _shape(sides: Sequence[int]) -> NDArray[np.int64]:
    return np.array(sides, np.int64)


def _one_or_each(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return one number, [], where all are equal, else the numbers."""
    wide = values.astype(np.int64)
    return wide[0].reshape(()) if np.all(wide == wide[0]) else wide


def _within(population: ChipPopulation, what: str, values: NDArray[np.integer], low: int, high: int) -> None:
    if int(values.min()) < low or int(values.max()) > high:
        raise UnsupportedError(
            f"population {population.name!r}: {what} lies in {values.min()} … {values.max()}; a netx file holds {low} to {high}"
        )


def _by_channel(values: NDArray[np.integer], shape: Sequence[int]) -> NDArray[np.int64]:
    """Return one number a channel where a channel has one, else one a neuron."""
    wide = values.astype(np.int64)
    rows = wide.reshape(shape[0], -1)
    return np.asarray(rows[:, 0] if np.all(rows == rows[:, :1]) else wide, np.int64)


def _sizes(one: LaidPopulation, weight: NDArray[np.float64]) -> Fields:
    if not one.is_image:
        return {"inFeatures": np.int64(weight.shape[1]), "outFeatures": np.int64(weight.shape[0])}
    conv = one.before[0].synapses
    assert isinstance(conv, Conv)
    return {
        "inChannels": np.int64(weight.shape[1] * conv.groups), "outChannels": np.int64(weight.shape[0]), "kernelSize": _shape(weight.shape[2:]),
        "stride": _shape(conv.stride), "padding": _shape(conv.padding), "dilation": _shape(conv.dilation), "groups": np.int64(conv.groups),
    }  # fmt: skip


def _line(encoding: Encoding) -> tuple[int, int] | None:
    """Return whole (weight, bias) that give a pixel table, as an input layer of lava-dl has them; None: there are none."""
    table = encoding.table
    x = np.arange(256) / 127.5 - 1
    for weight in {math.floor((table[255] - table[0]) / 2), math.ceil((table[255] - table[0]) / 2)}:
        for bias in {math.floor((table[255] + table[0]) / 2), math.ceil((table[255] + table[0]) / 2)}:
            if np.array_equal(np.rint(weight * x + bias), table):
                return weight, bias
    return None


def _write(layers: Sequence[Mapping[str, Any]], timesteps: int, path: Path) -> None:
    h5py = import_h5py()
    part = path.with_name(path.name + ".part")
    try:
        with h5py.File(part, "w") as file:
            for index, layer in enumerate(layers):
                group = file.create_group(f"layer/{index}")
                for field, value in layer.items():
                    if field == "type":
                        group.create_dataset("type", (1,), "S10", [value.encode("ascii")])
                    else:
                        group.create_dataset(field, data=value)
            file["simulation/Ts"], file["simulation/tSample"] = np.int64(1), np.int64(timesteps)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        why = os.strerror(error.errno) if error.errno else error  # of h5py's own text that is the end
        raise UsageError(f"{path}: cannot be written ({why})") from error
