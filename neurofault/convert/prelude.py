"""What a module's forward does to a sample before its first layer, measured and folded into that layer where that is exact.

A normalisation is x → g·x + s, each value by itself. With W the first layer's weights, W(g·x + s) + b = (W·g)x + (W·s + b); a convolution's padding
stays zero behind the normalisation, so its W·s + b may differ from place to place and becomes a bias of each neuron. Whatever is not of this form (flip,
roll, clamp, powers, statistics of the batch, noise) is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurofault.convert.running import same_values
from neurofault.errors import ConversionError

_TOLERANCE = 1e-5
"""Of the largest value that enters the first layer."""


@dataclass(frozen=True, eq=False)
class Prelude:
    """What stands in front of the first layer.

    Attributes:
        gain, shift: float64 [n], of each value of a sample in C, H, W order; None: 1 and 0.
        shape: of a sample as the first layer takes it.
        entering: key of the operation that gives what enters the first layer; ``""`` where there are none.
    """

    gain: Tensor | None
    shift: Tensor | None
    shape: tuple[int, ...]
    entering: str = ""


def prelude_of(name: str, enters: Callable[[Tensor], Tensor], samples: Tensor) -> Prelude | None:
    """Measure what happens to samples before the first layer.

    Args:
        name: of the first layer, for the message.
        enters: returns what enters the first layer for samples [N, …].
        samples: [N, …], N ≥ 2, that fill their range.

    Returns:
        None if the samples enter as they are (flattened or not).

    Raises:
        ConversionError: something else than a gain and a shift of each value.
    """
    seen = enters(samples)
    if same_values(seen, samples) and len(seen) == len(samples):
        return None
    if seen.shape[:1] == samples.shape[:1] and seen[0].numel() == samples[0].numel():
        flat, zero, one = (
            enters(each).double().flatten(1) for each in (samples, torch.zeros_like(samples[:2]), torch.ones_like(samples[:2]))
        )
        gain, shift = one[0] - zero[0], zero[0]
        if len(seen.shape) > 2:
            gain = _by_channel(gain, seen.shape)
        said = samples.double().flatten(1) * gain + shift
        if float((said - flat).abs().max()) <= _TOLERANCE * float(flat.abs().max()):
            return Prelude(gain, shift, tuple(seen.shape[1:]))
    raise ConversionError(
        f"layer {name!r} does not take the sample itself: forward changes it first, and not by one gain and one shift of each value (those are folded "
        "into the layer); do that to the data instead (flip, crop, clamp, statistics of a batch, random spikes), or leave it out"
    )


def _by_channel(gain: Tensor, shape: torch.Size) -> Tensor:
    """Return the mean gain of each channel for all its values, where they differ by rounding only; else as they are."""
    channels = gain.reshape(shape[1], -1)
    mean = channels.mean(1, keepdim=True).expand_as(channels)
    return mean.reshape(-1) if torch.allclose(mean, channels, rtol=_TOLERANCE, atol=0) else gain
