"""What the incremental engine can have as its healthy side, and which damage it follows from there; each no with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import (
    Damage,
    Detour,
    Edit,
    Force,
    InputNoise,
    KeptState,
    LearningDefect,
    NeuronEdit,
    SetDelays,
    SetSynapses,
    SetTerms,
    Silence,
    SingleSynapses,
)
from neurofault.damage.edits import not_applied
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import STREAM
from neurofault.engines.exact.exponents import cut_off, cuts
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
    return unsummed(deployment) | found


def unsummed(deployment: Deployment) -> dict[str, str]:
    """Return the populations whose drive is not kept, each with the reason."""
    reasons = ((one.target, beyond_32_bits(deployment, one, 0)) for one in deployment.connections)
    return {name: reason for name, reason in reasons if reason is not None}


def beyond_32_bits(deployment: Deployment, connection: ChipConnection, added: int) -> str | None:
    """Return that a target's sum of weights, ``added`` to the healthy side's, may leave 32 bits before it is rounded; None: it cannot, or is not rounded."""
    if not cut_off(deployment, connection):
        return None
    sizes = np.abs(connection.synapses.weight.astype(np.int64))
    most = sizes.sum() if isinstance(connection.synapses, Sparse) else sizes.reshape(len(sizes), -1).sum(axis=1).max(initial=0)
    edits = [edit for edit in deployment.damage.synapse_edits(connection.name) if isinstance(edit, SetSynapses)]
    most = int(most) + added + sum(largest_weights(edit.values, connection) for edit in edits)
    return f"{title(connection)}: sums beyond 32 bits that are rounded" if most > _INT32 else None


def newly_rounded(deployment: Deployment, connection: ChipConnection, edit: SingleSynapses) -> str | None:
    """Return that an edit may make an exponent below 0 cut bits off, where it cuts nothing off on the healthy side; None: it does not."""
    if not cuts(edit, connection) or cut_off(deployment, connection):
        return None
    return (
        f"{title(connection)}: weights of which its exponent {connection.weight_exponent} cuts bits off, so that sums are rounded"
    )


def largest_weights(values: NDArray[np.integer], connection: ChipConnection) -> int:
    """Return Σ|w| that synapses may read at most whose weights were, or are, these ``values``; others fit the stored field."""
    return int(np.maximum(np.abs(values.astype(np.int64)), 1 << connection.weight_bits).sum())


def not_followed(deployment: Deployment, edits: Sequence[Edit], left_out: dict[str, str] | None = None) -> str | None:
    """Return None if all that a fault made of these edits changes is followed, else why not; arguments as of :func:`course`."""
    found = course(deployment, edits, left_out)
    return found if isinstance(found, str) else found.why


@dataclass(frozen=True)
class Course:
    """How a fault is run.

    Attributes:
        why: why not all of it is followed; None: it is.
        rest: the populations that the exact engine runs, on the samples in which anything reaches them; what they drive is among them.
        closed: those of the rest in which not even the first change is told from none.
        always: whether the fault itself is in one of these, so that the rest is run on every sample.
    """

    why: str | None = None
    rest: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    always: bool = False


def course(deployment: Deployment, edits: Sequence[Edit], left_out: dict[str, str] | None = None) -> Course | str:
    """Return how a fault made of these edits is run, on top of a deployment that can be a healthy side; a text: why it can only be run whole.

    Args:
        deployment: the healthy side.
        edits: what the fault does.
        left_out: as :func:`unfollowed` gives it, if it is known already.
    """
    places = dict(unfollowed(deployment) if left_out is None else left_out)
    fixed, other, shut = set[str](), set[str](), dict[str, str]()
    added = dict[str, int]()
    for edit in edits:
        match edit:
            case LearningDefect() | Detour():
                continue
            case Silence(population=name) | Force(population=name) if edit.when.always:
                fixed.add(name)
            case _ if isinstance(edit, NeuronEdit):
                other.add(edit.population)
            case SetSynapses(connection=connection) | SetDelays(connection=connection):
                other.add(deployment.connection(connection).target)
        reason = _not_taken(deployment, edit, added)
        if reason is not None:
            if not (isinstance(edit, SetSynapses) and edit.when.always):
                return reason
            shut.setdefault(deployment.connection(edit.connection).target, reason)
    driven = {one.target for name in fixed | other for one in deployment.out_of(name)}
    reached = deployment.wiring.downstream(other | driven)
    places |= shut
    first = sorted(name for name in reached if name in places)
    if not first:
        return Course()
    rest = deployment.wiring.downstream(set(first))
    why = places[first[0]]
    if unusual := next((edit for edit in edits if acts_in(deployment, edit) in rest and not Damage((edit,)).plain), None):
        return f"{why}, and {type(unusual).__name__} there or behind it is more than dead neurons and synapses changed for good"
    closed = rest & (set(unsummed(deployment)) | set(shut))
    return Course(why, frozenset(rest), frozenset(closed), any(acts_in(deployment, edit) in closed for edit in edits))


def acts_in(deployment: Deployment, edit: Edit) -> str | None:
    """Return the population in which an edit acts, or None: the target of what changes in a connection."""
    if isinstance(edit, LearningDefect | Detour):
        return None
    connection: str | None = getattr(edit, "connection", None)
    own: str | None = getattr(edit, "population", None)
    return own if connection is None else deployment.connection(connection).target


def _not_taken(deployment: Deployment, edit: Edit, added: dict[str, int]) -> str | None:
    """Return None if an edit can be a row, or part of one, else why not; ``added``: connection → what earlier ones may add to a sum, kept up."""
    match edit:
        case KeptState() | InputNoise():
            return f"layer {edit.population!r}: {_WORDS[type(edit)]}"
        case Silence(population=name) | Force(population=name) if edit.when.always:
            if isinstance(edit, Force) and name == deployment.readout.population:
                return f"layer {name!r}: stuck outputs of the readout"
        case _ if isinstance(edit, NeuronEdit):
            if deployment.population(edit.population).is_source:
                return f"layer {edit.population!r}: what changes in an input's neurons with time"
            if edit.population == deployment.readout.population and isinstance(edit, Silence | Force):
                return f"layer {edit.population!r}: outputs that are dead or stuck for some steps"
        case SetSynapses(connection=connection) | SetDelays(connection=connection):
            own = deployment.connection(connection)
            if isinstance(edit, SetSynapses) and int(np.abs(edit.values.astype(np.int64)).max(initial=0)) >= MOST_WEIGHT:
                return f"{title(own)}: weights beyond 24 bits"
            moved = isinstance(edit, SetDelays) or (edit.of_sources is not None and own.synapses.delay is not None)
            if (reason := newly_rounded(deployment, own, edit)) is not None:
                return reason
            if moved and cut_off(deployment, own):
                return f"{title(own)}: other delays where a weight exponent below 0 rounds sums"
            if isinstance(edit, SetSynapses):
                added[connection] = added.get(connection, 0) + largest_weights(edit.values, own)
                if (reason := beyond_32_bits(deployment, own, added[connection])) is not None:
                    return reason
        case SetTerms(connection=connection):
            if (reason := newly_rounded(deployment, deployment.connection(connection), edit)) is not None:
                return reason
        case _:
            return f"{type(edit).__name__}: messages that are lost, or a chip that stalls"
    return not_applied([edit], FOLLOWED)


_WORDS = {KeptState: "states that are kept between samples", InputNoise: "noise of inputs"}
