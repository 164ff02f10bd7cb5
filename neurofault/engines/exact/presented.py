"""From what is presented to the inputs of a chip, biases or spikes, to event lists of their neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Traces
from neurofault.engines.exact import event_lists, kernels
from neurofault.engines.exact.held_kernels import present_held
from neurofault.engines.exact.kernels import Wires
from neurofault.engines.exact.packing import NO_WIRES, PackedPopulation, pack_population
from neurofault.engines.exact.row_kernels import present_rows, takes_rows
from neurofault.graph.arithmetic import bias_of
from neurofault.graph.chip import ChipPopulation
from neurofault.inputs import Spikes

_MOST_KINDS = 16
_WINDOW = 64


@dataclass(frozen=True, eq=False)
class Events:
    """Spikes of one population for a batch of samples.

    Attributes:
        starts, sources: as in :mod:`neurofault.engines.exact.kernels`, int64 [S, T + 1], int32 [S, …].
    """

    starts: NDArray[np.int64]
    sources: NDArray[np.int32]

    @classmethod
    def room(cls, samples: int, steps: int, size: int) -> Events:
        """Return room for the most events of a population that sends ``size`` of them in a step at most."""
        return cls(np.empty((samples, steps + 1), np.int64), np.empty((samples, size * steps + 8), np.int32))

    @classmethod
    def none(cls) -> Events:
        """Return the events of no sample."""
        return cls(np.empty((0, 0), np.int64), np.empty((0, 0), np.int32))


@dataclass(frozen=True, eq=False)
class Trains:
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


def given(spikes: Spikes, own: PackedPopulation) -> Events:
    """Turn given spikes into events; silent neurons send none."""
    rank = np.argsort(own.order)
    rank[own.order[own.neurons.silent]] = -1
    if np.array_equal(rank, np.arange(rank.size)):
        rank = rank[:0]
    most = int(np.diff(spikes.starts).max(initial=0))
    events = Events(np.empty((len(spikes), spikes.timesteps + 1), np.int64), np.empty((len(spikes), most + 8), np.int32))
    event_lists.given(spikes.starts, spikes.steps, spikes.neurons, rank, events.starts, events.sources)
    return events


def given_often(counts: NDArray[np.uint8], own: PackedPopulation) -> Events:
    """Turn how often each neuron fires, [S, T, n], into events; silent neurons send none."""
    sent = counts[:, :, own.order]
    sent[:, :, own.neurons.silent] = 0
    starts = np.zeros((len(sent), sent.shape[1] + 1), np.int64)
    np.cumsum(sent.sum(axis=2, dtype=np.int64), axis=1, out=starts[:, 1:])
    sources = np.empty((len(sent), int(starts[:, -1].max(initial=0)) + 8), np.int32)
    for out, own_sent, end in zip(sources, sent, starts[:, -1], strict=True):
        _, neurons = np.nonzero(own_sent)
        out[:end] = np.repeat(neurons, own_sent[own_sent > 0])
    return Events(starts, sources)


def run_whole(
    steps: int,
    own: PackedPopulation,
    bias: NDArray[np.int32],
    samples: int,
    last_v: NDArray[np.int32],
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    wires: Wires = NO_WIRES,
    before: Events | None = None,
    outside: NDArray[Any] | None = None,
) -> Events:
    """Run one population, all T steps of each sample at once, by the kernel of its arithmetic.

    Args:
        steps: T.
        own: the population.
        bias: [1 or S, n_padded], added to v each step.
        samples: S.
        last_v: filled, [S, n], v after step T.
        u: u after each step, filled where it has samples, [S or 0, T, n].
        v: likewise v.
        wires: the connection into it, or none.
        before: the events of its source; None: there is no connection.
        outside: drive from elsewhere, [S, T, n_padded], int32, or int64 of neurons in registers; None: there is none.
    """
    after, before = Events.room(samples, steps, own.order.size * own.most), Events.none() if before is None else before
    nothing: NDArray[Any] = np.empty((0, 0, 0), np.int32 if own.held is None else np.int64)
    arriving: NDArray[Any] = nothing if outside is None else outside
    if own.held is None and outside is None and takes_rows(wires, own.neurons):
        present_rows(steps, wires, own.neurons, bias, before.starts, before.sources, after.starts, after.sources, last_v, u, v)
    elif own.held is None:
        kernels.present(
            steps, wires, own.neurons, bias, before.starts, before.sources, arriving, after.starts, after.sources, last_v, u, v
        )
    else:
        present_held(
            steps, wires, own.held, own.neurons.start, own.neurons.silent, bias, before.starts, before.sources, arriving,
            after.starts, after.sources, last_v, u, v,
        )  # fmt: skip
    return after


def input_bias(mantissa: NDArray[np.int32], chip: ChipPopulation, own: PackedPopulation) -> NDArray[np.int32]:
    """Bias of each sample's input neurons [S, n_padded], 0 for silent ones."""
    bias = np.zeros((len(mantissa), own.bias.shape[1]), np.int32)
    bias[:, : own.order.size] = bias_of(mantissa[:, own.order], chip.bias_exponent)
    bias[:, own.neurons.silent] = 0
    return bias


def constant_trains(chip: ChipPopulation, steps: int, own: PackedPopulation, mantissa: NDArray[np.int32]) -> Trains | None:
    """Run one neuron for each pair of (kind of input neuron, bias that occurs); None where there are too many kinds, or refractory steps or floors of each."""
    if chip.law.refractory is not None or chip.law.floor is not None:
        return None
    begin = np.broadcast_to(np.asarray(chip.v_init, np.int32), (chip.size,))
    kinds, kind = np.unique(np.stack([chip.dv, chip.vth, begin]), axis=1, return_inverse=True)
    if kinds.shape[1] > _MOST_KINDS:
        return None
    occurs = np.zeros(1 << 16, bool)
    for start in range(0, len(mantissa), _WINDOW):
        occurs[mantissa[start : start + _WINDOW] & 0xFFFF] = True
    biases = np.flatnonzero(occurs)
    n_trains = kinds.shape[1] * biases.size
    twin = ChipPopulation(
        chip.name, (n_trains,), np.zeros(n_trains, np.int32), kinds[0].repeat(biases.size), kinds[1].repeat(biases.size),
        np.tile(biases, kinds.shape[1]).astype(np.int32), chip.bias_exponent, kinds[2].repeat(biases.size), is_source=True, law=chip.law,
    )  # fmt: skip
    order = np.arange(n_trains)
    packed = pack_population(twin, order, np.zeros(n_trains, bool))
    v, spikes = np.empty((1, steps, n_trains), np.int32), np.zeros((1, steps, n_trains), np.uint8)
    no_u = np.empty((0, 0, 0), np.int32)
    events = run_whole(steps, packed, packed.bias, 1, np.empty((1, n_trains), np.int32), no_u, v)
    event_lists.spread(events.starts, events.sources, order, spikes)
    train, step = np.nonzero(spikes[0].T)
    lookup = np.full((kinds.shape[1], 1 << 16), -1, np.int32)
    lookup[:, biases] = order.reshape(kinds.shape[1], biases.size)
    rows = kind.reshape(-1)[own.order].astype(np.int64)
    rows[own.neurons.silent] = -1
    return Trains(rows, lookup, np.searchsorted(train, np.arange(n_trains + 1)).astype(np.int64), step.astype(np.int64), v[0])


def unfold(mantissa: NDArray[np.int32], own: PackedPopulation, trains: Trains, steps: int, trace: Traces) -> Events:
    """Look the events of an input population up, and its v where it is traced; u is 0."""
    events = Events.room(len(mantissa), steps, own.order.size)
    event_lists.unfold(mantissa, own.order, trains.kind, trains.lookup, trains.starts, trains.steps, events.starts, events.sources)
    if trace.v is not None:
        alive = np.flatnonzero(trains.kind >= 0)
        train = trains.lookup[trains.kind[alive], mantissa[:, own.order[alive]] & 0xFFFF]
        trace.v[:, :, own.order[alive]] = trains.v[:, train].transpose(1, 0, 2)
    return events
