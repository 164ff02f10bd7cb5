"""What "Does it hold?" says in "A better learner?", computed from the published draws of ``experiments/paper/learners.py``.

    python experiments/learner_claims.py            # prints it
    python experiments/learner_claims.py --check    # exit code 1 where the page says otherwise

The table of what was tried is written by ``paper_tables.py``; the tests stand in ``paper_holm.py`` among those that are corrected over the whole page.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

sys.path.insert(0, str(Path(__file__).parent))

from paper_words import DATA, apart, marked, number, percent, points  # beside this file

from neurofault import load_profile
from neurofault.study.statistics import Interval, paired_difference, paired_p, t_interval

PAGE = Path(__file__).parents[1] / "docs" / "does_it_hold.md"
SECTION = re.compile(r"^### A better learner\?$.*?(?=^##)", re.DOTALL | re.MULTILINE)
USUAL = "dfa"
TRIED = ("chip_learners_tried", "accuracy on validation images")
FINAL = ("chip_learners", "accuracy on test images")
RESAMPLES = 10_000


def span(found: Interval) -> str:
    """Return a difference with its interval, in points."""
    assert found.low is not None
    assert found.high is not None
    return f"{points(found.mean)} [{points(found.low)}, {points(found.high)}]"


def energy() -> str:
    """Return the column of dynamic energy by the profile's default table."""
    return f"energy_{load_profile('loihi2').default_energy}"


def tried() -> dict[str, pandas.DataFrame]:
    """Return the draws of each learner on validation images, in the order in which they were tried."""
    rows = pandas.read_csv(DATA / "chip_learners_tried.csv")
    return {str(name): own.set_index("draw") for name, own in rows.groupby("learner", sort=False)}


def tests() -> Iterator[dict[str, Any]]:
    """Yield the comparisons with `dfa`: of each that was tried, over draws, and of the one that was compared on test images, over trainings."""
    listed = tried()
    usual = listed.pop(USUAL).accuracy
    for name, own in listed.items():
        yield compared(TRIED, name, own.accuracy, usual[own.index])
    rows, name = draws()
    means = rows.groupby(["learner", "training"], sort=False).accuracy.mean()
    yield compared(FINAL, name, means[name], means[USUAL])


def compared(figure: tuple[str, str], name: str, one: Sequence[float], usual: Sequence[float]) -> dict[str, Any]:
    """Return a paired comparison, not corrected."""
    found = paired_difference(one, usual)
    return {
        "figure": figure[0], "learner": name, "compared": figure[1], "difference": found.mean, "low": found.low, "high": found.high,
        "p": paired_p(one, usual),
    }  # fmt: skip


def words(name: str) -> str:
    """Return a learner's name as the page writes it."""
    return name.replace("dfa", "`dfa`")


def learners_tried() -> Iterator[tuple[str, ...]]:
    """The table of what was tried."""
    import paper_holm

    yield "learner", "draws", "accuracy", "− `dfa`, points", "samples shown", "writes", "energy"
    for name, own in tried().items():
        found = None if name == USUAL else paper_holm.test(TRIED[0], name, TRIED[1])
        yield (
            words(name), str(len(own)), percent(own.accuracy.mean(), 2), "–" if found is None else marked(apart(found), found),
            number(own.samples.mean(), 0), number(own.writes.mean(), 0), f"{number(1000 * own[energy()].mean())} mJ",
        )  # fmt: skip


def search() -> Iterator[str]:
    """What the sentences on the search say."""
    import paper_holm

    own = [each for each in paper_holm.tests() if each["figure"] == TRIED[0]]
    table, page = (sum(each[name] != "undecided" for each in own) for name in ("in_figure", "on_page"))
    yield f"{len(own)} settings and rules stood beside `dfa`"
    yield f"of its {len(own)} comparisons {table} are decided over the table, {page or 'none'} over the page"


def draws() -> tuple[pandas.DataFrame, str]:
    """Return the draws on test images, and the name of the learner that stands beside `dfa`."""
    rows = pandas.read_csv(DATA / "chip_learners_draws.csv")
    (name,) = (name for name in rows.learner.unique() if name != USUAL)
    return rows, name


def on_test() -> Iterator[str]:
    """The comparison on test images."""
    import paper_holm

    rows, name = draws()
    by_draw = rows.pivot_table(index=["training", "draw"], columns="learner", values="accuracy", sort=False)
    gained = by_draw[name] - by_draw[USUAL]
    values = np.stack([own.to_numpy() for _, own in gained.groupby(level="training", sort=False)])
    found = t_interval(values.mean(axis=1))
    random = np.random.default_rng(1)
    which = random.integers(len(values), size=(RESAMPLES, len(values), 1))
    within = random.integers(values.shape[1], size=(RESAMPLES, *values.shape))
    low, high = np.quantile(values[which, within].mean((1, 2)), (0.025, 0.975))
    judged = paper_holm.test(FINAL[0], name, FINAL[1])
    yield f"{marked(span(found), judged)} points over {len(values)} trainings of {values.shape[1]} draws each"
    yield f"p = {number(judged['p'], 3)}, {'not ' * (judged['on_page'] == 'undecided')}decided over the page"
    yield f"bootstrap of trainings and draws [{points(low)}, {points(high)}]"
    yield f"ahead in {int((values > 0).sum())} of {values.size} draws"
    listed = [span(t_interval(own)) for own in values]
    yield f"by training {', '.join(listed[:-1])} and {listed[-1]}"
    means = rows.groupby("learner")[["accuracy", "writes", energy()]].mean()
    one, usual, first = means.loc[name], means.loc[USUAL], rows[rows.learner == USUAL]
    whole, hurt = first.healthy.mean(), first.damaged.mean()
    yield f"from {percent(hurt, 2)} damaged to {percent(usual.accuracy, 2)} with `dfa` and {percent(one.accuracy, 2)} with it, of {percent(whole, 2)} healthy"
    yield f"of what `dfa` leaves missing it brings back {percent((one.accuracy - usual.accuracy) / (whole - usual.accuracy), 0)}"
    yield (
        f"{number(usual.writes, 0)} writes and {number(1000 * usual[energy()])} mJ with `dfa`, {number(one.writes, 0)} and {number(1000 * one[energy()])} mJ with it"
    )


def shams() -> Iterator[str]:
    """What learning does to healthy chips."""
    rows = pandas.read_csv(DATA / "chip_learners_shams.csv")
    lost = (rows.accuracy - rows.healthy).groupby(rows.learner, sort=False).mean()
    (name,) = (name for name in lost.index if name != USUAL)
    yield f"sham: {points(lost[USUAL])} points with `dfa`, {points(lost[name])} with it"


PARTS = (search, on_test, shams)


def main() -> None:
    """Print the claims, or compare them with the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    (section,) = SECTION.findall(PAGE.read_text(encoding="utf-8")) or [""]
    claims, page = [claim for part in PARTS for claim in part()], " ".join(section.split())
    missing = [claim for claim in claims if claim not in page]
    print(*(missing if check else claims), f"{len(claims)} claims, {len(missing)} are not on the page", sep="\n")
    sys.exit(bool(check and missing))


if __name__ == "__main__":
    main()
