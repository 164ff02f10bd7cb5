"""From edits of a deployment to rows of a batch that the incremental engine takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    Damage,
    Edit,
    Force,
    NeuronEdit,
    SetSynapses,
    Silence,
    SingleSynapses,
)
from neurofault.damage.fold_neurons import NeuronFold, NeuronsNow
from neurofault.damage.moments import moments
from neurofault.damage.synapses_in_time import SynapsesInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.exponents import without_exponent
from neurofault.engines.incremental.fault_table import FIXED, SCRIPT
from neurofault.engines.incremental.gathered_rows import GatheredRows, batch_of
from neurofault.engines.incremental.golden import FaultBatch, Golden
from neurofault.engines.incremental.limits import MOST_WEIGHT, acts_in, beyond_32_bits, course, newly_rounded, not_followed
from neurofault.engines.incremental.net import FlatNetwork
from neurofault.engines.incremental.rest import Rest
from neurofault.engines.wiring import edits_of
from neurofault.errors import UsageError
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import weights_and_delays
from neurofault.graph.schedule import title

_ALL = -1


def edit_rows(healthy: Golden, faults: Sequence[Sequence[Edit]], *, whole: bool = False) -> FaultBatch:
    """Return faults given by their edits, in the order in which they act, on top of the healthy side's own damage.

    Args:
        healthy: the healthy run.
        faults: the edits of each.
        whole: whether single synapses are followed like everything else, so that spikes can be counted, and what is not followed is run anew.

    Raises:
        UsageError: an edit that is not followed (:func:`not_followed`; with ``whole`` :func:`course`), or that names a neuron that does not exist.
    """
    deployment, flat, gathered = healthy.deployment, healthy.flat, GatheredRows()
    shared: dict[frozenset[str], Rest] = {}
    for row, edits in enumerate(faults):
        way = course(deployment, edits, flat.unfollowed)
        reason = way if isinstance(way, str) else None if whole else way.why
        if isinstance(way, str) or reason is not None:
            raise UsageError(f"the incremental engine does not follow {reason}")
        hurt = deployment.with_damage(Damage((*deployment.damage.edits, *edits)))
        if way.rest and any(acts_in(deployment, edit) in way.rest for edit in edits):
            gathered.rests[row] = Rest(hurt, flat, way)
        elif way.rest:
            gathered.rests[row] = shared.setdefault(way.rest, Rest(deployment, flat, way))
        for population in deployment.populations:
            if population.name in way.closed:
                continue
            named = [edit for edit in edits if isinstance(edit, NeuronEdit) and edit.population == population.name]
            held = _neurons(healthy, hurt, population, named, row, gathered)
            for connection in deployment.into(population.name):
                if any(isinstance(edit, SingleSynapses) and edit.connection == connection.name for edit in edits):
                    _synapses(healthy, hurt, connection, row, held, gathered)
    return batch_of(healthy, len(faults), gathered, whole=whole)


def _neurons(
    healthy: Golden, hurt: Deployment, population: ChipPopulation, edits: Sequence[NeuronEdit], row: int, gathered: GatheredRows
) -> NDArray[np.int64]:
    """Add the units of a population whose neurons are hit; return which have fixed trains."""
    if not edits:
        return np.empty(0, np.int64)
    flat, size = healthy.flat, population.size
    for edit in edits:
        if edit.neurons.size and not 0 <= int(edit.neurons.min()) <= int(edit.neurons.max()) < size:
            raise UsageError(f"layer {population.name!r}: an edit names neuron {edit.neurons.max()}, allowed are 0…{size - 1}")
    index, place = flat.index(population.name), flat.place_of[population.name]
    if all(isinstance(edit, Silence | Force) and edit.when.always for edit in edits):
        fold = NeuronFold(population, hurt.damage.edits)
        now = fold.at(np.array([edit.when.always for edit in fold.edits], bool))
        own = np.unique(np.concatenate([edit.neurons for edit in edits]))
        rates = np.where(now.silent[own], 0, now.rate[own])
        kinds, which = np.unique(rates, return_inverse=True)
        numbers = np.array([gathered.train(_forced(int(rate), hurt.timesteps)) for rate in kinds], np.int64)
        gathered.unit(row, index, place[own], FIXED, numbers[which.reshape(-1)])
        return own
    _script(healthy, hurt, population, edits, row, gathered)
    return np.empty(0, np.int64)


def _forced(rate: int, timesteps: int) -> NDArray[np.bool_]:
    return Force("", np.empty(0, np.int64), rate).spikes(timesteps)


def _script(
    healthy: Golden, hurt: Deployment, population: ChipPopulation, edits: Sequence[NeuronEdit], row: int, gathered: GatheredRows
) -> None:
    flat, inputs = healthy.flat, healthy.inputs
    fold = NeuronFold(population, hurt.damage.edits)
    found = moments(fold.edits, hurt.schedule.phase[population.name], inputs.first_sample, len(inputs), hurt.timesteps)
    own = np.unique(np.concatenate([edit.neurons for edit in edits]))
    sets = [_mood(fold.at(active), population, own) for active in found.active]
    alike = found.alike or bool((found.which == found.which[:1]).all())
    which = (found.which[:1] if alike else found.which).astype(np.int32)
    numbers = []
    for position in range(len(own)):
        gathered.mood_of.append(which + np.int32(gathered.counts["moods"]))
        moods = {name: np.array([one[name][position] for one in sets]) for name in sets[0]}
        steady = len(sets) == 1 and all(moods[name][0] == usual for name, usual in _ONLY_NUMBERS.items())
        gathered.scripts.append((gathered.counts["mood_of"], 0 if alike else 1, gathered.counts["moods"] if steady else -1))
        gathered.moods.append(moods)
        gathered.counts["mood_of"] += len(which)
        gathered.counts["moods"] += len(sets)
        numbers.append(len(gathered.scripts) - 1)
    index, place = flat.index(population.name), flat.place_of[population.name]
    gathered.unit(row, index, place[own], SCRIPT, np.array(numbers, np.int64))


_ONLY_NUMBERS = {"flips_u": 0, "flips_v": 0, "counter": -1, "silent": 0, "kept": 0, "rate": -1}  # of a mood


def _mood(now: NeuronsNow, population: ChipPopulation, own: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return what holds for some neurons while some edits act, as kernels read it."""
    bias = bias_of(now.bias_mantissa, population.bias_exponent).astype(np.int64)
    return {
        "keep_u": 4095 - now.du[own],
        "keep_v": 4096 - now.dv[own],
        "threshold": np.clip(now.vth[own] << 6, -2 * STATE_LIMIT, 2 * STATE_LIMIT),
        "bias": bias[own],
        "flips_u": now.flips_u[own],
        "flips_v": now.flips_v[own],
        "counter": now.counter[own],
        "silent": now.silent[own].astype(np.int64),
        "kept": now.kept[own].astype(np.int64),
        "rate": now.rate[own],
    }


def _synapses(
    healthy: Golden, hurt: Deployment, connection: ChipConnection, row: int, held: NDArray[np.int64], gathered: GatheredRows
) -> None:
    """Add the pieces of a connection's broken synapses, but of neurons whose trains are fixed."""
    now = SynapsesInTime(hurt, connection.name, healthy.inputs.first_sample, len(healthy.inputs))
    zero = np.zeros(len(now.steady_sources), np.int64)
    before, delay = _held(healthy.deployment, connection, now.steady_sources, now.steady_targets)
    parts = [(now.steady_sources, now.steady_targets, now.steady_weights - before, delay, zero + _ALL)]
    if len(now.sources):
        before, delay = _held(healthy.deployment, connection, now.sources, now.targets)
        which = now.which[:1] if now.alike else now.which
        for number in range(now.sets):
            found, active = now.held(number), which == number
            other = (found.weights != before) | (found.delays != delay)
            if other.any():
                mask = np.full(
                    np.count_nonzero(other), _ALL if active.all() else gathered.mask(_arrived(active, healthy, connection))
                )
                pairs = now.sources[other], now.targets[other]
                parts.append((*pairs, -before[other], delay[other], mask))
                parts.append((*pairs, found.weights[other], found.delays[other], mask))
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)]
    sources, targets, deltas, delays, masks = _joined(columns, connection.synapses.n_in)
    kept = (deltas != 0) & ~np.isin(targets, held)
    gathered.pieces.append(
        _columns(healthy.flat, connection, row, sources[kept], targets[kept], deltas[kept], delays[kept], masks[kept])
    )


def _joined(columns: Sequence[NDArray[np.int64]], n_in: int) -> tuple[NDArray[np.int64], ...]:
    """Add up what goes to the same pair with the same delay and mask: source, target, delta, delay, mask."""
    sources, targets, deltas, delays, masks = columns
    if not sources.size:
        return tuple(columns)
    keys = np.stack([targets * n_in + sources, delays, masks])
    pairs, which = np.unique(keys, axis=1, return_inverse=True)
    total = np.zeros(pairs.shape[1], np.int64)
    np.add.at(total, which.reshape(-1), deltas)
    return pairs[0] % n_in, pairs[0] // n_in, total, pairs[1], pairs[2]


def _arrived(active: NDArray[np.bool_], healthy: Golden, connection: ChipConnection) -> NDArray[np.bool_]:
    """Return in which steps of its own, bool [N, T], a source's spike arrives in an active step."""
    lag = healthy.deployment.schedule.lag[connection.name]
    sent = np.zeros_like(active)
    sent[:, : max(active.shape[1] - lag, 0)] = active[:, lag:]
    return sent


def _held(
    deployment: Deployment, connection: ChipConnection, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the weights and delays that the healthy side reads."""
    weights, delays = weights_and_delays(connection.synapses, sources, targets)
    weights, delays = weights.astype(np.int64), delays.astype(np.int64)
    if deployment.damage.synapse_edits(connection.name):
        edits, n_in = edits_of(deployment, connection.name), connection.synapses.n_in
        keys = edits.targets * n_in + edits.sources
        order = np.argsort(keys)
        asked = targets * n_in + sources
        at = order[np.minimum(np.searchsorted(keys[order], asked), len(keys) - 1)]
        own = keys[at] == asked
        weights = np.where(own, edits.values[at], weights)
        if edits.delays is not None:
            delays = np.where(own, edits.delays[at], delays)
    return weights, delays


def _columns(
    flat: FlatNetwork, connection: ChipConnection, row: int | NDArray[np.int64], sources: NDArray[np.int64], targets: NDArray[np.int64],
    deltas: NDArray[np.int64], delays: NDArray[np.int64], masks: NDArray[np.int64],
) -> NDArray[np.int64]:  # fmt: skip
    """Return pieces as columns: row, population, target, source, delta, shift, mask, group."""
    one = np.ones(len(sources), np.int64)
    wires, exponent = flat.packed.wires[connection.name], connection.weight_exponent
    rounded = wires.right > 0
    if not rounded:  # as sums of 32 bits wrap
        deltas = without_exponent(deltas, max(-exponent, 0)) << wires.left
    shifted = deltas.astype(np.int32)
    lag, group = wires.lag, flat.group_of[connection.name, 0]
    groups = np.full(len(delays), group)
    for delay in np.unique(delays) if rounded else ():
        groups[delays == delay] = flat.group_of[connection.name, int(delay)]
    return np.stack(
        [row * one, one * flat.index(connection.target), flat.place_of[connection.target][targets],
         flat.place_of[connection.source][sources], shifted.astype(np.int64), delays + lag, masks, groups]
    )  # fmt: skip


def synapse_rows(
    healthy: Golden,
    connection: str,
    sources: NDArray[np.integer],
    targets: NDArray[np.integer],
    values: NDArray[np.integer],
) -> FaultBatch:
    """Return faults of one synapse each: ``values`` is what the chip reads instead.

    Args:
        healthy: the healthy run.
        connection: whose synapses they are.
        sources: int [F], neurons in public order, and
        targets: int [F], likewise.
        values: int [F], weights as Lava reads them.

    Raises:
        UsageError: a connection or neuron does not exist, or what it drives is not followed.
    """
    return joined_rows(healthy, [(connection, np.arange(len(np.asarray(sources)) + 1), sources, targets, values)])


Part = tuple[str, NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
"""Faults of a connection: its name, window of each one's synapses [F + 1], and of these source, target and what the chip reads instead."""


def joined_rows(healthy: Golden, parts: Sequence[Part], *, whole: bool = False) -> FaultBatch:
    """Return faults of synapses of several connections, one part behind the other; see :func:`synapse_rows`; ``whole``: as of :func:`edit_rows`."""
    deployment, gathered, count = healthy.deployment, GatheredRows(), 0
    for name, *arrays in parts:
        connection = deployment.connection(name)
        starts, sources, targets, values = (np.asarray(part).astype(np.int64) for part in arrays)
        ends = (("source", sources, connection.synapses.n_in), ("target", targets, connection.synapses.n_out))
        for label, ids, size in ends:
            if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                raise UsageError(
                    f"{title(connection)}: a synapse fault names {label} {ids.min()}…{ids.max()}, allowed are 0…{size - 1}"
                )
        example = SetSynapses(name, sources[:1], targets[:1], values[:1].astype(np.int32))
        rounding = newly_rounded(deployment, connection, replace(example, values=values.astype(np.int32)))
        most = int(np.diff(starts).max(initial=0)) * max(int(np.abs(values).max(initial=0)), 1 << connection.weight_bits)
        reason = (
            not_followed(deployment, [example], healthy.flat.unfollowed) or beyond_32_bits(deployment, connection, most) or rounding
        )
        if int(np.abs(values).max(initial=0)) >= MOST_WEIGHT:
            reason = f"{title(connection)}: weights beyond 24 bits"
        if reason is not None:
            raise UsageError(f"the incremental engine does not follow {reason}")
        before, delays = _held(deployment, connection, sources, targets)
        row = count + np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        gathered.pieces.append(
            _columns(healthy.flat, connection, row, sources, targets, values - before, delays, np.full(len(row), _ALL))
        )
        count += len(starts) - 1
    return batch_of(healthy, count, gathered, whole=whole)
