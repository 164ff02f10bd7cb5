"""Networks of the zoo by name, those that are trained for damage too: the placement says which neurons die together and how many bits a weight has."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neurofault.data.datasets import load
from neurofault.data.splits import DataSet, Split
from neurofault.deploy import deploy
from neurofault.deploy.anneal_words import anneal_words
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.digest import digest_of
from neurofault.errors import NeurofaultWarning, UsageError
from neurofault.graph import Network
from neurofault.numerals import plural
from neurofault.progress import Progress, told
from neurofault.study.chain_identity import network_record
from neurofault.zoo import Recipe, any_recipe, shipped
from neurofault.zoo.events import EventRecipe, trained_model, untrained_model
from neurofault.zoo.hardening import Hardening, HiddenPlaces, Hits, Strike, named, weights_key

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 100
"""Training images on which an untrained network is read, for its shape alone."""


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo that is asked for by name.

    Attributes:
        recipe: its recipe; its seed is the one that is asked for.
        harden: what it is trained for; None: nothing.
    """

    recipe: Recipe | EventRecipe
    harden: Hardening | None

    def trained(
        self,
        place: Callable[[Network], Deployment],
        *,
        data_dir: Path | None = None,
        progress: Progress | None = None,
        data: DataSet | None = None,
    ) -> ZooModel:
        """Return the trained network; it is trained unless its weights are shipped or kept.

        Args:
            place: puts a network on the chip that it is trained for.
            data_dir: folder of published data files.
            progress: called after every epoch.
            data: its own data set, where it is read already.

        Raises:
            UsageError, UnsupportedError: it cannot be trained for what is asked.
            NeurofaultError: data, conversion or placement.
        """
        data = data or load(self.recipe.dataset, data_dir=data_dir)
        asked = None if self.harden is None else (self.harden, sites_of(self.recipe, data, place, whole=bool(self.harden.cores)))
        sites = None if asked is None else asked[1]
        if isinstance(self.recipe, EventRecipe):
            return ZooModel(self, data, sites, None, trained_model(self.recipe, progress=progress, data=data, harden=asked)[0])
        key = weights_key(self.recipe.name, self.recipe.digest, data.digest, asked)
        arrays = shipped.load_shipped(key)
        if arrays is not None:
            told(f"weights {key}: they come with neurofault")
            return ZooModel(self, data, sites, arrays, None)
        from neurofault.zoo.training import trained_as

        return ZooModel(self, data, sites, None, trained_as(self.recipe, progress=progress, data=data, harden=asked)[0])


@dataclass(frozen=True, eq=False)
class ZooModel:
    """A trained network of the zoo.

    Attributes:
        asked: what was asked for.
        data: its data set.
        sites: its places where it is trained for damage; None: it is not.
        arrays: of its state dict, where they are shipped and torch need not be loaded for them.
        loaded: the torch module where it is loaded already.
    """

    asked: ZooNetwork
    data: DataSet
    sites: HiddenPlaces | None
    arrays: Mapping[str, NDArray[Any]] | None
    loaded: nn.Module | None

    @cached_property
    def model(self) -> nn.Module:
        """The torch module, in eval mode; of events a :class:`neurofault.zoo.surrogate.SpikingModel`."""
        if self.loaded is not None:
            return self.loaded
        from neurofault.zoo.training import untrained

        assert self.arrays is not None
        assert not isinstance(self.asked.recipe, EventRecipe)
        model = untrained(self.asked.recipe, self.data)
        shipped.set_weights(model, self.arrays)
        return model.eval()

    def spiking(self, timesteps: int) -> Network:
        """Return a network of events as a graph, of ``timesteps`` steps."""
        return _graph(self.asked.recipe, self.model, self.data).with_timesteps(timesteps)

    def tried(self, draws: int) -> list[Strike]:
        """Return ``draws`` ways in which the chip that it is trained for breaks, always the same; none where it is trained for nothing that breaks."""
        harden = self.asked.harden
        if harden is None or self.sites is None or not harden.breaks:
            return []
        return Hits(harden, self.sites, 0).tried(draws)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits by which the weights are known, as in every result (:attr:`neurofault.study.prepare.Prepared.weights`)."""
        if isinstance(self.asked.recipe, EventRecipe):
            return digest_of(network_record(_graph(self.asked.recipe, self.model, self.data), written=False))[:16]
        return shipped.weights_digest(self.model) if self.arrays is None else shipped.arrays_digest(self.arrays)

    @property
    def broken_words(self) -> str:
        """What breaks in each of :meth:`tried`, in words."""
        harden = self.asked.harden
        if harden is None or self.sites is None:
            return "unbroken"
        parts = (
            [f"{harden.dead(self.sites.hidden.size)} of {plural(self.sites.hidden.size, 'hidden core')} dead"]
            if harden.cores
            else []
        )
        parts += [f"{harden.bits:g} of the stored bits flipped"] if harden.bits else []
        return "with " + " and ".join(parts)

    @property
    def answers_steps(self) -> bool:
        """Whether it answers in every step of a sample."""
        return isinstance(self.asked.recipe, EventRecipe) and self.asked.recipe.training.loss == "step"

    def accuracy(self, split: Split, draw: Strike | None = None) -> float:
        """Return the fraction of a split's labels that it gives, healthy or broken by ``draw``; before conversion and rounding."""
        if isinstance(self.asked.recipe, EventRecipe):
            from neurofault.zoo.surrogate import SpikingModel, model_accuracy

            assert isinstance(self.model, SpikingModel)
            return model_accuracy(self.model, split, self.asked.recipe.training.loss, draw=draw)
        from neurofault.zoo.hurt import Broken
        from neurofault.zoo.training import torch_accuracy

        return torch_accuracy(self.model if draw is None else Broken(self.model, draw), split.pixels, split.labels)


def zoo_network(name: str, otherwise: str | None = None) -> ZooNetwork:
    """Return the network of the zoo that a name means: ``mnist-mlp``, or ``mnist-mlp+cores=0.46`` (:mod:`neurofault.zoo.hardening`).

    >>> zoo_network("digits-mlp+cores=6,seed=7").recipe.seed
    7

    Args:
        name: as it was given.
        otherwise: how one writes what is not in the zoo, for the message; None: nothing else is taken.

    Raises:
        UsageError: unknown, or no way of training.
    """
    base, asked = named(name)
    try:
        recipe = any_recipe(base)
    except UsageError as error:
        raise UsageError(str(error) if otherwise is None else f"{error}; one of your own: {otherwise}") from None
    if asked is None:
        return ZooNetwork(recipe, None)
    recipe = recipe if asked.seed is None else seeded(recipe, asked.seed)
    return ZooNetwork(paced(recipe), asked) if asked.changes else ZooNetwork(recipe, None)


def placing(
    recipe: Recipe | EventRecipe | None,
    profile: HardwareProfile,
    *,
    weight_bits: int | None,
    strategy: str,
    neurons_per_core: int | None,
    spare_cores: int | str,
    chips: int | None,
    seed: int,
) -> Callable[[Network], Deployment]:
    """Return what puts a network on a chip: as :func:`neurofault.deploy.deploy`, a network of the zoo at its recipe's grain unless another is said."""
    grain = recipe.neurons_per_core if neurons_per_core is None and recipe is not None and profile.cuts else neurons_per_core
    first = "pack" if anneal_words(strategy) else strategy  # where a search begins

    def place(network: Network) -> Deployment:
        return deploy(
            network, profile, weight_bits=weight_bits, strategy=first, neurons_per_core=grain, spare_cores=spare_cores, chips=chips,
            seed=seed,
        )  # fmt: skip

    return place


def paced(recipe: Recipe | EventRecipe) -> Recipe | EventRecipe:
    """Return a recipe with the steps of hardened training, in as many epochs; plain descent and slow steps learn too little of so many broken networks in them.

    Of images AdamW under a one-cycle schedule in the place of plain descent; of events batches of a quarter and twice the learning rate.
    """
    if isinstance(recipe, EventRecipe):
        own = recipe.training
        return replace(recipe, training=replace(own, learning_rate=2 * own.learning_rate, batch=max(1, own.batch // 4)))
    return replace(recipe, optimiser="adamw", learning_rate=3e-3) if recipe.optimiser == "sgd" else recipe


def seeded(recipe: Recipe | EventRecipe, seed: int) -> Recipe | EventRecipe:
    """Return a recipe with another seed."""
    if isinstance(recipe, EventRecipe):
        return replace(recipe, training=replace(recipe.training, seed=seed))
    return replace(recipe, seed=seed)


def sites_of(recipe: Recipe | EventRecipe, data: DataSet, place: Callable[[Network], Deployment], *, whole: bool) -> HiddenPlaces:
    """Return the places of a network: it is converted as it is before training, and placed.

    Args:
        recipe: of the network.
        data: its data set.
        place: puts a network on a chip.
        whole: cores of it are to die.

    Raises:
        UsageError: cores are to die, and one holds the whole of a hidden population.
        NeurofaultError: it does not fit.
    """
    if isinstance(recipe, EventRecipe):
        network = _graph(recipe, untrained_model(recipe, data), data)
    else:
        import torch

        from neurofault.convert.torch_model import candidates, proposals
        from neurofault.zoo.training import untrained

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            model = untrained(recipe, data).eval()
        shown = data.train.images[:_SHOWN]
        network = next(proposals(model, shown, candidates(model)[:1], timesteps=recipe.timesteps, name=recipe.name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurofaultWarning)  # of weights that are not trained
        chip = place(network)
    hidden = [one.name for one in chip.populations if one.name not in (*chip.inputs, chip.readout.population)]
    for name in hidden:
        if whole and len(chip.placement.cores_of(name)) == 1:
            raise UsageError(
                f"harden: all of population {name!r} sits on one core of {chip.profile.name!r}, and nothing is left of it when that dies"
                + ("; spread it with a smaller neurons_per_core" if chip.profile.cuts else "")
            )
    fields = chip.profile.synapse.format != "crossbar"
    return HiddenPlaces(tuple(chip.placement.core_of[name] for name in hidden), chip.connections[0].weight_bits if fields else None)


def _graph(recipe: Recipe | EventRecipe, model: nn.Module, data: DataSet) -> Network:
    from neurofault.zoo.surrogate import SpikingModel, network_of

    assert isinstance(model, SpikingModel)
    return network_of(model, recipe.name, data.shape, recipe.timesteps)
