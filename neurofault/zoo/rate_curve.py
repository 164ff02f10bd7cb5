"""What stands in ReLU's place where a network is trained for neurons that reset to zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurofault.graph.neurons import NO_MEMORY


class RateCurve(nn.Module):
    """Firing-rate curve of a reset-to-zero neuron, in ReLU's place.

    A neuron whose mean drive is z thresholds a step fires at about ``q = z / (1 + overshoot · z)`` spikes a step, at most 1: what the drive
    exceeds the threshold by is lost at each reset. With ``s = scale`` spikes a unit of activation::

        z = s · relu(x)        q = min(1, z / (1 + overshoot · z))        y = q / s

    so y ≈ relu(x) for a small drive. In training, q is rounded to whole spikes in ``timesteps`` after Gaussian noise of standard
    deviation ``noise · sqrt(q + 0.01)``, with a straight-through gradient (Bengio et al. 2013, arXiv:1308.3432).

    Args:
        scale: spikes a step for a unit of activation, > 0.
        overshoot: loss a reset, ≥ 0; ½ for a constant drive, more for a bursty one.
        timesteps: T of the rounding in training.
        noise: of the spike counts in training, ≥ 0.
        du: current decay of the neurons that the curve stands for, in 1/4096, 0 to 4095 (4095: no memory). A current that remembers a few
            steps smooths the drive, which brings the loss a reset down to about ½ and makes it even.
    """

    def __init__(self, scale: float, overshoot: float, timesteps: int = 64, noise: float = 0.0, du: int = NO_MEMORY) -> None:
        super().__init__()
        self.scale, self.overshoot, self.timesteps, self.noise, self.du = scale, overshoot, timesteps, noise, du

    def forward(self, x: Tensor) -> Tensor:
        """Return y of the same shape as ``x``."""
        drive = functional.relu(x) * self.scale
        rate = (drive / (1 + self.overshoot * drive)).clamp(max=1.0)
        if self.training and self.noise:
            noisy = functional.relu(rate + self.noise * torch.sqrt(rate + 0.01) * torch.randn_like(rate))
            rate = rate + (torch.round(noisy * self.timesteps) / self.timesteps - rate).detach()
        return rate / self.scale
