"""Figure 1's curves of networks of floats: by width, by layer, by importance, trained with dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.papers.rescue2019.damage import by_importance, decline, random_order
from neurofault.papers.rescue2019.fig1 import MARKS
from neurofault.papers.rescue2019.float_setting import FloatStudy
from neurofault.streams import stream_key
from neurofault.study.changepoint import Thresholds
from neurofault.study.clustered import slope_interval


@dataclass(frozen=True)
class Condition:
    """One curve of the figure.

    Attributes:
        name: the network's, and how nodes are chosen where it is not at random from all.
        hidden: widths.
        layer: the only layer that is hit; None: all.
        importance: ``least`` or ``most`` important first; None: random.
        dropout: of the base's training.
    """

    name: str
    hidden: tuple[int, ...]
    layer: int | None = None
    importance: str | None = None
    dropout: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nodes of all layers fail at random: one such curve for each network that is trained."""
        return self.layer is None and self.importance is None


def conditions(study: FloatStudy) -> Iterator[Condition]:
    """Yield the curves: every network at random, then by layer, by importance, and trained with dropout."""
    setting = study.setting
    for hidden in setting.networks:
        yield Condition(study.name(hidden), hidden)
    for hidden in setting.networks:
        if len(hidden) > 1:
            for layer in range(len(hidden)):
                yield Condition(f"{study.name(hidden)} layer {layer + 1}", hidden, layer=layer)
    for first in ("least", "most"):
        yield Condition(f"{study.name(setting.study)} {first} important first", setting.study, importance=first)
    yield Condition(f"{study.name(setting.study)} dropout", setting.study, dropout=0.5)


def places(study: FloatStudy, condition: Condition) -> list[tuple[int, int]]:
    """Return the (base, order) of each line of a curve."""
    setting = study.setting
    return [(number, order) for number in range(setting.bases) for order in range(1 if condition.importance else setting.orders)]


def curve(study: FloatStudy, condition: Condition, number: int, order: int) -> NDArray[np.float64]:
    """Return accuracy after the first k deletions, k = 0 … K, of a base in an order."""
    setting = study.setting
    base = study.base(condition.hidden, number, condition.dropout)

    def compute() -> list[int]:
        network = study.network(base)
        if condition.importance:
            nodes = by_importance(network, study.roles.validation, condition.importance)
        else:
            nodes = random_order(network, stream_key(setting.seed, "decline", number, order), layer=condition.layer)
        counts: list[int] = decline(network, nodes, study.roles.test).tolist()
        return counts

    key = {
        "unit": "decline", "base": base.digest, "seed": setting.seed, "number": number, "order": order,
        "layer": condition.layer, "importance": condition.importance,
    }  # fmt: skip
    return np.array(study.units.once(key, compute)) / len(study.roles.test)


def curves(study: FloatStudy, condition: Condition) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return the lines of a curve by (base, order)."""
    return {place: curve(study, condition, *place) for place in places(study, condition)}


def scaling(marks: Sequence[tuple[int, int, Thresholds]]) -> dict[str, Any]:
    """Return for each mark how it changes with each doubling of the width: a least-squares slope, with an interval over bases.

    Args:
        marks: of each curve its width, the number of its base, and its marks.
    """
    if len({width for width, _, _ in marks}) < 2:
        return {}
    found = {}
    for name in MARKS:
        known = [(width, base, value) for width, base, one in marks if not np.isnan(value := getattr(one, name))]
        interval = slope_interval(
            [np.log2(width) for width, _, _ in known], [value for _, _, value in known], [(width, base) for width, base, _ in known]
        )
        found[name] = {"per_doubling": interval.mean, "low": interval.low, "high": interval.high, "curves": len(known)}
    return found
