"""Weight exponents below 0: whether a sum that they shift to the right is really cut off, or all weights are multiples of what it is divided by.

Fields of 8 bits with mixed sign, for one, are read as even weights, so that an exponent of −1 cuts nothing off: Σ w·s ≫ k = Σ (w ≫ k)·s then, in whatever
order it is added up, and a sum of such weights is a plain one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetDelays, SetTerms, SingleSynapses
from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.graph.chip import ChipConnection


def cut_off(deployment: Deployment, connection: ChipConnection) -> int:
    """Return by how many places sums of a connection's weights are shifted right where that cuts bits off, with its permanent damage; 0: nothing is cut off.

    Damage that is worked out only when the chip runs counts for every bit that it may set.
    """
    right = max(-connection.weight_exponent, 0)
    if not right or _below(right, _any_of(connection.synapses.weight)):
        return right
    edits = deployment.damage.synapse_edits(connection.name)
    return right if any(cuts(edit, connection) for edit in edits) else 0


def cuts(edit: SingleSynapses, connection: ChipConnection) -> bool:
    """Whether synapses of which an edit changes something may read weights with bits that the exponent cuts off, if without it they have none."""
    right = max(-connection.weight_exponent, 0)
    if not right or isinstance(edit, SetDelays):
        return False
    if isinstance(edit, SetTerms):
        return True
    shift = field_shift(connection.weight_bits, connection.sign_mode)
    found = _any_of(edit.values)
    for field in (edit.flips, edit.force):
        found |= 0 if field is None else _any_of(field) << shift
    return bool(_below(right, found if edit.factor is None else found | 1 << shift))


def cut_weights(connection: ChipConnection, weights: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of some weights have bits that a connection's exponent cuts off."""
    return np.asarray(_below(max(-connection.weight_exponent, 0), weights))


def without_exponent(weights: NDArray[Any], right: int) -> NDArray[Any]:
    """Return weights divided by 2**``right``, of which they are multiples."""
    return np.asarray(weights >> right) if right else weights


def _any_of(values: NDArray[Any]) -> int:
    """Return the bits that are set in any of some numbers, two's complement."""
    return int(np.bitwise_or.reduce(values, axis=None))


def _below(right: int, bits: Any) -> Any:
    return bits & ((1 << right) - 1) != 0
