"""The tables of "Does it hold?", written from the published data: what stands between ``<!-- NAME -->`` and ``<!-- end -->`` in docs/does_it_hold.md.

    python experiments/paper_tables.py            # writes them
    python experiments/paper_tables.py --check    # exit code 1 where the page says otherwise

A comparison is bold where it is decided after correction over all tests of the page, in italics where it is after correction over those of its own figure alone (``experiments/paper_holm.py``).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import paper_spending
from learner_claims import learners_tried  # noqa: F401 (beside this file; a table by its name)
from paper_curves import curves, digits_curves  # noqa: F401 (likewise)
from paper_digits import digits_barriers, digits_orders, digits_pairs, digits_returns  # noqa: F401 (beside this file; tables by their names)
from paper_holm import CAPS, read, test
from paper_mission import mission  # noqa: F401
from paper_words import apart, between, cycles, marked, number, one, percent, rows_of, significant, table

from neurofault.papers.rescue2019.chips import STOPPED
from neurofault.papers.rescue2019.losses import DRIFT, RAISED
from neurofault.papers.rescue2019.networks import LAST, TOTAL
from neurofault.study.statistics import paired_difference

PAGE = Path(__file__).parents[1] / "docs" / "does_it_hold.md"
BLOCK = re.compile(r"(<!-- (\w+) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
HEADLINE = 0.005
LEARNERS = ("delta", "dfa", "emstdp")
DEAD = "equal cycles after the last death"
ACCOUNTINGS = (TOTAL, DEAD, STOPPED, "equal writes", "equal energy, davies2018", "equal energy, sanafe")
BROKEN = {
    "cores": "cores", "neurons": "neurons", "flipped bits": "bits flipped", "stuck bits": "bits stuck at 0",
    "recurrent synapses": "recurrent synapses", "links": "links dead", "raised thresholds": f"neurons aged (threshold × {RAISED:g})",
    "drifted weights": f"weights drifted (σ {DRIFT:g})", "feature maps": "feature maps dead",
}  # fmt: skip
Cells = tuple[str, ...]


def declines(found: Any, label: Callable[[str], str] = str) -> Iterator[Cells]:
    """Yield the rows of a figure of declines."""
    for name, point in found["change_point"].items():
        mark = found["thresholds"][name]
        yield (
            label(name), percent(point["wins"]["hinge"], 0), percent(point["wins"]["logistic"], 0), significant(point["slope_ratio"]),
            f"{number(point['knot'], 2)} ({number(point['knot_sd'], 2)})", *(percent(mark[key]) for key in ("minus1pp", "minus5pp", "half", "width")),
        )  # fmt: skip


def decline() -> Iterator[Cells]:
    """Figure 1, networks of floats."""
    found = read("fig1")
    yield (
        "network", "hinge best", "logistic best", "slope ratio", "knot (sd), share of N", "−1 point at", "−5 points at",
        "half-way at", "10–90 % width",
    )  # fmt: skip
    orders = {name: point["orders"] for name, point in found["change_point"].items()}
    yield from declines(found, lambda name: name + (f" ({orders[name]} orders)" if "first" in name else ""))


def chip_decline() -> Iterator[Cells]:
    """Figure 1, the chip."""
    yield (
        "curve",
        "hinge best",
        "logistic best",
        "slope ratio",
        "knot (sd), share",
        "−1 point at",
        "−5 points at",
        "half-way at",
        "10–90 % width",
    )
    yield from declines(read("chip_fig1"))


def network_decline() -> Iterator[Cells]:
    """Declines of more networks on the chip."""
    yield from declined("chip_declines_rows")


def heartbeat_decline() -> Iterator[Cells]:
    """Declines of the network that follows heartbeats."""
    yield from declined("chip_heartbeats_declines")


def declined(name: str) -> Iterator[Cells]:
    """Yield the rows of a table of declines of several networks."""
    yield (
        "what dies",
        "healthy",
        "hinge best",
        "logistic best",
        "slope ratio",
        "knot (sd), share",
        "−1 point at",
        "half-way at",
        "10–90 % width",
    )
    for row in table(name):
        marks = (
            f"{percent(row[name])} [{percent(row[f'{name}_low'])}, {percent(row[f'{name}_high'])}]"
            for name in ("minus1pp", "half", "width")
        )
        yield (
            f"{row['network']}, {row['loss']}", percent(row["healthy"]), percent(row["hinge_wins"], 0), percent(row["logistic_wins"], 0),
            significant(row["slope_ratio"]), f"{number(row['knot'], 2)} ({number(row['knot_sd'], 2)})", *marks,
        )  # fmt: skip


def shortly(value: float | str) -> str:
    """Return cycles with two digits below one, else whole."""
    return cycles(value) if isinstance(value, str) else number(value, 0 if value >= 1 else 2)


def recovery() -> Iterator[Cells]:
    """Figure 2, networks of floats."""
    found = read("fig2")
    yield (
        "dead of 100", "accuracy before repair", "strategy 1: batch", "strategy 2: only new nodes learn",
        "strategy 2: old ones learn at 1/8", "control: fresh sub-network", "control: trained with dropout, batch",
    )  # fmt: skip
    for m, damaged in found["damaged"].items():
        rows = (
            one(found["recovery"], strategy=way, m=int(m), tolerance=HEADLINE)
            for way in ("batch", "embryonic", "embryonic-8", "fresh-subnetwork", "batch-dropout")
        )
        cells = (
            f"{shortly(row['cycles'])}{'' if row['reached'] == 0 and row['low'] == row['high'] else ' (' + shortly(row['low']) + '–' + shortly(row['high']) + ')'}, "
            f"{row['reached']}/{row['pairs']}"
            for row in rows
        )
        yield (m, percent(damaged), *cells)


def chip_recovery() -> Iterator[Cells]:
    """Figure 2, the chip."""
    found, controls = read("chip_fig2"), table("chip_fig3_controls")
    yield "dead", "accuracy before", "way", "within 1 point", "within 0.5 points", "best", "writes", "energy"
    for loss, damaged in found["damaged"].items():
        for m, before in damaged.items():
            own = rows_of(found["recovery"], loss=loss, m=int(m))
            for way in ("remap", "batch", "embryonic", "batch-dropout", "fresh-subnetwork"):
                for near in rows_of(own, strategy=way, tolerance=0.01):
                    far = one(own, strategy=way, learner=near["learner"], tolerance=HEADLINE)
                    if way == "batch-dropout":
                        before = one(controls, control="dropout-trained, no repair", loss=loss, m=int(m))["accuracy"]
                    joule = near["energy_joule"]
                    yield (
                        f"{m} {loss}", percent(before if way == "batch-dropout" else damaged[m]), f"{way} · {near['learner']}" if near["learner"] else way,
                        *(f"{cycles(row['cycles'])}, {row['reached']}/{row['pairs']}" for row in (near, far)),
                        percent(near["best"], 2), number(near["writes"], 0), "< 0.1 mJ" if joule < 1e-4 else f"{number(1000 * joule, 0)} mJ",
                    )  # fmt: skip


def network_recovery() -> Iterator[Cells]:
    """What batch repair brings back of more networks on the chip."""
    yield from recovered("chip_networks")


def damage_recovery() -> Iterator[Cells]:
    """What batch repair brings back of lost links and ageing."""
    yield from recovered("chip_damages")


def heartbeat_recovery() -> Iterator[Cells]:
    """What batch repair brings back of the network that follows heartbeats."""
    yield from recovered("chip_heartbeats")


def recovered(figure: str) -> Iterator[Cells]:
    """Yield the rows of what batch repair brings back in a figure of several networks."""
    yield (
        "network, learner",
        "broken",
        "healthy",
        "damaged",
        "after batch repair",
        "regained",
        "within 1 point",
        "within 0.5 points",
    )
    compared, rows = table(f"{figure}_rows", accounting=TOTAL), table(f"{figure}_recovery")
    for own in compared:
        near, far = (one(rows, network=own["network"], loss=own["loss"], tolerance=tolerance) for tolerance in (0.01, HEADLINE))
        regained = (
            "–"
            if near["regained"] is None
            else f"{percent(near['regained'], 0)} [{percent(near['regained_low'], 0)}, {percent(near['regained_high'], 0)}]"
        )
        yield (
            f"{own['network']}, {own['learner']}", f"{own['count']:,} of {own['of']:,} {BROKEN[own['loss']]}",
            *(percent(own[name]) for name in ("healthy", "damaged", "batch")), regained,
            *(f"{cycles(row['cycles'])}, {percent(row['recovered'], 0)}" for row in (near, far)),
        )  # fmt: skip


def pairs() -> Iterator[Cells]:
    """Figure 3, networks of floats: pairs as the unit, and bases."""
    yield (
        "dead", "cycles in all", "iterative", "batch, equal total", "iterative − batch", "over bases", "batch, equal last step",
        "iterative − batch", "over bases", "fresh sub-network, equal total", "sham",
    )  # fmt: skip
    drawn = table("fig3_pairs")
    for row in read("fig3")["paired"]:
        cells = []
        for other, value, ends, words in (
            ("batch_total", "difference_total", ("low", "high"), TOTAL), ("batch_last_step", "difference_last", ("low_last", "high_last"), DEAD),
        ):  # fmt: skip
            cells += [
                percent(row[other]),
                marked(apart(row, value, *ends), test("fig3", str(row["m"]), words)),
                over_bases(rows_of(drawn, m=row["m"]), other),
            ]
        yield (
            str(row["m"]),
            str(row["cycles_total"]),
            percent(row["iterative"]),
            *cells,
            percent(row["fresh_subnetwork"]),
            percent(row["sham"]),
        )


def over_bases(own: list[dict[str, Any]], other: str) -> str:
    """Return iterative − batch repair with the base as the unit."""
    bases = list(dict.fromkeys(row["base"] for row in own))
    means = [
        [sum(row[name] for row in rows) / len(rows) for rows in (rows_of(own, base=base) for base in bases)]
        for name in ("iterative", other)
    ]
    found = paired_difference(*means)
    return apart({"difference": found.mean, "low": found.low, "high": found.high})


def served() -> Iterator[Cells]:
    """What is served while damage goes on, networks of floats."""
    yield (
        "dead", "iterative", "batch", "wait, then batch", "no repair", "iterative − wait, then batch", "worst, iterative",
        "worst, batch", "weights changed, iterative / batch (millions)",
    )  # fmt: skip
    books = table("fig3_accounting")
    for row in table("fig3_served"):
        own, whole = (one(books, m=row["m"], strategy=way) for way in ("iterative", "batch"))
        yield (
            str(row["m"]), *(percent(row[way]) for way in ("iterative", "batch", "wait_then_batch", "no_repair")),
            marked(apart(row), test("fig3_served", str(row["m"]), "served")), percent(own["worst"]), percent(whole["worst"]),
            f"{number(own['updates'] / 1e6, 0)} / {number(whole['updates'] / 1e6, 0)}",
        )  # fmt: skip


def chip_pairs() -> Iterator[Cells]:
    """Figure 3, the chip."""
    yield ("dead", "learner", "iterative ends at", *ACCOUNTINGS)
    rows = table("chip_fig3_comparisons")
    for row in rows_of(rows, accounting=TOTAL):
        place = f"{row['m']} {row['loss']}"
        cells = (
            marked(apart(one(rows, loss=row["loss"], learner=row["learner"], m=row["m"], accounting=words)), test("chip_fig3", f"{place}, {row['learner']}", words))
            for words in ACCOUNTINGS
        )  # fmt: skip
        yield (place, row["learner"], percent(row["iterative"], 2), *cells)


def chip_served() -> Iterator[Cells]:
    """What is served while damage goes on, the chip."""
    yield (
        "dead, `dfa`",
        "iterative",
        "wait, then batch",
        "no repair",
        "iterative − wait, then batch",
        "worst, iterative",
        "worst, batch",
    )
    for row in table("chip_fig3_served", learner="dfa"):
        place = f"{row['m']} {row['loss']}"
        yield (
            place, *(percent(row[way]) for way in ("iterative", "wait_then_batch", "no_repair")),
            marked(apart(row), test("chip_fig3_served", f"{place}, dfa", "served")), percent(row["worst_iterative"]), percent(row["worst_batch"]),
        )  # fmt: skip


def caps() -> Iterator[Cells]:
    """One hard limit for both, spent as it goes or shared over the steps."""
    drawn = f"{paper_spending.draws()['test']} draws"
    yield (
        "6 dead cores", "batch", "iterative, greedy", "greedy − batch", f"iterative, even ({drawn})", f"even − batch ({drawn})", f"even − greedy ({drawn})",
        "chosen on validation images",
    )  # fmt: skip
    ends = {curve["label"]: curve["points"][0]["mean"] for curve in read("chip_budgets")["curves"]}
    for cap, words in (("", "no cap"), *((cap, cap) for cap in CAPS)):
        said = {"": "no cap", CAPS[0]: "20,000 writes", CAPS[1]: "0.01 J"}[cap]
        for learner in LEARNERS:
            own, whole = (ends[f"core_dead · {way} · {learner}{' · ' + cap if cap else ''}"] for way in ("iterative", "batch"))
            found, shared = test("chip_budgets", f"core_dead, {learner}", words), ["–"] * 4
            if cap:
                both = (test("chip_spending", f"core_dead, {learner}", f"{cap}, even and {other}") for other in ("batch", "greedy"))
                even = paper_spending.ways(cap, learner)["even"]
                shared = [
                    percent(sum(even) / len(even)), *(marked(apart(each, digits=1), each) for each in both), paper_spending.chosen(cap, learner)
                ]  # fmt: skip
            yield f"{said}, `{learner}`", percent(whole), percent(own), marked(apart(found, digits=1), found), *shared


def ranking() -> Iterator[Cells]:
    """Where the ranking flips."""
    yield ("changed", "damaged (healthy)", *(cell for learner in LEARNERS for cell in (f"`{learner}`: batch", "iterative − batch")))
    rows = read("chip_ranking")["rows"]
    for change, value in dict.fromkeys((row["change"], row["value"]) for row in rows):
        own = rows_of(rows, change=change, value=value)
        cells: list[str] = []
        for learner in LEARNERS:
            for row in rows_of(own, learner=learner):
                cells += [percent(row["batch"]), marked(apart(row), test("chip_ranking", f"{change} {value}, {learner}", TOTAL))]
            cells += [] if rows_of(own, learner=learner) else ["–", "–"]
        yield (f"{change} {value}".strip(), f"{percent(own[0]['damaged'])} ({percent(own[0]['healthy'])})", *cells)


def network_ranking() -> Iterator[Cells]:
    """Iterative against batch repair of more networks on the chip."""
    yield from ranked("chip_networks")


def damage_ranking() -> Iterator[Cells]:
    """Iterative against batch repair of lost links and ageing."""
    yield from ranked("chip_damages")


def heartbeat_ranking() -> Iterator[Cells]:
    """Iterative against batch repair of the network that follows heartbeats."""
    yield from ranked("chip_heartbeats")


def ranked(figure: str) -> Iterator[Cells]:
    """Yield the comparisons of a figure of several networks."""
    yield (
        "network, learner",
        "broken",
        "trainings × draws",
        "equal cycles in all",
        "each stopped at its best look",
        "equal cycles after the last step",
    )
    rows = table(f"{figure}_rows")
    for row in rows_of(rows, accounting=TOTAL):
        cells = (
            marked(apart(one(rows, network=row["network"], loss=row["loss"], accounting=words), digits=1), test(figure, f"{row['network']}, {row['loss']}", words))
            for words in (TOTAL, STOPPED, LAST)
        )  # fmt: skip
        yield (f"{row['network']}, {row['learner']}", BROKEN[row["loss"]], f"{row['trainings']} × {row['draws']}", *cells)


def scrub() -> Iterator[Cells]:
    """Flipped bits: learning, and writing an image of the weights back."""
    yield (
        "network, learner", "bits flipped", "healthy", "damaged", "learned", "scrubbed", "learned, then scrubbed", "learned − scrubbed", "weights that learning writes",
        "weights that a scrub writes",
    )  # fmt: skip
    for row in table("chip_damages_scrub"):
        yield (
            f"{row['network']}, {row['learner']}", f"{row['count']:,} of {row['of']:,}", *(percent(row[name], 2) for name in ("healthy", "damaged", "learned", "scrubbed", "learned_scrubbed")),
            marked(apart(row), test("chip_damages_scrub", row["network"], "accuracy")), number(row["learning_writes"], 0), number(row["scrub_writes"], 0),
        )  # fmt: skip


def scrub_dead() -> Iterator[Cells]:
    """Bits that flip on a chip that has learned around dead cores."""
    yield (
        "network, learner",
        "cores dead",
        "damaged",
        "learned",
        "then bits flip",
        "scrubbed with the shipped weights",
        "scrubbed with weights read after learning",
    )
    for row in table("chip_damages_scrub"):
        names = ("dead", "dead_learned", "dead_flipped", "dead_scrubbed_shipped", "dead_scrubbed_read")
        cores = f"{row['dead_cores']} of {row['of_cores']}"
        yield (f"{row['network']}, {row['learner']}", cores, *(percent(row[name], 2) for name in names))


def returned(rates: Any, exits: Any, at: tuple[int, ...] = ()) -> Iterator[Cells]:
    """Yield how often repairs return to U, by tolerance, and where ways leave it."""
    for epsilon, back in rates.items():
        leaving = exits[epsilon]
        inside = [percent(leaving["survival"][leaving["m"].index(m)], 0) for m in at]
        yield (
            significant(100 * float(epsilon), 3), f"{back['returned']} of {back['left']}: {percent(back['rate'], 0)} [{percent(back['low'], 0)}, {percent(back['high'], 0)}]",
            f"{back['came_back']} of {back['outside']}", f"{leaving['median']} ({min(leaving['exits'])}–{max(leaving['exits'])})", *([", ".join(inside)] if at else []),
        )  # fmt: skip


RETURNED = ("repairs that returned, of those whose damage left U", "that came back, of those already outside")


def returns() -> Iterator[Cells]:
    """Returns to U, networks of floats."""
    found = read("fig4")
    yield ("ε (points)", *RETURNED, "first exit at, dead nodes: median (range)", "still in U at 25, 50, 75 dead")
    yield from returned(found["return_rate"], found["first_exit"], (25, 50, 75))


def chip_returns() -> Iterator[Cells]:
    """Returns to U, the chip."""
    found = read("chip_fig4")
    yield ("dead", "ε (points)", *RETURNED, "first exit at: median (range)")
    for loss, rates in found["return_rate"].items():
        yield from ((loss, *cells) for cells in returned(rates, found["first_exit"][loss]))


def barrier(kind: str, found: Any, inside: bool) -> Cells:
    """Return what lines of a kind of pair have in common."""
    return (
        kind, f"{number(100 * found['mean'], 2)} {between(found, signed=False)}", number(100 * found["max"], 2), ", ".join(percent(end) for end in found["end_points"]),
        percent(found["lowest"]), *([f"{found['inside']} of {found['ends_inside']}"] if inside else []), str(found["pairs"]),
    )  # fmt: skip


def barriers() -> Iterator[Cells]:
    """Barriers, networks of floats."""
    yield (
        "pair",
        "mean",
        "largest",
        "mean accuracy of the ends",
        "lowest on the way",
        "lines that stay in U (ε = 0.5), of those with both ends in it",
        "pairs",
    )
    yield from (barrier(kind, found, True) for kind, found in read("fig4")["barriers"].items())


def chip_barriers() -> Iterator[Cells]:
    """Barriers, the chip."""
    yield "dead", "pair", "barrier, mean", "largest", "mean accuracy of the ends", "lowest on the way", "pairs"
    for loss, found in read("chip_fig4")["barriers"].items():
        yield from ((loss, *barrier(kind, each, False)) for kind, each in found.items())


def shape(kind: str, found: Any) -> Cells:
    """Return what ways look like in their first two components."""
    cells = (f"{number(found[name]['mean'], 3)} {between(found[name], scale=1, digits=3, signed=False)}" for name in ("first_component", "second_component", "arc"))  # fmt: skip
    return (kind, *cells)


def shapes() -> Iterator[Cells]:
    """Shapes of ways, networks of floats."""
    yield "way", "variance in the first component", "in the second", "R² of a parabola (the arc)"
    found = read("fig4")["embedding"]
    yield from (
        shape(words, found[kind]) for kind, words in (("repair", "repair"), ("walk", "random walk of the same step lengths"))
    )


def chip_shapes() -> Iterator[Cells]:
    """Shapes of ways, the chip."""
    yield "dead", "way", "first component", "second", "R² of a parabola"
    for loss, found in read("chip_fig4")["embedding"].items():
        yield from ((loss, *shape(words, found[kind])) for kind, words in (("repair", "repair"), ("walk", "random walk")))


def written(page: str) -> str:
    """Return the page with each table as its data have it."""

    def block(match: re.Match[str]) -> str:
        head, name, tail = match.groups()
        made: Callable[[], Iterator[Cells]] = globals()[name]
        first, *rows = made()
        lines = (first, ("---",) * len(first), *rows)
        return head + "\n".join(f"|{'|'.join(line)}|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines) + tail

    return BLOCK.sub(block, page)


def main() -> None:
    """Write the tables, or look whether they are as their data are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something would change")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    found = written(page)
    if check:
        wrong = [new for old, new in zip(page.splitlines(), found.splitlines(), strict=False) if old != new]
        print(*wrong, f"{len(BLOCK.findall(page))} tables, {len(wrong)} lines of {PAGE.name} are not what the data say", sep="\n")
        sys.exit(bool(wrong) or page != found)
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
