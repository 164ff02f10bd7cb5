"""How few samples test a chip? Test patterns of mnist-mlp and of 784-512-10, by what the tester sees and by how much a fault must matter.

    python experiments/testset.py --data-dir DIR [--network mnist-mlp] [--json docs/data/testset.json]

For each network, observation and level (a fault is critical if it changes the class of at least so many of 5,000 validation samples): the fewest of the first
10,000 training samples that expose every critical single synapse, neuron and core fault that any of them exposes, and what ten samples expose.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurofault.study.patterns.choose import choose_patterns
from neurofault.study.patterns.report import report
from neurofault.study.prepare import Setup, prepare
from neurofault.study.shown import shown
from neurofault.zoo import RECIPES, recipe

WIDE = "mnist-mlp-512"
RECIPES.setdefault(WIDE, replace(recipe("mnist-mlp"), name=WIDE, hidden=(512,), epochs=10))
RUNS = (("potential", 5), ("potential", 1), ("class", 5), ("class", 1))
KEPT = (
    "observe", "single_faults", "matter", "reached", "exposed", "coverage", "exposed_of_all", "size", "samples", "exposed_by_first", "least", "proved_least", "greedy",
    "unseen_faults", "doubles", "checked", "by_kind", "hidden", "time_seconds", "energy_joule", "candidates", "reference",
)  # fmt: skip


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--network", action="append", help="mnist-mlp, mnist-mlp-512 (784-512-10); default: both")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for network in options.network or ("mnist-mlp", WIDE):
        prepared = prepare(Setup(network=network, data_dir=options.data_dir, samples=1), lambda *_: None)
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
            rows.append(row)
            least = "proved" if row["proved_least"] else f"at least {row['least']}"
            print(
                f"{network} {observe} critical {critical}: {row['matter']:,} matter, {row['reached']:,} reached, {row['size']} samples ({least}), ten expose {ten:.2%}, "
                f"pairs {row['doubles']['coverage']}, {row['seconds']} s",
                flush=True,
            )
            if options.json is not None:
                options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
