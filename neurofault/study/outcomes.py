"""Faults with few possible outcomes: every one is enumerated with its probability, and nothing is left to chance.

One dead core of 23 is one of 23 outcomes. Ten draws of it repeat some and miss others, and an interval over draws knows nothing of an
output core that none of them hit: simulated, a nominal 95 % are 81 % there. All 23 run tell the mean exactly.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, product
from math import comb, fsum
from typing import Any

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError, UsageError
from neurofault.faults import (
    BoardDead,
    CoreDead,
    CoreHung,
    Fault,
    LearningFrozen,
    MemoryDead,
    NeuronDead,
    NeuronSaturated,
    NeuronStuck,
    RoundingStuck,
    ThirdFactorDead,
    TraceStuck,
)
from neurofault.faults.places import core_blocks, populations_named
from neurofault.faults.region import region
from neurofault.faults.shared_parts import parts_in_use, parts_of
from neurofault.study.statistics import SHARE, Interval, Values, cautious_interval, check_equal_lengths, draws_of, t_interval

MOST = 256
"""Outcomes that are few."""

_OF_CORES = (CoreDead, CoreHung, LearningFrozen, TraceStuck, ThirdFactorDead, RoundingStuck)
_OF_NEURONS = (NeuronDead, NeuronSaturated, NeuronStuck)

Chance = tuple[tuple[Fault, ...], float]
"""Faults with their sites listed, and the probability that a draw is these."""


def possible(deployment: Deployment, faults: Sequence[Fault], most: int = MOST) -> list[Chance] | None:
    """Return all that a draw of some faults can be, with probabilities that sum to 1; None: too many, or not known.

    Known are faults of cores, boards and shared memories, and of neurons of one population, whose sites are listed or drawn at random (``where: random``), by count or rate,
    and do not fail one after the other (``ageing``).

    Args:
        deployment: the chip that they are drawn on.
        faults: one plan.
        most: outcomes at most.
    """
    each = []
    for fault in faults:
        found = _of_one(deployment, fault, most)
        if found is None:
            return None
        each.append(found)
    if not each or np.prod([float(len(found)) for found in each]) > most:
        return None
    return [
        (tuple(fault for fault, _ in together), float(np.prod([chance for _, chance in together]))) for together in product(*each)
    ]


def _of_one(deployment: Deployment, fault: Fault, most: int) -> list[tuple[Fault, float]] | None:
    if not isinstance(fault, (*_OF_CORES, *_OF_NEURONS, BoardDead, MemoryDead)):
        return None
    if fault.sites is not None:
        return [(fault, 1.0)]
    sites = _sites(deployment, fault)
    if sites is None or fault.where != "random" or fault.when.kind == "ageing" or (fault.count or 0) > len(sites):
        return None
    numbers = range(len(sites) + 1) if fault.count is None else [fault.count]
    if sum(comb(len(sites), number) for number in numbers) > most:
        return None
    chance_of = {number: 1.0 if fault.rate is None else _binomial(number, len(sites), fault.rate) for number in numbers}
    name = None if not isinstance(fault, _OF_NEURONS) else populations_named(deployment, fault.layers)[0]
    fixed: dict[str, Any] = {"count": None, "rate": None, "at": None, "layer": name}
    return [
        (fault.replace(**(fixed | {fault.list_field: chosen})), chance_of[number] / comb(len(sites), number))
        for number in numbers
        for chosen in combinations(sites, number)
        if chance_of[number] > 0
    ]


def _binomial(hits: int, n: int, rate: float) -> float:
    from scipy import stats

    return float(stats.binom.pmf(hits, n, rate))


def _sites(deployment: Deployment, fault: Fault) -> list[int] | None:
    """Return the cores or neurons that a fault draws from; None: not those of one list."""
    try:
        populations = populations_named(deployment, fault.layers)
        place = None if fault.at is None else region(deployment, fault.at)
    except FaultError:  # spare cores, or a mistake that the fault itself names
        return None
    if isinstance(fault, _OF_CORES):
        return [block.core for block in core_blocks(deployment, populations) if place is None or block.core in place]
    if isinstance(fault, BoardDead | MemoryDead):
        parts = parts_in_use(deployment, parts_of(deployment, fault), populations)
        return [part for part, core in parts.items() if place is None or core in place]
    if len(populations) != 1:
        return None
    core_of = deployment.placement.core_of[populations[0]].tolist()
    return [neuron for neuron, core in enumerate(core_of) if place is None or core in place]


def exact_interval(values: Values, chances: Values) -> Interval:
    """Return the mean over all possible outcomes as an interval of zero width; ``n`` is their number.

    Args:
        values: [n], one finite number an outcome.
        chances: [n], how likely each is; they are scaled to sum to 1.

    Raises:
        UsageError: unequal lengths, a negative chance, or none above 0.

    >>> exact_interval([1.0, 0.0], [3, 1])
    Interval(mean=0.75, low=0.75, high=0.75, n=2, method='exact', confidence=0.95)
    """
    array, weights = draws_of("values", values), draws_of("chances", chances)
    check_equal_lengths(array, weights)
    if (weights < 0).any() or not weights.any():
        raise UsageError("chances: expected at least 0, and one above 0")
    mean = fsum(array * weights) / fsum(weights)
    return Interval(mean, mean, mean, len(array), "exact")


def cores_drawn_from(faults: Sequence[Fault], layer_of: Mapping[int, str]) -> tuple[int, bool] | None:
    """Return how many outcomes a plan of one fault of cores has, by a map of the chip alone, and whether they are of several populations.

    Args:
        faults: one plan.
        layer_of: used core → name of the population that it holds.

    Returns:
        None: more than :data:`MOST`, or not known from the map.
    """
    if len(faults) != 1 or not isinstance(faults[0], _OF_CORES):
        return None
    fault = faults[0]
    if fault.count is None or fault.where != "random" or fault.at is not None or fault.when.kind == "ageing":
        return None
    names = list(dict.fromkeys(layer_of.values()))
    match fault.layers:
        case "any":
            layers = names
        case "hidden":
            layers = [name for name in names if name.startswith("hidden")]
            if set(names) - {"input", "output", *layers}:  # nothing says what others are
                return None
        case name:
            layers = [name]
    drawn_from = [name for name in layer_of.values() if name in layers]
    outcomes = comb(len(drawn_from), fault.count)
    return (outcomes, len(set(drawn_from)) > 1) if 1 <= outcomes <= MOST else None


def interval_of_few(
    values: Values,
    outcomes: Sequence[Hashable],
    possible: int,
    mixed: bool,
    confidence: float = 0.95,
    within: tuple[float, float] = SHARE,
) -> Interval:
    """Interval of the mean over draws of equally likely outcomes, of which there are few.

    Draws that repeat an outcome say nothing new, and once every outcome was drawn nothing is left to know: the mean over outcomes, exactly.
    Until then: a t interval over draws, or, where outcomes are of several populations, so that one that was not drawn may be of another kind
    altogether, a :func:`neurofault.study.statistics.cautious_interval`; without ends where values are not bounded.

    Args:
        values: [n], accuracies, shares or errors, one a draw.
        outcomes: [n], what each draw hit.
        possible: outcomes that there are.
        mixed: whether they are of several populations.
        confidence: nominal coverage, in (0, 1).
        within: least and largest value that there can be.

    Raises:
        UsageError: unequal lengths.
    """
    array = draws_of("values", values)
    if len(outcomes) != len(array):
        raise UsageError(f"{len(array)} draws, but outcomes of {len(outcomes)}")
    seen = dict(zip(outcomes, array.tolist(), strict=True))
    if len(seen) == possible:
        return exact_interval(list(seen.values()), [1.0] * possible)
    if not mixed or len(array) == 1:
        return t_interval(array, confidence, within)
    if not np.isfinite(within).all():  # an outcome that was not drawn may be anything
        return Interval(float(array.mean()), None, None, len(array), "cautious", confidence)
    return cautious_interval(array, confidence, within)
