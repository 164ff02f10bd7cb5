"""How many hops does a searched placement save, and what does the worst dead core cost, against pack, spread and random?

    python experiments/placement_search.py --data-dir DIR [--network cifar10-cnn] [--seeds 1 2 3] [--test 1000] [--json docs/data/placement_search.json]

The zoo's network, converted with the first candidate, is placed by ``pack`` and then by the search, once for each seed, on as many cores, which hold no more neurons than before.
Spikes are counted on training samples, dead cores measured on validation samples, and by these alone a search chooses; what is printed is of test samples, which it has not seen: hops and energy of each
placement, and whether every healthy spike count is that of pack. Of ``pack`` and each search every core in use then dies, one at a time, on the first ``--every`` of them, and the worst ten of these cores on all: the loss of the worst, with its interval over the
samples, each the difference that the core makes to it, and the loss of the core that validation samples name as the worst. Means over seeds have their interval over seeds.
The network's row in the file is replaced, and written anew after every placement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import neurofault as nf
from neurofault.convert.torch_model import candidates, from_torch
from neurofault.deploy import deploy
from neurofault.deploy.annealed.search import hops_of
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import usage
from neurofault.engines import run
from neurofault.inputs import Inputs
from neurofault.study.placing import DeadCores, dead_cores, search_placement
from neurofault.study.statistics import Interval, paired_difference, t_interval
from neurofault.zoo import recipe
from neurofault.zoo.training import trained

WORST = 10
"""Cores that die on all test samples, the worst of those on which every core dies."""


def main() -> None:
    """Search, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar10-cnn")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train", type=int, default=64, help="samples on which spikes are counted")
    parser.add_argument("--check", type=int, default=64, help="validation samples on which the search measures dead cores")
    parser.add_argument("--test", type=int, default=1000, help="test samples of the report")
    parser.add_argument("--every", type=int, default=250, help="of them, those on which every core dies")
    parser.add_argument("--damage", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, data = trained(options.network, data_dir=options.data_dir)
    spec = recipe(options.network)
    network = from_torch(
        model, data.train.images[:512], candidate=candidates(model)[0], timesteps=spec.timesteps, name=options.network
    )
    chip = deploy(network, neurons_per_core=spec.neurons_per_core)
    train, check, test = data.train.first(options.train), data.validation.first(options.check), data.test.first(options.test)
    inputs = chip.encode(test.images)
    healthy = run(chip, inputs, test.labels)
    row: dict[str, Any] = {
        "network": options.network, "weights": "the zoo's recipe", "conversion": "first candidate", "train": options.train, "check": options.check,
        "test": options.test, "every": options.every, "damage": options.damage, "seeds": options.seeds, "healthy": healthy.accuracy, "places": {}, "searches": [],
    }  # fmt: skip

    def counted(placed: Deployment) -> dict[str, Any]:
        again = run(placed, inputs, test.labels).activity
        return _counted(placed, again, options.test) | {
            "same_spikes": all(
                np.array_equal(again.spike_counts[each], own) for each, own in healthy.activity.spike_counts.items()
            ),
            "same_scores": bool(np.array_equal(again.scores, healthy.activity.scores)),
        }

    def damaged(placed: Deployment, checked: DeadCores) -> dict[str, Any]:
        right = healthy.activity.predictions == test.labels
        found = dead_cores(placed, inputs[: options.every], test.labels[: options.every])
        named = checked.worst[0]
        picked = [*found.cores[np.argsort(-found.losses, kind="stable")[:WORST]].tolist(), named]
        lost = {core: _lost(placed, core, inputs, test.labels, right) for core in dict.fromkeys(picked)}
        worst = max(lost, key=lambda core: lost[core].mean)
        return {
            "worst_core": worst, "worst_loss": lost[worst].mean, "worst_interval": _ends(lost[worst]), "mean_loss": float(found.losses.mean()),
            "named_core": named, "named_loss": lost[named].mean, "named_interval": _ends(lost[named]),
            "populations_of_worst": sorted(each for each, cores in placed.placement.core_of.items() if worst in cores),
        }  # fmt: skip

    def write() -> None:
        row["summary"] = _summary(row)
        _write(options.json, row)

    for name, strategy in (("pack", "pack"), ("spread", "spread"), ("random", "random")):
        placed = deploy(network, neurons_per_core=spec.neurons_per_core, strategy=strategy, seed=options.seeds[0])
        row["places"][name] = counted(placed)
        print(name, row["places"][name], flush=True)
    for seed in options.seeds:
        found = search_placement(
            chip, train.images, train.labels, check=(check.images, check.labels), damage=options.damage, seed=seed,
            progress=lambda stage, done, total, text: print(f"{stage} {done}/{total}: {text}", flush=True),
        )  # fmt: skip
        alone = search_placement(chip, train.images, damage=0.0, seed=seed)
        assert found.start.dead is not None
        assert found.best.dead is not None
        if "worst_core" not in row["places"]["pack"]:
            row["places"]["pack"] |= damaged(chip, found.start.dead)
            print("pack", row["places"]["pack"], flush=True)
        own = {
            "seed": seed, "chosen": found.best.name,
            "tried": [{"name": one.name, "hops": one.hops, "worst_loss": one.loss, "objective": one.objective} for one in found.tried],
            "traffic_alone": counted(alone.chip), "anneal": counted(found.chip) | damaged(found.chip, found.best.dead),
        }  # fmt: skip
        row["searches"].append(own)
        print(f"seed {seed}", own["traffic_alone"], own["anneal"], flush=True)
        write()
    print(row["summary"])


def _lost(placed: Deployment, core: int, inputs: Inputs, labels: NDArray[np.int64], right: NDArray[np.bool_]) -> Interval:
    """Return the share of samples that a dead core takes, by its difference in each."""
    hurt = run(nf.inject(placed, nf.faults.CoreDead(cores=(core,))), inputs, labels).activity.predictions == labels
    return paired_difference(right.astype(float).tolist(), hurt.astype(float).tolist())


def _ends(interval: Interval) -> list[float | None]:
    return [interval.low, interval.mean, interval.high]


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return means over seeds with their intervals over seeds."""

    def over_seeds(values: Sequence[float]) -> list[float | None]:
        return _ends(t_interval(list(values)))

    pack, searches = row["places"]["pack"], row["searches"]
    return {
        way: {
            "fewer_hops": over_seeds([1 - one[way]["hops"] / pack["hops"] for one in searches]),
            **{name: over_seeds([one[way][name] for one in searches]) for name in ("hops", "messages", "energy_joule", "step_seconds", "worst_loss", "named_loss", "mean_loss") if name in searches[0][way]},
        }
        for way in ("traffic_alone", "anneal")
    }  # fmt: skip


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
