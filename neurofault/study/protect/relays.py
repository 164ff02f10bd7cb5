"""Populations that pass a layer's spikes on, a step of the chip later: what voters over copies and relays that can be muted have in common.

A relay carries on the layer's name, shape and everything that it drives, so what stands behind it sees the same spikes, and begins a step later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.given import check_placement
from neurofault.deploy.placement import healthy_cores
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.faults.places import synapse_blocks
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import USUAL
from neurofault.graph.synapses import SignMode
from neurofault.numerals import plural
from neurofault.study.protect.spec import CopySpec, MuteSpec


def check_relayed(deployment: Deployment, name: str, spec: CopySpec | MuteSpec, what: str, weights: Sequence[int]) -> None:
    """Refuse a population that no relay can stand for.

    Args:
        deployment: the chip.
        name: of the population.
        spec: what is asked for.
        what: what stands for it, in a word.
        weights: that it is built of.

    Raises:
        UsageError: it is an input, or is read.
        UnsupportedError: it is in a loop, or the chip's neurons or weights make none.
    """
    own = deployment.population(name)
    if own.is_source:
        raise UsageError(
            f"protect {spec}: {name!r} is an input: its spikes come from outside, and copies would have none of their own"
        )
    if name == deployment.readout.population:
        raise UsageError(
            f"protect {spec}: {name!r} is read by its potentials or counts, which a {what} does not have; protect hidden layers"
        )
    if any(name in island for island, loop in zip(deployment.schedule.islands, deployment.schedule.loops, strict=True) if loop):
        raise UnsupportedError(f"protect {spec}: {name!r} is in a loop, which a {what}'s step would lengthen")
    if own.law.arithmetic != LOIHI:
        raise UnsupportedError(
            f"protect {spec}: {what}s are built in Loihi's arithmetic; neurons of {deployment.profile.name!r} compute otherwise"
        )
    if not deployment.profile.cuts:
        raise UnsupportedError(f"protect {spec}: cores of {deployment.profile.name!r} hold whole populations; copies find no place")
    if deployment.placement.spares_for == "layer":
        raise UnsupportedError(
            f"protect {spec}: spare cores are kept for each layer, and {what}s would be layers without any; keep them for all, or per chip"
        )
    bits, mode = stored_as(deployment, name)
    if any(weight % (1 << field_shift(bits, mode)) for weight in weights):
        raise UnsupportedError(
            f"protect {spec}: weights of {plural(bits, 'bit')} ({mode}) hold no {' and '.join(map(str, weights))}, of which a {what} is built"
        )


def stored_as(deployment: Deployment, name: str) -> tuple[int, SignMode]:
    """Return bits and sign mode of weights into a population."""
    into = deployment.into(name)
    return (into[0].weight_bits, into[0].sign_mode) if into else (0, "mixed")


def check_made(before: Deployment, made: Deployment, spec: CopySpec | MuteSpec, what: str, change: str) -> None:
    """Refuse a chip on which spikes would come in another step than before, or whose cores have no room.

    Args:
        before: the chip as it was.
        made: with relays.
        spec: what is asked for.
        what: what a relay is called.
        change: what would make room.
    """
    moved = next((one.name for one in before.connections if made.schedule.lag[one.name] != before.schedule.lag[one.name]), None)
    if moved is not None:
        raise UnsupportedError(
            f"protect {spec}: a {what} takes a step, by which spikes over connection {moved!r} would come in another step than those on ways without {what}s; "
            "protect layers on all ways of the same length, or none"
        )
    try:
        check_placement(made)
    except CapacityError as error:
        raise CapacityError(f"protect {spec}: {error}; {change}") from None


def free_cores(deployment: Deployment) -> NDArray[np.int64]:
    """Return ids of sound cores on which nothing sits and that are not kept as spare ones."""
    held = [*deployment.placement.used_cores.tolist(), *deployment.placement.spare_cores]
    return np.setdiff1d(healthy_cores(deployment.profile, deployment.placement.chips), held)


def beside_driven(deployment: Deployment, name: str, stand_ins: Mapping[str, str]) -> NDArray[np.int32]:
    """Deal the neurons of a population out over the cores of those that it drives; ``stand_ins``: populations → where these are to be looked for."""
    core_of, size = deployment.placement.core_of, deployment.population(name).size
    driven = [stand_ins.get(one.target, one.target) for one in deployment.out_of(name)]
    cores = np.unique(np.concatenate([core_of[each] for each in driven] or [core_of[name]]))
    return np.asarray(cores[np.arange(size) * len(cores) // size], np.int32)


def check_fresh(deployment: Deployment, names: Iterable[str], what: str) -> None:
    """Refuse names that the chip has already."""
    names = tuple(names)
    known = {one.name for one in deployment.populations} | {one.name for one in deployment.connections}
    if taken := known.intersection(names):
        raise UsageError(f"protect: {what} are called {', '.join(names)}, and {min(taken)!r} is there already")


def relay(name: str, shape: tuple[int, ...], dv: NDArray[np.integer] | int, vth: NDArray[np.integer]) -> ChipPopulation:
    """Return neurons in the usual law that lose u in each step and start at 0."""
    size = len(vth)
    most, none = np.full(size, 4095, np.int32), np.zeros(size, np.int32)
    leak = np.broadcast_to(np.asarray(dv, np.int32), size).copy()
    return ChipPopulation(name, shape, most, leak, vth.astype(np.int32), none, 0, 0, law=USUAL)


def with_parts(
    deployment: Deployment,
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    links: Sequence[ChipConnection],
    cores: Mapping[str, NDArray[np.int32]],
) -> tuple[Deployment, tuple[int, ...], int]:
    """Return the chip with other populations and connections, the cores that this adds, and the bits of the weights of ``links``.

    Args:
        deployment: the chip as it was.
        populations: in their order.
        connections: those that were there.
        links: those that are new.
        cores: of populations that are new or moved.
    """
    known = {**deployment.placement.core_of, **cores}
    placement = replace(deployment.placement, core_of={one.name: known[one.name] for one in populations})
    made = replace(deployment, populations=tuple(populations), connections=(*connections, *links), placement=placement)
    added = tuple(np.setdiff1d(placement.used_cores, deployment.placement.used_cores).tolist())
    stored = sum(block.size * one.weight_bits for one in links for block in synapse_blocks(made, [one.name]))
    return made, added, stored
