"""The networks of the founding paper in torch, how they are trained, and where the trained weights are kept.

MLPs follow the paper's base (55k/5k/10k split, ReLU, inputs x/255, plain SGD 0.1, batch 100, 30 epochs). The convolutional
network is trained with :class:`RateCurve` in the place of ReLU, because five reset-to-zero populations in a row bend a ReLU too
much; a plain ReLU network of the same shape (``cifar10-cnn-relu``) stands beside it, and so does a residual one, ``cifar10-resnet``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurofault.cache import cache_dir, keep
from neurofault.data.datasets import load
from neurofault.data.splits import DataSet
from neurofault.errors import UsageError, nearest
from neurofault.graph import Encoding
from neurofault.graph.neurons import NO_MEMORY
from neurofault.progress import Progress
from neurofault.zoo.events import EVENT_RECIPES, EventRecipe
from neurofault.zoo.rate_curve import RateCurve
from neurofault.zoo.residual import residual_network
from neurofault.zoo.shipped import load_shipped, weights_digest

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


def build(spec: Recipe, in_shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the untrained torch module of a recipe.

    Args:
        spec: the recipe.
        in_shape: (channels, height, width) of a sample; the module takes float [N, channels, height, width] in [0, 1].
        classes: number of outputs.
    """

    def activation(index: int) -> nn.Module:
        if not spec.overshoots:
            return nn.ReLU()
        return RateCurve(spec.scale, spec.overshoots[index], spec.timesteps, spec.noise, spec.du)

    if spec.stages:
        return residual_network(in_shape[0], spec.stages, classes, [activation(index) for index in range(1 + 2 * len(spec.stages))])
    if not spec.channels:
        widths = (int(np.prod(in_shape)), *spec.hidden)
        body: list[nn.Module] = [nn.Flatten()]
        for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
            body += [nn.Linear(fan_in, fan_out), activation(index)]
            body += [nn.Dropout(spec.dropout)] if spec.dropout else []
        return nn.Sequential(*body, nn.Linear(widths[-1], classes))
    first, second = spec.channels
    side = in_shape[1] // 4
    return nn.Sequential(
        nn.Conv2d(in_shape[0], first, 5, stride=2, padding=2), nn.BatchNorm2d(first), activation(0),
        nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second), activation(1),
        nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(second * side * side, spec.hidden[0]), nn.BatchNorm1d(spec.hidden[0]), activation(2),
        nn.Linear(spec.hidden[0], classes),
    )  # fmt: skip


def trained(name: str, *, data_dir: Path | None = None, progress: Progress | None = None) -> tuple[nn.Module, DataSet]:
    """Return a trained zoo network (in eval mode) and its data set, training it if it is not in the cache.

    Small networks come with the package (:mod:`neurofault.zoo.shipped`): the same bits everywhere. The others are trained with deterministic
    algorithms on a fixed number of threads: the same recipe, data and torch version give the same bits on one kind of processor, and
    :func:`weights_digest` tells networks of different processors apart. The cache file appears whole or not at all.

    Args:
        name: zoo name, see :data:`RECIPES`.
        data_dir: folder of published data files, see :func:`neurofault.data.datasets.load`.
        progress: called after every epoch.

    Raises:
        UsageError: unknown name.
        DataError: the data set is missing or damaged.
    """
    spec = recipe(name)
    data = load(spec.dataset, data_dir=data_dir)
    channels, height, width = data.shape
    model = build(spec, (channels, height, width), len(data.classes))
    key = f"{name}-{spec.digest}-{data.digest[:12]}"
    path = cache_dir() / "zoo" / f"{key}.pt"
    shipped = load_shipped(key)
    if shipped is not None:
        model.load_state_dict(shipped)
    elif path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        with _same_bits(1 if not spec.channels else 2), torch.enable_grad():  # also where the caller has switched gradients off
            _train(model, spec, data, progress)
        keep(path, lambda part: torch.save(model.state_dict(), part))
    return model.eval(), data


@contextmanager
def _same_bits(threads: int) -> Iterator[None]:
    """Let torch work on ``threads`` threads whatever the machine has, and with deterministic algorithms alone: sums keep their order.

    An MLP's batches are too small to share among threads: waiting for each other would cost more.
    """
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(before)


def _train(model: nn.Module, spec: Recipe, data: DataSet, progress: Progress | None) -> None:
    """Fit ``model`` in place on the training split."""
    generator = torch.Generator().manual_seed(spec.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()
        images = torch.from_numpy(np.array(data.train.images))
        labels = torch.from_numpy(np.array(data.train.labels))
        seen = torch.from_numpy(pixel_rates(spec).astype(np.float32)) if spec.overshoots else torch.arange(256) / 255
        batches = len(images) // spec.batch
        augment = bool(spec.channels or spec.stages)
        if spec.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), spec.learning_rate)
            schedule = None
        else:
            optimiser = torch.optim.AdamW(model.parameters(), spec.learning_rate, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, spec.learning_rate, total_steps=spec.epochs * batches)
        model.train()
        for epoch in range(spec.epochs):
            order = torch.randperm(len(images), generator=generator)
            for chosen in torch.split(order[: batches * spec.batch], spec.batch):
                batch = seen[images[chosen].int()]
                if augment:
                    batch = _augment(batch, generator)
                loss = functional.cross_entropy(model(batch), labels[chosen])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                if schedule is not None:
                    schedule.step()
            if progress is not None:
                progress("training", epoch + 1, spec.epochs, f"loss {loss.item():.3f}")


def _augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror and shift a batch of images by up to three pixels."""
    flip, down, right = (int(torch.randint(0, high, (), generator=generator)) for high in (2, 7, 7))
    if flip:
        batch = batch.flip(3)
    height, width = batch.shape[2:]
    return functional.pad(batch, (3, 3, 3, 3))[:, :, down : down + height, right : right + width]


def pixel_rates(spec: Recipe) -> NDArray[np.float64]:
    """Return [256]: the relative input that a pixel really gives at the recipe's ``full_rate`` and T, 1 for full scale."""
    return Encoding.for_pixels(spec.full_rate, 0.5, spec.timesteps).rates(spec.timesteps) / spec.full_rate


def torch_accuracy(model: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64], *, batch: int = 500) -> float:
    """Return the fraction of ``images`` (uint8 [N, C, H, W], shown as x/255) that a torch model classifies as in ``labels``."""
    correct = 0
    numbers = next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)
    with torch.no_grad():
        for start in range(0, len(images), batch):
            shown = (torch.from_numpy(np.array(images[start : start + batch])).float() / 255).to(numbers)
            answer = model(shown).argmax(1).numpy()
            correct += int(np.count_nonzero(answer == labels[start : start + batch]))
    return correct / len(images)
