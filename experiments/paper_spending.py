"""A hard limit that iterative repair spends as it goes, or shares over its steps, beside batch repair: runs experiments/paper/chip_spending.yaml and writes docs/data/paper/chip_spending_draws.csv.

    python experiments/paper_spending.py --data-dir DIR [--out FOLDER]     # goes on where it stopped
    python experiments/paper_spending.py --data-dir DIR --check            # the first draw under the cap of energy again: exit code 1 where a published row is another

A row is a draw: how much was right of ``samples`` images, and what the repair used. Rows of ``split`` validation are those by which a way of spending is chosen for a learner and a cap: validation images, draws of another seed
(:data:`CHOICE`). Those of ``test`` report; their batch and greedy draws are the first of those of ``chip_budgets.json``, which has more of them. The page's table is ``caps`` of ``paper_tables.py``, its tests stand in ``paper_holm.py``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from paper_words import DATA, number, rows_of, table  # beside this file

import neurofault as nf
from neurofault.papers.rescue2019.output import save
from neurofault.study import csv_table
from neurofault.study.statistics import paired_difference, paired_p

CAMPAIGN = Path(__file__).parent / "paper" / "chip_spending.yaml"
CHOICE = {"draws": 3, "seed": 101}
"""Draws by which a way of spending is chosen."""
CAPS = {"writes 20000": ("writes_cap", 20000), "energy 0.01": ("energy_cap", 0.01)}
SPENDS = ("greedy", "even")
LEARNERS = ("delta", "dfa", "emstdp")
COLUMNS = {
    "strategy": "strategy", "learner": "learner", "spend": "rescue.spend", "writes_cap": "rescue.writes", "energy_cap": "rescue.energy", "draw": "draw",
    "samples": "samples", "healthy_correct": "healthy_correct", "damaged_correct": "damaged_correct", "correct": "correct",
    "cycles": "cycles_total", "writes": "writes", "energy_joule": "repair_energy_joule",
}  # fmt: skip


def parts() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, split and campaign: the choice on validation images, of iterative repair alone, and the report on test images."""
    asked = yaml.safe_load(CAMPAIGN.read_text(encoding="utf-8"))
    chosen = [way for way in asked["rescue"] if way["strategy"] == "iterative"]
    yield (
        "choice",
        "validation",
        {**asked, "data": {**asked["data"], "split": "validation"}, "rescue": chosen, "repeats": {**asked["repeats"], **CHOICE}},
    )
    yield "report", "test", asked


def run(split: str, asked: dict[str, Any], out: Path, data_dir: Path | None) -> list[dict[str, Any]]:
    """Run a campaign and return its draws."""
    done = nf.campaign(asked, out=out).run(workers=1, data_dir=data_dir)
    if done.failed or done.trials < done.planned:
        sys.exit(f"{done.failed} trials failed, {done.planned - done.trials} are missing: see {done.folder}")
    found = done.table()
    absent = found.isna()

    def value(at: Any, column: str) -> Any:
        one = found.at[at, column]
        return None if absent.at[at, column] else one.item() if hasattr(one, "item") else one

    return [{"split": split, **{name: value(at, column) for name, column in COLUMNS.items()}} for at in found.index]


def ways(cap: str, learner: str, split: str = "test") -> dict[str, list[float]]:
    """Return the accuracies of the draws under a cap: ``batch`` (on test images), ``greedy`` and ``even``."""
    column, most = CAPS[cap]
    rows = sorted(table("chip_spending_draws", split=split, learner=learner), key=lambda row: row["draw"])
    own = [row for row in rows if row[column] == most]
    found = {spend: rows_of(own, strategy="iterative", spend=spend) for spend in SPENDS}
    if split == "test":
        found["batch"] = rows_of(own, strategy="batch")
    return {name: [row["correct"] / row["samples"] for row in rows] for name, rows in found.items()}


def draws() -> dict[str, int]:
    """Return how many draws there are of each way on test and on validation images."""
    return {split: len({row["draw"] for row in table("chip_spending_draws", split=split)}) for split in ("test", "validation")}


def chosen(cap: str, learner: str) -> str:
    """Return which way of spending is ahead on validation images."""
    return max(SPENDS, key=lambda spend: float(np.mean(ways(cap, learner, "validation")[spend])))


def tests() -> Iterator[dict[str, Any]]:
    """Yield the comparisons of even spending with batch repair and with greedy spending."""
    for cap in CAPS:
        for learner in LEARNERS:
            found = ways(cap, learner)
            for other, sides in (("batch", ("iterative, even", "batch")), ("greedy", ("even", "greedy"))):
                both = found["even"], found[other]
                apart = paired_difference(*both)
                yield {
                    "place": f"core_dead, {learner}", "compared": f"{cap}, even and {other}", "sides": sides, "difference": apart.mean,
                    "low": apart.low, "high": apart.high, "p": paired_p(*both),
                }  # fmt: skip


def sentences() -> Iterator[str]:
    """What the page's sentences say of a limit that is shared over the steps."""
    counts, places = draws(), [(cap, learner) for cap in CAPS for learner in LEARNERS]
    ends = [{way: 100 * float(np.mean(right)) for way, right in ways(*place).items()} for place in places]
    below, above = ([one["batch"] - one["even"] for one in ends], [one["even"] - one["greedy"] for one in ends])
    shares = [100 * more / (more + less) for less, more in zip(below, above, strict=True)]
    yield f"{counts['test']} draws on test images, {counts['validation']} on validation images"
    yield f"ends {number(min(below))} to {number(max(below))} points below batch repair"
    yield f"{number(min(above))} to {number(max(above))} points above `greedy`"
    yield f"{number(min(shares), 0)} to {number(max(shares), 0)} % of what `greedy` loses to batch repair"
    yield f"chosen in {sum(chosen(*place) == 'even' for place in places)} of {len(places)} rows"


def main() -> None:
    """Run the campaigns and write their draws, or compare the cheapest of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/chip-spending"))
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a published row is another")
    options = parser.parse_args()
    if not options.check:
        rows = [row for name, split, asked in parts() for row in run(split, asked, options.out / name, options.data_dir)]
        print(save(DATA / "chip_spending_draws.csv", csv_table.table(rows)), f"{len(rows)} draws")
        return
    published = table("chip_spending_draws", split="test", draw=0)
    asked = list(parts())[-1][2]
    first = {**asked, "rescue": [way for way in asked["rescue"] if "energy" in way], "repeats": {**asked["repeats"], "draws": 1}}
    with tempfile.TemporaryDirectory() as folder:
        made = run("test", first, Path(folder) / "run", options.data_dir)
    wrong = 0
    for row in made:
        (old,) = rows_of(published, **{name: row[name] for name in ("strategy", "learner", "spend", "energy_cap")})
        same = all(np.isclose(row[name], old[name], rtol=1e-6) for name in ("correct", "cycles", "writes", "energy_joule"))
        wrong += not same
        said = number(100 * row["correct"] / row["samples"], 2)
        print(row["strategy"], row["learner"], row["spend"], said, "" if same else f"published {old}")
    print(f"{len(made)} draws, {wrong} are not what is published")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
