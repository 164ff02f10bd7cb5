"""A NIR graph by its own equations, in float64.

Each spike goes along the edges through matrices, convolutions and pools (torch's functions) and Delays to the neurons that it reaches, which are forward
Euler as :class:`neurofault.convert.nir_neurons.NodeDynamics` writes it, in NIR's own units and with decays that are not rounded. Nothing is composed, and
nothing of the network that was built is used but how late connections act (:mod:`neurofault.convert.nir_timing`), which NIR leaves open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurofault.convert.affine import image_of
from neurofault.convert.check import Heard
from neurofault.convert.nir_ends import flattened, is_neurons
from neurofault.convert.nir_fields import window_of
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_flow import NirFlow, tensor
from neurofault.convert.nir_network import Built
from neurofault.convert.nir_neurons import NodeDynamics
from neurofault.convert.nir_step import delay_steps
from neurofault.convert.spiking_neurons import spread


def run_by_equations(
    graph: UntypedGraph, flow: NirFlow, dynamics: Mapping[str, NodeDynamics], made: Built, shown: Mapping[str, Tensor], dt: float
) -> dict[str, Heard]:
    """Run the nodes of a graph, one step after the other.

    Args:
        graph: the graph, complete.
        flow: what drives each of its populations; of it the shapes alone are used.
        dynamics: of its neurons, by node.
        made: what was built of it; of it the order of the populations, the steps between them and the readout are used.
        shown: node → float64 [K, N, …], what it sends: inputs, and neurons that stand for one.
        dt: the time step.

    Returns:
        What each node with neurons got and gave; where the graph ends without neurons, its last node too.
    """
    ways = _NirWays.of(graph, dt)
    steps, samples = next(iter(shown.values())).shape[:2]
    nodes = {name: node for node, name in made.named.items()}
    order = [nodes[one.name] for one in made.network.populations if one.name in nodes]
    reached = {one.node: one.value.shape for one in flow.neurons if one.node not in shown}
    answer = nodes[made.network.readout.population]
    if answer not in reached:
        reached[answer] = flow.answer.shape
        ways.bare[graph.outputs[0]] = answer
    senders = {name: frames.shape[2:] for name, frames in shown.items()} | {
        name: reached[name] for name in reached if name in dynamics
    }
    constant = ways.constants({name: tuple(shape) for name, shape in senders.items()})
    drives, cells = {}, {}
    for name, shape in reached.items():
        drive = torch.zeros((steps, samples, *shape), dtype=torch.float64)
        drives[name] = drive + constant[name] if name in constant else drive
        if name in dynamics:
            fires = name != answer or made.network.readout.how != "potential"
            cells[name] = _NirCells.of(name, dynamics[name], drives[name], fires=fires)
    for step in range(steps):
        for name in (each for each in order if each in cells or each in shown):
            frame = shown[name][step] if name in shown else cells[name].take(step, drives[name][step])
            for target, tagged in ways.along(name, frame).items():
                for late, part in tagged.items():
                    at = step + made.late[name, target, late] if bool(part.any()) else steps
                    if at < steps:
                        drives[target][at] += part
    return {
        name: cells[name].heard(name, drive)
        if name in cells
        else Heard(name, drive.flatten(2), potential=drive.flatten(2).cumsum(0))
        for name, drive in drives.items()
    }


@dataclass(eq=False)
class _NirWays:
    """The nodes without neurons.

    Attributes:
        graph: the graph.
        dt: the time step.
        order: its nodes without neurons, each behind those that it gets something from.
        after: node → where its edges lead.
        bare: the Output, by the name of the node that ends a graph without neurons.
    """

    graph: UntypedGraph
    dt: float
    order: list[str]
    after: dict[str, list[str]]
    bare: dict[str, str]

    @classmethod
    def of(cls, graph: UntypedGraph, dt: float) -> _NirWays:
        after: dict[str, list[str]] = {name: [] for name in graph.nodes}
        waiting = dict.fromkeys(graph.nodes, 0)
        plain = {name for name, node in graph.nodes.items() if not is_neurons(node) and name not in graph.inputs}
        for source, target in graph.edges:
            after[source].append(target)
            waiting[target] += source in plain
        queue, order = deque(name for name in graph.nodes if name in plain and not waiting[name]), list[str]()
        while queue:
            order.append(queue.popleft())
            for target in after[order[-1]]:
                waiting[target] -= 1
                if target in plain and not waiting[target]:
                    queue.append(target)
        return cls(graph, dt, order, after, {})

    def along(self, name: str, frame: Tensor) -> dict[str, dict[int, Tensor]]:
        """Return what a frame [N, …] of a node brings to each node with neurons, by the steps of Delay on the way."""
        return self._walk({name: frame}, biased=False)

    def constants(self, senders: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Return what biases bring to each node with neurons in every step, [1, …]: its input while no node sends anything."""
        found = self._walk({name: torch.zeros((1, *shape), dtype=torch.float64) for name, shape in senders.items()}, biased=True)
        return {name: torch.stack(list(tagged.values())).sum(0) for name, tagged in found.items()}

    def _walk(self, sent: Mapping[str, Tensor], *, biased: bool) -> dict[str, dict[int, Tensor]]:
        got: dict[str, dict[int, Tensor]] = {}

        def give(source: str, tagged: Mapping[int, Tensor]) -> None:
            for target in self.after[source]:
                own = got.setdefault(target, {})
                for late, value in tagged.items():
                    own[late] = own[late] + value if late in own else value

        for name, frame in sent.items():
            give(name, {0: frame})
        for name in self.order:
            if name in got:
                give(name, self._through(name, got[name], biased=biased))
        return {
            self.bare.get(name, name): value
            for name, value in got.items()
            if name in self.bare or is_neurons(self.graph.nodes[name])
        }

    def _through(self, name: str, tagged: Mapping[int, Tensor], *, biased: bool) -> dict[int, Tensor]:
        node = self.graph.nodes[name]
        if type(node).__name__ != "Delay":
            made = {late: self._linear(name, node, value) for late, value in tagged.items()}
            bias = getattr(node, "bias", None)
            if biased and bias is not None:
                first = next(iter(made))
                made[first] = made[first] + tensor(bias).reshape(-1, *[1] * (made[first].dim() - 2))
            return made
        steps = np.broadcast_to(delay_steps(self.graph.where, name, node, self.dt), next(iter(tagged.values())).shape[1:])
        found: dict[int, Tensor] = {}
        for late, value in tagged.items():
            for more in np.unique(steps).tolist():
                part = value * torch.from_numpy(steps == more)
                found[late + more] = found[late + more] + part if late + more in found else part
        return found

    def _linear(self, name: str, node: Any, x: Tensor) -> Tensor:
        """Return what a node without neurons makes of [N, …], without its bias."""
        match type(node).__name__:
            case "Input" | "Output":
                return x
            case "Flatten":
                return x.reshape(-1, *flattened(self.graph, name, tuple(x.shape[1:])))
            case "Linear" | "Affine":
                return x @ tensor(node.weight).T
            case "Scale":
                return x * tensor(node.scale)
            case "Conv1d":
                _, stride, padding, dilation = window_of(node)
                return functional.conv1d(
                    x, tensor(node.weight), None, stride[1], padding[1], dilation[1], int(np.asarray(node.groups))
                )
            case "Conv2d":
                _, stride, padding, dilation = window_of(node)
                return functional.conv2d(x, tensor(node.weight), None, stride, padding, dilation, int(np.asarray(node.groups)))
            case kind:
                window, stride, _, _ = window_of(node)
                return functional.avg_pool2d(x, window, stride) * (float(np.prod(window)) if kind == "SumPool2d" else 1.0)


@dataclass(eq=False)
class _NirCells:
    """Neurons by NIR's equations, in NIR's units; ``reset``, ``reset_delay`` and ``refractory`` as of :class:`neurofault.graph.CubaLif`."""

    law: NodeDynamics
    fields: dict[str, Tensor]
    threshold: Tensor | None
    current: Tensor
    v: Tensor
    fired: Tensor
    potential: Tensor
    spikes: Tensor

    @classmethod
    def of(cls, name: str, dynamics: NodeDynamics, drive: Tensor, *, fires: bool) -> _NirCells:
        shape = tuple(drive.shape[2:])

        def each(what: str, value: NDArray[np.float64]) -> Tensor:
            spreads = spread(name, what, value, image_of(shape) or shape)
            return torch.from_numpy(np.array(np.broadcast_to(np.asarray(spreads, np.float64), (int(np.prod(shape)),))))

        fields = {what: each(what, getattr(dynamics, what)) for what in ("lost_i", "gain_i", "lost_v", "gain_v", "leak", "gain")}
        threshold = each("threshold", dynamics.threshold) if dynamics.threshold is not None and fires else None
        flat = drive.flatten(2)
        rest = torch.zeros_like(flat[0])
        return cls(
            dynamics, fields, threshold, rest, rest, rest.bool(), torch.empty_like(flat), torch.zeros_like(flat, dtype=torch.bool)
        )

    def take(self, step: int, drive: Tensor) -> Tensor:
        """Take a step's input [N, …] and return the spikes, float64 of its shape."""
        own, law = self.fields, self.law
        self.current = self.current * (1 - own["lost_i"]) + own["gain_i"] * drive.flatten(1)
        v = self.v * (1 - own["lost_v"]) + own["leak"] + own["gain_v"] * self.current
        if self.threshold is not None:
            if law.reset_delay:
                v = v - self.threshold * self.fired
            held = self.fired & bool(law.refractory)
            v = torch.where(held, self.v, v)
            self.fired = (v > self.threshold) & ~held
        self.potential[step] = v / own["gain"]
        self.spikes[step] = self.fired
        match law.reset:
            case "zero":
                v = torch.where(self.fired, 0.0, v)
            case "subtract" if self.threshold is not None and not law.reset_delay:
                v = v - self.threshold * self.fired
        self.v = v
        return self.fired.double().reshape(drive.shape)

    def heard(self, name: str, drive: Tensor) -> Heard:
        """Return what they got and gave."""
        given = drive.flatten(2) + self.fields["leak"] / self.fields["gain"]
        fired = None if self.threshold is None else self.spikes
        return Heard(name, given, None if fired is None else fired.double(), fired, self.potential)
