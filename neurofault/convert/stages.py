"""From a torch module's operations to populations: what drives each, exactly, and what its neurons do with it.

Everything that is linear and has no neurons of its own is composed into the drive of the next population: batch normalisation, average pooling, sums,
concatenations, reordering. What cannot become spiking is refused by the name of its layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurofault.convert.affine import Affine, Term
from neurofault.convert.asked import Pooling
from neurofault.convert.driven import Driven, is_population
from neurofault.convert.endings import without_ending
from neurofault.convert.maps import Same
from neurofault.convert.prelude import Prelude
from neurofault.convert.tracing import Operation, Traced
from neurofault.convert.walk import Walk
from neurofault.errors import ConversionError


@dataclass(frozen=True, eq=False)
class Walked:
    """The populations of a module.

    Attributes:
        stages: in order, each behind those that drive it; the last is the readout.
        dropped: a function at the end that leaves the order of the scores as it is.
    """

    stages: list[Driven]
    dropped: Operation | None


def stages_along(
    traced: Traced, in_shape: tuple[int, ...], before: Prelude | None = None, *, pooling: Pooling = "differences"
) -> Walked:
    """Return the populations of a module.

    Args:
        traced: its operations.
        in_shape: of one sample as what it enters takes it, (channels, height, width), (channels, length) or (n,).
        before: what happens to a sample before the first layer, in the place of the operations there; None: nothing but what they do.
        pooling: how a max pooling is made of neurons.

    Raises:
        ConversionError: something in it cannot become spiking, or does not run; the text names the layer and what could replace it.
    """
    kept, dropped = without_ending(traced.operations)
    size = math.prod(in_shape)
    gain, shift, entering = (None, None, "") if before is None else (before.gain, before.shift, before.entering)
    sample = Affine(in_shape, (Term(0, Same(size, gain)),), None if shift is None else shift.reshape(in_shape))
    walk = Walk(entering, sample, pooling)
    for operation in _behind(kept, entering):
        walk.take(operation)
    if traced.problem is not None:
        raise ConversionError(traced.problem)
    answer = dropped.inputs[0] if dropped is not None else kept[-1].key
    value, last = walk.value(answer), walk.name(answer)
    if is_population(value):
        name = walk.populations.found[-1].name if walk.populations.found else "?"
        raise ConversionError(
            f"the network ends with an activation after layer {name!r}; it must end with a Linear or Conv2d, or a sum or average of activations, whose neurons "
            "are read by their potential: remove what follows it"
        )
    original = next((each.returned for each in kept if each.key == answer), None)
    return Walked([*walk.populations.found, Driven(last, value, None, original)], dropped)


def _behind(operations: list[Operation], entering: str) -> list[Operation]:
    """Return the operations that the answer needs, without those that stand in front of where the sample enters."""
    if not entering:
        return operations
    wanted = {operations[-1].key} if operations else set()
    for operation in reversed(operations):
        if operation.key in wanted and operation.key != entering:
            wanted.update(operation.inputs)
    return [each for each in operations if each.key in wanted and each.key != entering]
