"""How a placement by search is asked for in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurofault.errors import UsageError

ANNEAL = "anneal"
"""Name of the strategy."""


@dataclass(frozen=True)
class Annealing:
    """What a search is to lower.

    Attributes:
        damage: weight of the worst loss of dead cores, 0 to 1; hops have the rest.
        k: cores that die, at least 1.
    """

    damage: float = 0.5
    k: int = 1

    def __str__(self) -> str:
        return f"{ANNEAL}:{self.damage:g}:{self.k}"


def anneal_words(text: str) -> Annealing | None:
    """Return what ``anneal[:DAMAGE[:CORES]]`` asks for; None: it is the name of another strategy.

    >>> anneal_words("anneal:0.25:2"), anneal_words("pack")
    (Annealing(damage=0.25, k=2), None)

    Raises:
        UsageError: a part is not a number, or out of range.
    """
    name, *rest = text.split(":")
    if name != ANNEAL:
        return None
    try:
        damage, k = float(rest[0]) if rest else 0.5, int(rest[1]) if len(rest) > 1 else 1
    except ValueError:
        damage, k = math.nan, 1
    if len(rest) > 2 or not 0 <= damage <= 1 or k < 1:
        raise UsageError(
            f"place {text!r}: write {ANNEAL}, {ANNEAL}:DAMAGE or {ANNEAL}:DAMAGE:CORES; DAMAGE, the weight of the loss of dead cores, is 0 to 1, "
            f"CORES, how many die, at least 1; such as {ANNEAL}:0.5:2"
        )
    return Annealing(damage, k)


def place_words(strategy: str, damage: float, k: int) -> str:
    """Return a strategy as :func:`anneal_words` reads it, with the numbers of a search where it is one.

    >>> place_words("anneal", 0.25, 2), place_words("pack", 0.25, 2)
    ('anneal:0.25:2', 'pack')
    """
    return str(Annealing(damage, k)) if strategy == ANNEAL else strategy
