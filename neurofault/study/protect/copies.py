"""Triple modular redundancy: neurons computed three times on cores apart, and a voter that fires where two copies do.

A chip has no vote of its own, so the voter is a neuron: it loses u and v in each step, each copy moves it by two thirds of its threshold's
distance, and two copies by more than it. It costs a core's place, three synapses and one step of the chip, in which nothing is lost: populations behind it
begin a step later. Copies, voters and their synapses are parts of the network like all others, so every engine runs them and they break like all others.

The first copy holds all neurons of the population on the cores where they were; the two others hold those that are chosen, the chosen ones of a core
together on a core that was free. The voters carry on the population's name, shape and everything that it drives; of a neuron that was not chosen they
pass on the one copy. A voter that breaks is not voted on: so that it takes nothing with it that would have lived, it sits where the neurons sit
that it drives, and where these are copied too, where their voters sit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import Copies
from neurofault.engines import run
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.faults.importance import neuron_scores
from neurofault.faults.places import populations_named
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.synapses import Conv, Dense, Sparse, Synapses
from neurofault.numerals import plural
from neurofault.progress import Progress
from neurofault.study.atlas import atlas
from neurofault.study.protect.relays import (
    beside_driven,
    check_fresh,
    check_made,
    check_relayed,
    free_cores,
    relay,
    stored_as,
    with_parts,
)
from neurofault.study.protect.scores import Looked, by_lot, first_of
from neurofault.study.protect.spec import CopySpec

ONE = 64
"""Weight of a copy's synapse to its voter; a neuron that is not copied has twice as much."""
_THRESHOLD = 96
"""Of a voter, in the unit of vth, which is that of weights (both are shifted by 6): above one copy, below two."""


def with_copies(
    deployment: Deployment, spec: CopySpec, looked: Looked | None, *, seed: int, progress: Progress
) -> tuple[Deployment, tuple[Copies, ...]]:
    """Return the chip with copies and voters, healthy spike for spike as before.

    Args:
        deployment: the healthy chip.
        spec: whose neurons, how many, chosen how.
        looked: samples of training or validation; None: there are none.
        seed: of ``by: random``.
        progress: called as the atlas goes on.

    Raises:
        UsageError: a layer that cannot be voted on, samples that are missing, a share or a number of cores that pays for nothing.
        CapacityError: too few cores are free, or one has no room for voters.
        UnsupportedError: the chip's neurons or weights make no voter.
    """
    names = populations_named(deployment, spec.layer or "hidden")
    for name in names:
        check_relayed(deployment, name, spec, "voter", (ONE, 2 * ONE))
    chosen = _chosen(deployment, names, spec, looked, seed, progress)
    made, found = deployment, list[Copies]()
    for name in sorted(chosen, key=lambda name: -deployment.schedule.phase[name]):  # what is driven first: voters sit there
        made, one = _with_copy(made, name, chosen[name], spec, {copy: each.population for each in found for copy in each.copies})
        found.append(one)
    check_made(deployment, made, spec, "voter", "copy fewer neurons, or give voters: own")
    return made, tuple(found[::-1])


def _chosen(
    deployment: Deployment, names: tuple[str, ...], spec: CopySpec, looked: Looked | None, seed: int, progress: Progress
) -> dict[str, NDArray[np.int64]]:
    """Return the neurons to be copied, of each population that has any."""
    sizes = {name: deployment.population(name).size for name in names}
    if spec.whole:
        return {name: np.arange(size) for name, size in sizes.items()}
    scores = _scores(deployment, names, spec, looked, seed, progress)
    at = np.concatenate([np.full(size, number) for number, size in enumerate(sizes.values())])
    neuron = np.concatenate([np.arange(size) for size in sizes.values()])
    core = np.concatenate([deployment.placement.core_of[name] for name in names]).astype(np.int64)
    score = np.concatenate([scores[name] for name in names])
    taken = np.zeros(len(at), bool)
    _, block = np.unique(np.stack([at, core]), axis=1, return_inverse=True)
    block = np.asarray(block).reshape(-1)
    unit = block if spec.unit == "core" else np.arange(len(at))
    size, total = np.bincount(unit), np.bincount(unit, score)
    order = np.lexsort((np.arange(len(size)), -(total / size)))
    most = len(at) if spec.share is None else int(spec.share * len(at) + 1e-9)
    each = 3 if spec.voters == "own" else 2
    opened, count, cores = set[int](), 0, 0
    for one in order.tolist():
        own = unit == one
        where = int(block[own][0])
        added = 0 if where in opened else each
        if count + int(size[one]) > most or (spec.cores is not None and cores + added > spec.cores):
            continue
        taken |= own
        opened.add(where)
        count, cores = count + int(size[one]), cores + added
    if not taken.any():
        if spec.cores is not None:
            raise UsageError(
                f"protect {spec}: {plural(spec.cores, 'core is too few', 'cores are too few')}; the neurons of one core take {each} more for their copies"
            )
        raise UsageError(f"protect {spec}: {spec.share:g} of {plural(len(at), 'neuron')} is less than one {spec.unit}")
    return {name: neuron[taken & (at == number)] for number, name in enumerate(names) if (taken & (at == number)).any()}


def _scores(
    deployment: Deployment, names: tuple[str, ...], spec: CopySpec, looked: Looked | None, seed: int, progress: Progress
) -> dict[str, NDArray[np.float64]]:
    if spec.by == "random":
        return by_lot(deployment, names, seed, "copies")
    cut = first_of(looked, spec.samples, f"by {spec.by} looks")
    spikes = run(deployment, cut.inputs).activity.spike_counts
    found = {name: neuron_scores(deployment, name) * spikes[name] for name in names}
    if spec.by == "importance":
        return found
    highest = max(float(each.max(initial=0.0)) for each in found.values()) or 1.0
    for name in names:
        found[name] = 0.5 * found[name] / highest  # below one prediction
        own = atlas(
            deployment, cut.inputs, cut.expected, "neuron_dead", unit=cut.unit, layer=name, changes=False,
            progress=partial(_told, progress, name),
        )  # fmt: skip
        np.add.at(found[name], np.asarray(own.sites["target"], np.int64), np.asarray(own.sites["changed"], np.float64))
    return found


def _told(progress: Progress, name: str, done: int, total: int) -> None:
    progress("atlas of neurons", done, total, name)


def _with_copy(
    deployment: Deployment, name: str, neurons: NDArray[np.int64], spec: CopySpec, voters: Mapping[str, str]
) -> tuple[Deployment, Copies]:
    """Copy neurons of one population; ``voters``: copies of others that it may drive, and what votes on them."""
    own, core_of = deployment.population(name), deployment.placement.core_of
    slices = [neurons[core_of[name][neurons] == core] for core in np.unique(core_of[name][neurons])]
    all_slices = [np.flatnonzero(core_of[name] == core) for core in deployment.placement.cores_of(name)]
    free = free_cores(deployment)
    needed = 2 * len(slices) + (len(all_slices) if spec.voters == "own" else 0)
    if needed > len(free):
        raise CapacityError(
            f"protect {spec}: copies of {name!r} take {needed} more cores, and {len(free)} are free; copy fewer, keep fewer spare cores, or deploy on more chips"
        )
    first, second, third = copies = (f"{name}.1", f"{name}.2", f"{name}.3")
    check_fresh(deployment, copies, f"copies of {name!r}")
    where = {first: core_of[name]}
    for number, copy in enumerate((second, third)):
        cores = np.empty(own.size, np.int32)
        for at, part in enumerate(slices):
            cores[part] = free[number * len(slices) + at]
        where[copy] = cores[neurons]
    if spec.voters == "own":
        voter_cores = np.empty(own.size, np.int32)
        for at, part in enumerate(all_slices):
            voter_cores[part] = free[2 * len(slices) + at]
    else:
        voter_cores = beside_driven(deployment, name, voters)
    populations = list[ChipPopulation]()
    for one in deployment.populations:
        if one.name != name:
            populations.append(one)
            continue
        populations += [
            replace(own, name=first),
            _part(own, second, neurons),
            _part(own, third, neurons),
            relay(own.name, own.shape, 4095, np.full(own.size, _THRESHOLD)),
        ]
    links, connections = list[ChipConnection](), list[ChipConnection]()
    bits, mode = stored_as(deployment, name)
    for link in deployment.connections:
        if link.target != name:
            connections.append(link)
            continue
        connections.append(replace(link, target=first))
        links += [
            replace(link, name=f"{link.name}.{copy}", target=copy, synapses=_rows(link.synapses, neurons))
            for copy in (second, third)
        ]
    alone = np.ones(own.size, bool)
    alone[neurons] = False
    weight = np.where(alone, 2 * ONE, ONE).astype(np.int32)
    votes = ((first, np.arange(own.size), weight), (second, neurons, weight[neurons]), (third, neurons, weight[neurons]))
    for copy, targets, strength in votes:
        synapses = Sparse.of(own.size, len(targets), targets, np.arange(len(targets)), strength)
        links.append(ChipConnection(f"{copy}.vote", copy, name, synapses, 0, bits, mode))
    made, added, stored = with_parts(deployment, populations, connections, links, {**where, name: voter_cores})
    return made, Copies(name, copies, neurons, added, tuple(one.name for one in links), stored)


def _part(own: ChipPopulation, name: str, neurons: NDArray[np.int64]) -> ChipPopulation:
    """Return some neurons of a population as one of its own."""
    held = {field: getattr(own, field)[neurons] for field in ("du", "dv", "vth", "bias_mantissa")}
    law = own.law
    refractory, floor, back = (None if each is None else each[neurons] for each in (law.refractory, law.floor, law.reset_to))
    start = own.v_init[neurons] if isinstance(own.v_init, np.ndarray) else own.v_init
    return replace(
        own,
        name=name,
        shape=(len(neurons),),
        v_init=start,
        law=replace(law, refractory=refractory, floor=floor, reset_to=back),
        **held,
    )


def _rows(synapses: Synapses, neurons: NDArray[np.int64]) -> Synapses:
    """Return the synapses into some neurons."""
    match synapses:
        case Dense():
            return Dense(synapses.weight[neurons], None if synapses.delay is None else synapses.delay[neurons])
        case Conv() if len(neurons) == synapses.n_out:
            return synapses
        case Conv():
            raise UnsupportedError("protect tmr: neurons of a convolution share kernels; copy the whole layer (no share)")
        case Sparse():
            sizes = np.diff(synapses.starts)[neurons]
            at = np.repeat(synapses.starts[neurons] - np.append(0, np.cumsum(sizes)[:-1]), sizes) + np.arange(sizes.sum())
            delay = None if synapses.delay is None else synapses.delay[at]
            return Sparse(synapses.n_in, np.append(0, np.cumsum(sizes)), synapses.sources[at], synapses.weight[at], delay)
