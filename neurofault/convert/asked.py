"""What is asked of a conversion: how pixels reach a network that takes spikes, and which candidates are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from neurofault.errors import UsageError, nearest

CALIBRATION_IMAGES = 512
"""Training images whose activations set the thresholds."""

Calibrate = Literal["usual", "settled", "subtract"]
"""Which candidates are tried: those that results so far were chosen from, settled ones, or ones of neurons that reset by subtraction."""


def check_calibrate(calibrate: str) -> None:
    """Refuse what is no way of calibration.

    Raises:
        UsageError: it is none.
    """
    if calibrate not in (ways := get_args(Calibrate)):
        raise UsageError(f"calibrate is {', '.join(ways[:-1])} or {ways[-1]}, not {calibrate!r}{nearest(calibrate, ways)}")


@dataclass(frozen=True)
class PixelCoding:
    """How pixels reach a network that takes spikes: input neurons under a bias current, as :meth:`Encoding.for_pixels` makes it.

    Attributes:
        full_rate: spikes a step that stand for a pixel of 255, (0, 1]; the first layer's weights are divided by it.
        start: ``v`` of the input neurons at a sample's first step as a fraction of their threshold, [0, 1].
    """

    full_rate: float = 0.5
    start: float = 0.5
