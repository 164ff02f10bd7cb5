"""Populations before they spike: what drives each, and what its neurons make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.convert.affine import Affine, Term, image_of, segments
from neurofault.convert.maps import Kernel, Map, Matrix, Same, rows_of
from neurofault.convert.samples import as_fractions
from neurofault.graph import Dense, Sparse
from neurofault.graph.synapses import Synapses
from neurofault.zoo.rate_curve import RateCurve


@dataclass(frozen=True)
class Rectified:
    """ReLU, up to ``cap`` (None: no upper end)."""

    cap: float | None = None


@dataclass(frozen=True, eq=False)
class Winner:
    """The largest of some activations of the one population that drives it: what a neuron that fires whenever one of them does stands for.

    Attributes:
        windows: int64 [n, k], which activations; places may come twice.
    """

    windows: NDArray[np.int64]


Activation = Rectified | RateCurve | Winner


@dataclass(frozen=True, eq=False)
class Driven:
    """One population.

    Attributes:
        name: torch's name of the layer that drives it.
        value: its drive, of populations before it.
        activation: what its neurons do; None for the readout, which never fires.
        original: what the module gives there on the samples, [N, …]; None where it gives no such thing, or was not run.
    """

    name: str
    value: Affine
    activation: Activation | None
    original: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the population: (channels, height, width), or (n,)."""
        return image_of(self.value.shape) or (self.value.size,)

    def after(self, populations: Sequence[Tensor]) -> Tensor:
        """Return its activations, float64 [N, …], for those of the input and of all populations before it."""
        match self.activation:
            case Winner(windows=windows):
                places = torch.from_numpy(windows)
                return populations[self.value.terms[0].source].to(torch.float64).flatten(1)[:, places].amax(2)
            case None:
                return self.value.of(populations)
            case Rectified(cap=cap):
                return self.value.of(populations).clamp(0, cap)
            case RateCurve() as curve:
                return torch.as_tensor(curve(self.value.of(populations)))

    def biases(self) -> NDArray[np.float64]:
        """Return the bias of each neuron, [n]."""
        return np.ascontiguousarray(self.value.biases().reshape(-1).numpy())

    def synapses(self, term: Term, unit: float) -> Synapses:
        """Return the synapses of one of its terms.

        Args:
            term: one of ``value.terms``.
            unit: activation that a spike of the term's source stands for.
        """
        return _synapses(self.name, term.map, unit, term.first, self.value.size)


def _synapses(name: str, linear: Map, unit: float, first: int, n_out: int) -> Synapses:
    """Return a map's synapses into the neurons from ``first`` on, of ``n_out``, weights times ``unit``."""
    match linear:
        case Kernel() if linear.n_out == n_out:
            return linear.conv(unit)
        case Matrix(weight=weight) if linear.n_out == n_out:
            return Dense((weight * unit).numpy())
    rows = rows_of(name, linear)
    rows.sort_indices()
    behind = np.full(n_out - first - linear.n_out, rows.nnz, np.int64)
    starts = np.concatenate([np.zeros(first, np.int64), rows.indptr.astype(np.int64), behind])
    return Sparse(linear.n_in, starts, rows.indices.astype(np.int64), rows.data * unit)


def input_shape(stages: Sequence[Driven], sample: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the input population: an image where a convolution reads it, else (n,).

    Args:
        stages: the populations that it drives, and others.
        sample: shape of a sample.
    """
    terms = [term for stage in stages for term in stage.value.terms if term.source == 0]
    images = [term.map.in_shape for term in terms if isinstance(term.map, Kernel)]
    return images[0] if images else (math.prod(sample),)


def activations(stages: Sequence[Driven], images: NDArray[np.generic]) -> list[Tensor]:
    """Return the output of every population for calibration images, float64 tensors [N, …].

    Args:
        stages: in order, each behind those that drive it.
        images: uint8 (shown as x/255) or float, [N, …] as the module takes them.
    """
    shown = torch.from_numpy(as_fractions(images))
    outputs: list[torch.Tensor] = []
    with torch.no_grad():
        for stage in stages:
            outputs.append(stage.after([shown, *outputs]))
    return outputs


def is_population(value: Affine) -> bool:
    """Return whether a value is the activations of one population, as they are."""
    match value.terms:
        case (Term(map=Same(gain=None), first=0),):
            return value.bias is None and value.terms[0].map.n_out == value.size
        case _:
            return False


@dataclass(eq=False)
class Populations:
    """The populations that have been found so far, in order."""

    found: list[Driven]

    def fire(self, stage: Driven) -> Affine:
        """Add a population and return its activations as a value of the shape of its drive."""
        self.found.append(stage)
        return Affine(stage.value.shape, (Term(len(self.found), Same(stage.value.size)),))

    def fire_apart(self, stage: Driven) -> Affine:
        """Add a population for each part of a drive that does not share neurons with the others, as behind a concatenation; as :meth:`fire`.

        What nothing drives is a constant.
        """
        parts = list(segments(stage.value))
        if len(parts) == 1 and parts[0][1] is stage.value:
            return self.fire(stage)
        constant = replace(stage, value=replace(stage.value, terms=())).after([torch.zeros(1)])[0].reshape(-1).clone()
        terms = []
        for begin, value in parts:
            stop = begin + value.size
            constant[begin:stop] = 0
            original = None if stage.original is None else stage.original.flatten(1)[:, begin:stop]
            fired = self.fire(replace(stage, value=value, original=original))
            terms.append(replace(fired.terms[0], first=begin))
        bias = constant.reshape(stage.value.shape) if bool(constant.any()) else None
        return Affine(stage.value.shape, tuple(terms), bias)
