"""Training for damage: batches go through a network that is broken anew each time, and through the healthy one that it is to answer like.

The loss of a batch is that of the broken network's answers, that of the healthy network's answers, and how far the first are from the second
(Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, the teacher being the same network in the same step, unbroken, as in
Yu and Huang 2019, "Universally Slimmable Networks", arXiv:1903.05134)::

    (1 − HEALTHY) · CE(broken) + HEALTHY · CE(healthy) + DISTILLED · KL(healthy ‖ broken)

Dropout alone breaks nothing of a chip, and is trained as it always is: CE(dropped).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from neurofault.errors import UnsupportedError
from neurofault.zoo.hardening import DISTILLED, HEALTHY, Hits, Strike
from neurofault.zoo.rate_curve import RateCurve

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def damaged_loss(answers: Callable[[Strike | None], tuple[Tensor, Tensor]], hits: Hits, samples: int) -> Tensor:
    """Return the loss of a batch.

    Args:
        answers: gives scores [answers, classes] and labels [answers] (−1: none) of the batch from the network that a draw broke; None: from the healthy one.
        hits: draws what is broken.
        samples: of the batch.
    """
    broken, labels = answers(hits.draw(samples))
    loss = functional.cross_entropy(broken, labels, ignore_index=-1)
    if not hits.asked.breaks:
        return loss
    healthy, _ = answers(None)
    known = labels >= 0
    taught = functional.kl_div(
        functional.log_softmax(broken[known], 1), functional.softmax(healthy[known].detach(), 1), reduction="batchmean"
    )
    return (1 - HEALTHY) * loss + HEALTHY * functional.cross_entropy(healthy, labels, ignore_index=-1) + DISTILLED * taught


def read_back(weight: Tensor, draw: Strike, layer: int, *, rows: bool) -> Tensor:
    """Return weights as :meth:`Strike.read_back` gives them, with the gradient of the weights themselves (Bengio et al. 2013, arXiv:1308.3432)."""
    if not draw.rate:
        return weight
    stored = torch.from_numpy(draw.read_back(weight.detach().numpy(), layer, rows=rows))
    return weight + (stored - weight).detach()


@dataclass(frozen=True, eq=False)
class Hurt:
    """A torch module of the zoo in training for damage.

    Attributes:
        model: the module.
        hits: what draws come from.
    """

    model: nn.Module
    hits: Hits

    def loss(self, batch: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch of images."""

        def answers(draw: Strike | None) -> tuple[Tensor, Tensor]:
            return self.model(batch) if draw is None else Broken(self.model, draw)(batch), labels

        return damaged_loss(answers, self.hits, len(batch))


class Broken(nn.Module):
    """A torch module of the zoo that a draw broke: the rate of a dead neuron is 0, nothing is rescaled, and bits of its weights are flipped.

    Batch normalisation goes by its statistics of the healthy network, which a chip's weights and biases hold.
    """

    def __init__(self, model: nn.Module, draw: Strike) -> None:
        super().__init__()
        self.model, self.draw = model, draw

    def forward(self, batch: Tensor) -> Tensor:
        """Return scores [N, classes]."""
        layers = {name: one.weight for name, one in self.model.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)}
        flipped = {
            f"{name}.weight": read_back(weight, self.draw, at, rows=False) for at, (name, weight) in enumerate(layers.items())
        }
        with _silenced(self.model, self.draw), _as_folded(self.model):
            return cast(Tensor, functional_call(self.model, flipped, (batch,)))


@contextmanager
def _silenced(model: nn.Module, draw: Strike) -> Iterator[None]:
    handles = [
        one.register_forward_hook(_times(torch.from_numpy(passed)))
        for one, passed in zip(activations_of(model), draw.passed, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations_of(model: nn.Module) -> list[nn.Module]:
    """Return the activations of a module of the zoo: those of its hidden populations, in the order in which data meet them."""
    return [one for one in model.modules() if isinstance(one, nn.ReLU | RateCurve)]


def check_module(model: nn.Module, hits: Hits) -> None:
    """Refuse a module that cannot be trained for what is asked.

    Raises:
        UnsupportedError: its hidden populations are others than its activations, or bits are flipped in weights that the chip does not store as they are.
    """
    places, activations = len(hits.sites.cores), len(activations_of(model))
    if places != activations:
        raise UnsupportedError(
            f"harden: the network has {activations} activations but {places} hidden populations on the chip; it cannot be hardened"
        )
    if hits.asked.bits and any(isinstance(one, _NORMS) for one in model.modules()):
        raise UnsupportedError(
            "harden: bits are flipped in weights as they are stored, into which batch normalisation is folded; this network can be hardened by cores and dropout"
        )


def _times(passed: Tensor) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        return output * passed.reshape(-1, *output.shape[1:])

    return hook


@contextmanager
def _as_folded(model: nn.Module) -> Iterator[None]:
    norms = [one for one in model.modules() if isinstance(one, _NORMS) and one.training]
    for one in norms:
        one.eval()
    try:
        yield
    finally:
        for one in norms:
            one.train()
