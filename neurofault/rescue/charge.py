"""What a lesson costs in energy and time, from the profile's published tables.

A training sample costs what an inference costs (:func:`neurofault.deploy.cost.cost`; its time is the latency, T + L steps, because the
error of a sample must be there before the next one starts, plus two steps for it to reach error neurons and third factors), and ::

    E += updates · synaptic_write + idle updates of all neurons in the steps beyond T
         + events of supporting neurons (operations, updates of a step, messages; their hops are not counted)
    t += busiest core's updates · synaptic_write

where an update is one synapse visited by the learning engine at the end of an epoch: every synapse of a source that fired, whether or
not its weight changes (Davies et al. 2018 give the cost of an update, not of a write).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neurofault.activity import Activity
from neurofault.deploy.cost import cost
from neurofault.deploy.cost_events import alive
from neurofault.deploy.cost_table import EnergyCosts
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.quantity import Joule, Second
from neurofault.rescue.budget import Spent

ERROR_STEPS = 2
"""From the output to the error neurons, and from these to the third factors."""


@dataclass(frozen=True)
class LessonCharge:
    """What happened in a lesson beyond the inference of its samples.

    Attributes:
        visits: connection → synapses to live targets that the learning engine visited, summed over samples.
        writes: stored weights that changed.
        operations: synaptic operations of error and feedback synapses.
        messages: spikes that these synapses carried, core by core.
        neurons: supporting neurons, updated in every step.
        host_bytes: between host and chip.
        extra_steps: steps of a sample beyond those in which its error forms and arrives.
    """

    visits: Mapping[str, int] = field(default_factory=dict)
    writes: int = 0
    operations: int = 0
    messages: int = 0
    neurons: int = 0
    host_bytes: int = 0
    extra_steps: int = 0


def charge(deployment: Deployment, activity: Activity, samples: int, learned: LessonCharge | None = None) -> Spent:
    """Return what showing samples, and learning from them, has used.

    Args:
        deployment: the (damaged) chip.
        activity: spikes of the samples shown.
        samples: their number, at least 1.
        learned: None: the chip only served.
    """
    done = learned or LessonCharge()
    updates = sum(done.visits.values())
    per_core = np.zeros(deployment.placement.chips * deployment.placement.cores_per_chip)
    for name, count in done.visits.items():
        target = deployment.connection(name).target
        live = alive(deployment, target)
        np.add.at(per_core, deployment.placement.core_of[target], live * (count / max(1, int(live.sum()))))
    steps = deployment.timesteps + deployment.schedule.depth + ERROR_STEPS + done.extra_steps
    energy: dict[str, float | None] = {}
    time: dict[str, float | None] = {}
    tables = deployment.profile.energy_tables
    operations = 0.0 if tables else cost(deployment, activity, samples).synaptic_operations * samples
    for table, costs in tables.items():
        served = cost(deployment, activity, samples, table=table)
        operations = served.synaptic_operations * samples
        written = _times(updates, costs.energy.synaptic_write)
        energy[table] = time[table] = None
        if served.energy.value is not None and written is not None:
            extra = _support_energy(costs.energy, done, steps * samples) + written
            if learned is not None:
                idle = served.neuron_updates / deployment.timesteps * (steps - deployment.timesteps) * samples
                extra += idle * (costs.energy.neuron_update_inactive.value or 0.0)
            energy[table] = served.energy.value * samples + extra
        written = _times(float(per_core.max()), costs.time.synaptic_write)
        if served.step.value is not None and written is not None:
            shown = served.step.value * steps if learned is not None else served.time.value or 0.0
            time[table] = shown * samples + written
    return Spent(
        samples=samples,
        updates=updates,
        writes=done.writes,
        spikes=activity.spikes,
        synaptic_operations=round(operations) + done.operations,
        host_bytes=done.host_bytes,
        energy=energy,
        time=time,
    )


def _support_energy(costs: EnergyCosts, done: LessonCharge, steps: int) -> float:
    def of(name: str) -> float:
        return getattr(costs, name).value or 0.0

    message = of("axon_out_message") + of("axon_in_message") + of("spike_in_tile") + of("neuron_spike")
    updates = done.neurons * steps * of("neuron_update_inactive")
    return done.operations * of("synaptic_operation") + done.messages * message + updates


def _times(count: float, each: Joule | Second) -> float | None:
    """Return what so many events cost; None: not known, though there were some."""
    return 0.0 if not count else None if each.value is None else count * each.value


def cost_of_writes(profile: HardwareProfile, count: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return the energy (joules) and the time (seconds) of writing so many stored values, by table; None: not known by that table."""
    tables = profile.energy_tables.items()
    return (
        {
            name: None if table.energy.synaptic_write.value is None else _times(count, table.energy.synaptic_write)
            for name, table in tables
        },
        {
            name: None if table.time.synaptic_write.value is None else _times(count, table.time.synaptic_write)
            for name, table in tables
        },
    )


def nothing_spent(profile: HardwareProfile) -> Spent:
    """Return what a repair has used that has not begun: of a table that does not know what a write costs, energy and time are not known."""
    energy, time = cost_of_writes(profile, 0)
    return Spent(
        energy={name: value for name, value in energy.items() if value is None},
        time={name: value for name, value in time.items() if value is None},
    )
