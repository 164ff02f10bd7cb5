"""Training for damage beside dropout and beside nothing: the loss at 6 of 13 dead hidden cores, on the chip, in as many epochs.

    python experiments/harden.py --data-dir DIR [--json docs/data/harden.json] [--cores 6] [--draws 20] [--seeds 2026 1 2]

For each training seed a network is trained plainly, with dropout (by the hardened networks' optimiser, and for 2026 by the recipe's own as it is shipped) and for dead cores, converted, and broken:
the same cores die in each. Everything was chosen on validation samples; the test samples are seen here alone. The file is written anew after every network.

The two networks may be run apart and joined: `--join a.json b.json --json docs/data/harden.json`; of each, trainings count for which all ways are there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import neurofault as nf
from neurofault.progress import silent
from neurofault.study.clustered import ratio_interval
from neurofault.study.prepare import Setup, prepare
from neurofault.study.shown import shown
from neurofault.study.statistics import t_interval

NETWORKS = ("mnist-mlp", "digits-events-mlp")
WAYS = {"plain": "", "dropout": "dropout=0.5", "hardened": "cores={cores}"}
PUBLISHED = {("mnist-mlp", 2026): ("dropout, as shipped", "mnist-mlp-dropout")}


def broken(name: str, way: str, of: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a network reaches, healthy and with cores dead in each draw."""
    prepared = prepare(Setup(name, data_dir=options.data_dir), silent)
    chip, test = prepared.deployment, prepared.test
    inputs = shown(chip, test)

    def reached(one: nf.Deployment) -> float:
        accuracy = nf.run(one, inputs, test.labels).accuracy
        assert accuracy is not None
        return accuracy

    dead = [nf.faults.CoreDead(count=options.cores, layer="hidden")]
    draws = [reached(nf.inject(chip, dead, seed=1, draw=draw)) for draw in range(options.draws)]
    return {
        "network": of, "way": way, "name": name, "seed": seed, "weights": prepared.weights, "samples": len(test),
        "hidden_cores": len(chip.placement.cores_of("hidden1")), "healthy": reached(chip), "draws": draws,
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each network and way the means over trainings, and the interval over draws, each the mean of its trainings."""
    found = []
    for of in NETWORKS:
        own = [row for row in rows if row["network"] == of]
        losses: dict[str, Any] = {}
        for way in dict.fromkeys(row["way"] for row in own):
            trainings = [row for row in own if row["way"] == way]
            lost = np.mean([np.subtract(row["healthy"], row["draws"]) for row in trainings], axis=0)
            losses[way] = lost
            interval = t_interval(lost)
            row: dict[str, Any] = {
                "network": of, "way": way, "trainings": len(trainings), "healthy": float(np.mean([row["healthy"] for row in trainings])),
                "damaged": float(np.mean([row["draws"] for row in trainings])), "loss": interval.mean, "loss_low": interval.low, "loss_high": interval.high,
            }  # fmt: skip
            if way == "hardened":
                share = ratio_interval(lost, losses["dropout"])
                row |= {"of_dropout": share.mean, "of_dropout_low": share.low, "of_dropout_high": share.high}
            found.append(row)
    return found


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write the answer so far, if it is wanted."""
    if options.json is not None:
        said = {"cores": options.cores, "draws": options.draws, "summary": summary(rows), "rows": rows}
        options.json.write_text(json.dumps(said, indent=1) + "\n")


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cores", type=int, default=6)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2026, 1, 2])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--join", type=Path, nargs="+", help="files that this wrote: nothing is trained, they are joined")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for file in options.join or []:
        found = json.loads(file.read_text())["rows"]
        ways_of = {seed: {row["way"] for row in found if row["seed"] == seed} for seed in {row["seed"] for row in found}}
        rows += [row for row in found if set(WAYS) <= ways_of[row["seed"]]]
    for seed in () if options.join else options.seeds:
        for of in options.networks:
            ways = {
                way: f"{of}+{asked.format(cores=options.cores)}{',' if asked else ''}seed={seed}" for way, asked in WAYS.items()
            }
            ways |= dict([PUBLISHED[of, seed]] if (of, seed) in PUBLISHED else [])
            for way, name in ways.items():
                rows.append(broken(name, way, of, seed, options))
                last = rows[-1]
                print(f"{of:18} {way:20} seed {seed:4}: healthy {last['healthy']:.2%}, {options.cores} of {last['hidden_cores']} hidden cores dead {np.mean(last['draws']):.2%}", flush=True)  # fmt: skip
                write(rows, options)
    write(rows, options)
    for row in summary(rows):
        share = (
            f"; {row['of_dropout']:.0%} of dropout's ({row['of_dropout_low']:.0%} … {row['of_dropout_high']:.0%})"
            if "of_dropout" in row
            else ""
        )
        print(f"{row['network']:18} {row['way']:20} {row['trainings']} trainings: healthy {row['healthy']:.2%}, loss {100 * row['loss']:.2f} points ({100 * row['loss_low']:.2f} … {100 * row['loss_high']:.2f}){share}")  # fmt: skip


if __name__ == "__main__":
    main()
