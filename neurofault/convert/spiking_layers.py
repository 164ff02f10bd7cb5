"""Layers of a spiking chain, whatever framework they came from: neurons, poolings of spikes, recurrence; and their decays and biases in 4096ths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neurofault.errors import ConversionError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.law import Reset
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.synapses import Synapses

Value = float | NDArray[Any]

SILENT = (nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Identity)


@dataclass(frozen=True, eq=False)
class SpikingNeurons:
    """Spiking neurons; every field is a scalar, or an array that fits the population (see :func:`spread`).

    Attributes:
        threshold: in units of the drive, > 0; None for neurons that never fire and are read by their potential.
        du, dv: decays in 1/4096, 0 to 4095.
        bias: added to ``v`` each step, in units of the drive.
        reset, reset_delay, refractory: as of :class:`neurofault.graph.CubaLif`.
        recurrent: what their own spikes of the step before add to the drive: a Linear or Conv2d, or weights of each neuron to itself; None:
            nothing.
        pool: they are those of a max pooling of spikes; None: they are not.
    """

    threshold: Value | None
    du: Value = NO_MEMORY
    dv: Value = 0
    bias: Value = 0.0
    reset: Reset = "zero"
    reset_delay: int = 0
    refractory: int = 0
    recurrent: nn.Linear | nn.Conv2d | Value | None = None
    pool: SpikeMaxPool | None = None


@dataclass(frozen=True)
class SpikeMaxPool:
    """A max pooling of spikes: neurons that fire where any of their window does, a population of its own.

    Attributes:
        kernel, stride, padding, dilation: (vertical, horizontal).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def summed(self, channels: int) -> nn.Conv2d:
        """Return the sum over each window, channel by channel: above 0 where any neuron in it fires."""
        convolution = nn.Conv2d(channels, channels, self.kernel, self.stride, self.padding, self.dilation, channels, bias=False)
        nn.init.constant_(convolution.weight, 1.0)
        return convolution.double()


Operation = nn.Module | SpikingNeurons | SpikeMaxPool
Chain = Sequence[tuple[str, Operation]]


def membrane_decay(keep: Value) -> Value:
    """Return ``dv`` for a membrane that keeps the fraction ``keep`` of itself each step (0 becomes 1/4096, the chip's least)."""
    lost = np.rint(4096 * (1 - np.clip(np.asarray(keep, np.float64), 0, 1)))
    dv: NDArray[np.int64] = np.minimum(lost, 4095).astype(np.int64)
    return dv


def current_decay(name: str, keep: Value) -> Value:
    """Return ``du`` for a current that keeps the fraction ``keep`` of itself each step.

    Raises:
        ConversionError: it would never decay (``keep`` above 1 − 1/8192).
    """
    du = np.rint(4096 * (1 - np.clip(np.asarray(keep, np.float64), 0, 1))) - 1
    if np.any(du < 0):
        raise ConversionError(f"layer {name!r}: its synaptic current never decays; the chip's slowest decay is 1/4096 a step")
    return du.astype(np.int64)


def spread(name: str, field: str, value: Value, shape: tuple[int, ...]) -> Value:
    """Return a neuron parameter as a float, or as an array [n] in C, H, W order.

    Args:
        name: of the layer, for the message.
        field: of the parameter, for the message.
        value: one number, one a neuron (of the population's shape or flat), or one a channel, (C,) or (C, 1, 1).
        shape: of the population.

    Raises:
        ConversionError: any other shape.
    """
    array = np.asarray(value)
    size = int(np.prod(shape))
    if array.size == 1 or (array.size and np.all(array == array.flat[0]) and array.size == size):
        only: float = array.reshape(-1)[0].item()
        return only
    if array.size == size:
        return array.reshape(-1)
    if len(shape) == 3 and array.size == shape[0]:
        return np.repeat(array.reshape(-1), shape[1] * shape[2])
    raise ConversionError(f"layer {name!r}: {field} has the shape {array.shape}, but the population has the shape {shape}")


def membrane_bias(name: str, bias: NDArray[Any], du: Value) -> NDArray[Any]:
    """Return what a linear layer's bias adds to ``v`` each step.

    Args:
        name: of the neurons, for the message.
        bias: of the linear layer in front of them, [n].
        du: their current decay in 1/4096, one number or [n].

    Raises:
        ConversionError: the bias enters a current with a memory; the chip adds biases behind the current.
    """
    kept = 1 - (np.asarray(du, np.float64) + 1) / 4096
    ramps = (np.asarray(bias) != 0) & (kept > 0)
    if np.any(ramps):
        steps = float(np.max(1 / (1 - np.broadcast_to(kept, ramps.shape)[ramps])))
        raise ConversionError(
            f"layer {name!r}: {int(np.count_nonzero(ramps))} of {ramps.size} of its neurons get a bias through a synaptic current, where it builds "
            f"up over about {steps:.0f} steps; the chip adds a bias to the membrane at once. Train that linear layer with bias=False (and without "
            "batch normalisation behind it), or give the network an input line that spikes at every step in the place of the bias"
        )
    return bias


def pair(value: object) -> tuple[int, int]:
    """Return (vertical, horizontal) of a number, a tuple or an array of one or two."""
    flat = np.asarray(value).reshape(-1)
    return int(flat[0]), int(flat[-1])


def pools_as_neurons(chain: list[tuple[str, Operation]], in_shape: tuple[int, ...], *, events: bool) -> list[tuple[str, Operation]]:
    """Return the chain with each max pooling of spikes as what it is: a sum over its window, and neurons that fire where it is not 0."""
    found: list[tuple[str, Operation]] = []
    spikes, channels = events, in_shape[0] if len(in_shape) == 3 else None
    for name, operation in chain:
        if isinstance(operation, nn.Conv2d):
            channels = operation.out_channels
        if isinstance(operation, SpikeMaxPool):
            if not spikes:
                raise ConversionError(
                    f"layer {name!r}: max pooling of currents, the largest of sums of weights, is nothing that a chip's neurons do; put it behind "
                    "the spiking layer, where it is an OR of spikes, or use AvgPool2d"
                )
            if channels is None:
                raise ConversionError(
                    f"layer {name!r}: max pooling needs maps of spikes: a sample of (channels, height, width), or a Conv2d before it"
                )
            found += [(name, operation.summed(channels)), (name, SpikingNeurons(0.5, pool=operation))]
            continue
        if not isinstance(operation, SILENT):
            spikes = isinstance(operation, SpikingNeurons)
        found.append((name, operation))
    return found


def windows_of(name: str, pool: nn.Module) -> SpikeMaxPool:
    """Return the windows of torch's ``MaxPool2d``.

    Raises:
        ConversionError: windows that reach out of the map (``ceil_mode``), or indices as its answer.
    """
    assert isinstance(pool, nn.MaxPool2d)
    if pool.ceil_mode or pool.return_indices:
        raise ConversionError(
            f"layer {name!r}: MaxPool2d with ceil_mode or return_indices; windows that lie whole in the map are taken"
        )
    return SpikeMaxPool(pair(pool.kernel_size), pair(pool.stride), pair(pool.padding), pair(pool.dilation))


def recurrent_synapses(name: str, neuron: SpikingNeurons, shape: tuple[int, ...]) -> tuple[Synapses, NDArray[Any]]:
    """Return the synapses from a population to itself, and the bias that comes with them, [n]."""
    size = int(np.prod(shape))
    match neuron.recurrent:
        case nn.Linear() as module:
            if module.in_features != size:
                raise ConversionError(
                    f"layer {name!r}: its recurrence joins {module.in_features} neurons, and the population has {size}"
                )
            own = np.zeros(size) if module.bias is None else module.bias.detach().double().numpy()
            return Dense(module.weight.detach().double().numpy()), own
        case nn.Conv2d() as module:
            padding, channels = module.padding, module.in_channels
            if len(shape) != 3 or isinstance(padding, str) or channels != shape[0] or module.padding_mode != "zeros":
                raise ConversionError(
                    f"layer {name!r}: its recurrence is a convolution of {channels} channels, which does not fit {shape}"
                )
            conv = Conv(
                module.weight.detach().double().numpy(), (shape[0], shape[1], shape[2]), pair(module.stride), pair(padding),
                pair(module.dilation), module.groups,
            )  # fmt: skip
            if conv.out_shape != shape:
                raise ConversionError(
                    f"layer {name!r}: its recurrence gives {conv.out_shape}, and the population has the shape {shape}"
                )
            own = np.zeros(shape[0]) if module.bias is None else module.bias.detach().double().numpy()
            return conv, np.repeat(own, shape[1] * shape[2])
        case weights:
            assert weights is not None
            to_itself = np.broadcast_to(np.asarray(spread(name, "V", weights, shape), np.float64), (size,))
            each = np.arange(size)
            return Sparse.of(size, size, each, each, to_itself.copy()), np.zeros(size)
