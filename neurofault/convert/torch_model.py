"""`from_torch`: a trained torch module becomes a :class:`Network`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurofault.convert.asked import POOLINGS, Calibrate, Candidate, Pooling
from neurofault.convert.balance import balance
from neurofault.convert.check import CAUSES, check_activations
from neurofault.convert.driven import Driven, activations
from neurofault.convert.prelude import Prelude, prelude_of
from neurofault.convert.running import answer_of, dtype_of, misplaced_channels, readable, undisturbed
from neurofault.convert.samples import as_fractions, images_of
from neurofault.convert.settling import settled
from neurofault.convert.stages import stages_along
from neurofault.convert.tracing import Traced, calls_of, first_layer, kind_of, trace
from neurofault.convert.walk import LARGEST, is_read
from neurofault.errors import ConversionError, NeurofaultWarning
from neurofault.graph import Network
from neurofault.graph.neurons import NO_MEMORY
from neurofault.numerals import plural
from neurofault.zoo.rate_curve import RateCurve

_START = (0.3, 0.5, 0.7)
SMOOTH = 1364
"""Current decay of a memory of three steps."""

_BEYOND_A_CHAIN = {
    "join", *LARGEST, "Conv1d", "conv1d", "AvgPool1d", "avg_pool1d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean", "ReLU6",
    "Hardtanh", "relu6", "hardtanh", "clamp",
}  # fmt: skip
"""Kinds of operations that a chain of Linear, Conv2d, AvgPool2d and ReLU does not have; the candidates of such chains are what earlier results were chosen from."""

_CHECKED = 64
"""Calibration images on which every layer is compared with the module's, beside a few of noise."""

_BATCH = 500

_ROUNDING = 1e-6
"""Of the largest score: what two runs of one module may differ by."""


def from_torch(
    model: nn.Module,
    calibration: NDArray[np.generic] | Tensor,
    *,
    timesteps: int = 32,
    name: str = "network",
    candidate: Candidate | None = None,
) -> Network:
    """Convert a feed-forward torch module with one candidate; :func:`neurofault.from_torch` measures which is best.

    Takes Linear, Conv1d and Conv2d, BatchNorm (folded), average and max pooling (adaptive too), ReLU, ReLU6, Hardtanh, :class:`neurofault.zoo.RateCurve`, sums,
    concatenations, whatever reorders or averages a sample's values, Flatten, Dropout, Identity, as modules or as functions; a gain and shift of the
    sample in front of them (folded); the last value is read by its potential. The whole list: ``docs/conversion.md``.

    Args:
        model: the module, in any floating type, on any device; evaluated, never changed.
        calibration: training images, array or tensor, uint8 [N, …] (shown to the model as x/255) or float in [0, 1]; 100 to 1,000 are plenty.
        timesteps: T, steps a sample will be shown, at least 1.
        name: for display.
        candidate: peak rate, start potential and pixel rate; default: :func:`candidates`' first.

    Raises:
        ConversionError: a layer cannot become spiking, the samples do not fit the model, or the stages do not give what its forward gives.
    """
    chosen = candidate or candidates(model)[0]
    return next(proposals(model, calibration, [chosen], timesteps=timesteps, name=name))


def proposals(
    model: nn.Module, calibration: NDArray[np.generic] | Tensor, tried: Sequence[Candidate], *, timesteps: int, name: str
) -> Iterator[Network]:
    """Yield the network of each candidate; the module is read and run on the calibration images once for each way of max pooling.

    Arguments and errors as for :func:`from_torch`.
    """
    images = images_of(calibration)
    found: dict[Pooling, tuple[ReadModule, list[Tensor]]] = {}
    for candidate in tried:
        if candidate.pooling not in found:
            own = read(model, images, pooling=candidate.pooling)
            found[candidate.pooling] = own, activations(own.stages, own.images)
        own, outputs = found[candidate.pooling]
        network = balance(own.stages, outputs, candidate, sample=own.images.shape[1:], name=name, timesteps=timesteps)
        yield settled(network, own.stages, outputs, own.images) if candidate.settled else network


def candidates(model: nn.Module, calibrate: Calibrate = "usual") -> list[Candidate]:
    """Return the candidates worth measuring for a module, a sensible one first.

    A module with :class:`RateCurve` activations fixes its own rates; a ReLU module leaves them open. In a module that is more than a chain of Linear, Conv2d,
    AvgPool2d and ReLU, thresholds are settled (:mod:`neurofault.convert.settling`), and how max pooling is made of neurons is left open too.

    Args:
        model: the module.
        calibrate: ``settled``: thresholds of a ReLU module are settled whatever its form, and lower input rates and currents with a memory are tried;
            ``subtract``: its neurons, those of the input too, reset by subtraction.

    Raises:
        ConversionError: ``subtract`` of a module with :class:`RateCurve` activations, which are the curve of neurons that reset to zero.
    """
    if any(isinstance(module, RateCurve) for module in model.modules()):
        if calibrate == "subtract":
            raise ConversionError(
                "calibrate subtract is of ReLU networks; this one has RateCurve activations, the curve of neurons that reset to zero: usual or settled"
            )
        return [Candidate(start=start, full_rate=0.5) for start in (0.5, 0.3, 0.4, 0.6, 0.7)]
    first = Candidate()
    calls = _calls(model)
    if calibrate == "settled":
        poolings = (first.pooling,) if calls.isdisjoint(LARGEST) else POOLINGS
        return [
            Candidate(peak, start, full, pooling, settled=True, du=du)
            for full in (0.5, 0.35, 1.0) for du in (NO_MEMORY, SMOOTH) for peak in (0.5, 0.8) for start in (0.5, 0.3) for pooling in poolings
        ]  # fmt: skip
    if calibrate == "subtract":
        poolings = (first.pooling,) if calls.isdisjoint(LARGEST) else POOLINGS
        return [
            Candidate(peak, start, 1.0, pooling, settled=moved, reset="subtract")
            for moved, start in ((True, 0.5), (True, 0.3), (False, 0.5)) for peak in (1.0, 0.8) for pooling in poolings
        ]  # fmt: skip
    if not calls.isdisjoint(_BEYOND_A_CHAIN):
        poolings = (first.pooling,) if calls.isdisjoint(LARGEST) else POOLINGS
        rates = [(peak, full) for full in (1.0, 0.5) for peak in (0.5, 0.35, 0.8, 1.2)]
        return [Candidate(peak, first.start, full, pooling, settled=True) for peak, full in rates for pooling in poolings]
    grid = [Candidate(peak, start, full) for full in (1.0, 0.5) for peak in (0.3, 0.5, 0.8, 1.2, 1.8) for start in _START]
    return [first, *(each for each in grid if each != first)]


def _calls(model: nn.Module) -> set[str]:
    """Return the kinds of a module's operations; none where it cannot be read, which is said later."""
    try:
        inner = readable(model)
        with undisturbed(inner):
            return calls_of(inner)
    except ConversionError:
        return set()


def as_taken(model: nn.Module, images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return images [N, C, H, W] in the shape that a model takes: as they are, or flattened to [N, C·H·W].

    Raises:
        ConversionError: the model takes neither, or returns no scores [N, classes].
    """
    problems = []
    for shaped in (images, images.reshape(len(images), -1)):
        problem = _problem(model, shaped[:2])
        if problem is None:
            return shaped
        problems.append(problem)
    _check_channels(model, images, problems)
    why = problems[0] if problems[0] == problems[1] else " and ".join(problems)
    size = int(np.prod(images.shape[1:]))
    samples = (
        f"no samples of {size} values" if images.ndim == 2 else f"neither samples of shape {images.shape[1:]} nor {size} values"
    )
    raise ConversionError(f"the network takes {samples}; does it belong to another data set? ({why})")


def _check_channels(model: nn.Module, images: NDArray[np.generic], problems: Sequence[str | None]) -> None:
    """Refuse samples whose axis of channels is not where a model that does not run on them needs it (ConversionError)."""
    wrong = misplaced_channels(model, images.shape[1:], problems[0] or "")
    if wrong is not None:
        raise ConversionError(f"the network does not take the samples: {wrong}")


def scores_of(model: nn.Module, images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return a module's scores [N, classes] for images as :func:`images_of` returns them, in the shape that it takes.

    Raises:
        ConversionError: its forward raises, or returns something else.
    """
    readied = readable(model)
    samples = torch.from_numpy(as_fractions(images)).to(dtype_of(readied))
    with undisturbed(readied):
        answers = [answer_of(readied, batch) for batch in torch.split(samples, _BATCH)]
    if not all(isinstance(answer, Tensor) and len(answer.shape) >= 2 for answer in answers):
        given = f"a tensor {list(answers[0].shape)}" if isinstance(answers[0], Tensor) else f"a {type(answers[0]).__name__}"
        raise ConversionError(f"the module returns {given}; scores [N, classes] are taken")
    return torch.cat(answers).double().flatten(1).numpy()


@dataclass(frozen=True, eq=False)
class ReadModule:
    """A module's populations and the calibration images in the shape that it takes."""

    stages: list[Driven]
    images: NDArray[np.generic]


def read(model: nn.Module, images: NDArray[np.generic], *, pooling: Pooling = "differences") -> ReadModule:
    """Read a module on calibration images, as they are or flattened.

    Args:
        model: the module.
        images: as :func:`images_of` returns them.
        pooling: how a max pooling is made of neurons.

    Raises:
        ConversionError: as for :func:`from_torch`.
    """
    readied = readable(model)
    shapes = [images] if images.ndim == 2 else [images, images.reshape(len(images), -1)]
    problems = [_problem(readied, shaped[:2]) for shaped in shapes]
    if None not in problems:
        _check_channels(readied, images, problems)
    shapes = [shapes[at] for at in sorted(range(len(shapes)), key=lambda at: problems[at] is not None)]
    # a shape on which it runs comes first: its refusal is the right one
    first: ConversionError | None = None
    for shaped in shapes:
        try:
            return _read_on(readied, shaped, pooling)
        except ConversionError as error:
            first = first or error
    assert first is not None
    raise first


def _read_on(model: nn.Module, images: NDArray[np.generic], pooling: Pooling) -> ReadModule:
    samples = torch.from_numpy(as_fractions(images)).to(dtype_of(model))
    noise = torch.rand((7, *samples.shape[1:]), generator=torch.Generator().manual_seed(0), dtype=samples.dtype)
    checked = torch.cat([samples[:_CHECKED], noise])
    with undisturbed(model):
        traced = trace(model, checked)
        before, shape = _prelude(model, traced, checked)
        walked = stages_along(traced, shape, before)
        _check(walked.stages, checked)
        answers = [answer_of(model, batch) for batch in (checked, checked)]
        stages = walked.stages if pooling == "differences" else stages_along(traced, shape, before, pooling=pooling).stages
    returned = traced.operations[-1].returned
    if not all(isinstance(answer, Tensor) and returned is not None and _same(answer, returned) for answer in answers):
        raise ConversionError(
            f"layer {walked.stages[-1].name!r}: the module gives another answer than its layers one by one, or another one when it is asked twice; {CAUSES}"
        )
    if walked.dropped is not None:
        warnings.warn(
            f"layer {walked.dropped.name!r}: {kind_of(walked.dropped)} at the end is left out: the chip reads the scores in front of it, whose order is the same",
            NeurofaultWarning,
            stacklevel=2,
        )
    return ReadModule(stages, images)


def _check(stages: Sequence[Driven], samples: Tensor) -> None:
    """Compare every population with what the module itself gives there."""
    ours = activations(stages, samples.double().numpy())
    pairs = [(stage.name, one, stage.original) for stage, one in zip(stages, ours, strict=True) if stage.original is not None]
    check_activations([name for name, _, _ in pairs], [one for _, one, _ in pairs], [other for _, _, other in pairs])


def _same(answer: Tensor, traced: Tensor) -> bool:
    """Return whether two runs of the same module agree, up to what another order of summation leaves."""
    return answer.shape == traced.shape and bool((answer - traced).abs().max() <= _ROUNDING * traced.abs().max())


def _prelude(model: nn.Module, traced: Traced, samples: Tensor) -> tuple[Prelude | None, tuple[int, ...]]:
    """Return what stands in front of the first layer, where it is not itself something that is read, and the shape of what enters."""
    operations, sample = traced.operations, tuple(samples.shape[1:])
    start = first_layer(operations)
    if start is None or all(is_read(operation) for operation in operations[:start]) or not operations[start].inputs[0]:
        return None, sample
    key = operations[start].inputs[0]

    def enters(x: Tensor) -> Tensor:
        inside = next(each for each in trace(model, x).operations if each.key == operations[start].key).given
        assert inside is not None
        return inside

    entering = tuple(enters(samples).shape[1:])
    found = prelude_of(operations[start].name, enters, samples)
    if found is None:
        return Prelude(None, None, entering, key), entering
    return replace(found, entering=key), entering


def _problem(model: nn.Module, images: NDArray[np.generic]) -> str | None:
    """Return why a module does not give scores for images; None if it does."""
    try:
        scores = scores_of(model, images)
    except ConversionError as error:
        return str(error)
    return (
        None
        if len(scores) == len(images)
        else f"the module returns {plural(len(scores), 'row')} for {plural(len(images), 'sample')}"
    )
