"""A deployment as a torch module made of snnTorch neurons: differentiable, and exact where its arithmetic can be.

The forward pass is whole numbers in float32. Gradients flow through spikes by a surrogate, and straight through the floor of
negative weight exponents; in loops they go back through the steps.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurofault.activity import Activity
from neurofault.damage.fold import SynapseFold
from neurofault.deploy.deployment import Deployment
from neurofault.engines.sheet import Sheet
from neurofault.engines.wiring import dense_weights, edits_of
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import places
from neurofault.inputs import Bias, Inputs, Spikes

_SURROGATE_SLOPE = 5.0
_BATCH_VALUES = 1 << 20


class Response(NamedTuple):
    """What the twin answers, differentiable.

    Attributes:
        potential: float32 [N, n_out], v of the readout after step T.
        counts: float32 [N, n_out], its spikes.
        rates: for each population float32 [N, n], its spikes a step.
    """

    potential: Tensor
    counts: Tensor
    rates: tuple[Tensor, ...]


class TwinState(NamedTuple):
    """One population after one of its steps: float32 [N, n] each."""

    u: Tensor
    v: Tensor
    spikes: Tensor


_NOTHING = TwinState(*[torch.empty(0)] * 3)


class Twin(nn.Module):
    """A deployment whose weights are parameters, in the chip's weight unit, and whose spikes have surrogate gradients.

    Dead neurons stay dead; synapses of which no stored bit can be written keep their value whatever the parameters become.
    """

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.timesteps = deployment.timesteps
        self.populations = nn.ModuleList(TwinPopulation(deployment, one) for one in deployment.populations)
        self.connections = nn.ModuleList(_synapses(deployment, one) for one in deployment.connections)
        names, schedule = [one.name for one in deployment.populations], deployment.schedule
        self._places = {name: place for place, name in enumerate(names)}
        self._wires = {one.name: place for place, one in enumerate(deployment.connections)}
        self._read = names.index(deployment.readout.population)
        # in one step the sources of spikes without a lag come before their targets
        self._order = sorted(range(len(names)), key=lambda place: schedule.phase[names[place]])
        self._into = [
            [(self._wires[one.name], self._places[one.source], schedule.lag[one.name]) for one in deployment.into(name)]
            for name in names
        ]
        self._longest = [max((schedule.lag[one.name] for one in deployment.out_of(name)), default=0) for name in names]

    def population(self, name: str) -> TwinPopulation:
        """Return the population of a name."""
        return cast(TwinPopulation, self.populations[self._places[name]])

    def weight(self, connection: str) -> nn.Parameter:
        """Return the weights of a connection, of the shape of its synapses' weights."""
        return cast(nn.Parameter, self.connections[self._wires[connection]].weight)

    def steps(self, inputs: Inputs) -> Iterator[list[TwinState]]:
        """Yield, for each of the T steps of a sample, the state of every population in its own step."""
        populations = [cast(TwinPopulation, population) for population in self.populations]
        potentials = [population.begin(len(inputs)) for population in populations]
        given = [_given(population, inputs) for population in populations]
        # of the last steps, that of step t at t modulo their number
        sent = [[_NOTHING.spikes] * (longest + 1) for longest in self._longest]
        for step in range(self.timesteps):
            states: list[TwinState] = [_NOTHING] * len(populations)
            for place in self._order:
                population, (drive, events) = populations[place], given[place]
                if events is not None:
                    spikes = events[:, step].float() * population.alive
                    state = TwinState(torch.zeros_like(spikes), torch.zeros_like(spikes), spikes)
                else:
                    arriving = [
                        self.connections[wires](sent[source][(step - lag) % len(sent[source])])
                        for wires, source, lag in self._into[place]
                        if step >= lag
                    ]
                    state = population.advance(potentials[place], arriving, drive)
                potentials[place] = state.v
                sent[place][step % len(sent[place])] = state.spikes
                states[place] = state
            yield states

    def forward(self, inputs: Inputs) -> Response:
        """Present samples for T steps from the initial state."""
        totals: list[Tensor] = []
        states: list[TwinState] = []
        for states in self.steps(inputs):
            totals = [state.spikes + (totals[place] if totals else 0) for place, state in enumerate(states)]
        return Response(states[self._read].v, totals[self._read], tuple(total / self.timesteps for total in totals))


def _given(population: TwinPopulation, inputs: Inputs) -> tuple[Tensor | None, Tensor | None]:
    """Return what drives an input: biases [N, n] in the unit of v, or events [N, T, n]; (None, None) for what is no input."""
    part = inputs.of(population.name) if population.is_source else None
    match part:
        case Bias(mantissa=mantissa):
            return torch.from_numpy(bias_of(mantissa, population.bias_exponent)).float(), None
        case Spikes():
            return None, torch.from_numpy(part.to_dense())
    return None, None


def present(deployment: Deployment, inputs: Inputs, record: Collection[str]) -> Activity:
    """Present every sample for T steps to the twin of a deployment, in batches of about a million values."""
    module, sheet = Twin(deployment), Sheet.blank(deployment, len(inputs), record)
    batch = max(1, _BATCH_VALUES // _values(deployment))
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            samples = slice(start, min(start + batch, len(inputs)))
            for step, states in enumerate(module.steps(inputs[samples])):
                for population, state in zip(deployment.populations, states, strict=True):
                    sheet.note(population.name, step, samples, (state.spikes > 0).numpy(), state.u.numpy(), state.v.numpy())
    return sheet.activity(inputs.first_sample)


def _values(deployment: Deployment) -> int:
    """Return how many values a sample needs at most: one a neuron, or the unfolded input of a convolution."""
    convolutions = [one.synapses for one in deployment.connections if isinstance(one.synapses, Conv)]
    unfolded = [conv.in_shape[0] * math.prod((*conv.weight.shape[2:], *conv.out_shape[1:])) for conv in convolutions]
    return max([*unfolded, *(population.size for population in deployment.populations)])


class _Spike(torch.autograd.Function):
    """A step whose derivative is that of a fast sigmoid of the potential in units of the threshold (Zenke and Ganguli 2018)."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(excess)
        ctx.scale = scale
        return (excess > 0).to(excess.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (excess,) = ctx.saved_tensors
        return gradient / (ctx.scale * (1 + _SURROGATE_SLOPE * excess.abs() / ctx.scale) ** 2), None


def _spikes(excess: Tensor, scale: float) -> Tensor:
    """Return 1 where ``excess`` is above 0."""
    return cast(Tensor, _Spike.apply(excess, scale))  # type: ignore[no-untyped-call]  # untyped in torch


class TwinPopulation(nn.Module):
    """One population: an snnTorch ``Leaky``."""

    alive: Tensor
    bias: Tensor
    v_init: Tensor

    def __init__(self, deployment: Deployment, own: ChipPopulation) -> None:
        super().__init__()
        self.name, self.is_source = own.name, own.is_source
        self.size, self.bias_exponent = own.size, own.bias_exponent
        alive = ~deployment.damage.silent(own.name, own.size)
        self.register_buffer("alive", torch.from_numpy(alive).float())
        self.register_buffer("bias", torch.from_numpy(bias_of(own.bias_mantissa, own.bias_exponent)).float())
        self.register_buffer("v_init", torch.from_numpy(np.broadcast_to(own.v_init, (own.size,)).astype(np.float32)))
        threshold = own.vth.astype(np.float64) * 64
        scale = float(np.clip(np.median(threshold), 64, STATE_LIMIT))
        far = 4.0 * STATE_LIMIT if own.law.reset == "subtract" else np.inf  # 0 times infinity is no number
        reachable = torch.from_numpy(np.where(alive & (threshold < STATE_LIMIT), threshold, far)).float()
        self.neurons = snntorch.Leaky(
            beta=1.0,
            threshold=reachable,
            reset_mechanism=own.law.reset,
            reset_delay=own.law.delayed,
            spike_grad=partial(_spikes, scale=scale),
        )
        snntorch.SpikingNeuron.instances.remove(self.neurons)  # snnTorch would keep every neuron ever made

    def begin(self, samples: int) -> Tensor:
        """Return v before a sample's first step, [N, n]."""
        return (self.v_init * self.alive).expand(samples, self.size)

    def advance(self, v: Tensor, arriving: list[Tensor], drive: Tensor | None) -> TwinState:
        """Do one step: what comes over each connection [N, n], or the bias of an input neuron [N, n] in the unit of v."""
        current = sum(arriving[1:], arriving[0]) * self.alive if arriving else torch.zeros_like(v)
        bias = self.bias if drive is None else drive
        spikes, v = self.neurons(current + bias * self.alive, v)
        return TwinState(current, v.clamp(1 - STATE_LIMIT, STATE_LIMIT - 1), spikes)


def _synapses(deployment: Deployment, connection: ChipConnection) -> nn.Module:
    """Return what a connection adds to its target's u."""
    match connection.synapses:
        case Dense() as dense:
            return _DenseSynapses(deployment, connection, dense)
        case Conv() as conv:
            return _ConvSynapses(deployment, connection, conv)
        case Sparse() as listed:
            return _SparseSynapses(deployment, connection, listed)


def _shifted(total: Tensor, exponent: int) -> Tensor:
    """Return Σ w·s as it enters u: times 2**exponent, floor, times 64."""
    total = total * 2.0**exponent
    if exponent < 0:
        total = total + (torch.floor(total) - total).detach()
    return total * 64


class _DenseSynapses(nn.Module):
    """Σ w·s over all source neurons."""

    free: Tensor
    pinned: Tensor

    def __init__(self, deployment: Deployment, connection: ChipConnection, dense: Dense) -> None:
        super().__init__()
        self.exponent = connection.weight_exponent
        weight = dense_weights(dense, edits_of(deployment, connection.name))
        free = np.ones(weight.shape, bool)
        free[tuple(reversed(_unwritable(deployment, connection)))] = False
        self.weight = nn.Parameter(torch.from_numpy(weight).float())
        self.register_buffer("free", torch.from_numpy(free))
        self.register_buffer("pinned", torch.from_numpy(np.where(free, 0, weight)).float())

    def forward(self, spikes: Tensor) -> Tensor:
        """[N, n_in] → [N, n_out]."""
        return _shifted(nn.functional.linear(spikes, torch.where(self.free, self.weight, self.pinned)), self.exponent)


class _SparseSynapses(nn.Module):
    """Σ w·s over single synapses; pairs that only an edit joins have no parameter."""

    places: Tensor
    free: Tensor
    pinned: Tensor
    joined: Tensor

    def __init__(self, deployment: Deployment, connection: ChipConnection, synapses: Sparse) -> None:
        super().__init__()
        self.exponent, self.shape = connection.weight_exponent, (synapses.n_out, synapses.n_in)
        edits = edits_of(deployment, connection.name)
        place = places(synapses, edits.sources, edits.targets)
        stored, apart = place[place >= 0], place < 0
        weight, free = synapses.weight.astype(np.int32), np.ones(synapses.weight.size, bool)
        weight[stored] = edits.values[place >= 0]
        sources, targets = _unwritable(deployment, connection)
        dead = places(synapses, sources, targets)
        free[dead[dead >= 0]] = False
        pairs = [np.append(synapses.targets, edits.targets[apart]), np.append(synapses.sources, edits.sources[apart])]
        self.weight = nn.Parameter(torch.from_numpy(weight).float())
        self.register_buffer("places", torch.from_numpy(np.stack(pairs)))
        self.register_buffer("free", torch.from_numpy(free))
        self.register_buffer("pinned", torch.from_numpy(np.where(free, 0, weight)).float())
        self.register_buffer("joined", torch.from_numpy(edits.values[apart]).float())

    def forward(self, spikes: Tensor) -> Tensor:
        """[N, n_in] → [N, n_out]."""
        values = torch.cat([torch.where(self.free, self.weight, self.pinned), self.joined])
        matrix = torch.sparse_coo_tensor(self.places, values, self.shape, check_invariants=False)
        return _shifted(cast(Tensor, torch.sparse.mm(matrix, spikes.T)).T, self.exponent)


class _ConvSynapses(nn.Module):
    """A convolution by unfolding and a matrix product, which only adds whole numbers, and single synapses that differ."""

    places: Tensor
    values: Tensor
    words: Tensor
    start: Tensor
    stuck: Tensor

    def __init__(self, deployment: Deployment, connection: ChipConnection, conv: Conv) -> None:
        super().__init__()
        self.exponent, self.conv = connection.weight_exponent, conv
        self.weight = nn.Parameter(torch.from_numpy(conv.weight.astype(np.int32)).float())
        edits = edits_of(deployment, connection.name)
        words = places(conv, edits.sources, edits.targets) + 1
        pairs = edits.targets * conv.n_in + edits.sources
        sources, targets = _unwritable(deployment, connection)
        self.register_buffer("places", torch.from_numpy(np.stack([edits.targets, edits.sources])))
        self.register_buffer("values", torch.from_numpy(edits.values).float())
        self.register_buffer("words", torch.from_numpy(words))  # 0: the kernel does not join the pair
        self.register_buffer("start", self._own().detach().clone())
        self.register_buffer("stuck", torch.from_numpy(np.isin(pairs, targets * conv.n_in + sources)))

    def _own(self) -> Tensor:
        """Return the kernel's weight of each edited pair."""
        return torch.cat([self.weight.new_zeros(1), self.weight.flatten()])[self.words]

    def forward(self, spikes: Tensor) -> Tensor:
        """[N, n_in] → [N, n_out]."""
        conv, groups = self.conv, self.conv.groups
        kernel = self.weight.shape[2:]
        columns = nn.functional.unfold(
            spikes.reshape(-1, *conv.in_shape), kernel, dilation=conv.dilation, padding=conv.padding, stride=conv.stride
        )
        columns = columns.reshape(len(spikes), groups, -1, columns.shape[-1])
        total = (self.weight.reshape(groups, conv.out_shape[0] // groups, -1) @ columns).reshape(len(spikes), -1)
        if not self.values.numel():
            return _shifted(total, self.exponent)
        delta = self.values - torch.where(self.stuck, self._own(), self.start)
        single = torch.sparse_coo_tensor(self.places, delta, (conv.n_out, conv.n_in), check_invariants=False)
        return _shifted(total + cast(Tensor, torch.sparse.mm(single, spikes.T)).T, self.exponent)


def _unwritable(deployment: Deployment, connection: ChipConnection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sources and targets of the synapses of which no stored bit can be changed."""
    fold = SynapseFold(connection, deployment.damage.synapse_edits(connection.name))
    dead = fold.stuck(fold.always)[0] == 0
    return fold.sources[dead], fold.targets[dead]
