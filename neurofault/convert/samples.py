"""Calibration samples: what is taken, and what is refused with what to do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.errors import ConversionError

_TAKEN = "images are uint8 (shown as x/255) or float in [0, 1]"
_NORMALISED = (
    "a normalisation (transforms.Normalize) belongs into the module's forward, in front of its first layer, where it is folded into that layer; values that are negative "
    "by nature take nf.from_torch(…, scaling=nf.Scaling.of(x))"
)


def images_of(given: object, what: str = "calibration") -> NDArray[np.generic]:
    """Return calibration images as an array [N, …], uint8 or float in [0, 1].

    Args:
        given: array or torch tensor.
        what: its name, for the message.

    Raises:
        ConversionError: no image, another type, or values outside of these.
        UsageError: no array of numbers.
    """
    images = as_array(given, what)
    if not images.size:
        raise ConversionError(f"{what} needs at least one image")
    if images.ndim < 2:
        raise ConversionError(f"{what} has the shape {images.shape}; images are [N, …]")
    if images.dtype == np.uint8:
        if images.max() == 1:
            raise ConversionError(f"{what} is uint8 with no value above 1, and x/255 would be all but black; pass it as float")
        return images
    if images.dtype.kind != "f":
        raise ConversionError(f"{what} is {images.dtype}; {_TAKEN}: pass it as uint8, or divide it by its full scale")
    problem = not_finite(images)
    if problem is not None:
        raise ConversionError(f"{what}: {problem}")
    low, high = float(images.min()), float(images.max())
    if low < 0:
        raise ConversionError(f"{what} lies in [{low:.4g}, {high:.4g}]; {_TAKEN}: {_NORMALISED}")
    if high > 1:
        raise ConversionError(f"{what} lies in [{low:.4g}, {high:.4g}]; {_TAKEN}: divide it by its full scale")
    return images


def as_fractions(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return images as fractions of full scale: uint8 as x/255, floats as they are."""
    return images.astype(np.float64) / 255 if images.dtype == np.uint8 else images.astype(np.float64)
