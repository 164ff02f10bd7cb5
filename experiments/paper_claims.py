"""Numbers of "Does it hold?" that stand in its sentences and in none of the published tables, computed from these tables.

    python experiments/paper_claims.py            # prints them
    python experiments/paper_claims.py --check    # exit code 1 where docs/does_it_hold.md says otherwise

Static power is that of the profile's default table, for one chip, over the time on the chip by the same table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
from scipy import stats

from neurofault import load_profile

DOCS = Path(__file__).parents[1] / "docs"
DATA = DOCS / "data" / "paper"
WIDTHS = (25, 50, 100, 200, 400)
CYCLE = 10_000
"""Samples of a cycle on the chip."""
MEASURED_MICROJOULE = 590
"""A training sample on Loihi (Renner et al. 2024)."""


def signed(values: np.ndarray) -> str:
    """Return numbers in the page's words: a sign where they have both, one digit."""
    words = [f"{'−' if value < 0 else '+' if (values < 0).any() else ''}{abs(value):.1f}" for value in values]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def doublings() -> Iterator[str]:
    """Steps of the marks from each width to twice that width, in points of N."""
    orders = pandas.read_csv(DATA / "fig1_orders.csv")
    bases = orders.groupby(["network", "base"])[["minus1pp", "half", "width"]].mean()
    for mark, words in (("minus1pp", "−1 point mark moves by"), ("half", "half-way mark by"), ("width", "the width by")):
        means = [100 * bases.loc[f"784-{width}-10", mark].mean() for width in WIDTHS]
        yield f"{words} {signed(np.diff(means))}"


def cores_and_neurons() -> Iterator[str]:
    """Paired tests of the area under the curve of dead cores against dead neurons, draw by draw, not corrected."""
    draws = pandas.read_csv(DATA / "chip_fig1_draws.csv").set_index(["curve", "draw"])["auc"]
    values = [stats.ttest_rel(draws[f"cores, {bits} bits"], draws[f"neurons, {bits} bits"]).pvalue for bits in (8, 4, 2)]
    yield "p = {:.3f}, {:.3f} and {:.3f} at 8, 4 and 2 bits".format(*values)


def hard_caps() -> Iterator[str]:
    """What iterative repair loses under one cap, the least and the most over learners, caps and kinds of damage."""
    pairs = json.loads((DATA / "chip_budgets.json").read_text(encoding="utf-8"))["paired"]
    lost = [
        100 * pair["difference"]
        for pair in pairs
        if ("writes" in pair["a"] or "energy" in pair["a"]) and pair["b"] == pair["a"].replace("batch", "iterative") != pair["a"]
    ]
    yield f"it loses by {min(lost):.0f} to {max(lost):.0f} points"


def energy_of_learning() -> Iterator[str]:
    """Energy of a training sample, 6 dead cores, and how many cycles batch repair gets for what the iterative one takes, static power included."""
    profile = load_profile("loihi2")
    table = profile.default_energy
    assert table is not None
    static = profile.energy_tables[table].energy.static_power.value
    assert static is not None
    rows = pandas.read_csv(DATA / "chip_fig3_accounting.csv")
    rows = rows[(rows.loss == "cores") & (rows.m == 6)].set_index(["learner", "strategy"])
    sample, cycles, share = {}, {}, {}
    for learner in ("delta", "dfa", "emstdp"):
        one, other = rows.loc[learner, "iterative"], rows.loc[learner, "batch"]
        own, its = (row[f"energy_{table}"] + static * row[f"time_{table}"] for row in (one, other))
        sample[learner] = 1e6 * other[f"energy_{table}"] / (other.cycles * CYCLE)
        cycles[learner] = own / (its / other.cycles)
        share[learner] = static * one[f"time_{table}"] / one[f"energy_{table}"]
    yield f"some {sample['dfa']:.0f} µJ (`dfa`) and {sample['emstdp']:.0f} µJ (`emstdp`) a training sample"
    yield f"{MEASURED_MICROJOULE / sample['emstdp']:.0f} to {MEASURED_MICROJOULE / sample['dfa']:.0f} times as much"
    yield "at 6 cores it is {:.1f} (`delta`), {:.1f} (`dfa`) and {:.1f} times (`emstdp`) the dynamic part".format(*share.values())
    yield "with it batch repair gets {:.1f}, {:.1f} and {:.1f} cycles".format(*cycles.values())


def main() -> None:
    """Print the claims, or compare them with the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    page = " ".join((DOCS / "does_it_hold.md").read_text(encoding="utf-8").split())
    missing = 0
    for part in (doublings, cores_and_neurons, hard_caps, energy_of_learning):
        for claim in part():
            said = claim in page
            missing += not said
            print(claim if said or not given.check else f"not on the page: {claim}")
    sys.exit(bool(given.check and missing))


if __name__ == "__main__":
    main()
