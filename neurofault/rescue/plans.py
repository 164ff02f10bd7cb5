"""How a strategy goes about it, and how it is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError
from neurofault.streams import permutation_prefix, stream_key

Spend = Literal["greedy", "even"]
"""How limits of writes, energy and time are spent over the damage steps."""


@dataclass(frozen=True)
class Plan:
    """How a strategy goes about it; each strategy reads what concerns it.

    >>> import neurofault as nf
    >>> nf.Plan(steps=4).steps
    4

    Attributes:
        steps: equal damage steps of an iterative repair, at least 1.
        spend: how repairs that learn after each damage step keep limits of writes, energy and time: ``greedy``, as much as there is left; ``even``, so that k of n
            steps together use at most k/n of each, and what one leaves the next may use.
        watchdog: samples that pass between a strike and its detection, at least 0; the chip serves broken meanwhile. Of strategies that test: until the test is shown.
        old_shift: embryonic: how many halvings slower old synapses learn; None: they keep every bit.
        outgoing: embryonic: whether the outgoing synapses of new neurons start at ``zero`` or ``random``.
        tolerance: stop a step's learning once the validation accuracy is within this much (0 to 1; of errors as a share of chance) of the healthy one; None: learn on.
        tries: diagnose: most moves of what is suspected, at least 1.
        together: diagnose: whether suspects that no answer tells apart move at once, as far as spare cores reach; else one after the other, with a test after each.
    """

    steps: int = 1
    spend: Spend = "greedy"
    watchdog: int = 0
    old_shift: int | None = None
    outgoing: str = "zero"
    tolerance: float | None = None
    tries: int = 32
    together: bool = False

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("watchdog", 0), ("tries", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, is {getattr(self, name)}")
        if self.spend not in get_args(Spend):
            raise UsageError(f"spend must be greedy or even, is {self.spend!r}")
        if self.old_shift is not None and not 0 <= self.old_shift <= 7:
            raise UsageError(f"old_shift is {self.old_shift}; allowed: 0 to 7, or none to keep old synapses")
        if self.outgoing not in ("zero", "random"):
            raise UsageError(f"outgoing must be zero or random, is {self.outgoing!r}")
        if self.tolerance is not None and not 0 <= self.tolerance <= 1:
            raise UsageError(f"tolerance is {self.tolerance}; allowed: 0 to 1")


@dataclass(frozen=True)
class Guard:
    """How much of the samples to adapt to is held back to watch learning; see :mod:`neurofault.rescue.guard`.

    >>> import neurofault as nf
    >>> nf.Guard()
    Guard(share=0.2, most=1000)

    Attributes:
        share: of the labelled adapt samples, above 0, at most 0.5.
        most: samples, at least 1.
    """

    share: float = 0.2
    most: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise UsageError(f"guard: share is {self.share}; allowed: above 0, at most 0.5")
        if self.most < 1:
            raise UsageError(f"guard: most is {self.most}; allowed: at least 1")

    def held_back(self, labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """Return sorted indices of the samples that are held back; the same for every strategy and learner.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> len(nf.Guard(share=0.2).held_back(np.zeros(50, np.int64), seed=1))
        10

        Args:
            labels: int64 [N]; −1: not available.
            seed: of the rescue.
        """
        order = permutation_prefix(stream_key(seed, "held back"), len(labels), len(labels))
        known = order[labels[order] >= 0]
        return np.sort(known[: min(self.most, round(self.share * len(known)))])
