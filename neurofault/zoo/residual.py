"""A small residual network (He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation and the way round them, which is a 1×1 convolution where the shape changes.

        h = first_activation(first(x))        y = last_activation(second(h) + short(x))

    Args:
        inputs, outputs: channels.
        stride: of the first convolution and of the way round, 1 or 2.
        first_activation: behind the first convolution.
        last_activation: behind the sum.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, first_activation: nn.Module, last_activation: nn.Module) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.first_activation, self.last_activation = first_activation, last_activation
        self.short: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, outputs, height/stride, width/stride] for ``x`` [N, inputs, height, width]."""
        inner = self.first_activation(self.first(x))
        return self.last_activation(self.second(inner) + self.short(x))  # type: ignore[no-any-return]  # torch types what modules return as Any


def residual_network(inputs: int, stages: Sequence[int], classes: int, activations: Sequence[nn.Module]) -> nn.Sequential:
    """Return a 5×5 convolution of stride 2, one block a stage (stride 1, then 2), the mean of each channel, and a linear readout.

    Args:
        inputs: channels of an image.
        stages: channels of each stage, at least one.
        classes: outputs.
        activations: 1 + 2 a stage, in the order in which data meet them.
    """
    stem = nn.Sequential(nn.Conv2d(inputs, stages[0], 5, 2, 2, bias=False), nn.BatchNorm2d(stages[0]), activations[0])
    widths = pairwise((stages[0], *stages))
    blocks = (
        ResidualBlock(before, after, 1 if index == 0 else 2, activations[1 + 2 * index], activations[2 + 2 * index])
        for index, (before, after) in enumerate(widths)
    )
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stages[-1], classes))
