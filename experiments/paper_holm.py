"""Every test of "Does it hold?", corrected over the whole page: docs/data/paper/page_tests.csv, written from the published tables.

    python experiments/paper_holm.py            # writes the file
    python experiments/paper_holm.py --check    # exit code 1 where it is not what the tables say

A row is a comparison of two ways that the page gives a verdict on: ``difference`` is that of ``one`` less ``other`` in accuracy (of cores and neurons in the area under the curve of the decline),
``p`` the p value of a paired t test, ``p_figure`` corrected by Holm's method over the tests of its figure, ``p_page`` over all rows; ``in_figure`` and ``on_page`` name
the side that is ahead where that is below five per cent, else they are ``undecided``. Where a table has no p value it follows from the t interval and its units.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import learner_claims  # beside this file
import paper_digits
import paper_spending
from paper_words import DATA, one, table

from neurofault.papers.rescue2019.output import save
from neurofault.study import csv_table
from neurofault.study.statistics import holm, paired_difference, paired_p, t_quantile

FILE = DATA / "page_tests.csv"
WAYS = ("iterative", "batch")
WAITING = ("iterative", "wait, then batch")
CAPS = ("writes 20000", "energy 0.01")


def read(name: str) -> Any:
    """Return a published JSON file."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def p_of(difference: float, low: float, high: float, units: int) -> float:
    """Return the p value of the paired t test whose 95 % interval this is."""
    from scipy import stats

    error = (high - low) / 2 / t_quantile(0.95, units - 1)
    return float(2 * stats.t.sf(abs(difference) / error, units - 1))


def row(
    figure: str, place: str, compared: str, sides: tuple[str, str], found: Any, p: float, value: str = "difference"
) -> dict[str, Any]:
    """Return a test that is not corrected yet."""
    return {
        "figure": figure, "place": place, "compared": compared, "one": sides[0], "other": sides[1],
        "difference": found[value], "low": found["low"], "high": found["high"], "p": p,
    }  # fmt: skip


def floats() -> Iterator[dict[str, Any]]:
    """Sham, the ranking and what is served, on networks of floats."""
    sham = read("fig2")["controls"]
    yield row(
        "fig2",
        "sham",
        "accuracy",
        ("sham", "healthy"),
        sham,
        p_of(sham["sham_gain"], sham["low"], sham["high"], sham["bases"]),
        "sham_gain",
    )
    pairs = table("fig3_pairs")
    for m in dict.fromkeys(each["m"] for each in pairs):
        own = [each for each in pairs if each["m"] == m]
        for other, words in (("batch_total", "equal cycles in all"), ("batch_last_step", "equal cycles after the last death")):
            ways = [each["iterative"] for each in own], [each[other] for each in own]
            found = paired_difference(*ways)
            yield row(
                "fig3", str(m), words, WAYS, {"difference": found.mean, "low": found.low, "high": found.high}, paired_p(*ways)
            )
    for each in table("fig3_served"):
        yield row(
            "fig3_served",
            str(each["m"]),
            "served",
            WAITING,
            each,
            p_of(each["difference"], each["low"], each["high"], each["pairs"]),
        )


def chip() -> Iterator[dict[str, Any]]:
    """The figures of one trained network on the chip."""
    curves = {name: [each["auc"] for each in table("chip_fig1_draws", curve=name)] for name in read("chip_fig1")["curves"]}
    for bits in (8, 4, 2):
        areas = curves[f"cores, {bits} bits"], curves[f"neurons, {bits} bits"]
        found = paired_difference(*areas)
        sides = ("cores", "neurons")
        yield row(
            "chip_fig1",
            f"{bits} bits",
            "area under the curve",
            sides,
            {"difference": found.mean, "low": found.low, "high": found.high},
            paired_p(*areas),
        )
    for learner, sham in read("chip_fig2")["controls"].items():
        p = p_of(sham["sham_gain"], sham["low"], sham["high"], sham["draws"])
        yield row("chip_fig2", f"sham, {learner}", "accuracy", ("sham", "healthy"), sham, p, "sham_gain")
    for each in table("chip_fig3_comparisons"):
        yield row("chip_fig3", f"{each['m']} {each['loss']}, {each['learner']}", each["accounting"], WAYS, each, each["p"])
    draws = read("chip_fig3")["draws"]
    for each in table("chip_fig3_served"):
        p = p_of(each["difference"], each["low"], each["high"], draws)
        yield row("chip_fig3_served", f"{each['m']} {each['loss']}, {each['learner']}", "served", WAITING, each, p)
    for each in read("chip_budgets")["paired"]:
        if "· batch ·" in each["a"] and each["b"] == each["a"].replace("· batch ·", "· iterative ·"):
            plan, _, learner, *cap = each["a"].split(" · ")
            turned = {"difference": -each["difference"], "low": -each["high"], "high": -each["low"]}
            yield row("chip_budgets", f"{plan}, {learner}", cap[0] if cap else "no cap", WAYS, turned, each["p"])
    for each in paper_spending.tests():
        yield row("chip_spending", each["place"], each["compared"], each["sides"], each, each["p"])
    for each in read("chip_ranking")["rows"]:
        yield row(
            "chip_ranking", f"{each['change']} {each['value']}, {each['learner']}", "equal cycles in all", WAYS, each, each["p"]
        )


def networks() -> Iterator[dict[str, Any]]:
    """Trainings of more networks, on the chip."""
    for figure in ("chip_networks", "chip_damages", "chip_heartbeats"):
        for each in table(f"{figure}_rows"):
            yield row(figure, f"{each['network']}, {each['loss']}", each["accounting"], WAYS, each, each["p"])
    for each in table("chip_damages_scrub"):
        yield row("chip_damages_scrub", each["network"], "accuracy", ("learning", "scrubbing"), each, each["p"])
    for each in paper_digits.tests():
        sides = WAITING if each["compared"] == "served" else WAYS
        yield row("digits_fig3", str(each["m"]), each["compared"], sides, each, each["p"])


def learners() -> Iterator[dict[str, Any]]:
    """Learners against `dfa` on the chip: those that were tried, on validation images, and the one that was compared on test images."""
    for each in learner_claims.tests():
        yield row(each["figure"], each["learner"], each["compared"], (each["learner"], learner_claims.USUAL), each, each["p"])


@cache
def tests() -> tuple[dict[str, Any], ...]:
    """Return all tests of the page, corrected."""
    found = [*floats(), *chip(), *networks(), *learners()]
    figures: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        figures.setdefault(each["figure"], []).append(each)
    for own in figures.values():
        for each, p in zip(own, holm([each["p"] for each in own]), strict=True):
            each["p_figure"] = p
    for each, p in zip(found, holm([each["p"] for each in found]), strict=True):
        each["p_page"] = p
    for each in found:
        ahead = each["one"] if each["difference"] > 0 else each["other"]
        each |= {name: ahead if each[p] < 0.05 else "undecided" for name, p in (("in_figure", "p_figure"), ("on_page", "p_page"))}
    return tuple(found)


def test(figure: str, place: str, compared: str) -> dict[str, Any]:
    """Return one test of the page."""
    return one(list(tests()), figure=figure, place=place, compared=compared)


def main() -> None:
    """Write the tests, or look whether they are as their tables are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something would change")
    check = parser.parse_args().check
    text = csv_table.table(list(tests()))
    decided = [sum(each[name] != "undecided" for each in tests()) for name in ("in_figure", "on_page")]
    print(f"{len(tests())} tests, {decided[0]} decided over their figure, {decided[1]} over the page")
    if check:
        same = FILE.read_text(encoding="utf-8") == text
        print(f"{FILE.name} is {'' if same else 'not '}what the tables say")
        sys.exit(not same)
    save(FILE, text)


if __name__ == "__main__":
    main()
