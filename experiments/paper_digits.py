"""Figures 1, 3 and 4 of the founding paper, and curves between repaired networks, over five trainings of networks of floats small enough for it: digits.

    python experiments/paper_digits.py --out docs/data/paper     # some minutes on one core; the same bytes for the same torch and processor

Writes ``digits_orders.csv`` (figure 1), ``digits_pairs.csv`` (figure 3) ``digits_ways.csv`` and ``digits_barriers.csv`` (figure 4) and ``digits_curves.csv``,
and no summary: the tables of docs/does_it_hold.md are computed from these, with the training as the unit. The figures are those of ``neurofault paper all --quick``, with more trainings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from paper_words import DATA, apart, between, marked, number, percent, rows_of, significant, table  # beside this file

from neurofault.papers.rescue2019 import float_setting
from neurofault.papers.rescue2019.landscape import first_exit, return_rate
from neurofault.papers.rescue2019.networks import TOTAL
from neurofault.papers.rescue2019.output import save
from neurofault.papers.rescue2019.run import paper
from neurofault.study import csv_table
from neurofault.study.clustered import clustered_rate, jackknife_interval
from neurofault.study.statistics import paired_difference, paired_p

FLOATS = replace(float_setting.QUICK, name="digits", bases=5, curve_epochs=60)
DEAD = "equal cycles after the last death"
ENDS = ("training", "way", "m")
FIGURES = ("fig1", "fig3", "fig4", "curves")


def made(names: Sequence[str], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run figures and return their rows by file, all trainings beside each other."""
    figures = {one.name: one.tables for one in paper(names, folder / "floats", setting=FLOATS)}
    found: dict[str, list[dict[str, Any]]] = {}
    if "fig1" in figures:
        keep = ("network", "base", "order", "healthy", "half", "best", "knot", "slope_ratio")
        found["orders"] = [{name: row[name] for name in keep} for row in figures["fig1"]["orders"]]
    if "fig3" in figures:
        found["pairs"] = [dict(row) for row in figures["fig3"]["pairs"]]
    if "fig4" in figures:
        found["ways"] = [{"training": row["base"], "way": row["order"], **of_way(row)} for row in figures["fig4"]["ways"]]
        found["barriers"] = [
            {"pair_type": row["pair_type"], **of_ends(row), **of_line(row)} for row in figures["fig4"]["barriers"]
        ]  # fmt: skip
    if "curves" in figures:
        found["curves"] = [dict(row) for row in figures["curves"]["pairs"]]
    return found


def of_ends(row: Any) -> dict[str, Any]:
    """Return what a line runs between."""
    return {f"{name}_{end}": row[f"{key}_{end}"] for end in "ab" for name, key in zip(ENDS, ("base", "order", "m"), strict=True)}


def of_way(row: Any) -> dict[str, Any]:
    """Return what a way has at a step."""
    return {name: row[name] for name in ("m", "healthy", "damaged", "repaired")}


def of_line(row: Any) -> dict[str, Any]:
    """Return what a line has."""
    return {name: row[name] for name in ("accuracy_a", "accuracy_b", "lowest", "barrier", "ends_inside", "inside")}


def tests() -> Iterator[dict[str, Any]]:
    """Yield the comparisons of iterative repair with batch repair and with waiting, the training as the unit."""
    rows = table("digits_pairs")
    for m in dict.fromkeys(row["m"] for row in rows):
        trainings = [rows_of(rows, m=m, base=base) for base in dict.fromkeys(row["base"] for row in rows)]
        for one, other, words in (
            ("iterative", "batch_total", TOTAL), ("iterative", "batch_last_step", DEAD), ("served_iterative", "served_wait_then_batch", "served"),
        ):  # fmt: skip
            ways = [[float(np.mean([row[name] for row in own])) for own in trainings] for name in (one, other)]
            found = paired_difference(*ways)
            yield {
                "m": m, "compared": words, "one": float(np.mean(ways[0])), "other": float(np.mean(ways[1])), "difference": found.mean,
                "low": found.low, "high": found.high, "p": paired_p(*ways), "trainings": found.n,
            }  # fmt: skip


def digits_orders() -> Iterator[tuple[str, ...]]:
    """Figure 1."""
    yield "network", "healthy", "hinge best, of all orders (least and most of a training)", "logistic best", "half-way at"
    rows = table("digits_orders")
    plain = [name for name in dict.fromkeys(row["network"] for row in rows) if " " not in name]
    for name in plain:
        own = rows_of(rows, network=name)
        each = [rows_of(own, base=base) for base in dict.fromkeys(row["base"] for row in own)]
        wins = [sum(row["best"] == "hinge" for row in training) / len(training) for training in each]
        healthy, half = (float(np.mean([row[key] for row in own])) for key in ("healthy", "half"))
        logistic = sum(row["best"] == "logistic" for row in own) / len(own)
        yield (
            name, percent(healthy), f"{percent(float(np.mean(wins)), 0)} ({percent(min(wins), 0)}–{percent(max(wins), 0)})", percent(logistic, 0), percent(half),
        )  # fmt: skip


def digits_pairs() -> Iterator[tuple[str, ...]]:
    """Figure 3."""
    from paper_holm import test

    yield (
        "dead of 40",
        "iterative",
        "batch, equal total",
        "iterative − batch",
        "batch, equal last step",
        "iterative − batch",
        "iterative − wait, then batch, served",
    )
    found = list(tests())
    for m in dict.fromkeys(row["m"] for row in found):
        total, last, served = (rows_of(found, m=m, compared=words)[0] for words in (TOTAL, DEAD, "served"))
        own = {row["compared"]: marked(apart(row), test("digits_fig3", str(m), row["compared"])) for row in (total, last, served)}
        yield (str(m), percent(total["one"]), percent(total["other"]), own[TOTAL], percent(last["other"]), own[DEAD], own["served"])


def digits_returns() -> Iterator[tuple[str, ...]]:
    """Figure 4: returns to U, and where ways leave it."""
    yield (
        "ε (points)",
        "repairs that returned, of those whose damage left U",
        "ways that leave U",
        "first exit at, dead nodes (range)",
    )
    rows = table("digits_ways")
    trainings = [
        [rows_of(rows, training=training, way=way) for way in dict.fromkeys(row["way"] for row in rows)]
        for training in dict.fromkeys(row["training"] for row in rows)
    ]
    for epsilon in FLOATS.tolerances:
        hits, trials, exits = list[int](), list[int](), list[int | None]()
        for ways in trainings:
            damaged, repaired = (np.array([[row[name] for row in way] for way in ways]) for name in ("damaged", "repaired"))
            whole, deaths = np.array([way[0]["healthy"] for way in ways]), np.array([row["m"] for row in ways[0]], np.int64)
            back = return_rate(damaged, repaired, whole, epsilon)
            hits, trials = [*hits, back.returned], [*trials, back.left]
            exits += first_exit(repaired, whole, deaths, epsilon).exits
        rate, left = clustered_rate(hits, trials), [at for at in exits if at is not None]
        yield (
            significant(100 * epsilon, 3), f"{sum(hits)} of {sum(trials)}: {percent(rate.mean, 0)} [{percent(rate.low, 0)}, {percent(rate.high, 0)}]",
            f"{len(left)} of {len(exits)}", f"{min(left)}–{max(left)}",
        )  # fmt: skip


def digits_barriers() -> Iterator[tuple[str, ...]]:
    """Figure 4: barriers, trainings as what lines share."""
    yield "pair", "barrier, mean", "largest", "lines that stay in U (ε = 0.5), of those with both ends in it", "pairs"
    rows = table("digits_barriers")
    for kind in dict.fromkeys(row["pair_type"] for row in rows):
        own = rows_of(rows, pair_type=kind)
        found = jackknife_interval([row["barrier"] for row in own], [{row["training_a"], row["training_b"]} for row in own])
        inside = [row["inside"] for row in own if row["ends_inside"]]
        yield (
            kind, f"{number(100 * found.mean, 2)} {between({'low': found.low, 'high': found.high}, signed=False)}",
            number(100 * max(row["barrier"] for row in own), 2), f"{sum(inside)} of {len(inside)}", str(len(own)),
        )  # fmt: skip


def digits_sentences() -> Iterator[str]:
    """What the page says of them in sentences."""
    found = list(tests())
    ahead = [row for row in rows_of(found, compared=TOTAL) if row["high"] < 0]
    last = [row for row in rows_of(found, compared=DEAD) if row["low"] > 0]
    for rows, words in ((ahead, "batch repair is ahead"), (last, "iterative repair is ahead")):
        by, at = (
            [value(row) for row in rows] for value in (lambda row: number(100 * abs(row["difference"])), lambda row: str(row["m"]))
        )
        yield f"{words} by {' and '.join(by)} points with {' and '.join(at)} of 40 nodes dead"
    served = [row["difference"] for row in rows_of(found, compared="served")]
    yield f"serves {number(100 * min(served))} to {number(100 * max(served))} points more than waiting"
    wins = [cells[2].split(" ")[0] for cells in list(digits_orders())[1:]]
    yield f"best in {min(wins)} to {max(wins)} % of the orders of a network"


def main() -> None:
    """Run the figures and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=FIGURES, help="which to make")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in made(options.figures, Path(folder)).items():
            print(save(options.out / f"digits_{name}.csv", csv_table.table(rows)))


if __name__ == "__main__":
    main()
