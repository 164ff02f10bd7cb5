"""Thresholds, start potentials and pixel tables: candidates from calibration activations.

Rates are spikes a step. A population with threshold λ (in units of its own activation) fires at about activation/λ, so weights
into the next layer are scaled by λ and nothing else changes (Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks
through weight and threshold balancing"; Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682). Which candidate is best is measured on
validation images by :func:`neurofault.study.calibrate.choose`, above the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.convert.samples import as_fractions
from neurofault.convert.stages import Stage
from neurofault.graph import Conv, CubaLif, Dense, Encoding, Network, Population, Source, chain
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.synapses import Synapses
from neurofault.zoo import RateCurve


@dataclass(frozen=True)
class Candidate:
    """One way of setting what a ReLU network leaves open.

    Attributes:
        peak_rate: spikes a step at the 99.9th percentile of a hidden layer's calibration activations, > 0 (RateCurve layers carry
            their own scale and ignore it).
        start: ``v`` at a sample's first step as a fraction of the threshold, [0, 1].
        full_rate: spike rate of a pixel of 255, (0, 1].
    """

    peak_rate: float = 0.5
    start: float = 0.5
    full_rate: float = 1.0


PEAK_QUANTILE = 0.999


def activations(stages: Sequence[Stage], images: NDArray[np.generic]) -> list[Tensor]:
    """Return the output of every stage (after its activation) for calibration images, float64 tensors [N, …].

    Args:
        stages: as :func:`neurofault.convert.stages.stages_of` returns them.
        images: uint8 (shown as x/255) or float, [N, …] as the first stage takes them.
    """
    x = torch.from_numpy(as_fractions(images))
    outputs = []
    with torch.no_grad():
        for stage in stages:
            x = stage.drive(x)
            if stage.activation is not None:
                x = stage.activation(x)
            outputs.append(x)
    return outputs


def balance(stages: Sequence[Stage], outputs: Sequence[Tensor], candidate: Candidate, *, name: str, timesteps: int) -> Network:
    """Return the spiking network of a candidate.

    Args:
        stages: the linear stages; the last has no activation.
        outputs: calibration activations of every stage, from :func:`activations`.
        candidate: what to set.
        name: for display.
        timesteps: T for which the pixel table and the start potentials are meant.
    """
    encoding = Encoding.for_pixels(candidate.full_rate, candidate.start, timesteps)
    populations, synapses = [Population("input", stages[0].in_shape, Source(encoding))], []
    unit = 1 / candidate.full_rate  # activation that one spike a step stands for
    for index, (stage, output) in enumerate(zip(stages, outputs, strict=True)):
        synapses.append(scaled_synapses(stage, unit))
        shape = shape_of(synapses[-1])
        bias = stage.biases(shape)
        match stage.activation:
            case None:
                populations.append(Population("output", shape, CubaLif(None, bias)))
                continue
            case RateCurve() as curve:
                unit, du = 1 / curve.scale, curve.du
            case _:
                peak = float(np.quantile(output.numpy(), PEAK_QUANTILE))
                unit, du = (peak if peak > 0 else 1.0) / candidate.peak_rate, NO_MEMORY
        memory = 4096 / (du + 1)  # what a spike's current adds up to before it has decayed
        neuron = CubaLif(unit * memory, bias * memory, du, start=candidate.start)
        populations.append(Population(f"hidden{index + 1}", shape, neuron))
    peak_potential = float(outputs[-1].abs().max()) * timesteps
    return chain(name, populations, synapses, timesteps=timesteps, peak_potential=peak_potential)


def shape_of(synapses: Synapses) -> tuple[int, ...]:
    """Return the shape of the population that synapses drive: that of the images of a convolution, else a row."""
    return synapses.out_shape if isinstance(synapses, Conv) else (synapses.n_out,)


def scaled_synapses(stage: Stage, unit: float) -> Synapses:
    """Return a stage's synapses with weights scaled to spikes of the layer below."""
    weight = (stage.weight * unit).numpy()
    if not stage.is_convolution:
        return Dense(weight)
    channels, height, width = stage.in_shape
    return Conv(weight, (channels, height, width), stage.stride, stage.padding, stage.dilation, stage.groups)
