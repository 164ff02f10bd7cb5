"""How few samples test a chip, and do their answers say what is broken? Patterns of mnist-mlp and of 784-512-10.

    python experiments/testset.py --data-dir DIR [--part tests] [--network mnist-mlp] [--json docs/data/testset.json]

``tests``: for each network, observation and level (a fault is critical if it changes the class of at least so many of 5,000 validation samples) the fewest of the
first 10,000 training samples that expose every critical single synapse, neuron and core fault that any of them exposes, and what ten samples expose.
``diagnosis``: at most 20 samples that expose most dead neurons and cores; in 200 keyed draws one core dies, then two: how often is what died the first suspect, as a
class of at most two? A part that is run replaces its rows in the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.streams import generator
from neurofault.study.patterns.choose import choose_patterns
from neurofault.study.patterns.diagnose import fault_dictionary, naming
from neurofault.study.patterns.report import interval_json, report
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown
from neurofault.zoo import RECIPES, recipe

WIDE = "mnist-mlp-512"
RECIPES.setdefault(WIDE, replace(recipe("mnist-mlp"), name=WIDE, hidden=(512,), epochs=10))
RUNS = (("potential", 5), ("potential", 1), ("class", 5), ("class", 1))
KEPT = (
    "observe", "single_faults", "matter", "reached", "exposed", "coverage", "exposed_of_all", "size", "samples", "exposed_by_first", "least", "proved_least", "greedy",
    "unseen_faults", "doubles", "checked", "by_kind", "hidden", "time_seconds", "energy_joule", "candidates", "reference",
)  # fmt: skip


DIAGNOSED = (("potential", 0), ("potential", 64), ("class", 64))
"""What is seen, and how many made images of random pixels stand among the candidates: no digit lights the pixels at the border."""
SAMPLES = 20


def tests(network: str, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Yield a row for each observation and level."""
    chip, train = prepared.deployment, prepared.data.train.first(10_000)
    for observe, critical in RUNS:
        began, used = time.perf_counter(), time.process_time()
        found = choose_patterns(
            chip, shown(chip, train), shown(chip, prepared.data.validation), observe=observe, critical=critical, indices=train.indices, seconds=30,
        )  # fmt: skip
        answer = report(found)
        ten = answer["exposed_by_first"][:10][-1] / answer["reached"]
        row = {"network": network, "critical": critical, **{name: answer[name] for name in KEPT}, "ten_expose": ten}
        row |= {"seconds": round(time.perf_counter() - began, 1), "processor_seconds": round(time.process_time() - used, 1)}
        least = "proved" if row["proved_least"] else f"at least {row['least']}"
        print(
            f"{network} {observe} critical {critical}: {row['matter']:,} matter, {row['reached']:,} reached, {row['size']} samples ({least}), ten expose {ten:.2%}, "
            f"pairs {row['doubles']['coverage']}, {row['seconds']} s",
            flush=True,
        )
        yield row


def diagnosis(network: str, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Yield a row for each observation, dictionary and number of dead cores."""
    chip, train = prepared.deployment, prepared.data.train.first(1000)
    for observe, made in DIAGNOSED:
        noise = generator(1, "testset", "made").integers(0, 256, (made, *train.images.shape[1:]), np.uint8)
        images = np.concatenate([train.images, noise])
        patterns = choose_patterns(
            chip, chip.encode(images), faults=["neuron_dead", "core_dead"], most=len(images), observe=observe, aim="detectable", size=SAMPLES, draws=0, seconds=0,
        ).patterns  # fmt: skip
        for pairs in (False, True):
            book = fault_dictionary(chip, patterns, ["core_dead"], pairs=pairs)
            for cores in (1, 2):
                found = naming(chip, book, cores)
                row = {
                    "network": network, "observe": observe, "made": made, "made_chosen": int((patterns.indices >= len(train)).sum()), "size": len(patterns), "pairs": pairs, "dictionary": sum(map(len, book.classes)) - 1, "classes": len(book.classes),
                    "not_exposed": len(book.classes[0]) - 1, "dead": cores, "draws": found.draws, "exposed": found.shown, "named": interval_json(found.named),
                    "part_named": interval_json(found.part),
                }  # fmt: skip
                print(
                    f"{network} {observe}, {len(patterns)} samples (of {made} made), pairs {pairs}: {cores} dead: named {found.named.mean:.1%}, part {found.part.mean:.1%}",
                    flush=True,
                )
                yield row


PARTS = {"tests": tests, "diagnosis": diagnosis}


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--network", action="append", help="mnist-mlp, mnist-mlp-512 (784-512-10); default: both")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for part in options.part or PARTS:
        rows: list[dict[str, Any]] = []
        for network in options.network or ("mnist-mlp", WIDE):
            prepared = prepare(Setup(network=network, data_dir=options.data_dir, samples=1), lambda *_: None)
            for row in PARTS[part](network, prepared):
                rows.append(row)
                if options.json is not None:
                    kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
                    options.json.write_text(json.dumps(kept | {part: rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
