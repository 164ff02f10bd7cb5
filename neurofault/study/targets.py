"""Networks that answer with real numbers: from what a chip scores to the targets' unit, and what must hold for that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurofault.data.splits import DataSet
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.units import unit_of
from neurofault.errors import ConversionError, UsageError
from neurofault.graph import Network
from neurofault.metrics import Metric, metric_of_targets
from neurofault.numerals import plural

if TYPE_CHECKING:
    from torch import nn

_CHECKED = 64
_TOLERANCE = 1e-3
"""Of the largest answer; float32 leaves about 1e-6."""


def error_of(network: Network, chip: Deployment, data: DataSet, *, rates: bool) -> Metric:
    """Return the mean squared error of a chip on data with targets.

    Args:
        network: what was deployed.
        chip: its deployment, healthy or broken.
        data: what is shown; its training targets give the guess.
        rates: as of :func:`neurofault.deploy.units.unit_of`.

    Raises:
        UnsupportedError: the chip's scores have no unit; the text names the population.
    """
    known = data.train.targets
    assert known is not None
    metric = metric_of_targets(known, None, data.name)
    guess = known.mean(axis=tuple(range(known.ndim - 1)))
    return replace(
        metric, unit=unit_of(network, chip, f"metric {metric.name}", rates=rates), how=chip.readout.how, guess=tuple(guess.tolist())
    )


def check_outputs(data: DataSet, outputs: int, network: str, timesteps: int | None = None) -> None:
    """Make sure that a network has an output for every target of a sample, and its samples the steps of targets of steps.

    Args:
        data: with targets.
        outputs: of the network.
        network: its name.
        timesteps: that a sample is shown; None: it does not matter.

    Raises:
        UsageError: it has not.
    """
    for split in (data.train, data.validation, data.test):
        assert split.targets is not None
        *steps, given = split.targets.shape[1:]
        if given != outputs:
            hint = (
                "; targets of every step are [N, T, K]"
                if outputs == 1 and not steps and given in (timesteps, data.timesteps)
                else ""
            )
            raise UsageError(
                f"{split.name} has {given} targets a {'step' if steps else 'sample'}, but network {network!r} has {outputs} outputs; expected as many{hint}"
            )
        if steps and timesteps is not None and steps[0] != timesteps:
            raise UsageError(
                f"{split.name} has targets of {plural(steps[0], 'step')}, but a sample is shown for {timesteps}; expected as many"
            )


def check_ending(model: nn.Module, images: NDArray[np.generic], network: str) -> None:
    """Make sure that a module returns what its last linear layer gives, which is what a chip is read for.

    Args:
        model: the module.
        images: calibration samples as it takes them.
        network: its name.

    Raises:
        ConversionError: something behind it changes the values.
    """
    from neurofault.convert.driven import activations
    from neurofault.convert.torch_model import read, scores_of

    part = images[:_CHECKED]
    own = read(model, part)
    last, returned = activations(own.stages, own.images)[-1].flatten(1).numpy(), scores_of(model, part)
    if last.shape != returned.shape or np.abs(last - returned).max() > _TOLERANCE * max(float(np.abs(returned).max()), 1e-12):
        raise ConversionError(
            f"network {network!r} changes what its last layer gives (a Sigmoid, a Tanh, a scale at the end?), and the chip is read in front of that: its "
            "answers would not be in the targets' unit; end the module with its last linear layer, and give targets in that layer's unit"
        )


def explained_share(answers: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Return R²: 1 − squared error by the variance of the targets, at most 1; −inf where the targets are all alike and missed.

    >>> explained_share(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]]))
    0.5
    """
    lost, whole = float(np.sum((answers - targets) ** 2)), float(np.sum((targets - targets.mean(axis=0)) ** 2))
    return 1 - lost / whole if whole else (1.0 if lost == 0 else -np.inf)
