"""What the benchmarks share: the 784-512-10 network, a convolutional network of CIFAR's shape, timing, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from neurofault.network import Inputs
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.zoo import RECIPES, recipe

T = TypeVar("T")
WIDE = "mnist-mlp-512"
RECIPES.setdefault(WIDE, replace(recipe("mnist-mlp"), name=WIDE, hidden=(512,), epochs=10))
BRIEF = "cifar10-cnn-brief"
"""The zoo's ``cifar10-cnn``, trained for one epoch in place of fourteen: its shape and activity, not its accuracy."""
RECIPES.setdefault(BRIEF, replace(recipe("cifar10-cnn"), name=BRIEF, epochs=1))


def arguments(description: str) -> argparse.Namespace:
    """Read ``--json``, ``--quick``, ``--data-dir``, ``--repeats``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE|-")
    parser.add_argument("--quick", action="store_true", help="fewer images and faults: shows that it runs, not how fast")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def wide(data_dir: Path | None, samples: int | None) -> tuple[Prepared, Inputs]:
    """Return the trained, placed 784-512-10 network and its encoded test images."""
    prepared = prepare(Setup(network=WIDE, data_dir=data_dir, samples=samples), lambda *_: None)
    return prepared, prepared.deployment.encode(prepared.test.images)


def brief(data_dir: Path | None, samples: int) -> tuple[Prepared, Inputs]:
    """Return the briefly trained, placed CIFAR network and its first encoded test images."""
    prepared = prepare(Setup(network=BRIEF, data_dir=data_dir, samples=samples), lambda *_: None)
    return prepared, prepared.deployment.encode(prepared.test.images)


def median_time(work: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Run ``work`` and return the median seconds and the last result."""
    seconds: list[float] = []
    result: T
    for _ in range(max(1, repeats)):
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), result


def require(equal: bool, what: str) -> None:
    """End the benchmark if two sides do not agree: no ratio is printed for unequal results."""
    if not equal:
        sys.exit(f"not equal: {what}")


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "numpy": np.__version__}


def finish(title: str, rows: list[tuple[str, str]], answer: dict[str, Any], target: str | None) -> None:
    """Print the table on stdout (on stderr if JSON goes there) and write the JSON."""
    stream = sys.stderr if target == "-" else sys.stdout
    width = max(len(name) for name, _ in rows)
    print(title, *(f"  {name:<{width}}  {value}" for name, value in rows), sep="\n", file=stream)
    if target:
        text = json.dumps({**answer, "machine": machine()}, indent=2) + "\n"
        sys.stdout.write(text) if target == "-" else Path(target).write_text(text, encoding="utf-8")
