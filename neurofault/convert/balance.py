"""Thresholds, start potentials and pixel tables: candidates from calibration activations.

Rates are spikes a step. A population with threshold λ (in units of its own activation) fires at about activation/λ, so weights
from it are scaled by λ and nothing else changes (Diehl et al. 2015, "Fast-classifying, high-accuracy spiking deep networks
through weight and threshold balancing"; Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682). A connection that skips populations takes as many steps as
the longest way, so that all of a neuron's spikes belong to the same step of its sample. Which candidate is best is measured on
validation images by :func:`neurofault.study.calibrate.choose`, above the engines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from neurofault.convert.asked import Candidate
from neurofault.convert.driven import Driven, Rectified, Winner, input_shape
from neurofault.graph import Connection, CubaLif, Encoding, Network, Population, Readout, Source
from neurofault.zoo.rate_curve import RateCurve

PEAK_QUANTILE = 0.999


def balance(
    stages: Sequence[Driven], outputs: Sequence[Tensor], candidate: Candidate, *, sample: tuple[int, ...], name: str, timesteps: int
) -> Network:
    """Return the spiking network of a candidate.

    Args:
        stages: the populations; the last is the readout.
        outputs: calibration activations of each, from :func:`neurofault.convert.driven.activations`.
        candidate: what to set.
        sample: shape of a sample.
        name: for display.
        timesteps: T for which the pixel table and the start potentials are meant.
    """
    encoding = Encoding.for_pixels(candidate.full_rate, candidate.start, timesteps, candidate.reset)
    populations = [Population("input", input_shape(stages, sample), Source(encoding, reset=candidate.reset))]
    units = [1 / candidate.full_rate]  # activation that one spike a step of each population stands for
    for index, (stage, output) in enumerate(zip(stages, outputs, strict=True)):
        bias, title, reset = stage.biases(), f"hidden{index + 1}", candidate.reset
        match stage.activation:
            case None:
                populations.append(Population("output", stage.shape, CubaLif(None, bias)))
                continue
            case Winner():
                unit = units[stage.value.terms[0].source]
                populations.append(Population(title, stage.shape, CubaLif(unit / 2)))
                units.append(unit)
                continue
            case RateCurve() as curve:
                unit, du, reset = 1 / curve.scale, curve.du, "zero"  # the curve of such neurons
            case Rectified(cap=cap):
                peak = float(np.quantile(output.numpy(), PEAK_QUANTILE))
                unit, du = (peak if peak > 0 else 1.0) / candidate.peak_rate, candidate.du
                unit = unit if cap is None else min(unit, cap)
        memory = memory_of(du)
        neuron = CubaLif(unit * memory, bias * memory, du, start=candidate.start, reset=reset)
        populations.append(Population(title, stage.shape, neuron))
        units.append(unit)
    peak_potential = float(outputs[-1].abs().max()) * timesteps
    connections = connected(stages, [one.name for one in populations], units)
    return Network(name, tuple(populations), connections, timesteps, Readout("output"), peak_potential)


def memory_of(du: int) -> float:
    """Return what the current of a spike of weight 1 adds up to before it has decayed."""
    return 4096 / (du + 1)


def connected(stages: Sequence[Driven], names: Sequence[str], units: Sequence[float]) -> tuple[Connection, ...]:
    """Return the connections into populations.

    Args:
        stages: the populations behind the input.
        names: of the input and of each.
        units: activation that a spike of each population stands for, the input's first.

    Returns:
        One a term; a population's only one has its name, several are called ``target.source``. Each takes as many steps as its spikes need to arrive with
        those of the longest way.
    """
    depth, found = [0], []
    for target, stage in zip(names[1:], stages, strict=True):
        depth.append(1 + max((depth[term.source] for term in stage.value.terms), default=0))
        titles = [f"{target}.{names[term.source]}" for term in stage.value.terms]
        for place, term in enumerate(stage.value.terms):
            again = titles[:place].count(titles[place])
            title = target if len(titles) == 1 else titles[place] + (f"#{again + 1}" if again else "")
            synapses = stage.synapses(term, units[term.source])
            found.append(Connection(title, names[term.source], target, synapses, depth[-1] - depth[term.source]))
    return tuple(found)
