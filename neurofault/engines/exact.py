"""The exact engine: integer simulation, equal bit for bit to Lava 0.10 ``fixed_pt``, layer by layer and event by event.

A layer handles a sample's T steps as a whole, from u = 0 and v = v_init, because its input in step t is the spikes of the layer
before in *its* step t: the one step that a connection takes is the one step by which layers are offset on the chip. A spike that a
synaptic delay would carry beyond a sample's last step is dropped: it is cleared with u and v when the next sample starts.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, Traces, scores_from
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.engines import kernels
from neurofault.engines.packing import PackedLayer, bias_of, empty_synapses, in_bytes, pack, pack_neurons
from neurofault.engines.stepwise import StepwiseEngine
from neurofault.inputs import Inputs

_EVENT_BYTES = 16 << 20
_MOST_SAMPLES = 64
_MOST_KINDS = 16


@dataclass(frozen=True)
class ExactEngine:
    """Runs a deployment in this process, in parallel over samples.

    Attributes:
        threads: worker threads; None: one for each core that the process may use. Results do not depend on it.
        batch: samples that a thread handles at a time; None: as many as keep its buffers small. Results do not depend on it.
        name: the engine's.
    """

    threads: int | None = None
    batch: int | None = None
    name: str = "exact"

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the layer."""
        for layer in deployment.layers:
            if not -31 <= layer.weight_exponent <= 24:
                return f"layer {layer.name!r}: weight exponent {layer.weight_exponent} is outside −31…24"
        return None

    def run(self, deployment: Deployment, inputs: Inputs, *, record: Collection[str] = ()) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Memory: the result, plus buffers of a few megabytes a thread; samples are streamed in batches. Damage with time windows,
        lost messages or altered parameters is handed to :class:`neurofault.engines.stepwise.StepwiseEngine`.

        Raises:
            StalledError: a hung core stops the chip.
        """
        if not deployment.damage.plain:
            return StepwiseEngine(plain=self).run(deployment, inputs, record=record)
        layers = tuple(in_bytes(layer) for layer in pack(deployment))
        trains = None if inputs.bias is None else _constant_trains(deployment, layers[0], inputs.bias)
        sheet = _Sheet.blank(deployment, len(inputs), record)
        largest = max(layer.order.size for layer in layers)
        batch = self.batch or max(1, min(_MOST_SAMPLES, _EVENT_BYTES // (4 * largest * deployment.timesteps)))
        windows = [slice(start, min(start + batch, len(inputs))) for start in range(0, len(inputs), batch)]
        counts = [np.zeros(layer.order.size, np.int64) for layer in layers]

        def work(window: slice) -> list[NDArray[np.int64]]:
            return _run_batch(deployment, layers, trains, inputs[window], sheet.part(window))

        number = min(self.threads or _usable_cores(), len(windows))
        with ThreadPoolExecutor(number) if number > 1 else nullcontext() as pool:
            for part in map(work, windows) if pool is None else pool.map(work, windows):
                for total, own in zip(counts, part, strict=True):
                    total += own
        dead = deployment.damage.silent(len(layers) - 1, layers[-1].order.size)
        return Activity(
            scores_from(sheet.potential, sheet.output_counts, deployment.readout, dead),
            {layer.name: total for layer, total in zip(layers, counts, strict=True)},
            sheet.sample_spikes,
            {layer.name: trace for layer, trace in zip(layers, sheet.traces, strict=True)} if record else {},
        )


@dataclass(frozen=True, eq=False)
class _Events:
    """Spikes of one layer for a batch of samples, as in :mod:`neurofault.engines.kernels`."""

    starts: NDArray[np.int64]
    sources: NDArray[np.int32]

    @classmethod
    def room(cls, samples: int, steps: int, size: int) -> _Events:
        """Return room for the most events that a population of ``size`` neurons can have."""
        return cls(np.empty((samples, steps + 1), np.int64), np.empty((samples, size * steps + 8), np.int32))


@dataclass(frozen=True, eq=False)
class _Trains:
    """What an input neuron does under each bias: with a constant current its train depends on its kind and its bias alone.

    Attributes:
        kind: int64 [n], internal order; −1: silent.
        lookup: int32 [kinds, 65536], train of each bias mantissa modulo 2**16.
        starts, steps: lists of the steps in which each train fires.
        v: int32 [T, trains].
    """

    kind: NDArray[np.int64]
    lookup: NDArray[np.int32]
    starts: NDArray[np.int64]
    steps: NDArray[np.int64]
    v: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Sheet:
    """Where the results of all samples, or of a window of them, are written; public order."""

    potential: NDArray[np.int32]
    output_counts: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    traces: tuple[Traces, ...]

    @classmethod
    def blank(cls, deployment: Deployment, samples: int, record: Collection[str]) -> _Sheet:
        """Return a sheet with room for every sample and for the traces of ``record``."""
        outputs = deployment.layers[-1].size
        shapes = [(samples, deployment.timesteps, layer.size) for layer in deployment.layers]
        traces = tuple(
            Traces(
                np.zeros(shape, np.int32) if "u" in record else None,
                np.zeros(shape, np.int32) if "v" in record else None,
                np.zeros(shape, np.bool_) if "spikes" in record else None,
            )
            for shape in shapes
        )
        return cls(
            np.zeros((samples, outputs), np.int32), np.zeros((samples, outputs), np.int64), np.zeros(samples, np.int64), traces
        )

    def part(self, window: slice) -> _Sheet:
        """Return the part that belongs to a window of the samples; writing to it writes to the whole."""
        traces = tuple(
            Traces(
                None if trace.u is None else trace.u[window],
                None if trace.v is None else trace.v[window],
                None if trace.spikes is None else trace.spikes[window],
            )
            for trace in self.traces
        )
        return _Sheet(self.potential[window], self.output_counts[window], self.sample_spikes[window], traces)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_batch(
    deployment: Deployment, layers: tuple[PackedLayer, ...], trains: _Trains | None, inputs: Inputs, sheet: _Sheet
) -> list[NDArray[np.int64]]:
    """Run a batch of samples through all layers; return each layer's spike counts and fill the rest of the results in."""
    if inputs.events is not None:
        events = _given(inputs.events, layers[0], deployment.damage.silent(0, layers[0].order.size))
    elif trains is not None:
        assert inputs.bias is not None
        events = _unfold(inputs.bias, layers[0], trains, deployment.timesteps, sheet.traces[0])
    else:
        assert inputs.bias is not None
        bias = _input_bias(inputs.bias, deployment.layers[0], layers[0])
        events = _present(layers[0], bias, None, deployment.timesteps, sheet, 0)
    counts = [_finish(layers[0], events, sheet, 0, last=len(layers) == 1)]
    for index, layer in enumerate(layers[1:], 1):
        events = _present(layer, layer.bias, events, deployment.timesteps, sheet, index)
        counts.append(_finish(layer, events, sheet, index, last=index == len(layers) - 1))
    return counts


def _present(layer: PackedLayer, bias: NDArray[np.int32], events: _Events | None, steps: int, sheet: _Sheet, index: int) -> _Events:
    """Run one layer; write its traces, and its last v where it is the output."""
    samples, size, trace = sheet.sample_spikes.size, layer.order.size, sheet.traces[index]
    after = _Events.room(samples, steps, size)
    last_v = np.empty((samples, size), np.int32)
    u, v = (np.empty((0 if array is None else samples, steps, size), np.int32) for array in (trace.u, trace.v))
    before = _Events(np.empty((0, 0), np.int64), np.empty((0, 0), np.int32)) if events is None else events
    kernels.present(
        steps, layer.rows, layer.taps, layer.lists, layer.neurons, bias, before.starts, before.sources, layer.wide,
        after.starts, after.sources, last_v, u, v,
    )  # fmt: skip
    for array, internal in ((trace.u, u), (trace.v, v)):
        if array is not None:
            array[:, :, layer.order] = internal
    if index == len(sheet.traces) - 1:
        sheet.potential[:, layer.order] = last_v
    return after


def _finish(layer: PackedLayer, events: _Events, sheet: _Sheet, index: int, *, last: bool) -> NDArray[np.int64]:
    """Count the spikes of a layer and write its spike trace."""
    counts = np.zeros((len(sheet.sample_spikes) if last else 1, layer.order.size), np.int64)
    kernels.tally(events.starts, events.sources, layer.order, counts)
    sheet.sample_spikes[:] += events.starts[:, -1]
    if last:
        sheet.output_counts[:] = counts
    spikes = sheet.traces[index].spikes
    if spikes is not None:
        kernels.spread(events.starts, events.sources, layer.order, spikes)
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total


def _given(spikes: NDArray[np.bool_], layer: PackedLayer, silent: NDArray[np.bool_]) -> _Events:
    """Turn given spikes [S, T, n] into events; silent neurons send none."""
    events = _Events.room(*spikes.shape)
    in_order = not silent.any() and np.array_equal(layer.order, np.arange(layer.order.size))
    if in_order and layer.order.size % 8 == 0 and spikes.flags.c_contiguous:
        kernels.gather_words(spikes.view(np.uint8), events.starts, events.sources)
        return events
    kernels.gather(spikes, layer.order, ~silent[layer.order], events.starts, events.sources)
    return events


def _input_bias(mantissa: NDArray[np.int32], chip: ChipLayer, layer: PackedLayer) -> NDArray[np.int32]:
    """Bias of each sample's input neurons [S, n_padded], 0 for silent ones."""
    bias = np.zeros((len(mantissa), layer.bias.shape[1]), np.int32)
    bias[:, : layer.order.size] = bias_of(mantissa[:, layer.order], chip.bias_exponent)
    bias[:, layer.neurons.silent] = 0
    return bias


def _constant_trains(deployment: Deployment, layer: PackedLayer, mantissa: NDArray[np.int32]) -> _Trains | None:
    """Run one neuron for each pair of (kind of input neuron, bias that occurs); None where there are too many kinds."""
    chip = deployment.layers[0]
    kinds, kind = np.unique(np.stack([chip.dv, chip.vth]), axis=1, return_inverse=True)
    if kinds.shape[1] > _MOST_KINDS:
        return None
    occurs = np.zeros(1 << 16, bool)
    for start in range(0, len(mantissa), _MOST_SAMPLES):
        occurs[mantissa[start : start + _MOST_SAMPLES] & 0xFFFF] = True
    biases = np.flatnonzero(occurs)
    n_trains = kinds.shape[1] * biases.size
    twin = ChipLayer(
        chip.name, (n_trains,), None, 0, 8, "mixed", np.zeros(n_trains, np.int32), kinds[0].repeat(biases.size),
        kinds[1].repeat(biases.size), np.tile(biases, kinds.shape[1]).astype(np.int32), chip.bias_exponent, chip.v_init,
    )  # fmt: skip
    order = np.arange(n_trains)
    neurons, bias = pack_neurons(twin, order, np.zeros(n_trains, bool))
    packed = PackedLayer(chip.name, order, *empty_synapses(), neurons, bias, np.empty(0, np.int32))
    shape = (1, deployment.timesteps, n_trains)
    trace = Traces(None, np.zeros(shape, np.int32), np.zeros(shape, np.bool_))
    sheet = _Sheet(np.zeros((1, n_trains), np.int32), np.zeros((1, n_trains), np.int64), np.zeros(1, np.int64), (trace,))
    _finish(packed, _present(packed, bias, None, deployment.timesteps, sheet, 0), sheet, 0, last=True)
    assert trace.spikes is not None
    assert trace.v is not None
    train, step = np.nonzero(trace.spikes[0].T)
    lookup = np.full((kinds.shape[1], 1 << 16), -1, np.int32)
    lookup[:, biases] = order.reshape(kinds.shape[1], biases.size)
    own = kind.reshape(-1)[layer.order].astype(np.int64)
    own[layer.neurons.silent] = -1
    return _Trains(own, lookup, np.searchsorted(train, np.arange(n_trains + 1)).astype(np.int64), step.astype(np.int64), trace.v[0])


def _unfold(mantissa: NDArray[np.int32], layer: PackedLayer, trains: _Trains, steps: int, trace: Traces) -> _Events:
    """Look the events of the input population up, and its v where it is traced; u is 0."""
    events = _Events.room(len(mantissa), steps, layer.order.size)
    kernels.unfold(mantissa, layer.order, trains.kind, trains.lookup, trains.starts, trains.steps, events.starts, events.sources)
    if trace.v is not None:
        alive = np.flatnonzero(trains.kind >= 0)
        train = trains.lookup[trains.kind[alive], mantissa[:, layer.order[alive]] & 0xFFFF]
        trace.v[:, :, layer.order[alive]] = trains.v[:, train].transpose(1, 0, 2)
    return events
