"""The exact engine: integer simulation, equal bit for bit to Lava 0.10 ``fixed_pt``, population by population and event by event.

A population outside loops handles a sample's T steps as a whole, from u = 0 and v = v_init: over each connection it sees in step t the
spikes of the connection's source in *its* step t − lag. Populations of a loop go step by step together. A spike that would arrive beyond
a sample's last step is dropped: it is cleared with u and v when the next sample starts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, Traces, gather, scores_from
from neurofault.cores import usable_cores
from neurofault.damage.edits import not_applied
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact import event_lists, kernels
from neurofault.engines.exact.held_steps import InRegisters
from neurofault.engines.exact.kernels import Wires
from neurofault.engines.exact.lasting import lasting
from neurofault.engines.exact.loops import Loop, pack_held, pack_loop, present_loop
from neurofault.engines.exact.packing import (
    NO_WIRES,
    Packed,
    PackedPopulation,
    exponent_out_of_range,
    in_bytes,
    kernels_know,
    pack,
    sums_out_of_range,
)
from neurofault.engines.exact.presented import Events, Trains, constant_trains, given, given_often, input_bias, run_whole, unfold
from neurofault.engines.exact.stepwise import APPLIED, StepwiseEngine
from neurofault.inputs import Bias, Inputs, Spikes, State

_EVENT_BYTES = 16 << 20
_MOST_SAMPLES = 64
NOTHING: Mapping[str, NDArray[np.uint8]] = MappingProxyType({})
"""No population that fires several times a step."""


@dataclass(frozen=True)
class ExactEngine:
    """Runs a deployment in this process, in parallel over samples.

    Attributes:
        threads: worker threads; None: one for each core that the process may use. Results do not depend on it.
        batch: samples that a thread handles at a time; None: as many as keep its buffers small. Results do not depend on it.
        name: the engine's.
    """

    threads: int | None = None
    batch: int | None = None
    name: str = "exact"

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the connection."""
        return exponent_out_of_range(deployment) or sums_out_of_range(deployment) or not_applied(deployment.damage.edits, APPLIED)

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps, or for some of them (see :class:`neurofault.engines.base.Engine`).

        Memory: the result, plus buffers of a few megabytes a thread; samples are streamed in batches. Damage with time windows,
        messages that are lost at times, laws that the kernels do not know, streams (``reset: never``) and runs of some steps are handed to :class:`neurofault.engines.exact.stepwise.StepwiseEngine`.

        Raises:
            StalledError: a hung core stops the chip.
            UsageError: an input gets nothing, or a state that is not of these samples.
        """
        compiled = kernels_know(deployment)
        deployment = lasting(deployment) if compiled else deployment
        if not compiled or not deployment.damage.plain or deployment.reset == "never" or state is not None or stop is not None:
            return StepwiseEngine(self if compiled else None).run(deployment, inputs, record=record, state=state, stop=stop)
        return self.run_part(deployment, [one.name for one in deployment.populations], inputs.named(deployment.inputs), record)

    def run_part(
        self,
        deployment: Deployment,
        part: Collection[str],
        inputs: Inputs,
        record: Collection[str] = (),
        often: Mapping[str, NDArray[np.uint8]] = NOTHING,
    ) -> Activity:
        """Run some populations, in their own time, by their own permanent damage.

        Args:
            deployment: the chip.
            part: names of populations; all of a loop, or none.
            inputs: what is presented to the inputs among them, and the spikes that leave the others that drive them.
            record: as in :meth:`run`.
            often: of populations that may fire several times a step, in place of ``inputs``: uint8 [N, T, n], how often.

        Returns:
            Their activity; scores mean something where the readout is one of them.
        """
        plan = RunPlan.of(deployment, part, inputs)
        sheet = RunSheet.blank(deployment, part, len(inputs), record)
        sizes = [(plan.packed.populations[name].order.size, plan.packed.populations[name].most) for name in {*part, *plan.given}]
        largest = max(size * most for size, most in sizes)
        workers = self.threads or usable_cores()
        most = min(
            4 * _MOST_SAMPLES, max(_MOST_SAMPLES, len(inputs) // (8 * workers))
        )  # large ones only where every thread has many
        batch = self.batch or max(1, min(most, _EVENT_BYTES // (4 * largest * deployment.timesteps)))
        windows = [slice(start, min(start + batch, len(inputs))) for start in range(0, len(inputs), batch)]
        names = [population.name for population in deployment.populations if population.name in part]
        counts = {name: np.zeros(deployment.population(name).size, np.int64) for name in names}

        def work(window: slice) -> Mapping[str, NDArray[np.int64]]:
            before = {name: given_often(sent[window], plan.packed.populations[name]) for name, sent in often.items()}
            return run_batch(plan, inputs[window], sheet.part(window), before=before)

        number = min(workers, len(windows))
        with ThreadPoolExecutor(number) if number > 1 else nullcontext() as pool:
            for found in map(work, windows) if pool is None else pool.map(work, windows):
                for name, own in found.items():
                    counts[name] += own
        readout = deployment.readout
        dead = deployment.damage.silent(readout.population, deployment.output.size)
        return Activity(
            scores_from(sheet.potential, sheet.output_counts, readout.how, dead),
            counts,
            sheet.sample_spikes,
            {name: sheet.traces[name] for name in names} if record else {},
        )


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What is worked out once for all batches.

    Attributes:
        deployment: the chip.
        packed: its populations and connections.
        islands: those that run, in order, with what a loop needs; None: no loop.
        given: populations outside of these that drive them.
        trains: those of inputs under biases, where there are few kinds of neurons.
    """

    deployment: Deployment
    packed: Packed
    islands: Sequence[tuple[tuple[str, ...], tuple[Loop, InRegisters | None] | None]]
    given: Sequence[str]
    trains: Mapping[str, Trains]

    @classmethod
    def of(cls, deployment: Deployment, part: Collection[str], inputs: Inputs) -> RunPlan:
        """Work it out for some populations and what is presented."""
        packed = pack(deployment, part)
        schedule = deployment.schedule
        islands = [
            (island, (pack_loop(deployment, packed, island), pack_held(packed, island)) if looped else None)
            for island, looped in zip(schedule.islands, schedule.loops, strict=True)
            if island[0] in part
        ]
        within = {name for island, loop in islands if loop is not None for name in island}
        wires = {
            one.name: packed.wires[one.name] if {one.source, one.target} <= within else in_bytes(packed.wires[one.name])
            for one in deployment.connections
            if one.target in part
        }
        senders = {one.source: None for one in deployment.connections if one.target in part and one.source not in part}
        trains: dict[str, Trains] = {}
        for name in part:
            presented = inputs.of(name) if deployment.population(name).is_source else None
            if isinstance(presented, Bias) and name != deployment.readout.population:  # trains know nothing of the last v
                own = constant_trains(
                    deployment.population(name), deployment.timesteps, packed.populations[name], presented.mantissa
                )
                trains |= {} if own is None else {name: own}
        return cls(deployment, Packed(packed.populations, wires), islands, tuple(senders), trains)


@dataclass(frozen=True, eq=False)
class RunSheet:
    """Where the results of all samples, or of a window of them, are written; public order.

    ``potential`` and ``output_counts`` hold what is read of the readout's v and spikes.
    """

    potential: NDArray[np.int64]
    output_counts: NDArray[np.int64]
    sample_spikes: NDArray[np.int64]
    traces: Mapping[str, Traces]

    @classmethod
    def blank(cls, deployment: Deployment, part: Collection[str], samples: int, record: Collection[str]) -> RunSheet:
        """Return a sheet with room for every sample and for the traces of ``record``."""
        outputs = deployment.output.size
        traces = {}
        for name in part:
            chip = deployment.population(name)
            shape = (samples, deployment.timesteps, chip.size)
            several = chip.law.arithmetic.spikes > 1 and not chip.is_source
            traces[name] = Traces(
                np.zeros(shape, np.int32) if "u" in record else None,
                np.zeros(shape, np.int32) if "v" in record else None,
                np.zeros(shape, np.uint8 if several else np.bool_) if "spikes" in record else None,
            )
        return cls(
            np.zeros((samples, outputs), np.int64), np.zeros((samples, outputs), np.int64), np.zeros(samples, np.int64), traces
        )

    def part(self, window: slice) -> RunSheet:
        """Return the part that belongs to a window of the samples; writing to it writes to the whole."""
        traces = {
            name: Traces(
                None if trace.u is None else trace.u[window],
                None if trace.v is None else trace.v[window],
                None if trace.spikes is None else trace.spikes[window],
            )
            for name, trace in self.traces.items()
        }
        return RunSheet(self.potential[window], self.output_counts[window], self.sample_spikes[window], traces)


def run_batch(
    plan: RunPlan, inputs: Inputs, sheet: RunSheet, seen: Callable[[str, Mapping[str, Events]], None] | None = None,
    before: Mapping[str, Events] | None = None,
    drives: dict[str, NDArray[np.int32]] | None = None,
) -> Mapping[str, NDArray[np.int64]]:  # fmt: skip
    """Run a batch of samples through all populations; return their spike counts and fill the rest of the results in.

    Args:
        plan: what runs.
        inputs: the batch.
        sheet: filled in.
        seen: called with the name of each population once its spikes are there, and the events of all that are still at hand, its sources' among
            them.
        before: events of populations outside, in internal order, that are not in ``inputs``.
        drives: filled in before ``seen`` is called, with the drive, [S, T, n_padded], of the population outside loops alone that was run last and that anything drives.
    """
    deployment = plan.deployment
    events: dict[str, Events] = dict(before or {})
    for name in plan.given:
        if name in events:
            continue
        spikes = inputs.of(name)
        assert isinstance(spikes, Spikes)
        events[name] = given(spikes, plan.packed.populations[name])
    counts = {}
    for place, (island, loop) in enumerate(plan.islands):
        if loop is None:
            events[island[0]] = _run_whole(plan, island[0], inputs, events, sheet, drives)
        else:
            _run_loop(plan, island, *loop, events, sheet)
        for name in island:
            read = name == deployment.readout.population
            counts[name] = _finish(plan.packed.populations[name], events[name], sheet, read=read)
            if read and deployment.readout.when is not None:
                _count_window(plan.packed.populations[name], events[name], deployment.readout.when, sheet)
            if seen is not None:
                seen(name, events)
        waiting = {one.source for later, _ in plan.islands[place + 1 :] for name in later for one in deployment.into(name)}
        for name in events.keys() - waiting:
            del events[name]
    return counts


def _run_whole(
    plan: RunPlan, name: str, inputs: Inputs, events: Mapping[str, Events], sheet: RunSheet, drives: dict[str, NDArray[np.int32]] | None
) -> Events:  # fmt: skip
    """Run a population outside loops, all T steps of each sample at once."""
    chip, own, steps = plan.deployment.population(name), plan.packed.populations[name], plan.deployment.timesteps
    if chip.is_source:
        presented = inputs.of(name)
        if isinstance(presented, Spikes):
            return given(presented, own)
        if name in plan.trains:
            return unfold(presented.mantissa, own, plan.trains[name], steps, sheet.traces[name])
        return _present(plan, own, input_bias(presented.mantissa, chip, own), sheet)
    into = plan.deployment.into(name)
    if len(into) == 1 and drives is None:
        return _present(plan, own, own.bias, sheet, plan.packed.wires[into[0].name], events[into[0].source])
    outside = np.zeros((len(inputs) if into else 0, steps, own.bias.shape[1]), np.int32 if own.held is None else np.int64)
    for one in into:
        _add_drive(plan, one.name, events[one.source], 0, own, outside)
    if drives is not None and into:
        drives.clear()
        drives[name] = outside
    return _present(plan, own, own.bias, sheet, outside=outside)


def _add_drive(plan: RunPlan, connection: str, events: Events, first: int, target: PackedPopulation, outside: NDArray[Any]) -> None:
    """Add what comes over a connection to a drive in which the target's neurons start at ``first``."""
    wires = plan.packed.wires[connection]
    kernels.add_drive(plan.deployment.timesteps, wires, events.starts, events.sources, first, target.bias.shape[1], outside)


def _present(
    plan: RunPlan,
    own: PackedPopulation,
    bias: NDArray[np.int32],
    sheet: RunSheet,
    wires: Wires = NO_WIRES,
    before: Events | None = None,
    outside: NDArray[Any] | None = None,
) -> Events:
    """Run one population; write its traces, and what is read of v where it is the readout."""
    samples, size, trace, steps = sheet.sample_spikes.size, own.order.size, sheet.traces[own.name], plan.deployment.timesteps
    last_v = np.empty((samples, size), np.int32)
    u = np.empty((0 if trace.u is None else samples, steps, size), np.int32)
    v = np.empty((samples if trace.v is not None or _reads_steps(plan, own.name) else 0, steps, size), np.int32)
    after = run_whole(steps, own, bias, samples, last_v, u, v, wires, before, outside)
    _write(plan, own, sheet, last_v, u, v)
    return after


def _write(
    plan: RunPlan,
    own: PackedPopulation,
    sheet: RunSheet,
    last_v: NDArray[np.int32],
    u_trace: NDArray[np.int32],
    v_trace: NDArray[np.int32],
) -> None:
    """Write down what a kernel found, [S, n], [S, T, n], in internal order."""
    trace = sheet.traces[own.name]
    for array, internal in ((trace.u, u_trace), (trace.v, v_trace)):
        if array is not None:
            array[:, :, own.order] = internal
    if own.name != plan.deployment.readout.population:
        return
    if not _reads_steps(plan, own.name):
        sheet.potential[:, own.order] = last_v
        return
    steps, held = plan.deployment.readout.steps(plan.deployment.timesteps), np.zeros(last_v.shape, np.int64)
    for step in steps:
        gather(held, v_trace[:, step], plan.deployment.readout.how, first=step == steps.start)
    sheet.potential[:, own.order] = held


def _reads_steps(plan: RunPlan, population: str) -> bool:
    """Whether v of other steps than the last is read of a population."""
    readout = plan.deployment.readout
    return population == readout.population and not readout.usual


def _run_loop(
    plan: RunPlan, names: tuple[str, ...], loop: Loop, held: InRegisters | None, events: dict[str, Events], sheet: RunSheet
) -> None:
    """Run the populations of a loop; write their events to ``events``."""
    samples, steps, width = sheet.sample_spikes.size, plan.deployment.timesteps, int(loop.first[-1])
    own = [plan.packed.populations[name] for name in names]
    arriving = [(one, place) for place, name in enumerate(names) for one in plan.deployment.into(name) if one.source not in names]
    outside = np.zeros((samples if arriving else 0, steps, width), np.int32 if held is None else np.int64)
    for one, place in arriving:
        _add_drive(plan, one.name, events[one.source], int(loop.first[place]), own[place], outside)
    starts = np.empty((len(names), samples, steps + 1), np.int64)
    most = max(population.order.size * population.most for population in own)
    sources = np.empty((len(names), samples, most * steps + 8), np.int32)
    last_v = np.empty((samples, width), np.int32)
    traces = sheet.traces[names[0]]
    u = np.empty((0 if traces.u is None else samples, steps, width), np.int32)
    read = any(_reads_steps(plan, name) for name in names)
    v = np.empty((samples if traces.v is not None or read else 0, steps, width), np.int32)
    present_loop(steps, loop, loop.usual if held is None else None, held, outside, starts, sources, last_v, u, v)
    for place, population in enumerate(own):
        first = int(loop.first[place])
        window = slice(first, first + population.order.size)
        _write(plan, population, sheet, last_v[:, window], u[:, :, window], v[:, :, window])
        events[population.name] = Events(starts[place], sources[place])


def _count_window(own: PackedPopulation, events: Events, when: tuple[int, int], sheet: RunSheet) -> None:
    """Write the readout's spikes of some steps as those that are read."""
    late, early = np.zeros_like(sheet.output_counts), np.zeros_like(sheet.output_counts)
    for stop, counts in ((when[1], late), (when[0], early)):
        event_lists.tally(np.ascontiguousarray(events.starts[:, : stop + 1]), events.sources, counts)
    sheet.output_counts[:, own.order] = late - early


def _finish(own: PackedPopulation, events: Events, sheet: RunSheet, *, read: bool) -> NDArray[np.int64]:
    """Count the spikes of a population, ``read``: of the readout, and write its spike trace."""
    counts = np.zeros((len(sheet.sample_spikes) if read else 1, own.order.size), np.int64)
    event_lists.tally(events.starts, events.sources, counts)
    sheet.sample_spikes[:] += events.starts[:, -1]
    if read:
        sheet.output_counts[:, own.order] = counts
    spikes = sheet.traces[own.name].spikes
    if spikes is not None:
        event_lists.spread(events.starts, events.sources, own.order, spikes.view(np.uint8))
    total = np.zeros(own.order.size, np.int64)
    total[own.order] = counts.sum(axis=0)
    return total
