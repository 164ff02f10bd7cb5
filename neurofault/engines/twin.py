"""A deployment as a torch module made of snnTorch neurons: differentiable, and exact where its arithmetic can be.

The forward pass is whole numbers in float32. Gradients flow through spikes by a surrogate, and straight through the floor of
negative weight exponents.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurofault.activity import Activity
from neurofault.graph.connectivity import conv_weights
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.damage.fold import SynapseFold
from neurofault.engines.kernels import STATE_LIMIT
from neurofault.engines.packing import bias_of
from neurofault.engines.sheet import Sheet
from neurofault.engines.wiring import dense_weights, edits_of
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs

_SURROGATE_SLOPE = 5.0
_BATCH_VALUES = 1 << 20


class Response(NamedTuple):
    """What the twin answers, differentiable.

    Attributes:
        potential: float32 [N, n_out], v of the output layer after step T.
        counts: float32 [N, n_out], its spikes.
        rates: for each layer float32 [N, n], its spikes a step.
    """

    potential: Tensor
    counts: Tensor
    rates: tuple[Tensor, ...]


class State(NamedTuple):
    """One population after one of its steps: float32 [N, n] each."""

    u: Tensor
    v: Tensor
    spikes: Tensor


class Twin(nn.Module):
    """A deployment whose weights are parameters, in the chip's weight unit, and whose spikes have surrogate gradients.

    Dead neurons stay dead; synapses of which no stored bit can be written keep their value whatever the parameters become.
    """

    def __init__(self, deployment: Deployment) -> None:
        super().__init__()
        self.timesteps = deployment.timesteps
        self.populations = nn.ModuleList(Population(deployment, index) for index in range(len(deployment.layers)))

    def steps(self, inputs: Inputs) -> Iterator[list[State]]:
        """Yield, for each of the T steps of a sample, the state of every layer in its own step."""
        populations = [cast(Population, population) for population in self.populations]
        potentials = [population.begin(len(inputs)) for population in populations]
        drive, events = (
            None if array is None else torch.from_numpy(np.ascontiguousarray(array)) for array in (inputs.bias, inputs.events)
        )
        if drive is not None:
            drive = torch.from_numpy(bias_of(drive.numpy(), populations[0].bias_exponent)).float()
        for step in range(self.timesteps):
            states: list[State] = []
            for index, population in enumerate(populations):
                if index == 0 and events is not None:
                    spikes = events[:, step].float() * population.alive
                    state = State(torch.zeros_like(spikes), torch.zeros_like(spikes), spikes)
                else:
                    state = population.advance(
                        potentials[index], states[-1].spikes if states else None, drive if not index else None
                    )
                potentials[index] = state.v
                states.append(state)
            yield states

    def forward(self, inputs: Inputs) -> Response:
        """Present samples for T steps from the initial state."""
        totals: list[Tensor] = []
        states: list[State] = []
        for states in self.steps(inputs):
            totals = [state.spikes + (totals[index] if totals else 0) for index, state in enumerate(states)]
        return Response(states[-1].v, totals[-1], tuple(total / self.timesteps for total in totals))


def present(deployment: Deployment, inputs: Inputs, record: Collection[str]) -> Activity:
    """Present every sample for T steps to the twin of a deployment, in batches of about a million values."""
    module, sheet = Twin(deployment), Sheet.blank(deployment, len(inputs), record)
    batch = max(1, _BATCH_VALUES // max(_values(layer) for layer in deployment.layers))
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            samples = slice(start, min(start + batch, len(inputs)))
            for step, states in enumerate(module.steps(inputs[samples])):
                for index, state in enumerate(states):
                    sheet.note(index, step, samples, (state.spikes > 0).numpy(), state.u.numpy(), state.v.numpy())
    return sheet.activity(inputs.first_sample)


def _values(layer: ChipLayer) -> int:
    """Return how many values a layer needs a sample: one a neuron, and the unfolded input of a convolution."""
    if not isinstance(layer.synapses, Conv):
        return layer.size
    conv = layer.synapses
    return max(layer.size, conv.in_shape[0] * math.prod((*conv.weight.shape[2:], *conv.out_shape[1:])))


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


class Population(nn.Module):
    """One layer: its synapses, and an snnTorch ``Leaky``."""

    alive: Tensor
    bias: Tensor

    def __init__(self, deployment: Deployment, index: int) -> None:
        super().__init__()
        layer = deployment.layers[index]
        self.size, self.bias_exponent, self.exponent = layer.size, layer.bias_exponent, layer.weight_exponent
        alive = ~deployment.damage.silent(index, layer.size)
        self.register_buffer("alive", torch.from_numpy(alive).float())
        self.register_buffer("bias", torch.from_numpy(bias_of(layer.bias_mantissa, layer.bias_exponent)).float())
        self.v_init = float(layer.v_init)
        threshold = layer.vth.astype(np.float64) * 64
        scale = float(np.clip(np.median(threshold), 64, STATE_LIMIT))
        reachable = torch.from_numpy(np.where(alive & (threshold < STATE_LIMIT), threshold, np.inf)).float()
        self.neurons = snntorch.Leaky(
            beta=1.0,
            threshold=reachable,
            reset_mechanism="zero",
            reset_delay=False,
            spike_grad=partial(_spikes, scale=scale),
        )
        snntorch.SpikingNeuron.instances.remove(self.neurons)  # snnTorch would keep every neuron ever made
        match layer.synapses:
            case Dense():
                self.synapses: nn.Module | None = _DenseSynapses(deployment, index)
            case Conv():
                self.synapses = _ConvSynapses(deployment, index)
            case None:
                self.synapses = None

    def begin(self, samples: int) -> Tensor:
        """Return v before a sample's first step, [N, n]."""
        return (self.v_init * self.alive).expand(samples, self.size)

    def advance(self, v: Tensor, arriving: Tensor | None, drive: Tensor | None) -> State:
        """Do one step: spikes of the layer before [N, n_in], or the bias of an input neuron [N, n] in the unit of v."""
        if self.synapses is None or arriving is None:
            current = torch.zeros_like(v)
        else:
            total = self.synapses(arriving) * 2.0**self.exponent
            if self.exponent < 0:
                total = total + (torch.floor(total) - total).detach()
            current = total * 64 * self.alive
        bias = self.bias if drive is None else drive
        spikes, v = self.neurons(current + bias * self.alive, v)
        return State(current, v.clamp(1 - STATE_LIMIT, STATE_LIMIT - 1), spikes)


class _DenseSynapses(nn.Module):
    """Σ w·s over all source neurons."""

    free: Tensor
    pinned: Tensor

    def __init__(self, deployment: Deployment, index: int) -> None:
        super().__init__()
        synapses = deployment.layers[index].synapses
        assert isinstance(synapses, Dense)
        weight = dense_weights(synapses, edits_of(deployment, index))
        free = np.ones(weight.shape, bool)
        free[tuple(reversed(_unwritable(deployment, index)))] = False
        self.weight = nn.Parameter(torch.from_numpy(weight).float())
        self.register_buffer("free", torch.from_numpy(free))
        self.register_buffer("pinned", torch.from_numpy(np.where(free, 0, weight)).float())

    def forward(self, spikes: Tensor) -> Tensor:
        """[N, n_in] → [N, n_out]."""
        return nn.functional.linear(spikes, torch.where(self.free, self.weight, self.pinned))


class _ConvSynapses(nn.Module):
    """A convolution by unfolding and a matrix product, which only adds whole numbers, and single synapses that differ."""

    places: Tensor
    values: Tensor
    words: Tensor
    start: Tensor
    stuck: Tensor

    def __init__(self, deployment: Deployment, index: int) -> None:
        super().__init__()
        conv = deployment.layers[index].synapses
        assert isinstance(conv, Conv)
        self.conv = conv
        self.weight = nn.Parameter(torch.from_numpy(conv.weight.astype(np.int32)).float())
        edits = edits_of(deployment, index)
        numbers = np.arange(1, conv.weight.size + 1).reshape(conv.weight.shape)
        words = conv_weights(replace(conv, weight=numbers), edits.sources, edits.targets)
        pairs = edits.targets * conv.n_in + edits.sources
        sources, targets = _unwritable(deployment, index)
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
            return total
        delta = self.values - torch.where(self.stuck, self._own(), self.start)
        single = torch.sparse_coo_tensor(self.places, delta, (conv.n_out, conv.n_in), check_invariants=False)
        return total + cast(Tensor, torch.sparse.mm(single, spikes.T)).T


def _unwritable(deployment: Deployment, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sources and targets of the synapses of which no stored bit can be changed."""
    fold = SynapseFold(deployment, index, deployment.damage.synapse_edits(index))
    dead = fold.stuck(fold.always)[0] == 0
    return fold.sources[dead], fold.targets[dead]
