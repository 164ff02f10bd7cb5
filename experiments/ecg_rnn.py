"""The recurrent ECG network on a damaged chip: accuracy a step on the 141 test recordings, over three trainings.

    python experiments/ecg_rnn.py --data-dir DIR [--json docs/data/ecg_rnn.json]

The zoo's `ecg-rnn` (8 lines, 128 recurrent neurons, 6 phases of a heartbeat) from three seeds, in Loihi 2's 8-bit integers, engine `exact`. Packed, its hidden
layer would fit one core; it is spread, 8 neurons a core, so that a dead core is a part of it. Of each kind of damage there are `--draws` draws; the value of a
training is their mean, and the interval is Student's over the trainings. Trainings that are not in the cache take some minutes each.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurofault.data.splits import Split
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.faults import Fault, fault_from_mapping, inject
from neurofault.metrics import STEPS
from neurofault.study.statistics import SHARE, t_interval
from neurofault.zoo.events import EVENT_RECIPES, trained_model
from neurofault.zoo.surrogate import model_accuracy, network_of

SEEDS = (2026, 2027, 2028)
DAMAGE: dict[str, tuple[Fault, ...]] = {
    "healthy": (),
    **{f"{count} of 16 hidden cores dead": (fault_from_mapping({"kind": "core_dead", "count": count, "layer": "hidden1"}),) for count in (1, 2, 4)},
    **{
        f"{100 * rate:.0f} % of recurrent synapses dead": (
            fault_from_mapping({"kind": "synapse_dead", "rate": rate, "connection": "hidden1.rec"}),
        )
        for rate in (0.1, 0.5)
    },
}  # fmt: skip


def reached(chip: Deployment, test: Split, faults: tuple[Fault, ...], draws: int) -> list[float]:
    """Return the accuracy a step of each draw; of a healthy chip, of the only one."""
    chips = [inject(chip, faults, seed=1, draw=draw) for draw in range(draws)] if faults else [chip]
    found = (run(each, test.events, test.labels).accuracy for each in chips)
    return [accuracy for accuracy in found if accuracy is not None]


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe, trainings = EVENT_RECIPES["ecg-rnn"], []
    for seed in SEEDS:
        own = replace(recipe, training=replace(recipe.training, seed=seed))
        model, data = trained_model(own, data_dir=options.data_dir)
        test = data.test
        chip = deploy(network_of(model, own.name, data.shape, own.timesteps), neurons_per_core=own.neurons_per_core)
        found = {what: reached(chip, test, faults, options.draws) for what, faults in DAMAGE.items()}
        answers = run(chip, test.events, test.labels).activity.answers
        trainings.append(
            {
                "seed": seed, "torch": model_accuracy(model, test, "step"), "validation_torch": model_accuracy(model, data.validation, "step"),
                "unlabelled_as_P": float(np.mean(answers == np.maximum(test.labels, 0))), "accuracy": found,
            }
        )  # fmt: skip
        print(
            f"training {seed}: " + ", ".join(f"{what} {100 * np.mean(values):.2f} %" for what, values in found.items()), flush=True
        )
    rows = {}
    for what in DAMAGE:
        interval = t_interval([float(np.mean(one["accuracy"][what])) for one in trainings], within=SHARE)
        rows[what] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        print(f"{what:34s} {100 * interval.mean:.2f} %  [{100 * (interval.low or 0):.2f}, {100 * (interval.high or 0):.2f}]")
    chance = STEPS.chance(test.labels)
    print(f"{'chance':34s} {100 * chance:.2f} %")
    if options.json:
        answer = {
            "network": recipe.name, "recipe": recipe.digest, "data": data.digest, "recordings": len(test), "labels": int((test.labels >= 0).sum()),
            "neurons_per_core": recipe.neurons_per_core, "draws": options.draws, "chance": chance, "rows": rows, "trainings": trainings,
        }  # fmt: skip
        options.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
