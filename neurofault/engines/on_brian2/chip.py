"""A chip as a Brian2 network whose float64 state carries its integers exactly.

One network holds all populations. A clock step is a step of the chip; a connection delivers within the step in which its source fires,
and its target reads what arrived in the next, which is Lava's latency of one; what the connection takes beyond it, and synaptic delays,
come on top. B copies of the chip stand side by side as neurons of the same groups, and presentations follow one another in time.

Why float64 is exact: every number is whole, or has few bits. Sums of weights stay below 2**53 in any order. The decays multiply
|x| ≤ 2**31 by a multiple of 2**-12 and round towards zero. Weight exponents multiply by a power of two. The wraps subtract
multiples of 2**32 or 2**24 from sums whose bits span fewer than 53 places. Where Lava's int32 wraps, so does the code here; u wraps
once beyond 2**23, v is clipped (Lava 0.10 ``PyLifModelBitAcc``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import brian2
import numpy as np

from neurofault.activity import Activity
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.on_brian2.edits import BrianSynapses, NeuronEdits, Show, SynapseEdits, Values
from neurofault.engines.sheet import Sheet
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import Law
from neurofault.inputs import Inputs, Spikes

_STEP = 1 * brian2.ms
_MOST_SYNAPSES = 2_000_000
_MOST_NEURONS = 200_000

_MODEL = """
u : 1
v : 1
keep_u : 1
keep_v : 1
bias : 1
theta : 1
alive : 1
forced : 1
leaves : boolean
"""
_LAW_OF_A_NEURON = """pause : 1
lowest : 1
counter : 1
resets : 1
waiting : 1
"""

_STEP_OF_A_NEURON = """
u = alive*turned(int32(decayed(u, keep_u) + int32({drive})))
moved = clip(int32(decayed(v, keep_v) + u + bias), -8388607.0, 8388607.0)
fired = int(moved > theta)
v = alive*moved*(1 - fired)
leaves = alive*(int(forced > 0) + int(forced < 0)*fired) > 0
"""


def _step_by_law(law: Law, drive: str) -> str:
    """Return the code of a step of neurons with another law than Lava's, or whose counter or reset may be broken."""
    above = "resets*int(v > theta)" if law.delayed else "0"
    before = "v*(1 - above)" if law.reset == "zero" else "v"
    loss = "above*theta" if law.reset == "subtract" else "0"
    kept = {"zero": "0", "subtract": "clip(moved - theta, -8388607.0, 8388607.0)", "none": "moved"}[law.reset]
    after = "moved" if law.delayed else f"resets*fired*{kept} + (1 - resets*fired)*moved"
    return f"""
u = alive*turned(int32(decayed(u, keep_u) + int32({drive})))
waiting = int(counter < 0)*waiting + int(counter >= 0)*counter
live = int(waiting == 0)
above = {above}
moved = clip(clip(int32(decayed({before}, keep_v) - {loss} + u + bias), -8388607.0, 8388607.0), lowest, 8388607.0)
fired = live*int(moved > theta)
v = alive*(live*({after}) + (1 - live)*v)
waiting = alive*(live*fired*pause + (1 - live)*(waiting - 1))
leaves = alive*(int(forced > 0) + int(forced < 0)*fired) > 0
"""


def _shifted(total: Values, exponent: int) -> Values:
    """Σ w·s as it enters u: times 2**exponent, floor, times 64."""
    return np.asarray(np.floor(total * 2.0 ** int(exponent)) * 64)


def _int32(value: Values) -> Values:
    """Wrap to 32 bits."""
    return np.asarray(value - np.floor((value + 2.0**31) / 2.0**32) * 2.0**32)


def _turned(current: Values) -> Values:
    """Wrap u, once, to (−2**23, 2**23]."""
    return np.asarray(current - np.where(current > 2.0**23, 2.0**24, 0) + np.where(current <= -(2.0**23), 2.0**24, 0))


def _decayed(state: Values, keep: Values) -> Values:
    """What a decay leaves, towards zero."""
    return np.asarray(np.trunc(state * keep))


def _function(code: Callable[..., Values], arguments: int) -> Any:
    """Return a function for Brian2's NumPy code, called as it is: Brian2's own wrapper writes every array out as text."""
    function = brian2.Function(code, arg_units=[1] * arguments, return_unit=1, arg_types=["any"] * arguments, return_type="float")
    function.implementations.add_implementation("numpy", code=code)
    return function


# Brian2 itself would render floor as a cast to int32, and divisions by constants as products with rounded literals.
_FUNCTIONS = {
    "shifted": _function(_shifted, 2),
    "int32": _function(_int32, 1),
    "turned": _function(_turned, 1),
    "decayed": _function(_decayed, 2),
}


def simulate(deployment: Deployment, inputs: Inputs, record: Collection[str]) -> Activity:
    """Present every sample for T steps, in as many copies of the chip as stay small."""
    steps, depth = deployment.timesteps, deployment.schedule.depth
    edits = {one.name: SynapseEdits(deployment, one, inputs.first_sample, len(inputs)) for one in deployment.connections}
    synapses = sum(len(wires.weights) for edit in edits.values() for wires in edit.wires)
    neurons = sum(population.size for population in deployment.populations)
    copies = max(1, min(len(inputs), _MOST_SYNAPSES // max(1, synapses), _MOST_NEURONS // neurons))
    with _numpy_target():
        chip = _Chip(deployment, inputs, copies, edits, record)
        network = brian2.Network(chip.objects())
        network.run((chip.presentations * steps + depth) * _STEP)
    return chip.sheet.activity(inputs.first_sample)


@contextmanager
def _numpy_target() -> Iterator[None]:
    """Let Brian2 run NumPy code, and leave the user's preference as it was."""
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        yield
    finally:
        brian2.prefs.codegen.target = before


@dataclass(eq=False)
class _Chip:
    """A Brian2 network of B copies of a chip, and what is read from it and written into it between the steps.

    Attributes:
        deployment: the chip.
        inputs: all samples.
        copies: B.
        edits: of the synapses of each connection.
        record: which traces to keep.
    """

    deployment: Deployment
    inputs: Inputs
    copies: int
    edits: Mapping[str, SynapseEdits]
    record: Collection[str]
    now: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.clock = brian2.Clock(_STEP)
        self.presentations = -(-len(self.inputs) // self.copies)
        self.sheet = Sheet.blank(self.deployment, len(self.inputs), self.record)
        populations = self.deployment.populations
        self.phase = self.deployment.schedule.phase
        self.neurons = {one.name: NeuronEdits(self.deployment, one.name) for one in populations}
        self.groups = {one.name: self._population(one) for one in populations}
        self.synapses: list[tuple[ChipConnection, BrianSynapses, Any]] = []
        for connection in self.deployment.connections:
            self.synapses += [(connection, one, self._connect(connection, one)) for one in self.edits[connection.name].wires]

    def objects(self) -> list[Any]:
        """Return everything that Brian2 has to run."""
        before = brian2.NetworkOperation(self._before, clock=self.clock, when="start")
        between = brian2.NetworkOperation(self._between, clock=self.clock, when="before_synapses")
        after = brian2.NetworkOperation(self._after, clock=self.clock, when="end")
        return [*self.groups.values(), *(synapses for *_, synapses in self.synapses), before, between, after]

    def _population(self, own: ChipPopulation) -> Any:
        given = self.inputs.of(own.name) if own.is_source else None
        if isinstance(given, Spikes):
            return self._given(own, given)
        arrived, drive = set(), []
        for connection in self.deployment.into(own.name):
            names = {self._sum_of(connection, wires.delay) for wires in self.edits[connection.name].wires}
            drive += [f"int32(shifted({name}, {connection.weight_exponent}))" for name in sorted(names)]
            arrived |= names
        ruled = self.neurons[own.name].ruled
        summed = " + ".join(drive) or "0"
        code = _step_by_law(own.law, summed) if ruled else _STEP_OF_A_NEURON.format(drive=summed)
        code += "".join(f"{name} = 0\n" for name in sorted(arrived))
        group = brian2.NeuronGroup(
            own.size * self.copies,
            _MODEL + (_LAW_OF_A_NEURON if ruled else "") + "".join(f"{name} : 1\n" for name in sorted(arrived)),
            threshold="leaves",
            reset="",
            clock=self.clock,
            namespace=_FUNCTIONS,
        )
        group.run_regularly(code, clock=self.clock, when="groups")
        return group

    def _given(self, own: ChipPopulation, given: Spikes) -> Any:
        """Return an input population as a source of given events, its own damage applied."""
        steps, size, samples = self.deployment.timesteps, own.size, len(self.inputs)
        events, damaged = given.to_dense(), NeuronsInTime(self.deployment, own.name, self.inputs.first_sample, samples)
        for t in range(steps):
            events[:, t] = damaged.at(t).let_out(events[:, t], t)
        sample, step, neuron = np.nonzero(events)
        show, copy = np.divmod(sample, self.copies)
        order = np.argsort(show * steps + step, kind="stable")
        times = (show * steps + step)[order] * _STEP
        return brian2.SpikeGeneratorGroup(size * self.copies, (copy * size + neuron)[order], times, clock=self.clock)

    def _connect(self, connection: ChipConnection, wires: BrianSynapses) -> Any:
        copies, name = np.arange(self.copies)[:, None], self._sum_of(connection, wires.delay)
        steps, phase = self.deployment.timesteps, self.phase[connection.target]
        # what would cross into the next presentation is lost: the target's next step must be at least what the spikes are late
        late = self.deployment.schedule.lag[connection.name] + wires.delay
        inside = f"*int((t_in_timesteps + {(1 - phase) % steps}) % {steps} >= {late})" if late else ""
        synapses = brian2.Synapses(
            self.groups[connection.source],
            self.groups[connection.target],
            "w : 1",
            on_pre=f"{name}_post += w{inside}",
            delay=(connection.delay - 1 + wires.delay) * _STEP,
            clock=self.clock,
            namespace={},
        )
        n_in, n_out = connection.synapses.n_in, connection.synapses.n_out
        synapses.connect(i=(copies * n_in + wires.sources).ravel(), j=(copies * n_out + wires.targets).ravel())
        synapses.w = np.tile(wires.weights, self.copies)
        return synapses

    def _sum_of(self, connection: ChipConnection, delay: int) -> str:
        """Return the variable that sums the weights of a delay: with an exponent below 0 each sum is rounded on its own."""
        name = f"arrived_{self.deployment.into(connection.target).index(connection)}"
        return name if connection.weight_exponent >= 0 else f"{name}_{delay}"

    def _in_step(self, population: str, ahead: int = 0) -> tuple[int, int] | None:
        """Return the presentation and step that a population is in, ``ahead`` steps from now; None outside of all presentations."""
        own = self.now + ahead - self.phase[population]
        steps = self.deployment.timesteps
        return divmod(own, steps) if 0 <= own < self.presentations * steps else None

    def _show(self, presentation: int) -> Show:
        first = presentation * self.copies
        own = self.inputs[first : min(first + self.copies, len(self.inputs))]
        return Show(own.first_sample, self.copies, self.deployment.timesteps, own)

    def _before(self) -> None:
        """At the start of a step: begin samples, and change what the damage changes in neurons."""
        for name, group in self.groups.items():
            at, edits = self._in_step(name), self.neurons[name]
            if at is None or isinstance(group, brian2.SpikeGeneratorGroup):
                continue
            presentation, step = at
            if step == 0:
                edits.begin(self._show(presentation))
                _array(group, "u")[:] = 0
                _array(group, "v")[:] = np.tile(np.broadcast_to(edits.population.v_init, edits.population.size), self.copies)
                if edits.ruled:
                    _array(group, "waiting")[:] = 0
            if step == 0 or edits.varies:
                for variable, values in edits.parameters(step).items():
                    _array(group, variable)[:] = values.ravel()
            edits.upset(step, _array(group, "u"), _array(group, "v"))

    def _between(self) -> None:
        """Before spikes are delivered: set the weights that vary, as they were when those spikes arrived at their target's core."""
        for connection, wires, synapses in self.synapses:
            at = self._in_step(connection.target, ahead=1)
            if at is None or not wires.varying.size:
                continue
            presentation, step = at
            edits = self.edits[connection.name]
            if edits.presentation != presentation:
                edits.begin(self._show(presentation), presentation)
            if step >= wires.delay:
                weights = _array(synapses, "w").reshape(self.copies, -1)
                weights[:, -wires.varying.size :] = edits.varying(wires, step - wires.delay)

    def _after(self) -> None:
        """At the end of a step: write down what every population did."""
        for name, group in self.groups.items():
            at = self._in_step(name)
            if at is None:
                continue
            presentation, step = at
            samples = slice(presentation * self.copies, min((presentation + 1) * self.copies, len(self.inputs)))
            shown, size = samples.stop - samples.start, self.neurons[name].population.size
            fired = np.zeros(self.copies * size, bool)
            fired[group.spikes] = True
            given = isinstance(group, brian2.SpikeGeneratorGroup)
            states = () if given else (_array(group, "u"), _array(group, "v"))
            self.sheet.note(name, step, samples, *(values.reshape(-1, size)[:shown] for values in (fired, *states)))
        self.now += 1


def _array(group: Any, name: str) -> Values:
    """Return the memory of a variable of a Brian2 group."""
    values: Values = group.variables[name].get_value()
    return values
