"""A value inside a torch module as an affine sum of populations: what skips, concatenations and layers without neurons are made of.

A value has the shape that torch gives it. Each of its terms is a linear map of one population into a run of its flat values: a sum has several terms in one
place, a concatenation has them side by side. Nothing is rounded or left out: a layer that is applied to a value is applied to each of its terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from neurofault.convert.maps import (
    Convolution,
    Image,
    Kernel,
    Map,
    Matrix,
    Pool,
    Same,
    applied,
    check_listed,
    even,
    listed,
    rows_of,
    then_convolution,
    then_gain,
    then_linear,
    then_pool,
    together,
)

_PROBED = 1 << 22
"""Values that are pushed through an operation at once when its matrix is measured."""


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a value.

    Attributes:
        source: number of a population; 0 is the input.
        map: from its activations.
        first: of the value's flat numbers, where the map's first one is added.
    """

    source: int
    map: Map
    first: int = 0


@dataclass(frozen=True, eq=False)
class Affine:
    """A value.

    Attributes:
        shape: of a sample, as in torch.
        terms: what it is a sum of; what no term reaches is its bias alone.
        bias: float64, one a channel [shape[0]], or of the whole shape; None: 0.
    """

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    bias: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of values a sample."""
        return math.prod(self.shape)

    def biases(self) -> Tensor:
        """Return the bias of each value, float64 of its shape."""
        bias = torch.zeros(1, dtype=torch.float64) if self.bias is None else self.bias
        spread = bias.reshape(-1, *[1] * (len(self.shape) - 1)) if bias.dim() == 1 else bias
        return spread.expand(self.shape)

    def of(self, populations: Sequence[Tensor]) -> Tensor:
        """Return the value for activations of the populations, [N, …] each: float64 [N, *shape]."""
        xs = [populations[term.source].to(torch.float64) for term in self.terms]
        match self.terms:
            case (Term(map=Kernel() | Matrix() as map),) if map.n_out == self.size:
                inside = self.bias if self.bias is not None and self.bias.dim() == 1 else None
                y = applied(map, xs[0], inside).reshape(-1, *self.shape)
                return y if inside is not None else y + self.biases()
        total = self.biases().reshape(1, -1).repeat(len(populations[0]), 1)
        for term, x in zip(self.terms, xs, strict=True):
            total[:, term.first : term.first + term.map.n_out] += applied(term.map, x).flatten(1)
        return total.reshape(-1, *self.shape)


def image_of(shape: tuple[int, ...]) -> Image | None:
    """Return (channels, height, width) of a sample's shape, of (channels, length) with height 1; None for any other."""
    match shape:
        case (channels, height, width):
            return channels, height, width
        case (channels, length):
            return channels, 1, length
        case _:
            return None


def _like(shape: tuple[int, ...], image: Image) -> tuple[int, ...]:
    return (image[0], image[2]) if len(shape) == 2 else image


def _compact(bias: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a bias of a value's shape, as one a channel where each channel has one."""
    return bias.reshape(shape[0], -1)[:, 0].clone() if even(bias, shape[0]) else bias


def merged(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the same sum with as few terms as their kinds allow."""
    found: list[Term] = []
    for term in terms:
        for place, other in enumerate(found):
            if (other.source, other.first, other.map.n_out) == (term.source, term.first, term.map.n_out):
                both = together(other.map, term.map)
                if both is not None:
                    found[place] = replace(other, map=both)
                    break
        else:
            found.append(term)
    return tuple(found)


def linear(name: str, weight: Tensor, bias: Tensor, value: Affine) -> Affine:
    """Return a dense layer of a flat value: float64 weight [n, size], bias [n]."""
    terms = [
        Term(each.source, then_linear(name, weight[:, each.first : each.first + each.map.n_out], each.map)) for each in value.terms
    ]
    if value.bias is not None:
        bias = weight @ value.biases().reshape(-1) + bias
    return Affine((len(weight),), merged(terms), bias)


def convolution(name: str, layer: Convolution, bias: Tensor, value: Affine) -> Affine:
    """Return a convolution of a value of the shape (channels, height, width), or of (channels, length): bias float64 [c_out]."""
    image = image_of(value.shape)
    assert image is not None
    kernel = layer.behind(image)
    terms = []
    for each in value.terms:
        channels = _channels(each, image)
        if each.map.n_out == value.size:
            terms.append(Term(each.source, then_convolution(name, layer, image, each.map)))
        elif channels is not None and layer.groups == 1:
            part = replace(layer, weight=layer.weight[:, channels])
            inner = (channels.stop - channels.start, *image[1:])
            terms.append(Term(each.source, then_convolution(name, part, inner, each.map)))
        else:
            columns = rows_of(name, kernel)[:, each.first : each.first + each.map.n_out]
            terms.append(Term(each.source, listed(name, columns, each.map)))
    shape = _like(value.shape, kernel.out_shape)
    if value.bias is not None:
        spread = applied(kernel, value.biases()[None])[0] + bias.reshape(-1, 1, 1)
        bias = _compact(spread.reshape(shape), shape)
    return Affine(shape, merged(terms), bias)


def _channels(term: Term, image: Image) -> slice | None:
    """Return which channels of an image a term fills; None where it fills none as a whole."""
    area = image[1] * image[2]
    first, count = divmod(term.first, area), divmod(term.map.n_out, area)
    return None if first[1] or count[1] else slice(first[0], first[0] + count[0])


def average(name: str, kernel: tuple[int, int], stride: tuple[int, int], value: Affine, gain: float = 1.0) -> Affine:
    """Return an average pooling without padding, times ``gain``, of a value that :func:`convolution` would take."""
    image = image_of(value.shape)
    assert image is not None
    whole = Pool(kernel, stride, image, gain)
    area = whole.out_shape[1] * whole.out_shape[2]
    terms = []
    for each in value.terms:
        channels = _channels(each, image)
        if channels is None:
            columns = rows_of(name, whole)[:, each.first : each.first + each.map.n_out]
            terms.append(Term(each.source, listed(name, columns, each.map)))
        else:
            inner = Pool(kernel, stride, (channels.stop - channels.start, *image[1:]), gain)
            terms.append(Term(each.source, then_pool(name, inner, each.map), channels.start * area))
    shape = _like(value.shape, whole.out_shape)
    bias = None if value.bias is None else gain * value.bias
    if bias is not None and bias.dim() > 1:
        bias = _compact(gain * functional.avg_pool2d(value.biases().reshape(1, *image), kernel, stride).reshape(shape), shape)
    return Affine(shape, merged(terms), bias)


def normalised(name: str, mean: Tensor, gain: Tensor, shift: Tensor, value: Affine) -> Affine:
    """Return (value − mean) · gain + shift, float64 [channels] each."""
    tail = [1] * (len(value.shape) - 1)
    spread = gain.reshape(-1, *tail).expand(value.shape)
    if value.bias is None or value.bias.dim() == 1:
        before = torch.zeros_like(gain) if value.bias is None else value.bias
        return replace(scaled(name, spread, value), bias=(before - mean) * gain + shift)
    moved = (value.biases() - mean.reshape(-1, *tail)) * spread + shift.reshape(-1, *tail)
    return replace(scaled(name, spread, value), bias=moved)


def scaled(name: str, gain: Tensor, value: Affine) -> Affine:
    """Return a value times a gain of each of its numbers, float64 of its shape."""
    flat = gain.reshape(-1)
    terms = []
    for each in value.terms:
        part = flat[each.first : each.first + each.map.n_out]
        of_channel = value.size // value.shape[0]
        channels = each.map.n_out // of_channel if not (each.map.n_out % of_channel or each.first % of_channel) else 1
        terms.append(replace(each, map=then_gain(name, part, channels, each.map)))
    return Affine(value.shape, tuple(terms), None if value.bias is None else _compact(value.biases() * gain, value.shape))


def shifted(shift: Tensor, value: Affine) -> Affine:
    """Return a value plus a constant of each of its numbers, float64 of its shape."""
    return replace(value, bias=_compact(value.biases() + shift, value.shape))


def reshaped(shape: tuple[int, ...], value: Affine) -> Affine:
    """Return a value with its flat numbers in another shape."""
    if value.bias is None or shape == value.shape:
        return replace(value, shape=shape)
    return Affine(shape, value.terms, _compact(value.biases().reshape(shape), shape))


def through(name: str, rows: sparse.csr_matrix, constant: Tensor | None, shape: tuple[int, ...], value: Affine) -> Affine:
    """Return a matrix [n, size] of a value's flat numbers, plus a constant float64 [n] (None: 0), as a value of a shape."""
    terms = [Term(each.source, listed(name, _columns(rows, each), each.map)) for each in value.terms]
    bias = None
    if value.bias is not None or constant is not None:
        bias = torch.zeros(rows.shape[0], dtype=torch.float64) if constant is None else constant
        if value.bias is not None:
            bias = bias + torch.from_numpy(rows @ value.biases().reshape(-1).numpy())
        bias = _compact(bias.reshape(shape), shape)
    return Affine(shape, merged(terms), bias)


def _columns(rows: sparse.csr_matrix, term: Term) -> sparse.csr_matrix:
    if term.map.n_out == rows.shape[1]:
        return rows
    return sparse.csr_matrix(rows[:, term.first : term.first + term.map.n_out])


def added(one: Affine, other: Affine, name: str, factor: float = 1.0) -> Affine:
    """Return ``one + factor · other`` of two values of one shape."""
    more = other if factor == 1.0 else scaled(name, torch.full(other.shape, factor, dtype=torch.float64), other)
    match one.bias, more.bias:
        case None, bias:
            pass
        case bias, None:
            pass
        case left, right if left is not None and right is not None:
            bias = left + right if left.dim() == right.dim() == 1 else _compact(one.biases() + more.biases(), one.shape)
    return Affine(one.shape, merged([*one.terms, *more.terms]), bias)


def joined(name: str, values: Sequence[Affine], axis: int) -> Affine:
    """Return values side by side along an axis of a sample."""
    shape = list(values[0].shape)
    shape[axis] = sum(each.shape[axis] for each in values)
    places = np.arange(math.prod(shape)).reshape(shape)
    begin, terms, biases = 0, [], []
    for each in values:
        own = np.take(places, range(begin, begin + each.shape[axis]), axis).reshape(-1)
        begin += each.shape[axis]
        if axis == 0:
            terms += [replace(term, first=int(own[0]) + term.first) for term in each.terms]
        else:
            put = sparse.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), shape=(places.size, len(own)))
            terms += through(name, put, None, tuple(shape), replace(each, bias=None)).terms
        biases.append(each.biases())
    bias = None if all(each.bias is None for each in values) else _compact(torch.cat(biases, axis), tuple(shape))
    return Affine(tuple(shape), merged(terms), bias)


def measured(
    name: str, call: Callable[[Tensor], Tensor], in_shape: tuple[int, ...]
) -> tuple[sparse.csr_matrix, Tensor, tuple[int, ...]]:
    """Return what an affine operation does to each value of a sample, found by giving it the values one by one.

    Args:
        name: of the operation, for the message.
        call: the operation on float64 [N, *in_shape], each sample by itself.
        in_shape: of a sample.

    Returns:
        Its matrix float64 CSR [n_out, n_in], its constant float64 [n_out], and the shape that it gives.
    """
    size = math.prod(in_shape)
    nothing = call(torch.zeros((1, *in_shape), dtype=torch.float64))
    constant, shape = nothing.double().reshape(-1), tuple(nothing.shape[1:])
    parts, synapses = [], 0
    step = max(1, _PROBED // max(size, constant.numel(), 1))
    for begin in range(0, size, step):
        probes = torch.zeros((min(step, size - begin), size), dtype=torch.float64)
        probes[range(len(probes)), range(begin, begin + len(probes))] = 1
        found = call(probes.reshape(-1, *in_shape)).double().reshape(len(probes), -1) - constant
        parts.append(sparse.csr_matrix(found.numpy()))
        synapses += parts[-1].nnz
        check_listed(name, synapses)
    return sparse.csr_matrix(sparse.vstack(parts).T), constant, shape


def segments(value: Affine) -> Iterator[tuple[int, Affine]]:
    """Yield the runs of a value that are driven together, each with where it begins, as flat values; what no term reaches is left out."""
    ordered = sorted(value.terms, key=lambda term: term.first)
    flat = value.biases().reshape(-1)
    while ordered:
        begin, stop, count = ordered[0].first, ordered[0].first, 0
        while count < len(ordered) and (ordered[count].first < stop or not count):
            stop = max(stop, ordered[count].first + ordered[count].map.n_out)
            count += 1
        own, ordered = {id(term) for term in ordered[:count]}, ordered[count:]
        terms = tuple(replace(term, first=term.first - begin) for term in value.terms if id(term) in own)
        if (begin, stop) == (0, value.size):
            yield 0, value
            return
        area = value.size // value.shape[0]
        shape = (stop - begin,) if begin % area or stop % area else ((stop - begin) // area, *value.shape[1:])
        bias = None if value.bias is None else _compact(flat[begin:stop].reshape(shape), shape)
        yield begin, Affine(shape, terms, bias)


def never_negative(name: str, value: Affine) -> bool:
    """Return whether a value is at least 0 whenever its populations are."""
    if value.bias is not None and bool((value.bias < 0).any()):
        return False
    for each in value.terms:
        match each.map:
            case Same(gain=None) | Pool():
                pass
            case Same(gain=Tensor() as numbers) | Matrix(weight=numbers) | Kernel(weight=numbers):
                if bool((numbers < 0).any()):
                    return False
            case other:
                if bool((rows_of(name, other).data < 0).any()):
                    return False
    return True
