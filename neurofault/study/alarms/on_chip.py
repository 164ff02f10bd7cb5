"""Watchers as neurons of a chip: placed on free cores, with synapses of their own, and broken by every fault as all others.

They form two populations: the watchers of spikes (:data:`WATCHERS`), in the order of the alarm set, and the heartbeats (:data:`BEATS`), one on each core that holds a
watcher: a bias of 64 and a threshold of S − 1, so that they fire in the last step of a window. Nothing of the network listens to them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage, Edit, NeuronEdit, SynapseEdit
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import RESOURCES, usage
from neurofault.deploy.weight_fields import truncate_weights
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import samples_apart
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.readout import Readout
from neurofault.graph.synapses import Sparse
from neurofault.numerals import plural
from neurofault.study.alarms.alarm_set import AlarmSet
from neurofault.study.alarms.watchers import Watcher, stop_of
from neurofault.study.patterns.pattern_set import chip_digest

WATCHERS = "alarm watchers"
BEATS = "alarm beats"


def with_alarms(chip: Deployment, alarms: AlarmSet, cores: int = 1) -> Deployment:
    """Return a chip that has watchers: neurons on free cores, synapses from those that they watch.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> alarms = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"]).alarms
    >>> watched = with_alarms(chip, alarms)
    >>> [one.name for one in watched.populations], watched.placement.cores_of("alarm watchers").tolist()
    (['eyes', 'hands', 'alarm watchers', 'alarm beats'], [2])

    Args:
        chip: healthy, the one that the alarms were chosen for, placed anywhere.
        alarms: the watchers.
        cores: over how many free cores the watchers of spikes are spread, at least 1.

    Raises:
        UsageError: other alarms, a damaged chip, one that has alarms already, or a number out of range.
        UnsupportedError: neurons of the chip have another law than Loihi's.
        CapacityError: no core is free, or one is full.
    """
    check_alarms(chip, alarms)
    if chip.damage.edits:
        raise UsageError(
            f"alarms are put on a healthy chip; this one is damaged already ({plural(len(chip.damage.edits), 'edit')})"
        )
    if has_alarms(chip):
        raise UsageError(f"the chip of {chip.name!r} has alarms already")
    if cores < 1:
        raise UsageError(f"cores must be at least 1, is {cores}")
    check_law(chip)
    own = [one for one in alarms.watchers if one.spiking]
    seats = _free(chip, min(cores, len(own)))[np.arange(len(own)) % max(1, min(cores, len(own)))] if own else np.empty(0, np.int32)
    core_of = dict(chip.placement.core_of)
    populations, connections = list(chip.populations), list(chip.connections)
    if own:
        populations.append(_neurons(WATCHERS, [one.bias for one in own], [one.threshold for one in own]))
        connections += _synapses(chip, alarms, own)
        core_of[WATCHERS] = seats.astype(np.int32)
    beats = beat_cores(chip, alarms, seats)
    if len(beats):
        populations.append(_neurons(BEATS, [64] * len(beats), [alarms.steps - 1] * len(beats)))
        core_of[BEATS] = beats.astype(np.int32)
    made = replace(
        chip,
        populations=tuple(populations),
        connections=tuple(connections),
        placement=replace(chip.placement, core_of=core_of),
    )
    _check_room(made, set(core_of[WATCHERS].tolist()) if own else set())
    return made


def has_alarms(chip: Deployment) -> bool:
    """Whether a chip has watchers or heartbeats."""
    return any(one.name in (WATCHERS, BEATS) for one in chip.populations)


def without_alarms(chip: Deployment) -> Deployment:
    """Return a chip without its watchers, and without what is broken of them."""
    if not has_alarms(chip):
        return chip
    kept = tuple(one for one in chip.populations if one.name not in (WATCHERS, BEATS))
    wires = tuple(one for one in chip.connections if one.target != WATCHERS)
    names = {one.name for one in kept} | {one.name for one in wires}
    edits = tuple(edit for edit in chip.damage.edits if _place(edit) is None or _place(edit) in names)
    core_of = {name: own for name, own in chip.placement.core_of.items() if name not in (WATCHERS, BEATS)}
    return replace(
        chip, populations=kept, connections=wires, placement=replace(chip.placement, core_of=core_of), damage=Damage(edits)
    )


def watchers_alone(chip: Deployment, alarms: AlarmSet) -> Deployment:
    """Return the watchers of a chip as a chip of their own, with what is broken of them, that is shown windows of spikes of those that they watch.

    The chip resets every neuron between samples but these, which it resets between windows; here a window is a sample.

    Raises:
        UnsupportedError: something of them is broken for a time, which would be counted otherwise here.
    """
    names = [one.name for one in chip.populations if one.name in (WATCHERS, BEATS)]
    wires = tuple(replace(one, delay=1) for one in chip.connections if one.target == WATCHERS)
    edits = []
    for edit in chip.damage.edits:
        place = _place(edit)
        if place is None or place not in {*names, *(one.name for one in wires)}:
            continue
        if not edit.when.always:
            raise UnsupportedError(
                f"{place!r}: watchers that are broken for a time are not followed; faults of the network may come and go"
            )
        edits.append(edit)
    sources = [replace(chip.population(one), is_source=True, encoding=None) for one in dict.fromkeys(one.source for one in wires)]
    populations = (*sources, *(chip.population(name) for name in names))
    core_of = {one.name: chip.placement.core_of[one.name] for one in populations}
    return Deployment(
        f"alarms of {chip.name}", chip.profile, populations, wires, replace(chip.placement, core_of=core_of), alarms.steps,
        Readout(names[0], "count"), Damage(tuple(edits)),
    )  # fmt: skip


def check_alarms(chip: Deployment, alarms: AlarmSet) -> None:
    """Refuse alarms of another chip.

    Raises:
        UsageError: they are.
    """
    if chip_digest(without_alarms(chip)) != alarms.chip:
        raise UsageError(
            f"the alarms were chosen for network {alarms.network!r} with other weights, readout or steps than this chip of {chip.name!r} holds (damage apart)"
        )


def check_law(chip: Deployment) -> None:
    """Refuse a chip on which watchers are no neurons like others, or whose samples are one stream.

    Raises:
        UnsupportedError: it is one.
    """
    samples_apart(chip, "an alarm")
    if chip.profile.law != LOIHI:
        raise UnsupportedError(
            f"watchers are neurons by the law of Loihi; {chip.profile.name!r} computes by another: allowed are chips of arithmetic loihi or lava"
        )
    if chip.connections and any(one.sign_mode != "mixed" for one in chip.connections):
        raise UnsupportedError(
            f"watchers take weights of both signs in one field (mixed); connections of network {chip.name!r} have other fields"
        )


def beat_cores(chip: Deployment, alarms: AlarmSet, seats: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the cores that have a heartbeat, int64, rising; ``seats``: those of watchers of spikes."""
    match alarms.heartbeat:
        case "none":
            return np.empty(0, np.int64)
        case "all":
            held = chip.placement.used_cores
        case _:
            own = [int(chip.placement.core_of[one.population][one.neurons[0]]) for one in alarms.watchers if not one.spiking]
            held = np.array(own, np.int64)
    return np.unique(np.concatenate([seats.astype(np.int64), held]))


def _place(edit: Edit) -> str | None:
    match edit:
        case _ if isinstance(edit, NeuronEdit):
            return edit.population
        case _ if isinstance(edit, SynapseEdit):
            return edit.connection
        case _:
            return None


def _free(chip: Deployment, number: int) -> NDArray[np.int64]:
    """Return the first free cores."""
    place, profile = chip.placement, chip.profile
    usable = (np.arange(place.chips)[:, None] * place.cores_per_chip + np.array(profile.chip.local_ids)).reshape(-1)
    taken = np.concatenate([place.used_cores, np.array([*place.spare_cores, *place.bad_cores, *profile.dead_core_ids], np.int64)])
    free = np.setdiff1d(usable, taken)
    if len(free) < number or profile.core.layers is not None:
        raise CapacityError(
            f"{number} free cores are needed for watchers, {profile.name!r} has {0 if profile.core.layers is not None else len(free)} left "
            f"({len(usable)} usable, {len(place.used_cores)} in use, {len(place.spare_cores)} spare): put more neurons on a core, take another chip, or keep fewer spare cores"
        )
    return free[:number]


def _neurons(name: str, bias: list[int], threshold: list[int]) -> ChipPopulation:
    size = len(bias)
    mantissa, vth = np.array(bias, np.int32), np.array(threshold, np.int32)
    return ChipPopulation(name, (size,), np.full(size, NO_MEMORY, np.int32), np.zeros(size, np.int32), vth, mantissa, 0, 0)


def _synapses(chip: Deployment, alarms: AlarmSet, own: list[Watcher]) -> list[ChipConnection]:
    bits, phase = max(one.weight_bits for one in chip.connections), chip.schedule.phase
    deepest, most = max(phase[one.population] for one in own), chip.profile.synapse.delay_max.value
    if most is not None and (longest := 1 + deepest - min(phase[one.population] for one in own)) > 1 + most:
        raise CapacityError(
            f"watchers of layers that lie {plural(longest - 1, 'step')} apart: {chip.profile.name!r} holds delays of {plural(most, 'step')}; watch fewer layers"
        )
    made = []
    for kind, population in dict.fromkeys((one.kind, one.population) for one in own):
        stop, exponent = stop_of(alarms.steps) if kind == "silence" else (0, 0)
        rows = [
            (at, neuron, stop or (one.weight if kind == "busy" else -one.weight))
            for at, one in enumerate(own)
            if (one.kind, one.population) == (kind, population)
            for neuron in one.neurons
        ]
        targets, sources, weights = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        stored = truncate_weights(weights, bits, "mixed")
        if not np.array_equal(stored, weights):
            raise CapacityError(f"watchers need weights of {np.abs(weights).min()}, which {bits} stored bits do not hold")
        delay = 1 + deepest - phase[population]  # all watchers are in the same step of a window
        wires = Sparse.of(len(own), chip.population(population).size, targets, sources, stored)
        made.append(ChipConnection(f"alarm {kind} {population}", population, WATCHERS, wires, exponent, bits, "mixed", delay))
    return made


def _check_room(made: Deployment, new: set[int]) -> None:
    found = usage(made)
    for at, core in enumerate(found.cores.tolist()):
        for name in RESOURCES:
            used, most = int(found.used[name][at]), found.own[at][name]
            if most is not None and used > most:
                where = "of watchers" if core in new else "that is watched"
                raise CapacityError(
                    f"core {core} {where} would take {used:,} {name}, {made.profile.name!r} has {most:,}: fewer watchers, or over more cores"
                )
