"""What is written of a graph of populations, in units in which each drive is Σ weight·s; what a network is in such units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from neurofault.convert.nir_metadata import V_UNIT
from neurofault.errors import UnsupportedError
from neurofault.graph import Connection, CubaLif, Dense, Encoding, Network, Population, Source, Sparse
from neurofault.graph.arithmetic import Reset
from neurofault.graph.readout import Readout
from neurofault.graph.synapses import Stored, Synapses

MATRIX_LIMIT = 1 << 25
"""Numbers of a matrix that is written."""

Numbers = NDArray[np.float64]


_SAID = frozenset({"threshold", "bias", "du", "dv", "start", "bias_exponent", "reset", "reset_delay", "refractory", "floor"})
"""What of a :class:`neurofault.graph.CubaLif` is written."""


@dataclass(frozen=True, eq=False)
class WrittenPopulation:
    """A population in units in which its drive is Σ weight·s.

    Attributes:
        name, shape: of it.
        source: whether it is an input.
        encoding: of an input, its pixel table; None: it takes spikes.
        threshold: float64 [n]; None: the population never fires, inf: this neuron never fires.
        bias: float64 [n], added at each step.
        du, dv: decays, float64 [n], 0 to 4095.
        start: the potential at the start, of all or [n].
        bias_exponent: of a chip's integers; None: the numbers are no chip's.
        reset, reset_delay, refractory, floor: as of :class:`neurofault.graph.CubaLif`, whole numbers a neuron; ``floor`` in the unit of ``start``.
    """

    name: str
    shape: tuple[int, ...]
    source: bool
    encoding: Encoding | None
    threshold: Numbers | None
    bias: Numbers
    du: Numbers
    dv: Numbers
    start: float | Numbers
    bias_exponent: int | None
    reset: Reset = "zero"
    reset_delay: int = 0
    refractory: int | NDArray[np.generic] = 0
    floor: float | Numbers | None = None


@dataclass(frozen=True, eq=False)
class WrittenConnection:
    """A connection in such units.

    Attributes:
        name, source, target, delay: of it.
        lag: steps that its spikes act late, without delays of its synapses.
        synapses: its weights, in units of the target's drive.
        stored: the format of a chip's integers; None: the numbers are no chip's.
    """

    name: str
    source: str
    target: str
    delay: int
    lag: int
    synapses: Synapses
    stored: Stored | None


@dataclass(frozen=True, eq=False)
class WrittenGraph:
    """A graph as it is written.

    Attributes:
        name, timesteps: of the network.
        readout: the population that is read, and how.
        peak_potential: of a network (:class:`neurofault.graph.Network`); None: unknown.
        populations, connections: in order.
    """

    name: str
    timesteps: int
    readout: Readout
    peak_potential: float | None
    populations: Sequence[WrittenPopulation]
    connections: Sequence[WrittenConnection]


def written_network(network: Network) -> WrittenGraph:
    """Return a network as it is written; connections that carry integers in units of ``v``."""
    lag = network.schedule.lag
    connections = [
        WrittenConnection(one.name, one.source, one.target, one.delay, lag[one.name], _unit(one), one.stored)
        for one in network.connections
    ]
    populations = [_plain(population) for population in network.populations]
    return WrittenGraph(network.name, network.timesteps, network.readout, network.peak_potential, populations, connections)


def _full(value: Any, size: int) -> Numbers:
    return np.array(np.broadcast_to(np.asarray(value, np.float64), (size,)))


def matrix_of(name: str, synapses: Synapses) -> Numbers:
    """Return the matrix [n_out, n_in] of synapses, without their delays.

    Raises:
        UnsupportedError: it would have more than 2**25 numbers.
    """
    if isinstance(synapses, Dense):
        return np.asarray(synapses.weight, np.float64)
    if synapses.n_in * synapses.n_out > MATRIX_LIMIT:
        what = "synapses that are listed one by one" if isinstance(synapses, Sparse) else "this convolution"
        raise UnsupportedError(
            f"connection {name!r}: NIR holds {what} only as a matrix, here {synapses.n_out} × {synapses.n_in} numbers (more than {MATRIX_LIMIT})"
        )
    if isinstance(synapses, Sparse):
        weight = np.zeros((synapses.n_out, synapses.n_in))
        weight[synapses.targets, synapses.sources] = synapses.weight
        return weight
    kernel = torch.from_numpy(np.array(synapses.weight, np.float64))
    images = torch.eye(synapses.n_in, dtype=torch.float64).reshape(-1, *synapses.in_shape)
    out = functional.conv2d(images, kernel, None, synapses.stride, synapses.padding, synapses.dilation, synapses.groups)
    return np.asarray(out.flatten(1).T.contiguous().numpy())


def _plain(population: Population) -> WrittenPopulation:
    """Return a population of a network; one that carries integers in units of ``v``."""
    match population.neuron:
        case Source() as source:
            return _input(population, source)
        case CubaLif() as neuron:
            return _driven(population, neuron)


def _input(population: Population, neuron: Source) -> WrittenPopulation:
    n, encoding = population.size, neuron.encoding
    threshold = neuron.threshold if neuron.threshold is not None else 1 if encoding is None else encoding.threshold
    stated = neuron.threshold is not None or neuron.start is not None or bool(neuron.bias_exponent) or bool(np.any(neuron.bias))
    start = neuron.start if neuron.start is not None else 0 if encoding is None else encoding.start
    return WrittenPopulation(
        population.name, population.shape, True, encoding, _full(threshold, n) * V_UNIT,
        np.floor(_full(neuron.bias, n) * 2.0**neuron.bias_exponent), _full(neuron.du, n), _full(neuron.dv, n), float(start) if stated else 0.0,
        max(neuron.bias_exponent, 0) if stated else None,  # else the pixel table says all
        neuron.reset,
    )  # fmt: skip


def _driven(population: Population, neuron: CubaLif) -> WrittenPopulation:
    n, whole = population.size, neuron.bias_exponent is not None
    for one in fields(neuron):
        if one.name not in _SAID and np.any(np.asarray(getattr(neuron, one.name) != one.default)):
            raise UnsupportedError(f"population {population.name!r}: its neurons have {one.name}, which a NIR file does not say")
    threshold = None if neuron.threshold is None else _full(neuron.threshold, n) * (V_UNIT if whole else 1)
    bias = _full(neuron.bias, n)
    if neuron.bias_exponent is not None:
        bias = np.floor(bias * 2.0**neuron.bias_exponent)
    return WrittenPopulation(
        population.name, population.shape, False, None, threshold, bias, _full(neuron.du, n), _full(neuron.dv, n),
        float(neuron.start) if np.ndim(neuron.start) == 0 else np.asarray(neuron.start, np.float64),
        None if neuron.bias_exponent is None else max(neuron.bias_exponent, 0), neuron.reset, neuron.reset_delay, neuron.refractory,
        None if neuron.floor is None else np.asarray(neuron.floor, np.float64),
    )  # fmt: skip


def _unit(connection: Connection) -> Synapses:
    return connection.synapses if connection.stored is None else scaled(connection.synapses, connection.stored.weight_exponent)


def scaled(synapses: Synapses, exponent: int) -> Synapses:
    """Return synapses of integers in units of ``v``: weight·2**(6 + exponent)."""
    return replace(synapses, weight=np.asarray(synapses.weight, np.float64) * 2.0 ** (6 + exponent))
