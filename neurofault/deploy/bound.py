"""How far the synaptic current of a layer can go: ``u`` has 24 bits and wraps beyond them, so that excitation turns into inhibition.

Inputs are spikes, so any subset of a neuron's synapses can deliver in one step: the most that a step adds is the sum of its weights of one
sign, Σ w, and with a decay α = (4095 − du)/4096 the current of T steps stays below ::

    |u| ≤ ceil(Σ w · 2**e) · 64 · (1 + α + … + α**(T − 1))

Decays round towards 0 and cannot add to it. :func:`neurofault.deploy.quantise.quantise` chooses exponents by it, the ``snntorch`` engine proves
by it that its sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.connectivity import taps
from neurofault.deploy.deployment import ChipLayer
from neurofault.graph import Dense
from neurofault.graph.synapses import Synapses

CURRENT_LIMIT = 1 << 23
"""``u`` wraps beyond this (Lava 0.10 ``AbstractPyLifModelFixed``: uv_bitwidth = 24)."""

_SHOWN = 6
_DEVIATIONS = 6


@dataclass(frozen=True)
class Drive:
    """What may arrive at a layer.

    Attributes:
        timesteps: T.
        rate: spikes a step that the neurons before it stay below on average, each independent of the others, 0 to 1; None: any spikes at all.
    """

    timesteps: int
    rate: float | None

    def reaches(self, synapses: Synapses, du: NDArray[np.integer]) -> float:
        """Return how far the current may go at weight exponent 0, either way: for every input, or (``rate``) in six standard deviations."""
        up, down = one_sign_sums(synapses, 1), one_sign_sums(synapses, -1)
        largest = np.maximum(up, down) * memory(du, self.timesteps)
        if self.rate is not None:
            mean = self.rate * np.abs(up - down) * memory(du, self.timesteps)
            deviation = np.sqrt(square_sums(synapses) / 4 * memory(du, self.timesteps, 2))
            largest = np.minimum(largest, mean + _DEVIATIONS * deviation)
        return 64 * float(largest.max(initial=0))


@dataclass(frozen=True, eq=False)
class Wrap:
    """An input for which the current of a neuron wraps.

    Attributes:
        layer: name of the neuron's layer.
        neuron: its index, C, H, W order.
        excitatory: whether the drive that wraps is positive.
        sources: int64 [k], as few of its inputs as wrap it, the strongest first.
        steps: how many steps in a row they must fire.
    """

    layer: str
    neuron: int
    excitatory: bool
    sources: NDArray[np.int64]
    steps: int

    def __str__(self) -> str:
        first = ", ".join(map(str, self.sources[:_SHOWN])) + (" …" if len(self.sources) > _SHOWN else "")
        signs = ("excitatory", "inhibition") if self.excitatory else ("inhibitory", "excitation")
        together = "in one step" if self.steps == 1 else f"in each of {self.steps} steps"
        return (
            f"layer {self.layer!r}: where {len(self.sources)} {signs[0]} inputs of neuron {self.neuron} ({first}) fire together {together}, "
            f"its current u passes 2**23, wraps and becomes {signs[1]}; smaller weights beside the threshold, or fewer inputs, keep it below"
        )


def one_sign_sums(synapses: Synapses, sign: int) -> NDArray[np.float64]:
    """Return float64 [n_out]: what all weights of one sign into each neuron sum to, at least 0; exact for integers.

    Args:
        synapses: of the layer; zero padding of a convolution counts.
        sign: 1 or −1.
    """
    return _sums(synapses, lambda weight: np.maximum(sign * weight, 0.0))


def square_sums(synapses: Synapses) -> NDArray[np.float64]:
    """Return float64 [n_out]: the sum of the squared weights into each neuron."""
    return _sums(synapses, np.square)


def memory(du: NDArray[np.integer], timesteps: int, power: int = 1) -> NDArray[np.float64]:
    """Return float64, of du's shape: 1 + α + … + α**(T − 1) with α = ((4095 − du)/4096)**power.

    >>> memory(np.array([4095, 2047]), 3).tolist()
    [1.0, 1.75]
    """
    keep = ((4095 - np.asarray(du, np.float64)) / 4096) ** power
    total: NDArray[np.float64] = (1 - keep**timesteps) / (1 - keep)
    return total


def step_current(sums: NDArray[np.float64], exponent: int) -> NDArray[np.float64]:
    """Return what sums of weights add to ``u`` in one step, rounded away from 0.

    >>> step_current(np.array([3.0]), -1).tolist()
    [128.0]
    """
    current: NDArray[np.float64] = np.ceil(sums * 2.0**exponent) * 64
    return current


def largest_current(layer: ChipLayer, timesteps: int, sign: int) -> NDArray[np.float64]:
    """Return float64 [n]: a bound on ``sign · u`` of each neuron for every input."""
    assert layer.synapses is not None
    current = step_current(one_sign_sums(layer.synapses, sign), layer.weight_exponent)
    delay = layer.synapses.delay if isinstance(layer.synapses, Dense) else None
    if delay is not None and layer.weight_exponent < 0:  # each delay's sum is rounded on its own
        current += 64 * len(np.unique(delay))
    return current * memory(layer.du, timesteps)


def wraps(layers: Sequence[ChipLayer], timesteps: int) -> Iterator[Wrap]:
    """Yield, for each layer in which some input can wrap a current, the neuron that takes the fewest inputs to do so.

    Args:
        layers: of a healthy chip.
        timesteps: T.
    """
    for layer in layers:
        if layer.synapses is None:
            continue
        for sign in (1, -1):
            found = largest_current(layer, timesteps, sign)
            if found.max(initial=0) >= CURRENT_LIMIT:
                yield _easiest(layer, timesteps, sign, int(found.argmax()))
                break


def _sums(synapses: Synapses, of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    weight = of(np.asarray(synapses.weight, np.float64))
    if isinstance(synapses, Dense):
        return np.asarray(weight.sum(axis=1))
    total = np.zeros(synapses.out_shape)
    for ky, kx, (out_rows, out_columns), _ in taps(synapses):
        total[:, out_rows, out_columns] += weight[:, :, ky, kx].sum(axis=1)[:, None, None]
    return total.reshape(-1)


def _easiest(layer: ChipLayer, timesteps: int, sign: int, neuron: int) -> Wrap:
    assert layer.synapses is not None
    sources, weights = _into(layer.synapses, neuron)
    order = np.argsort(-sign * weights, kind="stable")
    sums = np.cumsum(np.maximum(sign * weights[order], 0.0))
    decay = layer.du[neuron : neuron + 1]
    for steps in range(1, timesteps + 1):  # as few steps as do it: one where the current has no memory
        reached = step_current(sums, layer.weight_exponent) * memory(decay, steps)
        if reached[-1] >= CURRENT_LIMIT or steps == timesteps:
            break
    return Wrap(layer.name, neuron, sign > 0, sources[order[: int(np.searchsorted(reached, CURRENT_LIMIT)) + 1]], steps)


def _into(synapses: Synapses, neuron: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (sources, weights) of one neuron."""
    if isinstance(synapses, Dense):
        row = np.asarray(synapses.weight[neuron], np.float64)
        return np.arange(len(row)), row
    _, height, width = synapses.in_shape
    channel, y_out, x_out = (int(index) for index in np.unravel_index(neuron, synapses.out_shape))
    per_group = synapses.weight.shape[1]
    first = channel // (synapses.weight.shape[0] // synapses.groups) * per_group
    found: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    for ky, kx, (out_rows, out_columns), (in_rows, in_columns) in taps(synapses):
        if y_out in range(out_rows.stop)[out_rows] and x_out in range(out_columns.stop)[out_columns]:
            y = in_rows.start + (y_out - out_rows.start) * synapses.stride[0]
            x = in_columns.start + (x_out - out_columns.start) * synapses.stride[1]
            found.append((first + np.arange(per_group)) * height * width + y * width + x)
            weights.append(np.asarray(synapses.weight[channel, :, ky, kx], np.float64))
    return np.concatenate(found), np.concatenate(weights)
