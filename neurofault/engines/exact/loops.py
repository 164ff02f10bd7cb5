"""Populations that drive each other, step by step: one compiled kernel over all populations of a loop, in wrapping int32, or in registers.

Within a step populations come in rising phase: a connection of lag 0 leads from a lower phase to a higher one, so what it carries is
there in time. All their neurons lie one after the other, each population padded; so do their synapses, connection by connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit, part
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.event_lists import collect, collect_words
from neurofault.engines.exact.held_steps import InRegisters, held_together, step_held
from neurofault.engines.exact.kernels import (
    Rows,
    Taps,
    _add_rows,
    _add_taps,
    _copy,
    _shift,
    _step,
)
from neurofault.engines.exact.lanes import UNIT
from neurofault.engines.exact.neuron_steps import Neurons, Rules, _step_ruled
from neurofault.engines.exact.packing import Packed


class Loop(NamedTuple):
    """The populations of a loop, P of them, and the connections among them, C of them, sorted by target.

    Attributes:
        first: int64 [P + 1], first neuron of each population; neurons: those of all; silent: int64 [P + 1], window of each population's
            silent neurons in ``neurons.silent``. remembers, leaks: bool [P], as in :class:`Neurons`, which has them of all.
        usual, delayed: bool [P], reset: int64 [P], as in :class:`Rules`, which has refractory steps and floors of all neurons.
        bias: int32 [neurons].
        into: int64 [P + 1], window of each population's connections.
        source, lag, left, right: int64 [C], as in :class:`neurofault.engines.exact.kernels.Wires`; the source is a population's number.
        rows, row_first: dense weights by source, and where those of each connection begin, int64 [C + 1]; run: int64 [C].
        words, word_first: kernels, and where they begin; table, table_first; pitch: int64 [C, 4].
        sets: int64 [C + 1], window of each connection's lists; delays: int64; list_first: int64, where the windows of a set's sources begin in
            starts: int64, windows in targets, weights: int32.
        wide: empty array of the type that holds a sum of weights.
    """

    first: NDArray[np.int64]
    neurons: Neurons
    silent: NDArray[np.int64]
    remembers: NDArray[np.bool_]
    leaks: NDArray[np.bool_]
    usual: NDArray[np.bool_]
    reset: NDArray[np.int64]
    delayed: NDArray[np.bool_]
    bias: NDArray[np.int32]
    into: NDArray[np.int64]
    source: NDArray[np.int64]
    lag: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    rows: NDArray[Any]
    row_first: NDArray[np.int64]
    run: NDArray[np.int64]
    words: NDArray[Any]
    word_first: NDArray[np.int64]
    table: NDArray[np.int32]
    table_first: NDArray[np.int64]
    pitch: NDArray[np.int64]
    sets: NDArray[np.int64]
    delays: NDArray[np.int64]
    list_first: NDArray[np.int64]
    starts: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]
    wide: NDArray[Any]


def pack_loop(deployment: Deployment, packed: Packed, names: Sequence[str]) -> Loop:
    """Lay the populations of a loop, in rising phase, and the connections among them out for the kernel."""
    own = [packed.populations[name] for name in names]
    joined = [[one for one in deployment.into(name) if one.source in names] for name in names]
    connections = [one for into in joined for one in into]
    wires = [packed.wires[one.name] for one in connections]

    def edges(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        return np.cumsum([0, *(part.size for part in parts)]).astype(np.int64)

    def together(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        kind = np.result_type(*(part.dtype for part in parts if part.size or len(parts) == 1), np.int16)
        return np.asarray(np.concatenate([part.ravel() for part in parts]), kind)

    def each(values: Sequence[int]) -> NDArray[np.int64]:
        return np.array(values, np.int64)

    first = edges([population.bias for population in own])
    lists = [part.lists for part in wires]
    starts = [row for part in lists for row in part.starts]
    ends = edges([part.targets for part in lists])
    shifts = np.repeat(ends[:-1], [len(part.delays) for part in lists])
    neurons = Neurons(
        np.concatenate([population.neurons.keep_u for population in own]),
        np.concatenate([population.neurons.keep_v for population in own]),
        any(population.neurons.remembers for population in own),
        any(population.neurons.leaks for population in own),
        np.concatenate([population.neurons.threshold for population in own]),
        np.concatenate([population.neurons.start for population in own]),
        np.concatenate([population.neurons.silent + begin for population, begin in zip(own, first, strict=False)]),
        _rules_of([population.neurons for population in own]),
    )
    wide = np.result_type(np.int32, *(part.wide.dtype for part in wires))
    return Loop(
        first,
        neurons,
        edges([population.neurons.silent for population in own]),
        np.array([population.neurons.remembers for population in own]),
        np.array([population.neurons.leaks for population in own]),
        np.array([population.neurons.rules.usual for population in own]),
        each([population.neurons.rules.reset for population in own]),
        np.array([population.neurons.rules.delayed for population in own]),
        np.concatenate([population.bias[0] for population in own]),
        np.cumsum([0, *map(len, joined)]).astype(np.int64),
        each([names.index(one.source) for one in connections]),
        each([part.lag for part in wires]),
        each([part.left for part in wires]),
        each([part.right for part in wires]),
        together([part.rows.weights for part in wires]),
        edges([part.rows.weights for part in wires]),
        each([part.rows.run for part in wires]),
        together([part.taps.kernel for part in wires]),
        edges([part.taps.kernel for part in wires]),
        np.concatenate([part.taps.table for part in wires]),
        np.cumsum([0, *(len(part.taps.table) for part in wires)]).astype(np.int64),
        np.stack([part.taps.pitch for part in wires]),
        edges([part.delays for part in lists]),
        np.concatenate([part.delays for part in lists]),
        edges(starts)[:-1],
        np.concatenate([np.empty(0, np.int64), *(row + shift for row, shift in zip(starts, shifts, strict=True))]),
        np.concatenate([part.targets for part in lists]),
        np.concatenate([part.weights for part in lists]),
        np.empty(0, wide),
    )


def _rules_of(own: Sequence[Neurons]) -> Rules:
    """Return refractory steps and floors of all neurons; none where no population has rules of its own."""
    if all(each.rules.usual for each in own):
        return own[0].rules
    none = [np.zeros_like(each.threshold) for each in own]
    refractory = [no if each.rules.usual else each.rules.refractory for each, no in zip(own, none, strict=True)]
    floor = [no if each.rules.usual else each.rules.floor for each, no in zip(own, none, strict=True)]
    return Rules(False, 0, False, np.concatenate(refractory), np.concatenate(floor))


def pack_held(packed: Packed, names: Sequence[str]) -> InRegisters | None:
    """Lay the registers of a loop's populations out, as :func:`pack_loop` does the rest; None: their arithmetic is Loihi's."""
    found = [packed.populations[name].held for name in names]
    return held_together([held for held in found if held is not None])


@jit
def present_loop(
    steps: int,
    loop: Loop,
    usual: NDArray[np.bool_] | None,
    held: InRegisters | None,
    outside: NDArray[Any],
    starts: NDArray[np.int64],
    sources: NDArray[np.int32],
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    """Run a loop for every sample of a batch, T steps each, from u = 0 and v = start.

    Args:
        steps: T.
        loop: populations and connections.
        usual: that of ``loop``; None: the neurons are in registers, and nothing of Loihi's is compiled.
        held: registers of all neurons; None: they are Loihi's, and nothing else is compiled.
        outside: drive from elsewhere, [S, T, neurons], int32, or int64 of registers; no samples: there is none.
        starts: filled, windows of the events of each population, [P, S, T + 1].
        sources: filled, events, [P, S, at least n · T · spikes a step + 8].
        last_v: filled, [S, neurons], v after step T.
        u_trace: u after each step, filled where it has samples, [S or 0, T, neurons].
        v_trace: likewise v.
    """
    padded, first = loop.bias.shape[0], loop.first
    all_total = np.zeros(padded, loop.wide.dtype)
    kind = outside.dtype
    all_drive, all_u, all_v = np.zeros(padded, kind), np.zeros(padded, kind), np.zeros(padded, kind)
    all_fired, all_waiting = np.zeros(padded, np.uint8), np.zeros(padded, kind)
    all_before = np.zeros(padded, kind)
    all_words = np.zeros(padded // UNIT, np.uint64)
    populations = first.shape[0] - 1
    ends = np.zeros(populations, np.int64)
    for sample in range(last_v.shape[0]):
        for j in range(padded):
            all_u[j], all_v[j], all_waiting[j] = 0, loop.neurons.start[j], 0
        for p in range(populations):
            starts[p, sample, 0] = ends[p] = 0
        for step in range(steps):
            for p in range(populations):
                a, b = first[p], first[p + 1]
                total, drive, fired = all_total[a:b], all_drive[a:b], all_fired[a:b]
                if outside.shape[0]:
                    arrived = outside[sample, step][a:b]
                    for j in range(b - a):
                        drive[j] += arrived[j]
                for c in range(loop.into[p], loop.into[p + 1]):
                    at = step - loop.lag[c]
                    if at >= 0:
                        _arrive_in(loop, c, at, starts[loop.source[c], sample], sources[loop.source[c], sample], total, drive)
                for position in range(loop.silent[p], loop.silent[p + 1]):
                    all_drive[loop.neurons.silent[position]] = 0
                u, v, bias, waiting = all_u[a:b], all_v[a:b], loop.bias[a:b], all_waiting[a:b]
                if usual is not None:
                    neurons = Neurons(
                        loop.neurons.keep_u[a:b],
                        loop.neurons.keep_v[a:b],
                        loop.remembers[p],
                        loop.leaks[p],
                        loop.neurons.threshold[a:b],
                        loop.neurons.start[a:b],
                        loop.neurons.silent,
                        Rules(
                            usual[p],
                            loop.reset[p],
                            loop.delayed[p],
                            loop.neurons.rules.refractory[a:b],
                            loop.neurons.rules.floor[a:b],
                        ),
                    )
                    if usual[p]:
                        words = all_words[a // UNIT : b // UNIT]
                        _step(neurons, drive, 0, np.int32(1), bias, u, v, words, loop.remembers[p] or u_trace.shape[0] > 0, True)
                        ends[p] = collect_words(words, sources[p, sample], ends[p])
                    else:
                        _step_ruled(neurons, bias, drive, u, v, waiting, fired)
                        ends[p] = collect(fired, sources[p, sample], ends[p])
                if held is not None:
                    own = InRegisters(
                        held.law, held.keep_u[a:b], held.keep_v[a:b], held.limit[a:b], held.floor[a:b], held.refractory[a:b]
                    )
                    before = all_before[a:b]
                    ends[p] = step_held(held.law[p], own, bias, drive, u, v, before, waiting, fired, sources[p, sample], ends[p])
                starts[p, sample, step + 1] = ends[p]
            if u_trace.shape[0]:
                _copy(all_u, u_trace[sample, step])
            if v_trace.shape[0]:
                _copy(all_v, v_trace[sample, step])
        _copy(all_v, last_v[sample])


@part
def _arrive_in(
    loop: Loop,
    c: int,
    at: int,
    starts: NDArray[np.int64],
    sources: NDArray[np.int32],
    total: NDArray[Any],
    drive: NDArray[Any],
) -> None:
    """Add to ``drive`` what comes over a connection: spikes sent in step ``at``, and those of earlier steps whose delays end with it."""
    width = total.shape[0]
    begin, end = loop.row_first[c], loop.row_first[c + 1]
    if end > begin:
        weights = loop.rows[begin:end].reshape(((end - begin) // width, width))
        _add_rows(Rows(weights, loop.run[c]), sources, starts[at], starts[at + 1], total)
    if loop.table_first[c + 1] > loop.table_first[c]:
        table = loop.table[loop.table_first[c] : loop.table_first[c + 1]]
        _add_taps(Taps(loop.words[loop.word_first[c] :], table, loop.pitch[c]), sources, starts[at], starts[at + 1], total)
    for which in range(loop.sets[c], loop.sets[c + 1]):
        if which > loop.sets[c]:
            _shift(total, loop.left[c], loop.right[c], drive)
        sent = at - loop.delays[which]
        if sent >= 0:
            for position in range(starts[sent], starts[sent + 1]):
                place = loop.list_first[which] + sources[position]
                for synapse in range(loop.starts[place], loop.starts[place + 1]):
                    total[loop.targets[synapse]] += loop.weights[synapse]
    _shift(total, loop.left[c], loop.right[c], drive)
