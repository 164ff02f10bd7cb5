"""What a strategy needs of whatever it repairs: a chip (:class:`~neurofault.rescue.workbench.Workbench`) or a network of floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan


class Bench(Protocol):
    """Damage that comes in parts, learning within a budget, and fresh neurons or weights.

    Attributes:
        plan: how to go about it.
        budget: what may be used.
        parts: the damage, cut into the steps in which it happens.
    """

    @property
    def plan(self) -> Plan:
        """How to go about it."""

    @property
    def budget(self) -> Budget:
        """What may be used."""

    @property
    def parts(self) -> Sequence[object]:
        """The damage, cut into the steps in which it happens."""

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""

    def wait(self, samples: int) -> None:
        """Serve samples without learning."""

    def learn(self, cycles: float | None = None, share: float = 1.0) -> None:
        """Learn for so many cycles, None: what is left of the budget; until then at most a share of its limits of writes, energy and time may be used."""

    def embryos(self) -> None:
        """Put fresh neurons in the place of dead ones; from now on they learn, others as ``plan.old_shift`` says."""

    def renew(self) -> None:
        """Give everything that can learn fresh weights; what is dead stays dead."""
