"""`from_torch`: a trained torch module becomes a :class:`SpikingNetwork`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurofault.convert.balance import Candidate, activations, balance
from neurofault.convert.stages import Stage, stages_of
from neurofault.errors import ConversionError
from neurofault.network import SpikingNetwork
from neurofault.zoo import RateCurve

_START = (0.3, 0.5, 0.7)


def from_torch(
    model: nn.Module,
    calibration: NDArray[np.generic],
    *,
    timesteps: int = 32,
    name: str = "network",
    candidate: Candidate | None = None,
) -> SpikingNetwork:
    """Convert a feed-forward torch module.

    Takes Linear, Conv2d (stride, padding, dilation, groups), BatchNorm (folded), AvgPool2d (composed into its neighbour), Flatten, ReLU,
    :class:`neurofault.zoo.RateCurve`, Dropout, Identity; the last layer is read by its potential.

    Args:
        model: the module; evaluated, never changed.
        calibration: training images, uint8 [N, …] (shown to the model as x/255) or float in [0, 1]; 100 to 1,000 are plenty.
        timesteps: T, steps a sample will be shown, at least 1.
        name: for display.
        candidate: peak rate, start potential and pixel rate; default: :func:`candidates`' first.

    Raises:
        ConversionError: a layer cannot become spiking, or the samples do not fit the model.
    """
    chosen = candidate or candidates(model)[0]
    return next(proposals(model, calibration, [chosen], timesteps=timesteps, name=name))


def proposals(
    model: nn.Module, calibration: NDArray[np.generic], tried: Sequence[Candidate], *, timesteps: int, name: str
) -> Iterator[SpikingNetwork]:
    """Yield the network of each candidate; the module is read and run on the calibration images once.

    Arguments and errors as for :func:`from_torch`.
    """
    stages, images = _read(model, calibration)
    outputs = activations(stages, images)
    _check_equal(model, stages, images, outputs[-1])
    for candidate in tried:
        yield balance(stages, outputs, candidate, name=name, timesteps=timesteps)


def candidates(model: nn.Module) -> list[Candidate]:
    """Return the candidates worth measuring for a module, a sensible one first.

    A module with :class:`RateCurve` activations fixes its own rates; a ReLU module leaves them open.
    """
    if any(isinstance(module, RateCurve) for module in model.modules()):
        return [Candidate(start=start, full_rate=0.5) for start in (0.5, 0.3, 0.4, 0.6, 0.7)]
    first = Candidate()
    grid = [Candidate(peak, start, full) for full in (1.0, 0.5) for peak in (0.3, 0.5, 0.8, 1.2, 1.8) for start in _START]
    return [first, *(each for each in grid if each != first)]


def as_taken(model: nn.Module, images: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return images [N, C, H, W] in the shape that a model takes: as they are, or flattened to [N, C·H·W].

    Raises:
        ConversionError: the model takes neither.
    """
    for shaped in (images, images.reshape(len(images), -1)):
        if _takes(model, shaped[:2]):
            return shaped
    raise ConversionError(
        f"the network takes neither samples of shape {images.shape[1:]} nor {int(np.prod(images.shape[1:]))} values; "
        "does it belong to another data set?"
    )


def _read(model: nn.Module, calibration: NDArray[np.generic]) -> tuple[list[Stage], NDArray[np.generic]]:
    """Return the stages, and the calibration images in the shape that the model takes (as given, or flattened)."""
    if len(calibration) == 0:
        raise ConversionError("calibration needs at least one image")
    shapes = [calibration] if calibration.ndim == 2 else [calibration, calibration.reshape(len(calibration), -1)]
    first: ConversionError | None = None
    for images in shapes:
        try:
            return stages_of(model, images.shape[1:]), images
        except ConversionError as error:
            first = first or error
    assert first is not None
    raise first


def _takes(model: nn.Module, images: NDArray[np.generic]) -> bool:
    """Return whether the model runs on flattened images."""
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.from_numpy(np.array(images)).float())
    except RuntimeError:
        return False
    finally:
        model.train(was_training)
    return True


def _check_equal(model: nn.Module, stages: list[Stage], images: NDArray[np.generic], output: torch.Tensor) -> None:
    """Compare the composed stages with the module itself on the calibration images.

    Raises:
        ConversionError: they differ by more than float32 rounding explains.
    """
    scale = 255 if images.dtype == np.uint8 else 1
    was_training = model.training
    with torch.no_grad():
        answer = model.eval()(torch.from_numpy(np.array(images)).float() / scale).double()
    model.train(was_training)
    error = float((answer.flatten(1) - output.flatten(1)).abs().max())
    if not error <= 1e-3 * (1 + float(output.abs().max())):
        raise ConversionError(
            f"the converted chain {' → '.join(stage.name for stage in stages)} differs from the module by {error:.3g}: "
            "its forward does something that its layers do not show"
        )
