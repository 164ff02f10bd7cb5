"""The networks of the founding paper: their recipes. :mod:`neurofault.zoo.training` builds and trains them.

MLPs follow the paper's base (55k/5k/10k split, ReLU, inputs x/255, plain SGD 0.1, batch 100, 30 epochs). The convolutional
network is trained with :class:`RateCurve` in the place of ReLU, because five reset-to-zero populations in a row bend a ReLU too
much; a plain ReLU network of the same shape (``cifar10-cnn-relu``) stands beside it, and so does a residual one, ``cifar10-resnet``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from neurofault.errors import UsageError, nearest
from neurofault.graph.neurons import NO_MEMORY
from neurofault.zoo.events import EVENT_RECIPES, EventRecipe

if TYPE_CHECKING:
    from neurofault.zoo.rate_curve import RateCurve
    from neurofault.zoo.shipped import weights_digest
    from neurofault.zoo.training import build, pixel_rates, torch_accuracy, trained

__all__ = [
    "RECIPES",
    "RateCurve",
    "Recipe",
    "any_recipe",
    "build",
    "pixel_rates",
    "recipe",
    "torch_accuracy",
    "trained",
    "weights_digest",
]

_ON_USE = {
    "RateCurve": "neurofault.zoo.rate_curve",
    "weights_digest": "neurofault.zoo.shipped",
    "build": "neurofault.zoo.training",
    "pixel_rates": "neurofault.zoo.training",
    "torch_accuracy": "neurofault.zoo.training",
    "trained": "neurofault.zoo.training",
}
"""Name → module that has it: what needs torch, which recipes do not."""


def __getattr__(name: str) -> object:
    if name in _ON_USE:
        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the trained weights of a zoo network.

    Attributes:
        name: zoo name.
        dataset: name for :func:`neurofault.data.datasets.load`.
        hidden: widths of the fully connected hidden layers.
        channels: output channels of the two convolutions; empty for an MLP.
        stages: output channels of the residual stages (:mod:`neurofault.zoo.residual`); empty for the other networks.
        overshoots: of the rate curve of each hidden layer (in a residual network 1 + 2 a stage); empty for plain ReLU.
        scale: spikes a unit of activation (rate curve only).
        full_rate: spike rate of a full-scale pixel assumed in training (rate curve only).
        noise: of the rate curve in training.
        du: current decay of the hidden neurons (rate curve only).
        epochs, batch, learning_rate: of the optimiser.
        optimiser: ``sgd`` (plain) or ``adamw`` (one-cycle schedule, weight decay 0.01).
        timesteps: T for which the network is meant.
        dropout: share of hidden activations that are dropped in training, 0 to 1 (MLPs only).
        neurons_per_core: block size at which losing one core is a partial loss; the default placement of ``inject``.
        seed: of initial weights, order of samples and augmentation.
    """

    name: str
    dataset: str
    hidden: tuple[int, ...]
    channels: tuple[int, ...] = ()
    overshoots: tuple[float, ...] = ()
    scale: float = 0.25
    full_rate: float = 0.5
    noise: float = 0.05
    du: int = NO_MEMORY
    epochs: int = 30
    batch: int = 100
    learning_rate: float = 0.1
    optimiser: str = "sgd"
    timesteps: int = 32
    dropout: float = 0.0
    neurons_per_core: int = 8
    seed: int = 2026
    stages: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """Short hash of the recipe; the cache's key. ``stages`` counts where there are any: weights are older than it."""
        said = {key: value for key, value in asdict(self).items() if value or key != "stages"}
        return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=6).hexdigest()


_CIFAR = Recipe(
    "cifar10-cnn", "cifar10", (128,), (32, 48), (0.7, 0.6, 0.5), du=1364, epochs=14, batch=128, learning_rate=4e-3,
    optimiser="adamw", timesteps=64, neurons_per_core=256,
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("digits-mlp", "digits", (100,), epochs=60, batch=20),
        Recipe("digits-mlp-dropout", "digits", (100,), epochs=60, batch=20, dropout=0.5),
        Recipe("mnist-mlp", "mnist", (100,)),
        Recipe("mnist-mlp-dropout", "mnist", (100,), dropout=0.5),
        Recipe("mnist-mlp-400", "mnist", (400,), neurons_per_core=16),
        Recipe("mnist-mlp2", "mnist", (100, 100), neurons_per_core=10),
        Recipe("fashion-mlp-400", "fashion-mnist", (400,), neurons_per_core=16),
        _CIFAR,
        Recipe(
            "cifar10-cnn-relu", "cifar10", (128,), (32, 48), epochs=14, batch=128, learning_rate=4e-3, optimiser="adamw",
            timesteps=64, neurons_per_core=256,
        ),
        Recipe(
            "cifar10-resnet", "cifar10", (), epochs=10, batch=128, learning_rate=4e-3, optimiser="adamw", timesteps=64,
            neurons_per_core=256, stages=(16, 32, 64),
        ),
    )
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """Return the recipe called ``name``, of a torch module.

    Raises:
        UsageError: unknown name, or a network of events.
    """
    if name not in RECIPES:
        known = (*RECIPES, *EVENT_RECIPES)
        if name in known:
            raise UsageError(
                f"network {name!r} takes events and is spiking already; here a torch module is needed: {', '.join(RECIPES)}"
            )
        raise UsageError(f"no network {name!r} in the zoo{nearest(name, known)}; there are: {', '.join(known)}")
    return RECIPES[name]


def any_recipe(name: str) -> Recipe | EventRecipe:
    """Return the recipe called ``name``, of a torch module or of a network of events.

    Raises:
        UsageError: unknown name.
    """
    return EVENT_RECIPES[name] if name in EVENT_RECIPES else recipe(name)
