"""How few samples test a chip, do their answers say what is broken, and does it come back without being told? Patterns of mnist-mlp and of 784-512-10.

    python experiments/testset.py --data-dir DIR [--part tests] [--network mnist-mlp] [--json docs/data/testset.json]

``tests``: for each network, observation and level (a fault is critical if it changes the class of at least so many of 5,000 validation samples) the fewest of the
first 10,000 training samples that expose every critical single synapse, neuron and core fault that any of them exposes, and what ten samples expose.
``made``: what samples leave hidden of critical faults, and what inputs that are made expose of it.
``diagnosis``: at most 20 samples that expose most dead neurons and cores; in 200 keyed draws one core dies, then two: how often is what died the first suspect, as a
class of at most two?
``loop``: in the same draws, on a chip with four spare cores, strategy ``diagnose`` is told nothing: how often does it notice, and is every spike of 100 validation samples the healthy one in the end? What
did it cost beside ``remap``, which is told? Also where one of the spare cores is dead, too. A part that is run replaces the rows of its networks in the file.
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

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.inputs import Inputs
from neurofault.rescue.outcome import Rescued
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.patterns.choose import choose_patterns
from neurofault.study.patterns.diagnose import fault_dictionary, naming
from neurofault.study.patterns.report import interval_json, report
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.shown import shown
from neurofault.study.statistics import wilson
from neurofault.zoo import RECIPES, recipe

WIDE = "mnist-mlp-512"
RECIPES.setdefault(WIDE, replace(recipe("mnist-mlp"), name=WIDE, hidden=(512,), epochs=10))
RUNS = (("potential", 5), ("potential", 1), ("class", 5), ("class", 1))
KEPT = (
    "observe", "single_faults", "matter", "reached", "exposed", "coverage", "exposed_of_all", "size", "samples", "exposed_by_first", "least", "proved_least", "greedy",
    "unseen_faults", "doubles", "checked", "by_kind", "hidden", "time_seconds", "energy_joule", "candidates", "reference",
)  # fmt: skip


DIAGNOSED = (("potential", 0), ("potential", 64), ("class", 64))
"""What is seen, and how many inputs may be made beside the samples: no digit lights the pixels at the border."""
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


MADE = (("class", 5), ("class", 1), ("potential", 1))
MOST_MADE = 500


def made(network: str, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Yield a row for each observation and level: critical faults, those that some sample exposes, those that some input exposes."""
    chip, train = prepared.deployment, prepared.data.train.first(10_000)
    for observe, critical in MADE:
        began, used = time.perf_counter(), time.process_time()
        found = choose_patterns(
            chip, shown(chip, train), shown(chip, prepared.data.validation), observe=observe, critical=critical, made=MOST_MADE, draws=0, seconds=30,
        )  # fmt: skip
        answer, real = report(found), found.patterns.indices >= 0
        row = {
            "network": network,
            "critical": critical,
            **{name: answer[name] for name in KEPT},
            "made": found.made,
            "made_chosen": int((~real).sum()),
        }
        row |= {"seconds": round(time.perf_counter() - began, 1), "processor_seconds": round(time.process_time() - used, 1)}
        print(
            f"{network} {observe} critical {critical}: {row['matter']:,} matter, {row['reached']:,} reached with {row['made']} made inputs, {row['size']} samples ({row['made_chosen']} made), "
            f"checked {row['checked']}, {row['seconds']} s",
            flush=True,
        )
        yield row


def tested(chip: Deployment, samples: Inputs, observe: str, most_made: int) -> nf.PatternSet:
    """Return at most twenty samples that expose dead neurons and cores."""
    return choose_patterns(
        chip, samples, faults=["neuron_dead", "core_dead"], observe=observe, aim="detectable", made=most_made, size=SAMPLES, draws=0, seconds=0,
    ).patterns  # fmt: skip


DRAWS, SPARES, COMPARED = 200, 4, 100
LOOPS = (("potential", 1, False), ("potential", 2, False), ("potential", 1, True), ("class", 1, False), ("class", 2, False))
"""What is seen, how many cores die, and whether a spare core is dead as well."""


def loop(network: str, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Yield a row for each observation and number of dead cores."""
    chip, train = prepared.deployment, prepared.data.train.first(1000)
    samples, judged = shown(chip, train), shown(chip, prepared.data.validation.first(COMPARED))
    healthy = nf.run(chip, judged).activity
    books = {
        observe: fault_dictionary(chip, tested(chip, samples, observe, 64), ["core_dead"]) for observe in {one[0] for one in LOOPS}
    }
    used, table = chip.placement.used_cores, chip.profile.default_energy
    for observe, dead, spare_too in LOOPS:
        own: list[Rescued] = []
        told: list[Rescued] = []
        whole = 0
        for draw in range(DRAWS):
            cores = used[permutation_prefix(stream_key(1, "diagnose", draw), len(used), dead)].tolist()
            spare = [chip.placement.spare_cores[draw % SPARES]] if spare_too else []
            hurt = nf.inject(chip, nf.faults.CoreDead(cores=tuple(sorted([*cores, *spare]))))
            for way, found in (("diagnose", own), ("remap", told)):
                found.append(nf.rescue(hurt, samples[:1], np.zeros(1, np.int64), strategy=way, tester=books[observe]))
            after = nf.run(own[-1].deployment, judged).activity
            same = [np.array_equal(after.scores, healthy.scores), np.array_equal(after.sample_spikes, healthy.sample_spikes)]
            whole += all(same) and all(
                np.array_equal(after.spike_counts[name], own_counts) for name, own_counts in healthy.spike_counts.items()
            )
        seen = [one.detection for one in own if one.detection is not None]
        delays = [one.delay for one in seen if one.delay is not None]
        row = {
            "network": network, "observe": observe, "dead": dead, "dead_spare": spare_too, "spares": SPARES, "size": len(books[observe].patterns), "draws": DRAWS,
            "noticed": interval_json(wilson(len(delays), DRAWS)), "passed": interval_json(wilson(sum(one.passed for one in seen), DRAWS)),
            "restored": interval_json(wilson(whole, DRAWS)), "delay": float(np.mean(delays)),
            "tests": float(np.mean([one.tests for one in seen])), "moves": float(np.mean([len(one.tries) for one in seen])), "most_moves": max(len(one.tries) for one in seen),
            "taken_back": float(np.mean([sum(not each.stays for each in one.tries) for one in seen])),
            **{f"{name}_{who}": float(np.mean([getattr(one.spent, name) for one in rows])) for who, rows in (("told", told), ("own", own)) for name in ("writes", "axon_updates", "host_bytes")},
            **{f"energy_joule_{who}": float(np.mean([one.spent.joules(table) for one in rows])) for who, rows in (("told", told), ("own", own))},
            **{f"time_second_{who}": float(np.mean([one.spent.seconds(table) for one in rows])) for who, rows in (("told", told), ("own", own))},
        }  # fmt: skip
        print(
            f"{network} {observe}, {row['size']} samples, {dead} dead{' and a spare' if spare_too else ''}: noticed {len(delays)}, restored {whole} of {DRAWS}, {row['moves']:.2f} moves "
            f"({row['taken_back']:.2f} taken back, at most {row['most_moves']}), {row['tests']:.2f} tests, writes {row['writes_own']:,.0f} (told {row['writes_told']:,.0f})",
            flush=True,
        )
        yield row


def diagnosis(network: str, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Yield a row for each observation, dictionary and number of dead cores."""
    chip, train = prepared.deployment, prepared.data.train.first(1000)
    for observe, made in DIAGNOSED:
        patterns = tested(chip, shown(chip, train), observe, made)
        for pairs in (False, True):
            book = fault_dictionary(chip, patterns, ["core_dead"], pairs=pairs)
            for cores in (1, 2):
                found = naming(chip, book, cores)
                row = {
                    "network": network, "observe": observe, "made": made, "made_chosen": int((patterns.indices < 0).sum()), "size": len(patterns), "pairs": pairs, "dictionary": sum(map(len, book.classes)) - 1, "classes": len(book.classes),
                    "not_exposed": len(book.classes[0]) - 1, "dead": cores, "draws": found.draws, "exposed": found.shown, "named": interval_json(found.named),
                    "part_named": interval_json(found.part),
                }  # fmt: skip
                print(
                    f"{network} {observe}, {len(patterns)} samples (of {made} made), pairs {pairs}: {cores} dead: named {found.named.mean:.1%}, part {found.part.mean:.1%}",
                    flush=True,
                )
                yield row


PARTS = {"tests": tests, "made": made, "diagnosis": diagnosis, "loop": loop}


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--network", action="append", help="mnist-mlp, mnist-mlp-512 (784-512-10); default: both")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for part in options.part or PARTS:
        for network in options.network or ("mnist-mlp", WIDE):
            rows: list[dict[str, Any]] = []
            prepared = prepare(
                Setup(network=network, data_dir=options.data_dir, samples=1, spare_cores=SPARES if part == "loop" else 0),
                lambda *_: None,
            )
            for row in PARTS[part](network, prepared):
                rows.append(row)
                if options.json is not None:
                    kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.is_file() else {}
                    others = [one for one in kept.get(part, []) if one["network"] != network]
                    options.json.write_text(json.dumps(kept | {part: others + rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
