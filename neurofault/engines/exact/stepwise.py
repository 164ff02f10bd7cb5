"""The stepwise engine: every edit that a damage can hold, with its time window, one step after the other over a batch of samples.

Slower than the exact engine and equal to it bit for bit; it runs a chip whose damage is more than permanent dead neurons and
replaced weights, and runs that start or end within a sample. The order of events in a step is defined in
:mod:`neurofault.damage.damage`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, Traces, gather, scores_from
from neurofault.damage.damage import Damage, NeuronEdit
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.currents import Currents
from neurofault.engines.exact.packing import exponent_out_of_range, sums_out_of_range
from neurofault.engines.exact.sample_layout import SampleLayout
from neurofault.engines.exact.states import checked, follows, joined_states, laid_out, window_of
from neurofault.errors import StalledError, UsageError
from neurofault.graph import arithmetic
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.law import step as step_of_law
from neurofault.inputs import Bias, Inputs, Spikes, State

APPLIED = frozenset({
    "silent", "rate", "du", "dv", "vth", "bias_mantissa", "own_bias", "flips_u", "flips_v", "noise", "weights", "terms", "delays",
    "messages", "counter", "kept", "goes_on",
})  # fmt: skip
"""What edits may do to a step here (``does`` of their classes)."""
_BATCH_STATES = 1 << 22
_Kind = TypeVar("_Kind", bound=np.generic)


class PartEngine(Protocol):
    """Something that runs some populations of a deployment."""

    def run_part(
        self,
        deployment: Deployment,
        part: Collection[str],
        inputs: Inputs,
        record: Collection[str] = (),
        often: Mapping[str, NDArray[np.uint8]] = ...,
    ) -> Activity:
        """Run some populations whose own damage is plain; see :meth:`neurofault.engines.exact.engine.ExactEngine.run_part`."""
        ...


@dataclass(frozen=True)
class StepwiseEngine:
    """Runs a deployment in this process with NumPy, a step at a time.

    Attributes:
        plain: an engine to which populations are handed whose damage is :attr:`Damage.plain`, in runs of all steps of samples that start
            anew; None: all are run here.
        name: the engine's.
    """

    plain: PartEngine | None = None
    name: str = "stepwise"

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the connection."""
        return exponent_out_of_range(deployment) or sums_out_of_range(deployment)

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

        Raises:
            StalledError: a hung core stops the chip.
            UsageError: an input gets nothing, or a state or a stop that does not fit the samples.
        """
        inputs = inputs.named(deployment.inputs)
        stream = deployment.reset == "never"
        if stream:
            inputs = follows(deployment, inputs, state, stop)
        part = checked(deployment, len(inputs), state, stop)
        hung = deployment.damage.stalled(inputs.first_sample + len(inputs), deployment.timesteps, deployment.schedule.depth)
        if hung:
            raise StalledError(f"the chip stalls: core {', '.join(map(str, hung))} hangs and the mesh waits for it")
        largest = max(population.size for population in deployment.populations)
        batch = max(1, _BATCH_STATES // (largest * deployment.timesteps))
        keep = stream or state is not None or stop is not None
        joining = deployment.damage.joining
        if joining is not None and not stream and keep and len(inputs) != 1:
            raise UsageError(f"{joining}: a run that starts or ends within a sample is of that sample alone, not of {len(inputs)}")
        plain = None if keep else self.plain
        parts: list[Activity] = []
        left: dict[str, _Cells] | None = None
        for start in range(0, len(inputs), batch):
            window = slice(start, start + batch)
            before = parts[-1].state if stream and parts else state
            own = before if before is None or stream else window_of(before, window)
            one = _Run(deployment, inputs[window], record, part, own, plain, left)
            parts.append(one.activity(keep=keep))
            left = one.left
        names = [population.name for population in deployment.populations]
        return Activity(
            np.concatenate([one.scores for one in parts]),
            {name: np.sum([one.spike_counts[name] for one in parts], axis=0, dtype=np.int64) for name in names},
            np.concatenate([one.sample_spikes for one in parts]),
            {name: _joined([one.traces[name] for one in parts]) for name in (names if record else [])},
            parts[-1].state if stream else joined_states([one.state for one in parts if one.state is not None]),
        )


def _joined(parts: list[Traces]) -> Traces:
    """Put the traces of batches one after the other."""
    first = parts[0]
    return Traces(
        None if first.u is None else np.concatenate([part.u for part in parts if part.u is not None]),
        None if first.v is None else np.concatenate([part.v for part in parts if part.v is not None]),
        None if first.spikes is None else np.concatenate([part.spikes for part in parts if part.spikes is not None]),
    )


class _Run:
    """A run of a batch of samples.

    Args:
        deployment: the chip.
        inputs: the batch.
        record: traces to keep.
        steps: which of the T steps are run.
        state: what stood before them; None: the first is the sample's first.
        plain: see :class:`StepwiseEngine`.
        before: populations that go on from one sample to the next, as the samples before these left them; None: there were none.

    Attributes:
        left: such populations, as these samples left them.
    """

    def __init__(
        self,
        deployment: Deployment,
        inputs: Inputs,
        record: Collection[str],
        steps: range,
        state: State | None,
        plain: PartEngine | None,
        before: Mapping[str, _Cells] | None,
    ) -> None:
        self.deployment, self.inputs, self.record, self.state = deployment, inputs, record, state
        self.before, self.left = before, dict[str, _Cells]()
        known = 0 if state is None else max((one.shape[1] for one in state.flying.values()), default=0)
        self.rows, self.steps = laid_out(deployment, inputs, steps, known)
        self.sent: dict[str, NDArray[Any]] = {}
        self.traces: dict[str, Traces] = {}
        self.u: dict[str, NDArray[np.int64]] = {}
        self.v: dict[str, NDArray[np.int64]] = {}
        self.own: dict[str, dict[str, NDArray[np.int64]]] = {}
        self.flying: dict[str, int] = {}
        self.scores: NDArray[np.int64] | None = None
        self._read: list[NDArray[np.int64]] = []
        islands = deployment.schedule.islands
        place = 0
        while place < len(islands):
            end = place if plain is None else _plain_until(deployment, place)
            if plain is not None and end > place:
                self._hand_over(plain, [name for island in islands[place:end] for name in island])
            else:
                end = place + 1
                self._go(islands[place])
            place = end

    def _hand_over(self, plain: PartEngine, names: Collection[str]) -> None:
        """Let another engine run some populations."""
        deployment = self.deployment
        outside = {one.source for name in names for one in deployment.into(name) if one.source not in names}
        often = {name: self.sent[name] for name in outside if self.sent[name].dtype == np.uint8}
        parts = dict(self.inputs.parts)
        parts |= {name: Spikes.dense(self.sent[name]) for name in outside - often.keys()}
        biases = {name: part for name, part in parts.items() if isinstance(part, Bias)}
        spikes = {name: part for name, part in parts.items() if isinstance(part, Spikes)}
        first = self.inputs.first_sample
        inputs = Inputs(biases, spikes, first) if parts else Inputs(first_sample=first, samples=len(self.inputs))
        activity = plain.run_part(deployment, names, inputs, {*self.record, "spikes"}, often)
        for name in names:
            trace = activity.traces[name]
            assert trace.spikes is not None
            self.sent[name] = trace.spikes
            self.traces[name] = trace if "spikes" in self.record else replace(trace, spikes=None)
        if deployment.readout.population in names:
            self.scores = activity.scores

    def _go(self, island: Sequence[str]) -> None:
        """Run the populations of an island."""
        rows, steps = self.rows, self.steps
        if not rows.stream and any(
            isinstance(edit, NeuronEdit) and "goes_on" in edit.does and edit.population in island
            for edit in self.deployment.damage.edits
        ):
            rows, steps = rows.in_a_row, range(steps.start, (rows.samples - 1) * rows.timesteps + steps.stop)
        first, stop = steps.start, steps.stop
        for name in island:
            chip = self.deployment.population(name)
            several = chip.law.arithmetic.spikes > 1 and not chip.is_source
            self.sent[name] = np.zeros((*self.rows.shape, chip.size), np.uint8 if several else bool)
        self._take_off(island)
        cells = [_Cells(self, name, rows, steps) for name in island]
        for cell in cells:
            for currents, inside in cell.currents:
                currents.receive(max(0, first - currents.longest), first if inside else stop)
        for t in steps:
            for cell in cells:
                for currents, inside in cell.currents:
                    if inside:
                        currents.receive(t, t + 1)
                cell.step(t)
                if cell.chip.name == self.deployment.readout.population:
                    self._read_step(cell.v, t % rows.timesteps, begins=t == first)
        for name, cell in zip(island, cells, strict=True):
            self.u[name], self.v[name] = cell.u, cell.v
            if cell.chip.law.states:
                self.own[name] = {what: cell.own[what] for what in cell.chip.law.states}
            if rows is not self.rows:
                self.left[name] = cell
            spikes = self._by_sample(self.sent[name][:, self.steps.start : self.steps.stop]) if "spikes" in self.record else None
            u, v = (None if one is None else self._by_sample(one) for one in (cell.u_trace, cell.v_trace))
            self.traces[name] = Traces(u, v, spikes)

    def _read_step(self, v: NDArray[np.int64], own: int, *, begins: bool) -> None:
        """Add step ``own`` of a sample to what is read of the readout's potentials; ``begins``: it is the run's first."""
        readout = self.deployment.readout
        steps = readout.steps(self.deployment.timesteps)
        if begins or own == 0:
            self._read.append(np.zeros(v.shape, np.int64))
            if own and self.state is not None and self.state.read is not None:
                self._read[-1][...] = self.state.read
        if own in steps:
            gather(self._read[-1], v, readout.how, first=own == steps.start)

    def _by_sample(self, array: NDArray[_Kind]) -> NDArray[_Kind]:
        """Return [rows, steps that were run, n] as [N, steps of a sample that were run, n]."""
        return array.reshape(len(self.inputs), -1, array.shape[2])

    def _take_off(self, island: Sequence[str]) -> None:
        """Put the spikes that were on their way where they were sent."""
        for name in island if self.state is not None else ():
            for one in self.deployment.out_of(name):
                flying = None if self.state is None else self.state.flying.get(one.name)
                if flying is not None:
                    known = min(flying.shape[1], self.steps.start)
                    self.sent[name][:, self.steps.start - known : self.steps.start] = flying[:, flying.shape[1] - known :]

    def activity(self, *, keep: bool) -> Activity:
        """Return the result; ``keep``: with the state."""
        deployment, names = self.deployment, [population.name for population in self.deployment.populations]
        first, stop = self.steps.start, self.steps.stop
        spikes = {name: self._by_sample(self.sent[name][:, first:stop]) for name in names}
        state, scores = None, self.scores
        if scores is None:
            read, how = deployment.readout.population, deployment.readout.how
            window = deployment.readout.steps(self.rows.timesteps)
            begin = first % self.rows.timesteps  # of several samples all steps are there
            counted = slice(max(window.start - begin, 0), max(window.stop - begin, 0))
            counts = spikes[read][:, counted].sum(axis=1, dtype=np.int64)
            if self.state is not None and self.state.counts is not None and first % self.rows.timesteps:  # within a sample
                counts += self.state.counts
            neurons, last = (
                NeuronsInTime(deployment, read, self.inputs.first_sample, len(self.inputs)),
                (stop - 1) % self.rows.timesteps,
            )
            silent = np.broadcast_to(neurons.at(min(last, window.stop - 1)).silent, counts.shape)
            held = np.concatenate(self._read)
            scores = scores_from(held, counts, how, silent)
            if keep:
                state = State(
                    last + 1,
                    {name: self.u[name].astype(np.int32) for name in names},
                    {name: self.v[name].astype(np.int32) for name in names},
                    {one.name: self._flying(one.source, one.name) for one in deployment.connections if self.flying[one.name]},
                    counts[-1:] if self.rows.stream else counts,
                    self.inputs.first_sample + len(self.inputs) - 1 if self.rows.stream else 0,
                    {name: {what: held.astype(np.int32) for what, held in own.items()} for name, own in self.own.items()},
                    None if deployment.readout.usual else held[-1:] if self.rows.stream else held,
                )
        return Activity(
            scores,
            {name: own.sum(axis=(0, 1), dtype=np.int64) for name, own in spikes.items()},
            np.sum([own.sum(axis=(1, 2), dtype=np.int64) for own in spikes.values()], axis=0, dtype=np.int64),
            {name: self.traces[name] for name in names} if self.record else {},
            state,
        )

    def _flying(self, source: str, connection: str) -> NDArray[Any]:
        """Return bool [N, d, n_in], or uint8 how many: the spikes of the last d steps."""
        known = self.sent[source][:, max(0, self.steps.stop - self.flying[connection]) : self.steps.stop]
        missing = self.flying[connection] - known.shape[1]
        return np.pad(known, ((0, 0), (missing, 0), (0, 0)))


class _Cells:
    """A population in a run.

    Attributes:
        currents: what arrives, and whether its source is of the same island.
        u, v: int64 [rows, n].
        own: the law's own states by name, and ``waiting``, 0 where the law has no refractory steps.
        u_trace, v_trace: int32 [rows, steps that are run, n], if recorded.
    """

    def __init__(self, run: _Run, name: str, rows: SampleLayout, steps: range) -> None:
        deployment, inputs, self._rows = run.deployment, run.inputs, rows
        self._wide = run.deployment.population(name).law.arithmetic != LOIHI  # its registers say what they hold
        self.chip, self.out, self._first = deployment.population(name), _in_rows(rows, run.sent[name]), steps.start
        self._neurons = NeuronsInTime(deployment, name, rows.first_sample, rows.samples)
        presented = inputs.of(name) if self.chip.is_source else None
        self._given = presented.mantissa if isinstance(presented, Bias) else None
        self._events = presented.to_dense() if isinstance(presented, Spikes) else None
        self._before = rows.samples - len(inputs)
        (samples, _), size = rows.shape, self.chip.size
        self._start = 0 if self._events is not None else self.chip.v_init
        self.u, self.v = np.zeros((samples, size), np.int64), np.full((samples, size), self._start, np.int64)
        self.own = {what: np.zeros((samples, size), np.int64) for what in ("waiting", *self.chip.law.states)}
        if run.state is not None:
            self.u[:], self.v[:] = run.state.u[name], run.state.v[name]
            for what, held in run.state.own.get(name, {}).items():
                self.own[what][:] = held
        left = None if run.before is None else run.before.get(name)
        if left is not None:
            self.u, self.v, self.own = left.u, left.v, left.own
        self._anew = range(steps.start if left is not None else steps.start + 1, steps.stop) if rows.cleared else range(0)
        shape = (samples, len(steps), size)
        self.u_trace, self.v_trace = (np.zeros(shape, np.int32) if trace in run.record else None for trace in ("u", "v"))
        island = next(each for each in deployment.schedule.islands if name in each)
        self.currents = []
        for one in deployment.into(name):
            currents = Currents(deployment, one, _in_rows(rows, run.sent[one.source]), rows)
            run.flying[one.name] = currents.lag + currents.longest
            self.currents.append((currents, one.source in island))

    def step(self, t: int) -> None:
        """Run one step of the rows; write the spikes that leave."""
        sample, own = divmod(t, self._rows.timesteps)
        given = slice(sample - self._before, sample - self._before + 1) if self._rows.stream else slice(None)
        now = self._neurons.one(sample, own) if self._rows.stream else self._neurons.at(own)
        if self._events is not None:
            self.out[:, t] = now.let_out(self._events[given, own], own)
            return
        if own == 0 and t in self._anew:
            self._begin(now.goes_on)
        now.upset(self.u, self.v, self.chip.law.arithmetic)
        drive = np.zeros(self.u.shape, np.int64)
        for currents, _ in self.currents:
            drive += currents.at(t)
        mantissa = now.mantissa(
            None if self._given is None else self._neurons.noisy(self._given[given], own, sample if self._rows.stream else None)
        )
        bias = arithmetic.bias_of(mantissa, self.chip.bias_exponent)
        stuck = now.counter >= 0
        own_states = {what: self.own[what] for what in (*self.chip.law.states, *(("waiting",) if stuck.any() else ()))}
        np.copyto(self.own["waiting"], now.counter, where=stuck)
        fired = step_of_law(
            self.u, self.v, drive if self._wide else arithmetic.wrap32(drive), now.du, now.dv, now.vth, bias, self.chip.law,
            own_states, now.kept if now.kept.any() else None,
        )  # fmt: skip
        for state in (self.u, self.v, *self.own.values()):
            state[np.broadcast_to(now.silent, state.shape)] = 0
        self.out[:, t] = now.let_out(fired, own)
        for array, state in ((self.u_trace, self.u), (self.v_trace, self.v)):
            if array is not None:
                array[:, t - self._first] = state

    def _begin(self, goes_on: NDArray[np.bool_]) -> None:
        """Clear who does not go on with what the sample before left."""
        for state, value in ((self.u, 0), (self.v, self._start), *((held, 0) for held in self.own.values())):
            state[...] = np.where(goes_on, state, value)


def _in_rows(rows: SampleLayout, sent: NDArray[Any]) -> NDArray[Any]:
    """Return the same spikes as some layout has them; what is written there is written to all."""
    return sent.reshape(*rows.shape, sent.shape[2])


def _plain_until(deployment: Deployment, place: int) -> int:
    """Return the first island from ``place`` on with a damage of its own that is not plain; the number of islands if there is none."""
    special = set()
    for edit in deployment.damage.edits:
        if not Damage((edit,)).plain:
            connection: str | None = getattr(edit, "connection", None)
            special.add(getattr(edit, "population", None) if connection is None else deployment.connection(connection).target)
    islands = deployment.schedule.islands
    return next((at for at in range(place, len(islands)) if special & set(islands[at])), len(islands))
