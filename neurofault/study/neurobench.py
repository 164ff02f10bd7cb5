"""A chip and its robustness for NeuroBench's harness: ``Benchmark(model, dataloader, preprocessors, postprocessors, [static, workload])`` of ``neurobench`` 2.

The harness takes metrics as classes, makes them itself without arguments, and shows them each batch. :func:`neurobench_metric` so returns a class in which the kind of fault, grid and
draws are fixed. Its value is R (:mod:`neurofault.study.robustness`) over all samples that were shown; the interval stands in ``measured`` of the metric that the harness made.
``neurobench`` is imported when one of the two functions is called, and is no dependency.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import UnsupportedError, UsageError
from neurofault.inputs import Spikes
from neurofault.metrics import ACCURACY
from neurofault.numerals import whole_number
from neurofault.study.robustness import Robustness, broken_at, checked_grid

if TYPE_CHECKING:
    from torch import Tensor


def neurobench_model(chip: Deployment) -> Any:
    """Return a chip as NeuroBench's model: a batch of samples → the classes that it answers, int64 [N].

    >>> benchmark = Benchmark(neurobench_model(chip), loader, [], [], [[], [ClassificationAccuracy]])  # doctest: +SKIP

    Args:
        chip: healthy or broken. A batch is values [N, …] (uint8, or real numbers in [0, 1]), or, where the chip takes events, 0 and 1 [N, T, …].

    Raises:
        UnsupportedError: ``neurobench`` is not installed.
    """
    base: Any = _of_neurobench("models", "NeuroBenchModel")

    class ChipModel(base):  # type: ignore[misc]  # it is not there when types are checked
        """A deployment as the harness calls it."""

        def __call__(self, batch: Tensor) -> Tensor:
            import torch

            return torch.from_numpy(_answers(chip, batch))

        def __net__(self) -> Deployment:
            return chip

    return ChipModel()


def neurobench_metric(
    fault: str = "core_dead", *, layer: str = "hidden", grid: Sequence[float] | None = None, draws: int = 10, seed: int = 1
) -> type[Any]:
    """Return the class of a workload metric: R of one kind of fault, of a model that :func:`neurobench_model` made.

    Its name in the harness's results is ``Robustness`` and the kind, as ``RobustnessCoreDead``. Samples are shown to the broken chips as the dataloader gives them: preprocessors of the
    benchmark do not act on them. Until the healthy chip is better than chance on what was shown, its value is not a number.

    >>> neurobench_metric("core_ded")
    Traceback (most recent call last):
    neurofault.errors.UsageError: robustness: no damage curve of 'core_ded' (did you mean 'core_dead'?); allowed: core_dead, neuron_dead, synapse_dead, synapse_bit_flip

    Args:
        fault: as in :func:`neurofault.study.robustness.robustness`.
        layer: likewise.
        grid: likewise.
        draws: likewise.
        seed: likewise.

    Raises:
        UsageError: likewise.
        UnsupportedError: ``neurobench`` is not installed.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    points = checked_grid(fault, grid, draws)
    base: Any = _of_neurobench("metrics.abstract", "AccumulatedMetric")

    class Shown(base):  # type: ignore[misc]  # it is not there when types are checked
        """R over the batches so far."""

        def __init__(self) -> None:
            super().__init__(requires_hooks=False)
            self.reset()

        def reset(self) -> None:
            self._labels: list[NDArray[np.int64]] = []
            self._right = np.zeros((draws, len(points)), np.int64)
            self._healthy = 0
            self._broken: list[list[Deployment]] | None = None

        def __call__(self, model: Any, preds: Tensor, data: tuple[Tensor, Tensor]) -> float:
            chip = model.__net__()
            if not isinstance(chip, Deployment):
                raise UsageError(f"robustness: the model is a {type(chip).__name__}; make it with neurobench_model(chip)")
            batch, labels = data[0], data[1].numpy().astype(np.int64)
            if self._broken is None:
                self._broken = [
                    [chip if point == 0 else broken_at(chip, fault, layer, point, seed, draw) for point in points]
                    for draw in range(draws)
                ]
            healthy = int(np.count_nonzero(_answers(chip, batch) == labels))
            self._healthy += healthy
            self._labels.append(labels)
            for draw, curve in enumerate(self._broken):
                for at, (point, hurt) in enumerate(zip(points, curve, strict=True)):
                    self._right[draw, at] += healthy if point == 0 else int(np.count_nonzero(_answers(hurt, batch) == labels))
            return self.compute()

        @property
        def measured(self) -> Robustness | None:
            """The damage curves over what was shown; None while the healthy chip is no better than chance on it."""
            labels = np.concatenate(self._labels) if self._labels else np.empty(0, np.int64)
            if not len(labels) or self._healthy / len(labels) <= ACCURACY.chance(labels):
                return None
            return Robustness(
                fault, layer, points, self._healthy / len(labels), ACCURACY.chance(labels), self._right / len(labels), len(labels)
            )

        def compute(self) -> float:
            return float("nan") if self.measured is None else self.measured.area.mean

    Shown.__name__ = "Robustness" + "".join(word.capitalize() for word in fault.split("_"))
    return Shown


def _answers(chip: Deployment, batch: Tensor) -> NDArray[np.int64]:
    """Return the classes that a chip answers to a batch, int64 [N]."""
    samples = batch.detach().cpu().numpy()
    takes_values = chip.population(chip.inputs[0]).encoding is not None
    shown = samples if takes_values else Spikes.dense(samples.reshape(*samples.shape[:2], -1))
    return np.asarray(run(chip, shown).activity.predictions, np.int64)


def _of_neurobench(module: str, name: str) -> Any:
    try:
        return getattr(import_module(f"neurobench.{module}"), name)
    except ImportError as error:
        raise UnsupportedError(
            f"the harness is NeuroBench's, and neurobench cannot be imported ({error}): pip install neurobench"
        ) from None
