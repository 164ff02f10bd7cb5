"""From a torch network to a spiking one: which conversion was chosen, and the torch network itself, which is loaded only where it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from neurofault.convert.asked import CALIBRATION_IMAGES, Calibrate
from neurofault.data.scaling import Scaling, in_levels, scaling_of
from neurofault.data.splits import DataSet, Split
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.graph import Network
from neurofault.metrics import ACCURACY, Metric
from neurofault.progress import Progress
from neurofault.study.conversions import Calibration, say_if_it_fails
from neurofault.study.kept import once
from neurofault.study.targets import check_ending, check_outputs

if TYPE_CHECKING:
    from torch import nn


class TorchNetwork(Protocol):
    """A trained torch network."""

    @property
    def model(self) -> nn.Module:
        """The module, in eval mode."""

    @property
    def digest(self) -> str:
        """Its :func:`neurofault.zoo.weights_digest`."""


@dataclass(frozen=True, eq=False)
class OwnModule:
    """A user's own torch network.

    Attributes:
        model: the module.
    """

    model: nn.Module

    @cached_property
    def digest(self) -> str:
        """Its :func:`neurofault.zoo.weights_digest`."""
        from neurofault.zoo.shipped import weights_digest

        return weights_digest(self.model)


@dataclass(frozen=True, eq=False)
class Converted:
    """A torch network as a spiking one.

    Attributes:
        calibration: the conversions that it was chosen from.
        data: its data set, real values as levels.
        scaling: how real values became levels; None: they are uint8.
    """

    calibration: Calibration
    data: DataSet
    scaling: Scaling | None


def converted(
    network: TorchNetwork,
    data: DataSet,
    place: Callable[[Network], Deployment],
    *,
    timesteps: int,
    name: str,
    learns: bool,
    calibrate: Calibrate,
    signed: str,
    placed: list[object] | None,
    as_made: bool,
    progress: Progress,
) -> Converted:
    """Choose the conversion of a torch network (:func:`neurofault.study.calibrate.choose`).

    Args:
        network: the torch network.
        data: its data set, values; whether the two fit is checked.
        place: how a network is deployed.
        timesteps: T.
        name: for display.
        learns: the chip is to learn.
        calibrate: which conversions are compared.
        signed: how negative values are shown, :class:`neurofault.data.scaling.Scaling`.
        placed: of a network of the zoo on its own images: all that ``place`` depends on; what is chosen is kept, and read where it was. None: of others.
        as_made: whether a user's network has the weights that its factory made.
        progress: called as work goes on.

    Warns:
        NeurofaultWarning: a user's network itself fails.

    Raises:
        NeurofaultError: network and data do not fit, or it cannot be converted.
    """

    def chosen() -> Calibration:
        from neurofault.study.calibrate import choose

        return choose(
            model(), encoded, place, timesteps=timesteps, name=name, learns=learns, calibrate=calibrate, progress=progress
        )

    scaling = scaling_of(data, signed)
    encoded = data if scaling is None else in_levels(data, scaling)

    def model() -> nn.Module:
        from neurofault.convert.scaled import ShownLevels

        return network.model if scaling is None else ShownLevels(network.model, scaling)

    if placed is not None:
        key = [network.digest, data.digest, placed, timesteps, name, learns, calibrate]
        return Converted(once("conversion", key, chosen), encoded, scaling)
    from neurofault.convert.torch_model import as_taken, scores_of

    seen = as_taken(model(), encoded.train.images[:CALIBRATION_IMAGES])
    check_labels(data, scores_of(model(), seen[:2]).shape[1], name)
    if data.train.targets is not None:
        check_outputs(data, scores_of(model(), seen[:2]).shape[1], name)
        check_ending(model(), seen, name)
    found = chosen()
    if isinstance(network, OwnModule) and data.train.targets is None:
        first = data.train.first(min(len(data.train), CALIBRATION_IMAGES))
        say_if_it_fails(scores_of(model(), seen).argmax(axis=1), first.labels, name, first.samples, as_made=as_made)
    return Converted(found, encoded, scaling)


def module_accuracy(network: TorchNetwork, split: Split, metric: Metric, *, kept: bool) -> float:
    """Return what a torch network reaches, by a metric, on samples as they were given.

    Args:
        network: the torch network.
        split: the samples.
        metric: what is measured.
        kept: it is of the zoo, so that its digest says what it is: the figure is kept.
    """

    def measured() -> float:
        from neurofault.convert.running import readable
        from neurofault.convert.torch_model import as_taken, scores_of
        from neurofault.zoo.training import torch_accuracy

        model = readable(network.model)
        images = as_taken(model, split.images)
        if split.targets is not None:
            return metric.of_answers(scores_of(model, images), split.targets)
        if metric != ACCURACY:
            scores = scores_of(model, images).argsort(axis=1)[:, ::-1][:, : metric.k]
            return float(np.mean((scores == split.labels[:, None]).any(axis=1)))
        if images.dtype == np.uint8:
            return torch_accuracy(model, np.asarray(images, np.uint8), split.labels)
        return float(np.mean(scores_of(model, images).argmax(axis=1) == split.labels))

    return once("accuracy", [network.digest, split.digest, metric.name], measured) if kept else measured()


def check_labels(data: DataSet, outputs: int, network: str) -> None:
    """Make sure that a network has an output for every label.

    Raises:
        UsageError: it has not.
    """
    for split in (data.train, data.validation, data.test):
        wrong = np.argwhere(split.labels >= outputs)
        if len(wrong):
            at = tuple(int(each) for each in min(wrong, key=lambda place: split.indices[place[0]]))
            raise UsageError(
                f"{split.name}: label {int(split.labels[at])} at sample {int(split.indices[at[0]])}, but network {network!r} has {outputs} outputs; allowed: 0 to {outputs - 1}"
            )
