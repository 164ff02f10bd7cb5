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
from neurofault.study.statistics import holm, paired_difference, paired_p

DOCS = Path(__file__).parents[1] / "docs"
DATA = DOCS / "data" / "paper"
WIDTHS = (25, 50, 100, 200, 400)
CYCLE = 10_000
"""Samples of a cycle on the chip."""
RESAMPLES = 10_000
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


LOSSES = {
    "cores": "cores",
    "neurons": "neurons",
    "flipped bits": "bits flipped",
    "stuck bits": "bits stuck at 0",
    "recurrent synapses": "recurrent synapses",
}
ACCOUNTINGS = (
    "equal cycles in all",
    "equal cycles in all, each stopped at its best look",
    "equal cycles after the last step of damage",
)


def points(value: float, digits: int = 1) -> str:
    """Return a fraction in points with its sign."""
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def share(value: float | None, digits: int = 0) -> str:
    """Return a fraction in percent."""
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f} %".replace("-", "−")


def broken(row: pandas.Series) -> str:
    """Return what breaks, and how much of it."""
    return f"{row['count']:,} of {row['of']:,} {LOSSES[row.loss]}"


def over_bases() -> Iterator[str]:
    """Iterative − batch repair of 10 nodes of networks of floats at equal cycles in all, with the base as the unit."""
    own = pandas.read_csv(DATA / "fig3_pairs.csv").query("m == 10").groupby("base")[["iterative", "batch_total"]].mean()
    found = paired_difference(own.iterative, own.batch_total)
    assert found.low is not None
    assert found.high is not None
    yield f"over the three bases it is {points(found.mean, 2)} [{points(found.low, 2)}, {points(found.high, 2)}]"


def network_declines() -> Iterator[str]:
    """The table of declines of more networks."""
    for _, row in pandas.read_csv(DATA / "chip_declines_rows.csv").iterrows():
        marks = [
            f"{share(row[name], 1)} [{share(row[f'{name}_low'], 1)}, {share(row[f'{name}_high'], 1)}]"
            for name in ("minus1pp", "half", "width")
        ]
        yield (
            f"| {row.network}, {row.loss} | {share(row.healthy, 1)} | {share(row.hinge_wins)} | {share(row.logistic_wins)} | {row.slope_ratio:.2g} | "
            f"{row.knot:.2f} ({row.knot_sd:.2f}) | {' | '.join(marks)} |"
        )


def decline_sentences() -> Iterator[str]:
    """What the sentences on declines of more networks say."""
    rows = pandas.read_csv(DATA / "chip_declines_rows.csv")
    yield f"The hinge is best in {100 * rows.hinge_wins.min():.0f} to {100 * rows.hinge_wins.max():.0f} % of the draws of a network"
    yield f"half-way at {100 * rows.half.min():.0f} to {100 * rows.half.max():.0f} % of what can die"


def network_repairs() -> Iterator[str]:
    """The table of what batch repair brings back of more networks."""
    rows = pandas.read_csv(DATA / "chip_networks_recovery.csv")
    compared = pandas.read_csv(DATA / "chip_networks_rows.csv").drop_duplicates(["network", "loss"]).set_index(["network", "loss"])
    for (network, loss), both in rows.groupby(["network", "loss"], sort=False):
        own, one = compared.loc[(network, loss)], both.set_index("tolerance")
        cycles = [f"{str(one.loc[at, 'cycles']).replace('>', '> ')}, {share(one.loc[at, 'recovered'])}" for at in (0.01, 0.005)]
        regained = (
            "–"
            if np.isnan(one.regained.iloc[0])
            else f"{share(one.regained.iloc[0])} [{share(one.regained_low.iloc[0])}, {share(one.regained_high.iloc[0])}]"
        )
        yield (
            f"| {network}, {own.learner} | {broken(both.iloc[0])} | {share(own.healthy, 1)} | {share(own.damaged, 1)} | {share(own.batch, 1)} | "
            f"{regained} | {' | '.join(cycles)} |"
        )


def network_ranking() -> Iterator[str]:
    """The table of comparisons on more networks."""
    rows = pandas.read_csv(DATA / "chip_networks_rows.csv")
    for (network, loss), own in rows.groupby(["network", "loss"], sort=False):
        cells = []
        for accounting in ACCOUNTINGS:
            row = own[own.accounting == accounting].iloc[0]
            text = f"{points(row.difference)} [{points(row.low)}, {points(row.high)}]"
            cells.append(text if row.better == "undecided" else f"**{text}**")
        yield f"| {network}, {own.learner.iloc[0]} | {LOSSES[loss]} | {own.trainings.iloc[0]} × {own.draws.iloc[0]} | {' | '.join(cells)} |"


def network_counts() -> Iterator[str]:
    """In how many rows of more networks a repair is ahead, with an interval that leaves 0 out, and decided."""
    rows = pandas.read_csv(DATA / "chip_networks_rows.csv")
    for accounting, sign, words in zip(
        ACCOUNTINGS, (-1, -1, 1), ("batch repair is ahead", "batch repair is ahead", "iterative repair is ahead"), strict=True
    ):
        own = rows[rows.accounting == accounting]
        ahead = own[sign * own.difference > 0]
        apart = int((ahead.low * ahead.high > 0).sum())
        yield f"{words} in {len(ahead)} of {len(own)} rows, in {apart} with an interval that leaves 0 out, in {int((ahead.better != 'undecided').sum())} after correction"


def network_sentences() -> Iterator[str]:
    """What the sentences on more networks say."""
    rows = pandas.read_csv(DATA / "chip_networks_rows.csv")
    whole = rows[rows.accounting == ACCOUNTINGS[0]]
    of_mnist = whole[whole.network.str.startswith("mnist")]
    plain, digits = of_mnist[of_mnist.loss != "stuck bits"], whole[whole.network.str.startswith("digits")]
    ahead, decided = -100 * plain.difference, int((plain.better == "batch").sum())
    yield f"{ahead.min():.1f} to {ahead.max():.1f} points ahead, in {decided} of {len(plain)} cases decided after correction"
    yield f"within {100 * digits.difference.abs().max():.1f} points of each other"
    means = (
        pandas.read_csv(DATA / "chip_networks_trainings.csv")
        .query("loss == 'stuck bits'")
        .groupby("network")
        .mean(numeric_only=True)
    )
    stuck = rows[(rows.loss == "stuck bits")].set_index(["network", "accounting"])
    for network in of_mnist[of_mnist.loss == "stuck bits"].network:
        total, best = (stuck.loc[network, accounting] for accounting in ACCOUNTINGS[:2])
        yield f"iterative − batch is {points(total.difference)} points [{points(total.low)}, {points(total.high)}] for `{network}`"
        yield f"{points(best.difference)} [{points(best.low)}, {points(best.high)}] with each stopped at its best look"
        yield "`{}` has {} after a fifth of a cycle, {} after 1.2 and {} at its best look".format(
            network, *(share(means.loc[network, name], 1) for name in ("last", "batch", "batch_stopped"))
        )


def two_levels() -> Iterator[str]:
    """How wide the intervals of a bootstrap of trainings, and of draws within them, are beside those of Student's t over trainings."""
    draws = pandas.read_csv(DATA / "chip_networks_draws.csv")
    rows = (
        pandas.read_csv(DATA / "chip_networks_rows.csv").query(f"accounting == {ACCOUNTINGS[0]!r}").set_index(["network", "loss"])
    )
    random, ratios = np.random.default_rng(1), []
    for place, own in draws.groupby(["network", "loss"], sort=False):
        lost = np.array([training.iterative - training.batch for _, training in own.groupby("training")])
        chosen = random.integers(len(lost), size=(RESAMPLES, len(lost), 1))
        within = random.integers(lost.shape[1], size=(RESAMPLES, *lost.shape))
        low, high = np.quantile(lost[chosen, within].mean((1, 2)), (0.025, 0.975))
        ratios.append((high - low) / (rows.loc[place, "high"] - rows.loc[place, "low"]))
    yield f"are {min(ratios):.1f} to {max(ratios):.1f} times as wide"


def whole_page() -> Iterator[str]:
    """Holm's correction over all comparisons of iterative with batch repair on the page."""
    pairs = pandas.read_csv(DATA / "fig3_pairs.csv")
    floats = [paired_p(own.iterative, own[other]) for _, own in pairs.groupby("m") for other in ("batch_total", "batch_last_step")]
    figures = [
        pandas.read_csv(DATA / name) for name in ("chip_fig3_comparisons.csv", "chip_ranking_rows.csv", "chip_networks_rows.csv")
    ]
    corrected = holm([*floats, *(p for one in figures for p in one.p)])
    decided = [p < 0.05 for p in corrected]
    yield f"over all {len(corrected)} comparisons of iterative with batch repair on this page"
    at = len(floats)
    for one, words in zip(figures, ("of figure 3", "of the ranking", "of more networks"), strict=True):
        yield f"{sum(decided[at : at + len(one)])} of the {int((one.better != 'undecided').sum())} {words}"
        at += len(one)


PARTS = (
    doublings,
    cores_and_neurons,
    hard_caps,
    energy_of_learning,
    over_bases,
    network_declines,
    decline_sentences,
    network_repairs,
    network_ranking,
    network_counts,
    network_sentences,
    two_levels,
    whole_page,
)


def main() -> None:
    """Print the claims, or compare them with the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    page = " ".join((DOCS / "does_it_hold.md").read_text(encoding="utf-8").split())
    missing = 0
    for part in PARTS:
        for claim in part():
            said = claim in page
            missing += not said
            print(claim if said or not given.check else f"not on the page: {claim}")
    sys.exit(bool(given.check and missing))


if __name__ == "__main__":
    main()
