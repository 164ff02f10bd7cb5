"""A module as it sees levels instead of the values that it was trained on; the conversion folds the difference into its first layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neurofault.data.scaling import Scaling


class ShownLevels(nn.Module):
    """A user's module behind what turns levels back into values.

    Args:
        model: takes values [N, …].
        scaling: how values became levels.
    """

    def __init__(self, model: nn.Module, scaling: Scaling) -> None:
        super().__init__()
        self.model = model
        self.unit, self.low, self.lines = scaling.unit, scaling.low, scaling.signed == "lines"
        self.train(model.training)

    def forward(self, levels: Tensor) -> Any:
        """Return what the module answers to levels / 255, [N, …], or [N, 2, …] as two lines."""
        if self.lines:
            return self.model((levels[:, 0] - levels[:, 1]) * self.unit)
        return self.model(levels * self.unit + self.low)
