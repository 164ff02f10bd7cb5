"""A chip as a Brian2 network whose float64 state carries its integers exactly.

One network holds all layers. A clock step is a step of the chip; a connection delivers within the step in which its source fires,
and its target reads what arrived in the next, which is Lava's latency of one; a synaptic delay of d steps comes on top. B copies
of the chip stand side by side as neurons of the same groups, and presentations follow one another in time.

Why float64 is exact: every number is whole, or has few bits. Sums of weights stay below 2**53 in any order. The decays multiply
|x| ≤ 2**31 by a multiple of 2**-12 and round towards zero. Weight exponents multiply by a power of two. The wraps subtract
multiples of 2**32 or 2**24 from sums whose bits span fewer than 53 places. Where Lava's int32 wraps, so does the code here; u wraps
once beyond 2**23, v is clipped (Lava 0.10 ``PyLifModelBitAcc``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import brian2
import numpy as np

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.engines.brian2_edits import NeuronEdits, Show, SynapseEdits, Values, Wires
from neurofault.engines.sheet import Sheet
from neurofault.inputs import Inputs

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

_STEP_OF_A_NEURON = """
u = alive*turned(int32(decayed(u, keep_u) + int32({drive})))
moved = clip(int32(decayed(v, keep_v) + u + bias), -8388607.0, 8388607.0)
fired = int(moved > theta)
v = alive*moved*(1 - fired)
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
    steps, depth = deployment.timesteps, len(deployment.layers)
    edits = [SynapseEdits(deployment, index, inputs.first_sample, len(inputs)) for index in range(1, depth)]
    synapses = sum(len(wires.weights) for edit in edits for wires in edit.wires)
    neurons = sum(layer.size for layer in deployment.layers)
    copies = max(1, min(len(inputs), _MOST_SYNAPSES // max(1, synapses), _MOST_NEURONS // neurons))
    with _numpy_target():
        chip = _Chip(deployment, inputs, copies, edits, record)
        network = brian2.Network(chip.objects())
        network.run((chip.presentations * steps + depth - 1) * _STEP)
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
        edits: of the synapses into each layer from 1 on.
        record: which traces to keep.
    """

    deployment: Deployment
    inputs: Inputs
    copies: int
    edits: list[SynapseEdits]
    record: Collection[str]
    now: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.clock = brian2.Clock(_STEP)
        self.presentations = -(-len(self.inputs) // self.copies)
        self.sheet = Sheet.blank(self.deployment, len(self.inputs), self.record)
        self.neurons = [NeuronEdits(self.deployment, index) for index in range(len(self.deployment.layers))]
        self.groups = [self._population(index) for index in range(len(self.deployment.layers))]
        self.synapses: list[tuple[int, Wires, Any]] = []
        for index, edits in enumerate(self.edits, 1):
            self.synapses += [(index, wires, self._connect(index, wires)) for wires in edits.wires]

    def objects(self) -> list[Any]:
        """Return everything that Brian2 has to run."""
        before = brian2.NetworkOperation(self._before, clock=self.clock, when="start")
        between = brian2.NetworkOperation(self._between, clock=self.clock, when="before_synapses")
        after = brian2.NetworkOperation(self._after, clock=self.clock, when="end")
        return [*self.groups, *(synapses for *_, synapses in self.synapses), before, between, after]

    def _population(self, index: int) -> Any:
        layer = self.deployment.layers[index]
        if index == 0 and self.inputs.events is not None:
            return self._given()
        wires = self.edits[index - 1].wires if index else []
        arrived = {_sum_of(layer.weight_exponent, one.delay) for one in wires}
        drive = " + ".join(f"shifted({name}, {layer.weight_exponent})" for name in sorted(arrived)) or "0"
        code = _STEP_OF_A_NEURON.format(drive=drive) + "".join(f"{name} = 0\n" for name in sorted(arrived))
        group = brian2.NeuronGroup(
            layer.size * self.copies,
            _MODEL + "".join(f"{name} : 1\n" for name in sorted(arrived)),
            threshold="leaves",
            reset="",
            clock=self.clock,
            namespace=_FUNCTIONS,
        )
        group.run_regularly(code, clock=self.clock, when="groups")
        return group

    def _given(self) -> Any:
        """Return the input population as a source of given events, its own damage applied."""
        assert self.inputs.events is not None
        steps, size, samples = self.deployment.timesteps, self.deployment.layers[0].size, len(self.inputs)
        events, damaged = self.inputs.events.copy(), NeuronsInTime(self.deployment, 0, self.inputs.first_sample, samples)
        for t in range(steps):
            events[:, t] = damaged.at(t).let_out(events[:, t], t)
        sample, step, neuron = np.nonzero(events)
        show, copy = np.divmod(sample, self.copies)
        order = np.argsort(show * steps + step, kind="stable")
        times = (show * steps + step)[order] * _STEP
        return brian2.SpikeGeneratorGroup(size * self.copies, (copy * size + neuron)[order], times, clock=self.clock)

    def _connect(self, index: int, wires: Wires) -> Any:
        layers, copies = self.deployment.layers, np.arange(self.copies)[:, None]
        name = _sum_of(layers[index].weight_exponent, wires.delay)
        steps = self.deployment.timesteps
        # a spike that a delay would carry into the next presentation is lost: the target's next step must be at least the delay
        inside = f"*int((t_in_timesteps + {(1 - index) % steps}) % {steps} >= {wires.delay})" if wires.delay else ""
        synapses = brian2.Synapses(
            self.groups[index - 1],
            self.groups[index],
            "w : 1",
            on_pre=f"{name}_post += w{inside}",
            delay=wires.delay * _STEP,
            clock=self.clock,
            namespace={},
        )
        synapses.connect(
            i=(copies * layers[index - 1].size + wires.sources).ravel(), j=(copies * layers[index].size + wires.targets).ravel()
        )
        synapses.w = np.tile(wires.weights, self.copies)
        return synapses

    def _in_step(self, index: int, ahead: int = 0) -> tuple[int, int] | None:
        """Return the presentation and step that a layer is in, ``ahead`` steps from now; None outside of all presentations."""
        own = self.now + ahead - index
        steps = self.deployment.timesteps
        return divmod(own, steps) if 0 <= own < self.presentations * steps else None

    def _show(self, presentation: int) -> Show:
        first = presentation * self.copies
        own = self.inputs[first : min(first + self.copies, len(self.inputs))]
        return Show(own.first_sample, self.copies, self.deployment.timesteps, own)

    def _before(self) -> None:
        """At the start of a step: begin samples, and change what the damage changes in neurons."""
        for index, (group, edits) in enumerate(zip(self.groups, self.neurons, strict=True)):
            at = self._in_step(index)
            if at is None or isinstance(group, brian2.SpikeGeneratorGroup):
                continue
            presentation, step = at
            if step == 0:
                edits.begin(self._show(presentation))
                _array(group, "u")[:] = 0
                _array(group, "v")[:] = self.deployment.layers[index].v_init
            if step == 0 or edits.varies:
                for name, values in edits.parameters(step).items():
                    _array(group, name)[:] = values.ravel()
            edits.upset(step, _array(group, "u"), _array(group, "v"))

    def _between(self) -> None:
        """Before spikes are delivered: set the weights that vary, as they were when those spikes arrived at their target's core."""
        for index, wires, synapses in self.synapses:
            at = self._in_step(index, ahead=1)
            if at is None or not wires.varying.size:
                continue
            presentation, step = at
            edits = self.edits[index - 1]
            if edits.presentation != presentation:
                edits.begin(self._show(presentation), presentation)
            if step >= wires.delay:
                weights = _array(synapses, "w").reshape(self.copies, -1)
                weights[:, -wires.varying.size :] = edits.varying(wires, step - wires.delay)

    def _after(self) -> None:
        """At the end of a step: write down what every layer did."""
        for index, group in enumerate(self.groups):
            at = self._in_step(index)
            if at is None:
                continue
            presentation, step = at
            samples = slice(presentation * self.copies, min((presentation + 1) * self.copies, len(self.inputs)))
            shown, size = samples.stop - samples.start, self.deployment.layers[index].size
            fired = np.zeros(self.copies * size, bool)
            fired[group.spikes] = True
            given = isinstance(group, brian2.SpikeGeneratorGroup)
            states = () if given else (_array(group, "u"), _array(group, "v"))
            self.sheet.note(index, step, samples, *(values.reshape(-1, size)[:shown] for values in (fired, *states)))
        self.now += 1


def _array(group: Any, name: str) -> Values:
    """Return the memory of a variable of a Brian2 group."""
    values: Values = group.variables[name].get_value()
    return values


def _sum_of(exponent: int, delay: int) -> str:
    """Return the variable that sums the weights of a delay: with an exponent below 0 each sum is rounded on its own."""
    return "arrived" if exponent >= 0 else f"arrived_{delay}"
