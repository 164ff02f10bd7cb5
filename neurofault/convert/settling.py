"""Thresholds and biases settled on what the neurons before them really send, population by population.

A neuron that resets to zero loses what exceeds its threshold, so its rate stays below what :mod:`neurofault.convert.balance` meant, and the loss adds up from
population to population. Here the network runs on some calibration images in the order of its schedule. Each population gets the spikes that those before it
send, settled already; then the threshold of each channel is moved until its spikes, times what a spike stands for, are nearest to its activations in
the module (least squares), and its bias by what their mean still lacks: the layer-wise calibration of Li et al. 2021 ("A Free Lunch From ANN", arXiv:2106.06984),
with the threshold in the place of their potentials. What a spike stands for, and so every weight, stays as it was. Test images are never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.convert.balance import memory_of
from neurofault.convert.check import drive_of
from neurofault.convert.driven import Driven, Rectified
from neurofault.convert.samples import as_fractions
from neurofault.graph import CubaLif, Network, Population, Source

_IMAGES = 128
_WORK = 1 << 25
"""Neuron · steps · images that are held at once."""
_ROUNDS = 8
_FURTHEST = (0.6, 1.2)
"""By how much one round may move a threshold."""


def settled(network: Network, stages: Sequence[Driven], outputs: Sequence[Tensor], images: NDArray[np.generic]) -> Network:
    """Return the same network with settled thresholds and biases.

    Args:
        network: as :func:`neurofault.convert.balance.balance` built it, all lags 0.
        stages: its populations behind the input.
        outputs: calibration activations of each, float64 [N, …].
        images: calibration images, uint8 or float in [0, 1], [N, …].
    """
    largest = max(population.size for population in network.populations)
    count = min(_IMAGES, len(images), max(8, _WORK // (largest * network.timesteps)))
    shown = np.rint(as_fractions(images[:count]).reshape(count, -1) * 255).astype(np.uint8)
    found = [network.populations[0]]
    trains = {network.populations[0].name: _input_spikes(network.populations[0], shown, network.timesteps)}
    for population, stage, output in zip((one for one in network.populations if not one.is_source), stages, outputs, strict=True):
        drive = sum(
            (drive_of(one.synapses, trains[one.source].flatten(0, 1).double()) for one in network.into(population.name)),
            torch.zeros((), dtype=torch.float64),
        ).reshape(network.timesteps, count, population.size)
        neuron = population.neuron
        assert isinstance(neuron, CubaLif)
        wanted = output[:count].flatten(1)
        if stage.activation is None:
            lacking = (wanted - drive.mean(0)).mean(0).numpy() - np.asarray(neuron.bias)
            neuron = replace(neuron, bias=np.asarray(neuron.bias) + lacking)
        else:
            if isinstance(stage.activation, Rectified):
                neuron = _settle(population, neuron, drive, wanted)
            trains[population.name] = _spikes(neuron, drive)
        found.append(replace(population, neuron=neuron))
    return replace(network, populations=tuple(found))


def _settle(population: Population, neuron: CubaLif, drive: Tensor, wanted: Tensor) -> CubaLif:
    """Return neurons whose spikes are nearest to what is wanted, in activation, [N, n]."""
    summed = float(np.max(np.asarray(neuron.threshold)))
    memory = memory_of(int(np.max(np.asarray(neuron.du))))
    unit = summed / memory
    channels = population.shape[0]

    def by_channel(values: Tensor) -> Tensor:
        return values.reshape(len(values), channels, -1)

    target = by_channel(wanted)
    active = (target**2).sum((0, 2))
    threshold = np.full(population.size, summed)
    bias = np.broadcast_to(np.asarray(neuron.bias, np.float64), (population.size,)).copy()
    for _ in range(_ROUNDS):
        given = by_channel(_spikes(replace(neuron, threshold=threshold, bias=bias), drive).double().mean(0) * unit)
        ratio = torch.where(active > 0, (given * target).sum((0, 2)) / active, 1.0).clamp(*_FURTHEST)
        threshold = threshold * np.repeat(ratio.numpy(), population.size // channels)
        given = by_channel(_spikes(replace(neuron, threshold=threshold, bias=bias), drive).double().mean(0) * unit)
        lacking = torch.where(active > 0, (target - given).mean((0, 2)), 0.0)
        bias = bias + np.repeat(lacking.numpy() / 2 * memory, population.size // channels)
    return replace(neuron, threshold=threshold, bias=bias)


def _spikes(neuron: CubaLif, drive: Tensor) -> Tensor:
    """Return what neurons send in each step for a drive [T, N, n] without their bias, bool of the same shape."""
    threshold, bias = (torch.as_tensor(np.asarray(each, np.float64)) for each in (neuron.threshold, neuron.bias))
    kept_u, kept_v = (
        1 - (torch.as_tensor(np.asarray(each, np.float64)) + more) / 4096 for each, more in ((neuron.du, 1), (neuron.dv, 0))
    )
    u = torch.zeros_like(drive[0])
    v = u + neuron.start * threshold
    fired = torch.empty(drive.shape, dtype=torch.bool)
    for step, given in enumerate(drive):
        u = kept_u * u + given
        v = kept_v * v + u + bias
        fired[step] = v > threshold
        v = torch.where(fired[step], v - threshold if neuron.reset == "subtract" else 0.0, v)
    return fired


def _input_spikes(population: Population, pixels: NDArray[np.uint8], timesteps: int) -> Tensor:
    """Return the input's spikes for pixels [N, n], bool [T, N, n]."""
    source = population.neuron
    assert isinstance(source, Source)
    encoding = source.encoding
    assert encoding is not None
    bias = torch.from_numpy(encoding.table[pixels].astype(np.int64))
    v = torch.full_like(bias, encoding.start)
    fired = torch.empty((timesteps, *bias.shape), dtype=torch.bool)
    threshold = encoding.threshold << 6
    for step in range(timesteps):
        v = v + bias
        fired[step] = v > threshold
        v = torch.where(fired[step], v - threshold if source.reset == "subtract" else 0, v)
    return fired
