"""What the incremental engine can have as its healthy side, and which damage it follows from there; each no with its reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    Detour,
    Edit,
    Force,
    InputNoise,
    KeptState,
    LearningDefect,
    NeuronEdit,
    SetDelays,
    SetSynapses,
    Silence,
)
from neurofault.damage.edits import not_applied
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import STREAM
from neurofault.engines.exact.neuron_steps import FEATURES
from neurofault.engines.exact.packing import exponent_out_of_range
from neurofault.graph.chip import ChipConnection
from neurofault.graph.law import unknown_feature
from neurofault.graph.readout import unusual_readout
from neurofault.graph.schedule import title
from neurofault.graph.synapses import Sparse

FOLLOWED = frozenset({
    "silent", "rate", "du", "dv", "vth", "bias_mantissa", "own_bias", "flips_u", "flips_v", "counter", "kept", "weights", "delays",
})  # fmt: skip
"""What edits may do to a step that is followed (``does`` of their classes)."""
MOST_WEIGHT = 1 << 24
_INT32 = int(np.iinfo(np.int32).max)


def refusal(deployment: Deployment) -> str | None:
    """Return None if a deployment can be the healthy side of an incremental run, else why not."""
    if deployment.reset == "never":
        return STREAM
    if not deployment.damage.plain:
        return "damage that acts in time windows or alters parameters"
    for one in deployment.populations:
        feature = unknown_feature(one.law, FEATURES)
        if feature is not None:
            return f"layer {one.name!r}: {feature}"
    return exponent_out_of_range(deployment) or unusual_readout(deployment.readout)


def unfollowed(deployment: Deployment) -> dict[str, str]:
    """Return the populations in which no change is followed, each with the reason."""
    found = {}
    schedule = deployment.schedule
    for island, looped in zip(schedule.islands, schedule.loops, strict=True):
        for name in island if looped else ():
            found[name] = f"layer {name!r} is in a loop: " + (
                "it drives itself" if len(island) == 1 else f"{', '.join(map(repr, island))} drive each other"
            )
    for one in deployment.connections:
        if (reason := beyond_32_bits(deployment, one, 0)) is not None:
            found.setdefault(one.target, reason)
    return found


def beyond_32_bits(deployment: Deployment, connection: ChipConnection, added: int) -> str | None:
    """Return that a target's sum of weights, ``added`` to the healthy side's, may leave 32 bits before it is rounded; None: it cannot, or is not rounded."""
    if connection.weight_exponent >= 0:
        return None
    sizes = np.abs(connection.synapses.weight.astype(np.int64))
    most = sizes.sum() if isinstance(connection.synapses, Sparse) else sizes.reshape(len(sizes), -1).sum(axis=1).max(initial=0)
    edits = [edit for edit in deployment.damage.synapse_edits(connection.name) if isinstance(edit, SetSynapses)]
    most = int(most) + added + sum(largest_weights(edit.values, connection) for edit in edits)
    return f"{title(connection)}: sums beyond 32 bits that are rounded" if most > _INT32 else None


def largest_weights(values: NDArray[np.integer], connection: ChipConnection) -> int:
    """Return Σ|w| that synapses may read at most whose weights were, or are, these ``values``; others fit the stored field."""
    return int(np.maximum(np.abs(values.astype(np.int64)), 1 << connection.weight_bits).sum())


def not_followed(deployment: Deployment, edits: Sequence[Edit], left_out: dict[str, str] | None = None) -> str | None:
    """Return None if a fault made of these edits, on top of a deployment that can be a healthy side, can be a row, else why not.

    Args:
        deployment: the healthy side.
        edits: what the fault does.
        left_out: as :func:`unfollowed` gives it, if it is known already.
    """
    places = unfollowed(deployment) if left_out is None else left_out
    fixed, other = set[str](), set[str]()
    added = dict[str, int]()
    for edit in edits:
        match edit:
            case LearningDefect() | Detour():
                pass
            case KeptState() | InputNoise():
                return f"{_title(edit)}: {_WORDS[type(edit)]}"
            case Silence(population=name) | Force(population=name) if edit.when.always:
                if isinstance(edit, Force) and name == deployment.readout.population:
                    return f"layer {name!r}: stuck outputs of the readout"
                fixed.add(name)
            case _ if isinstance(edit, NeuronEdit):
                if deployment.population(edit.population).is_source:
                    return f"layer {edit.population!r}: what changes in an input's neurons with time"
                if edit.population == deployment.readout.population and isinstance(edit, Silence | Force):
                    return f"layer {edit.population!r}: outputs that are dead or stuck for some steps"
                other.add(edit.population)
            case SetSynapses(connection=connection) | SetDelays(connection=connection):
                if isinstance(edit, SetSynapses) and int(np.abs(edit.values.astype(np.int64)).max(initial=0)) >= MOST_WEIGHT:
                    return f"{title(deployment.connection(connection))}: weights beyond 24 bits"
                own = deployment.connection(connection)
                moved = isinstance(edit, SetDelays) or (edit.of_sources is not None and own.synapses.delay is not None)
                if moved and own.weight_exponent < 0:
                    return f"{title(own)}: other delays where a weight exponent below 0 rounds sums"
                if isinstance(edit, SetSynapses):
                    added[connection] = added.get(connection, 0) + largest_weights(edit.values, own)
                    if (reason := beyond_32_bits(deployment, own, added[connection])) is not None:
                        return reason
                other.add(own.target)
            case _:
                return f"{type(edit).__name__}: messages that are lost, or a chip that stalls"
        if (reason := not_applied([edit], FOLLOWED)) is not None:
            return reason
    driven = {one.target for name in fixed | other for one in deployment.out_of(name)}
    for name in sorted(deployment.wiring.downstream(other | driven)):
        if name in places:
            return places[name]
    return None


_WORDS = {KeptState: "states that are kept between samples", InputNoise: "noise of inputs"}


def _title(edit: KeptState | InputNoise) -> str:
    return f"layer {edit.population!r}"
