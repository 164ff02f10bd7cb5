"""What the conversion of graphs loses: a residual network on digits, 1-D networks on waves, and lava-dl's MNIST network if it is given.

    python experiments/graph_conversion.py [--quick] [--calibrate usual|settled|subtract …] [--netx network.net --data-dir DIR] [--json docs/data/graph_conversion.json]

Each network is trained three times, for seconds. As :func:`neurofault.from_torch` does, the candidate is chosen on calibration images alone (256 of the training
part); reported is what the chip loses on test samples, which chose nothing: the 500 of digits, 400 more waves of a seed of their own. ``--netx`` runs
lava-dl's ``bootstrap/mnist/Trained/network.net`` on the first 3,000 published test images.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import neurofault as nf
from neurofault.cli.output import JsonOut, percent
from neurofault.convert.asked import Calibrate
from neurofault.convert.torch_model import scores_of
from neurofault.data.datasets import load

CALIBRATION = 256
HEIGHTS = {"waves that fill their range": (0.35, 0.5), "waves of 5 to 20 % of the range": (0.05, 0.2)}


class Block(nn.Module):
    """Two convolutions and the way round them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.short = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return what leaves the block."""
        return functional.relu(self.second(self.first(x)) + self.short(x))


def residual() -> nn.Module:
    """Return a residual network for 8×8 images."""
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(stem, Block(8, 8, 1), Block(8, 12, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


def for_signals() -> nn.Module:
    """Return a 1-D network for signals of 48 values."""
    front = nn.Sequential(nn.Conv1d(1, 8, 7, padding=3), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2))
    back = nn.Sequential(nn.Conv1d(8, 12, 5, stride=2, padding=2), nn.BatchNorm1d(12), nn.ReLU())
    return nn.Sequential(front, back, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 4))


def waves(count: int, seed: int, low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return four kinds of waves of random phase, of heights between ``low`` and ``high``, with noise, in [0, 1]: [count, 1, 48], and labels."""
    rng = np.random.default_rng(seed)
    labels, time = rng.integers(0, 4, count), np.arange(48)
    phase, height = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(low, high, (count, 1))
    shown = np.sin(2 * np.pi * time * np.asarray([1, 2, 4, 7])[labels, None] / 48 + phase) * height
    return np.clip(0.5 + shown + rng.normal(0, 0.03, (count, 48)), 0, 1).astype(np.float32)[:, None], labels


def trained(model: nn.Module, images: NDArray[np.float32], labels: NDArray[np.int64], updates: int, seed: int) -> nn.Module:
    """Train for so many batches of 64."""
    x, y, generator = torch.from_numpy(images), torch.tensor(labels), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(updates):
        some = torch.randint(len(x), (64,), generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(model(x[some]), y[some]).backward()
        optimiser.step()
    return model.eval()


def row(
    what: str, seed: int, timesteps: int, calibrate: Calibrate, model: nn.Module, known: tuple[Any, Any], test: tuple[Any, Any]
) -> dict[str, Any]:
    """Convert with the candidate that calibration chooses; return both accuracies on test samples."""
    images, labels = known[0][:CALIBRATION], known[1][:CALIBRATION]
    network = nf.from_torch(model, images, labels=labels, timesteps=timesteps, calibrate=calibrate)
    original = float(np.mean(scores_of(model, test[0]).argmax(axis=1) == test[1]))
    return {
        "network": what, "seed": seed, "timesteps": timesteps, **({} if calibrate == "usual" else {"calibrate": calibrate}), "samples": len(test[1]),
        "original": original, "chip": nf.run(nf.deploy(network), *test).accuracy,
    }  # fmt: skip


def main() -> None:
    """Print a row a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one training of each, and few updates: shows that it runs")
    parser.add_argument(
        "--calibrate",
        action="append",
        choices=get_args(Calibrate),
        help="of torch networks; may be given several times. Default: usual",
    )
    parser.add_argument("--netx", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    result_file, rows = JsonOut(arguments.json), []
    digits = load("digits")
    seeds, updates = (1, 30) if arguments.quick else (3, 600)
    ways: list[Calibrate] = arguments.calibrate or ["usual"]

    def say(one: dict[str, Any]) -> None:
        rows.append(one)
        gap = "" if one["original"] is None else f"{percent(one['original']):>9s} {100 * (one['original'] - one['chip']):+6.2f}"
        name = one["network"] + (f", {one['calibrate']}" if "calibrate" in one else "")
        print(f"{name:42s} {one['seed']!s:>5s} {one['timesteps']:4d} {percent(one['chip']):>9s} {gap}", flush=True)

    print(f"{'network':42s} {'seed':>5s} {'T':>4s} {'chip':>9s} {'original':>9s} {'gap':>6s}")
    for seed in range(seeds):
        torch.manual_seed(seed)
        images = digits.train.images.astype(np.float32) / np.float32(255)
        model = trained(residual(), images, digits.train.labels, updates, seed)
        for timesteps, way in product((32, 64), ways):
            known, test = (digits.train.images, digits.train.labels), (digits.test.images, digits.test.labels)
            say(row("residual, digits", seed, timesteps, way, model, known, test))
        for what, heights in HEIGHTS.items():
            torch.manual_seed(seed)
            known = waves(1000, 2 * seed, *heights)
            model = trained(for_signals(), *known, updates, seed)
            for way in ways:
                say(row(what, seed, 32, way, model, known, waves(400, 2 * seed + 1, *heights)))
    if arguments.netx is not None:
        test_images = load("mnist", data_dir=arguments.data_dir).test
        first = np.argsort(test_images.indices)[:3000]
        network = nf.from_netx(arguments.netx)
        found = nf.run(nf.deploy(network), test_images.images[first], test_images.labels[first]).accuracy
        say(
            {
                "network": "lava-dl, MNIST",
                "seed": None,
                "timesteps": network.timesteps,
                "samples": 3000,
                "original": None,
                "chip": found,
            }
        )
    result_file.write({"rows": rows})


if __name__ == "__main__":
    main()
