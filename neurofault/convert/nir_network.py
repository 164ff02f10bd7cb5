"""From what drives each population of a NIR graph to a :class:`Network`: names, delays, biases, what is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.affine import Affine, Term
from neurofault.convert.asked import PixelCoding
from neurofault.convert.chain import check_ends_in_neurons, source_under_current
from neurofault.convert.driven import Driven, is_population
from neurofault.convert.maps import Kernel, Map, Pool, window_of
from neurofault.convert.nir_flow import NirFlow, NirPort, Reached
from neurofault.convert.nir_timing import Arrival, MeantLink, TimedPlace, timing_of
from neurofault.convert.spiking_neurons import SpikingNeurons, spread
from neurofault.errors import ConversionError
from neurofault.graph import Connection, CubaLif, Dense, Encoding, Network, Population, Readout, Source, Sparse
from neurofault.graph.chains import not_a_chain
from neurofault.graph.readout import How
from neurofault.graph.synapses import MOST_DELAY, Synapses
from neurofault.numerals import plural

BIAS = ".bias"
"""Behind the name of a population: the one neuron that fires in every step and carries the biases in front of its currents."""


@dataclass(frozen=True, eq=False)
class Built:
    """A network, and what of it stands for what.

    Attributes:
        network: it.
        named: node → population; the readout of a graph that ends without neurons by the node that ends it.
        driven: node with neurons that became the input population itself, under a constant current; None: none.
        late: (node, node, steps of Delay between them) → steps that spikes act after they were sent.
    """

    network: Network
    named: Mapping[str, str]
    driven: str | None
    late: Mapping[tuple[str, str, int], int]


def built(
    where: str,
    title: str,
    flow: NirFlow,
    neurons: Mapping[str, SpikingNeurons],
    *,
    timesteps: int,
    coding: PixelCoding | None,
    readout: How | None,
) -> Built:
    """Build the network of a graph.

    Args:
        where: file name, for messages.
        title: the network's name.
        flow: what drives each population.
        neurons: of each of its nodes with neurons.
        timesteps: T.
        coding: how pixels become spikes; None, or several inputs: they take events.
        readout: ``count``; ``potential`` (the neurons that are read then never fire); ``largest`` or ``mean`` of their potentials, where they
            fire and reset as they do; None: ``count`` if they fire.

    Raises:
        ConversionError: neurons that never fire but should drive others, delays that do not fit, parameters of another shape.
    """
    answer = _answer(where, flow)
    reached, cells = {one.node: one for one in flow.neurons}, dict(neurons)
    if answer not in reached:
        check_ends_in_neurons(answer, readout)
        reached[answer], cells[answer] = Reached(answer, flow.answer), SpikingNeurons(None)
    if readout == "count" and cells[answer].threshold is None:
        raise ConversionError(f"layer {answer!r} never fires, so its spikes cannot be counted; use readout 'potential'")
    sending = {flow.ports[term.source].node for one in reached.values() for term in one.value.terms}
    if readout == "potential":
        if answer in sending:
            raise ConversionError(f"layer {answer!r} drives others, so it must fire; use readout 'count'")
        cells[answer] = replace(cells[answer], threshold=None)
    for node, own in cells.items():
        if own.threshold is None and (node != answer or node in sending):
            raise ConversionError(f"layer {node!r}: neurons that never fire are taken only as the last layer, whose answer is read")
    return _NirBuilder(where, flow, reached, cells, answer, readout).built(title, timesteps, coding)


def _answer(where: str, flow: NirFlow) -> str:
    """Return the node whose neurons are read; of a graph that ends without neurons, the node that ends it."""
    if not is_population(flow.answer):
        return flow.ending
    port = flow.ports[flow.answer.terms[0].source]
    if port.node in flow.inputs:
        raise ConversionError(f"{where}: the graph has no neurons and no weights: its answer is its input")
    if port.steps:
        raise ConversionError(
            f"{where}: node {flow.ending!r}: a Delay in front of the answer, which only makes it come later; leave it out"
        )
    return port.node


@dataclass(eq=False)
class _NirBuilder:
    where: str
    flow: NirFlow
    reached: dict[str, Reached]
    cells: dict[str, SpikingNeurons]
    answer: str
    readout: How | None

    def built(self, title: str, timesteps: int, coding: PixelCoding | None) -> Built:
        flow, one_input = self.flow, len(self.flow.inputs) == 1
        driven = self._driven() if coding is not None and one_input else None
        encoding = Encoding.for_pixels(coding.full_rate, coding.start, timesteps) if coding is not None and one_input else None
        unit = 1.0 if coding is None or not one_input or driven is not None else 1 / coding.full_rate
        shapes = {name: self._input_shape(name if driven is None else driven, shape) for name, shape in flow.inputs.items()}
        sources = [Population("input" if one_input else name, shapes[name], Source(encoding)) for name in flow.inputs]
        named = {name: one.name for name, one in zip(flow.inputs, sources, strict=True)}
        if driven is not None:
            (entering,) = flow.inputs
            sources = [Population("input", shapes[entering], source_under_current(driven, self.cells[driven], shapes[entering]))]
            del self.reached[driven], named[entering]
            named[driven] = "input"
        carried = {node: self._carried(node) for node in self.reached}
        groups = {node: self._groups(one.value) for node, one in self.reached.items()}
        places = [TimedPlace(name, True) for name in named]
        links = []
        for node, found in groups.items():
            places.append(TimedPlace(node, False))
            links += [MeantLink(port.node, node, port.steps, str(number)) for number, port in enumerate(found)]
            if np.any(carried[node]):
                places.append(TimedPlace(node + BIAS, False))
                links.append(MeantLink(node + BIAS, node, 0))
        timing = timing_of(self.where, places, [replace(one, name=str(number)) for number, one in enumerate(links)])
        arrivals = dict(zip(((one.source, one.target, one.steps) for one in links), timing.arrivals, strict=True))
        hidden = [node for node in timing.order if node in self.reached and node != self.answer]
        named |= {node: f"hidden{place}" for place, node in enumerate(hidden, 1)} | {self.answer: "output"}
        populations, connections = list(sources), list[Connection]()
        units = {node: unit if node in flow.inputs else 1.0 for node in named}
        for node in (each for each in timing.order if each in self.reached):
            name = named[node]
            if np.any(carried[node]):
                populations.append(Population(name + BIAS, (1,), CubaLif(1.0, 2.0)))
            populations.append(Population(name, self.reached[node].shape, self._neuron(node, carried[node])))
            connections += self._into(node, groups[node], arrivals, named, units)
            if np.any(carried[node]):
                connections.append(Connection(name + BIAS, name + BIAS, name, Dense(carried[node].reshape(-1, 1)), 1))
        fires = self.cells[self.answer].threshold is not None
        into = [one for one in connections if one.target == "output"]
        read = next(one for one in populations if one.name == "output")
        peak = None if fires else peak_of(read, [one.synapses for one in into], timesteps)
        how: How = "count" if fires else "potential"
        how = self.readout if self.readout in ("largest", "mean") else how
        network = Network(title, tuple(populations), tuple(connections), timesteps, Readout("output", how), peak)
        self._check_lags(network, named, arrivals)
        stands = "populations: " + ", ".join(f"{name} is node {node!r}" for node, name in named.items() if node != name)
        said = (*([stands] if not_a_chain(network) else []), *self._said(named, carried, arrivals))
        return Built(replace(network, notes=said), named, driven, {key: one.lag for key, one in arrivals.items()})

    def _driven(self) -> str | None:
        """Return the neurons that get the input itself and nothing else, and are the only ones that do."""
        (entering,) = self.flow.inputs
        taking = [
            one for one in self.reached.values() if any(self.flow.ports[term.source].node == entering for term in one.value.terms)
        ]
        if len(taking) != 1 or not is_population(taking[0].value) or taking[0].node == self.answer:
            return None
        return None if self.flow.ports[taking[0].value.terms[0].source].steps else taking[0].node

    def _input_shape(self, node: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of an input population: an image where a convolution reads it, else (n,)."""
        for one in self.reached.values():
            for term in one.value.terms:
                if self.flow.ports[term.source].node == node and isinstance(term.map, Kernel | Pool):
                    return term.map.in_shape
        return (math.prod(shape),)

    def _carried(self, node: str) -> NDArray[np.float64]:
        """Return the biases that enter a current with a memory, float64 [n]."""
        one = self.reached[node]
        remembers = np.broadcast_to(np.asarray(self._spread(node, "du"), np.float64) < 4095, (one.value.size,))
        return np.where(remembers, one.value.biases().reshape(-1).numpy(), 0.0)

    def _spread(self, node: str, field: str) -> float | NDArray[np.generic]:
        own = self.cells[node]
        fields = {"threshold": own.threshold, "du": own.du, "dv": own.dv, "bias": own.bias}
        value = fields[field]
        assert value is not None
        return spread(node, field, value, self.reached[node].shape)

    def _neuron(self, node: str, carried: NDArray[np.float64]) -> CubaLif:
        own = self.cells[node]
        threshold = None if own.threshold is None else self._spread(node, "threshold")
        if threshold is not None and not (np.all(np.asarray(threshold) > 0) and np.all(np.isfinite(np.asarray(threshold, float)))):
            raise ConversionError(f"layer {node!r}: thresholds must be finite and above 0")
        bias = self.reached[node].value.biases().reshape(-1).numpy() - carried + np.asarray(self._spread(node, "bias"))
        law = (own.reset, own.reset_delay, own.refractory) if threshold is not None else ("zero", 0, 0)
        return CubaLif(threshold, bias, self._spread(node, "du"), self._spread(node, "dv"), 0.0, None, *law)  # type: ignore[arg-type]  # scalar or array

    def _groups(self, value: Affine) -> dict[NirPort, list[Term]]:
        """Return the terms of a value by the port that they come from."""
        found: dict[NirPort, list[Term]] = {}
        for term in value.terms:
            found.setdefault(self.flow.ports[term.source], []).append(term)
        return found

    def _into(
        self,
        node: str,
        groups: Mapping[NirPort, Sequence[Term]],
        arrivals: Mapping[tuple[str, str, int], Arrival],
        named: Mapping[str, str],
        units: Mapping[str, float],
    ) -> list[Connection]:
        """Return what drives a population; delays of one source that differ become those of synapses where each pair is joined once."""
        stage, by_source = Driven(node, self.reached[node].value, None), dict[str, list[tuple[Arrival, Synapses]]]()
        for port, terms in groups.items():
            for term in terms:
                synapses = stage.synapses(replace(term, map=_kernel(term.map)), units[port.node])
                by_source.setdefault(port.node, []).append((arrivals[port.node, node, port.steps], synapses))
        others = [source for source in by_source if source != node]
        found, name = [], named[node]
        for source, parts in by_source.items():
            alone = source != node and len(others) == 1
            title = name if alone else f"{name}.rec" if source == node else f"{name}.{named[source]}"
            for number, (arrival, own) in enumerate(_together(parts)):
                more = f"#{number + 1}" if number else ""
                found.append(Connection(title + more, named[source], name, _delayed(own, arrival.extra), arrival.delay))
        return found

    def _said(
        self, named: Mapping[str, str], carried: Mapping[str, NDArray[np.float64]], arrivals: Mapping[tuple[str, str, int], Arrival]
    ) -> tuple[str, ...]:
        said = []
        loops = [one for one in arrivals if one[0] == one[1]]
        for node, own in carried.items():
            if np.any(own):
                said.append(
                    f"node {node!r} gets a bias through a synaptic current: a neuron {named[node] + BIAS!r} that fires in every step carries it"
                )
        for (source, target, steps), arrival in arrivals.items():
            if arrival.lag > arrival.meant:
                said.append(
                    f"spikes of node {source!r} act on {target!r} {plural(arrival.lag, 'step')} later, where the file means {arrival.meant}: a loop over several populations "
                    "takes a step for each of them on a chip"
                )
            elif not steps and arrival.lag and source != target:
                said.append(f"spikes of node {source!r} act on {target!r} one step later: they close a loop")
        if loops:
            said.append("neurons that drive themselves get their own spikes of the step before")
        if len(self.flow.inputs) > 1:
            said.append(f"{len(self.flow.inputs)} inputs ({', '.join(self.flow.inputs)}), which take events")
        return tuple(said)

    def _check_lags(self, network: Network, named: Mapping[str, str], arrivals: Mapping[tuple[str, str, int], Arrival]) -> None:
        """Refuse a graph in which populations would not begin when they should."""
        lags: dict[tuple[str, str], set[int]] = {}
        for one in network.connections:
            extra = 0 if one.synapses.delay is None else one.synapses.delay
            lags.setdefault((one.source, one.target), set()).update((network.schedule.lag[one.name] + np.unique(extra)).tolist())
        for (source, target, _), arrival in arrivals.items():
            if source in named and arrival.lag not in lags[named[source], named[target]]:
                raise ConversionError(
                    f"{self.where}: node {source!r}: no input reaches it, so the steps at which {target!r} gets its spikes do not fit; lead an input to it"
                )


def _kernel(linear: Map) -> Map:
    """Return a pooling as the convolution that it is."""
    if not isinstance(linear, Pool):
        return linear
    channels = linear.in_shape[0]
    return Kernel(window_of(linear, channels), linear.in_shape, linear.stride, groups=channels)


def _delayed(synapses: Synapses, extra: int) -> Synapses:
    """Return synapses with a delay of each on top of what they have."""
    if not extra:
        return synapses
    before = 0 if synapses.delay is None else synapses.delay
    return replace(synapses, delay=np.full(synapses.weight.shape, extra, np.int64) + before)


def _together(parts: Sequence[tuple[Arrival, Synapses]]) -> Sequence[tuple[Arrival, Synapses]]:
    """Return the connections of one source as one whose synapses differ in delay, where each pair of neurons is joined once and the delays fit."""
    first = min((one for one, _ in parts), key=lambda one: (one.delay + one.extra, one.extra))
    later = [one.delay + one.extra - first.delay - first.extra for one, _ in parts]
    if len(parts) == 1 or max(later) + first.extra > MOST_DELAY:
        return parts
    if all(isinstance(each, Dense) for _, each in parts):
        weights = np.stack([np.asarray(each.weight) for _, each in parts])
        if np.any(np.count_nonzero(weights, axis=0) > 1):
            return parts
        delays = np.where(weights != 0, np.reshape(later, (-1, 1, 1)), 0).sum(axis=0)
        return [(first, Dense(weights.sum(axis=0), delays if delays.any() else None))]
    listed = [each for _, each in parts if isinstance(each, Sparse)]
    targets, sources = (np.concatenate([getattr(each, field) for each in listed] or [[]]) for field in ("targets", "sources"))
    if len(listed) < len(parts) or len(np.unique(targets * listed[0].n_in + sources)) < len(targets):
        return parts
    weight = np.concatenate([np.asarray(each.weight) for each in listed])
    delay = np.concatenate([np.full(len(each.sources), more) for each, more in zip(listed, later, strict=True)])
    return [(first, Sparse.of(listed[0].n_out, listed[0].n_in, targets, sources, weight, delay if delay.any() else None))]


def peak_of(population: Population, into: Sequence[Synapses], timesteps: int) -> float:
    """Return a bound on |v| of neurons that never fire: half of all excitatory or all inhibitory sources firing at each step."""
    neuron = population.neuron
    assert isinstance(neuron, CubaLif)
    drive = float(np.abs(neuron.bias).max())
    for synapses in into:
        weight = np.asarray(synapses.weight, np.float64)
        if isinstance(synapses, Sparse):
            sums = [np.bincount(synapses.targets, np.maximum(sign * weight, 0), synapses.n_out) for sign in (1, -1)]
        else:
            rows = weight.reshape(len(weight), -1)
            sums = [np.maximum(sign * rows, 0).sum(axis=1) for sign in (1, -1)]
        drive += float(max(each.max(initial=0.0) for each in sums))
    steps = min(float(timesteps), float(4096 / max(int(np.min(neuron.dv)), 1)))
    memory = float(4096 / (np.min(neuron.du) + 1))
    return drive * steps * min(memory, float(timesteps)) / 2
