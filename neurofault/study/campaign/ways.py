"""How a campaign heals: one way of it, with its budget, and the kinds of numbers that its records hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from neurofault.errors import NeurofaultError
from neurofault.rescue.budget import Budget
from neurofault.rescue.learners.by_name import check_learner
from neurofault.rescue.plans import Guard, Plan, Spend
from neurofault.rescue.strategies import strategy_named

RECORD = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
"""Of every record of a campaign file."""

Natural = Annotated[int, Field(ge=0, le=1 << 31)]
Positive = Annotated[int, Field(ge=1, le=1 << 31)]


class Rescue(BaseModel):
    """One way of healing, with its budget; see :class:`neurofault.Budget` and :class:`neurofault.Plan`.

    Attributes:
        strategy: ``none``, ``remap``, ``batch``, ``iterative``, ``remap+learn``, ``diagnose``, ``diagnose+learn``, ``embryonic``, or a control.
        learner: for a strategy that learns.
        cycles: passes over the adapt set in all, above 0.
        writes, writes_per_synapse: most changes of stored weights, in all and of each.
        energy: most joules (the profile's default table).
        time: most seconds on the chip.
        labels: share of labels known, 0 to 1.
        steps: equal damage steps (``iterative``, ``remap+learn``).
        spend: how limits of writes, energy and time are spent over these steps: ``greedy``, or ``even``: k of n steps use at most k/n of each.
        watchdog: samples served broken before a strike is noticed.
        plastic: names of the connections (in a chain: of the layers) that may change; null: all that the learner can train.
        guard: share of the adapt images that watch learning, 0 to 0.5; 0: none; see :class:`neurofault.Guard`.
    """

    model_config = RECORD
    strategy: str
    learner: str | None = None
    cycles: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    writes: Natural | None = None
    writes_per_synapse: Natural | None = None
    energy: Annotated[float, Field(ge=0)] | None = None
    time: Annotated[float, Field(ge=0)] | None = None
    labels: Annotated[float, Field(ge=0, le=1)] = 1.0
    steps: Positive = 1
    spend: Spend = "greedy"
    watchdog: Natural = 0
    plastic: list[str] | None = None
    guard: Annotated[float, Field(ge=0, le=0.5)] = 0.2

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        try:
            strategy_named(name)
        except NeurofaultError as error:
            raise ValueError(str(error)) from None
        return name

    @field_validator("learner")
    @classmethod
    def _known_learner(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                check_learner(name)
        except NeurofaultError as error:
            raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def _fits(self) -> Rescue:
        strategy = strategy_named(self.strategy)
        if strategy.learns and self.learner is None:
            raise ValueError(f"strategy {self.strategy} needs a learner")
        if not strategy.learns and self.learner is not None:
            raise ValueError(f"strategy {self.strategy} takes no learner")
        if self.steps > 1 and self.strategy not in ("iterative", "remap+learn"):
            raise ValueError(f"steps goes with iterative and remap+learn, not with {self.strategy}")
        if self.spend == "even" and (self.steps == 1 or self.writes is self.energy is self.time is None):
            raise ValueError("spend even goes with more than one step and a limit of writes, energy or time")
        return self

    @property
    def budget(self) -> Budget:
        """What it may use."""
        return Budget(
            cycles=self.cycles, writes=self.writes, writes_per_synapse=self.writes_per_synapse, energy=self.energy,
            time=self.time, labels=self.labels,
        )  # fmt: skip

    @property
    def plan(self) -> Plan:
        """How it goes about it."""
        return Plan(steps=self.steps, spend=self.spend, watchdog=self.watchdog)

    @property
    def watch(self) -> Guard | None:
        """What is held back."""
        return Guard(self.guard) if self.guard else None

    @property
    def label(self) -> str:
        """Return ``iterative · delta``."""
        return self.strategy if self.learner is None else f"{self.strategy} · {self.learner}"
