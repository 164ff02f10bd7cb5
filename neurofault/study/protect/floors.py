"""Bounded potentials: no neuron falls below what healthy samples show.

The floor is the law's own (:class:`neurofault.graph.law.Law`): v ← max(v', floor), in the chip's integers and before the threshold, so every engine that
knows floors runs it. From above a potential is bounded already: past its threshold a neuron fires and is reset. A neuron that fires too
often is muted by others (``mutes.py``): no law keeps a count of its spikes, and refractory steps hold the potential too, which changes the healthy network.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import PotentialFloor
from neurofault.engines import run
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults.places import populations_named
from neurofault.inputs import Inputs
from neurofault.study.protect.scores import Looked, first_of
from neurofault.study.protect.spec import FloorSpec

_AT_ONCE = 64
"""Samples whose potentials are held in memory together."""


def with_floors(
    deployment: Deployment, spec: FloorSpec, looked: Looked | None, beside: Collection[str] = ()
) -> tuple[Deployment, tuple[PotentialFloor, ...]]:
    """Return the chip with floors, and what they take.

    Args:
        deployment: the healthy chip.
        spec: whose neurons.
        looked: samples of training or validation; None: there are none.
        beside: populations that have none.

    Raises:
        UsageError: samples are needed, or the layer holds inputs alone.
        UnsupportedError: the chip's neurons have no floor.
    """
    cut = first_of(looked, spec.samples, "potentials look")
    named = populations_named(deployment, spec.layer or "any")
    names = [name for name in named if not deployment.population(name).is_source and name not in beside]
    if not names and not all(deployment.population(name).is_source for name in named):
        raise UsageError(
            f"protect {spec}: layer {spec.layer!r} holds relays alone, which are muted by a low potential; its neurons are {named[0]}.own"
        )
    if not names:
        raise UsageError(f"protect {spec}: layer {spec.layer!r} holds inputs alone, whose potentials no weight moves")
    for name in names:
        law = deployment.population(name).law
        if not law.arithmetic.floor or law.at_floor != "hold":
            what = "are reset at theirs" if law.at_floor != "hold" else "have no floor of v"
            raise UnsupportedError(
                f"protect {spec}: neurons of {name!r} on {deployment.profile.name!r} {what}; nothing holds their potentials"
            )
    lowest = _lowest(deployment, names, cut.inputs)
    made, taken = [], []
    for one in deployment.populations:
        if one.name not in lowest:
            made.append(one)
            continue
        floor = lowest[one.name] if one.law.floor is None else np.maximum(one.law.floor, lowest[one.name])
        made.append(replace(one, law=replace(one.law, floor=floor.astype(np.int32))))
        taken.append(PotentialFloor(one.name, one.size * one.law.arithmetic.v.bits))
    return replace(deployment, populations=tuple(made)), tuple(taken)


def _lowest(deployment: Deployment, names: Sequence[str], inputs: Inputs) -> dict[str, NDArray[np.int64]]:
    """Return the lowest v of each neuron after any step of any sample, 0 where it never falls below."""
    found = {name: np.zeros(deployment.population(name).size, np.int64) for name in names}
    for start in range(0, len(inputs), _AT_ONCE):
        activity = run(deployment, inputs[start : start + _AT_ONCE], record=("v",)).activity
        for name in names:
            seen = activity.traces[name].v
            assert seen is not None
            np.minimum(found[name], seen.min(axis=(0, 1)), out=found[name])
    return found
