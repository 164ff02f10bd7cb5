"""Energy and time of an inference, from the spikes of a run, the placement and a published table of costs.

Counted, a mean over the samples; neurons that are silent for good and dead cores take part in nothing (faults in time show in the
spikes alone, a message lost on its way counts as if it arrived)::

    synaptic operations   for each spike, the synapses from its source to live neurons (weights of zero included)
    neuron updates        live neurons × T; active: updates with synaptic input, at most one for each spike that arrives; populations
                          that no connection drives have a bias and count as active throughout
    messages              for each spike and connection, the cores that hold a live target of it (Loihi sends to each core on its own)
    hops                  steps between tiles of all messages, on the way that the topology gives them; from chip to chip counted apart, and
                          costed where the table does; what a detour round a dead link or router adds is charged, while it lasts, as
                          north-south hops of a mesh, the dearer ones, and as steps between chips of hexagonal links

    E = Σ synaptic operations·e + Σ updates·e + Σ spikes·e + Σ messages·(e_out + e_in + e_tile + hops·e_hop)
    t_step = max over cores (Σ the core's events·t) + longest route·t_hop + barrier(tiles)
    time = T · t_step, latency = (T + L) · t_step with L the phase of the readout (the connections between it and the input); E_static = P_static · chips · time

Sources: event costs as in the profile's table (Davies et al. 2018, IEEE Micro 38(1), table 2; SANA-FE ``arch/loihi.yaml``); the
form of the sum as in SANA-FE. ``t_step`` is that of a mean step: the busiest core of the mean, not the mean of the busiest. The
barrier is interpolated over log2 of the tiles in use between the published ends (our choice; SANA-FE's calibrated
values, 0.6 µs at 1 tile, 1.0 at 2, 1.4 at 4 and 1.8 at 29, grow like that).
A cost that the table leaves unknown is not counted and named in ``Estimate.missing``, and so are the hops of a chip whose mesh is not
known; without the cost of a synaptic operation or of a neuron update there is no estimate (of energy: ``Estimate.at_least`` alone), whether or
not there were any, so that a chip whose energy is not known does not come to 0 J once it is dead; and none without any table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.deploy.cost_events import EVENTS, Places, Traffic, connection_traffic, merged, place_events
from neurofault.deploy.cost_table import ESSENTIAL, CostTable, EnergyCosts, TimeCosts
from neurofault.deploy.cost_ways import HOPS, flow_hops, told
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.quantity import EVIDENCE_ORDER, Evidence, Joule, Second
from neurofault.deploy.routing import topology
from neurofault.errors import UsageError, nearest


@dataclass(frozen=True)
class LowerBound:
    """What the known costs of a sum come to; the whole is not less, for no cost is negative.

    Attributes:
        value: in joules or seconds.
        evidence: the weakest among the numbers that went in.
        events: names of the costs that went in.
    """

    value: float
    evidence: Evidence
    events: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """A sum of costs.

    Attributes:
        value: in joules or seconds; None: not known.
        evidence: the weakest among the numbers that went in; ``unknown`` where ``value`` is None.
        missing: names of the costs that the table does not know and that are therefore not in ``value``; ``hops`` where the way of
            messages is not known, ``energy_tables`` where the profile has none.
        at_least: of an energy that is not known, what those events cost whose cost is; None where ``value`` is known, or nothing is.
    """

    value: float | None
    evidence: Evidence | Literal["unknown"]
    missing: tuple[str, ...] = ()
    at_least: LowerBound | None = None


@dataclass(frozen=True)
class Cost:
    """What one inference (one sample) takes, a mean over the samples of a run.

    Attributes:
        table: name of the cost table; None: the profile has none.
        synaptic_operations, neuron_updates, active_updates, spikes, messages, hops: events; ``hops`` without steps between chips, None
            where it is not known how cores are joined.
        inter_chip_hops: steps from chip to chip; they cost what the table says (``hop_inter_chip``), nothing where it does not speak of them;
            None likewise.
        energy: of all events, in joules; without static power.
        static_energy: static power · chips · ``time``, in joules; value None where the table does not know the power.
        step: one time step, in seconds.
        time: T steps, in seconds: a sample each ``time`` where samples follow one another.
        latency: T + L steps, in seconds: from a sample's first step to its answer.
    """

    table: str | None
    synaptic_operations: float
    neuron_updates: float
    active_updates: float
    spikes: float
    messages: float
    hops: float | None
    inter_chip_hops: float | None
    energy: Estimate
    static_energy: Estimate
    step: Estimate
    time: Estimate
    latency: Estimate

    @property
    def static_note(self) -> str:
        """What ``energy`` says about static power, for display."""
        if self.static_energy.value is None:
            return "static power unknown, not included"
        return f"static power not included; it adds {self.static_energy.value * 1e6:.3g} µJ"


@dataclass(frozen=True, eq=False)
class CostByPlace:
    """What one inference takes at each place: the neurons of one population that sit on one core.

    Attributes:
        populations: [k], names, in the order of the deployment.
        cores: int64 [k], core ids.
        events: each event of the table by its name → float64 [k], a mean sample's; hops with what detours add, none where the mesh is
            not known.
        energy: float64 [k], joules a sample, of the costs that the table knows; None where ``total.energy`` is not known.
        total: what :func:`cost` gives; its energy and events are the sums over the places.
    """

    populations: tuple[str, ...]
    cores: NDArray[np.int64]
    events: Mapping[str, NDArray[np.float64]]
    energy: NDArray[np.float64] | None
    total: Cost

    def places(self) -> dict[tuple[str, int], float]:
        """Return (population, core) → joules a sample.

        Raises:
            UsageError: there is no table, or it does not know an essential cost.
        """
        if self.total.table is None:
            raise UsageError("the profile has no energy table")
        if self.energy is None:
            raise UsageError(f"table {self.total.table!r} does not know the cost of {', '.join(self.total.energy.missing)}")
        return dict(zip(zip(self.populations, self.cores.tolist(), strict=True), self.energy.tolist(), strict=True))


@dataclass(frozen=True)
class EnergyChange:
    """What damage changes at one place.

    Attributes:
        population: name.
        core: core id.
        healthy, damaged: joules a sample; 0 where the place is not used.
    """

    population: str
    core: int
    healthy: float
    damaged: float

    @property
    def change(self) -> float:
        """Joules a sample more than healthy; negative: saved."""
        return self.damaged - self.healthy


def cost(deployment: Deployment, activity: Activity, samples: int, *, table: str | None = None) -> Cost:
    """Estimate what one inference takes in energy and time; the formula and its sources are in this module's text.

    Args:
        deployment: the chip, with its damage.
        activity: a run on it.
        samples: how many samples the run presented, at least 1.
        table: name of one of the profile's ``energy_tables``; None: its default.

    Raises:
        UsageError: ``samples`` below 1, or no such table.
    """
    return cost_by_place(deployment, activity.spike_counts, samples, table=table).total


def cost_by_place(
    deployment: Deployment, spike_counts: Mapping[str, NDArray[np.int64]], samples: int, *, table: str | None = None
) -> CostByPlace:
    """Estimate what one inference takes, and where: :func:`cost`, split by core and population.

    An event is charged where it is worked off: synaptic operations and updates to the neurons that they reach, a spike to the neuron that sends
    it, a message to its sender (leaving the core, and all its hops) and to the targets that it reaches (entering the core, and the tile).

    Args:
        deployment: the chip, with its damage.
        spike_counts: of a run on it, as :attr:`neurofault.activity.Activity.spike_counts`.
        samples: how many samples the run presented, at least 1.
        table: name of one of the profile's ``energy_tables``; None: its default.

    Raises:
        UsageError: ``samples`` below 1, or no such table.
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1, is {samples}")
    name = table or deployment.profile.default_energy
    tables = deployment.profile.energy_tables
    if name is not None and name not in tables:
        raise UsageError(
            f"profile {deployment.profile.name!r} has no energy table {name!r}{nearest(name, tables)}: {', '.join(tables) or 'none'}"
        )
    flows = connection_traffic(deployment, spike_counts)
    places = place_events(deployment, spike_counts, flows, samples)
    total = _total(deployment, name, places, merged(deployment, flows), samples)
    events = {event: counts / samples for event, counts in places.events.items()} | _place_ways(deployment, places, flows, samples)
    energy = None
    if name is not None and total.energy.value is not None:
        energy = np.zeros(len(places.cores))
        for event, counts in events.items():
            energy += counts * _each(getattr(tables[name].energy, event))
    return CostByPlace(places.populations, places.cores, events, energy, total)


def energy_changes(healthy: CostByPlace, damaged: CostByPlace) -> tuple[EnergyChange, ...]:
    """Return the places at which damage changes the energy of an inference, the largest change first.

    Args:
        healthy: the chip as it was.
        damaged: the same network by the same table; it may sit on other cores.

    Raises:
        UsageError: they are by different tables, or the table knows no energy.
    """
    if healthy.total.table != damaged.total.table:
        raise UsageError(
            f"the healthy chip is costed by table {healthy.total.table!r}, the damaged one by {damaged.total.table!r}; give both the same"
        )
    before, after = healthy.places(), damaged.places()
    changes = [
        EnergyChange(population, core, before.get((population, core), 0.0), after.get((population, core), 0.0))
        for population, core in before | after
    ]
    return tuple(sorted((one for one in changes if one.change), key=lambda one: (-abs(one.change), one.population, one.core)))


def _place_ways(deployment: Deployment, places: Places, flows: Sequence[Traffic], samples: int) -> dict[str, NDArray[np.float64]]:
    """Return the hops of the messages that each place sends, a mean sample's: float64 [k] each; none where it is not known how cores are joined."""
    found: dict[str, NDArray[np.float64]] = {}
    for connection, flow in zip(deployment.connections, flows, strict=True):
        seats = places.seats(connection.source, flow.sources)
        for kind, each in (flow_hops(deployment, flow, samples) or {}).items():
            np.add.at(found.setdefault(kind, np.zeros(len(places.cores))), seats, flow.messages * each)
    return {kind: counts / samples for kind, counts in found.items() if kind in HOPS[:2] or counts.any()}


def _total(deployment: Deployment, name: str | None, places: Places, flows: Traffic, samples: int) -> Cost:
    """Put the events of all places and all messages together."""
    tables = deployment.profile.energy_tables
    cores, seats = np.unique(places.cores, return_inverse=True)
    events = {event: np.zeros(len(cores), np.int64) for event in EVENTS}
    for event, counts in places.events.items():
        np.add.at(events[event], seats, counts)
    routes = flow_hops(deployment, flows, samples)
    way = None if routes is None else {kind: float((flows.messages * each).sum()) / samples for kind, each in routes.items()}
    totals = {event: int(counts.sum()) / samples for event, counts in events.items()}
    if name is None:
        energy = static = step = Estimate(None, "unknown", ("energy_tables",))
        time = step
    else:
        costs, untold = tables[name], ("hops",) * (way is None and bool((flows.sources != flows.destinations).any()))
        energy = _but_for(_sum(costs.energy, totals | told(costs.energy, way or {})), untold)
        mean_events = {event: counts / (samples * deployment.timesteps) for event, counts in events.items()}
        step = _but_for(_step(deployment, costs.time, cores, mean_events, routes), untold)
        time = _scaled(step, deployment.timesteps)
        static = _static(costs, time, deployment.placement.chips)
    return Cost(
        table=name,
        synaptic_operations=totals["synaptic_operation"],
        neuron_updates=int(events["neuron_update_active"].sum() + events["neuron_update_inactive"].sum()) / samples,
        active_updates=totals["neuron_update_active"],
        spikes=totals["neuron_spike"],
        messages=totals["axon_out_message"],
        hops=None if way is None else sum(way[kind] for kind in HOPS[:3]),
        inter_chip_hops=None if way is None else way["hop_inter_chip"],
        energy=energy,
        static_energy=static,
        step=step,
        time=time,
        latency=_scaled(step, deployment.timesteps + deployment.schedule.phase[deployment.readout.population]),
    )


def _each(cost: Joule | Second | None) -> float:
    """Return what an event costs, 0 where it is not known or the table does not speak of it."""
    return 0.0 if cost is None else cost.value or 0.0


def _sum(costs: EnergyCosts | TimeCosts, counts: dict[str, float]) -> Estimate:
    """Add up events times their cost; events that did not happen need no cost, but for the essential ones: a chip that is silent is not one that is known."""
    happened: dict[str, tuple[Joule | Second | None, float]] = {
        event: (getattr(costs, event), count) for event, count in counts.items() if count or event in ESSENTIAL
    }
    missing = tuple(event for event, (each, _) in happened.items() if each is None or each.value is None)
    known = {
        event: (each, each.value * counts[event])
        for event, (each, _) in happened.items()
        if counts[event] and each is not None and each.value is not None
    }
    total, evidence = float(sum(value for _, value in known.values())), _weakest([each.evidence for each, _ in known.values()])
    if not set(missing) & set(ESSENTIAL):
        return Estimate(total, evidence, missing)
    return Estimate(None, "unknown", missing, LowerBound(total, evidence, tuple(known)) if known else None)


def _step(
    deployment: Deployment,
    costs: TimeCosts,
    cores: NDArray[np.int64],
    events: dict[str, NDArray[np.float64]],
    hops: Mapping[str, NDArray[np.float64]] | None,
) -> Estimate:
    """Time of a mean step, from the events of one: the busiest core, the longest route, the barrier."""
    busy = np.zeros(len(cores))
    for event, count in events.items():
        busy += count * _each(getattr(costs, event))
    route = _longest(costs, hops or {})
    busiest = int(np.argmax(busy))
    counts = {event: float(count[busiest]) for event, count in events.items()}
    work = _sum(costs, counts | told(costs, route))
    barrier = _barrier(deployment, costs, cores[np.any(np.stack(list(events.values())) > 0, axis=0)])
    return _added(work, barrier)


def _longest(costs: TimeCosts, hops: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return the steps of the flow that takes longest, in whole hops."""
    whole = {kind: np.ceil(each) for kind, each in hops.items()}
    if not any(each.size for each in whole.values()):
        return {}
    known = {kind: each.value or 0.0 for kind in whole if (each := getattr(costs, kind)) is not None}
    at = int(np.argmax(sum(value * whole[kind] for kind, value in known.items())))
    return {kind: float(each[at]) for kind, each in whole.items()}


def _barrier(deployment: Deployment, costs: TimeCosts, cores: NDArray[np.int64]) -> Estimate:
    """Time of the barrier that ends a step, from the tiles in use of the fullest chip."""
    ends = (costs.barrier_min, costs.barrier_max)
    missing = tuple(name for name, end in zip(("barrier_min", "barrier_max"), ends, strict=True) if end.value is None)
    if ends[0].value is None or ends[1].value is None:
        return Estimate(0.0, EVIDENCE_ORDER[0], missing)
    if not deployment.profile.joined:
        return Estimate(0.0, EVIDENCE_ORDER[0], ("barrier_min", "barrier_max"))
    geometry = topology(deployment)
    x, y = geometry.tiles(cores)
    chip_of_tile = np.unique(np.stack([cores // deployment.placement.cores_per_chip, x, y]), axis=1)[0]
    tiles = int(np.bincount(chip_of_tile, minlength=1).max())
    share = math.log2(tiles) / math.log2(geometry.tiles_per_chip) if tiles > 1 else 0.0
    value = ends[0].value + (ends[1].value - ends[0].value) * share
    return Estimate(value, _weakest([end.evidence for end in ends]))


def _static(costs: CostTable, time: Estimate, chips: int) -> Estimate:
    """Energy of the static power over an inference."""
    power = costs.energy.static_power
    if power.value is None:
        return Estimate(None, "unknown", ("static_power",))
    if time.value is None or time.evidence == "unknown":
        return time
    return Estimate(power.value * chips * time.value, _weakest([power.evidence, time.evidence]), time.missing)


def _added(first: Estimate, second: Estimate) -> Estimate:
    missing = first.missing + second.missing
    if first.value is None or second.value is None or first.evidence == "unknown" or second.evidence == "unknown":
        return Estimate(None, "unknown", missing)
    return Estimate(first.value + second.value, _weakest([first.evidence, second.evidence]), missing)


def _but_for(each: Estimate, missing: tuple[str, ...]) -> Estimate:
    """Return an estimate that lacks something more."""
    return replace(each, missing=each.missing + missing)


def _scaled(each: Estimate, count: int) -> Estimate:
    return Estimate(None if each.value is None else each.value * count, each.evidence, each.missing)


def _weakest(evidence: Sequence[Evidence | None]) -> Evidence:
    """Return the weakest evidence of known numbers; the strongest there is where nothing went in."""
    return max((each for each in evidence if each is not None), key=EVIDENCE_ORDER.index, default=EVIDENCE_ORDER[0])
