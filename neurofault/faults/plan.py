"""From fault models to a plan: exactly which cores, words, bits and links, as edits of a deployment's data.

Sites are drawn from streams keyed by (seed, kind, place, draw): neither the count nor the rate nor what is already broken is
part of the key, so k faults are the first k of one order, and injecting 2 and then 4 dead cores with one seed leaves 4 dead. What a
stored field becomes is worked out on top of what is already broken: two flips of one bit are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit, Hit
from neurofault.damage.edits import EDITS
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.check_sites import resolve_with_checks
from neurofault.faults.chip_places import check_chip
from neurofault.faults.context import Context, TakenSites
from neurofault.faults.mistakes import said
from neurofault.faults.models import fault_from_mapping
from neurofault.faults.plan_check import missing, record
from neurofault.numerals import whole_number


@dataclass(frozen=True, eq=False)
class PlannedFault:
    """One resolved fault.

    Attributes:
        fault: the model.
        edits: what it changes.
        hit: its echo.
        dead_cores: ids of the cores that it kills.
    """

    fault: Fault
    edits: tuple[Edit, ...]
    hit: Hit
    dead_cores: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class FaultPlan:
    """Exactly what breaks, for one draw.

    Attributes:
        faults: in the order in which they act.
        seed, draw: what it was drawn with.
    """

    faults: tuple[PlannedFault, ...]
    seed: int
    draw: int

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The echo of each fault."""
        return tuple(planned.hit for planned in self.faults)


Faults = Fault | Mapping[str, Any] | Sequence[Fault | Mapping[str, Any]]
"""One fault or several, as models or as mappings; ``{all: […]}`` is several at once."""


def models_of(faults: Faults) -> list[Fault]:
    """Return the models that are meant, in order.

    Raises:
        FaultError: everything that is wrong with the mappings, a line each.
    """
    read = list(_read(faults))
    mistakes = [str(item) for item in read if isinstance(item, FaultError)]
    if mistakes:
        raise FaultError("\n".join(mistakes))
    return [item for item in read if isinstance(item, Fault)]


def _read(faults: Faults) -> Iterator[Fault | FaultError]:
    """Yield each model, or what is wrong with its mapping."""
    several = isinstance(faults, Sequence) and not isinstance(faults, str | bytes)
    for item in faults if several else [faults]:
        if isinstance(item, Fault):
            yield item
        elif not isinstance(item, Mapping):
            yield FaultError(f"a fault must be a mapping such as {{kind: core_dead, count: 3}}, is {said(item)}")
        elif set(item) == {"all"}:
            together = item["all"]
            if isinstance(together, list | tuple):
                yield from _read(together)
            else:
                yield FaultError(f"all must be a list of faults, is {said(together)}")
        else:
            try:
                yield fault_from_mapping(item)
            except FaultError as error:
                yield error


def plan(
    deployment: Deployment,
    faults: Faults,
    *,
    seed: int = 0,
    draw: int = 0,
    importance: Mapping[str, NDArray[np.floating]] | None = None,
) -> FaultPlan:
    """Resolve faults on a deployment, through its placement.

    Args:
        deployment: the chip, healthy or damaged.
        faults: one model (or its mapping), or several that act in order.
        seed: key of the random streams, with
        draw: which draw of this seed.
        importance: population → [n] score of each neuron for ``where: least_important`` or ``most_important``.

    Raises:
        FaultError: everything that does not exist or is out of range, a line each.
    """
    seed, draw = whole_number(seed, "seed"), whole_number(draw, "draw")
    mistakes: list[str] = []
    planned: list[PlannedFault] = []
    damage = deployment.damage.cells
    for item in _read(faults):
        if isinstance(item, FaultError):
            mistakes.append(str(item))
            continue
        try:
            earlier = sum(one.fault.kind == item.kind for one in planned)
            before = len(deployment.damage.hits)
            one = _resolved(Context(deployment.with_damage(damage), seed, draw, importance, earlier, before), item)
        except FaultError as error:
            mistakes += [f"{item.kind}: {line}" for line in str(error).split("\n")]
            continue
        damage = damage.plus(one.edits, one.hit, one.dead_cores)
        planned.append(one)
    if mistakes:
        raise FaultError("\n".join(mistakes))
    return FaultPlan(tuple(planned), seed, draw)


def _resolved(context: Context, fault: Fault) -> PlannedFault:
    check_chip(context.deployment.profile, fault)
    outcome = resolve_with_checks(context, fault)
    if not type(fault).__module__.startswith("neurofault."):  # a kind of somebody's own
        _check_edits(context.deployment, outcome.edits)
    return PlannedFault(fault, tuple(outcome.edits), outcome.hit(fault), tuple(sorted(outcome.dead_cores)))


def plan_next(deployment: Deployment, before: FaultPlan, fault: Fault, numbers: tuple[int, ...]) -> tuple[FaultPlan, int | None]:
    """Return a plan with one fault more, whose sites are taken by number, and how many sites there were to draw from.

    Args:
        deployment: the chip without the plan.
        before: what breaks before, on the same chip.
        fault: with ``where: random``.
        numbers: which of the sites that a draw chooses from, counted from 0 and without those that it passes over.

    Returns:
        The plan; and how many sites a draw chooses from, None where the fault lists its own.

    Raises:
        FaultError: there are none, or the fault names what does not exist.
    """
    damage = deployment.damage.cells
    for one in before.faults:
        damage = damage.plus(one.edits, one.hit, one.dead_cores)
    earlier, listed = sum(one.fault.kind == fault.kind for one in before.faults), TakenSites(numbers)
    context = Context(deployment.with_damage(damage), 0, 0, None, earlier, len(deployment.damage.hits), listed)
    return FaultPlan((*before.faults, _resolved(context, fault)), 0, 0), listed.left


def _check_edits(deployment: Deployment, edits: Iterable[Edit]) -> None:
    """Refuse edits that are none, or of places that a chip does not have, before anything runs into them.

    Raises:
        FaultError: an edit has a field of another type, length or range than it says, or names what is not there.
    """
    for edit in edits:
        if type(edit).__name__ not in EDITS:
            raise FaultError(f"its resolve gives a {type(edit).__name__}; allowed are edits: {', '.join(sorted(EDITS))}")
        try:
            record(type(edit), vars(edit))
        except ValueError as error:
            raise FaultError(f"its resolve gives an edit that is not right: {error}") from error
        if (problem := missing(deployment, edit)) is not None:
            raise FaultError(f"its resolve gives an edit of what is not there: {problem}")
