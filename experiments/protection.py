"""What should be protected? mnist-mlp with wrong bits in its stored weights, and what codes over some of them, chosen in different ways, take back.

    python experiments/protection.py --data-dir DIR [--part regained] [--draws 40] [--json docs/data/protection.json]

``regained``: 1 in 1,000 stored bits flips, check bits too. Each row is a protection: accuracy over the draws, the share of the loss that it takes back (bootstrap over draws,
which are the same bits of the weights in every row), and what it costs. Bits are chosen on training samples, the test images are reported on alone.
``validation``: the same on the validation images, by which one of the rows may be chosen.
``choice``: of 5 % of the bits, which bits: on the validation images, and draws of their own.
``stuck``: 1 in 100 cells is stuck, half of them at 1, check bits too; orders of bits that know which, beside a code.
``cores``: 6 dead cores, of neurons on 8-neuron cores that are copied or not; and as large a share of the cores that copies sit on too.
``muted``: 1 hidden neuron stuck on, on the bare chip and on one that mutes; and 1 watcher stuck instead.
``scrubbing``: upsets one after the other, SECDED over all weights, words that two upsets between passes defeat: counted in the plan, and by the formula.
A part that is run replaces its rows in the file; with --only the rows of one name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.faults.timing import ageing
from neurofault.progress import silent
from neurofault.study.lesion import lesion
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.protect.api import protect
from neurofault.study.protect.charge import charge
from neurofault.study.protect.scores import BitScores, Looked, bit_scores
from neurofault.study.protect.scrubbing import defeated
from neurofault.study.shown import shown as shown_to
from neurofault.study.statistics import t_interval

RATE = 1e-3
SAMPLES = 2000
"""Training samples of the atlas."""
CHOSEN: dict[str, Any] = {"samples": SAMPLES}
ROWS: dict[str, list[dict[str, Any]]] = {
    "5 % by atlas, bit by bit": [{"kind": "secded", "share": 0.05, "by": "atlas", **CHOSEN}],
    "5 % by atlas, rows": [{"kind": "secded", "share": 0.05, "by": "atlas", "unit": "row", **CHOSEN}],
    "10 % by atlas, rows": [{"kind": "secded", "share": 0.1, "by": "atlas", "unit": "row", **CHOSEN}],
    "20 % by atlas, rows": [{"kind": "secded", "share": 0.2, "by": "atlas", "unit": "row", **CHOSEN}],
    "5 % by importance, rows": [{"kind": "secded", "share": 0.05, "by": "importance", "unit": "row", **CHOSEN}],
    "5 % at random, bit by bit": [{"kind": "secded", "share": 0.05, "by": "random"}],
    "5 % at random, rows": [{"kind": "secded", "share": 0.05, "by": "random", "unit": "row"}],
    "budget of 5 % more bits, planes by atlas": [{"kind": "secded", "budget": 0.05, "by": "atlas", "unit": "plane", **CHOSEN}],
    "budget of 5 % more bits, planes by importance": [
        {"kind": "secded", "budget": 0.05, "by": "importance", "unit": "plane", **CHOSEN}
    ],
    "bounds of each neuron, muted": [{"kind": "bounds", "per": "target", "outside": "mute"}],
    "bounds of each neuron, clipped": [{"kind": "bounds", "per": "target", "outside": "clip"}],
    "bounds, and 5 % by atlas, rows": [
        {"kind": "bounds", "per": "target", "outside": "mute"},
        {"kind": "secded", "share": 0.05, "by": "atlas", "unit": "row", **CHOSEN},
    ],
    "bounds, and 5 % fitted, bit by bit": [
        {"kind": "bounds", "per": "target", "outside": "mute"},
        {"kind": "secded", "share": 0.05, "by": "fitted", **CHOSEN},
    ],
    "bounds, and 5 % at random, bit by bit": [
        {"kind": "bounds", "per": "target", "outside": "mute"},
        {"kind": "secded", "share": 0.05, "by": "random"},
    ],
    "parity over all, words of 8, muted": [{"kind": "parity", "word": 8}],
    "secded over all": [{"kind": "secded"}],
    "floors of all potentials": [{"kind": "potentials", **CHOSEN}],
}
CORES: dict[str, list[dict[str, Any]]] = {
    "copies of all hidden neurons": [{"kind": "tmr"}],
    "copies of all hidden neurons, voters apart": [{"kind": "tmr", "voters": "own"}],
    "copies on 6 cores more, by atlas": [{"kind": "tmr", "cores": 6, "by": "atlas", **CHOSEN}],
    "copies on 6 cores more, by importance": [{"kind": "tmr", "cores": 6, "by": "importance", **CHOSEN}],
    "copies on 6 cores more, at random": [{"kind": "tmr", "cores": 6, "by": "random"}],
    "floors of all potentials": [{"kind": "potentials", **CHOSEN}],
}
DEAD = 6
STUCK: dict[str, list[dict[str, Any]]] = {
    "bits in another order, row by row": [{"kind": "remap_bits", "defects": "tested"}],
    "bits in another order, word by word": [{"kind": "remap_bits", "defects": "tested", "unit": "word"}],
    "bounds, and bits in another order, row by row": [
        {"kind": "bounds", "per": "target", "outside": "mute"},
        {"kind": "remap_bits", "defects": "tested"},
    ],
    "bounds of each neuron, muted": [{"kind": "bounds", "per": "target", "outside": "mute"}],
    "secded over all": [{"kind": "secded"}],
}
STUCK_CELLS = tuple(nf.faults.SynapseBitStuck(rate=0.005, layer="any", level=level) for level in (0, 1))
CHOICE: dict[str, list[dict[str, Any]]] = {
    f"{'bounds, and ' if bounds else ''}{code} 5 % {by}, {unit}s": [
        *([{"kind": "bounds", "per": "target", "outside": "mute"}] if bounds else []),
        {"kind": code, "share": 0.05, "by": by, "unit": unit, **CHOSEN},
    ]
    for code, bounds, by, unit in (
        ("secded", False, "atlas", "bit"), ("secded", False, "atlas", "row"), ("secded", False, "fitted", "bit"), ("secded", False, "fitted", "row"),
        ("secded", True, "atlas", "bit"), ("secded", True, "atlas", "row"), ("secded", True, "fitted", "bit"), ("secded", True, "fitted", "row"),
        ("parity", False, "fitted", "bit"), ("parity", True, "fitted", "bit"),
    )
}  # fmt: skip


def accuracies(
    prepared: Prepared, chip: Deployment, draws: int, seed: int, *faults: nf.faults.Fault
) -> tuple[float, NDArray[np.float64], Any]:
    """Return the healthy accuracy, that of each draw, and the healthy run."""
    found = lesion(chip, prepared.test, faults or [nf.faults.SynapseBitFlip(rate=RATE, layer="any")], draws=draws, seed=seed)
    return (
        found.healthy.accuracy,
        np.array([draw.measured.accuracy for draw in found.draws if draw.measured is not None]),
        found.healthy,
    )


def regained(
    prepared: Prepared,
    draws: int,
    asked_for: dict[str, list[dict[str, Any]]],
    seed: int = 1,
    faults: Sequence[nf.faults.Fault] = (),
) -> Iterator[dict[str, Any]]:
    """Yield a row for each protection, the bare chip first."""
    healthy, bare, _ = accuracies(prepared, prepared.deployment, draws, seed, *faults)
    mean = t_interval(bare.tolist(), within=(0.0, 1.0))
    yield {
        "protection": "none",
        "healthy": healthy,
        "accuracy": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "draws": draws,
        "samples": len(prepared.test),
    }
    train = prepared.data.train.first(SAMPLES)
    looked = Looked(shown_to(prepared.deployment, train), train.expected)
    names = [one.name for one in prepared.deployment.connections]
    scores: dict[str, BitScores] = {
        by: bit_scores(prepared.deployment, names, by, looked, samples=SAMPLES, seed=1, progress=silent)
        for by in {one["by"] for asked in asked_for.values() for one in asked if "by" in one and one["by"] != "fitted"}
    }
    picks = np.random.default_rng(1).integers(0, draws, (10_000, draws))
    for name, asked in asked_for.items():
        by = next((one["by"] for one in asked if "by" in one), None)
        # fitted knows the ranges of its own row
        safe = protect(prepared.deployment, asked, looked.inputs, looked.expected, scores=scores.get(by or ""), seed=1)
        whole, found, run = accuracies(prepared, safe, draws, seed, *faults)
        share = 1 - (whole - found).mean() / (healthy - bare).mean()
        spread = 1 - (whole - found)[picks].mean(axis=1) / (healthy - bare)[picks].mean(axis=1)
        mean, cost = t_interval(found.tolist(), within=(0.0, 1.0)), charge(safe, run.spike_counts, len(prepared.test))
        yield {
            "protection": name, "asked": asked, "healthy": whole, "accuracy": mean.mean, "low": mean.low, "high": mean.high,
            "regained": share, "regained_low": float(np.percentile(spread, 2.5)), "regained_high": float(np.percentile(spread, 97.5)),
            "data_bits": cost.data_bits / cost.stored_bits, "check_bits": cost.check_bits / cost.stored_bits, "map_bits": cost.map_bits / cost.stored_bits,
            "copied_bits": cost.copied_bits / cost.stored_bits,
            "energy_joule": cost.energy, "time_second": cost.time, "energy_share": None if cost.energy is None else cost.energy / (run.cost.energy.value or np.nan),
        }  # fmt: skip


def hidden_cores(chip: Deployment) -> int:
    """Return on how many cores hidden neurons sit, copies and voters too."""
    return len({core for one in chip.populations[1:-1] for core in chip.placement.cores_of(one.name)})


def cores(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each way of copying neurons: accuracy with as many dead cores as on the bare chip, and with as large a share."""
    setup = Setup(
        "mnist-mlp", data_dir=given.data_dir, samples=given.samples, adapt=SAMPLES, validates=False, neurons_per_core=8, chips=2
    )
    prepared = prepare(setup, silent)
    train = prepared.data.train.first(SAMPLES)
    x, whole = shown_to(prepared.deployment, train), hidden_cores(prepared.deployment)
    for name, asked in {"none": [], **CORES}.items():
        chip = protect(prepared.deployment, asked, x, train.expected, seed=1) if asked else prepared.deployment
        seen = hidden_cores(chip)
        row: dict[str, Any] = {
            "protection": name,
            "asked": asked,
            "hidden_cores": seen,
            "draws": given.draws,
            "samples": len(prepared.test),
        }
        for key, count in (("", DEAD), ("share_", round(DEAD * seen / whole))):
            healthy, found, run = accuracies(prepared, chip, given.draws, 1, nf.faults.CoreDead(count=count, layer="hidden"))
            mean = t_interval(found.tolist(), within=(0.0, 1.0))
            row |= {f"{key}dead": count, f"{key}accuracy": mean.mean, f"{key}low": mean.low, f"{key}high": mean.high}
        cost = charge(chip, run.spike_counts, len(prepared.test))
        yield row | {
            "healthy": healthy, "added_bits": cost.added, "added_cores": cost.cores, "energy_share": (cost.energy or 0.0) / (run.cost.energy.value or np.nan)
        }  # fmt: skip


def muted(prepared: Prepared, draws: int) -> Iterator[dict[str, Any]]:
    """Yield a row for what is stuck on, without and with watchers."""
    train, name = prepared.data.train.first(SAMPLES), prepared.deployment.populations[1].name
    safe = protect(prepared.deployment, {"kind": "mute", **CHOSEN}, shown_to(prepared.deployment, train), train.expected, seed=1)
    for what, chip, layer in (
        ("a neuron, nothing mutes", prepared.deployment, name), ("a neuron, muted", safe, f"{name}.own"), ("a watcher", safe, f"{name}.watch")
    ):  # fmt: skip
        healthy, found, run = accuracies(prepared, chip, draws, 1, nf.faults.NeuronSaturated(count=1, layer=layer))
        mean, cost = t_interval(found.tolist(), within=(0.0, 1.0)), charge(chip, run.spike_counts, len(prepared.test))
        yield {
            "stuck": what, "healthy": healthy, "accuracy": mean.mean, "low": mean.low, "high": mean.high, "draws": draws, "samples": len(prepared.test),
            "added_bits": cost.added, "energy_share": (cost.energy or 0.0) / (run.cost.energy.value or np.nan),
        }  # fmt: skip


def scrubbing(prepared: Prepared, draws: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of passes: share of words that read wrong at some time, counted and by the formula."""
    steps, rate = 1600, 2e-3
    for passes in (1, 4, 16):
        safe = protect(prepared.deployment, {"kind": "secded", "scrub": steps // passes})
        words = safe.protection.words
        total = sum(map(len, words))
        numbers = {one.connection: StoredNumbers(safe, one.connection) for one in words}
        # two upsets of check bits alone leave every weight right
        expected = sum(
            defeated(rate, int(n + r), passes) * (1 - r * (r - 1) / ((n + r) * (n + r - 1)))
            for one in words
            for n, r in zip(one.data_bits.tolist(), one.check_bits.tolist(), strict=True)
        )  # fmt: skip
        counted = []
        for draw in range(draws):
            hurt = nf.inject(safe, nf.faults.SynapseBitFlip(rate=rate, layer="any", when=ageing(1, steps + 1)), draw=draw)
            wrong: set[tuple[str, int]] = set()
            for edit in hurt.damage.edits:
                own = safe.protection.words_of(edit.connection)
                at = np.searchsorted(own.sites, numbers[edit.connection].of(edit.sources, edit.targets))
                wrong |= {(edit.connection, int(word)) for word in np.searchsorted(own.starts, at, "right") - 1}
            counted.append(len(wrong) / total)
        mean = t_interval(counted, within=(0.0, 1.0))
        yield {
            "passes": passes, "rate": rate, "words": total, "draws": draws, "counted": mean.mean, "low": mean.low, "high": mean.high,
            "formula": expected / total,
        }  # fmt: skip


def shown(part: str, row: dict[str, Any]) -> str:
    """Return a row as a line."""
    if part == "scrubbing":
        agrees = "agrees" if row["low"] <= row["formula"] <= row["high"] else "does not agree"
        return f"{row['passes']:2} passes: {row['counted']:.4%} of {row['words']:,} words [{row['low']:.4%}, {row['high']:.4%}], formula {row['formula']:.4%}: {agrees}"
    if part == "muted":
        return f"{row['stuck']:24} {row['accuracy']:.2%} [{row['low']:.2%}, {row['high']:.2%}], healthy {row['healthy']:.2%}; bits +{row['added_bits']:.2%}, energy +{row['energy_share']:.1%}"
    if part == "cores":
        return (
            f"{row['protection']:48} healthy {row['healthy']:.2%}; {row['dead']} of {row['hidden_cores']}: {row['accuracy']:.2%} [{row['low']:.2%}, {row['high']:.2%}]; "
            f"{row['share_dead']}: {row['share_accuracy']:.2%} [{row['share_low']:.2%}, {row['share_high']:.2%}]; bits +{row['added_bits']:.2%}, cores +{row['added_cores']}, energy +{row['energy_share']:.1%}"
        )
    line = f"{row['protection']:48} {row['accuracy']:.2%} [{row['low']:.2%}, {row['high']:.2%}]"
    if row["protection"] == "none":
        return f"{line}, healthy {row['healthy']:.2%}"
    return (
        f"{line}, regained {row['regained']:.1%} [{row['regained_low']:.1%}, {row['regained_high']:.1%}]; check bits {row['check_bits']:.2%}, map {row['map_bits']:.2%}, copies {row['copied_bits']:.2%}, "
        f"energy +{row['energy_share']:.1%}"
    )


def name_of(row: dict[str, Any]) -> str:
    """Return what a row is of."""
    return str(row.get("protection", row.get("passes", row.get("stuck"))))


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--part", choices=("regained", "validation", "choice", "stuck", "cores", "muted", "scrubbing"))
    parser.add_argument("--only", metavar="ROW", choices=tuple(ROWS), help="of regained or validation")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--json", type=Path, default=Path("docs/data/protection.json"))
    given = parser.parse_args()
    prepared = prepare(Setup("mnist-mlp", data_dir=given.data_dir, samples=given.samples, adapt=SAMPLES, validates=False), silent)
    rows: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}
    seen = replace(prepared, test=prepared.data.validation)
    named = {name: asked for name, asked in ROWS.items() if given.only in (None, name)}
    work: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "regained": lambda: regained(prepared, given.draws, named),
        "validation": lambda: regained(seen, given.draws, named),
        "choice": lambda: regained(seen, given.draws, CHOICE, seed=2),
        "stuck": lambda: regained(prepared, given.draws, STUCK, faults=STUCK_CELLS),
        "cores": lambda: cores(given),
        "muted": lambda: muted(prepared, given.draws),
        "scrubbing": lambda: scrubbing(prepared, 20),
    }
    for part, run in work.items():
        if given.part in (None, part):
            known = {name_of(row): row for row in rows.get(part, [])} if given.only else {}
            for row in run():
                known[name_of(row)] = row
                print(shown(part, row), flush=True)
            order = ["none", *ROWS]
            rows[part] = (
                sorted(known.values(), key=lambda row: order.index(row["protection"])) if given.only else list(known.values())
            )
            given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
