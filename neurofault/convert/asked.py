"""What is asked of a conversion: how pixels reach a network that takes spikes, and which candidates are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from neurofault.errors import UsageError, nearest
from neurofault.graph.arithmetic import Reset
from neurofault.graph.neurons import NO_MEMORY

CALIBRATION_IMAGES = 512
"""Training images whose activations set the thresholds."""

Pooling = Literal["differences", "any", "average"]
POOLINGS: tuple[Pooling, ...] = ("differences", "any", "average")
"""How a max pooling is made of neurons (:mod:`neurofault.convert.max_pools`)."""

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


@dataclass(frozen=True)
class Candidate:
    """One way of setting what a ReLU network leaves open.

    Attributes:
        peak_rate: spikes a step at the 99.9th percentile of a hidden layer's calibration activations, > 0 (RateCurve layers carry
            their own scale and ignore it; a layer with a cap never gets more than one spike a step for its cap).
        start: ``v`` at a sample's first step as a fraction of the threshold, [0, 1].
        full_rate: spike rate of a pixel of 255, (0, 1].
        pooling: how a max pooling is made of neurons (:mod:`neurofault.convert.max_pools`).
        settled: whether thresholds and biases are settled on what neurons really send (:mod:`neurofault.convert.settling`).
        du: current decay of hidden ReLU neurons, 0 to 4095 (4095: no memory). Input neurons of equal pixels fire in the same steps; a current that
            remembers a few steps evens out what arrives. (RateCurve layers carry their own.)
        reset: ``zero`` or ``subtract``: what a spike does to the potential of input neurons and hidden ReLU neurons. One that loses its threshold, and
            nothing more, fires at every rate up to one spike a step (Rueckauer et al. 2017, section 2.2).
    """

    peak_rate: float = 0.5
    start: float = 0.5
    full_rate: float = 1.0
    pooling: Pooling = "differences"
    settled: bool = False
    du: int = NO_MEMORY
    reset: Reset = "zero"
