"""How far the synaptic current of a population can go: ``u`` has 24 bits and wraps beyond them, so that excitation turns into inhibition.

Inputs are spikes, so any subset of a neuron's synapses can deliver in one step: the most that a step adds is the sum of its weights of one
sign, Σ w over each of the connections into it, and with a decay α = (4095 − du)/4096 the current of T steps stays below ::

    |u| ≤ Σ ceil(Σ w · 2**e) · 64 · (1 + α + … + α**(T − 1))

Decays round towards 0 and cannot add to it. :func:`neurofault.deploy.quantise.quantise` chooses exponents by it, the ``snntorch`` engine proves
by it that its sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import taps
from neurofault.graph.synapses import Conv, Dense, Sparse, Synapses

CURRENT_LIMIT = 1 << 23
"""``u`` wraps beyond this (Lava 0.10 ``AbstractPyLifModelFixed``: uv_bitwidth = 24)."""

_SHOWN = 6
_DEVIATIONS = 6


@dataclass(frozen=True, eq=False)
class Arriving:
    """What may arrive over one connection.

    Attributes:
        synapses: with integer weights.
        exponent: each weight counts 2**exponent.
        rate: spikes a step that the source's neurons stay below on average, each independent of the others, 0 to 1; None: any spikes at all.
    """

    synapses: Synapses
    exponent: int
    rate: float | None


def reaches(arriving: Sequence[Arriving], du: NDArray[np.integer], timesteps: int) -> float:
    """Return how far the current of any neuron of a population may go, either way.

    It holds for every input; over connections with a rate, for all but what lies beyond six standard deviations.

    Args:
        arriving: over each of the connections into the population.
        du: [n].
        timesteps: T.
    """
    nothing = np.zeros(len(du))
    up, down, any_up, any_down, mean, squares = nothing, nothing, nothing, nothing, nothing, nothing
    for one in arriving:
        factor = 2.0**one.exponent
        rising, falling = one_sign_sums(one.synapses, 1) * factor, one_sign_sums(one.synapses, -1) * factor
        up, down = up + rising, down + falling
        if one.rate is None:
            any_up, any_down = any_up + rising, any_down + falling
        else:
            mean = mean + one.rate * (rising - falling)
            squares = squares + square_sums(one.synapses) * factor**2
    kept = memory(du, timesteps)
    deviation = np.sqrt(squares / 4 * memory(du, timesteps, 2))
    likely = np.maximum(any_up, any_down) * kept + np.abs(mean) * kept + _DEVIATIONS * deviation
    return 64 * float(np.minimum(np.maximum(up, down) * kept, likely).max(initial=0))


@dataclass(frozen=True, eq=False)
class Wrap:
    """An input for which the current of a neuron wraps.

    Attributes:
        population: name of the neuron's population.
        neuron: its index, C, H, W order.
        excitatory: whether the drive that wraps is positive.
        sources: int64 [k], as few of its inputs as wrap it, the strongest first.
        connections: [k], the name of the connection that each of them comes over.
        steps: how many steps in a row they must fire.
    """

    population: str
    neuron: int
    excitatory: bool
    sources: NDArray[np.int64]
    connections: tuple[str, ...]
    steps: int

    def __str__(self) -> str:
        if len(set(self.connections)) == 1 and self.connections[0] == self.population:
            shown = list(map(str, self.sources[:_SHOWN]))
        else:
            shown = [f"{one} of {name!r}" for one, name in zip(self.sources[:_SHOWN], self.connections, strict=False)]
        first = ", ".join(shown) + (" …" if len(self.sources) > _SHOWN else "")
        signs = ("excitatory", "inhibition") if self.excitatory else ("inhibitory", "excitation")
        together = "in one step" if self.steps == 1 else f"in each of {self.steps} steps"
        return (
            f"population {self.population!r}: where {len(self.sources)} {signs[0]} inputs of neuron {self.neuron} ({first}) fire together {together}, "
            f"its current u passes 2**23, wraps and becomes {signs[1]}; smaller weights beside the threshold, or fewer inputs, keep it below"
        )


def one_sign_sums(synapses: Synapses, sign: int) -> NDArray[np.float64]:
    """Return float64 [n_out]: what all weights of one sign into each neuron sum to, at least 0; exact for integers.

    Args:
        synapses: of a connection; zero padding of a convolution counts.
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


def largest_current(population: ChipPopulation, into: Sequence[ChipConnection], timesteps: int, sign: int) -> NDArray[np.float64]:
    """Return float64 [n]: a bound on ``sign · u`` of each neuron for every input.

    Args:
        population: whose current it is.
        into: the connections into it.
        timesteps: T.
        sign: 1 or −1.
    """
    current = np.zeros(population.size)
    for connection in into:
        current += step_current(one_sign_sums(connection.synapses, sign), connection.weight_exponent)
        delay = connection.synapses.delay
        if delay is not None and connection.weight_exponent < 0:  # each delay's sum is rounded on its own
            current += 64 * len(np.unique(delay))
    return current * memory(population.du, timesteps)


def wraps(populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], timesteps: int) -> Iterator[Wrap]:
    """Yield, for each population in which some input can wrap a current, the neuron that takes the fewest inputs to do so.

    Args:
        populations: of a healthy chip.
        connections: between them.
        timesteps: T.
    """
    for population in populations:
        if population.law.arithmetic != LOIHI:
            continue  # of others, registers say what becomes of what they cannot hold
        into = [one for one in connections if one.target == population.name]
        for sign in (1, -1):
            found = largest_current(population, into, timesteps, sign)
            if found.max(initial=0) >= CURRENT_LIMIT:
                yield _easiest(population, into, timesteps, sign, int(found.argmax()))
                break


def _sums(synapses: Synapses, of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    weight = of(np.asarray(synapses.weight, np.float64))
    match synapses:
        case Dense():
            return np.asarray(weight.sum(axis=1))
        case Sparse():
            return np.asarray(np.bincount(synapses.targets, weight, minlength=synapses.n_out), np.float64)
        case Conv():
            total = np.zeros(synapses.out_shape)
            for ky, kx, (out_rows, out_columns), _ in taps(synapses):
                total[:, out_rows, out_columns] += weight[:, :, ky, kx].sum(axis=1)[:, None, None]
            return total.reshape(-1)


def _easiest(population: ChipPopulation, into: Sequence[ChipConnection], timesteps: int, sign: int, neuron: int) -> Wrap:
    rows = [_into(one.synapses, neuron) for one in into]
    sources = np.concatenate([row[0] for row in rows])
    over = np.repeat(np.arange(len(into)), [len(row[0]) for row in rows])
    weights = np.concatenate([row[1] * 2.0**one.weight_exponent for row, one in zip(rows, into, strict=True)])
    order = np.argsort(-sign * weights, kind="stable")
    chosen = np.maximum(sign * weights[order], 0.0)
    # each connection's sum is rounded on its own
    parts = [np.ceil(np.cumsum(np.where(over[order] == place, chosen, 0.0))) for place in range(len(into))]
    sums = 64 * np.sum(parts, axis=0)
    decay = population.du[neuron : neuron + 1]
    for steps in range(1, timesteps + 1):  # as few steps as do it: one where the current has no memory
        reached = sums * memory(decay, steps)
        if reached[-1] >= CURRENT_LIMIT or steps == timesteps:
            break
    fewest = order[: int(np.searchsorted(reached, CURRENT_LIMIT)) + 1]
    return Wrap(population.name, neuron, sign > 0, sources[fewest], tuple(into[place].name for place in over[fewest]), steps)


def _into(synapses: Synapses, neuron: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (sources, weights) of one neuron."""
    match synapses:
        case Dense():
            row = np.asarray(synapses.weight[neuron], np.float64)
            return np.arange(len(row)), row
        case Sparse(starts=starts):
            own = slice(int(starts[neuron]), int(starts[neuron + 1]))
            return synapses.sources[own], np.asarray(synapses.weight[own], np.float64)
        case Conv():
            return _kernel_into(synapses, neuron)


def _kernel_into(conv: Conv, neuron: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    _, height, width = conv.in_shape
    channel, y_out, x_out = (int(index) for index in np.unravel_index(neuron, conv.out_shape))
    per_group = conv.weight.shape[1]
    first = channel // (conv.weight.shape[0] // conv.groups) * per_group
    found: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    for ky, kx, (out_rows, out_columns), (in_rows, in_columns) in taps(conv):
        if y_out in range(out_rows.stop)[out_rows] and x_out in range(out_columns.stop)[out_columns]:
            y = in_rows.start + (y_out - out_rows.start) * conv.stride[0]
            x = in_columns.start + (x_out - out_columns.start) * conv.stride[1]
            found.append((first + np.arange(per_group)) * height * width + y * width + x)
            weights.append(np.asarray(conv.weight[channel, :, ky, kx], np.float64))
    if not found:
        return np.empty(0, np.int64), np.empty(0)
    return np.concatenate(found), np.concatenate(weights)
