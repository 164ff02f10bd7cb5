"""Figure 1 for the convolutional network: accuracy on CIFAR-10 against deleted units, without repair.

A unit is a channel of a convolution or a node of the fully connected layer; a deleted one gives 0 to all that follow. The network is the zoo's
``cifar10-cnn-relu``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neurofault.papers.rescue2019.fig1 import curve_rows, into
from neurofault.papers.rescue2019.float_setting import Separate
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Decline
from neurofault.streams import generator
from neurofault.zoo import recipe
from neurofault.zoo.shipped import weights_digest
from neurofault.zoo.training import trained

_BATCH = 500


@dataclass(frozen=True)
class CnnSetting:
    """Every choice.

    Attributes:
        network: of the zoo; its activations are those of one type.
        orders: random orders of deletion.
        points: of each curve, both ends included.
        images: test images, from the first.
        seed: of the orders.
    """

    network: str = "cifar10-cnn-relu"
    orders: int = 20
    points: int = 17
    images: int = 2000
    seed: int = 2019


class Lesioned:
    """A torch network of which hidden units can be switched off.

    Args:
        model: layers one after the other; each :class:`torch.nn.ReLU` ends a hidden layer.
        widths: units of each hidden layer: channels, or nodes.
    """

    def __init__(self, model: nn.Sequential, widths: tuple[int, ...]) -> None:
        self.model, self.widths = model, widths
        self.alive = torch.ones(sum(widths))
        starts = np.cumsum([0, *widths])
        for index, layer in enumerate(part for part in model if isinstance(part, nn.ReLU)):
            layer.register_forward_hook(self._gate(int(starts[index]), int(starts[index + 1])))

    def _gate(self, start: int, end: int) -> Any:
        def gate(_: nn.Module, __: Any, out: torch.Tensor) -> torch.Tensor:
            return out * self.alive[start:end].reshape(1, -1, *[1] * (out.ndim - 2))

        return gate

    def correct(self, images: NDArray[np.uint8], labels: NDArray[np.int64], dead: NDArray[np.int64]) -> int:
        """Return how many images are classified as labelled without some units.

        Args:
            images: uint8 [N, C, H, W].
            labels: int64 [N].
            dead: int64 [k], units counted through the hidden layers.
        """
        self.alive = torch.ones(sum(self.widths))
        self.alive[torch.from_numpy(dead)] = 0
        right = 0
        with torch.no_grad():
            for start in range(0, len(labels), _BATCH):
                out = self.model(torch.from_numpy(images[start : start + _BATCH].astype(np.float32) / 255))
                right += int((out.argmax(1).numpy() == labels[start : start + _BATCH]).sum())
        return right


def cnn(study: Separate, setting: CnnSetting | None = None) -> Figure:
    """Compute the curves of the convolutional network.

    JSON: as figure 1's, ``curves``, ``thresholds`` and ``change_point`` of ``all units`` and of each hidden layer alone.
    """
    setting = setting or CnnSetting()
    spec = recipe(setting.network)
    model, data = trained(setting.network, data_dir=study.data_dir, progress=study.progress)
    assert isinstance(model, nn.Sequential)
    images = data.test.first(min(setting.images, len(data.test)))
    widths = (*spec.channels, *spec.hidden)
    starts = np.cumsum([0, *widths])
    lesioned = Lesioned(model, widths)
    names = [f"{'convolution' if index < len(spec.channels) else 'fully connected'} {index + 1}" for index in range(len(widths))]
    groups = {"all units": np.arange(starts[-1])}
    groups |= {name: np.arange(starts[index], starts[index + 1]) for index, name in enumerate(names)}
    answer: dict[str, Any] = {
        "network": setting.network, "weights": weights_digest(model), "units": dict(zip(names, widths, strict=True)), "test_images": len(images), "orders": setting.orders,
        "curves": {}, "thresholds": {}, "change_point": {},
    }  # fmt: skip
    rows = []
    for done, (name, units) in enumerate(groups.items()):
        counts = np.unique(np.rint(np.linspace(0, len(units), setting.points)).astype(int))
        curves = []
        for order in range(setting.orders):
            study.progress(f"CNN, {name}", order, setting.orders, "")
            chosen = units[generator(setting.seed, "cnn death", done, order).permutation(len(units))]
            key = {
                "unit": "cnn decline", "network": spec.digest, "data": data.digest, "images": len(images), "group": name, "order": order,
                "counts": counts.tolist(), "seed": setting.seed,
            }  # fmt: skip

            def compute(chosen: NDArray[np.int64] = chosen, counts: NDArray[np.int64] = counts) -> list[int]:
                return [lesioned.correct(images.pixels, images.labels, chosen[:count]) for count in counts]

            curves.append(np.array(study.units.once(key, compute)) / len(images))
        one = Decline(
            name, counts, counts / len(units), np.stack(curves), tuple({"order": order} for order in range(setting.orders))
        )
        kept = ("fraction", "dead", "mean", "sd", "low", "high", "orders")
        rows += curve_rows({"curve": name, "orders": setting.orders}, into(answer, one, kept))
    study.progress("CNN", setting.orders, setting.orders, "")
    return Figure("fig1_cnn", answer, {"curves": rows})
