"""Make the intervals of the published figures again from the published data, where the statistics changed and the results did not.

    python experiments/paper_statistics.py            # writes docs/data/paper and docs/data/rescue_mnist_mlp.json
    python experiments/paper_statistics.py --check    # writes nothing; exit code 1 where something would change

The journal of units that `neurofault paper` computes from is not published; the draws, ways and lines are. From these the same functions make
return rates, barriers, shapes, recovered shares and the intervals of slopes again, and cut the intervals of accuracies and shares at 0 and 1. Everything else must stay
as it is: any other difference ends the run before anything is written.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.fig1 import MARKS
from neurofault.papers.rescue2019.fig4 import returns_and_exits, summaries
from neurofault.papers.rescue2019.float_declines import scaling
from neurofault.papers.rescue2019.output import Figure, save
from neurofault.papers.rescue2019.run import published
from neurofault.study.changepoint import Thresholds
from neurofault.study.clustered import ratio_covers, recovered_interval
from neurofault.study.csv_table import rounded
from neurofault.study.statistics import SHARE, Interval, cut

DATA = Path(__file__).parents[1] / "docs" / "data"
ENDS = ("low", "high")
TABLES = {
    "fig1": ("curves", "orders"), "fig1_cnn": ("curves",), "fig4": ("ways", "barriers", "lines", "embedding"),
    "chip_fig1": ("curves", "draws"), "chip_fig3": ("paired", "comparisons", "served", "controls", "accounting", "draws"),
    "chip_fig4": ("ways", "barriers", "lines", "shapes"),
}  # fmt: skip


def value_of(text: str) -> Any:
    """Return a field of a CSV file as what it was written from."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def figure_of(name: str) -> Figure:
    """Return a published figure as data."""
    answer = json.loads((DATA / "paper" / f"{name}.json").read_text(encoding="utf-8"))
    tables = {}
    for table in TABLES[name]:
        with (DATA / "paper" / f"{name}_{table}.csv").open(encoding="utf-8", newline="") as file:
            tables[table] = [{key: value_of(text) for key, text in row.items()} for row in csv.DictReader(file)]
    return Figure(name, answer, tables)


def cut_row(row: dict[str, Any], mean: str = "mean") -> None:
    """Cut the interval of an accuracy or a share at 0 and 1."""
    found = cut(Interval(row[mean], row["low"], row["high"], 0, "t"), SHARE)
    row["low"], row["high"] = found.low, found.high


def decline(figure: Figure) -> None:
    """Cut the intervals of curves and marks."""
    for curve in figure.answer["curves"].values():
        for at, mean in enumerate(curve["mean"]):
            found = cut(Interval(mean, curve["low"][at], curve["high"][at], 0, "t"), SHARE)
            curve["low"][at], curve["high"][at] = found.low, found.high
    for marks in figure.answer["thresholds"].values():
        for name in [name for name in marks if name.endswith("_interval") and marks[name] is not None]:
            found = cut(Interval(marks[name.removesuffix("_interval")], *marks[name], 0, "t"), SHARE)
            marks[name] = [found.low, found.high]
    for row in figure.tables["curves"]:
        cut_row(row)


def floats_decline(figure: Figure) -> None:
    """As :func:`decline`; make the intervals of how marks change with the width again, over bases."""
    decline(figure)
    rows = [row for row in figure.tables["orders"] if row["network"].count("-") == 2 and " " not in row["network"]]
    marks = [
        (int(row["network"].split("-")[1]), int(row["base"]), Thresholds(**{name: math.nan if row[name] is None else row[name] for name in MARKS}))
        for row in rows
    ]  # fmt: skip
    for name, found in scaling(marks).items():
        figure.answer["width_scaling"][name] |= {end: found[end] for end in ENDS}


def controls(figure: Figure) -> None:
    """Cut the intervals of the controls' accuracies."""
    for row in (*figure.answer["controls"], *figure.tables["controls"]):
        cut_row(row, "accuracy")


def ways_of(rows: list[Any], key: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return damaged [ways, steps], repaired [ways, steps], healthy [ways] and deaths [steps] of the rows of a table of ways."""
    names, deaths = list(dict.fromkeys(map(key, rows))), list(dict.fromkeys(row["m"] for row in rows))
    damaged, repaired = (np.array([row[name] for row in rows]).reshape(len(names), len(deaths)) for name in ("damaged", "repaired"))
    return damaged, repaired, np.array([row["healthy"] for row in rows])[:: len(deaths)], np.array(deaths, np.int64)


def update(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Put new values in the place of old ones, in all depths, in the order of the old."""
    for key, value in new.items():
        if isinstance(value, dict):
            update(old[key], value)
        else:
            old[key] = value


def on_floats(figure: Figure) -> None:
    """Make returns, exits and barriers of figure 4 again; cut the intervals of shapes."""
    answer = figure.answer
    tolerances = [float(epsilon) for epsilon in answer["return_rate"]]
    seen = ways_of(figure.tables["ways"], lambda row: (row["base"], row["order"]))
    returns, exits = returns_and_exits(*seen, tolerances)
    update(answer, {"return_rate": returns, "first_exit": exits, "barriers": summaries(figure.tables["barriers"])})
    for shapes in answer["embedding"].values():
        for shape in shapes.values():
            cut_row(shape)


def on_chips(figure: Figure) -> None:
    """Make returns, exits, barriers and shapes of figure 4 on the chip again."""
    answer = figure.answer
    for loss, rates in answer["return_rate"].items():
        own = {table: [row for row in rows if row["loss"] == loss] for table, rows in figure.tables.items()}
        seen = ways_of(own["ways"], lambda row: row["draw"])
        answer["return_rate"][loss], answer["first_exit"][loss] = returns_and_exits(*seen, [float(epsilon) for epsilon in rates])
        answer["barriers"][loss] = summaries(own["barriers"])
        for shapes in answer["embedding"][loss].values():
            for shape in shapes.values():
                cut_row(shape)


AGAIN: dict[str, Callable[[Figure], None]] = {
    "fig1": floats_decline, "fig1_cnn": decline, "fig4": on_floats, "chip_fig1": decline, "chip_fig3": controls, "chip_fig4": on_chips,
}  # fmt: skip


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Yield the places at which two JSON values differ."""
    match old, new:
        case dict(), dict() if list(old) == list(new):
            for key in old:
                yield from differences(old[key], new[key], f"{place}/{key}")
        case list(), list() if len(old) == len(new):
            for at, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from differences(one, other, f"{place}/{at}")
        case float(), float():
            if not math.isclose(old, new, rel_tol=1e-12):  # the last digits are SciPy's of its version
                yield place
        case _:
            if old != new or type(old) is not type(new):
                yield place


def checked(name: str, old: Any, new: Any) -> list[str]:
    """Return where two results differ; end the run where that is not the end of an interval."""
    changed = list(differences(old, new))
    wrong = [place for place in changed if not any(part in ENDS or part.endswith("_interval") for part in place.split("/"))]
    if wrong:
        sys.exit(f"{name}: {wrong[0]} would change, which no interval's end is; nothing was written")
    return changed


def rescue() -> tuple[Path, str, list[str]]:
    """Return the published rescue study with its recovered shares made again."""
    path = DATA / "rescue_mnist_mlp.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    new = deepcopy(old)
    for row in new["rows"]:
        if row["recovered_fraction"] is not None:
            draws = row["draws"]
            found = recovered_interval(
                [new["healthy_accuracy"]] * len(draws), [draw["damaged"] for draw in draws], [draw["accuracy"] for draw in draws]
            )
            row["recovered_fraction"] = None if found is None else {
                "mean": found.mean, "low": found.low, "high": found.high, "covers_at_least": ratio_covers(found.n)
            }  # fmt: skip

    return path, json.dumps(new, indent=2, ensure_ascii=False) + "\n", checked(path.name, old, new)


def main() -> int:
    """Compare, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where something would change")
    check = parser.parse_args().check
    figures, changed = [], {}
    for name, again in AGAIN.items():
        old, new = figure_of(name), figure_of(name)
        again(new)
        one, other = ({"json": rounded(figure.answer), **rounded(figure.tables)} for figure in (old, new))
        changed[name] = checked(name, one, other)
        if changed[name]:
            figures.append(new)
    path, text, changed[path.name] = rescue()
    for name, places in changed.items():
        print(f"{name}: {len(places)} ends of intervals differ")
    if check:
        return 1 if any(changed.values()) else 0
    for figure in figures:
        published(figure, DATA / "paper")
    if changed[path.name]:
        save(path, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
