"""How many hops does a searched placement save, and what does the worst dead core cost, against pack, spread and random?

    python experiments/placement_search.py --data-dir DIR [--network cifar10-cnn] [--json docs/data/placement_search.json]

The zoo's network, converted with the first candidate, is placed by ``pack`` and then by the search, on as many cores, which hold no more neurons than before.
Spikes are counted on training samples, dead cores measured on validation samples; what is printed is of test samples, which the search has not seen: hops and energy of each
placement, the loss when each core in use dies, one at a time, and whether every healthy spike count is that of pack. The network's row in the file is replaced.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.convert.torch_model import candidates, from_torch
from neurofault.deploy import deploy
from neurofault.deploy.annealed.search import hops_of
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import usage
from neurofault.engines import run
from neurofault.study.placing import dead_cores, search_placement
from neurofault.study.statistics import wilson
from neurofault.zoo import recipe
from neurofault.zoo.training import trained


def main() -> None:
    """Search, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar10-cnn")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train", type=int, default=64, help="samples on which spikes are counted")
    parser.add_argument("--check", type=int, default=64, help="validation samples on which the search measures dead cores")
    parser.add_argument("--test", type=int, default=100, help="test samples of the report")
    parser.add_argument("--damage", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, data = trained(options.network, data_dir=options.data_dir)
    spec = recipe(options.network)
    network = from_torch(
        model, data.train.images[:512], candidate=candidates(model)[0], timesteps=spec.timesteps, name=options.network
    )
    chip = deploy(network, neurons_per_core=spec.neurons_per_core)
    train, check, test = data.train.first(options.train), data.validation.first(options.check), data.test.first(options.test)
    found = search_placement(
        chip, train.images, train.labels, check=(check.images, check.labels), damage=options.damage, seed=options.seed,
        progress=lambda stage, done, total, text: print(f"{stage} {done}/{total}: {text}", flush=True),
    )  # fmt: skip
    alone = search_placement(chip, train.images, damage=0.0, seed=options.seed)
    places = {
        "pack": chip, "spread": deploy(network, neurons_per_core=spec.neurons_per_core, strategy="spread"),
        "random": deploy(network, neurons_per_core=spec.neurons_per_core, strategy="random", seed=options.seed),
        "anneal, traffic alone": alone.chip, "anneal": found.chip,
    }  # fmt: skip
    row: dict[str, Any] = {
        "network": options.network, "weights": "the zoo's recipe", "conversion": "first candidate", "train": options.train, "check": options.check,
        "test": options.test, "damage": options.damage, "seed": options.seed, "chosen": found.best.name,
        "tried": [{"name": one.name, "hops": one.hops, "worst_loss": one.loss, "objective": one.objective} for one in found.tried],
    }  # fmt: skip
    inputs = chip.encode(test.images)
    healthy = run(chip, inputs, test.labels)
    row["healthy"] = healthy.accuracy
    row["places"] = {}
    for name, placed in places.items():
        again = run(placed, inputs, test.labels).activity
        row["places"][name] = _counted(placed, again, options.test) | {
            "same_spikes": all(
                np.array_equal(again.spike_counts[each], own) for each, own in healthy.activity.spike_counts.items()
            ),
            "same_scores": bool(np.array_equal(again.scores, healthy.activity.scores)),
        }
        print(name, row["places"][name], flush=True)
    _write(options.json, row)
    for name in ("pack", "anneal"):
        hurt = dead_cores(places[name], inputs, test.labels)
        right = round((float(healthy.accuracy or 0) - hurt.loss) * options.test)
        left = wilson(right, options.test)
        row["places"][name] |= {
            "worst_core": hurt.worst[0], "worst_loss": hurt.loss, "mean_loss": float(hurt.losses.mean()), "accuracy_left": [left.low, left.mean, left.high],
            "populations_of_worst": sorted(each for each, cores in places[name].placement.core_of.items() if hurt.worst[0] in cores),
        }  # fmt: skip
        print(name, row["places"][name], flush=True)
        _write(options.json, row)


def _counted(placed: Deployment, activity: Any, samples: int) -> dict[str, Any]:
    """Return what a placement takes, a mean test sample's."""
    counted, taken = usage(placed), cost(placed, activity, samples)
    return {
        "cores": len(counted.cores), "most_neurons": int(counted.used["neurons"].max()), "hops": hops_of(placed, activity.spike_counts) / samples,
        "messages": taken.messages, "energy_joule": taken.energy.value, "step_seconds": taken.step.value,
        "most_synapse_bits": int(counted.used["synapse_bits"].max()),
    }  # fmt: skip


def _write(file: Path | None, row: dict[str, Any]) -> None:
    """Put a network's row into the file."""
    if file is None:
        return
    rows = json.loads(file.read_text()) if file.exists() else []
    kept = [one for one in rows if one["network"] != row["network"]]
    file.write_text(json.dumps([*kept, row], indent=1) + "\n")


if __name__ == "__main__":
    main()
