"""What the benchmarks share: the 784-512-10 network, a convolutional network of CIFAR's shape, timing, tables, JSON."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from machine import machine
from numpy.typing import NDArray

from neurofault.convert.torch_model import candidates, from_torch
from neurofault.data.datasets import load
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import load_profile
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown
from neurofault.zoo import RECIPES, build, recipe, trained

T = TypeVar("T")
WIDE = "mnist-mlp-512"
RECIPES.setdefault(WIDE, replace(recipe("mnist-mlp"), name=WIDE, hidden=(512,), epochs=10))
BRIEF = "cifar10-cnn-brief"
"""The zoo's ``cifar10-cnn``, trained for one epoch in place of fourteen: its shape and activity, not its accuracy."""
RECIPES.setdefault(BRIEF, replace(recipe("cifar10-cnn"), name=BRIEF, epochs=1))


def parser_of(description: str) -> argparse.ArgumentParser:
    """Return a parser of ``--json``, ``--quick``, ``--data-dir``, ``--field``, ``--repeats``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE|-")
    parser.add_argument("--quick", action="store_true", help="fewer images and faults: shows that it runs, not how fast")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--field", type=Path, help="folder that holds a copy of bamsumit/slayerPytorch, as bamsumit__slayerPytorch")
    parser.add_argument("--repeats", type=int, default=3)
    return parser


def arguments(description: str, *flags: str) -> argparse.Namespace:
    """Read further flags, and what :func:`parser_of` knows."""
    parser = parser_of(description)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args()


def wide(options: argparse.Namespace, samples: int | None) -> tuple[Prepared, Inputs, str]:
    """Return the trained, placed 784-512-10 network, its encoded test images, and its sizes; with ``--quick`` the shipped 784-100-10."""
    network = "mnist-mlp" if options.quick else WIDE
    prepared = prepare(Setup(network=network, data_dir=options.data_dir, samples=samples), lambda *_: None)
    sizes = "-".join(str(one.size) for one in prepared.deployment.populations)
    return prepared, prepared.deployment.encode(prepared.test.images), sizes


def brief(options: argparse.Namespace, samples: int) -> tuple[Deployment, Inputs]:
    """Return the briefly trained (with ``--quick``: untrained), placed CIFAR network and its first encoded test images.

    It is converted with the first of the candidates: measuring all of them on chip takes far longer than the benchmark.
    """
    spec = recipe(BRIEF)
    if options.quick:
        data = load(spec.dataset, data_dir=options.data_dir)
        torch.manual_seed(spec.seed)
        model = build(spec, data.shape, len(data.classes)).eval()
        with torch.no_grad():
            for weight in (one for one in model.parameters() if one.ndim > 1):
                weight.mul_(weight.abs() / weight.abs().max())  # few large ones, as training leaves them: sums stay within 16 bits
    else:
        model, data = trained(BRIEF, data_dir=options.data_dir)
    network = from_torch(model, data.train.images[:512], candidate=candidates(model)[0], timesteps=spec.timesteps, name=BRIEF)
    chip = deploy(network, neurons_per_core=spec.neurons_per_core)
    return chip, chip.encode(data.test.images[:samples])


def intel(field: Path) -> tuple[Deployment, Inputs, NDArray[np.int64]]:
    """Return Intel's N-MNIST network for Loihi, 2312-512-10 (docs/events.md), its 100 encoded test recordings and their labels."""
    folder = field / "bamsumit__slayerPytorch"
    files = (("NMNISTFc1.txt.gz", (512, 2312)), ("NMNISTFc2.txt", (10, 512)))
    parts = folder / "exampleLoihi" / "02_NMNIST" / "TrainedFull"
    weights = [np.loadtxt(parts / file).reshape(shape).astype(np.int32) for file, shape in files]
    neurons = [Population(name, (n,), CubaLif(80, 0, 1024, 128, bias_exponent=6)) for name, n in (("hidden1", 512), ("output", 10))]
    pixels = Population("input", (2, 34, 34), Source(threshold=60))
    made = chain("intel", [pixels, *neurons], [Dense(one) for one in weights], timesteps=300, how="count", stored=[Stored()] * 2)
    data = load("nmnist", data_dir=folder / "test" / "test_files" / "NMNISTsmall")
    chip = deploy(made, load_profile("loihi1"), neurons_per_core=16)
    return chip, shown(chip, data.test), data.test.labels


def median_time(work: Callable[[], T], repeats: int, most: float = math.inf) -> tuple[float, T]:
    """Run ``work`` and return the median seconds and the last result; ``most``: after so many seconds in all it is not repeated."""
    seconds: list[float] = []
    result: T
    while not seconds or (len(seconds) < repeats and sum(seconds) < most):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), result


def require(equal: bool, what: str) -> None:
    """End the benchmark if two sides do not agree: no ratio is printed for unequal results."""
    if not equal:
        sys.exit(f"not equal: {what}")


def finish(title: str, rows: list[tuple[str, str]], answer: dict[str, Any], target: str | None) -> None:
    """Print the table on stdout (on stderr if JSON goes there) and write the JSON."""
    stream = sys.stderr if target == "-" else sys.stdout
    width = max(len(name) for name, _ in rows)
    print(title, *(f"  {name:<{width}}  {value}" for name, value in rows), sep="\n", file=stream)
    if target:
        text = json.dumps({**answer, "machine": machine()}, indent=2) + "\n"
        sys.stdout.write(text) if target == "-" else Path(target).write_text(text, encoding="utf-8")
