"""Plain SGD, SGD with momentum, and Adam, over lists of tensors, with a state that can be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from neurofault.errors import UsageError, nearest

KINDS = ("sgd", "momentum", "adam")


@dataclass(frozen=True)
class Optimiser:
    """How weights follow gradients.

    Attributes:
        kind: ``sgd``, ``momentum`` (heavy ball, μ = 0.9) or ``adam`` (Kingma & Ba 2015, β = 0.9 and 0.999, ε = 1e-8).
        rate: learning rate, above 0.
    """

    kind: str = "sgd"
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"no optimiser {self.kind!r}; optimisers: {', '.join(KINDS)}{nearest(self.kind, KINDS)}")
        if not self.rate > 0:
            raise UsageError(f"learning rate {self.rate}; allowed: above 0")


@final
class Descent:
    """An optimiser at work.

    Args:
        optimiser: which.
    """

    def __init__(self, optimiser: Optimiser) -> None:
        self.optimiser = optimiser
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []
        self.steps = 0

    def forget(self) -> None:
        """Start anew: what was learned about gradients before a damage would bring dead nodes back."""
        self.first, self.second, self.steps = [], [], 0

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], found: Sequence[Tensor], scale: Sequence[Tensor] | None = None) -> None:
        """Change parameters in place.

        Args:
            parameters: what learns.
            found: gradients of the same shapes; they may be overwritten.
            scale: factor of each element's change, of the same shapes; where it is 0, every bit stays. None: 1.
        """
        rate = self.optimiser.rate
        self.steps += 1
        match self.optimiser.kind:
            case "momentum":
                self.first = self.first or [torch.zeros_like(one) for one in parameters]
                for mean, gradient in zip(self.first, found, strict=True):
                    mean.mul_(0.9).add_(gradient)
                changes: Sequence[Tensor] = self.first
            case "adam":
                self.first = self.first or [torch.zeros_like(one) for one in parameters]
                self.second = self.second or [torch.zeros_like(one) for one in parameters]
                rate *= (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
                small = 1e-8 * (1 - 0.999**self.steps) ** 0.5
                changes = []
                for mean, square, gradient in zip(self.first, self.second, found, strict=True):
                    mean.mul_(0.9).add_(gradient, alpha=0.1)
                    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                    changes.append(mean / square.sqrt().add_(small))
            case _:
                changes = found
        for at, (parameter, change) in enumerate(zip(parameters, changes, strict=True)):
            # adding 0 makes −0 a +0, and what is changed by −rate · (+0) keeps every bit
            parameter.add_(change if scale is None else (change * scale[at]).add_(0.0), alpha=-rate)
