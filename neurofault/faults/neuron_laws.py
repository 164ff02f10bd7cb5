"""Faults of how neurons are set back: after a spike, by reset and refractory steps; and when a sample begins."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pydantic import Field

from neurofault.damage.damage import KeptState, LostReset, StuckCounter
from neurofault.damage.when import Clock
from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome
from neurofault.faults.neurons import SPIKEFI, each_neuron
from neurofault.faults.sites import Ids

_NEURONS = "indices in the one layer that layer names (C, H, W order)"


def _among(context: Context, fault: Fault, able: frozenset[str], why: str) -> list[str]:
    """Return which of the populations that a fault is about can have it.

    Raises:
        FaultError: none of them, or not the one whose neurons are listed.
    """
    named = context.populations(fault)
    found = [name for name in named if name in able]
    if not found or (fault.sites is not None and len(found) < len(named)):
        raise FaultError(f"{', '.join(f'layer {name!r}' for name in named if name not in able)}: {why}")
    return found


@final
class RefractoryStuck(Fault):
    """A neuron's refractory counter is stuck: it never leaves refractoriness, or never enters it."""

    kind: ClassVar[str] = "refractory_stuck"
    breaks: ClassVar[str] = "counter"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "c = 1 (on: v stays, s = 0, u goes on), or c = 0 (off), whatever fires"
    mechanism: ClassVar[str] = "stuck bit of the refractory counter in the state memory"
    sources: ClassVar[tuple[str, ...]] = (SPIKEFI, "Davies et al. 2018, IEEE Micro 38(1): refractory counter of a compartment")
    neighbours: ClassVar[str] = "SpikeFI ParametricNeuron(refractory)"

    neurons: Ids | None = Field(default=None, description=_NEURONS)
    stuck: Literal["on", "off"] = Field(
        default="on", description="on: always refractory; off: never (of layers with refractory steps)"
    )

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        counting = frozenset(one.name for one in context.deployment.populations if one.law.refractory is not None)
        why = "its neurons have no refractory steps that they could fail to enter"
        among = _among(context, self, counting, why) if self.stuck == "off" else None
        out, groups = each_neuron(context, self, among)
        out.edits += [StuckCounter(name, neurons, int(self.stuck == "on"), when) for when, name, neurons in groups]
        return out


@final
class SpikeResetLost(Fault):
    """A neuron is not reset after a spike: its potential stays where it was."""

    kind: ClassVar[str] = "spike_reset_lost"
    breaks: ClassVar[str] = "kept"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = "s = 1 as ever, v as before the reset; refractory steps follow"
    mechanism: ClassVar[str] = "lost write of the potential after a spike"
    sources: ClassVar[tuple[str, ...]] = ("Putra, Hanif & Shafique 2022, SoftSNN, arXiv 2203.05523: faulty reset of Vmem",)
    neighbours: ClassVar[str] = "SoftSNN faulty 'Vmem reset'"

    neurons: Ids | None = Field(default=None, description=_NEURONS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        resetting = frozenset(one.name for one in context.deployment.populations if one.law.reset != "none")
        out, groups = each_neuron(
            context, self, _among(context, self, resetting, "its neurons have reset 'none': there is none to lose")
        )
        out.edits += [LostReset(name, neurons, when) for when, name, neurons in groups]
        return out


@final
class StateKept(Fault):
    """A neuron's state is not cleared between samples: u, v and the refractory counter go on into the next one.

    What a sample gives then depends on those before it in the run: on their order, and on where the run begins, for its first sample starts
    clean. Spikes on their way end with their sample as ever.
    """

    kind: ClassVar[str] = "state_kept"
    breaks: ClassVar[str] = "goes_on"
    site: ClassVar[str] = "neurons"
    list_field: ClassVar[str] = "neurons"
    equation: ClassVar[str] = (
        "at a sample's first step u, v and c stay as the sample before left them; those of a run's first sample are clear"
    )
    mechanism: ClassVar[str] = (
        "lost reset between inferences: a neuron or a core that misses the message, or a host that does not wait for it"
    )
    sources: ClassVar[tuple[str, ...]] = ("synsense/sinabs issue 148: states are not reset on the chip between samples",)
    whens: ClassVar[tuple[str, ...]] = ("permanent", "transient", "intermittent", "death", "ageing")
    clocks: ClassVar[tuple[Clock, ...]] = ("chip",)

    neurons: Ids | None = Field(default=None, description=_NEURONS)

    def resolve(self, context: Context) -> FaultOutcome:
        """See :meth:`Fault.resolve`."""
        if context.deployment.reset == "never":
            raise FaultError("this network keeps its state between samples (reset: never): nothing is cleared that could be kept")
        stateful = frozenset(one.name for one in context.deployment.populations if not one.is_source or one.encoding is not None)
        among = _among(context, self, stateful, "its neurons are given events and have no state to keep")
        out, groups = each_neuron(context, self, among)
        out.edits += [KeptState(name, neurons, when) for when, name, neurons in groups]
        return out
