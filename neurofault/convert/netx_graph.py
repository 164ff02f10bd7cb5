"""`from_netx`: a network that lava-dl wrote (`.net`, HDF5) becomes a :class:`Network` with the chip's own integers.

What a layer means is what lava-dl's loader makes of it (``src/lava/lib/dl/netx/hdf5.py``: LIF with du = iDecay − 1, dv = vDecay, vth =
vThMant, bias exponent 6) and, where that loader stops (pooling, concat, recurrence, delays), what SLAYER trained
(``src/lava/lib/dl/slayer/block/base.py``). Every layer begins a sample one step after the one before, as on the chip. Arrays are in C, H, W
order in the file as here; lava-dl itself turns them to W, H, C when it loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.netx_file import NetxFile, NetxLayer, read_netx, text_of
from neurofault.convert.netx_synapses import Port, formats, held, matrix, synapses_of
from neurofault.convert.nir_fields import MAX_NEURONS
from neurofault.errors import ConversionError, DataError
from neurofault.graph import Connection, CubaLif, Dense, Encoding, Network, Population, Readout, Source, Sparse
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.synapses import MOST_DELAY, Stored
from neurofault.numerals import plural

DEFAULT_STEPS = 32
"""T of a file that does not say it."""
NEVER_FIRES = 131071
"""A vThMant from which the last layer is read by its potential: the largest threshold of the chip."""
BIAS_EXPONENT = 6
"""Biases are in units of 64 (lava-dl: ``bias_exp``)."""
MOST_REFDELAY = 63
"""Steps of refractoriness that a neuron of Loihi counts, that of the spike included (nengo-loihi, ``hardware/validate.py``)."""
LEFT_OUT = "lava-dl's own loader leaves it out"
START = (-(1 << 23), (1 << 23) - 1)
"""Range of a potential."""

_WITH_NEURONS = ("dense", "recurrent", "conv", "pool")


def from_netx(
    path: str | Path, *, timesteps: int | None = None, in_shape: Sequence[int] | None = None, name: str | None = None
) -> Network:
    """Read a lava-dl netx file (``*.net``), integer for integer; :func:`neurofault.deploy` keeps them bit for bit.

    Input neurons (an ``input`` layer with ``neuron``) get the bias 64·round(weight·x + bias) of a pixel x in [−1, 1]; without them the
    network takes events (``nf.Inputs(events=…)``). A last layer without ``neuron``, or with a threshold that is out of reach, is read by its
    potential, any other by its spikes. What was assumed stands in ``notes``.

    >>> import tempfile, h5py
    >>> folder = tempfile.TemporaryDirectory()
    >>> with h5py.File(f"{folder.name}/tiny.net", "w") as file:
    ...     file["layer/0/type"], file["layer/0/shape"], file["layer/0/weight"] = "dense", [2], [[8, -4], [6, 2]]
    ...     for field, value in {"iDecay": 4096, "vDecay": 128, "vThMant": 5}.items():
    ...         file[f"layer/0/neuron/{field}"] = value
    >>> net = from_netx(f"{folder.name}/tiny.net", timesteps=4)
    >>> [(one.name, one.shape) for one in net.populations], net.readout.how
    ([('input', (2,)), ('output', (2,))], 'count')

    Args:
        path: the file.
        timesteps: T, steps that a sample is shown, at least 1; None: what the file says, else 32.
        in_shape: of a sample, (n,) or (channels, height, width), for a file that begins with a convolution and does not say it.
        name: for display; None: the file's name.

    Raises:
        DataError: the file is missing, damaged or malformed.
        ConversionError: a layer that has no counterpart here, or integers that do not fit the chip's fields; the text names the layer.
    """
    file = read_netx(Path(path))
    try:
        return _Builder(file, in_shape).network(name or Path(path).stem, timesteps)
    except MemoryError:
        raise DataError(f"{path}: its layers do not fit into memory") from None


class _Builder:
    """One pass over the layers of a file."""

    def __init__(self, file: NetxFile, in_shape: Sequence[int] | None) -> None:
        self.file, self.in_shape = file, None if in_shape is None else tuple(int(side) for side in in_shape)
        self.notes: list[str] = []
        self.populations: list[Population] = []
        self.connections: list[Connection] = []
        self.ports: list[tuple[Port, ...]] = []
        with_neurons = [i for i, layer in enumerate(file.layers) if layer.kind in (*_WITH_NEURONS, "average")]
        if not with_neurons:
            raise ConversionError(f"{file.where}: no layer with neurons; taken: {', '.join(_WITH_NEURONS)}")
        self.last = with_neurons[-1]
        self.names = {i: self._name(i, place, self.last) for place, i in enumerate(with_neurons, 1)}
        self.flattened = {i for i, (_, layer) in enumerate(pairwise(file.layers)) if layer.kind in ("dense", "recurrent")}
        first = file.layers[0]
        self.first = text_of(first.where, first.fields, "name", "input") if first.kind == "input" else "input"
        if len({self.first, *self.names.values()}) <= len(self.names):
            raise DataError(f"{file.where}: two layers have one name")
        self.delays: dict[str, NDArray[np.int64]] = {}

    def _name(self, index: int, place: int, last: int) -> str:
        layer = self.file.layers[index]
        return text_of(layer.where, layer.fields, "name", "output" if index == last else f"hidden{place}")

    def network(self, name: str, timesteps: int | None) -> Network:
        layers = self.file.layers
        for index in self.names:
            self._axonal(layers[index], index)
        for index, layer in enumerate(layers):
            if index == 0 and layer.kind != "input":
                self._events(layer)
            if index and layer.kind == "input":
                raise ConversionError(f"{layer.where}: only layer 0 can be the input")
            before = self.ports[index - 1] if index else (Port(self.first, self.populations[0].shape),) if self.populations else ()
            self.ports.append(self._ports(index, layer, before))
        if self.last != len(layers) - 1 and any(layer.kind != "flatten" for layer in layers[self.last + 1 :]):
            *_, end = layers
            raise ConversionError(f"{end.where}: a network ends with neurons or an average")
        if timesteps is None and self.file.timesteps is None:
            self.notes.append(f"the file does not say how long a sample is shown: {DEFAULT_STEPS} steps are taken")
        self.notes.append(
            "lava-dl itself could not be run: layers mean what its loader and SLAYER say; neurons begin each sample at 0, each layer a step after the one before"
        )
        steps = timesteps if timesteps is not None else self.file.timesteps or DEFAULT_STEPS
        neuron = next(one.neuron for one in self.populations if one.name == self.names[self.last])
        how = "potential" if isinstance(neuron, CubaLif) and neuron.threshold is None else "count"
        readout = Readout(self.names[self.last], "potential" if how == "potential" else "count")
        try:
            return Network(
                name, tuple(self.populations), tuple(self.connections), steps, readout, notes=tuple(dict.fromkeys(self.notes))
            )
        except ConversionError as error:
            raise ConversionError(f"{self.file.where}: {error}") from error

    def _ports(self, index: int, layer: NetxLayer, before: tuple[Port, ...]) -> tuple[Port, ...]:
        match layer.kind:
            case "input":
                return self._input(layer)
            case "flatten":
                return tuple(Port(port.population, (port.size,)) for port in before)
            case "concat":
                return self._concat(index, layer, before)
            case "average":
                return self._average(index, layer, before)
            case _:
                return self._neurons(index, layer, before)

    def _input(self, layer: NetxLayer) -> tuple[Port, ...]:
        shape, neuron = layer.shape(), layer.neuron
        if neuron is None:
            self.populations.append(Population(self.first, shape, Source()))
            return (Port(self.first, shape),)
        if "weight" not in layer.fields and "table" not in layer.fields:
            self.notes.append("the input layer says no weight: 64 is taken, as lava-dl does")
        slope = float(layer.numbers("weight").reshape(-1)[0]) if "weight" in layer.fields else 64.0
        shift = float(layer.numbers("bias").reshape(-1)[0]) if "bias" in layer.fields else 0.0
        mantissa = np.rint(slope * (np.arange(256) / 127.5 - 1) + shift)
        if "table" in layer.fields:
            mantissa = layer.whole("table", -(1 << 15), (1 << 15) - 1).astype(np.float64).reshape(-1)
        else:
            self.notes.append(
                f"a pixel p of 0 … 255 is x = p/127.5 − 1 and gives its input neuron the bias 64·round({slope:g}·x + {shift:g}) in each step"
            )
        if mantissa.size != 256 or np.abs(mantissa).max() >= 1 << 15:
            raise ConversionError(f"{layer.where}: weight {slope:g} and bias {shift:g} give biases beyond 16 bits")
        du, dv, vth = self._law(neuron, shape)
        if np.any(self._refractory(neuron, shape)):
            raise ConversionError(f"{neuron.where}: refDelay of input neurons is not taken; 1, no pause beyond the step itself, is")
        if not isinstance(vth, int):
            raise ConversionError(f"{neuron.where}: vThMant differs between input neurons; one for all is taken")
        start = neuron.one("start", *START, 0)
        exponent = neuron.one("biasExp", -32, 24, BIAS_EXPONENT)
        encoding = Encoding(mantissa.astype(np.int32), vth, start, 1.0)
        self.populations.append(Population(self.first, shape, Source(encoding, du, dv, vth, exponent, start)))
        return (Port(self.first, shape),)

    def _events(self, layer: NetxLayer) -> None:
        """Take a file without an input layer: its first layer gets events."""
        shape = self.in_shape
        if shape is None and layer.kind in ("dense", "recurrent"):
            shape = (matrix(layer, layer.shape()).shape[1],)
        if shape is None or len(shape) not in (1, 3) or min(shape) < 1 or math.prod(shape) > MAX_NEURONS:
            raise ConversionError(f"{layer.where}: no layer says what shape a sample has; pass in_shape=(channels, height, width)")
        self.notes.append(f"there is no input layer: the network takes events of the shape {shape}")
        self.populations.append(Population(self.first, shape, Source()))

    def _concat(self, index: int, layer: NetxLayer, before: tuple[Port, ...]) -> tuple[Port, ...]:
        parts = list(before)
        for other in layer.whole("layers", 0, len(self.file.layers) - 1).reshape(-1).tolist():
            if other < index:
                parts += self.ports[other]
            elif other in self.names and self.file.layers[other].kind in _WITH_NEURONS:
                parts.append(Port(self.names[other], self._shape(other)))
            else:
                raise ConversionError(f"{layer.where}: layers names layer {other}, which comes later and has no neurons")
        if len({port.population for port in parts}) < len(parts):
            raise ConversionError(f"{layer.where}: names a layer twice, {', '.join(port.population for port in parts)}")
        if index not in self.flattened and len({port.shape[1:] for port in parts}) > 1:
            raise ConversionError(
                f"{layer.where}: joins layers of the shapes {', '.join(str(port.shape) for port in parts)}; "
                "only the first sides (channels) may differ"
            )
        self.notes.append("what a concat joins arrives as on the chip: one step after it was sent, from near and far layers alike")
        return tuple(parts)

    def _average(self, index: int, layer: NetxLayer, before: tuple[Port, ...]) -> tuple[Port, ...]:
        """Sum the spikes of each group of neurons: a readout of its own, by its potential."""
        groups = math.prod(layer.shape())
        if len(before) != 1 or before[0].size % groups:
            raise ConversionError(f"{layer.where}: {sum(port.size for port in before)} neurons do not make {groups} equal groups")
        size, each = before[0].size, before[0].size // groups
        own = Sparse.of(
            groups,
            size,
            np.arange(size) // each,
            np.arange(size),
            np.full(size, 2, np.int32),
            self.delays.get(before[0].population),
        )
        name = self.names[index]
        self.populations.append(Population(name, (groups,), CubaLif(None, 0, NO_MEMORY, 0, 0.0, BIAS_EXPONENT)))
        self.connections.append(Connection(name, before[0].population, name, own, 1, Stored()))
        self.notes.append("the average layer is neurons that add up the spikes of their group; the largest sum is the answer")
        return (Port(name, (groups,)),)

    def _neurons(self, index: int, layer: NetxLayer, before: tuple[Port, ...]) -> tuple[Port, ...]:
        name, last = self.names[index], index == self.last
        shape = self._shape(index)
        neuron = layer.neuron
        start: int | NDArray[np.int64]
        refractory: int | NDArray[np.int64]
        if neuron is None:
            if not last:
                raise ConversionError(
                    f"{layer.where}: has no neuron; only the last layer may be without, it is read by its summed input"
                )
            self.notes.append("the last layer has no neurons: it is read by the sum of its input over the steps")
            law: tuple[int | NDArray[np.int64], ...] = (NO_MEMORY, 0, NEVER_FIRES)
            exponent, scale, start, refractory = BIAS_EXPONENT, 0, 0, 0
        else:
            law, refractory = self._law(neuron, shape), self._refractory(neuron, shape)
            exponent, scale = neuron.one("biasExp", -32, 24, BIAS_EXPONENT), neuron.one("wgtExp", -8, 16, 0)
            start = self._spread(neuron, "start", neuron.whole("start", *START), shape) if "start" in neuron.fields else 0
        if scale:
            self.notes.append(f"wgtExp {scale} of {name!r} scales its weights by 2**{scale}; {LEFT_OUT}")
        bias: int | NDArray[np.int64] = 0
        if "bias" in layer.fields:
            bias = self._spread(layer, "bias", layer.whole("bias", -(1 << 15), (1 << 15) - 1), shape)
        du, dv, vth = law
        out_of_reach = last and bool(np.all(np.asarray(vth) >= NEVER_FIRES))
        cells = CubaLif(None if out_of_reach else vth, bias, du, dv, start, exponent, refractory=refractory)
        self.populations.append(Population(name, shape, cells))
        recurrent = "weight_rec" in layer.fields or layer.kind == "recurrent"
        ends = self._ends(layer, name, before, recurrent)
        for (title, steps, form), (port, own) in zip(ends, synapses_of(layer, before, self.delays, shape), strict=False):
            own, form = held(layer, own, scale, form)
            self.connections.append(Connection(title, port.population, name, own, steps, form))
        if recurrent:
            weight = layer.whole("weight_rec", -(1 << 15), 1 << 15)
            if layer.kind not in ("dense", "recurrent") or weight.size != math.prod(shape) ** 2:
                raise ConversionError(
                    f"{layer.where}: weight_rec has the shape {weight.shape}; [n, n] of its {plural(math.prod(shape), 'neuron')} is taken"
                )
            title, steps, form = ends[-1]
            rec, form = held(layer, Dense(weight.reshape(math.prod(shape), -1)), scale, form)
            self.connections.append(Connection(title, name, name, rec, steps, form))
            self.notes.append(f"{name!r} gets its own spikes of the step before, over weight_rec")
        return (Port(name, shape),)

    def _ends(self, layer: NetxLayer, name: str, before: tuple[Port, ...], recurrent: bool) -> list[tuple[str, int, Stored | None]]:
        """Return (name, steps, format) of each connection into a layer, the one over ``weight_rec`` last; None: the file says no format."""
        titles = [name if port is before[0] else f"{name}.{port.population}" for port in before]
        titles += [f"{name}.rec"] if recurrent else []
        steps, forms = [1] * len(titles), list[Stored | None]([None] * len(titles))
        if "connections" in layer.fields:
            said = np.atleast_1d(np.asarray(layer.fields["connections"], object)).tolist()
            if len(said) != len(titles) or not all(isinstance(one, str) for one in said):
                raise DataError(f"{layer.where}: connections holds {len(said)} values; {len(titles)} names are taken")
            titles = said
        if "steps" in layer.fields:
            steps = layer.whole("steps", 1, 1 + MOST_DELAY).reshape(-1).tolist()
            if len(steps) != len(titles):
                raise DataError(f"{layer.where}: steps holds {len(steps)} numbers; {len(titles)} are taken")
        if "stored" in layer.fields:
            forms = [*formats(layer, len(titles))]
        return list(zip(titles, steps, forms, strict=True))

    def _shape(self, index: int) -> tuple[int, ...]:
        layer = self.file.layers[index]
        shape = layer.shape()
        if layer.kind in ("conv", "pool"):
            if len(shape) != 3:
                raise DataError(f"{layer.where}: shape {shape}; (channels, height, width) is taken")
            return shape
        return (math.prod(shape),)

    def _law(self, neuron: NetxLayer, shape: tuple[int, ...]) -> tuple[int | NDArray[np.int64], ...]:
        """Return (du, dv, vth)."""
        fields = {}
        for field, low, high, why in (
            ("iDecay", 1, 4096, "1 to 4096 (0, a current that never decays, has no counterpart)"),
            ("vDecay", 0, 4095, "0 to 4095 (4096, a potential without memory, has no counterpart)"),
            ("vThMant", 0, 1 << 17, "0 to 131072"),
        ):
            values = neuron.whole(field, -(1 << 31), 1 << 31)
            if values.min() < low or values.max() > high:
                raise ConversionError(f"{neuron.where}: {field} lies in {values.min()} … {values.max()}; taken: {why}")
            fields[field] = self._spread(neuron, field, values, shape)
        threshold = np.minimum(fields["vThMant"], NEVER_FIRES)
        vth = threshold if threshold.ndim else int(threshold)
        return fields["iDecay"] - 1, fields["vDecay"], vth

    def _refractory(self, neuron: NetxLayer, shape: tuple[int, ...]) -> int | NDArray[np.int64]:
        """Return the steps after a spike in which v is held: ``refDelay`` counts the step of the spike too (nengo-loihi, ``emulator/interface.py``)."""
        if "refDelay" not in neuron.fields:
            return 0
        refractory = self._spread(neuron, "refDelay", neuron.whole("refDelay", 1, MOST_REFDELAY), shape) - 1
        if (
            np.any(refractory)
            and (said := f"refDelay: v is held for refDelay − 1 steps after a spike, as on Loihi; {LEFT_OUT}") not in self.notes
        ):
            self.notes.append(said)
        return refractory

    def _spread(self, layer: NetxLayer, field: str, values: NDArray[np.int64], shape: tuple[int, ...]) -> int | NDArray[np.int64]:
        """Return one number, or one of each neuron, of one, of each channel's or of each neuron's."""
        flat, size = values.reshape(-1), math.prod(shape)
        if flat.size == 1 or (np.all(flat == flat[0]) and flat.size in (size, shape[0])):
            return int(flat[0])
        if flat.size == size:
            return flat
        if len(shape) == 3 and flat.size == shape[0]:
            return np.repeat(flat, shape[1] * shape[2])
        raise DataError(f"{layer.where}: {field} has {plural(flat.size, 'value')}; 1, {shape[0]} or {size} are taken")

    def _axonal(self, layer: NetxLayer, index: int) -> None:
        """Keep the delays of what a layer sends; delays of the shape of its weights are those of its synapses."""
        if "delay" not in layer.fields or layer.kind == "average":
            return
        delay = layer.whole("delay", 0, MOST_DELAY)
        if "weight" in layer.fields and delay.shape == np.shape(layer.fields["weight"]) and delay.ndim > 1:
            return
        spread = self._spread(layer, "delay", delay, self._shape(index))
        if not np.any(spread):
            return
        if index == self.last:
            raise ConversionError(
                f"{layer.where}: delay: the last layer's spikes are counted when they are sent; leave its delay out"
            )
        self.delays[self.names[index]] = np.array(np.broadcast_to(spread, math.prod(self._shape(index))))
