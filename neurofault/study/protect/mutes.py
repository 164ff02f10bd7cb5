"""Muting: a neuron that fires more than healthy samples ever show is silenced for the rest of the sample (SoftSNN, RescueSNN).

No law of a chip counts its own spikes, so neurons of the chip do: each protected neuron drives a *watcher*, whose potential rises with each of its spikes, leaks, and
passes the threshold once it has risen higher than on any healthy sample; and a *relay*, which passes each spike on. A watcher's spike pushes its relay further down
than as many spikes as a sample has steps could lift it. On the samples that it was fitted to no watcher fires, so the chip spikes there as before.

Of a few leaks each watcher takes the one by which a neuron that fires in every step is muted first. A spike's way over the watcher takes a step more than over the relay, so the
spike that is one too many is passed on, what follows is not. A neuron that fires in every step of a healthy sample cannot be told from one that is stuck, and has no watcher.

The relays carry on the population's name, shape and everything that it drives; the neurons themselves are ``NAME.own``, where they were, the watchers ``NAME.watch``. Watchers and
relays are parts of the network like all others: a watcher that is stuck mutes a sound neuron, one that is dead mutes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import Mutes
from neurofault.engines import run
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.faults.importance import neuron_scores
from neurofault.faults.places import populations_named
from neurofault.graph.arithmetic import STATE_LIMIT, decayed
from neurofault.graph.chip import ChipConnection
from neurofault.graph.synapses import Sparse
from neurofault.inputs import Inputs
from neurofault.numerals import plural
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
from neurofault.study.protect.spec import MuteSpec

LEAKS = (0, 64, 128, 256, 512, 1024, 2048)
"""Leaks that a watcher may have, in 4096ths of its potential a step; 0 counts all spikes of a sample."""
_DOWN_EXPONENT = 7
"""Weight exponent of the synapse by which a watcher mutes: as far down as an exponent of three bits goes."""
_AT_ONCE = 64
"""Samples whose spikes are held in memory together."""


@dataclass(frozen=True, eq=False)
class _Fit:
    """What watchers of one population are to be.

    Attributes:
        leak, threshold: int64 [n].
        after: int64 [n], steps after which a neuron that fires in each is too often; the sample's steps: never.
        spikes: int64 [n], of the healthy samples.
    """

    leak: NDArray[np.int64]
    threshold: NDArray[np.int64]
    after: NDArray[np.int64]
    spikes: NDArray[np.int64]


def with_mutes(
    deployment: Deployment, spec: MuteSpec, looked: Looked | None, names: Sequence[str], *, seed: int
) -> tuple[Deployment, tuple[Mutes, ...]]:
    """Return the chip with watchers and relays, on the samples that are looked at spike for spike as before.

    Args:
        deployment: the healthy chip.
        spec: whose neurons, how many, chosen how.
        looked: samples of training or validation; None: there are none.
        names: populations whose neurons they are.
        seed: of ``by: random``.

    Raises:
        UsageError: a layer that cannot be relayed, samples that are missing, a share of less than a neuron, no neuron that can be watched.
        CapacityError: too few cores are free, or one has no room.
        UnsupportedError: the chip's neurons or weights make no watcher, or its samples are one stream.
    """
    cut = first_of(looked, spec.samples, "mute looks")
    if deployment.reset == "never":
        raise UnsupportedError(f"protect {spec}: samples are one stream (reset: never), in which no watcher's count begins anew")
    for name in names:
        check_relayed(deployment, name, spec, "relay", (_unit(deployment, name),))
        _check_down(deployment, name, spec)
    fits = _fitted(deployment, names, cut.inputs)
    chosen = _chosen(deployment, spec, fits, len(cut.inputs), seed)
    made, found = deployment, list[Mutes]()
    for name in sorted(chosen, key=lambda name: -deployment.schedule.phase[name]):  # what is driven first: relays sit there
        made, one = _with_mute(made, name, chosen[name], fits[name], spec)
        found.append(one)
    check_made(deployment, made, spec, "relay", "mute fewer neurons, or give relays: own")
    return made, tuple(found[::-1])


def layers_of(deployment: Deployment, spec: MuteSpec) -> tuple[str, ...]:
    """Return the populations that a protection is about."""
    return populations_named(deployment, spec.layer or "hidden")


def _unit(deployment: Deployment, name: str) -> int:
    """Return the weight of a spike in watchers and relays: the least that is even, so that half of it is a threshold."""
    bits, mode = stored_as(deployment, name)
    return max(2, 1 << field_shift(bits, mode))


def _down(deployment: Deployment, name: str) -> int:
    """Return the weight by which a watcher mutes."""
    bits, mode = stored_as(deployment, name)
    return -(1 << (bits - 1 + field_shift(bits, mode)))


def _check_down(deployment: Deployment, name: str, spec: MuteSpec) -> None:
    bits, mode = stored_as(deployment, name)
    if mode not in ("mixed", "signed"):
        raise UnsupportedError(
            f"protect {spec}: weights of {deployment.profile.name!r} are {mode}; a watcher mutes by a negative one"
        )
    highest = deployment.profile.synapse.weight_exponent_max.value
    if highest is not None and highest < _DOWN_EXPONENT:
        raise UnsupportedError(
            f"protect {spec}: weights of {deployment.profile.name!r} have exponents of at most {highest}; muting takes {_DOWN_EXPONENT}"
        )
    lasts = -(_down(deployment, name) << _DOWN_EXPONENT) // _unit(deployment, name)
    if lasts < deployment.timesteps:
        raise UnsupportedError(
            f"protect {spec}: weights of {plural(bits, 'bit')} ({mode}) hold a relay down for {plural(lasts, 'spike')}, fewer than a sample's {plural(deployment.timesteps, 'step')}"
        )


def _fitted(deployment: Deployment, names: Sequence[str], inputs: Inputs) -> dict[str, _Fit]:
    """Return what the watchers of each population are to be, by the spikes of healthy samples."""
    units = {name: _unit(deployment, name) << 6 for name in names}
    highest = {name: np.zeros((len(LEAKS), deployment.population(name).size), np.int64) for name in names}
    counts = {name: np.zeros(deployment.population(name).size, np.int64) for name in names}
    for start in range(0, len(inputs), _AT_ONCE):
        activity = run(deployment, inputs[start : start + _AT_ONCE], record=("spikes",)).activity
        for name in names:
            spikes = activity.traces[name].spikes
            assert spikes is not None
            counts[name] += spikes.sum(axis=(0, 1))
            for at, leak in enumerate(LEAKS):
                np.maximum(highest[name][at], _risen(spikes, leak, units[name]).max(axis=(0, 1)), out=highest[name][at])
    always = np.ones((1, deployment.timesteps, 1), bool)
    found = {}
    for name in names:
        threshold = np.maximum(1, -(-highest[name] >> 6))
        stuck = np.stack([_risen(always, leak, units[name])[0, :, 0] for leak in LEAKS])
        passed = stuck[:, :, None] > (threshold << 6)[:, None, :]
        after = np.where(passed.any(axis=1), passed.argmax(axis=1), deployment.timesteps)
        best, every = after.argmin(axis=0), np.arange(after.shape[1])  # among equals the longest memory
        found[name] = _Fit(np.array(LEAKS)[best], threshold[best, every], after[best, every], counts[name])
    return found


def _risen(spikes: NDArray[np.bool_], leak: int, unit: int) -> NDArray[np.int64]:
    """Return int64 [samples, steps, n]: the potential of watchers that never fire, by the chip's law."""
    found = np.zeros(spikes.shape, np.int64)
    v = np.zeros((spikes.shape[0], spikes.shape[2]), np.int64)
    for step in range(spikes.shape[1]):
        v = np.minimum(decayed(v, np.asarray(leak)) + unit * spikes[:, step], STATE_LIMIT - 1)
        found[:, step] = v
    return found


def _chosen(
    deployment: Deployment, spec: MuteSpec, fits: Mapping[str, _Fit], samples: int, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Return the neurons that are watched, of each population that has any."""
    able = {name: np.flatnonzero(fit.after < deployment.timesteps).astype(np.int64) for name, fit in fits.items()}
    if not any(own.size for own in able.values()):
        raise UsageError(
            f"protect {spec}: there is nothing to protect: every neuron of {', '.join(map(repr, fits))} fires in each step of some healthy sample, so none can be too often"
        )
    if spec.whole:
        return {name: own for name, own in able.items() if own.size}
    total = sum(deployment.population(name).size for name in fits)
    most = int(spec.share * total + 1e-9) if spec.share is not None else total
    if not most:
        raise UsageError(f"protect {spec}: {spec.share:g} of {plural(total, 'neuron')} is less than one")
    if spec.by == "random":
        scores = by_lot(deployment, tuple(fits), seed, "mutes")
    else:
        sent = deployment.timesteps * samples
        scores = {name: neuron_scores(deployment, name) * (sent - fit.spikes) for name, fit in fits.items()}
    at = np.concatenate([np.full(len(own), number) for number, own in enumerate(able.values())])
    neuron = np.concatenate(list(able.values()))
    score = np.concatenate([scores[name][own] for name, own in able.items()])
    taken = np.lexsort((np.arange(len(at)), -score))[:most]
    return {name: np.sort(neuron[taken][at[taken] == number]) for number, name in enumerate(able) if (at[taken] == number).any()}


def _with_mute(
    deployment: Deployment, name: str, neurons: NDArray[np.int64], fit: _Fit, spec: MuteSpec
) -> tuple[Deployment, Mutes]:
    """Put watchers and relays behind one population."""
    own, core_of = deployment.population(name), deployment.placement.core_of
    inner, watch = f"{name}.own", f"{name}.watch"
    links = (f"{inner}.relay", f"{inner}.count", f"{watch}.mute")
    check_fresh(deployment, (inner, watch, *links), f"what mutes {name!r}")
    if spec.relays == "own":
        slices = [np.flatnonzero(core_of[name] == core) for core in deployment.placement.cores_of(name)]
        free = free_cores(deployment)
        if len(slices) > len(free):
            raise CapacityError(
                f"protect {spec}: relays of {name!r} take {len(slices)} more cores, and {len(free)} are free; give relays: target, keep fewer spare cores, or deploy on more chips"
            )
        cores = np.empty(own.size, np.int32)
        for at, part in enumerate(slices):
            cores[part] = free[at]
    else:
        cores = beside_driven(deployment, name, {})
    unit, down = _unit(deployment, name), _down(deployment, name)
    every, some = np.arange(own.size), len(neurons)
    populations = []
    for one in deployment.populations:
        if one.name != name:
            populations.append(one)
            continue
        populations += [
            replace(own, name=inner),
            relay(watch, (some,), fit.leak[neurons], fit.threshold[neurons]),
            relay(name, own.shape, 0, np.full(own.size, unit // 2)),
        ]
    connections = [replace(one, target=inner) if one.target == name else one for one in deployment.connections]
    bits, mode = stored_as(deployment, name)

    def link(number: int, source: str, target: str, synapses: Sparse, exponent: int = 0) -> ChipConnection:
        return ChipConnection(links[number], source, target, synapses, exponent, bits, mode)

    up = np.full(own.size, unit, np.int32)
    made, added, stored = with_parts(
        deployment, populations, connections,
        [
            link(0, inner, name, Sparse.of(own.size, own.size, every, every, up)),
            link(1, inner, watch, Sparse.of(some, own.size, np.arange(some), neurons, up[:some])),
            link(2, watch, name, Sparse.of(own.size, some, neurons, np.arange(some), np.full(some, down, np.int32)), _DOWN_EXPONENT),
        ],
        {inner: core_of[name], watch: cores[neurons], name: cores},
    )  # fmt: skip
    return made, Mutes(name, inner, watch, neurons, added, links, stored)
