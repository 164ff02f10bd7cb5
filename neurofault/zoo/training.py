"""How the torch networks of the zoo are built and trained, and where the trained weights are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurofault.data.datasets import load
from neurofault.data.splits import DataSet
from neurofault.graph import Encoding
from neurofault.progress import Progress
from neurofault.zoo import Recipe, recipe
from neurofault.zoo.hardening import Hardening, HiddenPlaces, Hits, weights_key
from neurofault.zoo.hurt import Hurt, check_module
from neurofault.zoo.rate_curve import RateCurve
from neurofault.zoo.residual import residual_network
from neurofault.zoo.shipped import with_weights


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


def trained(
    name: str, *, data_dir: Path | None = None, progress: Progress | None = None, data: DataSet | None = None
) -> tuple[nn.Module, DataSet]:
    """Return a trained zoo network (in eval mode) and its data set, training it if it is not in the cache.

    Small networks come with the package (:mod:`neurofault.zoo.shipped`): the same bits everywhere. The others are trained with deterministic
    algorithms on a fixed number of threads: the same recipe, data and torch version give the same bits on one kind of processor, and
    :func:`weights_digest` tells networks of different processors apart. The cache file appears whole or not at all.

    Args:
        name: zoo name, see :data:`RECIPES`.
        data_dir: folder of published data files, see :func:`neurofault.data.datasets.load`.
        progress: called after every epoch.
        data: its data set, where it is read already.

    Raises:
        UsageError: unknown name.
        DataError: the data set is missing or damaged.
    """
    return trained_as(recipe(name), data_dir=data_dir, progress=progress, data=data)


def trained_as(
    spec: Recipe,
    *,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    data: DataSet | None = None,
    harden: tuple[Hardening, HiddenPlaces] | None = None,
) -> tuple[nn.Module, DataSet]:
    """Return the network of a recipe, trained for damage if that is asked for; see :func:`trained`.

    Args:
        spec: the recipe.
        data_dir: likewise.
        progress: likewise.
        data: likewise.
        harden: what it is trained for, and the places of its neurons; the weights have an identity of their own.

    Raises:
        DataError: likewise.
        UsageError, UnsupportedError: it cannot be trained for that.
    """
    if data is None:
        data = load(spec.dataset, data_dir=data_dir)
    model = untrained(spec, data)
    hits = None if harden is None else Hits(*harden, spec.seed)
    if hits is not None:
        check_module(model, hits)

    def train() -> None:
        with _same_bits(1 if not spec.channels else 2), torch.enable_grad():  # also where the caller has switched gradients off
            _train(model, spec, data, progress, hits)

    with_weights(model, weights_key(spec.name, spec.digest, data.digest, harden), train)
    return model.eval(), data


def untrained(spec: Recipe, data: DataSet) -> nn.Module:
    """Return the network of a recipe for a data set, with weights that nothing has set."""
    channels, height, width = data.shape
    return build(spec, (channels, height, width), len(data.classes))


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


def _train(model: nn.Module, spec: Recipe, data: DataSet, progress: Progress | None, hits: Hits | None) -> None:
    """Fit ``model`` in place on the training split."""
    hurt = None if hits is None else Hurt(model, hits)
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
                wanted = labels[chosen]
                loss = functional.cross_entropy(model(batch), wanted) if hurt is None else hurt.loss(batch, wanted)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
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
