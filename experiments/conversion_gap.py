"""ANN → spiking → on-chip accuracy of every network of the zoo, on all test images.

    python experiments/conversion_gap.py [--data-dir DIR] [--profile loihi2] [--json FILE|-] [NETWORK …]

Trains what is not in the cache (about ten minutes for the convolutional networks on two cores).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from neurofault.cli.output import JsonOut, percent
from neurofault.cli.progress import StderrProgress
from neurofault.study.lesion import measure
from neurofault.study.prepare import Setup, prepare
from neurofault.zoo import RECIPES


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(RECIPES))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--profile", default="loihi2")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    result_file, rows = JsonOut(arguments.json), []
    if arguments.json != "-":
        print(f"{'network':18s} {'images':>7s} {'steps':>5s} {'ANN':>9s} {'spiking':>9s} {'on chip':>9s} {'gap':>6s}")
    for name in arguments.networks:
        with StderrProgress() as progress:
            prepared = prepare(Setup(network=name, profile=arguments.profile, data_dir=arguments.data_dir), progress)
        inputs = prepared.deployment.encode(prepared.test.images)
        row = {
            "network": name,
            "weights": prepared.weights,
            "samples": len(prepared.test),
            "timesteps": prepared.deployment.timesteps,
            "ann_accuracy": prepared.ann_accuracy(),
            "spiking_accuracy": measure(prepared.unrounded(), inputs, prepared.test, engine="exact").accuracy,
            "healthy_accuracy": measure(prepared.deployment, inputs, prepared.test, engine="exact").accuracy,
        }
        rows.append(row)
        if arguments.json != "-":
            ann, spiking, chip = row["ann_accuracy"], row["spiking_accuracy"], row["healthy_accuracy"]
            print(
                f"{name:18s} {row['samples']:7d} {row['timesteps']:5d} {percent(ann):>9s} {percent(spiking):>9s} "
                f"{percent(chip):>9s} {100 * (ann - chip):+6.2f}",
                flush=True,
            )
    result_file.write({"profile": arguments.profile, "rows": rows})


if __name__ == "__main__":
    main()
