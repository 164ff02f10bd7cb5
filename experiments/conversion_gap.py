"""What conversion costs every network of the zoo: accuracy of the network that was trained, of its spiking form, and of the chip, on all test samples.

    python experiments/conversion_gap.py [--data-dir DIR] [--profile loihi2] [--calibrate usual|settled|subtract …] [--json FILE|-] [NETWORK …]

Trains what is not in the cache (about ten minutes for each convolutional network on two cores). Of a network of events the one that was trained is spiking
already, in floating point; rounding is all that it can lose. Networks of events, and those that were trained with rate curves, have one conversion. Conversions are
chosen on validation images alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from neurofault.cli.output import JsonOut, percent
from neurofault.cli.progress import StderrProgress
from neurofault.convert.asked import Calibrate
from neurofault.study.lesion import measure
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown
from neurofault.zoo import RECIPES, Recipe, any_recipe
from neurofault.zoo.events import EVENT_RECIPES, trained_model
from neurofault.zoo.surrogate import model_accuracy


def original(prepared: Prepared) -> float | None:
    """Return the accuracy of the network that was trained, on the test samples."""
    recipe = EVENT_RECIPES.get(prepared.setup.network)
    if recipe is None:
        return prepared.ann_accuracy()
    model, data = trained_model(recipe, data_dir=prepared.setup.data_dir)
    return model_accuracy(model, data.test, recipe.training.loss)


def left_open(name: str) -> bool:
    """Return whether a network leaves it open how it is converted: one of ReLU."""
    recipe = any_recipe(name)
    return isinstance(recipe, Recipe) and not recipe.overshoots


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[*RECIPES, *EVENT_RECIPES])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--profile", default="loihi2")
    parser.add_argument(
        "--calibrate",
        action="append",
        choices=get_args(Calibrate),
        help="of ReLU networks; may be given several times",
    )
    parser.add_argument("--json")
    arguments = parser.parse_args()
    result_file, rows = JsonOut(arguments.json), []
    if arguments.json != "-":
        print(f"{'network':26s} {'images':>7s} {'steps':>5s} {'ANN':>9s} {'spiking':>9s} {'on chip':>9s} {'gap':>6s}")
    asked = [
        (name, calibrate)
        for name in arguments.networks
        for calibrate in (arguments.calibrate or ["usual"] if left_open(name) else ["usual"])
    ]
    for name, calibrate in asked:
        with StderrProgress() as progress:
            prepared = prepare(
                Setup(network=name, profile=arguments.profile, data_dir=arguments.data_dir, calibrate=calibrate), progress
            )
        inputs = shown(prepared.deployment, prepared.test)
        row = {
            "network": name,
            "weights": prepared.weights,
            "samples": len(prepared.test),
            "timesteps": prepared.deployment.timesteps,
            **({} if calibrate == "usual" else {"calibrate": calibrate}),
            "ann_accuracy": original(prepared),
            "spiking_accuracy": measure(prepared.unrounded(), inputs, prepared.test, engine="exact").accuracy,
            "healthy_accuracy": measure(prepared.deployment, inputs, prepared.test, engine="exact").accuracy,
        }
        rows.append(row)
        if arguments.json != "-":
            ann, spiking, chip = row["ann_accuracy"], row["spiking_accuracy"], row["healthy_accuracy"]
            print(
                f"{name + ('' if calibrate == 'usual' else f' {calibrate}'):26s} {row['samples']:7d} {row['timesteps']:5d} {percent(ann):>9s} {percent(spiking):>9s} "
                f"{percent(chip):>9s} {100 * (ann - chip):+6.2f}",
                flush=True,
            )
    result_file.write({"profile": arguments.profile, "rows": rows})


if __name__ == "__main__":
    main()
