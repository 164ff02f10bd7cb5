"""Faults with few possible outcomes: every one is enumerated with its probability, and nothing is left to chance.

One dead core of 23 is one of 23 outcomes. Ten draws of it repeat some and miss others, and an interval over draws knows nothing of an
output core that none of them hit: simulated, a nominal 95 % are 81 % there. All 23 run tell the mean exactly.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from math import comb, fsum

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError, UsageError
from neurofault.faults import (
    BoardDead,
    ChipDead,
    CoreDead,
    CoreHung,
    CrossbarLineDead,
    Fault,
    FaultPlan,
    LearningFrozen,
    LinkDead,
    MemoryDead,
    NeuronDead,
    NeuronSaturated,
    NeuronStuck,
    RoundingStuck,
    RouterDead,
    ThirdFactorDead,
    TraceStuck,
)
from neurofault.faults.plan import plan_next
from neurofault.numerals import plural
from neurofault.study.statistics import SHARE, Interval, Values, cautious_interval, check_equal_lengths, draws_of, t_interval

MOST = 256
"""Outcomes that are few."""

_OF_CORES = (CoreDead, CoreHung, LearningFrozen, TraceStuck, ThirdFactorDead, RoundingStuck)
_KNOWN = (
    *_OF_CORES, NeuronDead, NeuronSaturated, NeuronStuck, BoardDead, ChipDead, MemoryDead, LinkDead, RouterDead, CrossbarLineDead,
)  # fmt: skip
"""Kinds of which nothing but the sites is left to chance."""

Chance = tuple[FaultPlan, float]
"""What breaks, and the probability that a draw is this."""


def possible(deployment: Deployment, faults: Sequence[Fault], most: int = MOST) -> list[Chance] | None:
    """Return all that a draw of some faults can be, with probabilities that sum to 1; None: too many, or not known.

    Known are faults of cores, chips, boards and shared memories, of links and routers, of lines of crossbars, and of neurons that die or fire whatever comes, whose sites are listed or drawn at random
    (``where: random``), by count or rate, and do not fail one after the other (``ageing``). A fault draws from the sites that the faults before it in the plan leave to it (``again``).

    Args:
        deployment: the chip that they are drawn on.
        faults: one plan.
        most: outcomes at most.
    """
    if not faults or not all(_known(fault) for fault in faults):
        return None
    found: list[Chance] = [(FaultPlan((), 0, 0), 1.0)]
    for fault in faults:
        longer: list[Chance] = []
        for before, chance in found:
            after = _next(deployment, before, fault, most - len(longer))
            if after is None:
                return None
            longer += [(plan, chance * own) for plan, own in after]
        found = longer
    return found


def _known(fault: Fault) -> bool:
    """Whether nothing but the sites of a fault is left to chance, and these are equally likely."""
    return isinstance(fault, _KNOWN) and (fault.sites is not None or (fault.where == "random" and fault.when.kind != "ageing"))


def _next(deployment: Deployment, before: FaultPlan, fault: Fault, most: int) -> list[Chance] | None:
    """Return every plan with one fault more, and its probability after what is before; None: too many, or some draws ask for more sites than are left."""
    try:
        none, left = plan_next(deployment, before, fault, ())
    except FaultError:  # the draws say what is wrong
        return None
    if left is None:
        return [(none, 1.0)] if most >= 1 else None
    numbers = range(left + 1) if fault.count is None else [fault.count]
    chance_of = {number: 1.0 if fault.rate is None else _binomial(number, left, fault.rate) for number in numbers}
    chance_of = {number: chance for number, chance in chance_of.items() if chance > 0}
    if max(chance_of) > left or sum(comb(left, number) for number in chance_of) > most:
        return None
    return [
        (plan_next(deployment, before, fault, chosen)[0], chance / comb(left, number))
        for number, chance in chance_of.items()
        for chosen in combinations(range(left), number)
    ]


def _binomial(hits: int, n: int, rate: float) -> float:
    from scipy import stats

    return float(stats.binom.pmf(hits, n, rate))


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
        raise UsageError(f"{plural(len(array), 'draw')}, but outcomes of {len(outcomes)}")
    seen = dict(zip(outcomes, array.tolist(), strict=True))
    if len(seen) == possible:
        return exact_interval(list(seen.values()), [1.0] * possible)
    if not mixed or len(array) == 1:
        return t_interval(array, confidence, within)
    if not np.isfinite(within).all():  # an outcome that was not drawn may be anything
        return Interval(float(array.mean()), None, None, len(array), "cautious", confidence)
    return cautious_interval(array, confidence, within)
