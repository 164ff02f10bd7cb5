"""What is asked of a conversion: how pixels reach a network that takes spikes, and which candidates are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Calibrate = Literal["usual", "settled"]
"""Which candidates are tried: those that results so far were chosen from, or settled ones."""


@dataclass(frozen=True)
class PixelCoding:
    """How pixels reach a network that takes spikes: input neurons under a bias current, as :meth:`Encoding.for_pixels` makes it.

    Attributes:
        full_rate: spikes a step that stand for a pixel of 255, (0, 1]; the first layer's weights are divided by it.
        start: ``v`` of the input neurons at a sample's first step as a fraction of their threshold, [0, 1].
    """

    full_rate: float = 0.5
    start: float = 0.5
