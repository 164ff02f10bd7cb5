"""Area under the damage curve of the zoo's networks and of networks that others published, by kind of fault.

    python experiments/robustness.py --data-dir DIR --field FOLDER [--json docs/data/robustness.json] [--draws 5] [--samples 500]

FOLDER holds `lava-nc__lava-dl` (github.com/lava-nc/lava-dl), `bamsumit__slayerPytorch` and `neuromorphs__NIR` (as for `nir_field.py`). A network of the zoo sits at its own grain, Intel's
16 neurons a core, the other two 32 (lava-dl) and 576 (sinabs, whose largest hidden population has 4,624 neurons). A network that is run replaces its rows in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent / "bench"))
from common import intel  # beside the benchmarks
from nir_field import recordings, seen

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.data.datasets import load
from neurofault.inputs import Inputs
from neurofault.progress import silent
from neurofault.study.prepare import Setup, prepare
from neurofault.study.robustness import GRIDS
from neurofault.study.shown import shown

ZOO = ("mnist-mlp", "mnist-mlp-dropout", "mnist-mlp+cores=6", "digits-events-mlp", "digits-events-mlp+cores=6")
Made = tuple[nf.Deployment, Inputs, NDArray[np.int64]]


def of_zoo(name: str, options: argparse.Namespace) -> Made:
    """Return a network of the zoo and the test samples that it is shown."""
    prepared = prepare(Setup(name, data_dir=options.data_dir, samples=options.samples), silent)
    return prepared.deployment, shown(prepared.deployment, prepared.test), prepared.test.labels


def lava_dl(options: argparse.Namespace) -> Made:
    """Return lava-dl's network and the first published test images."""
    file = (
        options.field / "lava-nc__lava-dl" / "tutorials" / "lava" / "lib" / "dl" / "bootstrap" / "mnist" / "Trained" / "network.net"
    )
    test = load("mnist", data_dir=options.data_dir).test
    first = np.argsort(test.indices)[: options.samples]
    chip = nf.deploy(nf.from_netx(file), neurons_per_core=32)
    return chip, chip.encode(test.images[first]), test.labels[first]


def sinabs(options: argparse.Namespace) -> Made:
    """Return sinabs' convolutional network and the 100 test recordings, in the order that `nir_field.py` found on training recordings."""
    test = recordings(options.field, "test100.txt", 100)
    bins = int(recordings(options.field, "train1K.txt", 200).times.max() // 1000) + 1
    file = options.field / "neuromorphs__NIR" / "paper" / "02_cnn" / "cnn_sinabs.nir"
    chip = nf.deploy(from_nir(file, timesteps=bins, coding=None, reset="subtract"), neurons_per_core=576)
    return chip, Inputs(events=seen(test, bins, swapped=False, turned=False)), np.asarray(test.labels, np.int64)


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--field", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--networks", nargs="+", help="only these")
    options = parser.parse_args()
    networks: dict[str, Callable[[], Made]] = {name: partial(of_zoo, name, options) for name in ZOO}
    networks |= {
        "lava-dl MNIST 784-512-512-10": partial(lava_dl, options),
        "Intel N-MNIST 2312-512-10": lambda: intel(options.field),
        "sinabs N-MNIST (convolutions)": partial(sinabs, options),
    }
    rows: list[dict[str, Any]] = []
    if options.json is not None and options.json.is_file():
        rows = json.loads(options.json.read_text(encoding="utf-8"))["rows"]
    for name, make in networks.items():
        if options.networks and name not in options.networks:
            continue
        rows = [row for row in rows if row["network"] != name]
        chip, inputs, labels = make()
        cores = {core for one in chip.populations[1:-1] for core in chip.placement.cores_of(one.name)}
        cells = []
        begin = time.perf_counter()
        for fault in GRIDS:
            found = nf.robustness(chip, inputs, labels, fault, draws=options.draws)
            area = found.area
            rows.append({
                "network": name, "hidden_cores": len(cores), "samples": found.samples, "fault": fault, "grid": found.grid, "draws": options.draws, "healthy": found.healthy,
                "chance": found.chance, "R": area.mean, "low": area.low, "high": area.high, "accuracy": found.accuracy.mean(axis=0).tolist(),
            })  # fmt: skip
            cells.append(f"{area.mean:.3f} ({area.low:.3f} … {area.high:.3f})")
        print(
            f"| {name} | {len(cores)} | {len(labels):,} | {100 * found.healthy:.1f} % | {' | '.join(cells)} |  {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        if options.json is not None:
            options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
