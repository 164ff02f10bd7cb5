"""Faults of whole cores and of their learning engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurofault.damage.broken import BrokenCore
from neurofault.damage.damage import EnginePart, LearningDefect, Silence, Stall
from neurofault.damage.when import When
from neurofault.errors import FaultError
from neurofault.faults.base import Fault, Part
from neurofault.faults.context import Context, FaultOutcome, listed_array
from neurofault.faults.places import core_blocks, stored_synapses
from neurofault.faults.sites import Ids
from neurofault.faults.spare import LATER, spare_blocks

TRACES = ("x1", "x2", "y1", "y2", "y3")
"""Names of the traces of the learning engine."""


def chosen_cores(context: Context, fault: Fault) -> list[tuple[When, list[int]]]:
    """Return the cores that a fault breaks, listed or drawn: [(when, sorted ids)], in groups that share their active steps.

    Args:
        context: of the fault.
        fault: whose ``sites`` are ids of cores, or None where ``count`` or ``rate`` says how many are drawn.

    Raises:
        FaultError: a core that there is not, or fewer cores than are asked for.
    """
    placement = context.deployment.placement
    if fault.sites is not None:
        end = placement.chips * placement.cores_per_chip
        beyond = [core for core in fault.sites if core >= end]
        if beyond:
            raise FaultError(f"no core {', '.join(map(str, beyond))}; cores: 0 to {end - 1}")
        groups = context.in_time(fault, listed_array(fault.sites, 1))
        return [(when, sorted(map(int, cores))) for when, cores in groups]
    blocks = spare_blocks(context) if context.on_spares(fault) else core_blocks(context.deployment, context.populations(fault))
    return [(when, sorted(block.core for block, _ in picked)) for when, picked in context.choose(fault, blocks)]


def _neurons_on(context: Context, cores: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Return the neurons on some cores: population → sorted indices, in the order of the deployment, where there are any."""
    core_of = context.deployment.placement.core_of
    found = {one.name: np.flatnonzero(np.isin(core_of[one.name], cores)).astype(np.int64) for one in context.deployment.populations}
    return {name: neurons for name, neurons in found.items() if neurons.size}


def _empty(context: Context, out: FaultOutcome, cores: Sequence[int], broken: Callable[[int], BrokenCore]) -> None:
    """Keep what is wrong with cores that hold nothing, for a repair that moves neurons there."""
    empty = sorted(set(cores) - set(context.deployment.placement.used_cores.tolist()))
    out.broken += map(broken, empty)
    if empty and LATER not in out.notes:
        out.notes.append(LATER if len(empty) == len(cores) else f"of cores {', '.join(map(str, empty))}: {LATER}")


def silence(context: Context, out: FaultOutcome, when: When, cores: Sequence[int]) -> None:
    """Add to ``out`` that all neurons on some cores are silent, and what is wrong with those that hold none."""
    for name, lost in _neurons_on(context, cores).items():
        out.edits.append(Silence(name, lost, when))
        out.count(out.neurons, name, len(lost))
        for connection in context.deployment.into(name):
            out.count(out.synapses, connection.name, stored_synapses(context.deployment, connection.name, lost))
    out.cores.update(cores)
    _empty(context, out, cores, lambda core: BrokenCore(core, "silent", when=when))


@final
class CoreDead(Fault):
    """A neuromorphic core is dead: its neurons never spike, the synapses stored in it are gone, messages to it are lost."""

    kind: ClassVar[str] = "core_dead"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "u = v = 0, s = 0 for every neuron on the core; its incoming weights are gone with it"
    mechanism: ClassVar[str] = "manufacturing defect, wear-out, power or clock domain lost; vendors map around such cores"
    sources: ClassVar[tuple[str, ...]] = (
        "SpiNNaker blacklists, Brown et al. 2015",
        "IBM US9992057 (TrueNorth core availability bits)",
        "lava issue #578 (bad cores are remapped)",
    )
    neighbours: ClassVar[str] = "SpiNNMachine down_cores"

    cores: Ids | None = Field(default=None, description="ids of the cores; layer and where then say nothing")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out = FaultOutcome()
        for when, cores in chosen_cores(context, self):
            silence(context, out, when, cores)
            if self.when.kind in ("permanent", "death", "ageing"):
                out.dead_cores.update(cores)
        return out


@final
class CoreHung(Fault):
    """A core hangs. With ``stall`` the whole chip waits for it at the next barrier; with ``silent`` it is like a dead core."""

    kind: ClassVar[str] = "core_hung"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "stall: no result after the first active step; silent: as core_dead"
    mechanism: ClassVar[str] = "control logic upset; Loihi's time step is a blocking barrier over all cores"
    sources: ClassVar[tuple[str, ...]] = ("Davies et al. 2018, IEEE Micro 38(1) (barrier synchronisation)",)

    cores: Ids | None = Field(default=None, description="ids of the cores")
    on_core_death: Literal["stall", "silent"] = Field(default="stall", description="what the mesh does")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        out = FaultOutcome()
        for when, cores in chosen_cores(context, self):
            if self.on_core_death == "silent":
                silence(context, out, when, cores)
            else:
                out.edits.append(Stall(tuple(cores), when))
                out.cores.update(cores)
                out.notes.append("the chip stalls")
        return out


def _learning(context: Context, fault: Fault, part: EnginePart, trace: str = "", value: int = 0) -> FaultOutcome:
    out = FaultOutcome()
    for when, cores in chosen_cores(context, fault):
        for name, neurons in _neurons_on(context, cores).items():
            for connection in context.deployment.into(name):
                out.edits.append(LearningDefect(connection.name, part, neurons, trace, value, when))
                out.count(out.synapses, connection.name, stored_synapses(context.deployment, connection.name, neurons))
        out.cores.update(cores)
        _empty(context, out, cores, lambda core, when=when: BrokenCore(core, part, trace, value, when))  # type: ignore[misc]  # mypy: default of a lambda
    return out


@final
class LearningFrozen(Fault):
    """A core's learning engine is dead: inference goes on, its synapses are never updated again."""

    kind: ClassVar[str] = "learning_frozen"
    needs: ClassVar[Part | None] = "learning"
    breaks: ClassVar[str] = "frozen"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "Δw = Δd = Δt = 0 for every synapse stored on the core"
    mechanism: ClassVar[str] = "defect in the core's learning engine only"
    sources: ClassVar[tuple[str, ...]] = ("Davies et al. 2018, IEEE Micro 38(1) (a learning engine in each core)",)

    cores: Ids | None = Field(default=None, description="ids of the cores")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _learning(context, self, "frozen")


@final
class TraceStuck(Fault):
    """A trace of a core's learning engine always reads one value."""

    kind: ClassVar[str] = "trace_stuck"
    needs: ClassVar[Part | None] = "learning"
    breaks: ClassVar[str] = "stuck_trace"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "trace = value for every synapse stored on the core"
    mechanism: ClassVar[str] = "stuck trace memory or trace update logic"
    sources: ClassVar[tuple[str, ...]] = ("Davies et al. 2018, IEEE Micro 38(1) (7-bit traces x1, x2, y1, y2, y3)",)

    cores: Ids | None = Field(default=None, description="ids of the cores")
    trace: Literal["x1", "x2", "y1", "y2", "y3"] = Field(default="x1", description="which trace")
    value: int = Field(default=0, description="what it reads", ge=0, le=127)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _learning(context, self, "stuck_trace", self.trace, self.value)


@final
class ThirdFactorDead(Fault):
    """The third factor (reward, error) no longer reaches a core."""

    kind: ClassVar[str] = "third_factor_dead"
    needs: ClassVar[Part | None] = "learning"
    breaks: ClassVar[str] = "third_factor"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "y1 = y2 = y3 = 0 where they carry the third factor"
    mechanism: ClassVar[str] = "reward axon or modulatory path lost"
    sources: ClassVar[tuple[str, ...]] = ("Intel Loihi 2 technology brief 2021 (third factors)",)

    cores: Ids | None = Field(default=None, description="ids of the cores")

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _learning(context, self, "third_factor")


@final
class RoundingStuck(Fault):
    """The random number of stochastic rounding is stuck: always up (0), never up (127), or between."""

    kind: ClassVar[str] = "rounding_stuck"
    needs: ClassVar[Part | None] = "learning"
    breaks: ClassVar[str] = "rounding"
    site: ClassVar[str] = "used cores"
    list_field: ClassVar[str] = "cores"
    equation: ClassVar[str] = "⌊R/128⌋ + [value < R mod 128] in place of a random number"
    mechanism: ClassVar[str] = "stuck shift register of the pseudo-random generator"
    sources: ClassVar[tuple[str, ...]] = ("Lava 0.10 learning (stochastic rounding with 7-bit random numbers)",)

    cores: Ids | None = Field(default=None, description="ids of the cores")
    value: int = Field(default=0, description="the number that is always drawn", ge=0, le=127)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        return _learning(context, self, "rounding", "", self.value)
