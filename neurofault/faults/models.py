"""Fault models: what may break, how many, where. Nothing here knows a network; :mod:`neurofault.faults.plan` resolves a model.

A model says how many in exactly one way: ``count``, ``rate`` or an explicit list. Every kind has one name and one grammar in Python
(``CoreDead(count=3)``), in YAML and on the command line (``{kind: core_dead, count: 3}``).
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

from neurofault.errors import FaultError, nearest

WHERE = ("random", "clustered")
"""How sites are chosen: uniformly, or growing outwards over the mesh from a random core."""


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """What every kind shares (abstract: use one of the kinds).

    Attributes:
        count: how many sites, at least 0.
        rate: probability of each site, 0 to 1; the number is the binomial quantile of one keyed number for a draw.
        where: ``random`` or ``clustered`` (neighbours on the mesh, growing outwards from a random core).
        layer: ``hidden`` (all hidden layers), ``input``, ``hidden1`` …, ``output``, ``any``, or a layer's own name.

    Raises:
        FaultError: all that is out of range, in one text.
    """

    kind: ClassVar[str]
    listed: ClassVar[str]

    count: int | None = None
    rate: float | None = None
    where: str = "random"
    layer: str = "hidden"

    def __post_init__(self) -> None:
        mistakes = self.mistakes()
        if mistakes:
            raise FaultError("\n".join(f"{self.kind}: {mistake}" for mistake in mistakes))

    @property
    def sites(self) -> tuple[Any, ...] | None:
        """The explicit list, if one was given."""
        listed: tuple[Any, ...] | None = getattr(self, self.listed)
        return listed

    def mistakes(self) -> list[str]:
        """Return what is wrong with this model, without the kind in front."""
        found = []
        given = [name for name in ("count", "rate", self.listed) if getattr(self, name) is not None]
        if len(given) != 1:
            said = f"not {' and '.join(given)}" if given else "none is given"
            found.append(f"say how many in one way: count, rate or {self.listed}; {said}")
        if self.count is not None:
            if isinstance(self.count, bool) or not isinstance(self.count, int):
                found.append(f"count must be a whole number, is {self.count!r}")
            elif self.count < 0:
                found.append(f"count must be at least 0, is {self.count}")
        if self.rate is not None:
            if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)):
                found.append(f"rate must be a number, is {self.rate!r}")
            elif not 0.0 <= self.rate <= 1.0 or math.isnan(self.rate):
                found.append(f"rate must lie in [0, 1], is {self.rate}")
        if self.where not in WHERE:
            found.append(f"where must be {' or '.join(WHERE)}, is {self.where!r}{nearest(str(self.where), WHERE)}")
        if not isinstance(self.layer, str):
            found.append(f"layer must be a name, is {self.layer!r}")
        return found


def _numbers(values: object) -> tuple[int, ...] | object:
    """Turn a list of ids (``[3, "5-7"]``, ranges included) into a sorted tuple; anything else is returned as it is."""
    if values is None or isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return values
    ids: set[int] = set()
    for value in values:
        if isinstance(value, str):
            low, _, high = value.partition("-")
            if not (low.strip().isdigit() and (high.strip().isdigit() or not high)):
                return values
            ids.update(range(int(low), int(high or low) + 1))
        elif hasattr(value, "__index__") and not isinstance(value, bool):
            ids.add(int(value))
        else:
            return values
    return tuple(sorted(ids))


def _check_ids(name: str, values: object) -> list[str]:
    """Return the mistakes of a list of ids that went through :func:`_numbers`."""
    if values is None or (isinstance(values, tuple) and all(type(value) is int for value in values)):
        return [f"{name} must be at least 0, not {value}" for value in (values or ())[:1] if value < 0]
    return [f'{name} must be a list of whole numbers or ranges such as "4-7", is {values!r}']


@final
@dataclass(frozen=True, kw_only=True)
class CoreDead(Fault):
    """A neuromorphic core is dead: its neurons never spike, the synapses stored in it are gone, messages to it are lost.

    Attributes:
        cores: ids of the cores, instead of a count or a rate (``layer`` and ``where`` then say nothing).
    """

    kind: ClassVar[str] = "core_dead"
    listed: ClassVar[str] = "cores"

    cores: Sequence[int | str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cores", _numbers(self.cores))
        super().__post_init__()

    def mistakes(self) -> list[str]:
        """See :meth:`Fault.mistakes`."""
        return super().mistakes() + _check_ids("cores", self.cores)


@final
@dataclass(frozen=True, kw_only=True)
class NeuronDead(Fault):
    """A neuron (compartment) is dead: u = v = 0 and it never spikes; as an output it scores lowest.

    Attributes:
        neurons: indices in the one layer that ``layer`` names (C, H, W order), instead of a count or a rate.
    """

    kind: ClassVar[str] = "neuron_dead"
    listed: ClassVar[str] = "neurons"

    neurons: Sequence[int | str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "neurons", _numbers(self.neurons))
        super().__post_init__()

    def mistakes(self) -> list[str]:
        """See :meth:`Fault.mistakes`."""
        return super().mistakes() + _check_ids("neurons", self.neurons)


@final
@dataclass(frozen=True, kw_only=True)
class SynapseDead(Fault):
    """A stored synapse is dead: the chip reads weight 0. One kernel word that a core shares is one stored synapse.

    Attributes:
        synapses: (source, target) neuron indices of synapses into the one layer that ``layer`` names, instead of a count or a rate.
    """

    kind: ClassVar[str] = "synapse_dead"
    listed: ClassVar[str] = "synapses"

    synapses: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.synapses, Iterable) and not isinstance(self.synapses, (str, bytes, Mapping)):
            rows = [tuple(row) if isinstance(row, Iterable) and not isinstance(row, str) else row for row in self.synapses]
            object.__setattr__(self, "synapses", tuple(rows))
        super().__post_init__()

    def mistakes(self) -> list[str]:
        """See :meth:`Fault.mistakes`."""
        found = super().mistakes()
        pairs = self.synapses
        if pairs is not None:
            good = isinstance(pairs, tuple) and all(
                isinstance(pair, tuple) and len(pair) == 2 and all(hasattr(index, "__index__") for index in pair) for pair in pairs
            )
            if not good:
                found.append(f"synapses must be a list of [source, target], is {pairs!r}")
            elif len(set(pairs)) < len(pairs):
                found.append("synapses names the same [source, target] twice")
        return found


KINDS: Mapping[str, type[Fault]] = {model.kind: model for model in (CoreDead, NeuronDead, SynapseDead)}
"""Every kind of fault by its name in YAML and on the command line."""


def fault_from_mapping(spec: Mapping[str, Any]) -> Fault:
    """Return the model that a mapping such as ``{kind: core_dead, count: 3}`` names.

    Args:
        spec: ``kind`` and the fields of that kind.

    Raises:
        FaultError: unknown kind or keys (with the nearest match) and everything out of range, all at once, a line each.
    """
    kind = spec.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        said = f"unknown kind {kind!r}{nearest(str(kind), KINDS)}" if "kind" in spec else "a fault needs a kind"
        raise FaultError(f"{said}; kinds: {', '.join(KINDS)}")
    model = KINDS[kind]
    allowed = [field.name for field in fields(model)]
    unknown = [
        f"{kind}: unknown key {key!r}{nearest(str(key), allowed)}; allowed: {', '.join(allowed)}"
        for key in spec
        if key != "kind" and key not in allowed
    ]
    values = {str(key): value for key, value in spec.items() if key in allowed}
    try:
        fault = model(**values)
    except FaultError as error:
        raise FaultError("\n".join([*unknown, str(error)])) from None
    if unknown:
        raise FaultError("\n".join(unknown))
    return fault


def fault_to_mapping(fault: Fault) -> dict[str, Any]:
    """Return the mapping that :func:`fault_from_mapping` turns back into ``fault`` (fields at their default left out)."""
    given = {field.name: getattr(fault, field.name) for field in fields(fault) if getattr(fault, field.name) != field.default}
    return {"kind": fault.kind, **given}
