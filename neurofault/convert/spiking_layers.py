"""Layers of a spiking chain, whatever framework they came from: poolings of spikes, biases, recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from neurofault.convert.spiking_neurons import SpikeMaxPool, SpikingNeurons, Value, pair, spread
from neurofault.errors import ConversionError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.synapses import Synapses
from neurofault.numerals import plural

SILENT = (nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Identity)

Operation = nn.Module | SpikingNeurons | SpikeMaxPool
Chain = Sequence[tuple[str, Operation]]


def sum_of_windows(pool: SpikeMaxPool, channels: int) -> nn.Conv2d:
    """Return the sum over each window, channel by channel: above 0 where any neuron in it fires."""
    convolution = nn.Conv2d(channels, channels, pool.kernel, pool.stride, pool.padding, pool.dilation, channels, bias=False)
    nn.init.constant_(convolution.weight, 1.0)
    return convolution.double()


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
            found += [(name, sum_of_windows(operation, channels)), (name, SpikingNeurons(0.5, pool=operation))]
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
                    f"layer {name!r}: its recurrence joins {plural(module.in_features, 'neuron')}, and the population has {size}"
                )
            own = np.zeros(size) if module.bias is None else module.bias.detach().double().numpy()
            return Dense(module.weight.detach().double().numpy()), own
        case nn.Conv2d() as module:
            padding, channels = module.padding, module.in_channels
            if len(shape) != 3 or isinstance(padding, str) or channels != shape[0] or module.padding_mode != "zeros":
                raise ConversionError(
                    f"layer {name!r}: its recurrence is a convolution of {plural(channels, 'channel')}, which does not fit {shape}"
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
