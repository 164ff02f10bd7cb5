"""Numbers of "Does it hold?" that stand in its sentences, computed from the published tables.

    python experiments/paper_claims.py            # prints them
    python experiments/paper_claims.py --check    # exit code 1 where docs/does_it_hold.md says otherwise

Static power is that of the profile's default table, for one chip, over the time on the chip by the same table. The tables of the page are written by ``experiments/paper_tables.py``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

sys.path.insert(0, str(Path(__file__).parent))

import learner_claims  # beside this file
import paper_curves
import paper_digits
import paper_mission
import paper_sentences
import paper_spending
from paper_holm import CAPS, read, test, tests
from paper_words import DATA, apart, number, one, percent, rows_of, table

from neurofault import load_profile
from neurofault.papers.rescue2019.chips import STOPPED
from neurofault.papers.rescue2019.networks import LAST, TOTAL

PAGE = Path(__file__).parents[1] / "docs" / "does_it_hold.md"
WIDTHS = (25, 50, 100, 200, 400)
CYCLE = 10_000
"""Samples of a cycle on the chip."""
RESAMPLES = 10_000
MEASURED_MICROJOULE = 590
"""A training sample on Loihi (Renner et al. 2024)."""
LEARNERS = ("delta", "dfa", "emstdp")


def signed(values: Sequence[float]) -> str:
    """Return numbers in the page's words: a sign where they have both, one digit."""
    both = min(values) < 0
    words = [number(value, 1, both) for value in values]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def span(values: Sequence[float], digits: int = 1, scale: float = 100) -> str:
    """Return the least and the largest of numbers: ``0.4 to 1.7``."""
    return f"{number(scale * min(values), digits)} to {number(scale * max(values), digits)}"


def none(count: int) -> str:
    """Return a count, or none."""
    return str(count) if count else "none"


def doublings() -> Iterator[str]:
    """Steps of the marks from each width to twice that width, in points of N."""
    orders = pandas.read_csv(DATA / "fig1_orders.csv")
    bases = orders.groupby(["network", "base"])[["minus1pp", "half", "width"]].mean()
    for mark, words in (("minus1pp", "−1 point mark moves by"), ("half", "half-way mark by"), ("width", "the width by")):
        means = [100 * bases.loc[f"784-{width}-10", mark].mean() for width in WIDTHS]
        yield f"{words} {signed(np.diff(means).tolist())}"


def cores_and_neurons() -> Iterator[str]:
    """Paired tests of the area under the curve of dead cores against dead neurons, draw by draw, not corrected."""
    found = [number(each["p"], 3) for each in tests() if each["figure"] == "chip_fig1"]
    yield "p = {}, {} and {} at 8, 4 and 2 bits".format(*found)


def hard_caps() -> Iterator[str]:
    """What iterative repair loses under one cap, the least and the most over learners, caps and kinds of damage."""
    lost = [-each["difference"] for each in tests() if each["figure"] == "chip_budgets" and each["compared"] in CAPS]
    yield f"it loses by {span(lost, 0)} points"


def shared_caps() -> Iterator[str]:
    """How many comparisons of a cap that is shared over the steps are decided."""
    for other in ("batch", "greedy"):
        own = [each for each in tests() if each["figure"] == "chip_spending" and each["other"] == other]
        over, page = (sum(each[name] != "undecided" for each in own) for name in ("in_figure", "on_page"))
        yield f"of {len(own)} comparisons with {other} {none(over)} {'is' if over == 1 else 'are'} decided over the table, {none(page)} over the page"


def energy_of_learning() -> Iterator[str]:
    """Energy of a training sample, 6 dead cores, and how many cycles batch repair gets for what the iterative one takes, static power included."""
    profile = load_profile("loihi2")
    energy = profile.default_energy
    assert energy is not None
    static = profile.energy_tables[energy].energy.static_power.value
    assert static is not None
    rows = table("chip_fig3_accounting", loss="cores", m=6)
    sample, cycles, share = {}, {}, {}
    for learner in LEARNERS:
        ways = [one(rows, learner=learner, strategy=way) for way in ("iterative", "batch")]
        own, its = (row[f"energy_{energy}"] + static * row[f"time_{energy}"] for row in ways)
        sample[learner] = 1e6 * ways[1][f"energy_{energy}"] / (ways[1]["cycles"] * CYCLE)
        cycles[learner] = number(own / (its / ways[1]["cycles"]))
        share[learner] = number(static * ways[0][f"time_{energy}"] / ways[0][f"energy_{energy}"])
    yield f"some {number(sample['dfa'], 0)} µJ (`dfa`) and {number(sample['emstdp'], 0)} µJ (`emstdp`) a training sample"
    yield f"{number(MEASURED_MICROJOULE / sample['emstdp'], 0)} to {number(MEASURED_MICROJOULE / sample['dfa'], 0)} times as much"
    yield "at 6 cores it is {} (`delta`), {} (`dfa`) and {} times (`emstdp`) the dynamic part".format(*share.values())
    yield "with it batch repair gets {}, {} and {} cycles".format(*cycles.values())


ACCOUNTINGS = (TOTAL, STOPPED, LAST)


def change_points() -> Iterator[str]:
    """How often the hinge wins, and where half is lost."""
    floats, chip = read("fig1"), read("chip_fig1")
    plain = [point for name, point in floats["change_point"].items() if " " not in name]
    yield (
        f"hinge best in {span([each['wins']['hinge'] for each in plain], 0)} % of {plain[0]['orders']} orders; "
        f"knot's sd {span([each['knot_sd'] for each in plain], 2, 1)} of N"
    )
    wins = [each["wins"]["hinge"] for each in chip["change_point"].values()]
    half = {name: percent(chip["thresholds"][f"{name}, 8 bits"]["half"], 0) for name in ("neurons", "cores")}
    yield f"hinge best in {span(wins, 0)} % of 40 draws; half-way at {half['neurons']} of the neurons, {half['cores']} of the cores"
    yield f"The hinge is best in {span(wins, 0)} % of 40 draws, never in 80 %"
    yield f"{half['neurons']} of the neurons ({percent(floats['thresholds']['784-100-10']['half'], 0)} on floats)"


def floats_ranking() -> Iterator[str]:
    """The ranking on networks of floats, and what is served."""
    rows = read("fig3")["paired"]
    yield f"at every m ({number(-100 * rows[0]['difference_total'], 2)} to {number(max(-100 * row['difference_total'] for row in rows))} points"
    ahead = [row for row in rows if row["low_last"] > 0]
    yield f"iterative is at {', '.join(str(row['m']) for row in ahead[:-1])} and {ahead[-1]['m']} dead ({span([row['difference_last'] for row in ahead], 2)} points"
    yield f"what is served is {span([row['difference'] for row in table('fig3_served')])} points better than if repair waits for the last death"


def chip_ranking() -> Iterator[str]:
    """The ranking on the chip, and what is served."""
    rows = table("chip_fig3_comparisons")
    stopped = rows_of(rows, accounting=STOPPED)
    yield f"{len(rows_of(stopped, better='batch'))} of {len(stopped)} comparisons decided for batch, {none(len(rows_of(stopped, better='iterative')))} for iterative"
    half = [row for row in rows if row["m"] in (6, 48)]
    last = [row["difference"] for row in half if row["accounting"] == "equal cycles after the last death"]
    whole = [-row["difference"] for row in half if row["accounting"] not in ("equal cycles after the last death", STOPPED)]
    yield f"at half dead: batch by {span(whole)} points at equal cycles, writes, energy; iterative by {span(last)} counting the last step alone"
    yield f"serves {span([row['difference'] for row in table('chip_fig3_served')], 0)} points better while damage goes on"
    flips = read("chip_ranking")["rows"]
    yield f"of {len(flips)} comparisons {len(rows_of(flips, better='batch'))} are decided for batch repair, {none(len(rows_of(flips, better='iterative')))} for iterative"


def invariance() -> Iterator[str]:
    """Returns to U, and lines."""
    floats, chip = read("fig4"), read("chip_fig4")
    back, exits = floats["return_rate"]["0.005"], floats["first_exit"]["0.005"]["exits"]
    inside = floats["barriers"]["same base, other order"]
    yield (
        f"at ε = 0.5: {back['returned']} of {back['left']} repairs return, all {floats['trajectories']} ways leave U, first at {min(exits)} to {max(exits)} dead; "
        f"{inside['inside']} of {inside['ends_inside']} lines between ways of one base stay inside"
    )
    cores, neurons = (chip["return_rate"][loss]["0.005"] for loss in ("cores", "neurons"))
    fallen = [each["mean"] for found in chip["barriers"].values() for each in found.values()]
    yield (
        f"at ε = 0.5: {cores['returned']} of {cores['left']} (cores) and {neurons['returned']} of {neurons['left']} (neurons) repairs return, "
        f"all 16 ways leave U; lines between repaired chips fall {span(fallen)} points"
    )


def decline_sentences() -> Iterator[str]:
    """What the sentences on declines of more networks say."""
    rows = table("chip_declines_rows")
    yield f"The hinge is best in {span([row['hinge_wins'] for row in rows], 0)} % of the draws of a network"
    yield f"half-way at {span([row['half'] for row in rows], 0)} % of what can die"


def network_counts() -> Iterator[str]:
    """In how many rows of more networks a repair is ahead, with an interval that leaves 0 out, and decided."""
    yield from ahead_in("chip_networks")


def ahead_in(figure: str) -> Iterator[str]:
    """Yield the counts of a figure of several networks."""
    rows = table(f"{figure}_rows")
    for accounting, sign, way in zip(ACCOUNTINGS, (-1, -1, 1), ("batch", "batch", "iterative"), strict=True):
        own = rows_of(rows, accounting=accounting)
        ahead = [row for row in own if sign * row["difference"] > 0]
        apart_ = sum(row["low"] * row["high"] > 0 for row in ahead)
        judged = [each for each in tests() if each["figure"] == figure and each["compared"] == accounting]
        over, page = (len(rows_of(judged, **{name: way})) for name in ("in_figure", "on_page"))
        yield (
            f"{way} repair is ahead in {len(ahead)} of {len(own)} rows, in {apart_} with an interval that leaves 0 out, "
            f"in {over} after correction over the figure, in {page} over the page"
        )


def network_sentences() -> Iterator[str]:
    """What the sentences on more networks say."""
    rows = table("chip_networks_rows")
    whole = rows_of(rows, accounting=TOTAL)
    plain = [row for row in whole if row["network"].startswith("mnist") and row["loss"] != "stuck bits"]
    digits = [row for row in whole if row["network"].startswith("digits")]
    judged = {each["place"]: each for each in tests() if each["figure"] == "chip_networks" and each["compared"] == TOTAL}
    own = [judged[f"{row['network']}, {row['loss']}"] for row in plain]
    figure, page = (len(rows_of(own, **{name: "batch"})) for name in ("in_figure", "on_page"))
    yield (
        f"{span([-row['difference'] for row in plain])} points ahead, in {figure} of {len(plain)} cases decided after correction over the figure, in {page} over the whole page"
    )
    yield f"within {number(100 * max(abs(row['difference']) for row in digits))} points of each other"
    for row in rows_of(whole, loss="stuck bits"):
        if row["network"].startswith("mnist"):
            best = one(rows, network=row["network"], loss="stuck bits", accounting=STOPPED)
            means = rows_of(table("chip_networks_trainings"), network=row["network"], loss="stuck bits")
            seen = (percent(float(np.mean([each[name] for each in means]))) for name in ("last", "batch", "batch_stopped"))
            yield f"iterative − batch is {interval(row)} for `{row['network']}`"
            yield f"{apart(best, digits=1)} with each stopped at its best look"
            yield "`{}` has {} after a fifth of a cycle, {} after 1.2 and {} at its best look".format(row["network"], *seen)


def damage_sentences() -> Iterator[str]:
    """What the sentences on lost links, ageing and scrubbing say."""
    yield from ahead_in("chip_damages")
    rows = table("chip_damages_rows", accounting=TOTAL)
    for network in dict.fromkeys(row["network"] for row in rows):
        own = rows_of(rows, network=network)
        judged = [test("chip_damages", f"{network}, {row['loss']}", TOTAL) for row in own]
        over, page = (len(rows_of(judged, **{name: "batch"})) for name in ("in_figure", "on_page"))
        yield (
            f"`{network}` ends {span([-row['difference'] for row in own])} points higher with batch repair, "
            f"in {none(over)} of {len(own)} cases decided over the figure, in {none(page)} over the page"
        )
    back = table("chip_damages_recovery", tolerance=0.01)
    for loss, words in (
        ("links", "lost links"),
        ("raised thresholds", "raised thresholds"),
        ("drifted weights", "drifted weights"),
    ):
        own = rows_of(back, loss=loss)
        yield f"{span([row['regained'] for row in own], 0)} % of what {words} took"
    for row in table("chip_damages_scrub"):
        draws = row["trainings"] * row["draws"]
        yield (
            f"`{row['network']}` in {row['exact']} of {draws} draws, with {number(row['scrub_writes'], 0)} writes "
            f"where learning makes {number(row['learning_writes'], 0)} and ends {number(-100 * row['difference'])} points lower"
        )
        yield f"`{row['network']}` falls back from {percent(row['dead_learned'])} to {percent(row['dead_scrubbed_shipped'])}"


def heartbeat_sentences() -> Iterator[str]:
    """What the sentences on heartbeats say."""
    yield from ahead_in("chip_heartbeats")
    halves = [row["half"] for row in table("chip_heartbeats_declines")]
    yield f"half-way down at {percent(halves[0], 0)} of the cores and {percent(halves[1], 0)} of the recurrent synapses"
    for row in table("chip_heartbeats_recovery", tolerance=0.01):
        yield f"{percent(row['regained'], 0)} of what {row['loss']} took"
    means = (
        pandas.read_csv(DATA / "chip_heartbeats_trainings.csv")
        .groupby("loss")[["damaged", "last", "batch", "batch_stopped"]]
        .mean()
    )
    for loss, row in means.iterrows():
        damaged, last, batch, stopped = (percent(float(value)) for value in row)
        yield f"with dead {loss} {damaged} damaged, {last} after a fifth of a cycle, {batch} after 1.2 and {stopped} at its best look"
    (cores,) = rows_of(table("chip_heartbeats_rows", accounting=LAST), loss="cores")
    yield f"iterative repair ends {number(-100 * cores['difference'])} points below batch repair that has a sixth of its cycles"


def interval(row: Any) -> str:
    """Return a difference in points with its interval, in a sentence."""
    mean, ends = apart(row, digits=1).split(" ", 1)
    return f"{mean} points {ends}"


def two_levels() -> Iterator[str]:
    """How wide the intervals of a bootstrap of trainings, and of draws within them, are beside those of Student's t over trainings."""
    draws = pandas.read_csv(DATA / "chip_networks_draws.csv")
    rows = pandas.read_csv(DATA / "chip_networks_rows.csv").query(f"accounting == {TOTAL!r}").set_index(["network", "loss"])
    random, ratios = np.random.default_rng(1), []
    for place, own in draws.groupby(["network", "loss"], sort=False):
        lost = np.array([training.iterative - training.batch for _, training in own.groupby("training")])
        chosen = random.integers(len(lost), size=(RESAMPLES, len(lost), 1))
        within = random.integers(lost.shape[1], size=(RESAMPLES, *lost.shape))
        low, high = np.quantile(lost[chosen, within].mean((1, 2)), (0.025, 0.975))
        ratios.append((high - low) / (rows.loc[place, "high"] - rows.loc[place, "low"]))
    yield f"are {span(ratios, 1, 1)} times as wide"


def whole_page() -> Iterator[str]:
    """Holm's correction over all tests of the page."""
    yield f"over all {len(tests())} tests on this page"
    for figure, words in (
        ("fig3", "of figure 3 on floats"), ("chip_fig3", "of figure 3"), ("chip_budgets", "of hard limits"), ("chip_spending", "of shared limits"),
        ("chip_ranking", "of the ranking"), ("chip_networks", "of more networks"), ("chip_damages", "of more damage"), ("chip_heartbeats", "of heartbeats"), (learner_claims.TRIED[0], "of learners"),
    ):  # fmt: skip
        own = [each for each in tests() if each["figure"] == figure]
        page, over = (sum(each[name] != "undecided" for each in own) for name in ("on_page", "in_figure"))
        yield f"{none(page)} of the {over} {words}"


PARTS = (
    *paper_sentences.PARTS, paper_digits.digits_sentences, paper_curves.sentences, paper_spending.sentences, doublings, cores_and_neurons, hard_caps, shared_caps, energy_of_learning, change_points, floats_ranking, chip_ranking, invariance, decline_sentences,
    network_counts, network_sentences, damage_sentences, heartbeat_sentences, paper_mission.mission_sentences, two_levels, whole_page,
)  # fmt: skip


def main() -> None:
    """Print the claims, or compare them with the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    written = PAGE.read_text(encoding="utf-8")
    page = " ".join(written.split())
    claims, missing = [claim for part in PARTS for claim in part()], 0
    for claim in claims:
        said = claim in page
        missing += not said
        print(claim if said or not given.check else f"not on the page: {claim}")
    loose = paper_sentences.loose(written, claims)
    print(
        f"{len(claims)} claims, {missing} are not on the page; {len(loose)} numbers of its prose are in no claim and no table",
        *loose,
        sep="\n",
    )
    sys.exit(bool(given.check and (missing or loose)))


if __name__ == "__main__":
    main()
