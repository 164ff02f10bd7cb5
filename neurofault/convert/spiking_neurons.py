"""Spiking neurons of a network that is converted, whatever framework they came from; and their decays in 4096ths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import ConversionError
from neurofault.graph.arithmetic import Reset
from neurofault.graph.neurons import NO_MEMORY

if TYPE_CHECKING:
    from torch import nn

Value = float | NDArray[Any]


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


def pair(value: object) -> tuple[int, int]:
    """Return (vertical, horizontal) of a number, a tuple or an array of one or two."""
    flat = np.asarray(value).reshape(-1)
    return int(flat[0]), int(flat[-1])
