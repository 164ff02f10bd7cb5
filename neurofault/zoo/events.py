"""Networks of the zoo that take events: spiking already, trained by surrogate gradients (:mod:`neurofault.zoo.surrogate`), and where their weights are kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neurofault.data.datasets import load
from neurofault.data.splits import DataSet
from neurofault.graph import Network
from neurofault.progress import Progress
from neurofault.zoo.hardening import Hardening, HiddenPlaces, Hits, weights_key
from neurofault.zoo.surrogate_specs import LayerSpec, Training

if TYPE_CHECKING:
    from neurofault.zoo.surrogate import SpikingModel


@dataclass(frozen=True)
class EventRecipe:
    """Everything that determines the trained weights of a zoo network of events.

    Attributes:
        name: zoo name.
        dataset: name for :func:`neurofault.data.datasets.load`.
        layers: behind the input, see :class:`neurofault.zoo.surrogate_specs.LayerSpec`.
        training: how it is trained; its seed is that of the initial weights, too.
        timesteps: T of the data.
        neurons_per_core: block size at which losing one core is a partial loss; the default placement of ``inject``.
    """

    name: str
    dataset: str
    layers: tuple[LayerSpec, ...]
    training: Training
    timesteps: int
    neurons_per_core: int = 8

    @property
    def digest(self) -> str:
        """Short hash of what determines the weights; the cache's key."""
        said = {"layers": [asdict(layer) for layer in self.layers], "training": asdict(self.training)}
        return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=6).hexdigest()


EVENT_RECIPES: dict[str, EventRecipe] = {
    recipe.name: recipe
    for recipe in (
        EventRecipe(
            "ecg-rnn", "ecg-qtdb",
            (LayerSpec(128, True, (2.0, 300.0), (1.0, 30.0)), LayerSpec(6, False, (3.0, 30.0), fires=False)),
            Training("step", epochs=30, batch=32, learning_rate=6e-3), timesteps=1301,
        ),
        EventRecipe(
            "digits-events-mlp", "digits-events", (LayerSpec(100, tau_v=(5.0, 60.0)), LayerSpec(10, tau_v=(60.0, 60.0), fires=False)),
            Training(epochs=20), timesteps=60,
        ),
        EventRecipe(
            "digits-events-rnn", "digits-events",
            (LayerSpec(100, True, tau_v=(5.0, 60.0)), LayerSpec(10, tau_v=(60.0, 60.0), fires=False)), Training(epochs=20), timesteps=60,
        ),
        EventRecipe(
            "nmnist-mlp", "nmnist", (LayerSpec(512, tau_v=(10.0, 100.0)), LayerSpec(10, tau_v=(300.0, 300.0), fires=False)),
            Training(epochs=8, batch=16, learning_rate=3e-3), timesteps=300, neurons_per_core=16,
        ),
    )
}  # fmt: skip
"""``ecg-rnn``: one recurrent layer with time constants of a step to more than a heartbeat, read in every step; its size, rate and number of epochs
were chosen on the validation recordings. ``digits-events-mlp`` (512-100-10): the time constants are the best of three choices on its validation
samples; ``digits-events-rnn`` is the same with a hidden layer that listens to itself, and nothing was tuned. ``nmnist-mlp`` (2×34×34-512-10): nothing was tuned."""


def trained_on_events(
    recipe: EventRecipe, *, data_dir: Path | None = None, progress: Progress | None = None
) -> tuple[Network, DataSet]:
    """Return a trained network and its data set, training it if its weights are neither shipped nor in the cache.

    Args:
        recipe: of :data:`EVENT_RECIPES`, or one's own.
        data_dir: folder of published data files, see :func:`neurofault.data.datasets.load`.
        progress: called after every epoch.

    Raises:
        DataError: the data set is missing or damaged.
    """
    from neurofault.zoo.surrogate import network_of

    model, data = trained_model(recipe, data_dir=data_dir, progress=progress)
    return network_of(model, recipe.name, data.shape, recipe.timesteps), data


def trained_model(
    recipe: EventRecipe,
    *,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    data: DataSet | None = None,
    harden: tuple[Hardening, HiddenPlaces] | None = None,
) -> tuple[SpikingModel, DataSet]:
    """Return the same as a torch module; see :func:`trained_on_events`.

    Args:
        recipe: likewise.
        data_dir: likewise.
        progress: likewise.
        data: its data set, where it is read already.
        harden: what it is trained for, and the places of its neurons; the weights have an identity of their own.

    Raises:
        DataError: likewise.
        UsageError, UnsupportedError: it cannot be trained for that.
    """
    from neurofault.zoo.shipped import with_weights
    from neurofault.zoo.surrogate import fit

    if data is None:
        data = load(recipe.dataset, data_dir=data_dir)
    model = untrained_model(recipe, data)
    hits = None if harden is None else Hits(*harden, recipe.training.seed)
    key = weights_key(recipe.name, recipe.digest, data.digest, harden)
    with_weights(model, key, lambda: fit(model, data.train, data.validation, recipe.training, hits=hits, progress=progress))
    return model, data


def untrained_model(recipe: EventRecipe, data: DataSet) -> SpikingModel:
    """Return the network of a recipe with its initial weights."""
    from neurofault.zoo.surrogate import SpikingModel

    return SpikingModel(data.train.events.size, recipe.layers, seed=recipe.training.seed)
