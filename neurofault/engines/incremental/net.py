"""A deployment as the kernels of the incremental engine read it: flat arrays, populations in topological order.

A spike train is a bit mask of 32-bit words, bit t % 32 of word t // 32 for step t. For each population the drive that reached its neurons in each step
of the healthy run is kept, after the shift into the unit of u but where whole sums are rounded; a fault is an addition to some of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.packing import Packed, PackedPopulation, pack
from neurofault.engines.incremental.limits import unfollowed, unsummed
from neurofault.graph.arithmetic import STATE_LIMIT
from neurofault.graph.synapses import Conv

LANES = 16
"""Neurons that are run side by side where single ones are hit."""
BITS = 32
"""Steps in a word of a train."""
DENSE, TAPS, LISTS = 0, 1, 2
_MOST_BIAS = 1 << 29


POPULATION = np.dtype([(name, np.int64) for name in (
    "size", "positions", "lanes", "base", "stop", "sums", "into", "until", "farthest", "shortcut", "slack", "groups", "group",
    "remembers", "leaks", "ruled", "reset", "delayed", "looped", "keeps_u", "keeps_v",
)])  # fmt: skip
"""A population.

size: neurons, in ``positions`` × ``lanes``: the places × channels of a convolution (channels last), blocks of 16 where only single synapses lead into
    it, else one place. Its drive lies as [position, step, lane].
base, stop: first neuron, and the first after it. sums: first number of its drive.
into, until: window of the wires into it. farthest: the last population that it drives, −1: none.
shortcut: the wire by which its spikes are added to final sums, where that is all that they do; −1: it is not.
groups, group: how many sums its drive is made of, and number of the first, of :data:`GROUP`. Its drive is kept sum by sum.
slack: largest |change| of drive in a step at which u can surely not wrap, so that less drive never makes a spike; −1: unknown, or rules of its own.
remembers, leaks, ruled, reset, delayed: as in :class:`neurofault.engines.exact.neuron_steps.Neurons` and ``Rules``.
keeps_u, keeps_v: the most 1/4096 of u and v that survive a step in any of its neurons.
looped: whether it drives itself, also through others: then it is only known whether anything in it changes.
"""

WIRE = np.dtype([(name, np.int64) for name in (
    "source", "lag", "left", "kind", "first", "pitch", "word", "heaviest", "group", "row_targets", "row_words", "block_targets", "block_words", "wide",
)])  # fmt: skip
"""What comes over a connection with one delay.

source: population; lag: steps late; left: shift of weights into drive; kind: one of ``DENSE``, ``TAPS``, ``LISTS``.
group: which of the target's sums, from 0.
first, pitch: where its rows, table or windows begin; between rows. word: first word of its kernel; heaviest: largest |weight|, shifted.
row_targets … block_words: as ``pitch`` of :class:`neurofault.engines.exact.kernels.Taps`.
wide: whether its rows or its kernel are among ``wide``, as 16 bits do not hold them.
"""

GROUP = np.dtype([("right", np.int64), ("left", np.int64)])
"""A sum of weights that is shifted into the unit of u as a whole; 0, 0: one of what the wires have shifted already."""

NEURON = np.dtype([(name, np.int32) for name in ("keep_u", "keep_v", "threshold", "start", "bias", "refractory", "floor")])
"""A neuron: 1/4096 of u and v that survive a step, and the rest as in :class:`neurofault.engines.exact.neuron_steps.Neurons`."""


class Net(NamedTuple):
    """A network as the kernels read it; neurons of all populations one after the other, each population padded.

    Attributes:
        steps, words: T, and words of a train.
        pops: :data:`POPULATION` [P]; wires: :data:`WIRE` [W], sorted by target; groups: :data:`GROUP`; neurons: :data:`NEURON` [neurons].
        rows, table, kernel, windows, targets, weights: dense weights by source; of convolutions and lists as in the exact engine, ``windows`` absolute.
        wide: rows and kernels that 16 bits do not hold.
        readout: population that is read.
        linear: whether its final potentials are sums of what arrives, as long as nothing wraps, saturates or fires.
        counted: whether its spikes are counted.
        output_of: int64 [the readout's neurons], their public indices; −1: padding.
        dead: bool [n_out], outputs that score lowest; any_dead: whether there are any.
    """

    steps: int
    words: int
    pops: NDArray[Any]
    wires: NDArray[Any]
    groups: NDArray[Any]
    neurons: NDArray[Any]
    rows: NDArray[np.int16]
    table: NDArray[np.int32]
    kernel: NDArray[np.int16]
    windows: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]
    wide: NDArray[np.int32]
    readout: int
    linear: bool
    counted: bool
    output_of: NDArray[np.int64]
    dead: NDArray[np.bool_]
    any_dead: bool


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """A network as the kernels read it, and where each neuron went.

    Attributes:
        net: the arrays.
        names: of its populations, in their order there.
        place_of: by name, int64 [n], number in ``net`` of each neuron in public (C, H, W) order.
        packed: the same deployment as the exact engine reads it.
        unfollowed: population → why a change that reaches it is not followed on.
        drives: numbers of drive of a sample.
        driven: population → whether its drive is kept.
        group_of: (connection, extra delay of a synapse) → which of the target's sums it goes to.
    """

    net: Net
    names: tuple[str, ...]
    place_of: dict[str, NDArray[np.int64]]
    packed: Packed
    unfollowed: dict[str, str]
    drives: int
    driven: dict[str, bool]
    group_of: dict[tuple[str, int], int]

    @property
    def neurons(self) -> int:
        """Number of neurons in ``net``, padding included."""
        return len(self.net.neurons)

    def index(self, population: str) -> int:
        """Return the place of a population in ``net``."""
        return self.names.index(population)


def lay_out(deployment: Deployment) -> FlatNetwork:
    """Lay a deployment that :func:`refusal` has nothing against out for the kernels."""
    packed, schedule = pack(deployment), deployment.schedule
    names = tuple(name for island in schedule.islands for name in island)
    left_out, without = unfollowed(deployment), unsummed(deployment)
    own = [packed.populations[name] for name in names]
    pops = np.zeros(len(names), POPULATION)
    pops["size"] = [one.order.size for one in own]
    pops["positions"], pops["lanes"] = 1, -(-pops["size"] // LANES) * LANES
    for place, name in enumerate(names):
        shapes = [one.synapses.out_shape for one in deployment.into(name) if isinstance(one.synapses, Conv)]
        size = pops["size"][place]
        if shapes:
            pops["lanes"][place], pops["positions"][place] = shapes[0][0], size // shapes[0][0]
        elif not any(len(packed.wires[one.name].rows.weights) for one in deployment.into(name)):
            pops["lanes"][place], pops["positions"][place] = LANES, -(-size // LANES)
    width = pops["lanes"] * pops["positions"]
    pops["stop"] = np.cumsum(width)
    pops["base"] = pops["stop"] - width
    driven = np.array([name not in without and not deployment.population(name).is_source for name in names])
    groups, group_of = _groups(deployment, packed, names)
    pops["groups"] = [len(own_groups) for own_groups in groups]
    pops["group"] = np.cumsum(pops["groups"]) - pops["groups"]
    drive = np.where(driven, width * deployment.timesteps * pops["groups"], 0)
    pops["sums"] = np.cumsum(drive) - drive
    neurons = _neurons(own, width)
    for name in ("u", "v"):
        pops[f"keeps_{name}"] = [
            neurons[f"keep_{name}"][base:stop].max(initial=0) for base, stop in zip(pops["base"], pops["stop"], strict=True)
        ]
    flags = [(one.neurons.remembers, one.neurons.leaks, not one.neurons.rules.usual, one.neurons.rules.reset, one.neurons.rules.delayed) for one in own]  # fmt: skip
    for column, name in enumerate(("remembers", "leaks", "ruled", "reset", "delayed")):
        pops[name] = [int(row[column]) for row in flags]
    pops["looped"] = [loops for island, loops in zip(schedule.islands, schedule.loops, strict=True) for _ in island]
    found = _Wires.of(deployment, packed, names, group_of)
    wires, target = found.wires, found.target
    pops["into"], pops["until"] = (np.searchsorted(target, np.arange(len(names)), side) for side in ("left", "right"))
    readout, how = names.index(deployment.readout.population), deployment.readout.how
    last = own[readout].neurons
    whole = not any(packed.wires[one.name].right for one in deployment.into(names[readout]))
    summed = whole and not (last.remembers or last.leaks) and last.rules.usual and bool((np.diff(own[readout].order) > 0).all())
    linear = how == "potential" and summed and bool(driven[readout])
    pops["farthest"], pops["shortcut"] = -1, -1
    np.maximum.at(pops["farthest"], wires["source"], target)
    for place in range(len(names)):
        (out,) = np.nonzero(wires["source"] == place)
        direct = len(out) == 1 and target[out[0]] == readout and wires["kind"][out[0]] == DENSE and not wires["lag"][out[0]]
        if linear and direct and place != readout and pops["farthest"][readout] < 0:
            pops["shortcut"][place] = out[0]
        reach = sum(found.reach[pops["into"][place] : pops["until"][place]].tolist())
        slack = _slack(own[place], neurons[pops["base"][place] : pops["stop"][place]], reach)
        pops["slack"][place] = -1 if any(right for right, _ in groups[place]) else slack
    output_of = np.full(int(width[readout]), -1, np.int64)
    output_of[: own[readout].order.size] = own[readout].order
    dead = deployment.damage.silent(names[readout], int(pops["size"][readout]))
    net = Net(
        deployment.timesteps, -(-deployment.timesteps // BITS), pops, wires, np.array([one for each in groups for one in each], GROUP), neurons, found.rows, found.table, found.kernel, found.windows,
        found.targets, found.weights, found.wide, readout, linear, how == "count", output_of, dead, bool(dead.any()),
    )  # fmt: skip
    place_of = {name: np.argsort(one.order) + first for name, one, first in zip(names, own, pops["base"], strict=True)}
    return FlatNetwork(
        net, names, place_of, packed, left_out, int(drive.sum()), dict(zip(names, driven.tolist(), strict=True)), group_of
    )


def _groups(
    deployment: Deployment, packed: Packed, names: Sequence[str]
) -> tuple[list[list[tuple[int, int]]], dict[tuple[str, int], int]]:
    """Return for each population the shifts (right, left) of its sums, and which one a (connection, delay) goes to."""
    groups: list[list[tuple[int, int]]] = []
    found: dict[tuple[str, int], int] = {}
    for name in names:
        own = (
            [(0, 0)] if not all(packed.wires[one.name].right for one in deployment.into(name)) or not deployment.into(name) else []
        )
        for one in deployment.into(name):
            wires = packed.wires[one.name]
            delays = [0] if one.synapses.delay is None else [0, *np.unique(one.synapses.delay).tolist()]
            for delay in dict.fromkeys(delays) if wires.right else (0,):
                found[one.name, delay] = len(own) if wires.right else 0
                if wires.right:
                    own.append((wires.right, wires.left))
        groups.append(own)
    return groups, found


def _neurons(own: Sequence[PackedPopulation], width: NDArray[np.int64]) -> NDArray[Any]:
    """Return all neurons, :data:`NEURON`."""
    parts = []
    for one, stop in zip(own, width.tolist(), strict=True):
        part, rules = np.zeros(stop, NEURON), one.neurons.rules
        part["keep_u"], part["keep_v"] = (np.rint(4096 * keep[:stop]) for keep in (one.neurons.keep_u, one.neurons.keep_v))
        part["threshold"], part["start"], part["bias"] = one.neurons.threshold[:stop], one.neurons.start[:stop], one.bias[0, :stop]
        part["refractory"], part["floor"] = (0, 1 - STATE_LIMIT) if rules.usual else (rules.refractory[:stop], rules.floor[:stop])
        parts.append(part)
    return np.concatenate(parts)


def _slack(one: PackedPopulation, neurons: NDArray[Any], reach: int) -> int:
    far = max(int(np.abs(neurons[name].astype(np.int64)).max(initial=0)) for name in ("bias", "start"))
    if not one.neurons.rules.usual or far >= _MOST_BIAS:
        return -1
    return max(-1, (STATE_LIMIT - 1) * (4096 - int(neurons["keep_u"].max(initial=0))) // 4096 - reach - 1)


@dataclass(frozen=True, eq=False)
class _Wires:
    """All wires, sorted by target; ``reach``: largest Σ|w| of a target, shifted; the rest as in :class:`Net`."""

    target: NDArray[np.int64]
    wires: NDArray[Any]
    reach: NDArray[np.int64]
    rows: NDArray[np.int16]
    table: NDArray[np.int32]
    kernel: NDArray[np.int16]
    windows: NDArray[np.int64]
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]
    wide: NDArray[np.int32]

    @classmethod
    def of(cls, deployment: Deployment, packed: Packed, names: Sequence[str], group_of: Mapping[tuple[str, int], int]) -> _Wires:
        found: list[tuple[int, ...]] = []
        rows, kernels, wide = [np.empty(0, np.int16)], [np.empty(0, np.int16)], [np.empty(0, np.int32)]
        tables = [np.empty((0, 5), np.int32)]
        windows, targets, weights = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        begin = dict.fromkeys(("rows", "tables", "kernels", "windows", "targets", "wide"), 0)
        for place, name in enumerate(names):
            for one in deployment.into(name):
                wires, source = packed.wires[one.name], names.index(one.source)
                left, group = 0 if wires.right else wires.left, group_of[one.name, 0]
                if len(wires.rows.weights):
                    own, large = wires.rows.weights, wires.rows.weights.dtype != np.int16
                    most, reach = _bounds(own, left)
                    at = begin["wide" if large else "rows"], own.shape[1], 0
                    found.append((place, reach, source, wires.lag, left, DENSE, *at, most, group, 0, 0, 0, 0, large))
                    (wide if large else rows).append(own.ravel())
                    begin["wide" if large else "rows"] += own.size
                if len(wires.taps.table):
                    sizes = np.abs(wires.taps.kernel.astype(np.int64)) << left
                    most, reach = int(sizes.max(initial=0)), int(sizes.sum())
                    large = wires.taps.kernel.dtype != np.int16
                    at = begin["tables"], 0, begin["wide" if large else "kernels"]
                    pitch = wires.taps.pitch.tolist()
                    found.append((place, reach, source, wires.lag, left, TAPS, *at, most, group, *pitch, large))
                    tables.append(wires.taps.table)
                    (wide if large else kernels).append(wires.taps.kernel)
                    begin["tables"] += len(wires.taps.table)
                    begin["wide" if large else "kernels"] += len(wires.taps.kernel)
                for which, delay in enumerate(wires.lists.delays.tolist()):
                    first, stop = wires.lists.starts[which, [0, -1]]
                    own = wires.lists.weights[first:stop]
                    most, reach = _bounds(own[:, None], left)
                    at = begin["windows"], 0, 0
                    group = group_of[one.name, delay if wires.right else 0]
                    found.append((place, reach, source, wires.lag + delay, left, LISTS, *at, most, group, 0, 0, 0, 0, False))
                    windows.append(wires.lists.starts[which] - first + begin["targets"])
                    targets.append(wires.lists.targets[first:stop])
                    weights.append(own)
                    begin["windows"] += wires.lists.starts.shape[1]
                    begin["targets"] += len(own)
        columns = np.array(found, np.int64).reshape(-1, 16)
        records = np.zeros(len(columns), WIRE)
        for column, key in enumerate(WIRE.names or ()):
            records[key] = columns[:, 2 + column]
        return cls(
            columns[:, 0], records, columns[:, 1], np.concatenate(rows), np.concatenate(tables), np.concatenate(kernels),
            np.concatenate(windows), np.concatenate(targets), np.concatenate(weights), np.concatenate(wide),
        )  # fmt: skip


def _bounds(weights: NDArray[Any], left: int) -> tuple[int, int]:
    """Return the largest |weight| and the largest Σ|w| of a target (of a list of single synapses: of all together), shifted."""
    sizes = np.abs(weights.astype(np.int64))
    return int(sizes.max(initial=0)) << left, int(sizes.sum(axis=0).max(initial=0)) << left
